"""Excused words (docs/method.md), against what deleting them one by one gives."""

import random
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from protected_book_cases import case_of, generations_of
from scored_books import book_of

from pytest_memleak.records import Excerpt, Scoring, Work
from pytest_memleak.scoring.analysis import (
    analyze,
    judged_measures,
    measures_with_excused_words,
    values_by_round,
)
from pytest_memleak.scoring.excused_words import (
    ExcusedBook,
    RemainingWords,
    excused_words,
)
from pytest_memleak.scoring.four_measures import measure
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.null_books import excess_over_null
from pytest_memleak.scoring.protected_passages import Protected
from pytest_memleak.scoring.words import words


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
        its = oracle.words(text, scoring.word_mode)
        runs = {tuple(its[at : at + 12]) for at in range(len(its) - 11)}
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
    covered = analysis.without_excused_words.counts.covered.tolist()
    assert {n: words for n, words in enumerate(covered) if words} == rounds
    paper = oracle.measure(
        asked, generations, k=scoring.k, trim=scoring.trim,
        span_threshold=scoring.span_threshold, mode=mode,
    )  # fmt: skip
    beside = measures_with_excused_words(analysis)
    assert beside["bmc"] == pytest.approx(paper["bmc"])
    assert beside["longest_block"] == paper["longest_block"][0]
    assert beside["longest_span"] == paper["longest_span"][0]
    assert beside["spans_over"] == len(paper["spans"])
    return True


def test_measures_without_excused_words_equal_the_oracle(oracle):
    seeds = range(examples(4_000, fast=150))
    agreeing = sum(agrees_with_the_oracle(oracle, seed) for seed in seeds)
    assert agreeing >= len(seeds) // 10


def stretches_of(rng, words):
    """Tell of each of so many words whether it is excused: random stretches of them."""
    is_excused = np.zeros(words, dtype=np.bool_)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(words)
        is_excused[at : at + rng.choice([1, 3, 12, 30])] = True
    return is_excused


def passages_by_hand(oracle, book, asked, generations, masks, scoring):
    """Words of the longest passage and near-verbatim passage, per round; passages over T."""
    mode, k, trim = scoring.word_mode, scoring.k, scoring.trim
    is_excused, is_excused_folded = masks
    left = np.flatnonzero(~is_excused).tolist()
    nth = {at: number for number, at in enumerate(left)}
    parts = oracle.parts_of(book, lambda text: oracle.words(text, mode))
    folded_parts = oracle.parts_of(book, oracle.folded)
    by_round, nv_by_round, candidates = {}, {}, set()
    for excerpt_id, _, instruction in asked:
        prompt = instruction or ""
        prompt_words = oracle.words(prompt, mode)
        for number, text in enumerate(generations.get(excerpt_id, [])):
            answer = oracle.words(text, mode)
            for s, _, n in oracle.pieces_at(parts, answer, prompt_words, k, trim):
                here = [nth[at] for at in range(s, s + n) if at in nth]
                if here:
                    by_round[number] = max(by_round.get(number, 0), len(here))
                    candidates.add((here[0], here[-1] + 1))
            for _, reading in oracle.folded_readings(text, mode):
                chains = chains_by_hand(
                    oracle, folded_parts, reading, oracle.folded(prompt), trim,
                    is_excused_folded,
                )  # fmt: skip
                longest = max((words for _, words, *_ in chains), default=0)
                if longest >= oracle.LEAST_NEAR_VERBATIM_WORDS:
                    nv_by_round[number] = max(nv_by_round.get(number, 0), longest)
    over = oracle.spans_over(candidates, scoring.effective_threshold)
    return by_round, nv_by_round, len(over)


def chains_by_hand(oracle, parts, text, prompt, trim, is_excused):
    """The oracle's chains, in which neither prompt nor excused words count."""
    result = set()
    for part in parts:
        runs = oracle.matches_at([part], text, oracle.NEAR_MATCH)
        gone = {}
        for s, j, n in runs:
            in_prompt = oracle.prompt_overlap(text[j : j + n], prompt, trim)
            excused = {i for i in range(n) if is_excused[s + i]}
            gone[s, j, n] = set(in_prompt) | excused
        result |= oracle.chains_of(runs, gone)
    return result


def a_random_mask_agrees(oracle, seed):
    """Compare one case; False if its book can't be measured or nothing is generated."""
    rng = random.Random(seed)
    books, requested, generations, settings = case_of(rng)
    excerpts, mode = books[0]["excerpts"], settings["mode"]
    instructions = [text for _, text in requested]
    kept = sum(len(oracle.words(text, mode)) for text in excerpts)
    seen = sum(len(oracle.words(text, "unicode")) for text in excerpts)
    if kept < settings["k"] or kept < 0.9 * seen or not any(generations.values()):
        return False
    scoring = Scoring(settings["k"], settings["trim"], settings["span_threshold"], mode)
    book = book_of(
        *excerpts, instructions=instructions, contiguous=books[0]["contiguous"]
    )
    index = SharedIndex([book], k=scoring.k, mode=mode)
    (indexed,) = index.books
    masks = [stretches_of(rng, layout.total) for layout in indexed[1:]]
    if masks[0].all():
        return False
    excused = ExcusedBook(*map(RemainingWords.without, masks), {})
    protected = Protected(index, "b", ("b",), remaining={"b": excused})
    sampled = generations_of(generations)
    analysis = analyze(book, sampled, scoring, protected=protected)
    asked = [
        (f"p_id{n}", *its)
        for n, its in enumerate(zip(excerpts, instructions, strict=True), 1)
    ]
    by_round, nv_by_round, over = passages_by_hand(
        oracle, books[0], asked, generations, masks, scoring
    )
    passages = analysis.passages
    assert {n: words for n, words in enumerate(passages.by_round) if words} == by_round
    nv_rounds = enumerate(passages.nv_by_round)
    assert {n: words for n, words in nv_rounds if words} == nv_by_round
    assert passages.longest_passage.words == max(by_round.values(), default=0)
    assert passages.nv_longest_passage.words == max(nv_by_round.values(), default=0)
    assert passages.passages_over == over
    if books[0]["contiguous"]:
        expected, rounds = measured_by_hand(
            oracle, asked, generations, masks[0], scoring
        )
        judged = judged_measures(analysis)
        values = {name: judged[name].value for name in expected}
        assert values == pytest.approx(expected)
        covered = enumerate(analysis.without_excused_words.counts.covered.tolist())
        assert {n: words for n, words in covered if words} == rounds
    return True


@pytest.mark.parametrize("part", range(4))
def test_random_masks_equal_a_slow_direct_computation(oracle, part):
    seeds = range(part, examples(1_600, fast=160), 4)
    agreeing = sum(a_random_mask_agrees(oracle, seed) for seed in seeds)
    assert agreeing >= len(seeds) // 2


def test_texts_that_share_no_twelve_words_change_nothing(plain):
    """However many shorter runs of the book they hold."""
    compared = 0
    for seed in range(examples(600, fast=60)):
        rng = random.Random(seed)
        books, requested, generations, settings = case_of(rng)
        instructions = [text for _, text in requested]
        book = book_of(*books[0]["excerpts"], instructions=instructions)
        scoring = Scoring(
            settings["k"], settings["trim"], settings["span_threshold"], "unicode"
        )
        whole = " ".join(books[0]["excerpts"]).split()
        short = [whole[at : at + 5] for at in range(0, len(whole), 5)]
        text = " zzz ".join(" ".join(words) for words in short)
        # A word between blanks may be two.
        if sum(len(words(piece, "unicode")) > 11 for piece in text.split("zzz")):
            continue
        sampled = generations_of(generations)
        if not sampled or len(words(" ".join(whole), "unicode")) < scoring.k:
            continue
        common = book_of(text, book_id="text")
        with_text = analysis_of(book, [common], sampled, scoring)
        alone = analysis_of(book, [], sampled, scoring)
        assert with_text.remaining is None
        assert with_text.passages.whole == {}
        *paper, _ = plain(with_text)
        assert paper == list(
            plain(alone)[:-1]
        )  # short passages of the text are excused
        compared += 1
    assert compared >= 30


OWN = [f"own{n}" for n in range(200)]
PSALM = [f"psalm{n}" for n in range(59)]


@pytest.fixture
def quoting():
    """A book with a psalm after its first hundred words, and the psalm."""
    book = book_of(" ".join([*OWN[:100], *PSALM, *OWN[100:]]))
    return book, book_of(" ".join(PSALM), book_id="psalm")


def test_chance_counts_no_excused_words(quoting):
    book, psalm = quoting
    scoring = Scoring()
    remaining = excused_words([book], [psalm], scoring)["b"].exact
    recited = [*OWN[90:100], *PSALM]
    own = [(None, " ".join(recited))] * 3
    nulls = {name: [(None, " ".join([*PSALM, *OWN[:10]]))] * 3 for name in "cd"}
    null = excess_over_null(book, own, nulls, scoring, remaining=remaining)
    assert null.bmc == pytest.approx(10 / 200)
    assert (null.null_bmc, null.null_longest_span) == (pytest.approx(10 / 200), 10)


def test_releases_are_compared_in_the_words_that_remain(quoting):
    book, psalm = quoting
    texts = (" ".join(PSALM), " ".join([*OWN[70:100], *PSALM]))
    sampled = generations_of({"p_id1": texts})
    rounds = values_by_round(analysis_of(book, [psalm], sampled, Scoring()))
    assert rounds["bmc"] == rounds["longest_span"] == (0, 30)
    assert rounds["longest_passage"] == rounds["nv_longest_passage"] == (0, 30)
    assert rounds["spans_over"] == (0, 1)


def test_greedy_measures_count_no_excused_words(quoting):
    book, psalm = quoting
    index = SharedIndex([book, psalm], k=5)
    remaining = excused_words([book], [psalm], Scoring())
    protected = Protected(index, "b", ("b",), ("psalm",), remaining=remaining)
    text = " ".join([*OWN[70:100], *PSALM, *OWN[100:120]])
    sampled = generations_of({"p_id1": [text]})
    measured = measure(book, sampled, Scoring(), protected=protected)
    assert (measured.bmc, measured.longest_span) == (50 / 200, 50)
    assert (measured.longest_span.start, measured.longest_span.end) == (70, 179)


def test_works_are_measured_in_the_words_that_remain(quoting):
    book, psalm = quoting
    excerpts = (*book.excerpts, Excerpt("p_id2", " ".join(PSALM[:30])))
    works = (Work("a", "A", None, 0, 1), Work("b", "B", None, 1, 2))
    collection = replace(book, excerpts=excerpts, works=works)
    text = " ".join([*OWN[70:100], *PSALM, *OWN[100:120]])
    sampled = generations_of({"p_id1": [text], "p_id2": [" ".join(PSALM[:30])]})
    measured = analysis_of(collection, [psalm], sampled, Scoring()).works
    own, common = measured.of_each
    assert (own["bmc"], own["longest_span"], own["longest_passage"]) == (0.25, 50, 50)
    assert measured.words == (200, 0)
    assert {common[name] for name in ("bmc", "longest_span", "longest_block")} == {0}
