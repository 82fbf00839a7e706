"""Limits and cgroup resources."""

from __future__ import annotations

from typing import Any

import pytest

from oci.errors import InvalidInput
from oci.runtime.resources import RLIMITS, UNLIMITED, Cgroups, resources, rlimits
from oci.runtime.settings import RunSettings, UlimitSetting

MIB = 1 << 20
ALL = Cgroups(version=1, controllers=frozenset({"memory", "cpu", "pids", "devices"}), swap=True)
NO_SWAP = ALL.replace(swap=False)


def made(cgroups: Cgroups = ALL, **settings: Any) -> dict[str, object]:
    return resources(RunSettings(**settings), cgroups, initial=True, cpus=4)


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


def test_no_limit_can_be_had_without_cgroups() -> None:
    none = RunSettings(pids_limit=-1, memory_swap=-1, cpu_shares=0)
    assert resources(none, ALL, initial=False, cpus=4) == {}
    with pytest.raises(InvalidInput, match="--memory: needs cgroups"):
        resources(none.replace(memory=64 * MIB), ALL, initial=False, cpus=4)


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
