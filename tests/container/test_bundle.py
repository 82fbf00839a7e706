"""`bundle`: what plain runc makes of it, as root and as an ordinary user, on a store's layers and with all files."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oci.container.bundle import Ids, Layers, make_bundle
from oci.errors import ConfigurationError, DestinationError, InvalidInput, OciError
from oci.image.image import Image
from oci.linux import idmaps, mounts
from oci.runtime.settings import MountSetting, RunSettings
from oci.storage.images import find
from oci.storage.store import Store
from tests.support.containers import busybox_store
from tests.support.images import LayerBlob, tar_layer
from tests.support.namespaces import as_rootless_user, need_mounts, need_overlay
from tests.support.peers import need, need_runc

LAYER = tar_layer(
    {
        "data/": None,
        "data/seed": b"seed\n",
        "srv/": None,
        "srv/a": b"a\n",
        "home/.wh..wh..opq": b"",
        "way": ("symlink", "/srv"),
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    need_runc()
    need("busybox")
    need_mounts()
    (tmp_path / "store").mkdir(0o700)
    with busybox_store(tmp_path / "store", LAYER) as made:
        yield made


def image_in(store: Store) -> Image:
    return find(store, "busybox").image


def layers_of(store: Store) -> Layers:
    folders = store.layers.ensure(image_in(store))
    return Layers(folders=tuple(one.path for one in folders), form=store.driver.form)


def here() -> Ids:
    return Ids(maps=idmaps.current(), namespace=False, single=False)


def run(bundle: Path, name: str = "test") -> str:
    """What the bundle's command says, run by plain runc."""
    command = ["runc", "--root", f"{bundle}.run", "run", "-b", str(bundle), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings(*args: str, **more: Any) -> RunSettings:
    return RunSettings(args=("sh", "-c", "; ".join(args)), **more)


def test_a_bundle_on_layers_needs_no_mounts_and_leaves_none(store: Store, tmp_path: Path) -> None:
    need_overlay()
    before = [one.target for one in mounts.mounts()]
    wanted = settings("cat /data/seed", "ls /", "rm /srv/a", "echo w > /srv/w", "stat -c %a /srv")
    made = make_bundle(image_in(store), str(tmp_path / "b"), wanted, here(), layers=layers_of(store))
    assert made == str(tmp_path / "b")
    assert run(tmp_path / "b").splitlines()[0] == "seed"
    upper = tmp_path / "b/upper"
    assert (upper / "srv/w").read_text() == "w\n"
    assert os.stat(upper / "srv/a").st_rdev == 0
    assert sorted(os.listdir(upper)) == ["srv"]  # mount points are the scaffold's
    assert os.listdir(tmp_path / "b/rootfs") == []
    assert [one.target for one in mounts.mounts()] == before
    listed = json.loads((tmp_path / "b/mounts.json").read_text())["mounts"]
    assert [one["destination"] for one in listed] == ["/"]
    assert listed[0]["command"].startswith("mount -t overlay overlay -o lowerdir=")
    assert "a" in [path.name for path in Path(store.layers.path(find_layer(store)), "srv").iterdir()]


def find_layer(store: Store) -> str:
    return store.layers.ensure(image_in(store))[-1].id


def test_the_command_of_mounts_json_makes_the_tree_by_hand(store: Store, tmp_path: Path) -> None:
    need_overlay()
    make_bundle(image_in(store), str(tmp_path / "b"), settings("true"), here(), layers=layers_of(store))
    command = json.loads((tmp_path / "b/mounts.json").read_text())["mounts"][0]["command"]
    script = f"{command} && cat {tmp_path}/b/rootfs/data/seed"
    done = subprocess.run(["unshare", "-m", "sh", "-ec", script], capture_output=True, text=True, check=True)
    assert done.stdout == "seed\n"


def test_a_copy_has_all_files_and_needs_no_store(store: Store, tmp_path: Path) -> None:
    wanted = settings("id -u", "cat /data/seed /way/a", "touch /new")
    make_bundle(image_in(store), str(tmp_path / "b"), wanted, here())
    assert run(tmp_path / "b") == "0\nseed\na\n"
    assert (tmp_path / "b/rootfs/new").exists()
    assert not (tmp_path / "b/upper").exists()


@pytest.mark.parametrize("thin", [True, False])
def test_volumes_are_filled_with_what_the_image_has(thin: bool, tmp_path: Path) -> None:
    need_runc()
    need("busybox")
    need_mounts()
    (tmp_path / "store").mkdir(0o700)
    (tmp_path / "bound").mkdir()
    with busybox_store(tmp_path / "store", LAYER, Volumes={"/data": {}, "/fresh": {}, "/way": {}}) as store:
        named = MountSetting(type="volume", source="mine", target="/named")
        bound = MountSetting(type="bind", source=str(tmp_path / "bound"), target="/bound", read_only=True)
        bare = MountSetting(type="volume", target="/etc", nocopy=True)
        wanted = settings(
            "cat /data/seed /srv/a",
            "ls /fresh /etc",
            "echo n > /named/n",
            "echo v > /data/v",
            "echo r > /bound/r || echo kept",
            mounts=(named, bound, bare),
        )

        def folder(mount: MountSetting, root: int) -> str:
            assert mount.source == "mine"
            (tmp_path / "mine").mkdir()
            return str(tmp_path / "mine")

        layers = layers_of(store) if thin else None
        make_bundle(image_in(store), str(tmp_path / "b"), wanted, here(), layers=layers, named=folder)
        said = run(tmp_path / "b")
    assert said.startswith("seed\na\n")
    assert said.endswith("kept\n")
    assert (tmp_path / "mine/n").read_text() == "n\n"
    volumes = tmp_path / "b/volumes"
    filled = {name: sorted(os.listdir(volumes / name)) for name in sorted(os.listdir(volumes))}
    # /etc without its content but for the files that are bound there; then the image's own, in its order
    assert list(filled.values())[1:] == [["seed", "v"], [], ["a"]]


def test_dir_appears_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(DestinationError, match="is not empty"):
        make_bundle(image_in(store), str(tmp_path / "full"), settings("true"), here())
    with pytest.raises(DestinationError, match="make it first"):
        make_bundle(image_in(store), str(tmp_path / "missing/b"), settings("true"), here())
    with pytest.raises(OciError, match="nobody"):
        make_bundle(image_in(store), str(tmp_path / "b"), settings("true", user="nobody"), here())
    assert sorted(os.listdir(tmp_path)) == ["full", "store"]
    (tmp_path / "empty").mkdir()
    make_bundle(image_in(store), str(tmp_path / "empty"), settings("echo fine"), here())
    assert run(tmp_path / "empty") == "fine\n"


def test_named_volumes_need_somebody_who_has_them(store: Store, tmp_path: Path) -> None:
    named = MountSetting(type="volume", source="mine", target="/named")
    with pytest.raises(InvalidInput, match="no store"):
        make_bundle(image_in(store), str(tmp_path / "b"), settings("true", mounts=(named,)), here())


def test_too_many_layers_for_one_mount_are_told(tmp_path: Path) -> None:
    need_runc()
    need("busybox")
    need_overlay()
    (tmp_path / "store").mkdir(0o700)
    many: list[LayerBlob] = [tar_layer({f"n{number}": b"x"}) for number in range(130)]
    with busybox_store(tmp_path / "store", *many) as store:
        folder = str(tmp_path / ("long" * 10))
        with pytest.raises(ConfigurationError, match="131 layers"):
            make_bundle(image_in(store), folder, settings("true"), here(), layers=layers_of(store))
        assert os.listdir(tmp_path) == ["store"]


# As an ordinary user, by the command line: nothing of ours runs when runc does


@contextmanager
def _user_store(layers: Sequence[LayerBlob]) -> Iterator[Path]:
    folder = Path.cwd()
    (folder / "store").mkdir(0o700)
    with busybox_store(folder / "store", *layers):
        pass
    yield folder


def _as_user(words: tuple[str, ...], driver: str | None, command: str) -> tuple[str, list[str]]:
    """Make a bundle as this user, run it with plain runc; what it said, and what is in DIR."""
    from oci.cli.entry import main

    with _user_store([LAYER]) as folder:
        more = ["--driver", driver] if driver else []
        pid = os.fork()  # the command enters a namespace; whoever runs runc is outside
        if pid == 0:
            os._exit(main(["--root", f"{folder}/store", *more, "bundle", *words, "b", "--", "sh", "-c", command]))
        assert os.waitpid(pid, 0)[1] == 0
        said = run(folder / "b")
        names = sorted(os.listdir(folder / "b"))
        if "work" in names:  # its content is root's of the namespace, closed to its own user
            subprocess.run(["chmod", "-R", "u+rwx", "b"], check=False, stderr=subprocess.DEVNULL)
        return said, names


USER_CASES: list[tuple[tuple[str, ...], str | None, bool, bool]] = [
    (("busybox",), None, False, True),
    (("busybox",), "copy", False, False),
    (("busybox", "--rootless"), None, True, False),
    (("./store/images:docker.io/library/busybox:latest",), None, False, False),
    (("busybox",), None, True, True),
]


@pytest.mark.parametrize(("words", "driver", "ranges", "thin"), USER_CASES)
def test_an_ordinary_users_bundle_runs_by_his_own_runc(
    words: tuple[str, ...], driver: str | None, ranges: bool, thin: bool
) -> None:
    need_runc()
    need("busybox")
    command = "id -u; cat /data/seed; echo w > /new && cat /new; ls -ln /srv/a"
    said, names = as_rootless_user(_as_user, words, driver, command, ranges=ranges)
    assert said.splitlines()[:3] == ["0", "seed", "w"]
    assert said.splitlines()[3].split()[2:4] == ["0", "0"]
    assert ("upper" in names) is thin
