"""Attaching files to an image or artifact: an artifact whose `subject` it is.

image-spec v1.1.1 manifest.md#image-manifest-property-descriptions (`subject`), distribution-spec v1.1.1
spec.md#pushing-manifests-with-subject. What is attached has no tag: whoever asks for the referrers of the subject finds
it. In a registry it is pushed by its digest; in a layout it gets an entry without a name in index.json.
"""

from __future__ import annotations

from oci.artifact.files import Draft
from oci.artifact.pack import pack
from oci.errors import InvalidInput
from oci.layout.walk import is_document
from oci.spec.descriptor import Descriptor
from oci.streams.progress import Progress
from oci.transports.base import ImageDestination, Warn

__all__ = ["attach"]


def attach(
    destination: ImageDestination,
    subject: Descriptor,
    draft: Draft,
    *,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Descriptor:
    """Attach files, or annotations alone, to a manifest or index; give the descriptor of what was attached.

    `destination` is opened where the subject is, without a tag. Raises InvalidInput where there is nothing to attach.
    """
    if not draft.files and not draft.annotations.manifest:
        raise InvalidInput("there is nothing to attach: name a file, or give an annotation")
    if not is_document(subject):
        raise InvalidInput(f"only manifests and indexes can be attached to, not {subject.media_type}")
    manifest = pack(
        destination,
        draft,
        subject=Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size),
        progress=progress,
        warn=warn,
    )
    # In a list of manifests the type stands in the descriptor (image-spec descriptor.md, artifactType).
    attached = manifest.descriptor.replace(artifact_type=manifest.model.listed_type)
    destination.commit(manifest.raw, attached)
    return attached
