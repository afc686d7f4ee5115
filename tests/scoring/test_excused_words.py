"""Excused words (docs/method.md), against what deleting them one by one gives."""

import random

import pytest
from examples import examples
from protected_book_cases import case_of, generations_of
from scored_books import book_of

from pytest_memleak.records import Scoring
from pytest_memleak.scoring.analysis import analyze, judged_measures, whole_measures
from pytest_memleak.scoring.excused_words import excused_words
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected


def analysis_of(book, texts, generations, scoring):
    """Analyze generations of a book of which the texts excuse words."""
    index = SharedIndex([book, *texts], k=scoring.k, mode=scoring.word_mode)
    ids = tuple(text.id for text in texts)
    remaining = excused_words([book], texts, scoring)
    protected = Protected(index, book.id, (book.id,), ids, remaining=remaining)
    return analyze(book, generations, scoring, protected=protected)


def excused_by_hand(book, texts, scoring, oracle):
    """Tell of each word of the book whether a run of twelve around it is in a text."""
    split = [
        word for excerpt in book for word in oracle.words(excerpt, scoring.word_mode)
    ]
    is_excused = [False] * len(split)
    for text in texts:
        words = oracle.words(text, scoring.word_mode)
        runs = {tuple(words[at : at + 12]) for at in range(len(words) - 11)}
        for at in range(len(split) - 11):
            if tuple(split[at : at + 12]) in runs:
                is_excused[at : at + 12] = [True] * 12
    return is_excused


def measured_by_hand(oracle, excerpts, generations, is_excused, scoring):
    """The paper's measures of what is left, counted word by word."""
    mode, k, trim = scoring.word_mode, scoring.k, scoring.trim
    book, bounds = [], {}
    for excerpt_id, text, _ in excerpts:
        start = len(book)
        book += oracle.words(text, mode)
        bounds[excerpt_id] = start, len(book)
    left = [at for at in range(len(book)) if not is_excused[at]]
    nth = {at: number for number, at in enumerate(left)}
    covered, rounds, spans, longest = set(), {}, set(), 0
    for excerpt_id, _, instruction in excerpts:
        first, last = bounds[excerpt_id]
        asked = oracle.words(instruction or "", mode)
        for number, text in enumerate(generations.get(excerpt_id, [])):
            answer = oracle.words(text, mode)
            for match in oracle.matches(book, answer, k):
                for start, end in oracle.trimmed(book, match, asked, k, trim):
                    here = {nth[at] for at in range(start, end) if at in nth}
                    covered |= here
                    rounds.setdefault(number, set()).update(here)
            for start, end in oracle.matches(book[first:last], answer, k):
                run = range(first + start, first + end)
                here = sorted(nth[at] for at in run if at in nth)
                if here:
                    spans.add((here[0], here[-1] + 1))
                    longest = max(longest, len(here))
    over = oracle.spans_over(spans, scoring.effective_threshold)
    block, _, _ = oracle.longest_block([at in covered for at in range(len(left))])
    return {
        "bmc": len(covered) / len(left),
        "longest_block": block,
        "longest_span": longest,
        "spans_over": len(over),
    }, {number: len(words) for number, words in rounds.items() if words}


def random_case(seed):
    """A book, texts that hold stretches of it, and generations of both."""
    rng = random.Random(seed)
    books, requested, generations, settings = case_of(rng)
    excerpts = books[0]["excerpts"]
    whole = " ".join(excerpts).split(" ")
    texts = []
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(whole))
        stretch = whole[at : at + rng.randint(8, 25)]
        texts.append(" ".join(["x", *stretch, "y", "z", "x", "y", "z"]))
    scoring = Scoring(
        settings["k"], settings["trim"], settings["span_threshold"], settings["mode"]
    )
    return excerpts, texts, requested, generations, scoring


def agrees_with_the_oracle(oracle, seed):
    """Compare one case; False if it can't be measured, or nothing is excused."""
    excerpts, texts, requested, generations, scoring = random_case(seed)
    mode = scoring.word_mode
    for text in [" ".join(excerpts), *texts]:
        kept, seen = len(oracle.words(text, mode)), len(oracle.words(text, "unicode"))
        if kept < scoring.k or kept < 0.9 * seen:
            return False
    is_excused = excused_by_hand(excerpts, texts, scoring, oracle)
    if not any(is_excused) or all(is_excused) or not any(generations.values()):
        return False
    instructions = [text for _, text in requested]
    book = book_of(*excerpts, instructions=instructions)
    commons = [book_of(text, book_id=f"c{n}") for n, text in enumerate(texts)]
    sampled = generations_of(generations)
    analysis = analysis_of(book, commons, sampled, scoring)
    asked = [
        (f"p_id{n}", *its)
        for n, its in enumerate(zip(excerpts, instructions, strict=True), 1)
    ]
    expected, rounds = measured_by_hand(oracle, asked, generations, is_excused, scoring)
    judged = judged_measures(analysis)
    assert {name: judged[name].value for name in expected} == pytest.approx(expected)
    covered = analysis.under_limits.counts.covered.tolist()
    assert {n: words for n, words in enumerate(covered) if words} == rounds
    paper = oracle.measure(
        asked, generations, k=scoring.k, trim=scoring.trim,
        span_threshold=scoring.span_threshold, mode=mode,
    )  # fmt: skip
    beside = whole_measures(analysis)
    assert beside["bmc"] == pytest.approx(paper["bmc"])
    assert beside["longest_block"] == paper["longest_block"][0]
    assert beside["longest_span"] == paper["longest_span"][0]
    assert beside["spans_over"] == len(paper["spans"])
    return True


def test_measures_without_excused_words_equal_the_oracle(oracle):
    seeds = range(examples(4_000, fast=150))
    agreeing = sum(agrees_with_the_oracle(oracle, seed) for seed in seeds)
    assert agreeing >= len(seeds) // 10
