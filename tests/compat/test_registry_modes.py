"""What a registry may be set to beside letting people in: tokens, logins, read-only, no deletes, mirrors, blocks."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import digests_of, files_of
from tests.support.images import LayoutMaker, tar_layer
from tests.support.peers import need
from tests.support.places import PASSWORD, USER, Place, place
from tests.support.registries import docker_registry
from tests.support.tls import Authority
from tests.support.token_service import TokenService

REFRESH = "a-refresh-token-that-is-secret"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    maker.tag("v1", maker.image([tar_layer({"etc/": None, "etc/motd": b"hello\n"}), tar_layer({"more": b"x" * 5000})]))
    return maker.finish()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Place, TokenService]]:
    """A registry that takes tokens only."""
    need("docker-registry")
    with place("token", tmp_path) as made:
        assert made.tokens is not None
        made.tokens.refresh_tokens[REFRESH] = USER
        yield made, made.tokens


Guarded = tuple[Place, TokenService]


def test_anybody_pulls_what_is_public_without_a_login(guarded: Guarded, image: Path, tmp_path: Path) -> None:
    there, tokens = guarded
    there.ocikit("copy", f"oci:{image}:v1", there.name("public/app"))
    Path(there.env["REGISTRY_AUTH_FILE"]).write_text("{}")
    before = len(tokens.requests)
    there.ocikit("copy", there.name("public/app"), f"oci:{tmp_path}/back:v1")
    assert {one.account for one in tokens.requests[before:]} == {None}
    assert digests_of(tmp_path / "back") == digests_of(image)
    line = there.fails("copy", f"oci:{image}:v1", there.name("public/app", "v2"))
    assert there.host in line


def test_a_token_is_asked_for_once_and_used_for_all_requests(guarded: Guarded, image: Path, tmp_path: Path) -> None:
    there, tokens = guarded
    there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
    assert len(tokens.requests) == 1
    assert {frozenset(scope.rpartition(":")[2].split(",")) for one in tokens.requests for scope in one.scopes} == {
        frozenset({"pull", "push"})
    }
    there.ocikit("copy", there.name("app"), f"oci:{tmp_path}/back:v1")
    assert len(tokens.requests) == 2
    assert tokens.requests[-1].scopes == ("repository:app:pull",)


def test_a_mount_asks_for_both_repositories(guarded: Guarded, image: Path) -> None:
    there, tokens = guarded
    there.ocikit("copy", f"oci:{image}:v1", there.name("one/app"))
    asked = there.registry.mark()
    there.ocikit("copy", there.name("one/app"), there.name("two/app"))
    widest = max((set(one.scopes) for one in tokens.requests), key=len)
    assert {scope.rpartition(":")[0] for scope in widest} == {"repository:one/app", "repository:two/app"}
    assert there.registry.count("PUT", "/blobs/uploads/", since=asked) == 0


def test_a_token_that_the_registry_calls_expired_is_renewed(guarded: Guarded, image: Path, tmp_path: Path) -> None:
    there, tokens = guarded
    there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
    tokens.stale = 1
    before = len(tokens.requests)
    there.ocikit("copy", there.name("app"), f"oci:{tmp_path}/back:v1")
    assert len(tokens.requests) - before == 2


def test_tokens_that_are_never_good_end_in_one_error(guarded: Guarded, image: Path) -> None:
    there, tokens = guarded
    tokens.stale = 1000
    line = there.fails("copy", f"oci:{image}:v1", there.name("app"))
    assert there.host in line
    assert len(tokens.requests) < 10


def test_a_refresh_token_goes_by_post_and_only_there(guarded: Guarded, image: Path) -> None:
    there, tokens = guarded
    # https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md: `identitytoken`, as `docker login`
    # to ACR leaves it; the user is the one of no name.
    auth = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
    entry = {"auth": auth, "identitytoken": REFRESH}
    Path(there.env["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": {there.host: entry}}))
    there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
    assert {one.method for one in tokens.requests} == {"POST"}
    assert {one.form["grant_type"] for one in tokens.requests} == {"refresh_token"}
    assert {one.form["refresh_token"] for one in tokens.requests} == {REFRESH}
    assert all(one.authorization is None for one in tokens.requests)
    assert REFRESH not in there.registry.log.read_text()


def test_a_refresh_token_that_is_not_known_is_one_error_without_the_token(guarded: Guarded, image: Path) -> None:
    there, _ = guarded
    entry = {"identitytoken": "wrong-and-secret"}
    Path(there.env["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": {there.host: entry}}))
    done = there.run("copy", f"oci:{image}:v1", there.name("app"), "--debug")
    assert done.status == 1
    assert "wrong-and-secret" not in done.err + done.out


def test_a_wrong_password_is_one_error_without_the_password(guarded: Guarded, image: Path) -> None:
    there, _ = guarded
    there.log_in(password="not-the-one")
    done = there.run("copy", f"oci:{image}:v1", there.name("app"), "--debug")
    assert done.status == 1
    secret = base64.b64encode(f"{USER}:not-the-one".encode()).decode()
    assert "not-the-one" not in done.err + done.out
    assert secret not in done.err + done.out


@pytest.mark.parametrize("mode", ["htpasswd", "token"])
def test_login_checks_before_it_stores_and_skopeo_reads_what_it_stored(mode: str, tmp_path: Path, image: Path) -> None:
    need("skopeo")
    with place(mode, tmp_path) as there:
        auth = Path(there.env["REGISTRY_AUTH_FILE"])
        auth.write_text("{}")
        wrong = _login(there, "not-the-one")
        assert wrong[0] == 1
        assert "not-the-one" not in wrong[1]
        assert json.loads(auth.read_text()) == {}
        assert _login(there, PASSWORD)[0] == 0
        assert stat.S_IMODE(auth.stat().st_mode) == 0o600
        there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
        assert there.skopeo_json("inspect", there.name("app"))["Digest"] == digests_of(image)["v1"]
        there.ocikit("logout", there.host)
        assert there.host not in json.loads(auth.read_text()).get("auths", {})
        there.fails("inspect", there.name("app"))


def _login(there: Place, password: str) -> tuple[int, str]:
    done = there.run("login", "-u", USER, "--password-stdin", there.host, stdin=password)
    return done.status, done.out + done.err


def test_a_login_by_skopeo_is_ours_too(tmp_path: Path, image: Path) -> None:
    with place("htpasswd", tmp_path) as there:
        Path(there.env["REGISTRY_AUTH_FILE"]).write_text("{}")
        there.skopeo("login", "-u", USER, "-p", PASSWORD, there.host)
        there.ocikit("copy", f"oci:{image}:v1", there.name("app"))


def test_a_read_only_registry_gives_and_refuses_in_one_line(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path) as writable:
        Place(writable.host, tmp_path).ocikit("copy", f"oci:{image}:v1", f"docker://{writable.host}/app:v1")
        with docker_registry(tmp_path, read_only=True, storage=writable.storage) as registry:
            there = Place(registry.host, tmp_path, registry=registry)
            stored = registry.stored()
            maker = LayoutMaker(tmp_path / "other")
            maker.tag("v1", maker.image([tar_layer({"other": b"content\n"})]))
            line = there.fails("copy", f"oci:{maker.finish()}:v1", there.name("app", "v2"))
            assert there.host in line
            assert registry.stored() == stored
            there.ocikit("copy", there.name("app"), f"oci:{tmp_path}/back:v1")
            there.fails("delete", there.name("app"))


def test_a_registry_without_deletes_says_so_in_one_line(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path, delete=False) as registry:
        there = Place(registry.host, tmp_path, registry=registry)
        there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
        line = there.fails("delete", there.name("app"))
        assert there.host in line
        assert there.ocikit("tags", f"docker://{there.host}/app").split() == ["v1"]


def test_many_tags_and_repositories_are_all_listed_though_pages_are_small(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path, catalog_max=3) as registry:
        there = Place(registry.host, tmp_path, registry=registry)
        names = sorted(f"team/app{number}" for number in range(8))
        for name in names:
            there.skopeo("copy", f"oci:{image}:v1", there.name(name))
        assert there.ocikit("tags", f"docker://{there.host}").split() == names


def test_a_pull_through_mirror_serves_what_its_original_has(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path, name="original") as original:
        first = Place(original.host, tmp_path, registry=original)
        first.ocikit("copy", f"oci:{image}:v1", first.name("team/app"))
        with docker_registry(tmp_path, name="mirror", proxy=original.url) as mirror:
            there = Place(mirror.host, tmp_path, registry=mirror)
            there.ocikit("copy", there.name("team/app"), f"oci:{tmp_path}/back:v1")
            assert digests_of(tmp_path / "back") == digests_of(image)


def test_registries_conf_sends_a_name_to_its_mirror_and_to_its_location(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path, name="one") as one, docker_registry(tmp_path, name="two") as two:
        near = Place(one.host, tmp_path, registry=one)
        near.ocikit("copy", f"oci:{image}:v1", f"docker://{one.host}/mirrored/app:v1")
        Path(near.env["CONTAINERS_REGISTRIES_CONF"]).write_text(
            "[[registry]]\n"
            'prefix = "registry.example/team"\n'
            f'location = "{two.host}/real"\n'
            "[[registry.mirror]]\n"
            f'location = "{one.host}/mirrored"\n'
            "[[registry]]\n"
            'prefix = "blocked.example"\n'
            'location = "blocked.example"\n'
            "blocked = true\n"
        )
        name = "docker://registry.example/team/app:v1"
        near.ocikit("copy", name, f"oci:{tmp_path}/back:v1")
        assert digests_of(tmp_path / "back") == digests_of(image)
        assert two.count("GET", "/manifests/") == 0
        # What the mirror has not comes from the location. A push follows neither, as with skopeo: both are for pulling.
        near.ocikit("copy", f"oci:{image}:v1", f"docker://{two.host}/real/only:v1")
        near.ocikit("copy", "docker://registry.example/team/only:v1", f"oci:{tmp_path}/only:v1")
        assert digests_of(tmp_path / "only") == digests_of(image)
        line = near.fails("inspect", "docker://blocked.example/app:v1")
        assert "blocked" in line


def test_a_mirror_that_is_down_is_passed_over(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path) as registry:
        near = Place(registry.host, tmp_path, registry=registry)
        near.ocikit("copy", f"oci:{image}:v1", near.name("app"))
        Path(near.env["CONTAINERS_REGISTRIES_CONF"]).write_text(
            "[[registry]]\n"
            'prefix = "registry.example"\n'
            f'location = "{registry.host}"\n'
            "[[registry.mirror]]\n"
            'location = "127.0.0.1:1"\n'
        )
        near.ocikit("copy", "docker://registry.example/app:v1", f"oci:{tmp_path}/back:v1")
        assert digests_of(tmp_path / "back") == digests_of(image)


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path, image: Path) -> None:
    with place("tls", tmp_path) as there:
        there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
        other = Authority(tmp_path / "other-ca")
        line = there.fails("inspect", there.name("app"), env={"SSL_CERT_FILE": str(other.file)})
        assert there.host in line
        there.options = ["--tls-verify=false"]
        there.ocikit("inspect", there.name("app"), env={"SSL_CERT_FILE": str(other.file)})


def test_a_server_that_wants_a_client_certificate_is_told_of_in_one_line(tmp_path: Path) -> None:
    with place("client-certificate", tmp_path) as there:
        assert there.cert_dir is not None
        (there.cert_dir / "client.cert").unlink()
        (there.cert_dir / "client.key").unlink()
        assert there.host in there.fails("inspect", there.name("app"))


def test_a_failed_pull_leaves_the_layout_as_it_was(tmp_path: Path, image: Path) -> None:
    with docker_registry(tmp_path) as registry:
        there = Place(registry.host, tmp_path, registry=registry)
        there.ocikit("copy", f"oci:{image}:v1", there.name("app"))
        there.ocikit("copy", f"oci:{image}:v1", f"oci:{tmp_path}/back:old")
        before = files_of(tmp_path / "back")
        for blob in registry.storage.glob("docker/registry/v2/blobs/sha256/*/*/data"):
            if blob.stat().st_size > 100 and not blob.read_bytes().startswith(b"{"):
                blob.write_bytes(os.urandom(blob.stat().st_size))  # the disk of the registry has gone bad
        there.ocikit("copy", there.name("app"), f"oci:{tmp_path}/back:new")  # all blobs are here already
        fresh = there.fails("copy", there.name("app"), f"oci:{tmp_path}/fresh:new")
        assert "digest" in fresh
        assert not (tmp_path / "fresh").exists()
        assert set(before) <= set(files_of(tmp_path / "back"))
