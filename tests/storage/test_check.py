"""Every kind of damage, made for real: found under its code, mended, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oci.errors import StoreError
from oci.linux import namespaces
from oci.linux.mounts import bind, mounts
from oci.linux.process import Identity, identity
from oci.storage.check import CODES, Finding, check
from oci.storage.containers import new_id
from oci.storage.faults_containers import LOST
from oci.storage.images import find
from oci.storage.repair import MENDS, Repair, check_and_repair, opened, repair
from oci.storage.store import Store
from oci.streams.scratch import scratch_folder
from tests.support.checking import blob_of, codes, mended
from tests.support.namespaces import need_mounts
from tests.support.stocked import APP_NAME, OTHER_NAME, add_container, stocked, ticks
from tests.support.users import in_child

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers with owners need root")

DEAD = Identity(pid=1, start=1, boot_id="00000000-0000-0000-0000-000000000000")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stocked(tmp_path / "store") as made:
        yield made


def test_a_sound_store_has_no_faults(store: Store) -> None:
    add_container(store)
    store.volumes.create("data")
    assert codes(store) == []
    assert codes(store, deep=True) == []
    assert check_and_repair(store, deep=True) == ()


def test_every_code_has_a_mend_or_says_that_it_has_none() -> None:
    assert set(CODES) - set(MENDS) == {
        "database-damaged",  # a new one is made before the store is opened
        "index-damaged",
        "blob-missing",
        "container-without-image",
    }
    assert set(MENDS) <= set(CODES)


@contextmanager
def living(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, for as long as the block lasts."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *arguments]) as process:
        try:
            yield process
        finally:
            process.kill()


# Images


def test_index_json_that_cannot_be_read(store: Store) -> None:
    Path(store.root, "images/index.json").write_text("{")
    assert "index-damaged" in codes(store)
    assert mended(store)[0] == ("index-damaged", False)


def test_an_entry_without_its_manifest_is_removed(store: Store) -> None:
    found = find(store, "other")
    os.unlink(store.images.blobs.blob_path(found.descriptor.digest))
    assert codes(store) == ["index-entry-without-blob"]
    assert mended(store) == [("index-entry-without-blob", True)]
    assert [e.annotations["org.opencontainers.image.ref.name"] for e in store.images.index().model.manifests] == [
        APP_NAME
    ]


def test_a_missing_layer_is_said_with_the_image_to_pull(store: Store) -> None:
    os.unlink(blob_of(store, "other", 1))
    (finding,) = check(store)
    assert (finding.code, finding.repairable) == ("blob-missing", False)
    assert OTHER_NAME in finding.message
    assert "pull it again" in finding.message
    assert mended(store) == [("blob-missing", False)]


def test_a_blob_of_another_size_is_found_at_once_and_removed(store: Store) -> None:
    with open(blob_of(store, "other", 1), "ab") as file:
        file.write(b"more")
    assert codes(store) == ["blob-altered"]
    answers = check_and_repair(store)
    assert [(a.finding.code, a.done) for a in answers] == [("blob-altered", False), ("blob-missing", False)]
    assert "pull" in answers[0].message
    assert not blob_of(store, "other", 1).exists()


def test_altered_bytes_are_found_by_reading_all(store: Store) -> None:
    blob = blob_of(store, "other", 1)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    assert codes(store) == []
    assert codes(store, deep=True) == ["blob-altered"]


def test_an_altered_blob_that_nobody_needs_is_simply_removed(store: Store) -> None:
    stray = Path(store.root, "images/blobs/sha256", "0" * 64)
    stray.write_bytes(b"not that digest")
    assert codes(store) == []
    assert mended(store, deep=True) == [("blob-altered", True)]
    assert not stray.exists()


def test_an_altered_manifest_is_found_without_reading_all(store: Store) -> None:
    blob = Path(store.images.blobs.blob_path(find(store, "other").descriptor.digest))
    blob.write_bytes(blob.read_bytes().replace(b"schemaVersion", b"schemaVersiom"))
    assert codes(store) == ["blob-altered"]
    assert mended(store) == [("blob-altered", False), ("index-entry-without-blob", True)]


def test_leftover_temporary_files_go_and_those_of_living_writers_stay(store: Store) -> None:
    Path(store.root, "images/.tmp-0123456789abcdef").write_bytes(b"half")
    from oci.streams.atomic import AtomicFile

    with AtomicFile(f"{store.root}/images/blob") as living:
        assert mended(store) == [("blob-leftover", True)]
        assert os.path.exists(living.temporary)


# Volumes


def test_a_volume_folder_without_a_row_is_never_removed_and_becomes_a_volume_again(store: Store) -> None:
    volume = store.volumes.create("data")
    Path(volume.path, "precious").write_text("x")
    with store.state.transaction() as db:
        db.run("DELETE FROM volumes")
    assert codes(store) == ["volume-without-row"]
    assert mended(store) == [("volume-without-row", True)]
    assert Path(store.volumes.get("data").path, "precious").read_text() == "x"


def test_a_volume_whose_data_is_gone(store: Store) -> None:
    store.volumes.create("unused")
    store.volumes.create("used")
    add_container(store, volumes=(("used", "/data"),))
    for name in ("unused", "used"):
        shutil.rmtree(f"{store.root}/volumes/{name}")
    assert codes(store) == ["volume-without-folder"] * 2
    assert mended(store) == [("volume-without-folder", True)] * 2
    assert [volume.name for volume in store.volumes.list()] == ["used"]
    assert os.listdir(store.volumes.get("used").path) == []


def test_what_killed_commands_left_of_volumes(store: Store) -> None:
    store.volumes.create("data")
    leftovers = [Path(store.root, place, ".tmp-0123456789abcdef") for place in ("volumes", "volumes/data")]
    for folder in leftovers:
        folder.mkdir()
        (folder / "half").write_text("x")
    assert mended(store) == [("volume-leftover", True)] * 2
    assert not any(folder.exists() for folder in leftovers)


# Containers


def test_a_dead_container_shown_as_running_ends_as_its_exit_file_says(store: Store) -> None:
    seen = add_container(store, "seen", status="running", supervisor=DEAD, init=DEAD, started=5)
    unseen = add_container(store, "unseen", status="running", supervisor=DEAD, init=DEAD, started=7)
    ending = {"started": 5, "finished": 9, "exit_code": 3, "signal": None, "reason": None}
    for row in (seen, unseen):  # the other one's is of an earlier run
        Path(store.containers.folder(row.id), "exit.json").write_text(json.dumps(ending))
    assert codes(store) == ["container-dead"] * 2
    assert mended(store) == [("container-dead", True)] * 2
    seen, unseen = (store.containers.get(row.id) for row in (seen, unseen))
    assert (seen.status, seen.exit_code, seen.finished, seen.supervisor) == ("exited", 3, 9, None)
    assert (unseen.status, unseen.exit_code) == ("exited", None)
    assert unseen.error


def test_a_container_whose_supervisor_is_dead_is_killed(store: Store) -> None:
    with living() as process:
        row = add_container(store, status="running", supervisor=DEAD, init=identity(process.pid), started=5)
        assert codes(store) == ["container-unsupervised"]
        assert mended(store) == [("container-unsupervised", True)]
        assert process.wait() == -signal.SIGKILL
    assert store.containers.get(row.id).exit_code == 137


def test_a_living_container_is_no_fault(store: Store) -> None:
    me = identity(os.getpid())
    add_container(store, status="running", supervisor=me, init=None)
    assert codes(store) == []


def test_half_made_and_half_removed_containers_are_removed_whole(store: Store) -> None:
    add_container(store, "removing", status="removing")
    made = add_container(store, "half")
    shutil.rmtree(store.containers.snapshot(made).work)
    add_container(store, "no-folder", folder=False)
    assert codes(store) == ["container-half-removed", "container-half-made", "container-without-folder"]
    assert all(done for _, done in mended(store))
    assert store.containers.list() == ()
    assert os.listdir(f"{store.root}/containers") == []


def test_a_container_that_somebody_works_on_is_passed_over(store: Store) -> None:
    row = add_container(store, status="removing")
    with store.containers.lock(row.id):
        assert codes(store) == []


def test_a_container_folder_without_a_row_goes_but_not_what_was_written_in_it(store: Store) -> None:
    empty, written = add_container(store, "empty"), add_container(store, "written")
    Path(store.containers.snapshot(written).upper, "precious").write_text("x")
    for row in (empty, written):
        store.containers.remove(row.id)
    assert mended(store) == [("container-without-row", True)] * 2
    assert os.listdir(f"{store.root}/containers") == []
    assert os.listdir(f"{store.root}/{LOST}") == [written.id]
    assert Path(store.root, LOST, written.id, "upper/precious").read_text() == "x"


def test_a_container_folder_in_which_something_runs_stays(store: Store) -> None:
    row = add_container(store)
    store.containers.remove(row.id)
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", "ocikit-supervisor", row.id]
    ) as process:
        try:
            (finding,) = check(store)
            assert (finding.code, finding.repairable) == ("container-without-row", False)
            assert str(process.pid) in finding.message
            assert mended(store) == [("container-without-row", False)]
            assert os.path.isdir(store.containers.folder(row.id))
        finally:
            process.kill()
    assert mended(store) == [("container-without-row", True)]


# The machine


def test_a_stale_mount_is_taken_away_before_its_folder_and_nothing_through_it(store: Store, tmp_path: Path) -> None:
    need_mounts()
    row = add_container(store)
    store.containers.remove(row.id)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")

    def case() -> None:
        namespaces.unshare_mounts()  # or somebody who does so just then has a copy of the mount, and works on it
        bind(outside, store.containers.snapshot(row).merged)
        assert sorted(codes(store)) == ["container-without-row", "stale-mount"]
        assert mended(store) == [("stale-mount", True), ("container-without-row", True)]
        assert not any(mount.target.startswith(store.root) for mount in mounts())

    in_child(case)
    assert (outside / "precious").read_text() == "x"


def test_mounts_of_a_living_container_and_of_the_stores_owner_are_left_alone(store: Store, tmp_path: Path) -> None:
    need_mounts()
    row = add_container(store)
    volume = store.volumes.create("data")

    def case() -> None:
        namespaces.unshare_mounts()
        for target in (store.containers.snapshot(row).merged, volume.path):
            bind(tmp_path, target)
        assert codes(store) == []

    in_child(case)


def test_what_a_runtime_knows_of_containers_that_are_no_more(store: Store) -> None:
    dead, alive, known = new_id(), new_id(), add_container(store).id
    with living() as process:
        for container_id, pid in ((dead, 1), (alive, process.pid), (known, 1)):
            folder = Path(store.root, "run/runc", container_id)
            folder.mkdir(parents=True)
            start = identity(pid).start if pid != 1 else 12345
            (folder / "state.json").write_text(json.dumps({"init_process_pid": pid, "init_process_start": start}))
        assert codes(store) == ["stale-runtime-state"] * 2
        assert sorted(mended(store)) == [("stale-runtime-state", False), ("stale-runtime-state", True)]
    assert mended(store) == [("stale-runtime-state", True)]
    assert os.listdir(f"{store.root}/run/runc") == [known]


def test_what_killed_commands_had_beside_a_runtime(store: Store) -> None:
    """A folder for each call; for a trial one with the state of its container; a driver's at the top."""
    os.makedirs(f"{store.root}/run/runc")
    with scratch_folder(f"{store.root}/run/runc") as busy, living() as process:
        call, trial = (Path(store.root, "run/runc", f".tmp-{name}") for name in ("call", "trial"))
        state = trial / "run" / "ocikit-trial-1"
        state.mkdir(parents=True)
        (state / "state.json").write_text(
            json.dumps({"init_process_pid": process.pid, "init_process_start": identity(process.pid).start})
        )
        call.mkdir()
        (call / "log").write_text("{}")
        Path(store.root, ".tmp-driver", "low").mkdir(parents=True)
        assert codes(store) == ["run-leftover"] * 3
        assert sorted(mended(store)) == [("run-leftover", True)] * 3
        assert process.wait(10) == -9
        assert os.listdir(f"{store.root}/run/runc") == [os.path.basename(busy)]
    assert not Path(store.root, ".tmp-driver").exists()
    assert codes(store) == []


def test_cgroups_of_containers_that_are_no_more(store: Store) -> None:
    from oci.storage.processes import cgroups_of, hierarchies

    parents = hierarchies()
    if not parents or not os.access(parents[0], os.W_OK):
        pytest.skip("no cgroups that can be written")
    container_id = new_id()
    path = f"{parents[0]}/{store.cgroup_name(container_id)}"
    try:
        os.mkdir(path)
    except OSError as error:
        pytest.skip(f"cgroups can't be made here: {error.strerror}")
    try:
        assert cgroups_of(container_id) == (path,)
        assert path not in [finding.where for finding in check(store)]  # another store may just be making it
        store.clock = lambda: time.time_ns() + 120 * 10**9
        found = [finding for finding in check(store) if finding.where == path]
        assert [finding.code for finding in found] == ["stale-cgroup"]
        store.state.set_fact("cgroups", "00000000")
        assert path not in [finding.where for finding in check(store)]  # another store's
        assert repair(store, found)[0].done
        assert not os.path.exists(path)
    finally:
        if os.path.isdir(path):
            os.rmdir(path)


# The database


def test_a_damaged_database_is_replaced_and_all_that_can_be_gets_rows_again(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with stocked(root) as store:
        Path(store.volumes.create("data").path, "precious").write_text("x")
        row = add_container(store)
        Path(store.containers.snapshot(row).upper, "written").write_text("y")
        layers = {name for (name,) in store.state.all("SELECT id FROM layers")}
    (root / "store.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match="store check --repair"):
        Store.open(root, clock=ticks())
    with opened(lambda: Store.open(root, clock=ticks()), mend=False) as (none, (found,)):
        assert none is None
        assert (found.finding.code, found.done) == ("database-damaged", False)
    with opened(lambda: Store.open(root, clock=ticks()), mend=True) as (again, (made,)):
        assert again is not None
        assert made.done
        assert all(answer.done for answer in check_and_repair(again))
        assert Path(again.volumes.get("data").path, "precious").read_text() == "x"
        assert {name for (name,) in again.state.all("SELECT id FROM layers")} == layers
        assert codes(again, deep=True) == []
    assert (root / LOST / row.id / "upper/written").read_text() == "y"
    assert (root / "store.db.damaged-1").read_bytes().startswith(b"garbage")


# Mending as such


def test_mending_what_was_mended_meanwhile_does_no_harm(store: Store) -> None:
    volume = store.volumes.create("data")
    with store.state.transaction() as db:
        db.run("DELETE FROM volumes")
    findings = list(check(store))
    store.volumes.adopt(volume.name)
    (answer,) = repair(store, findings)
    assert isinstance(answer, Repair)
    assert not answer.done
    assert codes(store) == []


def test_findings_as_json_have_stable_keys(store: Store) -> None:
    finding = Finding(code="blob-missing", where="x", message="m", subject="y")
    assert finding.to_json() == {"code": "blob-missing", "where": "x", "message": "m", "repairable": True}
    answer = Repair(finding=finding, done=True, message="d")
    assert answer.to_json() == {**finding.to_json(), "repaired": True, "repair": "d"}
