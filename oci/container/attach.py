"""The client of a running container's supervisor: its output here, our input there, until one of both ends.

The terminal is put back as it was in every case. The client's death leaves the container alone.
"""

from __future__ import annotations

from oci.container.container import Container
from oci.spec.record import Record

__all__ = ["DETACH_KEYS", "Attachment", "Ended", "attach"]

DETACH_KEYS = "ctrl-p,ctrl-q"


class Ended(Record):
    """How an attachment ended: with the container (`status`), or by the detach keys."""

    status: int | None  # None: unknown (the supervisor died), or detached
    detached: bool = False
    reason: str | None = None  # why the status is unknown, or what else there is to say in one line


class Attachment:
    """A connected client; a context manager that closes the connection."""

    def run(
        self,
        stdin: int | None,
        stdout: int,
        stderr: int,
        *,
        detach_keys: str = DETACH_KEYS,
        sig_proxy: bool = True,
    ) -> Ended:
        """Move bytes until the container ends or the detach keys are typed. Descriptors; `stdin` None sends nothing.

        When the container has a terminal and `stdin` is one, it is raw meanwhile and its size follows ours. Otherwise,
        with `sig_proxy`, SIGINT, SIGTERM, SIGHUP, … that reach us go to the container.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(container: Container, *, stdin: bool = True) -> Attachment:
    """Connect to a running container's output (from now on) and, if it has one and nobody else has it, its stdin.

    Raises WrongState when it doesn't run, or its supervisor is gone.
    """
    raise NotImplementedError
