"""What Quay, GitLab, Harbor, Artifactory, Nexus and others do that docker-registry can't, replayed: pulls.

Each test names where that is told. The server is `ScriptedServer` on loopback, the rest of a registry is `Shelf`. A
second server stands for another host: another port is another origin, and gets no credentials.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from oci.errors import AuthenticationFailed, RegistryError
from oci.registry.connect import connect
from oci.spec.digest import Digest
from tests.support.commands import digests_of
from tests.support.library import Naps, pull, registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused
from tests.support.vendors import BASIC, LOGIN, bearer, guarded, name, tags, tags_of

# Quay


def test_quay_pages_tags_with_a_token_of_its_own(server: ScriptedServer) -> None:
    """A relative Link with next_page, no `last`: https://github.com/deitch/docker_registry2/issues/56."""
    second = "/v2/team/app/tags/list?next_page=gAAAAABg1i7jwRsgyD%3D%3D&n=50"
    server.on("GET", r"/v2/team/app/tags/list\?.*next_page=gAAAAABg1i7jwRsgyD%3D%3D.*", headers=JSON, body=tags("c"))
    headers = {**JSON, "Link": f'<{second}>; rel="next"'}
    server.on("GET", r"/v2/team/app/tags/list", headers=headers, body=tags("a", "b"))
    assert tags_of(server) == ["a", "b", "c"]
    assert server.paths()[-1] == second


def test_quay_once_gave_absolute_links(server: ScriptedServer) -> None:
    """https://github.com/TritonDataCenter/node-docker-registry-client/issues/12."""
    link = f'<{server.url}/v2/team/app/tags/list?next_page=x&n=50>; rel="next"'
    server.on("GET", r"/v2/team/app/tags/list\?next_page=x&n=50", headers=JSON, body=tags("b"))
    server.on("GET", r"/v2/team/app/tags/list", headers={**JSON, "Link": link}, body=tags("a"))
    assert tags_of(server) == ["a", "b"]


def test_quay_answers_502_in_html_now_and_then(server: ScriptedServer, shelf: Shelf, back: Path, image: Path) -> None:
    """https://github.com/containers/common/issues/2299, https://github.com/oauth2-proxy/oauth2-proxy/issues/3395."""
    html = {"Content-Type": "text/html"}
    page = b"<html><head><title>502 Bad Gateway</title></head></html>"
    server.on("GET", r"/v2/team/app/blobs/.*", status=502, headers=html, body=page, times=3)
    server.on("GET", r"/v2/team/app/manifests/.*", status=504, headers=html, body=page, times=1)
    shelf.serve(server)
    naps = Naps()
    pull(name(server), back, settings(sleep=naps))
    assert digests_of(back) == digests_of(image)
    assert len(naps) >= 4


def test_a_token_that_runs_out_in_the_middle_is_renewed(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """401 with error="invalid_token" (RFC 6750 3.1): GitLab's tokens live five minutes
    (https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/), so does one of
    https://github.com/moby/moby/issues/33558."""
    tokens = iter(f"tok{number}" for number in range(100))
    current = [""]
    uses = [0]

    def token(request: Request) -> Answer:
        current[0], uses[0] = next(tokens), 0
        return Answer(200, JSON, json.dumps({"token": current[0], "expires_in": 300}).encode())

    def guard(request: Request) -> bool:
        uses[0] += 1
        return request.headers.get("authorization") != f"Bearer {current[0]}" or uses[0] > 2

    server.on("GET", r"/jwt/auth", token)
    challenge = f'Bearer realm="{server.url}/jwt/auth",service="container_registry",error="invalid_token"'
    guarded(server, shelf, challenge, guard)
    pull(name(server), back, settings(login=LOGIN))
    assert digests_of(back) == digests_of(image)


# GitLab


def test_gitlab_has_its_token_service_on_another_host(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """The realm is https://gitlab.example.com/jwt/auth of registry.gitlab.example.com:
    https://gitlab.com/gitlab-org/gitlab-foss/-/issues/26265 has both set to distinct names."""
    other.on("GET", r"/jwt/auth", headers=JSON, body=b'{"token":"tok"}')
    bearer(server, shelf, f"{other.url}/jwt/auth", service="container_registry")
    pull(name(server), back, settings(login=LOGIN))
    assert digests_of(back) == digests_of(image)
    assert {request.headers.get("authorization") for request in other.requests} == {BASIC}
    assert BASIC not in {request.headers.get("authorization") for request in server.requests}
    assert "service=container_registry" in other.requests[0].path


def test_gitlab_refuses_an_anonymous_token_with_403(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, back: Path
) -> None:
    """https://gitlab.com/gitlab-org/gitlab-ce/merge_requests/4363: 403 to who may do nothing."""
    other.on("GET", r"/jwt/auth", refused(403, "DENIED", "access forbidden"))
    bearer(server, shelf, f"{other.url}/jwt/auth", service="container_registry")
    with pytest.raises(AuthenticationFailed):
        pull(name(server), back)
    assert len(other.requests) <= 2


@pytest.mark.parametrize("realm", ["/jwt/auth", "null://host/v2/token", "", "https:///", "file:///etc/passwd"])
def test_a_realm_that_is_no_url_is_one_error(server: ScriptedServer, shelf: Shelf, back: Path, realm: str) -> None:
    """A GitLab whose realm lost its host: https://gitlab.com/gitlab-org/gitlab-foss/-/issues/26265; Nexus 3.77 with
    null://: https://github.com/sonatype/nexus-public/issues/580."""
    bearer(server, shelf, realm)
    with pytest.raises(RegistryError) as caught:
        pull(name(server), back, settings(login=LOGIN))
    assert LOGIN[1] not in str(caught.value)
    assert len(server.requests) < 8


# Harbor


def test_harbor_gets_no_cookie_back(server: ScriptedServer, shelf: Shelf, back: Path, image: Path) -> None:
    """Who shows its session's cookie has to show a CSRF token too: https://github.com/goharbor/harbor/issues/12676,
    https://github.com/dotnet/sdk/pull/37221."""
    cookies = [("Set-Cookie", "sid=abc; Path=/; HttpOnly"), ("Set-Cookie", "_gorilla_csrf=x; Path=/"), *JSON.items()]
    server.on("GET", r"/v2/", headers=cookies, body=b"{}")
    moved = [("Set-Cookie", "sid=abc; Path=/"), ("Location", "/v2/team/app/manifests/v1?again=1")]
    server.on("GET", r"/v2/team/app/manifests/v1", status=307, headers=moved, times=1)
    shelf.serve(server)
    pull(name(server), back)
    assert all("cookie" not in request.headers for request in server.requests)


def test_harbor_robots_have_dollar_and_plus_in_their_names(server: ScriptedServer, shelf: Shelf, back: Path) -> None:
    """`robot$project+name`: https://github.com/goharbor/harbor/issues/13116."""
    robot = ("robot$project+dev-cluster", "pa$$:word")
    server.on("GET", r"/service/token", headers=JSON, body=b'{"token":"tok"}')
    bearer(server, shelf, f"{server.url}/service/token", service="harbor-registry")
    pull(name(server), back, settings(login=robot))
    asked = next(request for request in server.requests if request.path.startswith("/service/token"))
    sent = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
    assert sent == "robot$project+dev-cluster:pa$$:word"


def test_harbor_goes_back_to_basic_when_a_token_is_too_narrow(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """https://github.com/goharbor/harbor/issues/18856: a token in hand, and the challenge is Basic."""

    def answer(request: Request) -> Answer:
        said = request.headers.get("authorization", "")
        if said == BASIC:
            return shelf.answer(request)
        challenge = f'Bearer realm="{server.url}/service/token",service="harbor-registry"'
        if said.startswith("Bearer"):
            challenge = 'Basic realm="harbor"'
        return refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    server.on("GET", r"/service/token", headers=JSON, body=b'{"token":"narrow"}')
    server.on(".*", r"/v2/.*", answer)
    pull(name(server), back, settings(login=LOGIN))
    assert digests_of(back) == digests_of(image)


# Artifactory, Nexus


def test_artifactory_lists_tags_to_who_accepts_json(server: ScriptedServer) -> None:
    """406 when Accept names types of manifests only: https://github.com/renovatebot/renovate/issues/3078,
    https://github.com/deitch/docker_registry2/pull/40."""

    def answer(request: Request) -> Answer:
        accepts = request.headers.get("accept", "*/*")
        return Answer(200, JSON, tags("a")) if "application/json" in accepts or "*/*" in accepts else Answer(406)

    server.on("GET", r"/v2/team/app/tags/list", answer)
    assert tags_of(server) == ["a"]


def test_artifactory_repositories_have_slashes_of_their_own(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """HOST/REPOSITORY-KEY/library/node, two levels before the name:
    https://github.com/renovatebot/renovate/pull/17925."""
    shelf.serve(server)
    pull(name(server, "docker-virtual/library/sub/node"), back)
    assert digests_of(back) == digests_of(image)
    assert all(path.startswith("/v2/docker-virtual/library/sub/node/") for path in server.paths() if path != "/v2/")


def test_artifactory_once_called_manifests_application_json(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """`application/json` in place of the manifest's type: https://github.com/moby/moby/issues/19400."""
    _, raw = shelf.manifests["v1"]
    server.on("GET|HEAD", r"/v2/team/app/manifests/v1", headers=JSON, body=raw)
    shelf.serve(server)
    pull(name(server), back)
    assert digests_of(back) == digests_of(image)


def test_nexus_writes_basic_in_capitals(server: ScriptedServer, shelf: Shelf, back: Path, image: Path) -> None:
    """`BASIC realm="Sonatype Nexus Repository Manager"`: https://github.com/devcontainers/cli/pull/884."""
    challenge = 'BASIC realm="Sonatype Nexus Repository Manager"'
    guarded(server, shelf, challenge, lambda request: request.headers.get("authorization") != BASIC)
    pull(name(server), back, settings(login=LOGIN))
    assert digests_of(back) == digests_of(image)


# distribution, and everybody


def test_no_more_entries_are_asked_for_than_distribution_gives(server: ScriptedServer) -> None:
    """n over 1000 is 400 PAGINATION_NUMBER_INVALID since 2.8.2 (catalog) and 3.1 (tags):
    https://github.com/Joxit/docker-registry-ui/issues/306,
    https://github.com/distribution/distribution/issues/4844."""

    def answer(request: Request) -> Answer:
        asked = parse_qs(urlsplit(request.path).query).get("n", ["1"])[0]
        if int(asked) > 1000:
            return refused(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        return Answer(200, JSON, tags("a"))

    server.on("GET", r"/v2/team/app/tags/list", answer)
    assert tags_of(server) == ["a"]


def test_a_repository_without_tags_may_say_null(server: ScriptedServer) -> None:
    """distribution writes a nil slice so: registry/handlers/tags.go of distribution 2.8, `Tags []string`."""
    server.on("GET", r"/v2/team/app/tags/list", headers=JSON, body=b'{"name":"team/app","tags":null}')
    assert tags_of(server) == []


def test_a_registry_of_today_without_referrers_says_404_in_plain_text(server: ScriptedServer, shelf: Shelf) -> None:
    """https://github.com/google/go-containerregistry/issues/1647: no API, no fallback tag, no referrers."""
    shelf.serve(server)
    with connect(registry_ref(name(server)), settings()) as found:
        assert list(found[0].referrers(Digest.parse("sha256:" + "b" * 64))) == []


def test_the_answer_of_a_head_without_length_is_no_stumbling_block(
    server: ScriptedServer, shelf: Shelf, image: Path
) -> None:
    """Harbor before 2.1.3 left Content-Type and Content-Length out: https://github.com/goharbor/harbor/pull/13793."""
    server.on("HEAD", r"/v2/team/app/manifests/v1", raw=b"HTTP/1.1 200 OK\r\n\r\n", close=True)
    shelf.serve(server)
    with connect(registry_ref(name(server)), settings()) as found:
        head = found[0].head_manifest("v1")
    assert head is not None
    assert str(head.digest) == digests_of(image)["v1"]


def test_several_challenges_with_odd_spacing_are_understood(
    server: ScriptedServer, shelf: Shelf, back: Path, image: Path
) -> None:
    """RFC 9110 11.6.1: a list of challenges, parameters with blanks round the sign, escapes in quoted strings."""
    server.on("GET", r"/token", headers=JSON, body=b'{"token":"tok"}')
    challenge = f'Negotiate, Digest realm="a, b=\\"c\\"", nonce=x , bearer  Realm = "{server.url}/token" , SERVICE=reg'
    guarded(server, shelf, challenge, lambda request: request.headers.get("authorization") != "Bearer tok")
    pull(name(server), back)
    assert digests_of(back) == digests_of(image)
