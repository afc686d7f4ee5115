"""Makes the suite's weights before its first pair, and marks its pairs as full."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also where the suite's folder stands alone."""
    config.addinivalue_line("markers", "full: takes minutes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pairs take two minutes."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session", autouse=True)
def weights() -> None:
    """`weights/base` and `weights/aligned`, made from nothing unless they are there."""
    if any(
        importlib.util.find_spec(name) is None
        for name in ("torch", "transformers", "peft")
    ):
        return  # the provider says what to install
    runpy.run_path(str(HERE / "make_weights.py"))["ensure"]()
