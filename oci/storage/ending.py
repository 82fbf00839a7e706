"""How a container's run ended: `exit.json`, written before anything else is told of it.

The row in the database is what everybody reads; it is written without fsync, and by a process that may be killed on the
way. The file is durable first, so that whoever finds a row that says "running", and nobody running, knows more: the
next command (oci/container/status.py), or `store check`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from oci.spec.quick_json import dumps, loads
from oci.spec.record import Record
from oci.streams.atomic import write_file

__all__ = ["EXIT_FILE", "LOST", "MAX_EXIT", "Ending", "of_wait_status"]

EXIT_FILE = "exit.json"
MAX_EXIT = 4096  # bytes of that file; ours have 150
LOST = "its supervisor was killed: nobody saw how it ended"


class Ending(Record):
    """One run: which (`started`), when it ended, and how. `exit_code` as a shell has it: 128+n by signal n."""

    started: int | None
    finished: int
    exit_code: int | None
    signal: int | None = None
    reason: str | None = None  # why there is no exit code

    def write(self, folder: str) -> None:
        """Durable when this is back."""
        write_file(f"{folder}/{EXIT_FILE}", dumps(self.to_json()).encode(), mode=0o600)

    def to_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("started", "finished", "exit_code", "signal", "reason")}

    @classmethod
    def read(cls, folder: str) -> Ending | None:
        """What is there; None when there is nothing, or nothing whole."""
        try:
            with open(f"{folder}/{EXIT_FILE}", "rb") as file:
                value = loads(file.read(MAX_EXIT).decode())
            numbers = [value[name] for name in ("started", "finished", "exit_code", "signal")]
            if not isinstance(value["finished"], int) or not all(n is None or isinstance(n, int) for n in numbers):
                return None
            started, finished, exit_code, signal = numbers
            reason = value["reason"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return cls(
            started=started,
            finished=finished,
            exit_code=exit_code,
            signal=signal,
            reason=reason if isinstance(reason, str) else None,
        )


def of_wait_status(status: int | None, *, started: int | None, clock: Callable[[], int]) -> Ending:
    """What waitpid(2) said of the container's first process; None: it was somebody else's child."""
    if status is None:
        return Ending(started=started, finished=clock(), exit_code=None, reason=LOST)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Ending(started=started, finished=clock(), exit_code=128 - code, signal=-code)
    return Ending(started=started, finished=clock(), exit_code=code)
