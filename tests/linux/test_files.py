"""Contents that share blocks, are copied by the kernel, and names that change places."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from oci.linux import files


@pytest.fixture
def pair(tmp_path: Path) -> tuple[int, int]:
    (tmp_path / "a").write_bytes(b"0123456789" * 1000)
    source = os.open(tmp_path / "a", os.O_RDONLY)
    target = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)
    return source, target


def test_a_clone_has_the_bytes_or_is_said_not_to_work(pair: tuple[int, int]) -> None:
    worked = files.clone(*pair)
    assert os.fstat(pair[1]).st_size == (10_000 if worked else 0)


def test_a_full_disk_is_no_missing_feature(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("fcntl.ioctl", full)
    with pytest.raises(OSError, match="full"):
        files.clone(*pair)


@pytest.mark.parametrize("code", [0, errno.EXDEV, errno.ENOSYS, errno.EINVAL])
def test_a_range_is_copied_from_where_both_stand(
    pair: tuple[int, int], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code:

        def none(*_: object) -> int:
            raise OSError(code, "not here")

        monkeypatch.setattr(os, "copy_file_range", none)
    source, target = pair
    os.lseek(source, 5, os.SEEK_SET)
    assert files.copy_range(source, target, 7) == 7
    assert files.copy_range(source, target, 1 << 40) == 9988
    assert files.copy_range(source, target, 5) == 0
    assert os.pread(target, 20_000, 0) == (b"0123456789" * 1000)[5:]


def test_files_of_proc_are_copied_though_they_claim_to_be_empty(pair: tuple[int, int]) -> None:
    source = os.open("/proc/self/status", os.O_RDONLY)
    assert files.copy_range(source, pair[1], 1 << 20) > 100
    os.close(source)


def test_two_names_change_places(tmp_path: Path) -> None:
    (tmp_path / "dir" / "x").mkdir(parents=True)
    (tmp_path / "file").write_text("f")
    fd = os.open(tmp_path, os.O_RDONLY)
    if not files.exchange(fd, b"dir", fd, "file"):
        pytest.skip("this file system can't exchange names")
    assert (tmp_path / "dir").read_text() == "f"
    assert (tmp_path / "file" / "x").is_dir()
    assert not files.exchange(fd, b"dir", fd, "gone")
    os.close(fd)
