"""`memleak table`: evidence bundles as a table, for a paper, a spreadsheet or a data frame."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_table"]


def add_table(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak table`."""
    table = commands.add_parser(
        "table",
        help="evidence bundles as a table: a row a pair, or books x models",
        description="What evidence bundles say, as a table: a row a pair with all its measures, "
        "intervals and limits, or, with --measure, books x models.",
    )
    table.add_argument("evidence", metavar="EVIDENCE", type=Path, nargs="+", help="bundles (JSON)")
    table.add_argument(
        "--measure", metavar="NAME", help="books x models, with this measure in the cells"
    )
    table.add_argument(
        "--format",
        choices=("md", "csv", "json", "latex", "parquet"),
        default="md",
        help="how it is written (default: md)",
    )
    table.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="where to (default: standard output)"
    )
    table.set_defaults(run=_table)


def _table(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.reports.evidence_table import Evidence, as_text, write_parquet

    if parsed.format == "parquet" and parsed.output is None:
        raise SettingsError("Parquet is no text", hint="name a file with -o TABLE.parquet")
    evidence = Evidence(*parsed.evidence)
    rows = evidence.grid(parsed.measure) if parsed.measure else evidence.rows
    if parsed.format == "parquet":
        write_parquet(rows, parsed.output)
        return 0
    text = as_text(rows, parsed.format, measure=parsed.measure)
    if parsed.output is None:
        sys.stdout.write(text)
    else:
        parsed.output.write_text(text, encoding="utf-8")
    return 0
