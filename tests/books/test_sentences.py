from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.sentences import SentenceJudge, cut_paragraph
from pytest_memleak.scoring.words import words


def parts(text, **settings):
    pieces = cut_paragraph(text, **{"mode": "paper", "longest": 500, **settings})
    return [text[piece.start : piece.end].strip() for piece in pieces]


def test_sentences():
    text = "It rained. “Did it?” said she… He said (quietly): “Yes!” Then it stopped."
    assert parts(text) == [
        "It rained.",
        "“Did it?” said she…",
        "He said (quietly): “Yes!”",
        "Then it stopped.",
    ]


def test_unspaced_sentences():
    assert parts("雨が降った。「本当？」と言った。", mode="unicode") == [
        "雨が降った。",
        "「本当？」",
        "と言った。",
    ]


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        ("He came to the house of Mr.", " Holmwood that night.", False),
        ("It was written by J.", " Seward himself in the end.", False),
        ("The price was 5.", " Nobody paid it at all.", True),
        ("He went home.", " Then he slept.", True),
        ("They met Dr.", " Van Helsing at the gate.", False),
        ("Was it so?", " She never said.", True),
        ("雨が降った。", "彼は言った。", True),
    ],
)
def test_judge(before, after, ends):
    around = "There was nothing more to be said about it. "
    text = around * 20 + before + after + " " + around * 20
    assert SentenceJudge().ends_at(text, len(around * 20 + before)) is ends


def test_a_sentence_that_is_too_long_is_cut_between_words():
    pieces = cut_paragraph("word, " * 1_200 + "end.", mode="paper", longest=500)
    assert all(piece.words <= 50 for piece in pieces)
    assert all(not piece.ends_sentence for piece in pieces[:-1])
    assert sum(piece.words for piece in pieces) == 1_201


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("—".join(["word"] * 1_500), "paper"),
        (".".join(["word"] * 1_500), "paper"),
        ("漢" * 1_500, "unicode"),
        ("ก" * 1_500, "unicode"),
    ],
)
def test_runs_without_white_space_are_cut_between_words(text, mode):
    pieces = cut_paragraph(text, mode=mode, longest=500)
    assert max(piece.words for piece in pieces) <= 50
    assert [word for one in pieces for word in words(text[one.start : one.end], mode)] == words(
        text, mode
    )


def test_what_has_no_border_stays_whole():
    text = "x" * 100_000
    assert parts(text, longest=0) == [text]


PROSE = st.lists(
    st.sampled_from(
        [
            "word",
            "Mr.",
            "U.S.",
            "end.",
            "“So?”",
            "漢字。",
            "a—b",
            "Ünï",
            "5.5",
            "...",
            "o'er",
            "\n",
            "İ",
        ]
    ),
    max_size=60,
)


@given(PROSE, st.sampled_from([" ", "", "\n"]), st.sampled_from(["paper", "unicode"]))
def test_no_character_and_no_word_is_lost(tokens, separator, mode):
    text = separator.join(tokens)
    pieces = cut_paragraph(text, mode=mode, longest=5)
    assert "".join(text[piece.start : piece.end] for piece in pieces) == text
    assert all(one.end == other.start for one, other in pairwise(pieces))
    joined = [word for one in pieces for word in words(text[one.start : one.end], mode)]
    assert joined == words(text, mode)
    assert [piece.words for piece in pieces] == [
        len(words(text[piece.start : piece.end], mode)) for piece in pieces
    ]
