"""config.json for a start: made when the tree is mounted, since users and groups are looked up in it.

runtime-spec v1.2 bundle.md; what stands in it is the work of oci/runtime/config.py.
"""

from __future__ import annotations

import os

from oci.container.etc_files import hostname_of, write_etc_files
from oci.linux import idmaps
from oci.runtime.config import Facts, runtime_config
from oci.runtime.programs import check_program
from oci.spec.wire import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.runtime.settings import RunSettings

__all__ = ["CONFIG", "facts_of", "write_bundle"]

CONFIG = "bundle/config.json"
# Programs for --init, the first that is there: they reap, and pass signals on.
_INITS = ("catatonit", "docker-init", "tini-static", "tini", "dumb-init")
_PLACES = "/usr/libexec/podman:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def write_bundle(container: Container, root: str) -> None:
    """Write `bundle/config.json` for the tree at `root`, and the files of /etc that it binds."""
    settings, folder = container.settings, container.folder
    hostname = hostname_of(settings, container.id)
    write_etc_files(folder, settings, hostname)
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        facts = facts_of(container, settings, root, root_fd, hostname)
        document = runtime_config(container.image_config, settings, facts)
        check_program(root_fd, document["process"], document["mounts"], machine=os.uname().machine)
    finally:
        os.close(root_fd)
    os.makedirs(f"{folder}/bundle", 0o700, exist_ok=True)
    fd = os.open(f"{folder}/{CONFIG}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(dumps(document))


def facts_of(container: Container, settings: RunSettings, root: str, root_fd: int, hostname: str) -> Facts:
    """What is known of this machine and this container."""
    store, folder = container.store, container.folder
    maps = idmaps.current()
    volumes = {path: store.volume_path(name) for name, path, _ in store.containers.volumes(container.id)}
    return Facts(
        id=container.id,
        root=root,
        root_fd=root_fd,
        maps=maps,
        initial=maps.identity,
        hostname=hostname,
        hosts=f"{folder}/hosts",
        hostname_file=f"{folder}/hostname",
        resolv_conf=f"{folder}/resolv.conf",
        volumes=volumes,
        cgroup=f"/{store.cgroup_name(container.id)}" if maps.identity else None,
        init_program=_init_program() if settings.init else None,
    )


def _init_program() -> str | None:
    import shutil

    return next((found for name in _INITS if (found := shutil.which(name, path=_PLACES))), None)
