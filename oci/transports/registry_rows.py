"""What a repository holds, a row for each of its tags: what `ls` shows of a registry.

Each tag costs a HEAD, each image behind them its manifest and config, several at once; layers are not read. The rows
are those of a layout's `ls` (oci/inspect/listing.py). A tag whose image can't be read still has its row, which says
less; one that is gone, or no image (Docker's schema 1), has none, which is told through `warn`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oci.errors import InvalidDocument, NotFound
from oci.inspect.listing import Row, rows
from oci.registry.management import in_parallel
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.transports.base import Progress, Warn
from oci.transports.from_registry import RegistrySource

__all__ = ["tag_rows"]


def tag_rows(
    source: RegistrySource,
    tags: Iterable[str],
    *,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Iterator[Row]:
    """Give the rows of these tags of the source's repository, in their order."""
    found: dict[str, Descriptor] = {}
    for tag, described in in_parallel(lambda tag: _described(source, tag), tags, abort=source.abort):
        if isinstance(described, Descriptor):
            found[tag] = described
        elif warn is not None:
            warn(f"{source}:{tag}: {described}; left out")
    images: dict[Digest, Descriptor] = {described.digest: described for described in found.values()}
    shown: dict[Digest, Row] = {}
    for described, row in in_parallel(lambda entry: next(rows((entry,), source)), images.values(), abort=source.abort):
        shown[described.digest] = row
        if progress is not None:
            progress(len(shown), None, str(described.digest))
    for tag, described in found.items():
        yield shown[described.digest].replace(tag=tag)


def _described(source: RegistrySource, tag: str) -> Descriptor | str:
    """What a tag stands for, or why that can't be said."""
    try:
        found = source.repository.head_manifest(tag)
    except (InvalidDocument, NotFound) as error:
        return str(error)
    return "the registry lists this tag, and has no such manifest" if found is None else found
