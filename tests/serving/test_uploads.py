"""Uploads: resumed after cuts and restarts, bounded, swept, and never half a blob."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import DigestMismatch
from oci.layout.layout import Layout
from oci.serving import Server
from oci.serving.exchange import Refusal
from oci.serving.uploads import CROWDED, IDLE, Uploads
from oci.spec.digest import Digest
from tests.support.calling import OCTETS, Caller
from tests.support.images import OCI_MANIFEST, digest, encode

DATA = bytes(range(256)) * 40
NAME = digest(DATA)


def begin(caller: Caller) -> str:
    return caller("POST", "/v2/app/blobs/uploads/").location


def leftovers(layout: Path) -> list[str]:
    return [path.name for path in layout.glob(".ocikit-serve/uploads/*/*")] + [
        path.name for path in layout.glob(".tmp-*")
    ]


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        target = begin(caller)
        caller("PATCH", target, DATA[:5000], OCTETS)
    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        state = caller("GET", target)
        assert (state.status, state.headers["Range"]) == (204, "0-4999")
        rest = {**OCTETS, "Content-Range": f"5000-{len(DATA) - 1}"}
        assert caller("PUT", target, DATA[5000:], rest, digest=NAME).status == 201
        assert caller("GET", f"/v2/app/blobs/{NAME}").body == DATA
    assert leftovers(tmp_path / "layout") == []


def test_a_wrong_digest_after_a_restart_is_found_too(tmp_path: Path) -> None:
    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        target = begin(caller)
        caller("PATCH", target, DATA[:5000], OCTETS)
    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        assert caller("PUT", target, DATA[5001:], OCTETS, digest=NAME).code == "DIGEST_INVALID"
        assert caller("GET", target).status == 404
    assert leftovers(tmp_path / "layout") == []


def test_what_came_before_a_cut_is_kept_and_the_rest_is_sent_later(server: Server, caller: Caller) -> None:
    import socket

    target = begin(caller)
    host, port = server.host.split(":")
    with socket.create_connection((host, int(port))) as raw:
        head = f"PATCH {target} HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {len(DATA)}\r\n\r\n"
        raw.sendall(head.encode() + DATA[:3000])
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")
    state = caller("GET", target)
    assert state.headers["Range"] == "0-2999"
    done = caller("PUT", target, DATA[3000:], {**OCTETS, "Content-Range": f"3000-{len(DATA) - 1}"}, digest=NAME)
    assert done.status == 201


def test_the_request_that_comes_last_goes_on_with_an_upload(server: Server, caller: Caller) -> None:
    import socket

    target = begin(caller)
    host, port = server.host.split(":")
    with socket.create_connection((host, int(port))) as stuck:
        head = f"PATCH {target} HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {len(DATA)}\r\n\r\n"
        stuck.sendall(head.encode() + DATA[:1000])
        for _ in range(200):
            if caller("GET", target).headers["Range"] == "0-999":
                break
        done = caller("PUT", target, DATA[1000:], {**OCTETS, "Content-Range": f"1000-{len(DATA) - 1}"}, digest=NAME)
        assert done.status == 201
        stuck.sendall(DATA[1000:2000])
        answer = stuck.recv(65536)
        assert answer.startswith((b"HTTP/1.1 409 ", b"HTTP/1.1 404 "))
    assert caller("GET", f"/v2/app/blobs/{NAME}").body == DATA


def test_an_upload_belongs_to_its_repository(caller: Caller) -> None:
    target = begin(caller)
    stranger = target.replace("/app/", "/other/")
    assert caller("PATCH", stranger, DATA, OCTETS).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_single_post_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        caller("POST", "/v2/app/blobs/uploads/", DATA, OCTETS, digest=digest(b"other"))
    assert leftovers(tmp_path / "layout") == []


def test_a_full_disk_is_507_and_the_upload_can_go_on(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = begin(caller)
    write, room = os.pwrite, 2000

    def full(descriptor: int, data: bytes, position: int) -> int:
        if position >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: room - position], position)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        reply = caller("PATCH", target, DATA, OCTETS)
    assert (reply.status, reply.code) == (507, "UNKNOWN")
    assert "no space left" in reply.json["errors"][0]["message"]
    state = caller("GET", target)
    assert state.status == 204
    done = caller("PUT", target, DATA, OCTETS, digest=NAME)
    assert done.status == 201


def test_a_full_disk_at_a_manifest_leaves_the_tag_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server, Caller(server.host) as caller:
        old = caller.push_image("app", "v1")
        new = encode(caller.image("app", layer=b"new"))

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr("oci.layout.layout.write_file", full)
            reply = caller("PUT", "/v2/app/manifests/v1", new, {"Content-Type": OCI_MANIFEST})
        assert reply.status == 507
        assert caller("HEAD", "/v2/app/manifests/v1").headers["Docker-Content-Digest"] == old
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert str(tmp_path) not in reply.body.decode()


# The store of uploads by itself


@pytest.fixture
def uploads(tmp_path: Path) -> Iterator[tuple[Uploads, list[float]]]:
    layout, now = Layout.create(tmp_path / "layout"), [0.0]
    with layout.blobs.hold():
        yield Uploads(str(tmp_path / "uploads"), layout.blobs, clock=lambda: now[0]), now


def test_too_many_uploads_are_refused(
    uploads: tuple[Uploads, list[float]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("oci.serving.uploads.MAX_UPLOADS", 3)
    store, now = uploads
    kept = [store.start("app") for _ in range(3)]
    with pytest.raises(Refusal) as refused:
        store.start("app")
    assert (refused.value.status, dict(refused.value.headers)) == (429, {"Retry-After": "60"})
    assert len(list((tmp_path / "uploads/app").iterdir())) == 3
    now[0] += CROWDED - 1
    kept[2].open()
    now[0] += 2  # two of them have been quiet for long enough to give way
    store.start("app")
    assert store.get("app", kept[2].name) is kept[2]
    with pytest.raises(Refusal, match="no upload"):
        store.get("app", kept[0].name)


def test_names_of_repositories_cost_nothing(
    uploads: tuple[Uploads, list[float]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("oci.serving.uploads.MAX_UPLOADS", 3)
    store, _ = uploads
    store.cancel(store.start("cancelled"))
    with store.start("done").open() as writer:
        writer.write(DATA)
    (done,) = (tmp_path / "uploads/done").iterdir()
    store.finish(store.get("done", done.name), Digest.parse(NAME))
    for name in ("a", "b/c", "b/d"):
        store.start(name)
    for number in range(5):
        with pytest.raises(Refusal):
            store.start(f"refused{number}")
    assert sorted(os.listdir(tmp_path / "uploads")) == ["a", "b+c", "b+d"]


def test_uploads_may_begin_and_end_in_one_repository_at_the_same_time(uploads: tuple[Uploads, list[float]]) -> None:
    store, failures = uploads[0], list[OSError]()

    def work() -> None:
        try:
            for _ in range(100):
                store.cancel(store.start("app"))
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_upload_whose_end_failed_is_over(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a failed fsync nobody knows what is on disk: a second one may say yes to what isn't there."""
    target = begin(caller)
    caller("PATCH", target, DATA, OCTETS)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("oci.streams.atomic.os.fsync", full)
        assert caller("PUT", target, digest=NAME).status == 507
    assert caller("GET", target).code == "BLOB_UPLOAD_UNKNOWN"
    assert caller("PUT", target, digest=NAME).code == "BLOB_UPLOAD_UNKNOWN"
    assert leftovers(tmp_path / "layout") == []
    assert caller.push_blob("app", DATA) == NAME


def test_uploads_that_nobody_touches_go(uploads: tuple[Uploads, list[float]], tmp_path: Path) -> None:
    store, now = uploads
    old = store.start("app")
    now[0] += IDLE + 1
    new = store.start("app")
    assert [path.name for path in (tmp_path / "uploads/app").iterdir()] == [new.name]
    with pytest.raises(Refusal):
        store.get("app", old.name)


def test_a_blob_over_the_limit_is_413(uploads: tuple[Uploads, list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.serving.uploads.MAX_BLOB", 10)
    upload = uploads[0].start("app")
    with upload.open() as writer:
        writer.write(b"1234567890")
        with pytest.raises(Refusal) as refused:
            writer.write(b"1")
    assert refused.value.status == 413


def test_a_folder_that_holds_other_things_is_read_without_them(tmp_path: Path) -> None:
    folder = tmp_path / "uploads/app"
    folder.mkdir(parents=True)
    (folder / "readme").write_text("not an upload")
    (folder / "00000000-0000-4000-8000-000000000000").symlink_to("/etc/passwd")
    (folder / "00000000-0000-4000-8000-000000000001").write_bytes(b"one")
    store = Uploads(str(tmp_path / "uploads"), Layout.create(tmp_path / "layout").blobs)
    assert len(store) == 1


def test_one_of_two_ends_of_an_upload_wins(uploads: tuple[Uploads, list[float]]) -> None:
    store, _ = uploads
    upload = store.start("app")
    with upload.open() as writer:
        writer.write(DATA)
    results: list[object] = []

    def finish() -> None:
        try:
            results.append(store.finish(upload, Digest.parse(NAME)))
        except Refusal as refusal:
            results.append(refusal.status)

    threads = [threading.Thread(target=finish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == sorted([str(len(DATA)), *["404"] * 7])


def test_a_blob_that_is_there_already_is_not_written_again(
    uploads: tuple[Uploads, list[float]], tmp_path: Path
) -> None:
    store, _ = uploads
    blob = tmp_path / "layout" / "blobs" / NAME.replace(":", "/")
    inodes = []
    for _ in range(2):
        upload = store.start("app")
        with upload.open() as writer:
            writer.write(DATA)
        store.finish(upload, Digest.parse(NAME))
        inodes.append(os.stat(blob).st_ino)
        assert not os.path.exists(upload.path)
    assert inodes[0] == inodes[1]


def test_a_wrong_digest_leaves_no_blob(uploads: tuple[Uploads, list[float]], tmp_path: Path) -> None:
    store, _ = uploads
    upload = store.start("app")
    with upload.open() as writer:
        writer.write(DATA)
    with pytest.raises(DigestMismatch):
        store.finish(upload, Digest.of(b"other"))
    assert not os.path.exists(upload.path)
    assert list((tmp_path / "layout/blobs/sha256").iterdir()) == []
