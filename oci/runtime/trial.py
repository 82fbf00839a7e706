"""Which OCI runtime works here: each is made to create one tiny container, which never starts.

A version number says little: crun refuses machines that mix both versions of cgroups, a distribution's runtime may be
without seccomp, a kernel may forbid user namespaces. The trial is `create` with everything that a real container has
(namespaces, a proc, a cgroup, a filter), whose program is the runtime's own file bound into an empty root; then
`delete`. It costs two runs of the program, so the caller keeps the answer (`Found.to_json`): it holds as long as that
file is the same.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress

from oci.errors import RuntimeFailed, show
from oci.runtime.devices import cgroup_rules
from oci.runtime.found import Found, file_of, in_user_namespace, remembered
from oci.runtime.runc import ENVIRONMENT, SHORT, Runtime, Streams, run
from oci.spec.wire import dumps
from oci.streams.scratch import scratch_folder

__all__ = ["choose", "find"]

TRIAL = "ocikit-trial-"  # how the name of the tiny container begins, and of its cgroup


def find(folder: str, names: Sequence[str] = ("crun", "runc"), *, known: str | None = None) -> Runtime:
    """The first of `names` (names or paths) that really makes a container here; its state goes to `folder`.

    `known`: what `found.to_json()` gave earlier; taken without a trial while that program is unchanged. RuntimeFailed
    says of each why it won't do, or what to install.
    """
    found = remembered(known, names)
    return Runtime(choose(folder, names) if found is None else found, folder)


def choose(folder: str, names: Sequence[str]) -> Found:
    """The first that works. Raises RuntimeFailed with what each had to say."""
    reasons = []
    for name in names:
        path = _located(name)
        if path is None:
            reasons.append(f"{show(name)}: not installed")
            continue
        try:
            return _tried(folder, path)
        except RuntimeFailed as error:
            reasons.append(f"{show(name)}: {error}")
    hint = "install runc or crun" if all(reason.endswith("not installed") for reason in reasons) else "see --runtime"
    raise RuntimeFailed(f"no OCI runtime works here ({'; '.join(reasons)}); {hint}")


def _located(name: str) -> str | None:
    if "/" in name:
        return os.path.abspath(name) if os.access(name, os.X_OK) and os.path.isfile(name) else None
    return shutil.which(name, path=ENVIRONMENT["PATH"])


def _tried(folder: str, path: str) -> Found:
    status, printed = run(os.path.basename(path), "--version", [path, "--version"], Streams(), SHORT, True, None)
    words = printed.decode("utf-8", "replace").split()
    if status != 0 or len(words) < 3 or words[1] != "version":
        raise RuntimeFailed("it doesn't say its version, as runc and crun do")
    found = Found(
        path=path, name=words[0], version=words[2], seccomp=True, file=file_of(path), user=in_user_namespace()
    )
    try:
        _create(folder, found)
    except RuntimeFailed as error:
        if "seccomp" not in str(error):
            raise
        found = found.replace(seccomp=False)
        _create(folder, found)
    return found


def _create(folder: str, found: Found) -> None:
    """One container, made and deleted. Raises RuntimeFailed."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # Its state lies in the same folder: when this process is killed, that folder tells all that is left of the trial.
    with scratch_folder(folder) as bundle:
        name = f"{TRIAL}{secrets.token_hex(8)}"
        runtime = Runtime(found, f"{bundle}/run")
        os.mkdir(f"{bundle}/rootfs", 0o755)
        with open(f"{bundle}/config.json", "wb") as file:
            file.write(dumps(_document(found, name)))
        try:
            runtime.create(name, bundle, before=_own_mounts)
        except RuntimeFailed:
            with suppress(RuntimeFailed):  # what `create` said is what counts
                runtime.delete(name, force=True)
            raise
        runtime.delete(name, force=True)


def _own_mounts() -> None:
    """In the runtime's process: its mounts are nobody else's, and `/` is a mount point even in a chroot."""
    from oci.linux.namespaces import unshare_mounts

    unshare_mounts()


def _document(found: Found, name: str) -> Mapping[str, object]:
    linux: dict[str, object] = {
        "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": ["/proc/keys"],
        "readonlyPaths": ["/proc/sys"],
    }
    if not found.user:
        linux["cgroupsPath"] = f"/{name}"
        linux["resources"] = {"devices": cgroup_rules([], privileged=False)}
    if found.seccomp:
        linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
        }
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/runtime"], "cwd": "/", "env": []},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/runtime", "type": "bind", "source": found.path, "options": ["bind", "ro"]},
        ],
        "linux": linux,
    }
