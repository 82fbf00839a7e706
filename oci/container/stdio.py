"""A container's stdin, stdout and stderr: pipes to its supervisor, or one terminal for all three.

Without `stdin_open` stdin is /dev/null (a terminal is read all the same, nobody types). What the runtime itself says on
the descriptors that it hands over is thrown away: it is in the runtime's own log.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress

from oci.container.console import ConsoleSocket, set_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.runtime.settings import RunSettings

__all__ = ["Stdio"]

PIPE = 1 << 20  # bytes that a pipe holds, where the kernel gives so much: fewer turns of the loop
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of fcntl(2); Python names it since 3.10 on Linux only


class Stdio:
    """Both ends until the runtime has its own; afterwards the supervisor's."""

    def __init__(self) -> None:
        self.child_stdin: int | None = None
        self.child_stdout: int | None = None
        self.child_stderr: int | None = None
        self.stdin: int | None = None  # where input goes
        self.outputs: dict[str, int] = {}  # where output comes from, by stream
        self.console: int | None = None
        self._console_socket: ConsoleSocket | None = None

    @classmethod
    def open(cls, settings: RunSettings, folder: int) -> Stdio:
        """Pipes, or the socket on which the runtime will hand over a terminal."""
        self = cls()
        if settings.tty:
            self._console_socket = ConsoleSocket(folder)
            return self
        if settings.stdin_open:
            self.child_stdin, self.stdin = _pipe()
        self.outputs["stdout"], self.child_stdout = _pipe()
        self.outputs["stderr"], self.child_stderr = _pipe()
        return self

    @property
    def console_path(self) -> str | None:
        return self._console_socket.path if self._console_socket is not None else None

    def handed_over(self, size: Sequence[int] | None) -> None:
        """The runtime has made the container: keep our ends alone; `size`: rows and columns of a terminal."""
        for fd in (self.child_stdin, self.child_stdout, self.child_stderr):
            if fd is not None:
                os.close(fd)
        self.child_stdin = self.child_stdout = self.child_stderr = None
        if self._console_socket is not None:
            self.console = self._console_socket.receive()
            self.close_console_socket()
            self.outputs["stdout"] = self.console
            self.stdin = os.dup(self.console)
            if size is not None:
                set_size(self.console, size[0], size[1])
            return
        for fd in self.outputs.values():
            os.set_blocking(fd, False)
            with suppress(BlockingIOError):
                while os.read(fd, 1 << 16):
                    pass

    def close_console_socket(self) -> None:
        if self._console_socket is not None:
            self._console_socket.close()
            self._console_socket = None


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    with suppress(OSError):  # a user has a limit for all of his pipes together
        fcntl.fcntl(reading, _SET_PIPE_SIZE, PIPE)
    return reading, writing
