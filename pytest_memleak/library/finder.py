"""Passages as columns: a library for the batches of Ray Data, Spark, and datatrove.

Each row gets the words of its longest verbatim and of its longest near-verbatim passage
(0 for none), and all passages as JSON, without text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pytest_memleak.library.library import Library
from pytest_memleak.scoring.find_passages import LEAST_NEAR_VERBATIM_WORDS
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.library.library import Passage
    from pytest_memleak.records import Book, Scoring

_EXACT, _NEAR = LONGEST_PASSAGE.name, NV_LONGEST_PASSAGE.name
_EVERY = "passages"
_DOCUMENTS_TOGETHER = 1 << 10

_Columns = dict[str, list[Any]]


class Finder:
    """Finds passages of books in a column of batches, and adds columns to them.

    text:   the column of the texts; where a value is no text, the columns are None
    prompt: the column of their prompts, if any, whose words don't count
    least:  the fewest words of a verbatim passage (near-verbatim: 20)
    """

    COLUMNS = (_EXACT, _NEAR, _EVERY)
    """The columns that it adds: two of integers, one of text."""

    def __init__(
        self,
        books: Iterable[Book | Path | str],
        *,
        text: str = "text",
        prompt: str | None = None,
        scoring: Scoring | None = None,
        common: Iterable[Book | Path | str] = (),
        least: int = LEAST_NEAR_VERBATIM_WORDS,
    ) -> None:
        """Index the books. Raises BookError and SettingsError (`Library.of`)."""
        self._library = Library.of(books, scoring, common=common)
        self._text = text
        self._prompt = prompt
        self._least = least

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch of Ray Data with the further columns.

        `dataset.map_batches(Finder, fn_constructor_args=[books], ...)`
        """
        prompts = batch[self._prompt] if self._prompt else ()
        return batch | self._passage_columns(batch[self._text], prompts)

    def frames(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Yield pandas data frames with the further columns.

        `table.mapInPandas(finder.frames, schema)` in Spark
        """
        for frame in frames:
            prompts = frame[self._prompt] if self._prompt else ()
            yield frame.assign(**self._passage_columns(frame[self._text], prompts))

    def documents(
        self,
        documents: Iterable[Any],
        rank: int = 0,  # noqa: ARG002 - which task of datatrove's this is
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[Any]:
        """Yield datatrove's documents with the columns in their metadata.

        A step of a pipeline: `[reader, finder.documents, writer]`
        """
        waiting: list[Any] = []
        for document in documents:
            waiting.append(document)
            if len(waiting) == _DOCUMENTS_TOGETHER:
                yield from self._add_passages_to_metadata(waiting)
                waiting = []
        yield from self._add_passages_to_metadata(waiting)

    def _add_passages_to_metadata(self, documents: list[Any]) -> Iterator[Any]:
        texts = [document.text for document in documents]
        prompts: list[Any] = []
        if self._prompt:
            prompts = [document.metadata.get(self._prompt) for document in documents]
        columns = self._passage_columns(texts, prompts)
        for number, document in enumerate(documents):
            for name, values in columns.items():
                document.metadata[name] = values[number]
            yield document

    def _passage_columns(
        self, texts: Iterable[Any], prompts: Iterable[Any]
    ) -> _Columns:
        values = list(texts)
        strings = list(map(_text_or_empty, values))
        passages_of_text: dict[int, list[Passage]] = defaultdict(list)
        for passage in self._library.find(
            strings,
            list(map(_text_or_empty, prompts)),
            least=self._least,
        ):
            passages_of_text[passage.text].append(passage)
        columns: _Columns = {name: [] for name in self.COLUMNS}
        for number, value in enumerate(values):
            cells: tuple[Any, ...] = (None, None, None)
            if isinstance(value, str):
                passages = passages_of_text[number]
                cells = (
                    _words_of_longest(passages, near=False),
                    _words_of_longest(passages, near=True),
                    _as_json(passages),
                )
            for name, cell in zip(self.COLUMNS, cells, strict=True):
                columns[name].append(cell)
        return columns


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words_of_longest(passages: Sequence[Passage], *, near: bool) -> int:
    words = [passage.words for passage in passages if passage.near is near]
    return max(words, default=0)


def _as_json(passages: Sequence[Passage]) -> str:
    rows = []
    for passage in passages:
        fields = passage._asdict()
        del fields["text"]
        rows.append(fields)
    return json.dumps(rows)
