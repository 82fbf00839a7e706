"""What the command line gathers for a client of registries: options, environment, files of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci.auth.credential import Credentials
from oci.cli import registries
from oci.cli.failures import UsageError
from oci.cli.registries import settings_from
from oci.cli.session import Session
from oci.errors import ConfigurationError
from oci.http.settings import Proxies, TlsSettings
from oci.registry.settings import Settings

Gather = Callable[..., Settings]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own: its /etc and the user's home are empty folders."""
    monkeypatch.setattr(registries, "SYSTEM_CONF", str(tmp_path / "etc/registries.conf"))
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def gather(home: Path) -> Gather:
    def _gather(registry: str | None = "example.com", side: str = "", /, **said: str) -> Settings:
        """Upper-case words are the environment, others the options."""
        environ = {key: value for key, value in said.items() if key.upper() == key or key.endswith("_proxy")}
        session = Session({"HOME": str(home), "PATH": "/usr/bin:/bin", **environ})
        session.access = {key: value for key, value in said.items() if key not in environ}
        return settings_from(session, registry, side)

    return _gather


def conf(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


# Values


def test_no_value_shows_a_secret() -> None:
    secret = Credentials(username="alice", password="hunter2", identity_token="refresh")
    proxies = Proxies(http="http://bob:swordfish@proxy:3128", https="http://bob:swordfish@proxy:3128")
    for shown in (repr(secret), str(secret), repr(proxies), repr(Settings(proxies=proxies)), f"{secret}"):
        assert not any(word in shown for word in ("hunter2", "refresh", "swordfish"))
    assert "alice" in repr(secret)


def test_the_defaults_are_safe() -> None:
    settings = Settings()
    assert settings.tls == TlsSettings()
    assert settings.tls.verify
    assert settings.plain_http is None
    assert not settings.foreign_urls
    assert settings.credentials is None


# Gathering


def test_nothing_said_gives_the_defaults_and_the_usual_places(gather: Gather, home: Path) -> None:
    settings = gather()
    assert settings.tls.cert_dirs == (
        f"{home}/.config/containers/certs.d",
        "/etc/containers/certs.d",
        "/etc/docker/certs.d",
    )
    assert settings.tls.verify
    assert settings.plain_http is None
    assert settings.user_agent.startswith("ocikit/")
    assert settings.proxies == Proxies()
    assert settings.registries is not None
    assert settings.registries.registries == ()
    assert settings.credentials is not None
    assert settings.credentials.find("example.com", None) is None


@pytest.mark.parametrize(
    ("text", "verify", "plain"),
    [("false", False, True), ("0", False, True), ("F", False, True), ("true", True, False), ("1", True, False)],
)
def test_tls_verify_says_both_whether_to_check_and_whether_http_will_do(
    gather: Gather, text: str, verify: bool, plain: bool
) -> None:
    settings = gather(tls_verify=text)
    assert (settings.tls.verify, settings.plain_http) == (verify, plain)


def test_tls_verify_is_true_or_false(gather: Gather) -> None:
    with pytest.raises(UsageError, match="--tls-verify 'maybe': expected true or false"):
        gather(tls_verify="maybe")
    with pytest.raises(UsageError, match="--dest-tls-verify ''"):
        gather("example.com", "dest", dest_tls_verify="")


def test_what_is_said_of_one_end_counts_there_before_what_is_said_of_both(gather: Gather, tmp_path: Path) -> None:
    said = {"tls_verify": "false", "dest_tls_verify": "true", "src_cert_dir": str(tmp_path)}
    assert not gather("example.com", "src", **said).tls.verify
    assert gather("example.com", "dest", **said).tls.verify
    assert gather("example.com", "src", **said).tls.cert_dir == str(tmp_path)
    assert gather("example.com", "dest", **said).tls.cert_dir is None


def test_certificates_are_where_the_environment_says(gather: Gather, home: Path) -> None:
    settings = gather(SSL_CERT_FILE="/my/ca.pem", SSL_CERT_DIR="/my/certs", XDG_CONFIG_HOME="/my/config")
    assert (settings.tls.ca_file, settings.tls.ca_path) == ("/my/ca.pem", "/my/certs")
    assert settings.tls.cert_dirs[0] == "/my/config/containers/certs.d"
    assert gather(SSL_CERT_FILE="", SSL_CERT_DIR="").tls.ca_file is None
    assert gather(XDG_CONFIG_HOME="relative").tls.cert_dirs[0] == f"{home}/.config/containers/certs.d"


def test_nobody_at_home_has_no_files_there() -> None:
    settings = settings_from(Session({}), "example.com")
    assert settings.tls.cert_dirs == registries.SYSTEM_CERT_DIRS


def test_a_folder_of_certificates_has_to_be_one(gather: Gather) -> None:
    with pytest.raises(UsageError, match="--cert-dir '/nowhere': no such directory"):
        gather(cert_dir="/nowhere")


@pytest.mark.parametrize(
    ("said", "proxies"),
    [
        ({"HTTP_PROXY": "http://a"}, Proxies(http="http://a")),
        ({"http_proxy": "http://b"}, Proxies(http="http://b")),
        ({"HTTPS_PROXY": "http://c", "NO_PROXY": "x,y"}, Proxies(https="http://c", no_proxy="x,y")),
        ({"https_proxy": "http://d", "no_proxy": "z"}, Proxies(https="http://d", no_proxy="z")),
        ({"HTTP_PROXY": "http://a", "http_proxy": "http://b"}, Proxies(http="http://a")),
        ({"HTTP_PROXY": "", "http_proxy": "http://b"}, Proxies(http="http://b")),
    ],
)
def test_proxies_are_those_of_the_environment_in_either_case(
    gather: Gather, said: dict[str, str], proxies: Proxies
) -> None:
    assert gather(**said).proxies == proxies


def test_foreign_layers_are_asked_for_only_by_the_option(gather: Gather) -> None:
    assert not gather().foreign_urls
    assert gather(foreign_layers="True").foreign_urls


# Credentials


def test_credentials_that_are_given_are_for_the_registry_alone(gather: Gather) -> None:
    source = gather(creds="alice:pa:ss").credentials
    assert source is not None
    found = source.find("example.com", "a/b")
    assert found is not None
    assert (found.username, found.password) == ("alice", "pa:ss")
    for other in ("mirror.example.com", "example.com:5000", "registry-1.docker.io"):
        assert source.find(other, None) is None
    assert "pa:ss" not in repr(source)


def test_credentials_for_docker_hub_go_to_its_api(gather: Gather) -> None:
    source = gather("docker.io", creds="alice:secret").credentials
    assert source is not None
    assert source.find("registry-1.docker.io", "library/alpine") is not None


def test_the_same_credentials_do_not_go_to_two_registries() -> None:
    session = Session({})
    session.access = {"creds": "alice:secret"}
    settings_from(session, "one.example")
    settings_from(session, "one.example", "dest")
    with pytest.raises(UsageError, match=r"here are two \(one\.example and two\.example\)") as caught:
        settings_from(session, "two.example")
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="--creds is for one registry, and here may be several"):
        settings_from(session, None)


def test_each_end_may_have_credentials_of_its_own() -> None:
    session = Session({})
    session.access = {"src_creds": "alice:one", "dest_creds": "bob:two"}
    for side, host, user in (("src", "one.example", "alice"), ("dest", "two.example", "bob")):
        source = settings_from(session, host, side).credentials
        assert source is not None
        found = source.find(host, None)
        assert found is not None
        assert found.username == user


@pytest.mark.parametrize("words", [":secret", ""])
def test_credentials_name_a_user(gather: Gather, words: str) -> None:
    with pytest.raises(UsageError, match="--creds: expected USER or USER:PASSWORD") as caught:
        gather(creds=words)
    assert "secret" not in str(caught.value)


def test_a_password_that_is_left_out_is_asked_for_on_a_terminal(
    gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UsageError, match="--creds: the password is missing, and there is no terminal"):
        gather(creds="alice")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"asked: {prompt}")
    source = gather(creds="alice").credentials
    assert source is not None
    assert source.find("example.com", None) == Credentials(username="alice", password="asked: Password of alice: ")


AUTHS = '{"auths": {"example.com": {"auth": "Ym9iOnN3b3JkZmlzaA=="}}}'  # bob:swordfish


@pytest.mark.parametrize("way", ["authfile", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "HOME"])
def test_credentials_are_read_where_podman_and_docker_keep_them(gather: Gather, home: Path, way: str) -> None:
    folder = home / "x"
    where = {
        "DOCKER_CONFIG": (folder / "config.json", folder),
        "XDG_RUNTIME_DIR": (folder / "containers/auth.json", folder),
        "HOME": (home / ".docker/config.json", home),
    }
    path, said = where.get(way, (folder / "auth.json", folder / "auth.json"))
    conf(path, AUTHS)
    source = gather(**{way: str(said)}).credentials
    assert source is not None
    assert source.find("example.com", "a/b") == Credentials(username="bob", password="swordfish")


# registries.conf


def test_the_systems_conf_and_its_drop_ins_are_read_then_the_users(gather: Gather, home: Path, tmp_path: Path) -> None:
    conf(tmp_path / "etc/registries.conf", 'unqualified-search-registries = ["one.com"]', '[aliases]\n"a"="one.com/a"')
    conf(tmp_path / "etc/registries.conf.d/10.conf", '[aliases]\n"b"="ten.com/b"\n"c"="ten.com/c"')
    conf(tmp_path / "etc/registries.conf.d/20.conf", '[aliases]\n"c"="twenty.com/c"')
    conf(tmp_path / "etc/registries.conf.d/30.conf.bak", "not TOML")
    (tmp_path / "etc/registries.conf.d/40.conf").mkdir()
    conf(home / ".config/containers/registries.conf.d/mine.conf", '[aliases]\n"b"="mine.com/b"')
    found = gather().registries
    assert found is not None
    assert found.search == ("one.com",)
    assert {name: found.short_name(name) for name in "abc"} == {
        "a": "one.com/a",
        "b": "mine.com/b",
        "c": "twenty.com/c",
    }


def test_a_users_own_conf_takes_the_place_of_the_systems(gather: Gather, home: Path, tmp_path: Path) -> None:
    conf(tmp_path / "etc/registries.conf", '[aliases]\n"a"="one.com/a"')
    conf(tmp_path / "etc/registries.conf.d/10.conf", '[aliases]\n"a"="ten.com/a"')
    conf(home / ".config/containers/registries.conf", '[aliases]\n"b"="mine.com/b"')
    conf(home / ".config/containers/registries.conf.d/x.conf", '[aliases]\n"c"="x.com/c"')
    found = gather().registries
    assert found is not None
    assert dict(found.aliases) == {"b": "mine.com/b", "c": "x.com/c"}


@pytest.mark.parametrize("way", ["registries_conf", "CONTAINERS_REGISTRIES_CONF"])
def test_a_conf_that_is_named_stands_alone(gather: Gather, home: Path, tmp_path: Path, way: str) -> None:
    conf(tmp_path / "etc/registries.conf", '[aliases]\n"a"="one.com/a"')
    conf(tmp_path / "etc/registries.conf.d/10.conf", '[aliases]\n"b"="ten.com/b"')
    named = conf(tmp_path / "my.conf", '[aliases]\n"c"="my.com/c"')
    found = gather(**{way: str(named)}).registries
    assert found is not None
    assert dict(found.aliases) == {"c": "my.com/c"}
    with pytest.raises(ConfigurationError, match="nowhere: can't be read"):
        gather(**{way: "/nowhere"})


def test_what_is_ignored_in_a_conf_is_said_once(home: Path, tmp_path: Path, capsys: Any) -> None:
    conf(tmp_path / "etc/registries.conf", '[[registry]]\nlocation="a.b"\nblock=true')
    session = Session({"HOME": str(home)})
    settings_from(session, "one.example", "src")
    settings_from(session, "two.example", "dest")
    assert capsys.readouterr().err.count("registry[0].block") == 1
