"""Which credentials are found for a repository: files of podman and docker, in their order and with their keys."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from oci.auth.credential import Credentials
from oci.auth.credential_files import MAX_FILE, AuthFile, Place, place_to_write, places_to_read
from oci.auth.credential_helpers import Helpers
from oci.auth.credentials import CredentialFiles, Fixed
from oci.errors import ConfigurationError

HOME = {"HOME": "/home/alice"}


def auth(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, value: Any) -> Place:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return Place(str(path), legacy=path.name == ".dockercfg", named=True)


def user(files: CredentialFiles | Place, host: str, repository: str | None = None) -> str | None:
    if isinstance(files, Place):
        files = CredentialFiles([files], Helpers())
    found = files.find(host, repository)
    return None if found is None else found.username


# Which files


@pytest.mark.parametrize(
    ("environ", "authfile", "read"),
    [
        (
            {**HOME, "XDG_RUNTIME_DIR": "/run/user/7"},
            None,
            ["/run/user/7/containers/auth.json", "/home/alice/.config/containers/auth.json",
             "/home/alice/.docker/config.json", "/home/alice/.dockercfg"],
        ),
        (
            {**HOME, "XDG_CONFIG_HOME": "/etc/alice"},
            None,
            ["/run/containers/7/auth.json", "/etc/alice/containers/auth.json", "/home/alice/.docker/config.json",
             "/home/alice/.dockercfg"],
        ),
        ({}, None, ["/run/containers/7/auth.json"]),
        ({"HOME": "relative", "XDG_RUNTIME_DIR": "too"}, None, ["/run/containers/7/auth.json"]),
        ({**HOME, "DOCKER_CONFIG": "/etc/docker/"}, None, ["/etc/docker/config.json"]),
        ({**HOME, "DOCKER_CONFIG": "/etc/docker", "REGISTRY_AUTH_FILE": "a.json"}, None, ["a.json"]),
        ({**HOME, "REGISTRY_AUTH_FILE": "a.json"}, "b.json", ["b.json"]),
    ],
)  # fmt: skip
def test_where_credentials_are_looked_for(environ: dict[str, str], authfile: str | None, read: list[str]) -> None:
    """containers-auth.json(5); a file that is named stands alone, and so does DOCKER_CONFIG, as with podman
    (containers/common, pkg/auth)."""
    places = places_to_read(environ, uid=7, authfile=authfile)
    assert [place.path for place in places] == read
    assert [place.legacy for place in places] == [path.endswith(".dockercfg") for path in read]


@pytest.mark.parametrize(
    ("environ", "uid", "path"),
    [
        ({**HOME, "XDG_RUNTIME_DIR": "/run/user/7"}, 7, "/run/user/7/containers/auth.json"),
        (HOME, 0, "/run/containers/0/auth.json"),
        (HOME, 7, "/home/alice/.config/containers/auth.json"),
        ({**HOME, "DOCKER_CONFIG": "/etc/docker"}, 7, "/etc/docker/config.json"),
        ({**HOME, "REGISTRY_AUTH_FILE": "a.json"}, 7, "a.json"),
    ],
)
def test_where_a_login_is_written_to(environ: dict[str, str], uid: int, path: str) -> None:
    assert place_to_write(environ, uid=uid).path == path
    assert place_to_write(environ, uid=uid, authfile="b.json") == Place("b.json", named=True)


def test_without_a_home_there_is_no_place_for_a_login() -> None:
    with pytest.raises(ConfigurationError, match="--authfile"):
        place_to_write({}, uid=7)


def test_the_first_file_that_has_something_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", {"auths": {"quay.io": auth("first"), "empty.example": {}}})
    second = write(tmp_path / "b.json", {"auths": {"quay.io/team": auth("second"), "empty.example": auth("full")}})
    files = CredentialFiles([Place(str(tmp_path / "none.json")), first, second], Helpers())
    assert user(files, "quay.io", "team/app") == "first"
    assert user(files, "empty.example") == "full"
    assert files.locate("empty.example", None) == (second.path, Credentials(username="full", password="pw"))
    assert user(files, "other.example") is None


# Which entry


def test_the_most_special_key_counts(tmp_path: Path) -> None:
    """containers-auth.json(5)."""
    host = "my-registry.local"
    keys = [host, f"{host}/namespace", f"{host}/namespace/user", f"{host}/namespace/user/image"]
    repository = "namespace/user/image"
    for number in range(len(keys), 0, -1):
        place = write(tmp_path / "a.json", {"auths": {key: auth(key) for key in keys[:number]}})
        assert user(place, host, repository) == keys[number - 1]
    place = write(tmp_path / "a.json", {"auths": {key: auth(key) for key in keys[1:]}})
    assert user(place, host, "names") is None
    assert user(place, host, None) is None
    assert user(place, f"{host}:5000", repository) is None


@pytest.mark.parametrize(
    ("key", "hosts"),
    [
        ("https://index.docker.io/v1/", ("docker.io", "index.docker.io", "registry-1.docker.io")),
        ("docker.io", ("docker.io", "index.docker.io", "registry-1.docker.io")),
        ("index.docker.io", ("docker.io", "registry-1.docker.io")),
        ("docker.io/library", ("docker.io", "registry-1.docker.io")),
        ("https://quay.io", ("quay.io",)),
        ("https://quay.io/v2/", ("quay.io",)),
        ("http://localhost:5000/v1/", ("localhost:5000",)),
        ("quay.io", ("quay.io", "QUAY.IO")),
    ],
)
def test_keys_as_docker_and_podman_write_them(tmp_path: Path, key: str, hosts: tuple[str, ...]) -> None:
    place = write(tmp_path / "config.json", {"auths": {key: auth("me")}})
    for host in hosts:
        assert user(place, host, "library/alpine") == "me"
    for other in ("docker.io.evil.example", "evil-docker.io", "quay.io.evil.example", "localhost:5001", "localhost"):
        assert user(place, other, "library/alpine") is None


def test_a_repository_of_another_registry_gets_nothing(tmp_path: Path) -> None:
    place = write(tmp_path / "a.json", {"auths": {"quay.io/team": auth("me")}})
    assert user(place, "evil.example", "quay.io/team") is None
    assert user(place, "quay.io", "team2/app") is None
    assert user(place, "quay.io", "teams") is None


def test_docker_s_old_file(tmp_path: Path) -> None:
    """~/.dockercfg: the object of `auths` alone, with addresses of mail and of API version 1."""
    value = {"https://index.docker.io/v1/": {**auth("old"), "email": "a@example.com"}, "quay.io/v1/": auth("quay")}
    place = write(tmp_path / ".dockercfg", value)
    assert user(place, "docker.io", "library/alpine") == "old"
    assert user(place, "quay.io", "team/app") == "quay"


# What an entry says


@pytest.mark.parametrize(
    ("entry", "credentials"),
    [
        (auth("a", "b:c:"), Credentials(username="a", password="b:c:")),
        ({"auth": base64.b64encode(b"a:b\0\0").decode()}, Credentials(username="a", password="b")),
        ({"auth": base64.b64encode(b"a:\xff").decode()}, Credentials(username="a", password="\udcff")),
        ({"auth": "YTpi\n"}, Credentials(username="a", password="b")),
        ({"username": "a", "password": "b"}, Credentials(username="a", password="b")),
        ({**auth("a", "b"), "username": "x", "password": "y"}, Credentials(username="a", password="b")),
        ({**auth("00000000", ""), "identitytoken": "t"}, Credentials(username="00000000", identity_token="t")),
        ({"identitytoken": "t"}, Credentials(identity_token="t")),
        ({**auth("a", "b"), "email": "x", "unknown": {"a": 1}}, Credentials(username="a", password="b")),
        ({}, None),
        (None, None),
        ({"auth": ""}, None),
        ({"auth": None, "identitytoken": None}, None),
    ],
)  # fmt: skip
def test_entries(tmp_path: Path, entry: Any, credentials: Credentials | None) -> None:
    place = write(tmp_path / "a.json", {"auths": {"quay.io": entry}})
    assert CredentialFiles([place], Helpers()).find("quay.io", "a") == credentials


@pytest.mark.parametrize(
    "entry",
    [
        {"auth": "c2VjcmV0!"}, {"auth": "c2VjcmV0"}, {"auth": "\u00e9"}, {"auth": 17}, {"auth": ["secret"]},
        {"username": {"secret": 1}}, {"identitytoken": 5},
    ],
)  # fmt: skip
def test_a_bad_entry_is_an_error_where_it_is_wanted_and_shows_nothing(tmp_path: Path, entry: Any) -> None:
    place = write(tmp_path / "a.json", {"auths": {"quay.io": entry, "other.example": auth("me")}})
    assert user(place, "other.example") == "me"
    with pytest.raises(ConfigurationError, match=r"a\.json: the entry of quay\.io") as caught:
        user(place, "quay.io")
    assert "secret" not in str(caught.value)
    assert "c2Vj" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "17", '"secret"', '{"auths": []}', '{"auths": {"quay.io": "secret"}}', '{"credHelpers": {"a": 1}}',
        '{"credsStore": 1}', '{"auths": {"a": {}, "a": {}}}', "\ufeff{}", '{"auths": ' + "[" * 100_000,
        " " * (MAX_FILE + 1),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_bad_file_is_one_error_with_its_name(tmp_path: Path, text: str) -> None:
    place = write(tmp_path / "a.json", text)
    with pytest.raises(ConfigurationError, match=r"a\.json") as caught:
        user(place, "quay.io")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    assert user(write(tmp_path / "a.json", "\n"), "quay.io") is None
    assert user(write(tmp_path / "b.json", '{"auths": null, "credHelpers": null}'), "quay.io") is None


def test_a_named_file_has_to_be_readable_and_others_are_left_out_with_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match="can't be read"):
        user(Place(str(folder), named=True), "quay.io")
    told: list[str] = []
    files = CredentialFiles([Place(str(folder))], Helpers(), warn=told.append)
    assert user(files, "quay.io") is user(files, "quay.io") is None
    assert len(told) == 1
    assert str(folder) in told[0]
    with pytest.raises(ConfigurationError, match="no such file"):
        user(Place(str(tmp_path / "none"), named=True, required=True), "quay.io")


def test_a_file_may_be_a_pipe(tmp_path: Path) -> None:
    """`--authfile <(vault read …)`."""
    read, written = os.pipe()
    os.write(written, json.dumps({"auths": {"quay.io": auth("me")}}).encode())
    os.close(written)
    try:
        files = CredentialFiles([Place(f"/dev/fd/{read}", named=True)], Helpers())
        assert user(files, "quay.io") == user(files, "quay.io", "a/b") == "me"
    finally:
        os.close(read)


def test_threads_may_look_up_at_once(tmp_path: Path) -> None:
    place = write(tmp_path / "a.json", {"auths": {f"h{n}.example": auth(f"u{n}") for n in range(20)}})
    files = CredentialFiles([place], Helpers())
    got: list[str | None] = []
    threads = [threading.Thread(target=lambda n=n: got.append(user(files, f"h{n}.example"))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(one) for one in got) == sorted(f"u{n}" for n in range(20))


def test_fixed_credentials_are_for_one_host() -> None:
    me = Credentials(username="me", password="pw")
    assert Fixed("docker.io", me).find("registry-1.docker.io", "library/alpine") == me
    assert Fixed("quay.io", me).find("quay.io", None) == me
    assert Fixed("quay.io", me).find("quay.io:8443", None) is None


def test_nothing_that_is_printed_has_a_secret_in_it(tmp_path: Path) -> None:
    place = write(tmp_path / "a.json", {"auths": {"quay.io": auth("me", "hush")}})
    files = CredentialFiles([place], Helpers(environ={"TOKEN": "hush"}))
    files.find("quay.io", None)
    things = [files, AuthFile.read(place), Fixed("quay.io", Credentials(username="me", password="hush"))]
    things += [Helpers(environ={"TOKEN": "hush"}), Credentials(username="me", password="hush", identity_token="hush")]
    encoded = auth("me", "hush")["auth"]
    for thing in things:
        assert "hush" not in repr(thing) + str(thing)
        assert encoded not in repr(thing) + str(thing)
