"""The OCI runtime: runc or crun as a program (runtime-spec v1.2 runtime.md; crun's command line is runc's).

It is started with nothing of ours: no descriptor but 0, 1 and 2 (CVE-2024-21626 began with one that was left open), no
variable of our environment, `/` as its working directory. It is given the time that it should ever need, and what it
says when it fails comes from its log (`--log-format json`), in our words (failures.py). Its streams are the
container's in `create` and `exec`: a runtime that fails there writes its own line on the container's stderr too.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, nullcontext

from oci.errors import RuntimeFailed, show
from oci.lazily import re, subprocess
from oci.linux.process import pidfd_open
from oci.runtime.failures import GONE, MAX_LOG, NOT_RUNNING, failure, message_of
from oci.runtime.found import Found
from oci.spec.quick_json import loads
from oci.spec.record import Record
from oci.spec.wire import dumps
from oci.streams.scratch import scratch_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Found", "Runtime", "State"]

# Seconds: `create` unpacks nothing and waits for nobody, but a machine may be swapping; hooks are not ours.
LONG, SHORT = 120, 30
MAX_OUTPUT = 1 << 20  # bytes of what `state` says; it repeats the annotations
MAX_PID_FILE = 64

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class State(Record):
    """What the runtime says of one container (runtime.md#state)."""

    id: str
    status: str  # creating, created, running, paused, stopped
    pid: int
    bundle: str


class Streams(Record):
    """Descriptors for a container's standard streams; None is /dev/null."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


class Runtime:
    """runc or crun with one folder for its state (`--root`), made when it isn't there.

    `alone`: this process is a supervisor, as spawning.py wants it.
    """

    def __init__(self, found: Found, folder: str, *, alone: bool = False) -> None:
        self.found, self.folder = found, os.path.abspath(folder)  # the runtime stands in /
        self._alone = alone

    def create(
        self,
        id: str,
        bundle: str,
        *,
        pid_file: str | None = None,
        console_socket: str | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        before: Callable[[], None] | None = None,
    ) -> int:
        """Make the container without starting its program; its first process's pid. Raises RuntimeFailed.

        `before` is called in the runtime's process, before it is the runtime.
        """
        streams = Streams(stdin=stdin, stdout=stdout, stderr=stderr)
        words = ["--bundle", os.path.abspath(bundle)]
        if console_socket is not None:
            words += ["--console-socket", os.path.abspath(console_socket)]
        with nullcontext() if pid_file is not None else self._scratch() as scratch:
            file = f"{scratch}/pid" if pid_file is None else os.path.abspath(pid_file)
            self._call("create", [*words, "--pid-file", file, id], streams=streams, seconds=LONG, before=before)
            return self._pid("create", file)

    def start(self, id: str) -> None:
        """Let the container's program begin. Raises RuntimeFailed."""
        self._call("start", [id], seconds=LONG)

    def kill(self, id: str, signal: int | str, *, all: bool = False) -> bool:  # noqa: A002 - runc's word
        """Send a signal to the first process, or to all. False: there is nothing (any more) to send it to."""
        try:
            self._run("kill", [*(["--all"] if all else []), id, str(signal)])
        except _SaidError as error:
            if re.search(GONE, error.said) or re.search(NOT_RUNNING, error.said):
                return False
            raise error.told() from None
        return True

    def delete(self, id: str, *, force: bool = False) -> bool:
        """Remove what the runtime keeps of a container; `force` kills it first. False: it knows no such container."""
        try:
            self._run("delete", [*(["--force"] if force else []), id], seconds=LONG)
        except _SaidError as error:
            if re.search(GONE, error.said):
                return False
            raise error.told() from None
        return True

    def state(self, id: str) -> State | None:
        """None: the runtime knows no such container."""
        try:
            raw = self._run("state", [id], output=True)
        except _SaidError as error:
            if re.search(GONE, error.said):
                return None
            raise error.told() from None
        try:
            value = loads(raw.decode())
            return State(id=value["id"], status=value["status"], pid=int(value.get("pid", 0)), bundle=value["bundle"])
        except (ValueError, KeyError, TypeError):
            raise RuntimeFailed(f"{self.found.name} state: an answer that is no state of the runtime-spec") from None

    def exec(
        self,
        id: str,
        process: Mapping[str, object],
        *,
        pid_file: str | None = None,
        console_socket: str | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> int:
        """Start a process in a running container; its pid. It becomes a child of the caller or its subreaper."""
        streams = Streams(stdin=stdin, stdout=stdout, stderr=stderr)
        words = ["--detach"]
        if console_socket is not None:
            words += ["--console-socket", os.path.abspath(console_socket)]
        with self._scratch() as scratch:
            with open(f"{scratch}/process", "wb") as writing:
                writing.write(dumps(process))
            file = f"{scratch}/pid" if pid_file is None else os.path.abspath(pid_file)
            words += ["--process", f"{scratch}/process", "--pid-file", file, id]
            self._call("exec", words, streams=streams, seconds=LONG)
            return self._pid("exec", file)

    def pause(self, id: str) -> None:
        """Stop all processes by the freezer. Raises RuntimeFailed."""
        self._call("pause", [id])

    def resume(self, id: str) -> None:
        """Let paused processes go on. Raises RuntimeFailed."""
        self._call("resume", [id])

    def update(self, id: str, resources: Mapping[str, object]) -> None:
        """Change what a container may use (the document's `linux.resources`). Raises RuntimeFailed."""
        self._call("update", ["--resources", "-", id], given=dumps(resources))

    def _call(self, verb: str, words: Sequence[str], **how: Any) -> bytes:
        """Run the runtime. Raises RuntimeFailed."""
        try:
            return self._run(verb, words, **how)
        except _SaidError as error:
            raise error.told() from None

    def _run(
        self,
        verb: str,
        words: Sequence[str],
        *,
        streams: Streams | None = None,
        seconds: int = SHORT,
        output: bool = False,
        given: bytes | None = None,
        before: Callable[[], None] | None = None,
    ) -> bytes:
        """Run the runtime; what it printed, where that is wanted. Raises _SaidError, RuntimeFailed."""
        # Where its stdin is ours, its log is that: a file in memory, for what ends a container must not need a disk.
        with self._scratch() if streams is not None or given is not None else nullcontext() as scratch:
            memory = os.memfd_create("log", os.MFD_CLOEXEC) if scratch is None else None
            try:
                log = "/proc/self/fd/0" if scratch is None else f"{scratch}/log"
                command = [self.found.path, "--root", self.folder, "--log", log, "--log-format", "json", verb, *words]
                used = streams or Streams(stdin=memory)
                if self._alone and not output and given is None and before is None:
                    from oci.runtime.spawning import run_alone

                    three = (used.stdin, used.stdout, used.stderr)
                    status, printed = run_alone(self.found.name, verb, command, three, ENVIRONMENT, seconds), b""
                else:
                    status, printed = run(self.found.name, verb, command, used, seconds, output, given, before)
                said = "" if status == 0 else _message(memory, log)
            finally:
                if memory is not None:
                    os.close(memory)
        if status == 0:
            return printed
        raise _SaidError(self.found.name, verb, said)

    @contextmanager
    def _scratch(self) -> Iterator[str]:
        """A folder for one call, beside the runtime's folders of containers. Whoever is killed leaves it unlocked."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with scratch_folder(self.folder) as path:
            yield path

    def _pid(self, verb: str, path: str) -> int:
        try:
            with open(path, encoding="ascii") as file:
                return int(file.read(MAX_PID_FILE))
        except (OSError, ValueError):
            raise RuntimeFailed(f"{self.found.name} {verb}: it wrote no process id") from None


def _message(memory: int | None, log: str) -> str:
    """The last error of a runtime's log, in memory or at this path; nothing where it wrote none."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC) if memory is None else os.dup(memory)
    except FileNotFoundError:
        return ""
    try:
        return message_of(os.pread(fd, MAX_LOG, max(0, os.fstat(fd).st_size - MAX_LOG)))
    finally:
        os.close(fd)


class _SaidError(Exception):
    """A failure in the runtime's own words; it never leaves this module."""

    def __init__(self, runtime: str, verb: str, said: str) -> None:
        self.runtime, self.verb, self.said = runtime, verb, said
        super().__init__(said)

    def told(self) -> RuntimeFailed:
        """The same in ours."""
        return failure(self.runtime, self.verb, self.said)


def run(
    name: str,
    verb: str,
    command: Sequence[str],
    streams: Streams,
    seconds: int,
    output: bool,
    given: bytes | None,
    before: Callable[[], None] | None = None,
) -> tuple[int, bytes]:
    """A runtime's exit status and, with `output`, what it printed. Raises RuntimeFailed.

    Its streams are never pipes of ours unless it prints or reads something itself: a container holds on to them.
    """
    null = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if given is not None else null if streams.stdin is None else streams.stdin,
            stdout=subprocess.PIPE if output else null if streams.stdout is None else streams.stdout,
            stderr=null if streams.stderr is None else streams.stderr,
            close_fds=True,
            cwd="/",
            env=ENVIRONMENT,
            preexec_fn=before,
        )
    except subprocess.SubprocessError:
        raise RuntimeFailed(f"{name} {verb}: this process may make no mount namespace for it") from None
    except OSError as error:
        raise RuntimeFailed(f"{show(command[0])}: can't be started: {os.strerror(error.errno or 0)}") from None
    try:
        if process.stdin is None and process.stdout is None:
            printed = b""
            _wait(process, seconds)
        else:
            printed, _ = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise RuntimeFailed(f"{name} {verb}: no end after {seconds} seconds; it was killed") from None
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if output and len(printed) > MAX_OUTPUT:
        raise RuntimeFailed(f"{name} {verb}: it printed more than {MAX_OUTPUT} bytes")
    return process.returncode, printed or b""


def _wait(process: subprocess.Popen[bytes], seconds: int) -> None:
    """Wait for its end. `Popen.wait(timeout=…)` looks every 50 ms at last, which is most of what a container's start
    takes; a descriptor of the process says it at once."""
    try:
        fd = pidfd_open(process.pid)
    except OSError:  # a kernel before 5.3
        process.wait(seconds)
        return
    try:
        ended = select.poll()
        ended.register(fd, select.POLLIN)
        if not ended.poll(seconds * 1000):
            raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        os.close(fd)
    process.wait()
