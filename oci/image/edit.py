"""Changing what an image says of itself: pure functions from a config or manifest to a changed one.

image-spec v1.1.1 config.md#properties, manifest.md, annotations.md; besides, the fields that Docker adds. For every
value KEEP leaves it as it is and None takes it away. Maps and sets (`env`, `labels`, `annotations`, `ports`, `volumes`)
are updated, not replaced: a value of None (False, for a set) takes that one member away, and None for the whole takes
all. What isn't named here survives, fields that nobody knows included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from oci.errors import InvalidInput, show
from oci.lazily import re
from oci.spec import rfc3339
from oci.spec.config import Healthcheck, ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from oci.spec.manifest import Manifest
    from oci.spec.platform import Platform

__all__ = ["KEEP", "Keep", "edit_annotations", "edit_config", "time_text"]


class Keep(Enum):
    """The type of KEEP."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
"""Leave this as it is."""

_ABSOLUTE = r"/|[A-Za-z]:[\\/]"
_NAMES = """
    HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU
    URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS
"""
_SIGNALS = frozenset(_NAMES.split())

Names = Mapping[str, bool] | Iterable[str]
"""Members of a set: names to add, or name → whether it shall be there."""


def edit_config(
    config: ImageConfig,
    *,
    user: str | Keep | None = KEEP,
    ports: Names | Keep | None = KEEP,
    env: Mapping[str, str | None] | Keep | None = KEEP,
    entrypoint: Iterable[str] | Keep | None = KEEP,
    cmd: Iterable[str] | Keep | None = KEEP,
    volumes: Names | Keep | None = KEEP,
    workdir: str | Keep | None = KEEP,
    labels: Mapping[str, str | None] | Keep | None = KEEP,
    stop_signal: str | Keep | None = KEEP,
    stop_timeout: int | Keep | None = KEEP,
    healthcheck: Healthcheck | Keep | None = KEEP,
    shell: Iterable[str] | Keep | None = KEEP,
    on_build: Iterable[str] | Keep | None = KEEP,
    hostname: str | Keep | None = KEEP,
    domainname: str | Keep | None = KEEP,
    author: str | Keep | None = KEEP,
    created: int | str | Keep | None = KEEP,
    platform: Platform | Keep = KEEP,
) -> ImageConfig:
    """The config with these changes; `created` is RFC 3339 text or nanoseconds since 1970. InvalidInput for bad values.

    Setting an entrypoint leaves the command as it is (a Dockerfile's ENTRYPOINT clears it; say `cmd=None` for that).
    """
    run = config.run
    new: dict[str, Any] = {}
    if user is not KEEP:
        new["user"] = _text("user", user)
    if ports is not KEEP:
        new["exposed_ports"] = _edit_set(run.exposed_ports, ports, _ports)
    if env is not KEEP:
        new["env"] = _edit_env(run.env, env)
    if volumes is not KEEP:
        new["volumes"] = _edit_set(run.volumes, volumes, _volume)
    if workdir is not KEEP:
        new["working_dir"] = _workdir(workdir)
    if labels is not KEEP:
        new["labels"] = _edit_map("label", run.labels, labels) or None
    if stop_signal is not KEEP:
        new["stop_signal"] = _signal(stop_signal)
    if stop_timeout is not KEEP:
        new["stop_timeout"] = stop_timeout
    if healthcheck is not KEEP:
        new["healthcheck"] = _healthcheck(healthcheck)
    for name, words in (("entrypoint", entrypoint), ("cmd", cmd), ("shell", shell), ("on_build", on_build)):
        if words is not KEEP:
            new[name] = None if words is None else _words(name, words)
    extra = dict(run.extra)
    for name, value in (("Hostname", hostname), ("Domainname", domainname)):
        if value is None:
            extra.pop(name, None)
        elif value is not KEEP:
            extra[name] = value
    if extra != run.extra:
        new["extra"] = extra

    whole: dict[str, Any] = {}
    if new:
        whole["run"] = run.replace(**new)
    if author is not KEEP:
        whole["author"] = author
    if created is not KEEP:
        whole["created"] = time_text(created)
    if platform is not KEEP:
        whole["platform"] = platform
    return config.replace(**whole) if whole else config


def edit_annotations(manifest: Manifest, annotations: Mapping[str, str | None] | None) -> Manifest:
    """The manifest with these annotations set, or taken away (None); None for the whole takes all away."""
    return manifest.replace(annotations=_edit_map("annotation", manifest.annotations, annotations))


def time_text(time: int | str | None) -> str | None:
    """A time of a document from nanoseconds since 1970, or RFC 3339 text checked; InvalidInput where it is neither."""
    try:
        if isinstance(time, int):
            return rfc3339.format(time)
        if time is not None:
            rfc3339.parse(time)
    except ValueError as error:
        raise InvalidInput(f"time {show(str(time))!r}: {error}") from None
    return time


def _text(what: str, value: str | None) -> str | None:
    if value is not None and (not value or "\0" in value):
        raise InvalidInput(f"the {what} is empty or has a NUL in it; to take it away, say so")
    return value


def _words(what: str, words: Iterable[str]) -> tuple[str, ...]:
    if isinstance(words, str):
        raise InvalidInput(f"{what} is a list of words, not one text: [{words!r}]")
    return tuple(words)


def _edit_env(old: tuple[str, ...] | None, changes: Mapping[str, str | None] | None) -> tuple[str, ...] | None:
    """Variables keep their places; new ones come last. Of one that is there twice, the later counts, and is kept."""
    if changes is None:
        return None
    variables = {line.partition("=")[0]: line for line in old or ()}
    for name, value in changes.items():
        if not name or "=" in name or "\0" in name or "\0" in (value or ""):
            raise InvalidInput(f"{show(name)!r} can't be the name of an environment variable, or its value has a NUL")
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = f"{name}={value}"
    return tuple(variables.values()) or None


def _edit_map(what: str, old: Mapping[str, str] | None, changes: Mapping[str, str | None] | None) -> dict[str, str]:
    """Sorted by key, as every Go program writes maps: the order in which options were given must not show."""
    if changes is None:
        return {}
    values: dict[str, str | None] = {**(old or {}), **changes}
    if "" in values:
        raise InvalidInput(f"the name of a {what} is empty")
    return {key: value for key, value in sorted(values.items()) if value is not None}


def _edit_set(old: tuple[str, ...] | None, changes: Names | None, spell: Any) -> tuple[str, ...] | None:
    if changes is None:
        return None
    members = set(old or ())
    wanted = changes if isinstance(changes, Mapping) else dict.fromkeys(_words("a set", changes), True)
    for name, there in wanted.items():
        if there:
            members.update(spell(name))
        elif name in members:  # as it may stand in the config of somebody else's image, well spelt or not
            members.discard(name)
        else:
            members.difference_update(spell(name))
    return tuple(sorted(members)) or None


def _ports(text: str) -> Iterable[str]:
    """`8080`, `8080/udp`, `8000-8010/tcp`, spelled as Docker does: one port each, with its protocol."""
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", text.lower())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or not 1 <= first <= last <= 65535:
        raise InvalidInput(f"port {show(text)!r} is not PORT[-PORT][/tcp|/udp|/sctp]")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]


def _volume(path: str) -> Iterable[str]:
    if not re.match(_ABSOLUTE, path) or "\0" in path:
        raise InvalidInput(f"volume {show(path)!r} is not an absolute path")
    return [path]


def _workdir(path: str | None) -> str | None:
    if path is not None and not re.match(_ABSOLUTE, path):
        raise InvalidInput(f"working directory {show(path)!r} is not an absolute path")
    return path


def _signal(name: str | None) -> str | None:
    if name is not None and not _is_signal(name):
        raise InvalidInput(f"stop signal {show(name)!r} is neither a number from 1 to 64 nor a name such as SIGTERM")
    return name


def _is_signal(name: str) -> bool:
    """Linux's signals (signal(7)), whatever this machine's are: `15`, `SIGTERM`, `TERM`, `SIGRTMIN+3`."""
    if re.fullmatch("[0-9]{1,2}", name):
        return 1 <= int(name) <= 64
    name = name.removeprefix("SIG")
    return (
        name in _SIGNALS
        or re.fullmatch(r"RTMIN(\+([1-9]|[12][0-9]|30))?|RTMAX(-([1-9]|[12][0-9]|30))?", name) is not None
    )


def _healthcheck(check: Healthcheck | None) -> Healthcheck | None:
    if check is not None and (check.retries or 0) < 0:
        raise InvalidInput(f"{check.retries} retries of the healthcheck are less than none")
    return check
