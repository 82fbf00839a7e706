"""`diff`, `commit`, `export`, `cp`, `mount`, `umount`: what a container wrote, and its files."""

from __future__ import annotations

import os
import sys

from oci.cli import options, output
from oci.cli.failures import UsageError
from oci.cli.lazily import Annotated, Any, typer
from oci.cli.many import each
from oci.cli.session import Session
from oci.cli.storing import open_store
from oci.errors import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oci.cli.sources import ImageRef
    from oci.image.image import Image
    from oci.layout.blobs import BlobStore
    from oci.spec.descriptor import Descriptor
    from oci.spec.reference import StoreRef
    from oci.storage.store import Store

__all__ = ["commit", "cp", "diff", "export", "mount", "umount"]


def diff(
    context: typer.Context,
    container: options.ContainerName,
    other: Annotated[
        str | None, typer.Argument(metavar="REF", help="Not in this version.", hidden=True, show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """List what a container has changed against its image.

    A: added, C: changed, D: deleted, and the path. What was only read is not listed, nor what was written back as it
    was; never what is mounted in the container: volumes, /proc.

    \b
    Example:
      ocikit diff web
      ocikit diff web --json
    """
    if other is not None:
        raise UsageError("diff of two images is not available in this version of ocikit; diff CONTAINER is")
    from oci.container.container import Container
    from oci.container.writable import LETTERS, changes

    session = Session.of(context)
    with open_store(session, namespace=True, needed=False, create=False) as store:
        found = changes(Container.find(store, container))
        if json:
            output.document([{"path": _text(change.path), "change": change.kind} for change in found])
            return
        for change in found:
            print(f"{LETTERS[change.kind]} {output.printable(_text(change.path))}")


def _text(path: bytes) -> str:
    """An absolute path as JSON can say it; bytes that are not UTF-8 become lone surrogates."""
    return "/" + path.decode("utf-8", "surrogateescape")


def commit(
    context: typer.Context,
    container: options.ContainerName,
    tag: options.Target,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            "-c",
            metavar="INSTRUCTION",
            help="A Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,"
            " USER, VOLUME or WORKDIR; repeat.",
            show_default=False,
        ),
    ] = None,
    author: Annotated[
        str | None, typer.Option("--author", "-a", metavar="TEXT", help="Who made the image.", show_default=False)
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", "-m", metavar="TEXT", help="A comment for the history.", show_default=False),
    ] = None,
    compression: options.CompressionName = None,
    created: options.Created = None,
    pause: Annotated[
        bool, typer.Option("--pause/--no-pause", help="Pause a running container while it is read.")
    ] = True,
    json: options.Json = False,
) -> None:
    """Make an image of a container: its image, and a layer of what it wrote.

    The layer has the changes alone; volumes are never in it. The container's own variables, command, user and so on
    become the image's. The same state gives the same digest at any time. A container that has written nothing gives an
    image without a new layer.

    \b
    Example:
      ocikit commit web -t web:patched -m 'index fixed'
      ocikit commit box -t ./images:box --change 'CMD ["/bin/app"]' --change 'ENV MODE=fast' --compression zstd
      ocikit commit box -t docker://registry.example/box:v1 --author 'me <me@example.org>'
    """
    from oci.cli import sources
    from oci.spec.reference import StoreRef

    session = Session.of(context)
    target = sources.parse_destination(tag)
    algorithm, level = options.parse_compression(compression or "gzip")
    epoch = session.source_date_epoch()
    stamp = session.created(created)
    _check_changes(change or ())
    sources.prepare(session, (target, ""))
    with open_store(session, namespace=True, needed=False, create=False) as store:
        from oci.container.commit import commit as commit_it
        from oci.container.commit import image_of
        from oci.container.container import Container

        one = Container.find(store, container)

        def image_in(blobs: BlobStore) -> Image:
            settings: dict[str, Any] = {"created": stamp, "compression": algorithm, "level": level, "pause": pause}
            settings |= {"clamp_mtime": None if epoch is None else epoch * 10**9, "warn": session.warn}
            with session.progress("committing") as progress:
                return commit_it(
                    one,
                    image_of(one),
                    blobs,
                    changes=change or (),
                    author=author,
                    message=message,
                    progress=progress,
                    **settings,
                )

        with store.shared():
            if isinstance(target, StoreRef):
                written = _in_store(store, target, image_in)
            else:
                written = _elsewhere(session, target, image_in)
    sources.say_written(tag, target, written, json=json)


def _in_store(store: Store, target: StoreRef, image_in: Callable[[BlobStore], Image]) -> Descriptor:
    """The image in the store that has its base: new blobs go where they belong, and the name changes last."""
    from oci.transports.from_store import stored_destination

    with stored_destination(store, target) as destination:
        image = image_in(store.images.blobs)
        destination.commit(image.manifest.raw, image.descriptor)
    return image.descriptor


def _elsewhere(session: Session, target: ImageRef, image_in: Callable[[BlobStore], Image]) -> Descriptor:
    """The image in a layout, an archive or a registry, with all that it has of its base."""
    from oci.cli import building, sources

    with (
        sources.open_for_writing(session, target) as destination,
        building.blobs_for(destination, target) as blobs,
    ):
        return building.write_image(session, image_in(blobs), destination)


def _check_changes(lines: Any) -> None:
    """Refuse a wrong instruction as the wrong usage that it is, before anything is opened."""
    if not lines:
        return
    from oci.container.instructions import apply_changes
    from oci.errors import InvalidInput
    from oci.spec.config import ImageConfig
    from oci.spec.platform import Platform

    try:
        apply_changes(ImageConfig(platform=Platform("linux", "amd64"), diff_ids=()), lines)
    except InvalidInput as error:
        raise UsageError(str(error)) from None


def export(
    context: typer.Context,
    container: options.ContainerName,
    output_file: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file; default: stdout.", show_default=False),
    ] = None,
) -> None:
    """Write all files of a container as one tar archive.

    The merged tree: its image with what it changed. Volumes are not in it (see `ocikit volume export`), and no mount
    points that are there for its own sake.

    \b
    Example:
      ocikit export web -o web.tar
      ocikit export web | tar -t
    """
    from oci.container.container import Container
    from oci.container.export import export as export_it

    session = Session.of(context)
    if output_file is None:
        _must_not_be_terminal(sys.stdout, "name a file with --output")
    with open_store(session, namespace=True, needed=False, create=False) as store:
        one = Container.find(store, container)
        if output_file is None:
            sys.stdout.flush()
            export_it(one, sys.stdout.buffer.write, warn=session.warn)
            sys.stdout.buffer.flush()
            return
        from oci.cli.output_files import written_to

        with written_to(output_file) as write:
            export_it(one, write, warn=session.warn)


def _must_not_be_terminal(stream: Any, hint: str) -> None:
    if stream.isatty():
        raise UsageError(f"a tar archive is not for a terminal: {hint}")


def cp(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="CONTAINER:PATH, a path here, or - (a tar on stdin).", show_default=False),
    ],
    dest: Annotated[
        str,
        typer.Argument(metavar="DST", help="CONTAINER:PATH, a path here, or - (a tar on stdout).", show_default=False),
    ],
    archive: Annotated[bool, typer.Option("--archive", "-a", help="Keep owners, and what else gives rights.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow-link", "-L", help="Where SRC is a link, copy what it leads to.")
    ] = False,
) -> None:
    """Copy files into a container, or out of it.

    By docker's rules: a directory goes into a DST that is there, under its own name, and SRC/. is what is in it; a file
    takes DST's name unless that is a directory. Containers may run or not; links in them never lead out of them.
    Volumes are reached at their paths. Without --archive all belongs to root in the container, to you here.

    \b
    Example:
      ocikit cp web:/etc/nginx/nginx.conf .
      ocikit cp site/. web:/srv/www
      ocikit cp web:/var/log - | tar -t
      tar c data | ocikit cp - web:/srv
    """
    session = Session.of(context)
    there, here = _split(source), _split(dest)
    if (there is None) == (here is None):
        both = "between two containers" if there is not None else "on this machine alone"
        raise UsageError(f"cp copies into a container or out of one, not {both}; a container's path is CONTAINER:PATH")
    if there is not None and dest == "-":
        _must_not_be_terminal(sys.stdout, "name a directory as DST")
    if here is not None and source == "-":
        _must_not_be_terminal(sys.stdin, "name a file or directory as SRC")
    from oci.container.copying import copy_in, copy_out, tar_in, tar_out

    name, path = there or here or ("", "")
    inner = os.fsencode(path)

    def work(tree: Any) -> None:
        if there is None and source == "-":
            from oci.image.tar_source import open_tar
            from oci.streams.chunks import read_chunks

            with open_tar(read_chunks(sys.stdin.fileno())) as chunks:
                tar_in(chunks, tree, inner, warn=session.warn)
        elif there is None:
            copy_in(source, tree, inner, archive=archive, follow=follow, warn=session.warn)
        elif dest == "-":
            sys.stdout.flush()
            tar_out(tree, inner, sys.stdout.buffer.write, follow=follow, warn=session.warn)
            sys.stdout.buffer.flush()
        else:
            copy_out(tree, inner, dest, archive=archive, follow=follow, warn=session.warn)

    _with_tree(session, name, work, writable=there is None)


def _with_tree(session: Session, name: str, work: Callable[[Any], None], *, writable: bool) -> None:
    from oci.container.container import Container
    from oci.container.view import inside

    with (
        open_store(session, namespace=True, needed=False, create=False) as store,
        inside(Container.find(store, name), writable=writable) as tree,
    ):
        work(tree)


def _split(text: str) -> tuple[str, str] | None:
    """CONTAINER:PATH as docker tells it from a path here: what begins with / or . is none."""
    name, colon, path = text.partition(":")
    if not colon or not name or text.startswith(("/", ".")):
        return None
    return name, path


def mount(
    context: typer.Context,
    container: Annotated[
        str | None,
        typer.Argument(
            metavar="CONTAINER", help="Its name, its ID or the beginning of one; default: list.", show_default=False
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Mount a container's files here and print where; without a container, list what is mounted.

    For root, or in `ocikit unshare`. Who mounts twice has to unmount twice. What is written there is the container's.

    \b
    Example:
      ocikit mount web
      ls "$(ocikit mount web)/etc"
      ocikit unshare sh -c 'ls "$(ocikit mount web)"; ocikit umount web'
    """
    from oci.container.container import Container
    from oci.container.mounting import mount as mount_it
    from oci.container.mounting import mounted, must_may_mount

    session = Session.of(context)
    if container is not None:
        must_may_mount()
        with open_store(session, create=False) as store:
            one = Container.find(store, container)
            path = mount_it(one)
            if json:
                output.document({"id": one.id, "name": one.name, "path": path})
            else:
                print(output.printable(path))
        return
    with open_store(session, create=False) as store:
        names = {row.id: row.name for row in store.containers.list()}
        rows = [(identity, names.get(identity, ""), path) for identity, path in mounted(store)]
    if json:
        output.document([{"id": identity, "name": name, "path": path} for identity, name, path in rows])
    else:
        output.table(["CONTAINER ID", "NAME", "PATH"], [[identity[:12], name, path] for identity, name, path in rows])


def umount(
    context: typer.Context,
    containers: options.ContainerNames,
    force: Annotated[bool, typer.Option("--force", "-f", help="Whoever else has it mounted.")] = False,
) -> None:
    """Unmount what `mount` mounted, when the last of those who did says so.

    \b
    Example:
      ocikit umount web
      ocikit umount --force web box
    """
    from oci.container.container import Container
    from oci.container.mounting import must_may_mount
    from oci.container.mounting import unmount as unmount_it

    session = Session.of(context)
    must_may_mount()
    with open_store(session, create=False) as store, each(containers) as todo:
        for name in todo:
            with todo.one():
                gone = unmount_it(Container.find(store, name), force=force)
                session.note(f"{show(name)}: unmounted" if gone else f"{show(name)}: stays mounted for others")
