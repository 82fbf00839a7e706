"""df counts everything once; prune removes what nothing needs, and never a named volume."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import WrongState
from oci.storage.check import check
from oci.storage.containers import ContainerRow
from oci.storage.folders import remove_folder
from oci.storage.images import find, names, untag
from oci.storage.prune import plan, prune
from oci.storage.store import Store
from oci.storage.usage import df
from tests.support.stocked import APP_NAME, OTHER_NAME, add_container, stocked

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers with owners need root")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stocked(tmp_path / "store") as made:
        yield made


def remover(store: Store) -> object:
    """What the container room does when it removes one, as far as the storage is concerned."""

    def remove(row: ContainerRow) -> None:
        remove_folder(store.containers.folder(row.id))
        store.containers.remove(row.id)

    return remove


def disk_layers(store: Store) -> int:
    return sum(store.layers.count(store.layers.path(name))[0] for (name,) in store.state.all("SELECT id FROM layers"))


def disk_blobs(store: Store) -> int:
    return sum(path.stat().st_size for path in Path(store.root, "images/blobs/sha256").iterdir())


# df


def test_what_images_share_is_counted_once(store: Store) -> None:
    usage = df(store)
    assert usage.layers == disk_layers(store)
    assert usage.blobs == disk_blobs(store)
    assert usage.total == usage.layers + usage.blobs
    base = store.layers.ensure(find(store, "app").image)[0].size
    blob = find(store, "app").image.layers[0].descriptor.size
    by_name = {image.names[0]: image for image in usage.images}
    for name in (APP_NAME, OTHER_NAME):
        assert by_name[name].shared == base + blob
    assert usage.total == base + blob + sum(image.own for image in usage.images)


def test_two_names_of_one_image_are_one_image(store: Store) -> None:
    from oci.storage.images import tag

    before = df(store)
    tag(store, "app", "again:v1")
    usage = df(store)
    assert usage.total == before.total
    assert sorted(image.names for image in usage.images) == [
        (APP_NAME, "docker.io/library/again:v1"),
        (OTHER_NAME,),
    ]
    assert {image.own for image in usage.images} == {image.own for image in before.images}


def test_an_image_that_was_never_unpacked_has_blobs_alone(tmp_path: Path) -> None:
    with stocked(tmp_path / "store", unpack=False) as store:
        usage = df(store)
        assert usage.layers == 0
        assert all(image.folders == 0 for image in usage.images)
        assert usage.total == disk_blobs(store)


def test_writable_layers_and_volumes_are_in_it_with_who_uses_them(store: Store) -> None:
    store.volumes.create("data")
    row = add_container(store, volumes=(("data", "/data"),))
    Path(store.containers.snapshot(row).upper, "file").write_bytes(b"x" * 12345)
    Path(store.volumes.get("data").path, "file").write_bytes(b"x" * 10000)
    usage = df(store)
    (container,), (volume,) = usage.containers, usage.volumes
    assert (container.name, container.size, container.status) == ("box", 12345, "created")
    assert (volume.name, volume.users) == ("data", ("box",))
    assert 10000 <= volume.size <= 16384
    assert {image.names[0]: image.containers for image in usage.images} == {APP_NAME: ("box",), OTHER_NAME: ()}


def test_df_says_what_prune_then_frees(store: Store) -> None:
    row = add_container(store, status="exited")
    Path(store.containers.snapshot(row).upper, "file").write_bytes(b"x" * 5000)
    untag(store, "other")
    before = df(store)
    gone = prune(store, remove_container=remover(store))  # type: ignore[arg-type]
    assert gone.freed == before.prune
    assert df(store).total == before.total - before.prune
    before = df(store)
    gone = prune(store, everything=True, volumes=True, remove_container=remover(store))  # type: ignore[arg-type]
    assert gone.freed == before.prune_all
    assert df(store).total == before.total - before.prune_all == 0


# prune


def test_images_with_names_stay_and_those_without_go(store: Store) -> None:
    assert prune(store).images == ()
    untag(store, "other")
    dry = prune(store, dry_run=True)
    assert len(dry.images) == 1
    assert len(names(store)) == 2
    gone = prune(store)
    assert (gone.images, gone.layers, set(gone.blobs), gone.freed) == (
        dry.images,
        dry.layers,
        set(dry.blobs),
        dry.freed,
    )
    assert [name for name, _ in names(store)] == [APP_NAME]
    assert list(check(store, deep=True)) == []
    assert disk_layers(store) == df(store).layers > 0


def test_an_image_that_a_container_uses_stays_whatever_is_asked(store: Store) -> None:
    add_container(store, image="other", status="running")
    untag(store, "other")
    gone = prune(store, everything=True)
    assert gone.images == (APP_NAME,)
    assert [name for name, _ in names(store)] == [None]
    assert store.layers.ensure(find(store, str(store.containers.list()[0].image_id)).image)


def test_stopped_containers_go_by_who_removes_containers(store: Store) -> None:
    add_container(store, "running", status="running")
    add_container(store, "ended", status="exited")
    add_container(store, "new")
    assert prune(store).containers == ()
    assert plan(store).containers == ("ended", "new")
    gone = prune(store, everything=True, remove_container=remover(store))  # type: ignore[arg-type]
    assert gone.containers == ("ended", "new")
    assert gone.images == (OTHER_NAME,)
    assert [row.name for row in store.containers.list()] == ["running"]


def test_a_container_that_cannot_be_removed_stays_with_a_word(store: Store) -> None:
    add_container(store, "started-meanwhile", status="exited")
    said: list[str] = []
    store.warn = said.append

    def remove(row: ContainerRow) -> None:
        raise WrongState("container started-meanwhile", "runs", "stop it first")

    gone = prune(store, everything=True, remove_container=remove)
    assert gone.containers == ()
    assert APP_NAME not in gone.images
    assert "started-meanwhile" in said[0]


def test_volumes_go_only_when_asked_and_those_with_a_name_never(store: Store) -> None:
    store.volumes.create("named")
    anonymous, used = store.volumes.create(), store.volumes.create()
    add_container(store, status="running", volumes=((used.name, "/data"),))
    assert prune(store, everything=True).volumes == ()
    assert prune(store, volumes=True, dry_run=True).volumes == (anonymous.name,)
    assert prune(store, everything=True, volumes=True).volumes == (anonymous.name,)
    assert {volume.name for volume in store.volumes.list()} == {"named", used.name}


def test_leftovers_go(store: Store) -> None:
    places = ("layers", "volumes", "images")
    for place in places:
        Path(store.root, place, ".tmp-0123456789abcdef").mkdir() if place != "images" else Path(
            store.root, place, ".tmp-0123456789abcdef"
        ).write_bytes(b"x")
    assert len(prune(store, dry_run=True).leftovers) == 3
    assert len(prune(store).leftovers) == 3
    assert not any(os.path.lexists(f"{store.root}/{place}/.tmp-0123456789abcdef") for place in places)


def test_signatures_beside_images_are_no_dangling_images(store: Store) -> None:
    from oci.spec.descriptor import Descriptor
    from tests.support.images import OCI_EMPTY, OCI_MANIFEST, digest, encode
    from tests.support.images import descriptor as described

    subject = find(store, "app").descriptor
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/x.signature",
            "config": described(b"{}", OCI_EMPTY),
            "layers": [described(b"{}", OCI_EMPTY)],
            "subject": {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size},
        }
    )
    for data in (b"{}", manifest):
        store.images.blobs.put([data])
    from oci.spec.digest import Digest

    store.images.add(Descriptor(media_type=OCI_MANIFEST, digest=Digest.parse(digest(manifest)), size=len(manifest)))
    assert prune(store).images == ()
    assert len(names(store)) == 3


def test_a_damaged_document_keeps_everything(store: Store) -> None:
    from oci.errors import LayoutError

    untag(store, "other")
    blob = Path(store.images.blobs.blob_path(find(store, "app").descriptor.digest))
    blob.write_bytes(blob.read_bytes()[:-1] + b" ")
    before = disk_blobs(store)
    with pytest.raises(LayoutError):
        prune(store)
    assert disk_blobs(store) == before
    assert df(store).prune == 0
