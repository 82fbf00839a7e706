"""Dockerfile instructions that change an image's config (`commit --change`): a line → a changed RunConfig.

The instructions and their two forms are those of the Dockerfile reference: a JSON array is taken as it is; anything
else is for the shell (CMD, ENTRYPOINT, HEALTHCHECK), or words with quotes, escapes and variables (`$NAME`, `${NAME}`,
`${NAME:-word}`, `${NAME:+word}`), whose values are those of the image's environment. An ENTRYPOINT takes away the CMD
that was there before, as in a build.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

from oci.errors import InvalidInput, show
from oci.image.edit import edit_config
from oci.lazily import json
from oci.spec.config import Healthcheck, ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Edit = dict[str, Any]

__all__ = ["INSTRUCTIONS", "apply_changes"]

MAX_CHANGE = 64 << 10  # characters of one instruction; docker's limit for a line of a Dockerfile is the same

_SHELL = ("/bin/sh", "-c")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_TIMES = {"interval": "interval", "timeout": "timeout", "start-period": "start_period"}
_TIMES |= {"start-interval": "start_interval"}


def apply_changes(config: ImageConfig, lines: Iterable[str]) -> ImageConfig:
    """The config after these instructions, one after the other. InvalidInput says which of them is wrong, and how."""
    cmd_was_set = False
    for line in lines:
        name, _, rest = line.strip().partition(" ")
        name, rest = name.upper(), rest.strip()
        reader = INSTRUCTIONS.get(name)
        if reader is None:
            raise _fault(line, f"not one of {', '.join(INSTRUCTIONS)}")
        if len(line) > MAX_CHANGE or "\n" in line or "\0" in line:
            raise _fault(line, f"one line of at most {MAX_CHANGE} characters")
        if not rest:
            raise _fault(line, "nothing behind the instruction")
        try:
            edit = reader(config, rest)
            if name == "ENTRYPOINT" and not cmd_was_set:
                edit["cmd"] = None
            cmd_was_set = cmd_was_set or name == "CMD"
            config = edit_config(config, **edit)
        except InvalidInput as error:
            raise _fault(line, str(error)) from None
    return config


def _fault(line: str, reason: str) -> InvalidInput:
    return InvalidInput(f"--change {show(line)!r}: {reason}")


# One function for each instruction: the config so far and the text behind the name → what edit_config takes


def _command(field: str) -> Callable[[ImageConfig, str], _Edit]:
    return lambda config, text: {field: _words_or_shell(config, text)}


def _words_or_shell(config: ImageConfig, text: str) -> tuple[str, ...]:
    array = _array(text)
    return array if array is not None else (*(config.run.shell or _SHELL), text)


def _env(config: ImageConfig, text: str) -> _Edit:
    return {"env": _pairs(config, text)}


def _label(config: ImageConfig, text: str) -> _Edit:
    return {"labels": _pairs(config, text)}


def _expose(config: ImageConfig, text: str) -> _Edit:
    return {"ports": _list(config, text)}


def _volume(config: ImageConfig, text: str) -> _Edit:
    array = _array(text)
    paths = list(array) if array is not None else _list(config, text)
    if any(not path.strip() for path in paths):
        raise InvalidInput("a volume without a path")
    return {"volumes": paths}


def _user(config: ImageConfig, text: str) -> _Edit:
    return {"user": _one(config, text)}


def _workdir(config: ImageConfig, text: str) -> _Edit:
    path = _one(config, text)
    return {"workdir": posixpath.normpath(posixpath.join(config.run.working_dir or "/", path))}


def _stop_signal(config: ImageConfig, text: str) -> _Edit:
    return {"stop_signal": _one(config, text)}


def _on_build(config: ImageConfig, text: str) -> _Edit:
    first = text.split()[0].upper()
    if first in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidInput(f"{first} can't be triggered by a build")
    return {"on_build": (*(config.run.on_build or ()), text)}


def _healthcheck(config: ImageConfig, text: str) -> _Edit:
    options: dict[str, Any] = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        name, _, value = option[2:].partition("=")
        text = text.strip()
        if name in _TIMES:
            options[_TIMES[name]] = _duration(name, value)
        elif name == "retries" and value.isascii() and value.isdigit():
            options["retries"] = int(value)
        else:
            raise InvalidInput(f"{option!r} is no option of HEALTHCHECK, or has no value that it takes")
    kind, _, rest = text.partition(" ")
    kind, rest = kind.upper(), rest.strip()
    if kind == "NONE" and not rest and not options:
        return {"healthcheck": Healthcheck(test=("NONE",))}
    if kind != "CMD" or not rest:
        raise InvalidInput("expected NONE, or [--interval=30s …] CMD and a command")
    array = _array(rest)
    test = ("CMD", *array) if array is not None else ("CMD-SHELL", rest)
    return {"healthcheck": Healthcheck(test=test, **options)}


INSTRUCTIONS: Mapping[str, Callable[[ImageConfig, str], _Edit]] = {
    "CMD": _command("cmd"),
    "ENTRYPOINT": _command("entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
"""Each instruction, and what reads it."""


# Words


def _array(text: str) -> tuple[str, ...] | None:
    """A JSON array of strings; None for what is none, which docker takes for the shell form."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _duration(name: str, text: str) -> int:
    if text == "0":
        return 0
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text, re.ASCII):
        raise InvalidInput(f"--{name}={text}: expected a time such as 30s, 1m30s or 500ms")
    return round(sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text)))


def _pairs(config: ImageConfig, text: str) -> dict[str, str]:
    """`A=1 B="2 3"`, or the old form `A 1`, whose value is the rest of the line."""
    raw = _split(text)
    if "=" not in raw[0]:
        name, _, value = text.partition(" ")
        if not value.strip():
            raise InvalidInput("expected NAME=VALUE")
        return {_expand(config, name): _expand(config, value.strip())}
    pairs: dict[str, str] = {}
    for word in raw:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidInput(f"expected NAME=VALUE, not {show(word)!r}")
        pairs[_expand(config, name)] = _expand(config, value)
    return pairs


def _list(config: ImageConfig, text: str) -> list[str]:
    return [_expand(config, word) for word in _split(text)]


def _one(config: ImageConfig, text: str) -> str:
    value = _expand(config, text)
    if not value:
        raise InvalidInput("it is empty")
    return value


def _split(text: str) -> list[str]:
    """Words, with their quotes and escapes still in them; blanks within quotes or behind a backslash are theirs."""
    words: list[str] = []
    word, quote = "", ""
    characters = iter(text)
    for character in characters:
        if character == "\\" and quote != "'":
            word += character + next(characters, "")
        elif quote:
            word += character
            quote = "" if character == quote else quote
        elif character in "'\"":
            word, quote = word + character, character
        elif character.isspace():
            if word:
                words.append(word)
            word = ""
        else:
            word += character
    if quote:
        raise InvalidInput(f"a quote {quote} that isn't closed")
    return [*words, word] if word else words


def _expand(config: ImageConfig, word: str) -> str:
    """A word without its quotes, with variables of the image's environment put in."""
    variables = dict(line.partition("=")[::2] for line in config.run.env or ())
    out: list[str] = []
    at, quote = 0, ""
    while at < len(word):
        character = word[at]
        at += 1
        if quote == "'":
            if character == "'":
                quote = ""
            else:
                out.append(character)
        elif character == "\\" and at < len(word):
            if quote and word[at] not in '"$\\':
                out.append(character)  # within double quotes a backslash is one, but before these
            out.append(word[at])
            at += 1
        elif character in "'\"" and (not quote or character == quote):
            quote = "" if quote else character
        elif character == "$":
            value, at = _variable(word, at, variables)
            out.append(value)
        else:
            out.append(character)
    if quote:
        raise InvalidInput(f"a quote {quote} that isn't closed")
    return "".join(out)


def _variable(word: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """The value of what stands behind a dollar sign, and where it ends."""
    if word[at : at + 1] == "{":
        end = word.find("}", at)
        match = re.fullmatch(rf"({_NAME.pattern})(?::([-+])([^{{}}]*))?", word[at + 1 : end]) if end > 0 else None
        if match is None:
            raise InvalidInput(f"{show(word)!r}: a variable is $NAME, ${{NAME}}, ${{NAME:-word}} or ${{NAME:+word}}")
        value = variables.get(match[1], "")
        if match[2] == "-":
            value = value or match[3]
        elif match[2] == "+":
            value = match[3] if value else ""
        return value, end + 1
    name = _NAME.match(word, at)
    if name is None:
        return "$", at
    return variables.get(name[0], ""), name.end()
