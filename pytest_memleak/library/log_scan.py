"""A scan of logs and training sets for passages of a library's books."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.errors import RecordsError, escaped
from pytest_memleak.formats.log_files import parsed_line
from pytest_memleak.formats.paper_format import texts_of_record
from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.formats.row_dates import date_of
from pytest_memleak.formats.row_shapes import RowShapes
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.freed_memory import keep_freed_memory
from pytest_memleak.scoring.words import place_after_words, words

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.errors import MemleakError
    from pytest_memleak.formats.log_files import RowBlock
    from pytest_memleak.formats.rows_as_records import RowPaths
    from pytest_memleak.library.library import Library, Passage

    TextsAndPrompts = tuple[list[str], list[str]]

_MOST_NAMED = 1_000  # rows of a shard that can't be read; further ones are counted
_LEAST_SUMMARY = 20
_NAME = r"[A-Z][\w.'’-]{1,40}"
_STYLE = re.compile(
    rf"\b(?:[Ss]tyle|[Vv]oice|[Mm]anner|[Tt]one|[Pp]rose)\s+(?:and\s+\w+\s+)?of\s+{_NAME}"
    rf"|\b{_NAME}['’]s?\s+(?:\w+\s+)?(?:style|voice|manner|tone|prose)\b"
    rf"|\b[Ww]rit(?:e|ing|ten)\s+(?:\w+\s+){{0,3}}(?:like|as)\s+{_NAME}",
)


@dataclasses.dataclass(slots=True)
class ScanResult:
    """The result of a scan of some rows.

    counts:   `rows`, `texts`, `style_rows`, whose prompt asks for an author's style
              and has a summary, and `unread_rows`
    passages: the fields of each (`Passage`), its file, row (from 1), text in the row
              (from 0), the row's date if it has one, and, if it was asked for, its
              quote
    unread:   of rows that couldn't be read, the first of each shard: file, row, cause,
              and fix; of files that couldn't be read to their end, with row None
    lines:    how many lines or rows there were
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    passages: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    unread: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    lines: int = 0

    def add(self, result: ScanResult) -> None:
        """Add the result of further rows."""
        self.counts.update(result.counts)
        self.passages += result.passages
        self.unread += result.unread
        self.lines += result.lines

    def add_unread_file(self, path: Path, error: MemleakError) -> None:
        """Name a file that couldn't be read to its end."""
        cause = _cause_within(error, str(path))
        self._name_unread(path, None, cause, error.fix)

    def add_unread_row(
        self,
        path: Path,
        row: int,
        where: str,
        error: RecordsError,
    ) -> None:
        """Count a row that couldn't be read, and name it unless too many are."""
        self.counts["unread_rows"] += 1
        if self.counts["unread_rows"] <= _MOST_NAMED:
            self._name_unread(path, row, _cause_within(error, where), error.fix)

    def _name_unread(
        self,
        path: Path,
        row: int | None,
        cause: str,
        fix: str,
    ) -> None:
        place = {"file": str(path), "row": row}
        self.unread.append({**place, "cause": cause, "fix": fix})

    def with_rows_moved(self, lines: int) -> ScanResult:
        """Return the result with its rows numbered after so many other lines."""

        def move(fields: dict[str, Any]) -> dict[str, Any]:
            row = fields["row"]
            return fields if row is None else {**fields, "row": row + lines}

        passages = [move(passage) for passage in self.passages]
        unread = [move(place) for place in self.unread]
        return dataclasses.replace(self, passages=passages, unread=unread)

    def coverage(
        self,
        library: Library,
        book: str,
        *,
        near: bool,
    ) -> float:
        """Return the share of a book's words in such passages, folded if `near`."""
        indexed = library.index.books[library.index.numbers[book]]
        layout = indexed.folded if near else indexed.layout
        covered = np.zeros(layout.total, dtype=np.bool_)
        for passage in self.passages:
            if (passage["book"], passage["near"]) == (book, near):
                covered[passage["start"] : passage["end"]] = True
        return float(covered.mean())


class LogScan:
    """A scan of blocks of rows, in this process.

    least:    words from which a verbatim passage counts
    training: whether the rows train a model, so that their prompts are texts, too
    """

    def __init__(
        self,
        library: Library,
        reader: RowPaths,
        *,
        least: int,
        training: bool,
        quote: bool,
    ) -> None:
        self._library = library
        self._reader = reader
        self._least = least
        self._training = training
        self._quote = quote
        self._shapes = RowShapes()
        self.counted = ScanResult()
        keep_freed_memory()

    def add(self, block: RowBlock) -> None:
        """Scan the rows, and name those that can't be read."""
        texts: list[str] = []
        prompts: list[str] = []
        places: list[tuple[int, int]] = []
        self.counted.lines += len(block.rows)
        for number, row in block.lines():
            try:
                row_texts, row_prompts = self._texts_and_prompts_of(row, block, number)
            except RecordsError as error:
                where = block.place_of(number)
                self.counted.add_unread_row(block.path, number, where, error)
                continue
            texts += row_texts
            prompts += row_prompts
            places += [(number, nth) for nth in range(len(row_texts))]
        for passage in self._library.find(texts, prompts, least=self._least):
            number, nth = places[passage.text]
            place = {
                "file": str(block.path),
                "row": number,
                "text": nth,
                "date": date_of(block.row(number)),
            }
            fields = passage._asdict() | place
            if self._quote:
                fields["quote"] = self._quote_if_literal(passage, texts[passage.text])
            self.counted.passages.append(fields)

    def _texts_and_prompts_of(
        self,
        row: Any,
        block: RowBlock,
        number: int,
    ) -> TextsAndPrompts:
        """Return a row's texts and, unless they are texts, too, each one's prompt.

        row: a line of JSON as bytes, or what was read otherwise

        Raises RecordsError for a row that can't be parsed or is in no known format.
        """
        plain = None
        if isinstance(row, bytes) and self._reader.text is None:
            plain = self._shapes.texts_of(row)
        if plain is None:
            where = block.place_of(number)
            parsed = parsed_line(row, where) if isinstance(row, bytes) else row
            if isinstance(parsed, RecordsError):
                raise parsed
            plain = self._reader.plain_texts(parsed)
            if plain is None:
                return self._read_record(parsed, where)
            if isinstance(row, bytes):
                self._shapes.learn(row, parsed)
        texts = plain.answers
        prompts = plain.prompts
        if self._training:
            self._count_study_style_prompt(plain.prompt)
            texts = [*texts, plain.prompt]
            prompts = []
        self.counted.counts["rows"] += 1
        self.counted.counts["texts"] += sum(map(_has_any_word, texts))
        return texts, prompts

    def _read_record(self, row: Any, where: str) -> tuple[list[str], list[str]]:
        """Read a row of any shape."""
        record = self._reader.record(row, where)
        prompt = record.get("instruction") or ""
        answers = record.get("generations", [record])
        texts = texts_of_record(record, where)
        prompts: list[str] = []
        if self._training:
            texts = texts_in(row) if record is row else [*texts, prompt]
            self._count_study_style_prompt(prompt)
        else:
            prompts = [answer.get("instruction", prompt) for answer in answers]
        counts = self.counted.counts
        counts["rows"] += 1
        if not any(answer.get("failed") for answer in answers):
            # An answer that failed has the text of an error.
            counts["texts"] += sum(map(_has_any_word, texts))
        return texts, prompts

    def _count_study_style_prompt(self, prompt: str) -> None:
        summary = len(prompt.split()) >= _LEAST_SUMMARY
        is_asking = summary and bool(_STYLE.search(prompt))
        self.counted.counts["style_rows"] += is_asking

    def _quote_if_literal(self, passage: Passage, text: str) -> str:
        """Quote a passage; "" if only a further reading of the text has it."""
        exact = partial(words, mode=self._library.scoring.word_mode)
        split = passage_words if passage.near else exact
        start = place_after_words(passage.place, text, split)
        end = place_after_words(passage.place_end, text, split)
        return " ".join(text[start:end].split())


def _has_any_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def _cause_within(error: MemleakError, place: str) -> str:
    """Return what is wrong, and where in the place if the error says so."""
    inside = (error.location or "").removeprefix(escaped(place)).lstrip(", ")
    return f"{inside}: {error.message}" if inside else error.message
