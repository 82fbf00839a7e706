"""The options of create and run become RunSettings by docker's rules; nothing else of the machine is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from oci.cli.failures import UsageError
from oci.cli.quantities import byte_count, seconds
from oci.cli.run_options import OPTIONS, read_file, run_settings
from oci.runtime.settings import DeviceSetting, PortSetting, RunSettings, UlimitSetting

FILES: dict[str, bytes] = {}


def settings(args: tuple[str, ...] = (), environ: dict[str, str] | None = None, **asked: Any) -> RunSettings:
    def read(path: str, limit: int) -> bytes:
        return FILES[path] if path in FILES else read_file(path, limit)

    return run_settings(asked, args, environ=environ or {}, cwd="/here", read=read)


def wrong(**asked: Any) -> str:
    with pytest.raises(UsageError) as failure:
        settings(**asked)
    text = str(failure.value)
    assert "\n" not in text
    return text


def test_nothing_asked_for_is_nothing_set() -> None:
    assert settings() == RunSettings()
    nothing: dict[str, Any] = {option.key: None for option in OPTIONS}
    assert settings(**nothing) == RunSettings()
    assert settings(("ls", "-l")) == RunSettings(args=("ls", "-l"))


def test_plain_options_are_plain_settings() -> None:
    found = settings(
        tty=True, interactive=True, init=True, rm=True, read_only=True, privileged=True, workdir="/w", user="me:us",
        hostname="box", group_add=["audio", "44"], cap_add=["NET_ADMIN"], cap_drop=["ALL"], stop_signal="SIGINT",
        stop_timeout="3", dns=["1.1.1.1"], dns_search=["example.org"], dns_option=["ndots:1"], detach_keys="ctrl-x",
    )  # fmt: skip
    assert found == RunSettings(
        tty=True, stdin_open=True, init=True, auto_remove=True, read_only=True, privileged=True, workdir="/w",
        user="me:us", hostname="box", group_add=("audio", "44"), cap_add=("NET_ADMIN",), cap_drop=("ALL",),
        stop_signal="SIGINT", stop_timeout=3, dns=("1.1.1.1",), dns_search=("example.org",), dns_options=("ndots:1",),
        detach_keys="ctrl-x",
    )  # fmt: skip
    assert RunSettings.from_json(found.to_json()) == found


def test_an_entrypoint_of_nothing_is_another_thing_than_none() -> None:
    assert settings(entrypoint="/bin/sh").entrypoint == ("/bin/sh",)
    assert settings(entrypoint="").entrypoint == ()
    assert settings().entrypoint is None


def test_variables_come_from_words_files_and_the_caller() -> None:
    FILES["app.env"] = b"\xef\xbb\xbf# a comment\n\nA=from file\r\n  B=two=2\nC\nNOT_SET\nD=\n"
    environ = {"C": "mine", "E": "e", "SECRET": "s"}
    found = settings(environ=environ, env_file=["app.env"], env=["A=from word", "E", "GONE"]).env
    assert found == (
        ("A", "from word"), ("B", "two=2"), ("C", "mine"), ("D", ""), ("E", "e"), ("GONE", None),
    )  # fmt: skip


def test_wrong_variables_are_told() -> None:
    FILES.update({"space": b"A B=1\n", "nameless": b"A=1\n=2\n", "latin": b"A=\xff\n"})
    assert "line 1 is not NAME=VALUE" in wrong(env_file=["space"])
    assert "line 2 is not NAME=VALUE" in wrong(env_file=["nameless"])
    assert "is not UTF-8" in wrong(env_file=["latin"])
    assert wrong(env_file=["/no/such"]) == "--env-file /no/such: no such file or directory"
    assert wrong(security_opt=["seccomp=/no/such"]).startswith("--security-opt seccomp=/no/such: no such ")
    assert "expected NAME=VALUE" in wrong(env=["=1"])
    assert "zero byte" in wrong(env=["A=\0"])


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("1024", 1024), ("10b", 10), ("1k", 1024), ("64K", 65536), ("512m", 512 << 20), ("1g", 1 << 30),
     ("1.5g", 3 << 29), ("2MiB", 2 << 20), ("1kb", 1024), ("1 g", 1 << 30)],
)  # fmt: skip
def test_bytes_are_read_as_docker_reads_them(text: str, number: int) -> None:
    assert byte_count("--memory", text) == number
    assert settings(shm_size=text).shm_size == number


@pytest.mark.parametrize("text", ["m", "-1", "1x", "1.m", "1e3", "0x10", "9999999999999t", "1 2m", "١m"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    assert wrong(memory=text).startswith("--memory ")


def test_limits_are_read() -> None:
    found = settings(memory="64m", memory_swap="-1", cpus="1.5", cpu_shares="512", pids_limit="-1")
    assert (found.memory, found.memory_swap, found.cpus, found.cpu_shares) == (64 << 20, -1, 1.5, 512)
    assert found.pids_limit == -1
    assert settings(ulimit=["nofile=1024:2048", "nproc=10", "core=-1"]).ulimits == (
        UlimitSetting(name="nofile", soft=1024, hard=2048),
        UlimitSetting(name="nproc", soft=10, hard=10),
        UlimitSetting(name="core", soft=-1, hard=-1),
    )
    assert "expected a number above 0" in wrong(cpus="0.0")
    unlimited = settings(memory="0", memory_swap="0", cpus="0")
    assert (unlimited.memory, unlimited.memory_swap, unlimited.cpus) == (None, None, None)
    assert "from 2 to 262144" in wrong(cpu_shares="1")
    assert "the soft limit is above the hard one" in wrong(ulimit=["nofile=2:1"])
    assert "the soft limit is above the hard one" in wrong(ulimit=["nofile=-1:1"])
    assert "'files' is not one of as, core" in wrong(ulimit=["files=1"])
    assert "expected NAME=SOFT[:HARD]" in wrong(ulimit=["nofile"])


def test_devices_are_read() -> None:
    assert settings(device=["/dev/null", "/dev/zero:/dev/nil", "/dev/fuse:rw", "/dev/a:/dev/b:r"]).devices == (
        DeviceSetting(source="/dev/null", target="/dev/null"),
        DeviceSetting(source="/dev/zero", target="/dev/nil"),
        DeviceSetting(source="/dev/fuse", target="/dev/fuse", permissions="rw"),
        DeviceSetting(source="/dev/a", target="/dev/b", permissions="r"),
    )
    for text in ("null", "/dev/a:b", "/dev/a:/dev/b:x", "/dev/a:rr", "/dev/a:/b:rw:/c"):
        assert "expected /dev/HOST" in wrong(device=[text])


def test_networks_and_ports_are_read() -> None:
    assert settings().network == "host"
    assert settings(network="none").network == "none"
    found = settings(publish=["8080:80", "53/udp", "127.0.0.1:1:2", "[::1]::3"])
    assert found.network == "slirp4netns"
    assert found.publish == (
        PortSetting(host_port=8080, container_port=80),
        PortSetting(host_port=53, container_port=53, protocol="udp"),
        PortSetting(host_port=1, container_port=2, host_address="127.0.0.1"),
        PortSetting(host_port=3, container_port=3, host_address="::1"),
    )
    assert "not one of host, none" in wrong(network="bridge")
    assert "nothing to publish" in wrong(network="none", publish=["80"])
    assert "expected [[IP:]HOST:]PORT" in wrong(publish=["a:b"])
    assert "from 1 to 65535" in wrong(publish=["70000"])
    assert settings(add_host=["db:10.0.0.1", "six:::1", "seven=[::2]"]).add_hosts == (
        ("db", "10.0.0.1"), ("six", "::1"), ("seven", "::2"),
    )  # fmt: skip
    assert "expected an IP address" in wrong(add_host=["db:here"])
    assert "expected NAME:IP" in wrong(add_host=["db"])


def test_security_is_read() -> None:
    FILES["profile.json"] = b"{}"
    assert settings(security_opt=["no-new-privileges"]).no_new_privileges
    assert not settings(security_opt=["no-new-privileges=false"]).no_new_privileges
    assert settings(security_opt=["seccomp=unconfined"]).seccomp == "unconfined"
    assert settings(security_opt=["seccomp=profile.json"]).seccomp == "{}"
    assert not settings(security_opt=["systempaths=unconfined"]).masks
    assert settings(security_opt=["label=disable", "apparmor:unconfined"]) == RunSettings()
    assert "expected no-new-privileges, seccomp=FILE" in wrong(security_opt=["apparmor=mine"])


def test_labels_logs_and_names_are_read() -> None:
    assert settings(label=["a=1", "b", "c=x=y"]).labels == {"a": "1", "b": "", "c": "x=y"}
    found = settings(log_opt=["max-size=10m", "max-file=3"])
    assert (found.log_max_size, found.log_max_files) == (10 << 20, 3)
    assert "expected NAME=VALUE" in wrong(label=["=1"])
    assert "max-size=BYTES or max-file=NUMBER" in wrong(log_opt=["mode=x"])
    assert "absolute path" in wrong(workdir="here")
    assert "at most 64 letters" in wrong(hostname="-x")
    assert "there is no signal" in wrong(stop_signal="NOPE")
    assert "as in ctrl-p,ctrl-q" in wrong(detach_keys="ctrl-")
    assert "more than 32" in wrong(detach_keys=",".join("x" * 33))  # or the container is made, and can't be attached to
    assert settings(detach_keys="Ctrl-P,Q").detach_keys == "Ctrl-P,Q"


def test_durations_are_read() -> None:
    for text, wanted in (("10", 10.0), ("1.5", 1.5), ("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("2h1s", 7201.0)):
        assert seconds("--since", text) == wanted
    for text in ("", "m", "1d", "-1", "1m1h"):
        with pytest.raises(UsageError, match="--since"):
            seconds("--since", text)


def test_no_option_has_the_name_of_another() -> None:
    words = [word for option in OPTIONS for word in option.names.split()]
    assert len(words) == len(set(words))
    assert len({option.key for option in OPTIONS}) == len(OPTIONS)
