"""The first screen as lines of a terminal or a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.console import text_console
from pytest_memleak.reports.line_breaks import (
    with_plain_blanks,
    with_unbreakable_blanks,
    with_unbroken_commands,
)
from pytest_memleak.reports.screen_view import SCREEN_LOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.reports.screen_view import (
        FirstScreen,
        ScreenCause,
        ScreenCell,
        ScreenMap,
        ScreenModel,
    )

_NARROWEST = 40
_GAP = "  "
_LONGEST_NAME = 120


def screen_text(
    view: FirstScreen,
    *,
    width: int,
    color: bool,
    wrap: bool = False,
    brief: bool = False,
) -> str:
    """Render the first screen.

    wrap: break long lines between words, for a reader at a terminal; a log keeps them
        whole
    brief: without models, map, and notes
    """
    console, out = text_console(width=width, color=color)
    room = max(width, _NARROWEST)
    for line in _screen_lines(view, room, wrap=wrap, brief=brief):
        line.rstrip()
        console.print(line, soft_wrap=True)
    return out.getvalue()


def _screen_lines(
    view: FirstScreen,
    width: int,
    *,
    wrap: bool,
    brief: bool,
) -> Iterator[Text]:
    room = width if wrap else None
    kind = view.verdict.value.lower()
    color = SCREEN_LOOKS[kind].color if kind in SCREEN_LOOKS else ""
    headline = f"{view.verdict}: {inert(view.headline)}"
    yield from _wrapped_lines(
        headline, room, style=color, styled=len(view.verdict.value)
    )
    if view.maps and not brief:
        for screen_map in view.maps:
            yield from _suite_lines(screen_map, width, room)
    if view.causes and not brief:
        yield Text()
    for cause in view.causes:
        yield from _cause_lines(cause, room)
    if view.more_causes:
        yield Text(f"… and {amount(view.more_causes, 'more cause')}")
    if not brief:
        for note in view.notes:
            yield from _wrapped_lines(inert(note), room, indent=2, style="dim")
    command = with_unbreakable_blanks(f"Next: {inert(view.next.command)} ")
    yield from _wrapped_lines(f"{command} ({view.next.why})", room, indent=6)


def _suite_lines(
    screen_map: ScreenMap,
    width: int,
    room: int | None,
) -> Iterator[Text]:
    """Yield a suite's models, then its map."""
    yield Text()
    if screen_map.suite:
        yield Text(inert(screen_map.suite), style="bold")
    letters = max(cell_len(model.letter) for model in screen_map.models)
    names = max(cell_len(_escaped_name(model.name)) for model in screen_map.models)
    for model in screen_map.models:
        yield from _model_lines(model, letters, names, room)
    if screen_map.rows:
        yield Text()
        yield from _map_lines(screen_map, width)
    if screen_map.folded:
        books = amount(len(screen_map.folded), "more book")
        yield Text(f"… and {books}, which every model passes", style="dim")


def _model_lines(
    model: ScreenModel,
    letters: int,
    names: int,
    room: int | None,
) -> Iterator[Text]:
    look = SCREEN_LOOKS[model.kind]
    name = set_cell_size(_escaped_name(model.name), names)
    head = f"  {look.mark} {model.letter:>{letters}} {name}  "
    indent = cell_len(head)
    if room and indent > room // 2:  # a long name leaves no room beside it
        indent = 6
    yield from _wrapped_lines(
        f"{head}{inert(model.text)}",
        room,
        indent=indent,
        style=look.color,
        styled=3,
    )


def _escaped_name(name: str) -> str:
    return inert(name, longest=_LONGEST_NAME)


def _cause_lines(cause: ScreenCause, room: int | None) -> Iterator[Text]:
    look = SCREEN_LOOKS[cause.kind]
    text = f"{look.mark} {cause.count}: {inert(cause.text)} ({inert(cause.place)})"
    yield from _wrapped_lines(text, room, indent=2, style=look.color, styled=1)
    if cause.fix:
        yield from _wrapped_lines(f"  Fix: {inert(cause.fix)}", room, indent=7)
    for issue in cause.unexplained:
        yield from _wrapped_lines(
            f"  Also: {inert(issue)}", room, indent=8, style="dim"
        )


def _map_lines(screen_map: ScreenMap, width: int) -> Iterator[Text]:
    """Yield the books' rows.

    Models that don't fit beside the others follow in a block of their own.
    """
    longest = max(
        (cell_len(_escaped_name(row.book)) for row in screen_map.rows), default=0
    )
    label = min(longest, width // 3)
    columns = []
    for number, model in enumerate(screen_map.models):
        cells = [_cells_text(row.cells[number]).cell_len for row in screen_map.rows]
        columns.append(max(cell_len(model.letter), *cells, 0))
    for block in _column_blocks(columns, width - label):
        head = Text(" " * label)
        for number in block:
            letter = screen_map.models[number].letter
            head.append(f"{_GAP}{letter:<{columns[number]}}", style="bold")
        yield head
        for row in screen_map.rows:
            line = Text(set_cell_size(_escaped_name(row.book), label))
            for number in block:
                cell = _cells_text(row.cells[number])
                cell.pad_right(columns[number] - cell.cell_len)
                line.append(_GAP).append_text(cell)
            yield line


def _column_blocks(columns: Sequence[int], room: int) -> Iterator[list[int]]:
    """Divide columns among blocks that fit, each with at least one column."""
    block: list[int] = []
    used = 0
    for number, column in enumerate(columns):
        needed = len(_GAP) + column
        if block and used + needed > room:
            yield block
            block = []
            used = 0
        block.append(number)
        used += needed
    if block:
        yield block


def _cells_text(cells: Sequence[ScreenCell]) -> Text:
    """Write a place of the map; several endpoints of a pair share it."""
    text = Text()
    for cell in cells:
        look = SCREEN_LOOKS[cell.kind]
        if text:
            text.append(" ")
        text.append(f"{look.mark}{inert(cell.text)}", style=look.color)
    return text


def _wrapped_lines(
    text: str,
    room: int | None,
    *,
    indent: int = 0,
    style: str = "",
    styled: int | None = None,
) -> Iterator[Text]:
    """Yield the text in lines of at most `room` columns, broken between words.

    room:   None for one line; a command may be longer
    indent: of further lines
    styled: how many characters have the style; None for all
    """
    lines = (
        [text]
        if room is None
        else list(_wrapped_at_words(with_unbroken_commands(text), room, indent))
    )
    for number, line in enumerate(lines):
        shown = Text(with_plain_blanks(line))
        if styled is None:
            shown.stylize(style)
        elif number == 0:
            shown.stylize(style, 0, styled)
        yield shown


def _wrapped_at_words(text: str, room: int, indent: int) -> Iterator[str]:
    blanks = len(text) - len(text.lstrip(" "))
    first, *words = text[blanks:].split(" ")
    line = " " * blanks + first
    for word in words:
        longer = f"{line} {word}"
        if cell_len(longer) <= room:
            line = longer
        else:
            yield line
            line = " " * indent + word
    yield line
