"""Tables, sizes and JSON, whatever an image holds."""

from __future__ import annotations

import json

import pytest

from oci.cli import output


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_233_112, "4.2 MB"), (123_456_789, "123 MB"), (None, "-"),
     (999_949, "1.0 MB"), (10**18, "1.0 EB")],
)  # fmt: skip
def test_sizes_read_at_a_glance(count: int | None, text: str) -> None:
    assert output.size(count) == text


def test_a_table_is_aligned_and_has_no_trailing_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["TAG", "SIZE", "NOTE"], [["a", "1 B", ""], ["longer", "12 MB", "x"]], right=[1])
    assert capsys.readouterr().out == "TAG      SIZE  NOTE\na         1 B\nlonger  12 MB  x\n"


def test_a_hostile_name_cannot_obey_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["NAME"], [["\x1b[2Jgone\nTAG"], ["right-to-left \u202e"]])
    assert capsys.readouterr().out == "NAME\n\\x1b[2Jgone\\nTAG\nright-to-left \\u202e\n"


def test_json_is_one_document_with_readable_names(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.document({"name": "größe", "odd": "\x1b"})
    out = capfdbinary.readouterr().out
    assert "größe".encode() in out
    assert b"\x1b" not in out
    assert json.loads(out) == {"name": "größe", "odd": "\x1b"}


def test_json_spells_bytes_that_are_not_utf8_as_surrogates(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.document({"path": b"caf\xe9".decode("utf-8", "surrogateescape")})
    out = capfdbinary.readouterr().out
    assert b"caf\\udce9" in out
    assert json.loads(out)["path"].encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_times_and_digests_are_cut_for_tables() -> None:
    assert output.when("2024-05-01T12:00:00.123Z") == "2024-05-01 12:00:00"
    assert output.when("2024-05-01T12:00:00+02:00") == "2024-05-01T12:00:00+02:00"
    assert output.when(None) == "-"
    assert output.short("sha256:0123456789abcdef") == "sha256:0123456789ab"
    assert output.cut("abcdef", 4) == "abc…"
