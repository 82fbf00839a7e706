"""The runtime-spec document of a container (runtime-spec v1.2 config.md, config-linux.md), as docker would have it.

An image's config says how it likes to be run, the settings what was asked for, the facts where it will be. What comes
out names no path through a link of the image (inside.py), asks for nothing that this machine can't give (it is refused
here, in one line), and is the same for the same input. docs/runtime.md has the table of options and fields.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from oci.errors import InvalidInput, show
from oci.runtime import capabilities, devices, mounts, resources, seccomp
from oci.runtime.facts import Facts
from oci.runtime.mount_points import MountPoint, image_volumes, mount_points, working_directory
from oci.runtime.process import command, process_config, process_of
from oci.runtime.settings import NETWORKS, RunSettings
from oci.spec.config import ImageConfig
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Facts",
    "MountPoint",
    "command",
    "image_volumes",
    "mount_points",
    "process_config",
    "runtime_config",
    "working_directory",
]

# Nothing in the document is newer, so runtimes of every 1.x take it (config.md#specification-version).
VERSION = "1.0.2"

MAX_HOSTNAME = 64  # bytes, the kernel's __NEW_UTS_LEN

# docker's list: what tells of other processes' secrets or the machine's state, and what would change it
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Annotations that runtimes obey: files of this machine to write or to load (crun, Kata), another handler, systemd's
# properties. They are its user's to give, not an image's.
_ORDERS = (
    "run.oci.",
    "krun.",
    "module.wasm.",
    "org.criu.",
    "org.systemd.property.",
    "io.katacontainers.",
    "dev.gvisor.",
    "io.kubernetes.",
)


class _Machine(Record):
    """What this machine can do."""

    seccomp: seccomp.Machine
    cgroups: resources.Cgroups
    capabilities: tuple[str, ...]
    cpus: int

    @property
    def recursive(self) -> bool:
        return self.seccomp.kernel >= (5, 12)  # mount_setattr(2)

    @classmethod
    def here(cls) -> _Machine:
        name = os.uname()
        return cls(
            seccomp=seccomp.Machine.of(name.machine, name.release),
            cgroups=resources.Cgroups.here(),
            capabilities=capabilities.of_process(),
            cpus=os.cpu_count() or 1,
        )


def runtime_config(image: ImageConfig, settings: RunSettings, facts: Facts) -> dict[str, Any]:
    """The document `config.json`. Raises InvalidInput, InvalidDocument (a seccomp profile), LimitExceeded."""
    machine = _Machine.here()
    if settings.network not in NETWORKS:
        raise InvalidInput(f"--network {show(settings.network)}: one of {', '.join(NETWORKS)}")
    hostname = _hostname(settings, facts)
    bounding = capabilities.chosen(
        settings.cap_add, settings.cap_drop, privileged=settings.privileged, here=machine.capabilities
    )
    _check_root(facts.root_fd)
    places = mounts.asked(settings, facts.root_fd)
    found = devices.devices(settings)
    return {
        "ociVersion": VERSION,
        "process": process_of(image, settings, facts, hostname, bounding, _folders(places, facts)),
        "root": {"path": facts.root, "readonly": settings.read_only},
        "hostname": hostname,
        "mounts": _mounts(settings, facts, machine, places, found),
        "annotations": _annotations(image, settings),
        "linux": _linux(settings, facts, machine, bounding, found),
    }


def _check_root(root_fd: int) -> None:
    """Runtimes differ in what they do with an image whose /proc is a link, none of it good: it is refused."""
    for name in ("proc", "dev", "sys"):
        try:
            kind = os.stat(name, dir_fd=root_fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            continue  # the runtime makes it
        if not stat.S_ISDIR(kind):
            what = "a link" if stat.S_ISLNK(kind) else "a file"
            raise InvalidInput(f"the image's /{name} is {what}: a container needs a directory there")


def _linux(
    settings: RunSettings,
    facts: Facts,
    machine: _Machine,
    bounding: Sequence[str],
    found: list[devices.Device],
) -> dict[str, object]:
    linux: dict[str, object] = {"namespaces": _namespaces(settings, facts)}
    used = resources.resources(settings, machine.cgroups, initial=facts.initial, cpus=machine.cpus)
    if facts.initial:
        linux["devices"] = [devices.node(device) for device in found]
        used["devices"] = devices.cgroup_rules(found, privileged=settings.privileged)
    if used:
        linux["resources"] = used
    if facts.cgroup is not None and facts.initial:
        linux["cgroupsPath"] = facts.cgroup
    filters = None
    if not settings.privileged or settings.seccomp is not None:
        filters = seccomp.profile(settings.seccomp, bounding, machine.seccomp)
    if filters is not None:
        linux["seccomp"] = filters
    if settings.masks and not settings.privileged:
        linux["maskedPaths"] = [*MASKED, *_throttles()]
        linux["readonlyPaths"] = list(READ_ONLY)
    if any((mount.propagation or "").endswith("slave") for mount in settings.mounts):
        linux["rootfsPropagation"] = "rslave"
    return linux


def _namespaces(settings: RunSettings, facts: Facts) -> list[dict[str, str]]:
    kinds = ["pid", "ipc", "uts", "mount", "cgroup"]
    namespaces = [{"type": kind} for kind in kinds]
    if facts.network_namespace is not None:
        namespaces.append({"type": "network", "path": facts.network_namespace})
    elif settings.network != "host":
        namespaces.append({"type": "network"})  # a new one: the runtime brings its loopback up
    return namespaces


def _throttles() -> list[str]:
    """Where a processor's heat is told (docker masks it, GHSA-6fw5-f8r9-fgfm), as far as this machine has it."""
    folder = "/sys/devices/system/cpu"
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    places = (f"{folder}/{name}/thermal_throttle" for name in sorted(names) if name[3:].isdigit())
    return [place for place in places if os.path.exists(place)]


def _hostname(settings: RunSettings, facts: Facts) -> str:
    name = settings.hostname or facts.hostname or facts.id[:12]
    if not name.isascii() or not name.isprintable() or " " in name or len(name) > MAX_HOSTNAME:
        raise InvalidInput(f"--hostname {show(name)!r}: at most {MAX_HOSTNAME} ASCII letters, digits, - and .")
    return name


def _mounts(
    settings: RunSettings,
    facts: Facts,
    machine: _Machine,
    places: list[mounts.Place],
    found: list[devices.Device],
) -> list[dict[str, object]]:
    taken = [place.target for place in places]
    initial, recursive = facts.initial, machine.recursive
    default = mounts.default_mounts(
        settings,
        taken,
        initial=initial,
        maps=facts.maps,
        cgroup_version=machine.cgroups.version,
        recursive=recursive,
    )
    files = dict(zip(mounts.FILES, (facts.hosts, facts.hostname_file, facts.resolv_conf), strict=True))
    own = mounts.file_mounts(
        {place: files[path] for path, place in mounts.file_places(facts.root_fd).items()},
        [place.target for place in places if place.setting.type != "tmpfs"],
        read_only=settings.read_only,
        initial=initial,
    )
    if settings.init and facts.init_program is not None:
        own.append(
            mounts.bind(facts.init_program, mounts.INIT_TARGET, "ro", *mounts.locked(facts.init_program, initial))
        )
    if not initial:
        own += [_bound(device, settings) for device in found]
    wanted = [mounts.mount_of(place, _source(place, facts), initial=initial, recursive=recursive) for place in places]
    everything = [*default, *wanted, *own]
    return mounts.read_only_mounts(everything, taken) if settings.read_only else everything


def _bound(device: devices.Device, settings: RunSettings) -> dict[str, object]:
    if device.permissions != "rwm" and not settings.privileged:
        raise InvalidInput(
            f"--device {show(device.source)}:{device.permissions}: a part of the permissions needs cgroups, "
            "which an ordinary user's container hasn't got"
        )
    return mounts.bind(device.source, device.path, *mounts.locked(device.source, initial=False))


def _folders(places: list[mounts.Place], facts: Facts) -> dict[str, str | None]:
    """What will be at the places of mounts, where it is a folder of this machine."""
    return {place.target: None if place.setting.type == "tmpfs" else _source(place, facts) for place in places}


def _source(place: mounts.Place, facts: Facts) -> str:
    if place.setting.type != "volume":
        return place.setting.source
    folder = facts.volumes.get(place.setting.target)
    if folder is None:
        raise InvalidInput(f"volume at {show(place.setting.target)}: it isn't there; has it been removed?")
    return folder


def _annotations(image: ImageConfig, settings: RunSettings) -> dict[str, str]:
    """image-spec v1.1.1 conversion.md: labels, and what the config says of itself; what was asked for counts more."""
    platform, run = image.platform, image.run
    said = {
        "org.opencontainers.image.os": platform.os,
        "org.opencontainers.image.architecture": platform.architecture,
        "org.opencontainers.image.variant": platform.variant,
        "org.opencontainers.image.os.version": platform.os_version,
        "org.opencontainers.image.os.features": ",".join(platform.os_features),
        "org.opencontainers.image.author": image.author,
        "org.opencontainers.image.created": image.created,
        "org.opencontainers.image.stopSignal": settings.stop_signal or run.stop_signal,
        "org.opencontainers.image.exposedPorts": ",".join(run.exposed_ports or ()),
    }
    labels = {name: text for name, text in (run.labels or {}).items() if not name.startswith(_ORDERS)}
    return {**{name: text for name, text in said.items() if text}, **labels, **settings.labels}
