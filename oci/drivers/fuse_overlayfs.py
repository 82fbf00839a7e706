"""`fuse-overlayfs`: overlayfs as a program, where the kernel's own is refused; by root and in user namespaces.

We open /dev/fuse and mount, and the program is given the open device as `/dev/fd/3` (libfuse 3.3 takes that for a
mount point). So the mount is ours from the first moment, may be detached, and needs no setuid fusermount. When the
mount goes, with its namespace or its descriptor, the kernel closes the connection and the program ends: nobody has to
look after it, and none is left. For that the program must not hold the mount itself. It gets a mount namespace of its
own, in which there is no such mount, and in which whatever the host unmounts is unmounted too.

Options, and why: `writeback=0`, so that the upper directory holds what a container wrote as soon as it was written;
no `squash…`, no `xattr_permissions`: owners are real ones, set in the user namespace. Renaming a directory of a layer
gives EXDEV, as in overlay. Paths with a colon can't be said to it.

A copy-up changes the time of the directories above it, which overlayfs gives back. So a directory's time is only taken
for the container's doing where a name in it came or went.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from oci.drivers.delta import Written, files_size
from oci.drivers.driver import Form
from oci.drivers.marks import FuseMarks
from oci.drivers.snapshot import Snapshot
from oci.drivers.writable import EMPTY, Teller, lowers_of, make_upper, remove_folders
from oci.errors import DriverError, show

__all__ = ["FuseOverlayfs"]

_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin")
_OPTIONS = "writeback=0"
_DEVICE = 3  # the descriptor that the program gets
MAX_WORDS = 1000  # bytes of what the program says when it fails
_PATIENCE = 5.0  # seconds for the program to end when its mount is gone
_STEP = 0.002


class FuseOverlayfs(Teller):
    """Mounts of fuse-overlayfs; `form` "user" for user namespaces; `program` where it is, else where programs are."""

    name = "fuse-overlayfs"

    def __init__(self, form: Form, *, program: str | None = None) -> None:
        self.form: Form = form
        self._program = program
        self._running: dict[str, int] = {}  # mount point → the program's pid, of mounts made here

    def prepare(self, snapshot: Snapshot) -> None:
        """See Driver."""
        make_upper(snapshot, self.name)

    def mount(self, snapshot: Snapshot, *, read_only: bool = False, target: str | None = None) -> str:
        """See Driver."""
        from oci.linux import mounts

        place = os.path.abspath(target or snapshot.merged)
        device = self._device()
        try:
            try:
                options = ",".join(f"{key}={value}" if value else key for key, value in _mount_options(device).items())
                mounts.mount(self.name, place, "fuse", mounts.MS_NOATIME, options)
            except OSError as error:
                raise DriverError(self.name, f"can't mount {place}: {error.strerror}") from error
            try:
                pid, words = self._start(snapshot, device, read_only, place)
            except BaseException:
                mounts.unmount(place, detach=True)
                raise
        finally:
            os.close(device)  # the program's is the last one: when it ends, requests fail and don't wait
        try:
            self._wait_for(place, None, words)
        except BaseException:
            mounts.unmount(place, detach=True)
            _reap(pid)
            raise
        finally:
            os.close(words)
        self._running[place] = pid
        return place

    def unmount(self, snapshot: Snapshot, *, target: str | None = None) -> None:
        """See Driver."""
        from oci.linux import mounts

        place = os.path.abspath(target or snapshot.merged)
        try:
            mounts.unmount(place)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # nothing is mounted there
                raise DriverError(self.name, f"can't unmount {place}: {error.strerror}") from error
        pid = self._running.pop(place, None)
        if pid is not None:
            _reap(pid)

    @contextmanager
    def root(self, snapshot: Snapshot, *, writable: bool = False) -> Iterator[int]:
        """See Driver."""
        from oci.linux import fsmount

        device = self._device()
        try:
            try:
                mounted = fsmount.detached("fuse", {"source": self.name, **_mount_options(device)})
            except OSError as error:
                raise DriverError(self.name, f"can't mount {snapshot.folder}: {error.strerror}") from error
            try:
                pid, words = self._start(snapshot, device, not writable, None)
            except BaseException:
                os.close(mounted)
                raise
        finally:
            os.close(device)
        try:
            try:
                self._wait_for(".", mounted, words)
                fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mounted)
                try:
                    yield fd
                finally:
                    os.close(fd)
            finally:
                os.close(mounted)
        finally:
            os.close(words)
            _reap(pid)

    def _written(self, snapshot: Snapshot) -> Written:
        return Written(snapshot, snapshot.upper, FuseMarks(), self.form, folder_times=False)

    def size(self, snapshot: Snapshot) -> int:
        """See Driver."""
        return files_size(snapshot.upper)

    def remove(self, snapshot: Snapshot) -> None:
        """See Driver."""
        remove_folders(snapshot, ("upper", "work", "merged", EMPTY), self.name)

    # The program

    def _device(self) -> int:
        try:
            return os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DriverError(self.name, f"/dev/fuse: {error.strerror}") from error

    def _find(self) -> str:
        if self._program is not None:
            return self._program
        for folder in _FOLDERS:
            path = os.path.join(folder, "fuse-overlayfs")
            if os.access(path, os.X_OK):
                return path
        raise DriverError(self.name, f"no program fuse-overlayfs in {', '.join(_FOLDERS)}; install it")

    def _start(self, snapshot: Snapshot, device: int, read_only: bool, place: str | None) -> tuple[int, int]:
        """Start the program on the open device, mounted at `place`; its pid, and a file that gets what it says."""
        program = self._find()
        lowers = [os.path.abspath(path) for path in lowers_of(snapshot)]
        own = [os.path.realpath(snapshot.upper), os.path.realpath(snapshot.work)]
        words = [f"lowerdir={':'.join([own[0], *lowers] if read_only else lowers)}"]
        if not read_only:
            words += [f"upperdir={own[0]}", f"workdir={own[1]}"]
        for path in (*own, *lowers):
            if ":" in path:
                raise DriverError(self.name, f"{path}: it takes no path with a colon")
        options = ",".join([_escape(word) for word in words] + [_OPTIONS])
        said = os.memfd_create("fuse-overlayfs", os.MFD_CLOEXEC)
        given = [_high(device), _high(said)]
        try:
            pid = _apart(place, lambda: _spawn(program, options, given[0], given[1]))
        except OSError as error:
            os.close(said)
            raise DriverError(self.name, f"can't start {program}: {error.strerror}") from error
        finally:
            for fd in given:
                os.close(fd)
        return pid, said

    def _wait_for(self, path: str, dir_fd: int | None, words: int) -> None:
        """Wait until the program answers, or has ended."""
        try:
            os.stat(path, dir_fd=dir_fd)
        except OSError as error:
            raw = os.pread(words, MAX_WORDS, 0).decode("utf-8", "replace").strip()
            told = [line for line in raw.splitlines() if "unknown argument ignored" not in line]
            raise DriverError(self.name, show("; ".join(told)) or f"it ended at once ({error.strerror})") from error


def _mount_options(device: int) -> dict[str, str | None]:
    return {
        "fd": str(device),
        "rootmode": "40000",
        "user_id": "0" if os.geteuid() == 0 else str(os.geteuid()),
        "group_id": "0" if os.geteuid() == 0 else str(os.getegid()),
        "default_permissions": None,
        "allow_other": None,
    }


def _spawn(program: str, options: str, device: int, said: int) -> int:
    return os.posix_spawn(
        program,
        [program, "-f", "-o", options, f"/dev/fd/{_DEVICE}"],
        {"PATH": ":".join(_FOLDERS)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, said, 2),
            (os.POSIX_SPAWN_DUP2, device, _DEVICE),
        ],
        setsid=True,  # a terminal's interrupt is not for it
    )


def _apart(place: str | None, start: Callable[[], int]) -> int:
    """Start a program in a mount namespace of its own, without the mount at `place`.

    Namespaces are a thread's, and a child begins in those of the thread that starts it: so one does, and ends.
    """
    from oci.linux import mounts, namespaces

    answers: list[int] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            namespaces.unshare_mounts(follow_host=True)
            os.chdir("/")
            if place is not None:
                mounts.unmount(place, detach=True)
            answers.append(start())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="fuse-overlayfs")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


def _high(fd: int) -> int:
    """The same open file, as a descriptor that none of those that the program gets replaces on the way."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16)


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace(",", "\\,")


def _reap(pid: int) -> None:
    """Wait for the program, whose mount is gone; one that doesn't end is killed."""
    with suppress(ChildProcessError):  # somebody else has: a supervisor that reaps all its children
        until = time.monotonic() + _PATIENCE
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(_STEP)
