"""The runtime-spec document: what it says for which settings, and that it is one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from oci.errors import InvalidInput, OciError
from oci.linux.idmaps import IdMap, IdMaps
from oci.runtime import mounts
from oci.runtime.config import (
    Facts,
    command,
    image_volumes,
    mount_points,
    process_config,
    runtime_config,
    working_directory,
)
from oci.runtime.settings import DeviceSetting, MountSetting, PortSetting, RunSettings, UlimitSetting
from oci.spec.config import ImageConfig
from tests.support.boxes import GROUP, PASSWD, image_of
from tests.support.runtime_schema import DOCUMENT, PROCESS

ALL_IDS = IdMap(inside=0, outside=0, size=0xFFFFFFFF)
ROOTFUL = IdMaps(uids=(ALL_IDS,), gids=(ALL_IDS,))
SINGLE = IdMaps(uids=(IdMap(inside=0, outside=1000, size=1),), gids=(IdMap(inside=0, outside=1000, size=1),))
NAME = "0123456789abcdef" * 4

Make = Any


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def facts(root: int, *, rootless: bool = False, **more: Any) -> Facts:
    how = {"maps": SINGLE, "initial": False} if rootless else {"maps": ROOTFUL, "initial": True, "cgroup": "/ocikit-x"}
    return Facts(**{"id": NAME, "root": "/the/tree", "root_fd": root, **how, **more})


def document(
    root: int, settings: RunSettings | None = None, image: ImageConfig | None = None, **more: Any
) -> dict[str, Any]:
    image = image or image_of(cmd=("sh",))
    made = runtime_config(image, settings or RunSettings(), facts(root, **more))
    jsonschema.Draft202012Validator(DOCUMENT).validate(made)
    assert json.loads(json.dumps(made)) == made
    return made


def mount_at(made: Mapping[str, Any], target: str) -> dict[str, Any]:
    [found] = [mount for mount in made["mounts"] if mount["destination"] == target]
    return found  # type: ignore[no-any-return]


def test_the_document_of_a_plain_container(root: int) -> None:
    made = document(root)
    made["linux"].pop("seccomp")
    masked = made["linux"].pop("maskedPaths")
    assert masked[:3] == ["/proc/acpi", "/proc/asound", "/proc/interrupts"]
    held = made["process"]["capabilities"]
    assert held.pop("bounding") == held.pop("effective") == held.pop("permitted")
    [*default, _, _] = [mount["destination"] for mount in made.pop("mounts")]
    assert default == ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup"]
    rules = made["linux"]["resources"].pop("devices")
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert made == {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOSTNAME=0123456789ab",
                "HOME=/root",
            ],
            "cwd": "/",
            "capabilities": {"inheritable": [], "ambient": []},
            "noNewPrivileges": False,
        },
        "root": {"path": "/the/tree", "readonly": False},
        "hostname": "0123456789ab",
        "annotations": {
            "org.opencontainers.image.os": "linux",
            "org.opencontainers.image.architecture": image_of().platform.architecture,
        },
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "cgroup")],
            "devices": [],
            "resources": {},
            "cgroupsPath": "/ocikit-x",
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def test_the_same_twice(root: int) -> None:
    image = image_of(cmd=("sh",), env=("B=1", "A=2"), labels={"b": "1", "a": "2"}, volumes=("/b", "/a"))
    settings = RunSettings(cap_add=("KILL", "CHOWN"), labels={"z": "1"})
    assert json.dumps(document(root, settings, image)) == json.dumps(document(root, settings, image))


def test_in_a_user_namespace_nothing_is_asked_that_it_cannot_give(root: int) -> None:
    made = document(root, rootless=True)
    assert not {"devices", "resources", "cgroupsPath"} & set(made["linux"])
    assert "additionalGids" not in made["process"]["user"]
    assert "gid=5" not in mount_at(made, "/dev/pts")["options"]
    assert mount_at(made, "/sys")["type"] == "none"
    assert "rbind" in mount_at(made, "/sys")["options"]
    none = document(root, RunSettings(network="none"), rootless=True)
    assert mount_at(none, "/sys")["type"] == "sysfs"
    assert {"type": "network"} in none["linux"]["namespaces"]


def test_a_network_namespace_that_is_there_already(root: int) -> None:
    made = document(root, RunSettings(network="slirp4netns"), network_namespace="/proc/1/ns/net")
    assert {"type": "network", "path": "/proc/1/ns/net"} in made["linux"]["namespaces"]
    with pytest.raises(InvalidInput, match="--network bridge: one of host, none, slirp4netns"):
        document(root, RunSettings(network="bridge"))


def test_everything_at_once_is_still_a_document(root: int) -> None:
    settings = RunSettings(
        args=("a", "b"),
        env=(("A", "b"),),
        workdir="/work",
        user="app:video",
        group_add=("audio",),
        tty=True,
        stdin_open=True,
        init=True,
        ulimits=(UlimitSetting(name="core", soft=0, hard=0),),
        cap_add=("NET_ADMIN",),
        cap_drop=("KILL",),
        no_new_privileges=True,
        read_only=True,
        mounts=(
            MountSetting(type="bind", source="/tmp", target="/data/deep", read_only=True, propagation="rslave"),
            MountSetting(type="volume", source="v", target="/data"),
            MountSetting(type="tmpfs", target="/scratch", options=("size=1m",)),
        ),
        devices=(DeviceSetting(source="/dev/zero", target="/dev/nought", permissions="r"),),
        shm_size=1 << 20,
        hostname="box",
        network="none",
        labels={"a": "b"},
        publish=(PortSetting(host_port=1, container_port=2),),
    )
    made = document(root, settings, volumes={"/data": "/tmp"}, init_program="/bin/sh", hosts="/etc/hosts")
    assert made["process"]["args"] == ["/dev/init", "--", "a", "b"]
    assert made["process"]["terminal"] is True
    assert made["process"]["user"] == {"uid": 1000, "gid": 44, "additionalGids": [44, 29]}
    assert made["linux"]["rootfsPropagation"] == "rslave"
    order = [mount["destination"] for mount in made["mounts"]]
    assert order.index("/data") < order.index("/data/deep")
    assert mount_at(made, "/sys/fs/cgroup")["options"].count("ro") == 1
    assert "ro" in mount_at(made, "/etc/hosts")["options"]
    assert "ro" not in mount_at(made, "/scratch")["options"]
    assert "ro" not in mount_at(made, "/data")["options"]
    document(root, settings.replace(privileged=True), volumes={"/data": "/tmp"}, init_program="/bin/sh")


def test_privileged_takes_filter_and_masks_away_but_not_a_filter_that_was_asked_for(root: int) -> None:
    made = document(root, RunSettings(privileged=True))
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & set(made["linux"])
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    asked = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}'
    assert "seccomp" in document(root, RunSettings(privileged=True, seccomp=asked))["linux"]


def test_what_the_image_says_of_itself_becomes_annotations(root: int) -> None:
    image = image_of(
        cmd=("x",), labels={"org.example": "1", "both": "image"}, stop_signal="SIGINT", exposed_ports=("80/tcp",)
    )
    image = image.replace(author="me", created="2024-01-02T03:04:05Z")
    assert document(root, RunSettings(labels={"both": "asked"}), image)["annotations"] == {
        "org.opencontainers.image.os": "linux",
        "org.opencontainers.image.architecture": image.platform.architecture,
        "org.opencontainers.image.author": "me",
        "org.opencontainers.image.created": "2024-01-02T03:04:05Z",
        "org.opencontainers.image.stopSignal": "SIGINT",
        "org.opencontainers.image.exposedPorts": "80/tcp",
        "org.example": "1",
        "both": "asked",
    }


def test_labels_of_an_image_give_a_runtime_no_orders(root: int) -> None:
    orders = {
        "run.oci.hooks.stderr": "/tmp/written",
        "run.oci.seccomp.plugins": "/tmp/loaded.so",
        "run.oci.handler": "krun",
        "module.wasm.image/variant": "compat",
        "org.criu.config": "/tmp/criu",
        "org.systemd.property.ExecStopPost": "['x']",
        "io.katacontainers.config.hypervisor.path": "/tmp/run",
    }
    image = image_of(cmd=("x",), labels={**orders, "run.ocikit": "mine"})
    made = document(root, RunSettings(labels={"run.oci.keep_original_groups": "1"}), image)
    assert not made["annotations"].keys() & orders.keys()
    assert made["annotations"]["run.ocikit"] == "mine"
    assert made["annotations"]["run.oci.keep_original_groups"] == "1"


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "asked", "args", "expected"),
    [
        (("e",), ("c",), None, (), ("e", "c")),
        (("e",), ("c",), None, ("a",), ("e", "a")),
        (None, ("c",), None, (), ("c",)),
        (("e",), None, None, (), ("e",)),
        (("e",), ("c",), ("x",), (), ("x",)),
        (("e",), ("c",), ("x",), ("a",), ("x", "a")),
        (("e",), ("c",), (), ("a",), ("a",)),
    ],
)
def test_what_is_run(entrypoint: Make, cmd: Make, asked: Make, args: Make, expected: tuple[str, ...]) -> None:
    image = image_of(entrypoint=entrypoint, cmd=cmd)
    assert command(image, RunSettings(entrypoint=asked, args=args)) == expected


def test_nothing_to_run_and_words_that_no_program_can_have(root: int) -> None:
    for settings in (RunSettings(), RunSettings(entrypoint=())):
        with pytest.raises(InvalidInput, match="no command"):
            document(root, settings, image_of())
    for word in ("a\0b", "\udcff"):
        with pytest.raises(InvalidInput, match="argument"):
            document(root, RunSettings(args=(word,)))


def test_host_names(root: int) -> None:
    assert document(root, RunSettings(hostname="box.example-1"))["hostname"] == "box.example-1"
    for name in ("a" * 65, "a b", "a\nb", "höst"):
        with pytest.raises(InvalidInput, match="--hostname"):
            document(root, RunSettings(hostname=name))


def test_working_directories(root: int, tmp_path: Path) -> None:
    assert working_directory(image_of(working_dir=""), RunSettings()) == "/"
    assert document(root, RunSettings(workdir="/a//b/../c/"))["process"]["cwd"] == "/a/c"
    for image, settings in (
        (image_of(working_dir="relative", cmd=("x",)), RunSettings()),
        (None, RunSettings(workdir="x")),
    ):
        with pytest.raises(InvalidInput, match="an absolute path is needed"):
            document(root, settings, image)
    (tmp_path / "link").symlink_to("/real/place")
    assert document(root, RunSettings(workdir="/link/x"))["process"]["cwd"] == "/real/place/x"
    data = MountSetting(type="tmpfs", target="/data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sub").symlink_to("/etc")
    made = document(root, RunSettings(workdir="/data/sub", mounts=(data,)))
    assert made["process"]["cwd"] == "/data/sub"  # a link that the mount covers


def test_a_working_directory_that_a_volume_leads_astray(root: int, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "work").symlink_to("/proc/self/fd/8")
    (tmp_path / "data").mkdir()
    settings = RunSettings(workdir="/data/work", mounts=(MountSetting(type="volume", target="/data"),))
    with pytest.raises(InvalidInput, match="'/data/work' leads to /proc/self/fd/8"):
        document(root, settings, volumes={"/data": str(volume)})


# Mounts


def test_a_mount_that_was_asked_for_takes_the_place_of_dockers_own(root: int) -> None:
    made = document(root, RunSettings(mounts=(MountSetting(type="tmpfs", target="/dev/shm", options=("size=1m",)),)))
    assert "size=1m" in mount_at(made, "/dev/shm")["options"]
    whole = document(root, RunSettings(mounts=(MountSetting(type="bind", source="/dev", target="/dev"),)))
    assert mount_at(whole, "/dev")["type"] == "bind"
    assert not any(mount["destination"].startswith("/dev/") for mount in whole["mounts"])


def test_files_of_the_container_are_not_made_in_what_somebody_bound(root: int) -> None:
    etc = MountSetting(type="bind", source="/etc", target="/etc")
    made = document(root, RunSettings(mounts=(etc,)), hosts="/etc/hosts", resolv_conf="/etc/resolv.conf")
    assert not any(mount["destination"].startswith("/etc/") for mount in made["mounts"])
    own = MountSetting(type="bind", source="/etc/passwd", target="/etc/hosts")
    made = document(root, RunSettings(mounts=(own,)), hosts="/etc/group", resolv_conf="/etc/resolv.conf")
    assert mount_at(made, "/etc/hosts")["source"] == "/etc/passwd"
    assert mount_at(made, "/etc/resolv.conf")["source"] == "/etc/resolv.conf"


def test_a_resolv_conf_that_is_a_link_is_bound_where_it_leads(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    made = document(root, resolv_conf="/etc/group")
    assert mount_at(made, "/run/resolve/stub.conf")["source"] == "/etc/group"


@pytest.mark.parametrize(
    ("link", "target", "reason"),
    [
        (None, "/", "hide the whole image"),
        (None, "/proc", "nothing can be mounted in /proc"),
        (None, "/proc/1/fd", "nothing can be mounted in /proc"),
        (None, "/x/../proc", "nothing can be mounted in /proc"),
        (None, "relative", "absolute path"),
        ("/proc", "/data", "which leads to /proc"),
        ("/proc/self/fd/3", "/data", "which leads to /proc/self/fd/3"),
        ("../../../..", "/data", "which leads to /"),
        ("data", "/data", "more than 40 symbolic links"),
    ],
)
def test_a_mount_goes_nowhere_that_is_the_runtimes(
    root: int, tmp_path: Path, link: str | None, target: str, reason: str
) -> None:
    if link is not None:
        (tmp_path / "data").symlink_to(link)
    for kind in ("tmpfs", "volume"):
        with pytest.raises(InvalidInput, match=reason):
            document(root, RunSettings(mounts=(MountSetting(type=kind, target=target),)), volumes={target: "/tmp"})


def test_a_volume_through_a_link_of_the_image_stays_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("../../../../etc/deep")
    made = document(root, RunSettings(mounts=(MountSetting(type="volume", target="/data"),)), volumes={"/data": "/tmp"})
    assert mount_at(made, "/etc/deep")["source"] == "/tmp"


def test_two_mounts_at_one_place_are_refused_through_links_too(root: int, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to("data")
    both = tuple(MountSetting(type="tmpfs", target=target) for target in ("/data", "/other"))
    with pytest.raises(InvalidInput, match="two mounts at /data: tmpfs and tmpfs"):
        document(root, RunSettings(mounts=both))


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        (MountSetting(type="nfs", target="/x"), "mount type 'nfs'"),
        (MountSetting(type="bind", source="/no/such/place", target="/x"), "bind source /no/such/place: no such file"),
        (MountSetting(type="bind", source="relative", target="/x"), "bind source 'relative': an absolute path"),
        (MountSetting(type="bind", source="/tmp", target="/x", propagation="odd"), "propagation is one of"),
        (MountSetting(type="bind", source="/tmp", target="/x", propagation="rshared"), "rshared can't be had"),
        (MountSetting(type="bind", source="/tmp", target="/x", options=("suid",)), "no options but ro"),
        (MountSetting(type="tmpfs", target="/x", options=("size=big",)), "option 'size=big'"),
        (MountSetting(type="tmpfs", target="/x", options=("mode=9",)), "option 'mode=9'"),
        (MountSetting(type="tmpfs", target="/x", options=("lowerdir=/",)), "option 'lowerdir=/'"),
        (MountSetting(type="tmpfs", target="/x", options=("bind",)), "option 'bind'"),
    ],
)
def test_mounts_that_cannot_be(root: int, mount: MountSetting, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        document(root, RunSettings(mounts=(mount,)))


def test_options_of_a_tmpfs_stand_against_each_other() -> None:
    def options(*given: str, read_only: bool = False) -> set[str]:
        setting = MountSetting(type="tmpfs", target="/x", options=given, read_only=read_only)
        return set(mounts.tmpfs_options(setting))

    assert options() == {"noexec", "nosuid", "nodev"}
    assert options("exec", "suid", "size=1m", "size=2m") == {"exec", "suid", "nodev", "size=2m"}
    assert options("exec", "noexec", "defaults") == {"noexec", "nosuid", "nodev"}
    assert options("rw", read_only=True) == {"noexec", "nosuid", "nodev", "ro"}


# What has to be there


def test_mount_points_are_what_the_document_mounts_on(root: int, tmp_path: Path) -> None:
    settings = RunSettings(
        mounts=(
            MountSetting(type="bind", source="/etc/passwd", target="/a/file"),
            MountSetting(type="tmpfs", target="/a/tmp", options=("mode=700",)),
            MountSetting(type="volume", target="/v"),
            MountSetting(type="volume", target="/v/below"),
            MountSetting(type="tmpfs", target="/dev/x"),
        ),
        workdir="/w/d",
        devices=(DeviceSetting(source="/dev/zero", target="/zero"), DeviceSetting(source="/dev/zero", target="/dev/y")),
    )
    found = [(point.path, point.kind, oct(point.mode)) for point in mount_points(settings, image_of())]
    assert found == [
        ("/dev", "dir", "0o755"),
        ("/proc", "dir", "0o755"),
        ("/sys", "dir", "0o755"),
        ("/v", "dir", "0o755"),
        ("/zero", "file", "0o755"),
        ("/a/file", "file", "0o755"),
        ("/a/tmp", "dir", "0o700"),
        ("/etc/hostname", "file", "0o755"),
        ("/etc/hosts", "file", "0o755"),
        ("/etc/resolv.conf", "file", "0o755"),
        ("/w/d", "dir", "0o755"),
    ]
    (tmp_path / "v").symlink_to("/srv/v")
    settled = [point.path for point in mount_points(settings, image_of(), root)]
    assert "/srv/v" in settled
    assert not {"/v", "/srv/v/below", "/v/below"} & set(settled)


def test_volumes_of_the_image_for_which_nothing_was_asked() -> None:
    image = image_of(volumes=("/a", "/b/", "/c"))
    settings = RunSettings(mounts=(MountSetting(type="tmpfs", target="/b"),))
    assert image_volumes(image, settings) == ("/a", "/c")


# exec


def test_exec_has_what_the_container_has(root: int) -> None:
    made = document(
        root, RunSettings(user="app", env=(("A", "b"),), ulimits=(UlimitSetting(name="core", soft=0, hard=0),))
    )
    process: Any = process_config(made, ("ls",), facts(root))
    jsonschema.Draft202012Validator(PROCESS).validate(process)
    assert process == made["process"] | {"args": ["ls"]}


def test_exec_with_its_own_wishes(root: int) -> None:
    made = document(root, RunSettings(env=(("A", "b"),)))
    wishes: dict[str, Any] = {
        "env": (("A", "c"), ("B", "d")),
        "user": "app",
        "tty": True,
        "workdir": "/tmp",
        "privileged": True,
    }
    process: Any = process_config(made, ("ls",), facts(root), **wishes)
    jsonschema.Draft202012Validator(PROCESS).validate(process)
    assert process["user"] == {"uid": 1000, "gid": 1001, "additionalGids": [1001, 44, 29]}
    assert {"A=c", "B=d", "HOME=/home/app", "TERM=xterm"} <= set(process["env"])
    assert (process["terminal"], process["cwd"]) == (True, "/tmp")
    assert len(process["capabilities"]["bounding"]) > 14
    assert process["capabilities"]["effective"] == []


def test_exec_keeps_a_home_that_somebody_said(root: int) -> None:
    made = document(root, RunSettings(env=(("HOME", "/said"),)))
    process: Any = process_config(made, ("ls",), facts(root), user="app")
    assert "HOME=/said" in process["env"]


@pytest.mark.parametrize(
    "wishes",
    [{"workdir": "/proc/self/fd/3"}, {"workdir": "x"}, {"user": "nosuch"}, {"env": (("A=", "x"),)}],
)
def test_exec_refuses_what_create_refuses(root: int, wishes: dict[str, Any]) -> None:
    with pytest.raises(OciError):
        process_config(document(root), ("ls",), facts(root), **wishes)
    with pytest.raises(InvalidInput, match="no command"):
        process_config(document(root), (), facts(root))
