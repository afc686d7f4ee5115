"""Cases of a parametrized test that only the full set runs: `[(), full(("-n", "2"))]`."""

import pytest


def full(*values, **options):
    """Return a case for parametrize that only `-m full` runs."""
    return pytest.param(*values, marks=pytest.mark.full, **options)
