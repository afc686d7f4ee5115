"""Where the plugin keeps this run's gate and the baseline it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_memleak.findings.baseline import Baseline
    from pytest_memleak.story.run import Gate

__all__ = ["baseline_key", "gate_key"]

gate_key: pytest.StashKey[Gate] = pytest.StashKey()
baseline_key: pytest.StashKey[Baseline] = pytest.StashKey()
