"""Mounts by the newer calls: made first, shown somewhere later or never (fsopen(2), fsmount(2), open_tree(2)).

A mount that is never shown, a *detached* one, is only a descriptor: nobody else sees it, and when the last descriptor
is closed it is gone, however the process ends. `overlay` makes overlay mounts so, one layer at a time (`lowerdir+`,
Linux 6.7), because the one page of options that mount(2) takes is too short for many layers; on older kernels it gets
by with mount(2), names of one to four characters, and no limit of a page either (overlayfs.rst#multiple-lower-layers).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from oci.linux import calls, mounts, namespaces
from oci.linux.calls import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, StrPath

__all__ = ["attach", "detached", "open_tree", "overlay", "overlay_by_mount"]

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE = 0, 1, 5, 6
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

MAX_STRING = 255  # bytes of a value that fsconfig takes as text
_MAX_MESSAGES = 16  # lines of a context's log that are put into an error


def overlay(
    lowers: Sequence[str],
    upper: str | None,
    work: str | None,
    *,
    options: Mapping[str, str | None],
    target: str | None,
    attributes: int = 0,
) -> int | None:
    """Mount an overlay of `lowers` (the top one first) under `upper`; without `upper` and `work` it is read-only.

    `options` are overlay's own, with None for flags: `{"userxattr": None, "index": "off"}`; "ro" among them makes the
    file system read-only. `attributes` are MOUNT_ATTR_… of the mount. With `target` None the mount is detached, and
    its root is returned as an O_PATH descriptor. Raises OSError, with what the kernel says about it where it does.
    """
    try:
        fd = _overlay_by_context(lowers, upper, work, options, attributes)
    except _TooOldError:
        return overlay_by_mount(lowers, upper, work, options=options, target=target, attributes=attributes)
    if target is None:
        return fd
    try:
        attach(fd, target)
    finally:
        os.close(fd)
    return None


class _TooOldError(Exception):
    """This kernel, or a filter of system calls, has no fsopen, or its overlay no `lowerdir+`."""


def _overlay_by_context(
    lowers: Sequence[str], upper: str | None, work: str | None, options: Mapping[str, str | None], attributes: int
) -> int:
    context = _Context("overlay")
    try:
        for number, lower in enumerate(lowers):
            try:
                context.directory("lowerdir+", lower, escaped=False)
            except OSError as error:
                if number == 0 and error.errno == errno.EINVAL and os.path.isdir(lower):
                    raise _TooOldError from None
                raise
        if upper is not None and work is not None:
            context.directory("upperdir", upper, escaped=True)
            context.directory("workdir", work, escaped=True)
        context.string("source", "overlay")  # what mount(8) shows in its first column
        return context.mount(options, attributes)
    finally:
        context.close()


def detached(fstype: str, options: Mapping[str, str | None], attributes: int = 0) -> int:
    """A new file system of any type (`tmpfs`, `proc`) that is mounted nowhere; its root as an O_PATH descriptor."""
    try:
        context = _Context(fstype)
    except _TooOldError:
        raise OSError(errno.EPERM, "fsopen(2) is not permitted here, or missing", fstype) from None
    try:
        return context.mount(options, attributes)
    finally:
        context.close()


class _Context:
    """A file system that is being configured: fsopen(2), with the log that it keeps of what it dislikes."""

    def __init__(self, fstype: str) -> None:
        self.fstype = fstype
        try:
            self.fd = calls.syscall("fsopen", fstype.encode(), _FSOPEN_CLOEXEC, path=fstype)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):
                raise _TooOldError from None
            raise

    def close(self) -> None:
        os.close(self.fd)

    def flag(self, key: str) -> None:
        self._config(_SET_FLAG, key, None, 0)

    def string(self, key: str, value: str) -> None:
        self._config(_SET_STRING, key, calls.text(value), 0)

    def directory(self, key: str, path: str, *, escaped: bool) -> None:
        """Say a directory: by descriptor (Linux 6.13), else by its name, else by a short name for it.

        `escaped` says that backslashes in a name have to be doubled for this key.
        """
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                self._config(_SET_FD, key, None, fd)
                return
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise _about(error, path) from None
            raw = calls.text(path)
            if escaped:
                raw = raw.replace(b"\\", b"\\\\")
            if len(raw) > MAX_STRING:
                raw = b"/proc/self/fd/%d" % fd
            try:
                self._config(_SET_STRING, key, raw, 0)
            except OSError as error:
                raise _about(error, path) from None
        finally:
            os.close(fd)

    def mount(self, options: Mapping[str, str | None], attributes: int) -> int:
        for key, value in options.items():
            if value is None:
                self.flag(key)
            else:
                self.string(key, value)
        self._config(_CREATE, None, None, 0)
        try:
            return calls.syscall("fsmount", self.fd, _FSMOUNT_CLOEXEC, attributes, path=self.fstype)
        except OSError as error:
            raise self._said(error, None) from None

    def _config(self, command: int, key: str | None, value: bytes | None, extra: int) -> None:
        name = None if key is None else key.encode()
        try:
            calls.syscall("fsconfig", self.fd, command, name, value, extra, path=self.fstype)
        except OSError as error:
            raise self._said(error, key) from None

    def _said(self, error: OSError, key: str | None) -> OSError:
        """The error with the kernel's own words: each read(2) gives one message, "e overlay: No changes allowed"."""
        words: list[str] = []
        with suppress(OSError):  # ENODATA after the last one
            while len(words) < _MAX_MESSAGES and (raw := os.read(self.fd, 4096)):
                _, _, text = raw.decode("utf-8", "replace").strip().partition(" ")
                words.append(text)
        if not words and key is not None:
            words = [f"option {key}"]
        why = f"{error.strerror} ({'; '.join(words)})" if words else error.strerror
        return OSError(error.errno, why, error.filename)


def _about(error: OSError, path: str) -> OSError:
    return OSError(error.errno, error.strerror, path)


def overlay_by_mount(
    lowers: Sequence[str],
    upper: str | None,
    work: str | None,
    *,
    options: Mapping[str, str | None],
    target: str | None,
    attributes: int = 0,
) -> int | None:
    """`overlay` by mount(2): the way for kernels before 6.7.

    Every directory is opened, and the thread that mounts stands in /proc/self/fd, where the descriptor's number is its
    name. So 500 layers take 2,000 of the page's 4,096 bytes, and no character of a real name means anything to the
    parser of the options. The thread has a working directory of its own (CLONE_FS) and ends with the mount.
    """
    if any(part and set(part) & set(",\\") for pair in options.items() for part in pair):
        raise OSError(errno.EINVAL, "a comma or backslash in an option", "overlay")
    _allow_descriptors(len(lowers) + 2)
    job = _Job(lowers, upper, work, options, attributes)
    return _in_thread(lambda: job.run(None if target is None else os.path.abspath(target)))


class _Job:
    """One mount(2) of an overlay, to be done in a thread of its own."""

    def __init__(
        self,
        lowers: Sequence[str],
        upper: str | None,
        work: str | None,
        options: Mapping[str, str | None],
        attributes: int,
    ) -> None:
        self.lowers = [os.path.abspath(lower) for lower in lowers]
        self.own = None if upper is None or work is None else (os.path.abspath(upper), os.path.abspath(work))
        self.options, self.attributes = options, attributes
        self.opened: list[int] = []

    def run(self, target: str | None) -> int | None:
        """Mount at `target`, for all to see; or in a mount namespace that ends with the thread."""
        namespaces.unshare(namespaces.CLONE_FS)
        if target is None:
            # Nobody sees a layer being covered, and when the thread ends only the descriptor holds the mount.
            namespaces.unshare_mounts()
        place = self.lowers[0] if target is None else target
        try:
            # Opened here, not before: the kernel takes layers of the present mount namespace only.
            data = self._data()
            os.chdir("/proc/self/fd")
            flags = _mount_flags(self.attributes) | (mounts.MS_RDONLY if "ro" in self.options else 0)
            mounts.mount("overlay", place, "overlay", flags, data)
        finally:
            for fd in self.opened:
                os.close(fd)
        return os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if target is None else None

    def _data(self) -> str:
        words = ["lowerdir=" + ":".join([self._number(lower) for lower in self.lowers])]
        if self.own is not None:
            words += [f"upperdir={self._number(self.own[0])}", f"workdir={self._number(self.own[1])}"]
        words += [key if value is None else f"{key}={value}" for key, value in self.options.items() if key != "ro"]
        return ",".join(words)

    def _number(self, path: str) -> str:
        self.opened.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return str(self.opened[-1])


def _in_thread(work: Callable[[], int | None]) -> int | None:
    answers: list[int | None] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="mount")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


def _allow_descriptors(more: int) -> None:
    """Raise the soft limit of open files where so many layers need it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + more + 16
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))


def _mount_flags(attributes: int) -> int:
    return sum(
        flag
        for attribute, flag in (
            (mounts.MOUNT_ATTR_RDONLY, mounts.MS_RDONLY),
            (mounts.MOUNT_ATTR_NOSUID, mounts.MS_NOSUID),
            (mounts.MOUNT_ATTR_NODEV, mounts.MS_NODEV),
            (mounts.MOUNT_ATTR_NOEXEC, mounts.MS_NOEXEC),
            (mounts.MOUNT_ATTR_NOATIME, mounts.MS_NOATIME),
        )
        if attributes & attribute
    )


def open_tree(path: StrPath, *, recursive: bool = False, dir_fd: int = AT_FDCWD) -> int:
    """A detached copy of the mount at `path` (what `bind` shows elsewhere), as an O_PATH descriptor."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    raw = calls.text(path)
    return calls.syscall("open_tree", dir_fd, raw, flags | (0 if raw else AT_EMPTY_PATH), path=path)


def attach(fd: int, target: StrPath, *, dir_fd: int = AT_FDCWD) -> None:
    """Show a detached mount at `target` (move_mount(2)); an empty `target` is `dir_fd` itself."""
    raw = calls.text(target)
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (0 if raw else _MOVE_MOUNT_T_EMPTY_PATH)
    calls.syscall("move_mount", fd, b"", dir_fd, raw, flags, path=target)
