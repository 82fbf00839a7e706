"""`append`: layers from directories and tar files on top of an image, or of nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from oci.cli import building, options, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import InvalidInput, SourceError, show

if TYPE_CHECKING:
    from oci.image.create import Source

_STDIN = "/dev/stdin"


def append(
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="The image to add to, or 'scratch' for nothing.", show_default=False)
    ],
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE[:DEST]",
            help="A directory or a tar file (- or /dev/stdin[:DEST]: a pipe), and where in the image it goes.",
            show_default=False,
        ),
    ],
    tag: options.Target,
    owner: Annotated[
        str,
        typer.Option(
            "--owner",
            metavar="auto|keep|UID:GID",
            help="auto: root's what belongs to SOURCE's own owner, others as they are; keep: all as they are.",
        ),
    ] = "auto",
    mode: Annotated[
        str | None,
        typer.Option("--mode", metavar="MODE", help="As chmod: 0755, or clauses like u=rwX,go=rX.", show_default=False),
    ] = None,
    mtime: Annotated[
        str,
        typer.Option(
            "--mtime",
            metavar="whole|exact|TIME",
            help="Times of files: whole seconds, to the nanosecond, or one for all (RFC 3339 or seconds since 1970).",
        ),
    ] = "whole",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out paths below SOURCE, by the patterns of .dockerignore: '*.o' at the top, '**/*.o' at any "
            "depth; repeat.",
            show_default=False,
        ),
    ] = None,
    compression: options.CompressionName = None,
    created_by: Annotated[
        str | None,
        typer.Option("--created-by", metavar="TEXT", help="What the history says of it.", show_default=False),
    ] = None,
    comment: Annotated[
        str | None,
        typer.Option("--comment", metavar="TEXT", help="A comment for the history.", show_default=False),
    ] = None,
    created: options.Created = None,
    platform: Annotated[
        str | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[/VARIANT]",
            help="Which image of an index; on scratch, what the image is for (default: linux/amd64).",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Add layers from directories and tar files to an image, or to nothing.

    One layer for each SOURCE, in this order, each with its history entry. The same inputs give the same digest at
    any time, under any user: owners are made independent of who calls, nothing says where or when; with zstd on any
    machine, with gzip on any x86-64 (the README says it exactly). With SOURCE_DATE_EPOCH no time is later than that. A
    tar file may be compressed; whiteouts in it are kept.

    \b
    Example:
      ocikit append scratch rootfs.tar.zst -t ./images:base
      ocikit append ./images:base app:/opt/app conf:/etc/app -t ./images:app --owner 0:0
      tar c site | ocikit append ./images:base /dev/stdin:/srv -t oci-archive:site.tar:v1 --compression zstd
    """
    session = Session.of(context)
    inputs = [_source(text) for text in source]
    if sum(one.path == _STDIN for one in inputs) > 1:
        raise UsageError("- (stdin) can be read once only")
    target = sources.parse_destination(tag)
    algorithm, level = options.parse_compression(compression or "gzip")
    epoch = session.source_date_epoch()
    settings: dict[str, Any] = {
        "owner": _owner(owner),
        "mode": _mode(mode),
        "mtime": _mtime(mtime),
        "clamp_mtime": None if epoch is None else epoch * 10**9,
        "exclude": _exclude(exclude or ()),
        "created": session.created(created),
        "created_by": created_by,
        "comment": comment,
        "compression": algorithm,
        "level": level,
        "warn": lambda where, why: session.warn(f"{show(where)}: {why}"),
    }
    if reference == building.SCRATCH:
        settings["platform"] = options.parse_platform(platform)
    from oci.image.create import append as append_layers

    with building.workplace(session, reference, target, platform) as place:
        if place.base is not None:
            building.must_be_for(place.base, platform, reference)
        with session.progress("appending") as progress:
            image = append_layers(place.blobs, place.base, inputs, progress=progress, **settings)
        written = place.finish(image)
    sources.say_written(tag, target, written, json=json)


def _source(text: str) -> Source:
    from oci.image.create import Source

    try:
        found = Source.parse(text)
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    if found.path == "-":
        return found.replace(path=_STDIN)
    if not os.path.lexists(found.path):  # before anything is made
        raise SourceError(found.path, "no such file or directory")
    return found


def _owner(text: str) -> Any:
    if text in ("auto", "keep"):
        return text
    uid, colon, gid = text.partition(":")
    if (
        not (colon and uid.isascii() and uid.isdigit() and gid.isascii() and gid.isdigit())
        or max(int(uid), int(gid)) >= 2**32 - 1
    ):
        raise UsageError(f"--owner {text!r}: expected auto, keep, or two numbers UID:GID")
    return int(uid), int(gid)


def _mode(text: str | None) -> str | None:
    if text is not None:
        from oci.changeset.mode import mode_rule

        try:
            mode_rule(text)
        except InvalidInput as error:
            raise UsageError(f"--mode: {error}") from None
    return text


def _exclude(patterns: Sequence[str]) -> Sequence[str]:
    if patterns:
        from oci.changeset.exclude import excluder

        try:
            excluder(patterns)
        except InvalidInput as error:
            raise UsageError(f"--exclude: {error}") from None
    return patterns


def _mtime(text: str) -> str | int:
    """whole, exact, seconds since 1970 or RFC 3339 → what the library takes (nanoseconds for a time)."""
    from oci.spec import rfc3339

    if text in ("whole", "exact"):
        return text
    if text.isascii() and text.isdigit():
        return int(text) * rfc3339.NANOSECONDS
    try:
        return rfc3339.parse(text)
    except ValueError as error:
        raise UsageError(f"--mtime {text!r}: {error}") from None
