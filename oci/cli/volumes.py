"""`volume create|ls|inspect|rm|prune|export|import`: data that outlives containers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from oci.cli import options, output
from oci.cli.failures import UsageError
from oci.cli.lazily import Annotated, Any, typer
from oci.cli.many import each
from oci.cli.session import Session
from oci.cli.storing import has_store, open_store
from oci.errors import InvalidInput, VolumeNotFound, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.store import Store
    from oci.storage.volumes import Volume

__all__ = ["create", "export", "import_", "inspect", "ls", "prune", "rm", "volume"]

CHUNK = 1 << 20


def volume() -> None:
    """Make, list, remove, export and import volumes: data that outlives containers.

    A volume is a folder of the store that no storage driver touches. `-v NAME:/path` of `run` and `create` shows it in
    a container; a new one takes what the image has at that path. `docs/volumes.md` tells the rules.

    \b
    Example:
      ocikit volume create data
      ocikit run --rm -v data:/srv busybox touch /srv/file
      ocikit volume export data -o data.tar
    """


def create(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Its name; default: 64 digits.", show_default=False)
    ] = None,
    label: options.VolumeLabels = None,
    json: options.Json = False,
) -> None:
    """Make an empty volume, and print its name.

    A volume that is there already is left as it is. Without a name the volume is anonymous: `volume prune` removes it
    when no container uses it.

    \b
    Example:
      ocikit volume create data --label team=web
      ocikit volume create
    """
    session = Session.of(context)
    labels = options.parse_labels(label or ())
    with _told(), open_store(session, namespace=True, needed=False) as store:
        try:
            made = store.volumes.get(name) if name is not None else store.volumes.create(labels=labels)
        except VolumeNotFound:
            made = store.volumes.ensure(name or "", labels=labels)
        else:
            if name is not None:
                session.note(f"volume {made.name} is there already")
        if json:
            output.document(_item(store, made))
        else:
            print(made.name)


@contextmanager
def _told() -> Iterator[None]:
    """A name that can't be a volume's is wrong usage."""
    try:
        yield
    except InvalidInput as error:
        raise UsageError(str(error)) from None


def ls(
    context: typer.Context,
    only_names: Annotated[bool, typer.Option("--quiet", "-q", help="Only names, one a line.")] = False,
    size: Annotated[bool, typer.Option("--size", "-s", help="Also the bytes of each; all its files are read.")] = False,
    json: options.Json = False,
) -> None:
    """List volumes, with the containers that use them.

    \b
    Example:
      ocikit volume ls
      ocikit volume ls --json
    """
    session = Session.of(context)
    if not has_store(session):  # nothing is made by looking
        if json:
            output.document([])
        elif not only_names:
            _table([], {}, {})
        return
    from oci.storage.disk import disk_bytes

    with open_store(session, namespace=size, needed=False) as store:
        found = store.volumes.list()
        sizes = {one.name: disk_bytes(one.path) for one in found} if size else {}
        if json:
            output.document([_item(store, one, sizes.get(one.name)) for one in found])
        elif only_names:
            for one in found:
                print(one.name)
        else:
            _table(found, {one.name: store.volumes.users(one.name) for one in found}, sizes)


def _table(found: Iterable[Volume], users: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int]) -> None:
    output.table(
        ["NAME", "CREATED", *["SIZE"] * bool(sizes), "USED BY"],
        [
            [
                one.name,
                output.when(_time(one.created)),
                *[output.size(sizes.get(one.name))] * bool(sizes),
                ", ".join(users[one.name]) or "-",
            ]
            for one in found
        ],
        right=[2] if sizes else [],
    )


def inspect(context: typer.Context, names: options.VolumeNames, json: options.Json = False) -> None:
    """Show where volumes are, which containers use them, and their bytes.

    \b
    Example:
      ocikit volume inspect data
      ocikit volume inspect data cache --json
    """
    session = Session.of(context)
    items: list[dict[str, Any]] = []
    with open_store(session, namespace=True, needed=False, create=False) as store, each(names) as todo:
        for name in todo:
            with todo.one():
                found = store.volumes.get(name)
                items.append(_item(store, found, store.volumes.size(name)))
        if json:
            output.document(items)
            return
        for at, item in enumerate(items):
            if at:
                print()
            output.facts(
                [
                    ("Name", item["name"]),
                    ("Mountpoint", item["mountpoint"]),
                    ("Created", output.when(item["created"])),
                    ("Anonymous", "yes" if item["anonymous"] else None),
                    ("Labels", ", ".join(f"{key}={value}" for key, value in item["labels"].items()) or None),
                    ("Used by", ", ".join(item["users"]) or "-"),
                    ("Size", f"{output.size(item['size'])} ({item['size']} bytes)"),
                ]
            )


def _item(store: Store, found: Volume, size: int | None = None) -> dict[str, Any]:
    item = {
        "name": found.name,
        "mountpoint": found.path,
        "created": _time(found.created),
        "labels": dict(found.labels),
        "anonymous": found.anonymous,
        "users": list(store.volumes.users(found.name)),
    }
    return item if size is None else {**item, "size": size}


def _time(nanoseconds: int) -> str:
    from oci.spec import rfc3339

    return rfc3339.format(nanoseconds)


def rm(
    context: typer.Context,
    names: options.VolumeNames,
    force: Annotated[bool, typer.Option("--force", "-f", help="No error for a volume that isn't there.")] = False,
    json: options.Json = False,
) -> None:
    """Remove volumes, with their data.

    A volume that a container uses, running or not, is not removed, with --force neither.

    \b
    Example:
      ocikit volume rm data
      ocikit volume rm --force data cache
    """
    session = Session.of(context)
    gone: list[str] = []
    with open_store(session, namespace=True, needed=False, create=force) as store, each(names) as todo:
        for name in todo:
            with todo.one():
                if store.volumes.remove(name, force=force):
                    gone.append(name)
                    if not json:
                        print(name)
        if json:
            output.document({"removed": gone})


def prune(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Named volumes too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", hidden=True, help="Nothing is asked anyway.")] = False,
    json: options.Json = False,
) -> None:
    """Remove the anonymous volumes that no container uses.

    With --all those that have a name, too.

    \b
    Example:
      ocikit volume prune --dry-run
      ocikit volume prune --all
    """
    from oci.storage.disk import disk_bytes

    session = Session.of(context)
    with open_store(session, namespace=True, needed=False) as store:
        sizes = {one.name: disk_bytes(one.path) for one in store.volumes.list()}
        gone = [one.name for one in store.volumes.prune(everything=everything, dry_run=dry_run)]
    freed = sum(sizes.get(name, 0) for name in gone)
    if json:
        output.document({"dryRun": dry_run, "volumes": gone, "freed": freed})
        return
    for name in gone:
        print(f"{'would delete' if dry_run else 'deleted'} {name}  {output.size(sizes.get(name, 0))}")
    session.note(f"{'would free' if dry_run else 'freed'} {output.size(freed)}")


def export(
    context: typer.Context,
    name: options.VolumeName,
    file: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where the tar goes; '-': stdout.")] = "-",
) -> None:
    """Write a volume's data as one tar archive.

    Everything is in it: owners, modes, times, links, devices, extended attributes, and sparse files with their holes.
    The same data gives the same bytes. Containers may go on writing meanwhile, but what is read is then no one moment.

    \b
    Example:
      ocikit volume export data -o data.tar
      ocikit volume export data | zstd > data.tar.zst
    """
    session = Session.of(context)
    if file == "-" and sys.stdout.isatty():
        raise UsageError("a tar archive is nothing for a terminal: use -o FILE, or a pipe")
    with open_store(session, namespace=True, needed=False, create=False) as store:
        chunks = store.volumes.export(name, warn=session.warn)
        if file == "-":
            sys.stdout.flush()
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        from oci.cli.output_files import written_to

        with written_to(file) as write:
            for chunk in chunks:
                write(chunk)


def import_(
    context: typer.Context,
    name: options.VolumeName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A tar archive; '-': stdin.", show_default=False)],
    label: options.VolumeLabels = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the data that is in the volume.")] = False,
    json: options.Json = False,
) -> None:
    """Fill a new or empty volume from a tar archive, compressed or not.

    All of it, or nothing: when the archive is damaged, or the disk full, the volume is as it was. A volume that is not
    empty is left alone, unless --force replaces what is in it; one that a running container uses is always left alone.

    \b
    Example:
      ocikit volume import data data.tar
      zstd -dc data.tar.zst | ocikit volume import data -
    """
    session = Session.of(context)
    labels = options.parse_labels(label or ())
    with _told(), open_store(session, namespace=True, needed=False) as store, _opened(file) as chunks:
        made = store.volumes.load(name, chunks, labels=labels, force=force, warn=session.warn)
        if json:
            output.document(_item(store, made, store.volumes.size(made.name)))
        else:
            print(made.name)


@contextmanager
def _opened(file: str) -> Iterator[Iterator[bytes]]:
    from oci.streams.chunks import read_chunks

    if file == "-":
        yield read_chunks(sys.stdin.buffer.fileno())
        return
    try:
        opened = open(file, "rb", buffering=0)
    except OSError as error:
        raise UsageError(f"{show(file)}: {error.strerror}") from None
    with opened:
        yield read_chunks(opened.fileno())
