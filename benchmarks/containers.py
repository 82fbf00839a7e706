"""What the container jobs need: stores of ocikit, podman and buildah in the work folder, and a small image.

Every tool has a store of its own there, on the same file system, and none is warmed more than the others. podman and
buildah are told to use runc, cgroupfs and overlay, and limits that this user may set; nothing else is turned off.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from benchmarks.images import write_layout

_CONF = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'


class Stores:
    """The stores of the three tools below one folder."""

    def __init__(self, work: Path, ocikit: str) -> None:
        self.folder = work / "stores"
        self.root = self.folder / "ocikit"
        self.folder.mkdir(parents=True, exist_ok=True)
        conf = self.folder / "containers.conf"
        conf.write_text(_CONF)
        os.environ["CONTAINERS_CONF"] = str(conf)
        peers = ["--root", str(self.folder / "peers"), "--runroot", str(self.folder / "peers-run")]
        peers += ["--storage-driver", "overlay"]
        self.ocikit = [ocikit, "--root", str(self.root)]
        self.podman = [
            "podman",
            *peers,
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "runc",
            "--events-backend",
            "none",
        ]
        self.buildah = ["buildah", *peers]

    def remove(self) -> None:
        """Remove all three; nothing of them is mounted or running any more."""
        subprocess.run([*self.podman, "rm", "--all", "--force"], capture_output=True, check=False)
        subprocess.run([*self.buildah, "rm", "--all"], capture_output=True, check=False)
        self.empty_ours()
        self.empty_peers()
        shutil.rmtree(self.folder, ignore_errors=True)

    def empty_ours(self) -> None:
        """Forget all of our images and containers."""
        shutil.rmtree(self.root, ignore_errors=True)

    def empty_peers(self) -> None:
        """Forget all of podman's and buildah's images and containers."""
        mount = self.folder / "peers" / "overlay"
        subprocess.run(["umount", str(mount)], capture_output=True, check=False)  # bound to itself by their library
        for name in ("peers", "peers-run"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def output(command: list[str]) -> str:
    """What a command prints, without the last line break; RuntimeError when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout.rstrip("\n")


def busybox_image(work: Path) -> Path:
    """Make an image of busybox alone, with links for what the jobs run."""
    layout = work / "busybox"
    if (layout / "index.json").exists():
        return layout
    program = shutil.which("busybox")
    if program is None:
        raise FileNotFoundError("busybox is not installed (apt-get install busybox-static)")
    path = work / "busybox.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        folder = tarfile.TarInfo("bin")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        out.addfile(folder)
        data = Path(program).read_bytes()
        member = tarfile.TarInfo("bin/busybox")
        member.size, member.mode = len(data), 0o755
        out.addfile(member, BytesIO(data))
        for name in ("sh", "true", "cat", "ls"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            out.addfile(link)
    return write_layout(layout, [path])


def runc_bundle(work: Path) -> Path:
    """Make a bundle that runc can run as it stands: busybox's tree and runc's own default config."""
    bundle = work / "bundle"
    if bundle.exists():
        return bundle
    (bundle / "rootfs" / "bin").mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), bundle / "rootfs/bin/busybox")
    (bundle / "rootfs/bin/true").symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(args=["true"], terminal=False)
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def create_and_remove(stores: Stores, image: str) -> float:
    """The median in milliseconds of a container made and removed by the library, in one open store."""
    from oci.container.create import create
    from oci.container.lifecycle import remove
    from oci.runtime.settings import RunSettings
    from oci.storage import images
    from oci.storage.store import Store

    with Store.open(stores.root, clock=time.time_ns) as store:
        found = images.find(store, image)
        return median_ms(lambda: remove(create(store, found, RunSettings(args=("true",)))), 200)


def mount_and_unmount(work: Path) -> float:
    """The median in milliseconds of an overlay mounted and unmounted."""
    from oci.linux import mounts

    folder = work / "mount"
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"

    def once() -> None:
        mounts.mount("overlay", str(folder / "merged"), "overlay", 0, options)
        mounts.unmount(str(folder / "merged"))

    return median_ms(once, 200)


def a_thousand(stores: Stores, image: str) -> tuple[float, float, float]:
    """Make 1,000 containers: milliseconds for one of the first hundred and of the last, and KiB on disk for each."""
    from oci.container.create import create
    from oci.runtime.settings import RunSettings
    from oci.storage import images
    from oci.storage.store import Store

    with Store.open(stores.root, clock=time.time_ns) as store:
        found = images.find(store, image)
        create(store, found, RunSettings(args=("true",)))
        before = disk_bytes(stores.root)
        taken = [median_ms(lambda: create(store, found, RunSettings(args=("true",))), 100) for _ in range(10)]
        return taken[0], taken[-1], (disk_bytes(stores.root) - before) / 1000 / 1024


def median_ms(action: Callable[[], object], times: int) -> float:
    """The median of one call's wall time in milliseconds."""
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        action()
        taken.append((time.perf_counter() - before) * 1000)
    return sorted(taken)[times // 2]


def disk_bytes(folder: Path) -> int:
    """What everything below a folder takes on disk, as du counts it."""
    return sum(entry.lstat().st_blocks * 512 for entry in folder.rglob("*")) + folder.lstat().st_blocks * 512
