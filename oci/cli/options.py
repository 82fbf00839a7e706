"""Options that several commands share, each worded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oci.cli.failures import UsageError

if TYPE_CHECKING:
    from oci.spec import Platform

Reference = Annotated[str, typer.Argument(metavar="REF", help="The image.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
PlatformName = Annotated[
    str | None,
    typer.Option(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        help="Which image of an index; default: this machine's platform.",
        show_default=False,
    ),
]
Target = Annotated[
    str, typer.Option("--tag", "-t", metavar="REF", help="Where the new image goes.", show_default=False)
]
AllPlatforms = Annotated[
    bool, typer.Option("--all-platforms", "--all", help="The whole index, with the images of all platforms.")
]
CompressionName = Annotated[
    str | None,
    typer.Option(
        "--compression", metavar="gzip|zstd|none[:LEVEL]", help="How layers are compressed.", show_default=False
    ),
]
Created = Annotated[
    str | None,
    typer.Option(
        "--created",
        metavar="TIME",
        help="When it was made, RFC 3339; default: SOURCE_DATE_EPOCH, else the newest of the new files' times.",
        show_default=False,
    ),
]

# As oci.streams.compression_write.LEVELS has them (a test holds one against the other); that takes long to import.
_LEVELS = {"none": range(0), "gzip": range(10), "zstd": range(1, 20)}


def parse_compression(text: str) -> tuple[str, int | None]:
    """`gzip`, `zstd:19`, `none` → the name and the level (None: the default)."""
    name, colon, level = text.partition(":")
    if name not in _LEVELS:
        raise UsageError(f"--compression {text!r}: not one of gzip, zstd, none")
    if not colon:
        return name, None
    levels = _LEVELS[name]
    if not (level.isascii() and level.isdigit() and int(level) in levels):
        known = f"a level from {levels[0]} to {levels[-1]}" if levels else "no level"
        raise UsageError(f"--compression {text!r}: {name} takes {known}")
    return name, int(level)


def parse_platform(text: str | None) -> Platform | None:
    """`--platform` → a Platform; None stays None."""
    if text is None:
        return None
    from oci.errors import InvalidPlatform
    from oci.spec import Platform

    try:
        return Platform.parse(text)
    except InvalidPlatform as error:
        raise UsageError(str(error)) from None
