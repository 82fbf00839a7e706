"""Tags are a map: whatever is tagged and untagged in whatever order, the layout says what a dict would say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import RefNotFound
from oci.layout import refs
from oci.layout.blobs import MemoryBlobs
from oci.spec import Descriptor, Digest, Document, Index, parse_index

NAMES = ("a", "v1.0", "library/busybox:latest")
IMAGES = tuple(
    Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=Digest.of(word), size=1)
    for word in (b"x", b"y", b"z")
)
Step = tuple[str, str, int]
STEPS = st.lists(st.tuples(st.sampled_from(("tag", "untag", "list")), st.sampled_from(NAMES), st.integers(0, 2)))


@given(STEPS)
def test_tags_behave_as_a_map_and_every_index_is_valid(steps: list[Step]) -> None:
    index, model, listed = Index(manifests=()), dict[str, Digest](), set[Digest]()
    for action, name, number in steps:
        image = IMAGES[number]
        if action == "tag":
            index, model[name] = refs.with_tag(index, name, image), image.digest
        elif action == "list":
            index = refs.with_entry(index, image)
            listed.add(image.digest)
        elif name in model:
            index = refs.without_tag(index, name, "here")
            del model[name]
        else:
            with pytest.raises(RefNotFound):
                refs.without_tag(index, name, "here")
        assert {tag: entry.digest for tag, entry in refs.tagged(index).items()} == model
        named = [refs.name_of(entry) for entry in index.manifests]
        assert len([n for n in named if n]) == len(model), "a tag stands twice"
        untagged = [entry.digest for entry in index.manifests if refs.name_of(entry) is None]
        assert len(untagged) == len(set(untagged)), "an untagged entry stands twice"
        assert set(untagged) <= listed
        assert parse_index(Document.of(index).raw).model == index


@given(STEPS, st.sampled_from(NAMES))
def test_resolve_finds_exactly_what_was_tagged(steps: list[Step], wanted: str) -> None:
    index, model = Index(manifests=()), dict[str, Digest]()
    for _, name, number in steps:
        index, model[name] = refs.with_tag(index, name, IMAGES[number]), IMAGES[number].digest
    if wanted in model:
        assert refs.resolve(index, MemoryBlobs(), where="here", name=wanted).digest == model[wanted]
    else:
        with pytest.raises(RefNotFound) as caught:
            refs.resolve(index, MemoryBlobs(), where="here", name=wanted)
        assert set(caught.value.available) == set(model)
