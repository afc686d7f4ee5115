"""Pairs to spread: a book of random words, and generations that recite it."""

import random

import pytest
from scored_books import book_of, generations_of


@pytest.fixture(scope="session")
def case():
    rng = random.Random(8)
    vocabulary = [f"w{n}" for n in range(60)]
    text = rng.choices(vocabulary, k=3_000)
    excerpts = [text[at : at + 300] for at in range(0, 3_000, 300)]

    def write():
        at = rng.randrange(2_800)
        return " ".join(
            text[at : at + rng.randint(1, 60)] + rng.choices(vocabulary, k=100)
        )

    instructions = [" ".join(words[:6]) for words in excerpts]
    generations = generations_of(*([write() for _ in range(30)] for _ in excerpts))
    rng.shuffle(generations)
    return book_of(*map(" ".join, excerpts), instructions=instructions), generations


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("pytest_memleak.parallel.processes._BLOCK", 10_000)
