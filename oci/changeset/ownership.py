"""Which owners and extended attributes of a layer reach the disk, and which of the disk's reach a layer.

Two kinds of unpack (docs/unpack.md says it for users):

* **exact**: owners are set as the layer says (by root).
* **rootless**: everything belongs to the caller; an owner other than 0:0 is noted in the extended attribute
  `user.rootlesscontainers`, in the format that umoci and other rootless tools share
  (https://github.com/rootless-containers/proto: a protobuf message `Resource {uint32 uid = 1; uint32 gid = 2}`, where
  2³²-1 stands for "not noted").

Extended attributes that speak to one host, or to the file system that holds the tree, mean something else anywhere
else: they are neither written nor read (image-spec v1.1.1 layer.md#file-attributes asks for `xattrs`, not for these).
"""

from __future__ import annotations

from collections.abc import Callable

from oci.errors import show

__all__ = [
    "ROOTLESS_XATTR",
    "Warnings",
    "data_xattr_kept",
    "note_rootless_owner",
    "read_rootless_owner",
    "xattr_kept",
]

ROOTLESS_XATTR = b"user.rootlesscontainers"
MAX_KINDS = 50  # of warnings
NOT_NOTED = 0xFFFFFFFF  # "NoopID" of the protocol; also what chown(2) takes for "leave it", so no file can have it

_DROPPED = frozenset(
    {
        b"security.selinux",  # labels of the host's policy; the kernel refuses or, worse, obeys foreign ones
        b"security.apparmor",
        b"security.ima",  # signed for one host's keys
        b"security.evm",  # keyed to inode and host
        b"system.nfs4_acl",  # of the server that exported the tree; names users of its domain
        b"system.nfs4_dacl",
        b"system.nfs4_sacl",
        b"system.nfs4acl_xdr",
        b"system.richacl",
        ROOTLESS_XATTR,  # our own note about this disk: from a layer it would forge an owner
    }
)
# Orders to whatever stacks layers: a layer must not give them.
_OVERLAY_PREFIXES = (
    b"trusted.overlay.",  # overlayfs: opaque, redirect, metacopy
    b"user.overlay.",  # the same for mounts with `userxattr`
    b"user.fuseoverlayfs.",  # fuse-overlayfs's own: opaque, origin, owner and mode in place of the real ones
    b"security.fuseoverlayfs.",
    b"user.containers.override_",
)
_DROPPED_PREFIXES = (*_OVERLAY_PREFIXES, b"security.SMACK64")


def xattr_kept(name: bytes) -> bool:
    """Return whether an extended attribute means the same on every machine, so that layers may carry it."""
    return name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)


def data_xattr_kept(name: bytes) -> bool:
    """The same for files that are no layer's (a volume's): what overlayfs obeys is data there, as anything else."""
    return xattr_kept(name) or name.startswith(_OVERLAY_PREFIXES)


def note_rootless_owner(uid: int, gid: int) -> bytes | None:
    """Return the value of `user.rootlesscontainers` for an owner; None for 0:0, which is not noted."""
    if not uid and not gid:
        return None
    # As umoci writes it: an id 0 is "not noted", because an unset field and a zero are one in protobuf.
    return b"\x08" + _varint(uid or NOT_NOTED) + b"\x10" + _varint(gid or NOT_NOTED)


def read_rootless_owner(value: bytes) -> tuple[int | None, int | None]:
    """Return the (uid, gid) noted in a `user.rootlesscontainers` value; None where none is noted.

    Raises ValueError if it is not a message of that protocol.
    """
    ids = {1: 0, 2: 0}  # proto3: a field that is not there is zero
    at = 0
    while at < len(value):
        key, at = _read_varint(value, at)
        if key & 7 != 0:
            raise ValueError("not a rootlesscontainers message: a field of an unknown type")
        number, at = _read_varint(value, at)
        if key >> 3 in ids:
            ids[key >> 3] = number & 0xFFFFFFFF
    uid, gid = ids[1], ids[2]
    return (None if uid == NOT_NOTED else uid), (None if gid == NOT_NOTED else gid)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(value) or shift > 63:
            raise ValueError("not a rootlesscontainers message: it ends within a number")
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


class Warnings:
    """Counts what was left out, by kind, so that a layer with a thousand devices gives one line."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, bytes]] = {}
        self._others = 0

    def add(self, kind: str, path: bytes) -> None:
        """Count one more of a kind; `path` of the first one is told."""
        count, first = self._kinds.get(kind, (0, path))
        if not count and len(self._kinds) >= MAX_KINDS:
            self._others += 1  # names of attributes are the image's, so kinds can be any number
            return
        self._kinds[kind] = (count + 1, first)

    def tell(self, warn: Callable[[str], None]) -> None:
        """Hand each kind to `warn` as one line, in the order they came up."""
        for kind, (count, first) in self._kinds.items():
            warn(f"{kind}: {show(first or b'/')}" + (f" and {count - 1} more" if count > 1 else ""))
        if self._others:
            warn(f"left out {self._others} more things of other kinds")
