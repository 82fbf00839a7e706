"""Starting a supervisor: a program of its own, in a session of its own, which outlives whoever started it.

It is `python` anew, not a fork: a fork would keep all that the command had imported. To begin takes it some time, so it
may be begun ahead (`Standby`), while there is still something to do here; then it waits for its order. The order comes
over a socket, JSON with the descriptor of the container's lock; there it answers that the container runs, or why not;
when somebody wants to see the output from the first byte on, the same socket goes on as a client's. A supervisor whose
starter is gone before the order ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

from oci.container.frames import FAILED, HEADER, MAX_FRAME, ORDER, STARTED, Unframer, frame, read_document
from oci.errors import RuntimeFailed, show
from oci.spec.quick_json import dumps

__all__ = ["Channel", "Standby"]

# -I and -S: no environment, no site; where modules are comes on stdin. The fork makes it nobody's child. Whatever else
# the caller's parent left open for it is closed: neither a supervisor nor a container is to hold it.
_PROGRAM = (
    "import sys, os\n"
    "if os.fork(): os._exit(0)\n"
    "os.chdir('/')\n"
    "for fd in map(int, os.listdir('/proc/self/fd')):\n"
    "    if fd > 3:\n"
    "        try: os.close(fd)\n"
    "        except OSError: pass  # the listing's own\n"
    "with open(0, 'rb', closefd=False) as file: sys.path[:] = map(os.fsdecode, file.read().split(b'\\0'))\n"
    "from oci.container.supervisor import main\n"
    "main(3)\n"
)
# All that a runtime and a fuse driver look up by name; nothing of the caller's environment gets near a container.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_LAST_WORDS = 4096


class Channel:
    """The starter's end of the socket; `received` are frames that came behind the first answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.unframer = Unframer()
        self.received: list[tuple[int, bytes]] = []

    def answer(self) -> tuple[int, bytes] | None:
        """The first frame; None when the supervisor is gone without one."""
        while True:
            try:
                data = self.connection.recv(MAX_FRAME + HEADER.size)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.received += self.unframer.feed(data)
            if self.received:
                return self.received.pop(0)

    def close(self) -> None:
        self.connection.close()


class Standby:
    """A supervisor that has begun, and waits for its order; as a context manager it ends unless it got one."""

    def __init__(self) -> None:
        self._words = os.memfd_create("ocikit-supervisor-errors", os.MFD_CLOEXEC)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._program = _spawn(theirs.fileno(), self._words)
        except BaseException:
            ours.close()
            os.close(self._words)
            raise
        self._channel: Channel | None = Channel(ours)

    def start(self, order: Mapping[str, object], lock: int) -> Channel:
        """Give the order, and wait until the container's program runs. `lock`: the descriptor of its lock.

        Raises RuntimeFailed with what stood in the way; nothing of this start is left then.
        """
        channel, self._channel = self._channel, None
        assert channel is not None
        try:
            raw = frame(ORDER, dumps(order).encode())
            try:
                sent = socket.send_fds(channel.connection, [raw], [lock])
                channel.connection.sendall(raw[sent:])
            except OSError:
                answer = None
            else:
                answer = channel.answer()
            if answer is not None and answer[0] == STARTED:
                return channel
            if answer is not None and answer[0] == FAILED:
                said = read_document(answer[1])
                status = said.get("status")
                raise RuntimeFailed(str(said.get("reason")), status=status if isinstance(status, int) else 125)
            raise RuntimeFailed(f"the container's supervisor died before it could start it{_last_words(self._words)}")
        except BaseException:
            channel.close()
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Send it away, unless it has its order."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._words >= 0:
            os.close(self._words)
            self._words = -1
            with suppress(ChildProcessError):  # where SIGCHLD is ignored the kernel has reaped it
                os.waitpid(self._program, 0)  # it has forked at once: what goes on is nobody's child

    def __enter__(self) -> Standby:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _spawn(channel: int, words: int) -> int:
    """Start the program; its pid. By posix_spawn(3): `subprocess` takes 11 ms to import, and here there is no folder to
    change to that the program couldn't change to itself."""
    made = [os.memfd_create("ocikit-path", os.MFD_CLOEXEC)]
    try:
        with open(made[0], "wb", closefd=False) as file:
            file.write(b"\0".join(map(os.fsencode, sys.path)))
        os.lseek(made[0], 0, os.SEEK_SET)
        # Out of the way of 0 to 3, so that none is overwritten before it is in its place.
        for fd in (made[0], words, channel):
            made.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10))
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", _PROGRAM, "ocikit-supervisor"],
            _ENVIRONMENT,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_RDWR, 0),
                *((os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip(made[1:], (0, 2, 3), strict=True)),
            ],
            setsid=True,
        )
    except OSError as error:
        raise RuntimeFailed(f"no supervisor can be started: {error.strerror}") from None
    finally:
        for fd in made:
            os.close(fd)


def _last_words(fd: int) -> str:
    size = os.fstat(fd).st_size
    lines = os.pread(fd, _LAST_WORDS, max(0, size - _LAST_WORDS)).decode("utf-8", "replace").strip().splitlines()
    return f": {show(lines[-1])}" if lines else ""
