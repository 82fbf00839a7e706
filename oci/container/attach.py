"""The client of a running container's supervisor: its output here, our input there, until one of both ends.

The terminal is put back as it was in every case. The client's death leaves the container alone.
"""

from __future__ import annotations

from contextlib import suppress

from oci.container.connecting import GONE, connect
from oci.container.container import Container
from oci.container.detach_keys import DETACH_KEYS, parse_keys
from oci.container.frames import EXIT, HELLO, document_frame, read_document
from oci.container.processes import send_signal
from oci.errors import InvalidInput, OciError, WrongState
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.launch import Channel

__all__ = ["DETACH_KEYS", "Attachment", "Ended", "attach", "watch"]


class Ended(Record):
    """How an attachment ended: with the container (`status`), or by the detach keys."""

    status: int | None  # None: unknown (the supervisor died), or detached
    detached: bool = False
    reason: str | None = None  # why the status is unknown, or what else there is to say in one line


class Attachment:
    """A connected client; a context manager that closes the connection."""

    def __init__(self, container: Container, channel: Channel) -> None:
        self.container = container
        self._channel = channel

    def run(
        self,
        stdin: int | None,
        stdout: int,
        stderr: int,
        *,
        detach_keys: str | None = None,
        sig_proxy: bool = True,
    ) -> Ended:
        """Move bytes until the container ends or the detach keys are typed. Descriptors; `stdin` None sends nothing.

        When the container has a terminal and `stdin` is one, it is raw meanwhile and its size follows ours. Otherwise,
        with `sig_proxy`, SIGINT, SIGTERM, SIGHUP, … that reach us go to the container.
        """
        from oci.container.attach_loop import Loop

        settings = self.container.settings
        keys = parse_keys(settings.detach_keys or DETACH_KEYS if detach_keys is None else detach_keys)
        loop = Loop(
            self._channel,
            stdin=stdin if settings.tty or settings.stdin_open else None,
            stdout=stdout,
            stderr=stderr,
            tty=settings.tty,
            keys=keys,
            forward=self._forward if sig_proxy else None,
        )
        said = loop.run()
        if loop.detached:
            return Ended(status=None, detached=True)
        return _ended(said)

    def _forward(self, number: int) -> None:
        with suppress(OciError, OSError):
            self.container.refresh()
            send_signal(self.container, number)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(container: Container, *, stdin: bool = True) -> Attachment:
    """Connect to a running container's output (from now on) and, if it has one and nobody else has it, its stdin.

    Raises WrongState when it doesn't run, or its supervisor is gone.
    """
    channel = connect(container)
    try:
        channel.connection.sendall(document_frame(HELLO, {"output": True, "stdin": stdin}))
    except OSError:
        channel.close()
        raise WrongState(container.name, container.row.status, GONE) from None
    return Attachment(container, channel)


def watch(container: Container) -> Ended | None:
    """Wait for the container's end as its supervisor tells it; None when there is no supervisor to ask."""
    try:
        channel = connect(container)
    except WrongState:
        return None
    with channel.connection:
        try:
            channel.connection.sendall(document_frame(HELLO, {"output": False, "stdin": False}))
            while True:
                data = channel.connection.recv(1 << 16)
                if not data:
                    return None
                for kind, content in channel.unframer.feed(data):
                    if kind == EXIT:
                        return _ended(read_document(content))
        except (OSError, InvalidInput):
            return None


def _ended(said: dict[str, object] | None) -> Ended:
    if said is None:
        return Ended(status=None, reason=GONE)
    status, reason = said.get("exit_code"), said.get("reason")
    return Ended(status=status if isinstance(status, int) else None, reason=reason if isinstance(reason, str) else None)
