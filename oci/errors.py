"""Every error that ocikit raises on purpose, and how they are related.

::

    OciError                     anything below; str() is one line: what, where, what to do
    ├── InvalidInput             words from outside that break their grammar
    │   ├── InvalidDocument      JSON of a manifest, index, config or layout marker
    │   ├── InvalidDigest        not ALGORITHM:ENCODED
    │   ├── UnsupportedDigest    a well-formed digest whose algorithm can't be computed here
    │   ├── InvalidReference     image reference syntax
    │   └── InvalidPlatform      os/arch[/variant]
    ├── VerificationError        bytes that are not what their descriptor says
    │   ├── SizeMismatch
    │   ├── DigestMismatch
    │   └── DiffIdMismatch       the uncompressed layer is not what the config says
    ├── CorruptStream            a compressed stream that ends early, is damaged or has garbage behind it
    ├── TarError                 a tar archive that is damaged or says something we don't take
    ├── UnsafeEntry              a layer entry that would leave the root, or has a reserved name
    ├── NotFound
    │   ├── BlobNotFound
    │   ├── RefNotFound
    │   ├── NoMatchingPlatform
    │   ├── ContainerNotFound
    │   └── VolumeNotFound
    ├── LayoutError              an image layout or archive whose files break the rules
    ├── DestinationError         a destination that exists, is not empty, or can't be written
    ├── LimitExceeded            more bytes, entries or levels than a stated limit
    ├── SourceError              a file or directory to be read that can't be, or that changes meanwhile
    ├── ConfigurationError       a file of settings (registries.conf, auth.json, certificates) that can't be used
    ├── RegistryError            a registry: `url` says which and where
    │   ├── ConnectionFailed     no connection, no trust (TLS), cut off, or no progress in time
    │   ├── AuthenticationFailed it wants other credentials than it was given, or none will do
    │   ├── RegistryRefused      an answer of the spec's errors: `status`, `codes`, its message
    │   └── ProtocolViolation    an answer that breaks the distribution spec or HTTP
    ├── StoreError               a local store that can't be opened, or in which something is damaged
    ├── InUse                    an image, layer, volume or container that others need: `by` says who
    ├── NameTaken                a name that another container or volume has
    ├── WrongState               a container that is not as the operation needs it: running, stopped, paused
    ├── DriverError              a storage driver that doesn't work here, or a mount that the kernel refused
    ├── RuntimeFailed            runc or crun failed, or there is none: `status` is 125, 126 or 127 as docker has it
    └── UnpackError              the file system refused what a layer asks for

Errors keep their facts as attributes; the sentence for people is made here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = [
    "AuthenticationFailed",
    "BlobNotFound",
    "ConfigurationError",
    "ConnectionFailed",
    "ContainerNotFound",
    "CorruptStream",
    "DestinationError",
    "DiffIdMismatch",
    "DigestMismatch",
    "DriverError",
    "InUse",
    "InvalidDigest",
    "InvalidDocument",
    "InvalidInput",
    "InvalidPlatform",
    "InvalidReference",
    "LayoutError",
    "LimitExceeded",
    "NameTaken",
    "NoMatchingPlatform",
    "NotFound",
    "OciError",
    "ProtocolViolation",
    "RefNotFound",
    "RegistryError",
    "RegistryRefused",
    "RuntimeFailed",
    "SizeMismatch",
    "SourceError",
    "StoreError",
    "TarError",
    "UnpackError",
    "UnsafeEntry",
    "UnsupportedDigest",
    "VerificationError",
    "VolumeNotFound",
    "WrongState",
    "read_from",
]


class OciError(Exception):
    """Base of all errors that ocikit raises on purpose."""

    def __init__(self, message: str) -> None:
        # Names come from hostile input: a line break or an escape sequence in one would forge lines of output.
        super().__init__(_one_line(message))

    def said_of(self, place: str) -> None:
        """Put the place where it happened before the sentence: which of several layers, which source."""
        self.args = (f"{_one_line(place)}: {self}",)


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def show(name: bytes | str) -> str:
    """Make a name from an image readable in a message: printable, one line, at most 200 characters."""
    text = _one_line(name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name)
    return text if len(text) <= 200 else f"{text[:160]}…({len(text)} characters)"


class InvalidInput(OciError):
    """Words from outside that break their grammar."""


class InvalidDocument(InvalidInput):
    """JSON of a document that can't be accepted; `pointer` is a JSON pointer (RFC 6901) to the place."""

    def __init__(self, reason: str, *, document: str = "document", pointer: str = "") -> None:
        self.reason, self.document, self.pointer = reason, document, pointer
        super().__init__(f"{document}{' at ' + show(pointer) if pointer else ''}: {reason}")


@contextmanager
def read_from(place: str) -> Iterator[None]:
    """Let an InvalidDocument from within say which document it is about: a file, or a kind and a digest."""
    try:
        yield
    except InvalidDocument as error:
        raise InvalidDocument(error.reason, document=place, pointer=error.pointer) from None


class InvalidDigest(InvalidInput):
    """Text that is not a digest by the grammar of image-spec descriptor.md#digests."""

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason
        super().__init__(f"invalid digest {show(text)!r}: {reason}")


class UnsupportedDigest(InvalidInput):
    """A well-formed digest whose algorithm is not one that can be computed (sha256, sha512)."""

    def __init__(self, digest: str, algorithm: str) -> None:
        self.digest, self.algorithm = digest, algorithm
        known = "only sha256 and sha512 can be checked"
        super().__init__(f"digest {show(digest)} uses the algorithm {algorithm!r}; {known}")


class InvalidReference(InvalidInput):
    """An image reference that breaks the syntax of containers-transports(5) or docker's reference grammar."""

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason
        super().__init__(f"invalid reference {show(_without_password(text))!r}: {reason}")


def _without_password(text: str) -> str:
    """A reference without USER:PASSWORD@ before its host, as people have it in URLs. (A digest has no slash in it.)"""
    head, slashes, rest = text.rpartition("//")
    before, at, behind = rest.rpartition("@")
    return f"{head}{slashes}…@{behind}" if at and ":" in before and "/" not in before and "/" in behind else text


class InvalidPlatform(InvalidInput):
    """A platform that is not os/arch[/variant]."""

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason
        super().__init__(f"invalid platform {show(text)!r}: {reason}")


class VerificationError(OciError):
    """Bytes that are not what their descriptor says."""


class SizeMismatch(VerificationError):
    """A blob with another length than its descriptor's `size`; `actual` is what was read before giving up."""

    def __init__(self, *, digest: str, expected: int, actual: int) -> None:
        self.digest, self.expected, self.actual = digest, expected, actual
        more = "more than " if actual > expected else ""
        got = expected if actual > expected else actual
        super().__init__(f"blob {show(digest)}: size is {more}{got} bytes, its descriptor says {expected}")


class DigestMismatch(VerificationError):
    """A blob whose bytes have another digest than its descriptor says."""

    def __init__(self, *, expected: str, actual: str) -> None:
        self.expected, self.actual = expected, actual
        super().__init__(f"blob {show(expected)}: its bytes have the digest {actual}")


class DiffIdMismatch(VerificationError):
    """A layer whose uncompressed bytes have another digest than `rootfs.diff_ids` of the config says."""

    def __init__(self, *, layer: str, expected: str, actual: str) -> None:
        self.layer, self.expected, self.actual = layer, expected, actual
        super().__init__(f"layer {show(layer)}: its diff_id is {actual}, the config says {show(expected)}")


class CorruptStream(OciError):
    """A compressed stream that can't be read on; `offset` counts bytes of the compressed input."""

    def __init__(self, compression: str, offset: int, reason: str) -> None:
        self.compression, self.offset, self.reason = compression, offset, reason
        super().__init__(f"corrupt {compression} stream at byte {offset}: {reason}")


class TarError(OciError):
    """A tar archive that can't be read on; `offset` counts bytes of the (uncompressed) archive."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset, self.reason = offset, reason
        super().__init__(f"bad tar archive at byte {offset}: {reason}")


class UnsafeEntry(OciError):
    """A layer entry that is refused: it would leave the root, or its name is reserved."""

    def __init__(self, name: bytes, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"unsafe entry {show(name)!r}: {reason}")


class NotFound(OciError):
    """Something that was asked for is not there."""


class BlobNotFound(NotFound):
    """No blob with this digest in the store that was asked; `where` names the store; `hint`: what to do."""

    def __init__(self, digest: str, where: str, *, hint: str = "") -> None:
        self.digest, self.where = digest, where
        super().__init__(f"blob {show(digest)} not found in {show(where)}{f'; {hint}' if hint else ''}")


class RefNotFound(NotFound):
    """No such tag or digest; `available` lists the tags that are there, None where nobody has looked; `hint`: how."""

    def __init__(self, wanted: str, where: str, available: Sequence[str] | None = (), *, hint: str = "") -> None:
        self.wanted, self.where, self.available = wanted, where, tuple(available or ())
        listed = ", ".join(show(name) for name in self.available[:20])
        more = f" and {len(self.available) - 20} more" if len(self.available) > 20 else ""
        there = f"there is: {listed}{more}" if listed else "it holds no tags"
        known = (f"; {show(hint)}" if hint else "") if available is None else f"; {there}"
        super().__init__(f"{show(wanted)!r} not found in {show(where)}{known}")


class NoMatchingPlatform(NotFound):
    """An index with no image for the wanted platform; `available` lists those it has."""

    def __init__(self, wanted: str, where: str, available: Sequence[str]) -> None:
        self.wanted, self.where, self.available = wanted, where, tuple(available)
        listed = ", ".join(show(name) for name in self.available) or "none"
        there = f"there is: {listed}; choose with --platform"
        super().__init__(f"no image for platform {show(wanted)} in {show(where)}; {there}")


class ContainerNotFound(NotFound):
    """No container of this name or ID; `candidates` are several that a short ID could mean."""

    def __init__(self, wanted: str, where: str, candidates: Sequence[str] = ()) -> None:
        self.wanted, self.where, self.candidates = wanted, where, tuple(candidates)
        several = ", ".join(show(name) for name in self.candidates[:10])
        reason = f"could be any of {several}" if several else f"no such container in {show(where)}"
        super().__init__(f"container {show(wanted)!r}: {reason}")


class VolumeNotFound(NotFound):
    """No volume of this name."""

    def __init__(self, name: str, where: str) -> None:
        self.name, self.where = name, where
        super().__init__(f"volume {show(name)!r}: no such volume in {show(where)}")


class LayoutError(OciError):
    """An image layout or archive whose files break the rules of image-spec image-layout.md."""

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"{show(where)}: {reason}")


class DestinationError(OciError):
    """A destination that can't be used as it is."""

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"{show(where)}: {reason}")


class LimitExceeded(OciError):
    """More than a stated limit; `actual` is None where counting stopped at the limit."""

    def __init__(self, what: str, limit: int, actual: int | None = None) -> None:
        self.what, self.limit, self.actual = what, limit, actual
        super().__init__(f"{what}: {'more than ' if actual is None else str(actual) + ', over '}the limit of {limit}")


class SourceError(OciError):
    """A file or directory to be read that can't be, or that changes while it is read; `path` is on this machine."""

    def __init__(self, path: bytes | str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{show(path)}: {reason}")


class ConfigurationError(OciError):
    """A file of settings that can't be read, used or written; `where` is the file, with a line or key where known."""

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"{show(where)}: {reason}")


class RegistryError(OciError):
    """Something went wrong between us and a registry; `url` is what was asked, without its query (it may be secret)."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url.partition("?")[0], reason
        super().__init__(f"{show(self.url)}: {reason}")


class ConnectionFailed(RegistryError):
    """No connection, no trust (TLS), a connection that was cut, or one without progress; `again` if it may pass."""

    def __init__(self, url: str, reason: str, *, again: bool = True) -> None:
        self.again = again
        super().__init__(url, reason)


class AuthenticationFailed(RegistryError):
    """The registry wants credentials, or others than it was given; `status` is 401 or 403."""

    def __init__(self, url: str, reason: str, *, status: int = 401) -> None:
        self.status = status
        super().__init__(url, reason)


class RegistryRefused(RegistryError):
    """An error answer: `status` of HTTP, `codes` of the spec's errors (spec.md#error-codes), the registry's words."""

    def __init__(self, url: str, reason: str, *, status: int, codes: Sequence[str] = ()) -> None:
        self.status, self.codes = status, tuple(codes)
        super().__init__(url, reason)


class ProtocolViolation(RegistryError):
    """An answer that the distribution spec or HTTP does not allow, or that is not taken for safety's sake."""


class UnpackError(OciError):
    """The file system refused what a layer asks for; `path` is inside the image."""

    def __init__(self, path: bytes, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot unpack {show(path)!r}: {reason}")


class StoreError(OciError):
    """The local store can't be used, or something in it is damaged; `where` is its folder, or the file in it."""

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"{show(where)}: {reason}")


class InUse(OciError):
    """Something is not removed because others need it; `what` is "volume data", `by` their names."""

    def __init__(self, what: str, by: Sequence[str], *, hint: str = "") -> None:
        self.what, self.by = what, tuple(by)
        users = ", ".join(show(name) for name in self.by[:10])
        more = f" and {len(self.by) - 10} more" if len(self.by) > 10 else ""
        super().__init__(f"{show(what)} is in use by {users}{more}{f'; {hint}' if hint else ''}")


class NameTaken(OciError):
    """A name that another has already; `kind` is "container" or "volume"."""

    def __init__(self, kind: str, name: str, *, hint: str = "") -> None:
        self.kind, self.name = kind, name
        super().__init__(f"the name {show(name)!r} is taken by another {kind}{f'; {hint}' if hint else ''}")


class WrongState(OciError):
    """A container is not in the state that the operation needs; `state` is the one it is in."""

    def __init__(self, name: str, state: str, reason: str) -> None:
        self.name, self.state, self.reason = name, state, reason
        super().__init__(f"container {show(name)!r} is {state}: {reason}")


class DriverError(OciError):
    """A storage driver can't do its work: `driver` is its name, `reason` the kernel's or its own."""

    def __init__(self, driver: str, reason: str) -> None:
        self.driver, self.reason = driver, reason
        super().__init__(f"storage driver {show(driver)}: {reason}")


class RuntimeFailed(OciError):
    """The OCI runtime failed: `status` as docker has it: 125 in general, 126 not executable, 127 not found."""

    def __init__(self, reason: str, *, status: int = 125) -> None:
        self.reason, self.status = reason, status
        super().__init__(reason)
