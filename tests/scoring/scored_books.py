"""Books, generations, prose and covered words as tests of scoring make them."""

import random
from itertools import accumulate, chain, repeat

from hypothesis import strategies as st

from pytest_memleak.records import Book, Excerpt, Generation
from pytest_memleak.scoring.rounds import Rounds


def book_of(*texts, book_id="b", instructions=(), contiguous=True):
    """A book of these excerpts; `instructions`: instructions of the first of them."""
    pairs = zip(texts, chain(instructions, repeat(None)), strict=False)
    excerpts = tuple(Excerpt(f"p_id{n}", *its) for n, its in enumerate(pairs, start=1))
    return Book(book_id, book_id, "A", excerpts, digest="", contiguous=contiguous)


def generations_of(*per_excerpt):
    """Generations of each excerpt of such a book, in rounds."""
    return [
        Generation(f"p_id{n}", ordinal, text)
        for n, texts in enumerate(per_excerpt, start=1)
        for ordinal, text in enumerate(texts)
    ]


def reciting_case(rng, *, models=1):
    """A book of few letters as words, and for each model generations that recite it."""
    letters = "abcdefghijklmn"[: rng.randint(1, 14)]
    texts = [
        rng.choices(letters, k=rng.randint(0, 30)) for _ in range(rng.randint(1, 5))
    ]
    texts[0] += rng.choices(letters, k=6)
    whole = [word for text in texts for word in text]

    def write():
        start = rng.randrange(len(whole))
        recited = whole[start : start + rng.randint(1, 25)]
        return " ".join([*recited, "y", *rng.choices(letters, k=rng.randint(0, 9))])

    instructions = [rng.choice([None, write()]) for _ in texts]
    book = book_of(*map(" ".join, texts), instructions=instructions)
    sampled = [
        generations_of(*[[write() for _ in range(rng.randint(0, 6))] for _ in texts])
        for _ in range(models)
    ]
    for generations in sampled:
        rng.shuffle(generations)
    return book, *sampled


VOCABULARY = [f"w{n}" for n in range(4_000)]
WEIGHTS = list(accumulate(1 / (n + 2.7) for n in range(4_000)))
PHRASES = [random.Random(n).choices(VOCABULARY, k=4 + n % 5) for n in range(300)]


def prose(rng, words):
    """Words as frequent as in prose (Zipf's law), some of them in set phrases."""
    text = []
    while len(text) < words:
        text += rng.choice(PHRASES) if rng.random() < 0.1 else []
        text += rng.choices(VOCABULARY, cum_weights=WEIGHTS, k=3)
    return text[:words]


WORDS = 40
INTERVAL = st.builds(
    lambda at, words: (at, min(WORDS, at + words)),
    st.integers(0, WORDS - 1),
    st.integers(1, 12),
)
INTERVALS = st.sets(INTERVAL, max_size=3)
ROUNDS = st.lists(INTERVALS, min_size=1, max_size=7)


def rounds_of(intervals):
    return Rounds.of(dict(enumerate(intervals)))


def counts_of(intervals):
    return rounds_of(intervals).counts(words=WORDS, n=len(intervals))


def covered(intervals):
    return {place for start, end in intervals for place in range(start, end)}
