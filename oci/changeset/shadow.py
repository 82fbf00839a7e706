"""What the higher layers of an image hide from the lower ones, for layers visited from the top down.

This is the rule of image-spec v1.1.1 layer.md#applying-changesets read backwards, in overlayfs's words: every layer is
a directory tree of its own, and the merged tree shows, for each path, the topmost layer's entry.

- A file (anything but a directory) hides the path and everything below it.
- A whiteout hides the path and everything below it in *lower* layers; never in its own, wherever it stands in the tar.
- An opaque mark hides everything below a directory in lower layers, but not the directory itself.
- A directory hides lower files at its path, merges with lower directories, and where it meets a lower *file* the
  merge ends: directories still lower don't shine through.
- A directory that a layer implies (it has an entry or a mark below it) but doesn't name has no attributes; the next
  lower entry of that directory gives them.

Nothing that a layer says takes effect on itself: its records join at `end_layer`. The bottom layer hides nothing, so
`begin_layer(bottom=True)` keeps no record of it, and a million entries there cost no memory.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from oci.changeset.paths import split

__all__ = ["Shadow"]

_DIR = "dir"  # oci.tar's kind of a directory; the only kind that matters here
_NOTHING: frozenset[bytes] = frozenset()
_MEMO_LIMIT = 4096  # directories whose answer is remembered within a layer: bounds memory, not correctness
_PACK_LIMIT = 4096  # names that are packed into one bytes object; more would take too long to unpack again and again
_UNPACKED_LIMIT = 64  # directories whose names are kept unpacked

# The names in a directory: a set, or the same joined by "/", a third of the memory.
_Names = set[bytes] | bytes


def _unpacked(names: _Names) -> set[bytes]:
    return set(names.split(b"/")) if isinstance(names, bytes) else names


def _packed(names: _Names) -> _Names:
    if isinstance(names, bytes) or not 0 < len(names) <= _PACK_LIMIT:
        return names
    return b"/".join(names)


class Shadow:
    """The names that are taken, deleted or cut off by the layers seen so far.

    For each layer, from the top: `begin_layer`, then for its entries in any order `visible` and, for those that are,
    `add`; `whiteout` and `opaque` for its marks; then `end_layer`. Paths are clean (see `paths`), and the caller has
    already resolved symbolic links of the same layer in them.
    """

    __slots__ = (
        "_cut",
        "_dirs",
        "_keep",
        "_memo",
        "_names",
        "_own_cut",
        "_own_dirs",
        "_own_met",
        "_own_names",
        "_own_whiteouts",
        "_recent",
    )

    def __init__(self) -> None:
        # Of the layers above: directory → the names in it that lower layers can't show.
        self._names: dict[bytes, _Names] = {}
        self._recent: dict[bytes, AbstractSet[bytes]] = {}
        # Directories → whether their attributes are settled (an entry named them, not only something below them).
        self._dirs: dict[bytes, bool] = {}
        # Directories whose lower content is cut off though they are directories.
        self._cut: set[bytes] = set()
        # The same of the layer being visited.
        self._own_names: dict[bytes, _Names] = {}
        self._own_whiteouts: dict[bytes, set[bytes]] = {}
        self._own_dirs: dict[bytes, bool] = {}
        self._own_cut: set[bytes] = set()
        self._own_met: set[bytes] = set()  # directories of higher layers where this one has a file
        self._keep = True
        self._memo: dict[bytes, bool] = {}

    def begin_layer(self, *, bottom: bool = False) -> None:
        """Start the next lower layer; `bottom` says that nothing comes below it."""
        self._keep = not bottom
        self._memo.clear()

    def end_layer(self) -> None:
        """Let what the layer has and deletes take effect on the layers below."""
        for names_by_directory in (self._own_names.items(), self._own_whiteouts.items()):
            for directory, names in names_by_directory:
                there = self._names.get(directory)
                if there is not None:
                    names = _unpacked(there) | _unpacked(names)
                if names:
                    self._names[directory] = _packed(names)
        self._recent.clear()
        for directory, settled in self._own_dirs.items():
            if settled or directory not in self._dirs:
                self._dirs[directory] = settled
        self._cut |= self._own_cut
        self._cut |= self._own_met
        for directory in self._own_met:  # still lower directories give it no attributes either
            self._dirs[directory] = True
        self._own_names, self._own_whiteouts, self._own_dirs = {}, {}, {}
        self._own_cut, self._own_met = set(), set()
        self._memo.clear()

    # What the layers above say.

    def hides_inside(self, directory: bytes) -> bool:
        """Return whether everything below `directory` is hidden from this layer."""
        memo = self._memo
        todo: list[bytes] = []
        path = directory
        while (hidden := memo.get(path)) is None:
            if not path:
                hidden = memo[b""] = b"" in self._cut
                break
            todo.append(path)
            path = path.rpartition(b"/")[0]
        if len(memo) > _MEMO_LIMIT:
            memo.clear()
        for path in reversed(todo):
            if not hidden:
                parent, name = split(path)
                hidden = path in self._cut or name in self.hidden_names(parent)
            memo[path] = hidden
        return hidden

    def is_cut(self, directory: bytes) -> bool:
        """Return whether a mark or a lower file at `directory` itself cuts off what lower layers have in it."""
        return directory in self._cut

    def hidden_names(self, directory: bytes) -> AbstractSet[bytes]:
        """Return the names directly in `directory` that this layer can't show, given that the directory shows."""
        names = self._recent.get(directory)
        if names is None:
            packed = self._names.get(directory)
            if packed is None:
                return _NOTHING
            if len(self._recent) >= _UNPACKED_LIMIT:
                self._recent.clear()
            names = self._recent[directory] = _unpacked(packed)
        return names

    def shows(self, path: bytes, kind: str) -> bool:
        """Return whether an entry of this layer would show, with nothing remembered; see `visible`."""
        if path:
            parent, name = split(path)
            if self.hides_inside(parent) or name in self.hidden_names(parent):
                return False
        settled = self._dirs.get(path)
        return settled is None or (kind == _DIR and not settled)

    def visible(self, path: bytes, kind: str) -> bool:
        """Return whether this layer's entry shows in the merged tree; of a directory, whether its attributes do.

        A file where a higher layer has a directory is remembered here: it ends the merge of that directory.
        """
        if self.shows(path, kind):
            return True
        if kind != _DIR and self._keep and path in self._dirs:
            self._own_met.add(path)
        return False

    # What this layer says.

    def add(self, path: bytes, kind: str) -> None:
        """Record a visible entry of this layer; of two entries of one path the later one counts."""
        if not self._keep:
            return
        if not path:
            self._own_dirs[b""] = True
            return
        parent, name = split(path)
        self.imply(parent)
        if kind == _DIR:
            self._own_dirs[path] = True
            self._own_met.discard(path)
            if parent in self._own_names:
                self.own_names(parent).discard(name)
        else:
            self.own_names(parent).add(name)
            self._own_dirs.pop(path, None)

    def imply(self, directory: bytes) -> None:
        """Record that this layer has `directory` and all above it, without naming them."""
        if not self._keep:
            return
        dirs = self._own_dirs
        self._own_met.discard(directory)  # of a file and a directory in one tar, the later counts
        while directory not in dirs:
            dirs[directory] = False
            if not directory:
                break
            directory = directory.rpartition(b"/")[0]

    def own_names(self, directory: bytes) -> set[bytes]:
        """Return the set of files that this layer has in `directory`, to be added to (the hot loop's way to `add`)."""
        there = self._own_names.get(directory)
        names = set() if there is None else _unpacked(there)
        if self._keep:
            self._own_names[directory] = names
        return names

    def pack(self, directory: bytes) -> None:
        """Keep the names of `directory` in less memory, since nothing is being added: `own_names` gave its last."""
        names = self._own_names.get(directory)
        if names is not None:
            self._own_names[directory] = _packed(names)

    def forget(self, path: bytes) -> None:
        """Take back that this layer has `path` (a later entry of its tar replaced it, or what it lay in)."""
        if not self._keep:
            return
        if path:
            parent, name = split(path)
            if parent in self._own_names:
                self.own_names(parent).discard(name)
        self._own_dirs.pop(path, None)
        self._own_names.pop(path, None)

    def whiteout(self, path: bytes) -> None:
        """Hide `path` and all below it from lower layers."""
        if not self._keep:
            return
        parent, name = split(path)
        self.imply(parent)
        self._own_whiteouts.setdefault(parent, set()).add(name)

    def opaque(self, directory: bytes) -> None:
        """Hide everything below `directory` from lower layers."""
        if not self._keep:
            return
        self._own_cut.add(directory)
        self.imply(directory)
