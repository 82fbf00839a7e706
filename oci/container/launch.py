"""Starting a supervisor: a program of its own, in a session of its own, which outlives whoever started it.

It is `python` anew, not a fork: a fork would keep all that the command had imported. It gets its order as JSON in an
anonymous file (its stdin), and one end of a socket on which it says that the container runs, or why not; when somebody
wants to see the output from the first byte on, the same socket goes on as a client's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from oci.container.frames import FAILED, HEADER, MAX_FRAME, STARTED, Unframer, read_document
from oci.errors import RuntimeFailed, show

__all__ = ["Channel", "launch"]

# -I and -S: no environment, no site; where modules are is part of the order. What is run is named for ps(1) to show.
_PROGRAM = (
    "import sys, json\n"
    "with open(0, closefd=False) as file: order = json.load(file)\n"
    "sys.path[:] = order['path']\n"
    "from oci.container.supervisor import main\n"
    "main(order)\n"
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
            data = self.connection.recv(MAX_FRAME + HEADER.size)
            if not data:
                return None
            self.received += self.unframer.feed(data)
            if self.received:
                return self.received.pop(0)

    def close(self) -> None:
        self.connection.close()


def launch(order: Mapping[str, object], *, keep: Sequence[int] = ()) -> Channel:
    """Start a supervisor and wait until the container's program runs. `keep`: descriptors that it gets, same numbers.

    Raises RuntimeFailed with what stood in the way; nothing of this start is left then.
    """
    ours, theirs = socket.socketpair()
    words = os.memfd_create("ocikit-supervisor-errors", os.MFD_CLOEXEC)
    try:
        with theirs:
            _spawn({**order, "channel": theirs.fileno(), "path": sys.path}, (theirs.fileno(), *keep), words)
        channel = Channel(ours)
        answer = channel.answer()
        if answer is not None and answer[0] == STARTED:
            return channel
        if answer is not None and answer[0] == FAILED:
            said = read_document(answer[1])
            status = said.get("status")
            raise RuntimeFailed(str(said.get("reason")), status=status if isinstance(status, int) else 125)
        raise RuntimeFailed(f"the container's supervisor died before it could start it{_last_words(words)}")
    except BaseException:
        ours.close()
        raise
    finally:
        os.close(words)


def _spawn(order: Mapping[str, object], keep: Sequence[int], words: int) -> None:
    fd = os.memfd_create("ocikit-order", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(json.dumps(order).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        program = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, "ocikit-supervisor", str(order["id"])],
            stdin=fd,
            stdout=subprocess.DEVNULL,
            stderr=words,
            pass_fds=keep,
            start_new_session=True,
            cwd="/",
            env=_ENVIRONMENT,
        )
    except OSError as error:
        raise RuntimeFailed(f"no supervisor can be started: {error.strerror}") from None
    finally:
        os.close(fd)
    program.wait()  # it forks at once: what goes on is nobody's child


def _last_words(fd: int) -> str:
    size = os.fstat(fd).st_size
    lines = os.pread(fd, _LAST_WORDS, max(0, size - _LAST_WORDS)).decode("utf-8", "replace").strip().splitlines()
    return f": {show(lines[-1])}" if lines else ""
