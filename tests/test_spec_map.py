"""docs/spec-map.md names modules and tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAP = (ROOT / "docs" / "spec-map.md").read_text("utf-8")


@cache
def source(path: str) -> str:
    return (ROOT / "tests" / path).read_text("utf-8")


def test_every_named_test_exists() -> None:
    file = ""
    for named, name in re.findall(r"`(?:([\w/]+/test_\w+\.py)|…)::(\w+)`", MAP):
        file = named or file  # "…" repeats the file before it
        assert f"def test_{name}(" in source(file), f"{file}::{name}"


def test_every_named_module_exists() -> None:
    for path in re.findall(r"`(\w+/\w+\.py)`", MAP):
        assert (ROOT / "oci" / path).is_file() or (ROOT / "tests" / path).is_file(), path
