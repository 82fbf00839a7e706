"""One exchange: what is sent, how answers are bounded, and that no failure is anything but one of ours."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from random import Random
from traceback import format_exception
from typing import Any

import pytest

from oci.errors import ConnectionFailed, LimitExceeded, OciError, ProtocolViolation, RegistryError, SourceError
from oci.http.answer import MAX_HEAD
from oci.http.dial import dial
from oci.http.exchange import Headers, Http, NotReached
from oci.http.settings import Proxies
from oci.registry.settings import Settings
from tests.support.scripted import Answer, ScriptedServer

QUICK = Settings(connect_timeout=5, stall_timeout=0.4)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(QUICK) as door:
        yield door


def fails(http: Http, url: str, method: str = "GET", **words: object) -> RegistryError:
    """Send, read all, and give the error that this must raise, in a bounded time."""
    began = time.monotonic()
    with pytest.raises(RegistryError) as caught, http.send(method, url, **words) as response:  # type: ignore[arg-type]
        for _ in response.chunks():
            pass
    assert time.monotonic() - began < 6
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


# What is sent


def test_a_request_asks_for_bytes_as_they_are_and_says_who_we_are(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/v2/", body=b"{}")
    with http.send("GET", f"{server.url}/v2/", headers={"Accept": "a/b"}) as response:
        assert response.read(10, "answer") == b"{}"
    headers = server.requests[0].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == "ocikit"
    assert headers["accept"] == "a/b"
    assert headers["host"] == server.host


def test_a_body_of_known_length_is_sent_with_it_and_another_in_chunks(http: Http, server: ScriptedServer) -> None:
    server.on("PUT", "/.*", status=201)
    http.send("PUT", f"{server.url}/known", body=iter([b"ab", b"", b"c"]), length=3).close()
    http.send("PUT", f"{server.url}/bytes", body=b"abc").close()
    http.send("PUT", f"{server.url}/unknown", body=iter([b"ab", b"", b"c"])).close()
    http.send("PUT", f"{server.url}/none").close()
    known, plain, unknown, none = server.requests
    assert [r.body for r in server.requests] == [b"abc", b"abc", b"abc", b""]
    assert known.headers["content-length"] == plain.headers["content-length"] == "3"
    assert unknown.headers["transfer-encoding"] == "chunked"
    assert none.headers["content-length"] == "0"


def test_a_small_body_is_sent_in_one_piece_with_its_head(
    http: Http, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    class Watched(socket.socket):
        def send(self, data: Any, *flags: int) -> int:
            sent.append(bytes(data))
            return super().send(data, *flags)

    def watched(*where: Any, **words: Any) -> socket.socket:
        sock = dial(*where, **words)
        seconds = sock.gettimeout()
        again = Watched(fileno=sock.detach())
        again.settimeout(seconds)
        return again

    monkeypatch.setattr("oci.http.exchange.dial", watched)
    server.on("PUT", "/up", Answer(status=201), times=2)
    for length in (5000, None):
        http.send("PUT", f"{server.url}/up", body=b"x" * 5000, length=length).discard()
    assert [request.body for request in server.requests] == [b"x" * 5000] * 2
    assert sent[0].endswith(b"\r\n\r\n" + b"x" * 5000)
    assert all(b"Content-Length: 5000" in head for head in sent[:2])


@pytest.mark.parametrize("pieces", [[b"ab"], [b"ab", b"cde"]], ids=["short", "long"])
def test_a_body_of_another_length_than_promised_is_an_error_of_the_source(
    http: Http, server: ScriptedServer, pieces: list[bytes]
) -> None:
    server.on("PUT", "/.*", status=201)
    with pytest.raises(SourceError, match="in place of 4"):
        http.send("PUT", f"{server.url}/", body=iter(pieces), length=4)


def test_an_error_of_the_body_itself_is_raised_as_it_is(http: Http, server: ScriptedServer) -> None:
    def body() -> Iterator[bytes]:
        yield b"a" * 100
        raise FileNotFoundError("gone")

    server.on("PUT", "/.*", status=201)
    with pytest.raises(FileNotFoundError, match="gone"):
        http.send("PUT", f"{server.url}/", body=body(), length=200)


def test_a_body_is_closed_when_the_server_answers_before_its_end(http: Http, server: ScriptedServer) -> None:
    closed = []

    def body() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 500_000
        finally:
            closed.append(True)

    server.on("PUT", "/.*", status=401, before_body=True)
    with http.send("PUT", f"{server.url}/", body=body(), length=1 << 40) as response:
        assert response.status == 401
    assert closed == [True]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0b", "ü\u0100"])
def test_a_header_that_would_hold_a_line_break_is_not_sent(http: Http, server: ScriptedServer, value: str) -> None:
    error = fails(http, f"{server.url}/", headers={"Authorization": value})
    assert "Authorization" in str(error)
    assert value not in str(error)
    assert server.requests == []


# Early answers


@pytest.mark.parametrize("status", [401, 413])
@pytest.mark.parametrize("keeps_open", [False, True], ids=["closes", "keeps-open"])
def test_an_answer_before_the_body_was_sent_is_that_answer(
    http: Http, server: ScriptedServer, status: int, keeps_open: bool
) -> None:
    server.on("PUT", "/.*", status=status, body=b"no", before_body=True, ignore_body=keeps_open)
    body = (b"x" * 400_000 for _ in range(250))
    with http.send("PUT", f"{server.url}/blob", body=body, length=100_000_000) as response:
        assert response.status == status
        assert response.read(10, "answer") == b"no"
    server.on("GET", "/.*", body=b"ok")  # the connection with half a body in it is not used again
    with http.send("GET", f"{server.url}/next") as response:
        assert response.status == 200


def test_an_upload_that_the_server_does_not_take_ends(http: Http, server: ScriptedServer) -> None:
    server.on("POST", "/.*", raw=b"", before_body=True, ignore_body=True)
    error = fails(http, f"{server.url}/", "POST", body=iter([b"x" * (64 << 20)]), length=64 << 20)
    assert isinstance(error, ConnectionFailed)
    assert error.again
    assert "it took 0 bytes" in str(error)


# Answers


def test_a_body_comes_whole_by_length_in_chunks_and_until_the_connection_ends(
    http: Http, server: ScriptedServer
) -> None:
    data = bytes(range(256)) * 9000
    server.on("GET", "/length", body=data)
    server.on("GET", "/chunked", body=[data[:70_000], data[70_000:]], chunked=True)
    server.on("GET", "/close", body=data, until_close=True)
    for path in ("/length", "/chunked", "/close"):
        with http.send("GET", server.url + path) as response:
            assert b"".join(response.chunks(100_000)) == data


def test_a_connection_is_used_again_after_each_kind_of_end(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/read|/.*discarded", body=b"abc")
    server.on("HEAD", "/.*", headers={"Content-Length": "1000"})
    server.on("PUT", "/.*", status=204)
    http.send("GET", f"{server.url}/read").read(10, "it")
    http.send("GET", f"{server.url}/discarded").discard()
    http.send("HEAD", f"{server.url}/").close()
    http.send("PUT", f"{server.url}/", body=b"1").close()
    http.send("GET", f"{server.url}/read").read(10, "it")
    assert server.connections == 1


def test_threads_use_connections_of_their_own_and_all_are_kept(http: Http, server: ScriptedServer) -> None:
    gate = threading.Barrier(8)
    got: list[bytes] = []

    def together(_: object) -> Answer:
        gate.wait(10)
        return Answer(body=b"x" * 1000)

    def one() -> None:
        with http.send("GET", f"{server.url}/") as response:
            got.append(response.read(1000, "it"))

    server.on("GET", "/", together)
    for _ in range(3):
        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(got) == 24
    assert server.connections == 8


def test_a_connection_that_the_server_closed_meanwhile_is_not_noticed(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/", body=b"abc", close=True)
    for _ in range(3):
        assert http.send("GET", f"{server.url}/").read(10, "it") == b"abc"
        time.sleep(0.05)


def test_a_post_on_a_connection_that_died_unseen_is_sent_on_another(http: Http, server: ScriptedServer) -> None:
    # A load balancer forgets an idle connection without a word; what is sent on it is answered by a reset.
    server.on("GET", "/", body=b"abc")
    server.on("POST", "/", hang_up=True, times=1)
    server.on("POST", "/", status=202)
    http.send("GET", f"{server.url}/").discard()
    with http.send("POST", f"{server.url}/") as response:
        assert response.status == 202
    assert server.connections == 2
    server.forget()
    server.on("POST", "/", hang_up=True)
    assert isinstance(fails(http, f"{server.url}/", "POST"), ConnectionFailed)
    assert len(server.requests) == 2  # one on the kept connection, one on a new one


def test_a_document_has_to_come_whole_in_a_bounded_time(http: Http, server: ScriptedServer) -> None:
    def slowly() -> Iterator[bytes]:
        while True:  # fast enough for a blob, and never at an end
            time.sleep(0.05)
            yield b"x" * 100

    server.on("GET", "/", lambda _: Answer(body=slowly(), chunked=True))
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match="the token did not come whole within 2 seconds"):
        http.send("GET", f"{server.url}/").read(1_000_000, "token")
    assert time.monotonic() - began < 4


def test_a_body_that_nobody_wants_is_not_waited_for(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/slow", body=b"x" * 1000, drip=(100, 0.35))
    server.on("GET", "/large", body=b"x" * 10_000_000)
    began = time.monotonic()
    http.send("GET", f"{server.url}/large").discard()
    assert time.monotonic() - began < 0.5
    response = http.send("GET", f"{server.url}/slow")
    response.discard()
    assert time.monotonic() - began < 4


def test_a_read_stops_at_its_limit(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/said", body=b"x" * 11)
    server.on("GET", "/endless", body=(b"x" * 100_000 for _ in range(10_000)), chunked=True)
    with pytest.raises(LimitExceeded, match=r"token.*11, over the limit of 10"):
        http.send("GET", f"{server.url}/said").read(10, "token")
    with pytest.raises(LimitExceeded, match=r"token.*more than the limit of 1000"):
        http.send("GET", f"{server.url}/endless").read(1000, "token")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_cut_says_so(http: Http, server: ScriptedServer, chunked: bool) -> None:
    server.on("GET", "/.*", body=b"x" * 1000, cut_after=300, chunked=chunked)
    error = fails(http, f"{server.url}/blob?sig=secret")
    assert isinstance(error, ConnectionFailed)
    assert error.again
    assert "secret" not in str(error)


def test_a_body_that_stalls_ends_the_wait(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/.*", body=b"x" * 1000, stall_after=300)
    error = fails(http, f"{server.url}/")
    assert isinstance(error, ConnectionFailed)
    assert "nothing more came within 0.4 seconds" in str(error)


def test_a_slow_loris_ends_though_each_byte_comes_in_time(http: Http, server: ScriptedServer) -> None:
    # One byte resets a socket's timeout: at a byte a minute, 64 KiB take 45 days.
    server.on("GET", "/body", body=(b"x" for _ in range(10_000)), length=10_000)
    server.on("GET", "/drip", body=b"x" * 10_000, drip=(10, 0.1))
    error = fails(http, f"{server.url}/drip")
    assert isinstance(error, ConnectionFailed)


def test_a_slow_body_ends_too(http: Http, server: ScriptedServer) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(200):
            time.sleep(0.05)
            yield b"x"

    server.on("GET", "/.*", lambda _: Answer(body=slowly(), length=200))
    assert "bytes a second" in str(fails(http, f"{server.url}/"))


def test_a_consumer_that_is_slow_is_not_the_servers_fault(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/", body=b"x" * 300)
    with http.send("GET", f"{server.url}/") as response:
        time.sleep(0.6)
        got = b""
        for chunk in response.chunks(100):
            got += chunk
            time.sleep(0.5)
    assert len(got) == 300


def test_no_answer_ends_the_wait_and_an_upload_is_waited_for_longer(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/", delay=8.0)
    assert "no complete answer within 0.4 seconds" in str(fails(http, f"{server.url}/"))
    server.on("PUT", "/", status=201, delay=1.0)
    with http.send("PUT", f"{server.url}/", body=b"x") as response:
        assert response.status == 201


def test_no_answer_at_all_is_a_closed_connection(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/", hang_up=True)
    error = fails(http, f"{server.url}/")
    assert isinstance(error, ConnectionFailed)
    assert error.again
    assert not isinstance(error, NotReached)


@pytest.mark.parametrize("count", [3, 12, 17, 30, 40])
def test_a_head_that_is_cut_is_no_answer(http: Http, server: ScriptedServer, count: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\n"
    server.on("GET", "/.*", raw=raw[:count], close=True)
    error = fails(http, f"{server.url}/")
    assert isinstance(error, ConnectionFailed)
    assert "cut within the headers" in str(error)
    assert error.again


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


BAD = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP 0.9": b"<html>hello</html>\n",
    "HTTP 3": head("HTTP/3 200 OK"),
    "status": head("HTTP/1.1 abc OK"),
    "status of four digits": head("HTTP/1.1 2000 OK"),
    "long line": head("HTTP/1.1 200 OK", "X: " + "y" * 70_000),
    "many headers": head("HTTP/1.1 200 OK", *(f"X{n}: y" for n in range(101))),
    "long head": head("HTTP/1.1 200 OK", *(f"X{n}: {'y' * 60_000}" for n in range(6))),
    "endless interim": head("HTTP/1.1 100 Continue") * 20_000,
    "many interim": head("HTTP/1.1 103 Early Hints") * 11 + head("HTTP/1.1 200 OK", "Content-Length: 0"),
    "switch": head("HTTP/1.1 101 Switching Protocols"),
    "two lengths": head("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2") + b"xx",
    "length of words": head("HTTP/1.1 200 OK", "Content-Length: +5") + b"12345",
    "compressed transfer": head("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "negative chunk": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"-5\r\nabcde\r\n0\r\n\r\n",
    "chunk of all": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"-1\r\n" + b"x" * 9_000_000,
    "long chunk line": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1;" + b"x" * 70_000 + b"\r\n",
    "extensions": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + (b"1;" + b"x" * 60_000 + b"\r\nx\r\n") * 200,
    "trailers": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"0\r\n" + b"a: b\r\n" * 2_000_000,
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46\r\n",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_an_answer_that_is_not_http_is_one_clear_error(http: Http, server: ScriptedServer, raw: bytes) -> None:
    server.on("GET", "/.*", raw=raw, close=True)
    error = fails(http, f"{server.url}/")
    assert isinstance(error, ProtocolViolation)
    assert len(str(error)) < 300


def test_a_chunk_that_is_none_is_like_a_cut(http: Http, server: ScriptedServer) -> None:
    raw = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"hello\r\n"
    server.on("GET", "/.*", raw=raw, close=True)
    assert isinstance(fails(http, f"{server.url}/"), ConnectionFailed)


def test_interim_answers_are_passed_over(http: Http, server: ScriptedServer) -> None:
    hints = head("HTTP/1.1 100 Continue") + head("HTTP/1.1 103 Early Hints", "Link: </x>") * 2
    server.on("GET", "/", raw=hints + head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
    for _ in range(2):
        assert http.send("GET", f"{server.url}/").read(10, "it") == b"ok"
    assert server.connections == 1


def test_a_head_as_long_as_servers_send_is_taken(http: Http, server: ScriptedServer) -> None:
    server.on("GET", "/", headers=[(f"X-{n}", "y" * 2000) for n in range(90)], body=b"ok")
    with http.send("GET", f"{server.url}/") as response:
        assert len(response.headers.get("x-7") or "") == 2000
    assert MAX_HEAD > 90 * 2010


# Headers


def test_headers_are_found_in_any_case_and_are_one_line_each() -> None:
    headers = Headers([("Link", "a"), ("LINK", "b"), ("Folded", "a\r\n\tb"), ("Token", "secret")])
    assert headers.get("link") == "a"
    assert headers.all("Link") == ["a", "b"]
    assert headers.get("none") is None
    assert headers.get("none", "d") == "d"
    assert "\n" not in (headers.get("folded") or "")
    assert "secret" not in repr(headers)


WHOLE = (
    head("HTTP/1.1 200 OK", "Content-Length: 10", "X: y") + b"0123456789",
    head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    head("HTTP/1.1 100 Continue") + head("HTTP/1.0 401 No", 'WWW-Authenticate: Bearer realm="x"') + b"body",
)
SCRAPS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b"-1",
    b"Content-Length: -1\r\n",
    b"f" * 16,
    b"chunked",
    bytes(range(256)),
)


def damaged(random: Random) -> bytes:
    raw = bytearray(random.choice(WHOLE))
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(raw) + 1)
        match random.randrange(3):
            case 0:
                raw[place : place + 1] = random.randbytes(1)
            case 1:
                raw[place:place] = random.choice(SCRAPS)
            case _:
                del raw[place : place + random.randrange(10)]
    return bytes(raw)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_answers_are_answers_or_one_of_our_errors(http: Http, server: ScriptedServer, seed: int) -> None:
    random = Random(seed)
    server.on("GET", "/", lambda _: Answer(raw=damaged(random), close=True))
    said = []
    for _ in range(100):
        try:
            with http.send("GET", f"{server.url}/") as response:
                response.read(1000, "it")
        except (RegistryError, LimitExceeded) as error:
            said.append(str(error))
    assert said
    assert all(text.isprintable() and len(text) < 400 for text in said)


def traceback_of(http: Http, url: str, **words: Any) -> str:
    with pytest.raises(OciError) as caught:
        http.send("GET", url, **words).read(100, "it")
    return "".join(format_exception(caught.value))


def test_a_traceback_holds_no_secret(server: ScriptedServer) -> None:
    # With --debug the library's exceptions would be shown above ours, with the URLs that are in their text.
    with ScriptedServer() as gone:
        pass
    hidden = "hid" + "den"
    server.on("GET", "/cut", body=b"x" * 90, cut_after=5)
    server.on("GET", "/closed", hang_up=True)
    server.on("GET", "/bad", raw=b"nonsense\r\n\r\n", close=True)
    with Http(QUICK) as http:
        for path in ("/cut", "/closed", "/bad"):
            assert hidden not in traceback_of(http, f"{server.url}{path}?sig={hidden}")
        assert hidden not in traceback_of(http, f"http://{gone.host}/?sig={hidden}")
        assert hidden not in traceback_of(http, f"http://user:{hidden}@{server.host}/")
        assert hidden not in traceback_of(http, f"{server.url}/", headers={"Authorization": f"{hidden}\n"})
    proxied = QUICK.replace(proxies=Proxies(http=f"http://user:{hidden}@{gone.host}"))
    with Http(proxied) as http:
        assert hidden not in traceback_of(http, f"http://h.example/?sig={hidden}")


def test_no_url_gets_into_a_log(http: Http, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    server.on("GET", "/.*", body=b"x")
    with caplog.at_level("DEBUG"):
        http.send("GET", f"{server.url}/?sig=secret").discard()
    assert caplog.records == []


# Connections


def test_a_port_where_nobody_listens_is_not_reached(http: Http) -> None:
    with ScriptedServer() as gone:
        pass
    error = fails(http, f"http://{gone.host}/v2/?token=secret")
    assert isinstance(error, NotReached)
    assert "connection refused" in str(error)
    assert "secret" not in str(error)


def test_a_name_that_is_none_is_not_reached_and_not_tried_again(http: Http) -> None:
    error = fails(http, "http://no-such-host.invalid/v2/")
    assert isinstance(error, NotReached)
    assert "can't be resolved" in str(error)


def test_close_ends_what_other_threads_wait_for(server: ScriptedServer) -> None:
    # A command that is interrupted must not wait for a server that says nothing.
    failed: list[BaseException] = []
    server.on("GET", "/body", body=b"x" * 1000, stall_after=10)
    server.on("GET", "/head", delay=20)
    http = Http(Settings(stall_timeout=60))

    def one(path: str) -> None:
        try:
            with http.send("GET", server.url + path) as response:
                response.read(5000, "it")
        except RegistryError as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(path,)) for path in ("/body", "/head")]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    http.close()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 1
    assert [type(error) for error in failed] == [ConnectionFailed, ConnectionFailed]
    assert not any(error.again for error in failed if isinstance(error, ConnectionFailed))
    with pytest.raises(ConnectionFailed, match="closed by us"):
        http.send("GET", server.url)
