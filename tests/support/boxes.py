"""Containers made by `oci.runtime` alone and run by a real runtime: busybox in a folder, as root and as ordinary users.

Everything happens in a forked child, which waits for the container as its subreaper::

    box = contain("id -u", RunSettings(user="daemon"), who="single")
    assert (box.status, box.output) == (0, "1\\n")

`who`: "root"; "single", an ordinary user whose namespace has one id; "ranges", one with ranges of ids.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from oci.linux import idmaps, namespaces, process
from oci.runtime.config import Facts, mount_points, process_config, runtime_config
from oci.runtime.runc import Runtime
from oci.runtime.settings import RunSettings
from oci.runtime.trial import find
from oci.spec.config import ImageConfig, RunConfig
from oci.spec.platform import Platform
from tests.support.namespaces import rootless
from tests.support.peers import need
from tests.support.users import as_user

APPLETS = (
    "sh id cat mount ls env echo hostname true false sleep grep ip stat touch chroot unshare dd mkdir pwd wc df kill"
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/daemon:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"
GROUP = "root:x:0:\ndaemon:x:1:\nvideo:x:44:app\napp:x:1001:\naudio:x:29:app,other\n"
WHO = ("root", "single", "ranges")
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
# docker's fourteen capabilities, as `docker run alpine cat /proc/self/status` has them
DOCKER_MASK = 0x00000000A80425FB

Root = Callable[[str], None]


class Box(NamedTuple):
    """What became of a container."""

    status: int
    output: str
    config: dict[str, Any]
    runtime: str  # what was found, to be remembered


class Extra(NamedTuple):
    """Less common wishes."""

    prepare: Root | None = None  # called with the root's path, before the document is made
    facts: Mapping[str, Any] = {}
    change: Callable[[dict[str, Any]], None] | None = None  # bends the document
    exec: tuple[Sequence[str], Mapping[str, Any]] | None = None  # run in the container instead of looking at its output
    names: tuple[str, ...] = ("crun", "runc")
    before: Callable[[], None] | None = None  # called in the child, before anything else


def image_of(**run: Any) -> ImageConfig:
    """An image's configuration with these fields of `config`."""
    return ImageConfig(platform=Platform(os="linux", architecture=MACHINE), diff_ids=(), run=RunConfig(**run))


def contain(
    script: str | Sequence[str],
    settings: RunSettings | None = None,
    *,
    who: str = "root",
    image: ImageConfig | None = None,
    extra: Extra | None = None,
) -> Box:
    """Run a shell script, or a command, in a container. Raises what `oci.runtime` raises."""
    need("busybox", "runc")
    if os.geteuid() != 0:
        pytest.skip("needs root, to be several users in turn")
    settings = settings or RunSettings()
    words = ("sh", "-c", script) if isinstance(script, str) else tuple(script)
    settings = settings if settings.args or settings.entrypoint is not None else settings.replace(args=words)
    extra = extra or Extra()
    known = (who, *extra.names, "" if extra.before is None else extra.before.__name__)
    work = (settings, image or image_of(), extra, _found.get(known))
    box = as_user(_contain, *work, uid=0, gid=0) if who == "root" else rootless(_contain, *work, ranges=who == "ranges")
    _found[known] = box.runtime
    return box


_found: dict[tuple[str, ...], str] = {}  # runtimes are tried once for each kind of user


def capability_sets(output: str) -> dict[str, int]:
    """The sets that /proc/self/status told of."""
    rows = (line.split(":") for line in output.splitlines() if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in rows}


def make_root(root: str) -> None:
    """A root of busybox."""
    for folder in ("bin", "etc", "tmp", "root"):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    os.chmod(f"{root}/tmp", 0o1777)
    shutil.copy(shutil.which("busybox") or "", f"{root}/bin/busybox")
    for applet in APPLETS.split():
        os.symlink("busybox", f"{root}/bin/{applet}")
    for name, text in (("passwd", PASSWD), ("group", GROUP)):
        with open(f"{root}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def _contain(settings: RunSettings, image: ImageConfig, extra: Extra, known: str | None) -> Box:
    os.umask(0o022)
    if extra.before is not None:
        extra.before()
    process.subreaper()
    if namespaces.is_initial():
        namespaces.unshare_mounts()  # as who starts containers does: where root is no mount point, runtimes need one
    work = tempfile.mkdtemp(prefix="ocikit-box-")
    os.chmod(work, 0o711)
    try:
        return _run_in(work, settings, image, extra, known)
    finally:
        shutil.rmtree(work)


def _run_in(work: str, settings: RunSettings, image: ImageConfig, extra: Extra, remembered: str | None) -> Box:
    root, bundle, name = f"{work}/rootfs", work, f"ocikit-box-{secrets.token_hex(6)}"
    os.makedirs(root)
    make_root(root)
    if extra.prepare is not None:
        extra.prepare(root)
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for point in mount_points(settings, image, root_fd):
            _make(root, point.path, point.kind, point.mode)
        initial = namespaces.is_initial()
        known: dict[str, Any] = {
            "id": name,
            "root": root,
            "root_fd": root_fd,
            "maps": idmaps.current(),
            "initial": initial,
            "cgroup": f"/{name}" if initial else None,
        }
        facts = Facts(**{**known, **extra.facts})
        config = runtime_config(image, settings, facts)
        if extra.change is not None:
            extra.change(config)
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        runtime = find(f"{work}/runtime", extra.names, known=remembered)
        status, output = _lives(runtime, name, bundle, config, facts, extra)
        return Box(status, output, config, runtime.found.to_json())
    finally:
        os.close(root_fd)


def _make(root: str, path: str, kind: str, mode: int) -> None:
    if os.path.lexists(root + path):
        return
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    if kind == "dir":
        os.mkdir(root + path)
        os.chmod(root + path, mode)
    else:
        with open(root + path, "w"):
            pass


def _lives(
    runtime: Runtime, name: str, bundle: str, config: dict[str, Any], facts: Facts, extra: Extra
) -> tuple[int, str]:
    """The container from `create` to `delete`; the exit status and what was written on stdout and stderr."""
    with tempfile.TemporaryFile() as output:
        out = output.fileno()
        try:
            pid = runtime.create(name, bundle, stdout=out, stderr=out)
            runtime.start(name)
            if extra.exec is not None:
                words, options = extra.exec
                document = process_config(config, words, facts, **options)
                pid = runtime.exec(name, document, stdout=out, stderr=out)
            status = _wait(pid)
        finally:
            runtime.delete(name, force=True)
            while _reap():
                pass
        output.seek(0)
        return status, output.read().decode("utf-8", "replace")


def _wait(pid: int) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    raise TimeoutError("the container is still there after 30 seconds")


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False
