"""The console that tables and lines of the terminal are printed on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

_NARROWEST = 40
_WIDEST = 1000


def text_console(*, width: int, color: bool) -> tuple[Console, io.StringIO]:
    """Return a console at least 40 columns wide, and the text that it writes to."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width, _NARROWEST),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    return console, out


def unfolded_width(console: Console, table: Table) -> int:
    """Return the number of columns that the table takes unfolded."""
    return Measurement.get(
        console,
        console.options.update(max_width=_WIDEST),
        table,
    ).maximum


def print_table_at_full_width(console: Console, table: Table) -> None:
    """Print the table at its full width: better a broken line than a lost number."""
    needed = unfolded_width(console, table)
    console.width = max(console.width, needed)
    with console.capture() as printed:
        console.print(table)
    # Trailing blanks would wrap.
    lines = [line.rstrip() for line in printed.get().splitlines()]
    console.file.write("".join(f"{line}\n" for line in lines))


def print_lines(
    console: Console,
    lines: Iterable[Text],
    *,
    width: int,
    wrap: bool,
) -> None:
    """Print lines of any length; wrap: fold them at `width`."""
    for line in lines:
        if wrap:
            _print_wrapped(console, line, width=max(width, _NARROWEST))
        else:
            console.print(line, soft_wrap=True)


def _print_wrapped(
    console: Console,
    line: Text,
    *,
    width: int,
) -> None:
    """Print a line; continuation lines are indented by two more columns."""
    indent = _count_leading_blanks(line)
    if line.cell_len <= width:
        line.rstrip()
        console.print(line, soft_wrap=True)
        return
    first = line.wrap(console, width)[0]
    left = line[len(first.plain) :]
    left = left[_count_leading_blanks(left) :]
    first.rstrip()
    console.print(first, soft_wrap=True)
    ahead = " " * (indent + 2)
    room = width - len(ahead)
    for part in left.wrap(console, room):
        part.rstrip()
        indented = Text(ahead).append_text(part)
        console.print(indented, soft_wrap=True)


def _count_leading_blanks(line: Text) -> int:
    bare = line.plain.lstrip()
    return len(line.plain) - len(bare)
