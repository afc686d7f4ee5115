"""A book on one screen: what was read as its chapters, what was left out, and why.

At most 80 columns, or the terminal's where it is narrower, and 20 lines, the last of
which is the caller's. Alarms come first where lines are short, then what is left out,
then the chapters that alarms name, the longest, and those next to both ends.
"""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import LARGE_CUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.books.book_outline import BookOutline, OutlinedChapter
    from pytest_memleak.interfaces.protocols import Cut

WIDTH = 80
LINES = 20

_MOST_ALARMS = 4
_SHORT = 50
_LINES_OF_CUT = 2

_WORDS = 7
_BEGINS = "begins "
_ENDS = "ends   "
_MOST_NAMES = 5

# Behind a number or letter and a label.
_INDENT = " " * 4
_BLANKS = " " * 4  # between columns


class _Widths(NamedTuple):
    """The columns of a line, of a label, and of a chapter's first and last words."""

    line: int
    label: int
    quote: int


def _widths(line: int) -> _Widths:
    """Share out a line of at most 80 columns: about a third of it for the label."""
    line = min(line, WIDTH)
    shared = line - len(_INDENT) - _WORDS - len(_BLANKS)
    label = (shared + len(_BLANKS)) // 3
    return _Widths(line, label, (shared - label) // 2)


def large_cuts(outline: BookOutline) -> list[Cut]:
    """Return the cuts of more than 200 words, largest first."""
    large = [cut for cut in outline.cuts if cut.words > LARGE_CUT]
    return sorted(large, key=lambda cut: -cut.words)


def cut_letter(place: int) -> str:
    """Return the letter that names a cut on the screen: `a` for the largest."""
    return chr(ord("a") + place)


def shown_cuts(outline: BookOutline) -> list[Cut]:
    """Return the large cuts that the screen has lines for."""
    return large_cuts(outline)[: _room_for_cuts(outline)]


def screen_lines(outline: BookOutline, columns: int = WIDTH) -> list[str]:
    """Return the screen's lines, but for the last one.

    columns: of the terminal
    """
    widths = _widths(columns)
    cuts = _cut_lines(outline, widths)
    alarms = _alarm_lines(outline.alarms, widths.line)
    head = [
        _one_line_cut_to(
            f"{_named(outline.title)} by {_named(outline.author)}", widths.line
        ),
        *textwrap.wrap(_size_text(outline), widths.line, subsequent_indent="  "),
        *_end_lines(outline, widths.line),
        _row_text(widths, "", "chapter", "words", "begins … ends"),
    ]
    room = LINES - 1 - len(head) - len(cuts) - len(alarms)
    chapters = _chapter_lines(outline.chapters, room, widths)
    return [*head, *chapters, *cuts, *alarms]


def _end_lines(outline: BookOutline, width: int) -> Iterator[str]:
    """Yield how the text begins and how it ends, each on a line."""
    if not outline.chapters:
        return
    room = width - len(_BEGINS) - len("“”")
    begins = _first_words_that_fit(outline.chapters[0].begins, room)
    ends = _last_words_that_fit(outline.chapters[-1].ends, room)
    yield f"{_BEGINS}“{begins}”"
    yield f"{_ENDS}“{ends}”"


def _named(name: str) -> str:
    return name or "(unknown)"


def _size_text(outline: BookOutline) -> str:
    chapters = amount(len(outline.chapters), "chapter")
    whole = outline.words + outline.left_out
    share = outline.left_out / whole if whole else 0
    text = f"{amount(outline.words, 'word')} in {chapters}; left out: "
    text += f"{amount(outline.left_out, 'word')} ({share:.0%})"
    return f"{text} and {outline.notes:,} of notes" if outline.notes else text


# --- chapters


def _chapter_lines(
    chapters: Sequence[OutlinedChapter],
    room: int,
    widths: _Widths,
) -> Iterator[str]:
    """Yield the first, the last, the longest, the shortest, and conspicuous ones."""
    before = -1
    for place in _shown_places(chapters, room):
        if place > before + 1:
            yield f"{_INDENT}… {place - before - 1:,} more"
        chapter = chapters[place]
        begins = _first_words_that_fit(chapter.begins, widths.quote)
        ends = _last_words_that_fit(chapter.ends, widths.quote)
        title = chapter.title or "(no title)"
        text = f"{begins} {ends}"
        yield _row_text(widths, f"{place + 1}", title, f"{chapter.words:,}", text)
        before = place


def _shown_places(chapters: Sequence[OutlinedChapter], room: int) -> list[int]:
    """Return the indices of as many telling chapters as `room` lines can hold."""
    sizes = [chapter.words for chapter in chapters]
    longest = sizes.index(max(sizes))
    shortest = sizes.index(min(sizes))
    places = {0, len(sizes) - 1}
    if len(sizes) <= room:
        return list(range(len(sizes)))
    with_alarm = [place for place in range(len(sizes)) if chapters[place].has_alarm]
    candidates = [*with_alarm, longest]
    if sizes[shortest] < _SHORT:
        candidates.insert(0, shortest)
    unnumbered = [place for place in range(len(sizes)) if chapters[place].lacks_number]
    candidates += sorted(unnumbered, key=lambda place: -sizes[place])
    candidates += [1, len(sizes) - 2]
    for place in candidates:
        if _count_lines(places | {place}) <= room:
            places.add(place)
    return sorted(places)


def _count_lines(places: set[int]) -> int:
    """Return the lines of chapters and of the gaps between them."""
    ordered = sorted(places)
    gaps = sum(after > before + 1 for before, after in pairwise(ordered))
    return len(ordered) + gaps


# --- cuts


def _cut_lines(outline: BookOutline, widths: _Widths) -> list[str]:
    if not outline.left_out:
        return []
    large, shown = large_cuts(outline), shown_cuts(outline)
    lines = []
    if large:
        lines = [_row_text(widths, "", "left out", "words", "why / begins")]
    before = " " * (widths.label + _WORDS + len(_INDENT) + 3)
    for place, cut in enumerate(shown):
        label = cut.label or cut.document
        words = f"{cut.words:,}"
        lines.append(_row_text(widths, cut_letter(place), label, words, cut.rule))
        begins = _first_words_that_fit(
            cut.begins, widths.line - len(before) - len("“”")
        )
        lines.append(f"{before}“{begins}”")
    unshown = large[len(shown) :]
    if unshown:
        total = sum(cut.words for cut in unshown)
        title = f"{len(unshown):,} more over {LARGE_CUT} words"
        lines.append(_row_text(widths, "", title, f"{total:,}", ""))
    small = outline.left_out - sum(cut.words for cut in large)
    if small > 0:
        names = _small_names(outline, widths.label)
        head = "smaller" if large else "left out"
        lines.append(
            _one_line_cut_to(f"{head}: {amount(small, 'word')}{names}", widths.line)
        )
    return lines


def _small_names(outline: BookOutline, label: int) -> str:
    small = [cut for cut in outline.cuts if cut.words <= LARGE_CUT]
    small.sort(key=lambda cut: -cut.words)
    names = list(dict.fromkeys(cut.label or cut.document for cut in small))
    if not names:
        return ""
    shown = [_one_line_cut_to(name, label) for name in names[:_MOST_NAMES]]
    more = ", …" if len(names) > _MOST_NAMES else ""
    return f" ({', '.join(shown)}{more})"


def _room_for_cuts(outline: BookOutline) -> int:
    """Return how many large cuts have lines."""
    alarms = min(len(outline.alarms), _MOST_ALARMS)
    chapters = min(len(outline.chapters), 3)  # first, a gap, last
    # Title, sizes, both ends, two headings, the small ones, and the caller's line.
    room = LINES - 8 - chapters - alarms
    count = len(large_cuts(outline))
    if count * _LINES_OF_CUT <= room:
        return count
    return (room - 1) // _LINES_OF_CUT  # a line tells of the others


# --- alarms


def _alarm_lines(alarms: Sequence[str], width: int) -> list[str]:
    shown = list(alarms)
    if len(alarms) > _MOST_ALARMS:
        # What only this screen says comes last, and stays.
        left = len(alarms) - _MOST_ALARMS + 1
        shown = [f"{left:,} more warnings", *alarms[left:]]
    return [_one_line_cut_to(f"! {alarm}", width) for alarm in shown]


# --- columns


def _row_text(
    widths: _Widths,
    number: str,
    label: str,
    words: str,
    text: str,
) -> str:
    from rich.cells import set_cell_size

    name = set_cell_size(_one_line_cut_to(label, widths.label), widths.label)
    line = f"{number:>3} {name} {words:>{_WORDS}}  {_one_line(text)}"
    return shortened_to_columns(line.rstrip(), widths.line)


def _one_line(text: str) -> str:
    return inert(" ".join(text.split()))


def _one_line_cut_to(text: str, width: int) -> str:
    """Return a text as one line of at most as many columns."""
    return shortened_to_columns(_one_line(text), width)


def shortened_to_columns(line: str, width: int) -> str:
    """Shorten a line to as many columns, of which ideographs take two."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(line) <= width:
        return line
    return set_cell_size(line, width - 1).rstrip() + "…"


def _first_words_that_fit(text: str, width: int) -> str:
    """Return the first words that fit, and an ellipsis."""
    return " ".join(_words_that_fit(_one_line(text).split(), width)) + "…"


def _last_words_that_fit(text: str, width: int) -> str:
    """Return an ellipsis, and the last words that fit."""
    last_first = _one_line(text).split()[::-1]
    return "…" + " ".join(_words_that_fit(last_first, width)[::-1])


def _words_that_fit(words: Iterable[str], width: int) -> list[str]:
    """Return as many words as fit before or after an ellipsis, at least a piece."""
    from rich.cells import cell_len

    fitting: list[str] = []
    room = width - 1
    for word in words:
        needed = cell_len(word) + bool(fitting)
        if needed > room:
            break
        fitting.append(word)
        room -= needed
    if not fitting:
        return [_one_line_cut_to(word, width - 2) for word in words][:1]
    return fitting
