"""`diff`, `commit`, `export`, `cp`, `mount`, `bundle` on the command line: words, streams, exit statuses."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.linux import mounts
from tests.support.containers import busybox_store
from tests.support.images import tar_layer
from tests.support.namespaces import as_rootless_user, need_mounts
from tests.support.peers import ROOT, need, need_runc

LAYER = tar_layer({"./": None, "srv/": None, "srv/a": b"a\n"})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with a store that has busybox, in which commands are run."""
    need("runc", "busybox")
    need_mounts()
    (tmp_path / "store").mkdir(0o700)
    busybox_store(tmp_path / "store", LAYER).close()
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    left = ocikit("ps", "-a", "-q").stdout.split()
    if left:
        ocikit("rm", "-f", *left)
    os.chdir(before)


def ocikit(*words: str, status: int | None = 0, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run our command in this folder, with the store in it."""
    done = subprocess.run(
        [sys.executable, "-m", "oci", "--root", "store", *words],
        capture_output=True,
        check=False,
        input=data,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OCIKIT_DEBUG": ""},
    )
    text = subprocess.CompletedProcess(words, done.returncode, _text(done.stdout), _text(done.stderr))
    if status is not None:
        assert done.returncode == status, text.stderr
    return text


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def test_diff_lists_letters_and_paths_and_json(place: Path) -> None:
    ocikit("run", "--name", "one", "busybox", "sh", "-c", "rm /srv/a; touch '/srv/new\n'; chmod 700 /home")
    assert ocikit("diff", "one").stdout == "C /home\nD /srv/a\nA /srv/new\\n\n"
    assert json.loads(ocikit("diff", "one", "--json").stdout) == [
        {"path": "/home", "change": "modified"},
        {"path": "/srv/a", "change": "deleted"},
        {"path": "/srv/new\n", "change": "added"},
    ]
    assert "diff of two images is not available" in ocikit("diff", "one", "busybox", status=2).stderr
    assert "no such container" in ocikit("diff", "two", status=1).stderr


def test_commit_goes_wherever_a_reference_leads(place: Path) -> None:
    ocikit("run", "--name", "one", "busybox", "sh", "-c", "echo made > /srv/made")
    words = ["-m", "why", "--author", "who", "--change", 'CMD ["cat", "/srv/made"]', "--change", "ENV A=1"]
    first = ocikit("commit", "one", "-t", "made:v1", *words).stdout
    assert first.startswith("made@sha256:")
    assert ocikit("run", "--rm", "made:v1").stdout == "made\n"
    for target in ("./layout:v1", "oci-archive:made.tar:v1"):
        assert ocikit("commit", "one", "-t", target, *words).stdout.split("@")[1] == first.split("@")[1]
    made = json.loads(ocikit("inspect", "./layout:v1", "--json").stdout)
    assert made["config"]["Env"][-1] == "A=1"
    assert made["history"][-1]["comment"] == "why"
    assert "--change 'RUN x': not one of" in ocikit("commit", "one", "-t", "x", "--change", "RUN x", status=2).stderr
    assert ocikit("ls", "-q").stdout.count("\n") <= 2


def test_export_is_a_file_or_a_pipe_and_never_a_terminal(place: Path) -> None:
    ocikit("create", "--name", "one", "busybox")
    ocikit("export", "one", "-o", "one.tar")
    with tarfile.open("one.tar") as tar:
        names = tar.getnames()
    assert "srv/a" in names
    assert not {"proc", "dev", "etc/hosts"} & set(names)
    assert ocikit("export", "one").stdout.encode("utf-8", "surrogateescape") == Path("one.tar").read_bytes()
    ocikit("export", "none", "-o", "none.tar", status=1)
    assert not Path("none.tar").exists()
    reading, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "oci", "--root", "store", "export", "one"],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    os.close(terminal)
    os.close(reading)
    assert done.returncode == 2
    assert b"not for a terminal" in done.stderr


def test_export_writes_into_pipes_and_devices_and_replaces_none(place: Path) -> None:
    ocikit("create", "--name", "one", "busybox")
    whole = subprocess.run(
        [sys.executable, "-m", "oci", "--root", "store", "export", "one", "-o", "/dev/stdout"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    os.mkfifo("pipe")
    with open("read", "wb") as read, subprocess.Popen(["cat", "pipe"], stdout=read):
        ocikit("export", "one", "-o", "pipe")
    assert Path("read").read_bytes() == whole
    Path("null").symlink_to("/dev/null")
    ocikit("export", "one", "-o", "null")
    assert Path("/dev/null").is_char_device()
    assert Path("null").is_symlink()
    full = ocikit("export", "one", "-o", "/dev/full", status=1)
    assert full.stderr == "error: /dev/full: no space left on the device\n"
    Path("folder").mkdir()
    assert "directory" in ocikit("export", "one", "-o", "folder", status=1).stderr


def test_cp_goes_both_ways_and_by_tar(place: Path) -> None:
    ocikit("create", "--name", "one", "busybox")
    Path("x").write_text("x\n")
    ocikit("cp", "x", "one:/srv/")
    ocikit("cp", "one:srv/x", "y")
    assert Path("y").read_text() == "x\n"
    archive = ocikit("cp", "one:/srv", "-").stdout.encode("utf-8", "surrogateescape")
    ocikit("cp", "-", "one:/home", data=archive)
    ocikit("cp", "one:/home/srv/.", "back")
    assert sorted(os.listdir("back")) == ["a", "x"]
    assert "not on this machine alone" in ocikit("cp", "x", "./one:y", status=2).stderr
    assert "between two containers" in ocikit("cp", "one:/x", "one:/y", status=2).stderr
    assert "the directory must be there" in ocikit("cp", "x", "one:/none/", status=1).stderr
    assert "bad tar archive" in ocikit("cp", "-", "one:/home", status=1, data=b"no archive" * 100).stderr


def test_mount_prints_lists_and_counts(place: Path) -> None:
    ocikit("create", "--name", "one", "busybox")
    path = ocikit("mount", "one").stdout.strip()
    try:
        assert Path(path, "srv/a").read_text() == "a\n"
        assert ocikit("mount").stdout.splitlines()[1].split()[1:] == ["one", path]
        assert [one["path"] for one in json.loads(ocikit("mount", "--json").stdout)] == [path]
        assert "mounted" in ocikit("rm", "one", status=1).stderr
        assert "unmounted" in ocikit("umount", "one").stderr
        assert "not mounted" in ocikit("umount", "one", status=1).stderr
        ocikit("mount", "one")
        ocikit("rm", "-f", "one")
    finally:
        assert not mounts.is_mount_point(path)


def test_bundle_refuses_what_it_cannot_be(place: Path) -> None:
    for words, said in (
        (("bundle", "busybox", "b", "--rm"), "about a container of the store"),
        (("bundle", "busybox", "b", "-p", "80"), "no program for its network"),
        (("--driver", "fuse-overlayfs", "bundle", "busybox", "b"), "can't mount that"),
        (("--driver", "overlay", "bundle", "./store/images", "b"), "needs an image of the store"),
        (("--driver", "overlay", "bundle", "--rootless", "busybox", "b"), "all files to itself"),
    ):
        assert said in ocikit(*words, status=2).stderr
    ocikit("bundle", "busybox", "b", "-v", "data:/data", "-e", "A=1", "--", "sh", "-c", "echo $A > /data/x")
    need_runc()
    subprocess.run(["runc", "--root", "run", "run", "-b", "b", "one"], check=True)
    assert Path("store/volumes/data/data/x").read_text() == "1\n"


def _as_user() -> list[str]:
    """An ordinary user's session: what each command prints."""
    folder = Path.cwd()
    (folder / "store").mkdir(0o700)
    busybox_store(folder / "store", LAYER).close()
    (folder / "x").write_text("x\n")
    said = []
    for words in (
        ["run", "--name", "one", "busybox", "sh", "-c", "echo w > /srv/w; chown 5:5 /srv/w 2>/dev/null || true"],
        ["diff", "one"],
        ["cp", "x", "one:/srv/x"],
        ["cp", "one:/srv/.", "out"],
        ["commit", "one", "-t", "made"],
        ["run", "--rm", "made", "cat", "/srv/w", "/srv/x"],
        ["export", "one", "-o", "one.tar"],
        ["mount", "one"],
        ["unshare", "sh", "-c", "true"],
        ["rm", "-f", "one"],
    ):
        done = ocikit(*words, status=None)
        said.append(f"{done.returncode} {done.stdout}{done.stderr}")
    said.append(" ".join(sorted(os.listdir("out"))) + f" {os.stat('out/w').st_uid == os.geteuid()}")
    return said


@pytest.mark.parametrize("ranges", [False, True])
def test_an_ordinary_user_has_all_of_it_in_his_namespace(ranges: bool) -> None:
    need("runc", "busybox")
    said = as_rootless_user(_as_user, ranges=ranges)
    assert said[1] == "0 A /srv/w\n"
    assert [line.split(" ", 1)[0] for line in said[:7]] == ["0"] * 7, said
    assert said[5] == "0 w\nx\n"
    assert said[7].startswith("1 error: mount: only root may mount for all to see; `ocikit unshare`")
    assert said[8:10] == ["0 ", "0 one\n"]
    assert said[10] == "a w x True"
