"""The OCI runtime: runc or crun as a program (runtime-spec v1.2 runtime.md; the command line is runc's)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oci.spec.record import Record

__all__ = ["Found", "Runtime", "State"]


class State(Record):
    """What the runtime says of one container (runtime.md#state)."""

    id: str
    status: str  # creating, created, running, paused, stopped
    pid: int
    bundle: str


class Found(Record):
    """A runtime that was tried and works: remembered as JSON."""

    path: str
    name: str
    version: str

    def to_json(self) -> str:
        raise NotImplementedError

    @classmethod
    def from_json(cls, text: str) -> Found:
        raise NotImplementedError


class Runtime:
    """runc or crun with one folder for its state (`--root`)."""

    def __init__(self, found: Found, folder: str) -> None:
        self.found, self.folder = found, folder

    @classmethod
    def find(cls, folder: str, names: Sequence[str] = ("crun", "runc"), *, remembered: str | None = None) -> Runtime:
        """The first of `names` (names or paths) that really makes a container here.

        `remembered`: what `found.to_json()` gave earlier; taken without a trial while that program is unchanged.
        RuntimeFailed says of each why it won't do, or what to install.
        """
        raise NotImplementedError

    def create(
        self,
        id: str,  # noqa: A002
        bundle: str,
        *,
        pid_file: str,
        console_socket: str | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> int:
        """Make the container without starting its program; its first process's pid here. None is /dev/null."""
        raise NotImplementedError

    def start(self, id: str) -> None:  # noqa: A002
        raise NotImplementedError

    def kill(self, id: str, signal: int | str, *, all: bool = False) -> None:  # noqa: A002
        raise NotImplementedError

    def delete(self, id: str, *, force: bool = False) -> None:  # noqa: A002
        raise NotImplementedError

    def state(self, id: str) -> State | None:  # noqa: A002
        """None: the runtime knows no such container."""
        raise NotImplementedError

    def exec(
        self,
        id: str,  # noqa: A002
        process: Mapping[str, object],
        *,
        pid_file: str,
        console_socket: str | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> int:
        """Start a process in a running container (detached: it becomes a child of the caller's subreaper); its pid."""
        raise NotImplementedError

    def pause(self, id: str) -> None:  # noqa: A002
        raise NotImplementedError

    def resume(self, id: str) -> None:  # noqa: A002
        raise NotImplementedError

    def update(self, id: str, resources: Mapping[str, object]) -> None:  # noqa: A002
        raise NotImplementedError
