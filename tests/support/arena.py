"""A place to unpack hostile images in: a destination, and host files beside it that must stay as they are."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import pytest

from oci.unpack.rootfs import unpack
from tests.support.layers import TarImage
from tests.support.trees import Facts, snapshot
from tests.support.users import NOBODY, as_user

USERS = ("root", "rootless")


class Arena:
    """`dest` may be unpacked to; everything else in `path` are host files."""

    def __init__(self, path: Path, user: str) -> None:
        self.path = path
        self.rootless = user == "rootless"
        self.dest = path / "dest"
        self.warnings: list[str] = []
        self._outside = self._look()

    def unpack(self, *layers: bytes, **options: object) -> dict[bytes, Facts]:
        """Unpack an image of these layers as this arena's user; return what is in `dest` then, raise what it raises."""
        return self.unpack_image(TarImage(*layers), **options)

    def unpack_image(self, image: object, *, look: bool = True, **options: object) -> dict[bytes, Facts]:
        """The same for any image; without `look` the answer is empty, for trees that no path reaches."""

        def work() -> list[str]:
            told: list[str] = []
            unpack(image, self.dest, warn=told.append, **options)  # type: ignore[arg-type]
            return told

        if self.rootless and os.geteuid() == 0:
            self.warnings = as_user(work)
        else:
            self.warnings = work()
        return snapshot(self.dest) if look else {}

    def read(self, name: str) -> bytes:
        """The content of an unpacked file, which must be one."""
        path = self.dest / name
        assert not path.is_symlink()
        return path.read_bytes()

    def check(self) -> None:
        """The host files are as they were, and no scratch directory is left."""
        assert self._look() == self._outside

    def _look(self) -> dict[bytes, Facts]:
        ours = (b"dest", b"dest/")
        found = snapshot(self.path, root_entry=False)
        return {name: facts for name, facts in found.items() if name != ours[0] and not name.startswith(ours[1])}


@lru_cache
def _memory() -> str | None:
    """A tmpfs with extended attributes of users (Linux 6.6), if there is one."""
    with suppress(OSError), tempfile.NamedTemporaryFile(dir="/dev/shm") as probe:
        os.setxattr(probe.fileno(), "user.ocikit", b"1")
        return "/dev/shm"
    return None


@contextmanager
def arena(user: str) -> Iterator[Arena]:
    """Make an arena for "root" or "rootless", and check it at the end."""
    if user == "root" and os.geteuid() != 0:
        pytest.skip("needs to run as root")
    # Not pytest's tmp_path: an ordinary user could not get there. In memory where that will do: many small files.
    path = Path(tempfile.mkdtemp(prefix="ocikit-arena-", dir=_memory()))
    try:
        outside = path / "outside"
        (outside / "folder").mkdir(parents=True)
        (outside / "secret").write_bytes(b"secret of the host")
        (outside / "folder" / "keep").write_bytes(b"keep")
        (path / "passwd").write_bytes(b"root:x:0:0")
        if user == "rootless" and os.geteuid() == 0:
            # The user owns them, so that only the unpacker's care protects them.
            for place in (path, *path.rglob("*")):
                os.chown(place, NOBODY, NOBODY)
        ring = Arena(path, user)
        yield ring
        ring.check()
    finally:
        # Not shutil's: it gives up on trees thousands of levels deep.
        subprocess.run(["rm", "-rf", path], check=True)
