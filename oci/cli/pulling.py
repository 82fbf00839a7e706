"""`pull`, `push`, `rmi`: images of the local store, and how they get there and away."""

from __future__ import annotations

from oci.cli import options, output, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import Annotated, typer
from oci.cli.session import Session
from oci.errors import show
from oci.spec.reference import StoreRef

__all__ = ["pull", "push", "rmi"]


def pull(
    context: typer.Context,
    reference: options.Reference,
    tag: Annotated[
        str | None,
        typer.Option(
            "--tag", "-t", metavar="NAME", help="Its name in the store; default: as REF names it.", show_default=False
        ),
    ] = None,
    platform: options.PlatformName = None,
    all_platforms: options.AllPlatforms = False,
    policy: Annotated[
        str,
        typer.Option(
            "--policy", metavar="always|missing", help="missing: nothing is asked for a name that is in the store."
        ),
    ] = "always",
    json: options.Json = False,
) -> None:
    """Bring an image into the local store, from a registry, a layout or an archive.

    A bare NAME means docker://NAME, or what an alias of registries.conf says. Everything is verified on the way, and
    what the store has already is not fetched again. The image gets REF's name, or that of --tag; a layout's tag or an
    archive's becomes one too: ./images:v2 is images:v2. Another image that had the name stays, without one.

    \b
    Example:
      ocikit pull alpine:3.20
      ocikit pull docker://quay.io/podman/hello --platform linux/arm64 -t hello
      ocikit pull ./images:v2 -t app:v2
    """
    from oci.cli.fetching import fetch, in_registry
    from oci.cli.storing import open_store
    from oci.storage import images

    if platform is not None and all_platforms:
        raise UsageError("--platform and --all-platforms exclude each other")
    if policy not in ("always", "missing"):
        raise UsageError(f"--policy {show(policy)!r}: not one of always, missing")
    session = Session.of(context)
    wanted = None if all_platforms else sources.wanted_platform(platform)
    named = sources.parse(reference)
    origin = in_registry(session, named) if isinstance(named, StoreRef) else named
    target = sources.parse_name_for(tag) if tag is not None else None
    with open_store(session) as store:
        name = images.name_for(origin if target is None else target)
        there = next((entry for known, entry in images.names(store) if known == name), None)
        if policy == "always" or there is None:
            there = fetch(session, store, origin, name, wanted)
    sources.say_written(reference, StoreRef(name), there, json=json)


def push(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An image of the store.", show_default=False)],
    destination: Annotated[
        str | None,
        typer.Argument(metavar="DST", help="Where it goes; default: docker://NAME.", show_default=False),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[/VARIANT]",
            help="One image of an index; default: all that NAME stands for.",
            show_default=False,
        ),
    ] = None,
    compression: options.CompressionName = None,
    json: options.Json = False,
) -> None:
    """Send an image of the local store to a registry, a layout or an archive.

    Without DST it goes to the registry that its name says; a bare DST means docker://DST.

    \b
    Example:
      ocikit push localhost:5000/app:v2
      ocikit push app:v2 docker://registry.example/team/app:v2
      ocikit push app:v2 oci-archive:app.tar
    """
    from oci.transports.copy import copy

    session = Session.of(context)
    named = sources.parse(name)
    if not isinstance(named, StoreRef):
        raise UsageError(f"{show(name)}: push sends images of the local store; `ocikit copy` takes any reference")
    target = sources.parse_destination(name if destination is None else destination)
    if isinstance(target, StoreRef):
        whole = target.normalized
        assert whole is not None  # parse_destination saw to it
        target = whole
    wanted = options.parse_compression(compression) if compression is not None else None
    chosen = options.parse_platform(platform)
    sources.prepare(session, (target, ""))
    with sources.open_source(session, named) as origin:
        origin.resolve(chosen)
        with sources.open_for_writing(session, target) as endpoint, session.progress("pushing") as progress:
            written = copy(origin, endpoint, platform=chosen, compression=wanted, progress=progress, warn=session.warn)
    sources.say_written(str(target), target, written, json=json)


def rmi(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Names, IDs, digests or beginnings of those.", show_default=False),
    ],
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Take the name away from an image that containers use, too.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Remove images from the local store.

    A name is taken away, and with an image's last name the image goes, with the blobs and layers that nothing else
    needs. An image that a container needs stays; -f takes its name away then. By an ID all names go, where there are
    several only with -f.

    \b
    Example:
      ocikit rmi app:v1
      ocikit rmi --force 4f53cda18c2b
    """
    from oci.cli.many import each
    from oci.cli.storing import open_store
    from oci.storage import images

    session = Session.of(context)
    lines: list[images.Removed] = []
    with open_store(session, namespace=True, needed=False) as store, each(names) as todo:
        for name in todo:
            with todo.one():
                removed = images.remove(store, name, force=force)
                lines += removed
                if not json:
                    for line in removed:
                        if line.kind in ("name", "image"):
                            print(output.printable(str(line)))
        if json:
            output.document([{"kind": line.kind, "what": line.what, "size": line.size} for line in lines])
