"""Makes `tests.support` importable, whatever directory pytest is started from; properties have no deadline."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# A deadline for each example measures how busy the machine is, not our code.
settings.register_profile("ocikit", deadline=None)
settings.load_profile("ocikit")
