"""Is this your book? The dialog at a terminal, and what it leaves in a suite."""

import pytest
from epub_maker import EpubMaker
from epub_texts import page, prose
from screen import run_in_terminal

from pytest_memleak.books.build_book import make_book, words_digest
from pytest_memleak.books.epub import read_epub
from pytest_memleak.cli.suite_template import Draft
from pytest_memleak.suite.load import load_suite

SUITE = "release.memleak.toml"
QUESTION = "Is this your book? [y/N; -1 leaves out chapter 1"
SECOND, COLOPHON = "EPUB/text/chapter-2.xhtml", "EPUB/text/colophon.xhtml"


@pytest.fixture
def init(program, tmp_path, lamplighter):
    """Runs `memleak init` on a book at a terminal, where this is typed."""

    def run(*answers, book=lamplighter, code=0):
        arguments = ["init", "--book", str(book), "--model", "openai/gpt-4o"]
        seen = run_in_terminal(
            [*arguments, "--ci", "none"],
            folder=tmp_path,
            program=program,
            columns=400,
            # Nor is the next rung of the ladder wanted.
            typed="".join(f"{answer}\n" for answer in (*answers, "n")),
        )
        assert seen.code == code, seen.lines
        return seen

    return run


def digest(book, **choice):
    return words_digest(make_book("b", read_epub(book, **choice)))


def test_a_yes_leaves_the_digest_of_the_words_in_the_suite(init, tmp_path, lamplighter):
    seen = init("y")
    assert seen.line("  7 The Register Amended")
    assert "\n".join(seen.lines).count(QUESTION) == 1
    [book] = load_suite(tmp_path / SUITE).books
    assert book.approved == digest(lamplighter)
    assert (book.include, book.exclude) == ((), ())


@pytest.mark.parametrize("answer", ["n", ""])
def test_any_other_book_leaves_no_suite(init, tmp_path, answer):
    seen = init(answer, code=1)
    text = "No suite was written."
    assert any(text in line for line in seen.lines)
    assert not list(tmp_path.iterdir())


def test_a_chapter_is_left_out_and_read_again(init, tmp_path, lamplighter):
    seen = init("-2", "y")
    assert seen.line("  a Forty-One Lamps")
    [book] = load_suite(tmp_path / SUITE).books
    assert book.exclude == (SECOND,)
    assert book.approved == digest(lamplighter, exclude=[SECOND])
    (tmp_path / SUITE).unlink()
    init("-2", "+a", "y")
    [book] = load_suite(tmp_path / SUITE).books
    assert (book.include, book.exclude) == ((SECOND,), ())
    assert book.approved == digest(lamplighter)


def test_chapters_of_one_document_are_left_out_together(init, tmp_path):
    documents = {
        "a.xhtml": page(f"<h2>One</h2>{prose('keeper')}"),
        "b.xhtml": page(f"<h2>Two</h2>{prose('pilot')}"),
        "c.xhtml": page(
            f"<h2>Three</h2>{prose('clerk')}<h2>Four</h2>{prose('ferryman')}"
        ),
    }
    book = EpubMaker(tmp_path, documents=documents).write()
    seen = init("-3", "y", book=book)
    assert any(
        "2 chapters left out: they are one document" in line for line in seen.lines
    )


def test_answers_without_a_meaning_are_explained_and_asked_again(init, tmp_path):
    seen = init("-9", "+b", "what", "y")
    for message in ("no chapter 9", "no cut 'b' is on the screen", "unknown answer"):
        assert any(message in line for line in seen.lines)
    assert load_suite(tmp_path / SUITE).books[0].approved


def test_a_choice_that_leaves_no_book_is_taken_back(init, tmp_path):
    text = tmp_path / "story.txt"
    text.write_text("Every word of it was true, and they all knew it well. " * 90)
    seen = init("-1", "y", book=text)
    assert any("include and exclude apply only to" in line for line in seen.lines)
    [book] = load_suite(tmp_path / SUITE).books
    assert (book.exclude, bool(book.approved)) == ((), True)


def test_without_a_terminal_nobody_approves(memleak, tmp_path, lamplighter):
    arguments = ("--book", lamplighter, "--model", "openai/gpt-4o", "--ci", "none")
    done = memleak("init", *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("The Lamplighter of Saltmarsh Row by")
    assert "Is this your book?" not in done.stdout
    assert "The book isn't approved, since no one was asked" in done.stdout
    assert load_suite(tmp_path / SUITE).books[0].approved is None


def test_names_of_documents_are_no_patterns_and_stay_valid_toml(tmp_path):
    from pytest_memleak.books.book_outline import BookOutline, OutlinedChapter
    from pytest_memleak.cli.book_review import apply_answer_to_review
    from pytest_memleak.cli.suite_template import BookReview

    path = tmp_path / "book.epub"
    path.touch()
    chapter = OutlinedChapter("One", 9, "a", "b", ('c[1]*"?.xhtml',))
    outline = BookOutline("T", "A", (chapter,), (), 0, 0, ())
    choice = apply_answer_to_review(BookReview(), "-1", outline)
    draft = Draft((path,), "openai", "gpt-4o", 1, 1.0, choices={path: choice})
    suite = tmp_path / SUITE
    suite.write_text(draft.text(suite), encoding="utf-8")
    [book] = load_suite(suite).books
    assert book.exclude == ('c[[]1][*]"[?].xhtml',)


def test_a_complaint_s_suite_has_what_was_said_of_its_book(
    program,
    tmp_path,
    lamplighter,
):
    (tmp_path / "claim.jsonl").write_text('"Recite The Lamplighter."\n')
    seen = run_in_terminal(
        ["complaint", str(lamplighter), "claim.jsonl", "--model", "openai/gpt-4o"],
        folder=tmp_path,
        program=program,
        columns=400,
        typed="-2\ny\n",
        answer="n\n",
        asks="Ask the model?",
    )
    assert seen.code == 0, seen.lines
    suite = tmp_path / "complaint-the-lamplighter" / "complaint.memleak.toml"
    [book] = load_suite(suite).books
    assert book.exclude == (SECOND,)
    assert book.approved == digest(lamplighter, exclude=[SECOND])
