"""Permission bits given by a person, as chmod(1) takes them: octal, or clauses like `u=rwX,go=rX`.

`X` is execute permission for directories and for what anybody may execute already. Only what makes sense without a
umask is known: every clause names who it is about.
"""

from __future__ import annotations

from collections.abc import Callable

from oci.errors import InvalidInput, show
from oci.lazily import re

__all__ = ["ModeRule", "mode_rule"]

ModeRule = Callable[[int, bool], int]
"""(mode, is a directory) → mode"""

_CLAUSE = r"([ugoa]+)((?:[-+=][rwxXst]*)+)"
_ACTION = r"([-+=])([rwxXst]*)"
_SHIFT = {"u": 6, "g": 3, "o": 0}


def mode_rule(wanted: int | str) -> ModeRule:
    """A function that gives each entry its mode; an int (or octal text) sets all 07777 bits of all of them."""
    if isinstance(wanted, str):
        if not re.fullmatch("0?[0-7]{3,4}", wanted):
            return _symbolic(wanted)
        wanted = int(wanted, 8)
    if not 0 <= wanted <= 0o7777:
        raise InvalidInput(f"mode {wanted:o} (octal) is not between 0 and 7777")
    fixed = wanted
    return lambda _mode, _is_dir: fixed


def _symbolic(text: str) -> ModeRule:
    steps: list[tuple[str, str, str]] = []
    for clause in text.split(","):
        found = re.fullmatch(_CLAUSE, clause)
        if not found:
            raise InvalidInput(f"mode {show(text)!r} is neither octal nor clauses like u=rwX,go=rX")
        who = "ugo" if "a" in found[1] else found[1]
        steps += [(who, action, letters) for action, letters in re.findall(_ACTION, found[2])]

    def apply(mode: int, is_dir: bool) -> int:
        for who, action, letters in steps:
            bits, reach = _bits(who, letters, is_dir or bool(mode & 0o111))
            mode = mode | bits if action == "+" else mode & ~bits if action == "-" else mode & ~reach | bits
        return mode

    return apply


def _bits(who: str, letters: str, executable: bool) -> tuple[int, int]:
    """The bits that letters mean for these classes, and all bits that "=" would replace."""
    bits = reach = 0
    for name in who:
        shift = _SHIFT[name]
        reach |= 0o7 << shift
        for letter in letters:
            if letter in "rw":
                bits |= (4 if letter == "r" else 2) << shift
            elif letter == "x" or (letter == "X" and executable):
                bits |= 1 << shift
            elif letter == "s":
                bits |= {"u": 0o4000, "g": 0o2000, "o": 0}[name]
        reach |= {"u": 0o4000, "g": 0o2000, "o": 0}[name]
    if "t" in letters and "o" in who:
        bits |= 0o1000
    if "o" in who:
        reach |= 0o1000
    return bits, reach
