"""One plan: what a dry run counts is what a run calls and what `verify` reads."""

import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from examples import examples
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_suites import Drawn, suites

from pytest_memleak.ledger.tables import stored_prompts
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.sampling_plan import LedgerPart

# A failing suite takes minutes to shrink, and is short enough as it is.
RANDOM = settings(max_examples=examples(200, fast=10), phases=[Phase.generate])


@RANDOM
@given(suites())
def test_a_run_makes_the_planned_calls(drawn):
    """Exactly these where nothing fails or stops early, else at most these."""
    with tempfile.TemporaryDirectory() as name:
        suite = drawn.with_label(Path(name))
        planned = suite.planned()
        calls = suite.run()
        assert calls <= planned
        if not drawn.may_stop:
            assert calls == planned


@RANDOM
@given(suites(), st.integers(0, 3), st.sets(st.integers(1, 30), max_size=2))
def test_the_next_run_is_planned_as_what_the_first_one_left(drawn, pairs, failing):
    """The first run evaluates only some pairs, and some of its calls fail."""
    with tempfile.TemporaryDirectory() as name:
        suite = drawn.with_label(Path(name))
        planned = suite.planned(pairs=pairs)
        generations = suite.planned_generations(pairs=pairs)
        calls = suite.run(pairs=pairs, failing=failing)
        assert calls <= generations
        if drawn.one_way:
            assert calls <= planned
        planned = suite.planned()
        calls = suite.run()
        assert calls <= planned
        if not drawn.may_stop:
            assert calls == planned


BOOKS = """
[[book]]
id = "ferry"
source = "ferry.json"
"""
MODEL = """
[[model]]
id = "m"
provider = "counting"
"""
PROMPTS = CANARIES = 2  # the book has two excerpts


@pytest.fixture
def suite_of(tmp_path):
    """Returns a suite of one book, with these tables."""

    def place(*tables):
        return Drawn("".join((*tables, BOOKS)), bare=False, may_stop=False).with_label(
            tmp_path
        )

    return place


def test_a_baseline_that_is_tested_too_is_planned_once_with_its_canaries(suite_of):
    baseline = MODEL.replace('"m"', '"before"')
    tested = f'{MODEL}baseline_model = "before"\n'
    limits = "limits = { longest_span = 20, uplift = 0.5 }\n"
    suite = suite_of("suite = { samples = 3 }\n", limits, tested, baseline)
    assert suite.planned() == 2 * (3 * PROMPTS + CANARIES) == suite.run()


def test_stages_of_an_early_stop_are_planned_as_calls_of_their_own(suite_of):
    settings = "suite = { samples = 6 }\nsampling = { stop_on_fail = true }\n"
    model = f"{MODEL}options = {{ per_call = 6 }}\n"
    suite = suite_of(settings, "limits = { longest_span = 20 }\n", model)
    # Five rounds take a call a prompt, and so does the sixth; nothing stops them.
    assert suite.planned() == 2 * PROMPTS + CANARIES == suite.run()


def test_reused_samples_without_canaries_are_planned_with_two_rounds_of_them(suite_of):
    baseline = MODEL.replace('"m"', '"before"')
    tested = f'{MODEL}baseline_model = "before"\n'
    limits = "limits = { longest_span = 20, uplift = 0.5 }\n"
    suite = suite_of("suite = { samples = 3 }\n", limits, tested, baseline)
    suite.run(pairs=1)  # samples the baseline, too, but none of its canaries
    # The tested model's weights are looked at once more.
    assert suite.planned() == CANARIES + 2 * CANARIES == suite.run()


def test_models_of_one_endpoint_are_planned_with_one_more_round_of_canaries(suite_of):
    shared = 'endpoint = "shared"\n'
    baseline = MODEL.replace('"m"', '"before"') + shared
    tested = f'{MODEL}{shared}baseline_model = "before"\n'
    limits = "limits = { longest_span = 20 }\n"
    suite = suite_of("suite = { samples = 3 }\n", limits, tested, baseline)
    suite.run()
    # Both reuse all rounds, and one look at the weights is enough for both.
    assert suite.planned() == CANARIES == suite.run()


def test_a_batch_for_a_later_run_is_planned_with_canaries_after_it(suite_of):
    limits = "limits = { longest_span = 20 }\n"
    model = f"{MODEL}options = {{ batch = true }}\n"
    suite = suite_of("suite = { samples = 1 }\n", limits, model)
    suite.run(failing={CANARIES + 1})  # the batch is requested and not read
    assert suite.planned() == CANARIES == suite.run()


def listed_prompts(run):
    """Return endpoint and key of every prompt in the plans of a run's pairs."""
    keys = set()
    for pair in run.suite.pairs:
        plan = run.plan_pair(pair)
        for part in map(plan.prepare_part, plan.required):
            if isinstance(part, LedgerPart):
                for step in part.steps():
                    keys |= {
                        (part.source.endpoint_id, *prompt.key)
                        for prompt in step.prompts.specs
                    }
    return keys


def sampled_prompts(ledger):
    """Return endpoint and key of every prompt in the ledger but the summarizer's."""
    names = ("book", "endpoint", "instruction_digest", "settings_digest")
    rows = ledger.rows(sa.select(*(stored_prompts.c[name] for name in names)))
    return {
        (endpoint, *key)
        for book, endpoint, *key in rows
        if not book.startswith("summaries of ")
    }


@settings(RANDOM, max_examples=examples(100, fast=4))
@given(suites())
def test_an_offline_run_walks_the_steps_that_were_sampled_and_reads_them(drawn):
    """So does `verify`, which evaluates offline."""
    with tempfile.TemporaryDirectory() as name:
        suite = drawn.with_label(Path(name))
        with suite.opened() as run:
            online = [evaluate_pair(pair, run).sampled for pair in run.suite.pairs]
        with suite.opened(offline=True) as run:
            assert listed_prompts(run) == sampled_prompts(run.resources.ledger)
            offline = [evaluate_pair(pair, run).sampled for pair in run.suite.pairs]
        # Other pairs may complete the rounds that an early stop spared.
        if not drawn.may_stop:
            assert offline == online
