"""What the destinations on disk share: they end in an index, in which the image and what refers to it are listed."""

from __future__ import annotations

from oci.layout import refs
from oci.spec.descriptor import Descriptor
from oci.spec.index import Index
from oci.transports.base import ImageSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["IndexDestination"]


class IndexDestination:
    """The part of an ImageDestination that knows its tag, and what else is to be listed beside the image."""

    stores_index = True

    def __init__(self, tag: str | None) -> None:
        if tag is not None:
            refs.check_name(tag)
        self._tag = tag
        self._referrers: list[Descriptor] = []

    def adopt(self, descriptor: Descriptor, source: ImageSource) -> bool:
        return False

    def put_document(self, raw: bytes, descriptor: Descriptor) -> None:
        raise NotImplementedError

    def put_referrer(self, raw: bytes, descriptor: Descriptor) -> None:
        """Store a document that gets an entry without a name: that is how a layout's referrers are found."""
        self.put_document(raw, descriptor)
        self._referrers.append(descriptor)

    def _listed(self, index: Index, descriptor: Descriptor) -> Index:
        """Give the index with the image under its tag, and the referrers before it."""
        for referrer in self._referrers:
            index = refs.with_entry(index, referrer)
        return refs.with_entry(index, descriptor) if self._tag is None else refs.with_tag(index, self._tag, descriptor)

    def abort(self) -> None:
        """Nothing here waits for long."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
