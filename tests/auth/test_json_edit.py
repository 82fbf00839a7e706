"""One member of a JSON text is changed, and all other bytes stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.auth.json_edit import edited

DOCKER = """\
{
\t"auths": {
\t\t"https://index.docker.io/v1/": {
\t\t\t"auth": "b2xkOng="
\t\t},
\t\t"quay.io": {}
\t},
\t"HttpHeaders": {"User-Agent":   "x\\u00e9"},
\t"detachKeys": "ctrl-e,e",
\t"big": 1.50e3
}"""


def test_an_entry_is_added_as_the_others_are_written() -> None:
    made = edited(DOCKER, ("auths", "new.example"), {"auth": "bmV3"})
    assert made == DOCKER.replace('"quay.io": {}', '"quay.io": {},\n\t\t"new.example": {\n\t\t\t"auth": "bmV3"\n\t\t}')


def test_an_entry_is_replaced_in_its_place() -> None:
    made = edited(DOCKER, ("auths", "quay.io"), {"auth": "bmV3"})
    assert made == DOCKER.replace('"quay.io": {}', '"quay.io": {\n\t\t\t"auth": "bmV3"\n\t\t}')


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("quay.io", ',\n\t\t"quay.io": {}', ""),
        ("https://index.docker.io/v1/", '"https://index.docker.io/v1/": {\n\t\t\t"auth": "b2xkOng="\n\t\t},\n\t\t', ""),
        ("none.example", "", ""),
    ],
)
def test_an_entry_is_removed_with_its_comma(key: str, old: str, new: str) -> None:
    assert edited(DOCKER, ("auths", key), None) == DOCKER.replace(old, new)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{}", '{\n\t"auths": {\n\t\t"a": {\n\t\t\t"x": 1\n\t\t}\n\t}\n}'),
        ('{"auths":{},"y":2}', '{"auths":{"a": {"x": 1}},"y":2}'),
        ('{"auths":{"b":{}}}', '{"auths":{"b":{}, "a": {"x": 1}}}'),
        ('{ "auths": null }\n', '{ "auths": {"a": {"x": 1}} }\n'),
        ('{"psFormat": "t"}', '{"psFormat": "t", "auths": {"a": {"x": 1}}}'),
        (
            '{\n    "auths": {\n        "b": {}\n    }\n}\n',
            '{\n    "auths": {\n        "b": {},\n        "a": {\n            "x": 1\n        }\n    }\n}\n',
        ),
    ],
)
def test_the_way_a_text_is_written_is_kept(text: str, made: str) -> None:
    assert edited(text, ("auths", "a"), {"x": 1}) == made


NAMES = st.sampled_from(["auths", "a", "b", 'q"\\', "\u00e9", "credHelpers", ""])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
STYLES = st.sampled_from(
    [
        {},
        {"indent": 2},
        {"indent": "\t"},
        {"indent": 4},
        {"indent": 0},
        {"separators": (",", ":")},
        {"indent": 1, "ensure_ascii": False},
    ]
)


@given(
    st.dictionaries(NAMES, VALUES, max_size=4) | st.fixed_dictionaries({"auths": st.dictionaries(NAMES, VALUES)}),
    STYLES,
    NAMES,
    st.none() | st.just({}) | st.just({"auth": "x", "y": {"z": 1}}),
)
def test_whatever_the_text_is_the_result_says_what_was_wanted(
    document: dict[str, Any], style: dict[str, Any], key: str, value: dict[str, Any] | None
) -> None:
    text = json.dumps(document, **style)
    made = json.loads(edited(text, ("auths", key), value))
    expected = json.loads(text)
    if value is not None:
        if not isinstance(expected.get("auths"), dict):
            expected["auths"] = {}
        expected["auths"][key] = value
    elif isinstance(expected.get("auths"), dict):
        expected["auths"].pop(key, None)
    assert made == expected
    assert list(made) == list(expected)


@given(st.dictionaries(NAMES.filter(lambda name: name != "auths"), VALUES, min_size=1, max_size=4), STYLES, NAMES)
def test_adding_and_removing_gives_back_every_byte(document: dict[str, Any], style: dict[str, Any], key: str) -> None:
    document = {**document, "auths": {"kept.example": {"auth": "x"}}}
    text = json.dumps(document, **style)
    path = ("auths", f"new-{key}")
    assert edited(edited(text, path, {"auth": "y"}), path, None) == text
