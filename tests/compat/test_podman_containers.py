"""What a container may do, beside a real podman's: capabilities, masked paths, system calls one by one, users.

Both have the same root; podman runs it from a store of its own. This machine's Python, bound into both, makes the
calls.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from oci.runtime import capabilities
from oci.runtime.settings import MountSetting, RunSettings
from tests.support.boxes import contain, make_root
from tests.support.peers import need, need_podman, need_runc, peer, vfs_store

PYTHON = "/usr/bin/python3"
FOLDERS = tuple(folder for folder in ("/usr", "/lib", "/lib64") if os.path.isdir(folder))
NUMBERS = {  # of x86_64
    "getpid": 39, "socket": 41, "clone": 56, "ptrace": 101, "syslog": 103, "uselib": 134, "personality": 135,
    "ustat": 136, "sysfs": 139, "vhangup": 153, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159, "chroot": 161,
    "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175,
    "delete_module": 176, "query_module": 178, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212,
    "clock_settime": 227, "mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "kexec_load": 246,
    "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272, "move_pages": 279,
    "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
    "kcmp": 312, "finit_module": 313, "bpf": 321, "userfaultfd": 323, "kexec_file_load": 320, "getcwd": 79,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "clone3": 435, "mount_setattr": 442,
}  # fmt: skip

# Every call with arguments that do nothing where it is allowed; what is refused by the filter says EPERM or ENOSYS.
PROBE = f"""
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
found = {{}}
for name, number in {NUMBERS!r}.items():
    if name in ("clone", "clone3", "reboot", "vhangup", "chroot"):
        continue
    ctypes.set_errno(0)
    libc.syscall(number, -1, -1, -1, -1, -1, -1)
    found[name] = ctypes.get_errno() in (1, 38)
for name, family in (("AF_INET", 2), ("AF_ALG", 38), ("AF_VSOCK", 40)):
    ctypes.set_errno(0)
    libc.syscall(41, family, 999, 999)
    found[name] = ctypes.get_errno() in (1, 38)
for flags in (0x10000000, 0x40000000, 0x00020000):
    ctypes.set_errno(0)
    libc.syscall(272, flags)
    found[f"unshare {{flags:x}}"] = ctypes.get_errno() in (1, 38)
ctypes.set_errno(0)
libc.syscall(435, 0, 0)
found["clone3"] = ctypes.get_errno()
print(json.dumps(found))
"""

# podman 4 opened these for containers within containers, and for programs that set where their memory is; docker keeps
# them shut.
_OPEN = """mount umount2 mount_setattr open_tree move_mount fsopen fsmount unshare setns pivot_root keyctl get_mempolicy
    set_mempolicy mbind AF_ALG AF_VSOCK"""
OPEN_IN_PODMAN = {*_OPEN.split(), "unshare 10000000", "unshare 20000", "unshare 40000000"}

Podman = Callable[..., str]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    need("busybox")
    need_runc()
    need_podman()
    if os.geteuid() != 0:
        pytest.skip("needs root, as the containers that it is compared with")
    place = tmp_path_factory.mktemp("podman")
    with vfs_store() as where:
        store = ["podman", *where]
        tree = place / "tree"
        tree.mkdir()
        make_root(str(tree))
        for folder in FOLDERS:
            (tree / folder.strip("/")).mkdir()
        peer("tar", "-cf", place / "tree.tar", "-C", tree, ".")
        peer(*store, "import", place / "tree.tar", "box:1")
        how = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "host"]
        limits = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"]  # its own are above ours

        def run(*words: object, options: tuple[str, ...] = ()) -> str:
            return peer(*store, *how, *limits, *options, "box:1", *words)

        try:
            run("true")
        except AssertionError as error:
            pytest.skip(f"podman runs no container here: {str(error)[:200]}")
        yield run
        subprocess.run([*store, "rmi", "--all", "--force"], capture_output=True, check=False)


def status_of(text: str) -> dict[str, str]:
    rows = (line.split(":") for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, value in rows if name.startswith(("Cap", "NoNew", "Seccomp"))}


def test_the_same_capabilities_where_the_same_are_asked_for(podman: Podman) -> None:
    names = tuple(name.removeprefix("CAP_") for name in capabilities.DEFAULT)
    theirs = podman("cat", "/proc/self/status", options=("--cap-drop=ALL", *(f"--cap-add={name}" for name in names)))
    assert status_of(contain("exec cat /proc/self/status").output) == status_of(theirs)
    plain = status_of(podman("cat", "/proc/self/status"))
    ours = status_of(contain("exec cat /proc/self/status").output)
    assert int(plain["CapEff"], 16) & ~int(ours["CapEff"], 16) == 0  # podman's own default is smaller


@pytest.mark.skipif(not os.path.exists(PYTHON) or os.uname().machine != "x86_64", reason="needs python3 on x86_64")
def test_the_same_system_calls_are_refused(podman: Podman) -> None:
    binds = tuple(MountSetting(type="bind", source=folder, target=folder, read_only=True) for folder in FOLDERS)
    ours = json.loads(contain([PYTHON, "-c", PROBE], RunSettings(mounts=binds)).output)
    options = tuple(f"--volume={folder}:{folder}:ro" for folder in FOLDERS)
    theirs = json.loads(podman(PYTHON, "-c", PROBE, options=options))
    assert ours.pop("clone3") == 38
    theirs.pop("clone3")
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different <= OPEN_IN_PODMAN
    assert all(ours[name] for name in different)  # ours is the stricter one
    assert not ours["getpid"]
    assert not ours["AF_INET"]


def test_the_same_paths_are_masked_and_read_only(podman: Podman) -> None:
    script = """
        for place in /proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \\
            /proc/sched_debug /proc/scsi /sys/firmware; do
            if test -d $place; then echo $place $(ls $place | wc -l)
            elif test -e $place; then echo $place $(dd if=$place bs=1 count=1 2>/dev/null | wc -c); fi
        done
        for place in /proc/bus /proc/fs /proc/irq /proc/sys; do
            test -e $place && grep -c " $place proc ro" /proc/mounts
        done"""
    assert contain(script).output == podman("sh", "-c", script)


@pytest.mark.parametrize("user", ["0", "app", "1000", "app:video", "4711", "4711:4712", "daemon:app"])
def test_the_same_user_becomes_the_same_ids_and_home(podman: Podman, user: str) -> None:
    script = "id -u; id -g; id -G; echo $HOME; pwd; umask"
    ours = contain(script, RunSettings(user=user)).output.splitlines()
    theirs = podman("sh", "-c", script, options=("--user", user)).splitlines()
    ours[2], theirs[2] = (" ".join(sorted(groups.split())) for groups in (ours[2], theirs[2]))
    assert ours == theirs


def test_the_same_mounts_of_the_kernels_file_systems(podman: Podman) -> None:
    def mounts(text: str) -> dict[str, set[str]]:
        rows = (line.split() for line in text.splitlines())
        kept = ("/proc", "/dev/pts", "/sys", "/dev/mqueue", "/dev/shm")
        return {row[1]: {row[2], *row[3].split(",")} - {"size=64000k", "size=65536k"} for row in rows if row[1] in kept}

    script = "cat /proc/mounts"
    assert mounts(contain(script).output) == mounts(podman("sh", "-c", script))
