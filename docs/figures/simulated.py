"""Simulate intervals, detection, ranges and releases, into benchmarks/results/.

    OPENBLAS_NUM_THREADS=1 nice python docs/figures/simulated.py [SECTION ...]

Writes simulated.json beside this file, and from it the tables of simulations.md. The
whole takes three quarters of an hour on one processor; every cell has a seed of its
own, so that sections can be made again by themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "scoring"))

import known_models as known  # noqa: E402
import simulations  # noqa: E402

DATA = HERE / "simulated.json"
PAGE = HERE.parents[1] / "benchmarks" / "results" / "simulations.md"
FIRST, LAST = (
    "<!-- Made by figures/simulated.py; not to be edited. -->",
    "<!-- So far. -->",
)

Row = dict[str, str | int | float | None]


# --- the sections


def intervals(runs: int) -> Iterator[Row]:
    """A hundred rounds, of every temper."""
    for temper in known.TEMPERS:
        for spans in (20, 100) if temper.always else (5, 20, 100, 400):
            yield _interval(temper, spans, 100, runs)


def few(runs: int) -> Iterator[Row]:
    """Ten rounds and fewer."""
    for rounds in (10, 5, 3):
        for spans in (5, 20, 100, 400):
            yield _interval(known.ALIKE, spans, rounds, runs)
    for temper in known.TEMPERS[1:]:
        yield _interval(temper, 100, 10, runs)


def _interval(temper: known.Temper, spans: int, rounds: int, runs: int) -> Row:
    cell = simulations.intervals(temper, spans=spans, rounds=rounds, runs=runs)
    said, held = cell.said > 0, cell.held > 0
    seen_twice = cell.passages > 1
    return {
        "rounds": temper.name,
        "n": rounds,
        "spans": spans,
        "runs": runs,
        "held": _share(held),
        "said": _share(said),
        "held or said": _share(held | said),
        "held where said": _share(held[said]),
        "said where it recited twice": _share(said[seen_twice])
        if temper.always
        else None,
        "seen at d": None if temper.always else _share(cell.at_d),
        "seen at 1.1 d": None if temper.always else _share(cell.over_d),
    }


def releases(runs: int) -> Iterator[Row]:
    """The same models twice."""
    for temper in (known.ALIKE, known.CLUMPED, known.ALL_OR_NOTHING_10):
        called = simulations.called_worse_though_the_same(temper, releases=runs)
        yield {"rounds": temper.name, "releases": runs, "called worse": _share(called)}


def changes(runs: int) -> Iterator[Row]:
    """One pair of twenty that changed."""
    for change in (
        simulations.more_passages,
        simulations.more_often,
        simulations.rare_passages,
    ):
        called = simulations.called_worse(change, runs=runs)
        said = (change.__doc__ or "").rstrip(".").replace("\n", " ")
        yield {"change": said, "runs": runs, "called worse": _share(called)}


def ranges(_: int) -> Iterator[Row]:
    """Forty models, eight seeds each."""
    for measure, held in simulations.ranges(models=40, seeds=8, rounds=100).items():
        others = (held.sum() - held.size) / (
            held.size * 7
        )  # each range holds its own value
        yield {
            "measure": measure,
            "reports": held.size,
            "other seeds' values held": round(float(others), 3),
            "reports that hold at least 7 of 8": _share(held >= 7),  # noqa: PLR2004
        }


def _share(of: np.ndarray) -> float | None:
    return round(float(np.mean(of)), 3) if len(of) else None


SECTIONS = {
    "intervals": (intervals, "The interval of BMC and detection, 100 rounds"),
    "few": (few, "Ten rounds and fewer"),
    "releases": (releases, "The same 20 models in two releases, three measures each"),
    "changes": (
        changes,
        "One pair of 20 changed: BMC from 0.20 to 0.22, tolerance 0.005",
    ),
    "ranges": (ranges, "Ranges of the maxima, 100 rounds"),
}


# --- the page


def main() -> None:
    """Simulate what is asked for, and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument(
        "--runs", type=int, default=1_000, help="of each cell (%(default)s)"
    )
    asked = parser.parse_args()
    if unknown := set(asked.sections) - SECTIONS.keys():
        parser.error(
            f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    for name in asked.sections or SECTIONS:
        rows = []
        for row in SECTIONS[name][0](asked.runs):
            rows.append(row)
            print(name, row, flush=True)
            _write(_kept() | {name: rows})


def _kept() -> dict[str, list[Row]]:
    """What was simulated before."""
    kept: dict[str, list[Row]] = (
        json.loads(DATA.read_text("utf-8")) if DATA.exists() else {}
    )
    return kept


def _write(data: dict[str, list[Row]]) -> None:
    DATA.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    before, rest = PAGE.read_text("utf-8").split(FIRST)
    PAGE.write_text(
        f"{before}{FIRST}\n\n{_tables(data)}\n{LAST}{rest.split(LAST)[1]}", "utf-8"
    )


def _tables(data: dict[str, list[Row]]) -> str:
    told = ((title, data.get(name)) for name, (_, title) in SECTIONS.items())
    return "\n".join(f"**{title}**\n\n{_table(rows)}" for title, rows in told if rows)


def _table(rows: list[Row]) -> str:
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    lines = [
        names,
        ["---"] * len(names),
        *([_shown(row[name]) for name in names] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{100 * value:.1f}%"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    main()
