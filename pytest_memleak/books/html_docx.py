"""HTML, and what becomes HTML on its way: Markdown and Word documents."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from pytest_memleak.books.archive import open_archive, read_bytes
from pytest_memleak.books.document_selection import of_one_document
from pytest_memleak.books.format_mismatch import refuse_other_formats
from pytest_memleak.books.html_blocks import read_markup
from pytest_memleak.books.parser_subprocess import ParserFailure, parsed
from pytest_memleak.books.size_caps import Budget
from pytest_memleak.books.text_decoding import decode, legible, read_source, without_controls
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.scoring.folded_tokens import without_references

_HEAD = 20_000
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_AUTHOR = re.compile(
    r"""<meta\s{1,9}name=["']?author["']?\s{1,9}content=["']([^"'<>]{1,300})["']""", re.IGNORECASE
)
_FRONT_MATTER = re.compile(r"---[ \t]*\n((?:[^\n]*\n){0,100}?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FIELD = re.compile(r"^(title|author):[ \t]*[\"']?([^\n\"']{1,300})", re.MULTILINE | re.IGNORECASE)

# markdown-it takes up to 15 seconds and 500 MB for a million characters that are all marks.
_MARKDOWN_IN_PROCESS = 200_000
_LONGEST_MARKDOWN = 8_000_000
_LARGEST_WORD_XML = 12 << 20


def read_html(path: Path) -> Manuscript:
    """The text of an HTML or XHTML file. Raises BookError as `read_text` does."""
    data = read_bytes(path)
    refuse_other_formats(data, place=str(path))
    return page_manuscript(data, name=path.name, place=str(path))


def page_manuscript(
    data: bytes, *, name: str, place: str, warnings: tuple[str, ...] = ()
) -> Manuscript:
    """What `read_html` makes of the bytes of the file `name`."""
    head = read_source(data[:_HEAD]).text
    title, author = _TITLE.search(head), _AUTHOR.search(head)
    try:
        markup = read_markup(data, budget=Budget())
    except BookError as error:
        raise BookError(error.message, location=place, hint=error.hint) from None
    return of_one_document(
        name,
        markup,
        title=_one_line(title[1]) if title else None,
        author=_one_line(author[1]) if author else None,
        warnings=warnings,
        place=place,
    )


def read_markdown(path: Path, *, lines: bool = False) -> Manuscript:
    """The text of a Markdown file; title and author are those of a YAML header, if any.

    lines: whether every line is kept, as of verse, not only those that the file marks.

    Raises BookError as `read_text` does, and for more than 8,000,000 characters.
    """
    place = str(path)
    data = read_bytes(path)
    refuse_other_formats(data, place=place)
    text, note = decode(data)
    if len(text) > _LONGEST_MARKDOWN:
        raise BookError(
            f"has {len(text):,} characters; the most of Markdown that is read is"
            f" {_LONGEST_MARKDOWN:,}",
            location=place,
            hint="split a collection into its books, or make it an EPUB with pandoc",
        )
    text = without_controls(text.replace("\r\n", "\n"))
    header = _FRONT_MATTER.match(text)
    fields = {}
    if header:
        fields = {key.lower(): _one_line(value) for key, value in _FIELD.findall(header[1])}
        text = text[header.end() :]
    html = _rendered(text, lines=lines, place=place)
    markup = read_markup(html.encode("utf-8"), budget=Budget(place))
    return of_one_document(
        path.name,
        markup,
        title=fields.get("title"),
        author=fields.get("author"),
        warnings=(note,) if note else (),
        place=place,
    )


def _rendered(text: str, *, lines: bool, place: str) -> str:
    """Markdown as HTML; a long one in a process of its own, which has bounds of memory."""
    if len(text) <= _MARKDOWN_IN_PROCESS:
        from markdown_it import MarkdownIt

        return str(MarkdownIt("commonmark", {"breaks": lines}).render(text))
    data = text.encode("utf-8", "surrogatepass")
    budget = Budget(place)
    [html] = parsed("verse" if lines else "markdown", data, budget=budget, of="bytes of markup")
    return html


def read_docx(path: Path) -> Manuscript:
    """The text of a Word document, through mammoth; its notes and comments are left out.

    Raises BookError without mammoth, as `read_epub` does for what is no zip, and for a document
    of more than 12 MiB of XML or one that takes too much time or memory.
    """
    if find_spec("mammoth") is None:
        raise BookError(
            "needs the package 'mammoth', which is not installed",
            location=str(path),
            hint="install it with: pip install 'pytest-memleak[formats]'",
        )
    with open_archive(path) as archive:
        if archive.find("word/document.xml") is None:
            raise BookError(
                "has no word/document.xml, which every Word document has",
                location=str(path),
                hint="save it again as .docx",
            )
        for name in archive.names:
            if name.lower().endswith((".xml", ".rels")):
                data = archive.read(name, limit=_LARGEST_WORD_XML)
                if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
                    raise BookError(
                        f"{name!r} has a document type, as no Word document has",
                        location=str(path),
                        hint="the file is hostile",
                    )
    budget = Budget(str(path))
    try:
        [html] = parsed("docx", read_bytes(path), budget=budget, of="bytes of markup")
    except ParserFailure as failure:
        raise BookError(
            f"is no Word document that mammoth can read ({failure.why})",
            location=str(path),
            hint="save it again as .docx, or as .txt",
        ) from None
    for kind in ("footnote", "endnote"):
        html = html.replace(f'<li id="{kind}-', f'<li role="doc-{kind}" id="{kind}-')
    return page_manuscript(html.encode("utf-8"), name=path.name, place=str(path))


def _one_line(text: str) -> str:
    return " ".join(legible(without_references(text)).split())
