"""The corpus of listed EPUBs, how they are collected, and how readings are judged."""

import hashlib
import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import book_corpus
import judge_books
import pytest
from epub_texts import p, paragraphs

from pytest_memleak.books.epub import read_epub

FIXTURES = Path(__file__).parents[2] / "fixtures" / "books"
SHIPPED = sorted(FIXTURES.glob("*.epub"))
LISTED = book_corpus.listed_books()
REASONS = {rule.name for rule in judge_books.RULES if rule.reason} | {"-"}


def test_the_corpus_has_200_books_of_ten_makers_and_twelve_languages():
    assert len(LISTED) >= 200
    assert len({book.maker for book in LISTED}) >= 10
    assert len({book.language for book in LISTED}) >= 12
    assert len({book.sha256 for book in LISTED}) == len(LISTED)
    assert not [book.title for book in LISTED if book.refused]


def faults(book):
    """What a row of the corpus lacks or has too much."""
    patterns = {
        "sha256": "[0-9a-f]{64}",
        "commit": "[0-9a-f]{40}",
        "repository": r"[\w.-]+/[\w.-]+",
        **dict.fromkeys(("title", "path", "language", "maker", "license"), ".+"),
    }
    for key, pattern in patterns.items():
        if not re.fullmatch(pattern, getattr(book, key)):
            yield key
    yield from set(book.cut) - REASONS
    yield from set(book.cut.get("-", ())) - set(book.wrong)


def test_each_row_of_the_corpus_is_whole():
    by_book = {book.title: list(faults(book)) for book in LISTED}
    assert [item for item in by_book.items() if item[1]] == []


# --- judging
# -----------------------------------------------------------------------------


def listed(path, reading):
    """The row that is proposed for a book, as if it were listed."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = judge_books.proposal(path, digest, reading, "A Book")
    [row] = tomllib.loads(text)["book"]
    return book_corpus.ListedBook(**row)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_proposed_row_holds_for_its_book(path):
    reading = judge_books.ParsedBook(path).read()
    book = listed(path, reading)
    assert book.words == sum(part.words for part in read_epub(path).parts)
    assert list(judge_books.differences(book, reading)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": 1}, "12,345 words instead of 1"),
        ({"cut": {}}, "dedication.xhtml is left out now, wrongly (landmark)"),
        ({"within": {"notes": 7}}, "notes within documents: 0 words instead of 7"),
        ({"refused": "it is empty"}, "refused: no more"),
    ],
)
def test_a_verdict_that_does_not_hold_is_named(change, message):
    path = SHIPPED[0]
    reading = judge_books.ParsedBook(path).read()
    book = replace(listed(path, reading), **change)
    assert message in "\n".join(judge_books.differences(book, reading))


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["judge_books.py", *map(str, arguments)])
    return judge_books.main()


def test_the_command_prints_what_each_rule_changes(monkeypatch, capsys, new_epub):
    path = new_epub(DOCUMENTS, metadata=METADATA).write()
    assert run_command(monkeypatch, path.parent) == 0
    table = capsys.readouterr().out
    assert (
        "| names the author | 1 | 1,080 | 0 | 0 | 0 | The Salt Road (1,080) |" in table
    )
    assert len(table.splitlines()) == 2 + len(judge_books.RULES)


def test_the_command_fails_where_a_verdict_does_not_hold(monkeypatch, capsys, new_epub):
    path = new_epub(DOCUMENTS, metadata=METADATA).write()
    book = replace(listed(path, judge_books.ParsedBook(path).read()), words=1)
    monkeypatch.setattr(judge_books, "listed_books", lambda: [book])
    assert run_command(monkeypatch, path.parent) == 1
    assert "A Book (book.epub): 5,200 words instead of 1" in capsys.readouterr().err


def test_the_command_says_where_a_folder_has_no_book(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run_command(monkeypatch, tmp_path)
    assert "has no EPUB: book_corpus.py collects them" in capsys.readouterr().err


def headed(title, name, size=20):
    return f"<h2>{title}</h2>{p(paragraphs(name, size))}"


METADATA = "<dc:title>The Salt Road</dc:title><dc:creator>Jane Marlowe</dc:creator>"
DOCUMENTS = {
    "about.xhtml": headed("An Appreciation", "shore").replace(
        ".</p>", ". Marlowe came.</p>"
    ),
    "list.xhtml": p(f"Chapter {number}" for number in range(1, 6)),
    **{
        f"c{number}.xhtml": headed(f"Chapter {number}", f"quay{number}")
        for number in range(1, 6)
    },
    "again.xhtml": headed("Chapter 6", "quay1"),
}


# How many words more are read without a rule; without the others as many.
MORE_WORDS = {
    "contents list": 10,
    "repeated": 20 * 52,
    "names the author": 20 * 54,
}


@pytest.mark.parametrize("rule", judge_books.RULES, ids=lambda rule: rule.name)
def test_a_rule_is_switched_off_and_on_again(rule, new_epub):
    parsed = judge_books.ParsedBook(new_epub(DOCUMENTS, metadata=METADATA).write())
    before = parsed.read()
    without = parsed.read_without(rule, before)
    assert without.words - before.words == MORE_WORDS.get(rule.name, 0)
    assert parsed.read() == before


# --- collecting
# -----------------------------------------------------------------------------


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A clone of a repository with a book's source, and an EPUB."""
    folder = tmp_path / "clones" / "an-owner+a-book"
    source = folder / "src"
    (source / "META-INF").mkdir(parents=True)
    (source / "META-INF" / "container.xml").write_text("<container/>")
    (source / "a.xhtml").write_text("<html/>")
    (source / "cover.jpg").write_bytes(b"\xff\xd8")
    (folder / "a.epub").write_bytes(SHIPPED[0].read_bytes())
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "A book")
    return folder


def row(clone, path, sha256=""):
    return book_corpus.ListedBook(
        title="A Book",
        repository="an-owner/a-book",
        commit=git(clone, "rev-parse", "HEAD"),
        path=path,
        sha256=sha256,
        language="en",
        maker="A Maker",
        license="CC0",
    )


def test_a_file_is_collected_from_a_clone(clone):
    assert book_corpus.read_book(clone, row(clone, "a.epub")) == SHIPPED[0].read_bytes()


def test_a_source_becomes_the_same_epub_of_its_texts(clone):
    data = book_corpus.read_book(clone, row(clone, "src/"))
    texts = {"a.xhtml": b"<html/>", "META-INF/container.xml": b"<container/>"}
    assert data == book_corpus.epub_of_source(texts)
    assert hashlib.sha256(data).hexdigest().startswith("fd64bbd4adf04d74")


def test_collecting_says_what_is_missing_or_differs(clone, tmp_path, monkeypatch):
    digest = hashlib.sha256(SHIPPED[0].read_bytes()).hexdigest()
    here = row(clone, "a.epub", digest)
    rows = [
        here,
        replace(here, path="b.epub", sha256="b" * 64),
        replace(here, sha256="c" * 64),
        replace(here, repository="an-owner/another", sha256="d" * 64),
    ]
    monkeypatch.setattr(book_corpus, "listed_books", lambda: rows)
    problems = book_corpus.collect(clone.parent, tmp_path)
    assert (tmp_path / here.file_name).read_bytes() == SHIPPED[0].read_bytes()
    assert len(problems) == 3
    assert "an-owner/a-book has no b.epub" in problems[0]
    assert "a.epub has another digest" in problems[1]
    assert "git clone https://github.com/an-owner/another" in problems[2]
