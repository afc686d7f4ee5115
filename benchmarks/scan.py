"""Measure `memleak scan`: a row's processor time, in multiples of its floor.

python benchmarks/scan.py     # half a minute

The rows have a prose text of 180 words each, as it is and as a chat model would set it.
Their floor is what Python needs to parse a row's JSON and to look up each word of its
text.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import corpus
import floor
from measure import in_turns

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "library"))
import log_rows

from pytest_memleak.formats.log_files import RowBlock
from pytest_memleak.formats.rows_as_records import RowPaths
from pytest_memleak.library.library import Library
from pytest_memleak.library.log_scan import LogScan

ROWS, WORDS, BLOCK, REPEATS = 5_000, 180, 800, 7
FORMATS = {"OpenAI batch": log_rows.openai_batch, "chat": log_rows.chat}


def row_of(
    format_: str, prose: str, *, marked: bool, draw: random.Random
) -> tuple[bytes, str]:
    """Return a row as JSON, and the text in it."""
    text = corpus.with_marks(prose, draw) if marked else prose
    return json.dumps(FORMATS[format_](draw.randrange(ROWS), text)).encode(), text


def parsing_and_look_up(rows: list[tuple[bytes, str]]) -> Callable[[], None]:
    known = floor.vocabulary(excerpt.text for excerpt in corpus.book().excerpts)

    def run() -> None:
        for data, text in rows:
            json.loads(data)
            floor.look_up(text, known)

    return run


def scanning(rows: list[tuple[bytes, str]], library: Library) -> Callable[[], None]:
    blocks = [
        RowBlock(
            Path("log.jsonl"), at + 1, [data for data, _ in rows[at : at + BLOCK]], 0
        )
        for at in range(0, len(rows), BLOCK)
    ]

    def run() -> None:
        scan = LogScan(library, RowPaths(), least=20, training=False, quote=False)
        for block in blocks:
            scan.add(block)

    return run


def main() -> None:
    library = Library.of([corpus.book()])
    proses = [" ".join(each.text.split()[:WORDS]) for each in corpus.answers(ROWS)]
    for format_ in FORMATS:
        for marked in (False, True):
            draw = random.Random(3)
            rows = [
                row_of(format_, prose, marked=marked, draw=draw) for prose in proses
            ]
            least, scan = in_turns(
                REPEATS, parsing_and_look_up(rows), scanning(rows, library)
            )
            text = "marked" if marked else "plain"
            print(
                f"{format_}, {text}: {scan / ROWS * 1e6:.0f} µs a row, "
                f"{scan / least:.1f} floors"
            )


if __name__ == "__main__":
    main()
