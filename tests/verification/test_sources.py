"""What can be verified, and how much of it: layouts, archives, single references, one platform; stores that refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oci.errors import LayoutError, NoMatchingPlatform, RefNotFound
from oci.layout.blobs import MemoryBlobs
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.verification.report import CODES, Report
from oci.verification.verify import verify, verify_image
from tests.support import images
from tests.support.images import LayoutMaker, pack, tar_layer

ONE = tar_layer({"one": b"1" * 1000})
TWO = tar_layer({"two": b"2" * 1000})
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "layout")


def two_images(maker: LayoutMaker) -> Path:
    """A good image `good`, and one `bad` whose layer is missing."""
    maker.tag("good", maker.image([ONE]))
    maker.tag("bad", maker.image([TWO], architecture="arm64"))
    maker.blob_path(TWO.digest).unlink()
    return maker.finish()


def two_platforms(maker: LayoutMaker) -> Path:
    """An index `multi` for amd64 (good) and arm64 (whose layer is missing)."""
    children = [
        maker.image([ONE]) | {"platform": AMD64},
        maker.image([TWO], architecture="arm64") | {"platform": ARM64},
    ]
    maker.tag("multi", maker.document(images.index(children), images.OCI_INDEX))
    maker.blob_path(TWO.digest).unlink()
    return maker.finish()


@pytest.mark.parametrize("kind", ["directory", "archive", "compressed archive"])
def test_layouts_and_archives_are_read_alike(maker: LayoutMaker, tmp_path: Path, kind: str) -> None:
    path = two_images(maker)
    maker.put(b"spare")
    if kind != "directory":
        path = pack(path, tmp_path / "packed.tar", compressed=kind != "archive")
    report = verify(path)
    assert codes(report) == ["missing-blob", "unreferenced-blob"]
    assert report.checked.manifests == report.checked.configs == 2
    assert codes(verify(path, tag="good")) == []
    assert codes(verify(path, tag="bad")) == ["missing-blob"]


def test_a_broken_archive_is_a_finding(maker: LayoutMaker, tmp_path: Path) -> None:
    path = pack(two_images(maker), tmp_path / "packed.tar")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 512 * 512 + 100)
    assert codes(verify(path)) == ["layout-file"]


def test_an_archive_without_marker_is_told_of(maker: LayoutMaker, tmp_path: Path) -> None:
    (two_images(maker) / "oci-layout").unlink()
    path = pack(maker.path, tmp_path / "packed.tar")
    assert codes(verify(path, tag="good")) == ["layout-file"]


def test_nothing_there_is_an_error_and_no_finding(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such file"):
        verify(tmp_path / "nowhere")


def test_an_empty_directory_is_no_layout(tmp_path: Path) -> None:
    report = verify(tmp_path)
    assert [(finding.code, finding.where) for finding in report.findings] == [
        ("layout-file", "oci-layout"),
        ("layout-file", "index.json"),
        ("layout-file", "blobs"),
    ]


def test_an_unknown_tag_lists_those_there_are(maker: LayoutMaker) -> None:
    with pytest.raises(RefNotFound, match="good, bad"):
        verify(two_images(maker), tag="other")


def test_a_tag_is_found_in_an_index_json_that_is_partly_wrong(maker: LayoutMaker) -> None:
    maker.entries.append({"digest": "nonsense"})
    path = two_images(maker)
    assert codes(verify(path, tag="good")) == ["bad-descriptor"] * 3
    with pytest.raises(RefNotFound, match="good, bad"):
        verify(path, tag="other")


def test_one_image_is_not_blamed_for_what_lies_beside_it(maker: LayoutMaker) -> None:
    path = two_images(maker)
    maker.put(b"spare")
    (path / "blobs" / "sha256" / ("0" * 64)).mkdir()
    assert codes(verify(path, tag="good")) == []
    assert "layout-file" in codes(verify(path))


def test_a_damaged_list_of_blobs_hides_nothing_else(maker: LayoutMaker) -> None:
    path = two_images(maker)
    (path / "blobs" / "loop").symlink_to("loop")
    assert sorted(codes(verify(path))) == ["foreign-file", "missing-blob"]


def test_a_digest_may_be_deeper_than_index_json(maker: LayoutMaker) -> None:
    path = two_platforms(maker)
    children = maker.read(maker.entries[0]["digest"])["manifests"]
    good, bad = (Digest.parse(child["digest"]) for child in children)
    assert codes(verify(path, digest=good)) == []
    assert codes(verify(path, digest=bad)) == ["missing-blob"]
    with pytest.raises(RefNotFound):
        verify(path, digest=Digest.of(b"elsewhere"))


def test_one_platform_of_an_index_or_all_of_them(maker: LayoutMaker) -> None:
    path = two_platforms(maker)
    amd64, arm64 = Platform("linux", "amd64"), Platform("linux", "arm64")
    assert codes(verify(path, tag="multi", platform=amd64)) == []
    assert codes(verify(path, tag="multi", platform=arm64)) == ["missing-blob"]
    assert codes(verify(path, tag="multi")) == ["missing-blob"]
    with pytest.raises(NoMatchingPlatform, match="linux/amd64, linux/arm64"):
        verify(path, tag="multi", platform=Platform("linux", "s390x"))


def test_a_sparse_index_is_wrong_as_a_whole_and_right_for_the_image_that_is_here(maker: LayoutMaker) -> None:
    path = two_platforms(maker)
    absent = maker.read(maker.entries[0]["digest"])["manifests"][1]["digest"]
    maker.blob_path(absent).unlink()
    report = verify(path)
    assert "missing-blob" in codes(report)
    assert not report.ok
    assert "sparse index" in report.errors[0].message
    assert verify(path, tag="multi", platform=Platform("linux", "amd64")).ok


def test_a_tag_at_several_platforms_means_the_fitting_image(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([ONE]) | {"platform": AMD64})
    maker.tag("v1", maker.image([TWO], architecture="arm64") | {"platform": ARM64})
    path = maker.finish()
    assert codes(verify(path)) == []
    maker.blob_path(TWO.digest).unlink()
    assert codes(verify(path, tag="v1", platform=Platform("linux", "amd64"))) == []
    assert codes(verify(path, tag="v1")) == ["missing-blob"]


@pytest.mark.parametrize(("count", "also"), [(5, "(also used in 4 more places)"), (2, "(also used in 1 more place)")])
def test_a_layer_of_several_images_is_read_once_and_told_of_once(maker: LayoutMaker, count: int, also: str) -> None:
    for number in range(count):
        maker.tag(f"v{number}", maker.image([ONE], author=f"author {number}"))
    path = maker.finish()
    assert verify(path).checked.layers == 1
    data = bytearray(ONE.data)
    data[-1] ^= 1
    maker.blob_path(ONE.digest).write_bytes(data)
    report = verify(path)
    assert codes(report) == ["digest-mismatch", "corrupt-layer"]
    assert also in report.findings[0].message


def test_docker_types_are_read_as_equals(maker: LayoutMaker) -> None:
    maker.tag("docker", maker.image([tar_layer({"a": b"x"}, media_type=images.DOCKER_LAYER_GZIP)], docker=True))
    child = maker.image([tar_layer({"b": b"x"}, media_type=images.DOCKER_LAYER_GZIP)], docker=True)
    listed = images.index([child | {"platform": AMD64}], media_type=images.DOCKER_LIST)
    maker.tag("list", maker.document(listed, images.DOCKER_LIST))
    assert codes(verify(maker.finish())) == []


def test_signatures_and_attestations_beside_an_image_are_no_faults(maker: LayoutMaker) -> None:
    """The shapes that cosign and BuildKit write: configs of images whose layers are no file systems."""
    payload = b'{"critical":{}}'
    maker.put(payload)
    diff_id = images.digest(payload)
    for kind, system, architecture in (
        ("application/vnd.dev.cosign.simplesigning.v1+json", "", ""),
        ("application/vnd.in-toto+json", "unknown", "unknown"),
    ):
        described = maker.document(images.config([diff_id], os=system, architecture=architecture), images.OCI_CONFIG)
        layer = images.descriptor(payload, kind, annotations={"in-toto.io/predicate-type": "x"})
        platform = {"os": "unknown", "architecture": "unknown"} if system else {"os": "linux", "architecture": "amd64"}
        maker.tag(
            None, maker.document(images.manifest(described, [layer]), images.OCI_MANIFEST) | {"platform": platform}
        )
    assert codes(verify(maker.finish())) == []


def test_embedded_content_stands_in_for_a_blob_that_is_not_stored(maker: LayoutMaker) -> None:
    described = images.descriptor(b"{}", images.OCI_EMPTY, embed=True)
    made = images.manifest(described, [described], artifactType="application/vnd.example.thing")
    maker.tag("thing", maker.document(made, images.OCI_MANIFEST))
    assert codes(verify(maker.finish())) == []


def test_sha512_names_are_checked_by_sha512(maker: LayoutMaker) -> None:
    name = images.digest(ONE.data, "sha512")
    maker.put(ONE.data, name=name)
    described = maker.document(images.config([ONE.diff_id]), images.OCI_CONFIG)
    layer = ONE.descriptor() | {"digest": name}
    maker.tag("v1", maker.document(images.manifest(described, [layer]), images.OCI_MANIFEST))
    assert codes(verify(maker.finish())) == []
    maker.blob_path(name).write_bytes(ONE.data[:-1] + b"x")
    assert "digest-mismatch" in codes(verify(maker.path))


def test_findings_alike_are_bounded_and_counted(maker: LayoutMaker) -> None:
    layer = tar_layer([(f"../{number}", b"") for number in range(250)])
    maker.tag("v1", maker.image([layer]))
    report = verify(maker.finish())
    assert codes(report) == ["unsafe-entry"] * 101
    assert report.findings[-1].message.startswith("and 150 more")


def test_documents_with_very_many_faults_are_bounded(maker: LayoutMaker) -> None:
    maker.finish(images.index([{"mediaType": 1} for _ in range(2000)]))
    report = verify(maker.path)
    assert 100 <= len(report.findings) <= 102


def test_an_index_of_very_many_missing_images_is_bounded(maker: LayoutMaker) -> None:
    missing = [images.descriptor(str(number).encode(), images.OCI_MANIFEST) for number in range(500)]
    maker.finish(images.index(missing))
    report = verify(maker.path)
    assert codes(report) == ["missing-blob"] * 101
    assert (report.findings[-1].where, report.findings[-1].message[:12]) == ("index.json", "and 400 more")


@pytest.mark.parametrize(("depth", "code"), [(80, "schema"), (100_000, "invalid-json")])
def test_nesting_is_bounded(maker: LayoutMaker, depth: int, code: str) -> None:
    maker.finish()
    (maker.path / "index.json").write_bytes(
        b'{"schemaVersion":2,"manifests":[],"x":' + b"[" * depth + b"]" * depth + b"}"
    )
    assert codes(verify(maker.path)) == [code]


def test_hostile_names_become_printable(maker: LayoutMaker) -> None:
    hostile = "\x1b[31mred\n::error::\u202eevil"
    layer = tar_layer([(f"../{hostile}", b"")])
    maker.entries.append(maker.image([layer]) | {"annotations": {images.REF_NAME: hostile}})
    report = verify(maker.finish(), subject=hostile)
    assert set(codes(report)) == {"bad-tag", "unsafe-entry"}
    for text in (report.subject, *(f"{finding.where}{finding.message}" for finding in report.findings)):
        assert text.isprintable()


class Refusing(MemoryBlobs):
    """A store that fails as disks and permissions do."""

    def __init__(self, blobs: list[bytes], refused: Digest) -> None:
        super().__init__(blobs)
        self.refused = refused

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:  # type: ignore[override]
        if descriptor.digest == self.refused:
            raise PermissionError(13, "Permission denied", "/somewhere")
        with super().open_raw(descriptor) as chunks:
            yield chunks


def stored_image() -> tuple[list[bytes], dict[str, Any], bytes]:
    config = images.encode(images.config([ONE.diff_id, TWO.diff_id]))
    manifest = images.encode(
        images.manifest(images.descriptor(config, images.OCI_CONFIG), [ONE.descriptor(), TWO.descriptor()])
    )
    return [ONE.data, TWO.data, config, manifest], images.descriptor(manifest, images.OCI_MANIFEST), config


@pytest.mark.parametrize("at", range(4))
def test_what_cannot_be_read_is_a_finding(at: int) -> None:
    blobs, described, _ = stored_image()
    refused = Digest.of(blobs[at])
    report = verify_image(Refusing(blobs, refused), Descriptor.from_json(described), subject="image")
    assert codes(report) == ["unreadable"]
    assert "Permission denied" in report.findings[0].message
    assert str(refused) in report.findings[0].message


def test_an_image_in_any_store_can_be_verified() -> None:
    blobs, described, _ = stored_image()
    report = verify_image(MemoryBlobs(blobs), Descriptor.from_json(described), subject="image")
    assert report.ok
    assert report.checked.layers == 2
    assert report.checked.bytes == sum(map(len, blobs))


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_the_report_is_the_same_for_any_number_of_jobs(maker: LayoutMaker, jobs: int) -> None:
    layers = [tar_layer({f"../{number}": bytes(number * 1000)}) for number in range(8)]
    maker.tag("v1", maker.image(layers))
    report = verify(maker.finish(), jobs=jobs)
    wheres = [finding.where.rpartition("/")[2] for finding in report.findings]
    assert wheres == [str(number) for number in range(8)]


def test_a_bug_in_one_blob_stops_all(maker: LayoutMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> object:
        raise ZeroDivisionError

    maker.tag("v1", maker.image([ONE, TWO]))
    monkeypatch.setattr("oci.verification.verify.check_blob", broken)
    with pytest.raises(ZeroDivisionError):
        verify(maker.finish())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not read")
def test_files_without_permission_are_findings(maker: LayoutMaker) -> None:
    maker.tag("v1", maker.image([ONE, TWO]))
    path = maker.finish()
    for parent in (path, *path.parents):
        if parent != Path("/") and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    for spot in path.rglob("*"):
        spot.chmod(0o755 if spot.is_dir() else 0o644)
    path.chmod(0o755)
    maker.blob_path(ONE.digest).chmod(0)
    (path / "oci-layout").chmod(0)
    script = (
        "import os, sys, json; from oci.verification.verify import verify;"
        "verify(sys.argv[1]);"  # as root, so that all is imported
        "os.seteuid(65534);"
        "print(json.dumps(verify(sys.argv[1]).to_json()))"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    problems = json.loads(done.stdout)["problems"]
    assert [problem["code"] for problem in problems] == ["unreadable", "unreadable"]


def test_every_code_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
    for code in CODES:
        assert f"### `{code}`" in text, code


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_found_and_nothing_raises(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    maker = LayoutMaker(tmp_path_factory.mktemp("changed") / "layout")
    maker.tag("v1", maker.image([ONE, TWO]))
    files = sorted(path for path in maker.finish().rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    report = verify(maker.path)
    assert all(finding.code in CODES for finding in report.findings)
    if path.parent.name == "sha256":
        assert not report.ok
