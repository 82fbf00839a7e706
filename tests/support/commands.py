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
