"""Terminals: the container's, which the runtime hands over, and ours, which is raw meanwhile and always put back.

runc's docs/terminals.md: with `--console-socket` the runtime makes a pseudo-terminal and sends its master's descriptor
over a unix socket (SCM_RIGHTS).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from oci.errors import RuntimeFailed

__all__ = ["ConsoleSocket", "is_terminal", "raw_terminal", "set_size", "size_of", "socket_address"]

_SIZE = struct.Struct("HHHH")  # struct winsize of ioctl_tty(2): rows, columns, pixels
_MAX_FDS = 4


def socket_address(folder: int, name: str) -> str:
    """The address of a unix socket in an open directory, however long its path: unix(7) allows 108 bytes."""
    return f"/proc/self/fd/{folder}/{name}"


class ConsoleSocket:
    """The socket on which the runtime hands over a container's terminal; `path` is what it is to be told."""

    def __init__(self, folder: int, name: str = "console.sock") -> None:
        self._folder, self._name = folder, name
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(socket_address(folder, name))
        self._listener.listen(1)
        self.path = f"/proc/{os.getpid()}/fd/{folder}/{name}"  # short too, and good in another process

    def receive(self, *, timeout: float = 10.0) -> int:
        """The terminal's descriptor. Raises RuntimeFailed."""
        self._listener.settimeout(timeout)
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(timeout)
                fds = array.array("i")
                room = socket.CMSG_SPACE(_MAX_FDS * fds.itemsize)
                _, ancillary, _, _ = connection.recvmsg(4096, room, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise RuntimeFailed(f"the runtime handed over no terminal: {error}") from None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not fds:
            raise RuntimeFailed("the runtime handed over no terminal")
        for surplus in fds[1:]:
            os.close(surplus)
        return fds[0]

    def close(self) -> None:
        self._listener.close()
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)

    def __enter__(self) -> ConsoleSocket:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def is_terminal(fd: int | None) -> bool:
    return fd is not None and os.isatty(fd)


def size_of(fd: int) -> tuple[int, int] | None:
    """Rows and columns of a terminal; None of what is none."""
    import fcntl
    import termios

    try:
        rows, columns, _, _ = _SIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_SIZE.size)))
    except OSError:
        return None
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Give a terminal its size; whoever has it in front is told by SIGWINCH."""
    import fcntl
    import termios

    with suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))


@contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Every key goes through as it is, for the length of the block; afterwards the terminal is as it was."""
    import termios
    import tty

    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        with suppress(termios.error):  # it was closed
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
