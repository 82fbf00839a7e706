"""What happens to a container between create and its end: start, stop, kill, wait, restart, rename, remove.

Each takes the container's lock for as long as it changes something, so that two commands at once do one after the
other. `wait` and attached clients hold no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.container.container import Container

if TYPE_CHECKING:
    from oci.container.attach import Attachment
    from oci.runtime.runc import Runtime

__all__ = ["kill", "remove", "rename", "restart", "start", "start_attached", "stop", "wait"]


def start(container: Container, *, runtime: Runtime | None = None) -> None:
    """Start a created or exited container in the background; back when its process runs.

    `runtime`: None is the one that `Runtime.find` chooses. Raises WrongState when it runs already, RuntimeFailed
    (`status` 125, 126, 127), DriverError, ConfigurationError; the container is then as it was, with `error` in its row,
    except that one with auto_remove is removed.
    """
    raise NotImplementedError


def start_attached(container: Container, *, runtime: Runtime | None = None) -> Attachment:
    """Like `start`, with a client that sees output from the first byte on: `.run(…)` it to the end."""
    raise NotImplementedError


def stop(container: Container, timeout: int | None = None) -> None:
    """Send the stop signal, and SIGKILL after `timeout` seconds (None: the container's own, else 10); wait for its end.

    A container that doesn't run is left as it is.
    """
    raise NotImplementedError


def kill(container: Container, signal: int | str = "KILL") -> None:
    """Send a signal (number, "TERM" or "SIGTERM") to the container's first process. WrongState when it doesn't run."""
    raise NotImplementedError


def wait(container: Container) -> int | None:
    """Wait until the container has ended; its exit status (128+n by signal n), None when nobody saw it."""
    raise NotImplementedError


def restart(container: Container, timeout: int | None = None, *, runtime: Runtime | None = None) -> None:
    """Stop it if it runs, then start it."""
    raise NotImplementedError


def rename(container: Container, name: str) -> None:
    """Give the container another name. Raises NameTaken."""
    raise NotImplementedError


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove the container and everything it wrote; with `volumes` its anonymous volumes too.

    WrongState when it runs, unless `force`, which kills it. Interrupted, it can be repeated.
    """
    raise NotImplementedError
