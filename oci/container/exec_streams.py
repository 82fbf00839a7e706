"""The standard streams of a process that `exec` starts without a terminal: pipes, with this process in between.

Our own descriptors are never handed over. What a process has open it can open again by /proc/self/fd with its own
rights: root of a container could write to the file that it was given to read, and read what is typed at the terminal
that it was given to write to. And runtimes give what they hand over to the process's user (fchown(2)).
"""

from __future__ import annotations

import os
import select

__all__ = ["ExecStreams"]

READ = 1 << 16  # bytes; a pipe of ours holds as many


class ExecStreams:
    """Pipes for the streams that are wanted: `stdin`, `stdout`, `stderr` are the process's ends until `handed_over`."""

    def __init__(self, stdin: int | None, stdout: int, stderr: int) -> None:
        self._source, self._sink = stdin, -1
        self._outputs: dict[int, int] = {}  # where we read → where it goes
        self._theirs: list[int] = []
        self.stdin: int | None = None
        try:
            if stdin is not None:
                self.stdin, self._sink = os.pipe()
                self._theirs.append(self.stdin)
                os.set_blocking(self._sink, False)
            self.stdout, self.stderr = self._output(stdout), self._output(stderr)
        except BaseException:
            self.close()
            raise

    def _output(self, fd: int) -> int:
        reading, writing = os.pipe()
        self._outputs[reading] = fd
        self._theirs.append(writing)
        os.set_blocking(reading, False)
        return writing

    def handed_over(self) -> None:
        """The process has its ends: only ours are kept."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        """Give everything back."""
        self.handed_over()
        self._end_input()
        for fd in self._outputs:
            os.close(fd)
        self._outputs.clear()

    def _end_input(self) -> None:
        if self._sink >= 0:
            os.close(self._sink)
        self._source, self._sink = None, -1

    def relay(self, pidfd: int) -> None:
        """Move bytes until the process behind `pidfd` has ended and what it wrote is read."""
        waiting = b""
        while True:
            events = self._wait(pidfd, bool(waiting))
            if pidfd in events:
                break
            if self._sink in events:
                waiting = self._feed(waiting, gone=bool(events[self._sink] & select.POLLERR))
            if self._source is not None and self._source in events and not waiting:
                waiting = self._take()
            for fd in [fd for fd in self._outputs if fd in events]:
                self._pass_on(fd)
        # All that it wrote is there. Others in the container may have its descriptors, and write for ever: not for us.
        for fd in list(self._outputs):
            left = READ
            while left > 0 and (passed := self._pass_on(fd)):
                left -= passed

    def _wait(self, pidfd: int, waiting: bool) -> dict[int, int]:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        for fd in self._outputs:
            poll.register(fd, select.POLLIN)
        if self._sink >= 0:
            poll.register(self._sink, select.POLLOUT if waiting else 0)  # POLLERR: nobody reads it any more
            if self._source is not None and not waiting:
                poll.register(self._source, select.POLLIN)
        return dict(poll.poll())

    def _take(self) -> bytes:
        """Input for the process; at its end the pipe is closed."""
        assert self._source is not None
        try:
            data = os.read(self._source, READ)
        except BlockingIOError:
            return b""
        except OSError:  # a terminal that isn't ours any more
            data = b""
        if not data:
            self._end_input()
        return data

    def _feed(self, data: bytes, *, gone: bool) -> bytes:
        """Give the process input; what it didn't take."""
        if not gone:
            try:
                return data[os.write(self._sink, data) :] if data else data
            except BlockingIOError:
                return data
            except OSError:
                pass
        self._end_input()
        return b""

    def _pass_on(self, fd: int) -> int:
        """Pass on what there is of one output; how many bytes. Without a reader or a writer it is closed."""
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return 0
        if not data or not _written(self._outputs[fd], data):
            del self._outputs[fd]
            os.close(fd)
            return 0
        return len(data)


def _written(fd: int, data: bytes) -> bool:
    """Whether all of it could be written; False: nobody wants it any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError:
            return False
    return True
