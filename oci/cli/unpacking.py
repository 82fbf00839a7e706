"""`unpack`: the merged root file system of an image, in a directory."""

from __future__ import annotations

from typing import Annotated

from oci.cli import options, output, sources
from oci.cli.failures import blamed_on
from oci.cli.lazily import typer
from oci.cli.session import Session


def unpack(
    context: typer.Context,
    reference: options.Reference,
    dest: Annotated[
        str, typer.Argument(metavar="DEST", help="The directory to make; empty or absent.", show_default=False)
    ],
    rootless: Annotated[
        bool,
        typer.Option(
            "--rootless",
            help="As an ordinary user: all files are the caller's, owners are noted in user.rootlesscontainers, devices"
            " are left out. Chosen by itself when not root.",
        ),
    ] = False,
    map_root: Annotated[
        bool, typer.Option("--map-root", help="Treat all files as the caller's, although the caller is root.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in DEST, in one step.")] = False,
    platform: options.PlatformName = None,
    json: options.Json = False,
) -> None:
    """Write the merged root file system of an image to a directory.

    Every digest is checked while the layers are read, and DEST gets its name only when everything is right: a failed or
    interrupted unpack leaves it as it was. Types, modes, owners, times, links, extended attributes and capabilities are
    those of the image; nothing is ever written outside DEST, whatever the image holds.

    \b
    Example:
      ocikit unpack ./images:v2 rootfs
      ocikit unpack docker://alpine:3.20 rootfs
      ocikit unpack oci-archive:v2.tar rootfs --platform linux/arm64 --force
    """
    from oci.image.image import Image
    from oci.unpack.rootfs import unpack as unpack_image

    session = Session.of(context)
    with sources.open_source(session, reference) as source:
        image = Image.load(source, source.resolve(sources.wanted_platform(platform)))
        layers = len(image.layers)
        with blamed_on(dest), session.progress("unpacking") as progress:
            made = unpack_image(
                image.watched(progress),
                dest,
                force=force,
                rootless=True if rootless else None,
                map_root=map_root,
                warn=session.warn,
            )
    if json:
        output.document({"reference": reference, "digest": str(image.descriptor.digest), "destination": str(made)})
    else:
        session.note(f"unpacked {layers} {'layer' if layers == 1 else 'layers'} of {image.descriptor.digest} to {made}")
