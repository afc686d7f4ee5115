"""Passages of any passage of any protected book (docs/method.md), against the oracle."""

import pickle
import random

import pytest
from examples import examples
from protected_book_cases import case_of, generations_of, passages_of, tally_of
from scored_books import book_of

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring import (
    book_words,
    near_verbatim_chains,
    protected_passages,
    text_batches,
)
from pytest_memleak.scoring.analysis import analysis_of
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected


@pytest.mark.parametrize(
    ("cell", "together", "times"), [(64, 1 << 20, 200), (3, 5, 8), (1, 1, 8)]
)
def test_a_chain_is_found_among_refrains(monkeypatch, cell, together, times):
    monkeypatch.setattr(near_verbatim_chains, "_CELL", cell)
    monkeypatch.setattr(near_verbatim_chains, "_TOGETHER", together)
    refrain = "row row row your boat gently down the stream "
    verses = [
        " ".join(f"w{n}" for n in range(at, at + 14)) for at in range(0, 1_400, 14)
    ]
    book = book_of(" ".join(refrain + verse for verse in verses))
    passage = f"{refrain} {verses[7][:-4]} x {refrain} y {verses[8][3:]}"
    generations = [
        Generation("p_id1", n, text)
        for n, text in enumerate((refrain * times, passage))
    ]
    result = passages_of(
        [book], [*generations, Generation("p_id1", 2, refrain * times + passage)]
    )
    assert result.nv_by_round == (0, 9 + 13 + 9 + 13, 9 + 13 + 9 + 13)


@pytest.mark.parametrize(
    "mark", ["*", "\uff0a", "\u200b", "™", "-\n", "</b><b>", "&shy;"]
)
@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_joined_and_accented_words_are_found(mark, mode):
    words, scoring = [f"café{n}" for n in range(70)], Scoring(word_mode=mode)
    text = mark.join(word if n % 7 else "Zq" for n, word in enumerate(words))
    for book in (book_of(" ".join(words)), book_of(" ".join(words).replace("é", "e"))):
        result = passages_of([book], [Generation("p_id1", 0, text)], scoring=scoring)
        assert result.nv_longest_passage == 60


def test_a_piece_that_two_books_hold_counts_once_and_names_both():
    words = [f"w{n}" for n in range(40)]
    own = book_of("nothing of it at all here", " ".join(words[:30]), book_id="own")
    other = book_of(" ".join(words), book_id="other")
    generations = [Generation("p_id1", 0, " ".join(words[2:30]))]
    result = passages_of([other, own], generations, measured="own")
    assert [(passage.book, passage.books) for passage in result.passages] == [
        ("other", ("other", "own"))
    ]
    index = SharedIndex([other, own], k=5)
    tally = Tally(own, Scoring(), protected=Protected(index, "own", ("own", "other")))
    tally.add(generations)
    result = tally.passages()
    assert [(passage.book, passage.books) for passage in result.passages] == [
        ("own", ("own", "other"))
    ]
    assert (result.passages[0].excerpt_at, result.passages[0].start) == ("p_id2", 8)
    assert result.passages_over == 1


def test_the_own_book_where_it_is_excused_stands_apart_from_others():
    words = [f"w{n}" for n in range(150)]
    own = book_of(" ".join(words[:100]), book_id="own")
    other = book_of(" ".join(words[60:]), book_id="other")
    spans = (
        (0, 50),
        (62, 92),
        (95, 135),
    )  # its own; what both hold; more of the other than of it
    generations = [
        Generation("p_id1", n, " ".join(words[a:b])) for n, (a, b) in enumerate(spans)
    ]
    result = passages_of([own, other], generations, excused=["own"])
    assert (result.longest_passage, result.longest_passage.book) == (50, "own")
    assert result.measures_of_own_book_and_others() == (
        {"longest_passage": 50, "nv_longest_passage": 50, "passages_over": 2},
        {"longest_passage": 40, "nv_longest_passage": 40, "passages_over": 1},
    )
    assert (result.of_others["longest_passage"].book, result.excused) == ("other", 30)
    assert passages_of([own, other], generations).measures_of_own_book_and_others() == (
        {},
        {},
    )
    common = book_of(" ".join(words[:45]), book_id="common")
    expected = {"excused": ["own", "common"], "unprotected": ["common"]}
    result = passages_of([own, other, common], generations, **expected)
    assert (
        result.measures_of_own_book_and_others()[0]["longest_passage"] == 50
    )  # more than the common text has
    generations = [Generation("p_id1", 0, " ".join(words[:44]))]
    result = passages_of([own, other, common], generations, **expected)
    assert (result.longest_passage, result.excused, result.nv_excused) == (0, 44, 44)
    assert not any(result.measures_of_own_book_and_others()[0].values())


def test_an_index_of_other_settings_or_books_is_refused():
    book = book_of("one two three four five six", book_id="a")
    index = SharedIndex([book], k=5)
    with pytest.raises(SettingsError, match=r"k = 5 .* k = 4"):
        Tally(book, Scoring(k=4), protected=Protected(index, "a", ("a",)))
    with pytest.raises(SettingsError, match="different excerpts"):
        Tally(
            book_of("one", "two", book_id="a"),
            Scoring(),
            protected=Protected(index, "a", ("a",)),
        )
    with pytest.raises(SettingsError, match="'c' isn't in the index"):
        Protected(index, "a", ("a", "c"))
    with pytest.raises(SettingsError, match="appears twice"):
        SharedIndex([book, book], k=5)


def as_catalog(books, settings, rng):
    """Make some of the last books those of a catalog; the words from which on they count."""
    k, over = settings["k"], settings["span_threshold"] + 1
    least = max(k, min(rng.choice([k, 12]), over))
    for book in books[rng.randint(1, len(books)) :]:
        if book["excused"]:
            book["protected"] = False
        else:
            book["least"] = least
    return least


def agree_with_oracle(oracle, seed):
    rng = random.Random(seed)
    books, requested, generations, settings = case_of(rng)
    for book in books:  # what cannot be measured is another test's
        its = [len(oracle.words(text, settings["mode"])) for text in book["excerpts"]]
        seen = [len(oracle.words(text, "unicode")) for text in book["excerpts"]]
        if sum(its) < settings["k"] or sum(its) < 0.9 * sum(seen):
            return False
    least = as_catalog(books, settings, random.Random(seed + 0.5))
    expected = oracle.passages(books, requested, generations, **settings)
    ours = [
        book_of(*book["excerpts"], book_id=book["id"], contiguous=book["contiguous"],
                instructions=[text for _, text in requested] if book is books[0] else ())
        for book in books
    ]  # fmt: skip
    scoring = Scoring(
        settings["k"], settings["trim"], settings["span_threshold"], settings["mode"]
    )
    sampled = generations_of(generations)
    rng.shuffle(sampled)
    excused = [book["id"] for book in books if book["excused"]]
    unprotected = [book["id"] for book in books if not book["protected"]]
    catalog = {book["id"] for book in books if "least" in book}
    library = [
        (own.id, book_keys(own, k=scoring.k, mode=scoring.word_mode)) for own in ours
    ]
    table = GenerationPrefilter(
        [generation.text for generation in sampled], k=scoring.k, mode=scoring.word_mode
    )
    surviving = {
        survivor.name
        for survivor in table.matching_books(library, least_verbatim_words=least)
    }
    kept = [own for own in ours if own.id not in catalog - surviving]
    tally = tally_of(
        kept, sampled, excused=excused, unprotected=unprotected, scoring=scoring, measured="book0",
        catalog=catalog & surviving, least=least,
    )  # fmt: skip
    result = tally.passages()
    ids = [book["id"] for book in books]
    excerpts = [excerpt_id for excerpt_id, _ in requested]

    def plain(passage):
        if not passage:
            return None
        return (
            passage.words, excerpts.index(passage.excerpt_id), passage.generation, passage.place,
            ids.index(passage.book), passage.start, passage.end,
        )  # fmt: skip

    assert plain(result.longest_passage) == expected["longest"]
    assert plain(result.excused) == expected["excused"]
    assert plain(result.nv_longest_passage) == expected["nv_longest"]
    assert plain(result.nv_excused) == expected["nv_excused"]
    if "book0" in excused:
        for apart, name in ((result.of_own, "own"), (result.of_others, "other")):
            assert plain(apart["longest_passage"]) == expected[name]
            assert plain(apart["nv_longest_passage"]) == expected[f"nv_{name}"]
    for rounds, name in (
        (result.by_round, "by_round"),
        (result.nv_by_round, "nv_by_round"),
    ):
        assert {n: words for n, words in enumerate(rounds) if words} == expected[name]
    passages = [
        (*plain(passage)[4:], *plain(passage)[1:4], set(passage.books))
        for passage in result.passages
    ]
    assert passages == [(*span[:6], set(span[6])) for span in expected["over"]]
    return True


def test_parts_added_up_are_the_whole(plain, monkeypatch):
    for seed in range(examples(400, fast=20)):
        books, requested, generations, settings = case_of(random.Random(seed))
        instructions = [text for _, text in requested]
        ours = [
            book_of(*book["excerpts"], book_id=book["id"], instructions=instructions)
            for book in books
        ]
        sampled = generations_of(generations)
        scoring = Scoring(1, settings["trim"], settings["span_threshold"], "unicode")
        whole = tally_of(ours, sampled, scoring=scoring)
        with monkeypatch.context() as small:
            small.setattr(protected_passages, "_WAITING", 2)
            small.setattr(text_batches, "_TEXTS_TOGETHER", 1)
            parts = [
                tally_of(ours, sampled[number::3], scoring=scoring)
                for number in range(3)
            ]
        for part in parts[1:]:
            parts[0].add_counted(pickle.loads(pickle.dumps(part.counted)))
        assert parts[0].passages() == whole.passages()
        if sampled:
            together, alone = (analysis_of(tally) for tally in (parts[0], whole))
            assert plain(together) == plain(alone)


@pytest.mark.parametrize(("first", "worth_sharing"), [(0, 32), (1, 9), (2, 4), (3, 1)])
def test_passages_equal_the_oracle(oracle, monkeypatch, first, worth_sharing):
    """However short the stretches are that a book's two readings share."""
    monkeypatch.setattr(book_words, "_WORTH_SHARING", worth_sharing)
    cases = range(first, examples(12_000, fast=120), 4)
    assert sum(agree_with_oracle(oracle, seed) for seed in cases) >= len(cases) * 5 // 6


@pytest.mark.full
@pytest.mark.parametrize("first", range(12_000, 132_000, 12_000))
def test_passages_equal_the_oracle_on_many_more(oracle, first):
    # In ten parts: no test may take as long as all of them do.
    assert (
        sum(agree_with_oracle(oracle, seed) for seed in range(first, first + 12_000))
        >= 10_000
    )
