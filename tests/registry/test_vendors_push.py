"""What public registries do that Debian's docker-registry can't, pushed to: each replayed as its source tells it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from oci.errors import ConnectionFailed, OciError, RegistryError, RegistryRefused
from oci.http.settings import TlsSettings
from oci.registry.connect import connect, connect_push
from oci.registry.mounts import mount
from oci.registry.put_manifest import put_manifest
from oci.spec.digest import Digest
from tests.support.commands import digests_of
from tests.support.images import OCI_EMPTY, OCI_MANIFEST, LayoutMaker, descriptor, encode, manifest, tar_layer
from tests.support.library import push, registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused
from tests.support.tls import Authority

LOGIN = ("alice", "s3cret-of-alice")
BASIC = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a small layer and of one that is too large for a single POST."""
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    layers = [tar_layer({"etc/": None, "etc/motd": b"hello\n"}), tar_layer({"data": os.urandom(400_000)})]
    maker.tag("v1", maker.image(layers))
    return maker.finish()


def name(server: ScriptedServer, repository: str = "team/app") -> str:
    return f"docker://{server.host}/{repository}:v1"


def is_there(shelf: Shelf, image: Path) -> bool:
    """Whether all of the image arrived, bytes and all."""
    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (image / "blobs/sha256").iterdir()}
    held = {**shelf.blobs, **{digest: raw for digest, (_, raw) in shelf.manifests.items()}}
    return "v1" in shelf.manifests and all(held.get(digest) == raw for digest, raw in blobs.items())


# Docker Hub


def test_docker_hub_has_no_deletes_by_the_spec(server: ScriptedServer) -> None:
    """405: https://github.com/docker/hub-feedback/issues/2360."""
    server.on("DELETE", ".*", refused(405, "UNSUPPORTED", "The operation is unsupported."))
    with connect_push(registry_ref(name(server)), settings()) as found, pytest.raises(RegistryRefused) as caught:
        found[0].delete_manifest(Digest.parse("sha256:" + "a" * 64))
    assert caught.value.status == 405
    assert len(server.requests) <= 2


def test_docker_hub_once_refused_a_subject_that_it_has_not(server: ScriptedServer, shelf: Shelf) -> None:
    """400 or 404 for a manifest with `subject`: https://github.com/docker/hub-feedback/issues/2307,
    https://github.com/oras-project/oras/issues/666."""
    server.on("PUT", r"/v2/.*/manifests/.*", refused(400, "MANIFEST_BLOB_UNKNOWN", "manifest blob unknown"))
    shelf.serve(server)
    with connect_push(registry_ref(name(server)), settings()) as found, pytest.raises(RegistryRefused, match="unknown"):
        put_manifest(found[0], _with_subject("sha256:" + "c" * 64), OCI_MANIFEST, "sig")
    assert "sig" not in shelf.manifests


# GitHub


def test_ghcr_takes_large_blobs_whole_though_not_in_large_chunks(
    server: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """416 for a PATCH over 4 MiB (here 1,000 bytes): https://github.com/ocx-sh/ocx/pull/237,
    https://github.com/oras-project/rust-oci-client/pull/37."""

    def patch(request: Request) -> Answer:
        return refused(416, "SIZE_INVALID") if len(request.body) > 1000 else shelf.answer(request)

    server.on("PATCH", ".*", patch)
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)


# Google


def test_artifact_registry_has_uploads_outside_of_v2_at_a_relative_location(
    server: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """/artifacts-uploads/…: https://github.com/gitpod-io/gitpod/issues/10214."""
    shelf.location = lambda path: "/artifacts-uploads" + path

    def upload(request: Request) -> Answer:
        inner = request.path.removeprefix("/artifacts-uploads")
        return shelf.answer(Request(request.method, inner, request.headers, request.body, request.connection))

    server.on(".*", r"/artifacts-uploads/.*", upload)
    server.on("POST", r"/v2/.*/blobs/uploads/\?digest=.*", lambda request: shelf.answer(_without_query(request)))
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)
    assert any(path.startswith("/artifacts-uploads/") for path in server.paths("PUT"))


def _without_query(request: Request) -> Request:
    path = request.path.partition("?")[0]
    return Request(request.method, path, request.headers, b"", request.connection)


# Amazon


def test_ecr_hangs_up_on_a_push_to_a_repository_that_was_not_made(
    server: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """An EOF in place of an answer: https://github.com/aws/containers-roadmap/issues/1970."""
    server.on("POST", r"/v2/.*/blobs/uploads/.*", hang_up=True)
    shelf.serve(server)
    with pytest.raises(ConnectionFailed):
        push(image, name(server))
    assert "v1" not in shelf.manifests
    assert len(server.requests) < 60


def test_ecr_says_that_the_repository_has_to_be_made_first(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """404 NAME_UNKNOWN with a sentence that helps:
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html."""
    words = "The repository with name 'team/app' does not exist in the registry with id '123456789012'"
    server.on("POST|PUT|PATCH", r"/v2/.*", refused(404, "NAME_UNKNOWN", words))
    shelf.serve(server)
    with pytest.raises(RegistryRefused, match="does not exist in the registry") as caught:
        push(image, name(server))
    assert caught.value.codes == ("NAME_UNKNOWN",)


def test_ecr_leaves_location_out_when_a_manifest_is_put(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """https://github.com/apple/swift-container-plugin/pull/27."""

    def bare(request: Request) -> Answer:
        return Answer(shelf.answer(request).status)

    server.on("PUT", r"/v2/.*/manifests/.*", bare)
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)


def test_ecr_tags_that_are_immutable_are_told_in_its_words(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """https://github.com/moby/buildkit/issues/3776."""
    words = (
        "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because it is immutable."
    )
    server.on("PUT", r"/v2/.*/manifests/v1", refused(400, "TAG_INVALID", words))
    shelf.serve(server)
    with pytest.raises(RegistryRefused, match="cannot be overwritten"):
        push(image, name(server))


def test_ecr_accepts_chunks_with_201_and_wants_them_large(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """201 in place of 202: https://github.com/aws/containers-roadmap/issues/2831; parts of 5 MB at least:
    https://github.com/dotnet/sdk-container-builds/issues/424. Whole blobs have to be turned down to see chunks."""
    smallest = []

    def put(request: Request) -> Answer:
        return refused(413, "SIZE_INVALID") if len(request.body) > 100_000 else shelf.answer(request)

    def patch(request: Request) -> Answer:
        smallest.append(len(request.body))
        answer = shelf.answer(request)
        return Answer(201 if answer.status == 202 else answer.status, answer.headers, answer.body)

    server.on("PUT", r"/v2/.*/blobs/uploads/.*", put)
    server.on("PATCH", ".*", patch)
    shelf.min_chunk = 5 << 20
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)
    assert len(smallest) == 1  # 400,000 bytes are less than the least chunk: the last one may be shorter


def test_a_registry_that_throws_chunks_away_is_an_error_and_not_an_endless_push(
    server: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """Range doesn't move on though PATCH is accepted: https://github.com/aws/containers-roadmap/issues/2831."""

    def patch(request: Request) -> Answer:
        return Answer(202, {"Location": request.path, "Range": "0-0"})

    server.on("PUT", r"/v2/.*/blobs/uploads/.*", refused(413, "SIZE_INVALID"))
    server.on("PATCH", ".*", patch)
    shelf.serve(server)
    with pytest.raises(RegistryError):
        push(image, name(server))
    assert "v1" not in shelf.manifests
    assert len(server.requests) < 100


# Quay, GitLab


def test_quay_says_400_for_referrers_of_what_it_has_not(server: ScriptedServer, shelf: Shelf) -> None:
    """400 in place of 404: https://github.com/quay/quay/pull/3071. Nexus says so where it has no such API, so the tag
    is asked for too; neither has any."""
    server.on("GET", r"/v2/.*/referrers/.*", refused(400, "MANIFEST_INVALID", "manifest invalid"))
    shelf.serve(server)
    with connect(registry_ref(name(server)), settings()) as found:
        assert list(found[0].referrers(Digest.parse("sha256:" + "b" * 64))) == []


def test_a_token_that_ran_out_during_an_upload_is_renewed_and_the_blob_sent_again(
    server: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """All bytes went up, then 401: https://github.com/moby/moby/issues/33558."""
    expired = [True]

    def answer(request: Request) -> Answer:
        said = request.headers.get("authorization")
        challenge = f'Bearer realm="{server.url}/jwt/auth",service="container_registry"'
        if said is None or (request.method == "PUT" and len(request.body) > 100_000 and expired[0]):
            expired[0] = said is None
            return refused(401, "UNAUTHORIZED", WWW_Authenticate=f'{challenge},error="invalid_token"')
        return shelf.answer(request)

    server.on("GET", r"/jwt/auth", lambda request: Answer(200, JSON, b'{"token":"tok%d"}' % len(server.requests)))
    server.on(".*", r"/v2/.*", answer)
    push(image, name(server), settings(login=LOGIN))
    assert is_there(shelf, image)
    assert expired == [False]


# Harbor


def test_harbor_denies_a_mount_and_takes_the_upload(server: ScriptedServer, shelf: Shelf) -> None:
    """403, or 401, where one may not read the other project: https://github.com/oras-project/oras/pull/1924,
    https://github.com/containerd/containerd/pull/14118."""
    for status in (403, 401, 404):
        server.forget()
        server.on("POST", r"/v2/.*\?.*mount=.*", refused(status, "DENIED", WWW_Authenticate='Basic realm="harbor"'))
        shelf.serve(server)
        with connect_push(registry_ref(name(server)), settings(login=LOGIN)) as found:
            started = mount(found[0], Digest.parse("sha256:" + "d" * 64), "other/project")
        assert started is not None, status


def test_harbor_behind_a_tls_proxy_says_http_and_is_reached_by_https_all_the_same(
    tmp_path: Path, shelf: Shelf, image: Path
) -> None:
    """Location: http://…: https://github.com/goharbor/harbor/issues/61 and #14269. Nothing may go over plain http."""
    authority = Authority(tmp_path / "ca")
    with ScriptedServer(tls=authority.server()) as server:
        shelf.location = lambda path: f"http://{server.host}{path}"
        shelf.serve(server)
        push(image, name(server), settings(tls=TlsSettings(ca_file=str(authority.file))))
        assert is_there(shelf, image)


def test_harbor_on_gcs_wants_what_it_says_of_chunks(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """OCI-Chunk-Min-Length (distribution-spec v1.1.1 spec.md#pushing-a-blob-in-chunks); some storage takes multiples of
    256 KiB alone: https://github.com/distribution/distribution/blob/main/registry/storage/driver/gcs/gcs.go."""
    sizes: list[int] = []

    def patch(request: Request) -> Answer:
        sizes.append(len(request.body))
        return shelf.answer(request)

    server.on("PUT", r"/v2/.*/blobs/uploads/.*", lambda request: _only_empty(request, shelf))
    server.on("PATCH", ".*", patch)
    shelf.min_chunk = 262_144
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)
    assert all(size >= 262_144 for size in sizes[:-1])


def _only_empty(request: Request, shelf: Shelf) -> Answer:
    return refused(413, "SIZE_INVALID") if request.body else shelf.answer(request)


# Artifactory, Nexus


def test_artifactory_wants_manifests_with_a_length(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """MANIFEST_INVALID for one that came chunked: https://github.com/GoogleContainerTools/jib/issues/534."""

    def put(request: Request) -> Answer:
        whole = "content-length" in request.headers and "transfer-encoding" not in request.headers
        return shelf.answer(request) if whole else refused(400, "MANIFEST_INVALID")

    server.on("PUT", r"/v2/.*/manifests/.*", put)
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)


def test_artifactory_claims_blobs_that_it_has_not(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """HEAD 200 and GET 404 for one blob: https://github.com/gardener/cc-utils/pull/1752. The manifest is refused then,
    and what is missing is named."""
    sizes = {path.name: path.stat().st_size for path in (image / "blobs/sha256").iterdir()}

    def claim(request: Request) -> Answer:
        return Answer(200, {"Content-Length": str(sizes[request.path.rpartition(":")[2]])})

    server.on("HEAD", r"/v2/.*/blobs/.*", claim)
    shelf.serve(server)
    with pytest.raises(OciError) as caught:
        push(image, name(server))
    assert "sha256:" in str(caught.value)
    assert "v1" not in shelf.manifests


def test_artifactory_writes_another_port_into_its_locations(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """X-JFrog-Override-Base-Url with a port: https://github.com/jfrog/charts/issues/1860. Another port is another
    origin: it gets the bytes, and no credentials."""
    shelf.location = lambda path: f"{other.url}{path}"

    def guarded(request: Request) -> Answer:
        if request.headers.get("authorization") != BASIC:
            return refused(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')
        return shelf.answer(request)

    server.on(".*", ".*", guarded)
    shelf.serve(other)
    push(image, name(server), settings(login=LOGIN))
    assert is_there(shelf, image)
    assert other.requests
    assert all("authorization" not in request.headers for request in other.requests)


def test_a_location_with_doubled_slashes_is_kept_to_the_byte(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """Proxies that rewrite make such ones: https://github.com/gitpod-io/gitpod/issues/10214."""
    shelf.location = lambda path: (
        "/artifactory//api/docker/key" + path + ("&" if "?" in path else "?") + "q=a%2Fb%3D%3D"
    )

    def upload(request: Request) -> Answer:
        assert "q=a%2Fb%3D%3D" in request.path
        inner = request.path.removeprefix("/artifactory//api/docker/key")
        return shelf.answer(Request(request.method, inner, request.headers, request.body, request.connection))

    server.on(".*", r"/artifactory//api/.*", upload)
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)


def test_tart_learned_that_a_whole_blob_has_no_content_range(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """Some check the "chunk" against their limit then: https://github.com/openai/tart/pull/179."""
    shelf.serve(server)
    push(image, name(server))
    assert all("content-range" not in request.headers for request in server.requests if request.method != "PATCH")


# distribution 2.8


def test_without_oci_subject_the_referrers_tag_is_written(server: ScriptedServer, shelf: Shelf) -> None:
    """distribution-spec v1.1.1 spec.md#pushing-manifests-with-subject; GHCR and distribution 2.8 don't answer with
    OCI-Subject: https://github.com/actions/attest-build-provenance/issues/91."""
    shelf.blobs[_EMPTY] = b"{}"
    shelf.serve(server)
    subject = "sha256:" + "c" * 64
    with connect_push(registry_ref(name(server)), settings()) as found:
        first = put_manifest(found[0], _with_subject(subject, number=1), OCI_MANIFEST, "one")
        second = put_manifest(found[0], _with_subject(subject, number=2), OCI_MANIFEST, "two")
        put_manifest(found[0], _with_subject(subject, number=2), OCI_MANIFEST, "two")
    _, raw = shelf.manifests[subject.replace(":", "-")]
    assert [entry["digest"] for entry in json.loads(raw)["manifests"]] == [str(first), str(second)]


def test_with_oci_subject_no_tag_is_written(server: ScriptedServer, shelf: Shelf) -> None:
    """Quay and ECR of today: https://github.com/quay/quay/pull/1706."""
    shelf.blobs[_EMPTY] = b"{}"
    shelf.referrers_api = True
    shelf.serve(server)
    subject = "sha256:" + "c" * 64
    with connect_push(registry_ref(name(server)), settings()) as found:
        made = put_manifest(found[0], _with_subject(subject), OCI_MANIFEST, "one")
        assert [one.digest for one in found[0].referrers(Digest.parse(subject))] == [made]
    assert subject.replace(":", "-") not in shelf.manifests


def test_a_range_of_an_upload_is_read_in_both_its_forms(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """`0-9` and `bytes=0-9`: https://github.com/distribution/distribution/issues/3496,
    https://github.com/moby/moby/issues/9015; 416 with where to go on:
    https://github.com/opencontainers/distribution-spec/issues/353."""

    def patch(request: Request) -> Answer:
        answer = shelf.answer(request)
        assert isinstance(answer.headers, dict)
        return Answer(answer.status, {**answer.headers, "Range": "bytes=" + answer.headers["Range"]})

    server.on("PUT", r"/v2/.*/blobs/uploads/.*", lambda request: _only_empty(request, shelf))
    server.on("PATCH", ".*", patch)
    shelf.serve(server)
    push(image, name(server))
    assert is_there(shelf, image)


def test_a_second_push_sends_no_blob(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """HEAD before an upload, as all clients do (distribution-spec v1.1.1 spec.md#checking-if-content-exists)."""
    shelf.serve(server)
    push(image, name(server))
    server.requests.clear()
    push(image, name(server))
    assert server.paths("POST|PATCH") == []
    assert digests_of(image)["v1"] in shelf.manifests


_EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def _with_subject(subject: str, number: int = 0) -> bytes:
    empty = descriptor(b"{}", OCI_EMPTY)
    pointer = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 100}
    more = {"subject": pointer, "artifactType": "application/x", "annotations": {"n": str(number)}}
    return encode(manifest(empty, [empty], **more))
