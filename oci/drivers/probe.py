"""Which driver works at a place: each is tried there, none is believed by its name."""

from __future__ import annotations

from collections.abc import Mapping

from oci.drivers.driver import Driver, Support
from oci.spec.record import Record

__all__ = ["Choice", "choose", "driver_named", "place_key"]


class Choice(Record):
    """The driver that was chosen, and what was found out about each of them, by name."""

    driver: Driver
    supports: Mapping[str, Support]


def choose(folder: str, wanted: str | None = None) -> Choice:
    """Try the drivers in `folder` (of the store), and take the first that works, or the `wanted` one."""
    raise NotImplementedError


def driver_named(name: str) -> Driver:
    """The driver of this name, without trying it: what an earlier `choose` has found is remembered by the store."""
    raise NotImplementedError


def place_key(folder: str) -> str:
    """What a remembered choice holds for: kernel release, file system, the first user namespace or another."""
    raise NotImplementedError
