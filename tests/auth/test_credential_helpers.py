"""Programs that keep credentials, as real programs in a PATH of the test's own."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest

from oci.auth.credential import Credentials
from oci.auth.credential_helpers import MAX_OUTPUT, Helpers
from oci.auth.credentials import REMEMBERED
from oci.errors import ConfigurationError
from tests.support.credential_programs import KEEPER, Programs

HUB_KEY = "https://index.docker.io/v1/"


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    made = Programs(tmp_path / "bin")
    made.add("keeper", KEEPER)
    return made


# The protocol


def test_get_store_and_erase(programs: Programs) -> None:
    helpers = programs.helpers
    assert helpers.get("keeper", "quay.io") is None
    helpers.store("keeper", "quay.io", Credentials(username="alice", password='s3 "cret\n'))
    assert helpers.get("keeper", "quay.io") == Credentials(username="alice", password='s3 "cret\n')
    helpers.store("keeper", "x.azurecr.io", Credentials(username="0000", identity_token="refresh"))
    assert programs.kept["x.azurecr.io"]["Username"] == "<token>"
    assert helpers.get("keeper", "x.azurecr.io") == Credentials(identity_token="refresh")
    assert helpers.erase("keeper", "quay.io")
    assert not helpers.erase("keeper", "quay.io")
    assert helpers.get("keeper", "quay.io") is None
    assert {tuple(words) for words, _ in programs.calls} == {("get",), ("store",), ("erase",)}, (
        "no secret is an argument"
    )


def test_the_environment_is_the_one_that_was_given(programs: Programs) -> None:
    programs.add("env", '#!/bin/sh\nprintf \'{"Username":"%s","Secret":"x"}\' "$HOME$DISPLAY"\n')
    found = programs.helpers.get("env", "quay.io")
    assert found is not None
    assert found.username == "/nowhere"


@pytest.mark.parametrize(
    "name", ["", "../keeper", "a/b", "/bin/sh", ".", "..", ".hidden", "-x", "a b", "a\nb", "a\0b", "\u00e9", "x" * 200]
)
def test_a_name_can_not_be_a_path(programs: Programs, name: str) -> None:
    with pytest.raises(ConfigurationError, match="plain name"):
        programs.helpers.get(name, "quay.io")


def test_folders_of_path_that_are_not_absolute_are_passed_over(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that is cloned could bring a program."""
    monkeypatch.chdir(programs.folder)
    for path in ("", ".", ":", "bin", f"../{programs.folder.name}"):
        assert Helpers(environ={"PATH": path}).find("keeper") is None
    assert Helpers(environ={}).find("keeper") is None
    assert Helpers(environ={"PATH": f"{tmp_path}:{programs.folder}"}).find("keeper") is not None


def test_what_is_not_a_program_is_passed_over(programs: Programs) -> None:
    (programs.folder / "docker-credential-folder").mkdir()
    (programs.folder / "docker-credential-text").write_text("x")
    for name in ("folder", "text", "none"):
        with pytest.raises(ConfigurationError, match="not installed"):
            programs.helpers.get(name, "quay.io")
    programs.add("broken", "#!/no/such/interpreter\n")
    with pytest.raises(ConfigurationError, match="can't be run"):
        programs.helpers.get("broken", "quay.io")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        '"secret"',
        "secret",
        '{"Username":1,"Secret":"secret"}',
        '{"Username":"a","Secret":["secret"]}',
        "{",
    ],
)
def test_an_answer_that_is_none_is_one_error_that_shows_nothing_of_it(programs: Programs, answer: str) -> None:
    programs.add("odd", f"#!/bin/sh\n/bin/cat >/dev/null\nprintf '%s' '{answer}'\n")
    with pytest.raises(ConfigurationError, match=r"docker-credential-odd: .*answer to `get`") as caught:
        programs.helpers.get("odd", "quay.io")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("answer", ['{"Username":"","Secret":""}', "{}", '{"Username":"<token>","Secret":""}'])
def test_an_empty_answer_is_no_credentials(programs: Programs, answer: str) -> None:
    programs.add("empty", f"#!/bin/sh\nprintf '%s' '{answer}'\n")
    assert programs.helpers.get("empty", "quay.io") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'the keychain is locked'; exit 1", "the keychain is locked"),
        ("echo >&2 'no D-Bus'; exit 3", "no D-Bus"),
        ("exit 7", "exit status 7"),
        ("kill -9 $$", "signal 9"),
        ("printf '\\033[31m\\nmore'; exit 1", r"\\x1b\[31m"),
    ],
)
def test_a_failure_is_told_in_the_helper_s_own_words(programs: Programs, text: str, said: str) -> None:
    programs.add("sad", f"#!/bin/sh\n{text}\n")
    with pytest.raises(ConfigurationError, match=f"docker-credential-sad: `get` failed: {said}"):
        programs.helpers.get("sad", "quay.io")


@pytest.mark.parametrize("secret", ["s3cret", 's3"cret\\', "s3cret" * 100])
def test_words_of_a_failure_that_repeat_the_secret_are_not_shown(programs: Programs, secret: str) -> None:
    programs.add("parrot", "#!/bin/sh\n/bin/cat\nexit 1\n")
    with pytest.raises(ConfigurationError, match="exit status 1") as caught:
        programs.helpers.store("parrot", "quay.io", Credentials(username="a", password=secret))
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "exec sleep 60",  # says nothing
        "exec >&- 2>&-; exec sleep 60",  # closes its end, and stays
        "while true; do echo; sleep 0.05; done",  # talks on
    ],
)
def test_a_helper_has_a_time_limit(programs: Programs, text: str) -> None:
    programs.add("slow", f"#!/bin/sh\nPATH=/bin:/usr/bin\n{text}\n")
    start = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"did not end within 0\.5 seconds"):
        programs.helpers.replace(seconds=0.5).get("slow", "quay.io")
    assert time.monotonic() - start < 5


def test_a_process_that_a_helper_leaves_behind_is_not_waited_for(programs: Programs) -> None:
    """gpg-agent, started by `pass`, may hold the pipes."""
    programs.add("pass", '#!/bin/sh\n/bin/sleep 3 &\nprintf \'{"Username":"a","Secret":"b"}\'\n')
    start = time.monotonic()
    assert programs.helpers.get("pass", "quay.io") == Credentials(username="a", password="b")
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_helper_says_a_bounded_number_of_bytes(programs: Programs, stream: str) -> None:
    programs.add("loud", f"#!/bin/sh\nexec /bin/cat /dev/zero >&{stream}\n")
    with pytest.raises(ConfigurationError, match=f"more than {MAX_OUTPUT} bytes"):
        programs.helpers.get("loud", "quay.io")


def test_a_helper_that_reads_nothing_may_answer_all_the_same(programs: Programs) -> None:
    programs.add("deaf", '#!/bin/sh\nexec <&-\nprintf \'{"Username":"a","Secret":"b"}\'\n')
    assert programs.helpers.get("deaf", "x" * 300_000) == Credentials(username="a", password="b")


def test_a_secret_may_be_long(programs: Programs) -> None:
    programs.helpers.store("keeper", "quay.io", Credentials(username="a", password="x" * 300_000))
    found = programs.helpers.get("keeper", "quay.io")
    assert found is not None
    assert len(found.password) == 300_000


# From files


def test_cred_helpers_speak_for_their_hosts(programs: Programs, tmp_path: Path) -> None:
    """docs.docker.com/reference/cli/docker/login/#credential-helpers; gcloud writes such a file."""
    programs.keep(**{"gcr.io": ("_dcgcloud_token", "ya29"), "other.example": ("x", "y")})
    value = {"auths": {"gcr.io": {"auth": base64.b64encode(b"stale:x").decode()}}, "credHelpers": {"gcr.io": "keeper"}}
    files = programs.files(tmp_path, value)
    for repository in (None, "a", "a/b"):
        assert files.find("gcr.io", repository) == Credentials(username="_dcgcloud_token", password="ya29")
    assert files.find("other.example", None) is None
    assert len(programs.calls) == 1, "it is run once for a host"


def test_a_helper_is_asked_again_after_a_while(programs: Programs, tmp_path: Path) -> None:
    programs.keep(**{"gcr.io": ("_dcgcloud_token", "old")})
    now = [1000.0]
    files = programs.files(tmp_path, {"credHelpers": {"gcr.io": "keeper"}}, clock=lambda: now[0])
    assert files.find("gcr.io", "a") == Credentials(username="_dcgcloud_token", password="old")
    programs.keep(**{"gcr.io": ("_dcgcloud_token", "new")})
    now[0] += REMEMBERED - 1
    assert files.find("gcr.io", "a") == Credentials(username="_dcgcloud_token", password="old")
    now[0] += 1
    assert files.find("gcr.io", "a") == Credentials(username="_dcgcloud_token", password="new")
    assert len(programs.calls) == 2


def test_creds_store_speaks_for_all_hosts(programs: Programs, tmp_path: Path) -> None:
    """docs.docker.com/reference/cli/docker/login/#credential-stores: `auths` has empty entries then."""
    programs.keep(**{"quay.io": ("alice", "pw")})
    auths = {"quay.io": {}, "old.example": {"auth": base64.b64encode(b"old:x").decode()}}
    files = programs.files(tmp_path, {"auths": auths, "credsStore": "keeper"})
    assert files.find("quay.io", "a/b") == Credentials(username="alice", password="pw")
    assert files.find("old.example", None) == Credentials(username="old", password="x")
    assert files.find("unknown.example", None) is None
    assert [given for _, given in programs.calls] == ["quay.io", "old.example", "unknown.example"]


def test_an_entry_for_a_part_of_a_registry_comes_before_the_store(programs: Programs, tmp_path: Path) -> None:
    programs.keep(**{"quay.io": ("whole", "pw")})
    auths = {"quay.io/team": {"auth": base64.b64encode(b"part:x").decode()}}
    files = programs.files(tmp_path, {"auths": auths, "credsStore": "keeper"})
    assert files.find("quay.io", "team/app") == Credentials(username="part", password="x")
    assert files.find("quay.io", "other") == Credentials(username="whole", password="pw")


@pytest.mark.parametrize(("name", "first"), [("config.json", HUB_KEY), ("auth.json", "docker.io")])
@pytest.mark.parametrize("key", [HUB_KEY, "docker.io"])
def test_docker_hub_is_asked_for_under_both_its_names(
    programs: Programs, tmp_path: Path, name: str, first: str, key: str
) -> None:
    """docker stores its URL, podman its name."""
    programs.keep(**{key: ("alice", "pw")})
    for value in (
        {"credsStore": "keeper"},
        {"credHelpers": {"docker.io": "keeper"}},
        {"credHelpers": {HUB_KEY: "keeper"}},
    ):
        files = programs.files(tmp_path, value, name)
        assert files.find("registry-1.docker.io", "library/alpine") == Credentials(username="alice", password="pw")
    assert programs.calls[0][1] == first


def test_a_store_that_is_not_installed_is_left_out_with_one_word(programs: Programs, tmp_path: Path) -> None:
    """`"credsStore": "desktop"` stays behind on machines without Docker Desktop, and public images are pulled there."""
    told: list[str] = []
    auths = {"quay.io": {"auth": base64.b64encode(b"alice:pw").decode()}}
    files = programs.files(tmp_path, {"auths": auths, "credsStore": "desktop"}, warn=told.append)
    assert files.find("docker.io", "library/alpine") is None
    assert files.find("quay.io", None) == Credentials(username="alice", password="pw")
    assert len(told) == 1
    assert "docker-credential-desktop is not installed" in told[0]


def test_a_helper_that_is_named_for_a_host_and_fails_is_an_error(programs: Programs, tmp_path: Path) -> None:
    files = programs.files(tmp_path, {"credHelpers": {"gcr.io": "gcloud"}})
    with pytest.raises(ConfigurationError, match=r"config\.json: credentials of gcr\.io: .*not installed"):
        files.find("gcr.io", "a")
    assert files.find("quay.io", "a") is None
    programs.add("locked", "#!/bin/sh\necho locked\nexit 1\n")
    with pytest.raises(ConfigurationError, match="locked"):
        programs.files(tmp_path, {"credsStore": "locked"}).find("quay.io", None)


@pytest.mark.parametrize(("order", "who"), [(("keeper", "containers-auth.json"), "helper"), ((), "file"),
    (("containers-auth.json", "keeper"), "file"), (("none", "containers-auth.json"), "file")])  # fmt: skip
def test_helpers_of_registries_conf_come_in_their_order(
    programs: Programs, tmp_path: Path, order: tuple[str, ...], who: str
) -> None:
    """containers-registries.conf(5), credential-helpers."""
    programs.keep(**{"quay.io": ("helper", "pw"), "only.example": ("helper", "pw"), "docker.io": ("helper", "pw")})
    auths = {"quay.io": {"auth": base64.b64encode(b"file:pw").decode()}}
    told: list[str] = []
    files = programs.files(tmp_path, {"auths": auths}, "auth.json", order=order, warn=told.append)
    found = files.find("quay.io", "a/b")
    assert found is not None
    assert found.username == who
    assert (files.find("only.example", None) is not None) == ("keeper" in order)
    assert (files.find("registry-1.docker.io", "a/b") is not None) == ("keeper" in order)
    assert len(told) == ("none" in order)


def test_no_descriptor_stays_open(programs: Programs) -> None:
    programs.helpers.get("keeper", "quay.io")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        programs.helpers.get("keeper", "quay.io")
    assert len(os.listdir("/proc/self/fd")) == before
