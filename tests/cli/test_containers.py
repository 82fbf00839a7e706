"""create to rm as a user types them, with a real runtime: as root, and as an ordinary user."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import PROGRAM, ROOT, Result, fits
from tests.support.containers import busybox_layout, until
from tests.support.images import tar_layer
from tests.support.namespaces import as_rootless_user, need_mounts
from tests.support.peers import need

Case = Callable[[], None]


@pytest.fixture
def here_with_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], None]:
    """Runs a case as whoever runs the tests; nothing of it may be left."""
    need("runc")

    def run(case: Case) -> None:
        if os.geteuid() != 0:
            as_rootless_user(_with_store, case, ranges=False)
            return
        need_mounts()
        monkeypatch.chdir(tmp_path)
        _with_store(case)

    return run


@pytest.fixture(params=["root", "user"])
def everywhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Case], None]:
    """Runs a case as root and as an ordinary user."""
    need("runc")

    def run(case: Case) -> None:
        if request.param == "user":
            as_rootless_user(_with_store, case, ranges=False)
            return
        need_mounts()
        monkeypatch.chdir(tmp_path)
        _with_store(case)

    return run


def _with_store(case: Case) -> None:
    here = Path.cwd()
    os.environ["OCIKIT_ROOT"] = str(here / "store")
    os.environ.pop("OCIKIT_DRIVER", None)
    os.environ.pop("OCIKIT_RUNTIME", None)
    (here / "store").mkdir(mode=0o700)
    busybox_layout(here / "store/images")
    other = tar_layer({"etc/": None, "etc/motd": b"welcome\n", "srv/": None, "srv/page": b"image's\n"})
    busybox_layout(here / "other", other, name="v1", Entrypoint=["cat"], Cmd=["/etc/motd"], Env=["PATH=/bin", "A=1"],
                   Labels={"from": "image"}, Volumes={"/srv": {}})  # fmt: skip
    try:
        case()
    finally:
        everything = ok("ps", "-aq").out.split()
        if everything:
            ok("rm", "-f", *everything)
        assert os.listdir(here / "store/containers") == []


def run(*arguments: object, stdin: str = "", **env: str) -> Result:
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def ok(*arguments: object, **more: Any) -> Result:
    result = run(*arguments, **more)
    assert result.status == 0, f"{arguments}: {result.err}"
    return result


# run and its exit status


def test_run_gives_output_and_exit_status(everywhere: Callable[[Case], None]) -> None:
    def case() -> None:
        result = run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (result.status, result.out, result.err) == (7, "out\n", "err\n")
        assert ok("run", "--rm", "-i", "busybox", "cat", stdin="through\n").out == "through\n"
        assert ok("run", "--rm", "busybox", "cat", stdin="not taken\n").out == ""
        assert run("run", "--rm", "busybox", "sh", "-c", "kill -9 $(exec sh -c 'echo $PPID'); sleep 1").status in (
            0,
            137,
        )
        for words, status, says in (
            (["busybox", "nosuch"], 127, "nosuch"),
            (["busybox", "/etc"], 126, "/etc"),
            (["--pull", "never", "nothing"], 125, "`ocikit pull nothing`"),
            (["-v", "/no/such/place:/x", "busybox"], 125, "/no/such/place"),
            (["--user", "nobody-here", "busybox", "true"], 125, "nobody-here"),
            (["--platform", "x", "busybox"], 2, "x"),
            (["--name", "a b", "busybox"], 2, "a b"),
            (["--nonsense", "busybox"], 2, "--nonsense"),
        ):
            result = run("run", "--rm", *words)
            assert result.status == status, (words, result.err)
            assert says in result.error
            assert result.out == ""
        assert ok("ps", "-a", "--json").json == []

    everywhere(case)


def test_what_follows_the_image_belongs_to_the_command(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        words = ["-d", "--name", "x", "--rm", "--tls-verify", "--", "-q", "--debug"]
        assert ok("run", "--rm", "busybox", "echo", *words).out.split() == words
        ok("run", "-d", "--name", "bg", "busybox", "sleep", "30")
        assert ok("exec", "bg", "echo", "-i", "--", "-t").out.split() == ["-i", "--", "-t"]

    here_with_store(case)


def test_options_reach_the_container(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        Path("app.env").write_text("B=from file\n")
        script = (
            "echo $A,$B,$C; pwd; hostname; grep db /etc/hosts; touch /new 2>/dev/null || echo read-only; stat -c %a /t"
        )
        lines = ok(
            "run", "--rm", "-e", "A=1", "-e", "C", "--env-file", "app.env", "-w", "/some/where", "--hostname", "box",
            "--add-host", "db:10.0.0.1", "--read-only", "--mount", "type=tmpfs,target=/t,tmpfs-mode=700", "busybox",
            "sh", "-c", script, C="caller's",
        ).out.splitlines()  # fmt: skip
        assert lines == ["1,from file,caller's", "/some/where", "box", "10.0.0.1\tdb", "read-only", "700"]
        assert ok("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net").out.split() == ["lo"]
        assert ok("run", "--rm", "--entrypoint", "", "busybox", "echo", "plain").out == "plain\n"
        assert ok("run", "--rm", "--entrypoint", "echo", "busybox", "with", "entrypoint").out == "with entrypoint\n"
        assert ok("run", "--rm", "--ulimit", "nofile=64:128", "busybox", "sh", "-c", "ulimit -n").out == "64\n"

    here_with_store(case)


def test_an_image_is_brought_to_the_store_first(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        assert ok("run", "--rm", "oci:./other:v1").out == "welcome\n"
        assert [item["name"] for item in ok("ls", "--json").json] == ["busybox:latest", "other:v1"]
        assert ok("run", "--rm", "other:v1", "/etc/passwd").out.startswith("root:")
        identifier = ok("ls", "-q", "other:v1").out.strip()
        assert ok("run", "--rm", identifier).out == "welcome\n"
        result = run("run", "--rm", "--pull", "never", "other:v2")
        assert "not found in the local store" in result.error
        result = run("run", "--rm", "--pull", "never", "--platform", "linux/riscv64", "busybox", "true")
        assert "is for linux/amd64, wanted is linux/riscv64" in result.err

    here_with_store(case)


# A life


def test_a_container_from_create_to_rm(everywhere: Callable[[Case], None]) -> None:
    def case() -> None:
        assert ok("ps").out.split("  ") == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAME\n"]
        identifier = ok("create", "--name", "box", "--label", "team=web", "--cidfile", "cid", "busybox", "sh", "-c",
                        "n=$(cat /n 2>/dev/null); echo $((n + 1)) > /n; cat /n; exit 3").out.strip()  # fmt: skip
        assert Path("cid").read_text() == identifier
        assert "exists already" in run("create", "--cidfile", "cid", "busybox").error
        assert ok("ps", "--json").json == []
        (item,) = ok("ps", "-a", "--json").json
        assert (item["id"], item["name"], item["status"], item["exitCode"]) == (identifier, "box", "created", None)
        assert ok("start", "box").out == "box\n"
        assert ok("wait", "box").out == "3\n"
        result = run("start", "-a", identifier[:8])
        assert (result.status, result.out) == (3, "2\n")
        assert ok("logs", "box").out == "1\n2\n"
        assert "'box' is taken" in run("create", "--name", "box", "busybox").error
        ok("rename", "box", "crate")
        assert "Exited (3)" in ok("ps", "-a", "--filter", "name=cra").out
        assert run("rm", "box").status == 1
        assert ok("rm", "-f", "box").out == ""
        assert ok("rm", "crate").out == "crate\n"
        assert ok("ps", "-aq").out == ""
        for command in ("start", "stop", "kill", "wait", "logs", "rm", "restart"):
            assert run(command, "crate").error == f"error: container 'crate': no such container in {Path.cwd()}/store"
        assert run("exec", "crate", "true").status == 125

    everywhere(case)


def test_running_containers_are_shown_asked_and_ended(everywhere: Callable[[Case], None]) -> None:
    def case() -> None:
        identifier = ok(
            "run", "-d", "--name", "bg", "busybox", "sh", "-c", "echo up; trap 'exit 9' TERM; sleep 60 & wait"
        ).out.strip()
        (item,) = ok("ps", "--json").json
        fits("ps", [item])
        assert (item["id"], item["status"], item["command"][:2]) == (identifier, "running", ["sh", "-c"])
        assert Path(f"/proc/{item['pid']}").exists()
        assert ok("ps", "-q").out == f"{identifier[:12]}\n"
        assert ok("ps", "-q", "--no-trunc").out == f"{identifier}\n"
        assert "Up " in ok("ps").out
        result = run("exec", "-e", "X=1", "-w", "/etc", "bg", "sh", "-c", "echo $X $(pwd); exit 4")
        assert (result.status, result.out) == (4, "1 /etc\n")
        assert run("exec", "bg", "nosuch").status == 127
        assert ok("exec", "-i", "bg", "cat", stdin="in\n").out == "in\n"
        assert ok("start", "bg").out == "bg\n"  # as docker: it is what was wanted
        assert ok("ps", "--json").json[0]["pid"] == item["pid"]
        assert "is running" in run("rm", "bg").error
        assert ok("stop", "bg").out == "bg\n"
        assert ok("stop", "bg").out == "bg\n"
        assert ok("wait", "bg").out == "9\n"
        assert "only one that runs" in run("kill", "bg").error
        assert ok("restart", "bg").out == "bg\n"
        assert ok("kill", "-s", "KILL", "bg").out == "bg\n"
        assert ok("wait", "bg").out == "137\n"
        assert run("exec", "bg", "true").status == 125
        ok("start", "bg")
        assert ok("rm", "-f", "bg").out == "bg\n"

    everywhere(case)


def test_a_reader_of_run_that_goes_away_ends_it_quietly_and_the_container_goes_on(
    here_with_store: Callable[[Case], None],
) -> None:
    def case() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            done = subprocess.run(
                [*PROGRAM, "--root", "store", "run", "--name", "loud", "busybox", "sh", "-c", "echo 1; echo 2; exit 3"],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=pipe,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (141, "")
        assert ok("wait", "loud").out == "3\n"
        assert ok("logs", "loud").out == "1\n2\n"

    here_with_store(case)


def test_containers_of_one_image_have_each_their_own_writes(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        for name in ("one", "two"):
            ok(
                "run",
                "--name",
                name,
                "-v",
                "shared:/data",
                "busybox",
                "sh",
                "-c",
                f"echo {name} > /own; echo {name} >> /data/all",
            )
        assert ok("run", "--rm", "-v", "shared:/data:ro", "busybox", "cat", "/data/all").out == "one\ntwo\n"
        assert run("run", "--rm", "busybox", "cat", "/own").status == 1
        sizes = {item["name"]: item["size"] for item in ok("ps", "-a", "-s", "--json").json}
        assert set(sizes) == {"one", "two"}
        assert all(0 < size < 10_000 for size in sizes.values())
        assert {item["name"] for item in ok("ps", "-a", "--json", "--filter", "volume=shared").json} == {"one", "two"}

    here_with_store(case)


# What is told


def test_inspect_shows_a_container_before_an_image_of_its_name(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        ok("create", "--name", "busybox", "-v", "data:/data", "-v", f"{Path.cwd()}:/here:ro", "--memory", "64m",
           "-l", "a=b", "busybox", "true")  # fmt: skip
        found = ok("inspect", "busybox", "--json").json
        fits("inspect-container", found)
        assert (found["name"], found["image"], found["command"]) == ("busybox", "busybox:latest", ["true"])
        assert found["labels"] == {"a": "b"}
        assert found["settings"]["memory"] == 64 << 20
        assert {(m["type"], m["name"], m["target"], m["readOnly"]) for m in found["mounts"]} == {
            ("volume", "data", "/data", False),
            ("bind", None, "/here", True),
        }
        text = ok("inspect", found["id"][:10]).out
        for word in ("busybox:latest", "Created", "/here", "a=b"):
            assert word in text
        image = ok("inspect", "busybox", "--type", "image", "--json").json
        fits("inspect", image)
        assert ok("inspect", "busybox:latest", "--json").json == {**image, "reference": "busybox:latest"}
        assert json.loads(ok("inspect", "busybox", "--raw").out)["layers"]
        assert run("inspect", "nothing", "--type", "container").status == 1
        assert run("inspect", "busybox", "--type", "container", "--raw").status == 2

    here_with_store(case)


def test_logs_are_told_whole_in_part_and_as_they_come(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        ok(
            "run",
            "--name",
            "talk",
            "busybox",
            "sh",
            "-c",
            "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.1; done",
        )
        result = ok("logs", "talk")
        assert (result.out, result.err) == ("out 1\nout 2\nout 3\n", "err 1\nerr 2\nerr 3\n")
        lines = ok("logs", "--json", "talk").json
        fits("logs", lines)
        assert [line["log"] for line in lines if line["stream"] == "stderr"] == ["err 1\n", "err 2\n", "err 3\n"]
        result = ok("logs", "-n", "2", "talk")
        assert sorted((result.out + result.err).splitlines()) == ["err 3", "out 3"]
        (first,) = [line["time"] for line in lines if line["log"] == "out 2\n"]
        assert "out 1" not in ok("logs", "--since", first, "talk").out
        assert "out 3" not in ok("logs", "--until", first, "talk").out
        assert ok("logs", "--since", "1h", "-t", "talk").out.splitlines()[0].endswith("Z out 1")
        assert ok("logs", "--since", "0", "--tail", "all", "talk").out == "out 1\nout 2\nout 3\n"
        for words in (
            ["--tail", "-1"],
            ["--since", "yesterday"],
            ["--since", "2024-13-01T00:00:00Z"],
            ["-f", "--json"],
        ):
            assert run("logs", *words, "talk").status == 2
        ok("run", "-d", "--name", "later", "busybox", "sh", "-c", "sleep 0.5; echo last")
        assert ok("logs", "-f", "later").out == "last\n"

    here_with_store(case)


def test_ps_filters(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        ok("create", "--name", "a", "-l", "x=1", "busybox", "true")
        ok("run", "--name", "b", "-l", "x=2", "busybox", "true")
        run("run", "--name", "c", "oci:./other:v1", "/nothing")
        for words, wanted in (
            (["status=created"], "a"), (["status=exited"], "bc"), (["exited=0"], "b"), (["exited=1"], "c"),
            (["label=x"], "ab"), (["label=x=2"], "b"), (["label=from=image"], "c"), (["ancestor=busybox"], "ab"),
            (["ancestor=other:v1"], "c"), (["ancestor=other"], "c"), (["name=a", "name=c"], "ac"),
            (["label=x", "status=exited"], "b"),
        ):  # fmt: skip
            filters = [part for word in words for part in ("--filter", word)]
            assert sorted(item["name"] for item in ok("ps", "-a", "--json", *filters).json) == list(wanted), words
        for word in ("colour=red", "status=happy", "name"):
            assert run("ps", "--filter", word).status == 2

    here_with_store(case)


def test_an_image_in_use_stays(here_with_store: Callable[[Case], None]) -> None:
    def case() -> None:
        ok("create", "--name", "keeper", "busybox", "true")
        assert "in use by keeper" in run("rmi", "busybox").error
        ok("rmi", "-f", "busybox")
        assert [item["name"] for item in ok("ls", "-a", "--json").json] == [None]
        assert run("start", "-a", "keeper").status == 0
        ok("rm", "keeper")

    here_with_store(case)


# Terminals


def typed(words: list[str], *keys: bytes, until: bytes = b"# ") -> tuple[int, bytes]:
    """Run a command on a terminal, type each of `keys` when `until` has come (anew); its exit status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv(PROGRAM[0], [*PROGRAM, *words])
    seen, waiting, deadline = b"", list(keys), time.monotonic() + 30
    fresh = b""
    while time.monotonic() < deadline:
        if waiting and until in fresh:
            fresh = b""
            os.write(terminal, waiting.pop(0))
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            break
        seen, fresh = seen + data, fresh + data
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_a_terminal_is_one_inside_and_can_be_left_and_found_again(everywhere: Callable[[Case], None]) -> None:
    def case() -> None:
        status, seen = typed(["run", "-it", "--name", "sh", "busybox"], b"test -t 0 && echo is-$((1+1))\r", b"\x10\x11")
        assert status == 0
        assert b"is-2" in seen
        assert [item["name"] for item in ok("ps", "--json").json] == ["sh"]
        left = ["sh", "-c", "echo in; sleep 0.5; seq 100000; echo done >/left; sleep 60"]
        status, seen = typed(["exec", "-it", "sh", *left], b"\x10\x11", until=b"in")
        assert status == 0
        until(lambda: run("exec", "sh", "cat", "/left").out == "done\n")
        status, seen = typed(["attach", "sh"], b"exit 5\r", until=b"")
        assert status == 5
        assert ok("logs", "sh").out.count("is-2") == 1
        status, seen = typed(
            [
                "run",
                "--rm",
                "-it",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 130' INT; echo '# '; while :; do sleep 0.1; done",
            ],
            b"\x03",
        )
        assert status == 130
        result = run("run", "--rm", "-it", "busybox", stdin="exit 6\n")
        assert result.status == 6
        assert "warning: stdin is no terminal" in result.err

    everywhere(case)
