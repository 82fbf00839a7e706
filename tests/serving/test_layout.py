"""The layout below a registry: plain, found by every tool, and served whoever made it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from oci.errors import ConfigurationError, DestinationError, LayoutError
from oci.layout.collect import gc
from oci.layout.layout import Layout
from oci.serving import Server
from oci.serving.naming import own_repository, place_of
from oci.serving.sockets import Web
from oci.serving.store import Store
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.verification.verify import verify
from tests.support.calling import Caller
from tests.support.images import (
    OCI_INDEX,
    OCI_MANIFEST,
    REF_NAME,
    LayoutMaker,
    descriptor,
    digest,
    encode,
    index,
    tar_layer,
)
from tests.support.peers import need, ocikit, peer

MARK = "ocikit.serve.repository"


def entries(layout: Path) -> list[tuple[str, dict[str, str]]]:
    """What index.json lists: digests with annotations."""
    listed: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return [(entry["digest"], entry.get("annotations", {})) for entry in listed]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def real_image(caller: Caller, repository: str, tag: str | None, text: bytes = b"hello\n") -> str:
    """Push an image that verifies."""
    layer = tar_layer({"file": text})
    config = encode({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}})
    value = caller.image(repository, layer=layer.data, config=config)
    value["layers"] = [layer.descriptor()]
    return caller.push_manifest(repository, value, tag)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("v1", ("own", "v1")),
        ("app:v1", ("app", "v1")),
        ("a/b-c__d.e:v1", ("a/b-c__d.e", "v1")),
        ("docker.io/library/alpine:3.18", ("docker.io/library/alpine", "3.18")),
        ("localhost:5000/app:v1", ("own", None)),
        ("App:v1", ("own", None)),
        ("a/b", ("own", None)),
        ("app:", ("own", None)),
        ("", ("own", None)),
        (None, ("own", None)),
    ],
)
def test_the_name_of_an_entry_says_repository_and_tag(name: str | None, place: tuple[str, str | None]) -> None:
    annotations = {} if name is None else {REF_NAME: name}
    entry = Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(b""), size=0, annotations=annotations)
    assert place_of(entry, "own") == place


def test_the_own_repository_is_named_after_the_directory(tmp_path: Path) -> None:
    names = {"images": "images", "My Images (2)": "my-images-2", "___": "images", "a.b": "a-b"}
    assert {name: own_repository(tmp_path / name) for name in names} == names


def test_tags_are_entries_that_other_tools_find(layout: Path) -> None:
    need("skopeo", "umoci")
    with Server(layout) as server, Caller(server.host) as caller:
        one = real_image(caller, "team/app", "v1")
        two = real_image(caller, "layout", "v2", b"other\n")
    assert entries(layout) == [(one, {REF_NAME: "team/app:v1"}), (two, {REF_NAME: "v2"})]
    assert json.loads(peer("skopeo", "inspect", f"oci:{layout}:team/app:v1"))["Digest"] == one
    assert json.loads(peer("skopeo", "inspect", f"oci:{layout}:v2"))["Digest"] == two
    assert peer("umoci", "ls", "--layout", layout).split() == ["team/app:v1", "v2"]
    assert (
        ocikit("inspect", f"oci:{layout}:team/app:v1", "--raw").encode()
        == (layout / "blobs/sha256" / one.partition(":")[2]).read_bytes()
    )
    assert "2 manifests" in ocikit("verify", layout)


def test_verify_finds_nothing_after_pushes_moves_and_deletes(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        first = real_image(caller, "app", "latest", b"1")
        second = real_image(caller, "app", "latest", b"2")
        image = caller("GET", f"/v2/app/manifests/{second}").body
        whole = index([descriptor(image, OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"})])
        caller.push_manifest("app", whole, "multi", OCI_INDEX)
        real_image(caller, "gone", "v1", b"3")
        assert caller("DELETE", "/v2/gone/manifests/v1").status == 202
        assert caller("DELETE", f"/v2/app/manifests/{first}").status == 202
        caller("POST", "/v2/app/blobs/uploads/")  # left behind
        caller.push_blob("app", b"named by nothing")
    report = verify(layout)
    assert {finding.code for finding in report.findings} == {"unreferenced-blob"}  # gc's
    assert report.ok
    assert report.checked.manifests == 2


def test_what_no_tag_leads_to_has_an_entry_that_says_its_repository(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        first = caller.push_image("app", "v1", layer=b"1")
        second = caller.push_image("app", "v1", layer=b"2")
        alone = caller.push_image("b", layer=b"3")
    assert entries(layout) == [(second, {REF_NAME: "app:v1"}), (first, {MARK: "app"}), (alone, {MARK: "b"})]


def test_an_image_pushed_by_digest_is_listed_no_more_once_an_index_or_a_tag_leads_to_it(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        image = encode(caller.image("app"))
        caller.push_manifest("app", image)
        assert entries(layout) == [(digest(image), {MARK: "app"})]
        whole = caller.push_manifest("app", index([descriptor(image, OCI_MANIFEST)]), "v1", OCI_INDEX)
        assert entries(layout) == [(whole, {REF_NAME: "app:v1"})]
        caller("DELETE", f"/v2/app/manifests/{whole}")
        assert entries(layout) == [(digest(image), {MARK: "app"})]
        caller.push_manifest("app", image, "v2")
        assert entries(layout) == [(digest(image), {REF_NAME: "app:v2"})]


def test_an_untagged_image_of_an_index_keeps_its_platform_in_the_entry(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        image = encode(caller.image("app"))
        caller.push_manifest("app", image)
        platform = {"os": "linux", "architecture": "arm64"}
        whole = index([descriptor(image, OCI_MANIFEST, platform=platform)])
        name = caller.push_manifest("app", whole, "v1", OCI_INDEX)
        caller("DELETE", f"/v2/app/manifests/{name}")
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert entry["platform"] == platform


def test_a_push_that_changes_nothing_writes_nothing(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        raw = encode(caller.image("app"))
        caller.push_manifest("app", raw, "v1")
        before = os.stat(layout / "index.json")
        caller.push_manifest("app", raw, "v1")
        caller.push_manifest("app", raw)
        assert os.stat(layout / "index.json").st_ino == before.st_ino


def test_a_layout_of_another_tool_is_served_and_its_other_entries_stay_as_they_are(layout: Path) -> None:
    made = LayoutMaker(layout)
    image = made.image([tar_layer({"f": b"1"})])
    made.tag("v1", image | {"annotations": {"org.example.kept": "yes"}})
    made.tag("some/app:v1", image)
    made.tag(None, made.image([tar_layer({"f": b"2"})]))
    made.tag("localhost:5000/odd:v1", image | {"x-unknown": 1})
    made.finish()
    before = json.loads((layout / "index.json").read_text())["manifests"]
    with Server(layout, repository="base") as server, Caller(server.host) as caller:
        assert caller("GET", "/v2/_catalog").json["repositories"] == ["base", "some/app"]
        assert caller("GET", "/v2/base/tags/list").json["tags"] == ["v1"]
        for reference in ("base/manifests/v1", "some/app/manifests/v1", f"base/manifests/{before[2]['digest']}"):
            assert caller("GET", f"/v2/{reference}").status == 200
        layer = tar_layer({"f": b"1"}).digest
        assert caller("GET", f"/v2/some/app/blobs/{layer}").status == 200
        new = caller.push_image("base", "v2")
        after = json.loads((layout / "index.json").read_text())["manifests"]
    assert after[:4] == before
    assert [(entry["digest"], entry["annotations"]) for entry in after[4:]] == [(new, {REF_NAME: "v2"})]


def test_a_tag_that_is_there_twice_is_the_first_one_and_once_after_a_push(layout: Path) -> None:
    made = LayoutMaker(layout)
    first, second = made.image([tar_layer({"f": b"1"})]), made.image([tar_layer({"f": b"2"})])
    made.tag("v1", first)
    made.tag("v1", second)
    made.finish()
    with Server(layout, repository="app") as server, Caller(server.host) as caller:
        assert caller("HEAD", "/v2/app/manifests/v1").headers["Docker-Content-Digest"] == first["digest"]
        caller.push_image("app", "other")
        assert [name for name, _ in entries(layout)][:2] == [first["digest"], second["digest"]]
        third = caller.push_image("app", "v1", layer=b"3")
        assert sum(notes.get(REF_NAME) == "v1" for _, notes in entries(layout)) == 1
        assert caller("HEAD", "/v2/app/manifests/v1").headers["Docker-Content-Digest"] == third
        for image in (first, second):  # neither is lost
            assert caller("HEAD", f"/v2/app/manifests/{image['digest']}").status == 200


def test_what_another_program_changes_meanwhile_is_seen(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        name = caller.push_image("app", "v1")
        ocikit("tag", f"oci:{layout}:app:v1", "app:v2")
        assert caller("GET", "/v2/app/tags/list").json["tags"] == ["v1", "v2"]
        ocikit("untag", f"oci:{layout}:app:v1")
        assert caller("GET", "/v2/app/tags/list").json["tags"] == ["v2"]
        assert caller("HEAD", f"/v2/app/manifests/{name}").status == 200


def test_a_blob_is_read_only_through_a_repository_that_has_it(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        caller.push_image("secret", "v1", layer=b"secret")
        caller.push_image("app", "v1", layer=b"open")
        for method in ("GET", "HEAD"):
            assert caller(method, f"/v2/app/blobs/{digest(b'secret')}").status == 404
            assert caller(method, f"/v2/secret/blobs/{digest(b'secret')}").status == 200
        name = caller("HEAD", "/v2/secret/manifests/v1").headers["Docker-Content-Digest"]
        assert caller("GET", f"/v2/app/manifests/{name}").status == 404
        assert caller("GET", f"/v2/app/blobs/{name}").status == 404


def test_blobs_stay_on_disk_until_gc_which_waits_for_the_server(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        name = caller.push_image("app", "v1", layer=b"old")
        caller("DELETE", f"/v2/app/manifests/{name}")
        caller.push_blob("app", b"just pushed")
        with pytest.raises(LayoutError, match="another process is writing"):
            gc(Layout.open(layout))
    assert len(gc(Layout.open(layout)).blobs) == 4
    with Server(layout) as server, Caller(server.host) as caller:
        assert caller("HEAD", f"/v2/app/blobs/{digest(b'old')}").status == 404
        caller.push_blob("other", b"old")  # what gc removed belongs to nobody any more
        assert caller("HEAD", f"/v2/app/blobs/{digest(b'old')}").status == 404


def test_one_server_writes_to_a_layout_and_any_number_read(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        caller.push_image("app", "v1")
        with pytest.raises(LayoutError, match="another ocikit serve writes to it"):
            Server(layout).__enter__()
        with Server(layout, read_only=True) as reader, Caller(reader.host) as other:
            assert other("GET", "/v2/app/manifests/v1").status == 200
            caller.push_image("app", "v2")
            assert other("GET", "/v2/app/tags/list").json["tags"] == ["v1", "v2"]


def test_the_layout_is_let_go_only_when_the_last_request_has_ended(
    layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, stopped = Web.stop, []

    def looking(web: Web) -> None:
        with pytest.raises(LayoutError, match="another ocikit serve"), Store(Layout.open(layout), own="x").writing():
            pass
        stopped.append(stop(web))

    monkeypatch.setattr(Web, "stop", looking)
    with Server(layout):
        pass
    assert len(stopped) == 1


def test_a_layout_that_is_not_there_is_made_unless_it_is_only_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such directory"):
        Server(tmp_path / "new", read_only=True).__enter__()
    with Server(tmp_path / "new" / "one") as server:
        assert server.repository == "one"
    assert (tmp_path / "new" / "one" / "oci-layout").is_file()


def test_a_directory_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DestinationError, match="neither empty nor an image layout"):
        Server(tmp_path).__enter__()
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_that_is_no_repositorys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not a repository's name"):
        Server("anywhere", repository="No")


@pytest.mark.parametrize("name", ["", "/blobs", "/uploads", "/blobs/app", "/uploads/app"])
def test_a_folder_that_a_layout_from_elsewhere_made_a_link_is_not_written_to(
    layout: Path, tmp_path: Path, name: str
) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        caller.push_blob("app", b"content")
        caller("POST", "/v2/app/blobs/uploads/")
    mine = tmp_path / "mine"
    (mine / "folder").mkdir(parents=True)
    (mine / "folder" / "sha256-file").write_text("mine")
    path = Path(f"{layout}/.ocikit-serve{name}")
    path.rename(tmp_path / "moved")
    path.symlink_to(mine)
    with pytest.raises(LayoutError, match="is not a directory; remove it"):
        Server(layout).__enter__()
    assert (mine / "folder" / "sha256-file").read_text() == "mine"


def test_notes_about_blobs_that_are_gone_go_and_nothing_else(layout: Path) -> None:
    with Server(layout) as server, Caller(server.host) as caller:
        kept, gone = caller.push_blob("app", b"kept"), caller.push_blob("app", b"gone")
    notes = layout / ".ocikit-serve/blobs/app"
    (notes / "readme").write_text("somebody's")
    (layout / "blobs" / gone.replace(":", "/")).unlink()
    with Server(layout):
        pass
    assert sorted(os.listdir(notes)) == sorted(["readme", kept.replace(":", "-")])


def test_a_repository_that_would_be_too_large_takes_no_more_and_gives_back(
    layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.serving.store.MAX_REACHED", 8)
    with Server(layout) as server, Caller(server.host) as caller:
        kept = caller.push_image("app", "v1")
        value = caller.image("app")
        # Layers that need not be there: nothing else keeps a client from naming as many as it likes.
        value["layers"] = [
            descriptor(b"%d" % n, "application/vnd.oci.image.layer.v1.tar", urls=["https://x/"]) for n in range(5)
        ]
        for reference in ("v2", digest(encode(value))):
            reply = caller("PUT", f"/v2/app/manifests/{reference}", encode(value), {"Content-Type": OCI_MANIFEST})
            assert reply.status == 507
        assert caller("GET", "/v2/app/tags/list").json["tags"] == ["v1"]
        assert caller("DELETE", f"/v2/app/manifests/{kept}").status == 202
        assert caller("PUT", "/v2/app/manifests/v2", encode(value), {"Content-Type": OCI_MANIFEST}).status == 201


def test_repositories_that_are_not_there_are_not_remembered(layout: Path) -> None:
    made = LayoutMaker(layout)
    made.tag("app:v1", made.image([tar_layer({"f": b"1"})]))
    made.finish()
    store = Store(Layout.open(layout), own="own")
    assert store.view("app") is store.view("app")
    assert store.view("nobody") is not store.view("nobody")


def test_a_tag_whose_manifest_is_not_stored_is_404_and_tells_no_paths(layout: Path) -> None:
    made = LayoutMaker(layout)
    made.tag("v1", descriptor(b"not here", OCI_MANIFEST))
    made.finish()
    with Server(layout, repository="app") as server, Caller(server.host) as caller:
        reply = caller("GET", "/v2/app/manifests/v1")
        assert reply.status == 404
        assert str(layout) not in reply.body.decode()
        assert caller("GET", "/v2/app/tags/list").json["tags"] == ["v1"]
        caller.push_image("app", "v2")
