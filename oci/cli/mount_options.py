"""`-v`, `--mount` and `--tmpfs`: docker's three ways to say what is mounted where, each read into a MountSetting.

==================================================  ===================================================================
`-v PATH`                                           an anonymous volume
`-v NAME:PATH[:OPTIONS]`                            a named volume, made when it isn't there
`-v /HOST:PATH[:OPTIONS]`, `-v ./HOST:PATH`         a file or directory of this machine
`--mount type=bind|volume|tmpfs,KEY=VALUE,…`        the same with words; a value with a comma stands in "quotes"
`--tmpfs PATH[:OPTIONS]`                            memory
==================================================  ===================================================================

OPTIONS of `-v`: `ro`, `rw`, `nocopy`, a propagation; `z`, `Z` and those that only docker's desktop knows mean
nothing here; podman's `U`, which would change owners, is refused. Nothing touches the disk: whether a path exists is
asked when the container is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from oci.cli.failures import UsageError
from oci.errors import show
from oci.runtime.settings import PROPAGATIONS, MountSetting

__all__ = ["mount", "one_each", "tmpfs", "volume"]

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")  # docker's volume names: two characters at least
_IGNORED = frozenset(("z", "Z", "cached", "delegated", "consistent", "default"))
_TRUE, _FALSE = ("", "1", "true"), ("0", "false")


def volume(text: str, cwd: str) -> MountSetting:
    """Read the value of `-v`; a relative host path (./x, ../x) is of `cwd`."""
    said = f"-v {show(text)}"
    first, *rest = text.split(":")
    if len(rest) > 2:
        raise UsageError(f"{said}: expected [NAME or /HOST/PATH:]/PATH[:OPTIONS]")
    if not rest:
        return MountSetting(type="volume", target=_target(said, first))
    target = _target(said, rest[0])
    options = rest[1].split(",") if len(rest) == 2 else []
    if not first:
        raise UsageError(f"{said}: before the first ':' stands nothing; a volume's name or a host path is missing")
    if first.startswith(("/", "./", "../")) or first in (".", ".."):
        source = os.path.normpath(os.path.join(cwd, first))
        return _with_options(said, MountSetting(type="bind", source=source, target=target), options)
    return _with_options(said, MountSetting(type="volume", source=_name(said, first), target=target), options)


def _name(said: str, text: str) -> str:
    if _NAME.fullmatch(text) is None:
        hint = f"; a path of this machine begins with / or ./, as in ./{show(text)}" if "/" in text else ""
        raise UsageError(
            f"{said}: {show(text)!r} is no volume's name: letters, digits, '_', '.' and '-', two at least{hint}"
        )
    return text


def _target(said: str, text: str) -> str:
    if not text.startswith("/"):
        raise UsageError(f"{said}: the path in the container has to be absolute: {show(text)!r}")
    path = "/" + os.path.normpath(text).lstrip("/")
    if path == "/":
        raise UsageError(f"{said}: nothing can be mounted over the container's root '/'")
    return path


def _with_options(said: str, setting: MountSetting, options: Iterable[str]) -> MountSetting:
    seen: set[str] = set()
    for option in options:
        change: dict[str, object]
        if option in ("ro", "rw"):
            kind, change = "ro or rw", {"read_only": option == "ro"}
        elif option == "nocopy" and setting.type == "volume":
            kind, change = option, {"nocopy": True}
        elif option in PROPAGATIONS and setting.type == "bind":
            kind, change = "a propagation", {"propagation": option}
        elif option in ("bind", "rbind") and setting.type == "bind":
            kind, change = "bind or rbind", {"recursive": option == "rbind"}
        elif option in _IGNORED:
            continue
        else:
            what = "a volume" if setting.type == "volume" else "a path of this machine"
            raise UsageError(f"{said}: {show(option)!r} is no option for {what}")
        if kind in seen:
            raise UsageError(f"{said}: {kind} is said twice")
        seen.add(kind)
        setting = setting.replace(**change)
    return setting


def tmpfs(text: str) -> MountSetting:
    """Read the value of `--tmpfs`: the options are those of mount(8), and checked when it is made."""
    path, colon, options = text.partition(":")
    said = f"--tmpfs {show(text)}"
    if colon and not options:
        raise UsageError(f"{said}: behind ':' stand no options")
    words = tuple(options.split(",")) if options else ()
    for word in words:
        if re.fullmatch(r"[a-z_]+(=[A-Za-z0-9%._:-]+)?", word) is None:
            raise UsageError(f"{said}: {show(word)!r} is no mount option")
    return MountSetting(type="tmpfs", target=_target(said, path), options=words)


# --mount

_KEYS = {
    "src": "source",
    "source": "source",
    "dst": "target",
    "destination": "target",
    "target": "target",
    "ro": "readonly",
    "readonly": "readonly",
}
_OF_TYPE = {
    "bind": ("bind-propagation", "bind-recursive", "bind-nonrecursive"),
    "volume": ("volume-nocopy",),
    "tmpfs": ("tmpfs-size", "tmpfs-mode", "tmpfs-opt"),
}
_NOT_HERE = ("volume-driver", "volume-opt", "volume-label", "volume-subpath", "bind-create-src")


def mount(text: str, cwd: str) -> MountSetting:
    """Read the value of `--mount`; a relative source is of `cwd`."""
    said = f"--mount {show(text)}"
    words: dict[str, str] = {}
    for field in _fields(said, text):
        key, equals, value = field.partition("=")
        key = _KEYS.get(key.lower(), key.lower())
        if not equals and key not in ("readonly", "volume-nocopy", "bind-nonrecursive"):
            raise UsageError(f"{said}: {show(field)!r} is not KEY=VALUE")
        if key in words:
            raise UsageError(f"{said}: {show(key)} is said twice")
        words[key] = value
    kind = words.pop("type", "volume")
    if kind not in _OF_TYPE:
        raise UsageError(f"{said}: type {show(kind)!r} is not one of {', '.join(_OF_TYPE)}")
    words.pop("consistency", None)  # of docker's desktop
    if "target" not in words:
        raise UsageError(f"{said}: target= is missing, the path in the container")
    setting = MountSetting(type=kind, target=_target(said, words.pop("target")))
    setting = _sourced(said, setting, words.pop("source", ""), cwd)
    if "readonly" in words:
        setting = setting.replace(read_only=_flag(said, "readonly", words.pop("readonly")))
    for key in _NOT_HERE:
        if key in words:
            raise UsageError(f"{said}: {key} is not supported")
    for key in words:
        if key not in _OF_TYPE[kind]:
            others = next((name for name, keys in _OF_TYPE.items() if key in keys), None)
            why = f"is for type={others}" if others else "is not a key of --mount"
            raise UsageError(f"{said}: {show(key)} {why}")
    return setting.replace(**{"bind": _bind, "volume": _volume, "tmpfs": _tmpfs}[kind](said, words))


def _sourced(said: str, setting: MountSetting, source: str, cwd: str) -> MountSetting:
    if setting.type == "tmpfs":
        if source:
            raise UsageError(f"{said}: memory has no source=")
        return setting
    if setting.type == "volume":
        return setting.replace(source=_name(said, source)) if source else setting
    if not source:
        raise UsageError(f"{said}: source= is missing, the path on this machine")
    return setting.replace(source=os.path.normpath(os.path.join(cwd, source)))


def _bind(said: str, words: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    if "bind-propagation" in words:
        if words["bind-propagation"] not in PROPAGATIONS:
            raise UsageError(f"{said}: bind-propagation is one of {', '.join(PROPAGATIONS)}")
        found["propagation"] = words["bind-propagation"]
    if "bind-nonrecursive" in words:
        found["recursive"] = not _flag(said, "bind-nonrecursive", words["bind-nonrecursive"])
    if "bind-recursive" in words:
        if words["bind-recursive"] not in ("enabled", "disabled"):
            raise UsageError(f"{said}: bind-recursive is enabled or disabled here")
        found["recursive"] = words["bind-recursive"] == "enabled"
    return found


def _volume(said: str, words: dict[str, str]) -> dict[str, object]:
    return {"nocopy": _flag(said, "volume-nocopy", words["volume-nocopy"])} if "volume-nocopy" in words else {}


def _tmpfs(said: str, words: dict[str, str]) -> dict[str, object]:
    options = []
    if "tmpfs-size" in words:
        from oci.cli.quantities import byte_count

        options.append(f"size={byte_count(f'{said}: tmpfs-size', words['tmpfs-size'])}")
    if "tmpfs-mode" in words:
        if re.fullmatch(r"0?[0-7]{1,4}", words["tmpfs-mode"]) is None:
            raise UsageError(f"{said}: tmpfs-mode is an octal number such as 1770")
        options.append(f"mode={words['tmpfs-mode']}")
    return {"options": tuple(options)}


def _flag(said: str, key: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise UsageError(f"{said}: {key} is true or false, not {show(value)!r}")


def _fields(said: str, text: str) -> Iterator[str]:
    """One line of comma separated values: a field that holds a comma or quotes stands in quotes, doubled within."""
    import csv

    try:
        lines = list(csv.reader([text], strict=True))
    except csv.Error:
        raise UsageError(f"{said}: the quotes are not closed, or something follows them") from None
    yield from lines[0] if lines else ()


def one_each(settings: Iterable[MountSetting]) -> tuple[MountSetting, ...]:
    """The mounts, of which no two may have one target."""
    seen: dict[str, MountSetting] = {}
    for setting in settings:
        if setting.target in seen:
            raise UsageError(f"two mounts have the same path in the container: {show(setting.target)}")
        seen[setting.target] = setting
    return tuple(seen.values())
