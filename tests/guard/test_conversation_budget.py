"""Over turns, choices and conversations, no more words of a book leave than a budget has."""

import random
from functools import cache

import pytest
from disguised_texts import prose
from examples import examples
from guarded_texts import deltas
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full
from multidict import CIMultiDict
from scored_books import book_of

from pytest_memleak.errors import SettingsError
from pytest_memleak.guard import GuardedAnswer
from pytest_memleak.guard.client_budgets import ClientBudgets, client_keys_from_headers
from pytest_memleak.guard.word_budget import PlacesOfPassages
from pytest_memleak.library import Library

WORDS = [f"w{n}" for n in range(1_000)]
OWN = [f"own{n}" for n in range(30)]
ASKED = {"role": "user", "content": "Go on."}


@cache
def library():
    return Library.of([book_of(" ".join(WORDS))])


def answered(messages, *texts, budget=100, rng=None, most=20, **rules):
    """Return what leaves of a stream's choices, which take turns.

    most: characters of a piece
    """
    asked = {"messages": messages, "n": len(texts)}
    answer = GuardedAnswer(library(), asked, budget=budget, **rules)
    sent = [""] * len(texts)

    def take(chunks):
        for chunk in chunks:
            for choice in chunk["choices"]:
                sent[choice["index"]] += choice["delta"].get("content", "")

    waiting = [
        (nth, piece)
        for nth, text in enumerate(texts)
        for piece in deltas(text, random.Random(nth), most)
    ]
    (rng or random.Random(1)).shuffle(waiting)
    pieces = {
        nth: deltas(text, random.Random(nth), most) for nth, text in enumerate(texts)
    }
    for nth, _ in waiting:
        delta = {"index": nth, "delta": {"content": next(pieces[nth])}}
        take(answer.read({"choices": [delta]}))
    take(answer.end())
    answer.close()
    return sent, answer


def counted(texts):
    """Return the places of a book that are in runs of 8 words of any text: the oracle."""
    number = {word: n for n, word in enumerate(WORDS)}
    places = set()
    for text in texts:
        run = []
        for word in [*text.split(), "other"]:
            place = number.get(word, -1)
            if run and place == run[-1] + 1:
                run.append(place)
                continue
            if len(run) >= 8:
                places.update(run)
            run = [place] if place >= 0 else []
    return places


def went_on(steps, *, budget=100, before=OWN, kept=True):
    """Return what an answer in each of `steps` turns says, of 36 more words each."""
    messages = [ASKED]
    texts = []
    for step in range(steps):
        more = " ".join([*before, *WORDS[step * 20 :][:36]])
        ((sent,), _) = answered(messages, more, budget=budget)
        texts.append(sent)
        if kept:
            messages = [*messages, {"role": "assistant", "content": sent}, ASKED]
    return texts


def test_a_conversation_has_no_more_words_of_a_book_than_its_budget():
    texts = went_on(8)
    assert 70 <= len(counted(texts)) <= 100
    # Then no run of eight leaves.
    assert all(len(counted([text]) - counted(texts[:5])) == 0 for text in texts[6:])


def test_without_a_budget_every_turn_has_its_limit():
    assert len(counted(went_on(8, budget=None))) > 150


def test_a_client_that_drops_its_turns_is_not_remembered():
    assert len(counted(went_on(8, kept=False))) > 150


def test_a_passage_goes_on_over_turns():
    first = " ".join(WORDS[:30])
    messages = [ASKED, {"role": "assistant", "content": first}, ASKED]
    ((sent,), answer) = answered(messages, " ".join(WORDS[30:60]))
    assert sent.split() == WORDS[30:38]
    assert [stop.exceeded for stop in answer.stops] == ["limit"]


def test_a_repetition_is_free():
    said = " ".join([*WORDS[:38], *OWN, *WORDS[100:138]])
    messages = [ASKED, {"role": "assistant", "content": said}, ASKED]
    again = " ".join([*OWN, *WORDS[100:138], *OWN, *WORDS[5:38]])
    assert answered(messages, again, budget=76)[0] == [again]


def test_a_passage_wholly_in_earlier_turns_stops_nothing():
    messages = [ASKED, {"role": "assistant", "content": " ".join(WORDS[:60])}, ASKED]
    text = " ".join(OWN * 5)
    ((sent,), answer) = answered(messages, text, budget=40)
    assert (sent, answer.stops) == (text, [])
    # But it excuses nothing: an answer that has it again is ended.
    ((sent,), answer) = answered(messages, " ".join([*OWN, *WORDS[:60]]), budget=None)
    assert len(counted([sent])) <= 38
    assert answer.stops


@pytest.mark.parametrize("choices", [2, 8])
def test_choices_share_a_budget(choices):
    texts = [" ".join(WORDS[n * 40 :][:36]) for n in range(choices)]
    sent, answer = answered([ASKED], *texts, budget=60)
    assert 40 <= len(counted(sent)) <= 60
    assert {stop.exceeded for stop in answer.stops} == {"budget"}


def after_own_words(size, budget, turns, *, step=40):
    """Return the book's words of each of many answers, as many as `turns`."""
    messages = [ASKED]
    every = []
    for turn in range(turns):
        more = " ".join([*OWN, *WORDS[turn * step :][:size]])
        ((sent,), _) = answered(messages, more, budget=budget, most=6)
        every.append([word for word in sent.split() if word not in OWN])
        messages = [*messages, {"role": "assistant", "content": sent}, ASKED]
    return every


@pytest.mark.parametrize("size", [8, 13, full(19), full(36)])
@pytest.mark.parametrize("budget", [30, full(190), full(380)])
def test_many_answers_have_no_more_words_of_a_book_than_its_budget(size, budget):
    every = after_own_words(size, budget, 8 if budget == 30 else 25)
    words = sum(map(len, every))
    assert min(budget - 7, size * len(every)) <= words <= budget


def test_runs_of_seven_words_spend_no_budget():
    assert {len(words) for words in after_own_words(7, 30, 8)} == {7}


def spent(budget):
    """Return earlier turns that have spent a budget."""
    said = " ".join(WORDS[500:][:budget])
    return [ASKED, {"role": "assistant", "content": said}, ASKED]


def test_past_its_budget_an_answer_has_nothing_of_a_passage():
    own = " ".join(OWN)
    ((sent,), answer) = answered(spent(100), f"{own} {' '.join(WORDS[:36])} {own}")
    assert sent.strip() == own
    assert [stop.exceeded for stop in answer.stops] == ["budget"]


def test_past_its_budget_an_answer_has_nothing_of_a_changed_passage():
    own = " ".join(OWN)
    changed = [word if n % 7 != 6 else "other" for n, word in enumerate(WORDS[:34])]
    ((sent,), answer) = answered(spent(100), f"{own} {' '.join(changed)} {own}")
    assert sent.strip() == own
    assert [stop.exceeded for stop in answer.stops] == ["budget"]


def test_past_its_budget_an_answer_of_own_words_leaves_whole_as_it_comes():
    answer = GuardedAnswer(library(), {"messages": spent(100)}, budget=100)
    words = [*OWN, *WORDS[:7]] * 4
    left = []
    for read, word in enumerate(words):
        delta = {"index": 0, "delta": {"content": f"{word} "}}
        for chunk in answer.read({"choices": [delta]}):
            left += chunk["choices"][0]["delta"]["content"].split()
        assert len(left) >= read - 30
    for chunk in answer.end():
        left += chunk["choices"][0]["delta"]["content"].split()
    assert left == words
    assert not answer.stops


def test_eight_choices_have_at_most_their_budget_and_seven_words_each():
    texts = [" ".join(WORDS[n * 40 :][:36]) for n in range(8)]
    sent, _ = answered([ASKED], *texts, budget=190)
    assert len(counted(sent)) <= 190
    assert 180 <= sum(len(text.split()) for text in sent) <= 200


def test_a_budget_counts_near_verbatim_passages_too():
    changed = [word if n % 7 != 6 else "other" for n, word in enumerate(WORDS[:34])]
    texts = []
    messages = [ASKED]
    for _ in range(4):
        texts.append(answered(messages, " ".join(changed), budget=20)[0][0])
        messages = [*messages, {"role": "assistant", "content": texts[-1]}, ASKED]
    assert sum(len(text.split()) for text in texts) <= 20


STRETCHES = st.tuples(st.integers(0, 400), st.integers(1, 45)).map(
    lambda stretch: WORDS[stretch[0] :][: stretch[1]]
)
ANSWERS = st.lists(STRETCHES | st.just(OWN), max_size=5).map(
    lambda parts: " ".join(word for part in parts for word in part)
)


@settings(max_examples=examples(300, fast=20), deadline=None)
@given(
    st.lists(st.lists(ANSWERS, min_size=1, max_size=3), min_size=1, max_size=4),
    st.integers(20, 120),
    st.randoms(use_true_random=False),
)
def test_no_turns_and_choices_take_more_than_the_budget(turns, budget, rng):
    messages = [ASKED]
    texts = []
    for choices in turns:
        sent, answer = answered(messages, *choices, budget=budget, rng=rng)
        texts += sent
        # All that left, and what the next turn goes on with.
        history = "\n".join(sent)
        messages = [*messages, {"role": "assistant", "content": history}, ASKED]
        assert len(counted(texts)) <= budget
        if not answer.stops:
            assert sent == choices


def test_an_honest_conversation_leaves_whole():
    novel = Library.of([book_of(" ".join(prose("the-lamplighter")), book_id="novel")])
    words = prose("the-seed-vault")
    messages = [ASKED]
    for turn in range(4):
        quoted = prose("the-lamplighter")[turn * 100 :][:20]
        text = " ".join([*words[turn * 100 :][:100], *quoted, *words[:20]])
        answer = GuardedAnswer(novel, {"messages": messages})
        body = {"choices": [{"message": {"content": text}}]}
        (sent,) = answer.read(body, whole=True)
        assert sent["choices"][0]["message"]["content"] == text
        messages = [*messages, {"role": "assistant", "content": text}, ASKED]


# --- clients
# ------------------------------------------------------------------------------


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budgets(tmp_path, clock):
    """Open the budgets of one file, as often as wanted."""
    opened = []

    def open_file():
        places = PlacesOfPassages(library())
        path = tmp_path / "new" / "guard.db"
        opened.append(ClientBudgets(path, 60, 2.0, places, now=clock))
        return opened[-1]

    yield open_file
    for each in opened:
        each.close()


def quoted(clients, key, start, size=36):
    """Return how many words of a book leave in a new conversation of a client."""
    text = " ".join([*OWN, *WORDS[start : start + size]])
    further = [clients.of(key)]
    sent, _ = answered([ASKED], text, budget=None, further_budgets=further)
    return len(counted(sent))


def test_a_client_has_a_budget_over_conversations(budgets):
    clients = budgets()
    assert quoted(clients, "key", 0) == 36
    assert quoted(clients, "key", 0) == 36  # a repetition is free
    assert quoted(clients, "key", 100) <= 24
    assert quoted(clients, "key", 200) == 0
    assert quoted(clients, "another key", 200) == 36


def test_a_client_is_remembered_after_a_restart_for_some_hours(budgets, clock):
    assert quoted(budgets(), "key", 0, 38) == 38
    assert quoted(budgets(), "key", 100) <= 22
    clock.now += 2 * 3_600
    assert quoted(budgets(), "key", 100) == 36


def test_short_answers_of_many_conversations_count_at_their_end(budgets):
    clients = budgets()
    assert [quoted(clients, "key", n * 50, 15) for n in range(4)] == [15] * 4
    assert quoted(clients, "key", 300, 15) == 0


def test_two_conversations_of_a_client_at_once_share_its_budget(budgets):
    clients = budgets()
    answers = [
        GuardedAnswer(
            library(),
            {"messages": [ASKED]},
            budget=None,
            further_budgets=[clients.of("k")],
        )
        for _ in range(4)
    ]
    texts = [[], [], [], []]
    for at in range(36):
        for nth, answer in enumerate(answers):
            delta = {"content": f"{WORDS[nth * 100 + at]} "}
            for chunk in answer.read({"choices": [{"index": 0, "delta": delta}]}):
                texts[nth] += [c["delta"]["content"] for c in chunk["choices"]]
    assert 40 <= len(counted(map("".join, texts))) <= 60


def test_the_file_has_neither_keys_nor_text(budgets, tmp_path):
    clients = budgets()
    quoted(clients, "sk-secret", 0)
    clients.close()
    files = b"".join(path.read_bytes() for path in (tmp_path / "new").iterdir())
    assert b"covered" in files
    assert b"secret" not in files
    assert b"w10" not in files


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "guard.db").write_text("not a database, but a text of some length" * 99)
    with pytest.raises(SettingsError, match="can't keep the clients' budgets there"):
        ClientBudgets(tmp_path / "guard.db", 60, 2.0, PlacesOfPassages(library()))


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        ([("Authorization", "Bearer abc")], ["abc"]),
        ([("authorization", "bEARER  abc ")], ["abc"]),
        ([("x-api-key", "abc")], ["abc"]),
        ([("Authorization", "Bearer x"), ("x-api-key", "abc")], ["x", "abc"]),
        ([("Authorization", "x"), ("authorization", "Bearer abc")], ["x", "abc"]),
        ([("api-key", "abc"), ("x-api-key", "abc")], ["abc"]),
        ([("Authorization", "")], [""]),
        ([], [""]),
    ],
)
def test_a_client_is_known_by_each_key_of_its_headers(headers, keys):
    assert client_keys_from_headers(CIMultiDict(headers)) == keys
