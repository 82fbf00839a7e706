"""The tree of a container and a folder of this machine, between which `cp` copies; tar archives for it."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oci.container.inside import Inside, Mounted


@contextmanager
def inside(root: Path, *mounts: Mounted, read_only: str = "") -> Iterator[Inside]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Inside(fd, mounts, read_only=read_only, where="box")
    finally:
        os.close(fd)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file())


def archive(**members: str | tarfile.TarInfo) -> list[bytes]:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, value in members.items():
            info = value if isinstance(value, tarfile.TarInfo) else tarfile.TarInfo(name.replace("__", "/"))
            data = b"" if isinstance(value, tarfile.TarInfo) else value.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return [raw.getvalue()]


def info(name: str, kind: bytes, linkname: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, linkname, mode
    return made


def make_box(root: Path) -> Path:
    """The tree of a container."""
    for folder in ("etc", "srv/there", "tmp", "src/sub"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hosts").write_text("inside\n")
    (root / "srv/file").write_text("old\n")
    (root / "src/a").write_text("a\n")
    (root / "src/sub/b").write_text("b\n")
    (root / "srv/link").symlink_to("/etc/hosts")
    (root / "srv/dirlink").symlink_to("/srv/there")
    (root / "srv/nowhere").symlink_to("/tmp/made")
    return root


def make_host(folder: Path) -> Path:
    """A folder of this machine."""
    (folder / "dir/sub").mkdir(parents=True)
    (folder / "there").mkdir()
    (folder / "one").write_text("one\n")
    (folder / "dir/x").write_text("x\n")
    (folder / "dir/sub/y").write_text("y\n")
    (folder / "link").symlink_to("one")
    (folder / "dirlink").symlink_to("dir")
    return folder
