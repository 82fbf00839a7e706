"""Hostile and doubtful JSON is refused with one clear line; limits hold without cost."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import InvalidDocument, LimitExceeded, OciError
from oci.spec import wire


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"   ", "not JSON"),
        (b"invalid JSON", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b'{"a":1}{"a":1}', "not JSON"),
        (b'{"a":1}\x00', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"[1,]", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":+1}', "not JSON"),
        (b'{"a":1.}', "not JSON"),
        (b'{"a":0x1}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":"\\x41"}', "not JSON"),
        (b'{"a":"\\u00g0"}', "not JSON"),
        (b'{"a":1}//c', "not JSON"),
        (b'{"a":\xc2\xa01}', "not JSON"),
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b'{"x":[{"a":1,"b":2,"\\u0061":2}]}', "'a' stands twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":Infinity}', "Infinity is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":1e400}', "out of range"),
        (b'{"a":-1e400}', "out of range"),
        (b'{"a":' + b"9" * 65 + b"}", "a number of 65 characters"),
        (b'{"a":' + b"9" * 2_000_000 + b"}", "a number of 2000000 characters"),
        (b'{"a":0.' + b"9" * 70 + b"}", "a number of 72 characters"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'\xff\xfe{\x00"\x00', "not UTF-8 at byte 0"),
        ('{"a":1}'.encode("utf-16-le"), "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
        (b'{"a":"\xc0\x80"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00"}', "surrogate"),
        (b'{"a":"\\uDC00\\ud800"}', "surrogate"),
        (b'{"a":"\\ud83d\\\\\\udc00"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
    ],
)
def test_doubtful_json_is_refused_with_one_line(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        wire.loads(raw)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b' {"a" : [ 1 , -0, 2.5e1, true, null, "x" ] } \r\n\t', {"a": [1, 0, 25.0, True, None, "x"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\\\\\\\\ud800\\u0041"', "\\\\ud800A"),
        (b'{"a":{"a":{"a":1}}}', {"a": {"a": {"a": 1}}}),
        (b"[" + b"9" * 64 + b"]", [int("9" * 64)]),
        (b'["[[[[{{{\\"]]"]', ['[[[[{{{"]]']),
    ],
)
def test_plain_json_is_read(raw: bytes, value: object) -> None:
    assert wire.loads(raw) == value


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_over_the_limit_is_refused_before_the_decoder_recurses(opening: bytes) -> None:
    raw = opening * (wire.MAX_MANIFEST // len(opening))
    started = time.perf_counter()
    with pytest.raises(InvalidDocument, match="nested deeper"):
        wire.loads(raw)
    assert time.perf_counter() - started < 5  # linear: a quarter of a second is usual


def test_nesting_at_the_limit_is_read() -> None:
    deepest = b"[" * wire.MAX_DEPTH + b"]" * wire.MAX_DEPTH
    wire.loads(deepest)
    with pytest.raises(InvalidDocument, match="nested deeper"):
        wire.loads(b"[" + deepest + b"]")


def test_brackets_in_strings_and_side_by_side_are_no_nesting() -> None:
    wire.loads(json.dumps(["[" * 1000, '"[' * 1000, "\\" * 999 + "{" * 1000, {"[" * 100: {}}]).encode())
    wire.loads(b"[" + b",".join([b"[]"] * 100_000) + b"]")


def test_document_over_the_size_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="size of the index"):
        wire.loads(b" " * (wire.MAX_MANIFEST + 1), document="index")
    with pytest.raises(LimitExceeded, match="limit of 10"):
        wire.loads(b'"12345678901"', limit=10)


def test_dumps_refuses_what_json_cannot_say() -> None:
    for value in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(InvalidDocument, match="can't be written"):
            wire.dumps({"a": value})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # a surrogate alone is refused; everything else survives
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_every_value_survives_writing_and_reading(value: object) -> None:
    raw = wire.dumps(value)
    assert wire.loads(raw) == value
    assert wire.loads(json.dumps(value).encode()) == value  # escapes instead of UTF-8
    assert wire.dumps(wire.loads(raw)) == raw


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u01adeE+-. \n', max_size=60).map(str.encode))
def test_any_bytes_give_a_value_or_one_clear_error(raw: bytes) -> None:
    message = ""
    try:
        wire.loads(raw)
    except OciError as error:
        message = str(error)
    else:
        json.loads(raw)  # what is taken here, the plain decoder takes too
    assert "\n" not in message


@pytest.mark.parametrize(
    ("read", "pointer"),
    [
        (lambda fields: fields.string("s"), "/s"),
        (lambda fields: fields.integer("i"), "/i"),
        (lambda fields: fields.optional_integer("big"), "/big"),
        (lambda fields: fields.integer("one", minimum=2), "/one"),
        (lambda fields: fields.integer("one", maximum=0), "/one"),
        (lambda fields: fields.optional_boolean("one"), "/one"),
        (lambda fields: fields.integer("t"), "/t"),
        (lambda fields: fields.array("one"), "/one"),
        (lambda fields: fields.strings("l"), "/l/1"),
        (lambda fields: fields.inner("one"), "/one"),
        (lambda fields: fields.optional_objects("l"), "/l/0"),
        (lambda fields: fields.optional_string_map("m"), "/m/a~1b~0c"),
        (lambda fields: fields.optional_string_map("e"), "/e"),
        (lambda fields: fields.optional_set("m"), "/m/a~1b~0c"),
        (lambda fields: fields.string("absent"), ""),
        (lambda fields: fields.string("null"), "/null"),
        (lambda fields: fields.integer("float"), "/float"),
        (lambda fields: fields.integer("exponent"), "/exponent"),
    ],
)
def test_field_of_the_wrong_type_is_named_by_its_pointer(read: object, pointer: str) -> None:
    raw = (
        b'{"s":1,"i":"1","big":9223372036854775808,"one":1,"t":true,"l":["a",2],"m":{"a/b~c":1},"e":{"":""},'
        b'"null":null,"float":1.0,"exponent":1e3}'
    )
    fields = wire.Fields(wire.loads(raw), document="thing")
    with pytest.raises(InvalidDocument) as caught:
        read(fields)  # type: ignore[operator]
    assert caught.value.pointer == pointer
    assert str(caught.value).startswith("thing")


def test_what_utf_8_cannot_say_is_named_by_the_word_that_it_is_in() -> None:
    with pytest.raises(InvalidDocument, match=r"^document: can't be written as JSON: 'A=\\udcff' is not UTF-8$"):
        wire.dumps({"args": ["echo", "A=\udcff"], "more": "x"})
    with pytest.raises(InvalidDocument, match=r"JSON: 'x{80}\\ud800' is not UTF-8$"):
        wire.dumps("x" * 1000 + "\ud800")
