"""Registries that wear a client out: progress by the byte, lists whose entries are huge, and too many of everything.

Each answer is fine by itself. What is held here is the sum: requests, and memory.
"""

from __future__ import annotations

import itertools
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from oci.errors import LimitExceeded, OciError, ProtocolViolation
from oci.layout.layout import Layout
from oci.registry import listing, pages, referrers
from oci.registry.management import in_parallel
from oci.spec.digest import Digest
from oci.transports import attached
from oci.transports import source as source_module
from oci.transports.copy import copy
from oci.transports.names import open_destination, open_source
from tests.support.hostile import in_time, name, one_clear_line
from tests.support.images import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, LayoutMaker, descriptor, tar_layer
from tests.support.library import push, settings
from tests.support.pulling import repository_of
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused

SUBJECT = Digest.parse("sha256:" + "5" * 64)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    maker.tag("v1", maker.image([tar_layer({"data": os.urandom(400_000)})]))
    return maker.finish()


# Pushing


def test_an_upload_that_takes_a_byte_of_each_chunk(server: ScriptedServer, image: Path) -> None:
    """Nothing fails, and all is sent again for each byte: 400,000 chunks, and terabytes to be read, for one layer."""
    shelf, taken = Shelf(), itertools.count(1)
    server.on("PUT", "/v2/app/blobs/uploads/.*", refused(413, "SIZE_INVALID"))

    def patch(request: Request) -> Answer:
        return Answer(202, {"Location": "/v2/app/blobs/uploads/u", "Range": f"0-{next(taken)}"})

    server.on("PATCH", "/v2/app/blobs/uploads/.*", patch)
    shelf.serve(server)
    with in_time(), pytest.raises(ProtocolViolation) as caught:
        push(image, name(server), settings())
    assert "bytes" in one_clear_line(caught.value)
    assert len(server.requests) < 250


# Lists


def _referrer(number: int, words: int) -> dict[str, object]:
    entry = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 9}
    return {**entry, "annotations": {"a": "x" * words}}


def test_referrers_whose_annotations_are_megabytes(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 MiB a page are as good as nothing, 20,000 pages of them are 80 GB in a list that is held."""
    assert referrers.MAX_LISTED <= 256 << 20
    monkeypatch.setattr(referrers, "MAX_LISTED", 3_000_000)
    numbers = itertools.count()

    def page(request: Request) -> Answer:
        number = next(numbers)
        link = f'</v2/app/referrers/{SUBJECT}?p={number}>; rel="next"'
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_referrer(number, 500_000)]})
        return Answer(200, {"Content-Type": OCI_INDEX, "Link": link}, body.encode())

    server.on("GET", "/v2/app/referrers/.*", page)
    with repository_of(server.host) as repository, in_time(), pytest.raises(LimitExceeded) as caught:
        list(repository.referrers(SUBJECT))
    one_clear_line(caught.value)
    assert len(server.requests) < 10


def test_the_links_of_a_long_list_are_not_kept_whole() -> None:
    """16 KiB of each of 20,000 links that were followed would be 320 MB."""
    turned = pages.Pages("/v2/app/tags/list", host="h.example", what="tags")

    class Page:
        def __init__(self, link: str) -> None:
            self.headers = self
            self._link = link

        def all(self, name: str) -> list[str]:
            return [self._link]

    tracemalloc.start()
    try:
        for number, _ in zip(range(2000), turned, strict=False):
            turned.turn(Page(f"<?p={number}{'x' * 15_000}>; rel=next"), 1)  # type: ignore[arg-type]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 15_000_000, "the standard library remembers the last few hundred"


@pytest.mark.parametrize("piece", [b'{"":0},', b"[],", b"[[]],"])
def test_a_list_of_names_that_is_a_bomb_when_it_is_read(server: ScriptedServer, piece: bytes) -> None:
    """32 MiB of `{"":0},` are a gigabyte of objects in memory, before anybody sees that they are no names."""
    body = b'{"tags":[%b0]}' % (piece * ((20 << 20) // len(piece)))
    server.on("GET", "/v2/app/tags/list", headers=JSON, body=body)
    tracemalloc.start()
    try:
        with repository_of(server.host, stall_timeout=5.0) as repository, in_time(), pytest.raises(OciError) as caught:
            list(repository.tags())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    one_clear_line(caught.value)
    assert peak < 100 << 20


def test_a_long_list_with_words_on_each_manifest_is_read(server: ScriptedServer) -> None:
    """As GCR gives it: an object with a list in it for each manifest beside the tags."""
    manifests = {f"sha256:{n:064x}": {"imageSizeBytes": "1", "layerId": "", "tag": [f"v{n}"]} for n in range(20_000)}
    body = json.dumps({"name": "app", "tags": [f"v{n}" for n in range(20_000)], "manifest": manifests}).encode()
    server.on("GET", "/v2/app/tags/list", headers=JSON, body=body)
    with repository_of(server.host, stall_timeout=5.0) as repository:
        assert len(list(repository.tags())) == 20_000
    assert listing.MAX_OBJECTS > 100_000


def test_questions_about_a_million_tags_are_not_all_asked_at_once() -> None:
    asked = itertools.count()
    answers = in_parallel(lambda thing: next(asked), range(100_000), abort=lambda: None)
    tracemalloc.start()
    try:
        next(answers)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5_000_000, "a list of a hundred thousand, and a few questions"
    assert sum(1 for _ in answers) == 99_999
    assert next(asked) == 100_000


def test_where_each_blob_is_at_another_server(server: ScriptedServer, image: Path) -> None:
    """Connections are kept for the next blob; a registry that names a new server for each would use up all sockets."""
    with repository_of(server.host) as repository:
        others = [ScriptedServer() for _ in range(90)]
        for other in others:
            other.__enter__()
            other.on("GET", ".*", body=b"{}", headers=JSON)
        try:
            for other in others:
                server.forget()
                server.on("GET", "/v2/", status=307, headers={"Location": f"{other.url}/x"})
                repository.client.request("GET", "/v2/", what="x").read(100, "x")
            kept = sum(len(other._open) for other in others)
            assert kept <= 64
            server.forget()
            server.on("GET", "/v2/", status=307, headers={"Location": f"{others[0].url}/x"})
            assert repository.client.request("GET", "/v2/", what="x").read(100, "x") == b"{}"
        finally:
            for other in others:
                other.__exit__(None, None, None)


# Referrers


def test_a_layout_of_referrers_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each referrer is asked about in turn: to read all others each time is hours, for an index.json of 4 MiB."""
    maker = _with_referrers(tmp_path / "from", 60)
    reads = itertools.count()
    real = source_module.read_document
    monkeypatch.setattr(source_module, "read_document", lambda *words: (next(reads), real(*words))[1])
    with open_source(f"oci:{maker}:v1") as source, open_destination(f"oci:{tmp_path}/back:v1") as destination:
        copy(source, destination, with_referrers=True)
    assert len(Layout.open(tmp_path / "back").index().model.manifests) == 61
    assert next(reads) <= 61


def test_what_all_referrers_name_is_bounded_in_its_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One manifest of 4 MiB names 25,000 blobs; 10,000 referrers are 250 GB of descriptors."""
    maker = _with_referrers(tmp_path / "from", 10)
    assert attached.MAX_CONTENTS <= 1_000_000
    monkeypatch.setattr(attached, "MAX_CONTENTS", 15)
    with (
        open_source(f"oci:{maker}:v1") as source,
        open_destination(f"oci:{tmp_path}/back:v1") as destination,
        pytest.raises(LimitExceeded, match="limit of 15"),
    ):
        copy(source, destination, with_referrers=True)
    assert Layout.open(tmp_path / "back").index().model.manifests == ()


def _with_referrers(folder: Path, count: int) -> Path:
    """A layout with an image, and so many manifests about it."""
    maker = LayoutMaker(folder)
    image = maker.image([])
    maker.tag("v1", image)
    maker.put(b"{}")
    for number in range(count):
        document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": f"a/b{number}"}
        document["subject"] = {key: image[key] for key in ("mediaType", "digest", "size")}
        document |= {"config": descriptor(b"{}", OCI_EMPTY), "layers": [descriptor(b"{}", OCI_EMPTY)]}
        maker.entries.append(maker.document(document, OCI_MANIFEST))
    return maker.finish()
