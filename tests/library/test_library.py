"""The library finds what the gate reports, in the same places, from books and from their keys."""

import random
from pathlib import Path

import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from protected_book_cases import case_of, generations_of, passages_of
from scored_books import book_of

from pytest_memleak.books.catalog_file import write_catalog
from pytest_memleak.cli.main import main
from pytest_memleak.errors import BookError, MemleakError, SettingsError
from pytest_memleak.library import Library, Passage, read_book
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.catalog_scan import book_keys

WORDS = [f"w{n}" for n in range(90)]
LONG = "incomprehensibilities"


def in_the_gate(books, generation, scoring):
    """What the gate reports of one generation: its longest passages, exact and near."""
    passages = passages_of(books, [generation], scoring=scoring)
    return [
        (run.words, run.book, run.start, run.end, run.place) if run.words else None
        for run in passages.longest.values()
    ]


def in_the_library(library, passages):
    def rank(passage):
        number = library.index.numbers[passage.book]
        return (-passage.words, passage.place, number, passage.start, passage.end)

    longest = (
        min(
            (passage for passage in passages if passage.near == near),
            key=rank,
            default=None,
        )
        for near in (False, True)
    )
    return [
        (run.words, run.book, run.start, run.end, run.place) if run else None
        for run in longest
    ]


@settings(max_examples=examples(300), deadline=None)
@given(seed=st.integers(0, 1 << 32))
@example(seed=8458)  # two near-verbatim passages that differ in their ends
def test_the_gate_and_the_library_report_the_same_passages(tmp_path_factory, seed):
    rows, asked, generations, chosen = case_of(random.Random(seed))
    scoring = Scoring(
        chosen["k"], chosen["trim"], chosen["span_threshold"], chosen["mode"]
    )
    books = [
        book_of(*row["excerpts"], book_id=row["id"], contiguous=row["contiguous"],
                instructions=[text for _, text in asked] if row is rows[0] else ())
        for row in rows
    ]  # fmt: skip
    try:
        library = Library.of(books, scoring)
    except BookError:  # too few words
        return
    instructions = dict(asked)
    generations = generations_of(generations)
    texts = [generation.text for generation in generations]
    prompts = [instructions[generation.excerpt_id] for generation in generations]
    passages = library.find(texts, prompts, least=scoring.k)
    for number, generation in enumerate(generations):
        of_text = [passage for passage in passages if passage.text == number]
        assert in_the_library(library, of_text) == in_the_gate(
            books, generation, scoring
        )
    file = tmp_path_factory.mktemp("prepared") / "books.keys"
    keys = [
        (
            file.with_name(book.id),
            "",
            book_keys(book, k=scoring.k, mode=scoring.word_mode),
        )
        for book in books
    ]
    write_catalog(file, keys, mode=scoring.word_mode)
    prepared = Library.of([file], scoring)
    assert [
        (passage.text, passage.book.rpartition("/")[2], passage.start, passage.place)
        for passage in prepared.find(texts, prompts, least=scoring.k)
    ] == [
        (passage.text, passage.book, passage.start, passage.place)
        for passage in passages
    ]
    assert [*prepared.sizes.values()] == [*library.sizes.values()]


def test_a_passage_names_its_book_and_its_places():
    library = Library.of(
        [book_of(*WORDS[:5], "none", " ".join(WORDS[5:]), book_id="novel")]
    )
    changed = WORDS[30:54]
    changed[7::8] = ["other"] * len(changed[7::8])
    texts = [
        "nothing at all",
        f"He said {' '.join(WORDS[10:35])} to her",
        " ".join(changed),
    ]
    assert library.find(texts) == [
        Passage(1, "novel", 25, False, 11, 36, 2, 27),
        Passage(1, "novel", 25, True, 11, 36, 2, 27),
        Passage(2, "novel", 21, True, 31, 54, 0, 23),
    ]
    # What the prompt gives is no passage of the model's.
    assert library.find(texts[1:2], [f"Go on: {' '.join(WORDS[10:34])}"]) == []
    assert library.sizes == {"novel": 91}


def test_a_file_of_a_book_is_read_whole(tmp_path):
    text = tmp_path / "novel.txt"
    text.write_text(" ".join([*WORDS, LONG]), encoding="utf-8")
    assert (
        main(["catalog", "build", str(tmp_path), "-o", str(tmp_path / "books.keys")])
        == 0
    )
    book = read_book(text)
    for source in (text, str(text), book, tmp_path / "books.keys"):
        (passage, _) = Library.of([source]).find([" ".join([*WORDS[60:], LONG])])
        assert (passage.words, passage.start, Path(passage.book).name) == (
            31,
            60,
            "novel.txt",
        )


def test_an_impossible_library_is_an_error(tmp_path):
    book = book_of(" ".join(WORDS))
    text, keys = tmp_path / "novel.txt", tmp_path / "books.keys"
    text.write_text(" ".join(WORDS), encoding="utf-8")
    write_catalog(keys, [(text, "", book_keys(book, k=5))], mode="paper")
    for sources, scoring, message in (
        ([], None, "at least one book"),
        (
            [book, book],
            None,
            "'b' appears twice\n  name it once, as protected or as common",
        ),
        ([tmp_path / "gone.txt"], None, "No such file"),
        (
            [keys],
            Scoring(word_mode="unicode"),
            r"books.keys was made for word_mode = 'paper'",
        ),
    ):
        with pytest.raises(MemleakError, match=message):
            Library.of(sources, scoring)
    with pytest.raises(SettingsError, match="1 prompts were given for 2 texts"):
        Library.of([book]).find(["a", "b"], ["c"])
