"""Where a layer's names lie on disk: directories below a root, found step by step by descriptor.

Every step is `openat(O_NOFOLLOW)` from a directory that is already open, so nothing outside the root can be reached,
whatever links the image holds, and paths may be longer than PATH_MAX. At each step the shadow of the higher layers
decides whether the directory shows at all; one that doesn't is followed in name only, with nothing opened or made.

A symbolic link in the way is one of two things. If a higher layer made it, the name is in the shadow and everything
below is hidden. Otherwise this same layer made it, and it is followed as the layer's own tree would: inside the root,
where ".." stops at the top (CVE-2019-14271 and kin are about following it anywhere else).
"""

from __future__ import annotations

import errno
import os

from oci.changeset.limits import Budget, Hops
from oci.changeset.paths import join
from oci.changeset.removal import DIRECTORY, remove_tree
from oci.changeset.shadow import Shadow

__all__ = ["Directory", "Tree"]

MAX_OPEN = 128  # descriptors kept open; a process may often have 1024, and the caller has its own
MAX_ALIASES = 1024

_NO_NAMES: frozenset[bytes] = frozenset()


class Directory:
    """A directory of the layer: `path` is its real place; `hidden` says that nothing the layer has in it shows.

    `fd` is -1 where it is hidden. `taken` are the names in it that higher layers hide, `own` this layer's files in it.
    """

    __slots__ = ("fd", "hidden", "own", "path", "taken")

    def __init__(self, path: bytes, fd: int, shadow: Shadow | None) -> None:
        self.path = path
        self.fd = fd
        self.hidden = fd < 0
        self.taken = shadow.hidden_names(path) if shadow and fd >= 0 else _NO_NAMES
        self.own = shadow.own_names(path) if shadow and fd >= 0 else set()


class Tree:
    """The directories below the descriptor `root_fd`, seen by one layer after the other."""

    def __init__(self, root_fd: int, shadow: Shadow, budget: Budget, *, strict_umask: bool = False) -> None:
        self._root_fd = root_fd
        self.strict_umask = strict_umask  # the umask keeps even the owner out
        self._shadow: Shadow | None = shadow
        self._budget = budget
        # Open and hidden directories by real path, least recently used first. Real: no component is a link.
        self._cache: dict[bytes, Directory] = {}
        self._aliases: dict[bytes, bytes] = {}  # names that lead over links → real paths
        self._links: dict[bytes, bytes] = {}  # this layer's links that are hidden, hence not on disk: path → target
        self._pinned: Directory | None = None
        self.root = Directory(b"", -1, None)
        self.made: list[bytes] = []  # directories made because something lies below them, since the caller last looked
        self.dropped: list[bytes] = []  # paths that `vacate` removed, likewise

    def begin_layer(self) -> None:
        """Forget what the last layer saw; call it after `Shadow.begin_layer`."""
        self.close()
        shadow = self._shadow
        self.root = Directory(b"", self._root_fd, shadow)
        self.root.hidden = shadow is not None and shadow.is_cut(b"")

    def begin_finishing(self) -> None:
        """Look at the finished tree: everything on disk shows, paths are real, and no link is followed any more."""
        self._shadow = None
        self.begin_layer()

    def close(self) -> None:
        """Close all descriptors but the root's."""
        for directory in self._cache.values():
            self._close(directory)
        self._cache.clear()
        self._aliases.clear()
        self._links.clear()

    # Finding directories.

    def directory(self, path: bytes) -> Directory:
        """Return the directory that the clean `path` leads to, made (with all above it) if it isn't there."""
        found = self.find(path, make=True)
        assert found is not None
        return found

    def find(self, path: bytes, *, make: bool = False) -> Directory | None:
        """Return the directory that the clean `path` leads to, or None if it isn't on disk and `make` is false.

        Raises UnsafeEntry after too many symbolic links.
        """
        if not path:
            return self.root
        cached = self._cached(self._aliases.get(path, path))
        return cached if cached is not None else self._walk(path, make)

    def pin(self, directory: Directory | None) -> None:
        """Keep one directory open however many others are opened."""
        self._pinned = directory

    def _cached(self, path: bytes) -> Directory | None:
        found = self._cache.pop(path, None)
        if found is not None:
            self._cache[path] = found
        return found

    def _keep(self, directory: Directory) -> Directory:
        cache = self._cache
        if len(cache) >= MAX_OPEN:
            oldest = next(iter(cache))
            victim = cache.pop(oldest)
            if victim is self._pinned:
                cache[oldest] = victim
                victim = cache.pop(next(iter(cache)))
            self._close(victim)
        cache[directory.path] = directory
        return directory

    def _walk(self, path: bytes, make: bool) -> Directory | None:
        current, rest = self._nearest(path)
        todo = rest.split(b"/")
        todo.reverse()
        hops = Hops(path)
        while todo:
            name = todo.pop()
            if name == b"..":  # only ever from a link's target
                above = self.find(current.path.rpartition(b"/")[0], make=make)
                if above is None:
                    return None
                current = above
                continue
            step = self._step(current, name, make)
            if step is None:
                return None
            if isinstance(step, Directory):
                current = step
                continue
            if self._shadow is None:
                return None
            todo.extend(part for part in reversed(hops.follow(step)) if part and part != b".")
            if step.startswith(b"/"):
                current = self.root
        if current.path != path:
            if len(self._aliases) >= MAX_ALIASES:
                self._aliases.clear()
            self._aliases[path] = current.path
        return current

    def _nearest(self, path: bytes) -> tuple[Directory, bytes]:
        """Return the deepest cached directory above `path`, and the components from there."""
        parent, _, name = path.rpartition(b"/")
        best = self._cached(parent)
        if best is not None:
            return best, name
        # Looked up from the cache's side: it is small, while a hostile path has thousands of ancestors.
        length = 0
        for candidate in self._cache:
            if len(candidate) > length and path.startswith(candidate) and path[len(candidate)] == 0x2F:
                length = len(candidate)
        if not length:
            return self.root, path
        best = self._cached(path[:length])
        assert best is not None
        return best, path[length + 1 :]

    def _step(self, parent: Directory, name: bytes, make: bool) -> Directory | bytes | None:
        """Return the directory `name` in `parent`, or the target if it is this layer's symbolic link."""
        path = join(parent.path, name)
        if (cached := self._cached(path)) is not None:
            return cached
        if self._links and (target := self._links.get(path)) is not None:
            return target
        shadow = self._shadow
        if parent.hidden or name in parent.taken or (shadow is not None and shadow.is_cut(path)):
            return self._keep(Directory(path, -1, None))
        while True:
            try:
                fd = os.open(name, DIRECTORY, dir_fd=parent.fd)
                break
            except OSError as error:
                if error.errno == errno.ENOENT:
                    if not make:
                        return None
                elif error.errno in (errno.ENOTDIR, errno.ELOOP):
                    # Not hidden, so this layer made it.
                    found = _link_target(name, parent.fd)
                    if found is not None:
                        return found
                    if not make:
                        return None
                    self.vacate(parent, name)  # a file, and now something below it: the later entry counts
                else:
                    raise
            self.make(parent, name)
            self.made.append(path)
        if shadow is not None:
            shadow.imply(path)
        return self._keep(Directory(path, fd, shadow))

    # Changing them.

    def make(self, parent: Directory, name: bytes) -> None:
        """Make a directory that only its owner can use, which is what it stays until everything is in it."""
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        if self.strict_umask:
            os.chmod(name, 0o700, dir_fd=parent.fd)
        parent.own.discard(name)  # a device that was left out, say

    def vacate(self, parent: Directory, name: bytes) -> None:
        """Remove what this layer made at `name`, for a later entry of the same name; the paths go to `dropped`."""
        path = join(parent.path, name)
        self._forget(path)

        def inside(below: bytes) -> None:
            self._forget(path + b"/" + below)

        remove_tree(name, dir_fd=parent.fd, removed=inside)
        self._uncache(path)

    def add_hidden_link(self, path: bytes, target: bytes) -> None:
        """Remember a symbolic link of this layer that doesn't show: later entries of the layer may lead over it."""
        self._budget.take(len(path) + len(target) + 200)
        self._links[path] = target
        self._uncache(path)

    @property
    def has_hidden_links(self) -> bool:
        """Whether `drop_hidden_link` could find anything."""
        return bool(self._links)

    def drop_hidden_link(self, path: bytes) -> None:
        """Forget a hidden link: the layer has something else of that name after all."""
        if self._links.pop(path, None) is not None:
            self._uncache(path)

    def _close(self, directory: Directory) -> None:
        if directory.fd >= 0:
            os.close(directory.fd)
            directory.fd = -1
            if self._shadow is not None:
                self._shadow.pack(directory.path)

    def _forget(self, path: bytes) -> None:
        if self._shadow is not None:
            self._shadow.forget(path)
        self.dropped.append(path)

    def _uncache(self, path: bytes) -> None:
        """Drop what is known about `path` and everything below it."""
        self._aliases.clear()
        below = path + b"/"
        for stale in [known for known in self._cache if known == path or known.startswith(below)]:
            self._close(self._cache.pop(stale))


def _link_target(name: bytes, dir_fd: int) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.EINVAL:  # there, but no symbolic link
            return None
        raise
