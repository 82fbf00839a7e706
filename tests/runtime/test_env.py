"""Variables of a container: docker's order, -e and --env-file."""

from __future__ import annotations

import pytest

from oci.errors import InvalidInput, LimitExceeded
from oci.runtime.env import DEFAULT_PATH, MAX_ENV_FILE, environment, parse_env, parse_env_file

HERE = {"HERE": "value", "EMPTY": ""}


def made(
    image: tuple[str, ...] = (), asked: tuple[tuple[str, str | None], ...] = (), *, tty: bool = False
) -> list[str]:
    return environment(image, asked, hostname="box", home="/home/app", tty=tty)


def test_path_hostname_and_home_are_always_there() -> None:
    assert made() == [f"PATH={DEFAULT_PATH}", "HOSTNAME=box", "HOME=/home/app"]


def test_a_terminal_has_a_kind() -> None:
    assert "TERM=xterm" in made(tty=True)
    assert "TERM=vt100" in made(("TERM=vt100",), tty=True)


def test_the_image_counts_more_than_the_defaults_and_what_was_asked_for_most() -> None:
    found = made(("PATH=/image", "A=1", "HOME=/image"), (("A", "2"), ("B", "")))
    assert found == ["PATH=/image", "HOSTNAME=box", "A=2", "HOME=/image", "B="]


def test_a_variable_of_the_image_can_be_taken_away() -> None:
    assert not any(entry.startswith("A=") for entry in made(("A=1",), (("A", None),)))


def test_a_value_may_have_anything_but_nul() -> None:
    assert "A==b=\n c" in made(("A==b=\n c",))
    for value in ("a\0b", "\udcff"):
        with pytest.raises(InvalidInput, match="environment variable A"):
            made(asked=(("A", value),))


def test_e_with_and_without_a_value() -> None:
    assert parse_env("A=b=c", HERE) == ("A", "b=c")
    assert parse_env("A=", HERE) == ("A", "")
    assert parse_env("HERE", HERE) == ("HERE", "value")
    assert parse_env("MISSING", HERE) == ("MISSING", None)
    for text in ("=x", ""):
        with pytest.raises(InvalidInput, match="expected NAME=VALUE"):
            parse_env(text, HERE)


def test_an_env_file_by_dockers_grammar() -> None:
    raw = b"\xef\xbb\xbf# a comment\n\nA=1\n  B = no\n".replace(b"B = no", b"B= spaces stay ")
    raw += b"C='quotes stay'\nHERE\nMISSING\nEMPTY\n\t#D=1\nE=#no comment\r\nF=last"
    assert parse_env_file(raw, HERE, "vars") == (
        ("A", "1"),
        ("B", " spaces stay "),
        ("C", "'quotes stay'"),
        ("HERE", "value"),
        ("EMPTY", ""),
        ("E", "#no comment"),
        ("F", "last"),
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"A=1\n=x\n", "vars:2: no name"),
        (b"A B=1\n", "vars:1: the name 'A B' has white space"),
        (b"A=1\n\n\xff=x", "vars:3: not UTF-8"),
    ],
)
def test_a_line_that_is_none_is_named(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        parse_env_file(raw, HERE, "vars")


def test_an_env_file_has_an_end() -> None:
    with pytest.raises(LimitExceeded):
        parse_env_file(b"x" * (MAX_ENV_FILE + 1), {}, "vars")
