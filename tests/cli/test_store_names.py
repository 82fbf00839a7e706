"""Names and IDs of the local store: pull, push, ls, tag, untag, rmi, and every other command that takes a reference."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from oci.cli import storing
from oci.cli.failures import UsageError
from oci.cli.session import Session
from oci.serving import Server
from tests.support.commands import Run, digests_of, files_of, fits


@pytest.fixture
def store(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store is; nothing is there yet."""
    monkeypatch.setenv("OCIKIT_ROOT", str(here / "store"))
    return here / "store"


def names(run: Run, *more: str) -> list[str | None]:
    return [item["name"] for item in run("ls", "--json", *more).json]


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert storing.store_root(Session({})) == "/var/lib/ocikit"
    assert storing.store_root(Session({"OCIKIT_ROOT": "/else"})) == "/else"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert storing.store_root(Session({"HOME": "/home/me"})) == "/home/me/.local/share/ocikit"
    assert storing.store_root(Session({"HOME": "/home/me", "XDG_DATA_HOME": "/data"})) == "/data/ocikit"
    assert storing.store_root(Session({"HOME": "/home/me", "XDG_DATA_HOME": "relative"})).startswith("/home/me/")
    with pytest.raises(UsageError, match="--root DIR"):
        storing.store_root(Session({}))


def test_an_option_counts_more_than_the_environment() -> None:
    session = Session({"OCIKIT_ROOT": "/else", "OCIKIT_DRIVER": "copy", "OCIKIT_RUNTIME": "crun"})
    assert (storing.driver_name(session), storing.runtime_name(session)) == ("copy", "crun")
    session.root, session.driver, session.runtime = "/here", "overlay", "runc"
    assert storing.store_root(session) == "/here"
    assert (storing.driver_name(session), storing.runtime_name(session)) == ("overlay", "runc")
    session.driver = "btrfs"
    with pytest.raises(UsageError, match="--driver 'btrfs': not one of overlay, fuse-overlayfs, copy"):
        storing.driver_name(session)


def test_root_may_stand_before_and_behind_the_command(ocikit: Run, images: Path, here: Path) -> None:
    ocikit("--root", here / "one", "pull", "./images:v1")
    ocikit("pull", "./images:v1", "--root", here / "two")
    for root in ("one", "two"):
        assert (here / root / "images/index.json").exists()
        assert names(ocikit, "--root", str(here / root)) == ["images:v1"]


def test_looking_makes_no_store(ocikit: Run, run: Run, store: Path) -> None:
    for command in ("ls", "ps"):
        assert ocikit(command, "--json").json == []
        assert len(ocikit(command).out.splitlines()) == 1
    run("inspect", "app")
    run("ls", "app")
    assert not store.exists()
    store.write_text("not a folder")
    for words in (["ls"], ["ps"], ["volume", "ls"]):
        assert "store: can't be looked at (Not a directory); choose another" in run(*words).error


def test_pull_keeps_an_image_under_a_whole_name(ocikit: Run, images: Path, store: Path) -> None:
    digest = digests_of(images)["v1"]
    assert ocikit("pull", "./images:v1").out == f"images@{digest}\n"
    assert (
        ocikit("pull", "./images:v1", "-t", "localhost:5000/team/my__app:v2").out
        == f"localhost:5000/team/my__app@{digest}\n"
    )
    assert digests_of(store / "images") == {
        "docker.io/library/images:v1": digest,
        "localhost:5000/team/my__app:v2": digest,
    }
    listed = ocikit("ls", "--json").json
    fits("ls-store", listed)
    assert [item["name"] for item in listed] == ["images:v1", "localhost:5000/team/my__app:v2"]
    manifest = json.loads((store / "images/blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    assert {item["id"] for item in listed} == {manifest["config"]["digest"]}
    fits("image", ocikit("pull", "./images:v1", "--json").json)
    assert "ref.name" in ocikit("verify", store / "images").out  # my__app is Docker's grammar, not annotations.md's


def test_pull_takes_one_platform_or_the_whole_index(ocikit: Run, images: Path, store: Path) -> None:
    ocikit("pull", "./images:multi", "--platform", "linux/arm64")
    (one,) = ocikit("ls", "--json").json
    assert (one["name"], one["platform"]) == ("images:multi", "linux/arm64")
    ocikit("pull", "./images:multi", "--all-platforms")
    (both,) = ocikit("ls", "--json").json
    assert (both["digest"], both["platform"]) == (digests_of(images)["multi"], None)
    assert ocikit("inspect", "images:multi", "--platform", "linux/arm64", "--json").json["digest"] == one["digest"]


def test_every_command_takes_a_name_or_an_id(ocikit: Run, images: Path, store: Path, here: Path) -> None:
    digest = digests_of(images)["v1"]
    ocikit("pull", "./images:v1", "-t", "app")
    identifier = ocikit("ls", "-q").out.strip()
    for name in ("app", "app:latest", "docker.io/library/app", f"app@{digest}", identifier, f"sha256:{identifier}",
                 digest[7:20]):  # fmt: skip
        assert ocikit("inspect", name, "--json").json["digest"] == digest, name
    assert ocikit("history", "app", "--json").json == ocikit("history", "./images:v1", "--json").json
    assert ocikit("files", identifier, "--json").json == ocikit("files", "./images:v1", "--json").json
    assert ocikit("verify", "app", "--json").json["ok"]
    ocikit("unpack", "app", "rootfs")
    assert (here / "rootfs/etc/motd").read_text() == "welcome\n"
    ocikit("copy", "app", "./out:v1")
    ocikit("copy", "./out:v1", "copied:v3")
    assert digests_of(here / "out")["v1"] == digest
    assert names(ocikit) == ["app:latest", "copied:v3"]


def test_changed_images_go_back_to_the_store(ocikit: Run, images: Path, store: Path, app_tree: Path) -> None:
    ocikit("pull", "./images:v1", "-t", "app:v1")
    out = ocikit("append", "app:v1", "app:/opt", "-t", "app:v2").out
    assert out.startswith("app@sha256:")
    ocikit("config", out.strip(), "-t", "app:v3", "--env", "A=1")
    assert ocikit("inspect", "app:v3", "--json").json["config"]["Env"][-1] == "A=1"
    assert "opt/usr/bin/hello" in {item["path"] for item in ocikit("files", "app:v3", "--json").json}
    (here := store.parent / "report.txt").write_text("fine")
    attached = ocikit("attach", "app:v3", f"{here}:text/plain", "--type", "text/plain", "--json").json
    (referrer,) = ocikit("referrers", "app:v3", "--json").json["referrers"]
    assert referrer["digest"] == attached["digest"]
    assert names(ocikit, "--all") == ["app:v1", "app:v2", "app:v3"]


def test_a_name_that_moves_leaves_the_image_without_one(ocikit: Run, images: Path, store: Path) -> None:
    ocikit("pull", "./images:v1", "-t", "app")
    before = ocikit("inspect", "app", "--json").json["digest"]
    ocikit("config", "app", "-t", "app", "--env", "A=1")
    assert names(ocikit) == ["app:latest"]
    assert names(ocikit, "-a") == ["app:latest", None]
    assert "<none>" in ocikit("ls", "-a").out
    assert ocikit("inspect", before, "--json").json["digest"] == before


def test_tag_and_untag_take_whole_names(ocikit: Run, run: Run, images: Path, store: Path) -> None:
    ocikit("pull", "./images:v1", "-t", "app:v1")
    ocikit("tag", "app:v1", "other")
    ocikit("tag", ocikit("ls", "-q").out.strip(), "quay.io/me/app:v1")
    assert names(ocikit) == ["app:v1", "other:latest", "quay.io/me/app:v1"]
    assert names(ocikit, "app") == ["app:v1"]
    assert names(ocikit, "quay.io/me/app:v1") == ["quay.io/me/app:v1"]
    ocikit("untag", "app:v1")
    ocikit("untag", "other")
    ocikit("untag", "quay.io/me/app:v1")
    assert names(ocikit) == []
    assert names(ocikit, "--all") == [None]
    assert "'other' not found" in run("untag", "other").error
    assert run("tag", "app", "./x:y").status == 2


def test_rmi_takes_a_name_and_with_the_last_one_the_image(ocikit: Run, apart: Run, images: Path, store: Path) -> None:
    ocikit("pull", "./images:v1", "-t", "app:v1")
    ocikit("tag", "app:v1", "app:v2")
    assert apart("rmi", "app:v1").out.splitlines() == ["untagged: docker.io/library/app:v1"]
    removed = apart("rmi", "app:v2", "--json").json
    fits("rmi", removed)
    assert {item["kind"] for item in removed} >= {"name", "image", "blob"}
    assert not files_of(store / "images/blobs")
    assert names(ocikit, "-a") == []


def test_of_several_names_each_failure_is_a_line(ocikit: Run, apart: Run, images: Path, store: Path) -> None:
    ocikit("pull", "./images:v1", "-t", "app:v1")
    result = apart("rmi", "nothing", "app:v1", "nobody")
    assert result.status == 1
    assert [line.split("'")[1] for line in result.err.splitlines()] == ["nothing", "nobody"]
    assert names(ocikit) == []


def test_a_name_that_is_not_there_says_where_it_may_be(run: Run, ocikit: Run, images: Path, store: Path) -> None:
    for made in (False, True):
        for command in (["inspect"], ["history"], ["verify"], ["copy", "--all"]):
            more = ["./out:x"] if command[0] == "copy" else []
            result = run(*command, "alpine:3.20", *more)
            assert result.status == 1
            assert result.error == (
                "error: 'alpine:3.20' not found in the local store; `ocikit pull alpine:3.20` brings it, "
                "docker://alpine:3.20 names it in its registry"
            )
        assert run("inspect", "images:v1").error.endswith("; the layout here is ./images:v1")
        if not made:
            ocikit("pull", "./images:v1", "-t", "app")


def test_what_can_be_no_name_is_wrong_usage(run: Run, store: Path) -> None:
    for words in (
        ["inspect", "UPPER"],
        ["copy", "./x:y", "sha256:" + "0" * 64],
        ["copy", "./x:y", "app@sha256:" + "0" * 64],
        ["pull", "sha256:" + "0" * 64],
        ["pull", "x", "--policy", "sometimes"],
        ["pull", "x", "-t", "./y:z"],
        ["push", "./x:y"],
        ["pull", "x", "--platform", "linux/amd64", "--all-platforms"],
    ):
        assert run(*words).status == 2, words
    assert not store.exists()


def test_a_failed_pull_leaves_what_was_there(run: Run, ocikit: Run, images: Path, store: Path) -> None:
    ocikit("pull", "./images:v1", "-t", "app")
    before = files_of(store / "images")
    assert run("pull", "./images:nothing", "-t", "app").status == 1
    assert run("pull", "./images:multi", "-t", "app", "--platform", "linux/riscv64").status == 1
    assert files_of(store / "images") == before


def test_registries_are_pulled_from_and_pushed_to(
    ocikit: Run, run: Run, apart: Run, images: Path, store: Path, here: Path
) -> None:
    with Server(here / "registry") as server:
        host = server.host
        ocikit("pull", "./images:v1", "-t", f"{host}/team/app:v1")
        written = ocikit("push", f"{host}/team/app:v1").out.strip()
        assert written == f"docker://{host}/team/app@{digests_of(images)['v1']}"
        ocikit("push", f"{host}/team/app:v1", f"{host}/team/other")
        ocikit("push", f"{host}/team/app:v1", "oci-archive:app.tar:v1")
        assert (here / "app.tar").exists()
        assert apart("rmi", f"{host}/team/app:v1").status == 0
        assert ocikit("pull", f"{host}/team/other").out == f"{host}/team/other@{digests_of(images)['v1']}\n"
        ocikit("pull", f"docker://{host}/team/app:v1", "-t", "mine")
        assert names(ocikit) == [f"{host}/team/other:latest", "mine:latest"]
        conf = here / "registries.conf"
        conf.write_text(f'[aliases]\n"short" = "{host}/team/app"\n')
        ocikit("pull", "short:v1", "--registries-conf", conf)
        assert f"{host}/team/app:v1" in names(ocikit)
    assert ocikit("pull", f"{host}/team/app:v1", "--policy", "missing").out.startswith(f"{host}/team/app@sha256:")
    assert run("pull", f"{host}/team/app:v1").status == 1  # the registry is gone
