"""Kinds of book files by suffix; readers of HTML, Word, pandoc's formats, and zips.

A PDF contains positioned characters, neither paragraphs nor words. Paragraphs are
reconstructed from the lines of pages; running heads, page numbers and hyphens at line
ends are removed, and the manuscript's warnings state how many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from pytest_memleak.books.archive import Budget, open_archive, read_bytes
from pytest_memleak.books.book_in_parts import read_folder, read_rows
from pytest_memleak.books.compose_manuscript import manuscript_from_document
from pytest_memleak.books.declared_encoding import as_utf8
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.html_blocks import read_markup
from pytest_memleak.books.parser_subprocess import Format, parse_in_subprocess
from pytest_memleak.books.plain_text import (
    manuscript_from_text_bytes,
    read_bytes_as_utf8,
    read_lyrics,
    read_markdown,
    read_text,
    validate_no_other_format,
)
from pytest_memleak.books.text_decoding import one_line, read_source
from pytest_memleak.errors import BookError, file_errors, install_command
from pytest_memleak.interfaces.protocols import Manuscript

_CALIBRE = "if it has no DRM, convert it with Calibre: ebook-convert {name} {stem}.epub"
_OFFICE = "convert it with LibreOffice: soffice --convert-to docx {name}"
_TO_EPUB = "convert it with pandoc: pandoc {name} -o {stem}.epub"
_CONVERTED = {
    ".kfx": ("a Kindle book in KFX", f"{_CALIBRE} (with its KFX Input plugin)"),
    ".lcpl": ("a license of Readium LCP, not the book", "use a copy without DRM"),
    ".rst": ("reStructuredText", _TO_EPUB),
    ".doc": ("an old Word document", _OFFICE),
}
_PANDOC: dict[str, Format] = {
    ".fb2": "fb2",
    ".odt": "odt",
    ".rtf": "rtf",
    ".tex": "latex",
}
_KINDLE = (".mobi", ".azw", ".azw3", ".prc")
_PAGES = (".html", ".htm", ".xhtml")
_TEXTS = (".txt", ".md", ".markdown", *_PAGES)
_LISTED = 5


def read_manuscript(
    path: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    encoding: str | None = None,
) -> Manuscript | None:
    """Read the manuscript in a file of a known format; return None for any other.

    include, exclude: documents of an EPUB (`read_epub`), a Kindle book, or a PDF;
    encoding: of text and HTML, whatever the file says.
    Raises BookError for an unreadable book, a format that another tool must convert
    first, and a format whose extra isn't installed.
    """
    suffix = path.suffix.lower()
    _validate_needs_no_conversion(path, suffix)
    if suffix not in {*_CHOOSING, *_READERS} and not path.is_dir():
        return None
    if encoding and suffix not in _IN_AN_ENCODING:
        raise BookError(
            "encoding applies only to plain text, Markdown, lyrics, and HTML",
            location=str(path),
            hint="remove it: this format states its own encoding",
        )
    if suffix not in {".pdf", *_TEXTS} and path.is_file():
        _validate_no_pdf(path)
    if suffix in _CHOOSING:
        return _CHOOSING[suffix](path, include=include, exclude=exclude)
    if include or exclude:
        raise BookError(
            "include and exclude apply only to an EPUB, a Kindle book, or a PDF",
            location=str(path),
            hint="remove them",
        )
    if path.is_dir():
        return read_folder(path, read_manuscript)
    if encoding:
        return _IN_AN_ENCODING[suffix](path, encoding=encoding)
    return _READERS[suffix](path)


def _validate_needs_no_conversion(path: Path, suffix: str) -> None:
    """Raise BookError for a format that another tool must convert."""
    if suffix in _CONVERTED:
        kind, advice = _CONVERTED[suffix]
        raise BookError(
            f"is {kind}, which memleak can't read",
            location=str(path),
            hint=advice.format(name=path.name, stem=path.stem),
        )


def _read_kindle(
    path: Path,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
) -> Manuscript:
    _require_package("mobi", "mobi", str(path))
    from pytest_memleak.books.kindle import read_kindle

    return read_kindle(path, include=include, exclude=exclude)


def _read_pdf(
    path: Path,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
) -> Manuscript:
    _require_package("pypdfium2", "formats", str(path))
    from pytest_memleak.books.pdf import read_pdf

    return read_pdf(path, include=include, exclude=exclude)


def _read_zip(path: Path, *, encoding: str | None = None) -> Manuscript:
    """Read the only page, or else text, in a zip such as Project Gutenberg's."""
    readers = (
        (_PAGES, manuscript_from_html),
        ((".txt",), manuscript_from_text_bytes),
    )
    with open_archive(path) as archive:
        for suffixes, read in readers:
            names = [name for name in archive.names if name.lower().endswith(suffixes)]
            if len(names) == 1:
                name = names[0]
                data = archive.read(name)
                if encoding:
                    data = as_utf8(data, encoding, place=str(path))
                return read(data, name=name, place=str(path))
            if names:
                shown = ", ".join(map(repr, names[:_LISTED]))
                raise BookError(
                    f"contains {len(names):,} text files; expected one",
                    location=str(path),
                    hint=f"unpack it and name one of them: {shown}",
                )
    raise BookError(
        "contains neither .txt nor .html",
        location=str(path),
        hint="unpack it and name the book in it",
    )


_HEAD = 20_000
_BEGINNING = 1_024  # of a PDF, before its sign
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_AUTHOR = re.compile(
    r"""<meta\s{1,9}name=["']?author["']?\s{1,9}content=["']([^"'<>]{1,300})["']""",
    re.IGNORECASE,
)

_LARGEST_WORD_XML = 12 << 20


def read_html(path: Path, *, encoding: str | None = None) -> Manuscript:
    """Read an HTML or XHTML file. Raises BookError as `read_text` does."""
    data = read_bytes_as_utf8(path, encoding)
    validate_no_other_format(data, place=str(path))
    return manuscript_from_html(data, name=path.name, place=str(path))


def manuscript_from_html(
    data: bytes,
    *,
    name: str,
    place: str,
) -> Manuscript:
    """Read HTML from the bytes of the file `name`."""
    head = read_source(data[:_HEAD]).text
    title, author = _TITLE.search(head), _AUTHOR.search(head)
    try:
        markup = read_markup(data, budget=Budget())
    except BookError as error:
        raise BookError(error.message, location=place, hint=error.hint) from None
    return manuscript_from_document(
        name,
        markup,
        title=one_line(title[1]) if title else None,
        author=one_line(author[1]) if author else None,
        warnings=(),
        place=place,
    )


def read_docx(path: Path) -> Manuscript:
    """Read a Word document through mammoth, without its notes and comments.

    Raises BookError without mammoth, for an invalid zip, for more than 12 MiB of XML,
    and for a document that takes too much time or memory.
    """
    _require_package("mammoth", "formats", str(path))
    with open_archive(path) as archive:
        if archive.find("word/document.xml") is None:
            raise BookError(
                "has no word/document.xml, so it isn't a Word document",
                location=str(path),
                hint="save it again as .docx",
            )
        for name in archive.names:
            if name.lower().endswith((".xml", ".rels")):
                data = archive.read(name, limit=_LARGEST_WORD_XML)
                if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
                    raise BookError(
                        f"{name!r} has a document type declaration",
                        location=str(path),
                        hint="the file is hostile: no Word document has one; use a "
                        "different edition",
                    )
    budget = Budget(str(path))
    [html] = parse_in_subprocess(
        "docx",
        read_bytes(path),
        budget=budget,
        of="bytes of markup",
    )
    for kind in ("footnote", "endnote"):
        html = html.replace(f'<li id="{kind}-', f'<li role="doc-{kind}" id="{kind}-')
    return manuscript_from_html(html.encode("utf-8"), name=path.name, place=str(path))


def read_with_pandoc(path: Path) -> Manuscript:
    """Read FB2, OpenDocument, RTF, or LaTeX through pandoc.

    Raises BookError without pandoc, for a file that it can't read whole, and for one
    that takes too much time or memory.
    """
    place = str(path)
    _require_package("pypandoc", "pandoc", place)
    kind = _PANDOC[path.suffix.lower()]
    [html] = parse_in_subprocess(
        kind,
        read_bytes(path),
        budget=Budget(place),
        of="bytes of markup",
    )
    manuscript = manuscript_from_html(html.encode("utf-8"), name=path.name, place=place)
    # Without a title, pandoc gives the file's name, which is that of its standard
    # input.
    return replace(manuscript, title=None) if manuscript.title == "-" else manuscript


def _validate_no_pdf(path: Path) -> None:
    """Raise BookError for a PDF under another name."""
    with file_errors(BookError, path), path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    if b"%PDF-" in beginning:
        raise BookError(
            "is PDF",
            location=str(path),
            hint="rename the file to .pdf",
        )


def _require_package(
    name: str,
    extra: str,
    place: str,
) -> None:
    if find_spec(name) is None:
        raise BookError(
            f"needs the package {name!r}, which isn't installed",
            location=place,
            hint=f"install it with: {install_command(extra)}",
        )


# Files that may be in any encoding.
_IN_AN_ENCODING: dict[str, Callable[..., Manuscript]] = {
    ".txt": read_text,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".lrc": read_lyrics,
    ".zip": _read_zip,
    **dict.fromkeys(_PAGES, read_html),
}
_READERS: dict[str, Callable[[Path], Manuscript]] = {
    ".docx": read_docx,
    ".json": read_rows,
    ".jsonl": read_rows,
    **_IN_AN_ENCODING,
    **dict.fromkeys(_PANDOC, read_with_pandoc),
}
# Files whose documents can be chosen.
_CHOOSING: dict[str, Callable[..., Manuscript]] = {
    ".epub": read_epub,
    ".pdf": _read_pdf,
    **dict.fromkeys(_KINDLE, _read_kindle),
}
