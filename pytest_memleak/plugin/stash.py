"""Where the plugin keeps this run's gate, its progress on the screen, and its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_memleak.findings.baseline import Baseline
    from pytest_memleak.plugin.progress import Display
    from pytest_memleak.story.run import Gate

__all__ = ["baseline_key", "display_key", "gate_key"]

display_key: pytest.StashKey[Display | None] = pytest.StashKey()
gate_key: pytest.StashKey[Gate] = pytest.StashKey()
baseline_key: pytest.StashKey[Baseline] = pytest.StashKey()
