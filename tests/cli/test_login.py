"""`login` and `logout` as programs, against a real registry, beside skopeo and podman."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pty
import re
import select
import stat
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci.cli.failures import UsageError
from oci.cli.logins import parse_registry
from tests.support.commands import PROGRAM
from tests.support.credential_programs import KEEPER, Programs
from tests.support.images import LayoutMaker, tar_layer
from tests.support.peers import need, need_podman, peer
from tests.support.places import PASSWORD, USER, clean_environment
from tests.support.registries import DockerRegistry, docker_registry
from tests.support.tls import Authority

HUSH = "not-the-password"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry"), htpasswd={USER: PASSWORD}) as running:
        yield running


class Shell:
    """Runs `ocikit` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = clean_environment(home)
        self.env.pop("DOCKER_CONFIG", None)
        self.auth = home / "containers" / "auth.json"

    def __call__(self, *arguments: object, given: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            env={**self.env, **env},
            cwd=self.home,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def ok(self, *arguments: object, **more: Any) -> str:
        done = self(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *arguments: object, status: int = 1, **more: Any) -> str:
        done = self(*arguments, **more)
        assert done.returncode == status, done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in done.stderr
        return line

    @property
    def auths(self) -> Any:
        return json.loads(self.auth.read_text())["auths"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


ENTRY = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


def test_a_login_is_checked_kept_and_forgotten(shell: Shell, registry: DockerRegistry) -> None:
    done = shell("login", registry.host, "-u", USER, "--password-stdin", given=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout) == (0, f"logged in to {registry.host}\n")
    assert done.stderr == f"the credentials are in {shell.auth}\n"
    assert shell.auths == {registry.host: ENTRY}
    assert stat.S_IMODE(shell.auth.stat().st_mode) == 0o600
    assert shell.ok("login", registry.host, "--get-login") == f"{USER}\n"
    shell.ok("tags", registry.host)
    assert shell.ok("logout", registry.host) == f"logged out of {registry.host}\n"
    assert shell.auths == {}
    assert "not logged in" in shell.fails("logout", registry.host)
    assert "not logged in" in shell.fails("login", registry.host, "--get-login")


def test_wrong_credentials_are_not_kept_and_not_shown(shell: Shell, registry: DockerRegistry) -> None:
    shell.auth.parent.mkdir()
    shell.auth.write_text('{"auths":{}}')
    for debug in ([], ["--debug"]):
        done = shell("login", registry.host, "-u", USER, "--password-stdin", *debug, given=HUSH)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert f"login to {registry.host}" in said
        for secret in (HUSH, base64.b64encode(f"{USER}:{HUSH}".encode()).decode()):
            assert secret not in said
    assert shell.auth.read_text() == '{"auths":{}}'
    assert HUSH not in registry.log.read_text() + registry.errors.read_text()


def test_quiet_says_only_what_came_of_it(shell: Shell, registry: DockerRegistry) -> None:
    done = shell("login", registry.host, "-u", USER, "--password-stdin", "-q", given=PASSWORD)
    assert (done.stdout, done.stderr) == (f"logged in to {registry.host}\n", "")


def test_a_password_as_argument_is_taken_with_a_warning(shell: Shell, registry: DockerRegistry) -> None:
    done = shell("login", "-u", USER, "-p", PASSWORD, registry.host)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: --password can be seen")
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-u", "a"], "use --password-stdin"),
        ([], "--username is missing"),
        (["--password-stdin"], "needs --username"),
        (["-u", "a", "-p", "x", "--password-stdin"], "say one of them"),
        (["-u", "a:b", "-p", "x"], "RFC 7617"),
        (["-u", "", "-p", "x"], "a user name is not empty"),
        (["-u", "a", "--password-stdin"], "the password is empty"),
        (["--creds", "a:b"], "not by --creds"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(shell: Shell, arguments: list[str], said: str) -> None:
    assert said in shell.fails("login", "registry.invalid", *arguments, status=2, given="\n")


def test_where_credentials_are_kept_can_be_said(shell: Shell, registry: DockerRegistry) -> None:
    def go(*more: object, **env: str) -> None:
        shell.ok("login", registry.host, "-u", USER, "--password-stdin", *more, given=PASSWORD, **env)

    go("--authfile", "one.json")
    go(REGISTRY_AUTH_FILE=str(shell.home / "two.json"))
    go(DOCKER_CONFIG=str(shell.home / "docker"))
    for path in ("one.json", "two.json", "docker/config.json"):
        assert json.loads((shell.home / path).read_text())["auths"] == {registry.host: ENTRY}
    assert not shell.auth.exists()
    shell.ok("tags", "--authfile", "one.json", registry.host)
    shell.ok("tags", registry.host, REGISTRY_AUTH_FILE=str(shell.home / "two.json"))
    shell.ok("tags", registry.host, DOCKER_CONFIG=str(shell.home / "docker"))
    assert "login" in shell.fails("tags", registry.host)
    shell.ok("logout", "--authfile", "one.json", registry.host)
    assert json.loads((shell.home / "one.json").read_text())["auths"] == {}


def test_logout_of_all(shell: Shell) -> None:
    shell.auth.parent.mkdir()
    shell.auth.write_text(json.dumps({"auths": {"quay.io": ENTRY, "ghcr.io": ENTRY}}))
    assert shell.ok("logout", "--all") == "logged out of 2 registries\n"
    assert shell.auths == {}
    assert "not both" in shell.fails("logout", "--all", "quay.io", status=2)
    assert "--all" in shell.fails("logout", status=2)


def test_logout_says_where_else_there_are_credentials(shell: Shell) -> None:
    other = shell.home / ".docker" / "config.json"
    other.parent.mkdir()
    other.write_text(json.dumps({"auths": {"quay.io": ENTRY}}))
    assert str(other) in shell.fails("logout", "quay.io")
    shell.auth.parent.mkdir()
    shell.auth.write_text(json.dumps({"auths": {"quay.io": ENTRY}}))
    done = shell("logout", "quay.io")
    assert done.returncode == 0
    assert str(other) in done.stderr


def test_a_helper_keeps_the_login(shell: Shell, registry: DockerRegistry, tmp_path: Path) -> None:
    programs = Programs(tmp_path / "bin")
    programs.add("keeper", KEEPER)
    path = f"{programs.folder}:{shell.env['PATH']}"
    (tmp_path / "docker").mkdir()
    config = tmp_path / "docker" / "config.json"
    config.write_text('{"credsStore": "keeper"}')
    env = {"PATH": path, "DOCKER_CONFIG": str(config.parent)}
    done = shell("login", registry.host, "-u", USER, "--password-stdin", given=PASSWORD, **env)
    assert done.returncode == 0, done.stderr
    assert "the credential helper keeper" in done.stderr
    assert json.loads(config.read_text()) == {"credsStore": "keeper", "auths": {registry.host: {}}}
    assert programs.kept[registry.host]["Secret"] == PASSWORD
    shell.ok("tags", registry.host, **env)
    shell.ok("logout", registry.host, **env)
    assert programs.kept == {}


def test_a_registry_with_a_certificate_of_our_own(shell: Shell, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with docker_registry(tmp_path, htpasswd={USER: PASSWORD}, tls=authority.server()) as guarded:
        words = ("login", guarded.host, "-u", USER, "--password-stdin")
        assert "certificate" in shell.fails(*words, "--tls-verify", given=PASSWORD)
        assert not shell.auth.exists()
        shell.ok(*words, "--tls-verify", given=PASSWORD, SSL_CERT_FILE=str(authority.file))
        shell.ok(*words, "--tls-verify=false", given=PASSWORD)


# On a terminal


def _on_a_terminal(shell: Shell, *arguments: str, answers: list[tuple[str, str]], end: str = "\n") -> tuple[int, str]:
    """Run with a terminal; answer each question once it is asked."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=shell.env,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C means something
    )
    os.close(theirs)
    seen = ""
    left = list(answers)
    try:
        while select.select([ours], [], [], 30)[0]:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            seen += data.decode()
            if left and re.search(left[0][0], seen):
                os.write(ours, f"{left.pop(0)[1]}{end}".encode())
        return process.wait(10), seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_terminal_is_asked_for_what_is_missing(shell: Shell, registry: DockerRegistry) -> None:
    status, seen = _on_a_terminal(
        shell, "login", registry.host, answers=[("Username: ", USER), (f"Password of {USER}: ", PASSWORD)]
    )
    assert (status, shell.auths) == (0, {registry.host: ENTRY}), seen
    assert PASSWORD not in seen, "it is not shown while it is typed"
    status, seen = _on_a_terminal(
        shell, "login", registry.host, answers=[(rf"Username \({USER}\): ", ""), (f"Password of {USER}: ", "wrong")]
    )
    assert status == 1
    assert shell.auths == {registry.host: ENTRY}


@pytest.mark.parametrize(("key", "status"), [("\x04", 2), ("\x03", 130)])
def test_a_question_that_is_not_answered_ends_it(shell: Shell, registry: DockerRegistry, key: str, status: int) -> None:
    arguments = ("login", registry.host, "-u", USER)
    found, seen = _on_a_terminal(shell, *arguments, answers=[(f"Password of {USER}: ", key)], end="")
    assert found == status, seen
    assert "Traceback" not in seen
    assert not shell.auth.exists()


# Beside others


def test_skopeo_and_podman_read_what_we_wrote(shell: Shell, registry: DockerRegistry, tmp_path: Path) -> None:
    need("skopeo")
    need_podman()
    shell.ok("login", registry.host, "-u", USER, "--password-stdin", given=PASSWORD)
    shell.ok("login", f"{registry.host}/team", "-u", USER, "--password-stdin", given=PASSWORD)
    for program in ("skopeo", "podman"):
        words = [program, "login", "--get-login", registry.host]
        done = subprocess.run(words, env=shell.env, capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout == f"{USER}\n", done.stderr
    maker = LayoutMaker(tmp_path / "layout")
    maker.tag("v1", maker.image([tar_layer({"a": b"b"})]))
    there = f"{registry.host}/team/app"
    peer("skopeo", "copy", "--dest-tls-verify=false", f"oci:{maker.finish()}:v1", f"docker://{there}:v1", env=shell.env)
    assert shell.ok("tags", there) == "v1\n"
    shell.ok("logout", registry.host)
    assert shell.ok("tags", there) == "v1\n", "the login for a part of it is left"


@pytest.mark.parametrize("program", ["skopeo", "podman"])
def test_we_read_what_others_wrote_and_they_log_out_of_ours(
    shell: Shell, registry: DockerRegistry, program: str
) -> None:
    need(program)
    if program == "podman":
        need_podman()
    tls = "--tls-verify=false"
    words = [program, "login", tls, "-u", USER, "--password-stdin", registry.host]
    subprocess.run(words, env=shell.env, input=PASSWORD, text=True, check=True, capture_output=True, timeout=60)
    assert shell.ok("login", registry.host, "--get-login") == f"{USER}\n"
    shell.ok("tags", registry.host)
    shell.ok("logout", registry.host)
    shell.ok("login", registry.host, "-u", USER, "--password-stdin", given=PASSWORD)
    subprocess.run([program, "logout", registry.host], env=shell.env, check=True, capture_output=True, timeout=60)
    assert "not logged in" in shell.fails("login", registry.host, "--get-login")


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("quay.io", "quay.io"),
        ("QUAY.io", "quay.io"),
        ("localhost:5000", "localhost:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("http://localhost:5000/", "localhost:5000"),
        ("docker://quay.io/", "quay.io"),
        ("quay.io/team/app", "quay.io/team/app"),
    ],
)
def test_registries_are_named_as_elsewhere(text: str, name: str) -> None:
    assert parse_registry(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "/", "a b", "quay.io/", "quay.io/Team", "quay.io/app:v1", "quay.io/app@sha256:0", "a@b", "user:pw@host", "-x"],
)
def test_what_is_no_registry_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_registry(text)
