import json
import subprocess
import sys

import pytest

from pytest_memleak import books
from pytest_memleak.books.build_book import make_book, paper_records, read_json
from pytest_memleak.books.summary_files import load_summaries, write_summaries
from pytest_memleak.errors import BookError, RecordsError
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records.paper_format import book_from_records

TEXT = "Every word of it was true, and they all knew it well enough. " * 60
MANUSCRIPT = Manuscript("A Book", "An Author", (Chapter("I", (TEXT,)),), ("a warning",))


@pytest.fixture
def summaries(tmp_path):
    path = tmp_path / "summaries.json"
    excerpts = make_book("x", MANUSCRIPT).excerpts
    write_summaries(path, excerpts, {one.id: f"What {one.id} says." for one in excerpts})
    return path


def test_a_book(summaries):
    book = make_book("a-book", MANUSCRIPT, summaries=summaries)
    assert (book.id, book.title, book.author) == ("a-book", "A Book", "An Author")
    assert book.warnings == ("a warning",)
    assert [one.id for one in book.excerpts] == ["p_id1", "p_id2"]
    assert book.excerpts[1].instruction.endswith("voice of An Author\n\nContent: What p_id2 says.")
    assert book.excerpts[0].chapter == "I"
    assert len(book.digest) == 64


def test_the_suites_title_author_and_template_come_first(summaries):
    settings = {"title": "Other", "author": "Else", "summaries": summaries}
    book = make_book("x", MANUSCRIPT, template="{title} by {author}: {summary}", **settings)
    assert (book.title, book.author) == ("Other", "Else")
    assert book.excerpts[0].instruction == "Other by Else: What p_id1 says."


def test_without_summaries_there_are_no_instructions_unless_the_template_needs_none():
    book = make_book("x", MANUSCRIPT)
    assert {one.instruction for one in book.excerpts} == {None}
    record = paper_records(book)[0]
    assert (record["instruction"], record["detail"]) == ("", "")
    book = make_book("x", MANUSCRIPT, template="Go on with {title}.")
    assert book.excerpts[0].instruction == "Go on with A Book."


def test_a_book_that_says_nothing_of_itself(summaries):
    nameless = Manuscript(None, None, MANUSCRIPT.chapters)
    book = make_book("x", nameless)
    assert (book.title, book.author) == ("untitled", "unknown")
    needs = "book 'x': the instruction template needs the book's author"
    with pytest.raises(BookError, match=needs):
        make_book("x", nameless, summaries=summaries)


def test_summaries_of_another_text_are_refused(summaries):
    other = Manuscript("A Book", "An Author", (Chapter("I", (TEXT.replace("true", "false"),)),))
    with pytest.raises(BookError, match="'p_id1' differs from"):
        make_book("x", other, summaries=summaries)


def test_the_digest_depends_on_text_and_instructions(summaries):
    digests = {
        make_book("x", MANUSCRIPT).digest,
        make_book("x", MANUSCRIPT, summaries=summaries).digest,
        make_book("x", MANUSCRIPT, summaries=summaries, author="Else").digest,
    }
    assert len(digests) == 3


def test_the_papers_records(summaries, tmp_path):
    book = make_book("A Book", MANUSCRIPT, summaries=summaries)
    details = load_summaries(summaries, book.excerpts)
    records = paper_records(book, summaries=details)
    keys = "excerpt_id excerpt_text instruction author_name book_name word_count detail"
    assert [list(record) for record in records] == [keys.split()] * 2
    assert records[0]["detail"] == "What p_id1 says."
    assert sum(record["word_count"] for record in records) == 13 * 60
    again = book_from_records(records, book_id="A Book")
    assert again.digest == book.digest
    path = tmp_path / "book.json"
    path.write_text(json.dumps(records))
    assert read_json(path).digest == book.digest


def test_read_json(tmp_path):
    path = tmp_path / "book.json"
    path.write_text(
        '[{"excerpt_id": "p_id2", "excerpt_text": "b"}, {"excerpt_id": "p_id1",'
        ' "excerpt_text": "a", "book_name": "T", "author_name": "A"}]'
    )
    book = read_json(path, book_id="x", author="B")
    assert [one.text for one in book.excerpts] == ["a", "b"]
    assert (book.id, book.author) == ("x", "B")
    path.write_text("{}")
    with pytest.raises(RecordsError, match=r"book\.json: expected a list"):
        read_json(path)


def test_everything_public_is_there_and_its_import_is_light():
    for name in books.__all__:
        assert getattr(books, name) is not None
        assert name in dir(books)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = books.nothing
    heavy = {"lxml", "ebooklib", "pysbd", "numpy"}
    code = (
        "import sys, pytest_memleak.books, pytest_memleak.books.build_book;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
