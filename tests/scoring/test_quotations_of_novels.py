"""What one novel has of another, where MEMLEAK_BOOKS names a folder of EPUBs: quotations alone.

None is part of the project. Each novel stands for a model's answers that recite nothing, so that
whatever is found of another author's book is a false alarm, or words that both of them quote.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_memleak.books import cut, read_epub
from pytest_memleak.records import Book, Generation, Scoring
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = {path.stem: path for path in sorted(Path(FOLDER).glob("*.epub"))} if FOLDER else {}
ENOUGH, PASSAGE, QUOTATION = 5, 20, 12

pytestmark = [
    pytest.mark.skipif(len(NOVELS) < ENOUGH, reason="MEMLEAK_BOOKS names no folder of 5 EPUBs"),
    pytest.mark.full,
]


def novels():
    for name, path in NOVELS.items():
        read = read_epub(path)
        yield read.author, Book(name, name, read.author, tuple(cut(read)), digest="")


def found_of_others():
    """Per two novels by different authors, the longest passages: exact, and near-verbatim."""
    books = {book.id: (author, book) for author, book in novels()}
    index = SharedIndex([book for _, book in books.values()], k=5)
    found = {}
    for own, (author, book) in books.items():
        for other, (its_author, _) in books.items():
            if its_author == author:
                continue
            protected = Protected(index, own, (other,))
            tally = Tally(book, Scoring(trim=0), protected=protected)
            tally.add(Generation(one.id, 0, one.text) for one in book.excerpts)
            told = tally.passages()
            found[own, other] = told.longest_passage.words, told.nv_longest_passage.words
    return found


def test_another_authors_prose_has_nothing_of_a_novel():
    """Of six novels no two quote the same; what other folders' novels both quote is told."""
    found = found_of_others()
    longest = [max(lengths) for lengths in zip(*found.values(), strict=True)]
    print(f"{len(found)} ordered pairs; longest exact and near-verbatim: {longest}")
    both_quote = {
        pair: lengths
        for pair, lengths in found.items()
        if lengths[0] >= QUOTATION or lengths[1] >= PASSAGE
    }
    assert len(found) >= ENOUGH * (ENOUGH - 1)
    assert both_quote == {}
