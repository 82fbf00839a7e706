"""append and config: what their options come to, and that inputs alone decide the digest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import PROGRAM, ROOT, Run, digests_of, files_of, fits


def entries(ocikit: Run, reference: str) -> dict[str, dict[str, Any]]:
    return {item["path"]: item for item in ocikit("files", reference, "--json").json}


def config_of(ocikit: Run, reference: str) -> Any:
    return ocikit("inspect", reference, "--config").json


def test_a_directory_becomes_an_image(ocikit: Run, app_tree: Path) -> None:
    result = ocikit("append", "scratch", "app", "-t", "./images:v1")
    assert result.out.strip() == f"oci:./images@{digests_of(Path('images'))['v1']}"
    found = entries(ocikit, "./images:v1")
    assert found["usr/bin/hello"]["mode"] == "0755"
    assert (found["usr/bin/hello"]["uid"], found["usr/bin/hello"]["gid"]) == (0, 0)
    assert found["usr/bin/hi"]["linkname"] == "hello"
    assert config_of(ocikit, "./images:v1")["architecture"] == "amd64"
    ocikit("verify", "images")


def test_one_layer_and_one_step_for_each_source(ocikit: Run, app_tree: Path, here: Path) -> None:
    subprocess.run(["tar", "-czf", "conf.tar.gz", "-C", "app", "etc"], check=True)
    ocikit("append", "scratch", "app:/opt/app", "conf.tar.gz:/srv", "-t", "./images:v1", "--created-by", "test")
    ocikit("append", "./images:v1", "app/etc:/etc", "-t", "./images:v2", "--comment", "more")
    steps = ocikit("history", "./images:v2", "--json").json
    assert [step["createdBy"] for step in steps] == ["test", "test", "ocikit append /etc"]
    assert steps[2]["comment"] == "more"
    assert all(step["digest"] for step in steps)
    assert {"opt/app/usr/bin/hello", "srv/etc/motd", "etc/motd"} <= set(entries(ocikit, "./images:v2"))
    ocikit("verify", "images")


def test_attributes_can_be_set_for_all(ocikit: Run, app_tree: Path) -> None:
    ocikit(
        "append", "scratch", "app", "-t", "./images:v1", "--owner", "7:8", "--mode", "u=rwX,go=rX",
        "--mtime", "2001-02-03T04:05:06Z", "--exclude", "*.txt", "--exclude", "etc", "--platform", "linux/arm/v6",
        "--compression", "zstd:5", "--created", "2020-01-01T00:00:00Z",
    )  # fmt: skip
    found = entries(ocikit, "./images:v1")
    assert "etc" not in found
    assert {(item["uid"], item["gid"]) for item in found.values()} == {(7, 8)}
    assert {item["mtime"] for item in found.values()} == {"2001-02-03T04:05:06Z"}
    config = config_of(ocikit, "./images:v1")
    assert (config["architecture"], config["variant"], config["created"]) == ("arm", "v6", "2020-01-01T00:00:00Z")
    assert ocikit("inspect", "./images:v1", "--json").json["layers"][0]["mediaType"].endswith("zstd")


@pytest.mark.parametrize("target", ["oci-archive:out.tar:v1", "docker-archive:out.tar:app:v1"])
def test_an_image_can_be_made_in_an_archive(ocikit: Run, app_tree: Path, here: Path, target: str) -> None:
    ocikit("append", "scratch", "app", "-t", target)
    ocikit("append", "scratch", "app", "-t", "./images:v1")
    made = [ocikit("inspect", reference, "--json").json for reference in (target, "./images:v1")]
    assert made[0]["digest"] == made[1]["digest"]
    assert {path.name for path in here.iterdir()} == {"app", "images", "out.tar"}


@pytest.mark.parametrize("source", ["/dev/stdin:/srv", "-:/srv"])
def test_a_tar_can_come_from_stdin(app_tree: Path, here: Path, ocikit: Run, source: str) -> None:
    archive = subprocess.run(["tar", "-c", "-C", "app", "etc"], capture_output=True, check=True).stdout
    done = subprocess.run(
        [*PROGRAM, "append", "-t", "./images:v1", "--", "scratch", source],
        input=archive, cwd=here, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "srv/etc/motd" in entries(ocikit, "./images:v1")


def test_the_digest_depends_on_the_inputs_alone(app_tree: Path, here: Path) -> None:
    """Another directory, time zone, locale, umask, hash seed; run as programs, for each needs its own."""
    digests = set()
    for number, (zone, seed, umask) in enumerate((("UTC", "0", 0o022), ("Asia/Tokyo", "7", 0o077))):
        copy = here / f"somewhere-{number}" / "deeper"
        copy.parent.mkdir()
        subprocess.run(["cp", "-a", str(app_tree), str(copy)], check=True)
        environ = {"PYTHONPATH": str(ROOT), "TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": "C", "HOME": str(copy)}
        layout = f"./images-{number}:v1"
        for arguments in (
            ["append", "scratch", f"{copy}:/opt", "-t", layout],
            ["config", layout, "-t", layout, "--env", "B=1", "--label", "z=1", "--label", "a=1", "--port", "80"],
        ):
            subprocess.run([*PROGRAM, *arguments], cwd=here, env=environ, check=True, umask=umask, capture_output=True)
        digests.add(digests_of(here / f"images-{number}")["v1"])
    assert len(digests) == 1


def test_source_date_epoch_is_the_latest_time(ocikit: Run, app_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(app_tree / "etc/motd", (1000, 1000))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    ocikit("append", "scratch", "app", "-t", "./images:v1")
    ocikit("config", "./images:v1", "-t", "./images:v1", "--env", "A=1")
    config = config_of(ocikit, "./images:v1")
    assert {config["created"], *(step["created"] for step in config["history"])} == {"2001-09-09T01:46:40Z"}
    found = entries(ocikit, "./images:v1")
    assert found["etc/motd"]["mtime"] == "1970-01-01T00:16:40Z"
    assert found["usr/bin/hello"]["mtime"] == "2001-09-09T01:46:40Z"


def test_an_unusable_source_date_epoch_is_wrong_usage(
    run: Run, app_tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    result = run("append", "scratch", "app", "-t", "./images:v1")
    assert result.status == 2
    assert result.error == "error: SOURCE_DATE_EPOCH='now': not a whole number of seconds since 1970-01-01"
    assert not (here / "images").exists()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["scratch", "nowhere", "-t", "./new:v1"], 1),
        (["scratch", "app/etc/motd", "-t", "./new:v1"], 1),
        (["scratch", "app", "nowhere", "-t", "./new:v1"], 1),
        (["scratch", "app:relative", "-t", "./new:v1"], 2),
        (["scratch", "app:/../..", "-t", "./new:v1"], 1),
        (["./nowhere:v1", "app", "-t", "./new:v1"], 1),
        (["scratch", "app", "-t", "NEW"], 2),
        (["scratch", "app"], 2),
        (["scratch", "-t", "./new:v1"], 2),
        (["scratch", "app", "-t", "./new:v1", "--owner", "root"], 2),
        (["scratch", "app", "-t", "./new:v1", "--mode", "999"], 2),
        (["scratch", "app", "-t", "./new:v1", "--mtime", "never"], 2),
        (["scratch", "app", "-t", "./new:v1", "--exclude", "[a"], 2),
        (["scratch", "app", "-t", "./new:v1", "--exclude", "!a"], 2),
        (["scratch", "app", "-t", "./new:v1", "--compression", "xz"], 2),
        (["scratch", "app", "-t", "./new:v1", "--platform", "arm64"], 2),
        (["scratch", "app", "-t", "docker://127.0.0.1:1/x"], 1),
        (["scratch", "app/etc/motd", "-t", "oci-archive:new:v1"], 1),
    ],
)
def test_an_append_that_cannot_be_makes_nothing(
    run: Run, app_tree: Path, here: Path, arguments: list[str], status: int
) -> None:
    before = files_of(here)
    result = run("append", *arguments)
    assert result.status == status, result.err
    assert result.error
    assert files_of(here) == before
    assert {path.name for path in here.iterdir()} == {"app"}


def test_a_source_that_is_no_archive_is_said_to_be_none(run: Run, app_tree: Path) -> None:
    result = run("append", "scratch", "app/etc/motd:/etc/motd", "-t", "./new:v1")
    assert result.status == 1
    assert result.error.startswith("error: app/etc/motd: is neither a directory nor a tar archive (")


def test_a_single_base_for_another_platform_is_refused(run: Run, images: Path, app_tree: Path) -> None:
    before = digests_of(images)
    result = run("append", "./images:v1", "app", "-t", "./images:v2", "--platform", "linux/arm64")
    assert result.status == 1
    assert "linux/amd64" in result.error
    assert digests_of(images) == before


def test_an_index_gives_the_base_for_the_platform(ocikit: Run, images: Path, app_tree: Path) -> None:
    ocikit("append", "./images:multi", "app", "-t", "./images:arm", "--platform", "linux/arm64")
    assert config_of(ocikit, "./images:arm")["architecture"] == "arm64"


def test_every_field_of_the_config_can_be_set_and_taken_away(ocikit: Run, images: Path) -> None:
    made = ocikit(
        "config", "./images:v1", "-t", "./images:full", "--json",
        "--env", "PATH=/bin", "--env", "LANG=C.UTF-8", "--entrypoint", '["/init"]', "--cmd", "echo hi",
        "--user", "1000:1000", "--workdir", "/srv", "--label", "b=2", "--label", "a=1", "--annotation", "x=y",
        "--port", "8080", "--port", "53/udp", "--volume", "/data", "--stop-signal", "SIGQUIT", "--stop-timeout", "5",
        "--healthcheck", "curl -f http://localhost", "--healthcheck-interval", "1m30s", "--healthcheck-timeout", "3s",
        "--healthcheck-start-period", "10s", "--healthcheck-start-interval", "1s", "--healthcheck-retries", "4",
        "--shell", '["/bin/bash", "-c"]', "--onbuild", "RUN true", "--onbuild", "COPY . /src", "--author", "me",
        "--hostname", "box", "--created", "2020-02-02T02:02:02Z", "--platform", "linux/arm/v7",
        "--created-by", "by hand", "--comment", "why not",
    ).json  # fmt: skip
    fits("image", made)
    config = config_of(ocikit, "./images:full")
    assert config["config"] == {
        "User": "1000:1000",
        "ExposedPorts": {"53/udp": {}, "8080/tcp": {}},
        "Env": ["PATH=/bin", "LANG=C.UTF-8"],
        "Entrypoint": ["/init"],
        "Cmd": ["/bin/bash", "-c", "echo hi"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
        "Labels": {"a": "1", "b": "2"},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {
            "Test": ["CMD-SHELL", "curl -f http://localhost"],
            "Interval": 90 * 10**9,
            "Timeout": 3 * 10**9,
            "StartPeriod": 10 * 10**9,
            "StartInterval": 10**9,
            "Retries": 4,
        },
        "OnBuild": ["RUN true", "COPY . /src"],
        "Shell": ["/bin/bash", "-c"],
        "StopTimeout": 5,
        "Hostname": "box",
    }
    assert (config["author"], config["created"], config["variant"]) == ("me", "2020-02-02T02:02:02Z", "v7")
    assert config["history"][-1] == {
        "created": "2020-02-02T02:02:02Z", "created_by": "by hand", "comment": "why not", "empty_layer": True
    }  # fmt: skip
    assert ocikit("inspect", "./images:full", "--manifest").json["annotations"] == {"x": "y"}
    clear = "annotations author cmd entrypoint env healthcheck hostname label onbuild port shell stop-signal \
        stop-timeout user volumes workdir"
    options = [word for field in clear.split() for word in ("--clear", field)]
    ocikit("config", "./images:full", "-t", "./images:empty", *options)
    empty = config_of(ocikit, "./images:empty")
    assert "config" not in empty
    assert "author" not in empty
    assert "annotations" not in ocikit("inspect", "./images:empty", "--manifest").json
    ocikit("verify", "images")


def test_members_are_taken_away_one_by_one(ocikit: Run, images: Path) -> None:
    ocikit(
        "config", "./images:v1", "-t", "./images:a", "--env", "A=1", "--label", "l=1", "--port", "80", "--volume", "/v"
    )
    ocikit(
        "config", "./images:a", "-t", "./images:b",
        "--env", "-A", "--label", "-l", "--port", "-80/tcp", "--volume", "-/v",
    )  # fmt: skip
    assert config_of(ocikit, "./images:b")["config"] == {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]}


def test_a_cleared_field_can_be_filled_again_at_once(ocikit: Run, images: Path) -> None:
    ocikit("config", "./images:v1", "-t", "./images:a", "--clear", "env", "--env", "NEW=1", "--onbuild", "RUN a")
    ocikit("config", "./images:a", "-t", "./images:b", "--onbuild", "RUN b")
    ocikit("config", "./images:a", "-t", "./images:c", "--clear", "onbuild", "--onbuild", "RUN c")
    assert config_of(ocikit, "./images:a")["config"]["Env"] == ["NEW=1"]
    assert config_of(ocikit, "./images:b")["config"]["OnBuild"] == ["RUN a", "RUN b"]
    assert config_of(ocikit, "./images:c")["config"]["OnBuild"] == ["RUN c"]


def test_the_time_of_creation_can_be_taken_away(ocikit: Run, images: Path) -> None:
    ocikit("config", "./images:v1", "-t", "./images:timeless", "--clear", "created")
    assert "created" not in config_of(ocikit, "./images:timeless")
    ocikit("verify", "images")


def test_config_leaves_layers_and_unknown_fields_alone(ocikit: Run, images: Path) -> None:
    before = ocikit("inspect", "./images:v1", "--json").json
    ocikit("config", "./images:v1", "-t", "oci-archive:out.tar:v1", "--user", "nobody")
    after = ocikit("inspect", "oci-archive:out.tar:v1", "--json").json
    assert after["layers"] == before["layers"]
    assert after["created"] == before["created"]


@pytest.mark.parametrize(
    "options",
    [
        ["--env", "A"], ["--cmd", ""], ["--cmd", "[1]"], ["--port", "http"], ["--stop-signal", "term"],
        ["--workdir", "srv"], ["--clear", "everything"], ["--healthcheck-interval", "30"], ["--shell", "bash"],
        ["--created", "now"], ["--platform", "arm64"], ["--stop-timeout", "soon"], ["--user", ""],
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_wrong_usage_and_change_nothing(run: Run, images: Path, options: list[str]) -> None:
    before = files_of(images)
    result = run("config", "./images:v1", "-t", "./images:v1", *options)
    assert result.status == 2, result.err
    assert result.error
    assert files_of(images) == before


def test_config_needs_an_image_to_begin_with(run: Run, here: Path) -> None:
    assert run("config", "scratch", "-t", "./new:v1", "--user", "x").status == 2
    assert not list(here.iterdir())


def test_umoci_reads_what_append_writes(ocikit: Run, app_tree: Path, here: Path) -> None:
    import shutil

    if not shutil.which("umoci"):
        pytest.skip("umoci is not installed")
    ocikit("append", "scratch", "app", "-t", "./images:v1")
    ocikit("config", "./images:v1", "-t", "./images:v1", "--cmd", '["/usr/bin/hello"]')
    done = subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", "images:v1", "bundle"], cwd=here, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert files_of(here / "bundle/rootfs") == files_of(app_tree)


def test_killed_at_work_it_leaves_no_half_image(app_tree: Path, here: Path, ocikit: Run) -> None:
    """SIGTERM while a layer comes through a pipe: status 143, no layout that was not there before."""
    import signal

    with subprocess.Popen(
        [*PROGRAM, "append", "scratch", "-", "-t", "./images:v1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here, env={"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(bytes(1 << 16))
        process.stdin.flush()
        while not (here / "images/oci-layout").exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (143, b"error: terminated\n")
    assert not (here / "images").exists()


def test_the_module_runs_as_a_program(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oci", "--version"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("ocikit ")
