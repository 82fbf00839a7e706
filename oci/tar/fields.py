"""The 512-byte header block: its layout, its numbers and its checksum.

POSIX.1-2017 pax, "ustar Interchange Format"; base-256 numbers and the GNU variant as GNU tar's manual describes them.
Numbers are read as strictly as Go's archive/tar does, the reader that most images meet: octal digits between blanks and
NULs or base-256, nothing else. A reader that takes more than others do lets an archive mean two things.
"""

from __future__ import annotations

import struct
from zlib import adler32

from oci.errors import TarError

BLOCK_SIZE = 512
ZERO_BLOCK = bytes(BLOCK_SIZE)
MAX_SIZE = (1 << 63) - 1  # off_t; what a file, and so an archive, can hold
MAX_ID = (1 << 32) - 2  # uid_t without its last value, which means "leave as it is" to chown(2)
MAX_DEVICE = (1 << 32) - 1
MIN_TIME, MAX_TIME = -(1 << 63), (1 << 63) - 1  # time_t, in seconds

# name | mode, uid, gid | size | mtime | checksum | typeflag | linkname | magic … devminor | prefix and what is behind
# Mode and ids, and everything from magic to devminor, are taken in one piece each: few values of them occur in one
# archive, so the reader parses each once and looks it up after that.
HEADER = struct.Struct("100s24s12s12s8sc100s88s167s")
OWNERS = struct.Struct("8s8s8s")
TAIL = struct.Struct("8s32s32s8s8s")

MAGIC_USTAR = b"ustar\0"
MAGIC_GNU = b"ustar  \0"


def byte_sum(block: bytes) -> int:
    """The sum of the 512 bytes of a block.

    Adler-32's low half is 1 + the sum modulo 65521. That is exact for a block of ASCII (512 × 127 is less) and for each
    half of any other (so is 256 × 255). Measured: 0.3 µs, where sum(block) takes 2.7 µs.
    """
    if block.isascii():
        return (adler32(block) & 0xFFFF) - 1
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def expected_sum(field: bytes) -> int:
    """The byte sum of a block whose checksum field is `field`, if that is right; -1 if it is no number.

    The checksum is made with blanks in its own field, so those are exchanged for the bytes that stand there.
    """
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits or not digits.isdigit() or b"8" in digits or b"9" in digits:
        return -1
    return int(digits, 8) - 8 * 32 + sum(field)


def checksum_holds(block: bytes) -> bool:
    """Whether a block's checksum is right, in the standard way or as historic tars with signed bytes made it."""
    expected = expected_sum(block[148:156])
    if expected < 0:
        return False
    actual = byte_sum(block)
    if actual == expected:
        return True
    # No byte of a checksum field that is a number is over 127, so they all count the same both ways.
    return actual - 256 * sum(byte > 127 for byte in block) == expected


def text(field: bytes) -> bytes:
    """A string field up to its first NUL."""
    return field.partition(b"\0")[0]


def number(field: bytes, what: str, offset: int, *, least: int = 0, most: int = MAX_SIZE) -> int:
    """The value of a numeric field, octal or base-256; TarError if it is neither or out of range."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if value >> (bits - 1):
            value -= 1 << bits
    else:
        digits = field.strip(b" \0").partition(b"\0")[0].rstrip(b" ")
        if not digits:
            return 0
        if not digits.isdigit() or b"8" in digits or b"9" in digits:
            raise TarError(offset, f"the {what} field is not a number")
        value = int(digits, 8)
    if not least <= value <= most:
        raise TarError(offset, f"the {what} {value} is out of range")
    return value
