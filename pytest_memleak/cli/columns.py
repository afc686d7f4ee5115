"""One way to print tables: aligned columns, folded at a terminal's width, whole in a pipe."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["print_table"]

_WHOLE = 10_000  # characters of a line: a pipe gets it whole


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = ()
) -> None:
    """Print rows under their heads to the standard output.

    right: heads of the columns of numbers. No cell is cut: where a terminal is too narrow, words
    go on in the next line of their own column.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="", padding=(0, 2, 0, 0))
    for head in heads:
        numbers = head in right
        table.add_column(
            head, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(inert(str(cell))) for cell in row))
    out = io.StringIO()
    width = Console(file=sys.stdout).width if sys.stdout.isatty() else _WHOLE
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(table)
    for line in out.getvalue().splitlines():
        print(line.rstrip())
