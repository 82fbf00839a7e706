"""The local store as a command sees it: where it is, with which driver and runtime, and as whom it is opened.

=================================  ======================================================================
`--root`, OCIKIT_ROOT              its directory; else /var/lib/ocikit for root,
                                   $XDG_DATA_HOME/ocikit or ~/.local/share/ocikit for everybody else
`--driver`, OCIKIT_DRIVER          the storage driver of a new store; else what works there
`--runtime`, OCIKIT_RUNTIME        the OCI runtime, a name or a path; else crun or runc, whichever works
=================================  ======================================================================

An option counts more than the environment. Somebody who isn't root, and has to own other users' files or to mount,
enters a user namespace in this very process (`namespace=True`): from there on all is as for root.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from oci.cli.failures import UsageError, blamed_on
from oci.errors import ConfigurationError, ContainerNotFound, RefNotFound, StoreError, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.cli.session import Session
    from oci.linux.idmaps import IdMaps
    from oci.runtime.runc import Runtime
    from oci.spec.reference import StoreRef
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store
    from oci.transports.base import ImageDestination, ImageSource

__all__ = [
    "container_of",
    "driver_name",
    "enter_namespace",
    "has_store",
    "not_stored",
    "open_for_storing",
    "open_store",
    "open_stored",
    "runtime_for",
    "runtime_name",
    "store_root",
]

SYSTEM_ROOT = "/var/lib/ocikit"


def store_root(session: Session) -> str:
    """The store's directory, absolute: what options and the environment say, else the default of this user."""
    if session.root is None:
        session.root = session.environ.get("OCIKIT_ROOT") or _default_root(session)
    if not session.root:
        raise UsageError("--root: expected a directory")
    return os.path.abspath(session.root)


def has_store(session: Session) -> bool:
    """Whether there is a store yet; who only looks makes none."""
    from oci.storage.state import is_store

    return is_store(store_root(session))


def _default_root(session: Session) -> str:
    if os.geteuid() == 0:
        return SYSTEM_ROOT
    home = session.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(home):  # basedir-spec: a relative one is to be ignored
        owner = session.environ.get("HOME", "")
        if not os.path.isabs(owner):
            raise UsageError("where is the local store? Neither HOME nor XDG_DATA_HOME is set; use --root DIR")
        home = f"{owner}/.local/share"
    return f"{home}/ocikit"


def driver_name(session: Session) -> str | None:
    """The storage driver that was asked for, None where the store shall choose."""
    said, where = session.driver, "--driver"
    if said is None:
        said, where = session.environ.get("OCIKIT_DRIVER") or None, "OCIKIT_DRIVER"
    if said is not None:
        from oci.drivers.driver import NAMES

        if said not in NAMES:
            raise UsageError(f"{where} {said!r}: not one of {', '.join(NAMES)}")
    return said


def runtime_name(session: Session) -> str | None:
    """The OCI runtime that was asked for, a name or a path; None where the first that works shall be taken."""
    return session.runtime or session.environ.get("OCIKIT_RUNTIME") or None


def runtime_for(session: Session, store: Store) -> Runtime | None:
    """The runtime that was asked for; None leaves the choice to the library."""
    said = runtime_name(session)
    if said is None:
        return None
    from oci.container.runtimes import find_runtime

    return find_runtime(store, (said,))


@contextmanager
def open_store(
    session: Session, *, namespace: bool = False, needed: bool = True, create: bool = True
) -> Iterator[Store]:
    """Open the local store for one command; `namespace`: as root, in a user namespace where need be.

    Nothing may have started a thread before. Where there are no user namespaces that is a ConfigurationError, unless it
    isn't `needed`. With `create=False` a store that isn't there is not made: StoreError.
    """
    root, driver = store_root(session), driver_name(session)
    maps = None
    if namespace:
        with nullcontext() if needed else suppress(ConfigurationError):
            maps = enter_namespace(session, create=create)
    from oci.storage.store import Store

    with Store.open(root, driver=driver, clock=time.time_ns, warn=session.warn, create=create) as store:
        if maps is not None:
            from oci.storage.owners import settle_owners

            settle_owners(store.state, root, maps, session.warn)
        yield store


def container_of(session: Session, text: str) -> ContainerRow | None:
    """The container of this name or ID, None where there is none; nothing is made by looking."""
    if not has_store(session):
        return None
    with open_store(session) as store:
        try:
            return store.containers.get(text)
        except ContainerNotFound as error:
            if error.candidates:
                raise
            return None


def open_stored(session: Session, reference: StoreRef) -> ImageSource:
    """Open an image of the store for reading; closing it closes the store. RefNotFound says where else it may be."""
    from oci.storage.store import Store
    from oci.transports.from_store import stored_source

    try:
        store = Store.open(store_root(session), clock=time.time_ns, warn=session.warn, create=False)
    except StoreError:
        if os.path.lexists(store_root(session)):
            raise
        raise not_stored(reference.name) from None
    try:
        return stored_source(store, reference, warn=session.warn, close_store=True)
    except BaseException as error:
        store.close()
        if isinstance(error, RefNotFound):
            raise not_stored(reference.name) from None
        raise


def not_stored(name: str, *, may_be_path: bool = False) -> RefNotFound:
    """What to say of a name that the store doesn't have: an image comes by `pull`, a layout has a path."""
    shown = show(name)
    path = name.partition(":")[0]
    layout = f"; the layout here is ./{shown}" if path and os.path.lexists(path) else ""
    hint = f"`ocikit pull {shown}` brings it, docker://{shown} names it in its registry{layout}"
    where = "the local store, and there is no such file or directory" if may_be_path else "the local store"
    return RefNotFound(name, where, None, hint=hint)


@contextmanager
def open_for_storing(session: Session, reference: StoreRef | None) -> Iterator[ImageDestination]:
    """Open a name of the store for writing; None: what is written gets no name."""
    from oci.transports.from_store import StoreDestination, stored_destination

    with open_store(session) as store, blamed_on(store.root):
        end = StoreDestination(store, None) if reference is None else stored_destination(store, reference)
        with end as destination:
            yield destination


def enter_namespace(session: Session, *, create: bool = False) -> IdMaps | None:
    """Become root in a user namespace, unless we are root: the one of the store's living containers, else a new one.

    Gives its maps; None where we were root already.
    ConfigurationError says what lacks. With `create` a store that isn't there yet gets the folder for its list of
    processes first, so that two first commands at once share a namespace.
    """
    root = store_root(session)  # before: the default is of who calls, not of who we become
    if os.geteuid() == 0:
        return None
    from oci.linux import shared_namespace

    run = f"{root}/run"
    if create and (not os.path.lexists(root) or has_store(session)):
        with suppress(OSError):  # opening the store says it better
            os.makedirs(root, 0o700, exist_ok=True)
            os.mkdir(run, 0o700)
    return shared_namespace.enter(run, warn=session.warn)
