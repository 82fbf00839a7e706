"""Whom a host's connection trusts, and what is said where it does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import ConfigurationError, RegistryError
from oci.http.exchange import Http, NotReached, NotTrusted
from oci.http.settings import TlsSettings
from oci.http.urls import parse_url
from oci.registry.settings import Settings
from tests.support.scripted import Answer, ScriptedServer
from tests.support.tls import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(authority: Authority) -> Iterator[ScriptedServer]:
    with ScriptedServer(tls=authority.server()) as scripted:
        scripted.on("GET|PUT", "/.*", body=b"hello")
        yield scripted


def get(server: ScriptedServer, tls: TlsSettings, url: str | None = None) -> bytes:
    with Http(Settings(tls=tls, connect_timeout=5, stall_timeout=2)) as http:
        return http.send("GET", url or f"{server.url}/").read(100, "it")


def test_a_certificate_of_an_unknown_authority_is_refused_with_what_to_do(server: ScriptedServer) -> None:
    with pytest.raises(NotTrusted) as caught:
        get(server, TlsSettings())
    text = str(caught.value)
    assert "not trusted" in text
    assert f"/etc/containers/certs.d/{server.host}/ca.crt" in text
    assert not caught.value.again
    assert server.requests == []


def test_ca_file_and_ca_path_stand_in_the_place_of_the_system(
    server: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    assert get(server, TlsSettings(ca_file=str(authority.file))) == b"hello"
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(authority.file)], capture_output=True, text=True, check=True
    ).stdout.strip()
    shutil.copy(authority.file, tmp_path / f"{hashed}.0")
    assert get(server, TlsSettings(ca_path=str(tmp_path))) == b"hello"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_an_error_of_configuration(
    server: ScriptedServer, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem: no certificates of authorities"):
        get(server, TlsSettings(ca_file=str(path)))


def test_a_folder_named_after_host_and_port_holds_its_authorities(
    server: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    tls = TlsSettings(cert_dirs=(str(tmp_path / "none"), str(tmp_path)))
    other = tmp_path / "127.0.0.1"  # of the port 443, not of this one
    other.mkdir()
    shutil.copy(authority.file, other / "ca.crt")
    with pytest.raises(NotTrusted):
        get(server, tls)
    folder = tmp_path / server.host
    folder.mkdir()
    shutil.copy(authority.file, folder / "my.crt")
    (folder / "README").write_text("not looked at")
    assert get(server, tls) == b"hello"


def test_the_first_place_that_has_a_folder_for_the_host_counts(
    server: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    first, second = tmp_path / "1" / server.host, tmp_path / "2" / server.host
    first.mkdir(parents=True)
    second.mkdir(parents=True)
    shutil.copy(authority.file, second / "ca.crt")
    with pytest.raises(NotTrusted):
        get(server, TlsSettings(cert_dirs=(str(tmp_path / "1"), str(tmp_path / "2"))))


def test_cert_dir_is_the_folder_itself_and_must_be_there(
    server: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    shutil.copy(authority.file, tmp_path / "ca.crt")
    assert get(server, TlsSettings(cert_dir=str(tmp_path))) == b"hello"
    with pytest.raises(ConfigurationError, match="no folder of certificates"):
        get(server, TlsSettings(cert_dir=str(tmp_path / "none")))


def test_without_verification_any_certificate_is_taken_and_nothing_is_warned(server: ScriptedServer) -> None:
    assert get(server, TlsSettings(verify=False)) == b"hello"


def test_verification_may_be_left_out_for_one_host(server: ScriptedServer, authority: Authority) -> None:
    with ScriptedServer(tls=authority.server()) as other, Http(Settings(stall_timeout=2)) as http:
        assert http.exchange("GET", parse_url(server.url), insecure=True).read(10, "it") == b"hello"
        for one in (server, other):
            with pytest.raises(NotTrusted):
                http.send("GET", one.url)


def test_a_name_that_is_not_in_the_certificate_is_refused(authority: Authority) -> None:
    with ScriptedServer(tls=authority.server(["registry.example"])) as server:
        server.on("GET", "/.*")
        with pytest.raises(NotTrusted, match=r"(?i)not valid for '?127\.0\.0\.1|mismatch"):
            get(server, TlsSettings(ca_file=str(authority.file)))


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    with (
        ScriptedServer(tls=authority.server(expired=True)) as server,
        pytest.raises(NotTrusted, match="certificate has expired"),
    ):
        get(server, TlsSettings(ca_file=str(authority.file)))


def test_no_authority_is_asked_for_where_none_would_help(authority: Authority) -> None:
    """It is signed by one that is trusted, but old or for another name: certs.d can't mend that."""
    for pair, advice in (
        (authority.server(expired=True), "it has to be renewed"),
        (authority.server(["registry.example"]), "use a name that it is for"),
    ):
        with ScriptedServer(tls=pair) as server:
            server.on("GET", "/.*")
            with pytest.raises(NotTrusted) as caught:
                get(server, TlsSettings(ca_file=str(authority.file)))
        assert advice in str(caught.value)
        assert "certs.d" not in str(caught.value)


def test_plain_http_on_a_port_of_https_is_said_clearly() -> None:
    with ScriptedServer(garbage=b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain, pytest.raises(NotReached) as caught:
        get(plain, TlsSettings(), f"https://{plain.host}/")
    assert not isinstance(caught.value, NotTrusted)
    assert "it speaks plain HTTP on this port, not TLS" in str(caught.value)


def test_http_to_a_port_of_tls_is_said_clearly(server: ScriptedServer) -> None:
    with pytest.raises(RegistryError) as caught:
        get(server, TlsSettings(), f"http://{server.host}/")
    assert "\n" not in str(caught.value)


# Client certificates


@pytest.fixture
def strict(authority: Authority) -> Iterator[ScriptedServer]:
    with ScriptedServer(tls=authority.server(), client_ca=authority.file) as scripted:
        scripted.on("GET", "/.*", body=b"hello")
        yield scripted


def test_a_client_certificate_is_shown(strict: ScriptedServer, authority: Authority, tmp_path: Path) -> None:
    pair = authority.client()
    folder = tmp_path / strict.host
    folder.mkdir()
    shutil.copy(authority.file, folder / "ca.crt")
    shutil.copy(pair.cert, folder / "me.cert")
    shutil.copy(pair.key, folder / "me.key")
    assert get(strict, TlsSettings(cert_dirs=(str(tmp_path),))) == b"hello"


def test_a_server_that_wants_a_client_certificate_says_so(strict: ScriptedServer, authority: Authority) -> None:
    with pytest.raises(RegistryError) as caught:
        get(strict, TlsSettings(ca_file=str(authority.file)))
    assert "client certificate" in str(caught.value) or "closed" in str(caught.value)


def test_a_certificate_without_its_key_is_one_clear_line(
    server: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.client()
    shutil.copy(pair.cert, tmp_path / "me.cert")
    with pytest.raises(ConfigurationError, match=r"me\.cert: its key me\.key is missing beside it.*\*\.crt"):
        get(server, TlsSettings(cert_dir=str(tmp_path)))
    (tmp_path / "me.cert").unlink()
    shutil.copy(pair.key, tmp_path / "me.key")
    with pytest.raises(ConfigurationError, match=r"me\.key: its certificate me\.cert is missing"):
        get(server, TlsSettings(cert_dir=str(tmp_path)))


def test_certificates_that_are_none_are_one_clear_line(
    server: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"ca\.crt: no certificate of an authority"):
        get(server, TlsSettings(cert_dir=str(tmp_path)))
    (tmp_path / "ca.crt").unlink()
    one, other = authority.client("one"), authority.client("two")
    shutil.copy(one.cert, tmp_path / "me.cert")
    shutil.copy(other.key, tmp_path / "me.key")
    with pytest.raises(ConfigurationError, match=r"me\.cert: no client certificate with its key"):
        get(server, TlsSettings(cert_dir=str(tmp_path)))
    pair = authority.client("three")
    shutil.copy(pair.cert, tmp_path / "me.cert")
    key = str(tmp_path / "me.key")
    command = ["openssl", "pkcs8", "-topk8", "-in", str(pair.key), "-out", key, "-passout", "pass:x"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        get(server, TlsSettings(cert_dir=str(tmp_path)))


# Bodies over TLS


def test_an_early_answer_is_seen_over_tls_too(authority: Authority) -> None:
    # After the handshake a server sends session tickets: they must not be taken for an answer.
    tls = TlsSettings(ca_file=str(authority.file))
    with (
        ScriptedServer(tls=authority.server()) as server,
        Http(Settings(tls=tls, stall_timeout=3)) as http,
    ):
        server.on("PUT", "/taken", lambda request: Answer(201, body=b"%d" % len(request.body)))
        server.on("PUT", "/early", status=413, body=b"no", before_body=True)
        server.on("PUT", "/open", status=401, body=b"no", before_body=True, ignore_body=True)

        def put(path: str, count: int) -> tuple[int, bytes]:
            body = (b"x" * 400_000 for _ in range(count))
            with http.send("PUT", server.url + path, body=body, length=400_000 * count) as response:
                return response.status, response.read(100, "it")

        assert put("/taken", 25) == (201, b"10000000")
        assert put("/early", 250) == (413, b"no")
        assert put("/open", 250) == (401, b"no")
        assert put("/taken", 3) == (201, b"1200000")
