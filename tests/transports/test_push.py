"""Copies into a registry: all arrives byte for byte, nothing goes twice, and the tag moves last or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oci.errors import DigestMismatch, InvalidReference, OciError, RegistryRefused
from oci.layout.blobs import MemoryBlobs
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.registry.upload import Uploader, put_blob
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.reference import RegistryRef
from oci.transports.copy import copy
from oci.transports.from_registry_push import RegistryDestination
from oci.transports.names import open_destination, open_source
from oci.transports.registries import opener
from tests.support.images import (
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Json,
    LayoutMaker,
    descriptor,
    digest,
    index,
    manifest,
    tar_layer,
)
from tests.support.library import registry_ref, settings
from tests.support.peers import ROOT, need
from tests.support.registries import DockerRegistry, docker_registry
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf, refused


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    need("docker-registry")
    with docker_registry(tmp_path_factory.mktemp("push")) as running:
        yield running


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "source")


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")


def run(source: str | Path, target: str, **options: Any) -> Descriptor:
    registries = opener(settings())
    name = f"oci:{source}" if isinstance(source, Path) else source
    with (
        open_source(name, others=registries.source) as opened,
        open_destination(target, others=registries.destination) as destination,
    ):
        return copy(opened, destination, **options)


def image(maker: LayoutMaker, word: str = "a", *, size: int = 300_000, **fields: str) -> Json:
    """One shared layer, one of its own that is too large for a single POST."""
    own = tar_layer({"word": word.encode(), f"data-{word}": os.urandom(size)})
    return maker.image([tar_layer({"base": b"shared"}), own], **fields)


def everything(layout: Path, tag: str = "v1") -> dict[str, bytes]:
    opened = Layout.open(layout)
    return {
        str(found.digest): (layout / "blobs" / found.digest.algorithm / found.digest.encoded).read_bytes()
        for found in walk(opened.blobs, opened.resolve(tag))
    }


def name(registry: DockerRegistry, repository: str, tag: str = "v1") -> str:
    return f"docker://{registry.host}/{repository}:{tag}"


def uploads(registry: DockerRegistry, repository: str, since: int = 0) -> int:
    """How many blobs were sent to a repository."""
    return sum(one.status == 201 for one in registry.asked("PUT", f"/{repository}/blobs/uploads/", since=since)) + sum(
        one.status == 201 and "mount=" not in one.target for one in registry.asked("POST", f"/{repository}/blobs/")
    )


# The normal way, at a real registry


def test_an_image_arrives_byte_for_byte_and_comes_back(
    registry: DockerRegistry, maker: LayoutMaker, repository: str, tmp_path: Path
) -> None:
    made = image(maker)
    maker.tag("v1", made)
    source = maker.finish()
    assert str(run(source, name(registry, repository)).digest) == made["digest"]
    run(name(registry, repository), f"oci:{tmp_path}/back:v1")
    assert everything(tmp_path / "back") == everything(source)


def test_an_index_of_indexes_goes_children_first_and_the_tag_last(
    registry: DockerRegistry, maker: LayoutMaker, repository: str, tmp_path: Path
) -> None:
    amd = image(maker, "a") | {"platform": {"os": "linux", "architecture": "amd64"}}
    arm = image(maker, "b", architecture="arm64") | {"platform": {"os": "linux", "architecture": "arm64"}}
    inner = maker.document(index([amd, arm]), OCI_INDEX)
    top = maker.document(index([inner, amd]), OCI_INDEX)
    maker.tag("v1", top)
    source = maker.finish()
    run(source, name(registry, repository))
    puts = [one.path.rpartition("/")[2] for one in registry.asked("PUT", f"/{repository}/manifests/")]
    assert puts == [amd["digest"], arm["digest"], inner["digest"], "v1"]
    last_blob = max(n for n, one in enumerate(registry.requests()) if f"/{repository}/blobs/uploads/" in one.path)
    first_manifest = min(
        n for n, one in enumerate(registry.requests()) if f"PUT/v2/{repository}/man" in one.method + one.path
    )
    assert last_blob < first_manifest
    assert uploads(registry, repository) == 5  # the shared layer once
    run(name(registry, repository), f"oci:{tmp_path}/back:v1")
    assert everything(tmp_path / "back") == everything(source)


def test_a_second_push_asks_and_sends_nothing_but_the_tag(
    registry: DockerRegistry, maker: LayoutMaker, repository: str
) -> None:
    both = [image(maker, word) for word in "ab"]
    maker.tag("v1", maker.document(index(both), OCI_INDEX))
    source = maker.finish()
    run(source, name(registry, repository))
    before = registry.mark()
    run(source, name(registry, repository))
    asked = [one for one in registry.requests()[before:] if one.path != "/v2/"]
    assert {one.method for one in asked} == {"HEAD", "PUT"}
    assert [one.path.rpartition("/")[2] for one in asked if one.method == "PUT"] == ["v1"]
    assert len({one.path for one in asked}) == len(asked)  # nothing is asked twice


def test_what_two_images_share_goes_once(registry: DockerRegistry, maker: LayoutMaker, repository: str) -> None:
    for word in "ab":
        maker.tag(word, image(maker, word))
    source = maker.finish()
    run(f"oci:{source}:a", name(registry, repository, "a"))
    before = uploads(registry, repository)
    run(f"oci:{source}:b", name(registry, repository, "b"))
    assert (before, uploads(registry, repository)) == (3, 5)


def test_between_repositories_of_a_registry_blobs_are_mounted(
    registry: DockerRegistry, maker: LayoutMaker, repository: str
) -> None:
    maker.tag("v1", image(maker))
    run(maker.finish(), name(registry, f"{repository}/from"))
    before = registry.mark()
    run(name(registry, f"{repository}/from"), name(registry, f"{repository}/to"))
    mounts = registry.asked("POST", "mount=", since=before)
    assert [one.status for one in mounts] == [201] * 3
    assert registry.count("POST", since=before) == 3
    assert registry.count("HEAD", "/blobs/", since=before) == 0
    assert registry.count("GET", "/blobs/", since=before) == 0


def test_layers_compressed_anew_go_by_way_of_a_file_without_a_name(
    registry: DockerRegistry, maker: LayoutMaker, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.tag("v1", image(maker))
    source = maker.finish()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    copied = run(source, name(registry, repository), compression=("zstd", None))
    assert list(scratch.iterdir()) == []
    assert str(copied.digest) in registry.stored()
    with open_source(name(registry, repository), others=opener(settings()).source) as opened:
        layers = [found for found in walk(opened, opened.resolve()) if "zstd" in found.media_type]
        assert len(layers) == 2
        for layer in layers:
            with opened.open(layer) as chunks:
                assert b"".join(chunks)


def test_a_manifest_with_a_subject_is_listed_under_the_referrers_tag(
    registry: DockerRegistry, maker: LayoutMaker, repository: str
) -> None:
    subject = image(maker)
    maker.put(b"{}")
    empty = descriptor(b"{}", OCI_EMPTY)
    signature = maker.document(
        manifest(empty, [empty], subject=subject, artifactType="application/x-signature"), OCI_MANIFEST
    )
    maker.tag("v1", maker.document(index([subject, signature]), OCI_INDEX))
    source = maker.finish()
    for _ in range(2):
        run(source, name(registry, repository))
    with open_source(name(registry, repository), others=opener(settings()).source) as opened:
        about = Descriptor(media_type=OCI_MANIFEST, digest=Digest.parse(subject["digest"]), size=subject["size"])
        (found,) = opened.referrers(about)
    assert (str(found.digest), found.artifact_type) == (signature["digest"], "application/x-signature")


def test_a_source_that_lies_leaves_no_blob_and_no_tag(
    registry: DockerRegistry, maker: LayoutMaker, repository: str
) -> None:
    made = image(maker, size=3_000_000)
    layer = maker.read(made["digest"])["layers"][1]
    data = maker.blob_path(layer["digest"]).read_bytes()
    maker.blob_path(layer["digest"]).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    maker.tag("v1", made)
    source = maker.finish()
    with pytest.raises(DigestMismatch, match=layer["digest"]):
        run(source, name(registry, repository))
    assert layer["digest"] not in registry.stored()
    assert registry.count("PUT", f"/{repository}/manifests/") == 0
    maker.blob_path(layer["digest"]).write_bytes(data)
    run(source, name(registry, repository))
    assert layer["digest"] in registry.stored()


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_blobs_of_any_size_go_whole_and_in_chunks(registry: DockerRegistry, repository: str, size: int) -> None:
    for whole in (True, False):
        data = os.urandom(size)
        blob = Descriptor(media_type="a/b", digest=Digest.of(data), size=size)
        store = MemoryBlobs([data])
        with RegistryDestination.open(registry_ref(name(registry, "blobs")), settings()) as destination:
            uploader = Uploader(destination.repository)
            uploader.whole, uploader.chunk = whole, 1 << 20
            uploader.put(blob, lambda s=store, b=blob: s.open_raw(b))  # type: ignore[misc]
            assert destination.has(blob)
            with destination.repository.open_blob(blob) as chunks:
                assert b"".join(chunks) == data


def test_a_lie_about_the_last_byte_is_never_committed(registry: DockerRegistry) -> None:
    data = os.urandom(2_000_000)
    right = Descriptor(media_type="a/b", digest=Digest.of(data), size=len(data))

    @contextmanager
    def wrong() -> Iterator[Iterator[bytes]]:
        yield iter((data[:-1] + bytes([data[-1] ^ 1]),))  # all in one chunk

    with RegistryDestination.open(registry_ref(name(registry, "lies")), settings()) as destination:
        with pytest.raises(DigestMismatch):
            put_blob(destination.repository, right, wrong)
        assert not destination.has(right)
        put_blob(destination.repository, right, lambda: MemoryBlobs([data]).open_raw(right))
        assert destination.has(right)


KILLED = """
import os, sys
from oci.transports.copy import copy
from oci.transports.names import open_destination, open_source
from oci.transports.registries import opener
from tests.support.library import settings
how = settings(stall_timeout=float(os.environ.get("STALL", "10")))
with open_source(sys.argv[1]) as source, open_destination(sys.argv[2], others=opener(how).destination) as target:
    copy(source, target)
"""


def test_a_push_that_was_killed_is_finished_by_sending_what_is_missing(
    registry: DockerRegistry, maker: LayoutMaker, repository: str
) -> None:
    small = [tar_layer({f"small-{number}": os.urandom(200_000)}) for number in range(3)]
    # Long enough to be on its way when the others have arrived.
    large = tar_layer({"large": os.urandom(1 << 20) * 150}, media_type="application/vnd.oci.image.layer.v1.tar")
    made = maker.image([*small, large])
    maker.tag("v1", made)
    source = maker.finish()
    target = name(registry, repository)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", KILLED, f"oci:{source}:v1", target], env=environment) as process:
        deadline = time.monotonic() + 30
        while not {layer.digest for layer in small} <= registry.stored():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert large.digest not in registry.stored()
    assert registry.count("PUT", f"/{repository}/manifests/") == 0
    here = {digest for digest in everything(source) if digest in registry.stored()}
    before = registry.mark()
    run(source, target)
    sent = registry.asked("PUT", f"/{repository}/blobs/uploads/", since=before)
    assert len(sent) == len(everything(source)) - 1 - len(here)
    assert set(everything(source)) <= registry.stored()


# What a real registry doesn't do


def test_a_refused_blob_leaves_the_tag_where_it_was(server: ScriptedServer, maker: LayoutMaker) -> None:
    shelf = Shelf()
    maker.tag("v1", image(maker))
    server.on("PUT", r"/v2/app/blobs/uploads/.*", refused(507, "DENIED", "the disk is full"))
    shelf.serve(server)
    shelf.manifests["v1"] = (OCI_MANIFEST, b"{}")
    with pytest.raises(RegistryRefused, match="the disk is full"):
        run(maker.finish(), f"docker://{server.host}/app:v1")
    assert shelf.manifests == {"v1": (OCI_MANIFEST, b"{}")}
    assert shelf.uploads == {}


def test_a_refused_child_leaves_the_tag_where_it_was(server: ScriptedServer, maker: LayoutMaker) -> None:
    shelf = Shelf()
    both = [image(maker, word) for word in "ab"]
    maker.tag("v1", maker.document(index(both), OCI_INDEX))
    server.on("PUT", rf"/v2/app/manifests/{both[1]['digest']}", refused(400, "MANIFEST_INVALID"))
    shelf.serve(server)
    with pytest.raises(RegistryRefused):
        run(maker.finish(), f"docker://{server.host}/app:v1")
    assert "v1" not in shelf.manifests


def test_a_registry_that_does_not_mount_is_asked_once(server: ScriptedServer, maker: LayoutMaker) -> None:
    shelf = Shelf()
    shelf.takes_mounts = False
    maker.tag("v1", image(maker))
    namespaces: dict[str, Shelf] = {"from": Shelf.of(maker.finish()), "to": shelf}

    def answer(seen: Request) -> Answer:
        return namespaces[seen.path.split("/")[2]].answer(seen)

    server.on(".*", r"/v2/(from|to)/.*", answer)
    run(f"docker://{server.host}/from:v1", f"docker://{server.host}/to:v1")
    mounts = [path for path in server.paths("POST") if "mount=" in path]
    assert 1 <= len(mounts) <= 3  # those that were on their way before the first answer
    assert set(shelf.blobs) == set(namespaces["from"].blobs) - set(namespaces["from"].manifests)
    assert shelf.uploads == {}


def test_an_upload_that_a_mount_began_is_cancelled_when_the_blob_is_there(
    server: ScriptedServer, maker: LayoutMaker
) -> None:
    maker.tag("v1", image(maker))
    shelf = Shelf.of(maker.finish())
    shelf.takes_mounts = False
    shelf.serve(server)
    run(f"docker://{server.host}/from:v1", f"docker://{server.host}/to:v1")
    assert server.paths("PUT") == ["/v2/to/manifests/v1"]
    assert len(server.paths("DELETE")) == len([path for path in server.paths("POST") if "mount=" in path])
    assert shelf.uploads == {}


def test_another_registry_is_no_place_to_mount_from(server: ScriptedServer, maker: LayoutMaker) -> None:
    maker.tag("v1", image(maker))
    with ScriptedServer() as other:
        Shelf.of(maker.finish()).serve(other)
        shelf = Shelf()
        shelf.serve(server)
        run(f"docker://{other.host}/from:v1", f"docker://{server.host}/to:v1")
    assert not any("mount=" in path for path in server.paths("POST"))
    assert "v1" in shelf.manifests


def test_a_destination_by_digest_takes_only_what_has_it(server: ScriptedServer, maker: LayoutMaker) -> None:
    made = image(maker)
    maker.tag("v1", made)
    source = maker.finish()
    shelf = Shelf()
    shelf.serve(server)

    def push(digest: str) -> None:
        reference = RegistryRef(server.host, "app", None, Digest.parse(digest))
        with (
            open_source(f"oci:{source}:v1") as opened,
            RegistryDestination.open(reference, settings()) as destination,
        ):
            copy(opened, destination)

    with pytest.raises(DigestMismatch):
        push("sha256:" + "0" * 64)
    assert shelf.manifests == {}
    push(made["digest"])
    assert list(shelf.manifests) == [made["digest"]]
    with pytest.raises(InvalidReference):  # by name it would be a surprise
        run(source, f"docker://{server.host}/app@{made['digest']}")


def by_sha512(maker: LayoutMaker) -> str:
    """An image under the tag v1, known by a digest of sha512."""
    raw = maker.blob_path(image(maker)["digest"]).read_bytes()
    name = maker.put(raw, name=digest(raw, "sha512"))
    maker.tag("v1", {"mediaType": OCI_MANIFEST, "digest": name, "size": len(raw)})
    return name


def test_an_image_known_by_sha512_is_known_so_in_the_registry(server: ScriptedServer, maker: LayoutMaker) -> None:
    """By its tag alone, a registry computes sha256: what was told as the digest would not be there."""
    name, shelf = by_sha512(maker), Shelf()
    shelf.serve(server)
    run(maker.finish(), f"docker://{server.host}/app:v1")
    assert [path.rpartition("/")[2] for path in server.paths("PUT") if "manifests" in path] == [name, "v1"]
    assert shelf.manifests[name] == shelf.manifests["v1"]


def test_a_registry_that_knows_sha256_alone_gets_the_image_and_we_a_warning(
    registry: DockerRegistry, repository: str, maker: LayoutMaker, tmp_path: Path
) -> None:
    name, told = by_sha512(maker), list[str]()
    registries = opener(settings(warn=told.append))
    with (
        open_source(f"oci:{maker.finish()}:v1") as opened,
        open_destination(f"docker://{registry.host}/{repository}:v1", others=registries.destination) as destination,
    ):
        copy(opened, destination)
    raw = maker.blob_path(name).read_bytes()
    assert told == [f"docker://{registry.host}/{repository}:v1: the registry knows it as {digest(raw)}, not as {name}"]
    run(f"docker://{registry.host}/{repository}@{digest(raw)}", f"oci:{tmp_path / 'back'}:v1")


def test_an_error_names_the_registry_and_no_upload_state(server: ScriptedServer, maker: LayoutMaker) -> None:
    maker.tag("v1", image(maker))
    server.on("PUT", r"/v2/app/blobs/uploads/.*", refused(400, "BLOB_UPLOAD_INVALID"))
    Shelf().serve(server)
    with pytest.raises(OciError) as raised:
        run(maker.finish(), f"docker://{server.host}/app:v1")
    assert server.host in str(raised.value)
    assert "_state" not in str(raised.value)


@pytest.mark.parametrize("silent", ["PUT", "HEAD", "POST"])
def test_an_interrupt_ends_a_push_to_a_server_that_says_nothing(
    server: ScriptedServer, maker: LayoutMaker, silent: str
) -> None:
    maker.tag("v1", image(maker, size=20_000_000))
    server.on(silent, r"/v2/app/blobs/.*", before_body=True, ignore_body=True, raw=b"")
    Shelf().serve(server)
    words = [sys.executable, "-c", KILLED, f"oci:{maker.finish()}:v1", f"docker://{server.host}/app:v1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STALL": "60"}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while silent not in [one.method for one in server.requests]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0
        assert time.monotonic() - start < 1
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
