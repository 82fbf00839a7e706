"""A good layout, broken in one place at a time: exactly the expected codes, at exactly the expected places."""

from __future__ import annotations

import bz2
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oci.verification.verify import verify
from tests.support import images
from tests.support.images import LayerBlob, LayoutMaker, digest, encode, tar_layer

BASE = tar_layer({"etc/": None, "etc/hostname": b"box\n", "bin": ("symlink", "usr/bin"), "usr/": None})
TOP = tar_layer({"etc/.wh.hostname": b"", "usr/bin/": None, "usr/bin/sh": b"#!" + bytes(range(256)) * 40})
ZERO = "sha256:" + "0" * 64


@dataclass
class Case:
    """The parts of a good image, to be bent before (or after) they are written."""

    maker: LayoutMaker
    layers: list[LayerBlob] = field(default_factory=lambda: [BASE, TOP])
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    index: dict[str, Any] = field(default_factory=dict)
    config_digest: str = ""
    manifest_digest: str = ""

    def __post_init__(self) -> None:
        self.config = images.config([layer.diff_id for layer in self.layers])
        for layer in self.layers:
            self.maker.put(layer.data)
        self.rewrite_config(lambda config: None)

    def rewrite_config(self, change: Callable[[Any], object]) -> None:
        """Change the config and everything above it, so that all digests are right again."""
        if self.config_digest:
            self.maker.blob_path(self.config_digest).unlink()
        change(self.config)
        described = self.maker.document(self.config, images.OCI_CONFIG)
        self.config_digest = described["digest"]
        if not self.manifest:
            self.manifest = images.manifest(described, [layer.descriptor() for layer in self.layers])
        self.manifest["config"] |= described
        self.rewrite_manifest(lambda manifest: None)

    def rewrite_manifest(self, change: Callable[[Any], object]) -> None:
        """Change the manifest and the index above it."""
        if self.manifest_digest:
            self.maker.blob_path(self.manifest_digest).unlink()
        change(self.manifest)
        described = self.maker.document(self.manifest, images.OCI_MANIFEST)
        self.manifest_digest = described["digest"]
        if not self.index:
            self.index = images.index([{**described, "annotations": {images.REF_NAME: "v1"}}])
        self.index["manifests"][0] |= described
        self.rewrite_index(lambda index: None)

    def rewrite_index(self, change: Callable[[Any], object]) -> None:
        """Change index.json."""
        change(self.index)
        self.maker.finish(self.index)

    def replace_layer(self, at: int, layer: LayerBlob, *, keep_diff_id: bool = False) -> None:
        """Put another layer in, everything above following."""
        self.maker.blob_path(self.layers[at].digest).unlink()
        self.layers[at] = layer
        self.maker.put(layer.data)
        self.manifest["layers"][at] = layer.descriptor()
        if not keep_diff_id:
            self.config["rootfs"]["diff_ids"][at] = layer.diff_id
        self.rewrite_config(lambda config: None)

    def flip(self, name: str, at: int) -> None:
        """Turn one bit of a stored blob."""
        path = self.maker.blob_path(name)
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(data)

    def place(self, text: str) -> str:
        """Fill MANIFEST, CONFIG, LAYER0, LAYER1 in with digests."""
        for word, name in (
            ("MANIFEST", self.manifest_digest),
            ("CONFIG", self.config_digest),
            ("LAYER0", self.layers[0].digest),
            ("LAYER1", self.layers[1].digest),
        ):
            text = text.replace(word, name)
        return text


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(LayoutMaker(tmp_path / "layout"))


def found(case: Case, **options: Any) -> list[tuple[str, str, str]]:
    report = verify(case.maker.path, **options)
    for finding in report.findings:
        assert finding.message
        assert finding.message.isprintable()
    return [(finding.code, finding.severity, finding.where) for finding in report.findings]


def test_a_good_layout_has_no_findings_and_counts_what_was_read(case: Case) -> None:
    report = verify(case.maker.path, subject="it")
    assert report.findings == ()
    stored = sum(path.stat().st_size for path in case.maker.path.rglob("*") if path.is_file())
    marker = (case.maker.path / "oci-layout").stat().st_size
    assert report.to_json() == {
        "ok": True,
        "subject": "it",
        "checked": {"manifests": 1, "configs": 1, "layers": 2, "bytes": stored - marker},
        "problems": [],
    }


def write(name: str, data: bytes) -> Callable[[Case], object]:
    return lambda case: (case.maker.path / name).write_bytes(data)


def index(change: Callable[[Any], object]) -> Callable[[Case], object]:
    return lambda case: case.rewrite_index(change)


def manifest(change: Callable[[Any], object]) -> Callable[[Case], object]:
    return lambda case: case.rewrite_manifest(change)


def config(change: Callable[[Any], object]) -> Callable[[Case], object]:
    return lambda case: case.rewrite_config(change)


def entries(*some: tuple[str, images.What], pax: Any = None) -> Callable[[Case], object]:
    return lambda case: case.replace_layer(1, tar_layer(list(some), pax=pax or {}))


def stored(name: str, change: Callable[[bytes], bytes]) -> Callable[[Case], object]:
    def act(case: Case) -> None:
        path = case.maker.blob_path(case.place(name))
        path.write_bytes(change(path.read_bytes()))

    return act


def extra_image(case: Case, platform: dict[str, str], **config_fields: Any) -> dict[str, Any]:
    return {**case.maker.image([BASE], **config_fields), "platform": platform}


def nested(case: Case, levels: int) -> None:
    """The image inside as many indexes."""
    described = case.index["manifests"][0]
    for _ in range(levels):
        described = case.maker.document(images.index([described]), images.OCI_INDEX)
    case.index["manifests"] = [described]
    case.rewrite_index(lambda value: None)


def cycle(case: Case) -> None:
    """Two indexes that name each other: possible only because one lies about its digest."""
    inner = {"mediaType": images.OCI_INDEX, "digest": ZERO, "size": 400}
    outer = case.maker.document(images.index([inner]), images.OCI_INDEX)
    data = encode(images.index([outer]))
    case.maker.put(data + b" " * (400 - len(data)), name=ZERO)
    case.rewrite_index(lambda value: value["manifests"].append(outer))


def artifact(case: Case, **fields: Any) -> None:
    empty = images.descriptor(b"{}", images.OCI_EMPTY)
    case.maker.put(b"{}")
    case.rewrite_index(
        lambda value: value["manifests"].append(
            case.maker.document(images.manifest(empty, [empty], **fields), images.OCI_MANIFEST)
        )
    )


Found = tuple[str, str]  # code, place; a code ends with "?" for a warning
LAYER1 = "layer LAYER1"

CASES: dict[str, tuple[Callable[[Case], object], list[Found]]] = {
    # the layout's files
    "no oci-layout": (lambda case: (case.maker.path / "oci-layout").unlink(), [("layout-file", "oci-layout")]),
    "oci-layout is a directory": (
        lambda case: ((case.maker.path / "oci-layout").unlink(), (case.maker.path / "oci-layout").mkdir()),
        [("layout-file", "oci-layout")],
    ),
    "oci-layout is not JSON": (write("oci-layout", b"{"), [("invalid-json", "oci-layout")]),
    "oci-layout is an array": (write("oci-layout", b"[]"), [("layout-version", "oci-layout")]),
    "oci-layout without version": (write("oci-layout", b"{}"), [("layout-version", "oci-layout")]),
    "oci-layout of another version": (
        write("oci-layout", b'{"imageLayoutVersion":"2.0.0"}'),
        [("layout-version", "oci-layout /imageLayoutVersion")],
    ),
    "oci-layout says it twice": (
        write("oci-layout", b'{"imageLayoutVersion":"2.0.0","imageLayoutVersion":"1.0.0"}'),
        [("duplicate-json-name", "oci-layout")],
    ),
    "oci-layout is huge": (write("oci-layout", b" " * 70000), [("too-large", "oci-layout")]),
    "a stray file at the top": (write("notes.txt", b"x"), [("foreign-file?", "notes.txt")]),
    "an unfinished file": (write(".tmp-0123456789abcdef", b"x"), [("foreign-file?", ".tmp-0123456789abcdef")]),
    "docker's manifest.json beside it": (write("manifest.json", b"[]"), []),
    "a stray file in blobs": (write("blobs/README", b"x"), [("foreign-file?", "blobs/README")]),
    "a stray file among blobs": (
        write("blobs/sha256/oci-put-blob123", b"x"),
        [("foreign-file?", "blobs/sha256/oci-put-blob123")],
    ),
    "an unreferenced blob": (
        lambda case: case.maker.put(b"spare"),
        [("unreferenced-blob?", f"blobs/sha256/{digest(b'spare')[7:]}")],
    ),
    "an unreferenced blob with the wrong name": (
        lambda case: case.maker.put(b"spare", name=ZERO),
        [("unreferenced-blob?", f"blobs/sha256/{ZERO[7:]}"), ("digest-mismatch", f"blobs/sha256/{ZERO[7:]}")],
    ),
    # index.json
    "index.json is not JSON": (
        write("index.json", b"{,}"),
        [("invalid-json", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "index.json is empty": (
        write("index.json", b""),
        [("invalid-json", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "index.json is an array": (
        write("index.json", b"[]"),
        [("schema", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "index.json is null": (
        write("index.json", b"null"),
        [("schema", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "index.json without manifests": (
        index(lambda value: value.pop("manifests")),
        [("schema", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "index.json with a byte order mark": (
        lambda case: write("index.json", b"\xef\xbb\xbf" + encode(case.index))(case),
        [("invalid-json", "index.json")],
    ),
    "index.json with bad UTF-8": (
        lambda case: write("index.json", encode({**case.index, "x": "@"}).replace(b"@", b"\xff"))(case),
        [("invalid-json", "index.json")],
    ),
    "index.json with NaN": (
        lambda case: write("index.json", encode({**case.index, "x": "@"}).replace(b'"@"', b"NaN"))(case),
        [("invalid-json", "index.json")],
    ),
    "index.json with schemaVersion 1": (
        index(lambda value: value.update(schemaVersion=1)),
        [("schema", "index.json /schemaVersion")],
    ),
    "index.json with another media type": (
        index(lambda value: value.update(mediaType="text/plain")),
        [("media-type", "index.json")],
    ),
    "index.json that is a manifest too": (
        index(lambda value: value.update(layers=[])),
        [("media-type", "index.json")],
    ),
    "index.json says a name twice": (
        lambda case: write("index.json", b'{"schemaVersion":2,' + encode(case.index)[1:])(case),
        [("duplicate-json-name", "index.json")],
    ),
    "annotations that are no text": (
        index(lambda value: value.update(annotations={"a": 1})),
        [("schema", "index.json /annotations/a")],
    ),
    "the same tag twice": (
        lambda case: case.rewrite_index(lambda value: value["manifests"].append(dict(value["manifests"][0]))),
        [("duplicate-tag?", f"index.json /manifests/1/annotations/{images.REF_NAME}")],
    ),
    "a tag outside the grammar": (
        index(lambda value: value["manifests"][0]["annotations"].update({images.REF_NAME: "a b"})),
        [("bad-tag?", f"index.json /manifests/0/annotations/{images.REF_NAME}")],
    ),
    "an entry of an unknown type": (
        lambda case: case.rewrite_index(
            lambda value: value["manifests"].append(images.descriptor(case.maker.put(b"<x/>") and b"<x/>", "text/xml"))
        ),
        [],
    ),
    # descriptors
    "a descriptor without a size": (
        index(lambda value: value["manifests"][0].pop("size")),
        [("bad-descriptor", "index.json /manifests/0")],
    ),
    "a descriptor with nothing": (
        index(lambda value: value["manifests"].append({})),
        [("bad-descriptor", "index.json /manifests/1")] * 3,
    ),
    "a negative size": (
        manifest(lambda value: value["layers"][0].update(size=-1)),
        [("bad-descriptor", "MANIFEST /layers/0/size")],
    ),
    "a size over int64": (
        manifest(lambda value: value["layers"][0].update(size=2**63)),
        [("bad-descriptor", "MANIFEST /layers/0/size"), ("size-mismatch", "MANIFEST /layers/0")],
    ),
    "a size with a fraction": (
        manifest(lambda value: value["layers"][0].update(size=float(value["layers"][0]["size"]))),
        [("bad-descriptor", "MANIFEST /layers/0/size")],
    ),
    "a digest in upper case": (
        manifest(lambda value: value["layers"][0].update(digest=BASE.digest.upper())),
        [("bad-descriptor", "MANIFEST /layers/0/digest"), ("unreferenced-blob?", "blobs/sha256/LAYER0")],
    ),
    "a digest that is no digest": (
        manifest(lambda value: value["config"].update(digest="sha256:../../etc/passwd")),
        [("bad-descriptor", "MANIFEST /config/digest"), ("unreferenced-blob?", "blobs/sha256/CONFIG")],
    ),
    "a media type that is none": (
        manifest(lambda value: value["layers"][1].update(mediaType="tar gz")),
        [("bad-descriptor", "MANIFEST /layers/1/mediaType")],
    ),
    "a url that is none": (
        manifest(lambda value: value["layers"][1].update(urls=["not a url"])),
        [("bad-descriptor", "MANIFEST /layers/1/urls/0")],
    ),
    "a platform without os": (
        index(lambda value: value["manifests"][0].update(platform={"architecture": "amd64"})),
        [("bad-descriptor", "index.json /manifests/0/platform")],
    ),
    "data that is not base64": (
        manifest(lambda value: value["layers"][1].update(data="%%")),
        [("bad-descriptor", "MANIFEST /layers/1/data")],
    ),
    "data that is other content": (
        manifest(lambda value: value["config"].update(data="e30=")),
        [("embedded-data-mismatch", "MANIFEST /config/data")],
    ),
    "a digest that can't be computed": (
        manifest(lambda value: value["layers"][1].update(digest="blake3:" + "0" * 64)),
        [("unsupported-digest", "MANIFEST /layers/1"), ("unreferenced-blob?", "blobs/sha256/LAYER1")],
    ),
    # sizes, digests, missing blobs
    "a manifest that was changed": (
        stored("MANIFEST", lambda data: data.replace(b'"schemaVersion":2', b'"schemaVersion":3')),
        [("digest-mismatch", "index.json /manifests/0"), ("schema", "MANIFEST /schemaVersion")],
    ),
    "a manifest cut short": (
        stored("MANIFEST", lambda data: data[:50]),
        [
            ("size-mismatch", "index.json /manifests/0"),
            ("digest-mismatch", "index.json /manifests/0"),
            *[("unreferenced-blob?", "*")] * 3,
        ],
    ),
    "a manifest that is missing": (
        lambda case: case.maker.blob_path(case.manifest_digest).unlink(),
        [("missing-blob", "index.json /manifests/0"), *[("unreferenced-blob?", "*")] * 3],
    ),
    "a config that was changed": (
        stored("CONFIG", lambda data: data.replace(b"amd64", b"arm64")),
        [("digest-mismatch", "MANIFEST /config")],
    ),
    "a config that is missing": (
        lambda case: case.maker.blob_path(case.config_digest).unlink(),
        [("missing-blob", "MANIFEST /config")],
    ),
    "a layer that is missing": (
        lambda case: case.maker.blob_path(TOP.digest).unlink(),
        [("missing-blob", "MANIFEST /layers/1")],
    ),
    "a missing layer with urls": (
        lambda case: (
            case.rewrite_manifest(lambda value: value["layers"][1].update(urls=["https://example.com/layer"])),
            case.maker.blob_path(TOP.digest).unlink(),
        ),
        [("missing-blob?", "MANIFEST /layers/1")],
    ),
    "a layer with a turned bit": (
        lambda case: case.flip(TOP.digest, 40),
        [("digest-mismatch", "MANIFEST /layers/1"), ("corrupt-layer", LAYER1)],
    ),
    "a layer with a byte more": (
        stored("LAYER1", lambda data: data + b"\0"),
        [("size-mismatch", "MANIFEST /layers/1"), ("digest-mismatch", "MANIFEST /layers/1")],
    ),
    "a layer cut short": (
        stored("LAYER1", lambda data: data[:-9]),
        [
            ("size-mismatch", "MANIFEST /layers/1"),
            ("digest-mismatch", "MANIFEST /layers/1"),
            ("corrupt-layer", LAYER1),
        ],
    ),
    "a layer that is a directory": (
        lambda case: (case.maker.blob_path(TOP.digest).unlink(), case.maker.blob_path(TOP.digest).mkdir()),
        [("layout-file", "blobs/sha256/LAYER1"), ("missing-blob", "MANIFEST /layers/1")],
    ),
    "a layer that is a FIFO": (
        lambda case: (case.maker.blob_path(TOP.digest).unlink(), os.mkfifo(case.maker.blob_path(TOP.digest))),
        [("layout-file", "blobs/sha256/LAYER1"), ("missing-blob", "MANIFEST /layers/1")],
    ),
    "a size that is wrong": (
        manifest(lambda value: value["layers"][0].update(size=value["layers"][0]["size"] + 1)),
        [("size-mismatch", "MANIFEST /layers/0")],
    ),
    # the manifest
    "a manifest without config": (
        manifest(lambda value: value.pop("config")),
        [("schema", "MANIFEST"), ("unreferenced-blob?", "blobs/sha256/CONFIG")],
    ),
    "a manifest without layers": (
        manifest(lambda value: value.pop("layers")),
        [("schema", "MANIFEST"), *[("unreferenced-blob?", "*")] * 2],
    ),
    "a manifest of another type than its descriptor's": (
        index(lambda value: value["manifests"][0].update(mediaType=images.OCI_INDEX)),
        [("media-type", "index.json /manifests/0")],
    ),
    "a manifest that is an index too": (
        manifest(lambda value: value.update(manifests=[])),
        [("media-type", "MANIFEST")],
    ),
    "one layer more than the config": (
        manifest(lambda value: value["layers"].append(value["layers"][0])),
        [("layer-count-mismatch", "CONFIG /rootfs/diff_ids"), ("history-mismatch?", "CONFIG /history")],
    ),
    "a gzip layer that says zstd": (
        manifest(lambda value: value["layers"][0].update(mediaType=images.OCI_LAYER_ZSTD)),
        [("media-type", "MANIFEST /layers/0")],
    ),
    "a plain layer that says gzip": (
        lambda case: case.replace_layer(
            1, LayerBlob(images.tar({"a": b"x"}), images.OCI_LAYER_GZIP, digest(images.tar({"a": b"x"})))
        ),
        [("media-type", "MANIFEST /layers/1")],
    ),
    "a layer of no bytes that says gzip": (
        lambda case: case.replace_layer(1, LayerBlob(b"", images.OCI_LAYER_GZIP, digest(b""))),
        [("media-type", "MANIFEST /layers/1")],
    ),
    "a layer compressed with bzip2": (
        lambda case: case.replace_layer(
            1, LayerBlob(bz2.compress(images.tar({"a": b"x"})), images.OCI_LAYER_GZIP, digest(images.tar({"a": b"x"})))
        ),
        [("media-type", "MANIFEST /layers/1")],
    ),
    "a layer of Docker's type": (
        manifest(lambda value: value["layers"][0].update(mediaType=images.DOCKER_LAYER_GZIP)),
        [("mixed-media-types?", "MANIFEST /layers/0")],
    ),
    "a layer of a type that nobody knows": (
        manifest(lambda value: value["layers"][0].update(mediaType="application/x-unknown")),
        [("media-type?", "MANIFEST /layers/0")],
    ),
    "a layer that says it is a config": (
        manifest(lambda value: value["layers"][0].update(mediaType=images.OCI_CONFIG)),
        [("media-type", "MANIFEST /layers/0")],
    ),
    "a config that says it is a layer": (
        manifest(lambda value: value["config"].update(mediaType=images.OCI_LAYER)),
        [("media-type", "MANIFEST /config")],
    ),
    "a manifest without media type under an index's": (
        lambda case: (
            case.rewrite_manifest(lambda value: value.pop("mediaType")),
            case.rewrite_index(lambda value: value["manifests"][0].update(mediaType=images.OCI_INDEX)),
        ),
        [("media-type", "index.json /manifests/0")],
    ),
    "one manifest under two media types": (
        index(lambda value: value["manifests"].append({**value["manifests"][0], "mediaType": images.DOCKER_MANIFEST})),
        [
            ("duplicate-tag?", f"index.json /manifests/1/annotations/{images.REF_NAME}"),
            ("media-type", "index.json /manifests/1"),
        ],
    ),
    "a manifest that is too large": (
        manifest(lambda value: value.update(x="x" * (4 << 20))),
        [("too-large", "index.json /manifests/0"), *[("unreferenced-blob?", "*")] * 3],
    ),
    "a config that is too large": (
        config(lambda value: value.update(x="x" * (8 << 20))),
        [("too-large", "MANIFEST /config")],
    ),
    "an index.json that is too large": (
        lambda case: write("index.json", encode({**case.index, "x": "x" * (4 << 20)}))(case),
        [("too-large", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "a number of very many digits": (
        lambda case: write("index.json", encode({**case.index, "x": "@"}).replace(b'"@"', b"1" * 5000))(case),
        [("invalid-json", "index.json"), *[("unreferenced-blob?", "*")] * 4],
    ),
    "an artifact without a type": (artifact, [("artifact-type", "*")]),
    "an artifact with a type": (lambda case: artifact(case, artifactType="application/vnd.example.thing"), []),
    "a subject that isn't here": (
        manifest(lambda value: value.update(subject={"mediaType": images.OCI_MANIFEST, "digest": ZERO, "size": 9})),
        [],
    ),
    "a subject of the wrong size": (
        lambda case: case.rewrite_manifest(
            lambda value: value.update(subject={**case.maker.image([BASE], os="plan9"), "size": 9})
        ),
        [("size-mismatch", "MANIFEST /subject")],
    ),
    "a subject that is no descriptor": (
        manifest(lambda value: value.update(subject={"digest": 7})),
        [("bad-descriptor", "MANIFEST /subject")] * 2 + [("bad-descriptor", "MANIFEST /subject/digest")],
    ),
    # the config
    "a config without os": (config(lambda value: value.pop("os")), [("schema", "CONFIG")]),
    "a config without rootfs": (config(lambda value: value.pop("rootfs")), [("schema", "CONFIG")]),
    "a rootfs of another type": (
        config(lambda value: value["rootfs"].update(type="zfs")),
        [("schema", "CONFIG /rootfs/type")],
    ),
    "a time that is none": (config(lambda value: value.update(created="yesterday")), [("schema", "CONFIG /created")]),
    "a time that never was": (
        config(lambda value: value.update(created="2023-02-29T00:00:00Z")),
        [("schema", "CONFIG /created")],
    ),
    "an Env that is text": (
        config(lambda value: value["config"].update(Env="A=1")),
        [("schema", "CONFIG /config/Env")],
    ),
    "a config of null fields": (config(lambda value: value.update(author=None, config=None)), []),
    "one diff_id too few": (
        config(lambda value: value["rootfs"]["diff_ids"].pop()),
        [("layer-count-mismatch", "CONFIG /rootfs/diff_ids")],
    ),
    "one diff_id too many": (
        config(lambda value: value["rootfs"]["diff_ids"].append(ZERO)),
        [("layer-count-mismatch", "CONFIG /rootfs/diff_ids")],
    ),
    "a wrong diff_id": (
        config(lambda value: value["rootfs"]["diff_ids"].__setitem__(0, ZERO)),
        [("diff-id-mismatch", "CONFIG /rootfs/diff_ids/0")],
    ),
    "diff_ids in the wrong order": (
        config(lambda value: value["rootfs"]["diff_ids"].reverse()),
        [("diff-id-mismatch", "CONFIG /rootfs/diff_ids/0"), ("diff-id-mismatch", "CONFIG /rootfs/diff_ids/1")],
    ),
    "a diff_id that is no digest": (
        config(lambda value: value["rootfs"]["diff_ids"].__setitem__(0, "abc")),
        [("schema", "CONFIG /rootfs/diff_ids/0")],
    ),
    "a diff_id by sha512": (
        config(lambda value: value["rootfs"]["diff_ids"].__setitem__(0, _sha512(BASE))),
        [],
    ),
    "a diff_id that can't be computed": (
        config(lambda value: value["rootfs"]["diff_ids"].__setitem__(0, "blake3:" + "0" * 64)),
        [("unsupported-digest", "CONFIG /rootfs/diff_ids/0")],
    ),
    "history with a layer more": (
        config(lambda value: value["history"].append({"created_by": "x"})),
        [("history-mismatch", "CONFIG /history")],
    ),
    "history with a layer less": (
        config(lambda value: value["history"].pop()),
        [("history-mismatch?", "CONFIG /history")],
    ),
    "history with empty layers": (
        config(lambda value: value["history"].append({"created_by": "ENV", "empty_layer": True})),
        [],
    ),
    "no history": (config(lambda value: value.pop("history")), []),
    # indexes
    "another platform than the config's": (
        index(lambda value: value["manifests"][0].update(platform={"os": "linux", "architecture": "arm64"})),
        [("platform-mismatch", "index.json /manifests/0/platform")],
    ),
    "another variant than the config's": (
        lambda case: case.rewrite_index(
            lambda value: value["manifests"].append(
                extra_image(
                    case,
                    {"os": "linux", "architecture": "arm", "variant": "v6"},
                    architecture="arm",
                    variant="v7",
                )
            )
        ),
        [("platform-mismatch", "index.json /manifests/1/platform")],
    ),
    "a variant that only the index gives": (
        lambda case: case.rewrite_index(
            lambda value: value["manifests"].append(
                extra_image(case, {"os": "linux", "architecture": "arm64", "variant": "v8"}, architecture="arm64")
            )
        ),
        [],
    ),
    "another os.version": (
        lambda case: case.rewrite_index(
            lambda value: value["manifests"].append(
                extra_image(
                    case,
                    {"os": "windows", "architecture": "amd64", "os.version": "10.0.1"},
                    os="windows",
                    **{"os.version": "10.0.2"},
                )
            )
        ),
        [("platform-mismatch?", "index.json /manifests/1/platform")],
    ),
    "indexes in indexes": (lambda case: nested(case, 3), []),
    "indexes too deep": (lambda case: nested(case, 20), [("index-too-deep", "*"), *[("unreferenced-blob?", "*")] * 7]),
    "indexes in a circle": (cycle, [("digest-mismatch", "*"), ("cycle", f"{ZERO} /manifests/0")]),
    # layers
    "a layer that is no tar": (
        lambda case: case.replace_layer(1, images.layer(b"this is no archive" * 100)),
        [("corrupt-layer", LAYER1)],
    ),
    "a tar cut short": (
        lambda case: case.replace_layer(1, images.layer(images.tar({"a": bytes(5000)})[:2048])),
        [("corrupt-layer", LAYER1)],
    ),
    "a tar without its last padding": (
        lambda case: case.replace_layer(1, images.layer(images.tar({"a": b"x" * 10})[:522])),
        [("corrupt-layer?", LAYER1)],
    ),
    "a tar without end blocks": (
        lambda case: case.replace_layer(1, images.layer(images.tar({"a": b"x" * 10})[:1024])),
        [],
    ),
    "a tar with a bad checksum": (
        lambda case: case.replace_layer(1, images.layer(images.tar({"a": b"x"}).replace(b"ustar", b"usta_"))),
        [("corrupt-layer", LAYER1)],
    ),
    "a gzip member missing its end": (
        lambda case: case.replace_layer(1, LayerBlob(TOP.data[:-4], TOP.media_type, TOP.diff_id)),
        [("corrupt-layer", LAYER1)],
    ),
    "an entry with ..": (entries(("../evil", b"x")), [("unsafe-entry", f"{LAYER1} entry ../evil")]),
    "an entry with .. inside": (entries(("a/../../evil", b"x")), [("unsafe-entry", f"{LAYER1} entry a/../../evil")]),
    "an absolute entry": (entries(("/etc/passwd", b"x")), [("unsafe-entry?", f"{LAYER1} entry /etc/passwd")]),
    "a whiteout of nothing": (entries(("a/.wh.", b"")), [("unsafe-entry", f"{LAYER1} entry a/.wh.")]),
    "a whiteout of ..": (entries((".wh...", b"")), [("unsafe-entry", f"{LAYER1} entry .wh...")]),
    "a whiteout of a whiteout": (entries(("a/.wh..wh.x", b"")), [("unsafe-entry", f"{LAYER1} entry a/.wh..wh.x")]),
    "an opaque mark": (entries(("a/.wh..wh..opq", b"")), []),
    "what AUFS left": (entries((".wh..wh.plnk", None), (".wh..wh.aufs", b"")), []),
    "a hard link out": (
        entries(("a", ("hardlink", "../../etc/shadow"))),
        [("unsafe-entry", f"{LAYER1} entry a")],
    ),
    "a hard link to a lower layer": (entries(("a", ("hardlink", "etc/hostname"))), []),
    "a hard link to the root": (entries(("a", ("hardlink", "./"))), [("unsafe-entry", f"{LAYER1} entry a")]),
    "a hard link to itself": (entries(("a", ("hardlink", "a"))), [("unsafe-entry?", f"{LAYER1} entry a")]),
    "a link out by itself": (entries(("a", ("symlink", "../../../etc"))), []),
    "an entry below a link out": (
        entries(("a", ("symlink", "../../etc")), ("a/cron.d", b"x")),
        [("unsafe-entry?", f"{LAYER1} entry a/cron.d")],
    ),
    "an entry deep below an absolute link": (
        entries(("x/a", ("symlink", "/tmp")), ("x/a/b/c", b"x")),
        [("unsafe-entry?", f"{LAYER1} entry x/a/b/c")],
    ),
    "an entry below a link that stays in": (entries(("x/a", ("symlink", "../y")), ("x/a/b", b"x")), []),
    "the same path twice": (entries(("a", b"1"), ("./a", b"2")), [("duplicate-entry?", f"{LAYER1} entry ./a")]),
    "the device 0/0": (entries(("a", ("char", "0:0"))), [("unsafe-entry?", f"{LAYER1} entry a")]),
    "other devices": (entries(("null", ("char", "1:3")), ("sda", ("block", "8:0")), ("pipe", ("fifo", ""))), []),
    "the root as a file": (entries(("./", ("symlink", "/etc"))), [("unsafe-entry", f"{LAYER1} entry .")]),
    "an attribute of overlayfs": (
        entries(("a", b"x"), pax={"a": {"SCHILY.xattr.trusted.overlay.opaque": "y"}}),
        [("unsafe-entry?", f"{LAYER1} entry a")],
    ),
    "a name that is too long": (entries(("a" * 300, b"x")), [("unsafe-entry?", "*")]),
}


def _sha512(layer: LayerBlob) -> str:
    import gzip

    return digest(gzip.decompress(layer.data), "sha512")


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_found_at_its_place_and_nothing_else(case: Case, name: str) -> None:
    act, expected = CASES[name]
    act(case)
    wanted = []
    for code, place in expected:
        severity = "warning" if code.endswith("?") else "error"
        wanted.append(
            (code.removesuffix("?"), severity, case.place(place).replace("blobs/sha256/sha256:", "blobs/sha256/"))
        )
    got = found(case)
    assert len(got) == len(wanted), got
    for actual, (code, severity, place) in zip(got, wanted, strict=True):
        assert actual[:2] == (code, severity), got
        assert place == "*" or actual[2] == place, got


def test_there_are_at_least_fifty_ways_to_break_a_layout() -> None:
    assert sum(bool(expected) for _, expected in CASES.values()) >= 50


def test_several_faults_at_once_are_all_listed(case: Case) -> None:
    case.config["rootfs"]["diff_ids"][0] = ZERO
    case.config["created"] = "now"
    case.manifest["layers"][1]["size"] += 1
    case.rewrite_config(lambda value: None)
    case.index["manifests"][0]["platform"] = {"os": "linux", "architecture": "s390x"}
    case.index["manifests"].append({"mediaType": images.OCI_MANIFEST, "digest": ZERO, "size": 5})
    case.rewrite_index(lambda value: None)
    (case.maker.path / "oci-layout").unlink()
    case.maker.put(b"spare")
    assert sorted(code for code, _, _ in found(case)) == [
        "diff-id-mismatch",
        "layout-file",
        "missing-blob",
        "platform-mismatch",
        "schema",
        "size-mismatch",
        "unreferenced-blob",
    ]


def test_other_layers_are_checked_beside_a_bad_descriptor(case: Case) -> None:
    case.flip(TOP.digest, 40)
    case.rewrite_manifest(lambda value: value["layers"][0].update(digest="nonsense"))
    codes = [code for code, _, _ in found(case)]
    assert codes == ["bad-descriptor", "digest-mismatch", "corrupt-layer", "unreferenced-blob"]


def test_fast_finds_digests_but_does_not_decompress(case: Case) -> None:
    case.replace_layer(1, images.layer(b"no archive"))
    assert found(case, fast=True) == []
    assert [code for code, _, _ in found(case)] == ["corrupt-layer"]
    case.flip(case.layers[1].digest, 12)
    assert [code for code, _, _ in found(case, fast=True)] == ["digest-mismatch"]


def test_the_schemas_of_the_command_line_take_the_report(case: Case) -> None:
    from oci.layout.schema import schema_faults

    case.flip(TOP.digest, 40)
    report = verify(case.maker.path)
    assert list(schema_faults("cli/verify", json.loads(json.dumps(report.to_json())))) == []
