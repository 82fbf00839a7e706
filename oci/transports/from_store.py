"""`NAME`, an ID or its prefix: an image of the local store as source and destination, for `others=` of names.py.

The store's `images/` is an image layout in which an image's whole name is its `ref.name`. While an end is open the
store's lock is held shared, so that nobody removes what is read or was found to be there. A name that moves to another
image leaves the one that had it in the store, without a name: a container may need it.
"""

from __future__ import annotations

from contextlib import ExitStack

from oci.errors import InvalidReference
from oci.layout import refs
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.reference import RegistryRef, StoreRef, familiar
from oci.transports.base import Warn
from oci.transports.from_layout import LayoutDestination, LayoutSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["StoreDestination", "StoreSource", "stored_destination", "stored_source"]


class StoreSource(LayoutSource):
    """An image of a store; `shown` is what messages call it."""

    def __init__(
        self,
        store: Store,
        *,
        shown: str,
        tag: str | None = None,
        digest: Digest | None = None,
        warn: Warn | None = None,
        close_store: bool = False,
    ) -> None:
        with ExitStack() as held:
            if close_store:
                held.callback(store.close)
            held.enter_context(store.shared())
            super().__init__(store.images, tag=tag, digest=digest, warn=warn)
            self._reference, self._where = shown, store.root
            self._held = held.pop_all()

    def close(self) -> None:
        self._held.close()


class StoreDestination(LayoutDestination):
    """A name in a store; None: an image without a name. The name is a whole one, `docker.io/library/app:v1`."""

    def __init__(self, store: Store, name: str | None, *, close_store: bool = False) -> None:
        with ExitStack() as held:
            if close_store:
                held.callback(store.close)
            held.enter_context(store.shared())
            super().__init__(store.images, tag=name)
            held.push(self._held.pop_all())
            self._held = held.pop_all()

    @property
    def reference(self) -> str:
        return "an image without a name" if self._tag is None else familiar(self._tag)

    def _listed(self, index: Index, descriptor: Descriptor) -> Index:
        before = None if self._tag is None else refs.tagged(index).get(self._tag)
        index = super()._listed(index, descriptor)
        return index if before is None else refs.with_entry(index, before)


def stored_source(
    store: Store, reference: StoreRef | RegistryRef, *, warn: Warn | None = None, close_store: bool = False
) -> StoreSource:
    """Find what a reference names, a whole index too. RefNotFound."""
    if not isinstance(reference, StoreRef):
        raise InvalidReference(str(reference), "names no image of the local store")
    tag, digest = _locate(store, reference)
    return StoreSource(store, shown=reference.name, tag=tag, digest=digest, warn=warn, close_store=close_store)


def stored_destination(
    store: Store, reference: StoreRef | RegistryRef, *, close_store: bool = False
) -> StoreDestination:
    """Make a name ready for writing. InvalidReference for what is no name, such as an ID."""
    from oci.storage import images

    return StoreDestination(store, images.name_for(reference), close_store=close_store)


def _locate(store: Store, reference: StoreRef) -> tuple[str | None, Digest | None]:
    """The name in the store's index, or the digest of the entry (or of what lies below one) that is meant."""
    from oci.storage import images

    index = store.images.index().model
    whole = reference.normalized
    if whole is not None and whole.digest is None and whole.name in refs.tagged(index):
        return whole.name, None
    if whole is not None and any(entry.digest == whole.digest for entry in index.manifests):
        return None, whole.digest
    return None, images.find(store, reference.name).descriptor.digest
