"""`verify`: everything that can be wrong with an image or a layout, for people and for CI systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from oci.cli import options, output, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.spec.reference import ArchiveRef, DockerArchiveRef, LayoutRef, RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.cli.progress import Progress
    from oci.spec.platform import Platform
    from oci.verification.report import Report

_FORMATS = ("text", "json", "sarif", "junit", "github")


def verify(
    context: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF-or-LAYOUT", help="One image, or the path of a whole layout or archive.", show_default=False
        ),
    ],
    platform: options.PlatformName = None,
    all_platforms: options.AllPlatforms = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Leave out decompression: no diff_ids, no entries of layers.")
    ] = False,
    json: options.Json = False,
    format_: Annotated[
        str, typer.Option("--format", metavar="|".join(_FORMATS), help="How the findings are written.")
    ] = "text",
) -> None:
    """Check everything about an image or a layout, and list every fault.

    JSON schemas and grammars, media types, sizes, digests, embedded data, diff_ids, the config against its layers and
    history, the layout's own rules, every entry of every layer. Warnings are listed too; only errors make the exit
    status 1. Without a tag the whole layout or archive is checked, with all platforms; with a tag that image for this
    machine's platform, for --platform, or for all of them. An image in a registry is checked there, and not kept.

    \b
    Example:
      ocikit verify ./images
      ocikit verify ./images:v2 --all-platforms --json
      ocikit verify docker://alpine:3.20
      ocikit verify oci-archive:v2.tar --format sarif > report.sarif
    """
    if format_ not in _FORMATS:
        raise UsageError(f"--format {format_!r}: not one of {', '.join(_FORMATS)}")
    if json and format_ not in ("text", "json"):
        raise UsageError(f"--json and --format {format_} are two ways to write one report; say one of them")
    place = sources.parse_place(reference)
    whole = isinstance(place, LayoutRef | ArchiveRef) and place.tag is None and place.digest is None
    wanted = None if all_platforms or (whole and platform is None) else sources.wanted_platform(platform)
    session = Session.of(context)
    with session.progress("verifying") as progress:
        if isinstance(place, LayoutRef | ArchiveRef):
            report = _in_layout(place, reference, wanted, fast, progress)
        else:
            report = _image(session, place, reference, wanted, fast, progress)
    if json or format_ == "json":
        output.document(report.to_json())
    else:
        print(_written(report, format_), end="")
    if not report.ok:
        raise typer.Exit(1)


def _in_layout(
    place: LayoutRef | ArchiveRef, reference: str, platform: Platform | None, fast: bool, progress: Progress
) -> Report:
    from oci.verification.verify import verify as check

    return check(
        place.path,
        subject=reference,
        tag=place.tag,
        digest=place.digest,
        platform=platform,
        fast=fast,
        progress=progress,
    )


def _image(
    session: Session,
    place: DockerArchiveRef | RegistryRef | StoreRef,
    reference: str,
    platform: Platform | None,
    fast: bool,
    progress: Progress,
) -> Report:
    """One image of a registry or of the store, where it is; of a docker-archive by documents in it or made for it."""
    from oci.verification.verify import verify_image

    with sources.open_source(session, place) as source:
        return verify_image(
            source,
            source.resolve(None),
            subject=reference,
            platform=platform,
            fast=fast,
            jobs=max(2, source.parallel),
            progress=progress,
        )


def _written(report: Report, format_: str) -> str:
    from oci import __version__
    from oci.verification import formats

    if format_ == "sarif":
        return formats.sarif(report, tool_version=__version__)
    if format_ == "junit":
        return formats.junit(report)
    if format_ == "github":
        return formats.github(report)
    return formats.text(report)
