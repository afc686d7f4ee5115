"""Makes the emulators importable: `from faults import ...`, `from http_server import ...`."""

from __future__ import annotations

import sys
from pathlib import Path

EMULATORS = Path(__file__).resolve().parents[1] / "emulators"
if str(EMULATORS) not in sys.path:
    sys.path.insert(0, str(EMULATORS))
