"""What refers to an image: signatures, SBOMs and other manifests whose `subject` it is, and what refers to those.

image-spec v1.1.1 manifest.md (`subject`), distribution-spec v1.1.1 spec.md#listing-referrers. A list of referrers is
somebody else's word: chains may be long, lists endless, and what they name may refer to what names it. So each digest
is taken once, and there are bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oci.errors import LimitExceeded
from oci.layout.blobs import is_at_hand
from oci.layout.documents import read_document
from oci.layout.walk import is_document
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.transports.base import ImageSource, Warn

__all__ = ["Attached", "gather"]

MAX_REFERRERS = 10_000  # in one copy: an image signed each day has some thousand after years
MAX_CONTENTS = 200_000  # blobs and documents of all of them: each takes about 1 KiB of memory, until it is copied
MAX_CHAIN = 8  # referrers of referrers: a signature of an SBOM of an image makes two

Plan = Callable[[Descriptor], tuple[Sequence[Descriptor], Sequence[Descriptor]]]


class Attached(Record):
    """One referrer with what is to be copied for it: its blobs, and the documents below it, children first."""

    referrer: Descriptor
    blobs: tuple[Descriptor, ...]
    documents: tuple[Descriptor, ...]


def gather(
    source: ImageSource, subjects: Sequence[Descriptor], plan: Plan, *, warn: Warn | None = None
) -> tuple[Attached, ...]:
    """Find all referrers of these documents, each behind what it refers to; `plan` says what each one consists of.

    Referrers that are listed and not stored, or that refer to something else, are left out, with a warning: a registry
    that lists the signature of another image would have us bring it to our own, where it counts. LimitExceeded.
    """
    gathering = _Gathering(source, plan, warn)
    gathering.seen.update(subject.digest for subject in subjects)
    level = list(subjects)
    for depth in range(MAX_CHAIN + 1):
        below: list[Descriptor] = []
        for subject in level:
            for referrer in source.referrers(subject):
                if referrer.digest in gathering.seen:
                    continue
                if depth == MAX_CHAIN:
                    raise LimitExceeded(f"referrers of referrers of {source.reference}", MAX_CHAIN)
                below += gathering.take(referrer, subject)
        level = below
    return tuple(gathering.found)


class _Gathering:
    """What was found so far; each digest is taken once."""

    def __init__(self, source: ImageSource, plan: Plan, warn: Warn | None) -> None:
        self._source, self._plan, self._warn = source, plan, warn
        self.found: list[Attached] = []
        self.seen: set[Digest] = set()
        self._contents = 0

    def take(self, referrer: Descriptor, subject: Descriptor) -> list[Descriptor]:
        """Take what is listed as a referrer of `subject`, if it is one; give what may have referrers in turn."""
        self.seen.add(referrer.digest)
        where = self._source.reference
        if len(self.found) >= MAX_REFERRERS:
            raise LimitExceeded(f"referrers of {where}", MAX_REFERRERS)
        if not is_document(referrer) or not is_at_hand(self._source, referrer):
            self._leave_out(f"{referrer.digest}, which refers to it, is not stored there")
            return []
        model = read_document(self._source, referrer).model
        if model.subject is None or model.subject.digest != subject.digest:
            self._leave_out(f"{referrer.digest} is listed, but does not refer to it")
            return []
        blobs, documents = self._plan(referrer)
        self._contents += len(blobs) + len(documents)
        if self._contents > MAX_CONTENTS:
            raise LimitExceeded(f"blobs of the referrers of {where}", MAX_CONTENTS)
        # What a list says is not the referrer's own word: only its type goes on, if there is one.
        plain = Descriptor(
            media_type=referrer.media_type,
            digest=referrer.digest,
            size=referrer.size,
            artifact_type=None if referrer.artifact_type is None else model.listed_type,
        )
        *below, _ = documents
        self.found.append(Attached(referrer=plain, blobs=tuple(blobs), documents=tuple(below)))
        new = [one for one in below if one.digest not in self.seen]
        self.seen.update(one.digest for one in new)
        return [*new, referrer]

    def _leave_out(self, reason: str) -> None:
        if self._warn is not None:
            self._warn(f"{self._source.reference}: {reason}; left out")
