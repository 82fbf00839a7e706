"""What a container may use: cgroup resources and resource limits (runtime-spec v1.2 config-linux.md#control-groups).

docker's rules: memory from 6 MiB on; without a word on swap as much swap as memory again; cpus become a quota of a
100 ms period; 0 and -1 processes are no limit. What this machine has no controller for is refused, not passed over: a
limit that isn't kept is worse than none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from oci.errors import InvalidInput, show
from oci.runtime.settings import RunSettings, UlimitSetting
from oci.spec.record import Record

__all__ = ["Cgroups", "resources", "rlimits"]

MIN_MEMORY = 6 << 20  # docker's: with less a container's first process hardly starts
CPU_PERIOD = 100_000  # microseconds, docker's and the kernel's default
MIN_CPU_QUOTA = 1_000  # microseconds, the kernel's
MAX_NUMBER = 1 << 62
UNLIMITED = (1 << 64) - 1  # RLIM_INFINITY

# setrlimit(2): names that docker takes for --ulimit, by their numbers (asm-generic/resource.h)
RLIMITS = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}


class Cgroups(Record):
    """Which controllers can be used here: `version` 2, 1 (also beside an empty version 2: hybrid), 0 none."""

    version: int
    controllers: frozenset[str]
    swap: bool  # memory and swap together can be limited

    @classmethod
    def found(cls, mountinfo: bytes, *, read: Callable[[str], str | None]) -> Cgroups:
        """From /proc/self/mountinfo; `read` gives a file's text, None where it isn't there."""
        names: set[str] = set()
        unified = swap = False
        for line in mountinfo.splitlines():
            before, _, behind = line.partition(b" - ")
            words, kind = before.split(), behind.split()
            if len(words) < 5 or len(kind) < 3:
                continue
            place = os.fsdecode(words[4])
            if kind[0] == b"cgroup2" and place == "/sys/fs/cgroup":
                unified = True
                names.update((read(f"{place}/cgroup.controllers") or "").split())
            elif kind[0] == b"cgroup":
                options = set(os.fsdecode(kind[2]).split(","))
                names |= options
                if "memory" in options:
                    swap = read(f"{place}/memory.memsw.limit_in_bytes") is not None
        if unified:
            return cls(version=2, controllers=frozenset(names), swap="memory" in names)
        return cls(version=1 if names else 0, controllers=frozenset(names), swap=swap)

    @classmethod
    def here(cls) -> Cgroups:
        """Of the mount namespace that this process is in."""
        with open("/proc/self/mountinfo", "rb") as file:
            return cls.found(file.read(), read=_text)


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return None


def _limit_number(name: str) -> int:
    number = RLIMITS.get(name)
    if number is None:
        raise InvalidInput(f"--ulimit {show(name)}: no such limit; there is: {', '.join(RLIMITS)}")
    return number


def rlimits(asked: Iterable[UlimitSetting], hard_of: Callable[[int], int]) -> list[dict[str, object]]:
    """The document's `rlimits`; `hard_of` says this process's own hard limit, -1: none. Raises InvalidInput.

    A limit above that is refused here: the kernel would refuse it in the container's first moment, in fewer words.
    """
    found: dict[str, dict[str, object]] = {}
    for limit in asked:
        own = hard_of(_limit_number(limit.name))
        soft, hard = (UNLIMITED if number == -1 else number for number in (limit.soft, limit.hard))
        words = f"--ulimit {limit.name}={limit.soft}:{limit.hard}"
        if soft > hard:
            raise InvalidInput(f"{words}: the soft limit is above the hard one")
        if own != -1 and hard > own:
            raise InvalidInput(f"{words}: above the hard limit of {own} that this process has itself")
        found[limit.name] = {"type": f"RLIMIT_{limit.name.upper()}", "soft": soft, "hard": hard}
    return list(found.values())


def resources(settings: RunSettings, cgroups: Cgroups, *, initial: bool, cpus: int) -> dict[str, object]:
    """The document's `resources` without its devices, {} where nothing was asked for. Raises InvalidInput."""
    asked = _asked(settings)
    if not initial:
        asked = {option: asked[option] for option in asked if option not in _no_limit(settings)}
    if not asked:
        return {}
    if not initial:
        option = next(iter(asked))
        raise InvalidInput(f"{option}: needs cgroups, which an ordinary user's container hasn't got; run it as root")
    for option, controllers in asked.items():
        for controller in controllers:
            if controller not in cgroups.controllers:
                raise InvalidInput(f"{option}: this machine has no cgroup controller {controller!r}")
    made: dict[str, object] = {}
    if settings.memory is not None or settings.memory_swap is not None:
        made["memory"] = _memory(settings, cgroups)
    cpu = _cpu(settings, cpus)
    if cpu:
        made["cpu"] = cpu
    if settings.pids_limit is not None:
        made["pids"] = {"limit": settings.pids_limit if settings.pids_limit > 0 else -1}
    return made


def _asked(settings: RunSettings) -> Mapping[str, tuple[str, ...]]:
    """Option → the controllers that it needs."""
    needs = {
        "--memory": (settings.memory, ("memory",)),
        "--memory-swap": (settings.memory_swap, ("memory",)),
        "--cpus": (settings.cpus, ("cpu",)),
        "--cpu-shares": (settings.cpu_shares, ("cpu",)),
        "--pids-limit": (settings.pids_limit, ("pids",)),
    }
    return {option: controllers for option, (value, controllers) in needs.items() if value is not None}


def _no_limit(settings: RunSettings) -> frozenset[str]:
    """Options that ask for no limit: that can be had without a cgroup."""
    said = {
        "--memory-swap": settings.memory_swap == -1,
        "--cpu-shares": settings.cpu_shares == 0,
        "--pids-limit": settings.pids_limit in (-1, 0),
    }
    return frozenset(option for option, none in said.items() if none)


def _memory(settings: RunSettings, cgroups: Cgroups) -> dict[str, object]:
    limit, swap = settings.memory, settings.memory_swap
    if limit is None:
        raise InvalidInput("--memory-swap: it counts memory and swap together, so --memory has to be given too")
    if not MIN_MEMORY <= limit <= MAX_NUMBER:
        raise InvalidInput(f"--memory {limit}: at least {MIN_MEMORY} bytes (6m) are needed")
    if swap is not None and swap != -1 and swap < limit:
        raise InvalidInput(f"--memory-swap {swap}: less than --memory {limit}; it counts memory and swap together")
    if swap is not None and not cgroups.swap:
        raise InvalidInput("--memory-swap: this machine's kernel doesn't count swap (swapaccount)")
    made: dict[str, object] = {"limit": limit}
    if cgroups.swap:
        made["swap"] = 2 * limit if swap in (None, 0) else swap
    return made


def _cpu(settings: RunSettings, cpus: int) -> dict[str, object]:
    made: dict[str, object] = {}
    if settings.cpus is not None:
        quota = round(settings.cpus * CPU_PERIOD) if 0 < settings.cpus <= cpus else 0
        if quota < MIN_CPU_QUOTA:
            raise InvalidInput(f"--cpus {settings.cpus:g}: from 0.01 to {cpus}, as many as this machine has")
        made |= {"quota": quota, "period": CPU_PERIOD}
    if settings.cpu_shares:
        if not 2 <= settings.cpu_shares <= 262_144:
            raise InvalidInput(f"--cpu-shares {settings.cpu_shares}: from 2 to 262144")
        made["shares"] = settings.cpu_shares
    return made
