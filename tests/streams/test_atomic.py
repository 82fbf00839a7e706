"""Files that appear whole or not at all, whatever happens in between; what a crash leaves is found."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from oci.streams.atomic import TEMPORARY, AtomicFile, fsync_dir, sweep, write_file
from tests.conftest import ROOT


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_the_file_appears_with_commit(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "blob") as file:
        file.write(b"one ")
        file.write(memoryview(b"two"))
        assert [name.startswith(TEMPORARY) for name in names(tmp_path)] == [True]
        file.commit()
    assert names(tmp_path) == ["blob"]
    assert (tmp_path / "blob").read_bytes() == b"one two"


def test_nothing_but_a_regular_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(FileExistsError, match="no regular file"):
            AtomicFile(tmp_path / name)
    assert names(tmp_path) == ["null", "pipe"]


def test_the_name_may_be_known_only_at_the_end(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "unknown") as file:
        file.write(b"data")
        file.commit(tmp_path / "digest")
    assert names(tmp_path) == ["digest"]


def test_what_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    write_file(tmp_path / "index.json", b"old")

    def fail() -> None:
        with AtomicFile(tmp_path / "index.json") as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    file = AtomicFile(tmp_path / "index.json")
    file.discard()
    file.discard()
    assert names(tmp_path) == ["index.json"]
    assert (tmp_path / "index.json").read_bytes() == b"old"


def test_a_commit_that_fails_leaves_the_old_state(tmp_path: Path) -> None:
    (tmp_path / "taken" / "by").mkdir(parents=True)
    with AtomicFile(tmp_path / "taken") as file, pytest.raises(OSError, match="taken"):
        file.commit()
    assert names(tmp_path) == ["taken"]


def test_a_relative_path_and_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        write_file("here", b"x")
        write_file("secret", b"x", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_bytes_are_durable_before_the_name_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def logged_fsync(descriptor: int) -> None:
        calls.append("fsync dir" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def logged_rename(source: str, target: str) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "rename", logged_rename)
    write_file(tmp_path / "file", b"x")
    assert calls == ["fsync file", "rename", "fsync dir"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:3]))
    write_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_file(tmp_path / "index.json", b"old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "index.json", b"new")
    monkeypatch.undo()
    assert names(tmp_path) == ["index.json"]
    assert (tmp_path / "index.json").read_bytes() == b"old"


@pytest.mark.root
def test_a_disk_that_is_really_full_leaves_the_old_file_alone(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from oci.streams.atomic import write_file
        os.chdir(sys.argv[1])
        write_file("file", b"old")
        try:
            write_file("file", bytes(1 << 20))
        except OSError as error:
            print(error.errno, open("file", "rb").read(), os.listdir("."))
        """
    )
    inner = 'mount -t tmpfs -o size=256k none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-m", "sh", "-c", inner, "sh", str(tmp_path), sys.executable, script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is missing")
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this user may not mount")
    assert done.stdout.strip() == f"{errno.ENOSPC} b'old' ['file']", done.stderr


WRITER = """
import sys
from oci.streams.atomic import AtomicFile, write_file
generation = 0
print("started", flush=True)
while True:
    generation += 1
    write_file(sys.argv[1], b"%08d" % generation * 20_000)
"""


def test_kill_at_any_moment_leaves_a_whole_file_and_what_sweep_finds(tmp_path: Path) -> None:
    target = tmp_path / "index.json"
    write_file(target, b"%08d" % 0 * 20_000)
    for round_ in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        data = target.read_bytes()
        assert data == data[:8] * 20_000
    left = [name for name in names(tmp_path) if name != "index.json"]
    assert all(name.startswith(TEMPORARY) for name in left)
    assert sorted(sweep(tmp_path, dry_run=True)) == sorted(os.path.join(tmp_path, name) for name in left)
    sweep(tmp_path)
    assert names(tmp_path) == ["index.json"]


def test_sweep_takes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    stale = tmp_path / (TEMPORARY + "0123456789abcdef")
    stale.write_bytes(b"half")
    (tmp_path / (TEMPORARY + "directory")).mkdir()
    (tmp_path / "outside").write_bytes(b"kept")
    (tmp_path / (TEMPORARY + "link")).symlink_to("outside")
    with AtomicFile(tmp_path / "blob") as living:
        living.write(b"data")
        assert sweep(tmp_path, dry_run=True) == [str(stale)]
        assert stale.exists()
        assert sweep(tmp_path) == [str(stale)]
        living.commit()
    assert (tmp_path / "blob").read_bytes() == b"data"
    assert (tmp_path / "outside").read_bytes() == b"kept"
    assert not stale.exists()


def test_a_sweep_between_creation_and_lock_makes_the_writer_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    swept: list[str] = []

    def open_then_sweep(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        if flags & os.O_EXCL and not swept:
            swept.append(path)
            os.unlink(path)
        return descriptor

    monkeypatch.setattr(os, "open", open_then_sweep)
    write_file(tmp_path / "file", b"x")
    assert swept
    assert (tmp_path / "file").read_bytes() == b"x"


def test_fsync_dir_takes_directories_only(tmp_path: Path) -> None:
    fsync_dir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        fsync_dir(tmp_path / "file")
