"""Protected books in one index, and their passages in any texts (docs/method.md)."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import MemleakError, SettingsError
from pytest_memleak.library.book_files import BookFiles
from pytest_memleak.library.read_prompts import ReadPrompts
from pytest_memleak.records import Book, Scoring
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.catalog_scan import book_keys
from pytest_memleak.scoring.find_passages import (
    LEAST_NEAR_VERBATIM_WORDS,
    contained_in,
    find_chains,
    nearly_contained_in,
    verbatim_passages,
)
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.prompt_trimming import NO_RANGES
from pytest_memleak.scoring.text_batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from pytest_memleak.scoring.find_passages import TextPassages
    from pytest_memleak.scoring.multi_book_index import TextMatches
    from pytest_memleak.scoring.word_hashes import BookKeys
    from pytest_memleak.scoring.word_ranges import Positions

    PassagesAndIfNear = tuple[TextPassages, bool]


_NO_POSITIONS = np.empty(0, dtype=np.intp)


class Passage(NamedTuple):
    """A passage of a protected book in a text.

    text:       number of the text, from 0
    book:       name of the book
    words:      its matching words, without those in the text's prompt
    near:       whether it is a near-verbatim passage; these count folded words
    start, end: in the book's words
    place, place_end: in the text's words, then further readings'
    """

    text: int
    book: str
    words: int
    near: bool
    start: int
    end: int
    place: int
    place_end: int


class Library:
    """Protected books to find in texts.

    index: what the gate matches generations with
    sizes: words of each book, by name
    """

    def __init__(
        self,
        books: Iterable[tuple[str, BookKeys]],
        scoring: Scoring,
        *,
        common: int = 0,
    ) -> None:
        """Index books, the last `common` of which excuse what they contain."""
        self.scoring = scoring
        self.index = SharedIndex(books, k=scoring.k, mode=scoring.word_mode)
        numbers = np.arange(len(self.index.books))
        self._excusing = numbers >= len(numbers) - common
        protected = self.index.books[: len(numbers) - common]
        self.sizes = {book.id: book.layout.total for book in protected}

    @classmethod
    def of(
        cls,
        books: Iterable[Book | Path | str],
        scoring: Scoring | None = None,
        *,
        common: Iterable[Book | Path | str] = (),
    ) -> Library:
        """Index books, files of books, and catalog files of `memleak catalog build`.

        common: texts that may be quoted: what one contains in as many words is no
                passage

        Raises BookError for what can't be read or measured, and SettingsError for no
        book, for two of one name, and for a catalog of another word mode.
        """
        scoring = scoring or Scoring()
        books = list(books)
        if not books:
            raise SettingsError(
                "a library needs at least one book",
                hint="name a file of a book",
            )
        quotable = list(_keys_of(list(common), scoring))
        protected = list(_keys_of(books, scoring))
        return cls(protected + quotable, scoring, common=len(quotable))

    def validate_books_exceed(self, limit: int) -> None:
        """Raise SettingsError for a limit that passages of a book can't exceed."""
        book, words = min(self.sizes.items(), key=itemgetter(1))
        if words <= limit:
            raise SettingsError(
                f"it has {amount(words, 'word')}, too few for a passage of over "
                f"{limit}",
                location=book,
                hint="remove it, or lower the limit",
            )

    def read_prompt(self, prompt: str) -> ReadPrompts:
        """Return a prompt for many calls of `find`, which together read it once."""
        return ReadPrompts([prompt], self.index, trim=self.scoring.trim)

    def find(
        self,
        texts: Sequence[str],
        prompts: Sequence[str] | ReadPrompts = (),
        *,
        least: int = LEAST_NEAR_VERBATIM_WORDS,
    ) -> list[Passage]:
        """Return the passages in the texts, by text and place.

        prompts: of each text, or one of all from `read_prompt`; runs of words that its
                 prompt contains don't count
        least:   the fewest words of a verbatim passage (near-verbatim: 20)
        """
        if prompts and not isinstance(prompts, ReadPrompts):
            _validate_one_each(prompts, texts)
        least = max(least, self.scoring.k)
        passages: list[Passage] = []
        every_number = range(len(texts))
        for numbers in batches_of(every_number, lambda number: len(texts[number])):
            prompts_of_batch = prompts
            if prompts and not isinstance(prompts, ReadPrompts):
                prompts_of_batch = [prompts[number] for number in numbers]
            passages += self._find_in_batch(
                texts=[texts[number] for number in numbers],
                prompts=prompts_of_batch,
                first=numbers[0],
                least=least,
            )
        return passages

    def _find_in_batch(
        self,
        texts: Sequence[str],
        prompts: Sequence[str] | ReadPrompts,
        first: int,
        least: int,
    ) -> list[Passage]:
        shared = self.index.matches(texts)
        kinds = list(self._passages_of_each_kind(shared, least))
        with_passage: set[int] = set()
        for passages, _ in kinds:
            with_passage.update(passages.text.tolist())
        # Prompts only shorten passages, and most texts have none.
        if with_passage and prompts:
            prompt_of = np.arange(len(texts))
            if isinstance(prompts, ReadPrompts):
                asked = prompts
                prompt_of = np.zeros_like(prompt_of)
            else:
                asked = self._read_prompts(prompts, with_passage)
            kinds = list(self._passages_of_each_kind(shared, least, asked, prompt_of))
        verbatim: list[Passage] = []
        near_verbatim: list[Passage] = []
        for passages, near in kinds:
            records = near_verbatim if near else verbatim
            records += self._passage_records(passages, first, near=near)
        every_passage = [*verbatim, *_distinct_near(near_verbatim)]
        every_passage.sort(key=attrgetter("text", "place", "near"))
        return every_passage

    def _read_prompts(
        self,
        prompts: Sequence[str],
        with_passage: Container[int],
    ) -> ReadPrompts:
        """Return the prompts of texts with passages; those of others are empty."""
        kept = [
            prompt if text in with_passage else ""
            for text, prompt in enumerate(prompts)
        ]
        return ReadPrompts(kept, self.index, trim=self.scoring.trim)

    def _passage_records(
        self,
        passages: TextPassages,
        first: int,
        *,
        near: bool,
    ) -> Iterator[Passage]:
        """Yield passages as records; `first` is the batch's first text."""
        columns = [column.tolist() for column in passages]
        for row in zip(*columns, strict=True):
            text, book, place, place_end, start, end, words = row
            yield Passage(
                text=first + text,
                book=self.index.books[book].id,
                words=words,
                near=near,
                start=start,
                end=end,
                place=place,
                place_end=place_end,
            )

    def _passages_of_each_kind(
        self,
        shared: TextMatches,
        least: int,
        prompts: ReadPrompts | None = None,
        prompt_of: Positions = _NO_POSITIONS,
    ) -> Iterator[PassagesAndIfNear]:
        """Yield the passages of each kind, by place in the texts, and if near.

        prompt_of: number of each text's prompt
        """
        trim = self.scoring.trim
        long = shared.matches.where(shared.matches.words >= least)
        ranges = NO_RANGES
        if prompts:
            ranges = prompts.ranges(shared.exact, prompt_of, folded=False)
        exact = verbatim_passages(long, ranges, trim=trim, least_words=least)
        if self._excusing.any():
            is_excused = contained_in(shared.matches, exact, self._excusing)
            exact = exact.where(~is_excused)
        text_start = shared.exact.ends[exact.text] + 1
        yield _placed_from_text_start(exact, text_start), False
        for near in shared.near:
            if prompts:
                prompt_of_reading = prompt_of[near.texts]
                ranges = prompts.ranges(near.words, prompt_of_reading, folded=True)
            chains = find_chains(near.matches, ranges, trim=trim)
            is_excused = nearly_contained_in(near.matches, chains, self._excusing)
            chains = chains.where(~is_excused)
            reading_start = near.words.ends[chains.text] + 1
            text_start = reading_start - near.ahead[chains.text]
            in_texts = chains._replace(text=near.texts[chains.text])
            yield _placed_from_text_start(in_texts, text_start), True


def _validate_one_each(prompts: Sequence[str], texts: Sequence[str]) -> None:
    """Raise SettingsError unless there are as many prompts as texts."""
    if len(prompts) != len(texts):
        raise SettingsError(
            f"{len(prompts)} prompts were given for {len(texts)} texts",
        )


def _keys_of(
    books: Sequence[Book | Path | str],
    scoring: Scoring,
) -> Iterator[tuple[str, BookKeys]]:
    """Yield each book's name and keys."""
    for book in books:
        if isinstance(book, Book):
            yield book.id, book_keys(book, k=scoring.k, mode=scoring.word_mode)
            continue
        files = BookFiles([Path(book)], scoring)
        files.validate()
        for name, keys in files.books():
            if isinstance(keys, MemleakError):
                raise keys
            yield name, keys


def _distinct_near(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Yield the longest passages of each text and book; no two share words."""
    taken: dict[tuple[int, str], list[Passage]] = defaultdict(list)
    for passage in sorted(passages, key=_longest_first):
        longer = taken[passage.text, passage.book]
        if not any(_share_words(passage, other) for other in longer):
            longer.append(passage)
            yield passage


def _longest_first(passage: Passage) -> tuple[int, ...]:
    return -passage.words, passage.place, passage.start, passage.end


def _share_words(passage: Passage, other: Passage) -> bool:
    """Tell whether two passages share words in the text or in the book."""
    in_text = passage.place < other.place_end and other.place < passage.place_end
    in_book = passage.start < other.end and other.start < passage.end
    return in_text or in_book


def _placed_from_text_start(passages: TextPassages, before: Positions) -> TextPassages:
    """Return the passages with their places counted from the beginning of the text."""
    return passages._replace(
        place=passages.place - before,
        place_end=passages.place_end - before,
    )
