"""Images of a store: what a user's word means, names given and taken, and what goes with the last one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from oci.errors import InUse, InvalidReference, NoMatchingPlatform, RefNotFound
from oci.layout.walk import walk
from oci.spec.platform import Platform
from oci.spec.reference import parse_reference
from oci.storage import images
from oci.storage.containers import ContainerRow, new_id
from oci.storage.images import find
from oci.storage.store import Store
from tests.support.images import LayoutMaker, index, tar_layer

HUB = "docker.io/library/"


class Shelf:
    """A store with three images and an index of two more; their IDs and digests."""

    def __init__(self, root: Path) -> None:
        maker = LayoutMaker(root / "images")
        self.base = tar_layer({"a": b"a"})
        parts = {
            "app:latest": [self.base, tar_layer({"b": b"b"})],
            "app:v2": [self.base, tar_layer({"c": b"c"})],
            "base:v1": [self.base],
        }
        self.manifest: dict[str, str] = {}
        self.config: dict[str, str] = {}
        for name, layers in parts.items():
            described = maker.image(layers)
            self._note(maker, name, described)
            maker.tag(HUB + name, described)
        many = []
        for architecture in ("amd64", "arm64"):
            described = maker.image([tar_layer({architecture: b"1"})], architecture=architecture)
            self._note(maker, architecture, described)
            many.append({**described, "platform": {"os": "linux", "architecture": architecture}})
        described = maker.document(index(many), "application/vnd.oci.image.index.v1+json")
        self.manifest["many"] = described["digest"]
        maker.tag("quay.io/team/many:1", described)
        self.twin = maker.image([self.base], created="2020-01-01T00:00:00Z")
        maker.tag(None, self.twin)
        maker.finish()
        self.store = Store.open(root, clock=time.time_ns)

    def _note(self, maker: LayoutMaker, name: str, described: dict[str, str]) -> None:
        self.manifest[name] = described["digest"]
        self.config[name] = maker.read(described["digest"])["config"]["digest"]

    def names(self) -> list[str]:
        return sorted(name or "-" for name, _ in images.names(self.store))

    def use(self, name: str, container: str = "box") -> None:
        row = ContainerRow(
            id=new_id(),
            name=container,
            image_id=self.config[name],
            image_name=None,
            manifest=self.manifest[name],
            layers=(),
            driver="copy",
            created=1,
        )
        self.store.containers.add(row)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "store")
    yield made
    made.store.close()


# Finding


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("app", "app:latest"),
        ("app:v2", "app:v2"),
        ("docker.io/library/app", "app:latest"),
        ("library/app:latest", "app:latest"),
        ("index.docker.io/app", "app:latest"),
    ],
)
def test_names_are_filled_in_as_docker_does(shelf: Shelf, text: str, meant: str) -> None:
    found = find(shelf.store, text)
    assert found.name == HUB + meant
    assert str(found.id) == shelf.config[meant]
    assert str(found.descriptor.digest) == shelf.manifest[meant]
    assert found.descriptor.annotations == {}
    assert len(found.image.layers) == 2


def test_a_digest_beside_a_name_is_looked_for_in_that_repository(shelf: Shelf) -> None:
    for text in (f"app@{shelf.manifest['app:v2']}", f"app:latest@{shelf.manifest['app:v2']}"):
        found = find(shelf.store, text)
        assert (found.name, str(found.id)) == (HUB + "app:v2", shelf.config["app:v2"])
    with pytest.raises(RefNotFound):
        find(shelf.store, f"base@{shelf.manifest['app:v2']}")
    below = find(shelf.store, f"quay.io/team/many@{shelf.manifest['arm64']}")
    assert str(below.id) == shelf.config["arm64"]


def test_an_image_has_an_id_and_its_documents_have_digests(shelf: Shelf) -> None:
    config, manifest = shelf.config["app:v2"], shelf.manifest["app:v2"]
    for text in (config, config[7:], config[7:15], manifest, manifest[7:], manifest[7:19], f"sha256:{config[7:14]}"):
        found = find(shelf.store, text)
        assert (found.name, str(found.id)) == (None, config), text
    assert str(find(shelf.store, shelf.config["arm64"][:20]).id) == shelf.config["arm64"]
    arm = Platform.parse("linux/arm64")
    assert str(find(shelf.store, shelf.manifest["many"], arm).id) == shelf.config["arm64"]


def test_a_prefix_of_several_images_says_of_which(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "store" / "images")
    for number in range(60):  # of 256 possible beginnings
        maker.tag(f"docker.io/library/n{number}:latest", maker.image([], author=str(number)))
    maker.finish()
    with Store.open(tmp_path / "store", clock=time.time_ns) as store:
        ids = sorted({str(find(store, name).id) for name, _ in images.names(store) if name})
        first = next(one for one, other in pairwise(ids) if one[7:9] == other[7:9])
        with pytest.raises(InvalidReference, match=f"could be any of .*{first}.*; give more digits"):
            find(store, first[7:9])
        assert str(find(store, first[7:30]).id) == first


def test_a_name_counts_more_than_an_id_that_looks_like_it(shelf: Shelf) -> None:
    prefix = shelf.config["app:v2"][7:13]
    images.tag(shelf.store, "base:v1", prefix)
    assert find(shelf.store, prefix).name == f"{HUB}{prefix}:latest"


def test_what_is_not_there_is_told_with_what_is(shelf: Shelf) -> None:
    with pytest.raises(RefNotFound, match=r"there is: app:latest, app:v2, base:v1, quay\.io/team/many:1"):
        find(shelf.store, "nothing")
    for text in ("sha256:" + "0" * 64, "00", "app:v3"):
        with pytest.raises(RefNotFound):
            find(shelf.store, text)
    for text in ("", "A", "a b", "../x"):
        with pytest.raises(InvalidReference):
            find(shelf.store, text)


def test_an_index_is_narrowed_by_platform(shelf: Shelf) -> None:
    for architecture in ("amd64", "arm64"):
        found = find(shelf.store, "quay.io/team/many:1", Platform.parse(f"linux/{architecture}"))
        assert (found.name, str(found.id)) == ("quay.io/team/many:1", shelf.config[architecture])
    with pytest.raises(NoMatchingPlatform):
        find(shelf.store, "quay.io/team/many:1", Platform.parse("linux/s390x"))
    digest = find(shelf.store, shelf.manifest["amd64"]).descriptor.digest
    shelf.store.images.blobs.delete(digest)  # a part that wasn't pulled
    assert str(find(shelf.store, "quay.io/team/many:1").id) == shelf.config["arm64"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("docker://quay.io/podman/hello:v1", "quay.io/podman/hello:v1"),
        ("docker://localhost:5000/x", "localhost:5000/x:latest"),
        ("x@sha256:" + "a" * 64, "docker.io/library/x@sha256:" + "a" * 64),
        ("x:v1@sha256:" + "a" * 64, "docker.io/library/x:v1"),
        ("./some/images:v2", "docker.io/library/images:v2"),
        ("oci:images", "docker.io/library/images:latest"),
        ("oci:images:quay.io/a/b:c", "quay.io/a/b:c"),
        ("oci-archive:/tmp/App.tar", "docker.io/library/app:latest"),
        ("docker-archive:x.tar:team/app", "docker.io/team/app:latest"),
    ],
)
def test_a_pulled_image_has_a_whole_name(reference: str, name: str) -> None:
    assert images.name_for(parse_reference(reference)) == name


@pytest.mark.parametrize("reference", ["a" * 64, "docker-archive:x.tar", "oci:./_", "/"])
def test_what_gives_no_name_says_so(reference: str) -> None:
    with pytest.raises(InvalidReference):
        images.name_for(parse_reference(reference))


# Names


def test_a_tag_moves_and_leaves_the_image_that_had_it(shelf: Shelf) -> None:
    assert images.tag(shelf.store, "app:v2", "app") == HUB + "app:latest"
    assert find(shelf.store, "app").id == find(shelf.store, "app:v2").id
    assert str(find(shelf.store, shelf.config["app:latest"]).id) == shelf.config["app:latest"]
    assert shelf.names().count("-") == 2
    with pytest.raises(InvalidReference, match="without a digest"):
        images.tag(shelf.store, "app", f"x@{shelf.manifest['app:v2']}")


def test_untag_keeps_the_image(shelf: Shelf) -> None:
    images.untag(shelf.store, "app")
    assert HUB + "app:latest" not in shelf.names()
    assert str(find(shelf.store, shelf.config["app:latest"]).id) == shelf.config["app:latest"]


def test_keep_adds_an_entry_only_where_none_leads_to_the_image(shelf: Shelf) -> None:
    before = shelf.names()
    for text in ("app", shelf.manifest["arm64"]):
        images.keep(shelf.store, find(shelf.store, text).descriptor)
    assert shelf.names() == before
    kept = find(shelf.store, "app").descriptor
    with shelf.store.images.edit_index() as edit:
        edit.index = edit.index.replace(manifests=())
    images.keep(shelf.store, kept)
    assert shelf.names() == ["-"]


# Removing


def stored(shelf: Shelf) -> set[str]:
    return {str(digest) for digest in shelf.store.images.blobs.digests()}


def reachable(shelf: Shelf) -> set[str]:
    layout = shelf.store.images
    return {str(part.digest) for _, entry in images.names(shelf.store) for part in walk(layout.blobs, entry)}


def test_the_last_name_takes_the_image_its_blobs_and_its_layers(shelf: Shelf) -> None:
    store = shelf.store
    for name in ("app", "app:v2", "base:v1"):
        store.layers.ensure(find(store, name).image)
    images.tag(store, "app", "other")
    assert [str(line) for line in images.remove(store, "app")] == [f"untagged: {HUB}app:latest"]
    own = find(store, "other").image.layers[1]
    base = find(store, "other").image.layers[0]
    removed = images.remove(store, "other")
    assert [line.what for line in removed if line.kind == "image"] == [shelf.config["app:latest"]]
    blobs = {line.what for line in removed if line.kind == "blob"}
    assert blobs == {shelf.manifest["app:latest"], shelf.config["app:latest"], str(own.descriptor.digest)}
    assert own.diff_id is not None
    assert base.diff_id is not None
    assert [line.what for line in removed if line.kind == "layer"] == [own.diff_id.encoded]
    assert own.diff_id.encoded not in os.listdir(f"{store.root}/layers")
    assert base.diff_id.encoded in os.listdir(f"{store.root}/layers")
    assert stored(shelf) == reachable(shelf)


def test_everything_goes_with_the_last_image(shelf: Shelf) -> None:
    store = shelf.store
    store.layers.ensure(find(store, "app").image)
    for text in ("app", "app:v2", "base:v1", "quay.io/team/many:1", shelf.twin["digest"]):
        images.remove(store, text)
    assert images.names(store) == ()
    assert stored(shelf) == set()
    assert os.listdir(f"{store.root}/layers") == []


def test_an_image_in_use_stays(shelf: Shelf) -> None:
    store = shelf.store
    store.layers.ensure(find(store, "app").image)
    shelf.use("app:latest", "one")
    shelf.use("app:latest", "two")
    with pytest.raises(InUse, match="image app is in use by one, two; remove them first, or use --force"):
        images.remove(store, "app")
    images.tag(store, "app", "also")
    assert len(images.remove(store, "also")) == 1  # a name of several is no matter
    assert [line.kind for line in images.remove(store, "app", force=True)] == ["name"]
    assert str(find(store, shelf.config["app:latest"]).id) == shelf.config["app:latest"]
    with pytest.raises(InUse, match=r"remove them first$"):
        images.remove(store, shelf.config["app:latest"], force=True)
    for row in store.containers.list():
        store.containers.remove(row.id)
    assert {line.kind for line in images.remove(store, shelf.config["app:latest"])} == {"image", "blob", "layer"}
    assert stored(shelf) == reachable(shelf)


def test_a_part_of_an_index_in_use_keeps_the_index(shelf: Shelf) -> None:
    shelf.use("arm64")
    with pytest.raises(InUse):
        images.remove(shelf.store, "quay.io/team/many:1")
    images.remove(shelf.store, "quay.io/team/many:1", force=True)
    assert str(find(shelf.store, shelf.config["arm64"]).id) == shelf.config["arm64"]


def test_by_its_id_an_image_of_several_names_goes_only_with_force(shelf: Shelf) -> None:
    images.tag(shelf.store, "app", "also")
    with pytest.raises(
        InUse, match=r"in use by also:latest, app:latest; remove one of these names, or all with --force"
    ):
        images.remove(shelf.store, shelf.config["app:latest"])
    images.remove(shelf.store, shelf.config["app:latest"], force=True)
    assert not {HUB + "also:latest", HUB + "app:latest"} & set(shelf.names())
    with pytest.raises(RefNotFound):
        find(shelf.store, shelf.config["app:latest"])


def test_a_damaged_image_can_be_removed(shelf: Shelf) -> None:
    path = Path(shelf.store.images.blobs.blob_path(find(shelf.store, "app").descriptor.digest))
    path.write_bytes(b"x" * path.stat().st_size)
    images.remove(shelf.store, "app")
    assert HUB + "app:latest" not in shelf.names()


def test_beside_a_damaged_image_blobs_and_layers_stay_and_that_is_told(shelf: Shelf) -> None:
    path = Path(shelf.store.images.blobs.blob_path(find(shelf.store, "base:v1").descriptor.digest))
    path.write_bytes(b"x" * path.stat().st_size)
    told: list[str] = []
    before = stored(shelf)
    shelf.store.warn = told.append
    images.remove(shelf.store, "app")
    assert HUB + "app:latest" not in shelf.names()
    assert stored(shelf) == before
    assert len(told) == 1
    assert "stay for now" in told[0]
