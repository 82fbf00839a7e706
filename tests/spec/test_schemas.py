"""The JSON Schemas and the parser agree, on what the image spec's own tests state and on generated documents.

Facts: image-spec v1.1.1 schema/*_test.go, in our own words. Each is one change to a document that is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from oci.errors import InvalidInput
from oci.layout.schema import schema_faults
from oci.spec import Descriptor, LayoutHeader, media_types, parse_config, parse_index, parse_manifest
from tests.spec import test_round_trips as generated

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
NAMES = ("descriptor", "manifest", "index", "config", "layout", "docker-manifest", "docker-list")

PARSERS: dict[str, Callable[[bytes], object]] = {
    "descriptor": lambda raw: Descriptor.from_json(json.loads(raw)),
    "manifest": parse_manifest,
    "index": parse_index,
    "config": parse_config,
    "layout": LayoutHeader.parse,
    "docker-manifest": lambda raw: parse_manifest(raw, media_type=media_types.DOCKER_MANIFEST),
    "docker-list": lambda raw: parse_index(raw, media_type=media_types.DOCKER_LIST),
}

HEX = "5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270"
LONGEST = "1234567" + "1234567890" * 12
DESCRIPTOR: dict[str, Any] = {"mediaType": media_types.MANIFEST, "digest": f"sha256:{HEX}", "size": 7682}
CONFIG_OF = {**DESCRIPTOR, "mediaType": media_types.CONFIG}
LAYER = {**DESCRIPTOR, "mediaType": media_types.LAYER_GZIP}
RIGHT: dict[str, dict[str, Any]] = {
    "descriptor": DESCRIPTOR,
    "manifest": {"schemaVersion": 2, "mediaType": media_types.MANIFEST, "config": CONFIG_OF, "layers": [LAYER]},
    "index": {
        "schemaVersion": 2,
        "mediaType": media_types.INDEX,
        "manifests": [{**DESCRIPTOR, "platform": {"architecture": "ppc64le", "os": "linux"}}],
    },
    "config": {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{HEX}"]}},
    "layout": {"imageLayoutVersion": "1.0.0"},
}
RIGHT["docker-manifest"] = {**RIGHT["manifest"], "mediaType": media_types.DOCKER_MANIFEST}
RIGHT["docker-list"] = {**RIGHT["index"], "mediaType": media_types.DOCKER_LIST}
GONE = object()


@cache
def validator(name: str) -> Draft202012Validator:
    loaded = [json.loads((SCHEMAS / f"{each}.json").read_text("utf-8")) for each in NAMES]
    registry: Registry[Any] = Registry[Any]().with_resources(
        (schema["$id"], DRAFT202012.create_resource(schema)) for schema in loaded
    )
    return Draft202012Validator(loaded[NAMES.index(name)], registry=registry)


def parses(name: str, value: object) -> bool:
    try:
        PARSERS[name](json.dumps(value).encode())
    except InvalidInput:
        return False
    return True


def changed(name: str, path: str, value: object) -> Any:
    """A deep copy of the right document with one value set or taken away."""
    document = json.loads(json.dumps(RIGHT[name]))
    here, steps = document, [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps[:-1]:
        here = here[step] if isinstance(here, list) else here.setdefault(step, {})
    if value is GONE:
        del here[steps[-1]]
    else:
        here[steps[-1]] = value
    return document


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_described_and_takes_the_right_document(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f"/{name}.json")
    assert schema["title"]
    assert schema["description"]
    assert list(validator(name).iter_errors(RIGHT[name])) == []
    assert parses(name, RIGHT[name])


TAKEN = [
    ("descriptor", "mediaType", "application/octet-stream"),
    ("descriptor", "mediaType", f"{LONGEST}/{LONGEST}"),
    ("descriptor", "size", 0),
    ("descriptor", "size", 2**63 - 1),
    ("descriptor", "urls", ["https://example.com/foo"]),
    ("descriptor", "artifactType", media_types.MANIFEST),
    ("descriptor", "digest", "sha256+b64:c86f"),
    ("descriptor", "digest", "sha256+foo-bar:c86f"),
    ("descriptor", "digest", "sha256.foo-bar:c86f"),
    ("descriptor", "digest", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"),
    ("descriptor", "digest", "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"),
    ("descriptor", "digest", "sha256+b64u.unknownlength:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564="),
    ("descriptor", "annotations", {}),
    ("descriptor", "annotations", {"a": ""}),
    ("descriptor", "x", None),
    ("manifest", "annotations", {"key1": "value1", "key2": "value2"}),
    ("manifest", "mediaType", GONE),
    ("manifest", "subject", DESCRIPTOR),
    ("manifest", "config/mediaType", "application/vnd.example.config+json"),
    ("manifest", "layers/0/mediaType", "application/vnd.example.data+type"),
    # image-spec's own schema wants one layer; its text says SHOULD, and builders write images without any
    ("manifest", "layers", []),
    ("index", "mediaType", GONE),
    ("index", "manifests", []),
    ("index", "manifests/0/platform", GONE),
    ("index", "manifests/0/mediaType", "application/customized.manifest+json"),
    ("index", "manifests/0/artifactType", "application/vnd.example1+type"),
    ("index", "artifactType", "application/vnd.example+type"),
    ("index", "subject", DESCRIPTOR),
    ("index", "annotations", {"com.example.key1": "value1"}),
    ("config", "created", "2015-10-31T22:22:56.015925234Z"),
    ("config", "variant", "v8"),
    ("config", "config/User", "1:1"),
    ("config", "config/ExposedPorts", {"8080/tcp": {}}),
    ("config", "config/Env", ["PATH=/bin", "FOO="]),
    ("config", "config/Cmd", None),
    ("config", "config/Entrypoint", None),
    ("config", "config/Volumes", None),
    ("config", "config/Healthcheck", {"Test": ["CMD", "x"], "Interval": 30_000_000_000}),
    ("config", "history", None),
    ("config", "history", [{"created": "2015-10-31T22:22:55.613815829Z", "created_by": "x", "empty_layer": True}]),
    ("config", "docker_version", "1.12.1"),
    ("layout", "more", [1]),
    ("docker-manifest", "config/mediaType", "application/octet-stream"),
]

REFUSED = [
    ("descriptor", "mediaType", GONE),
    ("descriptor", "mediaType", "application"),
    ("descriptor", "mediaType", ".foo/bar"),
    ("descriptor", "mediaType", "foo/.bar"),
    ("descriptor", "mediaType", f"{LONGEST}8/bar"),
    ("descriptor", "mediaType", f"foo/{LONGEST}8"),
    ("descriptor", "size", GONE),
    ("descriptor", "size", "7682"),
    ("descriptor", "size", -7682),
    ("descriptor", "size", 2**63),
    ("descriptor", "size", 1.5),
    ("descriptor", "digest", GONE),
    ("descriptor", "digest", f":{HEX}"),
    ("descriptor", "digest", "sha256"),
    ("descriptor", "digest", f"SHA256:{HEX}"),
    ("descriptor", "digest", f"sha256:{HEX.upper()}"),
    ("descriptor", "digest", f"sha512:{HEX}"),
    ("descriptor", "digest", "sha256+foo+-b:c86f"),
    ("descriptor", "urls", ["value"]),
    ("descriptor", "artifactType", "foo/.bar"),
    ("descriptor", "data", "aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCg"),
    ("descriptor", "annotations", None),
    ("descriptor", "annotations", {"": "x"}),
    ("descriptor", "annotations", {"a": 1}),
    ("manifest", "schemaVersion", GONE),
    ("manifest", "schemaVersion", 1),
    ("manifest", "mediaType", media_types.INDEX),
    ("manifest", "config", GONE),
    ("manifest", "config/mediaType", "invalid"),
    ("manifest", "config/size", "1470"),
    ("manifest", "config/mediaType", media_types.EMPTY),
    ("manifest", "layers", GONE),
    ("manifest", "layers/0/size", "675598"),
    ("manifest", "layers/0/digest", "sha256+foo+-b:c86f"),
    ("manifest", "subject", ".nope"),
    ("manifest", "manifests", []),
    ("manifest", "fsLayers", []),
    ("index", "mediaType", media_types.MANIFEST),
    ("index", "manifests", GONE),
    ("index", "manifests/0/mediaType", "invalid"),
    ("index", "manifests/0/mediaType", ""),
    ("index", "manifests/0/size", "7682"),
    ("index", "manifests/0/digest", GONE),
    ("index", "manifests/0/platform/architecture", GONE),
    ("index", "subject", "nope"),
    ("index", "layers", []),
    ("index", "config", CONFIG_OF),
    ("config", "os", 123),
    ("config", "os", GONE),
    ("config", "variant", 123),
    ("config", "rootfs", GONE),
    ("config", "rootfs/type", "tarball"),
    ("config", "rootfs/diff_ids", GONE),
    ("config", "rootfs/diff_ids/0", "nope"),
    ("config", "created", "2015-13-31T22:22:56Z"),
    ("config", "history", "should be an array"),
    ("config", "config/User", 1234),
    ("config", "config/Env", [7353]),
    ("config", "config/Env", ["foo"]),
    ("config", "config/Volumes", ["/var/job-result-data"]),
    ("config", "config/Volumes", {"/var": {"x": 1}}),
    ("config", "config/Labels", {"": "x"}),
    ("config", "config/Healthcheck", {"Interval": "30s"}),
    ("layout", "imageLayoutVersion", GONE),
    ("layout", "imageLayoutVersion", 1.0),
    ("docker-manifest", "mediaType", media_types.MANIFEST),
    ("docker-list", "mediaType", media_types.INDEX),
]


@pytest.mark.parametrize(("name", "path", "value"), TAKEN)
def test_schema_and_parser_take_what_the_spec_allows(name: str, path: str, value: object) -> None:
    document = changed(name, path, value)
    assert [error.message for error in validator(name).iter_errors(document)] == []
    assert parses(name, document)


@pytest.mark.parametrize(("name", "path", "value"), REFUSED)
def test_schema_and_parser_refuse_what_the_spec_forbids(name: str, path: str, value: object) -> None:
    document = changed(name, path, value)
    assert list(validator(name).iter_errors(document))
    assert not parses(name, document)


def test_embedded_data_of_the_specs_test_is_taken() -> None:
    document = {
        "mediaType": "text/plain",
        "size": 34,
        "data": "aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCg==",
        "digest": "sha256:2690af59371e9eca9453dc29882643f46e5ca47ec2862bd517b5e17351325153",
    }
    assert validator("descriptor").is_valid(document)
    descriptor = Descriptor.from_json(document)
    assert descriptor.data is not None
    assert type(descriptor.digest).of(descriptor.data) == descriptor.digest


def test_artifact_with_the_empty_config_needs_an_artifact_type() -> None:
    document = changed("manifest", "config/mediaType", media_types.EMPTY)
    document["artifactType"] = "application/vnd.example+type"
    assert validator("manifest").is_valid(document)
    assert parses("manifest", document)


def test_what_only_docker_requires_is_in_dockers_schemas() -> None:
    assert not validator("docker-manifest").is_valid(changed("docker-manifest", "mediaType", GONE))
    assert not validator("docker-list").is_valid(changed("docker-list", "manifests/0/platform", GONE))
    assert not validator("layout").is_valid({"imageLayoutVersion": "2.0.0"})


@settings(max_examples=40)
@given(generated.manifests)
def test_schema_takes_every_manifest_that_the_parser_takes(value: dict[str, Any]) -> None:
    assert [error.message for error in validator("manifest").iter_errors(value)] == []


@settings(max_examples=40)
@given(generated.indexes)
def test_schema_takes_every_index_that_the_parser_takes(value: dict[str, Any]) -> None:
    assert [error.message for error in validator("index").iter_errors(value)] == []


@settings(max_examples=40)
@given(generated.configs)
def test_schema_takes_every_config_that_the_parser_takes(value: dict[str, Any]) -> None:
    assert [error.message for error in validator("config").iter_errors(value)] == []


def test_an_empty_name_is_called_so() -> None:
    value = {"mediaType": "text/plain", "digest": f"sha256:{'0' * 64}", "size": 0, "annotations": {"": "x"}}
    faults = list(schema_faults("descriptor", value))
    assert [(fault.pointer, fault.message) for fault in faults] == [("/annotations", "a name in it is empty")]
