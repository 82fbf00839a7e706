"""A container's processes against this machine: what they see of it, and what they can leave for who comes later.

As root and as an ordinary user (a single id, ranges of ids); each test has one store, so that it costs one container.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci.container.container import Container
from oci.container.execute import ExecSettings, execute
from oci.container.lifecycle import remove, restart, start, stop, wait
from oci.container.logs import read_logs
from oci.container.status import status
from oci.errors import OciError
from oci.linux import idmaps
from oci.runtime.settings import MountSetting
from oci.storage.store import Store
from tests.support.containers import SLEEP, busybox_store, container_of, start_ready
from tests.support.images import tar_layer
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need

WHO = ("root", "single", "ranges")
DRIVERS = ("overlay", "fuse-overlayfs", "copy")
Case = Callable[[Store], None]
LOWER = tar_layer({"data/": None, "data/kept": b"kept\n", "data/sub/": None, "data/sub/deep": b"deep\n"})


def everywhere(case: Case, who: str, folder: Path, *, driver: str | None = None, **config: Any) -> None:
    """Run a case with a store of its own; as a user of that kind."""
    need("runc", *(["fuse-overlayfs"] if driver == "fuse-overlayfs" else []))
    if who == "root":
        need_mounts()
        _in_store(case, folder, driver, config)
    else:
        if driver == "fuse-overlayfs" and os.geteuid() != 0 and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("/dev/fuse is not for this user")
        rootless(_in_store, case, None, driver, config, ranges=who == "ranges")


def _in_store(case: Case, folder: Path | None, driver: str | None, config: dict[str, Any]) -> None:
    root = (folder or Path.cwd()) / "store"
    root.mkdir(0o700)
    with busybox_store(root, LOWER, driver=driver, **config) as store:
        before = _layers(root)
        try:
            case(store)
        finally:
            for box in status(store):
                remove(box, force=True)
        assert _layers(root) == before or not before


def _layers(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file of every layer: what it is, and its bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(root / "layers"):
        for name in (*names, *files):
            path = f"{folder}/{name}"
            of = os.lstat(path)
            text = Path(path).read_bytes() if stat.S_ISREG(of.st_mode) else b""
            found[path] = (of.st_mode, of.st_uid, of.st_nlink, of.st_ino, of.st_mtime_ns, text)
    return found


def output(box: Container) -> str:
    return b"".join(line.data for line in read_logs(box)).decode()


def ran(store: Store, script: str, **settings: Any) -> str:
    """What a script in a new container writes."""
    box = container_of(store, "sh", "-c", script, **settings)
    start(box)
    wait(box)
    return output(box)


def _nothing_of_ours(store: Store) -> None:
    leaked = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leaked, True)
    try:
        seen = ran(store, "for fd in /proc/1/fd/*; do readlink $fd; done; echo; env")
    finally:
        os.close(leaked)
    told, _, variables = seen.partition("\n\n")
    fds = told.split()
    assert len(fds) == 3
    assert all(fd == "/dev/null" or fd.startswith("pipe:") for fd in fds)
    names = {line.partition("=")[0] for line in variables.splitlines()}
    assert names <= {"PATH", "HOSTNAME", "HOME", "SHLVL", "PWD", "OLDPWD"}


def _no_rights(store: Store) -> None:
    script = (
        "grep -E '^(Seccomp|CapInh|CapAmb|CapEff):' /proc/self/status; mount -t tmpfs x /tmp && echo mounted;"
        "echo 1 > /proc/sys/kernel/sysrq && echo written; echo x > /proc/sysrq-trigger && echo written;"
        "head -c 1 /proc/kcore && echo read; ls /sys/firmware; echo x > /sys/kernel/uevent_helper && echo written;"
        "umount /proc/sys && echo unmounted; mv /proc /gone; mv /etc/hosts /gone; rm /etc/hosts; true"
    )
    seen = ran(store, script)
    for word in ("mounted", "written", "read\n"):
        assert f"\n{word}" not in f"\n{seen}"
    rows = dict(line.split(":\t") for line in seen.splitlines() if ":\t" in line)
    assert rows["Seccomp"] == "2"
    assert int(rows["CapInh"], 16) == int(rows["CapAmb"], 16) == 0
    assert int(rows["CapEff"], 16) == 0x00000000A80425FB


@pytest.mark.parametrize("case", [_nothing_of_ours, _no_rights], ids=["descriptors", "rights"])
@pytest.mark.parametrize("who", WHO)
def test_a_process_has_nothing_of_this_machine(who: str, case: Case, tmp_path: Path) -> None:
    everywhere(case, who, tmp_path)


def _writes_everywhere(store: Store) -> None:
    first = container_of(store, "true", name="first")  # so that layers are there before
    before = _layers(Path(store.root))
    assert before
    seen = ran(
        store,
        "echo changed >> /data/kept; chmod 777 /data/sub /data/sub/deep; rm -r /data/sub; mkdir /data/sub;"
        "ln /bin/busybox /data/more; echo x >> /data/more; mv /bin /binary; rm -f /etc/passwd; chmod 700 /;"
        "echo end",
    )
    assert "end" in seen
    assert _layers(Path(store.root)) == before
    start(first)
    assert wait(first) == 0


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("who", ["root", "single"])
def test_what_it_writes_is_in_no_layer(who: str, driver: str, tmp_path: Path) -> None:
    everywhere(_writes_everywhere, who, tmp_path, driver=driver)


MARKS = [
    f"{space}.{name}"
    for space in ("user.overlay", "trusted.overlay", "user.fuseoverlayfs")
    for name in ("opaque", "redirect", "metacopy", "origin", "whiteout", "overlay.opaque")
]


def _forged_marks(store: Store) -> None:
    box = container_of(store, *SLEEP)
    start_ready(box)
    init = box.row.init
    assert init is not None
    for path in ("data", "data/sub", "data/kept", "data/sub/deep"):
        for mark in MARKS:
            try:
                os.setxattr(f"/proc/{init.pid}/root/{path}", mark, b"y" if "redirect" not in mark else b"/etc")
            except OSError:
                continue  # the driver doesn't let it be: as good
    restart(box, 0)
    init = box.refresh().init
    assert init is not None
    root = Path(f"/proc/{init.pid}/root")
    assert (root / "data/kept").read_text() == "kept\n"
    assert (root / "data/sub/deep").read_text() == "deep\n"
    stop(box, 0)
    assert [change for change in box.driver.changes(box.snapshot) if change.kind == "deleted"] == []
    for entry, _ in box.driver.delta(box.snapshot):
        assert b".wh." not in entry.name
        assert entry.name.startswith(b"data") or entry.xattrs is None
        assert not [key for key in entry.xattrs or () if b"overlay" in key]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("who", ["root", "single"])
def test_marks_of_the_driver_that_a_process_has_written(who: str, driver: str, tmp_path: Path) -> None:
    everywhere(_forged_marks, who, tmp_path, driver=driver)


def _a_link_in_the_way(store: Store) -> None:
    """The place of a volume is a link by the time of the next start (CVE-2021-30465's end, if not its race)."""
    outside = Path(store.root) / "outside"
    outside.mkdir()
    for target, allowed in ((f"../../../..{outside}", True), (str(outside), True), ("/proc/self/fd", False)):
        mounts = (MountSetting(type="volume", source="kept", target="/way/place"),)
        box = container_of(store, *SLEEP, mounts=mounts)
        start_ready(box)
        stop(box, 0)
        with box.driver.root(box.snapshot, writable=True) as root:
            os.rename("way", "away", src_dir_fd=root, dst_dir_fd=root)
            os.symlink(target, "way", dir_fd=root)
        if allowed:
            start_ready(box)
        else:
            with pytest.raises(OciError, match="nothing can be mounted in /proc"):
                start(box)
        assert os.listdir(outside) == []
        remove(box, force=True)


@pytest.mark.parametrize("who", ["root", "single"])
def test_a_volumes_place_that_has_become_a_link(who: str, tmp_path: Path) -> None:
    everywhere(_a_link_in_the_way, who, tmp_path, driver="copy")


def _given(store: Store) -> None:
    """Files of this machine as stdin and stdout of an exec: neither to be written by name nor given away."""
    folder = Path(store.root)
    given, taken = folder / "given", folder / "taken"
    given.write_text("given\n")
    given.chmod(0o400)
    box = container_of(store, *SLEEP)
    start_ready(box)
    script = "cat; for fd in 0 1 2; do readlink /proc/self/fd/$fd; echo broken > /proc/self/fd/0; done; exit 9"
    settings = ExecSettings(args=("sh", "-c", script), interactive=True)
    if os.geteuid() == 0 and idmaps.current().identity:
        settings = settings.replace(user="1000")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(given, os.O_RDONLY), 0)
            os.dup2(os.open(taken, os.O_RDWR | os.O_CREAT, 0o600), 1)
            status = execute(box, settings)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    lines = taken.read_text().splitlines()
    assert lines[0] == "given"
    assert [line.partition(":")[0] for line in lines[1:]] == ["pipe", "pipe", "pipe"]
    assert given.read_text() == "given\n"
    for path in (given, taken):
        assert os.stat(path).st_uid == os.geteuid()


@pytest.mark.parametrize("who", ["root", "single"])
def test_exec_hands_no_descriptor_of_ours_over(who: str, tmp_path: Path) -> None:
    everywhere(_given, who, tmp_path)


def _background(store: Store) -> None:
    """Who goes on behind an exec holds nobody up, and what was written before its end is not lost."""
    box = container_of(store, *SLEEP)
    start_ready(box)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            os.dup2(writing, 1)
            os.close(writing)
            status = execute(box, ExecSettings(args=("sh", "-c", "yes & seq 1 5000 >&2; kill $!; sleep 1000 & exit 8")))
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as file:
        assert set(file.read().split()) <= {b"y"}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8


def test_exec_ends_with_its_process(tmp_path: Path) -> None:
    everywhere(_background, "root", tmp_path)
