"""What is known of this machine, this process and this container when a runtime-spec document is made."""

from __future__ import annotations

from collections.abc import Mapping

from oci.spec.record import Record, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.linux.idmaps import IdMaps

__all__ = ["Facts"]


class Facts(Record):
    """What is known of this machine, this process and this container when the document is made."""

    id: str
    root: str  # the merged tree's path, as the runtime will see it
    root_fd: int  # the same tree, to read /etc/passwd and /etc/group and to settle paths
    maps: IdMaps
    initial: bool  # in the first user namespace: devices and cgroups can be made
    hostname: str = ""  # "": the first twelve digits of the id
    hosts: str | None = None  # files that are bound over /etc/hosts, /etc/hostname, /etc/resolv.conf
    hostname_file: str | None = None
    resolv_conf: str | None = None
    volumes: Mapping[str, str] = field(default_factory=dict, hash=False)  # a mount's target → the volume's data folder
    cgroup: str | None = None  # "/ocikit-<store>-<id>"; None: the runtime makes none
    init_program: str | None = None  # of this machine; bound to mounts.INIT_TARGET for --init
    network_namespace: str | None = None  # the path of one that is there already
