"""From how many pairs on reports are brief on each."""

from __future__ import annotations

MANY = 9
"""From so many pairs on, reports show a pair's details only on request."""
