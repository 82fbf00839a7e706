"""`files`: the merged tree of an image, or what one layer adds, changes and deletes."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from oci.cli import options, output
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.show import load, opened
from oci.spec import rfc3339
from oci.tar.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK

if TYPE_CHECKING:
    from oci.changeset.merge import Change, Planned
    from oci.tar.entry import Entry

_FORMATS = {
    BLOCK: stat.S_IFBLK,
    CHAR: stat.S_IFCHR,
    DIR: stat.S_IFDIR,
    FIFO: stat.S_IFIFO,
    FILE: stat.S_IFREG,
    HARDLINK: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
}


def files(
    context: typer.Context,
    reference: options.Reference,
    layer: Annotated[
        int | None,
        typer.Option(
            "--layer",
            metavar="N",
            help="What one layer adds (A), modifies (M), deletes (D); 0 is the base, -1 the top.",
            show_default=False,
        ),
    ] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="With mode, owner, size, time and layer.")] = False,
    platform: options.PlatformName = None,
    json: options.Json = False,
) -> None:
    """List the files of an image, or of one of its layers.

    The merged tree, as a container would see it, whiteouts applied; paths are without the leading slash.

    \b
    Example:
      ocikit files ./images:v2 --long
      ocikit files ./images:v2 --layer -1
    """
    from oci.changeset.merge import merge

    with opened(context, reference) as source:
        layers = load(source, platform).layers
        if layer is None:
            found = [_planned(planned) for planned in merge(layers) if planned.path]
        else:
            number = layer + len(layers) if layer < 0 else layer
            if not 0 <= number < len(layers):
                raise UsageError(f"--layer {layer}: the image has {len(layers)} layers, 0 to {len(layers) - 1}")
            changes = merge(layers[: number + 1], changes=True).changes[number]
            found = [_changed(change, number) for change in changes]
    if json:
        output.document(found)
    elif long:
        _print_long(found)
    else:
        for item in found:
            letter = f"{item['change'][0].upper()}  " if item["change"] else ""
            print(letter + output.printable(item["path"]))


def _planned(planned: Planned) -> dict[str, Any]:
    item = _facts(planned.path, planned.entry, planned.layer, None)
    if planned.first is not None:
        item |= {"type": HARDLINK, "linkname": _text(planned.first)}
    return item


def _changed(change: Change, layer: int) -> dict[str, Any]:
    item = _facts(change.path, change.entry, layer, change.change)
    if change.link is not None:
        item |= {"type": HARDLINK, "linkname": _text(change.link)}
    return item


def _facts(path: bytes, entry: Entry | None, layer: int, change: str | None) -> dict[str, Any]:
    """What `files --json` lists; of what was deleted nothing more is known than its path."""
    return {
        "path": _text(path) or ".",
        "type": "whiteout" if entry is None else entry.kind,
        "mode": "0000" if entry is None else f"{entry.mode:04o}",
        "uid": 0 if entry is None else entry.uid,
        "gid": 0 if entry is None else entry.gid,
        "size": 0 if entry is None else entry.size,
        "mtime": None if entry is None else _time(entry.mtime_ns),
        "linkname": _text(entry.linkname) if entry is not None and entry.linkname else None,
        "layer": layer,
        "change": change,
    }


def _text(name: bytes) -> str:
    """A path as JSON can say it; bytes that are not UTF-8 become lone surrogates."""
    return name.decode("utf-8", "surrogateescape")


def _time(nanoseconds: int) -> str | None:
    try:
        return rfc3339.format(nanoseconds)
    except ValueError:
        return None


def _print_long(found: Iterable[dict[str, Any]]) -> None:
    rows = [
        [
            (item["change"] or " ")[0].upper(),
            _mode(item),
            f"{item['uid']}:{item['gid']}",
            output.size(item["size"]) if item["type"] == FILE else "-",
            output.when(item["mtime"]),
            str(item["layer"]),
            item["path"] + (f" -> {item['linkname']}" if item["linkname"] is not None else ""),
        ]
        for item in found
    ]
    changed = any(row[0] != " " for row in rows)
    header = ["", "MODE", "OWNER", "SIZE", "TIME", "LAYER", "PATH"]
    first = 0 if changed else 1
    output.table(header[first:], [row[first:] for row in rows], right=[3 - first, 5 - first])


def _mode(item: dict[str, Any]) -> str:
    kind = _FORMATS.get(item["type"])
    return "-" if kind is None else stat.filemode(kind | int(item["mode"], 8))
