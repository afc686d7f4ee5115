"""Excess over chance between real novels, where MEMLEAK_BOOKS names a folder of EPUBs.

None is part of the project. Each novel stands for a model's answers to another: there is nothing
memorized, but genre and period differ as they do in a suite.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from pytest_memleak.books import cut, read_epub
from pytest_memleak.records import Book, Scoring
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.null_books import excess_over_null

FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = {path.stem: path for path in sorted(Path(FOLDER).glob("*.epub"))} if FOLDER else {}
ENOUGH = 5
LIMIT = 0.01

pytestmark = [
    pytest.mark.skipif(len(NOVELS) < ENOUGH, reason="MEMLEAK_BOOKS names no folder of 5 EPUBs"),
    pytest.mark.full,
]


def every_excess(books):
    """Per target and own, the Null of every 2, 3 or 4 of the rest."""
    scoring = Scoring()
    answers = {
        name: [(name + one.id, one.text) for one in book.excerpts] for name, book in books.items()
    }
    for target, book in books.items():
        index = Index(book, k=scoring.k)
        for own in books.keys() - {target}:
            rest = sorted(books.keys() - {target, own})
            found = [
                excess_over_null(
                    book,
                    answers[own],
                    {name: answers[name] for name in nulls},
                    scoring,
                    index=index,
                )
                for size in (2, 3, 4)
                for nulls in itertools.combinations(rest, size)
            ]
            yield (target, own), found


def test_the_interval_holds_0_and_a_limit_on_the_excess_never_fails():
    books = {
        name: Book(name, name, "A", tuple(cut(read_epub(path))), digest="")
        for name, path in NOVELS.items()
    }
    held, over, significant = {}, [], []
    for pair, found in every_excess(books):
        held[pair] = [one.low <= 0 <= one.high for one in found]
        over += [one.low > LIMIT for one in found]
        significant += [one.p <= 0.05 for one in found]
    shares = {pair: float(np.mean(of)) for pair, of in held.items()}
    everything = [one for of in held.values() for one in of]
    said = (
        f"{np.mean(everything):.3f} of {len(everything)} hold 0, {min(shares.values()):.2f} of the "
        f"worst pair {min(shares, key=shares.get)}, p <= 0.05 in {np.mean(significant):.3f}"
    )
    print(said)
    assert np.mean(everything) >= 0.93, said
    assert min(shares.values()) >= 0.80, said
    assert not any(over), said
