"""The protected books of a suite: one index, and the whole book in place of its rests."""

import dataclasses
from types import SimpleNamespace

import pytest
from scored_books import book_of

from pytest_memleak.books.instructions import beginnings
from pytest_memleak.errors import BookError
from pytest_memleak.pipeline.protected_index import ProtectedBooks
from pytest_memleak.records import Excerpt, Generation, Scoring
from pytest_memleak.scoring.analysis import analyze

SCORING = Scoring(k=3, span_threshold=4)
FERRY = book_of("a b c d e f g h", "i j k l m n o p", book_id="ferry")
ONE_EXCERPT = book_of("a b c d e f g h i j k l", book_id="ferry")
WINDS = book_of("one two three four five six seven", book_id="winds")
SHORT = book_of("too short", book_id="short")


@pytest.fixture
def protected():
    def make(*books, training=(), excused=()):
        sources = [
            SimpleNamespace(id=book.id, role="train" if book.id in training else "test")
            for book in books
        ]
        pair = SimpleNamespace(scoring=SCORING, book=sources[0])
        suite = SimpleNamespace(
            books=sources,
            pairs=[pair],
            books_with_excused_passages=lambda _: excused or training,
            books_that_excuse_words=lambda _: training,
        )
        by_id = {book.id: book for book in books}
        return ProtectedBooks(
            suite, SimpleNamespace(cut_into_excerpts=lambda source: by_id[source.id])
        ), pair

    return make


def passages(protected_index, pair, measured, text):
    of = protected_index.for_pair(pair, measured)
    return analyze(measured, [Generation("p_id1", 0, text)], SCORING, protected=of)


def test_pairs_share_one_index(protected):
    result, pair = protected(FERRY, WINDS)
    assert result.for_pair(pair, FERRY).index is result.for_pair(pair, WINDS).index
    assert result.for_pair(pair, WINDS).books == ("winds", "ferry")


def test_the_whole_book_is_looked_for_in_place_of_its_rests(protected):
    result, pair = protected(FERRY, WINDS)
    rests = beginnings(FERRY, prefix_words=4)
    # Of the second excerpt's prompt, which was not given: the rests hold none of it.
    analysis = passages(result, pair, rests, "x g h i j k l m y")
    longest = analysis.passages.longest_passage
    assert (longest.words, longest.start, longest.end) == (7, 6, 13)
    assert result.books_with_passages(analysis, rests)[longest.book] is FERRY
    assert result.for_pair(pair, rests).index is result.for_pair(pair, rests).index
    # What the own prompt gives away is no passage of the whole book.
    result, pair = protected(ONE_EXCERPT, WINDS)
    rests = beginnings(ONE_EXCERPT, prefix_words=6)
    assert passages(result, pair, rests, "a b c d e f").passages.longest_passage == 0


def test_an_answer_that_runs_on_into_the_next_excerpt_counts_once(protected):
    result, pair = protected(
        book_of("a b c d e f g h i j k l", "m n o p q r s t u v w x", book_id="ferry")
    )
    rests = beginnings(result.test_books()[0], prefix_words=4)
    scanned = passages(
        result, pair, rests, "e f g h i j k l m n o p q r s t u v"
    ).passages
    assert [
        (passage.words, passage.start, passage.end) for passage in scanned.passages
    ] == [(18, 4, 22)]
    assert scanned.passages_over == 1
    # One that stays in its own excerpt stands at its place in the whole book, too.
    scanned = passages(result, pair, rests, "y f g h i j k l").passages
    assert [
        (passage.words, passage.start, passage.end) for passage in scanned.passages
    ] == [(7, 5, 12)]
    assert scanned.passages[0].book == scanned.own


def test_a_passage_of_another_book_counts_and_a_training_book_is_excused(protected):
    result, pair = protected(FERRY, WINDS, training=("winds",))
    assert result.for_pair(pair, FERRY).excused == ("winds",)
    other, pair = protected(FERRY, WINDS)
    analysis = passages(other, pair, FERRY, "x two three four five six y")
    assert analysis.passages.longest_passage.book == "winds"
    assert other.books_with_passages(analysis, FERRY) == {
        "winds": WINDS,
        "ferry": FERRY,
    }


NOTES = (
    Excerpt("excluded1", "q r s t u v", chapter="excluded: Notes"),
    Excerpt("excluded2", "w x"),
)
WITH_NOTES = dataclasses.replace(FERRY, excluded=NOTES)


def test_text_that_is_not_measured_is_looked_for_and_named(protected):
    result, pair = protected(WITH_NOTES, WINDS)
    of = result.for_pair(pair, WITH_NOTES)
    assert of.books == ("ferry", "ferry (excluded text)", "winds")
    assert result.for_pair(pair, WINDS).books == (
        "winds",
        "ferry",
        "ferry (excluded text)",
    )
    analysis = passages(result, pair, WITH_NOTES, "z q r s t u v w x z")
    longest = analysis.passages.longest_passage
    # No passage runs on from one document into the next.
    assert (longest.words, longest.book, longest.excerpt_at) == (
        6,
        of.books[1],
        "excluded1",
    )
    assert analysis.measurement.words == 16
    holder = result.books_with_passages(analysis, WITH_NOTES)[longest.book]
    assert (holder.title, holder.excerpts) == (FERRY.title, NOTES)
    assert [book.id for book in result.test_books()] == ["ferry", "winds"]
    assert set(result.scan_scope(pair).books) == {"winds"}
    # A book's role is its excluded text's, too.
    result, pair = protected(WINDS, WITH_NOTES, training=("ferry",))
    of = result.for_pair(pair, WINDS)
    assert (of.books, of.excused) == (("winds",), ("ferry", "ferry (excluded text)"))
    # Too few words for a passage are no book.
    few = dataclasses.replace(FERRY, excluded=NOTES[1:])
    result, pair = protected(few)
    assert result.for_pair(pair, few).books == ("ferry",)


def test_a_controls_excluded_text_is_excused(protected):
    result, pair = protected(WITH_NOTES, WINDS, excused=("ferry",))
    scanned = passages(result, pair, WITH_NOTES, "z q r s t u v z").passages
    assert (scanned.longest_passage.words, scanned.excused.words) == (0, 6)


def test_a_book_that_cannot_be_measured_is_named(protected):
    result, pair = protected(FERRY, SHORT)
    assert result.for_pair(pair, FERRY).books == ("ferry",)
    assert list(result.unread) == ["short"]
    with pytest.raises(BookError):
        result.for_pair(pair, SHORT)
