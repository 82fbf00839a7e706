"""What `config` changes: the words of its options → the fields of a RunConfig. Pure: no input or output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from oci.cli.failures import UsageError

DEFAULT_SHELL = ("/bin/sh", "-c")

# docker's healthcheck times: 30s, 1m30s, 500ms, 1.5h; a number alone would be nanoseconds, which nobody means.
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
_SIGNAL = re.compile(r"(?:SIG)?[A-Z][A-Z0-9]*(?:[-+]\d+)?|\d{1,2}")


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


def pairs(option: str, given: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """KEY=VALUE to set and -KEY to take away, in the order given (a later one wins)."""
    wanted: dict[str, str] = {}
    gone: dict[str, None] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals and text.startswith("-") and len(text) > 1:
            wanted.pop(text[1:], None)
            gone[text[1:]] = None
        elif not equals or not key:
            raise UsageError(f"{option} {text!r}: expected NAME=VALUE, or -NAME to take it away")
        else:
            gone.pop(key, None)
            wanted[key] = value
    return wanted, list(gone)


def names(given: Iterable[str]) -> tuple[list[str], list[str]]:
    """NAME to add and -NAME to take away."""
    wanted: dict[str, None] = {}
    gone: dict[str, None] = {}
    for text in given:
        away = text.startswith("-")
        name = text[1:] if away else text
        (gone if away else wanted)[name] = None
        (wanted if away else gone).pop(name, None)
    return list(wanted), list(gone)


def changed_env(env: Sequence[str] | None, wanted: Mapping[str, str], gone: Iterable[str]) -> tuple[str, ...] | None:
    """The environment with variables set in their place, new ones behind, and some gone."""
    away = set(gone)
    left = dict(wanted)
    result = []
    for item in env or ():
        name = item.partition("=")[0]
        if name in away:
            continue
        result.append(f"{name}={left.pop(name)}" if name in left else item)
    result += [f"{name}={value}" for name, value in left.items()]
    return tuple(result) or None


def changed_map(
    values: Mapping[str, str] | None, wanted: Mapping[str, str], gone: Iterable[str]
) -> dict[str, str] | None:
    """Labels or annotations with some set and some gone; None when none is left."""
    result = {**(values or {}), **wanted}
    for name in gone:
        result.pop(name, None)
    return result or None


def changed_set(values: Sequence[str] | None, wanted: Iterable[str], gone: Iterable[str]) -> tuple[str, ...] | None:
    """Ports or volumes with some added and some gone; None when none is left."""
    away = set(gone)
    result = [value for value in values or () if value not in away]
    result += [value for value in wanted if value not in result]
    return tuple(result) or None


def port(text: str) -> str:
    """80, 80/tcp, 8000-8010/udp → with the protocol said, as docker writes it."""
    found = _PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if found is None or not 0 < first <= last <= 65535:
        raise UsageError(f"--port {text!r}: expected PORT[/tcp|udp|sctp], such as 8080/tcp")
    numbers = found[1] if found[2] is None else f"{found[1]}-{found[2]}"
    return f"{numbers}/{found[3] or 'tcp'}"


def signal(text: str) -> str:
    """A signal by its name or number, SIGRTMIN+3 too; kept as it is written."""
    if not _SIGNAL.fullmatch(text):
        raise UsageError(f"--stop-signal {text!r}: expected a signal such as SIGTERM, SIGRTMIN+3 or 15")
    return text


def duration(option: str, text: str) -> int:
    """docker's durations → nanoseconds; 0 and 0s mean docker's default."""
    if text == "0":
        return 0
    if not _DURATION.fullmatch(text):
        raise UsageError(f"{option} {text!r}: expected a time such as 30s, 1m30s or 500ms")
    return round(
        sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text))
    )


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


def workdir(text: str) -> str:
    """An absolute path: what a relative one is relative to, no runtime agrees on."""
    if not text.startswith("/"):
        raise UsageError(f"--workdir {text!r}: expected an absolute path")
    return text
