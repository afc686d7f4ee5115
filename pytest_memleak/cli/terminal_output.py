"""Tables, sentences, and next steps on standard output, wrapped only for terminals."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.line_breaks import wrapped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.table import Table

WHOLE = 10_000
"""Line width where nothing limits it, as in a pipe."""


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Collection[str] = (),
) -> None:
    """Print a table; right: headings of the columns of numbers."""
    sys.stdout.write(table_text(heads, rows, right=right, width=output_width()))


def print_records(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows that have the same keys, which are the headings."""
    if rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def print_sentence(text: str, *, indent: int = 0) -> None:
    """Print a sentence, wrapped at the terminal's width with a hanging indent.

    A command after a colon stays whole.
    """
    lines = [f"{line}\n" for line in wrapped(text, output_width(), indent=indent)]
    sys.stdout.write("".join(lines))  # at once, beside other threads


def print_error(text: str) -> None:
    """Write an error's lines to stderr, with control characters escaped.

    A terminal gets them broken between words; a log whole.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    for line in map(printable_command, text.splitlines()):
        for folded in _folded(line) if is_terminal else [line]:
            print(folded, file=sys.stderr)


def _folded(line: str) -> list[str]:
    return wrapped(line, shutil.get_terminal_size().columns, indent=2)


def command_line(*parts: str | Path) -> str:
    """Quote a command for the shell."""
    return shlex.join(str(part) for part in parts)


def next_step(command: str, why: str) -> str:
    """Return the end of a command's output: the next command and its purpose.

    The purpose follows on a line of its own where the terminal has no room beside.
    """
    line = f"Next: {printable_command(command)}"
    beside = f"{line}   # {why}"
    return beside if len(beside) <= output_width() else f"{line}\n      # {why}"


def printable_command(command: str) -> str:
    """Return a command as it is printed: a file's name may have control characters."""
    shown = ""
    for character in command:
        shown += character if character.isprintable() else ascii(character)[1:-1]
    return shown


def output_width() -> int:
    """Return the number of characters that fit on a line of standard output."""
    from rich.console import Console

    if not sys.stdout.isatty():
        return WHOLE
    return Console(file=sys.stdout).width


def table_text(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Collection[str] = (),
    width: int = WHOLE,
) -> str:
    """Return a table as lines of at most `width` characters where possible.

    right: headings of the columns of numbers. No cell is truncated and no column
    dropped: in a narrow terminal, headings break after an underscore, numbers at a
    space, and text wraps inside its column; if that is not enough, every cell gets a
    line of its own.
    """
    from rich.console import Console
    from rich.measure import Measurement

    lines = [_cells(row) for row in rows]
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
    )
    unbounded = console.options.update(max_width=WHOLE)
    table = _table(heads, lines, right, narrow=False)
    measured = Measurement.get(console, unbounded, table)
    if measured.maximum > width:
        table = _table(heads, lines, right, narrow=True)
        measured = Measurement.get(console, unbounded, table)
    if measured.minimum <= width:
        console.print(table)
    else:
        for line in lines:
            console.print(_row_as_lines(heads, line))
    printed = out.getvalue().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in printed)


def _cells(row: Sequence[object]) -> list[str]:
    return [inert(_cell(value)) for value in row]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _row_as_lines(heads: Sequence[str], line: Sequence[str]) -> Table:
    """Return one row as a table: a line per heading and cell."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        show_header=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for head, cell in zip(heads, line, strict=True):
        if cell:
            table.add_row(Text(head), Text(cell))
    table.add_row("", "")
    return table


def _table(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    right: Collection[str],
    *,
    narrow: bool,
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        header_style="",
        padding=(0, 2, 0, 0),
    )
    for head in heads:
        title = head.replace("_", "_\n") if narrow else head
        if head in right:
            table.add_column(
                Text(title),
                justify="right",
                no_wrap=True,
                overflow="fold",
            )
        else:
            table.add_column(Text(title), overflow="fold")
    for line in lines:
        cells = []
        for head, cell in zip(heads, line, strict=True):
            text = cell
            if narrow and head in right:
                text = cell.replace(" ", "\n")
            cells.append(Text(text))
        table.add_row(*cells)
    return table
