"""The same image unpacked by umoci and by us; the same files unpacked by GNU tar."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from oci.unpack.rootfs import unpack
from tests.support import images
from tests.support.layers import TarImage, directory, file, hardlink, symlink
from tests.support.rawtar import END
from tests.support.trees import snapshot

BASE = (
    directory(b"./", mtime=b"1000")
    + directory(b"./etc/", mtime=b"1001")
    + file(b"./etc/passwd", b"root\n", mode=0o644, mtime=b"1002")
    + file(b"./etc/shadow", b"*\n", mode=0o640, gid=42, mtime=b"1003")
    + directory(b"./usr/", mtime=b"1004")
    + directory(b"./usr/bin/", mtime=b"1005")
    + file(b"./usr/bin/perl", b"#!" * 4000, mode=0o755, mtime=b"1006")
    + hardlink(b"./usr/bin/perl5", b"./usr/bin/perl")
    + symlink(b"./bin", b"usr/bin", mtime=b"1007")
    + directory(b"./var/", mtime=b"1008")
    + directory(b"./var/cache/", 0o1777, mtime=b"1009")
    + file(b"./var/cache/old", b"x", uid=33, gid=33, mtime=b"1010")
    + directory(b"./var/lib/", mtime=b"1011")
    + file(b"./var/lib/state", b"1", mtime=b"1012")
)
MIDDLE = (
    directory(b"usr/", mtime=b"2000")
    + directory(b"usr/bin/", mtime=b"2001")
    + file(b"usr/bin/su", b"#!", mode=0o4755, mtime=b"2002")
    + directory(b"var/", mtime=b"2003")
    + directory(b"var/cache/", 0o1777, mtime=b"2004")
    + file(b"var/cache/.wh.old", mtime=b"2005")
    + file(b"var/cache/new", b"y", uid=33, gid=33, mtime=b"2006")
    + directory(b"var/lib/", 0o700, mtime=b"2007")
    + file(b"var/lib/.wh..wh..opq", mtime=b"2008")
    + file(b"var/lib/fresh", b"2", mtime=b"2009")
)
TOP = directory(b"etc/", mtime=b"3000") + file(b"etc/.wh.shadow") + file(b"etc/passwd", b"changed\n", mtime=b"3001")


def test_umoci_makes_the_same_of_whiteouts_links_and_attributes(tmp_path: Path) -> None:
    if shutil.which("umoci") is None:
        pytest.skip("umoci is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs to run as root")
    layout = images.LayoutMaker(tmp_path / "layout")
    layout.tag("v1", layout.image([images.layer(part + END) for part in (BASE, MIDDLE, TOP)]))
    layout.finish()
    command = ["umoci", "raw", "unpack", "--image", f"{tmp_path}/layout:v1", tmp_path / "theirs"]
    subprocess.run(command, check=True, capture_output=True)
    unpack(TarImage(BASE, MIDDLE, TOP), tmp_path / "ours")
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")


def test_gnu_tar_makes_the_same_of_one_layer(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to run as root")
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "x", "-C", tmp_path / "theirs"], input=BASE + END, check=True)
    unpack(TarImage(BASE), tmp_path / "ours")
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")
