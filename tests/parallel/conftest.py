"""Pairs to spread: a book of random words, and generations that recite it."""

import random

import pytest

from pytest_memleak.records import Book, Excerpt, Generation


@pytest.fixture(scope="session")
def case():
    rng = random.Random(8)
    vocabulary = [f"w{n}" for n in range(60)]
    text = rng.choices(vocabulary, k=3_000)
    excerpts = tuple(
        Excerpt(f"p_id{n}", " ".join(text[at : at + 300]), " ".join(text[at : at + 6]))
        for n, at in enumerate(range(0, 3_000, 300), start=1)
    )
    generations = []
    for excerpt in excerpts:
        for ordinal in range(30):
            at = rng.randrange(2_800)
            message = text[at : at + rng.randint(1, 60)] + rng.choices(vocabulary, k=100)
            generations.append(Generation(excerpt.id, ordinal, " ".join(message)))
    rng.shuffle(generations)
    return Book("b", "B", "A", excerpts, digest=""), generations


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("pytest_memleak.parallel.processes._BLOCK", 10_000)
