"""docs/spec-map.md and docs/spec-map-distribution.md name modules and tests that exist, in each of their rows."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("spec-map.md", "spec-map-distribution.md", "spec-map-runtime.md")
TEST = re.compile(r"`(?:([\w/]+/test_\w+\.py)|…)::(\w+)`")
MODULE = re.compile(r"`(\w+/\w+\.py)`")


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


@cache
def source(path: str) -> str:
    return (ROOT / "tests" / path).read_text("utf-8")


def rows(page: str) -> list[list[str]]:
    """The cells of each row that is no heading, the column "end" left out."""
    found, heading = [], [""]
    lines = text(page).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if following.startswith("| ---"):
            heading = [cell.strip() for cell in line.strip("|").split("|")]
        elif line.startswith("| ") and not line.startswith("| ---"):
            assert len(cells) == len(heading), line
            found.append([cell for cell, name in zip(cells, heading, strict=True) if name != "end"])
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    file = ""
    for named, name in TEST.findall(text(page)):
        file = named or file  # "…" repeats the file before it
        assert f"def test_{name}(" in source(file), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_named_module_exists(page: str) -> None:
    for path in MODULE.findall(text(page)):
        assert (ROOT / "oci" / path).is_file() or (ROOT / "tests" / path).is_file(), path


@pytest.mark.parametrize("page", PAGES)
def test_every_row_has_a_module_and_a_test(page: str) -> None:
    """Or says that there is none, and why."""
    assert len(rows(page)) > 50
    for row in rows(page):
        *_, tests = row
        assert TEST.search(tests) or tests.startswith("none"), row
        if len(row) == 3:
            module = row[1]
            assert MODULE.search(module) or "`spec/`" in module or module.startswith("not supported"), row
