"""Signals by name or number, as `stop_signal` and `kill` have them: 15, "TERM", "SIGTERM", "RTMIN+3"."""

from __future__ import annotations

from oci.errors import ConfigurationError
from oci.lazily import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.runtime.settings import RunSettings

__all__ = ["FORWARDED", "STOP_TIMEOUT", "parse_signal", "stop_signal", "stop_timeout"]

STOP_TIMEOUT = 10  # seconds between the stop signal and SIGKILL: docker's

# What a user, a shell or a service manager sends to a client, and it passes on to the container; those of the kernel's
# own (SIGSEGV) and of stopping stay with the client.
FORWARDED = (1, 2, 3, 10, 12, 15)  # SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM

_HIGHEST = 64  # signal(7): SIGRTMAX on Linux


def parse_signal(text: int | str, *, where: str = "signal") -> int:
    """The number of a signal. Raises ConfigurationError."""
    word = str(text).strip().upper()
    if word.isascii() and word.isdigit():
        number = int(word[:6])
        if 1 <= number <= _HIGHEST:
            return number
        raise ConfigurationError(where, f"there is no signal {word[:20]}; they go from 1 to {_HIGHEST}")
    name = word.removeprefix("SIG")
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    if base in ("RTMIN", "RTMAX") and (not sign or (offset.isascii() and offset.isdigit())):
        start = 34 if base == "RTMIN" else _HIGHEST  # as libc counts: it keeps 32 and 33 for itself
        step = int(offset[:6] or "0")
        number = start + step if sign == "+" else start - step
        if 34 <= number <= _HIGHEST:
            return number
    found = signal.Signals.__members__.get(f"SIG{name}")
    if found is None or found not in range(1, _HIGHEST + 1):
        raise ConfigurationError(where, f"there is no signal {str(text)[:40]!r}; as in TERM, SIGTERM, 15, RTMIN+3")
    return int(found)


def stop_signal(settings: RunSettings) -> int:
    """The signal that asks this container to end."""
    return parse_signal(settings.stop_signal or "TERM", where="stop signal")


def stop_timeout(settings: RunSettings) -> float:
    """Seconds that it has for it; negative: as long as it likes, as docker has it."""
    seconds = STOP_TIMEOUT if settings.stop_timeout is None else settings.stop_timeout
    return float(seconds) if seconds >= 0 else float("inf")
