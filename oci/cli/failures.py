"""Any failure → an exit status and one line on stderr; the only place that words an OSError.

0 done · 1 the operation failed, or what was checked does not hold · 2 wrong usage; signals are a matter of entry.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

from oci.errors import OciError, show

FAILED = 1
USAGE = 2


class UsageError(Exception):
    """Arguments or environment that make no sense: exit status 2."""


class StatusError(Exception):
    """A failure with an exit status of its own, such as docker's 125; `error` is what went wrong."""

    def __init__(self, error: Exception, status: int) -> None:
        self.error, self.status = error, status
        super().__init__(str(error))


def report(error: Exception, *, debug: bool = False) -> int:
    """Print what went wrong, as one line (after the traceback with `debug`); returns the exit status."""
    if debug:
        import traceback

        traceback.print_exception(error)
    status, text = describe(error)
    say(text)
    return status


def say(text: str) -> None:
    """Print `error: text` on stderr."""
    head = "error:"
    if colourful(sys.stderr):
        head = f"\x1b[31;1m{head}\x1b[0m"
    with contextlib.suppress(OSError, ValueError):  # stderr is closed: nowhere left to say it
        print(f"{head} {text}", file=sys.stderr, flush=True)


def describe(error: Exception) -> tuple[int, str]:
    """The exit status and the sentence for an exception."""
    if isinstance(error, StatusError):
        return error.status, describe(error.error)[1]
    if isinstance(error, OciError):
        return FAILED, str(error)
    if isinstance(error, UsageError):
        return USAGE, _line(str(error))
    if isinstance(error, OSError):
        return FAILED, _os_error(error)
    if isinstance(error, MemoryError):
        return FAILED, "out of memory"
    # Typer's own (older releases: click's) complaints about arguments say their sentence and status themselves.
    words = getattr(error, "format_message", None)
    if words is not None:
        text = _line(str(words())).rstrip(".")
        status = getattr(error, "exit_code", USAGE)
        return status, f"{text[:1].lower()}{text[1:]}{_try_help(error)}"
    if type(error).__name__ == "Abort":
        return FAILED, "aborted"
    return (
        FAILED,
        f"internal error: {type(error).__name__}: {_line(str(error))} (--debug shows where; please report it)",
    )


def _try_help(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", None)
    return f" (see '{path} --help')" if path else ""


_WHY = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
    errno.ENOENT: "no such file or directory",
    errno.EROFS: "the file system is read-only",
}


def _os_error(error: OSError) -> str:
    """What, where and why, in one line."""
    why = _WHY.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__)
    where = [_path(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
    return f"{' → '.join(where)}: {why}" if where else _line(why)


@contextlib.contextmanager
def blamed_on(path: str) -> Iterator[None]:
    """Give an OSError that knows no file this one: a full disk says it when bytes are written, and not where."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = path
        raise


def _path(name: str | bytes | os.PathLike[str]) -> str:
    return show(os.fsencode(name))


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " if c.isspace() else f"\\x{ord(c):02x}" for c in text).split())


def colourful(stream: object) -> bool:
    """Whether colours may be written there: a terminal that has some, and nobody said no (https://no-color.org)."""
    isatty = getattr(stream, "isatty", None)
    return bool(
        isatty is not None and isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    )
