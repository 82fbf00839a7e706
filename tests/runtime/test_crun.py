"""crun, where it works: with version 2 of cgroups alone, as a mount namespace of the test's own has it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from oci.errors import RuntimeFailed
from oci.linux import mounts, namespaces
from oci.runtime.settings import MountSetting, RunSettings
from tests.support.boxes import DOCKER_MASK, Extra, capability_sets, contain, image_of
from tests.support.peers import need


def unify() -> None:
    namespaces.unshare_mounts()
    subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=True)
    mounts.mount("none", "/sys/fs/cgroup", "cgroup2")


@pytest.fixture(scope="module")
def crun() -> Iterator[Extra]:
    """crun that leaves cgroups alone: to shut devices by them it needs CAP_SYS_RESOURCE, which root may not have."""
    need("crun", "umount")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = f"{folder}/crun"
        with open(program, "w") as file:
            file.write('#!/bin/sh\nexec crun --cgroup-manager=disabled "$@"\n')
        os.chmod(program, 0o755)
        yield Extra(names=(program,), before=unify)


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount cgroups its own way")


def test_a_container_of_cruns_is_like_one_of_runcs(crun: Extra) -> None:
    settings = RunSettings(
        network="none",
        user="0",
        mounts=(
            MountSetting(type="tmpfs", target="/t", options=("mode=1770", "size=1m")),
            MountSetting(type="bind", source="/etc", target="/host", read_only=True),
        ),
    )
    script = """cat /proc/self/status; pwd; touch /host/x; stat -c %a /t; ip -o addr | grep -c 127.0.0.1
        cat /proc/keys | wc -c; grep -c ' /sys/fs/cgroup cgroup2 ro' /proc/mounts; unshare -n true"""
    box = contain(script, settings, image=image_of(working_dir="/w"), extra=crun)
    sets = capability_sets(box.output)
    assert (sets["CapEff"], sets["CapBnd"], sets["CapInh"]) == (DOCKER_MASK, DOCKER_MASK, 0)
    assert "Seccomp:\t2" in box.output
    rows = box.output.splitlines()
    assert rows[rows.index("/w") :] == [
        "/w",
        "touch: /host/x: Read-only file system",
        "1770",
        "1",
        "0",
        "1",
        "unshare: unshare(0x40000000): Operation not permitted",
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("nosuch", "nosuch: no such program"),
        ("/nosuch", "no such file"),
        ("/etc/passwd", "can't be run"),
        ("/etc", "directory"),
    ],
)
def test_how_crun_fails(crun: Extra, word: str, reason: str) -> None:
    with pytest.raises(RuntimeFailed, match=reason):
        contain([word], extra=crun)


def test_exec_by_crun(crun: Extra) -> None:
    box = contain(
        ["sleep", "30"], extra=crun._replace(exec=(("sh", "-c", "id -u; pwd"), {"user": "1", "workdir": "/tmp"}))
    )
    assert box.output == "1\n/tmp\n"


def test_crun_is_passed_over_where_it_refuses_the_cgroups() -> None:
    box = contain("true", extra=Extra(names=("crun", "runc")))
    if '"name":"runc"' not in box.runtime:
        pytest.skip("crun works with this machine's cgroups")
    with pytest.raises(RuntimeFailed, match="no OCI runtime works here"):
        contain("true", extra=Extra(names=("crun",)))
