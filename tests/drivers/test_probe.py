"""Which driver is chosen where, and why the others aren't."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import tempfile
from pathlib import Path

import pytest

from oci.drivers import copying
from oci.drivers.driver import NAMES
from oci.drivers.probe import Choice, choose, driver_named, form_at, place_key, probe
from oci.errors import DriverError
from oci.linux import mounts, namespaces
from tests.support.namespaces import need_mounts, need_overlay, rootless
from tests.support.users import as_user, in_child

_ = (copying, ctypes, resource)  # loaded before a child becomes a user who can't read them


def test_overlay_comes_first_and_the_trial_leaves_nothing(tmp_path: Path) -> None:
    need_overlay()
    choice = choose(str(tmp_path))
    assert choice.driver.name == "overlay"
    assert choice.driver.form == "trusted"
    assert set(choice.supports) == set(NAMES)
    assert choice.supports["copy"].usable
    assert list(tmp_path.iterdir()) == []


def test_a_wanted_driver_is_taken_or_refused_with_its_reason(tmp_path: Path) -> None:
    assert choose(str(tmp_path), "copy").driver.name == "copy"
    with pytest.raises(DriverError, match="there is none of this name; there are overlay, fuse-overlayfs, copy"):
        choose(str(tmp_path), "zfs")


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "one id"])
def test_in_a_user_namespace_it_is_overlay_with_attributes_of_users(ranges: bool) -> None:
    def work() -> tuple[str, str, str]:
        choice = choose(os.getcwd())
        return choice.driver.name, choice.driver.form, form_at(os.getcwd())

    assert rootless(work, ranges=ranges) == ("overlay", "user", "user")


def test_an_ordinary_user_without_a_namespace_has_copy_alone() -> None:
    folder = tempfile.mkdtemp(prefix="ocikit-probe-")
    try:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            choice = as_user(_choose, folder)
        else:
            choice = in_child(lambda: _choose(folder))
    finally:
        os.rmdir(folder)
    assert choice[0] == "copy"
    assert not choice[1]["overlay"][0]
    assert "not permitted" in choice[1]["overlay"][1]


def _choose(folder: str) -> tuple[str, dict[str, tuple[bool, str]]]:
    choice = choose(folder)
    return choice.driver.name, {name: (said.usable, said.reason) for name, said in choice.supports.items()}


def test_overlay_on_overlay_is_refused_by_the_kernel_and_fuse_or_copy_taken(tmp_path: Path) -> None:
    need_overlay()

    def work() -> tuple[str, str]:
        namespaces.unshare_mounts()
        for name in ("lower", "upper", "work", "merged"):
            (tmp_path / name).mkdir()
        options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        mounts.mount("overlay", tmp_path / "merged", "overlay", 0, options)
        choice = choose(str(tmp_path / "merged"))
        return choice.driver.name, choice.supports["overlay"].reason

    name, reason = in_child(work)
    assert name == "copy"  # fuse-overlayfs knows no whiteouts that overlayfs can hold
    assert "upper" in reason
    assert ".trial" not in reason
    assert "\n" not in reason


def test_a_file_system_without_attributes_or_devices_gives_reasons(tmp_path: Path) -> None:
    need_mounts()

    def work() -> list[str]:
        namespaces.unshare_mounts()
        mounts.mount("ramfs", tmp_path, "ramfs", 0, "")
        with pytest.raises(DriverError) as caught:
            choose(str(tmp_path))
        return [str(caught.value)]

    [said] = in_child(work)
    assert "none works in" in said
    assert "\n" not in said


def test_overlay_on_a_tmpfs(tmp_path: Path) -> None:
    need_mounts()

    def work() -> bool:
        namespaces.unshare_mounts()
        mounts.mount("tmpfs", tmp_path, "tmpfs", 0, "")
        return probe(driver_named("copy"), str(tmp_path)).usable

    assert in_child(work)


def test_a_choice_can_be_remembered(tmp_path: Path) -> None:
    choice = choose(str(tmp_path), "copy")
    again = Choice.from_json(choice.to_json())
    assert (again.driver.name, again.driver.form) == (choice.driver.name, choice.driver.form)
    assert again.supports == choice.supports
    assert place_key(str(tmp_path)) == place_key(str(tmp_path))
    for text in ("", "{}", '{"driver": "zfs", "form": "user", "supports": {}}', '{"supports": 1}'):
        with pytest.raises(ValueError, match=r"choice|JSON|Expecting"):
            Choice.from_json(text)


def test_a_remembered_choice_is_taken_without_another_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = choose(str(tmp_path), "copy").to_json()
    monkeypatch.setattr("oci.drivers.probe.probe", lambda *_: pytest.fail("it was tried again"))
    assert choose(str(tmp_path), "copy", known=known).driver.name == "copy"
    # A wish holds for once: the next one without gets the first that works.
    usable = [name for name, support in Choice.from_json(known).supports.items() if support.usable]
    assert choose(str(tmp_path), known=known).driver.name == usable[0]


def test_a_wanted_driver_that_did_not_work_is_tried_again(tmp_path: Path) -> None:
    refused = {name: [name == "overlay", "as it was"] for name in NAMES}
    known = json.dumps({"driver": "overlay", "form": "user", "supports": refused})
    assert choose(str(tmp_path), "copy", known=known).supports["copy"].usable
    assert choose(str(tmp_path), "copy", known="rubbish").driver.name == "copy"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="can't write in"):
        choose(str(tmp_path / "missing"))
