"""A directory on disk → the entries of a layer, the same ones in the same order wherever and by whomever it is read.

Order: a directory before what is in it, names in byte order, each directory's whole subtree before its next sibling
(what `tar --sort=name` writes). Rules for what an entry says, image-spec v1.1.1 layer.md#file-attributes:

* **owners**: `owner="auto"` makes root's what belongs to the owner of the source directory itself (user and group each
  on its own) and keeps every other id; so a root filesystem keeps all its owners, and anybody's checkout becomes
  root's. `"keep"` keeps all; `(uid, gid)` sets all. An owner that a rootless unpack noted in the extended attribute
  `user.rootlesscontainers` is that file's owner ("auto" and "keep"), if the file is the caller's or the tree's owner's.
* **modes**: kept, or as `mode` says (mode.py); a symbolic link's is always 0777.
* **times**: whole seconds (`mtime="whole"`), to the nanosecond (`"exact"`), or one for all (nanoseconds since 1970);
  then nothing later than `clamp_mtime`, if given.
* **extended attributes**: those that mean the same in any place (ownership.py), of files and directories. POSIX ACLs
  are left out: they hold ids of this machine's users.
* **hard links**: the first path in order is the file, the others link to it, with the same attributes.
* **sparse files** are written plain, holes as zeros (the compressor takes them back to nearly nothing).
* **data** that is no layer's (`data=True`, a volume) keeps more: names and extended attributes that would be marks in a
  layer, POSIX ACLs as owners, and sparse files with their holes (`Entry.sparse`; only what is stored is handed out).
* **sockets** mean nothing in an image: left out, with a warning. **Names** beginning with `.wh.` would be whiteouts:
  refused.

The tree may change underneath, or be made to mislead: every step is taken from an open directory, no symbolic link
below the source is ever followed, what was opened is asked for its type and size, and a file that doesn't have that
many bytes is an error before anything is finished. Modes that keep an owner out of their own files (an unpacked image
has some) are opened for the moment of reading, and given back.

A tree whose processes go on writing (`live=True`: a running container) would hardly ever be read that way. There, what
is removed or exchanged between its listing and its opening is left out, with a warning, and a file is as long as it was
when it was opened: what is written behind that is not read, and what is cut off meanwhile is zeros, as in GNU tar.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

from oci.changeset.exclude import excluder
from oci.changeset.mode import mode_rule
from oci.changeset.ownership import ROOTLESS_XATTR, data_xattr_kept, read_rootless_owner, xattr_kept
from oci.changeset.paths import MAX_PATH, clean
from oci.errors import SourceError, UnsafeEntry
from oci.tar.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from oci.typed import Literal

__all__ = ["Data", "MTime", "Owner", "Scan", "scan"]

Owner = Literal["auto", "keep"] | tuple[int, int]
MTime = Literal["whole", "exact"] | int
Data = Iterable[bytes | memoryview]
"""The bytes of one entry, in order, as many as its size; to be read before the next entry is asked for.

A piece stays as it is only until the next one is asked for: large files are read into one buffer again and again.
"""

SMALL = 64 << 10  # up to here a file is read in one call, handed out as one piece, and its descriptor closed at once
CHUNK = 256 << 10  # of larger files; more than this would not stay in the processor's second-level cache
MAX_PIECES = 1 << 16  # of a sparse file that are told apart; a reader of ours takes four times as many
MAX_OPEN_LEVELS = (
    128  # deeper directories' descriptors are closed and found again by "..": a process may have 1024 open
)

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIR_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_SPECIAL = {stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK, stat.S_IFIFO: FIFO}
_new = Entry.__new__
_OTHER = "other"  # not known from the listing: neither file nor directory


class _Level:
    """A directory being listed: its descriptor (-1 while given back), its identity, and the names still to come.

    `mode` is what it must be given back at the end, where it had to be opened to its owner for reading.
    """

    __slots__ = ("fd", "identity", "mode", "names", "prefix")

    def __init__(self, fd: int, prefix: bytes, status: os.stat_result) -> None:
        self.fd, self.prefix = fd, prefix
        self.identity = (status.st_dev, status.st_ino)
        self.names: Iterator[tuple[bytes, str]] = iter(())
        self.mode: int | None = None

    def close(self) -> None:
        if self.fd >= 0:
            if self.mode is not None:
                os.fchmod(self.fd, self.mode)
            os.close(self.fd)
            self.fd = -1


class _GoneError(SourceError):
    """What was listed is not there any more, or is something else by now."""


class Scan:
    """One walk over a directory; iterating gives (entry, data), once.

    `root=False` leaves out the entry of the source directory itself. `hard_links=False` gives every path as a file of
    its own, and `small=0` reads no data that isn't asked for: that is how two trees are compared. `within` narrows the
    walk to paths below the source for which it says so (a directory for which it doesn't isn't entered). `warn` is
    called with (path, sentence) for what is left out because an image can't hold it.

    With `at`, an open directory and a name in it, that is what is walked, a directory or a single file, and `source` is
    only its name in messages. Like everything below it, it is never followed as a symbolic link (`b"."`: the directory
    itself).
    """

    def __init__(
        self,
        source: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *,
        dest: bytes = b"",
        owner: Owner = "auto",
        mode: int | str | None = None,
        mtime: MTime = "whole",
        clamp_mtime: int | None = None,
        exclude: Iterable[str | bytes] = (),
        warn: Callable[[bytes, str], object] | None = None,
        root: bool = True,
        hard_links: bool = True,
        small: int = SMALL,
        within: Callable[[bytes], bool] | None = None,
        data: bool = False,
        at: tuple[int, bytes] | None = None,
        live: bool = False,
    ) -> None:
        self.source = os.fsencode(source)
        self.dest = clean(dest)
        self.inode: tuple[int, int] | None = None
        """Identity of the entry handed out last where it has several names; None where it has one."""
        self._auto_owner = owner == "auto"
        self._all_uid: int | None = owner[0] if isinstance(owner, tuple) else None
        self._all_gid: int | None = owner[1] if isinstance(owner, tuple) else None
        self._mode = None if mode is None else mode_rule(mode)
        self._whole, self._all_mtime = mtime == "whole", mtime if isinstance(mtime, int) else None
        self._clamp = clamp_mtime
        self._exclude, self._within, self._warn = excluder(exclude), within, warn
        self._root, self._hard_links, self._small = root, hard_links, small
        self._at, self._live = at, live
        self._data, self._xattrs = data, _data_xattrs if data else _xattrs
        self._uids: dict[int, int] = {}
        self._gids: dict[int, int] = {}
        self._links: dict[tuple[int, int], bytes] = {}
        self._user = os.geteuid()
        self._noted: dict[bytes, tuple[int, int]] = {}  # files of several names → the owner that is noted on them
        self._levels: list[_Level] = []
        self._held = -1  # descriptor of the file whose data the caller may be reading
        self._skip = False
        self._before: os.stat_result | None = None  # a directory's status before it was opened to its owner
        self._buffer: memoryview | None = None

    def skip(self) -> None:
        """Don't enter the directory whose entry was handed out last."""
        self._skip = True

    def __iter__(self) -> Iterator[tuple[Entry, Data]]:
        levels, filtered = self._levels, bool(self._exclude or self._within)
        try:
            yield from self._top()
            while levels:
                level = levels[-1]
                fd, prefix = level.fd, level.prefix
                for name, kind in level.names:
                    path = prefix + name
                    if filtered and self._left_out(path):
                        continue
                    if name.startswith(b".wh.") and not self._data:
                        raise UnsafeEntry(
                            self._below(path), "a layer can't hold a file of this name: it is a whiteout's"
                        )
                    try:
                        if kind is FILE:
                            item: tuple[Entry, Data] | None = self._file(fd, name, path)
                        elif kind is DIR:
                            if len(path) > MAX_PATH:  # no layer could be read that has it; and each name costs as much
                                raise self._changed(path, f"a path of more than {MAX_PATH} bytes")
                            item = self._enter(self._open(name, _DIR_FLAGS, fd, path), path), ()
                        else:
                            item = self._special(fd, name, path)
                    except _GoneError as error:
                        self._miss(path, error)
                        continue
                    if item is None:
                        continue
                    yield item
                    if kind is DIR:
                        if not self._skip:
                            self._list()
                        self._skip = False
                        break
                    if self._held >= 0:
                        self._release()
                else:
                    self._leave()
        finally:
            self._close()

    # Directories

    def _top(self) -> Iterator[tuple[Entry, Data]]:
        if self._at is None:
            fd = os.open(self.source, _DIR_FLAGS & ~os.O_NOFOLLOW)
        else:
            dir_fd, name = self._at
            kind = stat.S_IFMT(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
            if kind != stat.S_IFDIR:
                single = self._file if kind == stat.S_IFREG else self._special
                if (item := single(dir_fd, name, self.dest)) is not None:
                    yield item
                return
            fd = self._open(name, _DIR_FLAGS, dir_fd, self.dest)
        if self._auto_owner:
            status = os.fstat(fd)
            self._uids, self._gids = {status.st_uid: 0}, {status.st_gid: 0}
        entry = self._enter(fd, self.dest)
        if self._root:
            yield entry, ()
        if not self._skip:
            self._list()
        self._skip = False

    def _enter(self, fd: int, path: bytes) -> Entry:
        """Go down into a directory just opened; gives its entry, and doesn't list it yet."""
        levels = self._levels
        status = self._before or os.fstat(fd)
        levels.append(_Level(fd, path + b"/" if path else b"", status))
        if self._before is not None:
            levels[-1].mode, self._before = status.st_mode & 0o7777, None
        if len(levels) > MAX_OPEN_LEVELS and (spare := levels[-1 - MAX_OPEN_LEVELS]).mode is None:
            spare.close()
        self.inode = None
        return self._entry(path, DIR, status, self._xattrs(fd))

    def _list(self) -> None:
        """Read the names of the directory entered last, in byte order."""
        level = self._levels[-1]
        names = []
        with os.scandir(level.fd) as listing:
            for item in listing:
                if item.is_file(follow_symlinks=False):
                    kind = FILE
                else:
                    kind = DIR if item.is_dir(follow_symlinks=False) else _OTHER
                names.append((os.fsencode(item.name), kind))
        names.sort()
        level.names = iter(names)

    def _leave(self) -> None:
        """Go up from a directory that has been handed out in full."""
        level = self._levels.pop()
        try:
            if self._levels and (parent := self._levels[-1]).fd < 0:
                parent.fd = os.open("..", _DIR_FLAGS, dir_fd=level.fd)
                status = os.fstat(parent.fd)
                if (status.st_dev, status.st_ino) != parent.identity:
                    raise self._changed(level.prefix[:-1], "was moved while it was read")
        finally:
            level.close()

    # Everything else

    def _file(self, dir_fd: int, name: bytes, path: bytes) -> tuple[Entry, Data]:
        try:
            fd = self._held = os.open(name, _FILE_FLAGS, dir_fd=dir_fd)
        except OSError as error:
            fd = self._held = self._open_closed(name, _FILE_FLAGS, dir_fd, path, error)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise self._gone(path, "was replaced while it was read")
        if status.st_nlink == 1:
            self.inode = None
        elif (first := self._first_name(status, path)) != path:
            entry = self._entry(path, HARDLINK, status, None, first)
            entry.uid, entry.gid = self._noted.get(first, (entry.uid, entry.gid))
            return entry, ()
        entry = self._entry(path, FILE, status, self._xattrs(fd))
        entry.size = entry.stored_size = size = status.st_size
        if self._data and status.st_blocks * 512 < size and (extents := _extents(fd, size)) is not None:
            entry.sparse = extents
            entry.stored_size = sum(length for _, length in extents)
            return entry, self._stored(fd, extents, path)
        if size > self._small:
            return entry, self._pieces(fd, size, path)
        data = os.read(fd, size + 1) if size else b""
        os.close(fd)
        self._held = -1
        if len(data) != size:
            if not self._live:
                raise self._changed(path, "changed its size while it was read")
            data = data[:size] + bytes(max(size - len(data), 0))
        return entry, (data,)

    def _pieces(self, fd: int, size: int, path: bytes) -> Iterator[memoryview]:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(CHUNK))
        buffer, left = self._buffer, size
        while left >= 0:  # once more at the end, to see that there is no more
            length = os.readv(fd, [buffer])
            left -= length
            if left < 0:
                if not self._live:
                    raise self._changed(path, "became longer while it was read")
                length, left = length + left, 0
            if not length:
                if not left:
                    return
                if not self._live:
                    raise self._changed(path, "became shorter while it was read")
                length = min(left, CHUNK)
                buffer[:length] = bytes(length)
                left -= length
            yield buffer[:length]

    def _stored(self, fd: int, extents: Sequence[tuple[int, int]], path: bytes) -> Iterator[bytes]:
        for offset, length in extents:
            while length:
                piece = os.pread(fd, min(length, CHUNK), offset)
                if not piece:
                    if not self._live:
                        raise self._changed(path, "became shorter while it was read")
                    piece = bytes(min(length, CHUNK))
                offset, length = offset + len(piece), length - len(piece)
                yield piece

    def _special(self, dir_fd: int, name: bytes, path: bytes) -> tuple[Entry, Data] | None:
        """A symbolic link, device or FIFO, none of which is ever opened; None for a socket."""
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except OSError as error:
            raise self._failed(path, error) from error
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            if self._warn is not None:
                self._warn(self._below(path), "is a socket, which an image can't hold: left out")
            return None
        if status.st_nlink == 1:
            self.inode = None
        elif (first := self._first_name(status, path)) != path:
            return self._entry(path, HARDLINK, status, None, first), ()
        if kind == stat.S_IFLNK:
            try:
                return self._entry(path, SYMLINK, status, None, os.readlink(name, dir_fd=dir_fd)), ()
            except OSError as error:
                raise self._failed(path, error) from error
        if kind not in _SPECIAL:
            raise self._gone(path, "was replaced while it was read")
        entry = self._entry(path, _SPECIAL[kind], status, None)
        if kind != stat.S_IFIFO:
            entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return entry, ()

    def _first_name(self, status: os.stat_result, path: bytes) -> bytes:
        """The name under which the file of this inode is in the layer: this one, if it comes first."""
        if stat.S_ISDIR(status.st_mode):
            return path
        self.inode = identity = (status.st_dev, status.st_ino)
        return self._links.setdefault(identity, path) if self._hard_links else path

    def _entry(
        self, path: bytes, kind: str, status: os.stat_result, xattrs: dict[bytes, bytes] | None, linkname: bytes = b""
    ) -> Entry:
        """An entry by the rules at the top of this module; its size is left to be set."""
        entry = _new(Entry)  # attribute by attribute: a third of the time of a call with keywords
        entry.name = path
        entry.kind = kind
        entry.linkname = linkname
        if self._mode is None:
            entry.mode = status.st_mode & 0o7777 if kind is not SYMLINK else 0o777
        else:
            entry.mode = self._mode(status.st_mode & 0o7777, kind is DIR) if kind is not SYMLINK else 0o777
        uid, gid = status.st_uid, status.st_gid
        entry.uid = self._uids.get(uid, uid) if self._all_uid is None else self._all_uid
        entry.gid = self._gids.get(gid, gid) if self._all_gid is None else self._all_gid
        if self._all_mtime is None:
            mtime_ns = status.st_mtime_ns
            if self._whole:
                mtime_ns -= mtime_ns % 1_000_000_000
        else:
            mtime_ns = self._all_mtime
        if self._clamp is not None and mtime_ns > self._clamp:
            mtime_ns = self._clamp
        entry.mtime_ns = mtime_ns
        entry.devmajor = entry.devminor = entry.size = entry.stored_size = entry.offset = entry.data_offset = 0
        entry.uname = entry.gname = b""
        entry.xattrs = xattrs
        entry.sparse = None
        if xattrs is not None and ROOTLESS_XATTR in xattrs:
            self._apply_note(entry, xattrs, uid)
        return entry

    def _apply_note(self, entry: Entry, xattrs: dict[bytes, bytes], real: int) -> None:
        """Take the owner that a rootless unpack noted, unless all owners are set.

        Such an unpack has only files of one user, ours or the tree's. On anybody else's the note is a forgery, which a
        container's user can write to make a set-id program of his somebody else's.
        """
        note = xattrs.pop(ROOTLESS_XATTR)
        if real != self._user and real not in self._uids:
            entry.xattrs = xattrs or None
            return
        try:
            uid, gid = read_rootless_owner(note)
        except ValueError as error:
            raise self._changed(entry.name, f"{ROOTLESS_XATTR.decode()}: {error}") from None
        entry.xattrs = xattrs or None
        if self._all_uid is None and uid is not None:
            entry.uid = uid
        if self._all_gid is None and gid is not None:
            entry.gid = gid
        if self.inode is not None:
            self._noted[entry.name] = entry.uid, entry.gid

    # Plumbing

    def _open(self, name: bytes, flags: int, dir_fd: int, path: bytes) -> int:
        try:
            fd = os.open(name, flags, dir_fd=dir_fd)
        except OSError as error:
            return self._open_closed(name, flags, dir_fd, path, error)
        if flags & os.O_DIRECTORY and os.geteuid() and not os.access(b".", os.X_OK, dir_fd=fd, effective_ids=True):
            os.close(fd)  # it can be listed, but nothing in it reached
            return self._open_closed(
                name, flags, dir_fd, path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            )
        return fd

    def _open_closed(self, name: bytes, flags: int, dir_fd: int, path: bytes, error: OSError) -> int:
        """Open what its mode keeps its own owner out of, by changing the mode for as long as that takes.

        An ordinary user's unpacked image has such files and directories, and only root reads them without.
        """
        if not isinstance(error, PermissionError):
            raise self._failed(path, error) from error
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            status = os.fstat(handle)
            directory = bool(flags & os.O_DIRECTORY)
            if status.st_uid != os.geteuid() or not (stat.S_ISDIR if directory else stat.S_ISREG)(status.st_mode):
                raise self._failed(path, error) from error
            mode = status.st_mode & 0o7777
            this = f"/proc/self/fd/{handle}"  # leads to what was looked at, whatever has its name by now
            os.chmod(this, mode | (0o700 if directory else 0o400))
            try:
                fd = os.open(this, flags & ~os.O_NOFOLLOW)
            except BaseException:
                os.chmod(this, mode)
                raise
            if directory:
                self._before = status  # its mode is given back when it has been left
            else:
                os.chmod(this, mode)
            return fd
        finally:
            os.close(handle)

    def _release(self) -> None:
        os.close(self._held)
        self._held = -1

    def _close(self) -> None:
        if self._held >= 0:
            self._release()
        while self._levels:
            self._levels.pop().close()

    def _left_out(self, path: bytes) -> bool:
        below = self._below(path)
        return bool(self._exclude and self._exclude(below)) or not (self._within is None or self._within(below))

    def _below(self, path: bytes) -> bytes:
        return path[len(self.dest) + 1 :] if self.dest else path

    def _changed(self, path: bytes, reason: str) -> SourceError:
        return SourceError(os.path.join(self.source, self._below(path)), reason)

    def _gone(self, path: bytes, reason: str) -> SourceError:
        return _GoneError(os.path.join(self.source, self._below(path)), reason)

    def _miss(self, path: bytes, error: _GoneError) -> None:
        """Go on without what is there no longer, in a tree that is being written."""
        if self._held >= 0:
            self._release()
        if not self._live:
            raise error
        if self._warn is not None:
            self._warn(self._below(path), "was removed or replaced while it was read: left out")

    def _failed(self, path: bytes, error: OSError) -> SourceError:
        if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EINVAL):
            return self._gone(path, "was replaced or removed while it was read")
        return self._changed(path, f"can't be read: {error.strerror}")


scan = Scan


def _extents(fd: int, size: int) -> tuple[tuple[int, int], ...] | None:
    """The (offset, length) of each piece of data in a file with holes; None where it has none, or too many to tell."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            return None
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        found.append((start, end - start))
        if len(found) > MAX_PIECES:
            found = [(0, size)]
            break
        at = end
    os.lseek(fd, 0, os.SEEK_SET)
    return None if found == [(0, size)] else tuple(found)


def _xattrs(fd: int) -> dict[bytes, bytes] | None:
    """The extended attributes that a layer may carry, and a rootless owner's note; None where there are none."""
    return _read_xattrs(fd, _kept_of_layer)


def _data_xattrs(fd: int) -> dict[bytes, bytes] | None:
    return _read_xattrs(fd, data_xattr_kept)


def _kept_of_layer(name: bytes) -> bool:
    return xattr_kept(name) and not name.startswith(b"system.posix_acl_")


def _read_xattrs(fd: int, kept: Callable[[bytes], bool]) -> dict[bytes, bytes] | None:
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return None
        raise
    if not names:
        return None
    found = {}
    for name in sorted(map(os.fsencode, names)):
        if name == ROOTLESS_XATTR or kept(name):
            found[name] = os.getxattr(fd, name)
    return found or None
