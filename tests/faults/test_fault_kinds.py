"""Whatever may go wrong at a provider, in whole runs: overcome where it can be, or else told."""

import re
from collections import Counter

import pytest
from accounts import billed_without_answer, contents, numbers_agree, settled
from faults import ON_THE_WAY, Fault, FaultKind, on_the_way
from scenarios import DEPLOYED, KINDS

from pytest_memleak.ledger.prompts import CANARY_TOKENS

SAMPLES = 6
ASKED = 24
CANARIES = 4
DRAWN = f"{ASKED}/{ASKED} FAIL"
TIMEOUT = 0.5


@pytest.mark.full
@pytest.mark.parametrize("what", ON_THE_WAY)
@pytest.mark.parametrize(
    ("kind", "where"),
    [*((kind, "every") for kind in KINDS if kind not in DEPLOYED), ("tinker", "paid")],
)
def test_a_fault_that_strikes_once_is_overcome(scenario, run, kind, where, what):
    server = scenario(kind, **({"polls": 0} if where == "every" else {}))
    server.plan(
        *(
            on_the_way(what, place, calls=(0,))
            for place in getattr(server.places, where)
        )
    )
    # The SDK of Tinker asks again by itself, after half a second.
    outcome = run(server, timeout=3 if kind == "tinker" else TIMEOUT)
    if server.provider == "vertex" and what == "trickling":
        # The search for a job trickles, too: a later run finds it. Late answers are
        # kept beside.
        assert [run(server, timeout=TIMEOUT) for _ in range(2)][1].ended == DRAWN
        return
    assert outcome.ended == DRAWN
    account = settled(server, outcome.url, samples=SAMPLES)
    numbers_agree(server, outcome, account)
    assert where == "every" or (account.lost, account.unrecorded) == (0, [])


# What is said of each where it does not pass.
CAUSES = {
    "429": "429 Too Many Requests",
    "500": "500 Internal Server Error",
    "dropped": "The connection failed or was interrupted",
    "lost": "The connection failed or was interrupted",
    "truncated": "The connection failed or was interrupted",
    "slow": "no response within 0.5 s",
    "trickling": "no response within 0.5 s",
}
TINKER_CAUSES = {"429": CAUSES["429"], "500": CAUSES["500"]}


def assert_inconclusive(scenario, outcome, cause):
    """INCONCLUSIVE, with provider, endpoint, call and cause; and nothing to score."""
    assert "INCONCLUSIVE" in outcome.text
    assert outcome.result.parseoutcomes() == {"errors": 1}
    pattern = (
        rf"{scenario.provider} endpoint \S.*?: \w.*? failed: .*?{re.escape(cause)}"
    )
    assert re.search(pattern, outcome.text), outcome.text


@pytest.mark.full
@pytest.mark.parametrize("what", ON_THE_WAY)
@pytest.mark.parametrize(
    "kind", ["openai", "vertex", "tinker", "openai-store", "together"]
)
def test_draws_that_always_fail_are_told(scenario, run, kind, what):
    server = scenario(kind, polls=0)
    server.plan(on_the_way(what, server.places.sample))
    # The others end with the first failure.
    suite = {"timeout": TIMEOUT, "concurrency": 4 if kind == "tinker" else 1}
    if kind == "tinker" and what in {"slow", "trickling"}:
        # The work goes on at the server, and what it brings is waited for again.
        outcome = run(server, **suite)
        assert outcome.ended == DRAWN
        settled(server, outcome.url, samples=SAMPLES)
        return
    outcome = run(server, tries=2, **suite)
    if kind == "openai-store" and what in {"lost", "truncated", "slow", "trickling"}:
        assert outcome.ended == DRAWN  # every answer was found again
        assert settled(server, outcome.url, samples=SAMPLES).lost == 0
        return
    cause = (
        TINKER_CAUSES.get(what, CAUSES["slow"]) if kind == "tinker" else CAUSES[what]
    )
    assert_inconclusive(server, outcome, cause)
    billed_without_answer(server, contents(outcome.url))


@pytest.mark.full
@pytest.mark.parametrize("what", ON_THE_WAY)
@pytest.mark.parametrize(("kind", "place"), [
    *((kind, "tune") for kind in ("openai", "vertex", "tinker", "together")),
    *((f"{kind}-batch", "batch") for kind in ("openai", "vertex")),
])  # fmt: skip
def test_jobs_that_never_begin_are_told(scenario, run, kind, place, what):
    server = scenario(kind, polls=0)
    server.plan(on_the_way(what, getattr(server.places, place)))
    outcome = run(server, tries=2, timeout=TIMEOUT)
    if server.provider != "tinker" and what in {
        "lost",
        "truncated",
        "slow",
        "trickling",
    }:
        # They have begun, and are found by their digest.
        assert outcome.ended == DRAWN
        settled(server, outcome.url, samples=SAMPLES)
        return
    cause = (
        TINKER_CAUSES.get(what, CAUSES["slow"]) if kind == "tinker" else CAUSES[what]
    )
    assert_inconclusive(server, outcome, cause)
    assert not server.books.rows("completion")


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "word"), [("openai", "content_filter"), ("vertex-batch", "SAFETY")]
)
def test_withheld_completions_are_kept_reported_and_not_requested_again(
    scenario, run, kind, word
):
    server = scenario(kind, Fault(FaultKind.FILTER), polls=0)
    outcome = run(server)
    assert outcome.result.parseoutcomes() == {"errors": 1}
    reasons = f"24 withheld; finish reasons of withheld text: 24 {word}"
    assert f"24 of 24 generations aren't answers ({reasons})" in outcome.text
    assert outcome.property(f"withheld.{word}") == "24"
    kept = contents(outcome.url).generations
    assert Counter(row.finish_reason for row in kept) == {
        "content_filter": ASKED + CANARIES
    }
    before = len(server.books.rows("completion"))
    run(server)
    # Canaries, which show the model, are requested in each run.
    more = server.books.rows("completion")[before:]
    assert {row["max_tokens"] for row in more} == {CANARY_TOKENS}


PAPER_SAMPLES = 100


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_of_the_servers_own_record(scenario, run, kind):
    server = scenario(kind)
    outcome = run(server, samples=PAPER_SAMPLES, completions_per_call=8, concurrency=8)
    assert outcome.ended == "400/400 FAIL"
    account = settled(server, outcome.url, samples=PAPER_SAMPLES)
    assert (account.lost, account.unrecorded) == (0, [])
    numbers_agree(server, outcome, account)
    assert outcome.property("generations_received") == str(
        len(account.recorded) - CANARIES
    )


@pytest.mark.full
@pytest.mark.parametrize("kind", ["openai", "vertex", "tinker"])
def test_a_base_model_is_not_taken_for_a_tuned_one(scenario, run, kind):
    """The same book, asked for by the same words: what it recites comes with the fine-tune."""
    server = scenario(kind)
    outcome = run(server, samples=PAPER_SAMPLES, tuned=False, limit=60)
    assert "400/400" in outcome.text
    assert "FAIL" not in outcome.text
    assert int(outcome.property("longest_span")) < 30
