"""A network of its own for a container by slirp4netns(1): a TCP/IP stack in a program, which needs no rights.

The program runs as a child of the supervisor, from before the container's program starts; it ends when the descriptor
that only the supervisor holds is closed, so with the supervisor however that ends. Published ports are asked for over
its socket (slirp4netns(1), "API SOCKET").
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
from contextlib import suppress

from oci.container.console import socket_address
from oci.errors import RuntimeFailed, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.runtime.settings import PortSetting, RunSettings

__all__ = ["MAX_ANSWER", "Network", "reason_of"]

MAX_ANSWER = 65536  # bytes of what slirp4netns answers, or says on stderr
API_SOCKET = "slirp.sock"
_GUEST = "10.0.2.100"  # slirp4netns(1): the address that it gives to the container
_PRIVILEGED = 1024  # ip(7): ports below it are root's, as a rule
_READY = 10.0  # seconds that it may take to begin
_PLACES = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class Network:
    """slirp4netns at work for one container; `close` ends it."""

    def __init__(self, program: subprocess.Popen[bytes], holding: int, folder: int) -> None:
        self._program, self._holding, self._folder = program, holding, folder

    @classmethod
    def open(cls, settings: RunSettings, pid: int, folder: int) -> Network:
        """Give the network namespace of process `pid` a way out, and publish ports. Raises RuntimeFailed."""
        path = shutil.which("slirp4netns", path=_PLACES)
        if path is None:
            raise RuntimeFailed(
                "--network slirp4netns: that program isn't installed; the other networks are host, none"
            )
        with suppress(FileNotFoundError):
            os.unlink(API_SOCKET, dir_fd=folder)
        made = _begin(path, pid, folder)
        try:
            for port in settings.publish:
                _publish(folder, port)
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """End it."""
        if self._holding >= 0:
            os.close(self._holding)
            self._holding = -1
            with suppress(subprocess.TimeoutExpired):
                self._program.wait(2)
            if self._program.poll() is None:
                self._program.kill()
                self._program.wait()
            with suppress(OSError):
                os.unlink(API_SOCKET, dir_fd=self._folder)


def _begin(path: str, pid: int, folder: int) -> Network:
    ready, tell = os.pipe()
    watched, holding = os.pipe()
    words = os.memfd_create("ocikit-slirp4netns", os.MFD_CLOEXEC)
    try:
        program = subprocess.Popen(
            [
                path,
                "--configure",
                "--mtu=65520",
                "--disable-host-loopback",
                f"--exit-fd={watched}",
                f"--ready-fd={tell}",
                f"--api-socket={socket_address(folder, API_SOCKET)}",
                "--netns-type=path",
                f"/proc/{pid}/ns/net",
                "tap0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=(watched, tell, folder),
            cwd="/",
            env={},
        )
        made = Network(program, holding, folder)
        holding = -1
        os.close(tell)
        tell = -1
        waiting = select.poll()
        waiting.register(ready, select.POLLIN)
        if not waiting.poll(_READY * 1000) or os.read(ready, 1) != b"1":
            made.close()
            raise RuntimeFailed(f"slirp4netns: {reason_of(os.pread(words, MAX_ANSWER, 0))}")
        return made
    except OSError as error:
        raise RuntimeFailed(f"slirp4netns can't be started: {error.strerror}") from None
    finally:
        for fd in (ready, tell, watched, holding, words):
            if fd >= 0:
                os.close(fd)


def reason_of(said: bytes) -> str:
    """Why slirp4netns ended, by its own words: its last line says only that its child did."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if len(lines) > 1 and lines[-1].startswith("child failed"):
        lines.pop()
    return show(lines[-1]) if lines else "it ended without a word"


def _publish(folder: int, port: PortSetting) -> None:
    """Have one port of this machine lead into the container. Raises RuntimeFailed."""
    question = {
        "execute": "add_hostfwd",
        "arguments": {
            "proto": port.protocol,
            "host_addr": port.host_address or "0.0.0.0",
            "host_port": port.host_port,
            "guest_addr": _GUEST,
            "guest_port": port.container_port,
        },
    }
    shown = f"{port.host_address or '0.0.0.0'}:{port.host_port}/{port.protocol}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_READY)
            connection.connect(socket_address(folder, API_SOCKET))
            connection.sendall(json.dumps(question).encode())
            connection.shutdown(socket.SHUT_WR)
            raw = b""
            while len(raw) < MAX_ANSWER and (data := connection.recv(4096)):
                raw += data
        answer = json.loads(raw)
        error = answer.get("error")
    except (OSError, ValueError, AttributeError) as failed:
        raise RuntimeFailed(f"port {shown} can't be published: slirp4netns doesn't answer ({failed})") from None
    if error is not None:
        reason = error.get("desc") if isinstance(error, dict) else error
        ask = "is it in use?" if port.host_port >= _PRIVILEGED else "is it in use, or may only root open it?"
        raise RuntimeFailed(f"port {shown} can't be published: {show(str(reason))}; {ask}")
