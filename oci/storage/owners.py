"""Whose ids a store's files have: those that its user had when they were made.

In a user namespace a file's owner is an id of /etc/subuid, and means something for as long as the user has that id and
it stands for the same one inside. Ids that went away leave files that nobody but root can read or remove: layers would
be taken for damaged, and volumes for empty. So a store remembers them, and isn't opened with others. More of them than
before do no harm; but what was made with a single id belongs to root in every container, whatever its image says.
"""

from __future__ import annotations

from oci.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oci.linux.idmaps import IdMap, IdMaps
    from oci.storage.state import State

__all__ = ["settle_owners"]

IDS = "ids"  # the fact of the database


def settle_owners(state: State, root: str, maps: IdMaps, warn: Callable[[str], object] | None = None) -> None:
    """Note the ids that the store is used with. StoreError when it was made with others, and something is in it."""
    mine = f"{_said(maps.uids)};{_said(maps.gids)}"
    known = state.settle_fact(IDS, mine)
    if known == mine:
        return
    uids, _, gids = known.partition(";")
    kept = _covers(maps.uids, uids) and _covers(maps.gids, gids)
    if not _made(state, volumes=not kept):
        state.set_fact(IDS, mine)
    elif not kept:
        raise StoreError(
            root,
            "its files belong to other ids than this user has now (/etc/subuid, /etc/subgid, newuidmap); "
            "give those back, or take another store with --root",
        )
    elif not _single(uids) and not _single(gids):
        state.set_fact(IDS, mine)
    elif warn is not None:
        warn(
            "the store's layers were unpacked with a single id: their files are root's in every container, until the "
            "containers are removed and `ocikit store prune --all` has removed the layers"
        )


def _said(ranges: tuple[IdMap, ...]) -> str:
    return " ".join(f"{one.inside}:{one.outside}:{one.size}" for one in ranges)


def _read(said: str) -> list[list[int]]:
    return [[int(number) for number in one.split(":")] for one in said.split()]


def _single(said: str) -> bool:
    return sum(size for _, _, size in _read(said)) <= 1


def _covers(ranges: tuple[IdMap, ...], said: str) -> bool:
    """Whether each id that was there is there, and is the same one inside."""
    return all(
        any(
            now.outside - now.inside == outside - inside
            and now.inside <= inside
            and inside + size <= now.inside + now.size
            for now in ranges
        )
        for inside, outside, size in _read(said)
    )


def _made(state: State, *, volumes: bool) -> bool:
    tables = ("layers", "containers", "volumes") if volumes else ("layers", "containers")
    return any(state.one(f"SELECT 1 FROM {table} LIMIT 1") is not None for table in tables)
