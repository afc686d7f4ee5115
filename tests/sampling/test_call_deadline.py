"""What a server says of its answers is bounded, and what it answered is kept whatever it says."""

import pytest
import sqlalchemy as sa
from scripted import Scripted, sample_all, terms, texts

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.sampling_history import summarize_history
from pytest_memleak.ledger.tables import calls
from pytest_memleak.records import FinishReason

MOST = 2**63 - 1


def priced(ledger, endpoint, prompts):
    return sample_all(ledger, endpoint, prompts, by=terms(per_call=2, price=(1.0, 1.0)))


@pytest.mark.parametrize("count", [-1, MOST, 2**31, 10**400, True, 1.5, "12"])
def test_a_count_out_of_bounds_is_unknown(ledger, ask, count):
    prompts = ask(excerpts=1, samples=1)
    completion = Completion("text", prompt_tokens=count, completion_tokens=count)
    result = priced(ledger, Scripted(lambda _: [completion]), prompts)
    (one,) = generations(ledger, "e", prompts)
    assert (one.text, one.prompt_tokens, one.completion_tokens) == ("text", None, None)
    worst = terms(price=(1.0, 1.0)).cost(4, prompts.specs[0].max_tokens)
    assert result.cost == pytest.approx(worst / 1e9)
    prompts = ask(excerpts=1, samples=2, seed=1)
    completion = Completion(
        "text", prompt_tokens=2**31 - 1, completion_tokens=2**31 - 1
    )
    result = priced(ledger, Scripted(lambda _: [completion] * 2), prompts)
    assert result.completion_tokens == 2**32 - 2


@pytest.mark.parametrize(
    "bad", [None, 7, Completion(None), Completion("x", "stop, I think")]
)
@pytest.mark.parametrize("place", [0, 1])
def test_the_good_ones_of_a_bad_answer_are_kept(ledger, ask, bad, place):
    prompts = ask(excerpts=1, samples=2)
    came = [Completion("paid for")]
    came.insert(place, bad)
    with pytest.raises(ProviderError, match="among its completions"):
        priced(ledger, Scripted(lambda _: came), prompts)
    assert texts(ledger, prompts) == ["paid for"]
    assert priced(ledger, Scripted(), prompts).got == 2


def test_a_servers_own_names_are_cut(ledger, ask):
    prompts = ask(excerpts=1, samples=1)
    served = Served("m" * 10_000, "\x00\ud800", 42, ("temperature",))
    completion = Completion("text", served=served, finish_word="w" * 10_000)
    priced(ledger, Scripted(lambda _: [completion]), prompts)
    (one,) = generations(ledger, "e", prompts)
    assert (one.finish_word, one.finish_reason) == ("w" * 500, FinishReason.STOP)
    ((who, count),) = summarize_history(ledger, "e", prompts).served
    assert (len(who.model), who.fingerprint, count) == (500, "\x00\ud800", 1)
    kept = ledger.read(
        lambda c: c.execute(sa.select(calls.c.response_id, calls.c.refused)).one()
    )
    assert tuple(kept) == ("42", '["temperature"]')


MOST_CHARACTERS = 1_000_000


@pytest.mark.parametrize("name", ["text", "reasoning"])
def test_an_answer_longer_than_any_is_cut_and_withheld_by_that(ledger, ask, name):
    prompts = ask(excerpts=1, samples=2)
    texts = {"text": "a", "reasoning": ""}
    came = [
        Completion(**texts | {name: "b" * times * MOST_CHARACTERS}) for times in (1, 3)
    ]
    priced(ledger, Scripted(lambda _: came), prompts)
    one, other = generations(ledger, "e", prompts)
    assert getattr(one, name) == getattr(other, name) == "b" * MOST_CHARACTERS
    assert (one.finish_reason, other.finish_reason) == (
        FinishReason.STOP,
        FinishReason.UNKNOWN,
    )
    assert other.finish_word == "longer than 1,000,000 characters"


@pytest.mark.parametrize(("came", "kept"), [
    ("\ud800".join("the old lamp"), "the old lamp"),
    ("cut off in \ud83d", "cut off in "), ("\udca1\ud83d", ""),
    ("two halves \ud83d\udca1", "two halves \U0001f4a1"),
    ("whole \U0001f4a1\x00", "whole \U0001f4a1\x00"),
])  # fmt: skip
def test_half_a_character_is_none(ledger, ask, came, kept):
    prompts = ask(excerpts=1, samples=1)
    priced(ledger, Scripted(lambda _: [Completion(came, reasoning=came)]), prompts)
    (one,) = generations(ledger, "e", prompts)
    assert (one.text, one.reasoning) == (kept, kept)
