"""What limits say of unread books: each of six novels answers for each other one.

    MEMLEAK_BOOKS=FOLDER python docs/figures/unread.py

Writes the table of docs/validation.md: per measure the largest of the thirty pairs, and
how many are over each preset. FOLDER has EPUBs; excerpts of one novel answer those of
the other, in order.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Generation, Scoring
from pytest_memleak.scoring.analysis import analyze, estimates
from pytest_memleak.scoring.measure_table import PRESETS

PAGE = Path(__file__).parents[1] / "validation.md"
FIRST, LAST = (
    "<!-- Made by figures/unread.py; not to be edited. -->",
    "<!-- So far. -->",
)
MEASURES = tuple(
    name
    for name in PRESETS["strict"]
    if not name.startswith("greedy_") and name != "extracted"
)


def main() -> None:
    """Measure, and write."""
    folder = Path(os.environ["MEMLEAK_BOOKS"])
    books = [
        Book(path.stem, path.stem, "", tuple(cut(read_epub(path))), digest="")
        for path in sorted(folder.glob("*.epub"))
    ]
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for book in books:
        for other in books:
            if other is not book:
                told = estimates(_analysed(book, other))
                for name in MEASURES:
                    found[name].append(told[name].value)
    lines = [
        (
            f"| limit | largest of {len(found['bmc'])} pairs | over `strict` | over "
            "`paper` |"
        ),
        "| --- | ---: | ---: | ---: |",
    ]
    for name, values in found.items():
        over = (
            f"{sum(one > preset[name] for one in values)}" if name in preset else ""
            for preset in PRESETS.values()
        )
        lines.append(f"| `{name}` | {max(values):,.4g} | {' | '.join(over)} |")
    before, rest = PAGE.read_text("utf-8").split(FIRST)
    table = "\n".join(lines)
    PAGE.write_text(
        f"{before}{FIRST}\n\n{table}\n\n{LAST}{rest.split(LAST, 1)[1]}", "utf-8"
    )


def _analysed(book: Book, other: Book):
    """The other novel's excerpts as answers, as many rounds as there are."""
    each = len(book.excerpts)
    answers = [
        Generation(book.excerpts[at % each].id, at // each, one.text)
        for at, one in enumerate(other.excerpts)
    ]
    return analyze(book, answers, Scoring())


if __name__ == "__main__":
    main()
