"""`bundle`: an image as a directory that an OCI runtime runs."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any

from oci.cli import options, output, sources
from oci.cli.failures import UsageError, blamed_on
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import ConfigurationError, DriverError, show
from oci.spec.reference import StoreRef

if TYPE_CHECKING:
    from oci.container.bundle import Ids, Named
    from oci.image.image import Image
    from oci.runtime.settings import MountSetting, RunSettings
    from oci.storage.store import Store

__all__ = ["bundle"]

# Options of `run` that are about a container of the store, which a bundle isn't.
_NOT_HERE = ("name", "rm", "cidfile", "pull", "log_opt", "detach_keys", "stop_timeout")


def bundle(
    context: typer.Context,
    reference: options.Reference,
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="The directory to make; empty or absent.", show_default=False)
    ],
    command: options.Command = None,
    rootless: Annotated[
        bool,
        typer.Option(
            "--rootless",
            help="All files one user's, who is root in a user namespace; also for an ordinary user with ranges of ids.",
        ),
    ] = False,
    json: options.Json = False,
    **asked: Any,
) -> None:
    """Make a runtime bundle of an image: config.json and a root file system, for `runc run -b DIR NAME`.

    Of an image in the local store it is a thin layer on the store's own, which the runtime mounts by itself (--driver
    overlay); the image must stay there. Of any other image, and where overlay doesn't work, DIR gets all files
    (--driver copy). Options are those of `run`. An ordinary user's bundle has a user namespace, for a rootless runc.

    \b
    Example:
      ocikit bundle alpine box && runc run -b box mine
      ocikit bundle ./images:v2 box --driver copy -v data:/data -e MODE=test -- /bin/sh -c 'ls /data'
    """
    from oci.cli.run_options import read_file, run_settings
    from oci.cli.storing import driver_name

    session = Session.of(context)
    for key in _NOT_HERE:
        if asked.get(key):
            raise UsageError(
                f"--{key.replace('_', '-')} is about a container of the store; a bundle is run by a runtime"
            )
    settings = run_settings(asked, command or (), environ=session.environ, cwd=os.getcwd(), read=read_file)
    _check(settings)
    parsed = sources.parse(reference)
    driver = driver_name(session)
    if driver == "fuse-overlayfs":
        raise UsageError("--driver fuse-overlayfs: a runtime can't mount that for a bundle; use overlay or copy")
    thin = isinstance(parsed, StoreRef) and driver != "copy" and not rootless
    if driver == "overlay" and not thin:
        what = (
            "has all files to itself"
            if rootless
            else f"needs an image of the store: `ocikit pull {show(reference)}` first"
        )
        raise UsageError(f"--driver overlay: a bundle of this kind {what}")
    with ExitStack() as stack:
        ids = _ids(session, rootless)
        store = _store(session, stack, settings, needed=thin)
        source = stack.enter_context(sources.open_source(session, parsed))
        from oci.image.image import Image

        image = Image.load(source, source.resolve(sources.wanted_platform(asked.get("platform"))))
        named = _named(store)
        made = None
        if thin:
            made = _on_layers(session, store, image, directory, settings, ids, named, must=driver == "overlay")
        if made is None:
            from oci.container.bundle import make_bundle

            with blamed_on(directory), session.progress("unpacking") as progress:
                made = make_bundle(image.watched(progress), directory, settings, ids, named=named, warn=session.warn)
    if json:
        output.document({"reference": reference, "digest": str(image.descriptor.digest), "bundle": made})
    else:
        session.note(f"made a bundle of {image.descriptor.digest} in {made}")


def _check(settings: RunSettings) -> None:
    from oci.container.bundle import refuse_what_bundles_lack
    from oci.errors import InvalidInput, SourceError

    try:
        refuse_what_bundles_lack(settings)
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    for mount in settings.mounts:
        if mount.type == "bind" and not os.path.lexists(mount.source):
            raise SourceError(mount.source, "no such file or directory; it can't be mounted")


def _ids(session: Session, rootless: bool) -> Ids:
    """Whose ids the container has; from here on an ordinary user is root in his namespace, where he can have one."""
    from oci.cli.storing import enter_namespace
    from oci.container.bundle import Ids
    from oci.linux import idmaps

    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        with suppress(ConfigurationError):
            enter_namespace(session)
    if rootless or os.geteuid() != 0:
        return Ids(maps=idmaps.single(uid, gid), namespace=True, single=True)
    maps = idmaps.current()
    return Ids(maps=maps, namespace=uid != 0, single=maps.single)


def _store(session: Session, stack: ExitStack, settings: RunSettings, *, needed: bool) -> Store | None:
    """The local store, where something of it is asked for."""
    from oci.cli.storing import open_store
    from oci.container.bundle import named_volumes

    names = named_volumes(settings)
    return stack.enter_context(open_store(session, create=bool(names))) if needed or names else None


def _named(store: Store | None) -> Named | None:
    """Named volumes are the store's; one that isn't there yet is made, with what the image has in its place."""
    if store is None:
        return None

    def folder(mount: MountSetting, root: int) -> str:
        volume = store.volumes.ensure(mount.source)
        store.volumes.populate(volume, None if mount.nocopy else root, os.fsencode(mount.target))
        return volume.path

    return folder


def _on_layers(
    session: Session,
    store: Store | None,
    image: Image,
    directory: str,
    settings: RunSettings,
    ids: Ids,
    named: Named | None,
    *,
    must: bool,
) -> str | None:
    """A bundle on the store's layers; None where that doesn't work, unless it `must`."""
    from oci.container.bundle import Layers, make_bundle

    if store is None:
        return None
    try:
        with session.progress("unpacking") as progress, store.shared():
            folders = store.layers.ensure(image, progress=progress, warn=session.warn)
        layers = Layers(folders=tuple(folder.path for folder in folders), form=store.driver.form)
        with blamed_on(directory):
            return make_bundle(image, directory, settings, ids, layers=layers, named=named, warn=session.warn)
    except (DriverError, ConfigurationError) as error:
        if must:
            raise
        session.note(f"no thin bundle, but a copy: {error}")
        return None
