"""The names of `import oci`: pinned, lazy, and known to type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import oci

ROOT = Path(__file__).resolve().parent.parent

# What programs may rely on. A name that goes from here breaks them, and needs a line in CHANGELOG.md.
NAMES = """
    KEEP Archive ChainBlobs Container Descriptor Digest Document Healthcheck History Image ImageBuilder ImageConfig
    Index Layer Layout Manifest MemoryBlobs MountSetting OciError Platform RunConfig RunSettings Source Store all_images
    append compare edit_config merge parse_reference scan select verify
"""


def test_the_names_are_these() -> None:
    assert sorted(oci.__all__) == sorted(NAMES.split())
    assert set(oci.__all__) <= set(dir(oci))
    assert sorted(oci._HOMES) == sorted(oci.__all__)


@pytest.mark.parametrize("name", oci.__all__)
def test_every_name_leads_to_something(name: str) -> None:
    assert getattr(oci, name) is not None


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        oci.nothing  # noqa: B018


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse((ROOT / "oci/__init__.py").read_text())
    told = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(NAMES.split()) <= told


def test_import_oci_imports_nothing_else() -> None:
    code = "import sys, oci; print([n for n in sys.modules if n.startswith('oci.')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
