"""docs/limits.md names every limit of the code, and each has the value that stands there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = re.findall(r"^\| `(oci\.[\w.]+)\.([A-Z_]+)` \| (\d+) \|", (ROOT / "docs/limits.md").read_text(), re.MULTILINE)

# The same limit under another name, or a number of one module's own.
ALSO = {"oci.layout.documents.MAX_DOCUMENT", "oci.changeset.nodes.MAX_ID", "oci.changeset.tree.MAX_ALIASES"}


@pytest.mark.parametrize(("module", "name", "value"), ROWS, ids=[f"{module}.{name}" for module, name, _ in ROWS])
def test_a_limit_has_the_value_that_the_page_says(module: str, name: str, value: str) -> None:
    assert getattr(import_module(module), name) == int(value)


def test_no_limit_is_missing_on_the_page() -> None:
    found = set()
    for path in (ROOT / "oci").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found |= {f"{module}.{name}" for name in re.findall(r"^(MAX_[A-Z_]+)\b", path.read_text(), re.MULTILINE)}
    assert found - {f"{module}.{name}" for module, name, _ in ROWS} - ALSO == set()
