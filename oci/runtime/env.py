"""A container's environment variables, and docker's grammar of `-e` and `--env-file`. Pure: nothing is read here.

docker's order: PATH, HOSTNAME, TERM (with a terminal), then the image's Env, then what was asked for; one that comes
again takes the place of the earlier. HOME comes last and only when nobody has set it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oci.errors import InvalidInput, LimitExceeded, show

__all__ = ["DEFAULT_PATH", "environment", "parse_env", "parse_env_file"]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TERM = "xterm"
MAX_ENV_FILE = 1 << 20  # bytes; the kernel gives a program's arguments and environment a few MiB at most

Variables = tuple[tuple[str, str | None], ...]


def parse_env(text: str, environ: Mapping[str, str], option: str = "-e") -> tuple[str, str | None]:
    """`K=V`; or `K`: the caller's value, None (take it away) where the caller has none. Raises InvalidInput."""
    name, equals, value = text.partition("=")
    if not name:
        raise InvalidInput(f"{option} {show(text)!r}: expected NAME=VALUE or NAME")
    return name, value if equals else environ.get(name)


def parse_env_file(raw: bytes, environ: Mapping[str, str], where: str) -> Variables:
    """Lines of docker's env file: `#` starts a comment line, blanks before a name go, a value is taken as it stands.

    A name alone takes the caller's value, and is passed over where the caller has none. Raises InvalidInput.
    """
    if len(raw) > MAX_ENV_FILE:
        raise LimitExceeded(f"size of {show(where)} in bytes", MAX_ENV_FILE, len(raw))
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        place = raw.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"{show(where)}:{place}: not UTF-8") from None
    found: list[tuple[str, str | None]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name:
            raise InvalidInput(f"{show(where)}:{number}: no name before the =")
        if any(letter.isspace() for letter in name):
            raise InvalidInput(f"{show(where)}:{number}: the name {show(name)!r} has white space in it")
        if equals:
            found.append((name, value))
        elif name in environ:
            found.append((name, environ[name]))
    return tuple(found)


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
