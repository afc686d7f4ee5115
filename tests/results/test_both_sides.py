"""A near-verbatim passage beside its generation: where the quotes begin, and how far they go."""

from itertools import chain
from pathlib import Path

import pytest

from pytest_memleak.records import Block, Book, Excerpt
from pytest_memleak.records.measurement import Passage
from pytest_memleak.reports.html.changed_words import mark_differing_words
from pytest_memleak.results.passage_details import _readings
from pytest_memleak.results.quotes import quote_passage
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.words import words

UDHR = Path(__file__).parents[1] / "scoring" / "udhr"
PRINTED = "“The Ferry—left at Nine; nobody, not even Lusk, had seen it go, and none asked why.”"


def sides_of(printed, answer, *, place=0, start=0, most=12):
    """The quotes of all of the book from word `start` on, and of the answer from word `place`."""
    half = len(printed) // 2
    cut = printed.index(" ", half) if " " in printed[half:] else half
    excerpts = tuple(
        Excerpt(f"p_id{n}", text)
        for n, text in enumerate((printed[:cut], printed[cut:]))
    )
    book = Book("ferry", "The Ferry", "Nobody", excerpts, digest="d" * 64)
    size = sum(len(passage_words(excerpt.text)) for excerpt in excerpts)
    passage = Block(size, start, size)
    answers = _readings(answer, "unicode")
    size = passage.end - passage.start
    return quote_passage(
        book.excerpts,
        passage_words,
        passage.start,
        size,
        most,
        place=place,
        answers=answers,
    )


def marked(quote, answer):
    passage = Passage(
        "near-verbatim passage", 20, 0, 20, None, "p_id0", 0, quote, answer=answer
    )
    return [
        [text for text, differs in side if differs]
        for side in mark_differing_words(passage)
    ]


@pytest.mark.parametrize(("most", "book", "answer"), [
    (0, "", ""),
    (4, "… nobody, not even Lusk, … (+13 words)", "… nobody, not one Lusk, …"),
    (12, "… Ferry—left at Nine; nobody, not even Lusk, had seen it go, … (+5 words)",
     "… Ferry—left at Nine; nobody, not one Lusk, had seen it go, …"),
    (None, PRINTED, PRINTED.replace("even", "one")),
])  # fmt: skip
def test_both_quotes_begin_shortly_before_the_first_change(most, book, answer):
    text = f"Sure: {PRINTED.replace('even', 'one')} And so on."
    quotes = sides_of(PRINTED, text, place=1, most=most)
    assert quotes == (book, answer)
    if most:
        assert marked(*quotes) == [["even"], ["one"]]


@pytest.mark.parametrize(("change", "differing"), [
    (("even ", ""), [["even"], []]),
    (("even", "even old"), [[], ["old"]]),
    (("Lusk", "L\u0443sk"), [["Lusk"], ["L\u0443sk"]]),  # a letter that looks alike
    (("even", "<b>no</b>"), [["even"], ["no"]]),
    (("even", "<script>\x1b\u202eno"), [["even"], ["no"]]),
])  # fmt: skip
def test_only_changed_words_are_marked(change, differing):
    quotes = sides_of(PRINTED, PRINTED.replace(*change))
    assert marked(*quotes) == differing
    assert not {"\x1b", "\u202e"} & {*chain(*quotes)}


def test_a_passage_without_a_change_shows_one_side():
    assert sides_of(PRINTED, PRINTED.upper()) == (sides_of(PRINTED, "no")[0], "")


def test_a_passage_in_another_reading_is_quoted_as_it_reads():
    """Written backwards, its words stand behind those of the text itself."""
    printed = " ".join(PRINTED for _ in range(3))
    backwards = printed.replace("even", "one", 1)[::-1]
    place = len(passage_words(backwards))
    quote, answer = sides_of(printed, backwards, place=place)
    assert marked(quote, answer) == [["even"], ["one"]]


def test_text_in_markup_is_not_quoted_on_top():
    """A tag may hold the whole book, which folding moves behind the text."""
    answer = " ".join(f'<i title="{PRINTED}">{word}</i>' for word in PRINTED.split())
    quote, shown = sides_of(PRINTED, answer.replace(">even<", ">one<"))
    assert len(words(shown, "unicode")) == 12
    assert marked(quote, shown) == [["even"], ["one"]]


@pytest.mark.parametrize("script", ["chinese", "japanese", "thai"])
def test_a_quote_without_spaces_has_at_most_twelve_words(script):
    """Words that ICU separates in the whole text may be fewer where they stand alone."""
    printed = UDHR.joinpath(f"{script}.txt").read_text("utf-8")[:400]
    quote, answer = sides_of(printed, f"{printed[:150]}X{printed[151:]}")
    counts = [
        len(words(side.partition(" … (+")[0], "unicode")) for side in (quote, answer)
    ]
    assert all(10 <= count <= 12 for count in counts)
    assert marked(quote, answer)[1][0].startswith("X")


def test_a_number_is_quoted():
    """Alone at a line's start it would be no word."""
    printed = PRINTED.replace("Nine", "9")
    assert " at 9; nobody, " in sides_of(printed, printed.replace("even", "one"))[1]
