"""JSON of documents, strictly: bytes to plain values and back, and readers of typed fields.

What two readers could understand differently is refused here, once, for every document (RFC 8259; image-spec v1.1.1
considerations.md): duplicate names, NaN and Infinity, a byte order mark, bytes that are not UTF-8, lone surrogates,
trailing data. What would make reading expensive is refused by named limits: size, depth, length of a number.
"""

from __future__ import annotations

from itertools import accumulate

from oci.errors import InvalidDocument, LimitExceeded, show
from oci.lazily import json, re
from oci.spec import quick_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import NoReturn

MIB = 1 << 20
MAX_MANIFEST = 4 * MIB  # distribution-spec: registries SHOULD accept manifests of at least 4 MiB; others stop there too
MAX_CONFIG = (
    8 * MIB
)  # no spec states one: twice a manifest; real ones are some KiB, the largest (labels, history) < 1 MiB
MAX_DEPTH = 64  # the specs' own documents need 6; Python's decoder recurses once a level
MAX_NUMBER = 64  # characters: int() of very long digits is quadratic, and no field takes more than int64
INT64 = (1 << 63) - 1


class _RefusedError(ValueError):
    """Raised in the decoder's hooks; `loads` makes an InvalidDocument of it."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _RefusedError(f"the name {show(name)!r} stands twice in one object")
            seen.add(name)
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER:
        raise _RefusedError(f"a number of {len(text)} characters; at most {MAX_NUMBER} are taken")
    return int(text)


def _float(text: str) -> float:
    if len(text) > MAX_NUMBER:
        raise _RefusedError(f"a number of {len(text)} characters; at most {MAX_NUMBER} are taken")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(f"the number {text} is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is not JSON")


_read = quick_json.scanner(_object, _integer, _float, _constant)
_write = quick_json.encoder()

# For the depth: every byte but brackets, quotes and backslashes is dropped, then brackets become +1 and -1.
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"\\'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def loads(raw: bytes, *, document: str = "document", limit: int = MAX_MANIFEST) -> object:
    """The value of this JSON text. Raises InvalidDocument, or LimitExceeded for more than `limit` bytes."""
    if len(raw) > limit:
        raise LimitExceeded(f"size of the {document} in bytes", limit, len(raw))
    if raw.startswith(b"\xef\xbb\xbf"):
        raise InvalidDocument("it begins with a byte order mark", document=document)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDocument(f"not UTF-8 at byte {error.start}", document=document) from None
    if _depth(raw) > MAX_DEPTH:
        raise InvalidDocument(f"nested deeper than {MAX_DEPTH} levels", document=document)
    if _has_lone_surrogate(text):
        raise InvalidDocument("an escaped surrogate without its other half, which no UTF-8 can say", document=document)
    try:
        try:
            return _read(text)
        except quick_json.NotPlain:
            return json.loads(
                text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
            )
    except _RefusedError as error:
        raise InvalidDocument(str(error), document=document) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise InvalidDocument(f"not JSON: {error.msg} ({where})", document=document) from None


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON, names in the order given: the same value always gives the same bytes.

    Raises InvalidDocument for what JSON or UTF-8 can't say (NaN, lone surrogates).
    """
    try:
        try:
            text = _write(value)
        except quick_json.NotPlain:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        begin, end = text.rfind('"', 0, error.start) + 1, text.find('"', error.end)
        word = text[max(begin, error.start - 80) : min(end, error.end + 80)]
        raise InvalidDocument(f"can't be written as JSON: '{show(word)}' is not UTF-8") from None
    except ValueError as error:
        raise InvalidDocument(f"can't be written as JSON: {error}") from None


def _depth(raw: bytes) -> int:
    """How deep brackets nest; exact for JSON, and for other bytes never less than a decoder would recurse."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return 0
    structure = raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    brackets = b"".join(structure.split(b'"')[::2]).translate(_STEPS, b"\\")
    return max(accumulate(memoryview(brackets).cast("b")), default=0)


def _has_lone_surrogate(text: str) -> bool:
    if "\\u" not in text or re.search(r"\\u[dD][89a-fA-F]", text) is None:
        return False
    # An escaped backslash becomes two letters, so that what stands behind it is no longer read as an escape.
    text = text.replace("\\\\", "__")
    text = re.sub(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}", "", text)
    return re.search(r"\\u[dD][89a-fA-F]", text) is not None


def escape(name: str) -> str:
    """A name as one step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "true or false", int: "an integer"}


def kind(value: object) -> str:
    """What a JSON value is, in words for messages."""
    if value is None:
        return "null"
    return "a number with a fraction or exponent" if isinstance(value, float) else _KINDS.get(type(value), "unknown")


class Fields:
    """Reads the fields of one JSON object by name and type; what nobody asked for is left in `extra()`.

    Every reader raises InvalidDocument with the JSON pointer of the field. `null_is_absent` is config.md's rule
    ("any OPTIONAL field MAY also be set to null"); in other documents null is a fault where another type is due.
    """

    __slots__ = ("_all", "_left", "document", "null_is_absent", "pointer")

    def __init__(
        self, value: object, *, document: str = "document", pointer: str = "", null_is_absent: bool = False
    ) -> None:
        self.document, self.pointer, self.null_is_absent = document, pointer, null_is_absent
        if not isinstance(value, dict):
            raise InvalidDocument(f"expected an object, got {kind(value)}", document=document, pointer=pointer)
        self._all: Mapping[str, object] = value
        self._left: dict[str, object] = dict(value)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def copy(self, document: str | None = None) -> Fields:
        """The same fields, to be read again (as a document of another name)."""
        null = self.null_is_absent
        return Fields(self._all, document=document or self.document, pointer=self.pointer, null_is_absent=null)

    def place(self, name: str) -> str:
        """The JSON pointer of a field."""
        return f"{self.pointer}/{escape(name)}"

    def fault(self, name: str, reason: str) -> InvalidDocument:
        """The error to raise for a field, with its place."""
        return InvalidDocument(reason, document=self.document, pointer=self.place(name))

    def missing(self, name: str) -> InvalidDocument:
        """The error to raise for a required field that is not there."""
        return InvalidDocument(f"the required field {name!r} is missing", document=self.document, pointer=self.pointer)

    def take(self, name: str) -> object:
        """The field's value, whatever it is; it must be there."""
        return self._left.pop(name)

    def _take(self, name: str, expected: type, words: str) -> object:
        """The field's value, None where it is absent."""
        if name not in self._left:
            return None
        value = self._left.pop(name)
        if value is None and self.null_is_absent:
            return None
        if type(value) is not expected:  # type() and not isinstance: True is an int
            raise self.fault(name, f"expected {words}, got {kind(value)}")
        return value

    def optional_string(self, name: str) -> str | None:
        value = self._take(name, str, "a string")
        assert value is None or isinstance(value, str)
        return value

    def string(self, name: str) -> str:
        value = self.optional_string(name)
        if value is None:
            raise self.missing(name)
        return value

    def optional_integer(self, name: str, minimum: int = -INT64 - 1, maximum: int = INT64) -> int | None:
        value = self._take(name, int, "an integer")
        if value is None:
            return None
        assert isinstance(value, int)
        if value < minimum:
            raise self.fault(name, f"{value} is less than {minimum}")
        if value > maximum:
            over = "more than a signed 64-bit integer holds" if maximum == INT64 else f"more than {maximum}"
            raise self.fault(name, f"{value} is {over}")
        return value

    def integer(self, name: str, minimum: int = -INT64 - 1, maximum: int = INT64) -> int:
        value = self.optional_integer(name, minimum, maximum)
        if value is None:
            raise self.missing(name)
        return value

    def check_integer(self, name: str) -> None:
        """An integer, null or absent; the field stays where it is."""
        value = self._left.get(name)
        if value is not None and type(value) is not int:
            raise self.fault(name, f"expected an integer, got {kind(value)}")

    def optional_boolean(self, name: str) -> bool | None:
        value = self._take(name, bool, "true or false")
        assert value is None or isinstance(value, bool)
        return value

    def optional_array(self, name: str) -> list[object] | None:
        value = self._take(name, list, "an array")
        assert value is None or isinstance(value, list)
        return value

    def array(self, name: str) -> list[object]:
        """A required array; null stands for an empty one, as Go writes it (`umoci init`, for one)."""
        if name in self._left and self._left[name] is None:
            self._left[name] = []
        value = self.optional_array(name)
        if value is None:
            raise self.missing(name)
        return value

    def optional_strings(self, name: str) -> tuple[str, ...] | None:
        values = self.optional_array(name)
        return None if values is None else tuple(self._strings(name, values))

    def strings(self, name: str) -> tuple[str, ...]:
        return tuple(self._strings(name, self.array(name)))

    def _strings(self, name: str, values: list[object]) -> Iterator[str]:
        for number, value in enumerate(values):
            if not isinstance(value, str):
                pointer = f"{self.place(name)}/{number}"
                reason = f"expected a string, got {kind(value)}"
                raise InvalidDocument(reason, document=self.document, pointer=pointer)
            yield value

    def optional_object(self, name: str) -> Fields | None:
        value = self._take(name, dict, "an object")
        return None if value is None else self._inner(name, value)

    def inner(self, name: str) -> Fields:
        value = self.optional_object(name)
        if value is None:
            raise self.missing(name)
        return value

    def _inner(self, name: str, value: object) -> Fields:
        pointer = self.place(name)
        return Fields(value, document=self.document, pointer=pointer, null_is_absent=self.null_is_absent)

    def optional_objects(self, name: str) -> list[Fields] | None:
        values = self.optional_array(name)
        if values is None:
            return None
        place, null = self.place(name), self.null_is_absent
        return [
            Fields(value, document=self.document, pointer=f"{place}/{number}", null_is_absent=null)
            for number, value in enumerate(values)
        ]

    def optional_string_map(self, name: str) -> dict[str, str] | None:
        """A map of strings with non-empty names: annotations.md#rules, which labels follow too."""
        value = self._take(name, dict, "an object")
        if value is None:
            return None
        assert isinstance(value, dict)
        for key, item in value.items():
            if not isinstance(item, str):
                raise self._inner(name, value).fault(key, f"expected a string, got {kind(item)}")
            if not key:
                raise self.fault(name, "a name in it is empty")
        return value

    def optional_set(self, name: str) -> tuple[str, ...] | None:
        """The names of a map to empty objects, which is how Go writes a set (config.md: ExposedPorts, Volumes)."""
        value = self._take(name, dict, "an object")
        if value is None:
            return None
        assert isinstance(value, dict)
        for key, item in value.items():
            if item != {} or type(item) is not dict:
                raise self._inner(name, value).fault(key, f"expected an empty object, got {kind(item)}")
        return tuple(value)

    def extra(self) -> Mapping[str, object]:
        """The fields that no reader has taken, unchanged.

        One that differs from a taken field only in case is refused: Go's decoder takes both for that field, and the
        later one wins, so the same digest would mean one thing here and another there (as in CVE-2021-41190).
        """
        if self._left:
            taken = {name.casefold(): name for name in self._all if name not in self._left}
            for name in self._left:
                other = taken.get(name.casefold())
                if other is not None:
                    raise self.fault(
                        name, f"differs from {other!r} only in case; other tools would read it as that field"
                    )
        return self._left


def put(target: dict[str, object], name: str, value: object) -> None:
    """Set a field unless its value is None (absent). Empty values are values."""
    if value is not None:
        target[name] = value
