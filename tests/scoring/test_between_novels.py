"""What real novels have of each other, where MEMLEAK_BOOKS names a folder of EPUBs.

None is part of the project. Each novel stands for a model's answers to another: there is nothing
memorized, but genre and period differ as they do in a suite, and both may quote the same words.
"""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Generation, Scoring
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.null_books import excess_over_null
from pytest_memleak.scoring.protected_passages import Protected

FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = {path.stem: path for path in sorted(Path(FOLDER).glob("*.epub"))} if FOLDER else {}
ENOUGH, PASSAGE, QUOTATION = 5, 20, 12
LIMIT = 0.01

pytestmark = [
    pytest.mark.skipif(len(NOVELS) < ENOUGH, reason="MEMLEAK_BOOKS names no folder of 5 EPUBs"),
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
            chosen = (nulls for n in (2, 3, 4) for nulls in itertools.combinations(rest, n))
            sides = ({name: answers[name] for name in nulls} for nulls in chosen)
            results = [
                excess_over_null(book, answers[own], nulls, scoring, index=index) for nulls in sides
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
        f"{np.mean(everything):.3f} of {len(everything)} hold 0, {min(shares.values()):.2f} of the "
        f"worst pair {min(shares, key=shares.get)}, p <= 0.05 in {np.mean(significant):.3f}"
    )
    print(message)
    assert np.mean(everything) >= 0.93, message
    assert min(shares.values()) >= 0.80, message
    assert not any(over), message


def found_of_others(books):
    """Per two novels by different authors, the longest passages: exact, and near-verbatim."""
    index = SharedIndex(list(books.values()), k=5)
    for own, other in itertools.permutations(books, 2):
        if books[own].author != books[other].author:
            tally = Tally(books[own], Scoring(trim=0), protected=Protected(index, own, (other,)))
            tally.add(Generation(excerpt.id, 0, excerpt.text) for excerpt in books[own].excerpts)
            passages = tally.passages()
            yield (own, other), (passages.longest_passage.words, passages.nv_longest_passage.words)


def test_another_authors_prose_has_nothing_of_a_novel(books):
    result = dict(found_of_others(books))
    longest = [max(lengths) for lengths in zip(*result.values(), strict=True)]
    print(f"{len(result)} ordered pairs; longest exact and near-verbatim: {longest}")
    assert len(result) >= ENOUGH * (ENOUGH - 1)
    both_quote = {
        pair: (exact, near)
        for pair, (exact, near) in result.items()
        if exact >= QUOTATION or near >= PASSAGE
    }
    assert both_quote == {}
