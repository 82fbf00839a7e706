"""The supervisor: the one process that lives as long as its container, and is gone soon after it.

::

    mount namespace of its own → the tree mounted → config.json → runtime create → row "running" → runtime start
      → output to log and clients, input from one, children reaped …
      → exit.json → row "exited" → runtime delete → mounts gone → (--rm: all removed) → clients told → end

What it makes outside its folder goes with it: the mounts with its mount namespace, so that no crash leaves one.
Whatever moment it is killed at, `status.reconcile` finds out from the row, exit.json and the runtime's state what there
is to put right. SIGTERM stops the container.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from oci.container.connecting import ATTACH_SOCKET
from oci.container.console import socket_address
from oci.container.container import Container
from oci.container.forgetting import forget
from oci.container.frames import FAILED, HEADER, MAX_FRAME, ORDER, STARTED, Unframer, document_frame, read_document
from oci.container.log_writer import LogWriter
from oci.container.mounting import mount_for_run
from oci.container.pump import Pump
from oci.container.runtimes import RUNTIME_FILE, runtime_folder
from oci.container.stdio import Stdio
from oci.container.tree_config import write_bundle
from oci.errors import OciError, RuntimeFailed
from oci.linux import process, shared_namespace
from oci.linux.namespaces import unshare_mounts
from oci.runtime.runc import Found, Runtime
from oci.storage.ending import Ending, of_wait_status
from oci.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from oci.container.network import Network

__all__ = ["main"]

DYING = 1.0  # seconds that the end of a killed process may take to be seen


def main(channel: int) -> NoReturn:
    """Wait for an order on this socket, and do it; in a process that is nobody's child."""
    status = 1
    try:
        os.umask(0o022)
        os.close(0)
        os.open("/dev/null", os.O_RDWR)
        connection = socket.socket(fileno=channel)
        connection.set_inheritable(False)
        _preload()
        order, lock = _receive(connection)
        if order is not None:
            process.set_name(f"ocikit {order['id'][:8]}")
            process.subreaper()
            shared_namespace.stay(f"{order['root']}/run")  # rootless: later commands have to come where this one is
            signal.signal(signal.SIGCHLD, lambda number, at: None)  # the pump is to be woken by it
            with Store.open(order["root"], clock=time.time_ns, create=False) as store:
                Supervisor(store, order, connection, lock).run()
        status = 0
    except BaseException:  # noqa: BLE001 - it ends here in any case; the starter reads the last line
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _preload() -> None:
    """What every start needs: imported while the starter is still at something else."""
    import oci.drivers.overlay
    import oci.drivers.probe
    import oci.layout.documents
    import oci.runtime.seccomp
    import oci.runtime.spawning  # noqa: F401 - for later


def _receive(connection: socket.socket) -> tuple[Mapping[str, Any] | None, int]:
    """The order, and the container's lock; None when the starter has gone."""
    unframer, fds = Unframer(), list[int]()
    while True:
        data, more, _, _ = socket.recv_fds(connection, MAX_FRAME + HEADER.size, 4)
        fds += more
        for fd in more:
            os.set_inheritable(fd, False)
        if not data:
            return None, -1
        for kind, content in unframer.feed(data):
            if kind == ORDER and fds:
                return read_document(content), fds[0]


class Supervisor:
    """One run of one container."""

    def __init__(self, store: Store, order: Mapping[str, Any], channel: socket.socket, lock: int) -> None:
        self._store = store
        self._order = order
        self._channel = channel
        self._lock: int | None = lock
        self._container = Container.find(store, order["id"])
        self._before = self._container.row
        self._settings = self._container.settings
        self._runtime = Runtime(Found.from_json(order["runtime"]), runtime_folder(store), alone=True)
        self._driver = self._container.driver
        self._folder = self._container.folder
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stdio: Stdio | None = None
        self._log: LogWriter | None = None
        self._network: Network | None = None
        self._init = -1
        self._pidfd = -1
        self._started: int | None = None
        self._wait_status: int | None = None
        self._reaped = False
        self._stop_asked = False

    def run(self) -> None:
        """Start the container, see it to its end, clear up."""
        try:
            self._start()
        except OciError as error:
            self._fail(error)
            return
        except OSError as error:
            self._fail(RuntimeFailed(f"{error.filename or self._container.name}: {error.strerror}"))
            return
        pump = self._pump()
        try:
            pump.run()
        except Exception:  # noqa: BLE001 - a mistake of ours must not cost the container its end
            self._complain()
            self._wait_without_pump()
        ending = of_wait_status(self._wait_status, started=self._started, clock=self._store.clock)
        self._finish(ending)
        pump.finish(ending.to_json())

    # The beginning

    def _start(self) -> None:
        unshare_mounts(follow_host=True)
        root = mount_for_run(self._container, self._driver)
        write_bundle(self._container, root)
        self._stdio = Stdio.open(self._settings, self._folder_fd)
        self._log = LogWriter(
            self._folder_fd,
            clock=self._store.clock,
            max_size=self._settings.log_max_size,
            max_files=self._settings.log_max_files,
        )
        self._listener = _listen(self._folder_fd)
        _write(self._folder_fd, RUNTIME_FILE, self._order["runtime"])
        self._init = self._runtime.create(
            self._container.id,
            f"{self._folder}/bundle",
            pid_file=f"{self._folder}/pid",
            console_socket=self._stdio.console_path,
            stdin=self._stdio.child_stdin,
            stdout=self._stdio.child_stdout,
            stderr=self._stdio.child_stderr,
        )
        self._stdio.handed_over(self._order.get("size"))
        if self._settings.network == "slirp4netns":
            from oci.container.network import Network

            self._network = Network.open(self._settings, self._init, self._folder_fd)
        self._pidfd = process.pidfd_open(self._init)
        shared_namespace.stay(f"{self._store.root}/run", self._init)  # it may outlive this process
        if self._gone():
            raise RuntimeFailed("whoever wanted the container started was interrupted")
        self._started = self._store.clock()
        self._store.containers.update(
            self._container.id,
            status="running",
            supervisor=process.identity(os.getpid()),
            init=process.identity(self._init),
            started=self._started,
            finished=None,
            exit_code=None,
            error=None,
        )
        try:
            self._runtime.start(self._container.id)
        except RuntimeFailed as error:
            if select.select([self._pidfd], [], [], DYING)[0]:
                raise RuntimeFailed(f"{self._container.name}: it was stopped before its program began") from error
            raise
        self._unlock()
        with suppress(OSError):  # nobody waits for it any more
            self._channel.sendall(document_frame(STARTED, {"pid": self._init}))

    def _gone(self) -> bool:
        """Whether the starter was killed before the container's program runs: then it isn't to run."""
        events = select.poll()
        events.register(self._channel, select.POLLRDHUP)
        return bool(events.poll(0))

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _fail(self, error: OciError) -> None:
        """The container is as it was before, with what stood in the way in its row; then the starter is told."""
        status = error.status if isinstance(error, RuntimeFailed) else 125
        self._clear_up(force=True)
        if self._before.auto_remove:
            self._remove()
        else:
            with suppress(OciError):  # a full disk: the starter is told in any case
                self._store.containers.update(
                    self._container.id,
                    status=self._before.status,
                    supervisor=None,
                    init=None,
                    started=self._before.started,
                    finished=self._before.finished,
                    exit_code=status,
                    error=str(error),
                )
        self._unlock()
        with suppress(OSError):
            self._channel.sendall(document_frame(FAILED, {"reason": str(error), "status": status}))

    # While it runs

    def _pump(self) -> Pump:
        assert self._stdio is not None
        assert self._log is not None
        pump = Pump(
            log=self._log,
            outputs=self._stdio.outputs,
            stdin=self._stdio.stdin,
            console=self._stdio.console,
            listener=self._listener,
            on_signal=self._signal,
        )
        signal.signal(signal.SIGTERM, lambda number, at: self._ask_stop())

        def look() -> None:
            self._reap()
            pump.ended = self._reaped
            if self._stop_asked:
                self._stop_asked = False
                self._signal(self._stop_signal())
                pump.in_a_while(self._stop_timeout(), lambda: self._signal(signal.SIGKILL))

        pump.on_wakeup = look
        attach = self._order.get("attach")
        if attach is None:
            self._channel.close()
        else:
            pump.welcome(pump.add(self._channel, primary=True), attach)
        return pump

    def _ask_stop(self) -> None:
        self._stop_asked = True

    def _stop_signal(self) -> int:
        from oci.container.signals import stop_signal

        return stop_signal(self._settings)

    def _stop_timeout(self) -> float:
        from oci.container.signals import stop_timeout

        return stop_timeout(self._settings)

    def _signal(self, number: int) -> None:
        with suppress(OSError):
            process.pidfd_send_signal(self._pidfd, number)

    def _reap(self) -> None:
        """Every child that has ended: the container's first process, and what others left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if not pid:
                break
            if pid == self._init:
                self._wait_status, self._reaped = status, True
        if not self._reaped and select.select([self._pidfd], [], [], 0)[0]:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(self._init, os.WNOHANG)
                if not pid:
                    return
                self._wait_status = status
            self._reaped = True

    def _wait_without_pump(self) -> None:
        while not self._reaped:
            select.select([self._pidfd], [], [], 1)
            self._reap()

    # The end

    def _finish(self, ending: Ending) -> None:
        recorded = self._record(ending)
        self._clear_up(force=False)
        if self._before.auto_remove:
            self._remove()
            return
        if not recorded:  # there may be room on the disk by now
            self._record(ending)
        with suppress(OciError):
            self._store.containers.update(self._container.id, supervisor=None)

    def _record(self, ending: Ending) -> bool:
        """Have the end on the disk and in the row; False where one of both can't be: a full disk.

        Who looks next finds that nobody runs any more.
        """
        done = True
        try:
            ending.write(self._folder)
        except (OciError, OSError):
            done = False
            self._complain()
        try:
            self._store.containers.update(
                self._container.id,
                status="exited",
                finished=ending.finished,
                exit_code=ending.exit_code,
                error=ending.reason,
                init=None,
            )
        except OciError:
            done = False
            self._complain()
        return done

    def _clear_up(self, *, force: bool) -> None:
        """The runtime's state, the mounts, the sockets. What fails is tried again by whoever looks next."""
        if os.path.lexists(f"{self._runtime.folder}/{self._container.id}"):
            try:
                self._runtime.delete(self._container.id, force=force)
            except RuntimeFailed:
                with suppress(OciError, OSError):
                    forget(self._container)
        if self._network is not None:
            self._network.close()
        if self._stdio is not None:
            self._stdio.close_console_socket()
        for name in (ATTACH_SOCKET, "pid"):
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder_fd)
        with suppress(OciError, OSError):
            self._driver.unmount(self._container.snapshot)

    def _remove(self) -> None:
        from oci.container.removing import remove_all

        try:
            remove_all(self._container, volumes=True)
        except (OciError, OSError):
            self._complain()

    @staticmethod
    def _complain() -> None:
        import traceback

        traceback.print_exc()


def _write(folder: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _listen(folder: int) -> socket.socket:
    """The socket for clients; its path may be longer than unix(7) allows, its address isn't."""
    with suppress(FileNotFoundError):
        os.unlink(ATTACH_SOCKET, dir_fd=folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(socket_address(folder, ATTACH_SOCKET))
    listener.listen(16)
    return listener
