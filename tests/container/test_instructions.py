"""Dockerfile instructions of `commit --change`: both forms, words, variables, and what is refused."""

from __future__ import annotations

import pytest

from oci.container.instructions import apply_changes
from oci.errors import InvalidInput
from oci.spec.config import Healthcheck, ImageConfig, RunConfig
from oci.spec.platform import Platform

BASE = RunConfig(
    env=("PATH=/bin", "HOME=/root", "EMPTY="),
    cmd=("sh",),
    working_dir="/srv",
    exposed_ports=("80/tcp",),
    labels={"a": "1"},
    volumes=("/data",),
    on_build=("RUN one",),
)


def changed(*lines: str, **base: object) -> RunConfig:
    config = ImageConfig(platform=Platform("linux", "amd64"), diff_ids=(), run=BASE.replace(**base))
    return apply_changes(config, lines).run


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ('CMD ["a", "b c"]', "cmd", ("a", "b c")),
        ("cmd a  b", "cmd", ("/bin/sh", "-c", "a  b")),
        ("CMD [not json", "cmd", ("/bin/sh", "-c", "[not json")),
        ("CMD [1]", "cmd", ("/bin/sh", "-c", "[1]")),
        ('ENTRYPOINT ["/app"]', "entrypoint", ("/app",)),
        ("ENTRYPOINT exec /app", "entrypoint", ("/bin/sh", "-c", "exec /app")),
        ("USER 1000:1000", "user", "1000:1000"),
        ("USER $HOME", "user", "/root"),
        ("WORKDIR /a/b", "working_dir", "/a/b"),
        ("WORKDIR x/../y", "working_dir", "/srv/y"),
        ("WORKDIR ${HOME}/x", "working_dir", "/root/x"),
        ("STOPSIGNAL SIGINT", "stop_signal", "SIGINT"),
        ("EXPOSE 443 53/udp 9000-9001", "exposed_ports", ("443/tcp", "53/udp", "80/tcp", "9000/tcp", "9001/tcp")),
        ("VOLUME /x /y", "volumes", ("/data", "/x", "/y")),
        ('VOLUME ["/with space"]', "volumes", ("/data", "/with space")),
        ("LABEL b=2 a='3 4' c=\"x $HOME\"", "labels", {"a": "3 4", "b": "2", "c": "x /root"}),
        ("ONBUILD RUN two words", "on_build", ("RUN one", "RUN two words")),
        ("ENV A=1 B='$HOME' C=\\$HOME", "env", (*(BASE.env or ()), "A=1", "B=$HOME", "C=$HOME")),
        ("ENV A one two", "env", (*(BASE.env or ()), "A=one two")),
        ("ENV PATH=/x:$PATH", "env", ("PATH=/x:/bin", "HOME=/root", "EMPTY=")),
        ("ENV A=${EMPTY:-none} B=${HOME:+yes} C=${NONE}x", "env", (*(BASE.env or ()), "A=none", "B=yes", "C=x")),
        ('ENV A="a \\"b\\" \\c"', "env", (*(BASE.env or ()), 'A=a "b" \\c')),
        ("ENV A=1\\ 2", "env", (*(BASE.env or ()), "A=1 2")),
        ("ENV A=$ B=5$", "env", (*(BASE.env or ()), "A=$", "B=5$")),
        ("HEALTHCHECK NONE", "healthcheck", Healthcheck(test=("NONE",))),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl localhost",
            "healthcheck",
            Healthcheck(test=("CMD-SHELL", "curl localhost"), interval=90 * 10**9, retries=3),
        ),
        ('HEALTHCHECK CMD ["/check"]', "healthcheck", Healthcheck(test=("CMD", "/check"))),
    ],
)
def test_an_instruction_changes_its_field(line: str, field: str, expected: object) -> None:
    assert getattr(changed(line), field) == expected


def test_the_images_shell_runs_lines() -> None:
    assert changed("CMD dir", shell=("cmd", "/S", "/C")).cmd == ("cmd", "/S", "/C", "dir")


def test_an_entrypoint_takes_the_old_command_away_and_leaves_the_new_one() -> None:
    assert changed('ENTRYPOINT ["/app"]').cmd is None
    assert changed("CMD x", 'ENTRYPOINT ["/app"]').cmd == ("/bin/sh", "-c", "x")
    assert changed('ENTRYPOINT ["/app"]', 'CMD ["x"]').cmd == ("x",)


def test_each_instruction_sees_those_before_it() -> None:
    run = changed("ENV A=1", "ENV B=$A$A", "WORKDIR /$B", "WORKDIR c")
    assert (run.env or ())[-1] == "B=11"
    assert run.working_dir == "/11/c"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("RUN x", "not one of CMD, ENTRYPOINT"),
        ("CMD", "nothing behind"),
        ("", "not one of"),
        ("ENV A", "expected NAME=VALUE"),
        ("ENV =x", "expected NAME=VALUE"),
        ("ENV A='x", "a quote"),
        ("ENV A=${x", "a variable is"),
        ("ENV A=${x:?y}", "a variable is"),
        ("LABEL a=1 b", "expected NAME=VALUE"),
        ("EXPOSE http", "is not PORT"),
        ("STOPSIGNAL SIGNOTHING", "neither a number"),
        ("VOLUME relative", "not an absolute path"),
        ('VOLUME [""]', "a volume without a path"),
        ("ONBUILD FROM x", "can't be triggered"),
        ("HEALTHCHECK curl", "expected NONE"),
        ("HEALTHCHECK --every=1s CMD x", "is no option"),
        ("HEALTHCHECK --interval=1 CMD x", "expected a time"),
        ("USER ''", "it is empty"),
        ("CMD a\nUSER root", "one line"),
        ("CMD " + "x" * 70000, "at most 65536"),
    ],
)
def test_what_is_wrong_is_said_with_the_line(line: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        changed(line)
    assert "--change" in str(caught.value)
