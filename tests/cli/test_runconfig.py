"""The words of `config`'s options, one kind at a time."""

from __future__ import annotations

import pytest

from oci.cli import options, runconfig
from oci.cli.failures import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["/bin/app", "-v"]', ("/bin/app", "-v")),
        ("[]", ()),
        (' ["a"] ', ("a",)),
        ("echo hi && ls", ("/bin/sh", "-c", "echo hi && ls")),
    ],
)
def test_a_command_is_a_json_array_or_a_line_for_the_shell(text: str, expected: tuple[str, ...]) -> None:
    assert runconfig.words("--cmd", text) == expected


def test_the_images_own_shell_runs_the_line() -> None:
    assert runconfig.words("--cmd", "dir", ("cmd", "/S", "/C")) == ("cmd", "/S", "/C", "dir")


@pytest.mark.parametrize("text", ["", "  ", "[1]", '["a"', '["a", null]', "[broken"])
def test_a_command_that_is_nothing_or_no_array_of_strings_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--cmd"):
        runconfig.words("--cmd", text)


def test_variables_are_set_in_their_place_and_taken_away_by_a_minus() -> None:
    wanted, gone = runconfig.pairs("--env", ["B=2", "NEW=x=y", "-C", "EMPTY="])
    assert runconfig.changed_env(("A=1", "B=1", "C=1"), wanted, gone) == ("A=1", "B=2", "NEW=x=y", "EMPTY=")


def test_of_a_variable_set_and_taken_away_the_last_word_counts() -> None:
    assert runconfig.pairs("--env", ["A=1", "-A"]) == ({}, ["A"])
    assert runconfig.pairs("--env", ["-A", "A=1"]) == ({"A": "1"}, [])


@pytest.mark.parametrize("text", ["A", "=1", "-", ""])
def test_what_is_neither_set_nor_taken_away_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        runconfig.pairs("--label", [text])


def test_an_emptied_field_is_absent() -> None:
    assert runconfig.changed_env(("A=1",), {}, ["A"]) is None
    assert runconfig.changed_map({"a": "1"}, {}, ["a", "never"]) is None
    assert runconfig.changed_set(("80/tcp",), [], ["80/tcp"]) is None


def test_sets_keep_their_order_and_hold_nothing_twice() -> None:
    assert runconfig.changed_set(("/b", "/a"), ["/c", "/a"], ["/b"]) == ("/a", "/c")
    assert runconfig.names(["/c", "-/b", "/b"]) == (["/c", "/b"], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80", "80/tcp"), ("53/udp", "53/udp"), ("8000-8010", "8000-8010/tcp"), ("36412/sctp", "36412/sctp")],
)
def test_ports_are_written_with_their_protocol(text: str, expected: str) -> None:
    assert runconfig.port(text) == expected


@pytest.mark.parametrize("text", ["0", "65536", "http", "80/icmp", "90-80", "", "80/tcp/udp", "-80"])
def test_what_is_no_port_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--port"):
        runconfig.port(text)


@pytest.mark.parametrize("text", ["SIGTERM", "TERM", "9", "SIGRTMIN+3"])
def test_signals_are_kept_as_written(text: str) -> None:
    assert runconfig.signal(text) == text


@pytest.mark.parametrize("text", ["", "sigterm", "SIGTERM ", "999", "-9"])
def test_what_is_no_signal_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--stop-signal"):
        runconfig.signal(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("30s", 30 * 10**9), ("1m30s", 90 * 10**9), ("1.5h", 5400 * 10**9), ("500ms", 5 * 10**8), ("7ns", 7)],
)
def test_durations_as_docker_writes_them(text: str, nanoseconds: int) -> None:
    assert runconfig.duration("--healthcheck-interval", text) == nanoseconds


@pytest.mark.parametrize("text", ["30", "", "s", "1d", "-1s", "1 s"])
def test_what_is_no_duration_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--healthcheck-interval"):
        runconfig.duration("--healthcheck-interval", text)


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("none", ("NONE",)),
        ("curl -f http://localhost/", ("CMD-SHELL", "curl -f http://localhost/")),
        ('["CMD", "/check"]', ("CMD", "/check")),
        ('["/check", "-q"]', ("CMD", "/check", "-q")),
    ],
)
def test_healthchecks_in_all_their_forms(text: str, test: tuple[str, ...]) -> None:
    assert runconfig.healthcheck_test(text) == test


@pytest.mark.parametrize(
    ("text", "expected"),
    [("gzip", ("gzip", None)), ("zstd:19", ("zstd", 19)), ("none", ("none", None)), ("gzip:0", ("gzip", 0))],
)
def test_compressions(text: str, expected: tuple[str, int | None]) -> None:
    assert options.parse_compression(text) == expected


@pytest.mark.parametrize("text", ["", "lz4", "gzip:", "gzip:10", "zstd:0", "zstd:23", "none:1", "gzip:-1", "zstd:fast"])
def test_what_is_no_compression_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--compression"):
        options.parse_compression(text)


def test_what_is_no_platform_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="linux/arm64"):
        options.parse_platform("arm64")
    assert str(options.parse_platform("linux/aarch64")) == "linux/arm64"
