"""Paired timings of whole processes: A and B in turn, the ratio taken pair by pair.

A machine's speed drifts while a benchmark runs, so two medians taken one after the other say little; the ratio of two
runs that stand side by side says much more. Every figure is of a whole process tree, start-up included, as a user
waits for it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Command = Sequence[str]
Hook = Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Run:
    """One finished process: seconds of wall clock, seconds of CPU with all children, peak memory in MiB."""

    wall: float
    cpu: float
    peak_mib: float


@dataclass(slots=True, kw_only=True)
class Pairing:
    """What the pairs of one job came to; `ratios` are ours / theirs."""

    ours: list[Run] = field(default_factory=list)
    theirs: list[Run] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [a.wall / b.wall for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def run_once(command: Command, *, env: dict[str, str] | None = None) -> Run:
    """Run `command` to its end; a status other than 0 raises RuntimeError with what it printed."""
    read_end, write_end = os.pipe()
    before = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write_end, stderr=write_end, env=env)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        printed = pipe.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - before
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        text = printed.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(command)[:200]} exited with {child.returncode}: {text[-2000:]}")
    # ru_maxrss of wait4 is the largest single process among the child and those it waited for.
    return Run(wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak_mib=usage.ru_maxrss / 1024)


def pair(
    ours: Command,
    theirs: Command,
    *,
    rounds: int,
    before: Hook | None = None,
    env: dict[str, str] | None = None,
    warm_up: bool = True,
) -> Pairing:
    """Run both commands `rounds` times in turn after one warm-up of each; `before` prepares every single run."""
    result = Pairing()
    for number in range(-1 if warm_up else 0, rounds):
        runs = []
        # The order changes from round to round, so that neither always runs on the caches that the other warmed.
        order = [(ours, 0), (theirs, 1)] if number % 2 else [(theirs, 1), (ours, 0)]
        for command, which in order:
            if before is not None:
                before()
            runs.append((which, run_once(command, env=env)))
        if number >= 0:
            for which, run in runs:
                (result.theirs if which else result.ours).append(run)
    return result


def shell(script: str) -> Command:
    """A command that runs `script` with bash, failing where any part of a pipe fails."""
    return ["bash", "-c", "set -euo pipefail; " + script]
