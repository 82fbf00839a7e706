"""What `ls`, `tag` and `untag` are for images of the local store."""

from __future__ import annotations

from oci.cli import output
from oci.cli.failures import UsageError
from oci.cli.storing import has_store, not_stored, open_store
from oci.errors import InvalidReference, show
from oci.spec.reference import RegistryRef, StoreRef, familiar, has_tag, parse_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.cli.session import Session
    from oci.inspect.listing import Row
    from oci.storage.store import Store

__all__ = ["list_images", "tag_stored", "untag_stored"]


def list_images(session: Session, named: StoreRef | None, *, all_images: bool, only_ids: bool, json: bool) -> None:
    """`ls` without an argument, or with the name of images of the store."""
    if not has_store(session):
        if named is not None:
            raise not_stored(named.name, may_be_path=True)
        _print([], only_ids=only_ids, json=json)  # nothing is made by looking
        return
    from oci.inspect.listing import rows

    with open_store(session) as store:
        found = [
            row for row in rows(store.images.index().model.manifests, store.images.blobs) if _shown(row, all_images)
        ]
        if named is not None:
            found = [row for row in found if row.tag is not None and _is_meant(row.tag, named)]
            if not found:
                raise not_stored(named.name, may_be_path=True)
        _print([(_image_id(store, row), row) for row in found], only_ids=only_ids, json=json)


def _shown(row: Row, all_images: bool) -> bool:
    """An entry without a name is one that a container holds, or that nobody needs; what has no platform is no image."""
    return row.tag is not None or (all_images and bool(row.platforms))


def _is_meant(name: str, wanted: StoreRef) -> bool:
    """Whether NAME or NAME:TAG, as a user wrote it, means this whole name."""
    whole = wanted.normalized
    if whole is None:
        return False
    known = _parsed(name)
    if known is None or (known.registry, known.repository) != (whole.registry, whole.repository):
        return False
    return not has_tag(wanted.name) or known.tag == whole.tag


def _parsed(name: str) -> RegistryRef | None:
    try:
        return parse_name(name)
    except InvalidReference:
        return None


def _image_id(store: Store, row: Row) -> str:
    """The digest of the config, which docker calls the image's ID; of an index, its own."""
    from oci.errors import OciError
    from oci.layout.documents import read_manifest
    from oci.spec import media_types
    from oci.spec.descriptor import Descriptor

    if media_types.is_manifest(row.media_type):
        try:
            manifest = store.images.blobs.size(row.digest)
            entry = Descriptor(media_type=row.media_type, digest=row.digest, size=manifest or 0)
            return str(read_manifest(store.images.blobs, entry).model.config.digest)
        except OciError:
            pass  # damaged: `store check` has more to say about it
    return str(row.digest)


def _print(found: list[tuple[str, Row]], *, only_ids: bool, json: bool) -> None:
    if json:
        output.document([_item(identifier, row) for identifier, row in found])
    elif only_ids:
        for identifier in dict.fromkeys(identifier for identifier, _ in found):
            print(output.short_id(identifier))
    else:
        output.table(
            ["NAME", "IMAGE ID", "PLATFORM", "SIZE", "CREATED"],
            [
                [
                    "<none>" if row.tag is None else familiar(row.tag),
                    output.short_id(identifier),
                    ", ".join(map(str, row.platforms)) or "-",
                    output.size(row.size),
                    output.when(row.created),
                ]
                for identifier, row in found
            ],
            right=[3],
        )


def _item(identifier: str, row: Row) -> dict[str, Any]:
    return {"id": identifier, "name": None if row.tag is None else familiar(row.tag), **row.to_json()}


def tag_stored(session: Session, reference: StoreRef, newtag: str) -> None:
    """`tag NAME NEWNAME`: in the store, a name is a whole one as docker has it."""
    from oci.storage import images

    try:
        name = parse_name(newtag)
    except InvalidReference as error:
        raise UsageError(f"NEWTAG of an image in the store is a name: {error}") from None
    if name.digest is not None:
        raise UsageError(f"{show(newtag)}: a new name has no digest; it follows from the image")
    with open_store(session) as store:
        images.tag(store, reference.name, newtag)


def untag_stored(session: Session, reference: StoreRef) -> None:
    """`untag NAME`: the image stays, without that name."""
    from oci.storage import images

    with open_store(session) as store:
        images.untag(store, reference.name)
