"""Options that several commands share, each worded once: how typer is told. options.py gives them on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

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
LayoutPath = Annotated[str, typer.Argument(metavar="LAYOUT", help="The layout's directory.", show_default=False)]
ArtifactFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE[:TYPE]",
        help="A file or directory, and the media type it gets in the artifact.",
        show_default=False,
    ),
]
ArtifactConfig = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE[:TYPE]", help="The artifact's config; default: the empty one.", show_default=False
    ),
]
AnnotationWords = Annotated[
    list[str] | None,
    typer.Option(
        "--annotation", metavar="KEY=VALUE", help="An annotation of the manifest; repeat.", show_default=False
    ),
]
AnnotationFile = Annotated[
    str | None,
    typer.Option(
        "--annotation-file",
        metavar="FILE",
        help='JSON, as oras has it: {"$manifest": {KEY: VALUE}, "$config": {…}, "FILE": {…}}.',
        show_default=False,
    ),
]
ArtifactCreated = Annotated[
    str | None,
    typer.Option(
        "--created",
        metavar="TIME",
        help="When it was made, RFC 3339; default: SOURCE_DATE_EPOCH, else nothing says it.",
        show_default=False,
    ),
]
# Annotated by those who take it: one command can do without it.
Host: Any = typer.Argument(
    metavar="HOST[/PART]", help="HOST[:PORT], or a part of its repositories.", show_default=False
)
ContainerName = Annotated[
    str, typer.Argument(metavar="CONTAINER", help="Its name, its ID or the beginning of one.", show_default=False)
]
ContainerNames = Annotated[
    list[str],
    typer.Argument(metavar="CONTAINER", help="Their names, IDs or beginnings of those.", show_default=False),
]
Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="COMMAND", help="What to run in place of the image's own, with its arguments.", show_default=False
    ),
]
StopTimeout = Annotated[
    int | None,
    typer.Option(
        "--time",
        "-t",
        metavar="SECONDS",
        help="How long to wait before SIGKILL; default: the container's own, else 10.",
        show_default=False,
    ),
]
DetachKeys = Annotated[
    str | None,
    typer.Option(
        "--detach-keys", metavar="KEYS", help="What leaves a terminal; default: ctrl-p,ctrl-q.", show_default=False
    ),
]
OnlyIds = Annotated[bool, typer.Option("--quiet", "-q", help="Only IDs, one a line.")]
VolumeName = Annotated[str, typer.Argument(metavar="NAME", help="The volume.", show_default=False)]
VolumeNames = Annotated[list[str], typer.Argument(metavar="NAME", help="The volumes.", show_default=False)]
VolumeLabels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label of a new volume; repeat.", show_default=False),
]
