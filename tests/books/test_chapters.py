import pytest

from pytest_memleak.books.chapters import build_chapters, require_words
from pytest_memleak.books.html_blocks import TextBlock
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter

p = TextBlock


def h(text, level=2):
    return TextBlock(text, level)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        # A document may hold several chapters, and a chapter several documents.
        ([[h("One"), p("a"), h("Two"), p("b")], [p("c")], [h("Three"), p("d")]],
         [("One", ("a",)), ("Two", ("b", "c")), ("Three", ("d",))]),
        ([[p("a")], [h("One"), p("b")]], [(None, ("a",)), ("One", ("b",))]),
        # Headings without text between them are one title, across documents too.
        ([[h("Part I", 1)], [h("Chapter 1"), p("a")]], [("Part I: Chapter 1", ("a",))]),
        ([[h("I"), h("The Storm"), p("a")]], [("I: The Storm", ("a",))]),
        # A heading within another's text is named after it, in the same document only.
        ([[h("I"), p("a"), h("Letter", 3), p("b"), h("II"), p("c")]],
         [("I", ("a",)), ("I: Letter", ("b",)), ("II", ("c",))]),
        ([[h("Prologue", 1), p("a")], [h("Chapter 1"), p("b")]],
         [("Prologue", ("a",)), ("Chapter 1", ("b",))]),
        # The book's own title says nothing about a place in it, unless it is all there is.
        ([[h("A Book!", 1), h("I"), p("a")]], [("I", ("a",))]),
        ([[h("A Book", 1), p("a")]], [("A Book", ("a",))]),
        # Headings at the end, or of nothing, open no chapter.
        ([[h("One"), p("a"), h("End")]], [("One", ("a",))]),
        ([[h("One")]], []),
        ([], []),
        # A text that is set in headings is a text.
        ([[h(f"line {n}") for n in range(9)]], [(None, tuple(f"line {n}" for n in range(9)))]),
    ],
)  # fmt: skip
def test_assemble(documents, expected):
    chapters = build_chapters(documents, title="A Book")
    assert [(one.title, one.paragraphs) for one in chapters] == expected


def test_long_titles_are_cut():
    (chapter,) = build_chapters([[h("x" * 150), h("y" * 150), p("a")]], title=None)
    assert len(chapter.title) == 200


def test_require_words():
    require_words([Chapter(None, ("...", "Кот"))], place="x", hint="y")
    with pytest.raises(BookError, match="contains no words"):
        require_words([Chapter(None, ("...", "_ —"))], place="x", hint="y")
