"""diff, commit, export, cp, mount on real containers: by every driver, as root and as an ordinary user in a namespace.

Each case is a function of a store; `everywhere` gives it one by the driver that is asked for.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.changeset.apply import apply_layers
from oci.container.commit import commit, image_of
from oci.container.container import Container
from oci.container.copying import copy_in, copy_out
from oci.container.create import create
from oci.container.export import export
from oci.container.lifecycle import remove, start, wait
from oci.container.mounting import is_mounted, mount, mounted, unmount
from oci.container.view import inside
from oci.container.writable import LETTERS, changes
from oci.errors import OciError, WrongState
from oci.image.image import Image
from oci.runtime.settings import MountSetting, RunSettings
from oci.storage.images import find
from oci.storage.store import Store
from oci.tar import DIR, TarReader
from tests.support.containers import busybox_store, container_of, until
from tests.support.images import LayerBlob, tar_layer
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need
from tests.support.trees import snapshot

Case = Callable[[Store], None]

WORLDS = [
    *(("overlay", who) for who in ("root", "single", "ranges")),
    *(("fuse-overlayfs", who) for who in ("root", "ranges")),
    *(("copy", who) for who in ("root", "single")),
]
everywhere = pytest.mark.parametrize(("driver", "who"), WORLDS, ids=[f"{driver}-{who}" for driver, who in WORLDS])
FEW = [("overlay", "root"), ("overlay", "ranges"), ("copy", "single")]  # where drivers have less of a say
somewhere = pytest.mark.parametrize(("driver", "who"), FEW, ids=[f"{driver}-{who}" for driver, who in FEW])

# Something to change: a folder with files, a large file, a hard link.
LOWER = tar_layer(
    {
        "./": None,
        "srv/": None,
        "srv/keep": b"keep\n",
        "srv/change": b"old\n",
        "srv/gone": b"gone\n",
        "srv/folder/": None,
        "srv/folder/a": b"a\n",
        "srv/folder/b": b"b\n",
        "srv/emptied/": None,
        "srv/emptied/x": b"x\n",
        "srv/big": b"0123456789abcdef" * 16384,
        "data/": None,
        "data/seed": b"seed\n",
    }
)
SCRIPT = """
    cat /srv/keep > /dev/null
    echo new > /srv/change
    rm /srv/gone
    chmod 700 /srv/folder/a
    rm -r /srv/emptied; mkdir /srv/emptied; echo y > /srv/emptied/y
    echo tail >> /srv/big
    echo first > /srv/first; ln /srv/first /srv/second
    ln -s /etc/passwd /srv/link
    mkdir -p /opt/deep/er
    echo volume > /data/written
    echo temporary > /run-tmp/x
"""
CHANGES = [
    "A /opt",
    "A /opt/deep",
    "A /opt/deep/er",
    "C /srv/big",
    "C /srv/change",
    "D /srv/emptied/x",
    "A /srv/emptied/y",
    "A /srv/first",
    "C /srv/folder/a",
    "D /srv/gone",
    "A /srv/link",
    "A /srv/second",
]


def run_case(case: Case, driver: str, who: str, folder: Path, layers: tuple[LayerBlob, ...] = (LOWER,)) -> None:
    need("runc")
    if driver == "fuse-overlayfs":
        need("fuse-overlayfs")
    if who == "root":
        need_mounts()
        _in_store(case, driver, folder, layers)
    else:
        rootless(_in_store, case, driver, None, layers, ranges=who == "ranges")


def _in_store(case: Case, driver: str, folder: Path | None, layers: tuple[LayerBlob, ...]) -> None:
    root = (folder or Path.cwd()) / "store"
    root.mkdir(0o700)
    with busybox_store(root, *layers, driver=driver) as store:
        if not store.choice.supports[driver].usable:
            pytest.skip(f"{driver}: {store.choice.supports[driver].reason}")
        case(store)


def written(store: Store, *, name: str = "one") -> Container:
    """A container that has done all of SCRIPT."""
    container = container_of(
        store,
        "sh",
        "-e",
        "-c",
        SCRIPT,
        name=name,
        mounts=(
            MountSetting(type="volume", source="data", target="/data"),
            MountSetting(type="tmpfs", target="/run-tmp"),
        ),
    )
    start(container)
    assert wait(container) == 0
    return container


def told(container: Container) -> list[str]:
    return [f"{LETTERS[change.kind]} /{os.fsdecode(change.path)}" for change in changes(container)]


def exported(container: Container) -> bytes:
    raw = io.BytesIO()
    export(container, raw.write)
    return raw.getvalue()


def keep(store: Store, image: Image, name: str) -> None:
    store.images.tag(name, image.descriptor)


def layer_names(image: Image, number: int) -> list[str]:
    """What a layer says, but for directories in which only names changed."""
    with image.layers[number].open() as chunks:
        found = [(os.fsdecode(entry.name), entry.kind) for entry in TarReader(chunks)]
    return [name for name, kind in found if kind != DIR or name.startswith("opt")]


@everywhere
def test_what_a_container_wrote_is_told_committed_and_exported(driver: str, who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = written(store)
        assert told(container) == CHANGES

        base = image_of(container)
        image = commit(container, base, store.images.blobs, message="why", author="who")
        again = commit(container, base, store.images.blobs, message="why", author="who")
        assert image.descriptor == again.descriptor  # the same state, the same digest
        assert [layer.descriptor for layer in image.layers[:-1]] == [layer.descriptor for layer in base.layers]
        assert layer_names(image, -1) == [
            "opt",
            "opt/deep",
            "opt/deep/er",
            "srv/big",
            "srv/change",
            "srv/emptied/.wh.x",
            "srv/emptied/y",
            "srv/first",
            "srv/folder/a",
            "srv/.wh.gone",
            "srv/link",
            "srv/second",
        ]
        last = image.config.model.history[-1]
        assert (last.author, last.comment, last.empty_layer) == ("who", "why", False)
        assert last.created_by == f"sh -e -c {SCRIPT}"

        keep(store, image, "docker.io/library/new:latest")
        copy = create(store, find(store, "new"), RunSettings())
        assert told(copy) == []
        first, second = exported(container), exported(copy)
        # fuse-overlayfs gives a directory another time when it copies up what is in it; nobody wrote that.
        times = driver != "fuse-overlayfs"
        assert tar_facts(first, times=times) == tar_facts(second, times=times)
        assert not [name for name in tar_facts(first) if name.startswith(("data/w", "run-tmp", "dev", "proc"))]

    run_case(case, driver, who, tmp_path)


def tar_facts(raw: bytes, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """What an archive says; of times whole seconds, which is what a layer keeps, and with `times` those of folders."""
    facts: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        for one in tar:
            file = tar.extractfile(one) if one.isfile() else None
            data = file.read() if file is not None else b""
            facts[one.name] = (one.type, one.mode, one.uid, one.gid, one.linkname, one.size, data)
            if times or not one.isdir():
                facts[one.name] += (int(one.mtime),)
    return facts


@everywhere
def test_an_untouched_container_is_its_image(driver: str, who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "true", name="idle")
        assert told(container) == []
        base = image_of(container)
        image = commit(container, base, store.images.blobs, message="nothing")
        assert image.layers[-1].descriptor == base.layers[-1].descriptor
        assert len(image.layers) == len(base.layers)
        assert (image.config.model.history[-1].empty_layer, image.config.model.history[-1].comment) == (True, "nothing")

        unpacked, tree = Path(store.root, "../unpacked"), Path(store.root, "../tree")
        for folder, layers in ((unpacked, base.layers), (tree, (_Tar(exported(container)),))):
            folder.mkdir()
            fd = os.open(folder, os.O_RDONLY)
            apply_layers(layers, fd, rootless=who == "single")
            os.close(fd)
        assert snapshot(unpacked) == snapshot(tree)

    run_case(case, driver, who, tmp_path)


class _Tar:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def open(self):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

        return nullcontext(iter((self._raw,)))


@everywhere
def test_a_running_container_is_reached_where_it_runs(driver: str, who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        script = "echo here > /tmp/made; touch /ready; while ! [ -e /tmp/go ]; do sleep 0.02; done; cat /tmp/go"
        volume = MountSetting(type="volume", source="data", target="/data")
        locked = MountSetting(type="bind", source=str(Path(store.root).parent), target="/locked", read_only=True)
        container = container_of(store, "sh", "-c", script, name="busy", mounts=(volume, locked))
        start(container)
        here = Path(store.root).parent
        until(lambda: "A /ready" in told(container))
        assert told(container) == ["A /ready", "A /tmp/made"]
        (here / "one").write_text("one\n")
        with inside(container, writable=True) as tree:
            copy_out(tree, b"/tmp/made", str(here / "made"))
            copy_out(tree, b"/data", str(here / "volume"))
            copy_out(tree, b"/etc/hostname", str(here / "hostname"))
            copy_in(str(here / "one"), tree, b"/data/one")
            with pytest.raises(WrongState, match="read-only"):
                copy_in(str(here / "one"), tree, b"/locked/two")
        assert (here / "made").read_text() == "here\n"
        assert (here / "volume/seed").read_text() == "seed\n"
        assert (here / "hostname").read_text()
        warnings: list[str] = []
        image = commit(container, image_of(container), store.images.blobs, warn=warnings.append)
        assert layer_names(image, -1) == ["ready", "tmp/made"]
        assert bool(warnings) == (who != "root")  # without cgroups nothing can be paused
        assert "ready" in tar_facts(exported(container))
        with inside(container, writable=True) as tree:
            copy_in(str(here / "one"), tree, b"/tmp/go")
        assert wait(container) == 0
        with inside(container) as tree:  # not running any more: the same paths
            copy_out(tree, b"/data/one", str(here / "back"))
            copy_out(tree, b"/tmp/go", str(here / "gone"))
        assert (here / "back").read_text() == (here / "gone").read_text() == "one\n"

    run_case(case, driver, who, tmp_path)


@somewhere
def test_cp_into_a_container_that_does_not_run(driver: str, who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "cat", "/srv/new/x", name="idle", read_only=False)
        here = Path(store.root).parent
        (here / "new").mkdir()
        (here / "new/x").write_text("x\n")
        with inside(container, writable=True) as tree:
            copy_in(str(here / "new"), tree, b"/srv")
        assert told(container) == ["A /srv/new", "A /srv/new/x"]
        start(container)
        assert wait(container) == 0
        shut = container_of(store, "true", name="shut", read_only=True)
        with inside(shut, writable=True) as tree, pytest.raises(WrongState, match="read-only root"):
            copy_in(str(here / "new"), tree, b"/srv")

    run_case(case, driver, who, tmp_path)


@somewhere
def test_mounts_are_counted_and_go_with_rm(driver: str, who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "sh", "-c", "echo in > /in; while ! [ -e /go ]; do sleep 0.02; done", name="m")
        path = mount(container)
        assert mount(container) == path
        assert mounted(store) == ((container.id, path),)
        Path(path, "out").write_text("out\n")
        start(container)  # goes on with that very mount
        until(Path(path, "in").exists)
        assert not unmount(container)
        assert is_mounted(container)
        assert unmount(container)
        assert mounted(store) == ()
        with pytest.raises(WrongState, match="not mounted"):
            unmount(container)
        assert told(container) == ["A /in", "A /out"]  # it runs, and has its tree still
        mount(container)  # of a running one: what it has mounted, once more
        assert Path(path, "in").read_text() == "in\n"
        Path(path, "go").touch()
        assert wait(container) == 0
        with pytest.raises(WrongState, match="umount"):
            remove(container)
        remove(container, force=True)
        assert mounted(store) == ()

    run_case(case, driver, who, tmp_path)


def test_the_settings_of_a_container_are_the_new_images(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(
            store,
            "sh",
            "-c",
            "true",
            name="one",
            env=(("A", "1"), ("PATH", None)),
            workdir="/srv",
            user="1:2",
            labels={"k": "v"},
            stop_signal="SIGINT",
        )
        lines = ["ENV B=$A", "WORKDIR deep", 'ENTRYPOINT ["/bin/app"]', "CMD one two", "EXPOSE 80", "LABEL l=w"]
        image = commit(container, image_of(container), store.images.blobs, changes=lines)
        run = image.config.model.run
        assert run.env == ("A=1", "B=1")
        assert (run.working_dir, run.user, run.stop_signal) == ("/srv/deep", "1:2", "SIGINT")
        assert (run.entrypoint, run.cmd) == (("/bin/app",), ("/bin/sh", "-c", "one two"))
        assert (run.exposed_ports, run.labels) == (("80/tcp",), {"k": "v", "l": "w"})
        with pytest.raises(OciError, match=r"--change 'RUN x': not one of"):
            commit(container, image_of(container), store.images.blobs, changes=["RUN x"])

    run_case(case, "copy", "root" if os.geteuid() == 0 else "single", tmp_path)
