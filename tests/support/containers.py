"""A store with a busybox image in it, and containers of it: for tests that run real containers."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from oci.container.container import Container
from oci.container.create import create
from oci.container.lifecycle import remove, start
from oci.container.logs import read_logs
from oci.container.status import status
from oci.linux.mounts import mounts
from oci.runtime.settings import RunSettings
from oci.storage.images import find
from oci.storage.store import Store
from tests.support.images import LayerBlob, LayoutMaker, layer
from tests.support.peers import need

APPLETS = (
    *(
        "sh",
        "cat",
        "chmod",
        "chown",
        "cp",
        "dd",
        "df",
        "echo",
        "env",
        "false",
        "find",
        "grep",
        "head",
        "hostname",
        "id",
    ),
    *("kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nohup", "nproc", "printf", "ps", "pwd", "readlink", "rm"),
    *("seq", "setsid", "sha256sum", "sleep", "stat", "stty", "sync", "tail", "test", "touch", "true", "tty", "umount"),
    *("wc", "yes"),
)
SLEEP = ("sh", "-c", "trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done")  # until it is stopped
NAME = "docker.io/library/busybox:latest"


def busybox_layer(
    more: Mapping[str, bytes | tuple[str, str] | None] = {}, *, folders: tuple[str, ...] = ()
) -> LayerBlob:
    """A root filesystem of busybox: its program, its applets as links, users and groups; and `more`."""
    need("busybox")
    program = Path(str(shutil.which("busybox"))).resolve().read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, what: bytes | tuple[str, str] | None, mode: int = 0o755) -> None:
            info = tarfile.TarInfo(name)
            info.mode, data = mode, b""
            if what is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(what, bytes):
                data = what
                info.size = len(data)
            else:
                info.type = tarfile.SYMTYPE if what[0] == "symlink" else tarfile.LNKTYPE
                info.linkname = what[1]
            archive.addfile(info, io.BytesIO(data))

        for folder in ("bin", "etc", "home", "var", *folders):
            add(folder, None)
        add("tmp", None, 0o1777)
        add("root", None, 0o700)
        add("bin/busybox", program)
        for applet in APPLETS:
            add(f"bin/{applet}", ("symlink", "busybox"))
        add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n", 0o644)
        add("etc/group", b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n", 0o644)
        for name, what in more.items():
            add(name, what)
    return layer(buffer.getvalue())


def busybox_layout(path: Path, *layers: LayerBlob, name: str = NAME, **config: Any) -> None:
    """An image layout at `path` with the busybox image, and further layers on top; `config` is the image's `config`."""
    maker = LayoutMaker(path)
    run = {"Env": ["PATH=/bin"], "Cmd": ["sh"], **config}
    maker.tag(name, maker.image([busybox_layer(), *layers], config=run))
    maker.finish()


class OwnStore(Store):
    """A test's own: at its end all containers are removed, running or not, and nothing of them may be left."""

    def __exit__(self, *exception: object) -> None:
        with closing(self):
            for container in status(self):
                remove(container, force=True)
            assert os.listdir(f"{self.root}/containers") == []
            assert not list(Path(self.root).glob("run/runc/[!.]*"))
            assert [one.target for one in mounts() if one.target.startswith(f"{self.root}/")] == []


def busybox_store(
    root: Path, *layers: LayerBlob, driver: str | None = None, clock: Callable[[], int] = time.time_ns, **config: Any
) -> OwnStore:
    """A store at `root` with that image; a with statement, or the caller, closes it."""
    busybox_layout(root / "images", *layers, **config)
    return OwnStore.open(root, driver=driver, clock=clock)


def container_of(
    store: Store, *args: str, name: str | None = None, image: str = "busybox", **settings: Any
) -> Container:
    """A new container that will run these words."""
    return create(store, find(store, image), RunSettings(args=args, **settings), name=name)


def start_ready(container: Container) -> None:
    """Start a container that runs SLEEP, and wait until it minds its stop signal."""
    before = output(container).count(b"ready\n")
    start(container)
    until(lambda: output(container).count(b"ready\n") > before)


def output(container: Container, stream: str | None = None) -> bytes:
    """What it has written, on one of its streams or on both."""
    return b"".join(line.data for line in read_logs(container) if stream in (None, line.stream))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that happens soon, on a machine with little else to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
