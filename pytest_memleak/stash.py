"""Where the plugin keeps this run's gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_memleak.gate import Gate

__all__ = ["gate_key"]

gate_key: pytest.StashKey[Gate] = pytest.StashKey()
