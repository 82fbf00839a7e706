"""Sparse files: the maps of GNU tar's four formats, and filling in the holes.

GNU tar manual, "Storing Sparse Files": old GNU (in the header and blocks after it), 0.0 and 0.1 (in pax records), 1.0
(decimal lines at the start of the member's data). A map is a list of (offset, length); the rest reads as zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oci.errors import TarError
from oci.tar.fields import MAX_SIZE, number
from oci.tar.pax import SPARSE_PIECES, Records, parse_decimal

Extents = tuple[tuple[int, int], ...]

_ZEROS = bytes(1 << 16)


def version(records: Records, offset: int) -> tuple[int, int] | None:
    """Which of the pax formats the GNU.sparse records belong to; None if they describe no sparse file."""
    major, minor = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    if major or minor:
        if (major, minor) in ((b"0", b"0"), (b"0", b"1"), (b"1", b"0")):
            return int(major or b"0"), int(minor or b"0")
        raise TarError(offset, "an unknown version of GNU.sparse")
    if SPARSE_PIECES in records:
        return 0, 0
    return (0, 1) if records.get(b"GNU.sparse.map") or records.get(b"GNU.sparse.size") else None


def real_size(records: Records, offset: int) -> int:
    """The size of the file with its holes."""
    value = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
    if not value:
        raise TarError(offset, "a sparse member without its real size")
    return parse_decimal(value, "GNU.sparse.size", offset)


def from_records(records: Records, limit: int, offset: int) -> list[tuple[int, int]]:
    """The map of formats 0.0 and 0.1."""
    pieces, joined = records.get(SPARSE_PIECES), records.get(b"GNU.sparse.map")
    if pieces and joined and pieces != joined:
        raise TarError(offset, "two sparse maps that differ")
    text = pieces or joined
    numbers = text.split(b",") if text else []
    count = records.get(b"GNU.sparse.numblocks")
    if len(numbers) % 2 or (count and parse_decimal(count, "GNU.sparse.numblocks", offset) != len(numbers) // 2):
        raise TarError(offset, "a sparse map with the wrong number of blocks")
    _check_count(len(numbers) // 2, limit, offset)
    values = [parse_decimal(value, "GNU.sparse.map", offset) for value in numbers]
    return list(zip(values[::2], values[1::2], strict=True))


def from_blocks(area: bytes, limit: int, offset: int, extents: list[tuple[int, int]]) -> None:
    """Add the old GNU descriptors in `area` (24 bytes each, an empty one ends them) to `extents`."""
    for at in range(0, len(area), 24):
        if area[at] == 0:
            return
        start = number(area[at : at + 12], "sparse offset", offset)
        extents.append((start, number(area[at + 12 : at + 24], "sparse length", offset)))
    _check_count(len(extents), limit, offset)


def from_lines(blocks: Iterator[bytes], limit: int, offset: int) -> list[tuple[int, int]]:
    """The map of format 1.0, taking as many 512-byte blocks as it fills: a count, then offset and length by turns."""
    numbers: list[bytes] = []
    wanted = 1
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        numbers.extend(lines)
        if wanted == 1 and numbers:
            count = parse_decimal(numbers[0], "number of sparse blocks", offset)
            _check_count(count, limit, offset)
            wanted = 1 + 2 * count
        if numbers and len(numbers) >= wanted:
            values = [parse_decimal(value, "sparse map", offset) for value in numbers[1:wanted]]
            return list(zip(values[::2], values[1::2], strict=True))
        if len(rest) > 20:
            break
    raise TarError(offset, "a sparse map that is not a list of numbers")


def check(extents: list[tuple[int, int]], size: int, stored: int, offset: int) -> Extents:
    """The extents that hold data, if in order, apart, inside the file, and just as long as what is stored."""
    end = total = 0
    for start, length in extents:
        if start < end or start + length > size:
            raise TarError(offset, "a sparse map that is out of order, overlaps or reaches behind the file's end")
        end = start + length
        total += length
    if total != stored or size > MAX_SIZE:
        raise TarError(offset, f"a sparse map of {total} bytes for a member that stores {stored}")
    return tuple(extent for extent in extents if extent[1])


def _check_count(count: int, limit: int, offset: int) -> None:
    if count > limit:
        raise TarError(offset, f"a sparse map with more than {limit} blocks")


def expand(extents: Extents | None, size: int, data: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The whole content of a member from its stored data: zeros where its sparse map has holes."""
    if extents is None:
        yield from data
        return
    pieces = iter(data)
    piece = memoryview(b"")
    at = 0
    for start, length in extents:
        yield from _zeros(start - at)
        at = start + length
        while length:
            if not piece:
                piece = memoryview(next(pieces))
            part = piece[:length]
            piece = piece[len(part) :]
            length -= len(part)
            yield part
    yield from _zeros(size - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)
