"""Passages that markup, codes or another order disguise are found nearly verbatim."""

import html
import json
import random
from functools import cache
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Generation, Scoring
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

BOOKS = Path(__file__).parents[2] / "fixtures" / "books"
PASSAGE, AROUND, TRIALS = 60, 120, examples(8, fast=3)
LEET = str.maketrans("eaiost", "3@1057")
TAGS = ("DT", "NN", "IN", "VBD", "PRP$", "TO", "JJ", "NNP")


@cache
def book(name):
    return Book(
        name, name, "A", tuple(cut(read_epub(BOOKS / f"{name}.epub"))), digest=""
    )


@cache
def index():
    return SharedIndex([book("the-lamplighter")], k=5)


@cache
def prose(name):
    return " ".join(excerpt.text for excerpt in book(name).excerpts).split()


def bpe(words):
    """Byte-level pieces, in which no byte is a blank or a control character."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown}
    letters |= {byte: chr(256 + n) for n, byte in enumerate(others)}
    return "".join(letters[byte] for byte in " ".join(words).encode())


def pieces(words, mark):
    """Words in pieces of three letters, of which all but the first have a mark."""
    cut_up = ([word[at : at + 3] for at in range(0, len(word), 3)] for word in words)
    return " ".join(mark.join(parts) for parts in cut_up)


def tagged(words, glue):
    return " ".join(f"{word}{glue}{TAGS[len(word) * 5 % 8]}" for word in words)


DISGUISES = {
    "byte-level BPE": bpe,
    "byte-level BPE pieces": lambda words: " ".join(
        piece for word in words for piece in (f"Ġ{word[:3]}", word[3:]) if piece
    ),
    "SentencePiece": lambda words: " ".join(
        f"▁{word[:3]} {word[3:]}" for word in words
    ),
    "WordPiece": lambda words: pieces(words, " ##"),
    "subword pieces": lambda words: pieces(words, "@@ "),
    "word/TAG": lambda words: tagged(words, "/"),
    "word_TAG": lambda words: tagged(words, "_"),
    "a string a word": json.dumps,
    "an object a word": lambda words: json.dumps([{"token": word} for word in words]),
    "numbered objects": lambda words: json.dumps(
        [{"id": n, "token": word, "pos": TAGS[n % 8]} for n, word in enumerate(words)]
    ),
    "a stream": lambda words: "".join(
        f"data: {json.dumps({'id': 'c-7', 'model': 'm-4', 'delta': {'index': 0, 'text': word}})}\n"
        for word in words
    ),
    "a transcript": lambda words: json.dumps(
        [
            {"word": word, "start": n * 0.37, "end": n * 0.37 + 0.3}
            for n, word in enumerate(words)
        ]
    ),
    "a number on each word": lambda words: " ".join(
        f"{word}{n}" for n, word in enumerate(words)
    ),
    "terminal colors": lambda words: "".join(f"\x1b[1m{word}\x1b[0m" for word in words),
    "written terminal colors": r"\033[0m".join,
    "comments": lambda words: " ".join(
        f"<!-- {' '.join(words[at : at + 9])} --> {' '.join(words[at + 9 : at + 18])}"
        for at in range(0, len(words), 18)
    ),
    "escaped blanks": r"\u0020".join,
    "escaped letters": lambda words: "".join(
        f"\\u{ord(c):04x}" for c in " ".join(words)
    ),
    "code points": lambda words: " ".join(f"U+{ord(c):04X}" for c in " ".join(words)),
    "bytes": lambda words: "".join(
        f"\\x{byte:02x}" for byte in " ".join(words).encode()
    ),
    "literal line ends": r"\n".join,
    **{f"filler {ord(mark):x}": mark.join for mark in "\u115f\u1160\u3164\uffa0"},
    "percent blanks": "%20".join,
    "percent letters": lambda words: "".join(
        f"%{byte:02X}" for byte in " ".join(words).encode()
    ),
    "HTML twice": lambda words: html.escape(html.escape("&nbsp;".join(words))),
    "HTML letters twice": lambda words: "".join(
        f"&amp;#{ord(c)};" for c in " ".join(words)
    ),
    "doubled words": lambda words: " ".join(f"{word} {word}" for word in words),
    "trebled words": lambda words: " ".join(f"{word} {word} {word}" for word in words),
    "leet": lambda words: " ".join(words).lower().translate(LEET),
    "lines backwards": lambda words: "\n".join(
        " ".join(words[at : at + 9])[::-1] for at in range(0, len(words), 9)
    ),
    "all backwards": lambda words: " ".join(words)[::-1],
    "letters of each word backwards": lambda words: " ".join(
        word[::-1] for word in words
    ),
}


def planted(disguise, source, length=PASSAGE, trials=TRIALS):
    others, words = prose("the-seed-vault"), prose(source)
    for trial in range(trials):
        rng = random.Random(trial)
        at, cut_at = (
            rng.randrange(len(words) - length),
            rng.randrange(len(others) - 2 * AROUND),
        )
        before, after = others[cut_at:][:AROUND], others[cut_at + AROUND :][:AROUND]
        yield "\n\n".join(
            (" ".join(before), disguise(words[at : at + length]), " ".join(after))
        )


def longest(texts):
    protected = Protected(index(), "the-lamplighter", ("the-lamplighter",))
    tally = Tally(book("the-lamplighter"), Scoring(), protected=protected)
    first = book("the-lamplighter").excerpts[0].id
    tally.add(Generation(first, n, text) for n, text in enumerate(texts))
    return tally.passages().nv_by_round


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_disguised_passage_is_found_and_its_honest_twin_is_not(disguise):
    texts = list(planted(disguise, "the-lamplighter"))
    result = longest(texts)
    assert sum(words >= 20 for words in result) == TRIALS
    assert max(longest(planted(disguise, "the-seed-vault"))) < 20
    its_keys = [("the-lamplighter", book_keys(book("the-lamplighter"), k=5))]
    (survivor,) = GenerationPrefilter(texts, k=5).matching_books(its_keys, least=20)
    assert survivor.nv_longest == max(result)


def read(*texts):
    return further_readings(texts, keyed(texts, "unicode"), ())


def test_prose_is_read_once():
    words = prose("the-seed-vault")
    texts = [" ".join(words[at : at + 400]) for at in range(0, len(words), 400)]
    assert len(set(read(*texts)[0])) <= len(texts) / 10
    assert read() == ([], [])
    assert read("", "", "\0", "\ud800", "In 1984, at 7:05 (p. 12).") == ([], [])


NASTY = st.sampled_from([
    *"aZ1 \\&#;%=<>{}[]'\"_*-\n\0\x1b\x85\xc2\x80\xf4\u0120\u2581\u202e\u0301\ufdfa\U000e0061",
    "\ud83d", "\udc00", "&#", "&amp;", "&#x", "&#" + "9" * 4_301, "&amp;#" + "0" * 4_301,
    "\\u", "\\x", "\\u{", "U+", "10FFFF", "d800", "the of ", "##", "@@ ", "<b ", "='", "</",
    "&#xd800;",
])  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(NASTY | st.characters(), max_size=12).map("".join))
def test_no_text_is_beyond_reading(text):
    index().matches([text, text + 12 * "\\", " ".join([text] * 4)])


def test_a_stretch_ends_with_its_text():
    brief = ("doubled doubled", "kciuq nworb xof", "sea the of")
    assert read(*(text for text in brief for _ in range(40))) == ([], [])
    doubled = " ".join(["the the end end of of it it"] * 4)
    numbers, readings = read(
        "", "the the end", doubled, "\0%61%62%63%64%65%66%67%68%69"
    )
    assert set(numbers) == {2, 3}
    assert readings[0] == " ".join(["the end of it"] * 4)
    assert readings[numbers.index(3)] == "\0abcdefghi"
