"""Properties of whole documents: what is read, edited and written again loses nothing and stays in the grammar."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oci.errors import OciError
from oci.spec import Document, History, parse_config, parse_index, parse_manifest, wire

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
digests = hexadecimal.map("sha256:{}".format) | st.just("multihash+base58:Qm")
media_type_names = st.sampled_from(["a/b", "application/vnd.oci.image.layer.v1.tar+gzip", "text/x!#$&^_.+-"])
maps = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), text, max_size=3)
times = st.sampled_from(["2015-10-31T22:22:56.015925234Z", "0001-01-01T00:00:00Z", "2020-02-29t00:00:00+01:00"])
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
# "x-…" is no field's name, in no document
unknown = st.dictionaries(text.map("x-{}".format), anything, max_size=2)


@st.composite
def objects(draw: st.DrawFn, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """An object with its required fields, some of the optional ones and some unknown ones, in any order."""
    value = draw(st.fixed_dictionaries(required, optional=optional))
    value.update(draw(unknown))
    names = draw(st.permutations(list(value)))
    return {name: value[name] for name in names}


platforms = objects(
    {"architecture": text, "os": text},
    {"variant": text, "os.version": text, "os.features": st.lists(text, min_size=1, max_size=2)},
)
descriptors = objects(
    {"mediaType": media_type_names, "digest": digests, "size": st.integers(0, 2**63 - 1)},
    {
        "urls": st.just(["https://example.com/a?b#c"]),
        "annotations": maps.filter(bool),
        "platform": platforms,
        "artifactType": media_type_names,
    },
)
manifest_type = "application/vnd.oci.image.manifest.v1+json"
index_type = "application/vnd.oci.image.index.v1+json"
shared: dict[str, Any] = {"subject": descriptors, "annotations": maps.filter(bool), "artifactType": media_type_names}
manifests = objects(
    {
        "schemaVersion": st.just(2),
        "mediaType": st.just(manifest_type),
        "config": descriptors,
        "layers": st.lists(descriptors, max_size=3),
    },
    shared,
)
indexes = objects(
    {"schemaVersion": st.just(2), "mediaType": st.just(index_type), "manifests": st.lists(descriptors, max_size=3)},
    shared,
)
sets = st.dictionaries(text, st.just({}), max_size=2)
texts = st.lists(text, max_size=3)
integers = st.integers(-(2**63), 2**63 - 1)
executions = objects(
    {"Entrypoint": texts},
    {
        "User": text,
        "ExposedPorts": sets,
        "Env": st.lists(text.map("A={}".format), max_size=2),
        "Cmd": texts,
        "Volumes": sets,
        "WorkingDir": text,
        "Labels": maps,
        "StopSignal": text,
        "ArgsEscaped": st.booleans(),
        "Healthcheck": objects({}, {"Test": texts, "Interval": integers, "Retries": integers}),
        "OnBuild": texts,
        "Shell": texts,
        "StopTimeout": integers,
        "Memory": integers,
    },
)
steps = objects(
    {}, {"created": times, "author": text, "created_by": text, "comment": text, "empty_layer": st.just(True)}
)
configs = objects(
    {
        "architecture": text,
        "os": text,
        "rootfs": objects({"type": st.just("layers"), "diff_ids": st.lists(digests, max_size=3)}, {}),
    },
    {
        "created": times,
        "author": text,
        "variant": text,
        "os.version": text,
        "os.features": st.lists(text, min_size=1, max_size=2),
        "config": executions,
        "history": st.lists(steps, min_size=1, max_size=3),
    },
)


@settings(max_examples=60)
@given(manifests)
def test_manifest_survives_an_edit_whole(value: dict[str, Any]) -> None:
    document = parse_manifest(json.dumps(value).encode())
    edited = Document.of(document.model.replace(annotations={"edited": "yes"}))
    assert json.loads(edited.raw) == {**value, "annotations": {"edited": "yes"}}
    assert Document.of(edited.model).raw == edited.raw


@settings(max_examples=60)
@given(indexes)
def test_index_survives_an_edit_whole(value: dict[str, Any]) -> None:
    document = parse_index(json.dumps(value).encode())
    edited = Document.of(document.model.replace(manifests=document.model.manifests[:1]))
    assert json.loads(edited.raw) == {**value, "manifests": value["manifests"][:1]}
    assert Document.of(edited.model).raw == edited.raw


@settings(max_examples=60)
@given(configs)
def test_config_survives_an_edit_whole(value: dict[str, Any]) -> None:
    document = parse_config(json.dumps(value).encode())
    edited = Document.of(document.model.replace(history=(*document.model.history, History(comment="edited"))))
    assert json.loads(edited.raw) == {**value, "history": [*value.get("history", []), {"comment": "edited"}]}
    assert Document.of(edited.model).raw == edited.raw


@settings(max_examples=60)
@given(manifests, st.randoms(use_true_random=False))
def test_order_of_names_does_not_change_what_is_written(value: dict[str, Any], random: Any) -> None:
    names = [name for name in value if not name.startswith("x-")]
    random.shuffle(names)
    shuffled = {name: value[name] for name in [*names, *(name for name in value if name.startswith("x-"))]}
    first, second = (parse_manifest(wire.dumps(one)) for one in (value, shuffled))
    assert first.model == second.model
    assert Document.of(first.model).raw == Document.of(second.model).raw


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside."""
    found = [path] if path else []
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        found += places(inner, (*path, step))
    return found


@settings(max_examples=80)
@given(st.one_of(manifests, indexes, configs), anything, st.data())
def test_one_wrong_value_anywhere_gives_a_document_or_one_clear_error(
    value: dict[str, Any], wrong: object, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(places(value)))
    changed: Any = wire.loads(wire.dumps(value))  # a deep copy
    here = changed
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = wrong
    raw = wire.dumps(changed)
    for parse in (parse_manifest, parse_index, parse_config):
        try:
            model: Any = parse(raw).model  # type: ignore[operator]
        except OciError as error:
            message = str(error)
        else:
            message = "read"
            assert Document.of(Document.of(model).model).model == model
        assert message.isprintable()
