"""Tables and sentences for an output: folded at a terminal's width, whole in a pipe."""

from __future__ import annotations

import io
import sys
import textwrap
from typing import TYPE_CHECKING

from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rich.table import Table

WHOLE = 10_000
"""Characters of a line where nothing bounds them, as in a pipe."""


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = ()
) -> None:
    """Print rows under their heads to the standard output; right: heads of columns of numbers."""
    sys.stdout.write(table_text(heads, rows, right=right, width=output_width()))


def print_sentence(text: str, *, indent: int = 0) -> None:
    """Print a line; where a terminal is too narrow it goes on below, `indent` columns further in.

    For what is read. What is to be copied, as a command, is printed whole.
    """
    folded = textwrap.wrap(
        text,
        output_width(),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    print("\n".join(folded))


def output_width() -> int:
    """How many characters fit into a line of the standard output."""
    from rich.console import Console

    return Console(file=sys.stdout).width if sys.stdout.isatty() else WHOLE


def table_text(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Collection[str] = (),
    width: int = WHOLE,
) -> str:
    """Rows under their heads, as lines of at most `width` characters where that can be.

    right: heads of the columns of numbers. No cell is cut and no column is left out: where there
    is too little room, heads break after an underscore and numbers at a blank, and words go on in
    the next line of their own column; where that is not enough, every cell has a line of its own.
    """
    from rich.console import Console
    from rich.measure import Measurement

    lines = [[inert(str(cell)) for cell in row] for row in rows]
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    unbounded = console.options.update(max_width=WHOLE)
    table = _table(heads, lines, right, narrow=False)
    if Measurement.get(console, unbounded, table).maximum > width:
        table = _table(heads, lines, right, narrow=True)
    if Measurement.get(console, unbounded, table).minimum <= width:
        console.print(table)
    else:
        for line in lines:
            console.print(_one_by_one(heads, line))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _one_by_one(heads: Sequence[str], line: Sequence[str]) -> Table:
    """A row on lines of its own: a head and its cell each."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for head, cell in zip(heads, line, strict=True):
        if cell:
            table.add_row(Text(head), Text(cell))
    table.add_row("", "")
    return table


def _table(
    heads: Sequence[str], lines: Sequence[Sequence[str]], right: Collection[str], *, narrow: bool
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="", padding=(0, 2, 0, 0))
    for head in heads:
        numbers = head in right
        table.add_column(
            Text(head.replace("_", "_\n") if narrow else head),
            justify="right" if numbers else "left",
            no_wrap=numbers,
            overflow="fold",
        )
    for line in lines:
        table.add_row(
            *(
                Text(cell.replace(" ", "\n") if narrow and head in right else cell)
                for head, cell in zip(heads, line, strict=True)
            )
        )
    return table
