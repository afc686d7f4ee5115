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


class Books:
    def __init__(self, *books):
        self._books = {one.id: one for one in books}

    def cut(self, source):
        return self._books[source.id]


@pytest.fixture
def protected():
    def make(*books, training=(), excused=()):
        sources = [
            SimpleNamespace(id=one.id, role="train" if one.id in training else "test")
            for one in books
        ]
        pair = SimpleNamespace(scoring=SCORING, book=sources[0])
        suite = SimpleNamespace(books=sources, pairs=[pair], excused=lambda _: excused or training)
        return ProtectedBooks(suite, Books(*books)), pair

    return make


def passages(found, pair, measured, text):
    of = found.for_pair(pair, measured)
    return analyze(measured, [Generation("p_id1", 0, text)], SCORING, protected=of)


def test_pairs_share_one_index(protected):
    found, pair = protected(FERRY, WINDS)
    assert found.for_pair(pair, FERRY).index is found.for_pair(pair, WINDS).index
    assert found.for_pair(pair, WINDS).books == ("winds", "ferry")


def test_the_whole_book_is_looked_for_in_place_of_its_rests(protected):
    found, pair = protected(FERRY, WINDS)
    rests = beginnings(FERRY, prefix_words=4)
    # Of the second excerpt's prompt, which was not given: the rests hold none of it.
    analysis = passages(found, pair, rests, "x g h i j k l m y")
    longest = analysis.passages.longest_passage
    assert (longest.words, longest.start, longest.end) == (7, 6, 13)
    books = found.holding(analysis, rests)
    assert books[longest.book] is FERRY
    assert found.for_pair(pair, rests).index is found.for_pair(pair, rests).index
    # What the own prompt gives away is no passage of the whole book.
    found, pair = protected(ONE_EXCERPT, WINDS)
    rests = beginnings(ONE_EXCERPT, prefix_words=6)
    assert passages(found, pair, rests, "a b c d e f").passages.longest_passage == 0


def test_an_answer_that_runs_on_into_the_next_excerpt_counts_once(protected):
    found, pair = protected(
        book_of("a b c d e f g h i j k l", "m n o p q r s t u v w x", book_id="ferry")
    )
    rests = beginnings(found.test_books()[0], prefix_words=4)
    told = passages(found, pair, rests, "e f g h i j k l m n o p q r s t u v").passages
    assert [(one.words, one.start, one.end) for one in told.passages] == [(18, 4, 22)]
    assert told.passages_over == 1
    # One that stays in its own excerpt stands at its place in the whole book, too.
    told = passages(found, pair, rests, "y f g h i j k l").passages
    assert [(one.words, one.start, one.end) for one in told.passages] == [(7, 5, 12)]
    assert told.passages[0].book == told.own


def test_another_book_and_a_training_book(protected):
    found, pair = protected(FERRY, WINDS, training=("winds",))
    assert found.for_pair(pair, FERRY).excused == ("winds",)
    other, pair = protected(FERRY, WINDS)
    analysis = passages(other, pair, FERRY, "x two three four five six y")
    assert analysis.passages.longest_passage.book == "winds"
    assert other.holding(analysis, FERRY) == {"winds": WINDS, "ferry": FERRY}


NOTES = (
    Excerpt("excluded1", "q r s t u v", chapter="excluded: Notes"),
    Excerpt("excluded2", "w x"),
)
WITH_NOTES = dataclasses.replace(FERRY, excluded=NOTES)


def test_text_that_is_not_measured_is_looked_for_and_named(protected):
    found, pair = protected(WITH_NOTES, WINDS)
    of = found.for_pair(pair, WITH_NOTES)
    assert of.books == ("ferry", "ferry (excluded text)", "winds")
    assert found.for_pair(pair, WINDS).books == ("winds", "ferry", "ferry (excluded text)")
    analysis = passages(found, pair, WITH_NOTES, "z q r s t u v w x z")
    longest = analysis.passages.longest_passage
    # No passage runs on from one document into the next.
    assert (longest.words, longest.book, longest.excerpt_at) == (6, of.books[1], "excluded1")
    assert analysis.measurement.words == 16
    holder = found.holding(analysis, WITH_NOTES)[longest.book]
    assert (holder.title, holder.excerpts) == (FERRY.title, NOTES)
    assert [book.id for book in found.test_books()] == ["ferry", "winds"]
    assert set(found.scan_scope(pair).books) == {"winds"}
    # A book's role is its excluded text's, too.
    found, pair = protected(WINDS, WITH_NOTES, training=("ferry",))
    of = found.for_pair(pair, WINDS)
    assert (of.books, of.excused) == (("winds",), ("ferry", "ferry (excluded text)"))
    # Too few words for a passage are no book.
    few = dataclasses.replace(FERRY, excluded=NOTES[1:])
    found, pair = protected(few)
    assert found.for_pair(pair, few).books == ("ferry",)


def test_of_a_control_its_excluded_text_is_excused(protected):
    found, pair = protected(WITH_NOTES, WINDS, excused=("ferry",))
    told = passages(found, pair, WITH_NOTES, "z q r s t u v z").passages
    assert (told.longest_passage.words, told.excused.words) == (0, 6)


def test_a_book_that_cannot_be_measured_is_told(protected):
    found, pair = protected(FERRY, SHORT)
    assert found.for_pair(pair, FERRY).books == ("ferry",)
    assert list(found.unread) == ["short"]
    with pytest.raises(BookError):
        found.for_pair(pair, SHORT)
