"""`exec`: one more process in a running container, with our own descriptors as its stdio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.container.container import Container
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.runtime.runc import Runtime

__all__ = ["ExecSettings", "execute"]


class ExecSettings(Record):
    """What to run; None is what the container's own process has."""

    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()  # on top of the container's
    workdir: str | None = None
    user: str | None = None
    tty: bool = False
    interactive: bool = False  # without it stdin is empty
    detach: bool = False
    privileged: bool = False
    detach_keys: str | None = None


def execute(container: Container, settings: ExecSettings, *, runtime: Runtime | None = None) -> int:
    """Run it with this process's descriptors 0, 1, 2; its exit status (0 when detached).

    Raises WrongState when the container doesn't run, RuntimeFailed (status 126 or 127 when it can't be started).
    """
    raise NotImplementedError
