"""JSON by the two functions in C that the module `json` is made of, for as long as nothing else has imported it.

`json` imports `re`, which imports `enum`: 7 ms of CPU, where an interpreter that does nothing takes 10
(docs/adr/0014-first-milliseconds.md). The functions are not public: where they are missing, or take other arguments
than they do in Python 3.11 to 3.14, `json` is used. They decide nothing alone: whatever is not a plain success (bytes
that are no JSON, a value that JSON can't say) is left to `json`, which has the words for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["NotPlain", "dumps", "encoder", "loads", "quote", "scanner"]

_SPACE = " \t\n\r"


class NotPlain(Exception):  # noqa: N818 - says what is the case, and never leaves the rooms that ask
    """`json` has to do it."""


class _Hooks:
    """What the scanner in C takes its settings from; in `json` that is a JSONDecoder."""

    strict, object_hook, memo = True, None, None

    def __init__(
        self,
        pairs: Callable[[list[tuple[str, object]]], object] | None,
        integer: Callable[[str], object],
        number: Callable[[str], object],
        constant: Callable[[str], object],
    ) -> None:
        self.object_pairs_hook = pairs
        self.parse_int, self.parse_float, self.parse_constant = integer, number, constant


def scanner(
    pairs: Callable[[list[tuple[str, object]]], object] | None = None,
    integer: Callable[[str], object] = int,
    number: Callable[[str], object] = float,
    constant: Callable[[str], object] = float,
) -> Callable[[str], Any]:
    """A function from a whole text to its value; the hooks are JSONDecoder's, and what they raise comes through."""
    try:
        from _json import make_scanner

        hooks: Any = _Hooks(pairs, integer, number, constant)
        scan: Callable[[str, int], tuple[object, int]] = make_scanner(hooks)
    except (ImportError, AttributeError, TypeError):
        return _never

    def read(text: str) -> object:
        begin = len(text) - len(text.lstrip(_SPACE))
        try:
            value, end = scan(text, begin)
        except (StopIteration, RecursionError, SystemError):
            # SystemError: the function in C fails without a word where nobody has imported json.decoder (Python 3.11).
            raise NotPlain from None
        except ValueError as error:
            if type(error).__name__ != "JSONDecodeError":
                raise
            raise NotPlain from None
        if end != len(text) and text[end:].strip(_SPACE):
            raise NotPlain
        return value

    return read


def encoder(*, ascii_only: bool = False) -> Callable[[object], str]:
    """A function from a value to its compact text; no NaN."""
    try:
        import _json

        quote = _json.encode_basestring_ascii if ascii_only else _json.encode_basestring
        chunks = _json.make_encoder({}, _refuse, quote, None, ":", ",", False, False, False)
        chunks([{"a": 1, "b": None}], 0)
    except (ImportError, AttributeError, TypeError):
        return _never

    def write(value: object) -> str:
        if isinstance(value, float):  # the function in C takes no notice of `allow_nan` at the top
            raise NotPlain
        try:
            return quote(value) if isinstance(value, str) else "".join(chunks(value, 0))
        except (TypeError, ValueError, RecursionError):
            raise NotPlain from None

    return write


def _never(value: object) -> Any:
    raise NotPlain


def _refuse(value: object) -> object:
    raise NotPlain


def loads(text: str) -> Any:
    """As `json.loads`."""
    global _read
    _read = _read or scanner()
    try:
        return _read(text)
    except NotPlain:
        import json

        return json.loads(text)


def dumps(value: object) -> str:
    """As `json.dumps(value, separators=(",", ":"))`; what is no JSON is refused, NaN too."""
    global _write
    _write = _write or encoder(ascii_only=True)
    try:
        return _write(value)
    except NotPlain:
        import json

        return json.dumps(value, separators=(",", ":"), allow_nan=False)


_read: Callable[[str], Any] | None = None
_write: Callable[[object], str] | None = None


def quote(text: str) -> str:
    """A string as JSON in ASCII."""
    return dumps(text)
