"""The words of `config`'s options, one kind at a time."""

from __future__ import annotations

import pytest

from oci.cli import options, runconfig
from oci.cli.failures import UsageError
from oci.streams.compression_write import LEVELS


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


def test_variables_are_set_and_taken_away_by_a_minus() -> None:
    given = ["B=2", "NEW=x=y", "-C", "EMPTY="]
    assert runconfig.pairs("--env", given) == {"B": "2", "NEW": "x=y", "C": None, "EMPTY": ""}


def test_of_a_variable_set_and_taken_away_the_last_word_counts() -> None:
    assert runconfig.pairs("--env", ["A=1", "-A"]) == {"A": None}
    assert runconfig.pairs("--env", ["-A", "A=1"]) == {"A": "1"}


def test_ports_and_volumes_are_added_and_taken_away() -> None:
    assert runconfig.members(["/c", "-/b", "/b", "-80/tcp"]) == {"/c": True, "/b": True, "80/tcp": False}


@pytest.mark.parametrize("text", ["A", "=1", "-", ""])
def test_what_is_neither_set_nor_taken_away_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        runconfig.pairs("--label", [text])


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


@pytest.mark.parametrize("text", ["", "lz4", "gzip:", "gzip:10", "zstd:0", "zstd:20", "none:1", "gzip:-1", "zstd:fast"])
def test_what_is_no_compression_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--compression"):
        options.parse_compression(text)


def test_the_levels_are_those_that_can_be_written() -> None:
    taken = {name: [n for n in range(-2, 40) if _taken(f"{name}:{n}")] for name in LEVELS}
    assert taken == {name: [*levels] if name != "none" else [] for name, levels in LEVELS.items()}


def _taken(text: str) -> bool:
    try:
        options.parse_compression(text)
    except UsageError:
        return False
    return True


def test_what_is_no_platform_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="linux/arm64"):
        options.parse_platform("arm64")
    assert str(options.parse_platform("linux/aarch64")) == "linux/arm64"
