"""Fifty kinds of honest writers: five sources of prose, each in ten manners, from seeds.

No text has a stretch of the book over 30 words, but in the manner "quoting at length".
"""

import random
from functools import cache

from answer_sets import book_of, novel_text
from corpus import king_james, shakespeare

from pytest_memleak.records import FinishReason, Generation, Scoring
from pytest_memleak.records.verdicts import Limits
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.measure_table import PRESETS
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.evidence_requirements import GenerationRequest
from pytest_memleak.verdict.generation_kinds import GenerationCensus
from pytest_memleak.verdict.judge import judge
from pytest_memleak.verdict.prompt_overlap import prompt_overlap

SEEDS = (1, 2, 3)
STRICT = Limits(
    {
        name: limit
        for name, limit in PRESETS["strict"].items()
        if "greedy" not in name and name != "extracted"
    }
)
HELD_OUT = 20_000  # words, with the book among them, that no source has


@cache
def source(name):
    return SOURCES[name][0]()


@cache
def followers(name, order):
    text, table = source(name), {}
    for at in range(len(text) - order):
        table.setdefault(text[at : at + order], []).append(text[at + order])
    return table, list(table)


def pick(items, draw):
    return items[int(draw.random() * len(items))]


def chain(name, order, words, draw):
    """Prose of a chain over a source; it jumps to another place where the source ends."""
    table, starts = followers(name, order)
    text = list(pick(starts, draw))
    while len(text) < words:
        following = table.get(tuple(text[-order:]))
        text += [pick(following, draw)] if following else pick(starts, draw)
    return text[:words]


SOURCES = {
    "the book's own style": (lambda: shakespeare()[HELD_OUT:300_000], 2),
    "its style, one word back": (lambda: shakespeare()[HELD_OUT:300_000], 1),
    "King James": (lambda: king_james()[:300_000], 2),
    "King James, one word back": (lambda: king_james()[:300_000], 1),
    "the author's other plays": (lambda: shakespeare()[HELD_OUT:], 0),
}


def prose(name, words, draw, place):
    """Words of a source; of the plays themselves, no passage twice."""
    order = SOURCES[name][1]
    if order:
        return chain(name, order, words, draw)
    text = source(name)
    at = place * words % (len(text) - words)
    return list(text[at : at + words])


def in_lines(words, length, mark=""):
    return "\n".join(
        mark + " ".join(words[at : at + length]) for at in range(0, len(words), length)
    )


def dialogue(words, _, draw):
    return in_lines(
        [f"“{word}" if at % 12 == 0 else word for at, word in enumerate(words)], 24
    )


def numbered(words, _, draw):
    return "\n".join(
        f"{n}. {line}"
        for n, line in enumerate(in_lines(words, 15).splitlines(), start=1)
    )


def markdown(words, _, draw):
    return "## An answer\n\n" + in_lines(words, 40).replace("\n", "\n\n")


def quoting(length, share):
    """A quotation of so many words of the excerpt in this share of the texts."""

    def quote(words, own, draw):
        if draw.random() >= share:
            return " ".join(words)
        at, into = draw.randrange(len(own) - length), len(words) // 2
        return " ".join(
            [*words[:into], "he wrote:", *own[at : at + length], *words[into:]]
        )

    return quote


def sometimes_refusing(words, _, draw):
    return (
        "I'm sorry, but I can't write that."
        if draw.random() < 0.02
        else " ".join(words)
    )


PLAIN = lambda words, _, draw: " ".join(words)  # noqa: E731 - a row of the table below

# The length beside the excerpt's, and what becomes of the words.
MANNERS = {
    "plain": (1.0, PLAIN),
    "terse": (0.6, PLAIN),
    "long": (1.5, PLAIN),
    "dialogue": (1.0, dialogue),
    "numbered": (1.0, numbered),
    "verse": (1.0, lambda words, _, draw: in_lines(words, 8)),
    "Markdown": (1.0, markdown),
    "reasoning": (1.0, PLAIN),
    "refusing now and then": (1.0, sometimes_refusing),
    "quoting 15 words": (1.0, quoting(15, 0.01)),
}
WRITERS = tuple((source, manner) for source in SOURCES for manner in MANNERS)
QUOTING_AT_LENGTH = ("King James", "quoting at length")


def generations(book, writer, samples, seed):
    origin, manner = writer
    share, change = (
        (1.0, quoting(45, 0.2)) if writer == QUOTING_AT_LENGTH else MANNERS[manner]
    )
    draw = random.Random(f"{origin} {manner} {seed}")
    for ordinal in range(samples):
        for number, excerpt in enumerate(book.excerpts):
            own, place = (
                excerpt.text.split(),
                seed * 100 + ordinal * len(book.excerpts) + number,
            )
            text = change(prose(origin, int(share * len(own)), draw, place), own, draw)
            thought = (
                " ".join(prose(origin, 60, draw, place))
                if manner == "reasoning"
                else ""
            )
            yield Generation(
                excerpt.id, ordinal, text, FinishReason.STOP, reasoning=thought
            )


@cache
def play():
    return book_of("play", shakespeare(), excerpts=10)


@cache
def novel(path):
    return book_of(path.stem, novel_text(path), excerpts=10)


def judged(book, writer, samples, seed):
    census = GenerationCensus(book, requested := GenerationRequest(samples=samples))
    census.read(answers := [*generations(book, writer, samples, seed)])
    analysis = analyze(book, answers, Scoring())
    evidence = completeness(census.counted(), prompt_overlap(book, requested))
    rules = tuple(sorted({issue.rule for issue in evidence.issues}))
    return judge(analysis, evidence, STRICT, book), rules
