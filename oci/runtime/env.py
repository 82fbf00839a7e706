"""A container's environment variables. Pure: nothing is read here.

docker's order: PATH, HOSTNAME, TERM (with a terminal), then the image's Env, then what was asked for; one that comes
again takes the place of the earlier. HOME comes last and only when nobody has set it.
"""

from __future__ import annotations

from collections.abc import Iterable

from oci.errors import InvalidInput, show

__all__ = ["DEFAULT_PATH", "environment"]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TERM = "xterm"

Variables = tuple[tuple[str, str | None], ...]


def environment(
    image: Iterable[str], asked: Variables, *, hostname: str, home: str, tty: bool, inherited: Iterable[str] = ()
) -> list[str]:
    """The document's `env`; `inherited` are a running container's variables, for exec. Raises InvalidInput."""
    found: dict[str, str] = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if tty:
        found["TERM"] = DEFAULT_TERM
    for entry in (*image, *inherited):
        name, _, value = entry.partition("=")
        found[name] = value
    for name, given in asked:
        if given is None:
            found.pop(name, None)
        else:
            found[name] = given
    found.setdefault("HOME", home)
    for name, value in found.items():
        _check(name, value)
    return [f"{name}={value}" for name, value in found.items()]


def _check(name: str, value: str) -> None:
    if not name or "=" in name:
        raise InvalidInput(f"environment variable {show(name)!r}: not a name")
    if "\0" in name or "\0" in value:
        raise InvalidInput(f"environment variable {show(name)}: a NUL in it, which no program could be given")
    try:
        f"{name}{value}".encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"environment variable {show(name)}: not UTF-8, which a runtime-spec document can't say"
        ) from None
