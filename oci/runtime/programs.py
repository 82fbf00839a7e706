"""Whether a program and its working directory are there and can be used: what a runtime tells late, or elsewhere too.

runc and crun look for the program themselves, but what they say of it they write on the container's own stderr as well,
into its log. And a file that the kernel won't execute fails in the container's last step before it is the program, when
the runtime has gone: a word on stderr and exit status 1 are all that is left. So it is looked at here first, in the
container's tree, with docker's exit status: 127 for what isn't there, 126 for what is there and can't be run. Only what
is sure is told; the rest is the runtime's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Mapping, Sequence

from oci.errors import InvalidInput, RuntimeFailed, show
from oci.runtime.inside import below, settle
from oci.runtime.mounts import INIT_TARGET
from oci.runtime.seccomp import MACHINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["check_program"]

MAX_HEAD = 256  # bytes of a program that are looked at: the kernel's BINPRM_BUF_SIZE
_ELF = b"\x7fELF"
# e_machine (elf.h) of programs that a machine runs, by Go's name of its architecture
_ELF_MACHINES = {
    "amd64": (62, 3),
    "386": (3,),
    "arm64": (183, 40),
    "arm": (40,),
    "ppc64le": (21,),
    "s390x": (22,),
    "riscv64": (243,),
}


def check_program(
    root_fd: int, process: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]], *, machine: str
) -> None:
    """Raise RuntimeFailed (126 or 127) for a program that surely can't be run; say nothing where it isn't sure.

    `process` is a document's, or that of an exec; `mounts` what of the document's isn't in this tree yet: nothing is
    known of what will lie there. `machine` is uname's.
    """
    words = list(process["args"])
    if words[:2] == [INIT_TARGET, "--"]:
        words = words[2:]
    mounted = {mount["destination"] for mount in mounts}
    _check_directory(root_fd, process["cwd"], mounted)
    found = _find(root_fd, words[0], process["env"], process["cwd"], mounted)
    if found is None:
        return
    path, head = found
    if head.startswith(b"#!"):
        _check_interpreter(root_fd, path, head, mounted)
    elif head.startswith(_ELF):
        _check_machine(path, head, machine)
    elif not _foreign_programs():
        raise RuntimeFailed(f"{show(path)}: can't be run: not a program for this machine", status=126)


def _check_directory(root_fd: int, path: str, mounted: Collection[str]) -> None:
    """The working directory: one that isn't there is told by the runtime in the container's last step too."""
    if any(below(path, place) for place in mounted):
        return
    from oci.linux.files import open_in_root

    try:
        os.close(open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        raise RuntimeFailed(f"working directory {show(path)}: no such directory in the container", status=127) from None
    except NotADirectoryError:
        raise RuntimeFailed(f"working directory {show(path)}: not a directory", status=126) from None
    except OSError:
        return


def _find(root_fd: int, word: str, env: Sequence[str], cwd: str, mounted: Collection[str]) -> tuple[str, bytes] | None:
    """The program's path and how it begins; None where the runtime shall find out. Raises RuntimeFailed."""
    if "/" in word:
        candidates = [word if word.startswith("/") else f"{cwd.rstrip('/')}/{word}"]
    else:
        path = next((entry[5:] for entry in env if entry.startswith("PATH=")), "")
        candidates = [f"{folder}/{word}" if folder else word for folder in path.split(":")]
    for candidate in candidates:
        if not candidate.startswith("/"):
            return None  # a folder of PATH that depends on where one is: not every runtime takes it
        try:
            place = settle(root_fd, candidate, "program", set(mounted))
        except InvalidInput:
            return None
        if any(below(place, other) for other in mounted):
            return None  # it may be there or not: a later folder of PATH is no answer either
        try:
            head = _head(root_fd, place)
        except OSError as error:
            if "/" not in word and error.errno in _ABSENT:
                continue
            _refuse(word, error)
            return None
        if head is None:
            return None
        return word if "/" in word else candidate, head
    raise RuntimeFailed(f"{show(word)}: no such program in the container's PATH", status=127)


# Reasons to look into the next folder of PATH; as Go's LookPath, a file that can't be executed is none.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOEXEC)


def _refuse(word: str, error: OSError) -> None:
    """What is sure of a program that was named by a path; the rest is the runtime's."""
    reason, status = _REFUSED.get(error.errno or 0, ("", 0))
    if reason:
        raise RuntimeFailed(f"{show(word)}: {reason}", status=status)


_REFUSED = {
    errno.ENOENT: ("no such file in the container", 127),
    errno.ENOTDIR: ("can't be run: not a directory", 126),
    errno.EISDIR: ("a directory, not a program", 126),
    errno.ENOEXEC: ("can't be run: not an executable file", 126),
}


def _head(root_fd: int, place: str) -> bytes | None:
    """How an executable file begins; None where it is not to be read. OSErrors say why it can't be one."""
    from oci.linux.files import open_in_root

    opened = open_in_root(root_fd, place, os.O_PATH | os.O_NOFOLLOW)
    try:
        kind = os.fstat(opened).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, "a directory", place)
        if not stat.S_ISREG(kind) or not kind & 0o111:
            raise OSError(errno.ENOEXEC, "not executable", place)
        try:
            with open(f"/proc/self/fd/{opened}", "rb", buffering=0) as file:
                return file.read(MAX_HEAD)
        except OSError:
            return None
    finally:
        os.close(opened)


def _check_interpreter(root_fd: int, path: str, head: bytes, mounted: Collection[str]) -> None:
    line, end, _ = head[2:].partition(b"\n")
    words = line.split()
    if not end or not words or not words[0].startswith(b"/"):
        return
    try:
        name = words[0].decode()
        place = settle(root_fd, name, "interpreter", set(mounted))
    except (UnicodeDecodeError, InvalidInput):
        return
    if any(below(place, other) for other in mounted):
        return
    try:
        os.stat(place.lstrip("/") or ".", dir_fd=root_fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        raise RuntimeFailed(
            f"{show(path)}: can't be run: its interpreter {show(name)} is not in the container", status=127
        ) from None
    except OSError:
        return


def _check_machine(path: str, head: bytes, machine: str) -> None:
    known = _ELF_MACHINES.get(MACHINES.get(machine, ""))
    if known is None or len(head) < 20 or _foreign_programs():
        return
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    if number not in known:
        raise RuntimeFailed(f"{show(path)}: can't be run: a program for another kind of machine", status=126)


def _foreign_programs() -> bool:
    """Whether the kernel was told to run other files too (binfmt_misc): then only it can tell."""
    try:
        return bool(set(os.listdir("/proc/sys/fs/binfmt_misc")) - {"register", "status"})
    except OSError:
        return False
