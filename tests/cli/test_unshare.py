"""`unshare`: a program where containers are."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import PROGRAM
from tests.support.namespaces import as_rootless_user, need_mounts
from tests.support.peers import ROOT

BOTH = pytest.mark.parametrize("ranges", [pytest.param(True, id="ranges"), pytest.param(False, id="single id")])


def unshare(*words: str, **environ: str) -> tuple[int, str, str]:
    """Run it as a program; status, stdout, stderr."""
    done = subprocess.run(
        [*PROGRAM, "unshare", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@BOTH
def test_a_program_is_root_there_and_mounts(ranges: bool) -> None:
    def check() -> tuple[int, str, str]:
        os.mkdir("here")
        Path("script").write_text("id -u; mount -t tmpfs x here && touch here/y && ls here; umount here; exit 7")
        return unshare("sh", "script")

    assert as_rootless_user(check, ranges=ranges) == (7, "0\ny\n", "")


@BOTH
def test_options_of_the_program_are_its_own(ranges: bool) -> None:
    def check() -> tuple[int, str, str]:
        return unshare("sh", "-c", 'echo "$@"', "--help", "--quiet", "-h", "--root", "x")

    assert as_rootless_user(check, ranges=ranges) == (0, "--quiet -h --root x\n", "")


def test_owners_are_those_inside() -> None:
    def check() -> list[tuple[int, str, str]]:
        Path("file").touch()
        return [unshare("chown", "5:6", "file"), unshare("stat", "-c", "%u %g", "file"), unshare("rm", "file")]

    assert as_rootless_user(check, ranges=True) == [(0, "", ""), (0, "5 6\n", ""), (0, "", "")]


def test_the_shell_is_the_user_s_and_the_store_the_same() -> None:
    def check() -> list[tuple[int, str, str]]:
        Path("shell").write_text('#!/bin/sh\necho "$OCIKIT_ROOT" "$#"\n')
        Path("shell").chmod(0o755)
        home = os.environ["HOME"]
        return [
            (status, out.replace(home, "HOME"), err)
            for status, out, err in (unshare(SHELL=f"{home}/shell"), unshare(f"{home}/shell", OCIKIT_ROOT="x"))
        ]

    assert as_rootless_user(check, ranges=False) == [(0, "HOME/.local/share/ocikit 0\n", ""), (0, "HOME/x 0\n", "")]


def test_two_at_once_are_in_one_namespace_once_there_is_a_store() -> None:
    def check() -> tuple[str, str]:
        os.makedirs(".local/share/ocikit/run")
        waiting = subprocess.Popen(
            [*PROGRAM, "unshare", "sh", "-c", "readlink /proc/self/ns/user; read x"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        assert waiting.stdout is not None
        first = waiting.stdout.readline()
        second = unshare("readlink", "/proc/self/ns/user")[1]
        waiting.communicate("x\n")
        return first, second

    first, second = as_rootless_user(check, ranges=False)
    assert first == second != ""


def test_a_program_that_can_t_be_run_has_the_shell_s_status() -> None:
    def check() -> list[tuple[int, str, str]]:
        Path("folder").mkdir()
        return [unshare("no-such-program"), unshare("/etc/passwd"), unshare("./folder"), unshare("/etc/passwd/x")]

    assert as_rootless_user(check, ranges=False) == [
        (127, "", "error: no-such-program: not found\n"),
        (126, "", "error: /etc/passwd: Permission denied\n"),
        (126, "", "error: ./folder: Permission denied\n"),
        (127, "", "error: /etc/passwd/x: not found\n"),
    ]


def test_signals_are_the_program_s() -> None:
    def check() -> tuple[int, int]:
        ignored = int(unshare("grep", "SigIgn", "/proc/self/status")[1].split()[1], 16)
        return unshare("sh", "-c", "kill -TERM $$")[0], ignored & 1 << signal.SIGPIPE - 1

    assert as_rootless_user(check, ranges=False) == (-signal.SIGTERM, 0)


def test_as_root_it_is_a_mount_namespace(tmp_path: Path) -> None:
    need_mounts()
    status, out, err = unshare("sh", "-c", f"mount -t tmpfs x {tmp_path} && touch {tmp_path}/y && ls {tmp_path}")
    assert (status, out, err) == (0, "y\n", "")
    assert list(tmp_path.iterdir()) == []
