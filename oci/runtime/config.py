"""The runtime-spec document of a container (runtime-spec v1.2 config.md, config-linux.md), as docker would have it.

An image's config says how it likes to be run, the settings what was asked for, the facts where it will be. What comes
out names no path through a link of the image (inside.py), asks for nothing that this machine can't give (it is refused
here, in one line), and is the same for the same input. docs/runtime.md has the table of options and fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oci.errors import InvalidInput, show
from oci.runtime import capabilities, devices, mounts, resources, seccomp
from oci.runtime.env import environment
from oci.runtime.inside import absolute, below, settle
from oci.runtime.settings import NETWORKS, RunSettings
from oci.runtime.users import User, resolve_user
from oci.spec.config import ImageConfig
from oci.spec.record import Record, field

if TYPE_CHECKING:
    from oci.linux.idmaps import IdMaps

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
    cgroup: str | None = None  # "/ocikit-<id>"; None: the runtime makes none
    init_program: str | None = None  # of this machine; bound to mounts.INIT_TARGET for --init
    network_namespace: str | None = None  # the path of one that is there already


class MountPoint(Record):
    """A path that has to be there before the container starts: "dir" or "file".

    `mode` is what it gets where the image hasn't got it. runc up to 1.1 gives a tmpfs the mode of the directory that
    it covers, whatever the options say; so a place made for one has the mode that the tmpfs shall have.
    """

    path: str
    kind: str
    mode: int = 0o755


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
    user = _user(image, settings, facts)
    bounding = capabilities.chosen(
        settings.cap_add, settings.cap_drop, privileged=settings.privileged, here=machine.capabilities
    )
    places = mounts.asked(settings, facts.root_fd)
    found = devices.devices(settings)
    process: dict[str, object] = {
        "terminal": settings.tty,
        "user": _spec_user(user, settings, facts),
        "args": _with_init(command(image, settings), settings, facts),
        "env": environment(image.run.env or (), settings.env, hostname=hostname, home=user.home, tty=settings.tty),
        "cwd": _inside_cwd(working_directory(image, settings), facts, [place.target for place in places]),
        "capabilities": capabilities.sets(bounding, user.uid),
        "noNewPrivileges": settings.no_new_privileges,
    }
    limits = resources.rlimits(settings.ulimits, _hard_limit)
    if limits:
        process["rlimits"] = limits
    return {
        "ociVersion": VERSION,
        "process": process,
        "root": {"path": facts.root, "readonly": settings.read_only},
        "hostname": hostname,
        "mounts": _mounts(settings, facts, machine, places, found),
        "annotations": _annotations(image, settings),
        "linux": _linux(settings, facts, machine, bounding, found),
    }


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


def _hard_limit(number: int) -> int:
    import resource

    return resource.getrlimit(number)[1]


def _hostname(settings: RunSettings, facts: Facts) -> str:
    name = settings.hostname or facts.hostname or facts.id[:12]
    if not name.isascii() or not name.isprintable() or " " in name or len(name) > MAX_HOSTNAME:
        raise InvalidInput(f"--hostname {show(name)!r}: at most {MAX_HOSTNAME} ASCII letters, digits, - and .")
    return name


def command(image: ImageConfig, settings: RunSettings) -> tuple[str, ...]:
    """What is run: docker's rules of Entrypoint, Cmd and the words behind the image's name. Raises InvalidInput."""
    if settings.entrypoint is not None:
        words = (*settings.entrypoint, *settings.args)
    else:
        words = (*(image.run.entrypoint or ()), *(settings.args or image.run.cmd or ()))
    if not words:
        raise InvalidInput("no command: the image has neither Entrypoint nor Cmd; say what to run behind its name")
    for word in words:
        _check_word(word)
    return words


def _check_word(word: str) -> None:
    if "\0" in word:
        raise InvalidInput(f"argument {show(word)!r}: a NUL in it, which no program could be given")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"argument {show(word)!r}: not UTF-8, which a runtime-spec document can't say") from None


def _with_init(words: tuple[str, ...], settings: RunSettings, facts: Facts) -> list[str]:
    if not settings.init:
        return list(words)
    if facts.init_program is None:
        raise InvalidInput("--init: no init program on this machine; install catatonit, tini or docker-init")
    return [mounts.INIT_TARGET, "--", *words]


def working_directory(image: ImageConfig, settings: RunSettings) -> str:
    """The absolute path of the working directory, in its plain form; links not yet settled. Raises InvalidInput."""
    if settings.workdir is not None:
        return absolute(settings.workdir, "working directory")
    return absolute(image.run.working_dir or "/", "working directory of the image")


def _inside_cwd(path: str, facts: Facts, mounted: Sequence[str]) -> str:
    """The working directory's own place. CVE-2024-21626: a process's links in /proc lead out of every root."""
    place = settle(facts.root_fd, path, "working directory", set(mounted))
    names = place.split("/")
    if below(place, "/proc") and len(names) > 2 and (names[2] in ("self", "thread-self") or names[2].isdigit()):
        led = "" if place == path else f" leads to {show(place)}, which"
        raise InvalidInput(f"working directory {show(path)!r}{led} is a process's own folder: nothing can start there")
    return place


def _user(image: ImageConfig, settings: RunSettings, facts: Facts) -> User:
    text = settings.user if settings.user is not None else image.run.user
    return resolve_user(facts.root_fd, text, settings.group_add)


def _spec_user(user: User, settings: RunSettings | None, facts: Facts) -> dict[str, object]:
    """The document's `user`. A user namespace has the ids that it maps, no others. Raises InvalidInput."""
    maps = facts.maps
    if not maps.has_uid(user.uid) or not maps.has_gid(user.gid):
        who = f"user {user.uid}:{user.gid}" + (f" ({show(user.name)})" if user.name else "")
        raise InvalidInput(
            f"{who} has no id here: this user namespace has {_count(maps)}; "
            "give yourself ranges in /etc/subuid and /etc/subgid, or run as root with --user 0:0"
        )
    made: dict[str, object] = {"uid": user.uid, "gid": user.gid}
    if maps.single and not maps.identity:
        # Without a range, setgroups(2) is denied for good (user_namespaces(7)).
        if settings is not None and settings.group_add:
            raise InvalidInput("--group-add: a user namespace with a single id can't have further groups")
        return made
    made["additionalGids"] = [user.gid, *(gid for gid in user.groups if gid != user.gid and maps.has_gid(gid))]
    return made


def _count(maps: IdMaps) -> str:
    return "0:0 alone" if maps.single else f"{sum(one.size for one in maps.uids)} of them"


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
        {settle(facts.root_fd, target, target): source for target, source in files.items()},
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
    return {**{name: text for name, text in said.items() if text}, **(run.labels or {}), **settings.labels}


def image_volumes(image: ImageConfig, settings: RunSettings) -> tuple[str, ...]:
    """Paths of the image's Volumes for which nothing was asked: each wants an anonymous volume. Raises InvalidInput."""
    asked = {absolute(mount.target, "mount") for mount in settings.mounts}
    paths = dict.fromkeys(absolute(path, "volume of the image") for path in image.run.volumes or ())
    return tuple(path for path in paths if path not in asked)


def mount_points(settings: RunSettings, image: ImageConfig, root_fd: int | None = None) -> tuple[MountPoint, ...]:
    """What has to be there for the document's mounts and working directory, parents before children.

    With `root_fd`, the image's tree, paths are settled in it; without, they stand as written, and whoever makes them
    has to mind the image's links. What is there already may be among them. Raises InvalidInput.
    """
    kinds = {"/proc": "dir", "/dev": "dir", "/sys": "dir"}
    places = mounts.asked(settings, root_fd)
    targets = [place.target for place in places]
    for path in mounts.FILES:
        kinds[path if root_fd is None else settle(root_fd, path, path)] = "file"
    for place in places:
        kinds[place.target] = mounts.kind_of(place.setting)
    for device in settings.devices:
        kinds[absolute(device.target, "--device")] = "file"
    directory = working_directory(image, settings)
    kinds.setdefault(directory if root_fd is None else settle(root_fd, directory, "working directory", targets), "dir")
    covers = {"/proc", "/dev", "/sys", *targets}
    modes = {place.target: mounts.tmpfs_mode(place.setting) for place in places if place.setting.type == "tmpfs"}
    made = [
        MountPoint(path=path, kind=kind, mode=modes.get(path, 0o755))
        for path, kind in kinds.items()
        if path != "/" and not any(path != cover and below(path, cover) for cover in covers)
    ]
    return tuple(sorted(made, key=lambda point: (point.path.count("/"), point.path)))


def process_config(
    config: Mapping[str, Any],
    args: Sequence[str],
    facts: Facts,
    *,
    env: tuple[tuple[str, str | None], ...] = (),
    workdir: str | None = None,
    user: str | None = None,
    tty: bool = False,
    privileged: bool = False,
) -> dict[str, Any]:
    """A document `process.json` for `exec` in a running container whose document is `config`. Raises InvalidInput.

    docker's rules: the container's variables, user, working directory and limits unless others are asked for;
    --privileged gives all capabilities and takes no filter away.
    """
    process = config["process"]
    if not args:
        raise InvalidInput("no command: say what to run in the container")
    for word in args:
        _check_word(word)
    inherited = list(process.get("env", ()))
    spec_user = process["user"]
    who = resolve_user(facts.root_fd, f"{spec_user['uid']}")
    if user is not None:
        # HOME is the container's user's, unless somebody said it.
        inherited = [entry for entry in inherited if entry != f"HOME={who.home}"]
        who = resolve_user(facts.root_fd, user)
        spec_user = _spec_user(who, None, facts)
    held = process["capabilities"]["bounding"]
    bounding = capabilities.chosen((), (), privileged=True, here=capabilities.of_process()) if privileged else held
    targets = [mount["destination"] for mount in config["mounts"]]
    made: dict[str, object] = {
        "terminal": tty,
        "user": spec_user,
        "args": list(args),
        "env": environment((), env, hostname=config["hostname"], home=who.home, tty=tty, inherited=inherited),
        "cwd": process["cwd"]
        if workdir is None
        else _inside_cwd(absolute(workdir, "working directory"), facts, targets),
        "capabilities": capabilities.sets(bounding, spec_user["uid"]),
        "noNewPrivileges": process.get("noNewPrivileges", False),
    }
    if "rlimits" in process:
        made["rlimits"] = process["rlimits"]
    return made
