"""`verify`: everything that can be wrong with an image or a layout, for people and for CI systems."""

from __future__ import annotations

from typing import Annotated

import typer

from oci.cli import options, output, sources
from oci.cli.failures import UsageError
from oci.cli.session import Session
from oci.spec.reference import DockerArchiveRef

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
    machine's platform, for --platform, or for all of them.

    \b
    Example:
      ocikit verify ./images
      ocikit verify ./images:v2 --all-platforms --json
      ocikit verify oci-archive:v2.tar --format sarif > report.sarif
    """
    if format_ not in _FORMATS:
        raise UsageError(f"--format {format_!r}: not one of {', '.join(_FORMATS)}")
    if json and format_ not in ("text", "json"):
        raise UsageError(f"--json and --format {format_} are two ways to write one report; say one of them")
    from oci.image.verify import verify as check

    place = sources.parse_place(reference)
    if isinstance(place, DockerArchiveRef):
        raise UsageError(
            f"{reference}: a docker-archive has no digests to verify; copy it to a layout, which checks it on the way"
        )
    whole = place.tag is None and place.digest is None
    wanted = None if all_platforms or (whole and platform is None) else sources.wanted_platform(platform)
    session = Session.of(context)
    with session.progress("verifying"):
        report = check(
            place.path,
            subject=reference,
            tag=place.tag,
            digest=place.digest,
            platform=wanted,
            all_platforms=all_platforms,
            fast=fast,
        )
    if json or format_ == "json":
        output.document(report.to_json())
    else:
        print(_written(report, format_), end="")
    if not report.ok:
        raise typer.Exit(1)


def _written(report: object, format_: str) -> str:
    from oci import __version__
    from oci.image import report_formats
    from oci.image.findings import Report

    assert isinstance(report, Report)
    if format_ == "sarif":
        return report_formats.sarif(report, tool_version=__version__)
    if format_ == "junit":
        return report_formats.junit(report)
    if format_ == "github":
        return report_formats.github(report)
    return report_formats.text(report)
