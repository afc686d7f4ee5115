"""What a model wrote or a book says, made safe to show, and kept short."""

import unicodedata
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak import score
from pytest_memleak.findings.quotes import quote
from pytest_memleak.records import Block, Book, Coverage, Excerpt, Measurement, Span
from pytest_memleak.redaction.text import QUOTED_WORDS, Quotes, inert, without_quotes
from pytest_memleak.scoring.words import words

ANY_TEXT = st.text(
    st.characters(categories=None)
    | st.sampled_from("\x00\x07\x08\x1b\x7f\x9b\u202e\u2028\u2066\ud800\ufeff\U000e0041 \t\n")
)

# --- inert ---------------------------------------------------------------------------------


@given(ANY_TEXT, st.integers(1, 60))
def test_nothing_in_it_acts_on_a_terminal(text, longest):
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
def test_what_is_harmless_stays_as_it_is(text):
    assert inert(text) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
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
    ],
)
def test_what_acts_becomes_a_space(text, shown):
    assert inert(text) == shown


def test_what_is_long_is_cut_and_says_so():
    assert inert("x" * 20, longest=10) == "x" * 9 + "…"
    assert inert("x" * 10, longest=10) == "x" * 10
    assert len(inert("word " * 1_000_000)) == 500


# --- quotes --------------------------------------------------------------------------------

TEXT = "The ferryman counted nine lanterns along the quay, and did not like the number at all."
BOOK = Book(
    "b", "B", "A", (Excerpt("p1", TEXT), Excerpt("p2", "His grandmother had warned him.")), ""
)
TEXTS = [" ".join(one.text for one in BOOK.excerpts)]


def measured(book=BOOK, **settings):
    drawn = [
        {"excerpt_id": one.id, "generations": [{"generated_text": one.text}]}
        for one in book.excerpts
    ]
    return score(
        [{"excerpt_id": one.id, "excerpt_text": one.text} for one in book.excerpts],
        drawn,
        **settings,
    )


def spoken(start, end, **settings):
    return quote(BOOK, Block(end - start, start, end), measured(), **settings)


def test_a_quote_has_twelve_words_and_counts_the_rest():
    assert spoken(0, 16) == (
        "the ferryman counted nine lanterns along the quay and did not like … (+4 words)"
    )
    assert len(spoken(0, 16).partition(" …")[0].split()) == QUOTED_WORDS


@pytest.mark.parametrize(
    ("most", "shown"),
    [
        (0, ""),
        (1, "counted … (+3 words)"),
        (3, "counted nine lanterns … (+1 word)"),
        (4, "counted nine lanterns along"),
        (99, "counted nine lanterns along"),
        (None, "counted nine lanterns along"),
    ],
)
def test_as_many_as_asked_for(most, shown):
    assert spoken(2, 6, most=most) == shown


def test_a_quote_may_cross_excerpts():
    assert spoken(14, 18) == "at all his grandmother"
    assert spoken(16, 21) == "his grandmother had warned him"


def test_what_has_no_place_has_no_quote():
    assert quote(BOOK, Span(0), measured()) == ""


def test_a_large_number_left_out_has_separators():
    book = Book("b", "B", "A", (Excerpt("p1", " ".join(f"w{n}" for n in range(3000))),), "")
    assert quote(book, Block(3000, 0, 3000), measured(book)).endswith("w11 … (+2,988 words)")


def test_a_book_cannot_act_on_the_terminal_through_a_quote():
    text = "a\u202eb c\u0301d 漢字 " + "x" * 300
    book = Book("b", "B", "A", (Excerpt("p1", text),), "")
    found = measured(book, k=1, words="unicode")
    shown = quote(book, Block(found.words, 0, found.words), found)
    assert inert(shown, longest=300) == shown
    assert len(shown) < 200


CHARACTERS = st.sampled_from(["a", "b", "É", "é", " ", " ", "’", "漢", "\u00ad", "_", "\n", "\x1b"])


@given(st.lists(st.text(CHARACTERS, max_size=30), min_size=1, max_size=3), st.data())
def test_a_quote_is_the_matched_words(texts, data):
    mode = data.draw(st.sampled_from(["paper", "unicode"]))
    book = Book("b", "B", "A", tuple(Excerpt(f"p{n}", t) for n, t in enumerate(texts)), "")
    cut = [words(text, mode) for text in texts]
    everything = [word for some in cut for word in some]
    if not everything:
        return
    starts = tuple(sum(map(len, cut[:n])) for n in range(len(cut)))
    empty = Coverage(array("i"), array("i"))
    found = Measurement(
        len(everything), 1, 0, 20, mode, 1, 0.0, Block(0), Span(0), 0, (), empty, starts
    )
    start = data.draw(st.integers(0, len(everything) - 1))
    end = data.draw(st.integers(start + 1, len(everything)))
    shown = quote(book, Block(end - start, start, end), found, most=None)
    assert shown == " ".join(inert(word, longest=40) for word in everything[start:end])


# --- longer texts without the book's ------------------------------------------------------

WITHHELD = "[16 words withheld]"


@pytest.mark.parametrize(
    "said",
    [
        TEXT,
        TEXT.upper(),
        TEXT.replace(" ", "\n"),
        TEXT.replace(" ", ", "),
        TEXT.replace(" ", "\\n"),
        TEXT.replace(" ", "\\n\\t"),
        TEXT.replace(" ", "\\u2019 "),
        TEXT.replace(" ", "\nE    "),
        TEXT.replace(" ", "\nE   - "),
    ],
)
def test_the_books_words_are_taken_out_however_they_are_quoted(said):
    plain = without_quotes(f"AssertionError: assert '{said}' == ''", TEXTS)
    assert WITHHELD in plain
    assert not set(words(TEXT)[2:]) & set(words(plain.lower()))
    assert plain.startswith("AssertionError: assert '")
    assert plain.endswith("' == ''")


def test_as_many_words_as_a_quote_may_have_stay():
    twelve = " ".join(words(TEXT)[:12])
    assert without_quotes(f"x {twelve} y", TEXTS) == f"x {twelve} y"
    thirteen = " ".join(words(TEXT)[:13])
    assert without_quotes(f"x {thirteen} y", TEXTS) == "x [13 words withheld] y"
    assert without_quotes("not like", TEXTS, most=1) == "[2 words withheld]"


def test_every_passage_is_taken_out_and_what_lies_between_stays():
    said = f"first {TEXT} second {TEXT} third"
    assert without_quotes(said, TEXTS) == f"first {WITHHELD}. second {WITHHELD}. third"


def test_a_passage_may_cross_excerpts():
    crossing = " ".join(words(TEXT)[8:]) + " his grandmother had warned him"
    assert without_quotes(crossing, TEXTS) == "[13 words withheld]"


def test_scripts_without_spaces_are_counted_by_the_character():
    chinese = "他想起了从前的事情，夜色很深，灯火在河上一点一点地亮起来。"
    assert without_quotes(f"x {chinese[:9]} y", [chinese]) == f"x {chinese[:9]} y"
    plain = without_quotes(f"x {chinese} y", [chinese])
    assert "words withheld" in plain
    assert not set(chinese) & set(plain) - set("，。")


def test_what_is_no_quote_stays_as_it_is():
    said = "C:\\new\\table E 1\n\x1b[31m" + "the quay the ferryman " * 20
    assert without_quotes(said, TEXTS) == said
    assert without_quotes("", TEXTS) == ""
    assert without_quotes("a b c", [""]) == "a b c"


@pytest.mark.parametrize(
    "said",
    [
        "_".join(words(TEXT)),
        "\n".join(f"{n}: {word}" for n, word in enumerate(words(TEXT))),
        repr(dict(enumerate(words(TEXT)))),
        "".join(f"E     - {word}\n" for word in words(TEXT)),
        TEXT.upper(),
        "-".join(words(TEXT)),
    ],
)
def test_numbered_set_in_capitals_or_joined_it_is_still_a_quote(said):
    assert not set(words(TEXT)[2:]) & set(words(without_quotes(said, TEXTS).lower()))


def test_a_text_that_nobody_could_read_is_cut():
    plain = without_quotes("x " * 10_000_000, TEXTS)
    assert plain.endswith("[19,800,000 more characters withheld]")


VOCABULARY = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=40)


@given(VOCABULARY, VOCABULARY, st.integers(1, 4))
def test_no_run_of_the_books_words_is_left(book_words, said, most):
    plain = without_quotes(" ".join(said), [" ".join(book_words)], most=most)
    runs = {tuple(book_words[n : n + most + 1]) for n in range(len(book_words) - most)}
    for part in plain.split("]"):
        left = part.partition("[")[0].split()
        assert not {tuple(left[n : n + most + 1]) for n in range(len(left) - most)} & runs


def test_many_texts_are_held_against_a_stream_that_is_gone_through_once():
    read = []

    def protected():
        read.append(1)
        yield from TEXTS

    quotes = Quotes(protected, most=QUOTED_WORDS)
    said = [f"{number} {TEXT}" for number in range(3)]
    quotes.look_for([*said, "a text of its own that is long enough to be looked for at all, yes"])
    assert [quotes.taken_out(one) for one in said] == [without_quotes(one, TEXTS) for one in said]
    assert len(read) == 1
    assert "withheld" in quotes.taken_out(" ".join(TEXT.split()[::-1]) + " " + TEXT)
    assert len(read) == 2
