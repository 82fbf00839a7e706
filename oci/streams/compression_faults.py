"""What can be wrong with a compressed stream of any kind, in the same words for all of them."""

from __future__ import annotations

from oci.errors import CorruptStream
from oci.streams.lookahead import Lookahead

__all__ = ["ENDS_EARLY", "GARBAGE", "NO_MAGIC", "bad_start", "need"]

ENDS_EARLY = "the stream ends early"
GARBAGE = "garbage behind the end of the data"
NO_MAGIC = "it doesn't start as such a stream must"


def need(source: Lookahead, compression: str, count: int) -> None:
    """Make sure that `count` more bytes follow."""
    if not source.has(count):
        raise CorruptStream(compression, source.end, ENDS_EARLY)


def bad_start(source: Lookahead, compression: str, magic: bytes, count: int) -> CorruptStream:
    """Tell why what follows (up to the magic's length of it was looked for) doesn't start part number `count`."""
    if magic.startswith(source.peek(0, len(magic))):
        return CorruptStream(compression, source.end, ENDS_EARLY)
    return CorruptStream(compression, source.offset, GARBAGE if count else NO_MAGIC)
