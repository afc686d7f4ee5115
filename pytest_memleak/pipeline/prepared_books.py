"""The books of a suite as its pairs need them: read, cut, and with instructions."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Protocol

from pytest_memleak.books.archive import sha256_of
from pytest_memleak.books.build_book import with_instructions
from pytest_memleak.books.instructions import DEFAULT_INSTRUCTION, used_placeholders
from pytest_memleak.books.prompt_file import read_prompts
from pytest_memleak.errors import MemleakError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.pipeline.cut_books import CutBooks
    from pytest_memleak.records import (
        Book,
        BookSource,
        Excerpt,
        Model,
        Pair,
        Suite,
    )
    from pytest_memleak.sampling.cost_plan import Plan, PlannedOrdinals


class SummarySource(Protocol):
    """The writer of summaries that books lack (`pipeline.summary_writer`)."""

    def write(self, book_id: str, excerpts: Sequence[Excerpt]) -> Mapping[str, str]:
        """Return each excerpt's summary by its id."""

    def plan_missing(
        self,
        book_id: str,
        excerpts: Sequence[Excerpt],
        counted: PlannedOrdinals | None,
    ) -> Plan | None:
        """Plan the calls that `write` would make, without what is `counted` already."""

    def planned_summaries(self, excerpts: Sequence[Excerpt]) -> Mapping[str, str]:
        """Return stored summaries, and for others as many words as they may have."""


class PreparedBooks:
    """The books of one suite, each read when first used.

    writer: returns the source of summaries; called where a book lacks some
    """

    def __init__(
        self,
        suite: Suite,
        cut_books: CutBooks,
        writer: Callable[[], SummarySource],
    ) -> None:
        self._suite = suite
        self._cut_books = cut_books
        self._writer = writer
        self._scoring = suite.pairs[0].scoring
        self._files: dict[str, str | None] = {}
        self._whole: dict[str, Book] = {}
        self._excused_shares: dict[tuple[str, tuple[str, ...]], float] = {}

    def book_with_instructions(self, source: BookSource) -> Book:
        """Return the book with its instructions; missing summaries are written.

        Raises BookError or RecordsError for an unusable book, Inconclusive for one that
        is yet to be provided or whose summaries aren't available now.
        """
        if source.id not in self._whole:
            book, lacking = (
                self.cut_into_excerpts(source),
                self._excerpts_without_summary(source),
            )
            if lacking:
                # Raises for a bad author, title, or template before any paid call.
                blank = {excerpt.id: "" for excerpt in lacking}
                self._fill_instruction_template(source, blank)
                written = self._writer().write(source.id, lacking)
                book = self._fill_instruction_template(source, written)
            self._whole[source.id] = book
        return self._whole[source.id]

    def pair_book(self, pair: Pair, *, foreseen: bool = False) -> Book:
        """Return the book as the pair's probe needs it: instructions need summaries.

        Raises as `book` does. foreseen: as `foreseen` returns it
        """
        if pair.probe.kind == "prompts" and pair.book.prompts is not None:
            named = read_prompts(pair.book.prompts)
            prompts = tuple(prompt.prompt for prompt in named)
            return dataclasses.replace(
                self.cut_into_excerpts(pair.book), prompts=prompts
            )
        if pair.probe.kind != "instruction":
            return self.cut_into_excerpts(pair.book)
        return (
            self.planned_book(pair.book)
            if foreseen
            else self.book_with_instructions(pair.book)
        )

    def prompts_digest(self, pair: Pair) -> str | None:
        """Return the SHA-256 of the file of prompts that the pair names, if it does."""
        if pair.probe.kind != "prompts" or pair.book.prompts is None:
            return None
        return sha256_of(pair.book.prompts)

    def claimed_answers(self, pair: Pair) -> dict[str, str]:
        """Return the answers that the pair's prompts are claimed to have, by prompt."""
        if pair.book.prompts is None:
            return {}
        named = read_prompts(pair.book.prompts)
        return {each.prompt.id: each.claimed for each in named if each.claimed}

    def sources_needing_summaries(self, pair: Pair) -> list[BookSource]:
        """Return the books whose summaries the pair needs: prompted or trained on."""
        trained = [self._suite.book(book_id) for book_id in pair.model.finetune_books]
        return [pair.book, *trained] if pair.probe.kind == "instruction" else trained

    def planned_book(self, source: BookSource) -> Book:
        """Return the book for a plan, without a call.

        A summary that isn't written yet is as long as it may become. Raises as `book`
        does, but for summaries.
        """
        lacking = self._excerpts_without_summary(source)
        if not lacking:
            return self.cut_into_excerpts(source)
        return self._fill_instruction_template(
            source, self._writer().planned_summaries(lacking)
        )

    def plan_missing_summaries(
        self,
        source: BookSource,
        counted: PlannedOrdinals | None = None,
    ) -> Plan | None:
        """Plan the summaries that the book lacks; None where it lacks none.

        counted: what is planned already, and not counted again
        """
        lacking = self._excerpts_without_summary(source)
        if not lacking:
            return None
        return self._writer().plan_missing(source.id, lacking, counted)

    def training_books(
        self,
        model: Model,
        *,
        foreseen: bool = False,
    ) -> tuple[Book, ...]:
        """Return the books that the model is fine-tuned on, perhaps as `foreseen`."""
        read = self.planned_book if foreseen else self.book_with_instructions
        return tuple(
            read(self._suite.book(book_id)) for book_id in model.finetune_books
        )

    def is_read_from_records(self, source: BookSource) -> bool:
        """Tell whether the book, once read, came as records of its excerpts."""
        return self._cut_books.is_read_from_records(source, self._scoring)

    def other_test_books(self, book: Book) -> Iterator[Book]:
        """Yield the suite's other test books, but for those that can't be read."""
        for source in self._suite.books:
            if source.role == "test" and source.id != book.id:
                with contextlib.suppress(MemleakError):
                    yield self.cut_into_excerpts(source)

    def excused_share(self, book: Book, excusing: Iterable[str]) -> float:
        """Return the share of the book's words that these books excuse, by their ids.

        Of exact words or of folded ones, whichever is more.
        """
        names = tuple(name for name in excusing if name != book.id)
        key = (book.id, names)
        if key not in self._excused_shares:
            from pytest_memleak.scoring.excused_words import excused_words

            texts: list[Book] = []
            for name in names:
                text = self.cut_into_excerpts(self._suite.book(name))
                excluded = dataclasses.replace(
                    text, excerpts=text.excluded, contiguous=False, works=()
                )
                texts += [text, excluded]
            excused = excused_words([book], texts, self._scoring).get(book.id)
            share = 0.0
            if excused is not None:
                share = max(excused.exact.excused_share, excused.folded.excused_share)
            self._excused_shares[key] = share
        return self._excused_shares[key]

    def cut_into_excerpts(self, source: BookSource) -> Book:
        """Return the book with its own instructions; a refused one is read once."""
        return self._cut_books.cut_into_excerpts(source, self._scoring)

    def read_file(self, source: BookSource) -> Manuscript | Book:
        """Read the file of a book that isn't a collection. Raises as `cut` does."""
        return self._cut_books.read_file(source)

    def file_digest(self, source: BookSource) -> str | None:
        """Return the SHA-256 of the book's file (hexadecimal); None without a file."""
        if source.id not in self._files:
            self._files[source.id] = sha256_of(source.source)
        return self._files[source.id]

    def _excerpts_without_summary(self, source: BookSource) -> tuple[Excerpt, ...]:
        """Return the excerpts whose summaries the summarizer has to write."""
        book = self.cut_into_excerpts(source)
        written = self._suite.summarizer is not None and source.summaries is None
        if not written or "summary" not in used_placeholders(
            validated_template(source)
        ):
            return ()
        return tuple(excerpt for excerpt in book.excerpts if not excerpt.instruction)

    def _fill_instruction_template(
        self, source: BookSource, summaries: Mapping[str, str]
    ) -> Book:
        return with_instructions(
            self.cut_into_excerpts(source),
            summaries,
            author=source.author,
            title=source.title,
            template=source.instruction_template,
            mode=self._scoring.word_mode,
        )


def validated_template(source: BookSource) -> str:
    """Return the template of the book's instructions. Raises BookError if it is bad."""
    own = source.instruction_template
    template = DEFAULT_INSTRUCTION if own is None else own
    used_placeholders(template, place=f"book {source.id!r}")
    return template
