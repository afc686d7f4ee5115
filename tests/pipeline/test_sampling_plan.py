"""One plan: what a dry run counts is what a run calls and what `verify` reads."""

import tempfile
from pathlib import Path

from examples import examples
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_suites import suites

from pytest_memleak.pipeline.required_samples import Purpose
from pytest_memleak.pipeline.sampling_plan import PromptStep, plan_pair

RANDOM = settings(max_examples=examples(200, fast=10), phases=[Phase.generate])


@RANDOM
@given(suites())
def test_a_run_makes_the_planned_calls(drawn):
    """Exactly these where nothing fails or stops early, else at most these."""
    with tempfile.TemporaryDirectory() as name:
        suite = drawn.placed(Path(name))
        planned = suite.planned()
        calls = suite.run()
        assert calls <= planned
        if not drawn.may_stop:
            assert calls == planned


@RANDOM
@given(suites(), st.integers(0, 3), st.sets(st.integers(1, 30), max_size=2))
def test_what_a_run_leaves_is_what_the_next_one_is_planned_for(drawn, pairs, failing):
    """The first run evaluates only some pairs, or some of its calls fail."""
    with tempfile.TemporaryDirectory() as name:
        suite = drawn.placed(Path(name))
        planned = suite.planned(pairs=pairs)
        calls = suite.run(pairs=pairs, failing=failing)
        assert calls <= planned
        planned = suite.planned()
        calls = suite.run()
        assert calls <= planned
        if not drawn.may_stop:
            assert calls == planned
