"""Which driver works at a place: each is tried there, none is believed by its name.

The trial is a container in small: two layers with a whiteout and an opaque directory, then a file that is changed,
renamed and removed, a directory that is removed and made again, an extended attribute; and at the end what the driver
says has changed. It is mounted nowhere (`Driver.root`), in a folder that goes again.

What is refused, and with which words, is the kernel's affair: overlayfs doesn't take an upper directory on overlayfs,
NFS, or a file system without the attributes or whiteouts that it needs; unprivileged mounts need Linux 5.11.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from oci.drivers.driver import NAMES, Driver, Form, Support
from oci.drivers.marks import make_whiteout
from oci.drivers.snapshot import Snapshot
from oci.errors import DriverError, OciError, show
from oci.spec.quick_json import dumps, loads
from oci.spec.record import Record
from oci.streams.scratch import scratch_folder

__all__ = ["Choice", "choose", "driver_named", "form_at", "place_key", "probe"]

_FIRST_USER_NAMESPACE = 0xEFFFFFFD  # PROC_USER_INIT_INO of the kernel; another one may map all ids as they are, too
_WORKS = "works: whiteouts, opaque directories, renames and attributes were tried"


class Choice(Record):
    """The driver that was chosen, and what was found out about each of them, by name."""

    driver: Driver
    supports: Mapping[str, Support]

    def to_json(self) -> str:
        """Text to remember it by; it holds as long as `place_key` stays the same."""
        supports = {name: [support.usable, support.reason] for name, support in self.supports.items()}
        return dumps({"driver": self.driver.name, "form": self.driver.form, "supports": supports})

    @staticmethod
    def from_json(text: str) -> Choice:
        """What `to_json` said. Raises ValueError for anything else."""
        try:
            said = loads(text)
            supports = {
                name: Support(usable=bool(one[0]), reason=str(one[1])) for name, one in said["supports"].items()
            }
            form: Form = "trusted" if said["form"] == "trusted" else "user"
            return Choice(driver=driver_named(said["driver"], form), supports=supports)
        except (KeyError, TypeError, IndexError, AttributeError, DriverError) as error:
            raise ValueError(f"not a choice of a driver: {error}") from None


def choose(folder: str, wanted: str | None = None, *, known: str | None = None) -> Choice:
    """Try all drivers in `folder` (of the store), and take the first that works, or the `wanted` one.

    `known` is what an earlier choice for the same `place_key` was remembered by: then nothing is tried, unless the
    wanted driver didn't work then. Raises DriverError when that one, or all of them, don't work; it says why.
    """
    if wanted is not None and wanted not in NAMES:
        raise DriverError(wanted, f"there is none of this name; there are {', '.join(NAMES)}")
    if known is not None:
        with suppress(ValueError):
            earlier = Choice.from_json(known)
            if (found := _first(earlier.supports, wanted)) is not None:
                return earlier.replace(driver=driver_named(found, earlier.driver.form))
    form = form_at(folder)
    supports = {name: probe(driver_named(name, form), folder) for name in NAMES}
    found = _first(supports, wanted)
    if found is not None:
        return Choice(driver=driver_named(found, form), supports=supports)
    if wanted is not None:
        raise DriverError(wanted, f"doesn't work in {folder}: {supports[wanted].reason}")
    reasons = "; ".join(f"{name}: {support.reason}" for name, support in supports.items())
    raise DriverError("any", f"none works in {folder}: {reasons}")


def _first(supports: Mapping[str, Support], wanted: str | None) -> str | None:
    """The first name that is usable, of all or of the wanted one."""
    for name in NAMES if wanted is None else (wanted,):
        if name in supports and supports[name].usable:
            return name
    return None


def driver_named(name: str, form: Form | None = None) -> Driver:
    """The driver of this name, without trying it: what an earlier `choose` has found is remembered by the store.

    `form` is that of the store's layers; None: the one that this process can read.
    """
    if form is None:
        form = _form_of_process()
    if name == "overlay":
        from oci.drivers.overlay import Overlay

        return Overlay(form)
    if name == "fuse-overlayfs":
        from oci.drivers.fuse_overlayfs import FuseOverlayfs

        return FuseOverlayfs(form)
    if name == "copy":
        from oci.drivers.copy import Copy

        return Copy(form)
    raise DriverError(name, f"there is none of this name; there are {', '.join(NAMES)}")


def place_key(folder: str) -> str:
    """What a remembered choice holds for: kernel release, file system, and whose extended attributes we may use."""
    return f"{os.uname().release} {os.statvfs(folder).f_fsid:x} {_form_of_process()}"


def _form_of_process() -> Form:
    """`trusted.` is for root of the machine, not for root of a user namespace (capabilities(7), CAP_SYS_ADMIN)."""
    from oci.linux import namespaces

    if os.geteuid() or not namespaces.is_initial():
        return "user"
    try:
        first = os.stat("/proc/self/ns/user").st_ino == _FIRST_USER_NAMESPACE
    except OSError:  # without /proc; then the ids have to tell it
        first = True
    return "trusted" if first else "user"


def form_at(folder: str) -> Form:
    """Which extended attributes can be set on a directory in `folder`; "user" where neither can."""
    with _scratch(folder) as scratch:
        try:
            os.setxattr(scratch, "trusted.overlay.opaque", b"y")
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL):
                raise DriverError("any", f"{folder}: {error.strerror}") from error
            return "user"
        return "trusted"


def probe(driver: Driver, folder: str) -> Support:
    """Try one driver in `folder`."""
    with _scratch(folder) as scratch:
        try:
            snapshot = _make_layers(scratch, driver.form)
        except OSError as error:
            return Support(usable=False, reason=f"the file system can't hold the marks of layers: {error.strerror}")
        try:
            driver.prepare(snapshot)
            wrong = _try(driver, snapshot)
        except OciError as error:
            reason = error.reason if isinstance(error, DriverError) else str(error)
            return Support(usable=False, reason=reason.replace(f"{scratch}/container", folder).replace(scratch, folder))
        except OSError as error:
            where = f" ({show(os.fsdecode(error.filename))})" if error.filename else ""
            return Support(usable=False, reason=f"a trial failed: {error.strerror}{where}")
        return Support(usable=wrong is None, reason=wrong or _WORKS)


@contextmanager
def _scratch(folder: str) -> Iterator[str]:
    """A folder for a trial, which goes with everything that is in it."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(scratch_folder(folder))
        except OSError as error:
            raise DriverError("any", f"can't write in {folder}: {error.strerror}") from error
        yield path


def _make_layers(scratch: str, form: Form) -> Snapshot:
    """Two layers: the upper one hides `gone`, and all that the lower one has in `opaque`."""
    low, high, container = (os.path.join(scratch, name) for name in ("low", "high", "container"))
    for folder in (low, f"{low}/opaque", f"{low}/folder", high, f"{high}/opaque", container):
        os.mkdir(folder, 0o755)
    for name in ("keep", "gone", "opaque/hidden", "folder/inside"):
        _write(os.path.join(low, name), b"low")
    _write(os.path.join(high, "opaque", "shown"), b"high")
    fd = os.open(high, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_whiteout(fd, b"gone", form)
    finally:
        os.close(fd)
    os.setxattr(os.path.join(high, "opaque"), f"{form}.overlay.opaque", b"y")
    return Snapshot(folder=container, layers=(low, high))


def _try(driver: Driver, snapshot: Snapshot) -> str | None:
    """Use the tree as a container would; what is wrong with it, None if nothing is."""
    with driver.root(snapshot, writable=True) as root:
        if sorted(os.listdir(root)) != ["folder", "keep", "opaque"]:
            return "whiteouts have no effect"
        if _list(root, "opaque") != ["shown"]:
            return "opaque directories have no effect"
        fd = os.open("keep", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, dir_fd=root)
        try:
            os.write(fd, b" and more")
            attributes = _set_attribute(fd)
        finally:
            os.close(fd)
        os.rename("keep", "kept", src_dir_fd=root, dst_dir_fd=root)
        os.unlink("opaque/shown", dir_fd=root)
        os.unlink("folder/inside", dir_fd=root)
        os.rmdir("folder", dir_fd=root)
        os.mkdir("folder", 0o755, dir_fd=root)
    with driver.root(snapshot) as root:
        if sorted(os.listdir(root)) != ["folder", "kept", "opaque"] or _list(root, "opaque") or _list(root, "folder"):
            return "what was removed or renamed comes back"
        fd = os.open("kept", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
        try:
            if os.read(fd, 100) != b"low and more" or (attributes and os.getxattr(fd, "user.ocikit") != b"1"):
                return "what was written is lost"
        finally:
            os.close(fd)
    found = [(change.path, change.kind) for change in driver.changes(snapshot)]
    if found != [
        (b"folder/inside", "deleted"),
        (b"keep", "deleted"),
        (b"kept", "added"),
        (b"opaque/shown", "deleted"),
    ]:
        return f"what was changed can't be told: {found}"
    return None


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _list(root: int, name: str) -> list[str]:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def _set_attribute(fd: int) -> bool:
    """Whether a file can have attributes of users: not everywhere, and then a container has none either."""
    try:
        os.setxattr(fd, "user.ocikit", b"1")
    except OSError:
        return False
    return True
