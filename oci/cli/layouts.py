"""`init`, `ls`, `tag`, `untag`, `gc`: layouts as a whole; `ls`, `tag` and `untag` of a registry are in remote.py."""

from __future__ import annotations

from oci.cli import options, output, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import Annotated, Any, typer
from oci.cli.session import Session
from oci.spec.reference import DockerArchiveRef, RegistryRef, StoreRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.inspect.listing import Row


def init(
    context: typer.Context,
    layout: options.LayoutPath,
) -> None:
    """Make an empty image layout.

    The directory must be new or empty. `append` and `copy` make their layout themselves, so this is for scripts.

    \b
    Example:
      ocikit init ./images
    """
    from oci.layout.layout import Layout

    path = sources.layout_path(layout)
    with sources.new_layout_goes_on_failure(path):
        Layout.create(path)
    Session.of(context).note(f"made the empty layout {path}")


def ls(
    context: typer.Context,
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="PLACE",
            help="A layout, an archive, docker://HOST/REPO or a NAME; default: all of the local store.",
            show_default=False,
        ),
    ] = None,
    all_images: Annotated[bool, typer.Option("--all", "-a", help="Of the store: also images without a name.")] = False,
    only_ids: options.OnlyIds = False,
    json: options.Json = False,
) -> None:
    """List the images of the local store, a layout, an archive or a repository.

    One line for each entry: tag, digest, platform, size of the whole image as stored, and when it was created; of the
    store its name and ID in their place. An index is listed with the platforms it holds. Of a repository all tags are
    looked up, unless it is named with one; `tags` lists their names alone, which is quicker.

    \b
    Example:
      ocikit ls --all
      ocikit ls ./images
      ocikit ls oci-archive:images.tar --json
      ocikit ls docker://quay.io/podman/hello
    """
    if place is not None and place.startswith("docker://"):
        from oci.cli.remote import rows_of

        rows = rows_of(Session.of(context), place)
    else:
        named = None if place is None else sources.parse_place(place)
        if named is None or isinstance(named, StoreRef):
            from oci.cli.stored_images import list_images

            list_images(Session.of(context), named, all_images=all_images, only_ids=only_ids, json=json)
            return
        rows = _rows(named)
    if only_ids:
        raise UsageError("--quiet: only images of the local store have IDs here; use --json")
    if json:
        output.document([row.to_json() for row in rows])
        return
    lines = [
        [
            row.tag or "-",
            str(row.digest),
            ", ".join(map(str, row.platforms)) or "-",
            output.size(row.size),
            output.when(row.created),
        ]
        for row in rows
    ]
    output.table(["TAG", "DIGEST", "PLATFORM", "SIZE", "CREATED"], lines, right=[3])


def _rows(place: sources.ImageRef) -> list[Row]:
    from oci.inspect.listing import rows

    assert not isinstance(place, RegistryRef | StoreRef)
    if isinstance(place, DockerArchiveRef):
        from oci.transports.from_docker_archive import DockerArchiveSource

        with DockerArchiveSource(place.path) as archive:
            return list(rows(archive.entries(), archive))
    with sources.open_place(place) as opened:
        return list(rows(opened.index().model.manifests, opened.blobs))


def tag(
    context: typer.Context,
    reference: options.Reference,
    newtag: Annotated[str, typer.Argument(metavar="NEWTAG", help="The tag to add.", show_default=False)],
) -> None:
    """Give an image one more tag, in the store, a layout or a registry.

    A tag that exists moves to the image. Without a tag in REF, the layout's only image is meant. In a registry no blob
    moves: the same manifest gets the new name, in the same repository. In the store NEWTAG is a whole name, as docker
    has it: NAME or NAME:TAG.

    \b
    Example:
      ocikit tag app:v2 app:latest
      ocikit tag ./images:v2 latest
      ocikit tag oci:images@sha256:4f53… v1
      ocikit tag docker://localhost:5000/app:v2 latest
    """
    if reference.startswith("docker://"):
        from oci.cli.remote import tag_there

        tag_there(Session.of(context), reference, newtag)
        return
    named = sources.parse(reference)
    if isinstance(named, StoreRef):
        from oci.cli.stored_images import tag_stored

        tag_stored(Session.of(context), named, newtag)
        return
    found = sources.parse_layout(reference, what="tag")
    name = _tag_name(newtag, found.path)
    with sources.open_layout(found.path) as layout:
        layout.tag(name, layout.resolve(found.tag, found.digest, warn=Session.of(context).warn))


def _tag_name(text: str, path: str) -> str:
    """NEWTAG alone, or spelt out as a reference to the same layout."""
    from oci.errors import InvalidReference
    from oci.layout.refs import check_name

    if text.startswith(("oci:", "./", "../", "/")):
        target = sources.parse_layout(text, what="tag")
        if target.path != path or target.tag is None:
            raise UsageError("NEWTAG is a tag in the same layout; `ocikit copy` takes an image elsewhere")
        return target.tag
    try:
        return check_name(text)
    except InvalidReference as error:
        raise UsageError(str(error)) from None


def untag(
    context: typer.Context,
    reference: options.Reference,
) -> None:
    """Take a tag away; the image itself stays.

    Blobs of a layout stay until `gc`; an image of the store that lost its last name is listed by `ls --all`, and goes
    with `store prune` or `rmi`. Not every registry can take a tag away by itself; `delete` takes the image then.

    \b
    Example:
      ocikit untag ./images:v1
      ocikit untag app:v1
      ocikit untag docker://localhost:5000/app:v1
    """
    if reference.startswith("docker://"):
        from oci.cli.remote import untag_there

        untag_there(Session.of(context), reference)
        return
    named = sources.parse(reference)
    if isinstance(named, StoreRef):
        from oci.cli.stored_images import untag_stored

        untag_stored(Session.of(context), named)
        return
    found = sources.parse_layout(reference, what="untag")
    if found.tag is None or found.digest is not None:
        raise UsageError(f"{reference}: say which tag to take away, such as {found.path}:v1")
    with sources.open_layout(found.path) as layout:
        layout.untag(found.tag)


def gc(
    context: typer.Context,
    layout: options.LayoutPath,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: options.Json = False,
) -> None:
    """Delete the blobs of a layout that nothing refers to.

    What index.json leads to stays; blobs that nothing names any more go, and so do leftovers of interrupted commands.
    While another ocikit writes to the layout, nothing is deleted.

    \b
    Example:
      ocikit gc ./images --dry-run
      ocikit gc ./images
    """
    from oci.layout.collect import gc as collect

    session = Session.of(context)
    with sources.open_layout(sources.layout_path(layout)) as opened:
        result = collect(opened, dry_run=dry_run)
    if json:
        output.document(_gc_json(result, dry_run))
        return
    verb = "would delete" if dry_run else "deleted"
    for digest, size in result.blobs:
        print(f"{verb} {digest}  {output.size(size)}")
    for name in result.temporary:
        print(f"{verb} {output.printable(name)}  (left over)")
    count = len(result.blobs)
    session.note(f"{verb} {count} {'blob' if count == 1 else 'blobs'}, {output.size(result.size)}")


def _gc_json(result: Any, dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": dry_run,
        "size": result.size,
        "blobs": [{"digest": str(digest), "size": size} for digest, size in result.blobs],
        "leftovers": list(result.temporary),
    }
