"""What a volume may hold, and a container that uses it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from oci.storage.containers import ContainerRow, Status, new_id
from oci.storage.store import Store
from tests.support.trees import Facts, snapshot


def use(store: Store, volume: str, name: str = "box", status: Status = "created", path: str = "/data") -> str:
    """A container's row that uses a volume."""
    made = new_id()
    row = ContainerRow(
        id=made,
        name=name,
        image_id="sha256:" + "0" * 64,
        image_name=None,
        manifest="sha256:" + "1" * 64,
        layers=(),
        driver="copy",
        created=store.clock(),
        status=status,
    )
    store.containers.add(row, [(volume, path)])
    return made


def fill(folder: Path) -> None:
    """A tree with everything that a volume can hold."""
    (folder / "sub/deep").mkdir(parents=True)
    (folder / "file").write_bytes(b"hello")
    os.link(folder / "file", folder / "sub/again")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / ".wh.kept").write_bytes(b"not a whiteout")
    (folder / ".wh..wh..opq").write_bytes(b"")
    (folder / "sub/.wh.dir").mkdir()
    (folder / os.fsdecode(b"\xff name")).write_bytes(b"bytes")
    os.mkfifo(folder / "fifo", 0o640)
    os.setxattr(folder / "file", "user.note", b"\0binary\n")
    os.setxattr(folder / "sub", "user.overlay.opaque", b"y")
    with open(folder / "sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"in the middle")
        file.truncate(16 << 20)
    with open(folder / "hole", "wb") as file:
        file.truncate(1 << 20)
    (folder / "big").write_bytes(os.urandom(300_000))
    if os.geteuid() == 0:
        os.mknod(folder / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(folder / "whiteout", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
        os.chown(folder / "file", 1234, 5678)
        os.chown(folder / "link", 7, 8, follow_symlinks=False)
        os.chown(folder / "sub/deep", 99, 98)
    os.chmod(folder / "file", 0o4711)
    os.chmod(folder / "sub/deep", 0o1777)
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number), follow_symlinks=False)
    os.chmod(folder, 0o750)
    os.utime(folder, ns=(0, 1_500_000_000_000_000_001))


def content(folder: str | Path) -> dict[bytes, Facts]:
    """What a volume holds, without the notes of owners that an ordinary user's has."""
    found = snapshot(folder)
    if os.geteuid() != 0:
        for facts in found.values():
            facts.get("xattrs", {}).pop("user.rootlesscontainers", None)  # type: ignore[attr-defined]
    return found


def image(tmp_path: Path) -> int:
    folder = tmp_path / "image"
    (folder / "srv").mkdir(parents=True)
    fill(folder / "srv")
    (folder / "data").symlink_to("/srv")
    (folder / "out").symlink_to("../../../../../../etc")
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
