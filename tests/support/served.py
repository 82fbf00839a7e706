"""`ocikit serve` as a program of its own: to be sent signals, and to be killed.

::

    with served(tmp_path / "layout") as server:
        peer("skopeo", "copy", …, f"docker://{server.host}/app:v1")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import ROOT


class Served:
    """One that runs; `log` is what it says on stderr."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log
        self.host = url.partition("://")[2]

    def kill(self) -> None:
        """End it without a warning, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def end(self, how: signal.Signals = signal.SIGTERM, *, within: float = 10) -> int:
        """Ask it to end; gives its exit status."""
        self.process.send_signal(how)
        return self.process.wait(within)


@contextmanager
def served(layout: Path, *options: object, port: int = 0) -> Iterator[Served]:
    """Run one until the block ends."""
    log = layout.parent / f"{layout.name}.log"
    command = [sys.executable, "-m", "oci", "serve", str(layout), "--listen", f"127.0.0.1:{port}", *map(str, options)]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http"), log.read_text()
        yield Served(process, line.split()[2], log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        process.stdout.close()
