"""A scan of logs and training sets for passages of a library's books, in all processes at once."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.parallel.processes import Processes
from pytest_memleak.records.log_files import read_blocks
from pytest_memleak.records.paper_format import texts_of_record
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.words import end_of_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pytest_memleak.library.library import Library, Passage
    from pytest_memleak.records.log_files import RowBlock, RowPaths

_SMALL = 8 << 20  # bytes, which one process reads before others have started
_LEAST_SUMMARY = 20
_NAME = r"[A-Z][\w.'’-]{1,40}"
_STYLE = re.compile(
    rf"\b(?:[Ss]tyle|[Vv]oice|[Mm]anner|[Tt]one|[Pp]rose)\s+(?:and\s+\w+\s+)?of\s+{_NAME}"
    rf"|\b{_NAME}['’]s?\s+(?:\w+\s+)?(?:style|voice|manner|tone|prose)\b"
    rf"|\b[Ww]rit(?:e|ing|ten)\s+(?:\w+\s+){{0,3}}(?:like|as)\s+{_NAME}"
)


@dataclass(frozen=True, slots=True)
class LoggedPassage:
    """A passage in a log.

    row, text: numbers of the row in its file, from 1, and of the text in the row, from 0
    quote:     the passage; None unless it is asked for
    """

    file: str
    row: int
    text: int
    passage: Passage
    quote: str | None = None


@dataclass(slots=True)
class ScanResult:
    """The result of a scan of some rows.

    style_rows: rows whose prompt asks for an author's style and has a summary
    """

    rows: int = 0
    texts: int = 0
    style_rows: int = 0
    passages: list[LoggedPassage] = field(default_factory=list)

    def add(self, other: ScanResult) -> None:
        """Add the result of other rows."""
        self.rows += other.rows
        self.texts += other.texts
        self.style_rows += other.style_rows
        self.passages += other.passages

    def coverage(self, library: Library, book: str, *, near: bool) -> float:
        """Return the share of a book's words, folded if `near`, in its passages of that kind."""
        layouts = library.index.books[library.index.numbers[book]]
        covered = np.zeros((layouts.folded if near else layouts.layout).total, dtype=np.bool_)
        for passage in (logged.passage for logged in self.passages):
            if (passage.book, passage.near) == (book, near):
                covered[passage.start : passage.end] = True
        return float(covered.mean())


class LogScan:
    """A scan of blocks of rows, in this process.

    least:    words from which a verbatim passage counts
    training: whether the rows train a model, so that their prompts are texts, too
    """

    def __init__(
        self, library: Library, reader: RowPaths, *, least: int, training: bool, quote: bool
    ) -> None:
        self._library, self._reader = library, reader
        self._least, self._training, self._quote = least, training, quote
        self.counted = ScanResult()

    def add(self, block: RowBlock) -> None:
        """Scan the rows. Raises RecordsError for a row in no known format."""
        texts: list[str] = []
        prompts: list[str] = []
        places: list[tuple[int, int]] = []
        for number, row, where in block.places():
            record = self._reader.record(row, where)
            prompt = record.get("instruction") or ""
            row_texts = texts_of_record(record, where)
            self.counted.rows += 1
            if self._training:
                self.counted.style_rows += _asks_for_style(prompt)
                row_texts.append(prompt)
            texts += row_texts
            answers = record.get("generations", [record])
            prompts += [answer.get("instruction", prompt) for answer in answers]
            places += [(number, nth) for nth in range(len(row_texts))]
        self.counted.texts += sum(map(bool, texts))
        asked = [] if self._training else prompts
        for passage in self._library.find(texts, asked, least=self._least):
            quote = self._quoted(passage, texts[passage.text]) if self._quote else None
            place = places[passage.text]
            self.counted.passages.append(LoggedPassage(str(block.path), *place, passage, quote))

    def _quoted(self, passage: Passage, text: str) -> str:
        """Quote a passage; "" if only a further reading of the text has it."""
        mode = self._library.scoring.word_mode
        split = passage_words if passage.near else partial(words, mode=mode)
        ends = passage.place, passage.place_end
        start, end = (end_of_words(place, text, split) for place in ends)
        return " ".join(text[start:end].split())


def _asks_for_style(prompt: str) -> bool:
    return len(prompt.split()) >= _LEAST_SUMMARY and bool(_STYLE.search(prompt))


def scan_logs(
    library: Library,
    paths: Iterable[Path],
    reader: RowPaths,
    *,
    jobs: int,
    progress: Callable[[int], object] = lambda _: None,
    least: int,
    training: bool = False,
    quote: bool = False,
) -> ScanResult:
    """Scan files of rows; progress: is called with the bytes that were read since the last call.

    Raises RecordsError for a file or row that can't be read.
    """
    paths = list(paths)
    make = partial(LogScan, library, reader, least=least, training=training, quote=quote)

    def blocks() -> Iterator[RowBlock]:
        for path in paths:
            before = 0
            for block in read_blocks(path):
                yield block
                progress(block.bytes - before)
                before = block.bytes

    total = ScanResult()
    if jobs == 1 or sum(path.stat().st_size for path in paths) < _SMALL:
        scan = make()
        for block in blocks():
            scan.add(block)
        results = [scan.counted]
    else:
        with contextlib.closing(Processes(jobs)) as processes:
            results = processes.count(make, blocks(), place="the scan")
    for result in results:
        total.add(result)
    total.passages.sort(key=lambda logged: (logged.file, logged.row, logged.text))
    return total
