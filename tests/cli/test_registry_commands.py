"""Every command on docker://, against Debian's docker-registry and our own `serve`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oci.cli.remote import parse_repository
from oci.serving.server import Server
from tests.support.commands import ROOT, Run, digests_of, files_of, fits
from tests.support.images import LayoutMaker
from tests.support.registries import DockerRegistry, docker_registry
from tests.support.tls import Authority

Program = Callable[..., subprocess.CompletedProcess[str]]
NOBODY = "docker://127.0.0.1:1/x"  # nothing listens on that port


@pytest.fixture(autouse=True)
def no_registry_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's files and environment says anything about registries."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_DIR", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    (home / "registries.conf").write_text("")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "registries.conf"))


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def repo(debian: DockerRegistry, images: Path, ocikit: Run, request: pytest.FixtureRequest) -> str:
    """docker://HOST/REPO, a repository of this test alone, with the images of the layout."""
    number = abs(hash(request.node.nodeid))
    name = f"docker://{debian.host}/t{number}/app"
    for tag in ("v1", "multi"):
        ocikit("copy", f"./images:{tag}", f"{name}:{tag}", "--all-platforms", "-q")
    return name


@pytest.fixture
def ours(here: Path, images: Path, ocikit: Run) -> Iterator[str]:
    """docker://HOST/app, served by ourselves, with the images of the layout."""
    with Server(here / "served") as server:
        name = f"docker://{server.host}/app"
        for tag in ("v1", "multi"):
            ocikit("copy", f"./images:{tag}", f"{name}:{tag}", "--all-platforms", "-q")
        yield name


def tags_of(ocikit: Run, repository: str) -> list[str]:
    found: list[str] = ocikit("tags", repository, "--json").json["tags"]
    return sorted(found)


# Reading


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "{}:v1", "--json"],
        ["inspect", "{}:v1", "--config", "--raw"],
        ["inspect", "{}:v1", "--manifest"],
        ["inspect", "{}:multi", "--raw"],
        ["inspect", "{}:multi", "--index"],
        ["inspect", "{}:multi", "--platform", "linux/arm64", "--json"],
        ["history", "{}:v1", "--json"],
        ["files", "{}:v1", "--long"],
        ["files", "{}:v1", "--layer", "1", "--json"],
        ["files", "{}:multi", "--platform", "linux/arm64"],
    ],
)
def test_a_registry_shows_what_the_layout_shows(ocikit: Run, repo: str, arguments: list[str]) -> None:
    there = ocikit(*(word.format(repo) for word in arguments)).out
    assert there.replace(repo, "./images") == ocikit(*(word.format("./images") for word in arguments)).out


def test_an_image_is_found_by_its_digest(ocikit: Run, run: Run, repo: str, images: Path) -> None:
    digest = digests_of(images)["v1"]
    assert ocikit("inspect", f"{repo}@{digest}", "--json").json["digest"] == digest
    assert ocikit("inspect", f"{repo}:multi@{digest}", "--json").json["digest"] == digest
    missing = "sha256:" + "0" * 64
    assert run("inspect", f"{repo}@{missing}").error.startswith(f"error: '{missing}' not found in ")


def test_ls_lists_the_tags_of_a_repository_as_those_of_a_layout(ocikit: Run, repo: str, images: Path) -> None:
    listed = ocikit("ls", repo, "--json").json
    fits("ls", listed)
    assert sorted(listed, key=str) == sorted(ocikit("ls", "images", "--json").json, key=str)
    lines = ocikit("ls", repo).out.splitlines()
    assert lines[0].split() == ["TAG", "DIGEST", "PLATFORM", "SIZE", "CREATED"]
    assert any("linux/amd64, linux/arm64" in line for line in lines)


def test_ls_of_one_tag_or_digest_lists_that_alone(ocikit: Run, run: Run, repo: str, images: Path) -> None:
    [row] = ocikit("ls", f"{repo}:v1", "--json").json
    assert (row["tag"], row["digest"]) == ("v1", digests_of(images)["v1"])
    [row] = ocikit("ls", f"{repo}@{digests_of(images)['multi']}", "--json").json
    assert (row["tag"], row["digest"]) == (None, digests_of(images)["multi"])
    assert run("ls", f"{repo}:v9").status == 1
    assert "'v9' not found" in run("ls", f"{repo}:v9").error


def test_ls_asks_for_each_image_once_however_many_tags_it_has(
    ocikit: Run, run: Run, repo: str, debian: DockerRegistry
) -> None:
    for number in range(8):
        ocikit("tag", f"{repo}:v1", f"again{number}")
    before = debian.mark()
    assert len(ocikit("ls", repo, "--json").json) == 10
    assert debian.count("HEAD", "/manifests/", since=before) == 10
    assert debian.count("GET", "/manifests/sha256", since=before) == 4  # v1, multi and its two images
    assert debian.count("GET", "/blobs/", since=before) == 3  # their configs


def test_verify_checks_in_place(ocikit: Run, run: Run, repo: str, here: Path) -> None:
    before = files_of(here)
    report = ocikit("verify", f"{repo}:multi", "--all-platforms", "--json").json
    fits("verify", report)
    assert report["checked"]["manifests"] == 2
    assert report["subject"] == f"{repo}:multi"
    assert "ok (1 manifest, 1 config, 2 layers" in ocikit("verify", f"{repo}:v1").out
    assert files_of(here) == before
    assert run("verify", f"{repo}:v9").status == 1


def test_unpack_writes_what_it_writes_from_the_layout(ocikit: Run, repo: str, here: Path) -> None:
    ocikit("unpack", "./images:v1", "one")
    done = ocikit("unpack", f"{repo}:v1", "two", "--json").json
    assert done["reference"] == f"{repo}:v1"
    assert files_of(here / "two") == files_of(here / "one")
    assert os.readlink(here / "two/bin") == "usr/bin"


# Copying


def test_copies_go_both_ways_and_keep_the_digest(ocikit: Run, repo: str, images: Path) -> None:
    digest = digests_of(images)["multi"]
    done = ocikit("copy", f"{repo}:multi", "oci-archive:a.tar:multi", "--all-platforms", "--json").json
    fits("image", done)
    assert done["digest"] == digest
    assert ocikit("copy", "oci-archive:a.tar:multi", f"{repo}:again", "--all").out == f"{repo}@{digest}\n"
    assert ocikit("copy", f"{repo}:again", "./back:multi", "--all").out == f"oci:./back@{digest}\n"
    ocikit("verify", "./back")


def test_a_copy_within_a_registry_mounts_the_blobs(ocikit: Run, repo: str, debian: DockerRegistry) -> None:
    before = debian.mark()
    ocikit("copy", f"{repo}:v1", f"{repo}-two:v1")
    assert debian.count("GET", "/blobs/", since=before) == 0
    assert debian.count("POST", "mount=", since=before) == 3
    assert debian.count("PUT", "/blobs/", since=before) == 0


def test_a_list_of_copies_reaches_registries(ocikit: Run, run: Run, repo: str, here: Path) -> None:
    (here / "list").write_text(f"{repo}:v1 ./got:v1\n./images:v1 {repo}:fresh\n{repo}:v9 ./got:v9\n")
    result = run("copy", "--from-file", "list", "--json")
    assert result.status == 1
    assert [one["status"] for one in result.json["copies"]] == ["copied", "copied", "failed"]
    assert "fresh" in tags_of(ocikit, repo)


@pytest.mark.parametrize(
    "arguments",
    [
        ["copy", NOBODY, "./new:v1"],
        ["copy", NOBODY, "oci-archive:new:v1"],
        ["unpack", NOBODY, "new"],
        ["append", NOBODY, "home", "-t", "./new:v1"],
        ["config", NOBODY, "-t", "./new:v1"],
        ["append", "scratch", "home", "-t", NOBODY],
        ["verify", NOBODY],
        ["ls", NOBODY],
        ["tags", "127.0.0.1:1/x"],
        ["tags", "127.0.0.1:1"],
        ["referrers", NOBODY],
        ["delete", NOBODY + ":v1"],
        ["tag", NOBODY, "v2"],
        ["untag", NOBODY + ":v1"],
    ],
)
def test_a_registry_that_is_not_there_is_one_line_and_leaves_nothing(
    run: Run, here: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(here)
    result = run(*arguments, "-q")
    assert result.status == 1
    assert "127.0.0.1:1/v2/" in result.error
    assert "connection refused" in result.error
    assert files_of(here) == before
    assert {path.name for path in here.iterdir()} == {"home"}


# Making images


def test_append_and_config_begin_and_end_in_a_registry(
    ocikit: Run, repo: str, app_tree: Path, debian: DockerRegistry
) -> None:
    before = debian.mark()
    made = ocikit("append", f"{repo}:v1", "app:/opt/app", "-t", f"{repo}:v2", "--json").json
    assert debian.count("GET", "/blobs/", since=before) == 1  # the config; layers stay where they are
    assert "opt/app/etc/motd" in ocikit("files", f"{repo}:v2").out
    assert ocikit("inspect", f"{repo}:v2", "--json").json["digest"] == made["digest"]
    ocikit("config", f"{repo}:v2", "-t", f"{repo}:v3", "--env", "MODE=fast")
    assert "MODE=fast" in ocikit("inspect", f"{repo}:v3", "--json").json["config"]["Env"]
    ocikit("verify", f"{repo}:v3")


def test_append_to_nothing_ends_in_a_registry_with_the_same_digest_as_on_disk(
    ocikit: Run, repo: str, app_tree: Path
) -> None:
    there = ocikit("append", "scratch", "app", "-t", f"{repo}:new", "--json").json
    here = ocikit("append", "scratch", "app", "-t", "./new:v1", "--json").json
    assert there["digest"] == here["digest"]


# tags


def test_tags_lists_names_and_repositories(ocikit: Run, repo: str, debian: DockerRegistry) -> None:
    listed = ocikit("tags", repo, "--json").json
    fits("tags", listed)
    assert listed == {"repository": repo.removeprefix("docker://"), "tags": listed["tags"]}
    assert sorted(ocikit("tags", repo.removeprefix("docker://")).out.split()) == ["multi", "v1"]
    repositories = ocikit("tags", debian.host, "--json").json
    fits("tags", repositories)
    assert repo.partition("/t")[2] in repo
    assert repo.removeprefix(f"docker://{debian.host}/") in repositories["repositories"]
    assert ocikit("tags", f"docker://{debian.host}/").out.split() == repositories["repositories"]


def test_tags_of_what_is_not_there_is_an_error(run: Run, debian: DockerRegistry) -> None:
    assert run("tags", f"{debian.host}/no/such").error == f"error: 'no/such' not found in {debian.host}"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("alpine", ("docker.io", "library/alpine")),
        ("docker://alpine", ("docker.io", "library/alpine")),
        ("user/app", ("docker.io", "user/app")),
        ("quay.io/podman/hello", ("quay.io", "podman/hello")),
        ("docker://localhost/a", ("localhost", "a")),
        ("registry:5000/a", ("registry:5000", "a")),
        ("quay.io", ("quay.io", None)),
        ("quay.io/", ("quay.io", None)),
        ("docker://quay.io", ("quay.io", None)),
        ("localhost", ("localhost", None)),
        ("localhost:80", ("localhost:80", None)),
        ("registry:5000", ("registry:5000", None)),
        ("[::1]:5000", ("[::1]:5000", None)),
        ("docker.io", ("docker.io", None)),
        ("index.docker.io", ("docker.io", None)),
    ],
)
def test_a_name_is_a_host_or_a_repository(text: str, meant: tuple[str, str | None]) -> None:
    assert parse_repository(text) == meant


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tags", "alpine:3.20"], "name the repository alone"),
        (["tags", "redis:7"], "name the repository alone"),
        (["tags", "alpine:20240329"], "name the repository alone"),
        (["tags", "quay.io/a@sha256:" + "0" * 64], "name the repository alone"),
        (["tags", "./images"], "`ocikit ls` lists layouts"),
        (["tags", "Upper/Case"], "lower case"),
        (["tags", ""], "name is missing"),
        (["ls", "docker://127.0.0.1:5000"], "`ocikit tags 127.0.0.1:5000` lists its repositories"),
        (["inspect", "docker://127.0.0.1:5000"], "the repository's name is missing, as in docker://127.0.0.1:5000/app"),
        (
            ["copy", "./images:v1", "docker://localhost:5000"],
            "docker://localhost:5000: the repository's name is missing",
        ),
        (["delete", "./images:v1"], "delete works on a registry"),
        (["delete", "docker://quay.io/a/b"], "say which image to delete, such as docker://quay.io/a/b:v1"),
        (["untag", "docker://quay.io/a/b"], "say which tag to take away"),
        (["untag", "docker://quay.io/a/b@sha256:" + "0" * 64], "say which tag to take away"),
        (["tag", "docker://quay.io/a/b:v1", "docker://quay.io/a/c:v1"], "a tag in the same repository"),
        (["tag", "docker://quay.io/a/b:v1", "-x/y"], ""),
        (["tag", "docker://quay.io/a/b:v1", "a/b"], "a tag is 1 to 128 letters"),
        (["referrers", "docker://quay.io/a/b", "--artifact-type", "sbom"], "not a media type"),
        (["inspect", "docker://quay.io/a b"], "invalid reference"),
        (["inspect", "docker://quay.io/a", "--tls-verify=no"], "--tls-verify 'no': expected true or false"),
        (["inspect", "docker://quay.io/a", "--cert-dir", "nowhere"], "--cert-dir 'nowhere': no such directory"),
        (["inspect", "docker://quay.io/a", "--creds", ":x"], "--creds: expected USER or USER:PASSWORD"),
        (["copy", "docker://a.b/x", "docker://c.d/x", "--creds", "u:p"], "--creds is for one registry"),
        (["config", "docker://a.b/x", "-t", "docker://c.d/x", "--creds", "u:p"], "--creds is for one registry"),
        (["copy", "./images:v1", "docker://a.b/x@sha256:" + "0" * 64], "named by a tag"),
        (["gc", "docker://a.b/x"], "works on a layout directory"),
    ],
)
def test_wrong_usage_says_what_to_do(run: Run, images: Path, arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.status == 2, result.err
    assert says in result.error


# tag, untag, delete


def test_tag_moves_no_blob(ocikit: Run, repo: str, images: Path, debian: DockerRegistry) -> None:
    before = debian.mark()
    ocikit("tag", f"{repo}:multi", "latest")
    ocikit("tag", f"{repo}@{digests_of(images)['v1']}", f"{repo}:stable")
    assert debian.count("GET", "/blobs/", since=before) == debian.count("POST", "", since=before) == 0
    rows = {row["tag"]: row["digest"] for row in ocikit("ls", repo, "--json").json}
    assert rows["latest"] == rows["multi"] == digests_of(images)["multi"]
    assert rows["stable"] == rows["v1"]


def test_untag_takes_the_tag_away_and_the_image_stays(ocikit: Run, run: Run, ours: str, images: Path) -> None:
    ocikit("tag", f"{ours}:v1", "v2")
    ocikit("untag", f"{ours}:v1")
    assert tags_of(ocikit, ours) == ["multi", "v2"]
    ocikit("inspect", f"{ours}@{digests_of(images)['v1']}")
    assert "'v1' not found" in run("untag", f"{ours}:v1").error


def test_untag_where_the_registry_can_not_says_what_can_be_done(ocikit: Run, run: Run, repo: str) -> None:
    assert "deleting a tag is not possible in this registry; delete the image by its digest" in (
        run("untag", f"{repo}:v1").error
    )
    assert tags_of(ocikit, repo) == ["multi", "v1"]


def test_delete_takes_a_tag_alone_where_the_registry_can(ocikit: Run, ours: str, images: Path) -> None:
    ocikit("tag", f"{ours}:v1", "v2")
    done = ocikit("delete", f"{ours}:v1", "--json")
    fits("delete", done.json)
    digest = digests_of(images)["v1"]
    assert done.json == {"reference": f"{ours}:v1", "digest": digest, "manifest": False, "tags": ["v1"]}
    assert tags_of(ocikit, ours) == ["multi", "v2"]
    assert ocikit("delete", f"{ours}:v2").err == f"deleted the tag v2 of {digest}\n"
    ocikit("inspect", f"{ours}@{digest}")


def test_delete_of_a_tag_takes_the_image_where_it_must_and_says_which_tags_go_too(
    ocikit: Run, run: Run, repo: str, images: Path
) -> None:
    ocikit("tag", f"{repo}:v1", "v2")
    ocikit("tag", f"{repo}:v1", "v3")
    digest = digests_of(images)["v1"]
    done = ocikit("delete", f"{repo}:v1", "--json")
    fits("delete", done.json)
    assert done.json["manifest"] is True
    assert done.json["digest"] == digest
    assert sorted(done.json["tags"]) == ["v1", "v2", "v3"]
    (warning,) = done.err.splitlines()
    assert warning.startswith(f"warning: {repo.removeprefix('docker://')}: with {digest} went its tags v")
    assert "v1" not in warning.partition("its tags")[2]
    assert tags_of(ocikit, repo) == ["multi"]
    assert run("delete", f"{repo}:v1").status == 1


@pytest.mark.parametrize("place", ["repo", "ours"])
def test_delete_by_digest(ocikit: Run, run: Run, images: Path, place: str, request: pytest.FixtureRequest) -> None:
    name = request.getfixturevalue(place)
    digest = digests_of(images)["multi"]
    done = ocikit("delete", f"{name}@{digest}")
    assert f"deleted {digest}" in done.err
    assert f"with {digest} went its tags multi" in done.err
    assert tags_of(ocikit, name) == ["v1"]
    assert "not found" in run("delete", f"{name}@{digest}").error


def test_a_registry_without_deletes_says_so(ocikit: Run, run: Run, images: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path, delete=False) as registry:
        name = f"docker://{registry.host}/app"
        ocikit("copy", "./images:v1", f"{name}:v1")
        result = run("delete", f"{name}:v1")
        assert "deleting is not possible in this registry; its operator may allow it" in result.error
        assert tags_of(ocikit, name) == ["v1"]


# referrers


@pytest.fixture(params=["repo", "ours", "layout"])
def place(request: pytest.FixtureRequest) -> str:
    """Without the referrers API (docker-registry), with it, and a layout."""
    if request.param == "layout":
        request.getfixturevalue("images")
        return "./images"
    name: str = request.getfixturevalue(request.param)
    return name


def test_referrers_are_listed_and_filtered(ocikit: Run, run: Run, place: str, here: Path, images: Path) -> None:
    (here / "sbom.json").write_text("{}")
    nothing = ocikit("referrers", f"{place}:v1", "--json").json
    fits("referrers", nothing)
    assert nothing == {"reference": f"{place}:v1", "subject": digests_of(images)["v1"], "referrers": []}
    assert "nothing refers to sha256:" in ocikit("referrers", f"{place}:v1").err
    kind, other = "application/spdx+json", "application/vnd.example.review"
    ocikit("attach", f"{place}:v1", "sbom.json", "--type", kind, "--annotation", "by=me")
    ocikit("attach", f"{place}:v1", "sbom.json", "--type", other)
    listed = ocikit("referrers", f"{place}:v1", "--json").json
    fits("referrers", listed)
    assert sorted(one["artifactType"] for one in listed["referrers"]) == [kind, other]
    [sbom] = ocikit("referrers", f"{place}:v1", "--artifact-type", kind, "--json").json["referrers"]
    assert sbom["artifactType"] == kind
    assert ocikit("referrers", f"{place}:multi", "--json").json["referrers"] == []
    lines = ocikit("referrers", f"{place}:v1").out.splitlines()
    assert lines[0].split() == ["DIGEST", "TYPE", "SIZE", "CREATED"]
    assert sbom["digest"] in "".join(lines)


def test_referrers_of_one_image_of_an_index(ocikit: Run, repo: str, here: Path) -> None:
    kind = "application/vnd.example.review"
    ocikit("attach", f"{repo}:multi", "--type", kind, "--platform", "linux/arm64", "--annotation", "verdict=good")
    assert ocikit("referrers", f"{repo}:multi", "--json").json["referrers"] == []
    found = ocikit("referrers", f"{repo}:multi", "--platform", "linux/arm64", "--json").json["referrers"]
    assert [one["artifactType"] for one in found] == [kind]


@pytest.mark.parametrize("where", ["repo", "ours"])
def test_a_referrer_that_is_deleted_is_listed_no_more(
    ocikit: Run, where: str, request: pytest.FixtureRequest, here: Path
) -> None:
    name = request.getfixturevalue(where)
    kind = "application/vnd.example.review"
    made = [
        ocikit("attach", f"{name}:v1", "--type", kind, "--annotation", f"n={n}", "--json").json["digest"] for n in "ab"
    ]
    ocikit("delete", f"{name}@{made[0]}")
    listed = ocikit("referrers", f"{name}:v1", "--json").json["referrers"]
    assert [one["digest"] for one in listed] == [made[1]]


# Credentials, certificates, registries.conf


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DockerRegistry, Authority]]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder / "ca")
    with docker_registry(folder, htpasswd={"alice": "correct horse"}, tls=authority.server()) as running:
        yield running, authority


def test_credentials_and_certificates_may_be_given_by_hand(
    ocikit: Run, run: Run, images: Path, guarded: tuple[DockerRegistry, Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, authority = guarded
    name = f"docker://{registry.host}/app"
    trust = ["--cert-dir", str(authority.file.parent)]
    who = ["--creds", "alice:correct horse"]
    assert "certificate" in run("copy", "./images:v1", f"{name}:v1", *who).error
    assert run("copy", "./images:v1", f"{name}:v1", *trust).status == 1  # nobody
    ocikit("copy", "./images:v1", f"{name}:v1", *trust, *who)
    ocikit("copy", f"{name}:v1", f"{name}:v2", "--src-creds", who[1], "--dest-creds", who[1], *trust)
    ocikit("copy", f"{name}:v1", f"{name}:v3", *who, "--src-tls-verify=false", "--dest-cert-dir", trust[1])
    for words in (["--tls-verify=false"], ["--tls-verify", "false"], trust, [*trust, "--tls-verify"]):
        if words == ["--tls-verify", "false"]:
            continue  # as with skopeo, the value needs its equals sign
        assert sorted(ocikit("tags", f"{registry.host}/app", *words, *who).out.split()) == ["v1", "v2", "v3"]
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    ocikit("inspect", f"{name}:v1", *who)


def test_a_wrong_password_is_told_and_not_repeated(run: Run, guarded: tuple[DockerRegistry, Authority]) -> None:
    registry, authority = guarded
    trust = ["--cert-dir", str(authority.file.parent)]
    result = run("inspect", f"docker://{registry.host}/app:v1", "--creds", "alice:swordfish", "--debug", *trust)
    assert result.status == 1
    assert "swordfish" not in result.err
    assert result.err.splitlines()[-1].startswith("error: ")
    result = run("tags", registry.host, *trust)
    assert "ocikit login" in result.error


def test_credentials_come_from_an_authfile(
    ocikit: Run, images: Path, guarded: tuple[DockerRegistry, Authority], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, authority = guarded
    auth = {"auths": {registry.host: {"auth": "YWxpY2U6Y29ycmVjdCBob3JzZQ=="}}}
    (here / "auth.json").write_text(json.dumps(auth))
    name = f"docker://{registry.host}/by-file:v1"
    trust = ["--cert-dir", str(authority.file.parent)]
    ocikit("copy", "./images:v1", name, "--dest-authfile", "auth.json", *trust)
    ocikit("verify", name, "--authfile", "auth.json", *trust)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "auth.json")
    ocikit("inspect", name, *trust)


def test_tls_is_asked_of_a_registry_on_this_machine_when_that_is_said(run: Run, repo: str) -> None:
    for spelt in ("--tls-verify", "--tls-verify=true", "--tls-verify=1"):
        assert "plain HTTP on this port, not TLS" in run("inspect", f"{repo}:v1", spelt).error


def test_mirrors_and_other_locations_are_used(ocikit: Run, run: Run, repo: str, here: Path) -> None:
    host, _, path = repo.removeprefix("docker://").partition("/")
    (here / "conf").write_text(
        f"""
        [[registry]]
        prefix = "logical.example/team"
        location = "127.0.0.1:1"
        [[registry.mirror]]
        location = "{host}/{path.rpartition("/")[0]}"
        [[registry]]
        prefix = "moved.example"
        location = "{host}"
        insecure = true
        [[registry]]
        location = "bad.example"
        blocked = true
        """
    )
    said = ["--registries-conf", "conf"]
    expected = ocikit("inspect", f"{repo}:v1", "--json").json["digest"]
    for name in ("docker://logical.example/team/app:v1", f"docker://moved.example/{path}:v1"):
        assert ocikit("inspect", name, "--json", *said).json["digest"] == expected
    assert sorted(ocikit("tags", f"moved.example/{path}", *said).out.split()) == ["multi", "v1"]
    assert "bad.example/x is blocked there" in run("inspect", "docker://bad.example/x", *said).error
    assert "is blocked there" in run("copy", "./images:v1", "docker://bad.example/x", *said).error
    assert "127.0.0.1:1/v2/" in run("tags", "logical.example/team/app", *said).error  # not of a mirror


def test_a_conf_that_can_not_be_read_is_one_line(run: Run, here: Path) -> None:
    (here / "conf").write_text("[registries.search]\nregistries = ['docker.io']\n")
    assert run("inspect", NOBODY, "--registries-conf", "conf").error.startswith(
        "error: conf: registries: version 1 of registries.conf, which is not read"
    )


# As a program


def test_looking_at_a_layout_loads_nothing_of_registries(images: Path, here: Path) -> None:
    code = (
        "import sys; from oci.cli.entry import main; main(sys.argv[1:]);"
        "print(*sorted(n for n in sys.modules if n.partition('.')[0] in ('urllib3', 'ssl', 'http', 'socket', 'tomllib')"
        " or n.startswith(('oci.registry', 'oci.serving', 'oci.artifact', 'oci.cli.remote'))))"
    )
    for arguments in (["inspect", "./images:v1", "--json"], ["ls", "images"], ["copy", "./images:v1", "./new:v1"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=here, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "", arguments


def test_a_program_reads_from_a_registry_and_is_quiet_when_asked(program: Program, repo: str, here: Path) -> None:
    done = program("copy", f"{repo}:v1", "./new:v1", "-q", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("oci:./new@sha256:")
    done = program("tags", repo, cwd=here)
    assert sorted(done.stdout.split()) == ["multi", "v1"]


def test_a_thousand_tags_are_listed(ocikit: Run, here: Path) -> None:
    maker = LayoutMaker(here / "many")
    image = maker.image([])
    for number in range(2500):
        maker.tag(f"many:t{number}", image)
    maker.finish()
    with Server(here / "many", read_only=True) as server:
        listed = ocikit("tags", f"{server.host}/many").out.split()
    assert len(set(listed)) == len(listed) == 2500
