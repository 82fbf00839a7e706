"""Attached clients: every byte arrives, terminals are terminals, and no client stands in the container's way."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from oci.container import clients
from oci.container.attach import attach
from oci.container.console import set_size
from oci.container.lifecycle import start, start_attached, wait
from oci.container.logs import read_logs
from oci.storage.store import Store
from tests.support.containers import busybox_store, container_of, output
from tests.support.namespaces import need_mounts
from tests.support.peers import ROOT, need

MiB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    need("runc")
    need_mounts()
    (tmp_path / "store").mkdir(0o700)
    with busybox_store(tmp_path / "store") as opened:
        yield opened


class Reader:
    """Takes all that comes out of a pipe."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.digest, self.size, self.head = hashlib.sha256(), 0, b""
        self._thread = threading.Thread(target=self._run, daemon=True)  # a test that fails doesn't end it
        self._thread.start()

    def _run(self) -> None:
        while data := os.read(self.reading, MiB):
            self.digest.update(data)
            self.size += len(data)
            self.head = (self.head + data)[:1000]

    def end(self) -> None:
        os.close(self.writing)
        self._thread.join()
        os.close(self.reading)


def feed(data: bytes) -> int:
    """The reading end of a pipe from which `data` comes."""
    reading, writing = os.pipe()

    def run() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    threading.Thread(target=run, daemon=True).start()
    return reading


def test_much_output_arrives_whole_and_the_log_stays_small(store: Store) -> None:
    script = "i=0; while [ $i -lt 100 ]; do dd if=/dev/zero bs=1M count=1 2>/dev/null; i=$((i+1)); done; echo end"
    container = container_of(store, "sh", "-c", script, log_max_size=MiB, log_max_files=3)
    out = Reader()
    with start_attached(container) as attachment:
        assert attachment.run(None, out.writing, 2).status == 0
    out.end()
    assert out.size == 100 * MiB + 4
    assert out.digest.hexdigest() == hashlib.sha256(bytes(100 * MiB) + b"end\n").hexdigest()
    logs = [path.stat().st_size for path in Path(container.folder).glob("log.json*")]
    assert len(logs) == 3
    assert max(logs) <= MiB


def test_much_input_arrives_whole_and_its_end_too(store: Store) -> None:
    container = container_of(store, "sha256sum", stdin_open=True)
    data = os.urandom(MiB) * 50
    out = Reader()
    reading = feed(data)
    with start_attached(container) as attachment:
        assert attachment.run(reading, out.writing, 2).status == 0
    out.end()
    os.close(reading)
    assert out.head.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_without_stdin_open_stdin_is_empty(store: Store) -> None:
    container = container_of(store, "cat")
    reading = feed(b"never")
    with start_attached(container) as attachment:
        assert attachment.run(reading, 1, 2).status == 0
    os.close(reading)
    assert list(read_logs(container)) == []


def test_stdout_and_stderr_stay_apart(store: Store) -> None:
    container = container_of(store, "sh", "-c", "echo out; echo err >&2")
    out, err = Reader(), Reader()
    with start_attached(container) as attachment:
        attachment.run(None, out.writing, err.writing)
    out.end()
    err.end()
    assert (out.head, err.head) == (b"out\n", b"err\n")


def test_a_client_that_dies_leaves_the_container_alone_and_another_goes_on(store: Store) -> None:
    container = container_of(store, "sh", "-c", "read a; echo got $a; read b; echo got $b; exit 2", stdin_open=True)
    first = start_attached(container)
    first._channel.connection.sendall(b"\x02\x00\x00\x00\x04one\n")  # half a conversation
    first.close()
    out = Reader()
    with attach(container) as second:
        reading = feed(b"two\n")
        assert second.run(reading, out.writing, 2).status == 2
    os.close(reading)
    out.end()
    assert out.head.endswith(b"got two\n")
    assert output(container) == b"got one\ngot two\n"


@pytest.mark.parametrize("size", [1, 1 << 21])
def test_where_nobody_reads_our_output_our_input_ends(store: Store, size: int) -> None:
    container = container_of(store, "sh", "-c", "cat; exit 4", stdin_open=True)
    reading, writing = os.pipe()  # never closed at its end: `yes | ocikit run -i … | head`
    threading.Thread(target=write_until_nobody_reads, args=(writing, bytes(size)), daemon=True).start()
    unread, out = os.pipe()
    os.close(unread)
    with start_attached(container) as client, pytest.raises(BrokenPipeError):
        client.run(reading, out, 2)
    assert wait(container) == 4
    os.close(reading)
    os.close(out)


def write_until_nobody_reads(fd: int, data: bytes) -> None:
    view = memoryview(data)
    with suppress(BrokenPipeError):
        while view:
            view = view[os.write(fd, view) :]


def test_nonsense_from_a_client_costs_the_client_its_connection_only(store: Store) -> None:
    container = container_of(store, "sh", "-c", "read a; exit 3", stdin_open=True)
    start(container)
    for nonsense in (b"\xff" * 100, b"\x01\x00\x00\x00\x02[]", b"\x01\x00\x00\x00\x01{"):
        client = attach(container)
        client._channel.connection.sendall(nonsense)
        while client._channel.connection.recv(1000):
            pass
        client.close()
    reading = feed(b"x\n")
    with attach(container) as client:
        assert client.run(reading, 1, 2).status == 3
    os.close(reading)


def test_a_slow_client_is_dropped_and_the_container_goes_on(store: Store) -> None:
    script = "read a; dd if=/dev/zero bs=1M count=8 2>/dev/null; exit 5"
    container = container_of(store, "sh", "-c", script, stdin_open=True)
    start(container)
    slow = attach(container, stdin=False)  # reads nothing
    reading = feed(b"go\n")
    out = Reader()
    with attach(container) as quick:
        assert quick.run(reading, out.writing, 2).status == 5
    os.close(reading)
    out.end()
    assert out.size == 8 * MiB
    slow.close()


def test_what_waits_for_a_client_is_bounded() -> None:
    ours, theirs = socket.socketpair()
    clock = [0.0]
    client = clients.Client(ours, primary=False, clock=lambda: clock[0])
    while not client.full:
        client.queue(bytes(65536))
    assert client.waiting < clients.MAX_WAITING + 65536
    assert not client.overdue()
    clock[0] = clients.PATIENCE + 1
    assert client.overdue()
    assert theirs.recv(1 << 16)
    client.send()
    assert not client.overdue()
    client.close()
    theirs.close()


def test_only_ourselves_and_root_may_attach() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert clients.peer_may(ours)


# Terminals


class Terminal:
    """A pseudo-terminal with a process on it, as a user has one."""

    def __init__(self, store: Store, program: str, *words: str) -> None:
        code = (
            "import sys, time\n"
            "from oci.storage.store import Store\n"
            "from oci.container.container import Container\n"
            "from oci.container.execute import ExecSettings, execute\n"
            "from oci.container.attach import attach\n"
            "from oci.container.lifecycle import start_attached\n"
            "with Store.open(sys.argv[1], clock=time.time_ns) as store:\n"
            "    container = Container.find(store, sys.argv[2])\n"
            f"    {program}\n"
        )
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["PYTHONPATH"] = str(ROOT)
            os.execv(sys.executable, [sys.executable, "-c", code, store.root, *words])
        set_size(self.master, 33, 101)
        self.before = termios.tcgetattr(self.master)
        self.seen = b""

    def expect(self, word: bytes, seconds: float = 30) -> None:
        """Read on until `word` has come."""
        deadline = time.monotonic() + seconds
        while word not in self.seen:
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], self.seen
            try:
                data = os.read(self.master, 4096)
            except OSError:
                data = b""
            assert data, self.seen
            self.seen += data
        self.seen = self.seen.partition(word)[2]

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def end(self) -> int:
        """Its exit status; the terminal is as it was before."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert termios.tcgetattr(self.master) == self.before
        os.close(self.master)
        return code


RUN = "sys.exit(start_attached(container).run(0, 1, 2).status)"


def test_a_terminal_has_our_size_follows_it_and_passes_keys(store: Store) -> None:
    container = container_of(store, "sh", "-c", "stty size; tty; exec sh", tty=True, stdin_open=True)
    terminal = Terminal(store, RUN, container.id)
    terminal.expect(b"33 101\r\n")
    terminal.expect(b"/dev/pts/0\r\n")
    set_size(terminal.master, 20, 60)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.type(b'until test "$(stty size)" = \'20 60\'; do sleep 0.05; done; echo res""ized\n')
    terminal.expect(b"resized\r\n")
    terminal.type(b'(echo sle""eps; exec sleep 100)\n')
    terminal.expect(b"sleeps\r\n")
    terminal.type(b"\x03")
    terminal.type(b'echo st""atus $?\n')
    terminal.expect(b"status 130\r\n")
    terminal.type(b"exit 9\n")
    assert terminal.end() == 9
    logged = output(container)
    assert b"33 101\r\n" in logged


def test_detach_keys_leave_it_running_and_it_can_be_attached_again(store: Store) -> None:
    container = container_of(store, "sh", tty=True, stdin_open=True)
    terminal = Terminal(store, "sys.exit(40 + start_attached(container).run(0, 1, 2).detached)", container.id)
    terminal.type(b'echo he""re\n')
    terminal.expect(b"here\r\n")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 41
    assert container.refresh().status == "running"
    again = Terminal(store, "sys.exit(attach(container).run(0, 1, 2).status)", container.id)
    again.type(b'echo ag""ain; exit 6\n')
    again.expect(b"again\r\n")
    assert again.end() == 6


def test_a_killed_client_puts_the_terminal_back(store: Store) -> None:
    container = container_of(store, "sh", tty=True, stdin_open=True)
    terminal = Terminal(store, RUN, container.id)
    terminal.type(b'echo re""ady\n')
    terminal.expect(b"ready\r\n")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == -signal.SIGTERM
    assert container.refresh().status == "running"


def test_exec_with_a_terminal(store: Store) -> None:
    container = container_of(store, "sleep", "100")
    start(container)
    run = "sys.exit(execute(container, ExecSettings(args=('sh',), tty=True, interactive=True)))"
    terminal = Terminal(store, run, container.id)
    terminal.type(b'stty size; tty; echo fir""st\n')
    terminal.expect(b"33 101\r\n")
    terminal.expect(b"first\r\n")
    set_size(terminal.master, 21, 61)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.type(b'until test "$(stty size)" = \'21 61\'; do sleep 0.05; done; echo res""ized; exit 8\n')
    terminal.expect(b"resized\r\n")
    assert terminal.end() == 8
    assert [name for name in os.listdir(container.folder) if name.startswith("exec-")] == []


def test_signals_go_to_the_container_without_a_terminal(store: Store) -> None:
    words = ("sh", "-c", "trap 'exit 11' INT; echo ready; while true; do sleep 0.05; done")
    container = container_of(store, *words)
    code = (
        "import sys, time\n"
        "from oci.storage.store import Store\n"
        "from oci.container.container import Container\n"
        "from oci.container.lifecycle import start_attached\n"
        "with Store.open(sys.argv[1], clock=time.time_ns) as store:\n"
        "    sys.exit(start_attached(Container.find(store, sys.argv[2])).run(None, 1, 2).status)\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code, store.root, container.id], stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGINT)
    assert client.wait(30) == 11
    client.stdout.close()


def test_a_container_with_a_terminal_in_the_background_keeps_its_log(store: Store) -> None:
    container = container_of(store, "sh", "-c", "tty && echo typed by nobody", tty=True)
    start(container)
    assert wait(container) == 0
    assert output(container).endswith(b"typed by nobody\r\n")


def test_the_supervisor_stops_its_container_when_asked_to_end(store: Store) -> None:
    container = container_of(store, "sh", "-c", "trap 'exit 7' TERM; echo on; while true; do sleep 0.05; done")
    with start_attached(container) as attachment:
        out = Reader()
        supervisor = container.refresh().supervisor
        assert supervisor is not None

        def end() -> None:
            while not out.head:
                time.sleep(0.01)
            os.kill(supervisor.pid, signal.SIGTERM)

        thread = threading.Thread(target=end)
        thread.start()
        assert attachment.run(None, out.writing, 2).status == 7
        thread.join()
        out.end()
