"""Digests: `ALGORITHM:ENCODED`, the name of bytes by their hash (image-spec v1.1.1 descriptor.md#digests).

A digest of any algorithm whose words fit the grammar can be read, kept and compared. It is an error only where bytes
have to be checked against it and the algorithm is not sha256 or sha512.
"""

from __future__ import annotations

import sys

from oci.errors import InvalidDigest, UnsupportedDigest
from oci.lazily import hashlib, re
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _hashlib import HASH


# descriptor.md#registered-algorithms: the length of the hexadecimal `encoded` part of each registered algorithm.
ENCODED_LENGTH = {"sha256": 64, "sha512": 128, "blake3": 64}

# The algorithms whose bytes can be checked here; both are in every hashlib.
SUPPORTED = ("sha256", "sha512")

# A digest longer than this is refused: it would be a path component longer than file systems take.
MAX_DIGEST = 512

_GRAMMAR = r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)"
_LOWER_HEX = "0123456789abcdef"

# Bytes for which OpenSSL, which `hashlib` loads, is not worth the 3 ms that this takes: Python's own code takes 0.3 ms.
_SMALL = 1 << 16


class Digest(Record, kw_only=False):
    """The digest `algorithm:encoded`; `str()` gives that text."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read a digest by the grammar. Raises InvalidDigest."""
        if len(text) == 71 and text.startswith("sha256:") and not text[7:].strip(_LOWER_HEX):
            return cls("sha256", text[7:])  # nearly every digest there is: worth a way past the regular expression
        if len(text) > MAX_DIGEST:
            raise InvalidDigest(text, f"longer than {MAX_DIGEST} characters")
        match = re.fullmatch(_GRAMMAR, text)
        if match is None:
            raise InvalidDigest(
                text, "expected ALGORITHM:ENCODED, such as sha256: and 64 lower-case hexadecimal digits"
            )
        algorithm, encoded = match.groups()
        length = ENCODED_LENGTH.get(algorithm)
        if length is not None and (len(encoded) != length or encoded.strip(_LOWER_HEX)):
            raise InvalidDigest(text, f"{algorithm} takes exactly {length} lower-case hexadecimal digits")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of these bytes. Raises UnsupportedDigest."""
        if algorithm not in SUPPORTED:
            raise UnsupportedDigest(f"{algorithm}:…", algorithm)
        hasher = cls(algorithm, "").hasher(len(data))
        hasher.update(data)
        return cls(algorithm, hasher.hexdigest())

    @property
    def supported(self) -> bool:
        """Whether bytes can be checked against this digest here."""
        return self.algorithm in SUPPORTED

    def hasher(self, size: int | None = None) -> HASH:
        """A fresh hash object of this digest's algorithm, for so many bytes if that is known. UnsupportedDigest."""
        if self.algorithm == "sha256":
            return _own_sha256() if size is not None and size <= _SMALL else hashlib.sha256()
        if self.algorithm == "sha512":
            return hashlib.sha512()
        raise UnsupportedDigest(str(self), self.algorithm)

    def __lt__(self, other: Digest) -> bool:
        return (self.algorithm, self.encoded) < (other.algorithm, other.encoded)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


def _own_sha256() -> HASH:
    """The SHA-256 that Python has of its own, as `hashlib` takes it where there is no OpenSSL."""
    if "hashlib" not in sys.modules:
        for module in ("_sha256", "_sha2"):  # of Python 3.11, and from 3.12 on
            try:
                made: HASH = __import__(module).sha256()
            except (ImportError, AttributeError):
                continue
            return made
    return hashlib.sha256()


def is_digest(text: str) -> bool:
    """Whether this is a digest by the grammar, of whatever algorithm."""
    try:
        Digest.parse(text)
    except InvalidDigest:
        return False
    return True
