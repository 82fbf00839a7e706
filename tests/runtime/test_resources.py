"""Sizes, limits and cgroup resources."""

from __future__ import annotations

from typing import Any

import pytest

from oci.errors import InvalidInput
from oci.runtime.resources import RLIMITS, UNLIMITED, Cgroups, parse_size, parse_ulimit, resources, rlimits
from oci.runtime.settings import RunSettings, UlimitSetting

MIB = 1 << 20
ALL = Cgroups(version=1, controllers=frozenset({"memory", "cpu", "pids", "devices"}), swap=True)
NO_SWAP = ALL.replace(swap=False)


def made(cgroups: Cgroups = ALL, **settings: Any) -> dict[str, object]:
    return resources(RunSettings(**settings), cgroups, initial=True, cpus=4)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("64m", 64 * MIB),
        ("64M", 64 * MIB),
        ("64mb", 64 * MIB),
        ("64MiB", 64 * MIB),
        ("1.5g", 3 << 29),
        ("2k", 2048),
        ("7b", 7),
        ("1 g", 1 << 30),
        ("1t", 1 << 40),
    ],
)
def test_sizes_as_docker_reads_them(text: str, size: int) -> None:
    assert parse_size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "0x10", "1e3", "9" * 19, "9999999p", "١m", "1 m "])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidInput, match="--memory"):
        parse_size(text, "--memory")


def test_memory_and_swap() -> None:
    assert made(memory=64 * MIB) == {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}
    assert made(NO_SWAP, memory=64 * MIB) == {"memory": {"limit": 64 * MIB}}
    assert made(memory=64 * MIB, memory_swap=-1) == {"memory": {"limit": 64 * MIB, "swap": -1}}
    assert made(memory=64 * MIB, memory_swap=64 * MIB) == {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}


def test_processors_shares_and_processes() -> None:
    assert made(cpus=1.5) == {"cpu": {"quota": 150_000, "period": 100_000}}
    assert made(cpu_shares=512) == {"cpu": {"shares": 512}}
    assert made(cpu_shares=0) == {}
    assert made(pids_limit=100) == {"pids": {"limit": 100}}
    assert made(pids_limit=-1) == {"pids": {"limit": -1}}
    assert made() == {}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"memory": MIB}, r"--memory 1048576: at least 6291456 bytes \(6m\)"),
        ({"memory_swap": 64 * MIB}, "--memory has to be given too"),
        ({"memory": 64 * MIB, "memory_swap": MIB}, "less than --memory"),
        ({"cpus": 0.0}, "from 0.01 to 4"),
        ({"cpus": 5.0}, "from 0.01 to 4"),
        ({"cpus": -1.0}, "from 0.01 to 4"),
        ({"cpus": float("nan")}, "from 0.01 to 4"),
        ({"cpu_shares": 1}, "from 2 to 262144"),
    ],
)
def test_what_no_machine_can_do(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        made(**settings)


def test_what_this_machine_cannot_do_is_refused_not_forgotten() -> None:
    none = Cgroups(version=0, controllers=frozenset(), swap=False)
    with pytest.raises(InvalidInput, match="--memory: this machine has no cgroup controller 'memory'"):
        made(none, memory=64 * MIB)
    with pytest.raises(InvalidInput, match="doesn't count swap"):
        made(NO_SWAP, memory=64 * MIB, memory_swap=64 * MIB)
    with pytest.raises(InvalidInput, match="--cpus: needs cgroups"):
        resources(RunSettings(cpus=1), ALL, initial=False, cpus=4)


HYBRID = b"""31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_which_cgroups_a_machine_has() -> None:
    hybrid = Cgroups.found(HYBRID, read=lambda path: "0" if "memsw" in path else None)
    assert (hybrid.version, hybrid.swap) == (1, True)
    assert {"memory", "cpu"} <= hybrid.controllers
    unified = b"31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
    two = Cgroups.found(unified, read=lambda path: "cpu memory pids\n" if path.endswith("controllers") else None)
    assert two == Cgroups(version=2, controllers=frozenset({"cpu", "memory", "pids"}), swap=True)
    assert Cgroups.found(b"", read=lambda path: None).version == 0
    assert Cgroups.here().version in (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "soft", "hard"),
    [("nofile=1024", 1024, 1024), ("nofile=1:2", 1, 2), ("core=-1", -1, -1), ("core=0:unlimited", 0, -1)],
)
def test_ulimits_as_docker_reads_them(text: str, soft: int, hard: int) -> None:
    assert parse_ulimit(text) == UlimitSetting(name=text.partition("=")[0], soft=soft, hard=hard)


@pytest.mark.parametrize(
    "text", ["nofile", "nofile=", "=1", "nofile=a", "nofile=1:2:3", "nofiles=1", "NOFILE=1", "nofile=-2"]
)
def test_what_is_no_ulimit(text: str) -> None:
    with pytest.raises(InvalidInput, match="--ulimit"):
        parse_ulimit(text)


def limit(soft: int, hard: int, own: int) -> list[dict[str, object]]:
    return rlimits([UlimitSetting(name="nofile", soft=soft, hard=hard)], lambda number: own if number == 7 else 0)


def test_limits_stay_below_ones_own() -> None:
    assert limit(10, 20, 20) == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    assert limit(-1, -1, -1) == [{"type": "RLIMIT_NOFILE", "soft": UNLIMITED, "hard": UNLIMITED}]
    with pytest.raises(InvalidInput, match="--ulimit nofile=10:21: above the hard limit of 20"):
        limit(10, 21, 20)
    with pytest.raises(InvalidInput, match="above the hard limit of 20"):
        limit(10, -1, 20)
    with pytest.raises(InvalidInput, match="soft limit is above the hard one"):
        limit(3, 2, 20)


def test_a_limit_stands_once_the_later_counts() -> None:
    asked = [UlimitSetting(name="nofile", soft=number, hard=number) for number in (1, 2)]
    assert rlimits(asked, lambda number: -1) == [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 2}]


def test_limits_have_the_kernels_numbers() -> None:
    import resource

    for name, number in RLIMITS.items():
        here = getattr(resource, f"RLIMIT_{name.upper()}", number)
        assert here == number, name
