"""`ocikit` run as a user would, and what it left."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = [sys.executable, "-m", "oci"]


@dataclass(frozen=True)
class Result:
    """What a command left: its exit status, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on stderr of a failed command."""
        assert self.status != 0, self.out
        lines = self.err.splitlines()
        assert len(lines) == 1, f"not one line on stderr: {self.err}"
        assert lines[0].startswith("error: "), self.err
        return lines[0]


Run = Callable[..., Result]


def digests_of(layout: Path) -> dict[str, str]:
    """Tag → digest of a layout, read without ocikit."""
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    name = "org.opencontainers.image.ref.name"
    return {entry["annotations"][name]: entry["digest"] for entry in entries if name in entry.get("annotations", {})}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes: what a command that fails must leave as it was."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fits(schema: str, value: Any) -> None:
    """Fail unless a command's JSON is what `schemas/cli` promises."""
    from oci.layout.schema import schema_faults

    faults = list(schema_faults(f"cli/{schema}", value))
    assert not faults, faults
