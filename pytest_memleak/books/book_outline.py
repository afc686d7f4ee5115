"""What a person needs to see whether a file was read as the book that it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from pytest_memleak.books.chapter_numbers import missing_numbers
from pytest_memleak.interfaces.protocols import Cut, Manuscript
from pytest_memleak.records import Book, WordMode
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.words import words

_END_WORDS = 12


@dataclass(frozen=True, slots=True)
class OutlinedChapter:
    """A chapter's title, words, and first and last words.

    documents: the names of those that it stands in, if they have names
    """

    title: str | None
    words: int
    begins: str = field(repr=False)
    ends: str = field(repr=False)
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BookOutline:
    """A book's chapters, what of its file isn't measured, and what looks wrong.

    left_out: words of front and back matter, of notices, and of notes
    """

    title: str
    author: str
    chapters: tuple[OutlinedChapter, ...]
    cuts: tuple[Cut, ...]
    left_out: int
    notes: int
    alarms: tuple[str, ...]

    @property
    def words(self) -> int:
        """The number of words that are measured."""
        return sum(chapter.words for chapter in self.chapters)


def outline_of(
    read: Manuscript | Book,
    book: Book,
    *,
    mode: WordMode,
) -> BookOutline:
    """Outline a book.

    read: what its reader returned: the manuscript, or excerpts that were cut already
    book: what was made of it
    """
    if isinstance(read, Manuscript) and not book.works:
        chapters = tuple(
            _outlined(chapter.title, chapter.paragraphs, chapter.documents, mode)
            for chapter in read.chapters
        )
        cuts = read.cuts
    else:
        chapters = tuple(_chapters_of_excerpts(book, mode))
        cuts = ()
    return BookOutline(
        title=book.title,
        author=book.author,
        chapters=chapters,
        cuts=cuts,
        left_out=sum(part.matter for part in book.parts),
        notes=sum(part.notes for part in book.parts),
        alarms=tuple(_alarms(book, chapters, cuts)),
    )


def _chapters_of_excerpts(book: Book, mode: WordMode) -> Iterator[OutlinedChapter]:
    """Yield a collection's works, or the chapters that excerpts name."""
    for work in book.works:
        texts = [excerpt.text for excerpt in book.excerpts[work.first : work.end]]
        yield _outlined(work.title, texts, (), mode)
    if book.works:
        return
    for title, excerpts in groupby(book.excerpts, key=lambda excerpt: excerpt.chapter):
        yield _outlined(title, [excerpt.text for excerpt in excerpts], (), mode)


def _outlined(
    title: str | None,
    paragraphs: Sequence[str],
    documents: tuple[str, ...],
    mode: WordMode,
) -> OutlinedChapter:
    text = "\n\n".join(paragraphs)
    tokens = text.split()
    return OutlinedChapter(
        title=title,
        words=len(words(text, mode)),
        begins=" ".join(tokens[:_END_WORDS]),
        ends=" ".join(tokens[-_END_WORDS:]),
        documents=documents,
    )


def _alarms(
    book: Book,
    chapters: Sequence[OutlinedChapter],
    cuts: Sequence[Cut],
) -> Iterator[str]:
    """Yield what looks wrong: the reader's warnings, gaps, and cuts inside chapters."""
    yield from book.warnings
    missing = missing_numbers([chapter.title for chapter in chapters])
    if missing and not book.works:
        yield f"chapter numbers missing: {missing}"
    inside = [cut for cut in cuts if cut.inside]
    if inside:
        rules = ", ".join(dict.fromkeys(cut.rule for cut in inside))
        count = sum(cut.inside for cut in inside)
        yield f"{amount(count, 'word')} cut inside chapters: {rules}"
