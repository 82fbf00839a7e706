"""Images made to lead a runtime astray: contained, or refused in one line, and this machine untouched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import InvalidInput, LimitExceeded, OciError, RuntimeFailed
from oci.runtime.settings import MountSetting, RunSettings
from tests.support.boxes import Extra, contain, image_of

Prepare = Callable[[str], None]


def link(name: str, target: str) -> Prepare:
    def prepare(root: str) -> None:
        path = f"{root}/{name}"
        if os.path.lexists(path):
            os.rename(path, f"{path}.away")
        os.symlink(target, path)

    return prepare


def refused(match: str, settings: RunSettings | None = None, prepare: Prepare | None = None, **image: object) -> None:
    with pytest.raises(OciError, match=match) as caught:
        contain("true", settings, image=image_of(**image), extra=Extra(prepare=prepare))
    assert "\n" not in str(caught.value).split("\nTraceback")[0]


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
@pytest.mark.parametrize("target", ["/", "/tmp", "../../../../etc", "/proc/self/root", "nowhere"])
def test_a_link_where_the_kernels_file_systems_go(name: str, target: str) -> None:
    refused(f"the image's /{name} is a link: a container needs a directory there", prepare=link(name, target))


def test_a_file_there() -> None:
    def prepare(root: str) -> None:
        Path(root, "proc").write_text("")

    refused("the image's /proc is a file", prepare=prepare)


def test_a_volume_at_proc_or_through_a_link_to_it() -> None:
    for target, prepare in (("/proc", None), ("/proc/sys", None), ("/data", link("data", "proc/self"))):
        settings = RunSettings(mounts=(MountSetting(type="tmpfs", target=target),))
        refused("nothing can be mounted in /proc", settings, prepare)


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
def test_the_containers_files_over_a_link_out_of_the_image(name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    key = {"hosts": "hosts", "hostname": "hostname_file", "resolv.conf": "resolv_conf"}[name]
    extra = Extra(prepare=link(f"etc/{name}", str(outside)), facts={key: "/etc/group"})
    box = contain(f"cat /etc/{name}; echo gone > /etc/{name}.new", extra=extra)
    assert box.output == Path("/etc/group").read_text()
    assert outside.read_text() == "untouched"


def test_a_passwd_of_a_gibibyte() -> None:
    def prepare(root: str) -> None:
        os.truncate(f"{root}/etc/passwd", 1 << 30)

    with pytest.raises(LimitExceeded, match="/etc/passwd"):
        contain("true", extra=Extra(prepare=prepare))


def test_a_passwd_that_is_this_machines() -> None:
    for target in ("/proc/1/root/etc/passwd", "/dev/stdin", "../sys/kernel/uevent_helper"):
        refused("the image's /etc/passwd leads to /[psd].* which is not a file", prepare=link("etc/passwd", target))
    outside = "../../../../../etc/shadow"
    box = contain("id -un", RunSettings(user="0"), extra=Extra(prepare=link("etc/passwd", outside)))
    assert box.status == 1  # looked for inside: no such file, no name


def test_an_entrypoint_that_is_a_directory_or_leads_out() -> None:
    for words, reason in ((("/etc",), "/etc: "), (("/out",), "/out: no such file")):
        with pytest.raises(RuntimeFailed, match=reason):
            contain(words, extra=Extra(prepare=link("out", "../../../../usr/bin/env")))


def test_a_working_directory_that_is_a_link_out_is_made_inside() -> None:
    box = contain("pwd", image=image_of(working_dir="/work"), extra=Extra(prepare=link("work", "../../../var/made")))
    assert box.output == "/var/made\n"
    assert not os.path.exists("/var/made")


def test_mounts_over_links_stay_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    settings = RunSettings(mounts=(MountSetting(type="bind", source="/etc", target="/data", read_only=True),))
    box = contain(
        "grep -o ' /[a-z]*/.*outside ' /proc/mounts", settings, extra=Extra(prepare=link("data", str(outside)))
    )
    assert box.output.strip() == str(outside)
    assert os.listdir(outside) == []


def test_an_environment_and_labels_that_are_not_theirs() -> None:
    refused("environment variable A: a NUL", env=("A=x\0y",))
    with pytest.raises(InvalidInput, match="working directory of the image"):
        contain("true", image=image_of(working_dir="relative"))
    box = contain("env", image=image_of(env=("LD_PRELOAD=/x.so", "A=\x1b[31m"), labels={"a": "\x1b"}))
    assert "A=\x1b[31m" in box.output
