"""The image on which drivers are tried: three layers, and the mount points that it lacks."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

BASE = 1_600_000_000_123_456_789
BIG = 100_000
HOLE = 256 << 10


@dataclass
class Builder:
    """Makes the layers' folders; every file gets a time of its own."""

    ids: bool
    devices: bool
    clock: int = BASE
    times: list[tuple[str, int]] = field(default_factory=list)

    def directory(self, path: str, mode: int = 0o755) -> str:
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return self._time(path)

    def file(self, path: str, data: bytes = b"", mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> str:
        with open(path, "wb") as file:
            file.write(data)
        if owner != (0, 0) and self.ids:
            os.chown(path, *owner)
        os.chmod(path, mode)
        return self._time(path)

    def link(self, path: str, target: str) -> None:
        os.symlink(target, path)
        self._time(path)

    def _time(self, path: str) -> str:
        self.clock += 1_000_000_007
        self.times.append((path, self.clock))
        return path

    def done(self) -> None:
        """Set all times; directories last, since what is made in them changes theirs."""
        for path, when in reversed(self.times):
            os.utime(path, ns=(when, when), follow_symlinks=False)


def make_layers(top: str, form: str, *, ids: bool, devices: bool) -> tuple[str, ...]:
    one, two, three = (f"{top}/layers/{name}/fs" for name in ("one", "two", "three"))
    b = Builder(ids, devices)
    for folder in (one, two, three):
        b.directory(folder)
    for name in ("etc", "dir", "dir/sub", "dir/sub/deep", "opq", "many", "names", "swap", "tree", "tree/low", "empty"):
        b.directory(f"{one}/{name}")
    b.file(f"{one}/etc/passwd", b"root:x:0:0\n")
    b.file(f"{one}/etc/shadow", b"secret", 0o600, (0, 42))
    b.file(f"{one}/etc/conf", b"key=1\n")
    os.setxattr(f"{one}/etc/conf", "user.note", b"first")
    b.file(f"{one}/big", bytes(range(256)) * (BIG // 256))
    b.file(f"{one}/sparse", b"begin")
    os.truncate(f"{one}/sparse", HOLE)
    with open(f"{one}/sparse", "ab") as file:
        file.write(b"end")
    for name in ("a", "b", "c"):
        b.file(f"{one}/dir/{name}", name.encode() * 10)
    b.file(f"{one}/dir/sub/deep/file", b"deep")
    b.file(f"{one}/dir/sub/deep/other", b"other")
    for name in ("x", "y"):
        b.file(f"{one}/opq/{name}", b"below")
    for number in range(20):
        b.file(f"{one}/many/{number:02}", b"%d" % number)
    b.file(f"{one}/h1", b"linked")
    for name in ("h2", "h3"):
        os.link(f"{one}/h1", f"{one}/{name}")
    b.link(f"{one}/link", "etc/passwd")
    b.link(f"{one}/dangling", "/nowhere")
    b.file(f"{one}/su", b"#!", 0o4755)
    b.directory(f"{one}/tmp", 0o1777)
    b.directory(f"{one}/group", 0o2775)
    os.mkfifo(f"{one}/pipe", 0o640)
    b._time(f"{one}/pipe")
    if devices:
        os.mknod(f"{one}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        b._time(f"{one}/null")
    b.file(f"{one}/swap/file", b"a file")
    b.directory(f"{one}/swap/dir")
    b.file(f"{one}/swap/dir/inside", b"inside")
    b.file(f"{one}/tree/low/leaf", b"leaf", 0o640, (7, 8))
    os.link(f"{one}/tree/low/leaf", f"{one}/tree/low/leaf2")
    b.link(f"{one}/tree/low/link", "leaf")
    fs = os.fsencode(one)
    for name in (b"sp ace", b"new\nline", b"\xff\xfe"):
        b.file(os.fsdecode(fs + b"/names/" + name), name)
    # The second layer
    b.directory(f"{two}/dir", 0o750)
    os.mknod(f"{two}/dir/c", stat.S_IFCHR, 0)
    b.file(f"{two}/dir/b", b"second b")
    b.directory(f"{two}/opq")
    os.setxattr(f"{two}/opq", f"{form}.overlay.opaque", b"y")
    b.file(f"{two}/opq/z", b"above")
    b.directory(f"{two}/tree")
    b.directory(f"{two}/tree/high")
    b.file(f"{two}/tree/high/leaf", b"high")
    # The third
    b.directory(f"{three}/etc")
    b.file(f"{three}/etc/added", b"third")
    b.directory(f"{three}/dir", 0o751)
    b.done()
    return one, two, three


def make_scaffold(folder: str, etc: str) -> str:
    """Mount points that the image lacks; directories that it has look as they do there."""
    b = Builder(False, False)
    b.directory(f"{folder}/init")
    b.directory(f"{folder}/init/etc")
    b.file(f"{folder}/init/etc/hosts")
    b.directory(f"{folder}/init/points")
    b.directory(f"{folder}/init/points/data")
    b.done()
    for ours, theirs in (("init", os.path.dirname(etc)), ("init/etc", etc)):
        status = os.stat(theirs)
        os.chmod(f"{folder}/{ours}", stat.S_IMODE(status.st_mode))
        os.utime(f"{folder}/{ours}", ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"{folder}/init"
