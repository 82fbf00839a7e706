"""`exec`: one more process in a running container, with our streams as its stdio.

The runtime starts it detached; this process, a subreaper meanwhile, becomes its parent and learns how it ended. Without
a terminal it has pipes to us (exec_streams.py). With one (`tty`), its terminal is ours by way of exec_terminal.py.
Signals that reach us go to it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from oci.container.console import ConsoleSocket
from oci.container.container import Container
from oci.container.exec_streams import ExecStreams
from oci.container.processes import has_ended
from oci.container.runtimes import runtime_of
from oci.container.signals import FORWARDED
from oci.container.status import reconcile
from oci.errors import RuntimeFailed, StoreError, WrongState
from oci.linux import idmaps, process
from oci.spec.quick_json import loads
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.runtime.runc import Runtime

__all__ = ["ExecSettings", "execute"]

MAX_CONFIG = 16 << 20  # bytes of config.json; a seccomp profile and a thousand mounts take one
DYING = 2.0  # seconds that the end of a killed process may take to be seen


class ExecSettings(Record):
    """What to run; None is what the container's own process has."""

    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()  # on top of the container's
    workdir: str | None = None
    user: str | None = None
    tty: bool = False
    interactive: bool = False  # without it stdin is empty
    detach: bool = False  # in the background; it has no terminal then, for nobody would hold its other end
    privileged: bool = False
    detach_keys: str | None = None


def execute(container: Container, settings: ExecSettings) -> int:
    """Run it with this process's descriptors 0, 1, 2; its exit status (0 when detached, or left by the detach keys).

    Raises WrongState when the container doesn't run, RuntimeFailed (status 126 or 127 when it can't be started).
    """
    reconcile(container)
    row = container.row
    if row.status != "running" or row.init is None or not row.init.alive():
        raise WrongState(row.name, row.status, "a command can only be run in one that runs; start it first")
    runtime = runtime_of(container)  # the one that knows it, whichever would be taken for a new one
    with _told_of_its_end(container, row.init):
        document = _document(container, settings, row.init.pid)
    if settings.detach:
        with _told_of_its_end(container, row.init):
            runtime.exec(container.id, document)
        return 0
    process.subreaper()
    try:
        if settings.tty:
            return _with_terminal(container, settings, runtime, document)
        streams = ExecStreams(0 if settings.interactive else None, 1, 2)
        try:
            with _told_of_its_end(container, row.init):
                pid = runtime.exec(
                    container.id, document, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr
                )
            streams.handed_over()
            return _status_of(_follow(pid, streams.relay, forward=True))
        finally:
            streams.close()
    finally:
        process.subreaper(False)


@contextmanager
def _told_of_its_end(container: Container, init: process.Identity) -> Iterator[None]:
    """What a runtime or /proc says of a container that ends meanwhile is many things; this is what it means."""
    try:
        yield
    except (RuntimeFailed, StoreError, FileNotFoundError, ProcessLookupError) as error:
        own = isinstance(error, RuntimeFailed) and error.status != 125  # what is said of the command itself
        if not own and has_ended(init, DYING):
            raise WrongState(container.name, "exited", "it ended just now; start it first") from error
        raise


def _document(container: Container, settings: ExecSettings, init: int) -> dict[str, object]:
    """process.json, after a look whether what it says can be run: the runtime would tell it on the process's stderr."""
    from oci.runtime.config import Facts, process_config
    from oci.runtime.programs import check_program

    try:
        with open(f"{container.folder}/bundle/config.json", "rb") as file:
            config = loads(file.read(MAX_CONFIG).decode())
    except (OSError, ValueError) as error:
        raise StoreError(f"{container.folder}/bundle/config.json", f"can't be read: {error}") from None
    # The tree as the container sees it, its mounts too; whatever its links say, it isn't left.
    root = os.open(f"/proc/{init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        maps = idmaps.current()
        facts = Facts(id=container.id, root=config["root"]["path"], root_fd=root, maps=maps, initial=maps.identity)
        document = process_config(
            config,
            settings.args,
            facts,
            env=settings.env,
            workdir=settings.workdir,
            user=settings.user,
            tty=settings.tty and not settings.detach,
            privileged=settings.privileged,
        )
        check_program(root, document, [], machine=os.uname().machine)
    finally:
        os.close(root)
    return document


def _with_terminal(container: Container, settings: ExecSettings, runtime: Runtime, document: dict[str, object]) -> int:
    from oci.container.detach_keys import DETACH_KEYS, parse_keys
    from oci.container.exec_terminal import Detached, relay

    wanted = settings.detach_keys if settings.detach_keys is not None else container.settings.detach_keys
    keys = parse_keys(DETACH_KEYS if wanted is None else wanted)
    folder = os.open(container.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with ConsoleSocket(folder, f"exec-{os.urandom(4).hex()}.sock") as console:
            assert container.row.init is not None
            with _told_of_its_end(container, container.row.init):
                pid = runtime.exec(container.id, document, console_socket=console.path)
            master = console.receive()
    finally:
        os.close(folder)
    try:
        return _status_of(
            _follow(pid, lambda pidfd: relay(master, pidfd, 0 if settings.interactive else None, 1, keys))
        )
    except Detached:
        _leave_running(master)
        return 0
    finally:
        os.close(master)


def _leave_running(master: int) -> None:
    """Keep a process's terminal open, as docker does: it would be hung up when we end. A process of its own does it.

    It reads what nobody sees, or the process would wait for a reader; it ends when the terminal has no other end.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if not os.fork():  # nobody's child, so that nobody has to wait for it
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.closerange(3, master)  # locks, the store: none of them is ours
            os.closerange(master + 1, os.sysconf("SC_OPEN_MAX"))
            os.set_blocking(master, True)
            while os.read(master, 1 << 15):
                pass
    finally:
        os._exit(0)


def _follow(pid: int, relay: Callable[[int], None], *, forward: bool = False) -> int:
    """Move bytes until our new child has ended, with `forward` passing signals on; what waitpid(2) says of it."""
    pidfd = process.pidfd_open(pid)
    try:
        with _forwarding(pidfd) if forward else nullcontext():
            relay(pidfd)
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(pidfd)


def _status_of(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding(pidfd: int) -> Iterator[None]:
    """Pass signals on to a process, as long as the block is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, _: object) -> None:
        with suppress(OSError):
            process.pidfd_send_signal(pidfd, number)

    before = {number: signal.signal(number, pass_on) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
