"""Manifests, indexes, configs and descriptors: exact bytes, typed models, and edits that lose nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from oci.errors import InvalidDocument, LimitExceeded
from oci.spec import (
    EMPTY_DESCRIPTOR,
    EMPTY_JSON,
    Descriptor,
    Digest,
    Document,
    History,
    ImageConfig,
    Index,
    LayoutHeader,
    Manifest,
    Platform,
    RunConfig,
    media_types,
    parse_config,
    parse_document,
    parse_index,
    parse_manifest,
    wire,
)

HEX = "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"
DIGEST = f"sha256:{HEX}"
LAYER: dict[str, Any] = {"mediaType": media_types.LAYER_GZIP, "digest": DIGEST, "size": 3}
CONFIG: dict[str, Any] = {"mediaType": media_types.CONFIG, "digest": DIGEST, "size": 3}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}
INDEX: dict[str, Any] = {"schemaVersion": 2, "manifests": [LAYER]}
IMAGE: dict[str, Any] = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}


def pack(value: object) -> bytes:
    return json.dumps(value).encode()


def refused(parse: Any, value: object, **options: Any) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        parse(value if isinstance(value, bytes) else pack(value), **options)
    assert str(caught.value).isprintable()
    return caught.value


# --- bytes stay bytes


def test_raw_bytes_are_kept_whatever_their_layout() -> None:
    raw = b'\n{ "layers" : [], "schemaVersion":2,\r\n "config": ' + pack(CONFIG) + b' , "\\u0078": 1.50 }\t'
    document = parse_manifest(raw)
    assert document.raw == raw
    assert document.descriptor == Descriptor(media_type=media_types.MANIFEST, digest=Digest.of(raw), size=len(raw))
    assert document.model.extra == {"x": 1.5}


def test_encoding_is_compact_in_the_specs_order_and_keeps_unknown_fields_at_every_level() -> None:
    unknown = {"z": [1, {"a": None}], "ü": "é"}
    descriptor = {
        "mediaType": media_types.MANIFEST,
        "digest": DIGEST,
        "size": 2,
        "urls": ["https://example.com/a"],
        "annotations": {"k": ""},
        "data": "e30=",
        "artifactType": "a/b",
        "platform": {
            "architecture": "arm",
            "os": "linux",
            "os.version": "1",
            "os.features": ["f"],
            "variant": "v7",
            **unknown,
        },
        **unknown,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": "a/b",
        "config": CONFIG,
        "layers": [descriptor],
        "subject": descriptor,
        "annotations": {"k": "v"},
        **unknown,
    }
    index = {
        "schemaVersion": 2,
        "mediaType": media_types.INDEX,
        "artifactType": "a/b",
        "manifests": [descriptor],
        "subject": descriptor,
        "annotations": {"k": "v"},
        **unknown,
    }
    config = {
        "created": "2015-10-31T22:22:56.015925234Z",
        "author": "A",
        "architecture": "arm",
        "os": "linux",
        "os.version": "1",
        "os.features": ["f"],
        "variant": "v7",
        "config": {
            "User": "1:1",
            "ExposedPorts": {"80/tcp": {}},
            "Env": ["A=b"],
            "Entrypoint": [],
            "Cmd": ["c"],
            "Volumes": {"/v": {}},
            "WorkingDir": "/",
            "Labels": {"l": ""},
            "StopSignal": "SIGKILL",
            "ArgsEscaped": False,
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 30_000_000_000, "Timeout": 1, "StartPeriod": 2,
                            "StartInterval": 3, "Retries": 4, **unknown},
            "OnBuild": ["RUN x"],
            "Shell": ["/bin/sh", "-c"],
            "StopTimeout": 10,
            "Hostname": "",
            "Memory": 1,
            "MemorySwap": -1,
            "CpuShares": 2,
            **unknown,
        },
        "rootfs": {"type": "layers", "diff_ids": [DIGEST], **unknown},
        "history": [
            {"created": "2015-10-31T22:22:54Z", "author": "A", "created_by": "x", "comment": "y", "empty_layer": True,
             **unknown},
            {},
        ],
        "container_config": {"Cmd": None},
        **unknown,
    }  # fmt: skip
    for parse, value in ((parse_manifest, manifest), (parse_index, index), (parse_config, config)):
        raw = wire.dumps(value)
        assert Document.of(parse(pack(value)).model).raw == raw  # type: ignore[operator]


def test_edited_document_changes_only_what_was_edited() -> None:
    raw = pack({**MANIFEST, "mediaType": media_types.MANIFEST, "x": {"deep": [None]}})
    document = parse_manifest(raw)
    edited = Document.of(replace(document.model, annotations={"a": "b"}))
    assert json.loads(edited.raw) == {**json.loads(raw), "annotations": {"a": "b"}}
    assert edited.model.annotations == {"a": "b"}
    assert document.raw == raw


def test_document_of_refuses_a_model_that_would_break_the_grammar() -> None:
    model = parse_manifest(pack(MANIFEST)).model
    bad = replace(model.layers[0], media_type="not a media type")
    with pytest.raises(InvalidDocument, match="/layers/0/mediaType"):
        Document.of(replace(model, layers=(bad,)))
    with pytest.raises(InvalidDocument, match="/annotations"):
        Document.of(replace(model, annotations={"": "x"}))


def test_smallest_documents_are_built_from_models() -> None:
    config = Document.of(ImageConfig(platform=Platform("linux", "amd64"), diff_ids=()))
    assert config.raw == b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    manifest = Document.of(Manifest(config=config.descriptor, layers=()))
    assert manifest.media_type == media_types.MANIFEST
    index = Document.of(Index(manifests=(manifest.descriptor,)))
    assert json.loads(index.raw)["mediaType"] == media_types.INDEX
    docker = Document.of(config.model, media_type=media_types.DOCKER_CONFIG)
    assert docker.media_type == media_types.DOCKER_CONFIG


def test_empty_descriptor_is_the_one_of_the_spec() -> None:
    assert EMPTY_DESCRIPTOR.digest == Digest.of(EMPTY_JSON)
    assert EMPTY_DESCRIPTOR.size == 2
    assert EMPTY_DESCRIPTOR.to_json()["data"] == "e30="


# --- media types


def test_docker_documents_are_read_as_equals_and_kept_as_they_are() -> None:
    manifest = {**MANIFEST, "mediaType": media_types.DOCKER_MANIFEST,
                "config": {**CONFIG, "mediaType": media_types.DOCKER_CONFIG},
                "layers": [{**LAYER, "mediaType": media_types.DOCKER_LAYER_GZIP}]}  # fmt: skip
    document = parse_manifest(pack(manifest), media_type=media_types.DOCKER_MANIFEST)
    assert document.media_type == document.model.media_type == media_types.DOCKER_MANIFEST
    assert json.loads(Document.of(document.model).raw) == manifest
    listed = {**INDEX, "mediaType": media_types.DOCKER_LIST}
    assert parse_index(pack(listed)).media_type == media_types.DOCKER_LIST


def test_document_without_its_own_media_type_takes_the_descriptors() -> None:
    assert parse_manifest(pack(MANIFEST)).media_type == media_types.MANIFEST
    assert (
        parse_manifest(pack(MANIFEST), media_type=media_types.DOCKER_MANIFEST).media_type == media_types.DOCKER_MANIFEST
    )
    index = parse_index(pack(INDEX))
    assert index.media_type == media_types.INDEX
    assert index.model.media_type is None
    assert "mediaType" not in json.loads(Document.of(index.model).raw)


def test_document_that_contradicts_its_descriptor_is_refused() -> None:
    oci = {**MANIFEST, "mediaType": media_types.MANIFEST}
    assert refused(parse_manifest, oci, media_type=media_types.DOCKER_MANIFEST).pointer == "/mediaType"
    assert refused(parse_manifest, oci, media_type=media_types.INDEX).reason.endswith("an image manifest's")
    assert refused(parse_manifest, {**MANIFEST, "mediaType": media_types.INDEX}).pointer == "/mediaType"
    assert refused(parse_index, {**INDEX, "mediaType": media_types.MANIFEST}).pointer == "/mediaType"
    refused(parse_index, INDEX, media_type=media_types.MANIFEST)
    refused(parse_config, IMAGE, media_type=media_types.MANIFEST)
    refused(parse_document, INDEX, media_type="application/json")


def test_parse_document_goes_by_the_media_type_else_by_the_document() -> None:
    assert isinstance(parse_document(pack(INDEX), media_types.INDEX).model, Index)
    assert isinstance(parse_document(pack(MANIFEST), media_types.MANIFEST).model, Manifest)
    assert isinstance(parse_document(pack(INDEX)).model, Index)
    assert isinstance(parse_document(pack(MANIFEST)).model, Manifest)
    assert isinstance(parse_document(pack({**INDEX, "mediaType": media_types.DOCKER_LIST})).model, Index)


def test_document_that_is_a_manifest_and_an_index_is_refused_cve_2021_41190() -> None:
    both = {**MANIFEST, "manifests": [LAYER]}
    assert refused(parse_manifest, both).pointer == "/manifests"
    assert refused(parse_index, both).pointer in ("/layers", "/config")
    refused(parse_document, both)
    refused(parse_manifest, {**MANIFEST, "manifests": None})
    assert refused(parse_index, {**INDEX, "config": CONFIG}).pointer == "/config"


@pytest.mark.parametrize(
    ("parse", "value", "pointer"),
    [
        (parse_manifest, {**MANIFEST, "Layers": []}, "/Layers"),
        (parse_manifest, {"CONFIG": {}, **MANIFEST}, "/CONFIG"),
        (parse_manifest, {**MANIFEST, "layerſ": []}, "/layerſ"),  # Go folds the long s too
        (parse_manifest, {**MANIFEST, "config": {**CONFIG, "Digest": DIGEST}}, "/config/Digest"),
        (parse_index, {**INDEX, "Manifests": []}, "/Manifests"),
        (parse_config, {**IMAGE, "RootFS": {}}, "/RootFS"),
    ],
)
def test_name_that_go_would_read_as_another_field_is_refused(parse: Any, value: object, pointer: str) -> None:
    assert refused(parse, value).pointer == pointer


def test_names_of_annotations_and_labels_may_differ_only_in_case() -> None:
    parse_manifest(pack({**MANIFEST, "annotations": {"a": "1", "A": "2"}}))
    parse_config(pack({**IMAGE, "config": {"Labels": {"a": "1", "A": "2"}}, "x": {"a": 1, "A": 2}}))


@pytest.mark.parametrize(
    "value",
    [
        {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": [], "signatures": []},
        {"schemaVersion": 1, "mediaType": media_types.DOCKER_SCHEMA_1[0]},
        {"schemaVersion": 1, "mediaType": media_types.DOCKER_SCHEMA_1[1]},
        {**MANIFEST, "fsLayers": []},
    ],
)
def test_docker_schema_1_is_refused_by_name(value: object) -> None:
    for parse in (parse_manifest, parse_index, parse_document):
        assert "schema 1" in str(refused(parse, value))


def test_unknown_types_of_config_layers_and_entries_are_no_error() -> None:
    odd = {**LAYER, "mediaType": "application/vnd.example+x"}
    parse_manifest(pack({**MANIFEST, "config": odd, "layers": [odd], "artifactType": "x/unknown"}))
    parse_index(pack({**INDEX, "manifests": [odd, {**LAYER, "mediaType": media_types.INDEX}]}))


# --- fields


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"schemaVersion": 3}, "/schemaVersion"),
        ({"schemaVersion": "2"}, "/schemaVersion"),
        ({"schemaVersion": 2.0}, "/schemaVersion"),
        ({"schemaVersion": True}, "/schemaVersion"),
        ({"schemaVersion": None}, "/schemaVersion"),
        ({"mediaType": "nonsense"}, "/mediaType"),
        ({"mediaType": "a/b"}, "/mediaType"),
        ({"config": None}, "/config"),
        ({"config": "x"}, "/config"),
        ({"config": {**CONFIG, "mediaType": media_types.EMPTY}}, "/config"),
        ({"layers": {}}, "/layers"),
        ({"layers": [LAYER, None]}, "/layers/1"),
        ({"layers": [LAYER, {**LAYER, "digest": "sha256:1"}]}, "/layers/1/digest"),
        ({"subject": "nope"}, "/subject"),
        ({"subject": None}, "/subject"),
        ({"subject": {**LAYER, "size": -1}}, "/subject/size"),
        ({"artifactType": "foo/.bar"}, "/artifactType"),
        ({"annotations": None}, "/annotations"),
        ({"annotations": []}, "/annotations"),
        ({"annotations": {"a": 1}}, "/annotations/a"),
        ({"annotations": {"a": None}}, "/annotations/a"),
        ({"annotations": {"": "x"}}, "/annotations"),
    ],
)
def test_manifest_field_that_breaks_its_rule_is_named(change: dict[str, object], pointer: str) -> None:
    assert refused(parse_manifest, {**MANIFEST, **change}).pointer == pointer


@pytest.mark.parametrize("name", ["schemaVersion", "config", "layers"])
def test_missing_manifest_field_is_not_an_empty_one(name: str) -> None:
    assert repr(name) in str(refused(parse_manifest, {key: value for key, value in MANIFEST.items() if key != name}))


def test_manifest_may_have_no_layers_and_index_no_manifests() -> None:
    assert parse_manifest(pack({**MANIFEST, "layers": []})).model.layers == ()
    assert parse_index(pack({**INDEX, "manifests": []})).model.manifests == ()
    refused(parse_index, {"schemaVersion": 2})


def test_null_for_a_required_array_is_an_empty_one_as_go_writes_it() -> None:
    # `umoci init` writes "manifests": null; the schemas, which say what is right and not what is met, refuse it
    assert parse_index(pack({**INDEX, "manifests": None})).model.manifests == ()
    assert parse_manifest(pack({**MANIFEST, "layers": None})).model.layers == ()
    assert parse_config(pack({**IMAGE, "rootfs": {"type": "layers", "diff_ids": None}})).model.diff_ids == ()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"mediaType": "application"}, "/mediaType"),
        ({"mediaType": ""}, "/mediaType"),
        ({"mediaType": None}, "/mediaType"),
        ({"digest": "sha256"}, "/digest"),
        ({"digest": 1}, "/digest"),
        ({"size": -1}, "/size"),
        ({"size": "3"}, "/size"),
        ({"size": 3.0}, "/size"),
        ({"size": True}, "/size"),
        ({"size": 2**63}, "/size"),
        ({"urls": ["value"]}, "/urls/0"),
        ({"urls": ["https://a/", 1]}, "/urls/1"),
        ({"urls": "https://a/"}, "/urls"),
        ({"data": "e30"}, "/data"),
        ({"data": "e30="}, "/data"),  # two bytes, size says three
        ({"data": "e3 0="}, "/data"),
        ({"data": "é"}, "/data"),
        ({"data": "YWI-"}, "/data"),
        ({"data": "YWJj\n"}, "/data"),
        ({"size": 1, "data": "YR=="}, "/data"),  # unused bits set
        ({"platform": {"os": "linux"}}, "/platform"),
        ({"platform": []}, "/platform"),
        ({"artifactType": "x"}, "/artifactType"),
    ],
)
def test_descriptor_field_that_breaks_its_rule_is_named(change: dict[str, object], pointer: str) -> None:
    value = {**LAYER, **change}
    with pytest.raises(InvalidDocument) as caught:
        Descriptor.from_json(value, "/here")
    assert caught.value.pointer == f"/here{pointer}"
    assert refused(parse_index, {**INDEX, "manifests": [value]}).pointer == f"/manifests/0{pointer}"


def test_descriptor_size_reaches_to_int64() -> None:
    assert Descriptor.from_json({**LAYER, "size": 2**63 - 1}).size == 2**63 - 1
    assert Descriptor.from_json({**LAYER, "size": 0}).size == 0


def test_descriptor_data_is_the_bytes() -> None:
    assert Descriptor.from_json({**LAYER, "data": "YWJj"}).data == b"abc"
    assert Descriptor.from_json({**LAYER, "size": 0, "data": ""}).data == b""


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"os": 123}, "/os"),
        ({"os": None}, ""),
        ({"architecture": None}, ""),
        ({"variant": 123}, "/variant"),
        ({"os.features": [None]}, "/os.features/0"),
        ({"created": "yesterday"}, "/created"),
        ({"created": "2015-02-30T00:00:00Z"}, "/created"),
        ({"created": ""}, "/created"),
        ({"author": 1}, "/author"),
        ({"rootfs": None}, ""),
        ({"rootfs": {"diff_ids": []}}, "/rootfs"),
        ({"rootfs": {"type": "layers"}}, "/rootfs"),
        ({"rootfs": {"type": "unknown", "diff_ids": []}}, "/rootfs/type"),
        ({"rootfs": {"type": "layers", "diff_ids": [DIGEST, "x"]}}, "/rootfs/diff_ids/1"),
        ({"history": "x"}, "/history"),
        ({"history": [{}, 1]}, "/history/1"),
        ({"history": [{"created": "x"}]}, "/history/0/created"),
        ({"history": [{"empty_layer": "true"}]}, "/history/0/empty_layer"),
        ({"config": []}, "/config"),
        ({"config": {"User": 1234}}, "/config/User"),
        ({"config": {"Env": [7353]}}, "/config/Env/0"),
        ({"config": {"Env": ["A=b", "foo"]}}, "/config/Env/1"),
        ({"config": {"Env": ["=b"]}}, "/config/Env/0"),
        ({"config": {"Entrypoint": "sh"}}, "/config/Entrypoint"),
        ({"config": {"Volumes": ["/var"]}}, "/config/Volumes"),
        ({"config": {"Volumes": {"/var": None}}}, "/config/Volumes/~1var"),
        ({"config": {"ExposedPorts": {"80/tcp": {"x": 1}}}}, "/config/ExposedPorts/80~1tcp"),
        ({"config": {"Labels": {"a": 1}}}, "/config/Labels/a"),
        ({"config": {"Labels": {"": "x"}}}, "/config/Labels"),
        ({"config": {"ArgsEscaped": 1}}, "/config/ArgsEscaped"),
        ({"config": {"StopTimeout": 1.5}}, "/config/StopTimeout"),
        ({"config": {"StopTimeout": 2**63}}, "/config/StopTimeout"),
        ({"config": {"Memory": "1g"}}, "/config/Memory"),
        ({"config": {"Healthcheck": {"Interval": "30s"}}}, "/config/Healthcheck/Interval"),
        ({"config": {"Healthcheck": {"Test": "curl"}}}, "/config/Healthcheck/Test"),
    ],
)
def test_config_field_that_breaks_its_rule_is_named(change: dict[str, object], pointer: str) -> None:
    assert refused(parse_config, {**IMAGE, **change}).pointer == pointer


def test_null_in_a_config_means_absent() -> None:
    names = ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"]
    names += ["ArgsEscaped", "Healthcheck", "OnBuild", "Shell", "StopTimeout"]
    nulls = {**IMAGE, "created": None, "author": None, "variant": None, "os.features": None, "history": None}
    config = parse_config(pack({**nulls, "config": dict.fromkeys(names)})).model
    assert config.run == RunConfig()
    assert config.history == ()
    assert parse_config(pack({**nulls, "config": None})).model.run == RunConfig()


def test_absent_and_empty_are_told_apart() -> None:
    run = parse_config(pack({**IMAGE, "config": {"Entrypoint": [], "Env": [], "Labels": {}, "Volumes": {}}})).model.run
    assert (run.entrypoint, run.cmd, run.env, run.labels, run.volumes) == ((), None, (), {}, ())
    assert run.to_json() == {"Entrypoint": [], "Env": [], "Labels": {}, "Volumes": {}}


def test_unknown_fields_of_a_config_are_no_error() -> None:
    config = parse_config(
        pack({**IMAGE, "docker_version": "1.12.1", "container_config": {"Cmd": ["x"]}, "id": 1})
    ).model
    assert set(config.extra) == {"docker_version", "container_config", "id"}


def test_chain_ids_follow_the_recursion_of_the_spec() -> None:
    # the values of the reference implementation's test: sha256 of the letters
    a, b, c = (Digest.of(letter) for letter in (b"a", b"b", b"c"))
    config = ImageConfig(platform=Platform("linux", "amd64"), diff_ids=(a, b, c))
    ab = Digest.of(f"{a} {b}".encode())
    assert config.chain_ids() == (a, ab, Digest.of(f"{ab} {c}".encode()))
    assert config.replace(diff_ids=()).chain_ids() == ()


def test_history_without_empty_layer_made_a_layer() -> None:
    assert History().to_json() == {}
    assert not parse_config(pack({**IMAGE, "history": [{"empty_layer": False}]})).model.history[0].empty_layer


def test_sizes_over_the_limits_are_refused() -> None:
    filler = " " * wire.MAX_MANIFEST
    for parse in (parse_manifest, parse_index, parse_document):
        with pytest.raises(LimitExceeded):
            parse(pack(MANIFEST) + filler.encode())
    parse_config(pack(IMAGE) + filler.encode())
    with pytest.raises(LimitExceeded):
        parse_config(pack(IMAGE) + filler.encode() * 2)


@pytest.mark.parametrize("value", [b"[]", b'"x"', b"2", b"null"])
def test_document_that_is_no_object_is_refused(value: bytes) -> None:
    for parse in (parse_manifest, parse_index, parse_document, parse_config, LayoutHeader.parse):
        assert "expected an object" in str(refused(parse, value))


def test_layout_header_keeps_further_fields() -> None:
    header = LayoutHeader.parse(b'{"x":1,"imageLayoutVersion":"1.0.0"}')
    assert header.version == "1.0.0"
    assert header.encode() == b'{"imageLayoutVersion":"1.0.0","x":1}'
    assert LayoutHeader().encode() == b'{"imageLayoutVersion":"1.0.0"}'
    for raw in (b'{"imageLayoutVersion":1}', b"{}", b'{"imageLayoutVersion":1.0.0}', b'{"imageLayoutVersion":null}'):
        refused(LayoutHeader.parse, raw)
