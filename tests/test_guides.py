"""What the guides to registries show is run as it stands there: commands, registries.conf, lists of copies."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.registry.registries_conf import RegistriesConf
from oci.serving import Server
from oci.spec.digest import Digest
from oci.storage.check import CODES
from oci.transports.copy_list import Sync, read_list
from tests.support.containers import busybox_layout
from tests.support.images import tar_layer
from tests.support.namespaces import need_mounts, need_user_namespaces
from tests.support.peers import need, need_runc

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    return [body for found, body in BLOCK.findall((ROOT / "docs" / page).read_text()) if found == kind]


def commands(page: str) -> list[str]:
    return [
        line.removeprefix("$ ") for body in blocks(page, "console") for line in body.splitlines() if line[:2] == "$ "
    ]


class Place:
    """A directory with what the guides' reader has, and a registry that stands for all that they name."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host = folder, host
        self.environ: dict[str, str] = {}
        (folder / "app").mkdir(parents=True)
        (folder / "app/run").write_text("#!/bin/sh\n")
        (folder / "docs").mkdir()
        (folder / "docs/index.md").write_text("# docs\n")
        (folder / "report.json").write_text("{}")
        (folder / "sbom.json").write_text("{}")
        (folder / "token").write_text("secret\n")
        command = folder / "bin/ocikit"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m oci "$@"\n')
        command.chmod(0o755)

    def here(self, text: str) -> str:
        """A guide's text with this registry in the place of those that it names."""
        text = text.replace("docker://alpine", f"docker://{self.host}/library/alpine")
        return re.sub(r"localhost:5000|127\.0\.0\.1:5000|(?:registry|mirror)\.example(?=/)|quay\.io", self.host, text)

    def sh(self, *lines: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-x", "-c", self.here("\n".join(lines))],
            cwd=self.folder,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOME": str(self.folder / "home"), "LC_ALL": "C.UTF-8"}
            | self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("guides")
    with Server(folder / "registry") as server:
        made = Place(folder / "work", server.host)
        made.sh(
            "ocikit append scratch app -t ./images:v2",
            "ocikit copy ./images:v2 docker://alpine:3.20",
            *(
                f"ocikit copy ./images:v2 docker://registry.example/team/{name}"
                for name in ("app:v1.0", "app:v1.1-rc1")
            ),
            "ocikit copy ./images:v2 docker://registry.example/team/app:latest",
            "ocikit copy ./images:v2 docker://registry.example/team/db:v1",
        )
        yield made


def test_the_guide_to_registries_runs_as_it_stands_there(place: Place) -> None:
    assert "ok (1 manifest" in place.sh(*commands("registries.md"))
    assert (place.folder / "rootfs/opt/app/run").exists()


def test_the_guide_to_containers_runs_as_it_stands_there(tmp_path: Path) -> None:
    need("busybox", "runc")
    if os.geteuid() == 0:
        need_mounts()
    else:
        need_user_namespaces()
    with Server(tmp_path / "registry") as server:
        _contain(Place(tmp_path / "work", server.host))


def _contain(there: Place) -> None:
    (there.folder / "box/bin").mkdir(parents=True)
    shutil.copy2(str(shutil.which("busybox")), there.folder / "box/bin/busybox")
    for name in ("sh", "cat", "echo", "ls"):
        (there.folder / "box/bin" / name).symlink_to("busybox")
    (there.folder / "registries.conf").write_text(
        f'[[registry]]\nprefix = "docker.io"\nlocation = "{there.host}"\ninsecure = true\n'
    )
    there.environ.update(OCIKIT_ROOT=str(there.folder / "store"), CONTAINERS_REGISTRIES_CONF="registries.conf")
    there.sh(
        "ocikit append scratch box -t ./base:v1 && ocikit config ./base:v1 -t ./base:v1 --cmd sh",
        "ocikit copy ./base:v1 docker://alpine:3.20",
    )
    try:
        out = there.sh(*commands("containers.md"))
    except BaseException:
        there.sh("ocikit rm -f $(ocikit ps -aq) || true")  # nothing runs on behind a failed test
        raise
    for said in ("hello\n", "started\n", "A /srv/file\n", "new\n", "42\n", "256\n/srv\n"):
        assert said in out
    assert there.sh("ocikit ps -aq") == ""


@pytest.mark.parametrize("page", ["volumes.md", "store.md", "containers-data.md"])
def test_the_guides_to_volumes_the_store_and_what_containers_wrote_run_as_they_stand_there(
    tmp_path: Path, page: str
) -> None:
    need("busybox", "runc")
    if os.geteuid() == 0:
        need_mounts()
    else:
        need_user_namespaces()
    if page == "containers-data.md":
        need_runc()  # a bundle is for it alone
    there = Place(tmp_path / "work", "registry.example")
    box = tar_layer({"srv/": None, "srv/hello": b"from the image\n"})
    (there.folder / "store").mkdir(mode=0o700)
    busybox_layout(there.folder / "store/images", box, name="docker.io/library/box:latest")
    (there.folder / "run").mkdir(mode=0o700)
    there.environ.update(OCIKIT_ROOT=str(there.folder / "store"), XDG_RUNTIME_DIR=str(there.folder / "run"))
    out = there.sh(*commands(page))
    if page == "volumes.md":
        assert out.count("from the image") == 2
        assert "more" in out
    elif page == "store.md":
        assert "Prune would free" in out
    else:
        assert "C /home\n" in out
        assert "from the image\n" in out  # what plain runc says of the bundle


def test_every_code_of_store_check_is_in_its_guide() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/store.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(CODES)


def test_the_guide_to_artifacts_runs_as_it_stands_there(place: Place) -> None:
    place.sh("ocikit copy ./images:v2 docker://localhost:5000/app:v1", *commands("artifacts.md"))
    assert (place.folder / "out/report.json").read_text() == "{}"
    assert (place.folder / "out/docs/index.md").exists()


def test_the_guide_to_many_copies_runs_as_it_stands_there(place: Place) -> None:
    (example,) = blocks("mirror.md", "toml")
    (place.folder / "mirror.toml").write_text(place.here(example))
    out = place.sh(*commands("mirror.md"))
    for name in ("app:v1.0 ", "app:latest ", "db:v1 "):
        assert re.search(rf"^copied  sha256:\w{{12}}  docker://{place.host}/team/{name}", out, re.MULTILINE), out
    assert "rc1" not in out
    (lines,) = (body for body in blocks("mirror.md", "text") if "SRC DST" in body)
    assert len(read_list(lines.encode(), "lines", toml=False)) == 2


def test_what_the_guide_to_many_copies_shows_of_toml_is_all_that_there_is() -> None:
    (example,) = blocks("mirror.md", "toml")
    assert all(isinstance(task, Sync) for task in read_list(example.encode(), "mirror.toml", toml=True))
    shown = {key for table in tomllib.loads(example)["sync"] for key in table}
    assert shown == {"source", "destination", "tags", "exclude", "platforms", "referrers"}


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_the_guide_to_serving_runs_as_it_stands_there(place: Place, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    serve, *others = commands("serve.md")
    there = Place(tmp_path / "work", place.host)
    others = [line.replace("127.0.0.1:5000", address) for line in others]
    others = [line.replace("skopeo copy", "skopeo copy --src-tls-verify=false --retry-times 5") for line in others]
    others = [line.replace("docker://alpine ", "docker://alpine:3.20 ") for line in others]
    out = there.sh(f"{serve} --listen {address} &", "trap 'kill $!' EXIT", *others)
    assert f"listening on http://{address}" in out
    assert (there.folder / "root/run").exists()


def test_the_registries_conf_of_the_guide_means_what_it_says(tmp_path: Path) -> None:
    (example,) = blocks("registries.md", "toml")
    (tmp_path / "registries.conf").write_text(example)
    conf = RegistriesConf.read([str(tmp_path / "registries.conf")])
    assert not conf.notes
    hub = conf.endpoints("docker.io", "library/alpine", tag=None, digest=Digest.of(b""), pull=True)
    assert [f"{end.location}/{end.repository}" for end in hub] == [
        "mirror.example:5000/hub/library/alpine",
        "docker.io/library/alpine",
    ]
    (own,) = conf.endpoints("images.example", "team/app", tag="v1", digest=None, pull=True)
    assert f"{own.location}/{own.repository}" == "registry.internal:5000/t/app"
