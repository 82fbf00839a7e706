"""Device nodes of a container (runtime-spec v1.2 config-linux.md#devices, #device-whitelist), as docker gives them.

null, zero, full, random, urandom, tty, ptmx and console are the runtime's own duty. Of this machine's a container gets
those of --device, or all with --privileged. In a user namespace nobody can make nodes: there they are bound, and no
cgroup keeps anybody from using what the user may use anyway.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from oci.errors import InvalidInput, LimitExceeded, show
from oci.runtime.inside import absolute
from oci.runtime.settings import RunSettings
from oci.spec.record import Record

__all__ = ["Device", "cgroup_rules", "devices", "node"]

MAX_DEVICES = 10_000  # of one folder, or of /dev with --privileged; each is a line of the document

# Folders of /dev that the container has its own of, or that hold no devices.
_OWN = ("pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev")
# Nodes that the runtime makes of itself.
_DEFAULT = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/console",
)

_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}

# What docker lets a container use, (allowed, major, minor): zero, null, urandom, random, tty, console; not fuse.
_RULES = ((True, 1, 5), (True, 1, 3), (True, 1, 9), (True, 1, 8), (True, 5, 0), (True, 5, 1), (False, 10, 229))


class Device(Record):
    """A node of this machine and where it shall be inside."""

    source: str
    path: str
    kind: str  # "c" or "b"
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: str


def _valid(permissions: str) -> bool:
    return bool(permissions) and set(permissions) <= set("rwm") and len(set(permissions)) == len(permissions)


def devices(settings: RunSettings) -> list[Device]:
    """All that the settings ask for, each path once; the later one counts. Raises InvalidInput, LimitExceeded."""
    found: dict[str, Device] = {}
    if settings.privileged:
        for name in _names("/dev"):
            if name not in _OWN:
                found |= {device.path: device for device in _tree(f"/dev/{name}", f"/dev/{name}", "rwm")}
        for path in _DEFAULT:
            found.pop(path, None)
    for asked in settings.devices:
        if not _valid(asked.permissions):
            raise InvalidInput(f"--device {show(asked.source)}: the permissions are some of r, w and m")
        target = absolute(asked.target, "--device")
        source = os.path.realpath(asked.source)
        here = list(_tree(source, target, "rwm" if settings.privileged else asked.permissions))
        if not here:
            raise InvalidInput(f"--device {show(asked.source)}: {_lacking(source)}")
        found |= {device.path: device for device in here}
    if len(found) > MAX_DEVICES:
        raise LimitExceeded("devices of a container", MAX_DEVICES, len(found))
    return list(found.values())


def _lacking(source: str) -> str:
    if not os.path.lexists(source):
        return "no such file on this machine"
    return "no device in that folder" if os.path.isdir(source) else "not a device"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []  # gone meanwhile, or not for us: then not for the container


def _tree(source: str, target: str, permissions: str) -> Iterator[Device]:
    """The device at a path, or those below it; links are not followed."""
    left, seen = [(source, target)], 0
    while left:
        here, path = left.pop()
        try:
            found = os.lstat(here)
        except OSError:
            continue
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        seen += 1
        if seen > MAX_DEVICES:
            raise LimitExceeded(f"files below {show(source)}", MAX_DEVICES)
        if kind is not None:
            yield Device(
                source=here,
                path=path,
                kind=kind,
                major=os.major(found.st_rdev),
                minor=os.minor(found.st_rdev),
                mode=stat.S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
                permissions=permissions,
            )
        elif stat.S_ISDIR(found.st_mode):
            left += [(f"{here}/{name}", f"{path}/{name}") for name in reversed(_names(here))]


def node(device: Device) -> dict[str, object]:
    """An entry of the document's `devices`."""
    return {
        "path": device.path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def cgroup_rules(found: list[Device], *, privileged: bool) -> list[dict[str, object]]:
    """The document's `resources.devices`: nothing but what is named; with --privileged everything."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, object]] = [{"allow": False, "access": "rwm"}]
    for allow, major, minor in _RULES:
        rules.append({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"})
    for device in found:
        rules.append(
            {
                "allow": True,
                "type": device.kind,
                "major": device.major,
                "minor": device.minor,
                "access": device.permissions,
            }
        )
    return rules
