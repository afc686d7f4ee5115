"""`memleak table`: evidence bundles for a paper or a spreadsheet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pytest_memleak.cli.shared_options import add_command, validate_output
from pytest_memleak.cli.terminal_output import WHOLE, output_width, table_text
from pytest_memleak.errors import SettingsError, file_errors
from pytest_memleak.redaction.file_writing import whole_file
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.output_table import TABLES

if TYPE_CHECKING:
    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.reports.evidence_table import Table

ROWS = ("pairs", "excerpts", "spans", "curve", "overlap", "correlations")
_FORMS = {form.name: form for form in TABLES}
_ENDINGS = {form.ending: form.name for form in TABLES}


def add_table(commands: Commands) -> None:
    """Register `memleak table`."""
    add_command(
        commands,
        "table",
        _run_table,
        "write evidence bundles as a table",
        "Write evidence bundles as a table with a row for each pair, or for what "
        "--rows names; with --measure, a row for each book and a column for each "
        "model.",
        arguments={
            "evidence EVIDENCE": "bundles (JSON)",
            "--measure NAME": "compare books and models by this measure",
            "--by "
            "KEY": "with --measure: what each row averages, such as author (default: "
            "book)",
            "--columns KEY": "with --measure: what each column shows (default: model)",
            "--rows": "what each row shows (default: pairs)",
            "--format": "the format (default: by the extension of -o, else text)",
            "-o/--output FILE": "the file to write (default: standard output)",
        },
        evidence={"nargs": "+"},
        rows={"choices": ROWS, "default": "pairs"},
        by={"default": "book"},
        columns={"default": "model"},
        format={"choices": ("text", *_FORMS)},
    )


def _format_from_suffix(output: Path | None) -> str:
    """Return the format by the file's extension; SettingsError for an unknown one."""
    if output is None or output.suffix.lower() in {"", ".txt"}:
        return "text"
    if form := _ENDINGS.get(output.suffix.lower()):
        return form
    raise SettingsError(
        f"no format has the extension {output.suffix!r}",
        location=str(output),
        hint=f"use .txt, {', '.join(_ENDINGS)}, or --format",
    )


def _run_table(parsed: argparse.Namespace) -> int:
    from pytest_memleak.reports.evidence_rows import Evidence
    from pytest_memleak.reports.evidence_table import Table

    output = parsed.output
    form = parsed.format or _format_from_suffix(output)
    if form == "parquet" and output is None:
        raise SettingsError(
            "Parquet needs a file",
            hint="name it with -o TABLE.parquet",
        )
    grid = (parsed.by, parsed.columns) != ("book", "model")
    if (parsed.measure or grid) and parsed.rows not in {"pairs", "correlations"}:
        raise SettingsError(
            f"--measure and --rows {parsed.rows} can't be combined",
            hint="omit one of them",
        )
    if grid and not parsed.measure and parsed.rows == "pairs":
        raise SettingsError(
            "--by and --columns need a measure",
            hint="add --measure bmc",
        )
    if output is not None:
        validate_output(output, parsed.evidence)
    evidence = Evidence(*parsed.evidence)
    if parsed.rows not in {"pairs", "correlations"}:
        for line in evidence.missing:
            print(f"memleak table: {inert(line)}", file=sys.stderr)
    table = Table(evidence, parsed.rows, parsed.measure, parsed.by, parsed.columns)
    if output is None:
        _write_table(table, form, sys.stdout)
        return 0
    with (
        file_errors(SettingsError, output, "can't be written"),
        whole_file(output) as file,
    ):
        _write_table(table, form, file)
    return 0


def _write_table(
    table: Table,
    form: str,
    file: TextIO,
) -> None:
    if form != "text":
        _FORMS[form].write(table, file)
        return
    width = output_width() if file is sys.stdout else WHOLE
    heads, rows, numbers = table.printed
    file.write(table_text(heads, rows, right=numbers, width=width))
