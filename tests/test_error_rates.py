"""The table of error rates is counted from runs of the gate as it is."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.full
def test_error_rates_count_a_verdict_of_each_preset_for_a_pair(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    error_rates = importlib.import_module("error_rates")
    case = error_rates.Case(error_rates.VERBATIM, "order 3", 64)
    counts = error_rates.run_case(case, [error_rates.story(0)], [0])
    assert counts.verdicts == {"strict FAIL": 1, "paper FAIL": 1}
