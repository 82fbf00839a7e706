"""What the kernel won't execute, told before the container starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from oci.errors import RuntimeFailed
from oci.runtime import programs
from oci.runtime.programs import check_program

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"
AMD64, ARM64 = b"\x3e\x00", b"\xb7\x00"


@pytest.fixture(autouse=True)
def _no_foreign_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_foreign_programs", lambda: False)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "bin").mkdir()
    for name, content in {
        "sh": ELF + AMD64,
        "arm": ELF + ARM64,
        "text": b"hello",
        "empty": b"",
        "good": b"#!/bin/sh -e\n",
        "linked": b"#! /link/sh\n",
        "bad": b"#!/no/such/interpreter\n",
        "relative": b"#!bin/sh\n",
    }.items():
        (tmp_path / "bin" / name).write_bytes(content)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin/data").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("bin")
    (tmp_path / "dangling").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "out").symlink_to("/bin/text")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def check(root: int, *words: str, mounts: Sequence[str] = (), cwd: str = "/") -> None:
    process = {"args": list(words), "env": ["PATH=/nowhere:/bin"], "cwd": cwd}
    check_program(root, process, [{"destination": place} for place in mounts], machine="x86_64")


@pytest.mark.parametrize("word", ["/bin/sh", "sh", "/link/sh", "/bin/good", "/bin/linked", "/bin/relative", "good"])
def test_what_may_run_passes(root: int, word: str) -> None:
    check(root, word)
    check(root, "/dev/init", "--", word)


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("/nosuch", 127, "/nosuch: no such file in the container"),
        ("nosuch", 127, "nosuch: no such program in the container's PATH"),
        ("data", 127, "data: no such program in the container's PATH"),
        ("/bin/data", 126, "/bin/data: can't be run: not an executable file"),
        ("/bin/sh/x", 126, "/bin/sh/x: can't be run: not a directory"),
        ("/bin", 126, "/bin: a directory, not a program"),
        ("/", 126, "/: a directory"),
        ("/dangling", 127, "/dangling: no such file"),
        ("/bin/text", 126, "/bin/text: can't be run: not a program for this machine"),
        ("text", 126, "/bin/text: can't be run: not a program for this machine"),
        ("/bin/empty", 126, "not a program"),
        ("/out", 126, "/out: can't be run"),
        ("/bin/arm", 126, "a program for another kind of machine"),
        ("/bin/bad", 127, "/bin/bad: can't be run: its interpreter /no/such/interpreter is not in the container"),
    ],
)
def test_what_surely_cannot_run(root: int, word: str, status: int, reason: str) -> None:
    for words in ((word,), ("/dev/init", "--", word)):
        with pytest.raises(RuntimeFailed, match=reason) as caught:
            check(root, *words)
        assert caught.value.status == status


def test_relative_to_the_working_directory(root: int) -> None:
    with pytest.raises(RuntimeFailed, match=r"\./text: can't be run"):
        check(root, "./text", cwd="/bin")
    with pytest.raises(RuntimeFailed, match="no such file"):
        check(root, "./text")


def test_a_working_directory_that_is_not_there(root: int) -> None:
    check(root, "sh", cwd="/link")
    check(root, "sh", cwd="/data/new", mounts=["/data"])
    for cwd, status, reason in (("/no/such", 127, "no such directory in the"), ("/bin/text", 126, "not a directory")):
        with pytest.raises(RuntimeFailed, match=f"^working directory {cwd}: {reason}") as caught:
            check(root, "sh", cwd=cwd)
        assert caught.value.status == status


def test_what_is_not_sure_is_left_to_the_runtime(root: int) -> None:
    check(root, "/loop")
    process = {"args": ["text"], "env": ["PATH=:bin:/bin"], "cwd": "/"}
    check_program(root, process, [], machine="x86_64")
    check(root, "/dev/zero", mounts=["/dev"])


def test_nothing_is_said_of_what_a_mount_will_cover(root: int) -> None:
    check(root, "/bin/text", mounts=["/bin"])
    check(root, "text", mounts=["/nowhere"])  # it may be found there first
    check(root, "/bin/bad", mounts=["/no"])


def test_nothing_is_said_where_the_kernel_runs_other_files_too(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_foreign_programs", lambda: True)
    for word in ("/bin/text", "/bin/arm"):
        check(root, word)
