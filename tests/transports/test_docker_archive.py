"""docker-archive: the two forms that are read, the one that is written, and names in it."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest

from oci.errors import (
    DestinationError,
    DiffIdMismatch,
    DigestMismatch,
    InvalidDocument,
    LayoutError,
    OciError,
    RefNotFound,
)
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.spec import Descriptor, Platform
from oci.transports.copy import copy
from oci.transports.from_docker_archive import DockerArchiveSource
from oci.transports.names import open_destination, open_source
from tests.support.images import OCI_INDEX, Entries, Json, LayoutMaker, config, digest, encode, index, tar, tar_layer

AMD64 = Platform("linux", "amd64")


def legacy(path: Path, *images: tuple[list[str] | None, list[bytes]], extra: Entries = ()) -> list[bytes]:
    """What `docker save` wrote before Docker 25: layers in folders, equal ones linked; gives the configs' bytes."""
    members: list[tuple[str, object]] = []
    listed: list[Json] = []
    configs = []
    seen: dict[str, str] = {}
    for tags, layers in images:
        names = []
        for number, layer in enumerate(layers):
            plain = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
            name = f"{len(listed)}{number}{digest(plain)[9:]}/layer.tar"
            if digest(layer) in seen:
                members.append((name, ("symlink", f"../{seen[digest(layer)]}")))
            else:
                seen[digest(layer)] = name
                members.append((name, layer))
            members.append((name.replace("layer.tar", "VERSION"), b"1.0"))
            names.append(name)
        inside = [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]
        raw = encode(config([digest(layer) for layer in inside], docker_version="20.10", container_config={}))
        configs.append(raw)
        name = f"{digest(raw)[7:]}.json"
        members.append((name, raw))
        listed.append({"Config": name, "RepoTags": tags, "Layers": names})
    members += [("repositories", b"{}"), ("manifest.json", encode(listed)), *extra]  # type: ignore[misc]
    path.write_bytes(tar(members))  # type: ignore[arg-type]
    return configs


def run(source: str, target: str, *, platform: Platform | None = AMD64, **options: object) -> Descriptor:
    with open_source(source) as opened, open_destination(target) as destination:
        return copy(opened, destination, platform=platform, **options)  # type: ignore[arg-type]


LAYERS = [tar({"a": b"1" * 3000}), tar({"b": b"2"})]


def test_the_legacy_form_becomes_an_image_with_config_and_layers_byte_for_byte(tmp_path: Path) -> None:
    (raw,) = legacy(tmp_path / "d.tar", (["busybox:1"], [*LAYERS, LAYERS[0]]))
    made = run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")
    layout = Layout.open(tmp_path / "t")
    found = {str(d.digest): d for d in walk(layout.blobs, made)}
    assert set(found) == {str(made.digest), digest(raw), *map(digest, LAYERS)}
    assert found[digest(LAYERS[0])].media_type == "application/vnd.oci.image.layer.v1.tar"
    with layout.blobs.open(made) as chunks:
        assert [layer["digest"] for layer in json.loads(b"".join(chunks))["layers"]] == [
            digest(LAYERS[0]),
            digest(LAYERS[1]),
            digest(LAYERS[0]),
        ]


def test_compressed_layers_are_kept_compressed(tmp_path: Path) -> None:
    packed = gzip.compress(LAYERS[0], mtime=0)
    legacy(tmp_path / "d.tar", (None, [packed]))
    made = run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")
    found = {str(d.digest): d.media_type for d in walk(Layout.open(tmp_path / "t").blobs, made)}
    assert found[digest(packed)] == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_a_layer_that_is_not_what_the_config_says_stops_the_copy(tmp_path: Path) -> None:
    raw = encode(config([digest(b"another layer")]))
    members = {"c.json": raw, "l.tar": LAYERS[0], "manifest.json": encode([{"Config": "c.json", "Layers": ["l.tar"]}])}
    (tmp_path / "d.tar").write_bytes(tar(members))
    with pytest.raises((DigestMismatch, DiffIdMismatch)):
        run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")
    assert Layout.open(tmp_path / "t").tags() == {}


@pytest.mark.parametrize(
    ("name", "number"),
    [("busybox:1", 0), ("busybox:latest", 1), ("busybox", 1), ("docker.io/library/busybox:1", 0), ("ghcr.io/a/b:x", 0)],
)
def test_an_image_is_chosen_by_its_name_as_docker_reads_names(tmp_path: Path, name: str, number: int) -> None:
    configs = legacy(
        tmp_path / "d.tar", (["busybox:1", "ghcr.io/a/b:x"], [LAYERS[0]]), (["busybox:latest"], [LAYERS[1]])
    )
    made = run(f"docker-archive:{tmp_path}/d.tar:{name}", f"oci:{tmp_path}/t:v1")
    assert digest(configs[number]) in {str(d.digest) for d in walk(Layout.open(tmp_path / "t").blobs, made)}


def test_names_that_are_missing_or_needed_are_listed(tmp_path: Path) -> None:
    legacy(tmp_path / "d.tar", (["busybox:1"], [LAYERS[0]]), (None, [LAYERS[1]]))
    with pytest.raises(RefNotFound, match="there is: busybox:1"):
        run(f"docker-archive:{tmp_path}/d.tar:alpine", f"oci:{tmp_path}/t:v1")
    with pytest.raises(LayoutError, match="several images; say which: busybox:1, "):
        run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")
    legacy(tmp_path / "e.tar")
    with pytest.raises(LayoutError, match="holds no images"):
        run(f"docker-archive:{tmp_path}/e.tar", f"oci:{tmp_path}/t:v1")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"x": b""}, "no file 'manifest.json'"),
        ({"oci-layout": b""}, "it is an oci-archive"),
        ({"manifest.json": b"{}"}, "expected an array"),
        ({"manifest.json": b"[{}]"}, "'Config' is missing"),
        ({"manifest.json": b'[{"Config":"c"}]'}, "no file 'c'"),
        ({"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": encode(config([]))}, "0 diff_ids for 1 layers"),
        ({"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": encode(config([digest(b"")]))}, "no file 'l'"),
        (
            {"manifest.json": b'[{"Config":"c","Layers":["../../etc/passwd"]}]', "c": encode(config([digest(b"")]))},
            "no file",
        ),
        ({"manifest.json": b'[{"Config":"c"}]', "c": b"hello"}, "config"),
    ],
)
def test_what_is_no_docker_archive_gets_one_clear_error(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    (tmp_path / "d.tar").write_bytes(tar(members))
    with pytest.raises((LayoutError, InvalidDocument), match=message):
        run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")


def modern(tmp_path: Path, *, without: str | None = None) -> Json:
    """What Docker 25 and later write: a layout with manifest.json beside it; here an index around the image."""
    maker = LayoutMaker(tmp_path / "modern")
    image = maker.image([tar_layer({"a": b"1"}), tar_layer({"b": b"2"})])
    model = maker.read(image["digest"])
    maker.tag("1", maker.document(index([image]), OCI_INDEX))
    maker.finish()
    member = "blobs/sha256/{}".format
    layers = [layer["digest"] for layer in model["layers"]]
    item = {
        "Config": member(model["config"]["digest"][7:]),
        "RepoTags": ["busybox:1"],
        "Layers": [member(name[7:]) for name in layers],
    }
    (maker.path / "manifest.json").write_bytes(encode([item]))
    if without is not None:
        maker.blob_path(without if without != "manifest" else image["digest"]).unlink()
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        archive.add(maker.path, ".")
    return image


def test_the_form_of_docker_25_keeps_the_images_digest(tmp_path: Path) -> None:
    image = modern(tmp_path)
    assert str(run(f"docker-archive:{tmp_path}/d.tar:busybox:1", f"oci:{tmp_path}/t:v1").digest) == image["digest"]


def test_a_layout_beside_manifest_json_that_lacks_the_manifest_is_passed_over(tmp_path: Path) -> None:
    modern(tmp_path, without="manifest")
    made = run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")
    assert len(list(walk(Layout.open(tmp_path / "t").blobs, made))) == 4


# Writing


@pytest.fixture
def source(tmp_path: Path) -> Path:
    maker = LayoutMaker(tmp_path / "source")
    maker.tag("v1", maker.image([tar_layer({"a": b"1"}), tar_layer({"b": b"2"})]))
    maker.tag(
        "multi",
        maker.document(index([maker.entries[0] | {"platform": {"os": "linux", "architecture": "amd64"}}]), OCI_INDEX),
    )
    return maker.finish()


def test_what_is_written_is_a_layout_and_a_docker_archive_in_one(source: Path, tmp_path: Path) -> None:
    made = run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar:busybox:1")
    with tarfile.open(tmp_path / "d.tar") as archive:
        names = archive.getnames()
        member = archive.extractfile("manifest.json")
        assert member is not None
        (item,) = json.load(member)
    assert item["RepoTags"] == ["busybox:1"]
    assert set(names) >= {"oci-layout", "index.json", item["Config"], *item["Layers"]}
    for reference in (f"docker-archive:{tmp_path}/d.tar:busybox:1", f"docker-archive:{tmp_path}/d.tar"):
        assert run(reference, f"oci:{tmp_path}/back:v1").digest == made.digest
    for reference in ("1", "busybox:1"):
        with open_source(f"oci-archive:{tmp_path}/d.tar:{reference}") as opened:
            assert opened.resolve().digest == made.digest


def test_an_image_without_a_name_is_written_without_one(source: Path, tmp_path: Path) -> None:
    run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar")
    with DockerArchiveSource(tmp_path / "d.tar") as archive:
        assert archive.items[0].tags == ()


def test_the_same_image_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/a.tar:x")
    os.umask(os.umask(0o077))
    run(f"docker-archive:{tmp_path}/a.tar:x", f"docker-archive:{tmp_path}/b.tar:x")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_existing_archive_is_refused(source: Path, tmp_path: Path) -> None:
    run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar:x")
    before = (tmp_path / "d.tar").read_bytes()
    with pytest.raises(DestinationError, match="not added to"):
        run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar:y")
    assert (tmp_path / "d.tar").read_bytes() == before


def test_an_index_does_not_fit_but_one_of_its_images_does(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="--platform"):
        run(f"oci:{source}:multi", f"docker-archive:{tmp_path}/d.tar:x", platform=None)
    assert not (tmp_path / "d.tar").exists()
    run(f"oci:{source}:multi", f"docker-archive:{tmp_path}/d.tar:x")


def test_no_fault_leaves_a_file(source: Path, tmp_path: Path) -> None:
    layer = Layout.open(source).resolve("v1")
    with pytest.raises(OciError):
        run(f"oci:{source}:nothing", f"docker-archive:{tmp_path}/d.tar:x")
    (source / "blobs/sha256" / layer.digest.encoded).write_bytes(b"x" * layer.size)
    with pytest.raises(OciError):
        run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar:x")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_all_images_of_an_archive_are_listed_under_all_their_names(tmp_path: Path) -> None:
    legacy(tmp_path / "d.tar", (["a:1", "a:2"], [LAYERS[0]]), (None, [LAYERS[1]]))
    with DockerArchiveSource(tmp_path / "d.tar") as source:
        entries = list(source.entries())
        assert [entry.annotations.get("org.opencontainers.image.ref.name") for entry in entries] == ["a:1", "a:2", None]
        assert entries[0].digest == entries[1].digest != entries[2].digest
        assert all(source.has(entry.digest) for entry in entries)


def test_a_name_that_is_no_reference_is_still_a_name(tmp_path: Path) -> None:
    legacy(tmp_path / "d.tar", (["Not A Reference"], [LAYERS[0]]), (["b:1"], [LAYERS[1]]))
    with DockerArchiveSource(tmp_path / "d.tar", name="Not A Reference") as source:
        assert source.resolve() == next(source.entries()).replace(annotations={})
        assert list(source.referrers(source.resolve())) == []


def test_a_compression_is_told_however_little_of_a_layer_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.layout.tar_files.KEPT_SIZE", 0)
    layer = gzip.compress(LAYERS[0], mtime=0)
    legacy(tmp_path / "plain.tar", (None, [layer]))
    raw = (tmp_path / "plain.tar").read_bytes()
    cut = raw.index(layer) + 1
    (tmp_path / "d.tar").write_bytes(gzip.compress(raw[:cut]) + gzip.compress(raw[cut:]))
    made = run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/t:v1")
    found = {str(d.digest): d.media_type for d in walk(Layout.open(tmp_path / "t").blobs, made)}
    assert found[digest(layer)] == "application/vnd.oci.image.layer.v1.tar+gzip"
