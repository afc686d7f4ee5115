"""A catalog gives the same findings as files, prepared or not, in one catalog file or in twenty."""

import hashlib
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_memleak.books.catalog_file import write_catalog
from pytest_memleak.library.book_files import BookFiles, read_book
from pytest_memleak.pipeline import catalog as catalog_module
from pytest_memleak.pipeline.catalog import Catalog
from pytest_memleak.pipeline.protected_index import ProtectedBooks
from pytest_memleak.pipeline.required_samples import Purpose
from pytest_memleak.records import Book, Excerpt, Generation, Limits, Scoring
from pytest_memleak.scoring.analysis import analyze

BOOK_WORDS, LENGTHS = 600, (90, 12, 21, 11, 13, 8, 20)
MINE = Book(
    "mine", "Mine", "Me", (Excerpt("p_id1", "the own book is short and of no account"),), ""
)


class Library:
    def __init__(self, folder, count):
        self.folder, self.rng = folder, random.Random(12)
        vocabulary = [self._word() for _ in range(4_000)]
        self.paths, text = [], []
        for number in range(count):
            words = self.rng.choices(vocabulary, k=BOOK_WORDS)
            if number % 7 == 3:
                at, length = self.rng.randrange(400), LENGTHS[len(text) % len(LENGTHS)]
                text.append((words[at : at + length], self.rng.choices(vocabulary, k=30)))
            if number % 10 == 5:  # a near-verbatim one
                near = words[100:160]
                near[6::7] = ["changed"] * len(near[6::7])
                text.append((near, self.rng.choices(vocabulary, k=30)))
            path = folder / "books" / str(number % 5) / f"b{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(words), encoding="utf-8")
            self.paths.append(path)
        self.generations = [
            Generation("p_id1", n, " ".join([*around, *passage, *around]))
            for n, (passage, around) in enumerate(text)
        ]

    def _word(self):
        return "".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz", k=self.rng.randint(2, 12)))

    def findings(self, *sources):
        """What the pair recites, and what is told of the catalog."""
        scoring = Scoring()
        pair = SimpleNamespace(
            id="m/mine",
            scoring=scoring,
            limits=Limits(longest_passage=38),
            model=SimpleNamespace(finetune_books=()),
        )
        suite = SimpleNamespace(
            path=self.folder / "it.memleak.toml",
            catalog=sources or tuple(self.paths),
            pairs=[pair],
            books=[SimpleNamespace(id="mine", role="test")],
            excused=lambda _: (),
        )
        protected = ProtectedBooks(suite, SimpleNamespace(cut=lambda _: MINE))
        catalog = Catalog(
            suite,
            BookFiles(suite.catalog, scoring, root=self.folder),
            own_books=protected.test_books,
            stored_samples=lambda _: iter(()),
        )
        sampled = SimpleNamespace(
            required=SimpleNamespace(pair=pair, endpoint=None, purpose=Purpose.OWN),
            generations=lambda: iter(self.generations),
        )
        held = catalog.matches([sampled])
        assert held.issues == held.unread == ()
        result = protected.for_pair(pair, MINE, held.books, least=held.least)
        analysis = analyze(MINE, self.generations, scoring, protected=result)
        return analysis.passages, held.summary

    def prepare(self, name, paths):
        file = self.folder / name
        files = BookFiles(paths, Scoring())
        books = (
            (path, hashlib.sha256(path.read_bytes()).hexdigest(), keys)
            for path, (_, keys) in zip(paths, files.books(), strict=True)
        )
        write_catalog(file, books, mode="paper")
        return file


@pytest.mark.full
def test_one_file_or_many_or_prepared(tmp_path, monkeypatch):
    library = Library(tmp_path, 40)
    of_files = library.findings()
    passages, shown = of_files
    assert shown["books"] == len(library.paths)
    assert passages.longest_passage.words >= 90
    assert len({passage.book for passage in passages.passages}) > 1
    assert passages.passages_over > 1
    third = sum(len(generation.text) for generation in library.generations) // 3
    monkeypatch.setattr(catalog_module, "_CHARACTERS", third)  # several tables
    assert library.findings() == of_files
    assert library.findings(library.prepare("all.keys", library.paths)) == of_files
    parts = [library.prepare(f"{n}.keys", library.paths[n::20]) for n in range(20)]
    assert library.findings(*parts) == of_files


def test_text_of_a_catalog_that_no_measure_would_cover_is_scanned():
    path = Path(__file__).parents[2] / "fixtures" / "books" / "the-seed-vault.epub"
    book = read_book(path)
    assert book.excerpts[-1].chapter == "excluded: Three Steps"
