"""`memleak table`: evidence bundles as a table, for a paper, a spreadsheet or a data frame."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.reports.evidence_table import Evidence, Row

_FORMATS = ("text", "md", "latex", "csv", "json", "parquet")
_ENDINGS = {".tex": "latex"} | {f".{form}": form for form in ("md", "csv", "json", "parquet")}


def add_table(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak table`."""
    table = commands.add_parser(
        "table",
        help="evidence bundles as a table: a row a pair, an excerpt or a span, or books x models",
        description="What evidence bundles say, as a table: a row a pair with its measures, a row "
        "an excerpt or a span, or, with --measure, books x models.",
    )
    table.add_argument("evidence", metavar="EVIDENCE", type=Path, nargs="+", help="bundles (JSON)")
    table.add_argument(
        "--measure", metavar="NAME", help="books x models, with this measure in the cells"
    )
    table.add_argument(
        "--rows",
        choices=("pairs", "excerpts", "spans"),
        default="pairs",
        help="what has a row of its own (default: pairs)",
    )
    table.add_argument(
        "--format",
        choices=_FORMATS,
        help="how it is written (default: by the ending of -o, else text)",
    )
    table.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="where to (default: standard output)"
    )
    table.set_defaults(run=_table)


def _table(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.redaction.atomic_write import write_whole
    from pytest_memleak.redaction.text import inert
    from pytest_memleak.reports.evidence_table import Evidence, write_parquet

    output = parsed.output
    form = parsed.format or (_ENDINGS.get(output.suffix.lower(), "text") if output else "text")
    if form == "parquet" and output is None:
        raise SettingsError("Parquet is no text", hint="name a file with -o TABLE.parquet")
    if parsed.measure and parsed.rows != "pairs":
        raise SettingsError(
            f"--measure has books x models, not {parsed.rows}", hint="leave one of them out"
        )
    if output is not None:
        refuse_evidence(output, parsed.evidence)
    evidence = Evidence(*parsed.evidence)
    if parsed.rows != "pairs":
        for one in evidence.lacking:
            print(f"memleak table: {inert(one)}", file=sys.stderr)
    if form == "parquet":
        write_parquet(_rows(evidence, parsed), output)
        return 0
    text = _text(evidence, parsed, form)
    if output is None:
        sys.stdout.write(text)
        return 0
    try:
        write_whole(output, text)
    except OSError as error:
        raise SettingsError(
            f"cannot be written: {error.strerror or error}",
            location=str(output),
            hint="name another file with -o",
        ) from None
    return 0


def _rows(evidence: Evidence, parsed: argparse.Namespace) -> list[Row]:
    return evidence.grid(parsed.measure) if parsed.measure else evidence.of(parsed.rows)


def _text(evidence: Evidence, parsed: argparse.Namespace, form: str) -> str:
    from pytest_memleak.cli.columns import WHOLE, output_width, table_text
    from pytest_memleak.reports import table_forms as forms

    if form in {"csv", "json"}:
        rows = _rows(evidence, parsed)
        return forms.as_csv(rows) if form == "csv" else forms.as_json(rows)
    if parsed.measure:
        told = forms.printed_grid(evidence, parsed.measure)
    else:
        told = forms.printed_rows(evidence, parsed.rows)
    if form == "text":
        width = WHOLE if parsed.output else output_width()
        return table_text(told.heads, told.rows, right=told.numbers, width=width)
    return forms.as_markdown(told) if form == "md" else forms.as_latex(told)


def refuse_evidence(output: Path, evidence: Iterable[Path]) -> None:
    """Raise SettingsError where writing to `output` would destroy a bundle that is read."""
    from pytest_memleak.errors import SettingsError

    for path in evidence:
        with contextlib.suppress(OSError):  # one of them is not there, which is as well
            if output.samefile(path):
                raise SettingsError(
                    f"{path} would be overwritten by what is made of it",
                    hint="name another file with -o",
                )
