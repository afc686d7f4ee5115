"""How much real novels exceed chance in each other, where MEMLEAK_BOOKS names a folder of EPUBs.

None is part of the project. Each novel stands for a model's answers to another: there
is nothing memorized, but genre and period differ as they do in a suite, and both may
quote the same words. What passages they share stands in docs/validation.md.
"""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Scoring
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.null_books import excess_over_null

FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = (
    {path.stem: path for path in sorted(Path(FOLDER).glob("*.epub"))} if FOLDER else {}
)
ENOUGH = 5
LIMIT = 0.01

pytestmark = [
    pytest.mark.skipif(
        len(NOVELS) < ENOUGH, reason="MEMLEAK_BOOKS names no folder of 5 EPUBs"
    ),
    pytest.mark.full,
]


@pytest.fixture(scope="module")
def books():
    read = {name: read_epub(path) for name, path in NOVELS.items()}
    return {
        name: Book(name, name, novel.author, tuple(cut(novel)), digest="")
        for name, novel in read.items()
    }


def every_excess(books):
    """Per target and own, the Null of every 2, 3 or 4 of the rest."""
    scoring = Scoring()
    answers = {
        name: [(name + excerpt.id, excerpt.text) for excerpt in book.excerpts]
        for name, book in books.items()
    }
    for target, book in books.items():
        index = SharedIndex([book], k=scoring.k)
        for own in books.keys() - {target}:
            rest = sorted(books.keys() - {target, own})
            chosen = (
                nulls for n in (2, 3, 4) for nulls in itertools.combinations(rest, n)
            )
            sides = ({name: answers[name] for name in nulls} for nulls in chosen)
            results = [
                excess_over_null(book, answers[own], nulls, scoring, index=index)
                for nulls in sides
            ]
            yield (target, own), results


def test_the_interval_holds_0_and_a_limit_on_the_excess_never_fails(books):
    held, over, significant = {}, [], []
    for pair, result in every_excess(books):
        held[pair] = [one.low <= 0 <= one.high for one in result]
        over += [one.low > LIMIT for one in result]
        significant += [one.p <= 0.05 for one in result]
    shares = {pair: float(np.mean(of)) for pair, of in held.items()}
    everything = [one for of in held.values() for one in of]
    message = (
        f"{np.mean(everything):.3f} of {len(everything)} hold 0, "
        f"{min(shares.values()):.2f} of the "
        f"worst pair {min(shares, key=shares.get)}, p <= 0.05 in "
        f"{np.mean(significant):.3f}"
    )
    print(message)
    assert np.mean(everything) >= 0.93, message
    assert min(shares.values()) >= 0.80, message
    assert not any(over), message
