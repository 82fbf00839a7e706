"""What root may do in a container: docker's default capabilities, and what --cap-add, --cap-drop, … make of them.

runtime-spec v1.2 config.md#linux-process. They stand in the bounding, permitted and effective sets, never in the
inheritable one (CVE-2022-24769) and never in the ambient one. A process that isn't root gets none, but the bounding
set stays: a setuid program can still have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oci.errors import InvalidInput, show

__all__ = ["CAPABILITIES", "DEFAULT", "available", "chosen", "of_process", "sets"]

# By their numbers in the kernel (capability.h), the last since Linux 5.9.
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"""
_DEFAULT_NAMES = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
    AUDIT_WRITE"""

CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())  # by their numbers in the kernel (capability.h)
DEFAULT = tuple(f"CAP_{name}" for name in _DEFAULT_NAMES.split())

ALL = "ALL"


def available(status: bytes) -> tuple[str, ...]:
    """The capabilities that a process with this /proc/PID/status can give away: those in its bounding set."""
    for line in status.splitlines():
        if line.startswith(b"CapBnd:"):
            mask = int(line.split()[1], 16)
            return tuple(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1)
    return CAPABILITIES


def of_process() -> tuple[str, ...]:
    """The capabilities that this very process can give away."""
    with open("/proc/self/status", "rb") as file:
        return available(file.read())


def chosen(add: Sequence[str], drop: Sequence[str], *, privileged: bool, here: Iterable[str]) -> tuple[str, ...]:
    """The bounding set by docker's rules; `here` is what can be given at all. Raises InvalidInput.

    ALL added: all that is here, less the dropped. ALL dropped: what was added alone. Else the default, less the
    dropped, and the added.
    """
    known = set(here)
    if privileged:
        return tuple(name for name in CAPABILITIES if name in known)
    more = [_named("--cap-add", text) for text in add]
    less = [_named("--cap-drop", text) for text in drop]
    for name in more:
        if name != ALL and name not in known:
            raise InvalidInput(f"--cap-add {name}: this process hasn't got that capability itself, so it can't give it")
    if ALL in more:
        wanted = known - set(less)
    elif ALL in less:
        wanted = set(more)
    else:
        wanted = (set(DEFAULT) & known) - set(less) | set(more)
    return tuple(name for name in CAPABILITIES if name in wanted)


def _named(option: str, text: str) -> str:
    """NET_ADMIN, cap_net_admin, … → CAP_NET_ADMIN."""
    name = text.upper()
    if name == ALL:
        return ALL
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in CAPABILITIES:
        raise InvalidInput(f"{option} {show(text)!r}: no such capability; capabilities(7) lists them")
    return name


def sets(bounding: Sequence[str], uid: int) -> dict[str, list[str]]:
    """The document's `capabilities` of a process of this user."""
    held = list(bounding) if uid == 0 else []
    return {"bounding": list(bounding), "effective": held, "permitted": list(held), "inheritable": [], "ambient": []}
