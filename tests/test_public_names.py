"""The names that `import oci` promises, and that asking for none of them costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import oci


@pytest.mark.parametrize("name", oci.__all__)
def test_every_public_name_is_there_and_known_to_type_checkers(name: str) -> None:
    assert getattr(oci, name) is not None
    assert name in oci._HOMES
    with open(oci.__file__) as source:
        head = source.read().partition("__version__")[0]
    assert f" {name}" in head  # imported under TYPE_CHECKING


def test_no_other_name_is() -> None:
    assert sorted(oci._HOMES) == sorted(oci.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = oci.nothing


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; import oci; print([m for m in sys.modules if m.startswith('oci.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
