"""kill -9 of commands and supervisors at counted moments, and what is to be seen of a store afterwards.

A command runs in a forked child as `oci.cli.entry.main` does it for a user. In it, and in the supervisor that it
starts, everything that changes something outside of the process is counted (`arm`): before the n-th such effect all
`victims` are killed, the process itself last. `Shop` is a store in which that is tried again and again, and `faults`
says what a moment has left that shouldn't be there; a list of sentences, for it is said to another process.

Whoever uses a Shop is a subreaper: all that its commands leave running are its children, and nobody else's.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from oci.linux import calls, process
from tests.support.commands import Result

__all__ = ["SUPERVISORS", "Shop", "arm", "children", "supervisors"]

EFFECTS = ("write", "fsync", "rename", "mkdir", "unlink", "rmdir", "symlink", "link", "mkfifo", "chmod", "pwrite")
EFFECTS += ("posix_spawn", "waitpid")
PATIENCE = 20.0  # seconds for what goes on by itself after a kill
SUPERVISORS = "all supervisors"
_MARK = b"ocikit-supervisor"  # among the arguments of a supervisor


# In the process that is to die


def arm(moment: int, victims: Sequence[str | int], told: str | None = None) -> None:
    """Count effects in this process, and kill before the `moment`-th (0: never); the count goes to the file `told`.

    `victims`: pids, or SUPERVISORS for those that the parent of this process has by then; this process comes last.
    """
    import subprocess

    from oci.storage.state import Transaction

    reaper, count = os.getppid(), 0

    def effect() -> None:
        nonlocal count
        count += 1
        if count == moment:
            for victim in victims:
                for pid in supervisors(reaper) if victim == SUPERVISORS else [int(victim)]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            effect()
            return original(*arguments, **named)

        setattr(owner, name, wrapper)

    for name in EFFECTS:
        counted(os, name)
    for owner, name in (
        (calls, "call"),
        (calls, "syscall"),
        (fcntl, "flock"),
        (socket, "send_fds"),
        (socket.socket, "sendall"),
        (socket.socket, "close"),
        (subprocess.Popen, "__init__"),
        (subprocess.Popen, "wait"),
        (Transaction, "run"),
        (Transaction, "run_many"),
    ):
        counted(owner, name)
    leave = os._exit

    def tell_and_leave(status: int) -> None:
        if told is not None:
            Path(told).write_text(str(count))
        leave(status)

    os._exit = tell_and_leave  # type: ignore[assignment]


def _supervisor_program(moment: int, victims: Sequence[str | int], told: str) -> str:
    from oci.container import launch

    before, line, after = launch._PROGRAM.partition("from oci.container.supervisor import main\n")
    assert line
    armed = f"from tests.support.killing import arm\narm({moment!r}, {tuple(victims)!r}, {told!r})\n"
    return before + line + armed + after


# Around it


def children(pid: int | None = None) -> list[int]:
    """The living children of a process, of all its threads; without `pid` ours."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid or 'self'}/task"):
            found += map(int, Path(f"/proc/{pid or 'self'}/task/{thread}/children").read_text().split())
    return [one for one in found if _state(one) not in "ZX"]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def descendants(pid: int | None = None) -> Iterator[int]:
    for child in children(pid):
        yield child
        yield from descendants(child)


def supervisors(pid: int | None = None) -> list[int]:
    """The supervisors among a process's descendants."""
    found = []
    for one in descendants(pid):
        with suppress(OSError):
            if _MARK in Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0"):
                found.append(one)
    return found


class Shop:
    """A store at `root`, whose commands may be killed. What they print is in files below `scratch`."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self.ids: set[str] = set()
        self.kept: dict[str, str] = {}  # volumes, and what is in their file "precious"
        process.subreaper()

    def run(self, *words: str) -> Result:
        """One command, left alone."""
        return self.killed(lambda: None, words)

    def need(self, *words: str) -> str:
        """One that has to succeed; what it printed."""
        done = self.run(*words)
        assert done.status == 0, f"{words}: {done.err}"
        return done.out.strip()

    def killed(self, before: Callable[[], object], words: Sequence[str]) -> Result:
        """A command in a child in which `before` is called first."""
        child, out, err = self.begin(before, words)
        while True:
            pid, status = os.wait()  # orphans come to us, and keep a namespace of theirs alive until they are reaped
            if pid == child:
                break
        return Result(os.waitstatus_to_exitcode(status), *(path.read_text(errors="replace") for path in (out, err)))

    def begin(self, before: Callable[[], object], words: Sequence[str]) -> tuple[int, Path, Path]:
        """The same without waiting for its end: its pid, and the files that it writes to."""
        out, err = (Path(tempfile.mkstemp(dir=self.scratch)[1]) for _ in range(2))
        child = os.fork()
        if child:
            return child, out, err
        status = 1
        try:
            for number, path, flags in ((0, "/dev/null", os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
                fd = os.open(path, flags)
                os.dup2(fd, number)
                os.close(fd)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
            from oci.cli.entry import main

            before()
            status = main(["--root", str(self.root), "--driver", "overlay", *words])
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def command_killed(self, words: Sequence[str], moment: int, victims: Sequence[str | int] = ()) -> Result:
        """A command that is killed before its `moment`-th effect."""
        told = self._told()
        return self.killed(lambda: arm(moment, victims, str(told)), words)

    def supervisor_killed(self, words: Sequence[str], moment: int, *, both: bool = False) -> Result:
        """A command whose supervisor is killed before its `moment`-th effect, and itself with it if `both`."""
        told = self._told()

        def arrange() -> None:
            from oci.container import launch

            launch._PROGRAM = _supervisor_program(moment, [os.getpid()] if both else [], str(told))

        return self.killed(arrange, words)

    def effects(self) -> int:
        """How many the last that was armed has had, once it has ended; 0 if it was killed."""
        try:
            return int((self.scratch / "effects").read_text())
        except FileNotFoundError:
            return 0

    def _told(self) -> Path:
        path = self.scratch / "effects"
        path.unlink(missing_ok=True)
        return path

    # Afterwards

    def settle(self) -> None:
        """Wait until nobody works on a container any more, but for supervisors of those that run."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and (self._locked() or self._passing()):
            time.sleep(0.02)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _locked(self) -> bool:
        for folder in (self.root / "containers").iterdir():
            with suppress(FileNotFoundError):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                finally:
                    os.close(fd)
        return False

    def _passing(self) -> bool:
        """Whether a supervisor lives that no running container has."""
        running = {row.supervisor.pid for row in self.rows() if row.status == "running" and row.supervisor}
        return bool(set(supervisors()) - running)

    def rows(self) -> Sequence[Any]:
        from oci.storage.store import Store

        with Store.open(self.root, clock=time.time_ns, create=False) as store:
            rows = store.containers.list()
        self.ids.update(row.id for row in rows)
        self.ids.update(name for name in os.listdir(self.root / "containers"))
        return rows

    def faults(self) -> list[str]:
        """What is wrong now, after a kill: with what `ps` tells, with what is left when all is removed and mended.

        Sometimes it is mended before all is removed, sometimes after.
        """
        self.settle()
        said = self._lies()
        if said:  # one may have ended between two looks
            self.settle()
            said = self._lies()
        if random.random() < 0.5:
            said += self._unmended()
        return [*said, *self._unremoved(), *self._unmended(), *self._left()]

    def _lies(self) -> list[str]:
        """What `ps` tells that isn't so."""
        said: list[str] = []
        shown = json.loads(self.need("ps", "--all", "--json"))
        rows = {row.id: row for row in self.rows()}
        for one in shown:
            row = rows.get(one["id"])
            if row is None:
                said.append(f"ps shows {one['name']} as {one['status']}, but it is gone")
                continue
            lives = row.init is not None and row.init.alive()
            if (one["status"] == "running") != lives:
                said.append(f"ps says {one['status']} of {row.name}, whose process {'lives' if lives else 'is dead'}")
            if one["status"] != "running" and (busy := self._processes(row.id, but=row.supervisor)):
                said.append(f"{row.name} is {one['status']}, but of it there live {busy}")
        return said

    def _processes(self, container_id: str, but: Any = None) -> list[str]:
        """What runs of a container: in its cgroup, with its tree mounted, with its ID among the arguments."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            if int(name) == os.getpid() or (but is not None and int(name) == but.pid):
                continue
            with suppress(OSError):
                texts = [Path(f"/proc/{name}/{one}").read_bytes() for one in ("cmdline", "cgroup", "mountinfo")]
                if any(container_id.encode() in text for text in texts):
                    found.append(f"{name} {texts[0][-40:]!r}")
        return found

    def _unmended(self) -> list[str]:
        said = []
        for finding in self._findings("--repair"):
            if not finding.get("repaired"):
                said.append(f"check --repair: {finding}")
        return said + [f"check after --repair: {finding}" for finding in self._findings()]

    def _findings(self, *options: str) -> list[dict[str, object]]:
        """What `check` finds; cgroups are this machine's, and only ours are our business."""
        done = json.loads(self.run("store", "check", "--json", *options).out)
        return [
            one
            for one in done["findings"]
            if one["code"] != "stale-cgroup" or any(known in one["where"] for known in self.ids)
        ]

    def _unremoved(self) -> list[str]:
        """Remove every container."""
        said = []
        for row in self.rows():
            done = self.run("rm", "-f", "-v", row.id)
            if done.status:
                said.append(f"rm -f {row.name} ({row.status}): {done.err}")
        self.settle()
        self.rows()
        return said

    def _left(self) -> list[str]:
        """What is left when all was removed and mended."""
        said = [f"processes: {pid} {_words(pid)}" for pid in descendants()]
        said += [f"containers/{name} is left" for name in os.listdir(self.root / "containers")]
        for name in sorted(os.listdir(self.root / "run")):
            if (self.root / "run" / name).is_dir():
                said += [f"run/{name}/{left} is left" for left in os.listdir(self.root / "run" / name)]
        said += [f"mounted in {pid}: {target}" for pid, target in self._mounts()]
        said += [f"cgroup {path} is left" for path in self._cgroups()]
        return said + self._lost()

    def close(self) -> None:
        """End all that may still run here, whatever went wrong."""
        for row in self.rows():
            self.run("rm", "-f", "-v", row.id)
        for pid in [*descendants()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _mounts(self) -> list[tuple[str, str]]:
        found, seen = [], set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                namespace = os.readlink(f"/proc/{name}/ns/mnt")
                if namespace not in seen:
                    seen.add(namespace)
                    for line in Path(f"/proc/{name}/mountinfo").read_text().splitlines():
                        if f"{self.root}/containers" in line or f"{self.root}/layers" in line:
                            found.append((name, line.split()[4]))
        return found

    def _cgroups(self) -> list[str]:
        found = []
        for hierarchy in ("", *os.listdir("/sys/fs/cgroup")):
            with suppress(OSError):
                for name in os.listdir(f"/sys/fs/cgroup/{hierarchy}"):
                    if name.startswith("ocikit-") and name.rpartition("-")[2] in self.ids:
                        found.append(f"{hierarchy}/{name}")
        return found

    def _lost(self) -> list[str]:
        said = []
        for name, text in self.kept.items():
            try:
                read = (self.root / "volumes" / name / "data" / "precious").read_text()
            except OSError as error:
                read = str(error)
            if read != text:
                said.append(f"volume {name}: {read!r} in place of {text!r}")
        return said


def _words(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:200]
    return "?"
