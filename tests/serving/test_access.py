"""Who may do what: htpasswd, TLS, read-only; and where a server listens."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from oci.errors import ConfigurationError, LayoutError
from oci.serving import Server
from oci.serving.exchange import Refusal
from oci.serving.passwords import MAX_HTPASSWD, Passwords
from tests.support.calling import OCTETS, Caller
from tests.support.images import OCI_MANIFEST, digest
from tests.support.peers import need
from tests.support.tls import Authority


def htpasswd(path: Path, *options: str, **users: str) -> str:
    """Write a file with these users, as the program of that name does."""
    need("htpasswd")
    path.write_bytes(
        b"".join(
            subprocess.run(
                ["htpasswd", "-niB", "-C", "4", *options, user], input=word.encode(), capture_output=True, check=True
            ).stdout.strip()
            + b"\n"
            for user, word in users.items()
        )
    )
    return str(path)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def users(tmp_path: Path) -> str:
    return htpasswd(tmp_path / "users", alice="open sesame", bob="pass:word ü")


# Passwords


def test_nobody_gets_in_without_a_password(tmp_path: Path, users: str) -> None:
    with Server(tmp_path / "layout", htpasswd=users) as server, Caller(server.host) as caller:
        for method, target in (
            ("GET", "/v2/"),
            ("GET", "/v2/_catalog"),
            ("HEAD", "/v2/app/manifests/v1"),
            ("GET", f"/v2/app/blobs/{digest(b'')}"),
            ("POST", "/v2/app/blobs/uploads/"),
            ("PUT", "/v2/app/manifests/v1"),
            ("DELETE", "/v2/app/manifests/v1"),
            ("GET", "/v2/app/referrers/nonsense"),
        ):
            reply = caller(method, target)
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"] == 'Basic realm="ocikit", charset="UTF-8"'
            if method != "HEAD":
                assert reply.code == "UNAUTHORIZED"


@pytest.mark.parametrize(("user", "password"), [("alice", "open sesame"), ("bob", "pass:word ü")])
def test_a_user_with_the_right_password_gets_in(tmp_path: Path, users: str, user: str, password: str) -> None:
    with (
        Server(tmp_path / "layout", htpasswd=users) as server,
        Caller(server.host, headers=basic(user, password)) as caller,
    ):
        caller.push_image("app", "v1")
        assert caller("GET", "/v2/app/manifests/v1").status == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Bearer x",
        "Basic " + base64.b64encode(b"alice:wrong").decode(),
        "Basic " + base64.b64encode(b"alice:").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"nobody:open sesame").decode(),
        "Basic " + base64.b64encode(b"alice:open sesame\0").decode(),
        "Basic " + base64.b64encode(b"alice:" + b"x" * 100).decode(),
        "basic" + base64.b64encode(b"alice:open sesame").decode(),
    ],
)
def test_anything_else_is_turned_away(users: str, header: str) -> None:
    with pytest.raises(Refusal) as refused:
        Passwords(users).check(header)
    assert refused.value.status == 401
    assert "sesame" not in str(refused.value)


def test_what_was_right_is_remembered_and_forgotten_when_the_file_changes(
    users: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bcrypt

    checks: list[bytes] = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda word, hashed: checks.append(word) or real(word, hashed))
    passwords = Passwords(users)
    header = basic("alice", "open sesame")["Authorization"]
    for _ in range(3):
        assert passwords.check(header) == "alice"
    assert len(checks) == 1
    htpasswd(Path(users), alice="changed", carol="new")
    with pytest.raises(Refusal):
        passwords.check(header)
    assert passwords.check(basic("carol", "new")["Authorization"]) == "carol"
    assert passwords.check(basic("alice", "changed")["Authorization"]) == "alice"


def test_an_unknown_user_costs_as_much_as_a_wrong_password(users: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import bcrypt

    checks: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda word, hashed: checks.append(word) or False)
    for user in ("alice", "nobody"):
        with pytest.raises(Refusal):
            Passwords(users).check(basic(user, "x")["Authorization"])
    assert len(checks) == 2


@pytest.mark.parametrize("size", [72, 73, 200])
def test_a_long_password_is_as_good_as_htpasswd_made_it(tmp_path: Path, size: int) -> None:
    word = ("ü" + "x" * size)[:size]
    file = htpasswd(tmp_path / "users", alice=word)
    passwords = Passwords(file)
    assert passwords.check(basic("alice", word)["Authorization"]) == "alice"
    for wrong in (word[:60], "y" + word[1:], word + "\0", word[:20] + "\0" + word[21:]):
        with pytest.raises(Refusal):
            passwords.check(basic("alice", wrong)["Authorization"])


def test_a_file_without_users_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("# nobody yet\n\n")
    with pytest.raises(Refusal):
        Passwords(str(tmp_path / "users")).check(basic("alice", "x")["Authorization"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", "users:1: not a bcrypt hash; make it with `htpasswd -B`"),
        ("# fine\nalice:$apr1$x$y\n", "users:2: not a bcrypt hash"),
        ("alice:secret\n", "users:1: not a bcrypt hash"),
        (f"alice:$2y$04${'a' * 53}\n", "users:1: not a bcrypt hash"),  # no salt ends so
        (f"alice:$2y$99${'.' * 53}\n", "users:1: not a bcrypt hash"),
        (f"alice:$2y$04${'.' * 53}:more\n", "users:1: not a bcrypt hash"),
        ("alice\n", "users:1: expected USER:HASH"),
        ("x" * (MAX_HTPASSWD + 1), "more than"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, text: str | None, fault: str) -> None:
    path = tmp_path / "users"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=fault) as error:
        Server(tmp_path / "layout", htpasswd=str(path)).__enter__()
    assert "secret" not in str(error.value)


def test_a_file_that_breaks_later_locks_everybody_out_and_tells_no_paths(tmp_path: Path, users: str) -> None:
    lines: list[str] = []
    with (
        Server(tmp_path / "layout", htpasswd=users, log=lines.append) as server,
        Caller(server.host, headers=basic("alice", "open sesame")) as caller,
    ):
        assert caller("GET", "/v2/").status == 200
        Path(users).write_text("broken")
        reply = caller("GET", "/v2/")
        assert reply.status == 500
        assert "users" not in reply.body.decode()
        caller("GET", "/v2/%0aerror:%20forged/tags/list")
    assert any(line.startswith("error: ") and "users:1" in line for line in lines)
    assert all(line.isprintable() for line in lines)


# TLS


def test_tls_with_a_certificate_of_our_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    trusting = ssl.create_default_context(cafile=str(authority.file))
    data = os.urandom(3 << 20)
    with (
        Server(tmp_path / "layout", tls=(str(pair.cert), str(pair.key))) as server,
        Caller(server.host, tls=trusting) as caller,
    ):
        assert server.url == f"https://{server.host}"
        name = caller.push_blob("app", data)
        assert caller("GET", f"/v2/app/blobs/{name}").body == data
        assert caller("GET", f"/v2/app/blobs/{name}", headers={"Range": "bytes=5-9"}).body == data[5:10]
        with pytest.raises(ssl.SSLError), Caller(server.host, tls=ssl.create_default_context()) as stranger:
            stranger("GET", "/v2/")
        assert caller("GET", "/v2/").status == 200


def test_a_client_that_does_not_shake_hands_keeps_nobody_waiting(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    trusting = ssl.create_default_context(cafile=str(authority.file))
    with Server(tmp_path / "layout", tls=(str(pair.cert), str(pair.key))) as server:
        host, port = server.host.split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(5)]
        plain = socket.create_connection((host, int(port)))
        plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            with Caller(server.host, tls=trusting, timeout=3) as caller:
                assert caller("GET", "/v2/").status == 200
        finally:
            for connection in (*silent, plain):
                connection.close()


def test_what_breaks_tls_in_the_middle_is_no_error_of_ours(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    trusting = ssl.create_default_context(cafile=str(authority.file))
    lines: list[str] = []
    with Server(tmp_path / "layout", tls=(str(pair.cert), str(pair.key)), log=lines.append) as server:
        with Caller(server.host, tls=trusting) as caller:
            target = caller("POST", "/v2/app/blobs/uploads/").location
        host, port = server.host.split(":")
        plain = socket.create_connection((host, int(port)), timeout=10)
        plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(65536)
        plain.close()
        with (
            socket.create_connection((host, int(port)), timeout=10) as below,
            trusting.wrap_socket(below.dup(), server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode())
            below.sendall(b"this is no record of TLS")
            with suppress(OSError):
                while connection.recv(65536):
                    pass
        with Caller(server.host, tls=trusting) as caller:
            assert caller("GET", target).status == 204
    assert not any(line.startswith("error") for line in lines)


def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    one, other = authority.server(), authority.client()
    (tmp_path / "text").write_text("no certificate")
    for cert, key, fault in (
        (one.cert, other.key, "no certificate with its key: key values mismatch"),
        (tmp_path / "text", one.key, "no certificate with its key: both have to be PEM"),
        (tmp_path / "missing", one.key, "no such file"),
    ):
        with pytest.raises(ConfigurationError, match=fault):
            Server(tmp_path / "layout", tls=(str(cert), str(key))).__enter__()


# Read-only


def test_a_read_only_server_gives_and_takes_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        name = caller.push_image("app", "v1")
    before = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "layout").rglob("*")}
    with Server(tmp_path / "layout", read_only=True) as server, Caller(server.host) as caller:
        assert caller("GET", "/v2/app/manifests/v1").status == 200
        assert caller("GET", f"/v2/app/blobs/{digest(b'layer')}").body == b"layer"
        for method, target in (
            ("POST", "/v2/app/blobs/uploads/"),
            ("PUT", "/v2/app/manifests/v2"),
            ("DELETE", "/v2/app/manifests/v1"),
            ("DELETE", f"/v2/app/manifests/{name}"),
            ("DELETE", f"/v2/app/blobs/{digest(b'layer')}"),
            ("PATCH", "/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000"),
        ):
            reply = caller(method, target, b"{}", {**OCTETS, "Content-Type": OCI_MANIFEST})
            assert (reply.status, reply.code) == (405, "UNSUPPORTED")
            assert "read-only" in reply.json["errors"][0]["message"]
    assert {path: os.stat(path).st_mtime_ns for path in (tmp_path / "layout").rglob("*")} == before


# Where it listens


def test_a_port_that_is_taken_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: can't listen there: Address already in use"):
            Server(tmp_path / "layout", port=port).__enter__()
    with Server(tmp_path / "layout"):
        pass  # and the layout is free again


def test_an_address_that_is_not_ours_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't listen there"):
        Server(tmp_path / "layout", address="192.0.2.1").__enter__()


def test_of_several_addresses_the_first_that_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with localhost on a machine whose hosts file has ::1, and whose kernel hasn't."""
    real = socket.getaddrinfo

    def both(host: str, port: int, *more: int) -> list[object]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)), *real(host, port, *more)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with Server(tmp_path / "layout") as server:
        monkeypatch.undo()
        with Caller(server.host) as caller:
            assert caller("GET", "/v2/").status == 200


def test_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Server(tmp_path / "layout", address="::1") as server:
        assert server.url.startswith("http://[::1]:")


def test_a_layout_that_cannot_be_written_to_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(tmp_path / "layout"):
        pass

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("oci.serving.store.os.makedirs", forbidden)
    with pytest.raises(LayoutError, match="serve it with --read-only"):
        Server(tmp_path / "layout").__enter__()
