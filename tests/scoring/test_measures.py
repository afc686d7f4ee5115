"""The four measures against METRICS section 3's examples and the slow oracle."""

import random

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_books import book_of

from pytest_memleak import score
from pytest_memleak.errors import BookError, RecordsError, SettingsError
from pytest_memleak.records import Block, Generation


def records(*excerpts):
    """The paper's records of (text, instruction, generations) per excerpt."""
    book = [
        {"excerpt_id": f"p_id{n}", "excerpt_text": text, "instruction": instruction}
        for n, (text, instruction, _) in enumerate(excerpts, start=1)
    ]
    drawn = [
        {"excerpt_id": f"p_id{n}", "generations": [{"generated_text": one} for one in texts]}
        for n, (_, _, texts) in enumerate(excerpts, start=1)
    ]
    return book, drawn


def test_worked_example():
    book, drawn = records(
        ("a b c d e f g h", "", ["x f g h i j k y"]), ("i j k l m n o p", "", ["L, m; n O p"])
    )
    measured = score(book, drawn, span_threshold=4)
    assert (measured.words, measured.bmc) == (16, 11 / 16)
    assert (measured.longest_block.words, measured.longest_block.start) == (11, 5)
    assert (measured.longest_span.words, measured.spans_over) == (5, 1)
    assert (measured.longest_span.excerpt_id, measured.longest_span.generation) == ("p_id2", 0)


WORDS = st.sampled_from([*"abcde", "A", "b.", "c’", "é", "K", "x\u00ady", "İ", "2²", "木", "_"])
PHRASE = st.lists(WORDS, max_size=12)
CASES = st.fixed_dictionaries(
    {
        "excerpts": st.lists(
            st.tuples(PHRASE, st.none() | PHRASE, st.lists(PHRASE, max_size=3)),
            min_size=1,
            max_size=4,
        ),
        "reciting": st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 20))),
        "k": st.integers(1, 9),
        "trim": st.integers(0, 7),
        "span_threshold": st.integers(0, 8),
        "mode": st.sampled_from(["paper", "unicode"]),
        "seed": st.integers(0, 1000),
    }
)


def agree_with_oracle(oracle, case):
    whole = [word for text, _, _ in case["excerpts"] for word in text]
    excerpts = [
        (f"p_id{n}", " ".join(text), None if asked is None else " ".join(asked))
        for n, (text, asked, _) in enumerate(case["excerpts"], start=2)
    ]
    drawn = {
        excerpt[0]: [" ".join(one) for one in texts]
        for excerpt, (_, _, texts) in zip(excerpts, case["excerpts"], strict=True)
    }
    for number, start, length in case["reciting"]:
        excerpt = excerpts[number % len(excerpts)][0]
        drawn[excerpt].append(" ".join(whole[start : start + length]))
    settings_ = {name: case[name] for name in ("k", "trim", "span_threshold")}
    expected = oracle.measure(excerpts, drawn, **settings_, mode=case["mode"])

    shuffled = random.Random(case["seed"])
    book = [
        {"excerpt_id": i, "excerpt_text": text} | ({} if asked is None else {"instruction": asked})
        for i, text, asked in excerpts
    ]
    answers = [
        {"excerpt_id": i, "generations": [{"generated_text": one} for one in texts]}
        for i, texts in drawn.items()
    ]
    shuffled.shuffle(book)
    shuffled.shuffle(answers)
    seen = expected["words"]
    if seen < case["k"] or (
        case["mode"] == "paper"
        and seen < 0.9 * sum(len(oracle.words(text, "unicode")) for _, text, _ in excerpts)
    ):
        with pytest.raises(BookError):
            score(book, answers, **settings_, word_mode=case["mode"])
        return
    measured = score(book, answers, **settings_, word_mode=case["mode"])
    block, span = measured.longest_block, measured.longest_span
    assert measured.words == expected["words"]
    assert measured.bmc == expected["bmc"]
    assert (block.words, block.start, block.end) == expected["longest_block"]
    assert (
        span.words, span.start, span.end, span.excerpt_id, span.generation
    ) == expected["longest_span"]  # fmt: skip
    assert [(s.start, s.end) for s in measured.spans] == expected["spans"]
    assert measured.spans_over == len(expected["spans"])
    assert list(measured.coverage.rounds) == expected["rounds"]
    assert list(measured.coverage.reach) == expected["reach"]


@settings(max_examples=examples(10_000))
@given(CASES)
def test_every_measure_equals_the_oracle(oracle, case):
    agree_with_oracle(oracle, case)


@pytest.mark.full
@settings(max_examples=examples(100_000))
@given(CASES)
def test_every_measure_equals_the_oracle_on_many_more(oracle, case):
    agree_with_oracle(oracle, case)


@settings(max_examples=examples(300))
@given(st.lists(st.sampled_from("abc"), min_size=8, max_size=60), st.data())
def test_bmc_at_a_longer_k_equals_measuring_with_it(text, data):
    k = data.draw(st.integers(1, 4))
    longer = data.draw(st.integers(k, 8))
    said = data.draw(st.lists(st.sampled_from("abcx"), max_size=60))
    asked = data.draw(st.lists(st.sampled_from("abc"), max_size=12))
    book, drawn = records((" ".join(text), " ".join(asked), [" ".join(said)]))
    trim = data.draw(st.integers(0, 5))
    at_k = score(book, drawn, k=k, trim=trim)
    assert at_k.bmc_at(longer) == score(book, drawn, k=longer, trim=trim).bmc


def test_own_records_and_the_papers_measure_alike():
    texts = "one two three four five six seven", "eight nine ten eleven twelve thirteen"
    ours = book_of(*texts, asked=["about three four five six seven"])
    generations = [
        Generation("p_id2", 0, "so eight nine ten eleven twelve"),
        Generation("p_id1", 0, "one two three four five six seven"),
        Generation("p_id1", 1, ""),
    ]
    theirs, drawn = records(
        (texts[0], ours.excerpts[0].instruction, [generations[1].text, ""]),
        (texts[1], None, [generations[0].text]),
    )
    assert score(ours, generations) == score(theirs, drawn)


def test_records_are_ordered_by_the_first_integer_of_their_id():
    book = [
        {"excerpt_id": "p_id10", "excerpt_text": "k l m n o"},
        {"excerpt_id": "p_id9", "excerpt_text": "f g h i j"},
    ]
    drawn = [{"excerpt_id": "p_id9", "generations": [{"generated_text": "f g h i j k l m n o"}]}]
    assert score(book, drawn).longest_block == Block(10, 0, 10)


def test_what_was_asked_trims_even_if_the_book_says_something_else():
    book, drawn = records(("a b c d e f", "nothing of it", ["a b c d e f"]))
    assert score(book, drawn).bmc == 1
    drawn[0]["instruction"] = "say a b c d e f"
    assert score(book, drawn).bmc == 0


@pytest.mark.parametrize(("name", "value"), [
    ("k", 0), ("k", 1.5), ("k", True), ("trim", -1), ("span_threshold", -1), ("word_mode", "ascii"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(name, value):
    book, drawn = records(("a b c d e f", None, ["a"]))
    with pytest.raises(SettingsError, match=name):
        score(book, drawn, **{name: value})


def test_generations_of_another_book_or_twice_the_same_are_refused():
    book = book_of("a b c d e f")
    with pytest.raises(RecordsError, match="p_id7"):
        score(book, [{"excerpt_id": "p_id7", "generations": [{"generated_text": "a"}]}])
    with pytest.raises(RecordsError, match="twice"):
        score(book, [Generation("p_id1", 0, "a"), Generation("p_id1", 0, "b")])
