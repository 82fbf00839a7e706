"""Jobs against a registry on loopback, Debian's `docker-registry`, beside skopeo: push, pull, pull again, small blobs.

The registry's storage is on the same tmpfs as everything else. Before each push it is emptied, so that both tools move
all bytes every time. Both talk plain http to 127.0.0.1, and hash what they move; skopeo copies six blobs at once.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from benchmarks.images import write_layout

# skopeo remembers in a file of its own where it saw a blob, and tries to mount it from there: after an emptying of the
# registry that would cost it a refused request a blob. So each of its runs begins with an empty memory.
CACHE = "/var/lib/containers/cache"
FORGETFUL = (
    ["unshare", "--mount", "sh", "-ec", f'mkdir -p {CACHE}; mount -t tmpfs none {CACHE}; exec "$@"', "sh"]
    if os.geteuid() == 0
    else ["sh", "-c", 'XDG_DATA_HOME=$(mktemp -d) exec "$@"', "sh"]
)
SKOPEO = [*FORGETFUL, "skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
MIB = 1 << 20

_CONFIG = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Registry:
    """A running docker-registry; `host` is HOST:PORT."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.host = folder, f"127.0.0.1:{port}"

    def empty(self) -> None:
        """Forget all images; the registry keeps nothing in memory."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()


@contextmanager
def running(work: Path) -> Iterator[Registry]:
    """Run a registry whose storage is a folder in `work`."""
    if shutil.which("docker-registry") is None:
        raise FileNotFoundError("docker-registry is not installed (apt-get install docker-registry)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    registry = Registry(work / "registry", port)
    registry.empty()
    config = work / "registry.yml"
    config.write_text(_CONFIG.format(folder=registry.folder, port=port))
    with (work / "registry.log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{registry.host}/v2/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise RuntimeError("docker-registry did not start: " + (work / "registry.log").read_text()[-500:])
        yield registry
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(registry.folder, ignore_errors=True)


def large_image(work: Path) -> Path:
    """Make an image of 200 MB in five layers, which compression makes no smaller."""
    return _image(work, "large", layers=5, files=10, size=4_000_000)


def many_layers(work: Path) -> Path:
    """Make an image of 1,000 layers of about a kilobyte each."""
    return _image(work, "many", layers=1000, files=1, size=800)


def _image(work: Path, name: str, *, layers: int, files: int, size: int) -> Path:
    layout = work / name
    if (layout / "index.json").exists():
        return layout
    source = random.Random(name)
    tars = []
    for number in range(layers):
        path = work / f"{name}{number}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
            for part in range(files):
                _add(out, f"srv/layer{number}/part{part}", source.randbytes(size))
        tars.append(path)
    return write_layout(layout, tars)


def _add(out: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), 1700000000, 0o644
    out.addfile(member, BytesIO(data))
