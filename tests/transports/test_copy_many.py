"""Lists of copies and repositories kept alike: what a file may say, what is left alone, and what a failure costs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from oci.errors import ConfigurationError, NoMatchingPlatform, RefNotFound
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.spec import Digest, Platform
from oci.spec.reference import LayoutRef, RegistryRef
from oci.transports.copy_list import MAX_LIST, Pair, Sync, read_list
from oci.transports.copy_many import Outcome, copy_many
from oci.transports.names import open_source
from oci.transports.places import OpenPlaces
from oci.transports.subset import subset
from tests.support.images import OCI_INDEX, OCI_MANIFEST, Json, LayoutMaker, descriptor, digest, index, tar_layer


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LayoutMaker:
    monkeypatch.chdir(tmp_path)
    return LayoutMaker(tmp_path / "from")


def lines(text: str) -> tuple[Any, ...]:
    return read_list(text.encode(), "list", toml=False)


def toml(text: str) -> tuple[Any, ...]:
    return read_list(text.encode(), "x.toml", toml=True)


def run(tasks: tuple[Any, ...], **options: Any) -> list[Outcome]:
    return list(copy_many(tasks, OpenPlaces(), **options))


def tags_of(path: str) -> dict[str, str]:
    name = "org.opencontainers.image.ref.name"
    entries = json.loads(Path(path, "index.json").read_text())["manifests"]
    return {entry["annotations"][name]: entry["digest"] for entry in entries}


# What a file may say


def test_lines_are_pairs_of_references() -> None:
    text = (
        "# a comment\n\n  \n./a:v1 ./b:v1\n\"oci:a b:v1\"\t'oci:c d:v2'   # why not\r\ndocker://h.example/r oci:x:y#z\n"
    )
    found = lines(text.replace("#z", "z"))
    assert [(str(one.source), str(one.destination), one.where) for one in found] == [
        ("oci:./a:v1", "oci:./b:v1", "list:4"),
        ("oci:a b:v1", "oci:c d:v2", "list:5"),
        ("docker://h.example/r:latest", "oci:x:yz", "list:6"),
    ]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("./a:v1", "got 1 word"),
        ("./a:v1 ./b:v1 ./c:v1", "got 3 words"),
        ("'./a:v1 ./b:v1", "not closed"),
        ("'./a'x ./b", "comes a blank"),
        ("./a:v1 what", "local store"),
        ("dir:/x ./b:v1", "source"),
        ("./a:v1 ./b@sha256:" + "0" * 64, "named by a tag"),
        ("", "nothing to copy"),
        ("# only words", "nothing to copy"),
    ],
)
def test_a_line_that_is_wrong_is_said_with_its_number(line: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=part) as caught:
        lines(line)
    assert str(caught.value).startswith("list")


def test_a_file_is_bounded_and_utf8() -> None:
    with pytest.raises(ConfigurationError, match="bytes"):
        read_list(b"#" * (MAX_LIST + 1), "list", toml=False)
    with pytest.raises(ConfigurationError, match="UTF-8 at byte 2"):
        read_list(b"# \xff", "list", toml=False)


def test_toml_names_repositories() -> None:
    (one, two) = toml(
        '[[sync]]\nsource = "docker://h.example/team/app"\ndestination = "docker://other.example/app"\n'
        'tags = ["v1.*", "latest"]\nexclude = ["*-rc*"]\nplatforms = ["linux/amd64", "linux/arm/v7"]\n'
        "referrers = true\n"
        '[[sync]]\nsource = "oci:a"\ndestination = "oci:b:x-{tag}"\n'
    )
    assert one.source == RegistryRef("h.example", "team/app")
    assert (one.tags, one.exclude, one.referrers) == (("v1.*", "latest"), ("*-rc*",), True)
    assert one.platforms == (Platform("linux", "amd64"), Platform("linux", "arm", "v7"))
    assert str(one.target("v1.2")) == "docker://other.example/app:v1.2"
    assert (two.tags, two.target("v1")) == (("*",), LayoutRef("b", "x-v1"))


GOOD = '[[sync]]\nsource = "oci:a"\ndestination = "oci:b"\n'


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[[sync]", "not TOML"),
        ("a = " + "[" * 2000, "not TOML"),
        ("", "nothing to copy"),
        ('[sync]\nsource = "oci:a"', "double brackets"),
        ("x = 1", "unknown table or key 'x'"),
        (GOOD + "tag = ['x']", "unknown key 'tag'"),
        (GOOD + "tags = 'v1'", "'tags' is a list"),
        (GOOD + "tags = [1]", "'tags' is a list"),
        (GOOD + "platforms = ['what']", "platform"),
        (GOOD + "referrers = 1", "true or false"),
        ('[[sync]]\ndestination = "oci:b"', "'source' is missing"),
        ('[[sync]]\nsource = 1\ndestination = "oci:b"', "in quotes"),
        ('[[sync]]\nsource = "oci:a"', "'destination' is missing"),
        ('[[sync]]\nsource = "oci:a:v1"\ndestination = "oci:b"', "leave the tag out"),
        ('[[sync]]\nsource = "docker://h.example/a:v1"\ndestination = "oci:b"', "leave the tag out"),
        ('[[sync]]\nsource = "docker-archive:a.tar"\ndestination = "oci:b"', "the source is"),
        ('[[sync]]\nsource = "oci:a"\ndestination = "oci:b:v1"', "leave the tag out"),
        ('[[sync]]\nsource = "oci:a"\ndestination = "docker://h.example/b:v1"', "leave the tag out"),
        ('[[sync]]\nsource = "oci:a"\ndestination = "docker-archive:b.tar"', "takes one image"),
        ('[[sync]]\nsource = "oci:a"\ndestination = "b"', "local store"),
    ],
)
def test_toml_that_is_wrong_is_said_with_its_key(text: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=part) as caught:
        toml(text)
    assert str(caught.value).startswith("x.toml")


# Copies


def test_each_pair_is_copied_and_left_alone_the_second_time(maker: LayoutMaker) -> None:
    for number in (1, 2):
        maker.tag(f"v{number}", maker.image([tar_layer({"a": b"%d" % number})]))
    maker.finish()
    text = "oci:from:v1 oci:to:v1\noci:from:v2 oci-archive:to.tar:v2\n"
    first = run(lines(text))
    assert [one.status for one in first] == ["copied", "copied"]
    assert tags_of("to") == {"v1": tags_of("from")["v1"]}
    assert [one.status for one in run(lines(text))] == ["same", "copied"]  # an archive isn't looked into


def test_a_tag_that_moved_is_copied_again(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([tar_layer({"a": b"1"})]))
    maker.finish()
    run(lines("oci:from:v1 oci:to:v1"))
    maker.entries.clear()
    maker.tag("v1", maker.image([tar_layer({"a": b"2"})]))
    maker.finish()
    (found,) = run(lines("oci:from:v1 oci:to:v1"))
    assert found.status == "copied"
    assert tags_of("to") == tags_of("from")


def test_a_layout_that_lost_a_blob_is_not_the_same(maker: LayoutMaker) -> None:
    layer = tar_layer({"a": b"1"})
    maker.tag("v1", maker.image([layer]))
    maker.finish()
    run(lines("oci:from:v1 oci:to:v1"))
    lost = Path("to/blobs", *layer.digest.split(":"))
    lost.unlink()
    (found,) = run(lines("oci:from:v1 oci:to:v1"))
    assert lost.exists()
    assert found.error is None


def test_a_failure_is_not_the_end_unless_the_caller_stops(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([]))
    maker.finish()
    tasks = lines("oci:from:v1 oci:to:a\noci:from:nope oci:to:b\noci:none:v1 oci:to:c\noci:from:v1 oci:to:d\n")
    found = run(tasks)
    assert [one.status for one in found] == ["copied", "failed", "failed", "copied"]
    assert isinstance(found[1].error, RefNotFound)
    stopped = []
    for outcome in copy_many(tasks, OpenPlaces()):
        stopped.append(outcome.status)
        if outcome.status == "failed":
            break
    assert stopped == ["same", "failed"]


def test_one_destination_for_two_sources_is_a_failure(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([]))
    maker.tag("v2", maker.image([tar_layer({"a": b"1"})]))
    maker.finish()
    found = run(lines("oci:from:v1 oci:to:x\noci:from:v2 oci:to:x\n"))
    assert [one.status for one in found] == ["copied", "failed"]
    assert "is the destination of oci:from:v1 too" in str(found[1].error)


def test_an_interrupt_is_no_outcome(maker: LayoutMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.tag("v1", maker.image([]))
    maker.finish()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oci.transports.copy_many.copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(lines("oci:from:v1 oci:to:x"))


def synced(**fields: Any) -> Sync:
    return Sync(source=LayoutRef("from"), destination="oci:to", where="here", **fields)


def test_tags_are_chosen_by_patterns(maker: LayoutMaker) -> None:
    for name in ("v1.0", "v1.1", "v1.2-rc1", "v2", "latest"):
        maker.tag(name, maker.image([tar_layer({name: b""})]))
    maker.finish()
    found = run((synced(tags=("v1.*", "latest"), exclude=("*-rc*",)),))
    assert [one.destination for one in found] == ["oci:to:v1.0", "oci:to:v1.1", "oci:to:latest"]
    assert tags_of("to") == {
        name: value for name, value in tags_of("from").items() if name in ("v1.0", "v1.1", "latest")
    }
    assert {one.status for one in run((synced(),))} == {"same", "copied"}
    assert tags_of("to") == tags_of("from")
    assert {one.status for one in run((synced(),))} == {"same"}


def test_a_tag_said_by_name_that_is_not_there_fails_and_a_pattern_only_warns(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([]))
    maker.finish()
    for tags in (("gone", "v1"), ("gone", "v*")):
        found = {one.source: one.status for one in run((synced(tags=tags),))}
        assert found["oci:from:gone"] == "failed"
        assert found["oci:from:v1"] in ("copied", "same")
    told: list[str] = []
    assert run((synced(tags=("w*",)),), warn=told.append) == []
    assert told == ["here: no tag of oci:from matches"]
    # One that matches nothing beside one that does is said too: it may be a typing error.
    assert [one.source for one in run((synced(tags=("w*", "v1*", "x?")),), warn=told.append)] == ["oci:from:v1"]
    assert told[1:] == ["here: no tag of oci:from matches 'w*'", "here: no tag of oci:from matches 'x?'"]


def test_tags_that_stand_for_lists_of_referrers_are_no_images(maker: LayoutMaker) -> None:
    """distribution-spec v1.1.1 spec.md#referrers-tag-schema: copied as they are, they'd hide the destination's own."""
    image = maker.image([tar_layer({"a": b"1"})])
    lists = f"sha256-{'0' * 64}"
    for tag in ("v1", lists, f"{lists}.sig", "sha256-0123"):
        maker.tag(tag, image)
    maker.finish()
    assert [outcome.status for outcome in run((synced(),))] == ["copied"] * 3
    assert set(tags_of("to")) == {"v1", f"{lists}.sig", "sha256-0123"}
    assert [outcome.status for outcome in run((synced(tags=(lists,)),))] == ["copied"]  # said by name


def test_a_repository_that_can_not_be_listed_is_one_failure(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([]))
    maker.finish()
    found = run((synced().replace(source=LayoutRef("nowhere")), synced()))
    assert [one.status for one in found] == ["failed", "copied"]


def test_progress_is_made_for_each_copy(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([tar_layer({"a": b"1"})]))
    maker.finish()
    begun: list[str] = []

    def progress(source: str) -> Any:
        begun.append(source)
        return nullcontext(lambda *_: None)

    run(lines("oci:from:v1 oci:to:v1"), progress=progress)
    assert begun == ["oci:from:v1"]


# Some images of an index


def platform(name: str, **more: str) -> Json:
    return {"platform": {"os": "linux", "architecture": name, **more}}


@pytest.fixture
def multi(maker: LayoutMaker) -> LayoutMaker:
    children = [
        maker.image([tar_layer({"a": b"1"})], architecture=n) | platform(n) for n in ("amd64", "arm64", "s390x")
    ]
    about = []
    for number, child in enumerate(children):
        empty = descriptor(b"{}", "a/b")
        made = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": empty, "layers": [], "number": number}
        notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": child["digest"]}
        unknown = {"platform": {"os": "unknown", "architecture": "unknown"}}
        about.append(maker.document(made, OCI_MANIFEST) | unknown | {"annotations": notes})
    maker.put(b"{}")
    maker.tag("multi", maker.document(index([*children, *about], annotations={"k": "v"}, x=1), OCI_INDEX))
    maker.tag("single", children[0])
    maker.finish()
    return maker


def test_one_platform_is_that_image_alone(multi: LayoutMaker) -> None:
    (found,) = run((synced(tags=("multi",), platforms=(Platform("linux", "arm64"),)),))
    index_raw = Path("from/blobs", *tags_of("from")["multi"].split(":")).read_bytes()
    assert str(found.digest) == json.loads(index_raw)["manifests"][1]["digest"] == tags_of("to")["multi"]
    (again,) = run((synced(tags=("multi",), platforms=(Platform("linux", "arm64"),)),))
    assert again.status == "same"


def test_several_platforms_are_an_index_of_them_with_their_attestations(multi: LayoutMaker) -> None:
    wanted = (Platform("linux", "s390x"), Platform("linux", "amd64"), Platform("linux", "riscv64"))
    (found,) = run((synced(tags=("multi",), platforms=wanted),))
    whole = json.loads(Path("from/blobs", *tags_of("from")["multi"].split(":")).read_bytes())
    made = json.loads(Path("to/blobs", *str(found.digest).split(":")).read_bytes())
    assert made == whole | {"manifests": [whole["manifests"][n] for n in (0, 2, 3, 5)]}
    layout = Layout.open("to")
    for one in walk(layout.blobs, layout.index().model.manifests[0]):
        assert layout.blobs.has(one.digest)
    (again,) = run((synced(tags=("multi",), platforms=wanted[::-1]),))
    assert (again.status, again.digest) == ("same", found.digest)


def test_all_platforms_are_the_index_itself_and_none_is_an_error(multi: LayoutMaker) -> None:
    everything = tuple(Platform("linux", name) for name in ("amd64", "arm64", "s390x"))
    with open_source("oci:from:multi") as source:
        assert subset(source, everything) is source
        assert subset(source, ()) is source
        with pytest.raises(NoMatchingPlatform):
            subset(source, (Platform("windows", "amd64"), Platform("linux", "mips")))
    with open_source("oci:from:single") as source:
        assert subset(source, (Platform("linux", "arm64"),)) is source


def test_an_image_of_an_inner_index_is_listed_in_the_new_one(maker: LayoutMaker) -> None:
    children = [
        maker.image([tar_layer({"a": b"1"})], architecture=n) | platform(n) for n in ("amd64", "arm64", "s390x")
    ]
    inner = maker.document(index(children[1:]), OCI_INDEX)
    maker.tag("nested", maker.document(index([children[0], inner]), OCI_INDEX))
    maker.finish()
    wanted = (Platform("linux", "amd64"), Platform("linux", "arm64"))
    (found,) = run((synced(tags=("nested",), platforms=wanted),))
    made = json.loads(Path("to/blobs", *str(found.digest).split(":")).read_bytes())
    assert [entry["digest"] for entry in made["manifests"]] == [children[0]["digest"], children[1]["digest"]]


def test_referrers_come_along_and_keep_nothing_alone(multi: LayoutMaker) -> None:
    from oci.artifact.attach import attach
    from oci.artifact.files import Annotations, Draft
    from oci.transports.from_layout import LayoutDestination

    with open_source("oci:from:single") as source:
        subject = source.resolve()
    notes = Annotations(manifest={"k": "v"})
    with LayoutDestination(Layout.open("from")) as destination:
        made = attach(destination, subject, Draft(artifact_type="a/b", annotations=notes))
    for _ in range(2):
        (found,) = run((synced(tags=("single",), referrers=True),))
        assert found.status == "copied"
        with open_source("oci:to:single") as source:
            assert [one.digest for one in source.referrers(subject)] == [made.digest]
    pair = Pair(source=LayoutRef("from", "single"), destination=LayoutRef("to2", "x"), where="here")
    run((pair,), with_referrers=True)
    with open_source("oci:to2:x") as source:
        assert [one.digest for one in source.referrers(subject)] == [made.digest]


def test_pairs_are_narrowed_to_the_platform_that_is_given(multi: LayoutMaker) -> None:
    (found,) = run(lines("oci:from:multi oci:to:v1"), platform=Platform("linux", "s390x"))
    assert found.digest is not None
    with open_source("oci:to:v1") as source:
        assert source.resolve().digest == found.digest
    assert digest(Path("to/blobs/sha256", found.digest.encoded).read_bytes()) == str(found.digest)
    assert isinstance(found.digest, Digest)
