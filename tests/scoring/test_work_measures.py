"""Works measured together are measured as each would be by itself."""

import random
from dataclasses import replace
from itertools import accumulate, chain, pairwise, repeat

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_books import book_of

from pytest_memleak.records import Block, Generation, Scoring, Work
from pytest_memleak.scoring.analysis import analyze, estimates, judged_measures

SCORING = Scoring(k=3, trim=3, span_threshold=6)
NAMES = (
    *("bmc", "longest_block", "longest_span", "spans_over"),
    *("longest_passage", "passages_over", "nv_longest_passage"),
)
LIMITS = {"longest_passage": 8, "leaking_works": 0.5}


def collection_of(works):
    """A collection; each work a list of the words of its excerpts."""
    texts = [" ".join(words) for work in works for words in work]
    ends = pairwise(accumulate(map(len, works), initial=0))
    named = tuple(Work(f"w{n}", f"Work {n}", None, *ab) for n, ab in enumerate(ends))
    return replace(book_of(*texts, instructions=repeat("Write it now.")), works=named)


def alone(book, number):
    work = book.works[number]
    return replace(book, excerpts=book.excerpts[work.first : work.end], works=())


def analysed(book, answers, *, scoring=SCORING, **more):
    generations = [
        Generation(excerpt.id, n, text)
        for excerpt in book.excerpts
        for n, text in enumerate(answers[excerpt.id])
    ]
    return analyze(book, generations, scoring, **more)


words = st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=30)
works = st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=4)


def pieces_of(work, book, rng):
    """For each excerpt of the work, two equal answers of pieces of the work."""
    excerpts = book.excerpts[work.first : work.end]
    text = " ".join(excerpt.text for excerpt in excerpts).split()
    answers = {}
    for excerpt in excerpts:
        pieces = [rng.choices(text, k=3)]
        for _ in range(4):
            start = rng.randrange(len(text))
            pieces.append([*text[start : start + rng.randrange(20)], "Z"])
        answers[excerpt.id] = [" ".join(chain(*pieces))] * 2
    return answers


def with_own_words(works):
    """The works with words of their own, so that no answer gives anything of another."""
    return [
        [[f"{word}{number}" for word in excerpt] for excerpt in work]
        for number, work in enumerate(works)
    ]


@pytest.mark.full
@settings(max_examples=examples(150))
@given(works=works, seed=st.integers(0, 999))
def test_a_work_is_measured_as_if_alone(works, seed):
    book = collection_of(with_own_words(works))
    rng = random.Random(seed)
    answers = {}
    for work in book.works:
        answers |= pieces_of(work, book, rng)
    measured = analysed(book, answers).works
    for number in range(len(book.works)):
        by_itself = estimates(analysed(alone(book, number), answers))
        assert {name: measured.of_each[number][name] for name in NAMES} == {
            name: by_itself[name].value for name in NAMES
        }


def letters(word, count):
    return [f"{word}{n}" for n in range(count)]


def test_a_passage_counts_for_its_own_work_whichever_work_was_prompted():
    book = collection_of([[letters("a", 30)], [letters("b", 30)]])
    answers = {"p_id1": [book.excerpts[1].text], "p_id2": ["nothing of it"]}
    a, b = analysed(book, answers).works.of_each
    assert (a["longest_passage"], a["bmc"]) == (0, 0)
    assert (b["longest_passage"], b["nv_longest_passage"]) == (30, 30)
    assert (b["longest_span"], b["passages_over"]) == (0, 1)
    assert (b["bmc"], b["longest_block"]) == (1, 30)


def test_no_match_and_no_block_goes_from_one_work_to_the_next():
    book = collection_of([[letters("a", 10)], [letters("b", 10)], [letters("c", 2)]])
    text = " ".join(excerpt.text for excerpt in book.excerpts)
    both = analysed(book, {key: [text] for key in ("p_id1", "p_id2", "p_id3")})
    assert both.measurement.longest_block == Block(10, 0, 10)
    assert both.passages.longest_passage.words == 10
    longest = [measures["longest_passage"] for measures in both.works.of_each]
    assert longest == [10, 10, 0]


def test_a_work_over_any_limit_leaks_and_counts_in_the_pairs_share():
    book = collection_of([[letters("a", 30)], [letters("b", 30)], [letters("c", 30)]])
    answers_words = letters("a", 9), letters("b", 8), ["x"]
    answers = {
        f"p_id{n}": [" ".join(words)] for n, words in enumerate(answers_words, start=1)
    }
    both = analysed(book, answers, limits=LIMITS)
    assert both.works.leaking == (0,)
    assert [both.works.over(n) for n in range(3)] == [("longest_passage",), (), ()]
    result = judged_measures(both)
    assert result["leaking_works"].value == pytest.approx(1 / 3)
    # The lengths are each work's; what is left for the pair is passages of other books.
    assert result["longest_passage"].value == 0
    assert not {"longest_span", "longest_block", "spans_over"} & result.keys()
    assert result["bmc"].value == pytest.approx(17 / 90)


@pytest.mark.parametrize(("limits", "can"), [
    ({"longest_passage": 30}, [False, True]), ({"longest_passage": 29}, [True, True]),
    ({"spans_over": 4}, [False, True]),  # 30 words have room for four spans of seven
    ({"bmc": 0.9}, [True, True]), ({"bmc": 1.0}, [False, False]),
])  # fmt: skip
def test_a_work_that_exceeds_a_limit_if_whole_can_leak(limits, can):
    book = collection_of([[letters("a", 30)], [letters("b", 40)]])
    result = analysed(book, {"p_id1": ["x"], "p_id2": ["x"]}, limits=limits).works
    assert [result.can_leak(n) for n in range(2)] == can


def test_a_work_of_fewer_than_k_words_cannot_leak():
    # As a continuation leaves of a work: no match could be in it.
    book = collection_of([[letters("a", 2)], [letters("b", 3)]])
    answers = {"p_id1": [book.excerpts[0].text], "p_id2": ["x"]}
    result = analysed(book, answers, limits={"bmc": 0.5, "longest_passage": 0}).works
    assert [result.can_leak(n) for n in range(2)] == [False, True]
    assert result.leaking == ()
    # A book has none.
    assert (
        analysed(alone(collection_of([[letters("a", 9)]]), 0), {"p_id1": ["x"]}).works
        is None
    )


@pytest.mark.parametrize("span_threshold", [0, 3, 6])
def test_spans_of_fewer_than_k_words_cannot_leak(span_threshold):
    book = collection_of([[letters("a", 30)]])  # has room for four spans of seven words
    scoring = Scoring(k=7, span_threshold=span_threshold)
    limits = {"spans_over": 4}
    result = analysed(book, {"p_id1": ["x"]}, scoring=scoring, limits=limits)
    assert not result.works.can_leak(0)
