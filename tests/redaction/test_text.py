"""What a model wrote or a book says, made safe to show, and kept short."""

import unicodedata
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak import score
from pytest_memleak.records import Block, Book, Coverage, Excerpt, Measurement, Span
from pytest_memleak.redaction.text import QUOTED_WORDS, first_words, inert
from pytest_memleak.results.quotes import quote
from pytest_memleak.scoring.words import words

ANY_TEXT = st.text(
    st.characters(categories=None)
    | st.sampled_from(
        "\x00\x07\x08\x1b\x7f\x9b\u202e\u2028\u2066\ud800\ufeff\U000e0041 \t\n"
    )
)


@given(ANY_TEXT, st.integers(1, 60))
def test_inert_text_acts_on_no_terminal(text, longest):
    shown = inert(text, longest=longest)
    assert {unicodedata.category(c) for c in shown} <= {
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs",
        "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So",
    }  # fmt: skip
    assert len(shown) <= longest
    assert len(shown.splitlines()) <= 1
    assert inert(shown, longest=longest) == shown
    shown.encode("utf-8")


@given(st.text("abcé漢“— ", max_size=40))
def test_harmless_text_stays_as_it_is(text):
    assert inert(text) == " ".join(text.split())


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b[31mred\x1b[0m", "[31mred [0m"),
    ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "]8;;http://x link ]8;;"),
    ("one\r\ntwo\tthree\x0bfour\x85five\u2028six", "one two three four five six"),
    ("\u202edesrever\u202c", "desrever"),
    ("so\u00adft hy\u200bphens", "so ft hy phens"),
    ("e\u0301 stays", "e\u0301 stays"),
    ("lone \ud800 surrogate", "lone surrogate"),
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # escaped where it is HTML
    ("", ""),
    (" \x00 ", ""),
])  # fmt: skip
def test_a_control_character_becomes_a_space(text, shown):
    assert inert(text) == shown


def test_long_text_is_cut_with_an_ellipsis():
    assert inert("x" * 20, longest=10) == "x" * 9 + "…"
    assert inert("x" * 10, longest=10) == "x" * 10
    assert len(inert("word " * 1_000_000)) == 500


TEXT = "The ferryman counted nine lanterns along the quay, and did not like the number at all."
EXCERPTS = (Excerpt("p1", TEXT), Excerpt("p2", "His grandmother had warned him."))
BOOK = Book("b", "B", "A", EXCERPTS, "")


def measured(book=BOOK, **settings):
    texts = [
        {"excerpt_id": excerpt.id, "excerpt_text": excerpt.text}
        for excerpt in book.excerpts
    ]
    answers = [
        {"excerpt_id": excerpt.id, "generated_text": excerpt.text}
        for excerpt in book.excerpts
    ]
    return score(texts, answers, **settings)


@pytest.mark.parametrize(("start", "end", "most", "shown"), [
    (0, 16, 12, "The ferryman counted nine lanterns along the quay, and did not like … (+4 words)"),
    (2, 6, 0, ""),
    (2, 6, 1, "counted … (+3 words)"),
    (2, 6, 3, "counted nine lanterns … (+1 word)"),
    *((2, 6, most, "counted nine lanterns along") for most in (4, 99, None)),
    (14, 18, 12, "at all. His grandmother"),  # across excerpts
    (16, 21, 12, "His grandmother had warned him."),
])  # fmt: skip
def test_a_quote_has_as_many_words_as_asked_for_and_counts_the_rest(
    start, end, most, shown
):
    block, result = Block(end - start, start, end), measured()
    assert quote(BOOK, block, result, most=most) == shown
    if most == QUOTED_WORDS:
        assert quote(BOOK, block, result) == shown


def test_a_quote_has_no_soft_hyphen_and_of_a_long_word_the_beginning():
    assert quote(BOOK, Span(0), measured()) == ""  # what has no place has no quote
    book = Book(
        "b", "B", "A", (Excerpt("p1", "a re\u00admem\u00adbered " + "x" * 300),), ""
    )
    result = measured(book, k=1, word_mode="unicode")
    assert quote(book, Block(3, 0, 3), result) == "a remembered " + "x" * 39 + "…"


CHARACTERS = st.sampled_from([*"abÉé  ’漢_\n\x1b\u202e"])


def plain(parts):
    """Letters of words, without the underscores beside them, which may be of no word."""
    return "".join(parts).replace("_", "")


@given(st.lists(st.text(CHARACTERS, max_size=30), min_size=1, max_size=3), st.data())
def test_a_quote_has_the_matched_words(texts, data):
    mode = data.draw(st.sampled_from(["paper", "unicode"]))
    book = Book(
        "b", "B", "A", tuple(Excerpt(f"p{n}", t) for n, t in enumerate(texts)), ""
    )
    cut = [words(text, mode) for text in texts]
    everything = [word for some in cut for word in some]
    if not everything:
        return
    starts = tuple(sum(map(len, cut[:n])) for n in range(len(cut)))
    empty = Coverage(array("i"), array("i"))
    measures = (0.0, Block(0), Span(0), 0, (), empty, starts)
    result = Measurement(len(everything), 1, 0, 20, mode, 1, *measures)
    start = data.draw(st.integers(0, len(everything) - 1))
    end = data.draw(st.integers(start + 1, len(everything)))
    shown = quote(book, Block(end - start, start, end), result, most=None)
    assert plain(words(shown, mode)) == plain(everything[start:end])
    assert inert(shown, longest=len(shown)) == shown


@pytest.mark.parametrize(("text", "shown"), [
    (TEXT, "The ferryman counted nine lanterns along the quay, and did not like …"),
    ("_".join(words(TEXT)), f"{'_'.join(words(TEXT)[:12])} …"),
    ("他想起了从前的事情，夜色很深，灯火", "他想起了从前的事情，夜色很 …"),
    ("x" * 200, "x" * 96 + " …"),
    ("no more than a dozen words stay as they are", None),
    ("", None),
])  # fmt: skip
def test_a_long_text_is_cut_to_twelve_words(text, shown):
    assert first_words(text) == (text if shown is None else shown)
    assert first_words(text, 0) == (" …" if text else "")
