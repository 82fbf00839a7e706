"""A registry as a source: what is asked for, and how often; mirrors; foreign layers; unpack and verify in place."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oci.auth.credential import Credentials
from oci.auth.credentials import Fixed
from oci.errors import (
    BlobNotFound,
    ConnectionFailed,
    DigestMismatch,
    InvalidDocument,
    LimitExceeded,
    OciError,
    RefNotFound,
)
from oci.http.settings import TlsSettings
from oci.image.select import select
from oci.layout.layout import Layout
from oci.registry import ahead
from oci.registry.endpoint import Endpoint
from oci.registry.settings import Settings
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.spec.reference import RegistryRef, StoreRef
from oci.transports import registry_memory
from oci.transports.copy import copy
from oci.transports.from_registry import RegistrySource
from oci.transports.names import open_destination, open_source
from oci.transports.registries import opener
from oci.unpack.rootfs import unpack
from oci.verification.verify import verify_image
from tests.support.images import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Json,
    LayoutMaker,
    config,
    descriptor,
    digest,
    encode,
    index,
    manifest,
    tar_layer,
)
from tests.support.pulling import fill, hasty
from tests.support.registries import docker_registry
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf
from tests.support.tls import Authority

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
FILES = {"etc/": None, "etc/hostname": b"box\n", "data": os.urandom(100_000)}


@contextmanager
def source_of(server: ScriptedServer, tag: str | None = "v1", **changes: object) -> Iterator[RegistrySource]:
    digest = changes.pop("digest", None)
    reference = RegistryRef(server.host, "app", tag, digest)
    with RegistrySource.connect(reference, hasty(**changes)) as source:
        yield source


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image for two platforms, tagged v1; two layers each, one of them shared."""
    made = LayoutMaker(tmp_path / "layout")
    shared = tar_layer(FILES)
    images = []
    for platform in (AMD64, ARM64):
        own = tar_layer({"arch": platform.architecture.encode()})
        image = made.image([shared, own], architecture=platform.architecture)
        images.append(image | {"platform": {"os": "linux", "architecture": platform.architecture}})
    made.tag("v1", made.document(index(images), OCI_INDEX))
    return made.finish()


@pytest.fixture
def shelf(layout: Path, server: ScriptedServer) -> Shelf:
    made = Shelf.of(layout)
    made.serve(server)
    return made


def content(server: ScriptedServer, method: str = "GET") -> list[str]:
    """What was asked for, the first question about the API left out; digests shortened."""
    return [path.removeprefix("/v2/app/")[:23] for path in server.paths(method) if path != "/v2/"]


def test_the_image_for_a_platform_is_found(server: ScriptedServer, shelf: Shelf) -> None:
    with source_of(server) as source:
        top = source.resolve()
        assert top.media_type == OCI_INDEX
        assert select(source, top, ARM64).platform == ARM64
        assert source.resolve(ARM64).media_type == OCI_MANIFEST
        assert source.reference == f"docker://{server.host}/app:v1"


def test_each_document_is_asked_for_once_and_no_blob_at_all(server: ScriptedServer, shelf: Shelf) -> None:
    with source_of(server) as source:
        for platform in (None, AMD64, ARM64, AMD64):
            source.resolve(platform)
        image = select(source, source.resolve(), AMD64)
        for layer in image.manifest.model.layers:
            assert source.size(layer.digest) == layer.size
            assert source.has(layer.digest)
        assert source.has(image.manifest.model.config.digest)
    assert content(server, "HEAD") == []
    # the tag, the manifest of one platform, its config
    assert [path.partition("/")[0] for path in content(server)] == ["manifests", "manifests", "blobs"]


def test_a_copy_asks_for_each_thing_once(server: ScriptedServer, shelf: Shelf, tmp_path: Path) -> None:
    with source_of(server) as source, open_destination(f"oci:{tmp_path / 'back'}:v1") as destination:
        top = copy(source, destination)
    asked = content(server)
    assert len(asked) == len(set(asked))
    assert len(asked) == 3 + 5  # documents; two configs, three layers
    assert content(server, "HEAD") == []
    assert Layout.open(str(tmp_path / "back")).resolve("v1").digest == top.digest


def test_what_is_there_already_is_not_fetched(server: ScriptedServer, shelf: Shelf, tmp_path: Path) -> None:
    for _ in range(2):
        server.requests.clear()
        with source_of(server) as source, open_destination(f"oci:{tmp_path / 'back'}:v1") as destination:
            copy(source, destination)
    assert not [path for path in content(server) if path.startswith("blobs")]


def test_a_digest_wins_over_a_tag(server: ScriptedServer, shelf: Shelf) -> None:
    wanted = Digest.parse(digest(shelf.manifests["v1"][1]))
    with source_of(server, "other", digest=wanted) as source:
        assert source.resolve().digest == wanted


def test_what_nobody_has_named_is_asked_for_and_remembered(server: ScriptedServer, shelf: Shelf) -> None:
    data = b"on its own"
    shelf.blobs[digest(data)] = data
    with source_of(server) as source:
        assert source.size(Digest.of(data)) == len(data)
        assert source.has(Digest.of(data))
        assert not source.has(Digest.of(b"nowhere"))
        by_digest = Digest.parse(digest(shelf.manifests["v1"][1]))
        assert source.has(by_digest)
    assert len([path for path in content(server, "HEAD") if digest(data)[:10] in path]) >= 1


def test_an_image_of_an_index_that_is_not_there_is_said_to_be_absent(
    server: ScriptedServer, shelf: Shelf, tmp_path: Path
) -> None:
    with source_of(server) as source:
        children = json.loads(shelf.manifests["v1"][1])["manifests"]
    del shelf.manifests[children[1]["digest"]]
    warned: list[str] = []
    with source_of(server) as source, open_destination(f"oci:{tmp_path / 'back'}:v1") as destination:
        copy(source, destination, warn=warned.append)
    assert len(warned) == 1
    assert "is not stored there; left out" in warned[0]


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_MANIFEST])
def test_a_manifest_whose_own_type_is_not_the_headers_is_refused(
    server: ScriptedServer, tmp_path: Path, kind: str
) -> None:
    """spec.md#pulling-manifests: clients SHOULD reject it."""
    made = LayoutMaker(tmp_path / "layout")
    raw = Shelf.of((made.tag("v1", made.image([])), made.finish())[1]).manifests["v1"][1]
    server.on("GET", "/v2/app/manifests/.*", headers={"Content-Type": kind}, body=raw)
    with (
        source_of(server) as source,
        open_destination(f"oci:{tmp_path / 'back'}:v1") as destination,
        pytest.raises(InvalidDocument, match="mediaType"),
    ):
        copy(source, destination)


def test_a_tag_that_is_not_there(server: ScriptedServer, shelf: Shelf) -> None:
    with source_of(server, "v9") as source, pytest.raises(RefNotFound, match="'v9' not found in 127"):
        source.resolve()


def test_a_blob_that_is_not_there_is_found_out_when_it_is_opened(
    server: ScriptedServer, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.blobs = {name: data for name, data in shelf.blobs.items() if len(data) < 100_000}
    with source_of(server) as source:
        top = source.resolve(AMD64)
        with pytest.raises(BlobNotFound), open_destination(f"oci:{tmp_path / 'back'}:v1") as destination:
            copy(source, destination, platform=AMD64)
        report = verify_image(source, top, subject="x")
    assert [finding.code for finding in report.findings] == ["missing-blob"]


def test_documents_that_had_to_go_are_fetched_again(
    server: ScriptedServer, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_memory, "MAX_KEPT", 1)
    with source_of(server) as source:
        assert source.resolve(AMD64).digest != source.resolve(ARM64).digest
        image = select(source, source.resolve(), ARM64)
        assert image.platform == ARM64


# Hostile documents


def test_a_manifest_that_names_itself_is_one_error(server: ScriptedServer) -> None:
    # The registry lies about the digest: content addressing allows no true circle.
    name = "sha256:" + "0" * 64
    body = encode(index([{"mediaType": OCI_INDEX, "digest": name, "size": 10}]))
    server.on("GET", "/v2/app/manifests/.*", headers={"Content-Type": OCI_INDEX}, body=body)
    with source_of(server) as source, pytest.raises(DigestMismatch):
        source.resolve(AMD64)


def test_indexes_in_indexes_without_end_are_bounded(server: ScriptedServer, tmp_path: Path) -> None:
    shelf = Shelf()
    inner: Json = descriptor(b"", OCI_MANIFEST)
    for depth in range(50):
        data = encode(index([inner], annotations={"depth": str(depth)}))
        shelf.manifests[digest(data)] = shelf.manifests["v1"] = (OCI_INDEX, data)
        inner = descriptor(data, OCI_INDEX)
    shelf.serve(server)
    with (
        source_of(server) as source,
        open_destination(f"oci:{tmp_path / 'back'}:v1") as destination,
        pytest.raises(LimitExceeded, match="levels of documents"),
    ):
        copy(source, destination)


def test_a_child_that_is_larger_than_any_manifest_is_not_read(server: ScriptedServer) -> None:
    shelf = Shelf()
    huge = b" " * (5 << 20)
    data = encode(index([{"mediaType": OCI_MANIFEST, "digest": digest(huge), "size": len(huge)}]))
    shelf.manifests[digest(data)] = shelf.manifests["v1"] = (OCI_INDEX, data)
    shelf.manifests[digest(huge)] = (OCI_MANIFEST, huge)
    shelf.serve(server)
    with source_of(server) as source:
        source.resolve()
        with pytest.raises(LimitExceeded):
            source.has(Digest.parse(digest(huge)))


def test_wrong_layer_bytes_leave_nothing(server: ScriptedServer, layout: Path, tmp_path: Path) -> None:
    shelf = Shelf.of(layout)
    for name, data in list(shelf.blobs.items()):
        if len(data) > 100_000:
            shelf.blobs[name] = bytes(len(data))
    shelf.serve(server)
    with source_of(server) as source:
        image = select(source, source.resolve(), AMD64)
        with pytest.raises(DigestMismatch):
            unpack(image, tmp_path / "root", rootless=True)
        assert not (tmp_path / "root").exists()
        report = verify_image(source, image.descriptor, subject="x")
    assert "digest-mismatch" in {finding.code for finding in report.findings}


def test_a_wrong_size_is_a_finding_of_verify(server: ScriptedServer) -> None:
    shelf = Shelf()
    layer = tar_layer(FILES)
    made = encode(config([layer.diff_id]))
    wrong = {**layer.descriptor(), "size": len(layer.data) + 1}
    data = encode(manifest(descriptor(made, "application/vnd.oci.image.config.v1+json"), [wrong]))
    shelf.blobs = {digest(made): made, layer.digest: layer.data}
    shelf.manifests["v1"] = shelf.manifests[digest(data)] = (OCI_MANIFEST, data)
    shelf.serve(server)
    with source_of(server) as source:
        report = verify_image(source, source.resolve(), subject="x")
    assert [finding.code for finding in report.findings] == ["size-mismatch"]


# Mirrors


class Conf:
    def __init__(self, *endpoints: Endpoint) -> None:
        self._endpoints = endpoints

    def endpoints(self, *_names: object, **_more: object) -> tuple[Endpoint, ...]:
        return self._endpoints


def mirrored(mirror: ScriptedServer, primary: ScriptedServer, **more: object) -> Settings:
    conf = Conf(
        Endpoint(location=mirror.host, repository="app", is_mirror=True),
        Endpoint(location=primary.host, repository="app"),
    )
    return hasty(registries=conf, **more)


def mirrored_source(mirror: ScriptedServer, primary: ScriptedServer, **more: object) -> RegistrySource:
    reference = RegistryRef(primary.host, "app", "v1")
    return RegistrySource.connect(reference, mirrored(mirror, primary, **more))


def test_a_mirror_that_has_it_serves_it_all(server: ScriptedServer, shelf: Shelf, layout: Path, tmp_path: Path) -> None:
    with ScriptedServer() as mirror:
        Shelf.of(layout).serve(mirror)
        with mirrored_source(mirror, server) as source, open_destination(f"oci:{tmp_path / 'b'}:v1") as destination:
            copy(source, destination)
            assert source.repository.host == mirror.host
            assert source.reference == f"docker://{server.host}/app:v1"
    assert server.requests == []


def test_credentials_for_the_registry_do_not_go_to_its_mirror(server: ScriptedServer, shelf: Shelf) -> None:
    basic = Answer(401, {"WWW-Authenticate": "Basic"})
    me = Fixed(server.host, Credentials(username="me", password="hush"))
    with ScriptedServer() as mirror:
        mirror.on("GET", "/.*", basic)
        with mirrored_source(mirror, server, credentials=me) as source:
            source.resolve()
        assert mirror.requests
        assert not [one for one in mirror.requests if "authorization" in one.headers]
    assert source.repository.host == server.host


def test_a_mirror_without_it_is_passed_over_silently(server: ScriptedServer, shelf: Shelf, tmp_path: Path) -> None:
    said: list[str] = []
    with ScriptedServer() as mirror:
        with mirrored_source(mirror, server, warn=said.append) as source:
            unpack(select(source, source.resolve(), AMD64), tmp_path / "root", rootless=True)
            assert source.repository.host == server.host
        assert len([path for path in mirror.paths() if path != "/v2/"]) == 1
    assert said == []
    assert (tmp_path / "root/etc/hostname").read_bytes() == b"box\n"


def test_a_mirror_that_is_down_is_passed_over_with_a_word(server: ScriptedServer, shelf: Shelf) -> None:
    said: list[str] = []
    with ScriptedServer() as mirror:
        mirror.on("GET", ".*", status=503)
        with mirrored_source(mirror, server, warn=said.append) as source:
            source.resolve(AMD64)
    assert len(said) == 1
    assert f"going on to {server.host}/app" in said[0]


def test_what_a_mirror_lacks_comes_from_the_registry(
    server: ScriptedServer, shelf: Shelf, layout: Path, tmp_path: Path
) -> None:
    with ScriptedServer() as mirror:
        poor = Shelf.of(layout)
        poor.blobs = {name: data for name, data in poor.blobs.items() if len(data) < 100_000}
        poor.serve(mirror)
        with mirrored_source(mirror, server) as source, open_destination(f"oci:{tmp_path / 'b'}:v1") as destination:
            copy(source, destination)
    assert [path.partition("/")[0] for path in content(server)] == ["blobs"]


def test_when_all_fail_the_registrys_own_word_counts(server: ScriptedServer) -> None:
    with (
        ScriptedServer() as mirror,
        mirrored_source(mirror, server) as source,
        pytest.raises(RefNotFound, match=server.host),
    ):
        source.resolve()


# Foreign layers


def foreign_image(url: str) -> tuple[Shelf, bytes, Json]:
    shelf = Shelf()
    layer = tar_layer(FILES)
    made = encode(config([layer.diff_id]))
    shelf.blobs = {digest(made): made}
    described = layer.descriptor(urls=[url])
    data = encode(manifest(descriptor(made, "application/vnd.oci.image.config.v1+json"), [described]))
    shelf.manifests["v1"] = shelf.manifests[digest(data)] = (OCI_MANIFEST, data)
    return shelf, layer.data, described


def test_foreign_layers_are_left_where_they_are(server: ScriptedServer, tmp_path: Path) -> None:
    shelf, _, described = foreign_image("https://elsewhere.example/layer")
    shelf.serve(server)
    with source_of(server) as source, open_destination(f"oci:{tmp_path / 'b'}:v1") as destination:
        copy(source, destination)
        with (
            pytest.raises(BlobNotFound, match=r"kept elsewhere .*; --foreign-layers fetches it$"),
            source.open(Descriptor.from_json(described)),
        ):
            pytest.fail("opened")
    assert len(content(server, "HEAD")) >= 1


def test_foreign_layers_are_followed_when_asked_for_but_only_by_https(server: ScriptedServer) -> None:
    for url in (f"http://{server.host}/layer", "file:///etc/passwd", "ftp://x/y"):
        shelf, _, described = foreign_image(url)
        server.forget()
        shelf.serve(server)
        with source_of(server, foreign_urls=True) as source:
            source.resolve()
            with pytest.raises(BlobNotFound), source.open(Descriptor.from_json(described)):
                pytest.fail("opened")
        assert "/layer" not in server.paths()


class Keys:
    """Credentials for whoever asks."""

    def find(self, host: str, repository: str | None) -> Credentials:
        return Credentials(username="alice", password="secret")


@pytest.mark.parametrize("honest", [True, False])
def test_a_foreign_layer_comes_by_https_without_credentials_and_verified(
    honest: bool, server: ScriptedServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    with ScriptedServer(tls=authority.server()) as elsewhere:
        shelf, data, _ = foreign_image(f"{elsewhere.url}/layer")
        shelf.serve(server)
        body = data if honest else bytes(len(data))
        elsewhere.on("GET", "/layer", times=1, status=307, headers={"Location": "/moved"})
        elsewhere.on("GET", "/moved", body=body, cut_after=None)
        more = {"tls": TlsSettings(ca_file=str(authority.file)), "credentials": Keys(), "foreign_urls": True}
        with source_of(server, **more) as source:
            image = select(source, source.resolve(), AMD64)
            assert source.has(image.manifest.model.layers[0].digest)
            if honest:
                unpack(image, tmp_path / "root", rootless=True)
                assert (tmp_path / "root/data").read_bytes() == FILES["data"]
            else:
                with pytest.raises(DigestMismatch):
                    unpack(image, tmp_path / "root", rootless=True)
        assert elsewhere.requests
        assert not [request for request in elsewhere.requests if "authorization" in request.headers]


# From the registry straight to where it is wanted


def test_closing_a_layer_early_drops_its_connection(server: ScriptedServer, shelf: Shelf, layout: Path) -> None:
    gone = threading.Event()
    sizes = [entry for entry in shelf.blobs.values() if len(entry) > 100_000]

    def slowly(request: Request) -> Answer:
        def body() -> Iterator[bytes]:
            try:
                yield sizes[0][:50_000]
                gone.wait(20)
            finally:
                gone.set()

        return Answer(200, (), body(), length=len(sizes[0]))

    server.forget()
    server.on("GET", f"/v2/app/blobs/{digest(sizes[0])}", slowly)
    shelf.serve(server)
    with source_of(server, stall_timeout=20.0) as source:
        image = select(source, source.resolve(), AMD64)
        start = time.monotonic()
        with image.layers[0].open():
            time.sleep(0.2)
        assert time.monotonic() - start < 2
    gone.set()


def test_an_abort_ends_what_other_threads_wait_for(server: ScriptedServer, shelf: Shelf) -> None:
    large = next(data for data in shelf.blobs.values() if len(data) > 100_000)
    server.forget()
    server.on("GET", f"/v2/app/blobs/{digest(large)}", body=large, stall_after=10)
    shelf.serve(server)
    blob = Descriptor(media_type=OCI_LAYER_GZIP, digest=Digest.of(large), size=len(large))
    with source_of(server, stall_timeout=20.0) as source:
        source.resolve()
        threading.Timer(0.2, source.abort).start()
        start = time.monotonic()
        with pytest.raises(ConnectionFailed), source.open_raw(blob) as chunks:
            list(chunks)
        assert time.monotonic() - start < 5


def test_an_image_of_a_real_registry_is_unpacked_and_verified_in_place(layout: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as registry:
        fill(layout, f"{registry.host}/team/app:v1")
        registries = opener(hasty())
        mark = registry.mark()
        with open_source(f"docker://{registry.host}/team/app:v1", others=registries.source) as source:
            unpack(select(source, source.resolve(), AMD64), tmp_path / "root", rootless=True)
            report = verify_image(source, source.resolve(), subject="x")
            assert report.ok, report.findings
            assert list(source.referrers(source.resolve())) == []
        assert (tmp_path / "root/data").read_bytes() == FILES["data"]
        assert registry.count("HEAD", since=mark) == 0
        assert registry.count("GET", "/manifests/", since=mark) == 3 + 1  # the last one is the referrers tag


def test_a_cut_in_the_middle_of_an_unpack_is_not_noticed(server: ScriptedServer, layout: Path, tmp_path: Path) -> None:
    shelf = Shelf.of(layout)
    large = next(data for data in shelf.blobs.values() if len(data) > 100_000)
    server.on("GET", f"/v2/app/blobs/{digest(large)}", times=1, body=large, cut_after=70_000)
    shelf.serve(server)
    with source_of(server) as source:
        unpack(select(source, source.resolve(), AMD64), tmp_path / "root", rootless=True)
    assert (tmp_path / "root/data").read_bytes() == FILES["data"]
    assert [request.headers.get("range") for request in server.requests if digest(large) in request.path] == [
        None,
        "bytes=70000-",
    ]


def test_the_opener_takes_registries_only() -> None:
    with pytest.raises(OciError, match="docker://"):
        opener(hasty()).source(StoreRef("alpine"))


# The next blob, before it is opened


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)
    return holds()


@contextmanager
def two_blobs(server: ScriptedServer) -> Iterator[tuple[RegistrySource, Descriptor, Descriptor]]:
    """A source with two blobs of 4 MiB, which no manifest names."""
    blobs = [os.urandom(4 << 20) for _ in range(2)]
    shelf = Shelf()
    shelf.blobs = {digest(data): data for data in blobs}
    shelf.serve(server)
    with source_of(server) as source:
        one, two = (Descriptor(media_type="a/b", digest=Digest.of(data), size=len(data)) for data in blobs)
        yield source, one, two


def test_a_blob_that_is_expected_is_asked_for_when_the_one_before_is_nearly_through(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "NEAR", 2 << 20)
    with two_blobs(server) as (source, one, two):
        with source.open(one) as chunks:
            source.expect(two)
            next(chunks)
            time.sleep(0.05)
            assert not [path for path in server.paths() if str(two.digest) in path]
            list(chunks)
            assert eventually(lambda: any(str(two.digest) in path for path in server.paths()))
        with source.open(two) as chunks:
            assert sum(map(len, chunks)) == two.size
    assert len([path for path in server.paths() if str(two.digest) in path]) == 1


def test_what_is_expected_and_never_opened_is_dropped(server: ScriptedServer) -> None:
    with two_blobs(server) as (source, one, two):
        with source.open(one) as chunks:
            source.expect(two)
            list(chunks)
        assert eventually(lambda: any(str(two.digest) in path for path in server.paths()))


def test_only_a_few_blobs_are_begun_ahead(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [os.urandom(1000) for _ in range(8)]
    shelf = Shelf()
    shelf.blobs = {digest(data): data for data in small}
    shelf.serve(server)
    blobs = [Descriptor(media_type="a/b", digest=Digest.of(data), size=len(data)) for data in small]
    with source_of(server) as source:
        for blob in blobs:
            source.expect(blob)
        assert server.paths() == []
        for number, blob in enumerate(blobs):
            with source.open(blob) as chunks:
                assert Digest.of(b"".join(chunks)) == blob.digest
                begun = min(number + 1 + ahead.MAX_BEGUN, len(blobs))
                assert eventually(lambda: len(content(server)) == begun)  # noqa: B023 - called at once
                time.sleep(0.01)
                assert len(content(server)) == begun
    assert len(set(content(server))) == 8


def test_what_fails_ahead_is_told_to_whoever_opens_it(server: ScriptedServer) -> None:
    with two_blobs(server) as (source, one, two):
        absent = two.replace(digest=Digest.of(b"absent"))
        with source.open(one) as chunks:
            source.expect(absent)
            list(chunks)
        with pytest.raises(BlobNotFound), source.open(absent):
            pytest.fail("opened")


def test_an_unpack_asks_for_each_layer_once_and_for_the_next_one_early(
    server: ScriptedServer, shelf: Shelf, tmp_path: Path
) -> None:
    with source_of(server) as source:
        unpack(select(source, source.resolve(), AMD64).watched(lambda *_: None), tmp_path / "root", rootless=True)
    asked = content(server)
    assert len(asked) == len(set(asked)) == 5
