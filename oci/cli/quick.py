"""Command lines that need no typer: read by a table, where every word of them is plain.

To import typer and to make a command's parameters takes two thirds of the time of a short command (60 of 90 ms,
measured on `ocikit inspect`). What typer would make of a command line follows from a table of the options, which
`make docs` writes from typer's own declarations (quick_table.py; a test holds the one against the other). A line that
the table can't read (`--help`, an unknown option, a missing argument, a number that is none) is left to typer, which
has the words for what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oci.cli.quick_table import COMMANDS
from oci.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Line", "read"]

# Options of every command, and of `ocikit` itself; they set the session's attribute of that name.
_COMMON = {"--quiet": "quiet", "-q": "quiet", "--debug": "debug", "--root": "root", "--driver": "driver"}
_COMMON["--runtime"] = "runtime"
_SWITCHES = ("quiet", "debug")


class Line:
    """What a command line says: the command's module and function, what to call it with, and the session."""

    def __init__(self, command: str, module: str, function: str, session: Session, given: dict[str, Any]) -> None:
        self.command, self.module, self.function = command, module, function
        self.session, self.given = session, given

    @property
    def obj(self) -> Session:
        """The session, under the name by which typer's context carries it."""
        return self.session

    def run(self) -> int:
        """Call the command's function; its exit status."""
        module = __import__(f"oci.cli.{self.module}", fromlist=["__name__"])
        function: Callable[..., object] = getattr(module, self.function)
        try:
            status = function(self, **self.given)
        except Exception as error:
            status = getattr(error, "exit_code", None)
            if not (type(error).__name__ == "Exit" and isinstance(status, int)):  # typer.Exit, without importing it
                raise
        return status if isinstance(status, int) else 0


def read(arguments: Sequence[str]) -> Line | None:
    """The command line, or None where typer has to read it."""
    session = Session()
    words = list(arguments)
    words.reverse()  # the next word is the last one
    while words and words[-1].startswith("-"):
        if not _common(session, words.pop(), words):
            return None
    if not words:
        return None
    command = words.pop()
    row = COMMANDS.get(command)
    if row is None and words:
        command = f"{command} {words.pop()}"
        row = COMMANDS.get(command)
    if row is None:
        return None
    module, function, options, arguments_of, mixed = row
    given: dict[str, Any] = {}
    loose: list[str] = []
    while words:
        word = words.pop()
        if word == "--":
            loose += reversed(words)
            break
        if not word.startswith("-") or word == "-":
            loose.append(word)
            if not mixed:
                loose += reversed(words)
                break
            continue
        if not _option(word, words, options, given) and not (word not in options and _common(session, word, words)):
            return None
    if not _arguments(loose, arguments_of, given):
        return None
    if any(kind == "needed" and name not in given for name, kind in options.values()):
        return None
    return Line(command, module, function, session, given)


def _common(session: Session, word: str, words: list[str]) -> bool:
    name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
    attribute = _COMMON.get(name)
    if attribute is None:
        return False
    if attribute in _SWITCHES:
        if equals:
            return False
        if attribute == "quiet":
            session.quiet = True
        return True  # --debug is looked for by `entry`
    if not equals:
        if not words:
            return False
        value = words.pop()
    setattr(session, attribute, value)
    return True


def _option(word: str, words: list[str], options: dict[str, tuple[str, str]], given: dict[str, Any]) -> bool:
    """Take one option, or several flags in one word as in `-it`; False if this isn't plainly one."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        found = options.get(name)
        if found is None:
            return False
        return _take(found, words, given, value if equals else None)
    if len(word) == 2:
        found = options.get(word)
        return found is not None and _take(found, words, given, None)
    for number, letter in enumerate(word[1:], 1):
        found = options.get("-" + letter)
        if found is None:
            return False
        if found[1] not in ("on", "off"):
            return _take(found, words, given, word[number + 1 :] or None)
        given[found[0]] = found[1] == "on"
    return True


def _take(found: tuple[str, str], words: list[str], given: dict[str, Any], value: str | None) -> bool:
    name, kind = found
    if kind in ("on", "off"):
        if value is not None:
            return False
        given[name] = kind == "on"
        return True
    if value is None:
        if not words:
            return False
        value = words.pop()
    if kind == "many":
        given.setdefault(name, []).append(value)
    elif kind == "number":
        if not (value.removeprefix("-").isascii() and value.removeprefix("-").isdigit()):
            return False
        given[name] = int(value)
    else:
        given[name] = value
    return True


def _arguments(loose: list[str], wanted: Sequence[tuple[str, str]], given: dict[str, Any]) -> bool:
    """Give the words that are no options to the arguments; only the last of these may take several."""
    for name, kind in wanted:
        if kind in ("many", "some"):
            if kind == "some" and not loose:
                return False
            if loose:
                given[name] = list(loose)
            loose = []
        elif loose:
            given[name] = loose.pop(0)
        elif kind == "one":
            return False
    return not loose
