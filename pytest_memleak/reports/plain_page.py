"""Pages of headings, sentences, lists, and tables, as Markdown and as HTML.

The HTML is one file without scripts, which loads nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_MARKS = re.compile(r"[\\`*_\[\]<>|#]")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; color: #1b1b1b; background: #fff; }
h1 { line-height: 1.2; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .4rem .6rem; text-align: left;
  vertical-align: top; }
.summary { border-left: .4rem solid #555; padding: .2rem 1rem; font-size: 1.15rem; }
p, li, code { overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; } }
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the page's title."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Sentences:
    """A paragraph. leads: whether it says what the page is about."""

    text: str
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table; all rows have as many cells as `heads`."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command to type."""

    text: str


Block = Heading | Sentences | Items | Rows | Command


def markdown_page(blocks: Iterable[Block]) -> str:
    """Render a page as Markdown; marks in texts are escaped."""
    parts = ["\n".join(_markdown_lines(block)) for block in blocks]
    return "\n\n".join(parts) + "\n"


def _markdown_lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * level} {_escaped(text)}"
        case Sentences(text, leads):
            yield f"**{_escaped(text)}**" if leads else _escaped(text)
        case Items(texts):
            for text in texts:
                yield f"- {_escaped(text)}"
        case Rows(heads, rows):
            yield _markdown_row(heads)
            yield _markdown_row(["---"] * len(heads))
            for row in rows:
                yield _markdown_row([_escaped(cell) for cell in row])
        case Command(text):
            yield f"    {text}"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    one_line = " ".join(text.split())
    return _MARKS.sub(lambda mark: f"\\{mark[0]}", one_line)


def html_page(blocks: Sequence[Block], *, title: str) -> str:
    """Render a page as HTML; texts are escaped."""
    body = "\n".join(map(_html_of_block, blocks))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html_of_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Sentences(text, leads):
            kind = ' class="summary"' if leads else ""
            return f"<p{kind}>{html.escape(text)}</p>"
        case Items(texts):
            items = "\n".join(f"<li>{html.escape(text)}</li>" for text in texts)
            return f"<ul>\n{items}\n</ul>"
        case Rows(heads, rows):
            lines = [
                _html_cells("th", heads),
                *(_html_cells("td", row) for row in rows),
            ]
            return "<table>\n" + "\n".join(lines) + "\n</table>"
        case Command(text):
            return f"<p><code>{html.escape(text)}</code></p>"


def _html_cells(tag: str, cells: Sequence[str]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    inner = "".join(f"<{tag}{scope}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"
