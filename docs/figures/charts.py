"""Draw what a pass is worth: error rates, detection, intervals, nulls of real novels.

    python docs/figures/charts.py      # after simulated.py

Writes error_rates.svg, detection.svg, coverage.svg and, where MEMLEAK_BOOKS names a
folder of EPUBs, novels.svg beside this file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Scoring
from pytest_memleak.scoring.detection_limit import detection_limit
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.null_books import excess_over_null
from pytest_memleak.scoring.round_blocks import blocks_of

HERE = Path(__file__).parent
ERROR_RATES = HERE.parents[1] / "benchmarks" / "results" / "error_rates.json"
MODEL = "order 5"  # in the chart of error rates
CONFIDENCE = 0.95
ROUNDS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 59, 80, 100, 150, 200, 250, 299)
LAYOUT = {
    "width": 900,
    "truncate_label": 40,
    "truncate_legend": 60,
    "legend_at_bottom": True,
    "js": [],
    "margin": 20,
}
STYLE = Style(background="white", plot_background="white", font_family="sans-serif")


def main() -> None:
    """Draw what there are numbers for."""
    draw_error_rates()
    draw_detection()
    draw_coverage()
    if folder := os.environ.get("MEMLEAK_BOOKS"):
        draw_novels(Path(folder))


def draw_error_rates() -> None:
    """Which share of pairs failed, and was over each limit, by dose in training."""
    cases = json.loads(ERROR_RATES.read_text("utf-8"))
    shown = []
    for case in cases:
        if (case["it read"], case["model"]) == ("fine-tuned", MODEL):
            shown.append(case)
    chart = _chart(
        pygal.Line,
        height=460,
        title="Pairs that fail, by the number of copies of the story in training",
        x_title=f"copies of the story that a fine-tuned model of {MODEL} read",
        range=(0, 1),
        value_formatter=lambda value: f"{value:.0%}",
        legend_at_bottom_columns=4,
    )
    chart.x_labels = [str(case["dose"]) for case in shown]
    failed = [case["verdicts"].get("strict FAIL", 0) / case["pairs"] for case in shown]
    chart.add("FAIL", failed, stroke_style={"width": 5})
    for limit in shown[0]["over"]:
        chart.add(limit, [case["over"][limit] / case["pairs"] for case in shown])
    chart.render_to_file(HERE / "error_rates.svg")


def draw_detection() -> None:
    """What n rounds would have seen."""
    chart = _chart(
        pygal.XY,
        height=420,
        title="A passage that comes more often than this would have been seen (95%)",
        x_title="rounds",
        y_title="probability per answer to its prompt",
        dots_size=2,
        range=(0, 1),
    )
    chart.add(
        "rounds alike", [(n, detection_limit(n, confidence=CONFIDENCE)) for n in ROUNDS]
    )
    chart.add(
        "rounds not alike, in blocks",
        [
            (n, detection_limit(int(blocks_of(n)[-1]) + 1, confidence=CONFIDENCE))
            for n in ROUNDS
        ],
    )
    chart.render_to_file(HERE / "detection.svg")


def draw_coverage() -> None:
    """How often the interval held the expected BMC, by kind of model."""
    data = json.loads((HERE / "simulated.json").read_text("utf-8"))
    rows = [*data["intervals"], *data["few"]][::-1]  # the last is drawn on top
    chart = _chart(
        pygal.HorizontalBar,
        height=40 + 24 * len(rows),
        title="Runs whose interval at 95% held the expected BMC",
        range=(0, 1),
        value_formatter=lambda value: f"{value:.0%}",
        legend_at_bottom_columns=2,
    )
    chart.x_labels = [
        f"{row['rounds']}, {row['spans']} spans, n = {row['n']}" for row in rows
    ]
    chart.add("held", [row["held"] for row in rows])
    chart.add(
        "held, or said that rounds were not alike",
        [row["held or said"] for row in rows],
    )
    chart.render_to_file(HERE / "coverage.svg")


def draw_novels(folder: Path) -> None:
    """What novels share with one another: the nulls that a book may have."""
    books = {
        path.stem: Book(
            path.stem, path.stem, "", tuple(cut(read_epub(path))), digest=""
        )
        for path in sorted(folder.glob("*.epub"))
    }
    answers = {
        name: [(None, one.text) for one in book.excerpts]
        for name, book in books.items()
    }
    chart = _chart(
        pygal.Bar,
        height=460,
        title="BMC of one novel as the answers for another, at one number of words",
        value_formatter=lambda value: f"{value:.1%}",
        legend_at_bottom_columns=2,
    )
    chart.x_labels = [name.removeprefix("the-adventures-of-") for name in books]
    shares: dict[str, list[float | None]] = {name: [] for name in books}
    for target, book in books.items():
        own, *others = sorted(books.keys() - {target})
        found = excess_over_null(
            book,
            answers[own],
            {name: answers[name] for name in others},
            Scoring(),
            index=SharedIndex([book], k=Scoring().k),
        )
        if not found:
            raise SystemExit(f"{own} or {target} has no words")
        by_book = {own: found.bmc} | {one.book_id: one.bmc for one in found.books}
        for name, of in shares.items():
            of.append(by_book.get(name))
    for name, of in shares.items():
        chart.add(name, of)
    chart.render_to_file(HERE / "novels.svg")


def _chart(kind: Any, **settings: Any) -> Any:
    return kind(style=STYLE, **LAYOUT, **settings)


if __name__ == "__main__":
    main()
