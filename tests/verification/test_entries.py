"""The walk through a layer's entries by itself, and documents of any shape at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oci.layout.blobs import MemoryBlobs
from oci.spec.descriptor import Descriptor
from oci.tar import CHAR, DIR, FILE, HARDLINK, SYMLINK, Entry
from oci.verification.blob import Cancelled, check_blob
from oci.verification.entries import EntryCheck, Seen
from oci.verification.report import CODES
from oci.verification.verify import verify_image
from tests.support import images
from tests.support.images import tar_layer


@given(st.lists(st.binary(max_size=3)))
def test_seen_is_a_set(names: list[bytes]) -> None:
    seen, known = Seen(), set[bytes]()
    for name in names:
        assert seen.add(name) is (name not in known)
        known.add(name)


def test_seen_grows() -> None:
    seen = Seen()
    names = [b"%d" % number for number in range(20_000)]
    assert all(seen.add(name) for name in names)
    assert not any(seen.add(name) for name in names)


@given(
    st.lists(
        st.builds(
            lambda name, kind, link: Entry(name, kind, linkname=link),
            st.lists(st.sampled_from([b"a", b"..", b".", b"", b".wh.x", b".wh.", b".wh..wh..opq", b"\xff"])).map(
                b"/".join
            ),
            st.sampled_from([FILE, DIR, SYMLINK, HARDLINK, CHAR]),
            st.lists(st.sampled_from([b"a", b"..", b".", b"", b"etc"])).map(b"/".join),
        ),
        max_size=8,
    )
)
def test_entries_of_any_kind_are_judged_and_never_raise(entries: list[Entry]) -> None:
    check = EntryCheck("sha256:0")
    for entry in entries:
        check.check(entry)
    found = list(check.findings())
    errors = {finding.where for finding in found if finding.severity == "error"}
    for entry in entries:
        if b".." in entry.name.split(b"/"):
            assert any(where.startswith("layer sha256:0 entry ") for where in errors)


def test_a_stopped_check_ends_at_the_next_chunk() -> None:
    layer = tar_layer({"a": bytes(100_000)}, media_type=images.OCI_LAYER)
    descriptor = Descriptor.from_json(layer.descriptor())
    with pytest.raises(Cancelled):
        check_blob(MemoryBlobs([layer.data]), descriptor, layer=True, cancelled=lambda: True)


LAYER = tar_layer({"a": b"x"})
CONFIG = images.config([LAYER.diff_id])
MANIFEST = images.manifest(
    images.descriptor(b"", images.OCI_CONFIG), [LAYER.descriptor(urls=["http://x/"], embed=True)]
)
INDEX = images.index([images.descriptor(b"", images.OCI_MANIFEST, platform={"os": "linux", "architecture": "arm"})])

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["sha256:0", images.digest(b"x"), images.OCI_EMPTY, images.OCI_LAYER, images.OCI_MANIFEST]),
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        found.append((value, key))
        found += places(inner)
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_documents_of_any_shape_are_findings_and_never_raise(data: Any) -> None:
    import copy

    bent = [copy.deepcopy(one) for one in (CONFIG, MANIFEST, INDEX)]
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(bent)))
        if container is bent:
            continue
        action = data.draw(st.sampled_from(["replace", "delete", "add"]))
        if action == "replace":
            container[key] = data.draw(JSON)
        elif action == "delete":
            del container[key]
        elif isinstance(container, dict):
            container[data.draw(st.sampled_from(["manifests", "layers", "config", "subject", "data", "x"]))] = (
                data.draw(JSON)
            )
    config, manifest, index = bent
    stored = [LAYER.data, images.encode(config)]
    for document, slot, media_type in (
        (manifest, "config", images.OCI_CONFIG),
        (index, "manifests", images.OCI_MANIFEST),
    ):
        described = images.descriptor(stored[-1], media_type)
        if slot == "config" and isinstance(document.get(slot), dict):
            document[slot] |= described
        elif isinstance(document.get(slot), list) and document[slot] and isinstance(document[slot][0], dict):
            document[slot][0] |= described
        stored.append(images.encode(document))
    top = images.descriptor(stored[-1], images.OCI_INDEX)
    report = verify_image(MemoryBlobs(stored), Descriptor.from_json(top), subject="x")
    assert all(finding.code in CODES and finding.where and finding.message for finding in report.findings)
