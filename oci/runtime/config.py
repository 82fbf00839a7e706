"""The runtime-spec document of a container (runtime-spec v1.2 config.md, config-linux.md), as docker would have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from oci.runtime.settings import RunSettings
from oci.spec.config import ImageConfig
from oci.spec.record import Record, field

if TYPE_CHECKING:
    from oci.linux.idmaps import IdMaps

__all__ = ["Facts", "MountPoint", "mount_points", "process_config", "runtime_config"]


class Facts(Record):
    """What is known of this machine, this process and this container when the document is made."""

    id: str
    root: str  # the merged tree's path, as the runtime will see it
    root_fd: int  # the same tree, to read /etc/passwd and /etc/group safely
    maps: IdMaps
    initial: bool  # in the first user namespace: devices and cgroups can be made
    hostname: str = ""  # "": the first twelve digits of the id
    hosts: str | None = None  # files that are bound over /etc/hosts, /etc/hostname, /etc/resolv.conf
    hostname_file: str | None = None
    resolv_conf: str | None = None
    volumes: Mapping[str, str] = field(default_factory=dict, hash=False)  # a mount's target → the volume's data folder
    cgroup: str | None = None  # "/ocikit-<id>"; None: the runtime makes none
    init_program: str | None = None  # of this machine; bound to INIT_TARGET for --init
    network_namespace: str | None = None  # the path of one that is there already (slirp4netns)


class MountPoint(Record):
    """A path that the document mounts on, and what has to be there: "dir" or "file"."""

    path: str
    kind: str


def runtime_config(image: ImageConfig, settings: RunSettings, facts: Facts) -> dict[str, object]:
    """The document `config.json`. Raises InvalidInput, ConfigurationError, LimitExceeded."""
    raise NotImplementedError


def process_config(
    config: Mapping[str, object],
    args: tuple[str, ...],
    facts: Facts,
    *,
    env: tuple[tuple[str, str | None], ...] = (),
    workdir: str | None = None,
    user: str | None = None,
    tty: bool = False,
    privileged: bool = False,
) -> dict[str, object]:
    """A document `process.json` for `exec` in a running container whose document is `config`."""
    raise NotImplementedError


def mount_points(settings: RunSettings, image: ImageConfig) -> tuple[MountPoint, ...]:
    """What the document will mount on, parents before children: so that the scaffold can hold it all."""
    raise NotImplementedError
