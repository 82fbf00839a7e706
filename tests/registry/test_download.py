"""Blobs over bad lines and from bad servers: all bytes in order, or one clear error in bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from oci.errors import (
    BlobNotFound,
    ConnectionFailed,
    DigestMismatch,
    OciError,
    ProtocolViolation,
    RegistryRefused,
    SizeMismatch,
)
from oci.registry.download import Download
from oci.registry.repository import Repository
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.streams.verify import verified
from tests.support.pulling import repository_of
from tests.support.scripted import Answer, Request, ScriptedServer

DATA = bytes(range(256)) * 4096  # 1 MiB
BLOB = Descriptor(media_type="a/b", digest=Digest.of(DATA), size=len(DATA))
PATH = "/v2/app/blobs/.*"


def read(app: Repository, blob: Descriptor = BLOB) -> bytes:
    with app.open_blob(blob) as chunks:
        return b"".join(verified(chunks, blob.digest, blob.size))


def ranged(request: Request, data: bytes = DATA, **headers: str) -> Answer:
    """What a server that knows ranges says."""
    asked = request.headers.get("range")
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    if asked is None:
        return Answer(200, more, data)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    return Answer(206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", **more}, data[start:])


def ranges(server: ScriptedServer) -> list[str | None]:
    return [request.headers.get("range") for request in server.requests if "/blobs/" in request.path]


def test_a_blob_comes_whole(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, body=DATA)
    assert read(app) == DATA


def test_a_blob_of_nothing_is_nothing(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, body=b"")
    assert read(app, Descriptor(media_type="a/b", digest=Digest.of(b""), size=0)) == b""


def test_many_blobs_share_one_connection(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, body=DATA)
    assert read(app) == DATA
    connections = server.connections
    for _ in range(5):
        read(app)
    assert server.connections == connections


@pytest.mark.parametrize("etag", [None, '"abc"', 'W/"abc"', "unquoted"])
def test_a_cut_blob_is_taken_up_where_it_was_cut(etag: str | None, server: ScriptedServer, app: Repository) -> None:
    headers = {} if etag is None else {"ETag": etag}
    server.on("GET", PATH, times=1, body=DATA, cut_after=300_000, headers=headers)
    server.on("GET", PATH, lambda request: ranged(request, **headers))
    assert read(app) == DATA
    first, second = [request for request in server.requests if "/blobs/" in request.path]
    assert first.headers.get("range") is None
    assert second.headers["range"] == "bytes=300000-"
    # RFC 9110 section 13.1.5: only a strong validator says that the parts belong together.
    assert second.headers.get("if-range") == (etag if etag == '"abc"' else None)


def test_a_blob_that_stalls_is_taken_up(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA, stall_after=600_000)
    server.on("GET", PATH, ranged)
    assert read(app) == DATA
    assert ranges(server)[1] == "bytes=524288-"  # what came of the piece that was waited for is lost


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_without_ranges_is_read_over(chunked: bool, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA, cut_after=700_000)
    server.on("GET", PATH, body=DATA, chunked=chunked)
    assert read(app) == DATA


def test_a_body_without_length_that_ends_early_is_a_cut(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA[:123], until_close=True)
    server.on("GET", PATH, ranged)
    assert read(app) == DATA
    assert ranges(server) == [None, "bytes=123-"]


def test_a_server_may_give_less_than_the_rest(server: ScriptedServer, app: Repository) -> None:
    def some(request: Request) -> Answer:
        start = int((request.headers.get("range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        end = min(start + 300_000, len(DATA))
        return Answer(206, {"Content-Range": f"bytes {start}-{end - 1}/{len(DATA)}"}, DATA[start:end])

    server.on("GET", PATH, times=1, body=DATA, cut_after=500_000)
    server.on("GET", PATH, some)
    assert read(app) == DATA


def test_cuts_without_progress_come_to_an_end(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, body=DATA, cut_after=0)
    with pytest.raises(ConnectionFailed):
        read(app)
    assert len(ranges(server)) == 3


def test_a_server_that_gives_a_byte_for_each_request_comes_to_an_end(server: ScriptedServer, app: Repository) -> None:
    def drop(request: Request) -> Answer:
        answer = ranged(request)
        return Answer(answer.status, answer.headers, answer.body, cut_after=1)

    server.on("GET", PATH, drop)
    with pytest.raises(ConnectionFailed):
        read(app)
    assert len(ranges(server)) == 3


def test_as_long_as_there_is_progress_a_bad_line_will_do(server: ScriptedServer) -> None:
    data = DATA * 12
    blob = Descriptor(media_type="a/b", digest=Digest.of(data), size=len(data))

    def bad(request: Request) -> Answer:
        answer = ranged(request, data)
        assert isinstance(answer.body, bytes)
        return Answer(
            answer.status, answer.headers, answer.body, cut_after=1_100_000 if len(answer.body) > 1 << 20 else None
        )

    server.on("GET", PATH, bad)
    with repository_of(server.host) as app:
        assert read(app, blob) == data
    assert len(ranges(server)) > 10


def test_pauses_get_longer_and_the_first_try_is_at_once(server: ScriptedServer) -> None:
    slept: list[float] = []
    server.on("GET", PATH, body=DATA, cut_after=0)
    with repository_of(server.host, attempts=5, sleep=slept.append) as app, pytest.raises(ConnectionFailed):
        read(app)
    assert slept == sorted(slept)
    assert (len(slept), slept[0]) == (4, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Range": "bytes 0-1048575/1048576"},
        {"Content-Range": "bytes 400000-1048575/1048576"},
        {"Content-Range": "bytes 300000-299999/1048576"},
        {"Content-Range": "bytes 300000-2000000/*"},
        {"Content-Range": "items 300000-1048575/1048576"},
        {"Content-Range": "bytes 300000-1048575/1048576, bytes 0-1/1048576"},
        {"Content-Range": "bytes -300000-1048575/1048576"},
        {"Content-Type": "multipart/byteranges; boundary=x"},
    ],
)
def test_an_answer_to_another_range_is_refused(
    headers: dict[str, str], server: ScriptedServer, app: Repository
) -> None:
    server.on("GET", PATH, times=1, body=DATA, cut_after=300_000)
    server.on("GET", PATH, status=206, headers=headers, body=DATA[300_000:])
    with pytest.raises(ProtocolViolation, match=r"Content-Range|asked for bytes 300000-"):
        read(app)


def test_a_range_of_another_length_than_its_content_is_refused(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA, cut_after=300_000)
    headers = {"Content-Range": f"bytes 300000-{len(DATA) - 1}/{len(DATA)}"}
    server.on("GET", PATH, status=206, headers=headers, body=DATA)
    with pytest.raises(ProtocolViolation, match="contradict"):
        read(app)


def test_a_range_of_a_blob_with_another_length_is_refused(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA, cut_after=300_000)
    server.on("GET", PATH, status=206, headers={"Content-Range": "bytes 300000-399999/400000"}, body=DATA[:100_000])
    with pytest.raises(SizeMismatch):
        read(app)


def test_parts_of_another_blob_are_found_by_the_digest(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA, cut_after=300_000)
    server.on("GET", PATH, lambda request: ranged(request, DATA[::-1]))
    with pytest.raises(DigestMismatch):
        read(app)


def test_a_server_that_refuses_a_range_is_asked_without_one(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, times=1, body=DATA, cut_after=300_000)
    server.on("GET", PATH, lambda r: Answer(416) if "range" in r.headers else Answer(200, body=DATA))
    assert read(app) == DATA


@pytest.mark.parametrize("length", [0, len(DATA) - 1, len(DATA) + 1, 10**15])
def test_a_wrong_length_is_refused_before_anything_is_read(
    length: int, server: ScriptedServer, app: Repository
) -> None:
    server.on("GET", PATH, body=DATA[:10], length=length)
    with pytest.raises(SizeMismatch), app.open_blob(BLOB):
        pytest.fail("opened")


def test_an_endless_body_is_cut_off_one_byte_behind_its_size(server: ScriptedServer, app: Repository) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(65536)

    server.on("GET", PATH, lambda request: Answer(200, (), endless(), chunked=True))
    with app.open_blob(BLOB) as chunks:
        assert sum(map(len, chunks)) == BLOB.size + 1
    with pytest.raises(SizeMismatch):
        read(app)


@pytest.mark.parametrize("coding", ["gzip", "zstd", "deflate, gzip"])
def test_compressed_transfer_is_refused(coding: str, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, body=DATA, headers={"Content-Encoding": coding})
    with pytest.raises(ProtocolViolation, match="Content-Encoding"):
        read(app)


def test_a_blob_that_is_not_there(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, status=404, body=b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
    with pytest.raises(BlobNotFound, match=f"{BLOB.digest} not found in {app}"), app.open_blob(BLOB):
        pytest.fail("opened")


def test_a_signed_address_that_ran_out_is_asked_for_anew(server: ScriptedServer, app: Repository) -> None:
    # Docker Hub's blobs lie at a CDN whose addresses are good for some minutes.
    tickets = iter("ABC")

    def moved(request: Request) -> Answer:
        return Answer(307, {"Location": f"http://localhost:{server.port}/cdn/{next(tickets)}?signature=secret"})

    server.on("GET", PATH, moved)
    server.on("GET", "/cdn/A", body=DATA, cut_after=400_000)
    server.on("GET", "/cdn/B", status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    server.on("GET", "/cdn/C", ranged)
    assert read(app) == DATA
    assert [path.partition("?")[0] for path in server.paths() if path.startswith("/cdn")] == [
        "/cdn/A",
        "/cdn/B",
        "/cdn/C",
    ]
    assert server.requests[-1].headers["range"] == "bytes=400000-"


def test_a_cdn_that_refuses_for_good_comes_to_an_end_without_telling_signatures(
    server: ScriptedServer, app: Repository
) -> None:
    server.on("GET", PATH, status=307, headers={"Location": f"http://localhost:{server.port}/cdn?signature=secret"})
    server.on("GET", "/cdn", status=403, body=b"no")
    with pytest.raises(OciError) as caught:
        read(app)
    assert "secret" not in repr(caught.value) + str(caught.value)
    assert len(server.paths()) < 12


def test_the_registrys_own_refusal_is_final(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, status=400, body=b'{"errors":[{"code":"NAME_INVALID","message":"no such name"}]}')
    with pytest.raises(RegistryRefused, match="no such name"):
        read(app)
    assert len(ranges(server)) == 1


def watched(server: ScriptedServer) -> Callable[[], bool]:
    """A rule for an endless blob of the right length; tells whether the client has hung up."""
    gone = threading.Event()

    def body() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(65536)
        finally:
            gone.set()

    server.on("GET", PATH, lambda request: Answer(200, (), body(), length=1 << 40))
    return lambda: gone.wait(5)


def test_leaving_early_closes_the_connection_at_once(server: ScriptedServer, app: Repository) -> None:
    gone = watched(server)
    with app.open_blob(BLOB.replace(size=1 << 40)) as chunks:
        next(iter(chunks))
        start = time.monotonic()
    assert time.monotonic() - start < 0.5
    assert gone()


def test_a_read_that_waits_is_ended_from_another_thread(server: ScriptedServer) -> None:
    server.on("GET", PATH, body=DATA, stall_after=10)
    with repository_of(server.host, stall_timeout=20.0) as app:
        download = Download((app,), BLOB)
        timer = threading.Timer(0.2, download.abort)
        timer.start()
        start = time.monotonic()
        with pytest.raises(ConnectionFailed):
            list(download)
        assert time.monotonic() - start < 5
        timer.join()
        download.close()


def test_a_download_that_was_closed_gives_nothing_more(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, body=DATA)
    with app.open_blob(BLOB) as chunks:
        pass
    assert list(chunks) == []


def test_a_mirror_that_breaks_off_is_left_for_the_next_one_in_the_middle(
    server: ScriptedServer, app: Repository
) -> None:
    server.on("GET", PATH, ranged)
    with ScriptedServer() as other, repository_of(other.host) as mirror:
        other.on("GET", PATH, times=1, body=DATA, cut_after=500_000)
        other.on("GET", PATH, body=DATA, cut_after=0)
        assert b"".join(Download((mirror, app), BLOB)) == DATA
    assert ranges(server) == ["bytes=500000-"]


def test_a_mirror_without_the_blob_is_passed_over(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, ranged)
    with ScriptedServer() as other, repository_of(other.host) as mirror:
        assert b"".join(Download((mirror, app), BLOB)) == DATA
