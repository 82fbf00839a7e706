"""What a container wrote: its changes against its image, in docker's words (`A`, `C`, `D` and an absolute path)."""

from __future__ import annotations

from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.drivers.driver import Change

__all__ = ["LETTERS", "changes"]

LETTERS = {"added": "A", "modified": "C", "deleted": "D"}


def changes(container: Container) -> Iterator[Change]:
    """Each path that the container added, modified or deleted, in the order of a scan; running or not."""
    yield from container.driver.changes(container.snapshot)
