"""`copy`: an image, or a whole index, from one reference to another."""

from __future__ import annotations

from typing import Annotated

import typer

from oci.cli import options, sources
from oci.cli.failures import UsageError
from oci.cli.session import Session


def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The image to copy.", show_default=False)],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="Where it goes; a layout or archive is made.", show_default=False)
    ],
    platform: options.PlatformName = None,
    all_platforms: options.AllPlatforms = False,
    compression: options.CompressionName = None,
    json: options.Json = False,
) -> None:
    """Copy an image between layouts and archives.

    Everything is verified while it is copied, blobs that are there already are not written again, and the destination's
    tag changes last. The bytes, and so the digest, stay the same, unless --compression asks for layers to be compressed
    anew: then diff_ids and config stay, the manifest follows.

    \b
    Example:
      ocikit copy ./images:v2 oci-archive:v2.tar:v2
      ocikit copy docker-archive:saved.tar ./images:saved --compression zstd:9
      ocikit copy ./images:v2 ./mirror:v2 --all-platforms
    """
    wanted = options.parse_compression(compression) if compression is not None else None
    if platform is not None and all_platforms:
        raise UsageError("--platform and --all-platforms exclude each other")
    from oci.transports.copy import copy as copy_image
    from oci.transports.names import open_source

    session = Session.of(context)
    target = sources.parse_destination(destination)
    chosen = None if all_platforms else sources.wanted_platform(platform)
    with open_source(sources.parse(source), warn=session.warn) as origin:
        origin.resolve(chosen)  # before anything is made at the destination
        with sources.open_for_writing(target) as endpoint, session.progress("copying") as progress:
            written = copy_image(
                origin,
                endpoint,
                platform=chosen,
                all_platforms=all_platforms,
                compression=wanted,
                progress=progress,
                warn=session.warn,
            )
    sources.say_written(destination, target, written, json=json)
