"""Passages of a book in other prose, in disguises of markup, codes and another order."""

import base64
import codecs
import html
import json
import random
from functools import cache
from pathlib import Path

from examples import examples

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book

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
    "escapes in escaped JSON": lambda words: "".join(
        f"\\\\u{ord(c):04x}" for c in " ".join(words)
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
    "a command per word": lambda words: "\n".join(f"print('{word}')" for word in words),
    "leet": lambda words: " ".join(words).lower().translate(LEET),
    "lines backwards": lambda words: "\n".join(
        " ".join(words[at : at + 9])[::-1] for at in range(0, len(words), 9)
    ),
    "all backwards": lambda words: " ".join(words)[::-1],
    "letters of each word backwards": lambda words: " ".join(
        word[::-1] for word in words
    ),
    "base64": lambda words: base64.b64encode(" ".join(words).encode()).decode(),
    "base64 in lines": lambda words: base64.encodebytes(
        " ".join(words).encode()
    ).decode(),
    "base64 below words": lambda words: "\n".join(
        "then " + base64.b64encode(" ".join(words[at : at + 9]).encode()).decode()
        for at in range(0, len(words), 9)
    ),
    "hexadecimal": lambda words: " ".join(words).encode().hex(),
    "ROT13": lambda words: codecs.encode(" ".join(words), "rot13"),
    "camelCase": lambda words: "".join(word.capitalize() for word in words),
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
