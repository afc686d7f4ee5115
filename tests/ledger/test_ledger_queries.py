import itertools
from collections import Counter

import pytest
import sqlalchemy as sa
from by_hand import answer, intent
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_reservations import claim
from pytest_memleak.ledger.calls import Answer, give_up, record
from pytest_memleak.ledger.ledger_queries import (
    generations,
    keep_summary,
    missing,
    stored_summaries,
    tally,
)
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.records import FinishReason, Generation

any_text = st.text(st.characters(exclude_categories=()), max_size=60)
ODD = "NUL \x00, lone \ud83d and \udc00, both \ud83d\ude00, whole \U0001f600"
NUMBERS = itertools.count()


def drawn(ledger, asked, question, ordinals, completions, **outcome):
    call = claim(ledger, intent(ledger, asked, Ask(question, ordinals), price=outcome.get("cost")))
    values = {"prompt_tokens": None, "completion_tokens": None, "cost": None} | outcome
    record(ledger, Answer(call, completions, **values))


def test_an_empty_ledger_and_a_call_without_a_price(ledger, ask):
    asked = ask(excerpts=2, samples=3)
    assert list(generations(ledger, "e", asked)) == []
    lacking = missing(ledger, "e", asked)
    assert lacking.free == {question: [0, 1, 2] for question in asked.questions}
    assert (lacking.count, lacking.elsewhere, lacking.in_batches) == (6, 0, 0)
    counts = tally(ledger, "e", asked)
    assert (counts.asked, counts.got, counts.withheld, counts.cost) == (6, 0, {}, None)
    failed = claim(ledger, intent(ledger, asked, Ask(asked.questions[0], (0,)), price=None))
    give_up(ledger, failed, billed=False, cause="x")
    assert tally(ledger, "e", asked).cost is None


def test_by_excerpt_and_by_ordinal(ledger, ask):
    asked = ask(excerpts=3, samples=4)
    for question in reversed(asked.questions):
        for ordinals in ((2, 3), (0, 1)):
            texts = [f"{question.excerpt_id} {ordinal}" for ordinal in ordinals]
            drawn(ledger, asked, question, ordinals, [Completion(text) for text in texts])
    assert [(one.excerpt_id, one.ordinal, one.text) for one in generations(ledger, "e", asked)] == [
        (f"p_id{number}", ordinal, f"p_id{number} {ordinal}")
        for number in (1, 2, 3)
        for ordinal in range(4)
    ]
    assert missing(ledger, "e", asked).free == {}


def test_other_settings_see_their_own(ledger, ask):
    asked = ask(excerpts=1, samples=2)
    drawn(ledger, asked, asked.questions[0], (0, 1), [Completion("a"), Completion("b")])
    assert [one.text for one in generations(ledger, "e", ask(excerpts=1, samples=1))] == ["a"]
    assert missing(ledger, "e", ask(excerpts=1, samples=3)).count == 1
    assert missing(ledger, "e", ask(excerpts=1, samples=2, temperature=0.5)).count == 2
    assert missing(ledger, "e", ask(excerpts=1, samples=2, seed=9)).count == 2
    assert missing(ledger, "other", asked).count == 2


def test_counts(ledger, ask):
    asked = ask(excerpts=2, samples=3)
    first, second = asked.questions
    withheld = [
        Completion("a", FinishReason.STOP, 5, 6),
        Completion("b", FinishReason.LENGTH),
        Completion("", FinishReason.RECITATION),
    ]
    tokens = {"prompt_tokens": 5, "completion_tokens": 60}
    drawn(ledger, asked, first, (0, 1, 2), withheld, cost=700, **tokens)
    empty = [Completion("", FinishReason.EMPTY), Completion("no", FinishReason.REFUSAL)]
    drawn(ledger, asked, second, (0, 1), empty, cost=300, **tokens)
    for billed in (True, False):
        failed = claim(ledger, intent(ledger, asked, Ask(second, (2,)), price=1_000))
        give_up(ledger, failed, billed=billed, cause="x")
    counts = tally(ledger, "e", asked)
    assert counts.got == 5
    reasons = (FinishReason.RECITATION, FinishReason.EMPTY, FinishReason.REFUSAL)
    assert counts.withheld == dict.fromkeys(reasons, 1)
    assert (counts.calls, counts.lost, counts.recovered) == (3, 1, 0)
    assert (counts.prompt_tokens, counts.completion_tokens) == (10, 120)
    assert counts.cost == pytest.approx(2_000 / 1e9)
    expected = Generation("p_id1", 0, "a", FinishReason.STOP, 5, 6)
    assert next(iter(generations(ledger, "e", asked))) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(30))
@given(st.lists(any_text, min_size=1, max_size=4), any_text)
def test_texts_come_back_as_they_were(ledger, ask, texts, endpoint_id):
    texts = [*texts, ODD]
    asked = ask(excerpts=1, samples=len(texts))
    endpoint_id = f"{endpoint_id} {next(NUMBERS)}"
    wanted = Ask(asked.questions[0], tuple(range(len(texts))))
    call = claim(ledger, intent(ledger, asked, wanted, endpoint_id=endpoint_id))
    record(ledger, answer(call, *texts))
    assert [one.text for one in generations(ledger, endpoint_id, asked)] == texts
    keep_summary(ledger, endpoint_id, texts[0], texts[-1])
    stored = stored_summaries(ledger, endpoint_id, [texts[0], "?" + texts[0]])
    assert stored == {texts[0]: texts[-1]}


def test_a_thousand_questions(memory, ask):
    """More than one statement may name."""
    asked = ask(excerpts=1000, samples=1)
    numbers = Counter(question.key for question in asked.questions)
    assert numbers.total() == len(numbers) == 1000
    wanted = [Ask(question, (0,)) for question in asked.questions]
    for _ in wanted[:3]:
        call = claim(memory, intent(memory, asked, *wanted))
        record(memory, answer(call, "a"))
    assert missing(memory, "e", asked).count == 997
    assert tally(memory, "e", asked).got == 3


def test_a_summary_stays_as_it_is(ledger):
    assert stored_summaries(ledger, "s", ["text"]) == {}
    keep_summary(ledger, "s", "text", "first")
    keep_summary(ledger, "s", "text", "second")
    keep_summary(ledger, "other", "text", "third")
    assert stored_summaries(ledger, "s", ["text", "else"]) == {"text": "first"}
    assert stored_summaries(ledger, "other", ["text"]) == {"text": "third"}
    assert ledger.read(lambda c: c.scalar(sa.text("SELECT count(*) FROM summaries"))) == 2
