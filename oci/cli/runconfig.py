"""The words of `config`'s options → the changes that `ImageBuilder.configure` takes. Pure: no input or output.

Values that must fit a grammar of the spec or of docker (ports, signals, paths) are checked by the library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from oci.cli.failures import UsageError

DEFAULT_SHELL = ("/bin/sh", "-c")

# docker's healthcheck times: 30s, 1m30s, 500ms, 1.5h; a number alone would be nanoseconds, which nobody means.
_NUMBER_AND_UNIT = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)"
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def words(option: str, text: str, shell: Sequence[str] | None = None) -> tuple[str, ...]:
    """A command: a JSON array of strings as it is, anything else as a line for the shell, as in a Dockerfile."""
    if text.lstrip().startswith("["):
        return array(option, text)
    if not text.strip():
        raise UsageError(f"{option} is empty; --clear {option.removeprefix('--')} takes the field away")
    return (*(shell or DEFAULT_SHELL), text)


def array(option: str, text: str) -> tuple[str, ...]:
    """A JSON array of strings."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"""{option} {text!r}: not a JSON array of strings such as '["/bin/app", "--flag"]'""")
    return tuple(value)


def pairs(option: str, given: Iterable[str]) -> dict[str, str | None]:
    """NAME=VALUE to set and -NAME to take away (None); of several for one name the last counts."""
    changes: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        away = not equals and len(text) > 1 and text.startswith("-")
        if not away and (not equals or not name):
            raise UsageError(f"{option} {text!r}: expected NAME=VALUE, or -NAME to take it away")
        key = text[1:] if away else name
        changes.pop(key, None)
        changes[key] = None if away else value
    return changes


def members(given: Iterable[str]) -> dict[str, bool]:
    """NAME to add (True) and -NAME to take away (False)."""
    return {text.removeprefix("-"): not text.startswith("-") for text in given}


def duration(option: str, text: str) -> int:
    """docker's durations → nanoseconds; 0 means docker's default."""
    if text == "0":
        return 0
    if not re.fullmatch(f"(?:{_NUMBER_AND_UNIT})+", text, re.ASCII):
        raise UsageError(f"{option} {text!r}: expected a time such as 30s, 1m30s or 500ms")
    return round(sum(float(number) * _UNITS[unit] for number, unit in re.findall(_NUMBER_AND_UNIT, text)))


def healthcheck_test(text: str) -> tuple[str, ...]:
    """docker's Test: NONE, a JSON array (["CMD", …] or the command alone), or a line for the shell."""
    if text.strip().upper() == "NONE":
        return ("NONE",)
    if text.lstrip().startswith("["):
        command = array("--healthcheck", text)
        return command if command[:1] in (("CMD",), ("CMD-SHELL",), ("NONE",)) else ("CMD", *command)
    if not text.strip():
        raise UsageError("--healthcheck is empty; NONE switches the check off, --clear healthcheck takes it away")
    return ("CMD-SHELL", text)
