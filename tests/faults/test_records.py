"""Whole runs as in the paper: fine-tuned, 100 samples an excerpt, scored."""

from __future__ import annotations

import pytest
from accounts import numbers_agree, settled
from scenarios import KINDS

SAMPLES = 100


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_of_the_servers_own_record(scenario, run, pytester, kind):
    server = scenario(kind)
    server.write_suite(pytester.path, samples=SAMPLES, completions_per_call=8, concurrency=8)
    outcome = run(server)
    assert outcome.ended == "400/400 FAIL"
    account = settled(server, outcome.url, samples=SAMPLES)
    assert (account.lost, account.unrecorded) == (0, [])
    numbers_agree(server, outcome, account)
    canaries = 4
    assert outcome.property("generations_received") == str(len(account.recorded) - canaries)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["openai", "vertex", "tinker"])
def test_a_base_model_is_not_taken_for_a_tuned_one(scenario, run, pytester, kind):
    """The same book, asked for by the same words: what it recites comes with the fine-tune."""
    server = scenario(kind)
    server.write_suite(pytester.path, samples=SAMPLES, tuned=False, limit=60)
    outcome = run(server)
    assert "400/400" in outcome.text
    assert "FAIL" not in outcome.text
    assert int(outcome.property("longest_span")) < 30
