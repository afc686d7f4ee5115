"""A scan of logs and training sets for passages of a library's books."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections import Counter
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.formats.log_files import read_blocks
from pytest_memleak.formats.paper_format import texts_of_record
from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.parallel.processes import Processes
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.freed_memory import keep_freed_memory
from pytest_memleak.scoring.words import end_of_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.formats.log_files import RowBlock
    from pytest_memleak.formats.log_formats import RowPaths
    from pytest_memleak.library.library import Library, Passage

_SMALL = 8 << 20  # bytes, which one process reads before others have started
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

    counts:   `rows`, `texts`, and `style_rows`, whose prompt asks for an author's
              style and has a summary
    passages: the fields of each (`Passage`), its file, row (from 1), text in the row
              (from 0), and, if it was asked for, its quote
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    passages: list[dict[str, Any]] = dataclasses.field(default_factory=list)

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
        self.counted = ScanResult()
        keep_freed_memory()

    def add(self, block: RowBlock) -> None:
        """Scan the rows. Raises RecordsError for a row in no known format."""
        texts: list[str] = []
        prompts: list[str] = []
        places: list[tuple[int, int]] = []
        counts = self.counted.counts
        for number, row, where in block.places():
            record = self._reader.record(row, where)
            prompt = record.get("instruction") or ""
            answers = record.get("generations", [record])
            row_texts = texts_of_record(record, where)
            if self._training:
                row_texts = texts_in(row) if record is row else [*row_texts, prompt]
                summary = len(prompt.split()) >= _LEAST_SUMMARY
                counts["style_rows"] += summary and bool(_STYLE.search(prompt))
            else:
                prompts += [answer.get("instruction", prompt) for answer in answers]
            texts += row_texts
            places += [(number, nth) for nth in range(len(row_texts))]
            counts["rows"] += 1
            if not any(answer.get("failed") for answer in answers):
                # An answer that failed has the text of an error.
                counts["texts"] += sum(map(_has_words, row_texts))
        for passage in self._library.find(texts, prompts, least=self._least):
            number, nth = places[passage.text]
            place = {"file": str(block.path), "row": number, "text": nth}
            fields = passage._asdict() | place
            if self._quote:
                fields["quote"] = self._quoted(passage, texts[passage.text])
            self.counted.passages.append(fields)

    def _quoted(self, passage: Passage, text: str) -> str:
        """Quote a passage; "" if only a further reading of the text has it."""
        exact = partial(words, mode=self._library.scoring.word_mode)
        split = passage_words if passage.near else exact
        start = end_of_words(passage.place, text, split)
        end = end_of_words(passage.place_end, text, split)
        return " ".join(text[start:end].split())


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def scan_logs(
    make: Callable[[], LogScan],
    paths: Sequence[Path],
    *,
    text: str | None,
    jobs: int,
    progress: Callable[[int], object],
) -> ScanResult:
    """Scan files of rows, in processes each of which makes a `LogScan`.

    text:     where each row's text is, if not by its format
    progress: is called with the bytes that were read since the last call

    Raises RecordsError for a file or row that can't be read.
    """

    def blocks() -> Iterator[RowBlock]:
        for path in paths:
            for block in read_blocks(path, text=text):
                yield block
                progress(block.bytes)

    if jobs == 1 or sum(path.stat().st_size for path in paths) < _SMALL:
        scan = make()
        for block in blocks():
            scan.add(block)
        results = [scan.counted]
    else:
        with contextlib.closing(Processes(jobs)) as processes:
            results = processes.count(make, blocks(), place="the scan")
    total = ScanResult()
    for result in results:
        total.counts.update(result.counts)
        total.passages += result.passages
    total.passages.sort(key=itemgetter("file", "row", "text"))
    return total
