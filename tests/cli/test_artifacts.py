"""artifact push|pull|inspect and attach, as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Run, digests_of, files_of, fits
from tests.support.images import digest
from tests.support.registries import DockerRegistry, docker_registry


@pytest.fixture(autouse=True)
def report(here: Path) -> Path:
    """Something to push: `report.json`, and `docs` with a file in it."""
    (here / "report.json").write_text('{"ok":true}')
    (here / "docs").mkdir()
    (here / "docs" / "index.html").write_text("<p>")
    return here


def test_what_is_pushed_is_pulled(ocikit: Run, here: Path) -> None:
    made = ocikit("artifact", "push", "./store:v1", "report.json:application/json", "docs")
    assert made.out == f"oci:./store@{digests_of(here / 'store')['v1']}\n"
    done = ocikit("artifact", "pull", "./store:v1", "-o", "out")
    assert done.out == "report.json\ndocs/\n"
    assert done.err == ""
    assert files_of(here / "out") == {"docs/index.html": b"<p>", "report.json": b'{"ok":true}'}
    ocikit("verify", "store")
    ocikit("copy", "./store:v1", "oci-archive:store.tar:v1")
    ocikit("artifact", "pull", "oci-archive:store.tar", "-o", "again", "--include", "*.json")
    assert files_of(here / "again") == {"report.json": b'{"ok":true}'}


def test_the_same_files_are_the_same_artifact_and_a_time_changes_it(
    ocikit: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ocikit("artifact", "push", "./store:a", "report.json", "docs", "--json").json
    fits("image", first)
    assert ocikit("artifact", "push", "./other:b", "report.json", "docs", "--json").json["digest"] == first["digest"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    ocikit("artifact", "push", "./store:c", "report.json")
    shown = ocikit("artifact", "inspect", "./store:c", "--json").json
    assert shown["annotations"] == {"org.opencontainers.image.created": "1970-01-01T00:00:00Z"}
    ocikit("artifact", "push", "./store:c", "report.json", "--created", "2024-05-01T00:00:00Z")
    shown = ocikit("artifact", "inspect", "./store:c", "--json").json
    assert shown["annotations"] == {"org.opencontainers.image.created": "2024-05-01T00:00:00Z"}


def test_inspect_shows_what_it_is(ocikit: Run) -> None:
    ocikit(
        "artifact", "push", "./store:v1", "report.json:application/json", "docs",
        "--artifact-type", "application/vnd.x",
        "--annotation", "team=qa", "--annotation", "k=a=b",
    )  # fmt: skip
    shown = ocikit("artifact", "inspect", "./store:v1", "--json").json
    fits("artifact-inspect", shown)
    assert shown["artifactType"] == "application/vnd.x"
    assert shown["annotations"] == {"k": "a=b", "team": "qa"}
    assert [(one["title"], one["folder"]) for one in shown["files"]] == [("report.json", False), ("docs", True)]
    assert shown["files"][0]["digest"] == digest(b'{"ok":true}')
    text = ocikit("artifact", "inspect", "./store:v1").out
    assert "Artifact type:" in text
    assert "docs/" in text


def test_pull_says_what_it_wrote_as_json(ocikit: Run) -> None:
    ocikit("artifact", "push", "./store:v1", "report.json", "docs")
    made = ocikit("artifact", "pull", "./store:v1", "-o", "out", "--json").json
    fits("artifact-pull", made)
    assert [(one["path"], one["folder"]) for one in made["files"]] == [("report.json", False), ("docs", True)]


def test_an_image_has_no_titles_to_pull(run: Run, images: Path) -> None:
    assert "none of its 2 layers has a title" in run("artifact", "pull", "./images:v1", "-o", "out").error
    shown = run("artifact", "inspect", "./images:v1", "--json").json
    fits("artifact-inspect", shown)
    assert [one["title"] for one in shown["files"]] == [None, None]


def test_what_is_there_is_kept_unless_forced(run: Run, ocikit: Run, here: Path) -> None:
    ocikit("artifact", "push", "./store:v1", "report.json", "docs")
    before = files_of(here / "docs")
    result = run("artifact", "pull", "./store:v1")
    assert result.status == 1
    assert "--force" in result.error
    assert files_of(here / "docs") == before
    (here / "report.json").write_text("changed")
    ocikit("artifact", "pull", "./store:v1", "--force")
    assert (here / "report.json").read_text() == '{"ok":true}'


def test_a_hostile_title_is_one_line_on_stderr(run: Run, ocikit: Run, here: Path) -> None:
    ocikit("artifact", "push", "./store:v1", "report.json")
    # A title that our own push refuses, written by hand.
    old = digests_of(here / "store")["v1"]
    manifest = json.loads((here / "store/blobs" / old.replace(":", "/")).read_text())
    manifest["layers"][0]["annotations"]["org.opencontainers.image.title"] = "../../evil\x1b[2J"
    manifest["annotations"] = {"key\x1b[2J": "value\x1b[2J"}
    raw = json.dumps(manifest).encode()
    (here / "store/blobs" / digest(raw).replace(":", "/")).write_bytes(raw)
    index = json.loads((here / "store/index.json").read_text())
    index["manifests"][0] |= {"digest": digest(raw), "size": len(raw)}
    (here / "store/index.json").write_text(json.dumps(index))
    result = run("artifact", "pull", "./store:v1", "-o", "out")
    assert result.status == 1
    assert "unsafe entry" in result.error
    assert "\x1b" not in result.err
    assert not (here / "out").exists()
    assert "\x1b" not in run("artifact", "inspect", "./store:v1").out


def test_attach_makes_a_referrer(ocikit: Run, here: Path, images: Path) -> None:
    before = digests_of(images)
    made = ocikit(
        "attach", "./images:v1", "report.json:application/json", "--type", "application/vnd.x.report", "--json"
    ).json
    fits("attach", made)
    assert made["subject"] == before["v1"]
    assert digests_of(images) == before
    entry = json.loads((images / "index.json").read_text())["manifests"][-1]
    assert entry["digest"] == made["digest"]
    assert entry["artifactType"] == "application/vnd.x.report"
    ocikit("artifact", "pull", f"./images@{made['digest']}", "-o", "out")
    assert files_of(here / "out") == {"report.json": b'{"ok":true}'}
    ocikit("gc", "images")
    ocikit("artifact", "inspect", f"./images@{made['digest']}")
    ocikit("verify", "images")


def test_attach_to_one_image_of_an_index_or_to_the_index(ocikit: Run, images: Path) -> None:
    ocikit("attach", "./images:multi", "--type", "a/b", "--annotation", "verdict=good")
    whole = json.loads((images / "index.json").read_text())["manifests"][-1]["digest"]
    shown = ocikit("artifact", "inspect", f"./images@{whole}", "--json").json
    assert shown["subject"] == digests_of(images)["multi"]
    made = ocikit(
        "attach", "./images:multi", "report.json", "--type", "a/b", "--platform", "linux/arm64", "--json"
    ).json
    index = json.loads((images / "blobs" / digests_of(images)["multi"].replace(":", "/")).read_text())
    assert made["subject"] == index["manifests"][1]["digest"]


def test_referrers_are_copied_when_asked_for(ocikit: Run, run: Run, images: Path, here: Path) -> None:
    made = ocikit("attach", "./images:v1", "report.json", "--type", "a/b", "--json").json
    ocikit("copy", "./images:v1", "./plain:v1")
    assert run("artifact", "inspect", f"./plain@{made['digest']}").status == 1
    ocikit("copy", "./images:v1", "./full:v1", "--with-referrers")
    ocikit("artifact", "pull", f"./full@{made['digest']}", "-o", "out")
    assert digests_of(here / "full") == {"v1": digests_of(images)["v1"]}
    assert run("copy", "./images:v1", "./x:v1", "--with-referrers", "--compression", "zstd").status == 2


def test_annotations_from_a_file_and_a_warning_for_what_is_not_pushed(ocikit: Run, here: Path) -> None:
    (here / "notes.json").write_text(
        '{"$manifest": {"a": "1", "b": "1"}, "report.json": {"c": "2"}, "typo.json": {"d": "3"}}'
    )
    done = ocikit(
        "artifact", "push", "./store:v1", "report.json", "--annotation-file", "notes.json", "--annotation", "b=2"
    )
    assert "'typo.json', which is no FILE" in done.err
    shown = ocikit("artifact", "inspect", "./store:v1", "--json").json
    assert shown["annotations"] == {"a": "1", "b": "2"}
    assert shown["files"][0]["annotations"]["c"] == "2"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("artifact", "push", "./store:v1", "report.json:what"), "not a media type"),
        (("artifact", "push", "./store:v1", "report.json", "--artifact-type", "x"), "--artifact-type"),
        (("artifact", "push", "./store:v1", "report.json", "--annotation", "x"), "KEY=VALUE"),
        (("artifact", "push", "./store@sha256:" + "0" * 64, "report.json"), "digest"),
        (("artifact", "pull", "./store:v1", "--unpack", "some"), "--unpack"),
        (("artifact", "what"), "what"),
        (("artifact",), ""),
        (("attach", "./images:v1", "report.json"), "--type"),
        (("attach", "./images:v1", "--type", "a/b"), "nothing to attach"),
        (("attach", "oci-archive:x.tar", "report.json", "--type", "a/b"), "layout directory"),
        (("attach", "./images:v1", "report.json", "--type", "nothing"), "--type"),
        (("copy", "--from-file", "x", "./a:b", "./c:d"), "--from-file"),
        (("copy", "./a:b"), "SRC and DST"),
    ],
)
def test_wrong_usage_is_exit_status_2(run: Run, here: Path, words: tuple[str, ...], part: str) -> None:
    result = run(*words)
    assert result.status == 2
    assert part in result.err
    assert not (here / "store").exists()


def test_a_push_that_fails_leaves_no_layout(run: Run, here: Path) -> None:
    assert run("artifact", "push", "./store:v1", "report.json", "nowhere").status == 1
    assert not (here / "store").exists()


def test_a_list_of_copies(run: Run, ocikit: Run, images: Path, here: Path) -> None:
    (here / "list").write_text(
        "# what we need\n./images:v1 ./mirror:v1\n\n./images:multi\t'oci-archive:with blank.tar:m'  # all\n"
    )
    made = ocikit("copy", "--from-file", "list", "--all-platforms", "--json")
    fits("copy-many", made.json)
    assert [one["status"] for one in made.json["copies"]] == ["copied", "copied"]
    assert digests_of(here / "mirror") == {"v1": digests_of(images)["v1"]}
    assert (here / "with blank.tar").exists()
    (here / "list").write_text("./images:v1 ./mirror:v1\n./images:none ./mirror:none\n./images:multi ./mirror:multi\n")
    result = run("copy", "--from-file", "list", "--all-platforms", "--json")
    assert result.status == 1
    assert [one["status"] for one in result.json["copies"]] == ["same", "failed", "copied"]
    assert "not found" in result.err
    result = run("copy", "--from-file", "list", "--fail-fast", "--json")
    assert [one["status"] for one in result.json["copies"]] == ["same", "failed"]
    assert "STATUS" in run("copy", "--from-file", "list").out


def test_repositories_kept_alike(ocikit: Run, images: Path, here: Path) -> None:
    (here / "sync.toml").write_text(
        '[[sync]]\nsource = "oci:images"\ndestination = "oci:mirror:app-{tag}"\ntags = ["v*"]\n'
    )
    ocikit("copy", "--from-file", "sync.toml")
    assert digests_of(here / "mirror") == {"app-v1": digests_of(images)["v1"]}


def test_a_list_that_is_wrong_copies_nothing(run: Run, images: Path, here: Path) -> None:
    (here / "list").write_text("./images:v1 ./mirror:v1\n./images:v1\n")
    result = run("copy", "--from-file", "list")
    assert result.status == 1
    assert result.error == "error: list:2: expected SRC DST, got 1 word"
    assert not (here / "mirror").exists()


# Through a registry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRegistry]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    (tmp_path / "registries.conf").write_text("")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    with docker_registry(tmp_path, htpasswd={"alice": "secret"}) as running:
        yield running


def test_all_of_it_through_a_registry(
    ocikit: Run, run: Run, registry: DockerRegistry, images: Path, here: Path
) -> None:
    who = ("--creds", "alice:secret")
    name = f"docker://{registry.host}/reports:v1"
    assert run("artifact", "push", name, "report.json").status == 1  # it wants to know who
    made = ocikit("artifact", "push", name, "report.json", "docs", *who)
    assert made.out.startswith(f"docker://{registry.host}/reports@sha256:")
    ocikit("artifact", "pull", made.out.strip(), "-o", "out", *who)
    assert files_of(here / "out") == {"docs/index.html": b"<p>", "report.json": b'{"ok":true}'}
    assert ocikit("artifact", "inspect", name, "--json", *who).json["files"][1]["title"] == "docs"

    app = f"docker://{registry.host}/app:v1"
    ocikit("copy", "./images:multi", app, "--all", *who)
    sbom = ocikit("attach", app, "report.json", "--type", "application/spdx+json", "--json", *who).json
    ocikit("attach", app, "docs", "--type", "a/b", "--platform", "linux/arm64", *who)
    assert sbom["subject"] == digests_of(images)["multi"]
    ocikit("copy", app, "./mirror:v1", "--all", "--with-referrers", "--src-creds", "alice:secret")
    entries = json.loads((here / "mirror/index.json").read_text())["manifests"]
    assert {entry.get("artifactType") for entry in entries} == {"application/spdx+json", "a/b", None}
    ocikit("verify", "mirror")


def test_a_list_through_a_registry(ocikit: Run, run: Run, registry: DockerRegistry, images: Path, here: Path) -> None:
    target = f"docker://{registry.host}/mirror"
    (here / "up.toml").write_text(f'[[sync]]\nsource = "oci:images"\ndestination = "{target}"\n')
    (here / "list").write_text(f"{target}:v1 ./down:v1\n{target}:none ./down:none\n")
    made = ocikit("copy", "--from-file", "up.toml", "--dest-creds", "alice:secret", "--json").json
    fits("copy-many", made)
    assert made["copied"] == 2
    made = ocikit("copy", "--from-file", "up.toml", "--dest-creds", "alice:secret", "--json").json
    assert made["same"] == 2
    result = run("copy", "--from-file", "list", "--creds", "alice:secret", "--json")
    assert (result.status, result.json["copied"], result.json["failed"]) == (1, 1, 1), result.err
    assert digests_of(here / "down") == {"v1": digests_of(images)["v1"]}
    assert "secret" not in result.err
