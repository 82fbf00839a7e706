"""Credentials are checked, kept and forgotten: in files that other programs share, and by helpers."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from oci.auth.credential import Credentials
from oci.auth.credential_files import HUB_KEY, Place
from oci.auth.credential_helpers import Helpers
from oci.auth.credentials import CredentialFiles
from oci.errors import AuthenticationFailed, ConfigurationError, ConnectionFailed, RegistryError
from oci.registry.login import check, forget, forget_all, keep
from oci.registry.settings import Settings
from tests.support.authorizing import ALICE, BASIC
from tests.support.credential_programs import KEEPER, Programs
from tests.support.scripted import Answer, Request, ScriptedServer

NONE = Helpers()
ENTRY = {"auth": BASIC.removeprefix("Basic ")}


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    made = Programs(tmp_path / "bin")
    made.add("keeper", KEEPER)
    return made


def at(path: Path, value: Any = None) -> Place:
    if value is not None:
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return Place(str(path), named=True)


def load(place: Place) -> Any:
    return json.loads(Path(place.path).read_text())


# Checking


def quick(**more: Any) -> Settings:
    return Settings(connect_timeout=5.0, stall_timeout=2.0, sleep=lambda seconds: None, **more)


def test_right_and_wrong_credentials_for_basic(server: ScriptedServer) -> None:
    def answer(request: Request) -> Answer:
        right = request.headers.get("authorization") == BASIC
        return Answer(200 if right else 401, {"WWW-Authenticate": 'Basic realm="x"'})

    server.on("GET", "/v2/", answer)
    check(server.host, ALICE, quick())
    with pytest.raises(AuthenticationFailed, match="login to ") as caught:
        check(server.host, ALICE.replace(password="wrong-one"), quick())
    assert "wrong-one" not in str(caught.value)
    assert str(caught.value).endswith("answers 401; the credentials are not right")  # and no advice to log in


def test_credentials_are_checked_by_the_token_service(server: ScriptedServer) -> None:
    server.on(
        "GET", "/token", lambda r: Answer(200 if r.headers["authorization"] == BASIC else 401, (), b'{"token":"t"}')
    )
    asked = {"WWW-Authenticate": f'Bearer realm="{server.url}/token",service="s"'}
    server.on("GET", "/v2/", lambda r: Answer(200 if r.headers.get("authorization") == "Bearer t" else 401, asked))
    check(server.host, ALICE, quick())
    with pytest.raises(AuthenticationFailed):
        check(server.host, ALICE.replace(password="wrong-one"), quick())


def test_a_registry_that_lets_anybody_in_is_shown_the_credentials(server: ScriptedServer) -> None:
    """Nexus with anonymous pulls answers 200 to who has no credentials, and 401 to who has wrong ones."""
    server.on("GET", "/v2/", lambda r: Answer(200 if r.headers.get("authorization") in (None, BASIC) else 401))
    check(server.host, ALICE, quick())
    with pytest.raises(AuthenticationFailed):
        check(server.host, ALICE.replace(password="wrong-one"), quick())


def test_what_is_no_registry_is_an_error(server: ScriptedServer) -> None:
    with pytest.raises(RegistryError):
        check(server.host, ALICE, quick())
    with pytest.raises(ConnectionFailed):
        check("127.0.0.1:1", ALICE, quick())


# Keeping


def test_a_login_is_written_for_us_alone(tmp_path: Path) -> None:
    place = at(tmp_path / "new" / "deep" / "auth.json")
    old = os.umask(0)
    try:
        assert keep(place, "quay.io", ALICE, NONE) == place.path
    finally:
        os.umask(old)
    assert load(place) == {"auths": {"quay.io": ENTRY}}
    assert stat.S_IMODE(os.stat(place.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o700
    assert os.listdir(tmp_path / "new" / "deep") == ["auth.json"], "no lock and no temporary file is left"
    assert CredentialFiles([place], NONE).find("quay.io", "a") == ALICE


def test_other_entries_and_fields_keep_their_bytes(tmp_path: Path) -> None:
    text = '{\n  "auths": {"other.example": {"auth": "eDp5"}},\n  "psFormat":"x",  "n": 1e2\n}\n'
    place = at(tmp_path / "auth.json", text)
    Path(place.path).chmod(0o644)
    keep(place, "quay.io", ALICE, NONE)
    made = Path(place.path).read_text()
    assert made.startswith('{\n  "auths": {"other.example": {"auth": "eDp5"}, "quay.io": ')
    assert made.endswith('},\n  "psFormat":"x",  "n": 1e2\n}\n')
    assert stat.S_IMODE(os.stat(place.path).st_mode) == 0o600
    assert forget(place, "quay.io", NONE)
    assert Path(place.path).read_text() == text


@pytest.mark.parametrize("text", ["", "\n", "{}", '{"auths": null}'])
def test_an_empty_file_is_a_beginning(tmp_path: Path, text: str) -> None:
    place = at(tmp_path / "auth.json", text)
    keep(place, "quay.io", ALICE, NONE)
    assert load(place) == {"auths": {"quay.io": ENTRY}}


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', "\xff"])
def test_a_file_that_is_not_understood_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    place = at(tmp_path / "auth.json")
    Path(place.path).write_bytes(text.encode("latin-1"))
    for change in (lambda: keep(place, "quay.io", ALICE, NONE), lambda: forget(place, "quay.io", NONE)):
        with pytest.raises(ConfigurationError, match=r"auth\.json"):
            change()
    assert Path(place.path).read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize(("file", "key"), [("config.json", HUB_KEY), ("auth.json", "docker.io")])
@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_the_key_that_the_file_s_program_looks_for(
    tmp_path: Path, file: str, key: str, name: str
) -> None:
    place = at(tmp_path / file, {"auths": {"https://index.docker.io/v1/": {}, "registry-1.docker.io": {}}})
    keep(place, name, ALICE, NONE)
    assert load(place) == {"auths": {key: ENTRY}}, "and other spellings of it are gone"
    assert forget(place, "docker.io", NONE)
    assert load(place) == {"auths": {}}


def test_a_part_of_a_registry_has_a_login_of_its_own(tmp_path: Path) -> None:
    place = at(tmp_path / "auth.json")
    keep(place, "quay.io", Credentials(username="a", password="x"), NONE)
    keep(place, "quay.io/team", ALICE, NONE)
    keep(place, "docker.io/team", ALICE, NONE)
    assert set(load(place)["auths"]) == {"quay.io", "quay.io/team", "docker.io/team"}
    assert CredentialFiles([place], NONE).find("quay.io", "team/app") == ALICE
    assert forget(place, "quay.io", NONE)
    assert not forget(place, "quay.io", NONE)
    assert CredentialFiles([place], NONE).find("quay.io", "team/app") == ALICE
    assert forget(place, "quay.io/team", NONE)


def test_an_identity_token_is_kept_as_docker_does(tmp_path: Path) -> None:
    place = at(tmp_path / "auth.json")
    keep(place, "x.azurecr.io", Credentials(identity_token="refresh"), NONE)
    assert load(place)["auths"]["x.azurecr.io"] == {"identitytoken": "refresh"}


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "auth.json").symlink_to("second")
    (tmp_path / "links" / "second").symlink_to("../real/auth.json")
    place = at(tmp_path / "links" / "auth.json")
    for name in ("quay.io", "ghcr.io"):  # first to a file that is not there yet
        keep(place, name, ALICE, NONE)
    assert (tmp_path / "links" / "auth.json").is_symlink()
    assert set(json.loads((tmp_path / "real" / "auth.json").read_text())["auths"]) == {"quay.io", "ghcr.io"}
    assert stat.S_IMODE((tmp_path / "real" / "auth.json").stat().st_mode) == 0o600


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "auth.json").symlink_to("auth.json")
    with pytest.raises(ConfigurationError):
        keep(at(tmp_path / "auth.json"), "quay.io", ALICE, NONE)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make another user's link")
def test_another_user_s_link_is_not_followed(tmp_path: Path) -> None:
    """In /tmp anybody could have a login of root's written to a place of their choice."""
    (tmp_path / "auth.json").symlink_to(tmp_path / "victim")
    os.chown(tmp_path / "auth.json", 12345, 12345, follow_symlinks=False)
    with pytest.raises(ConfigurationError, match="another user"):
        keep(at(tmp_path / "auth.json"), "quay.io", ALICE, NONE)
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_root_leaves_a_user_s_file_to_the_user(tmp_path: Path) -> None:
    place = at(tmp_path / "auth.json", "{}")
    os.chown(place.path, 12345, 23456)
    keep(place, "quay.io", ALICE, NONE)
    found = os.stat(place.path)
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o600)


def test_a_place_that_can_not_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be written"):
        keep(at(tmp_path / "file" / "auth.json"), "quay.io", ALICE, NONE)


def test_logins_at_once_are_all_kept(tmp_path: Path) -> None:
    place = at(tmp_path / "auth.json")
    threads = [threading.Thread(target=keep, args=(place, f"h{n}.example", ALICE, NONE)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(load(place)["auths"]) == {f"h{n}.example" for n in range(16)}


# Helpers


def test_a_helper_of_the_host_gets_the_login_and_the_file_stays(programs: Programs, tmp_path: Path) -> None:
    text = '{"credHelpers": {"quay.io": "keeper"}}'
    place = at(tmp_path / "auth.json", text)
    assert keep(place, "quay.io", ALICE, programs.helpers) == "the credential helper keeper"
    assert programs.kept["quay.io"] == {"ServerURL": "quay.io", "Username": "alice", "Secret": ALICE.password}
    assert Path(place.path).read_text() == text
    assert forget(place, "quay.io", programs.helpers)
    assert programs.kept == {}
    assert not forget(place, "quay.io", programs.helpers)
    assert Path(place.path).read_text() == text


def test_a_store_gets_the_login_and_the_file_a_mark(programs: Programs, tmp_path: Path) -> None:
    place = at(tmp_path / "config.json", {"credsStore": "keeper"})
    keep(place, "docker.io", ALICE, programs.helpers)
    assert load(place) == {"credsStore": "keeper", "auths": {HUB_KEY: {}}}
    assert set(programs.kept) == {HUB_KEY}
    assert ALICE.password not in Path(place.path).read_text()
    assert CredentialFiles([place], programs.helpers).find("docker.io", "library/alpine") == ALICE
    assert forget(place, "docker.io", programs.helpers)
    assert load(place) == {"credsStore": "keeper", "auths": {}}
    assert programs.kept == {}


def test_a_store_that_is_not_there_keeps_nothing_and_nothing_falls_back_to_the_file(tmp_path: Path) -> None:
    place = at(tmp_path / "config.json", {"credsStore": "desktop"})
    with pytest.raises(ConfigurationError, match="not installed"):
        keep(place, "quay.io", ALICE, NONE)
    assert load(place) == {"credsStore": "desktop"}
    assert not forget(place, "quay.io", NONE)


def test_a_helper_keeps_no_part_of_a_registry(programs: Programs, tmp_path: Path) -> None:
    place = at(tmp_path / "config.json", {"credsStore": "keeper"})
    with pytest.raises(ConfigurationError, match="whole hosts"):
        keep(place, "quay.io/team", ALICE, programs.helpers)


def test_the_first_helper_of_registries_conf_gets_the_login(programs: Programs, tmp_path: Path) -> None:
    place = at(tmp_path / "auth.json")
    order = ("keeper", "containers-auth.json")
    assert keep(place, "docker.io", ALICE, programs.helpers, order=order) == "the credential helper keeper"
    assert set(programs.kept) == {"docker.io"}
    assert not Path(place.path).exists()
    with pytest.raises(ConfigurationError, match="whole hosts"):
        keep(place, "quay.io/team", ALICE, programs.helpers, order=order)
    assert forget(place, "docker.io", programs.helpers, order=order)
    assert programs.kept == {}
    assert keep(place, "quay.io", ALICE, programs.helpers, order=order[::-1]) == place.path


def test_all_logins_are_forgotten(programs: Programs, tmp_path: Path) -> None:
    programs.keep(**{"gcr.io": ("a", "b"), "unrelated.example": ("c", "d")})
    auths = {"quay.io": ENTRY, "ghcr.io": ENTRY}
    place = at(
        tmp_path / "auth.json", {"auths": auths, "credHelpers": {"gcr.io": "keeper", "x.example": "keeper"}, "y": 1}
    )
    assert forget_all(place, programs.helpers) == 3
    assert load(place) == {"auths": {}, "credHelpers": {"gcr.io": "keeper", "x.example": "keeper"}, "y": 1}
    assert set(programs.kept) == {"unrelated.example"}
    assert forget_all(place, programs.helpers) == 0
    assert forget_all(at(tmp_path / "none.json"), NONE) == 0


def test_an_entry_is_the_base64_of_user_and_password(tmp_path: Path) -> None:
    place = at(tmp_path / "auth.json")
    keep(place, "quay.io", Credentials(username="b\u00fcr", password="p:\udcff"), NONE)
    assert base64.b64decode(load(place)["auths"]["quay.io"]["auth"]) == "b\u00fcr:p:".encode() + b"\xff"
