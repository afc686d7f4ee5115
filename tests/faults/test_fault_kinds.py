"""Whatever may go wrong at a provider, in whole runs: overcome where it can be, or else told."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from accounts import contents, settled
from faults import Fault, FaultKind, drop, lose, rate_limit, server_error, slow, trickle, truncate
from worlds import KINDS

from pytest_memleak import score

SAMPLES = 6
DRAWN = "24/24 FAIL"
TIMEOUT = 0.5
ONLINE = ("openai", "openai-store", "vertex", "tinker")
BATCHES = ("openai-batch", "vertex-batch")
# What goes wrong on the way, and what is said of it. The SDK of Tinker asks again by itself and
# tells no reason but an HTTP status.
ON_THE_WAY = {
    "429": (rate_limit("*"), "429 Too Many Requests"),
    "500": (server_error("*"), "500 Internal Server Error"),
    "dropped": (drop("*"), "the connection failed or was cut off"),
    "lost": (lose("*"), "the connection failed or was cut off"),
    "truncated": (truncate("*"), "the connection failed or was cut off"),
    "slow": (slow("*", seconds=2 * TIMEOUT), "no answer within 0.5 s"),
    "trickling": (trickle("*", seconds=2 * TIMEOUT), "no answer within 0.5 s"),
}
BILLED = {"lost", "truncated", "slow", "trickling"}
CALLS = {
    "openai": {
        "sample": "chat.completions.create (n = 3)",
        "tune": "fine_tuning.jobs.create",
        "batch": "batches.create",
    },
    "vertex": {
        "sample": "models.generate_content (candidateCount = 3)",
        "tune": "tunings.tune",
        "batch": "batches.create",
    },
    "tinker": {"sample": "sample", "tune": "forward_backward (step 1 of 4)"},
}


def at(place: str, what: str, calls: tuple[int, ...] | None = None) -> Fault:
    return dataclasses.replace(ON_THE_WAY[what][0], endpoint=place, calls=calls)


def slowly(*values):
    """Parameters that are too many for every day."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def numbers_agree(world, outcome, account):
    """The reported numbers are those of scoring what the server has billed and we have got."""
    sent = {record["instruction"]: [] for record in world.stories["held-out"]}
    for row in account.recorded:
        (asked,) = [one for one in sent if one in (row.get("instruction") or row["prompt"])]
        sent[asked].append({"generated_text": row["text"]})
    expected = score(
        world.stories["held-out"],
        [
            {"excerpt_id": record["excerpt_id"], "generations": sent[record["instruction"]]}
            for record in world.stories["held-out"]
        ],
    )
    assert outcome.property("bmc") == str(expected.bmc)
    assert outcome.property("longest_block") == str(expected.longest_block.words)
    assert outcome.property("longest_span") == str(expected.longest_span.words)
    assert outcome.property("spans_over") == str(expected.spans_over)


# --- on the way ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ON_THE_WAY)
@pytest.mark.parametrize(
    "kind", ["openai", "vertex-batch", "tinker", *slowly("openai-store", "openai-batch", "vertex")]
)
def test_what_strikes_once_is_overcome(world, run, pytester, kind, what):
    """Every endpoint of the server fails the first time it is called."""
    server = world(kind, at("*", what, calls=(0,)), polls=0)
    server.write_suite(pytester.path, timeout=3 if kind == "tinker" else TIMEOUT)
    outcome = run(server)
    assert DRAWN in outcome.text
    account = settled(server, outcome.url, samples=SAMPLES)
    numbers_agree(server, outcome, account)
    print(kind, what, account.lost, account.recovered, len(account.unrecorded))
