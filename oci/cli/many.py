"""One command for several names: what works is done, each failure is a line of its own, and one makes the status 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from oci.cli.failures import FAILED, describe, say
from oci.cli.lazily import typer
from oci.errors import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Each", "each"]


class Each:
    """The names to go through; what is done for one stands in `with todo.one():`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.failed = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Note a failure and go on; the only one there is goes its usual way."""
        try:
            yield
        except (OciError, OSError) as error:
            if len(self._names) == 1:
                raise
            self.failed += 1
            say(describe(error)[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.failed and kind is None:
            raise typer.Exit(FAILED)


def each(names: Iterable[str]) -> Each:
    """Each name once, in the order given."""
    return Each(tuple(dict.fromkeys(names)))
