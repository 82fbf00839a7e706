"""`copy`: an image, or a whole index, from one reference to another."""

from __future__ import annotations

from typing import Annotated

from oci.cli import options, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session


def copy(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(metavar="SRC", help="The image to copy.", show_default=False)] = None,
    destination: Annotated[
        str | None,
        typer.Argument(metavar="DST", help="Where it goes; a layout or archive is made.", show_default=False),
    ] = None,
    platform: options.PlatformName = None,
    all_platforms: options.AllPlatforms = False,
    compression: options.CompressionName = None,
    with_referrers: Annotated[
        bool,
        typer.Option("--with-referrers", help="Also what refers to it: signatures, SBOMs, and what refers to those."),
    ] = False,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from-file",
            metavar="LIST",
            help="Copy what a file names: lines of SRC DST, or (*.toml) repositories to keep alike.",
            show_default=False,
        ),
    ] = None,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast/--keep-going", help="With --from-file: whether the first failure is the end."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Copy an image between registries, layouts and archives.

    Everything is verified while it is copied, blobs that are there already are not written again, and the destination's
    tag changes last. The bytes, and so the digest, stay the same, unless --compression asks for layers to be compressed
    anew: then diff_ids and config stay, the manifest follows.

    With --from-file many images are copied, and only what differs; lines name one image each, for this machine's
    platform unless --platform or --all-platforms says otherwise, and TOML whole repositories (docs/mirror.md). A table
    says what came of each; one failure makes the exit status 1.

    \b
    Example:
      ocikit copy docker://alpine:3.20 ./images:base
      ocikit copy ./images:v2 oci-archive:v2.tar:v2
      ocikit copy docker-archive:saved.tar ./images:saved --compression zstd:9
      ocikit copy ./images:v2 ./mirror:v2 --all-platforms --with-referrers
      ocikit copy --from-file mirror.toml
    """
    wanted = options.parse_compression(compression) if compression is not None else None
    if platform is not None and all_platforms:
        raise UsageError("--platform and --all-platforms exclude each other")
    if from_file is not None:
        from oci.cli.copy_many import copy_list

        if source is not None or destination is not None or compression is not None:
            raise UsageError("--from-file takes the place of SRC and DST, and copies images as they are")
        copy_list(
            Session.of(context),
            from_file,
            platform=None if all_platforms else sources.wanted_platform(platform),
            with_referrers=with_referrers,
            fail_fast=fail_fast,
            json=json,
        )
        return
    if source is None or destination is None:
        raise UsageError("what to copy where? Give SRC and DST, or --from-file (see 'ocikit copy --help')")
    if with_referrers and compression is not None:
        raise UsageError("--with-referrers: referrers are of the image as it is; copy it without --compression")
    from oci.transports.copy import copy as copy_image

    session = Session.of(context)
    target = sources.parse_destination(destination)
    chosen = None if all_platforms else sources.wanted_platform(platform)
    named = sources.parse(source)
    sources.prepare(session, (named, "src"), (target, "dest"))
    with sources.open_source(session, named, "src") as origin:
        origin.resolve(chosen)  # before anything is made at the destination
        with sources.open_for_writing(session, target, "dest") as endpoint, session.progress("copying") as progress:
            written = copy_image(
                origin,
                endpoint,
                platform=chosen,
                compression=wanted,
                with_referrers=with_referrers,
                progress=progress,
                warn=session.warn,
            )
    sources.say_written(destination, target, written, json=json)
