"""What runc 1.1.5 and crun 1.8.1 said, case by case, and what becomes of it."""

from __future__ import annotations

import json
import re

import pytest

from oci.runtime.failures import GONE, MAX_LOG, NOT_RUNNING, failure, message_of

START = "runc create failed: unable to start container process: "
INIT = START + "error during container init: "

CASES = [
    (
        START + 'exec: "nosuch": executable file not found in $PATH',
        127,
        "nosuch: no such program in the container's PATH",
    ),
    (START + 'exec: "/nosuch": stat /nosuch: no such file or directory', 127, "/nosuch: no such file in the container"),
    (
        START + 'exec: "/noexec": permission denied',
        126,
        "/noexec: can't be run: not an executable file, or not for this user",
    ),
    (START + 'exec: "/adir": is a directory', 126, "/adir: a directory, not a program"),
    (
        START + 'exec: "/loop": stat /loop: too many levels of symbolic links',
        126,
        "/loop: can't be run: too many levels of symbolic links",
    ),
    (START + 'exec: "/file/x": stat /file/x: not a directory', 126, "/file/x: can't be run: not a directory"),
    ("exec /badfmt: exec format error", 126, "/badfmt: can't be run: not a program for this machine"),
    ("exec /badint: no such file or directory", 127, "/badint: can't be run: its interpreter is not in the container"),
    ("exec /bin/true: argument list too long", 126, "/bin/true: can't be run: argument list too long"),
    (INIT + "mkdir /etc/passwd: not a directory", 125, "working directory /etc/passwd: not a directory"),
    (
        START + 'chdir to cwd ("/secret") set in config.json failed: permission denied',
        126,
        "working directory /secret: the user may not enter it",
    ),
    (
        INIT + "error setting rlimits for ready process: error setting rlimit type 7: operation not permitted",
        125,
        "a ulimit is above what this process has",
    ),
    (
        INIT + 'error mounting "/nosuch" to rootfs at "/x": stat /nosuch: no such file or directory',
        125,
        "/nosuch can't be mounted at /x: no such file or directory",
    ),
    (
        INIT + 'error mounting "/tmp" to rootfs at "/file": mount /tmp:/file (via /proc/self/fd/6): not a directory',
        125,
        "/tmp can't be mounted at /file: not a directory; one is a directory, the other a file",
    ),
    (
        INIT + 'error mounting "/tmp" to rootfs at "/proc": "/r/proc" cannot be mounted because it is not of type proc',
        125,
        "/tmp can't be mounted at /proc: nothing can be mounted there",
    ),
    (
        START + "unable to apply caps: operation not permitted",
        125,
        "this process can't give the capabilities that were asked for",
    ),
    (
        INIT
        + "error setting cgroup config for procHooks process: unable to set memory limit to 4096 (current usage: 2)",
        125,
        "--memory 4096: too little to start in",
    ),
    (INIT + "sethostname: invalid argument", 125, "the host name was refused: invalid argument"),
    (
        "runc create failed: invalid rootfs: stat /x: no such file or directory",
        125,
        "the container's root can't be used: stat /x: no such file or directory",
    ),
    (
        "runc create failed: seccomp: config provided but seccomp not supported",
        125,
        "this runtime was built without seccomp; use another, or --security-opt seccomp=unconfined",
    ),
    (
        "executable file `nosuch` not found in $PATH: No such file or directory",
        127,
        "nosuch: no such program in the container's PATH",
    ),
    (
        "executable file `/nosuch` not found in $PATH: No such file or directory",
        127,
        "/nosuch: no such file in the container",
    ),
    ("open executable: Permission denied", 126, "the program can't be run: permission denied"),
    ("open executable: Operation not permitted", 126, "the program is a directory"),
    (
        "open executable: Too many levels of symbolic links",
        126,
        "the program can't be run: too many levels of symbolic links",
    ),
    (
        "exec container process `/badfmt`: Exec format error",
        126,
        "/badfmt: can't be run: not a program for this machine",
    ),
    (
        "exec container process (missing dynamic library?) `/badint`: No such file or directory",
        127,
        "/badint: can't be run: its interpreter is not there",
    ),
    ("chdir `/file`: Not a directory", 125, "working directory /file: not a directory"),
    ("chdir `/secret`: Permission denied", 126, "working directory /secret: the user may not enter it"),
    ("setrlimit `RLIMIT_NOFILE`: Operation not permitted", 125, "--ulimit nofile: above what this process has"),
    (
        "error stat'ing file `/nosuch`: No such file or directory",
        125,
        "/nosuch: can't be mounted: no such file or directory",
    ),
    (
        "mount `/tmp` to `file`: Not a directory",
        125,
        "/tmp can't be mounted at /file: not a directory; one is a directory, the other a file",
    ),
    ("capset: Operation not permitted", 125, "this process can't give the capabilities that were asked for"),
    (
        "cgroups in hybrid mode not supported, drop all controllers from cgroupv2",
        125,
        "crun can't work with this machine's mixture of cgroup versions; install runc",
    ),
    ("runc exec failed: error writing config to pipe: write init-p: broken pipe", 125, "the container ended meanwhile"),
    ("something new", 125, "runc create: something new"),
    ("", 125, "runc create: failed without a word"),
]


@pytest.mark.parametrize(("said", "status", "words"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_what_a_runtime_says_in_our_words(said: str, status: int, words: str) -> None:
    error = failure("runc", "create", said)
    assert (str(error), error.status) == (words, status)


def test_a_name_from_an_image_forges_no_second_line() -> None:
    error = failure("runc", "create", START + 'exec: "a\nerror: b": executable file not found in $PATH')
    assert str(error).count("\n") == 0
    assert error.status == 127


def test_the_last_error_of_a_log_counts() -> None:
    rows = [{"level": "warning", "msg": "w"}, {"level": "error", "msg": "first"}, {"level": "error", "msg": "last\n"}]
    log = "\n".join(json.dumps(row) for row in [*rows, {"level": "info", "msg": "i"}]).encode()
    assert message_of(log) == "last"
    assert message_of(b"") == ""
    assert message_of(b"plain words\n") == "plain words"
    assert message_of(b'[1]\n{"level": "error"}\n"x"\n') == ""
    assert message_of(b"x" * (2 * MAX_LOG) + b"\n" + log) == "last"


def test_a_container_that_is_gone_or_over() -> None:
    for said in (
        "container does not exist",
        'container "x" does not exist',
        "container with id x does not exist",
        "error opening file `/run/x/status`: No such file or directory",
    ):
        assert re.search(GONE, said), said
    for said in ("container not running", "cannot exec in a stopped container", "kill container: No such process"):
        assert re.search(NOT_RUNNING, said), said
