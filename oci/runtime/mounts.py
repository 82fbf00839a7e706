"""What is mounted in a container, and where (runtime-spec v1.2 config.md#mounts): docker's list, then what was asked.

proc, a tmpfs for /dev with devpts, mqueue and shm, sysfs and cgroups that can only be read; the container's own hosts,
hostname and resolv.conf over the image's, so that no layer ever holds them; then binds, volumes and tmpfs, parents
before children. In a user namespace some of that is the kernel's to refuse: what is done instead stands at each.

A mount's place is settled inside the image's root first: no link of the image leads it elsewhere, and none into /proc,
where it would hide from the container's eyes what runtimes look at (CVE-2019-16884, CVE-2019-19921).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from oci.errors import InvalidInput, show
from oci.lazily import re
from oci.runtime.inside import absolute, below, is_kernels, settle
from oci.runtime.settings import DEFAULT_PROPAGATION, MOUNT_TYPES, PROPAGATIONS, MountSetting, RunSettings
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.linux.idmaps import IdMaps

__all__ = ["INIT_TARGET", "Place", "asked", "default_mounts", "mount_of", "tmpfs_options"]

INIT_TARGET = "/dev/init"  # in a tmpfs of the container's own: nothing is made in the image's tree for it
SHM_SIZE = 64 << 20  # docker's
DEV_SIZE = "65536k"
TTY_GROUP = 5  # whose terminals are, in every distribution
CGROUP = "/sys/fs/cgroup"
FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")

_QUIET = ("nosuid", "noexec", "nodev")

# What a mount inherits from its source and a user namespace can't take off (mount_namespaces(7)): said again.
_LOCKED = (
    (os.ST_NOSUID, "nosuid"),
    (os.ST_NODEV, "nodev"),
    (os.ST_NOEXEC, "noexec"),
    (os.ST_NOATIME, "noatime"),
    (os.ST_NODIRATIME, "nodiratime"),
)

# tmpfs: words that stand against each other; the later one counts
_PAIRS = (
    ("ro", "rw"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("sync", "async"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
    ("relatime", "norelatime"),
    ("strictatime", "nostrictatime"),
)
_OPPOSITE = {word: other for pair in _PAIRS for word, other in (pair, pair[::-1])}
_VALUES = {
    "size": r"\d{1,18}[kmgtKMGT]?|\d{1,3}%",
    "nr_blocks": r"\d{1,18}[kmgKMG]?",
    "nr_inodes": r"\d{1,18}[kmgKMG]?",
    "mode": r"[0-7]{1,5}",
    "uid": r"\d{1,10}",
    "gid": r"\d{1,10}",
}


class Place(Record):
    """A mount that was asked for, at its settled place."""

    target: str
    setting: MountSetting


def asked(settings: RunSettings, root_fd: int | None) -> list[Place]:
    """The mounts of the settings, settled, parents before children. Raises InvalidInput.

    Without `root_fd` (no tree to look into yet) the places stay as written.
    """
    places: dict[str, Place] = {}
    for setting in sorted(settings.mounts, key=lambda mount: absolute(mount.target, "mount").count("/")):
        option = f"mount of {setting.type}"
        if setting.type not in MOUNT_TYPES:
            raise InvalidInput(f"mount type {show(setting.type)!r}: one of {', '.join(MOUNT_TYPES)}")
        target = absolute(setting.target, option)
        if root_fd is not None:
            target = settle(root_fd, target, option, set(places))
        led = "" if target == setting.target else f" (which leads to {show(target)} in this image)"
        if target == "/":
            raise InvalidInput(f"{option} at {show(setting.target)!r}{led}: it would hide the whole image")
        if below(target, "/proc"):
            raise InvalidInput(f"{option} at {show(setting.target)!r}{led}: nothing can be mounted in /proc")
        if target in ("/dev", "/dev/pts", "/dev/console") and setting.type == "volume":
            # Runtimes bind /dev/null and a terminal from there (CVE-2025-31133, CVE-2025-52565), not an image's links.
            raise InvalidInput(f"{option} at {show(setting.target)!r}{led}: a container has its own devices there")
        if target in places:
            other = places[target].setting
            raise InvalidInput(f"two mounts at {show(target)}: {_words(other)} and {_words(setting)}")
        places[target] = Place(target=target, setting=setting)
    return sorted(places.values(), key=lambda place: place.target.count("/"))


def _words(setting: MountSetting) -> str:
    return f"{setting.type} {show(setting.source)}".rstrip()


def default_mounts(
    settings: RunSettings, taken: Iterable[str], *, initial: bool, maps: IdMaps, cgroup_version: int, recursive: bool
) -> list[dict[str, object]]:
    """docker's mounts, without those whose places were `taken`; `recursive`: the kernel knows recursive attributes."""
    if settings.shm_size is not None and settings.shm_size <= 0:
        raise InvalidInput(f"--shm-size {settings.shm_size}: at least 1 byte")
    shm = f"size={SHM_SIZE if settings.shm_size is None else settings.shm_size}"
    mounts = [
        _mount("/proc", "proc", "proc", *_QUIET),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", f"size={DEV_SIZE}"),
        # In a user namespace that hasn't the group the kernel refuses the option, not the mount.
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            *("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
            *((f"gid={TTY_GROUP}",) if maps.has_gid(TTY_GROUP) else ()),
        ),
        *_sys(settings, initial=initial, cgroup_version=cgroup_version, recursive=recursive),
        _mount("/dev/mqueue", "mqueue", "mqueue", *_QUIET),
        _mount("/dev/shm", "tmpfs", "shm", *_QUIET, "mode=1777", shm),
    ]
    hidden = set(taken)
    if "/dev" in hidden:
        hidden |= {"/dev/pts", "/dev/mqueue", "/dev/shm"}
    if "/sys" in hidden:
        hidden.add(CGROUP)
    return [mount for mount in mounts if mount["destination"] not in hidden]


def _sys(settings: RunSettings, *, initial: bool, cgroup_version: int, recursive: bool) -> list[dict[str, object]]:
    read_only = () if settings.privileged else ("ro",)
    if not initial and settings.network == "host":
        # sysfs shows a network namespace: only who has rights over that one may mount it. So this machine's is bound.
        flags = (*_QUIET, "ro", *(("rro",) if recursive else ()))
        return [_mount("/sys", "none", "/sys", "rbind", "rslave", *flags)]
    sys = _mount("/sys", "sysfs", "sysfs", *_QUIET, *read_only)
    if cgroup_version == 2 or (initial and cgroup_version == 1):
        return [sys, _mount(CGROUP, "cgroup", "cgroup", *_QUIET, "relatime", *read_only)]
    return [sys]  # version 1 of cgroups can't be mounted in a user namespace


def file_places(root_fd: int) -> dict[str, str]:
    """FILES, and where each is in the image. Raises InvalidInput for a link to a file that is the kernel's."""
    places = {path: settle(root_fd, path, path) for path in FILES}
    for path, place in places.items():
        if is_kernels(place):
            raise InvalidInput(f"the image's {path} leads to {show(place)}: nothing can be mounted there")
    return places


def file_mounts(
    files: Mapping[str, str | None], taken: Iterable[str], *, read_only: bool, initial: bool
) -> list[dict[str, object]]:
    """The container's own hosts, hostname, resolv.conf, wherever no mount that was asked for covers their places."""
    covered = set(taken)
    return [
        _mount(target, "bind", source, "rbind", "rprivate", *(("ro",) if read_only else ()), *locked(source, initial))
        for target, source in files.items()
        if source is not None and not any(below(target, place) for place in covered)
    ]


def mount_of(place: Place, source: str, *, initial: bool, recursive: bool) -> dict[str, object]:
    """The document's entry for a mount; `source` is the folder here, of a volume its data. Raises InvalidInput."""
    setting = place.setting
    if setting.type == "tmpfs":
        return _mount(place.target, "tmpfs", "tmpfs", *tmpfs_options(setting))
    if setting.type == "bind" and setting.options:
        raise InvalidInput(f"bind at {show(setting.target)}: no options but ro, and how mounts are passed on")
    propagation = setting.propagation or DEFAULT_PROPAGATION
    if propagation not in PROPAGATIONS:
        raise InvalidInput(f"bind at {show(setting.target)}: propagation is one of {', '.join(PROPAGATIONS)}")
    if propagation.endswith("shared"):
        raise InvalidInput(
            f"bind at {show(setting.target)}: {propagation} can't be had, a container's mounts end with it; "
            "rslave lets this machine's mounts in"
        )
    if setting.type == "bind":
        source = absolute(source, "bind source")
    if not os.path.lexists(source):
        raise InvalidInput(f"bind source {show(source)}: no such file or directory on this machine")
    whole = setting.recursive
    flags = ["ro"] + (["rro"] if whole and recursive else []) if setting.read_only else []
    kind = "rbind" if whole else "bind"
    return _mount(place.target, "bind", source, kind, propagation, *flags, *locked(source, initial))


def locked(source: str, initial: bool) -> tuple[str, ...]:
    """The options of a bind that a user namespace can't do without, since its source has them."""
    if initial:
        return ()
    try:
        flags = os.statvfs(source).f_flag
    except OSError:
        return ()
    return tuple(word for bit, word in _LOCKED if flags & bit)


def tmpfs_options(setting: MountSetting) -> tuple[str, ...]:
    """docker's options of a tmpfs (noexec, nosuid, nodev) and those that were asked for. Raises InvalidInput."""
    chosen = dict.fromkeys(_QUIET, "")
    for option in (*setting.options, *(("ro",) if setting.read_only else ())):
        word, equals, value = option.partition("=")
        if word == "size" and value == "0":  # the kernel's "no limit", docker's too
            chosen["size"] = "0"
        elif equals and word in _VALUES and re.fullmatch(_VALUES[word], value, re.ASCII):
            chosen[word] = value
        elif not equals and word in _OPPOSITE:
            chosen.pop(_OPPOSITE[word], None)
            chosen[word] = ""
        elif option != "defaults":
            raise InvalidInput(
                f"tmpfs at {show(setting.target)}: option {show(option)!r} is not one that a tmpfs takes"
            )
    return tuple(f"{word}={value}" if value else word for word, value in chosen.items())


def tmpfs_mode(setting: MountSetting) -> int:
    """The mode of a tmpfs: what its options say, else the kernel's own."""
    modes = [option[5:] for option in tmpfs_options(setting) if option.startswith("mode=")]
    return int(modes[-1], 8) if modes else 0o1777


def read_only_mounts(mounts: list[dict[str, object]], taken: Iterable[str]) -> list[dict[str, object]]:
    """With a read-only root docker's own mounts are read-only too, but for those that every program writes to."""
    writable = {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", *taken}
    made = []
    for mount in mounts:
        options = mount["options"]
        assert isinstance(options, list)
        if mount["destination"] not in writable and "ro" not in options:
            mount = mount | {"options": [*options, "ro"]}
        made.append(mount)
    return made


def kind_of(setting: MountSetting) -> str:
    """What has to be there for a mount: "file" for a bind of anything but a directory, else "dir"."""
    if setting.type != "bind":
        return "dir"
    try:
        mode = os.stat(setting.source).st_mode
    except OSError:
        return "dir"
    return "dir" if stat.S_ISDIR(mode) else "file"


def bind(source: str, target: str, *options: str) -> dict[str, object]:
    """A bind of one file or folder of this machine."""
    return _mount(target, "bind", source, "rbind", "rprivate", *options)


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, object]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}
