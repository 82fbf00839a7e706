"""What the read-only layers of a container show together, directory by directory, nothing remembered.

The rule is overlayfs' own: of each name the topmost layer that has it counts; directories of one name are merged, down
to the first layer in which the name is something else, is whited out, or is opaque there or further up
(overlayfs.rst, "Upper and Lower", "Merged directories").

The scaffold, where there is one, is the topmost of them, and its files are none of the image's: each name says whether
the image has it too (`in_image`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from oci.drivers.folders import Folders
from oci.drivers.marks import Marks
from oci.drivers.roots import root_of

__all__ = ["Lower", "LowerDirectory", "LowerName"]


class LowerDirectory:
    """A directory of the merged view: its path, and the layers (top first) whose directories it is made of."""

    __slots__ = ("layers", "path")

    def __init__(self, path: bytes, layers: list[int]) -> None:
        self.path, self.layers = path, layers


class LowerName:
    """One name of it: its status, the layer that this is from, and for directories all layers that have it."""

    __slots__ = ("in_image", "layers", "status")

    def __init__(self, status: os.stat_result, layer: int, in_image: bool) -> None:
        self.status, self.layers, self.in_image = status, [layer], in_image

    @property
    def layer(self) -> int:
        """The topmost layer that has it."""
        return self.layers[0]

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, and can be entered."""
        return stat.S_ISDIR(self.status.st_mode)


class Lower:
    """The merged view of the layers that are the roots of `folders`, the bottom one first."""

    def __init__(self, folders: Folders, marks: Marks, *, scaffold: bool) -> None:
        self.folders = folders
        self._marks = marks
        self._scaffold = len(folders.roots) - 1 if scaffold else -1

    def root(self) -> LowerDirectory:
        """The root directory; it may have no layers at all."""
        return LowerDirectory(b"", list(range(len(self.folders.roots) - 1, -1, -1)))

    def attributes_layer(self, directory: LowerDirectory) -> int:
        """The layer whose directory of this path gives the attributes.

        It is the topmost that has it; of the root directory, the topmost of those layers of the image that name it.
        """
        if not directory.path:
            image = [root for at, root in enumerate(self.folders.roots) if at != self._scaffold]
            named = root_of(image)
            if named is not None:
                return self.folders.roots.index(named)
        return directory.layers[0]

    def enter(self, parent: LowerDirectory, name: bytes, found: LowerName) -> LowerDirectory:
        """The directory behind a name."""
        return LowerDirectory(parent.path + b"/" + name if parent.path else name, found.layers)

    def list(self, directory: LowerDirectory, only: Iterable[bytes] | None = None) -> dict[bytes, LowerName]:
        """All names in a directory, or those of `only` that are there, in no order."""
        found: dict[bytes, LowerName] = {}
        settled: set[bytes] = set()  # names for which lower layers don't count any more
        wanted = None if only is None else list(only)
        for layer in directory.layers:
            if wanted is not None:
                wanted = [name for name in wanted if name not in settled]
                if not wanted:
                    break
            listing = self._marks.read(self.folders.fd(layer, directory.path), only=wanted)
            for name, status in listing.names.items():
                if name not in settled:
                    self._meet(found, settled, name, status, layer)
            settled |= listing.gone
            if listing.opaque:
                break
        return found

    def _meet(
        self, found: dict[bytes, LowerName], settled: set[bytes], name: bytes, status: os.stat_result, layer: int
    ) -> None:
        known = found.get(name)
        directory = stat.S_ISDIR(status.st_mode)
        if known is None:
            found[name] = LowerName(status, layer, layer != self._scaffold)
            if not directory and layer != self._scaffold:
                settled.add(name)
            return
        known.in_image = True
        if directory and known.is_directory:
            known.layers.append(layer)
        else:
            settled.add(name)  # it ends here; a file of the scaffold needed only to know that the image has one too
