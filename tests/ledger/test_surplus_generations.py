"""What the ledger holds beside what is asked for: told apart by how it came."""

import time

import pytest
from scripted import Scripted, answers, terms

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.ledger_queries import surplus, unrequested
from pytest_memleak.sampling.loop import draw

EVER = 1e12


@pytest.fixture
def drawing(ledger):
    def drawn(endpoint, asked, per_call=2, **options):
        options = {"terms": terms(per_call=per_call)} | options
        return draw(ledger, endpoint, endpoint_id="e", questionnaire=asked, **options)

    return drawn


def one_more(asked):
    return [*answers(asked), Completion(f"{asked.number} unrequested")]


def texts(found):
    return [(one.excerpt_id, one.ordinal, one.text) for one in found]


@pytest.mark.full
def test_what_was_asked_for_is_no_surplus(ledger, ask, drawing):
    drawing(Scripted(), ask(excerpts=2, samples=3))
    for found in (surplus, unrequested):
        assert list(found(ledger, "e", ask(excerpts=2, samples=3), until=EVER)) == []
        assert list(found(ledger, "e", ask(excerpts=2, samples=4), until=EVER)) == []


def test_more_than_a_call_asked_for_is_unasked_by_excerpt_from_samples_on(ledger, ask, drawing):
    asked = ask(excerpts=2, samples=4)
    drawing(Scripted(one_more), asked)
    kept = list(surplus(ledger, "e", asked, until=EVER))
    assert [(one.excerpt_id, one.ordinal) for one in kept] == [
        (f"p_id{excerpt}", ordinal) for excerpt in (1, 2) for ordinal in (0, 1)
    ]
    assert all(one.text.endswith("unrequested") for one in kept)
    sent = list(unrequested(ledger, "e", asked, until=EVER))
    assert [one.text for one in sent] == [one.text for one in kept]
    assert [one.ordinal for one in sent] == [4, 5, 4, 5]


def test_those_of_more_samples_were_asked_for_once(ledger, ask, drawing):
    drawing(Scripted(), ask(excerpts=2, samples=5))
    fewer = ask(excerpts=2, samples=3)
    assert [(one.excerpt_id, one.ordinal) for one in surplus(ledger, "e", fewer, until=EVER)] == [
        (f"p_id{excerpt}", ordinal) for excerpt in (1, 2) for ordinal in (0, 1)
    ]
    assert list(unrequested(ledger, "e", fewer, until=EVER)) == []


def test_of_other_questions_there_is_none(ledger, ask, drawing):
    drawing(Scripted(one_more), ask(excerpts=2, samples=4))
    for other in (ask(excerpts=2, samples=1, seed=7), ask(excerpts=2, samples=1, temperature=0.5)):
        assert list(surplus(ledger, "e", other, until=EVER)) == []
    assert list(surplus(ledger, "another", ask(excerpts=2, samples=1), until=EVER)) == []


def test_what_came_later_is_not_seen(ledger, ask, drawing):
    asked = ask(excerpts=1, samples=2)
    drawing(Scripted(one_more), asked)
    then = time.time()
    drawing(Scripted(one_more), ask(excerpts=1, samples=4))
    assert len(list(surplus(ledger, "e", asked, until=then))) == 1
    assert len(list(surplus(ledger, "e", asked, until=EVER))) == 4
    assert len(list(unrequested(ledger, "e", asked, until=EVER))) == 2
