"""What Docker Hub, GitHub, Google, Amazon and Microsoft do that docker-registry can't, replayed: pulls.

Each test names where that is told. The server is `ScriptedServer` on loopback, the rest of a registry is `Shelf`. A
second server stands for another host: another port is another origin, and gets no credentials.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from oci.errors import AuthenticationFailed, NotFound, OciError, RegistryRefused
from oci.registry.client import Client
from oci.registry.connect import connect
from oci.registry.listing import catalog
from oci.spec.digest import Digest
from tests.support.commands import digests_of
from tests.support.library import Naps, pull, registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused
from tests.support.vendors import BASIC, LOGIN, bearer, guarded, name

# Docker Hub


def test_docker_hub_rate_limit_is_waited_for_as_long_as_it_says(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """Retry-After in seconds: https://github.com/docker/docs/pull/22916; the code toomanyrequests:
    https://docs.docker.com/docker-hub/usage/pulls/."""
    limited = refused(
        429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", Retry_After="7", RateLimit_Limit="100;w=21600"
    )
    server.on("GET", r"/v2/.*/manifests/.*", limited, times=2)
    shelf.serve(server)
    naps = Naps()
    pull(name(server), back, settings(sleep=naps))
    assert digests_of(back) == digests_of(image)
    assert len([nap for nap in naps if nap >= 7]) == 2


def test_docker_hub_rate_limit_that_stays_is_told_in_the_registrys_words(
    server: ScriptedServer, shelf: Shelf, back: Path
) -> None:
    """The long message that tells what to do: https://github.com/ScribeMD/docker-cache/issues/829."""
    words = "You have reached your pull rate limit. You may increase the limit by authenticating"
    server.on("GET|HEAD", r"/v2/.*/manifests/.*", refused(429, "TOOMANYREQUESTS", words))
    shelf.serve(server)
    with pytest.raises(RegistryRefused, match="You may increase the limit") as caught:
        pull(name(server), back)
    assert caught.value.status == 429
    assert not back.exists() or digests_of(back) == {}
    assert len(server.paths()) <= 10


def test_docker_hub_abuse_limit_answers_without_json(server: ScriptedServer, shelf: Shelf, back: Path) -> None:
    """`Too Many Requests (HAP429).` in plain text: https://github.com/docker/hub-feedback/issues/1907."""
    body = b"Too Many Requests (HAP429).\n"
    server.on("GET|HEAD", r"/v2/.*/manifests/.*", status=429, headers={"Content-Type": "text/plain"}, body=body)
    shelf.serve(server)
    with pytest.raises(RegistryRefused, match="429") as caught:
        pull(name(server), back)
    assert "\n" not in str(caught.value)


def test_docker_hub_is_reached_at_its_other_name() -> None:
    """docker.io is a name of references only: https://docs.docker.com/reference/api/registry/auth/ has the API at
    registry-1.docker.io, and images without a user are in library/."""
    with connect(registry_ref("docker://alpine"), settings()) as found:
        assert [(one.host, one.name) for one in found] == [("registry-1.docker.io", "library/alpine")]


@pytest.mark.parametrize("status", [302, 303, 307, 308])
def test_a_redirect_of_a_blob_to_a_cdn_carries_no_credentials(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, back: Path, image: Path, status: int
) -> None:
    """S3 says "Only one auth mechanism allowed" and Azure refuses as well:
    https://github.com/renovatebot/renovate/issues/3877, https://github.com/open-policy-agent/opa/pull/6728 (ECR, 307),
    https://github.com/Azure/acr/issues/217."""

    def signed(request: Request) -> Answer:
        assert request.match is not None
        place = f"{other.url}/bucket/{request.match[1]}?X-Amz-Signature=verysecret&X-Amz-Expires=1200"
        return Answer(status, {"Location": place, "Set-Cookie": "session=1; Path=/"})

    def bucket(request: Request) -> Answer:
        if "authorization" in request.headers or "cookie" in request.headers:
            return Answer(400, {"Content-Type": "application/xml"}, b"<Error>Only one auth mechanism allowed</Error>")
        if "X-Amz-Signature=verysecret" not in request.path:
            return Answer(403)
        assert request.match is not None
        return Answer(200, {"Content-Type": "binary/octet-stream"}, shelf.blobs[request.match[1]])

    server.on("GET", r"/v2/team/app/blobs/(sha256:\w+)", signed)
    guarded(server, shelf, 'Basic realm="x"', lambda request: request.headers.get("authorization") != BASIC)
    other.on("GET", r"/bucket/(sha256:\w+)", bucket)
    pull(name(server), back, settings(login=LOGIN))
    assert digests_of(back) == digests_of(image)
    assert len(other.requests) == 3


def test_a_cdn_that_refuses_is_told_of_without_the_signature(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, back: Path
) -> None:
    """A signed URL is a credential (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html)."""
    place = f"{other.url}/bucket/x?X-Amz-Signature=verysecret"
    server.on("GET", r"/v2/team/app/blobs/.*", status=307, headers={"Location": place})
    shelf.serve(server)
    other.on(".*", ".*", status=403, headers={"Content-Type": "application/xml"}, body=b"<Error>expired</Error>")
    with pytest.raises(OciError) as caught:
        pull(name(server), back)
    assert "verysecret" not in str(caught.value) + repr(caught.value)


def test_insufficient_scope_again_and_again_ends(server: ScriptedServer, shelf: Shelf, back: Path) -> None:
    """Docker Hub answered so to the very scope that it asked for:
    https://github.com/distribution/distribution/issues/1676."""
    challenge = (
        f'Bearer realm="{server.url}/token",service="s",scope="repository:team/app:pull",error="insufficient_scope"'
    )
    server.on(".*", r"/v2/.*", refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge))
    server.on("GET", r"/token", headers=JSON, body=b'{"token":"tok"}')
    with pytest.raises(AuthenticationFailed):
        pull(name(server), back)
    assert len(server.requests) < 12


# GitHub's registry


def test_ghcr_gives_anybody_a_token_for_what_is_public(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """https://github.com/openai/tunnel-client/issues/75: 401, a token from the same host, then 200."""
    server.on("GET", r"/token", headers=JSON, body=b'{"token":"tok"}')
    bearer(server, shelf, f"{server.url}/token", scope="repository:team/app:pull")
    pull(name(server), back)
    assert digests_of(back) == digests_of(image)
    asked = [request for request in server.requests if request.path.startswith("/token")]
    assert len(asked) == 1
    assert "authorization" not in asked[0].headers
    assert parse_qs(urlsplit(asked[0].path).query)["scope"] == ["repository:team/app:pull"]


def test_ghcr_refuses_the_token_itself_for_what_is_private(server: ScriptedServer, shelf: Shelf, back: Path) -> None:
    """https://github.com/openai/tunnel-client/issues/75: the token service answers 401, with the code DENIED or
    UNAUTHORIZED."""
    server.on("GET", r"/token", refused(401, "UNAUTHORIZED", "authentication required"))
    bearer(server, shelf, f"{server.url}/token")
    with pytest.raises(AuthenticationFailed, match="login") as caught:
        pull(name(server), back)
    assert "\n" not in str(caught.value)
    assert len(server.requests) < 8


def test_ghcr_says_denied_where_others_say_not_found(server: ScriptedServer, shelf: Shelf, back: Path) -> None:
    """403 `denied` for a package that isn't there, or isn't public: https://github.com/ricoberger/echoserver/issues/13,
    https://github.com/oblien/openship/issues/255."""
    server.on("GET|HEAD", r"/v2/.*/manifests/.*", refused(403, "DENIED", "denied"))
    shelf.serve(server)
    with pytest.raises((AuthenticationFailed, RegistryRefused), match="denied") as caught:
        pull(name(server), back)
    assert caught.value.status == 403
    assert not isinstance(caught.value, NotFound)
    assert len(server.requests) < 5  # asking again changes nothing


def test_ghcr_sends_the_question_for_referrers_to_its_web_pages(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf
) -> None:
    """303 to github.com/-/v2/packages/…, which has no such page: https://github.com/artifacthub/hub/issues/4785; the
    fallback tag has them (distribution-spec v1.1.1 spec.md#unavailable-referrers-api)."""
    subject = shelf.manifests["v1"]
    digest = next(name for name, held in shelf.manifests.items() if held == subject and name != "v1")
    listed = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "a" * 64, "size": 7}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [listed]}
    shelf.manifests[digest.replace(":", "-")] = (index["mediaType"], json.dumps(index).encode())  # type: ignore[assignment]
    place = f"{other.url}/-/v2/packages/container/package/team%2Fapp%2Freferrers%2Fsha256"
    server.on("GET", r"/v2/.*/referrers/.*", status=303, headers={"Location": place})
    shelf.serve(server)
    other.on(".*", ".*", status=404, headers={"Content-Type": "text/html"}, body=b"<html>not found</html>")
    with connect(registry_ref(name(server)), settings()) as found:
        assert [str(one.digest) for one in found[0].referrers(Digest.parse(digest))] == ["sha256:" + "a" * 64]


# Google


def test_artifact_registry_redirects_blobs_to_a_relative_location(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """302 to /artifacts-downloads/…, no host in it: https://github.com/sonatype/nexus-public/issues/1061,
    https://github.com/ahmetb/serverless-registry-proxy/issues/8."""

    def moved(request: Request) -> Answer:
        assert request.match is not None
        return Answer(302, {"Location": f"/artifacts-downloads/namespaces/n/downloads/{request.match[1]}"})

    def download(request: Request) -> Answer:
        assert request.match is not None
        return Answer(200, {"Content-Type": "application/octet-stream"}, shelf.blobs[request.match[1]])

    server.on("GET", r"/v2/team/app/blobs/(sha256:\w+)", moved)
    server.on("GET", r"/artifacts-downloads/.*/(sha256:\w+)", download)
    shelf.serve(server)
    pull(name(server), back)
    assert digests_of(back) == digests_of(image)


def test_gcr_takes_a_json_key_as_password(server: ScriptedServer, shelf: Shelf, back: Path) -> None:
    """User _json_key, and a password of many lines: https://github.com/ivanilves/lstags/issues/174; `_token` with an
    access token: https://github.com/containerd/containerd/issues/4379."""
    key = json.dumps({"type": "service_account", "private_key": "-----BEGIN\nabc:def\n-----END\n"}, indent=2)
    server.on("GET", r"/v2/token", headers=JSON, body=b'{"token":"tok","expires_in":3600}')
    bearer(server, shelf, f"{server.url}/v2/token", service="gcr.io")
    pull(name(server), back, settings(login=("_json_key", key)))
    asked = next(request for request in server.requests if request.path.startswith("/v2/token"))
    sent = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
    assert sent == f"_json_key:{key}"


def test_gcr_names_no_scope_for_its_catalog(server: ScriptedServer) -> None:
    """The client has to know that it is registry:catalog:*: https://github.com/davedoesdev/dxf/issues/28."""
    server.on("GET", r"/v2/token", headers=JSON, body=b'{"token":"tok"}')
    challenge = f'Bearer realm="{server.url}/v2/token",service="gcr.io"'
    server.on(
        "GET",
        r"/v2/_catalog",
        lambda request: (
            Answer(200, JSON, b'{"repositories":["a","b/c"]}')
            if request.headers.get("authorization") == "Bearer tok"
            else refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
        ),
    )
    with Client(server.host, settings()) as client:
        assert list(catalog(client)) == ["a", "b/c"]
    asked = next(request.path for request in server.requests if request.path.startswith("/v2/token"))
    assert "registry%3Acatalog%3A%2A" in asked or "registry:catalog:*" in asked


# Amazon


def test_ecr_knows_basic_only_and_long_passwords(server: ScriptedServer, shelf: Shelf, back: Path, image: Path) -> None:
    """User AWS and a token as password:
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html; the token is some 2 KB long."""
    password = "eyJ" + "x" * 2500
    expected = "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()
    challenge = 'Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"'
    guarded(server, shelf, challenge, lambda request: request.headers.get("authorization") != expected)
    pull(name(server), back, settings(login=("AWS", password)))
    assert digests_of(back) == digests_of(image)
    assert sum("authorization" not in request.headers for request in server.requests) <= 2


def test_ecr_sends_no_docker_content_digest(server: ScriptedServer, shelf: Shelf, back: Path, image: Path) -> None:
    """https://github.com/distribution/distribution/issues/3792, https://github.com/aws/containers-roadmap/issues/1931;
    neither does registry.access.redhat.com: https://github.com/containerd/containerd/issues/3238."""
    shelf.digest_header = False
    shelf.serve(server)
    pull(name(server), back)
    assert digests_of(back) == digests_of(image)
    with connect(registry_ref(name(server)), settings()) as found:
        head = found[0].head_manifest("v1")
    assert head is not None
    assert str(head.digest) == digests_of(image)["v1"]


# Microsoft


def test_acr_takes_a_refresh_token_by_post_and_answers_with_access_token_alone(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """POST /oauth2/token with grant_type=refresh_token: https://azure.github.io/acr/AAD-OAuth.html. The user of
    `docker login` is 00000000-0000-0000-0000-000000000000. No expires_in, no token in the answer."""
    server.on("POST", r"/oauth2/token", headers=JSON, body=b'{"access_token":"tok"}')
    bearer(server, shelf, f"{server.url}/oauth2/token", service="x.azurecr.io")
    user = ("00000000-0000-0000-0000-000000000000", "")
    pull(name(server), back, settings(login=user, refresh="refresh-me"))
    assert digests_of(back) == digests_of(image)
    asked = [request for request in server.requests if request.path.startswith("/oauth2/token")]
    assert {request.method for request in asked} == {"POST"}
    form = asked[0].body.decode()
    assert "grant_type=refresh_token" in form
    assert "refresh_token=refresh-me" in form
    assert "service=x.azurecr.io" in form
    assert "refresh-me" not in "".join(request.path for request in server.requests)
    assert all("refresh-me" not in request.headers.get("authorization", "") for request in server.requests)
