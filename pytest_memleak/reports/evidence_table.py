"""Evidence bundles as tables: a row a pair, or books x models by one measure.

    Evidence(Path("evidence.json")).to_frame()

Numbers are the bundles' own. A bundle whose digest is not its content's is refused.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError, SettingsError
from pytest_memleak.findings.bundle import check_digest, read_evidence
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.wording import shown
from pytest_memleak.scoring.measure_table import MEASURES, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

__all__ = ["FORMATS", "Evidence", "as_text", "write_parquet"]

Row = dict[str, Any]
_FORMULA = ("=", "+", "-", "@")
_LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


class Evidence:
    """What evidence bundles say of their pairs. Raises EvidenceError for what is no bundle.

    rows: one a pair, in the bundles' order: who, what, how much was drawn, the verdict, and of
          each measure `NAME` (its value), `NAME_low`, `NAME_high` and, where it has one,
          `NAME_limit`. Shares are fractions, lengths and counts words and whole numbers.
    """

    def __init__(self, *paths: Path) -> None:
        self.rows: list[Row] = []
        for path in paths:
            made = read_evidence(path).made
            if wrong := check_digest(made):
                raise EvidenceError(
                    wrong[0], place=str(path), hint=f"memleak verify {path} says what differs"
                )
            self.rows += [_row(path.stem, made, pair) for pair in made["pairs"]]

    @property
    def measures(self) -> list[str]:
        """The measures that some pair has, in the order of the table of measures."""
        known = {key for row in self.rows for key in row}
        return [name for name in MEASURES if name in known]

    def grid(self, measure: str) -> list[Row]:
        """Books x models: a row a book, a column a model, the measure in the cells.

        A model that stands for a book in several bundles has a column for each. SettingsError for
        a measure that no pair has.
        """
        if measure not in self.measures:
            raise SettingsError(
                f"no pair has the measure {measure!r}", hint=nearest(measure, self.measures)
            )
        seen: dict[tuple[str, str], set[str]] = {}
        for row in self.rows:
            seen.setdefault((row["book"], row["model"]), set()).add(row["bundle"])
        several = {model for (_, model), bundles in seen.items() if len(bundles) > 1}
        columns = list(dict.fromkeys(_column(row, several) for row in self.rows))
        books: dict[str, Row] = {}
        for row in self.rows:
            line = books.setdefault(row["book"], {"book": row["book"], **dict.fromkeys(columns)})
            line[_column(row, several)] = row.get(measure)
        return list(books.values())

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; SettingsError without the extra `tables`."""
        return _frame(self.rows)


def _column(row: Row, several: set[str]) -> str:
    return f"{row['model']} ({row['bundle']})" if row["model"] in several else str(row["model"])


def _row(bundle: str, made: Mapping[str, Any], pair: Mapping[str, Any]) -> Row:
    # Of a pair that was not run nothing but its names may be there.
    model, book, settings = (pair.get(key) or {} for key in ("model", "book", "settings"))
    row: Row = {
        "bundle": bundle,
        "created": made.get("created"),
        "suite": pair["suite"]["name"],
        "model": model.get("id"),
        "provider": model.get("provider"),
        "base": model.get("base"),
        "endpoint": model.get("endpoint"),
        "release": model.get("release"),
        "book": book.get("id"),
        "title": book.get("title"),
        "words": book.get("words"),
        "excerpts": book.get("excerpts"),
        "samples": settings.get("samples"),
        "temperature": settings.get("temperature"),
        "asked": (pair.get("counts") or {}).get("asked"),
        "got": (pair.get("counts") or {}).get("got"),
        "expected": pair.get("expected"),
        "verdict": pair.get("verdict"),
    }
    limits, measures = pair.get("limits") or {}, pair.get("measures") or {}
    for name in MEASURES:
        told = measures.get(name, {})
        if "value" in told:
            row |= {name: told["value"], f"{name}_low": told.get("low")}
            row[f"{name}_high"] = told.get("high")
        if name in limits:
            row[f"{name}_limit"] = limits[name]["limit"]
    return row


# --- as text -------------------------------------------------------------------------------


def as_text(rows: Sequence[Row], form: str, *, measure: str | None = None) -> str:
    """Rows in one of FORMATS; csv and json have the numbers whole, md and latex as reports do.

    measure: what the cells of a grid hold.
    """
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return FORMATS[form](rows, heads, measure)


def _csv(rows: Sequence[Row], heads: Sequence[str], _: str | None) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([_safe(row.get(head)) for head in heads])
    return out.getvalue()


def _safe(value: object) -> object:
    """Text that no spreadsheet takes for a formula."""
    if isinstance(value, str):
        text = inert(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value


def _json(rows: Sequence[Row], _: Sequence[str], __: str | None) -> str:
    return json.dumps(list(rows), indent=1) + "\n"


def _md(rows: Sequence[Row], heads: Sequence[str], measure: str | None) -> str:
    lines = [heads, ["---"] * len(heads)]
    lines += [[_cell(row.get(head), head, measure) for head in heads] for row in rows]
    return "".join(f"| {' | '.join(one.replace('|', '/') for one in line)} |\n" for line in lines)


def _latex(rows: Sequence[Row], heads: Sequence[str], measure: str | None) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in cells) + r" \\"

    numbers = [any(isinstance(row.get(head), int | float) for row in rows) for head in heads]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('r' if one else 'l' for one in numbers)}}}",
            *(r"\hline", line(heads), r"\hline"),
            *(line([_cell(row.get(head), head, measure) for head in heads]) for row in rows),
            r"\hline",
            "\\end{tabular}\n",
        ]
    )


def _cell(value: object, head: str, measure: str | None) -> str:
    if value is None:
        return "-"
    name = head
    for end in ("_low", "_high", "_limit"):
        name = name.removesuffix(end) if name not in MEASURES else name
    row = MEASURES.get(name) or (MEASURES[measure] if measure else None)
    if row and isinstance(value, int | float):
        return shown(row, value)
    return f"{value:,}" if isinstance(value, int) else inert(str(value))


FORMATS: dict[str, Callable[[Sequence[Row], Sequence[str], str | None], str]] = {
    "md": _md,
    "csv": _csv,
    "json": _json,
    "latex": _latex,
}
"""The forms of a table that are text."""


# --- with the extra `tables` ---------------------------------------------------------------


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write rows to a Parquet file; SettingsError without the extra `tables`."""
    _frame(rows).to_parquet(path, index=False)


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    try:
        import pandas as pd
        import pyarrow  # noqa: F401 - what pandas writes Parquet with
    except ImportError:
        raise SettingsError(
            "data frames and Parquet need the packages pandas and pyarrow",
            hint="install them with: pip install 'pytest-memleak[tables]'",
        ) from None
    return pd.DataFrame(list(rows))
