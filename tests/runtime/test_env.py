"""Variables of a container: docker's order."""

from __future__ import annotations

import pytest

from oci.errors import InvalidInput
from oci.runtime.env import DEFAULT_PATH, environment


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
