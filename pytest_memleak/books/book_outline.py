"""What a person needs to see whether a file was read as the book that it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import median

from pytest_memleak.books.chapter_alarms import (
    places_ending_in_notes,
    repeating_places,
    unreadable_places,
)
from pytest_memleak.books.chapter_numbers import (
    misplaced_numbers,
    missing_numbers,
    unnumbered_places,
)
from pytest_memleak.interfaces.protocols import Chapter, Cut, Manuscript
from pytest_memleak.records import Book, Excerpt, WordMode
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import short_name
from pytest_memleak.scoring.words import has_unspaced, words

_END_WORDS = 16
# No formulas, addresses, or numbers.
_LETTERS_BETWEEN_BLANKS = re.compile(r"(?<!\S)[^\w\s]?([^\W\d_]+)[^\w\s]?(?!\S)")

# English without every second blank reaches it; of 174 real EPUBs, only a list of
# mathematical definitions does.
_LONG_TO_OTHERS = 1.75
_FEWEST_WORDS = 100
_FEWEST_CHAPTERS = 3
_MOST_TITLES = 3

# Signatures, captions, and lists end without a mark, too: they are shorter and within
# no quotation, or many. Of 77 real EPUBs, six have chapters with such an end; of 205
# halved chapters, 154.
_FEWEST_LETTERS_OF_CUT_OFF = 70
_MOST_OPEN = 0.1
_WITHIN_SENTENCES = ",;、，；،؛"


@dataclass(frozen=True, slots=True)
class OutlinedChapter:
    """A chapter's title, words, and first and last words.

    documents: the names of those that it stands in, if they have names
    lacks_number: whether its title has none, where most chapters have one
    typical_word: the median length of its words; 0 if blanks don't separate them
    lacks_end_mark: whether its last paragraph ends in a letter or comma
    may_be_cut_off: whether that looks like a sentence's middle, not like a signature
    has_alarm: whether something looks wrong with its text
    """

    title: str | None
    words: int
    begins: str = field(repr=False)
    ends: str = field(repr=False)
    documents: tuple[str, ...] = ()
    lacks_number: bool = False
    typical_word: float = 0
    lacks_end_mark: bool = False
    may_be_cut_off: bool = False
    has_alarm: bool = False


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
    texts = list(_chapter_texts(read, book))
    chapters = tuple(_outlined(chapter, mode) for chapter in texts)
    cuts: tuple[Cut, ...] = ()
    if isinstance(read, Manuscript) and not book.works:
        cuts = read.cuts
    alarms = list(book.warnings)
    if not book.works:
        titles = [chapter.title for chapter in texts]
        alarms += _alarms_of_numbers(titles)
        unnumbered = unnumbered_places(titles)
        with_alarm: set[int] = set()
        for alarm, places in _alarms_of_texts(chapters, texts):
            names = [_named(chapters[place]) for place in places]
            alarms.append(f"{_first_titles(names)}: {alarm}")
            with_alarm.update(places)
        chapters = tuple(
            replace(
                chapter,
                lacks_number=place in unnumbered,
                has_alarm=place in with_alarm,
            )
            for place, chapter in enumerate(chapters)
        )
    alarms += _alarms_of_cuts(cuts)
    return BookOutline(
        title=book.title,
        author=book.author,
        chapters=chapters,
        cuts=cuts,
        left_out=sum(part.matter for part in book.parts),
        notes=sum(part.notes for part in book.parts),
        alarms=tuple(alarms),
    )


def text_alarms(
    read: Manuscript | Book,
    book: Book,
    *,
    mode: WordMode,
) -> tuple[str, ...]:
    """Return a book's alarms, as `outline_of` does, but for its reader's warnings."""
    outline = outline_of(read, book, mode=mode)
    return outline.alarms[len(book.warnings) :]


def _chapter_texts(read: Manuscript | Book, book: Book) -> Iterator[Chapter]:
    """Yield a manuscript's chapters, a collection's works, or what excerpts name."""
    if book.works:
        for work in book.works:
            yield _joined(work.title, book.excerpts[work.first : work.end])
    elif isinstance(read, Manuscript):
        yield from read.chapters
    else:
        by_chapter = groupby(book.excerpts, key=lambda excerpt: excerpt.chapter)
        for title, excerpts in by_chapter:
            yield _joined(title, excerpts)


def _joined(title: str | None, excerpts: Iterable[Excerpt]) -> Chapter:
    paragraphs: list[str] = []
    for excerpt in excerpts:
        paragraphs += excerpt.text.split("\n\n")
    return Chapter(title, tuple(paragraphs))


def _outlined(chapter: Chapter, mode: WordMode) -> OutlinedChapter:
    text = "\n\n".join(chapter.paragraphs)
    tokens = text.split()
    _, _, last = text.rstrip().rpartition("\n\n")
    lacks_end_mark = _lacks_end_mark(last)
    return OutlinedChapter(
        title=chapter.title,
        words=len(words(text, mode)),
        begins=" ".join(tokens[:_END_WORDS]),
        ends=" ".join(tokens[-_END_WORDS:]),
        documents=chapter.documents,
        typical_word=_typical_word_length(text),
        lacks_end_mark=lacks_end_mark,
        may_be_cut_off=lacks_end_mark and not _may_be_whole(last),
    )


def _typical_word_length(text: str) -> float:
    """Return the median length of words between blanks; 0 where none separate them."""
    if has_unspaced(text):
        return 0
    lengths = [len(word) for word in _LETTERS_BETWEEN_BLANKS.findall(text)]
    return median(lengths) if lengths else 0


def _lacks_end_mark(paragraph: str) -> bool:
    """Return whether a paragraph ends in a letter or a comma."""
    last = paragraph[-1:]
    return bool(last) and (
        last in _WITHIN_SENTENCES or unicodedata.category(last)[0] in "LM"
    )


def _may_be_whole(paragraph: str) -> bool:
    """Return whether a paragraph may be whole that no mark ends, as signatures are."""
    is_short = len(paragraph) < _FEWEST_LETTERS_OF_CUT_OFF
    return is_short and paragraph.count("“") <= paragraph.count("”")


def _cut_off_places(chapters: Sequence[OutlinedChapter]) -> list[int]:
    """Return the indices of chapters that end in the middle of a sentence.

    None if more than a tenth of the chapters, and more than one, end without a mark.
    """
    places = [place for place, chapter in enumerate(chapters) if chapter.lacks_end_mark]
    are_usual = len(places) > max(1, _MOST_OPEN * len(chapters))
    if are_usual or len(chapters) < _FEWEST_CHAPTERS:
        return []
    return [place for place in places if chapters[place].may_be_cut_off]


def _alarms_of_numbers(titles: Sequence[str | None]) -> Iterator[str]:
    if missing := missing_numbers(titles):
        yield f"chapter numbers missing: {missing}"
    if misplaced := misplaced_numbers(titles):
        yield f"chapter numbers out of place: {misplaced}"


def _alarms_of_texts(
    chapters: Sequence[OutlinedChapter],
    texts: Sequence[Chapter],
) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield what looks wrong with chapters' texts, and the indices of those."""
    paragraphs = [chapter.paragraphs for chapter in texts]
    if repeating := repeating_places(paragraphs):
        yield "repeats text from before it", repeating
    for place, reason in unreadable_places(paragraphs):
        yield f"no generation could match it: {reason}", [place]
    if glued := _places_with_long_words(chapters):
        yield "spaces may be missing between words", glued
    if notes := places_ending_in_notes(paragraphs):
        count = sum(notes.values())
        yield f"ends in numbered notes ({amount(count, 'word')} in all)", list(notes)
    if cut_off := _cut_off_places(chapters):
        yield "may end in the middle of a sentence", cut_off


def _alarms_of_cuts(cuts: Sequence[Cut]) -> Iterator[str]:
    inside = [cut for cut in cuts if cut.inside]
    if inside:
        rules = ", ".join(dict.fromkeys(cut.rule for cut in inside))
        count = sum(cut.inside for cut in inside)
        yield f"{amount(count, 'word')} cut inside chapters: {rules}"


def _places_with_long_words(chapters: Sequence[OutlinedChapter]) -> list[int]:
    """Return the indices of chapters whose words are far longer than the others'."""
    judged = {
        place: chapter.typical_word
        for place, chapter in enumerate(chapters)
        if chapter.typical_word and chapter.words >= _FEWEST_WORDS
    }
    if len(judged) < _FEWEST_CHAPTERS:
        return []
    bound = _LONG_TO_OTHERS * median(judged.values())
    return [place for place, typical_word in judged.items() if typical_word >= bound]


def _named(chapter: OutlinedChapter) -> str:
    """Name a chapter in reports, since its heading may have a book's text in it."""
    return short_name(chapter.title or "(no title)")


def _first_titles(titles: Sequence[str]) -> str:
    more = ", …" if len(titles) > _MOST_TITLES else ""
    return ", ".join(titles[:_MOST_TITLES]) + more
