from __future__ import annotations

import json
import threading
import time

import pytest
import sqlalchemy as sa
from scripted import Scripted, answers, broken, terms

from pytest_memleak.errors import LedgerError, ProviderError, SettingsError
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.ledger.generation_files import import_generations
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations, surplus, unrequested
from pytest_memleak.ledger.sampling_history import (
    SamplingHistory,
    attempts,
    next_series,
    provenance,
    tried,
    with_weights_version,
)
from pytest_memleak.ledger.tables import generations as table
from pytest_memleak.records.provenance import Tried
from pytest_memleak.sampling.loop import draw

NOBODY = Served(None, None)


def by(model: str, response_id: str = "r", **more):
    """Answers as a server that says who it is."""

    def reply(asked):
        served = Served(model, "fp-1", f"{response_id}-{asked.number}", **more)
        return [Completion(f"{asked.number}", served=served, finish_word="eos")] * asked.n

    return reply


def drawn(url, asked, *replies, run="first", endpoint_id="e", per_call=1):
    with Ledger(url, run=run) as ledger:
        return draw(
            ledger,
            Scripted(*replies),
            endpoint_id=endpoint_id,
            questionnaire=asked,
            terms=terms(per_call=per_call),
        )


def a_file(tmp_path, *texts):
    path = tmp_path / "in.json"
    path.write_text(
        json.dumps(
            [
                {
                    "excerpt_id": "p_id1",
                    "generations": [
                        {"generated_text": text, "finish_reason": "stop"} for text in texts
                    ],
                }
            ]
        )
    )
    return path


# --- provenance ----------------------------------------------------------------------------


def test_nothing_drawn_has_no_provenance(ledger, ask):
    assert provenance(ledger, "e", ask()) == SamplingHistory(None, None, 0, 0, 0, (), ())


def test_who_answered_and_when(url, ask):
    few, more = ask(excerpts=2, samples=1), ask(excerpts=2, samples=3)
    drawn(url, few, by("gpt-a", refused=("temperature",)), run="first")
    drawn(url, more, by("gpt-b", refused=("seed", "temperature")), run="second")
    with Ledger(url, run="second") as ledger:
        found = provenance(ledger, "e", more)
        assert (found.calls, found.calls_this_run, found.imported) == (6, 4, 0)
        assert found.served == ((Served("gpt-b", "fp-1"), 4), (Served("gpt-a", "fp-1"), 2))
        assert found.refused == ("seed", "temperature")
        assert found.first < found.last
        # What the suite does not ask for does not count.
        first = provenance(ledger, "e", few)
        assert (first.calls, first.calls_this_run) == (2, 0)
        assert first.served == ((Served("gpt-a", "fp-1"), 2),)
        assert first.last < found.last
        assert {one.finish_word for one in generations(ledger, "e", more)} == {"eos"}


def test_a_server_that_says_nothing(url, ask):
    drawn(url, ask(excerpts=1, samples=2))
    with Ledger(url) as ledger:
        found = provenance(ledger, "e", ask(excerpts=1, samples=2))
        assert (found.served, found.refused) == (((NOBODY, 2),), ())


def test_completions_of_one_call_by_two_models_are_told(url, ask):
    def rerouted(asked):
        return [Completion(name, served=Served(name)) for name in ("a", "b")]

    drawn(url, ask(excerpts=1, samples=2), rerouted, per_call=2)
    with Ledger(url) as ledger:
        found = provenance(ledger, "e", ask(excerpts=1, samples=2))
        assert found.served == ((Served("a, b"), 1),)


def test_imports_are_told_and_have_no_date(url, ask, tmp_path):
    asked = ask(excerpts=1, samples=3)
    with Ledger(url) as ledger:
        import_generations(ledger, a_file(tmp_path, "x", "y"), endpoint_id="e", questionnaire=asked)
        found = provenance(ledger, "e", asked)
        assert (found.imported, found.calls, found.first, found.served) == (2, 0, None, ())
    drawn(url, asked, by("gpt-a"))
    with Ledger(url) as ledger:
        found = provenance(ledger, "e", asked)
        assert (found.imported, found.calls) == (2, 1)
        assert found.first == found.last


def test_another_release_is_another_endpoint(url, ask):
    asked = ask(excerpts=1, samples=2)
    assert with_weights_version("gpt", "") == "gpt"
    old, new = with_weights_version("gpt", "2026-10"), with_weights_version("gpt", "2026-11")
    assert old == "gpt; release 2026-10"
    drawn(url, asked, endpoint_id=old)
    endpoint = Scripted()
    with Ledger(url) as ledger:
        draw(ledger, endpoint, endpoint_id=new, questionnaire=asked, terms=terms())
    assert len(endpoint.calls) == 2
    with pytest.raises(SettingsError, match="contains"):
        with_weights_version(old, "2026-11")


# --- attempts ------------------------------------------------------------------------------


def test_every_draw_is_an_attempt(url, ask, tmp_path):
    asked, other = ask(excerpts=2, samples=2), ask(excerpts=2, samples=1, seed=7)
    with pytest.raises(ProviderError):
        drawn(url, asked, answers, broken())
    drawn(url, asked, run="second")
    drawn(url, other, run="second")
    drawn(url, asked, run="second", endpoint_id="another")
    longer = ask(excerpts=1, samples=3)
    with Ledger(url) as ledger:
        path = a_file(tmp_path, *(one.text for one in generations(ledger, "e", longer)), "new")
        import_generations(ledger, path, endpoint_id="e", questionnaire=longer)
        found = attempts(ledger, "e")
        assert attempts(ledger, "e", "book") == found
        with pytest.raises(LedgerError, match="No samples from endpoint 'e' for book 'none'"):
            attempts(ledger, "e", "none")
    assert [(one.source, one.kind, one.seed) for one in found[:3]] == [
        ("first", "sample", 0),
        ("second", "sample", 0),
        ("second", "sample", 7),
    ]
    assert [(one.calls, one.answered, one.failed, one.generations) for one in found] == [
        (2, 1, 1, 1),
        (3, 3, 0, 3),
        (2, 2, 0, 2),
        (1, 1, 0, 1),
    ]
    assert (found[3].kind, len(found[3].source)) == ("import", 64)
    assert all(one.first <= one.last for one in found)


def test_what_was_removed_and_drawn_again_shows(url, ask):
    asked = ask(excerpts=1, samples=3)
    drawn(url, asked)
    with Ledger(url) as ledger:
        ledger.write(lambda c: c.execute(sa.delete(table).where(table.c.ordinal == 1)).rowcount)
    drawn(url, asked, run="again")
    with Ledger(url) as ledger:
        first, again = attempts(ledger, "e")
    assert (first.answered, first.generations, first.removed) == (3, 2, 1)
    assert (again.answered, again.generations, again.removed) == (1, 1, 0)


def test_a_late_answer_is_surplus(ledger, ask, hasty):
    """Given up as lost, drawn again, and then the answer came after all."""
    release, late = threading.Event(), threading.Event()

    def hang(asked):
        release.wait(20)
        late.set()
        return answers(asked)

    draw(
        ledger,
        Scripted(hang, answers),
        endpoint_id="e",
        questionnaire=ask(excerpts=1, samples=1),
        terms=terms(),
        retry=type(hasty)(deadline=0.05, first=0.0, recovery=0.0, pause=hasty.pause),
    )
    release.set()
    late.wait(20)
    for _ in range(500):
        (found,) = attempts(ledger, "e")
        if found.surplus:
            break
        threading.Event().wait(0.01)
    assert (found.calls, found.answered, found.generations, found.surplus) == (2, 2, 1, 1)
    asked = ask(excerpts=1, samples=1)
    assert len(list(surplus(ledger, "e", asked, until=EVER))) == 1
    assert list(unrequested(ledger, "e", asked, until=EVER)) == []
    assert tried(ledger, "e", asked, until=EVER) == Tried(1, further=1)


# --- which of them -------------------------------------------------------------------------

EVER = 1e12


def test_what_was_never_drawn_is_no_attempt(ledger, ask):
    assert tried(ledger, "e", ask(), until=EVER) is None


def test_going_on_with_the_same_is_the_same_attempt(url, ask):
    drawn(url, ask(excerpts=1, samples=1))
    drawn(url, ask(excerpts=1, samples=3), run="second")
    with Ledger(url) as ledger:
        found = tried(ledger, "e", ask(excerpts=1, samples=3), until=EVER)
    assert found == Tried(1, runs=2)


def test_other_seeds_temperatures_and_series_are_other_attempts(url, ask):
    first, seven = ask(excerpts=1, samples=1), ask(excerpts=1, samples=1, seed=7)
    hot = ask(excerpts=1, samples=1, temperature=1.5)
    drawn(url, first)
    drawn(url, seven, run="second")
    drawn(url, hot, run="second")
    drawn(url, hot, run="elsewhere", endpoint_id="another")
    then = time.time()
    anew = next_series("e")
    drawn(url, first, run="third", endpoint_id=anew)
    with Ledger(url) as ledger:
        assert tried(ledger, "e", first, until=EVER) == Tried(1)
        assert tried(ledger, "e", seven, until=EVER) == Tried(2, seeds=2, runs=2)
        three = Tried(3, seeds=2, temperatures=2, runs=2)
        assert tried(ledger, "e", hot, until=EVER) == three
        four = Tried(4, seeds=2, temperatures=2, anew=1, runs=3)
        assert tried(ledger, anew, first, until=EVER) == four
        assert tried(ledger, anew, first, until=then) is None


def test_greedy_answers_count_only_against_greedy_ones(url, ask):
    greedy, other = ask(excerpts=1, samples=1, temperature=0.0), ask(excerpts=1, samples=1)
    again = ask(excerpts=1, samples=1, temperature=0.0, seed=1)
    for asked in (greedy, other, again):
        drawn(url, asked)
    with Ledger(url) as ledger:
        assert tried(ledger, "e", other, until=EVER).number == 1
        assert tried(ledger, "e", again, until=EVER).number == 3


def test_files_are_counted_apart_from_runs(url, ask, tmp_path):
    asked = ask(excerpts=1, samples=3)
    drawn(url, ask(excerpts=1, samples=1, seed=1))
    with Ledger(url) as ledger:
        import_generations(ledger, a_file(tmp_path, "x", "y"), endpoint_id="e", questionnaire=asked)
    drawn(url, asked)
    with Ledger(url) as ledger:
        assert tried(ledger, "e", asked, until=EVER) == Tried(2, seeds=2, runs=1, files=1)


def test_answers_at_the_same_setting_beside_those_asked_for_are_told(url, ask):
    more, few = ask(excerpts=2, samples=5), ask(excerpts=2, samples=3)
    longer = ask(excerpts=2, samples=3, max_tokens=99)
    drawn(url, more)
    then = time.time()
    drawn(url, longer, run="second")
    drawn(url, ask(excerpts=2, samples=3, seed=7), run="second")
    with Ledger(url) as ledger:
        assert tried(ledger, "e", more, until=then) == Tried(1)
        assert tried(ledger, "e", few, until=then) == Tried(1, further=4)
        assert tried(ledger, "e", more, until=EVER).further == 6
        assert tried(ledger, "e", longer, until=EVER).further == 10


def test_beside_greedy_answers_only_those_to_the_same_questions_are_told(url, ask):
    greedy = ask(excerpts=2, samples=2, temperature=0.0)
    drawn(url, greedy)
    drawn(url, ask(excerpts=2, samples=2, temperature=0.0, max_tokens=64))
    with Ledger(url) as ledger:
        assert tried(ledger, "e", greedy, until=EVER) == Tried(1)
        fewer = ask(excerpts=2, samples=1, temperature=0.0)
        assert tried(ledger, "e", fewer, until=EVER) == Tried(1, further=2)


def test_what_was_removed_is_told(url, ask):
    asked = ask(excerpts=1, samples=3)
    drawn(url, asked)
    with Ledger(url) as ledger:
        ledger.write(lambda c: c.execute(sa.delete(table).where(table.c.ordinal == 1)).rowcount)
        assert tried(ledger, "e", asked, until=EVER) == Tried(1, removed=1)
