"""Pushing files: titles, types, annotations, directories; and that the same files give the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from oci.artifact.attach import attach
from oci.artifact.files import Annotations, Draft, File, read_annotations
from oci.artifact.pack import push
from oci.errors import InvalidDocument, InvalidInput, LimitExceeded, SourceError
from oci.spec.descriptor import Descriptor
from oci.transports.base import Warn
from oci.transports.names import open_destination, open_source
from oci.verification.verify import verify
from tests.support.images import digest

CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("hi.txt").write_text("hi\n")
    Path("sub").mkdir()
    Path("sub/deep.json").write_text("{}")
    tree = Path("docs")
    (tree / "img").mkdir(parents=True)
    (tree / "index.html").write_text("<p>")
    (tree / "img" / "x.png").write_bytes(b"png")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o775)
    (tree / "link").symlink_to("img/x.png")
    os.link(tree / "index.html", tree / "same.html")
    return tmp_path


def pushed(*words: str, to: str = "oci:layout:v1", warn: Warn | None = None, **options: Any) -> dict[str, Any]:
    """Push, and give the manifest as plain JSON."""
    with open_destination(to) as destination:
        found = push(destination, Draft(files=tuple(map(File.parse, words)), **options), warn=warn)
    return manifest_of(found)


def manifest_of(found: Descriptor) -> dict[str, Any]:
    raw = blob(str(found.digest))
    assert digest(raw) == str(found.digest)
    assert len(raw) == found.size
    return json.loads(raw)  # type: ignore[no-any-return]


def blob(name: str) -> bytes:
    return Path("layout/blobs", *name.split(":")).read_bytes()


def test_a_file_is_a_layer_with_its_path_as_title() -> None:
    made = pushed("hi.txt", "sub/deep.json:application/json", artifact_type="application/vnd.example.x")
    assert made == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.x",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
            "data": "e30=",
        },
        "layers": [
            {
                "mediaType": "application/octet-stream",
                "digest": digest(b"hi\n"),
                "size": 3,
                "annotations": {TITLE: "hi.txt"},
            },
            {
                "mediaType": "application/json",
                "digest": digest(b"{}"),
                "size": 2,
                "annotations": {TITLE: "sub/deep.json"},
            },
        ],
    }
    assert blob(made["config"]["digest"]) == b"{}"
    assert problems() == []


def problems() -> list[str]:
    return [problem.message for problem in verify("layout").findings]


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("./hi.txt", "hi.txt"),
        ("sub/../hi.txt", "hi.txt"),
        ("docs/img/", "docs/img"),
        ("/etc/hostname", "hostname"),
        ("../x/hi.txt", "hi.txt"),
        (".", "."),
    ],
)
def test_the_title_is_the_path_and_of_one_that_leads_out_the_last_name(written: str, title: str) -> None:
    assert File.parse(written).title == title


def test_the_directory_above_is_called_by_its_name(here: Path) -> None:
    assert File.parse("..").title == here.parent.name
    assert File.parse("sub/..").title == "."
    with pytest.raises(InvalidInput, match="no name"):
        File.parse("/")


def test_a_colon_belongs_to_the_name_where_a_file_has_it() -> None:
    Path("a:b").write_text("1")
    assert (File.parse("a:b").path, File.parse("a:b").media_type) == ("a:b", None)
    assert (File.parse("a:b:text/plain").path, File.parse("a:b:text/plain").media_type) == ("a:b", "text/plain")
    assert (File.parse("hi.txt:").path, File.parse("hi.txt:").media_type) == ("hi.txt", None)
    with pytest.raises(InvalidInput, match="no file"):
        File.parse("nowhere:what")
    for wrong in (":text/plain", "hi.txt:text/", "hi.txt:text/plain;charset=utf-8"):
        with pytest.raises(InvalidInput):
            File.parse(wrong)


def test_a_directory_is_one_tar_that_oras_can_unpack() -> None:
    made = pushed("docs")
    (layer,) = made["layers"]
    plain = gzip.decompress(blob(layer["digest"]))
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert layer["annotations"] == {
        "io.deis.oras.content.digest": digest(plain),
        "io.deis.oras.content.unpack": "true",
        TITLE: "docs",
    }
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        found = {member.name: member for member in archive}
    assert sorted(found) == [
        "docs",
        "docs/img",
        "docs/img/x.png",
        "docs/index.html",
        "docs/link",
        "docs/run",
        "docs/same.html",
    ]
    assert {(member.uid, member.gid, member.mtime, member.uname) for member in found.values()} == {(0, 0, 0, "")}
    assert found["docs/run"].mode == 0o755
    assert found["docs/same.html"].isreg()
    assert found["docs/link"].linkname == "img/x.png"


def test_the_same_files_give_the_same_digest(here: Path) -> None:
    first = pushed("hi.txt", "docs")
    os.utime("docs/run", (1, 1))
    Path("docs/run").chmod(0o755)
    os.utime("hi.txt", (2, 2))
    assert pushed("hi.txt", "docs", to="oci:layout:v2") == first


def test_the_time_is_written_only_if_it_is_given() -> None:
    assert "annotations" not in pushed("hi.txt")
    made = pushed("docs", created="2024-05-01T00:00:00Z")
    assert made["annotations"] == {CREATED: "2024-05-01T00:00:00Z"}
    with tarfile.open(fileobj=io.BytesIO(blob(made["layers"][0]["digest"]))) as archive:
        assert {member.mtime for member in archive} == {1714521600}
    own = Annotations(manifest={CREATED: "2020-01-01T00:00:00Z"})
    made = pushed("hi.txt", created="2024-05-01T00:00:00Z", annotations=own)
    assert made["annotations"] == {CREATED: "2020-01-01T00:00:00Z"}


def test_a_config_says_the_type_unless_the_artifact_does() -> None:
    made = pushed("hi.txt", config=File.parse("sub/deep.json:application/vnd.example.config+json"))
    assert made["config"]["mediaType"] == "application/vnd.example.config+json"
    assert "artifactType" not in made
    assert (
        pushed("hi.txt", config=File.parse("sub/deep.json"))["config"]["mediaType"]
        == "application/vnd.unknown.config.v1+json"
    )
    made = pushed("hi.txt", config=File.parse("sub/deep.json:a/b"), artifact_type="c/d")
    assert (made["config"]["mediaType"], made["artifactType"]) == ("a/b", "c/d")
    with pytest.raises(InvalidInput, match="empty media type"):
        pushed("hi.txt", config=File.parse("sub/deep.json:application/vnd.oci.empty.v1+json"))
    with pytest.raises(InvalidInput, match="not a media type"):
        pushed("hi.txt", artifact_type="nothing")


def test_without_files_one_empty_layer_stands_there() -> None:
    made = pushed(annotations=Annotations(manifest={"k": "v"}))
    assert made["artifactType"] == "application/vnd.unknown.artifact.v1"
    assert made["layers"] == [made["config"]]
    assert problems() == []


def test_annotations_come_from_a_file_as_oras_has_it() -> None:
    Path("notes.json").write_text(
        json.dumps(
            {
                "$manifest": {"m": "1"},
                "$config": {"c": "2"},
                "hi.txt": {"f": "3", TITLE: "hello/there.txt"},
                "never": {"x": "y"},
            }
        )
    )
    notes = read_annotations("notes.json")
    assert notes.unused([File.parse("hi.txt")]) == ["never"]
    made = pushed("hi.txt", annotations=notes)
    assert made["annotations"] == {"m": "1"}
    assert made["config"]["annotations"] == {"c": "2"}
    assert made["layers"][0]["annotations"] == {"f": "3", TITLE: "hello/there.txt"}


@pytest.mark.parametrize("text", ["[]", "{", '{"hi.txt": 1}', '{"$manifest": {"a": 1}}', '{"a": {}, "a": {}}'])
def test_an_annotation_file_that_is_something_else_is_refused(text: str) -> None:
    Path("notes.json").write_text(text)
    with pytest.raises(InvalidDocument, match=r"notes\.json"):
        read_annotations("notes.json")


def test_an_annotation_file_is_bounded() -> None:
    with open("notes.json", "wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(LimitExceeded):
        read_annotations("notes.json")
    with pytest.raises(SourceError):
        read_annotations("nowhere.json")


def test_what_nobody_could_pull_is_not_pushed() -> None:
    for title in ("../x", "/x", "a\nb"):
        with pytest.raises(InvalidInput, match="nobody could pull it"):
            pushed("hi.txt", annotations=Annotations(files={"hi.txt": {TITLE: title}}))
    with pytest.raises(InvalidInput, match="both have the title"):
        pushed("hi.txt", "./hi.txt")
    with pytest.raises(InvalidInput, match="both have the title"):
        pushed("hi.txt", "/nowhere/../hi.txt")
    with pytest.raises(InvalidInput, match=r"docs/img would lie in docs"):
        pushed("docs/img", "docs")
    with pytest.raises(InvalidInput, match="would lie in"):
        pushed("hi.txt", ".")
    with pytest.raises(InvalidInput, match=r"'\.'"):
        pushed("hi.txt", annotations=Annotations(files={"hi.txt": {TITLE: "."}}))


def test_what_is_no_file_or_is_missing_is_refused_before_anything_is_written() -> None:
    os.mkfifo("pipe")
    for word in ("pipe", "nowhere", "/dev/null"):
        with pytest.raises(SourceError):
            pushed("hi.txt", word)
    assert list(Path("layout/blobs/sha256").iterdir()) == []


def test_a_special_file_in_a_directory_is_left_out_with_a_warning() -> None:
    os.mkfifo("docs/pipe")
    told: list[str] = []
    made = pushed("docs", warn=told.append)
    assert told == ["docs/pipe: is a fifo, which an artifact can't hold: left out"]
    with tarfile.open(fileobj=io.BytesIO(blob(made["layers"][0]["digest"]))) as archive:
        assert "docs/pipe" not in archive.getnames()


def test_an_archive_and_a_layout_hold_the_same_artifact() -> None:
    pushed("hi.txt", "docs")
    with open_destination("oci-archive:a.tar:v1") as destination:
        found = push(
            destination,
            Draft(
                files=(
                    File.parse("hi.txt"),
                    File.parse("docs"),
                )
            ),
        )
    with open_source("oci:layout:v1") as source:
        assert source.resolve().digest == found.digest


# Attaching


def test_what_is_attached_names_its_subject_and_is_found_as_its_referrer() -> None:
    with open_destination("oci:layout:v1") as destination:
        subject = push(destination, Draft(files=(File.parse("hi.txt"),), artifact_type="a/b"))
    with open_destination("oci:layout") as destination:
        found = attach(
            destination,
            subject,
            Draft(files=(File.parse("sub/deep.json:application/json"),), artifact_type="application/spdx+json"),
        )
    made = manifest_of(found)
    assert made["subject"] == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(subject.digest),
        "size": subject.size,
    }
    assert made["artifactType"] == "application/spdx+json"
    entries = json.loads(Path("layout/index.json").read_text())["manifests"]
    assert entries[1] == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(found.digest),
        "size": found.size,
        "artifactType": "application/spdx+json",
    }
    with open_source("oci:layout:v1") as source:
        assert source.resolve().digest == subject.digest
        assert [one.digest for one in source.referrers(subject)] == [found.digest]


def test_annotations_alone_can_be_attached_but_not_nothing() -> None:
    with open_destination("oci:layout:v1") as destination:
        subject = push(destination, Draft(files=(File.parse("hi.txt"),)))
    with open_destination("oci:layout") as destination:
        with pytest.raises(InvalidInput, match="nothing to attach"):
            attach(destination, subject, Draft(artifact_type="a/b"))
        found = attach(destination, subject, Draft(artifact_type="a/b", annotations=Annotations(manifest={"k": "v"})))
        with pytest.raises(InvalidInput, match="only manifests"):
            attach(
                destination,
                subject.replace(media_type="text/plain"),
                Draft(files=(File.parse("hi.txt"),), artifact_type="a/b"),
            )
    assert manifest_of(found)["annotations"] == {"k": "v"}
