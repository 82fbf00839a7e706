"""The table of mounts, bind mounts and what becomes of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.linux import mounts, namespaces
from tests.support.namespaces import need_mounts, rootless
from tests.support.users import in_child


def apart(work: Callable[[], None]) -> None:
    def call() -> None:
        namespaces.unshare_mounts()
        work()

    need_mounts()
    in_child(call)


def last() -> mounts.Mount:
    return mounts.mounts()[-1]


def test_every_field_of_the_table_is_read() -> None:
    line = rb"36 35 98:0 /mnt1\040a /mnt\1342 rw,noatime shared:1 master:2 - ext3 /dev/ro\011ot rw,errors=c\054d"
    assert mounts._parse(line) == mounts.Mount(
        mount_id=36,
        parent=35,
        device="98:0",
        root="/mnt1 a",
        target="/mnt\\2",
        options=("rw", "noatime"),
        propagation=("shared:1", "master:2"),
        fstype="ext3",
        source="/dev/ro\tot",
        super_options=("rw", "errors=c,d"),
    )


def test_a_mount_without_optional_fields_or_source_is_read() -> None:
    one = mounts._parse(b"36 35 0:3 / /x\xff rw - tmpfs  rw")
    assert (one.target, one.propagation, one.source) == (os.fsdecode(b"/x\xff"), (), "")


def test_the_machine_s_own_table_is_read() -> None:
    assert any(mount.fstype == "proc" for mount in mounts.mounts())
    assert mounts.mounts() == mounts.mounts(os.getpid())


def test_mounted_names_come_back_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / 'a b\\040\n\t:,"ü'
    place.mkdir()

    def check() -> None:
        mounts.mount("source with space", place, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "size=64k,mode=700")
        mount = last()
        assert (mount.source, mount.target, mount.fstype) == ("source with space", str(place), "tmpfs")
        assert {"nosuid", "nodev"} <= set(mount.options)
        assert "size=64k" in mount.super_options
        assert mount.propagation == ()
        assert mounts.is_mount_point(place)
        assert not mounts.is_mount_point(tmp_path)
        mounts.unmount(place)
        assert not mounts.is_mount_point(place)

    apart(check)


@pytest.mark.parametrize("old", [False, True], ids=["mount_setattr", "remount"])
def test_a_read_only_bind_is_so_in_depth(tmp_path: Path, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("from/below/deeper", "to"):
        (tmp_path / name).mkdir(parents=True)
    if old:

        def none(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSYS, "not there")

        monkeypatch.setattr(mounts, "set_attributes", none)

    def check() -> None:
        mounts.mount("tmpfs", tmp_path / "from" / "below", "tmpfs", mounts.MS_NOEXEC)
        mounts.bind(tmp_path / "from", tmp_path / "to", recursive=True, read_only=True)
        for place in ("to", "to/below"):
            with pytest.raises(OSError, match="Read-only") as raised:
                (tmp_path / place / "new").write_text("")
            assert raised.value.errno == errno.EROFS
        assert {"ro", "noexec"} <= set(last().options)
        (tmp_path / "from" / "below" / "new").write_text("writable there still")

    apart(check)


@pytest.mark.parametrize("old", [False, True], ids=["mount_setattr", "remount"])
def test_a_user_namespace_keeps_the_flags_that_it_may_not_drop(old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remount that forgets nosuid or nodev of a mount from outside is refused by the kernel."""
    if old:

        def none(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSYS, "not there")

        monkeypatch.setattr(mounts, "set_attributes", none)

    def check() -> tuple[str, ...]:
        Path("proc").mkdir()
        mounts.bind("/proc", "proc", recursive=True, read_only=True)
        return next(mount.options for mount in mounts.mounts() if mount.target == os.path.abspath("proc"))

    assert "ro" in rootless(check, ranges=False)


def test_a_file_is_bound_and_unmounted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")

    def check() -> None:
        mounts.bind(tmp_path / "a", tmp_path / "b", read_only=True)
        assert (tmp_path / "b").read_text() == "a"
        with open(tmp_path / "b"):
            with pytest.raises(OSError, match=r"busy") as busy:
                mounts.unmount(tmp_path / "b")
            assert busy.value.filename == str(tmp_path / "b")
            mounts.unmount(tmp_path / "b", detach=True)
        assert (tmp_path / "b").read_text() == "b"

    apart(check)


def test_a_link_is_not_followed_to_what_is_unmounted(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")

    def check() -> None:
        mounts.mount("tmpfs", tmp_path / "there", "tmpfs")
        with pytest.raises(OSError, match="Invalid"):
            mounts.unmount(tmp_path / "link")
        assert mounts.is_mount_point(tmp_path / "there")

    apart(check)


def test_errors_name_the_target(tmp_path: Path) -> None:
    need_mounts()
    attempts: list[Callable[[], object]] = [
        lambda: mounts.mount("tmpfs", tmp_path / "gone", "tmpfs"),
        lambda: mounts.bind(tmp_path, tmp_path / "gone"),
        lambda: mounts.unmount(tmp_path / "gone"),
        lambda: mounts.set_attributes(tmp_path / "gone", mounts.MOUNT_ATTR_RDONLY),
    ]
    for attempt in attempts:
        with pytest.raises(FileNotFoundError) as raised:
            attempt()
        assert raised.value.filename == str(tmp_path / "gone")
    with pytest.raises(OSError, match="NUL"):
        mounts.mount("tmpfs", "/mnt\0/x", "tmpfs")
