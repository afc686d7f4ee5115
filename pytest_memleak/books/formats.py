"""A book's file to its manuscript, by the file's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Manuscript

    Reader = Callable[[Path], Manuscript]

_CALIBRE = "convert it with Calibre, if it is without DRM: ebook-convert {name} {stem}.epub"
_PANDOC = "convert it with pandoc: pandoc {name} -o {stem}.epub"
_OFFICE = "convert it with LibreOffice: soffice --convert-to docx {name}"
_CONVERTED = {
    ".mobi": ("a Kindle book", _CALIBRE),
    ".azw": ("a Kindle book", _CALIBRE),
    ".azw3": ("a Kindle book", _CALIBRE),
    ".prc": ("a Kindle book", _CALIBRE),
    ".kfx": ("a Kindle book in KFX", f"{_CALIBRE} (with its KFX Input plugin)"),
    ".tex": ("LaTeX", _PANDOC),
    ".rst": ("reStructuredText", _PANDOC),
    ".rtf": ("RTF", _OFFICE),
    ".doc": ("an old Word document", _OFFICE),
    ".odt": ("an OpenDocument text", _OFFICE),
}
_PAGES = (".html", ".htm", ".xhtml")
# Each is imported when the first of its books is read.
_READERS = {
    ".txt": ("plain_text", "read_text"),
    ".md": ("html_docx", "read_markdown"),
    ".markdown": ("html_docx", "read_markdown"),
    ".docx": ("html_docx", "read_docx"),
    ".pdf": ("pdf", "read_pdf"),
    **dict.fromkeys(_PAGES, ("html_docx", "read_html")),
}
_LISTED = 5


def read_manuscript(
    path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Manuscript | None:
    """The manuscript in a file of a format that is known here; None for any other.

    include, exclude: documents of an EPUB (`read_epub`).
    Raises BookError for a book that cannot be read, and for a format that another tool has to
    convert first or the extra `formats` has to be installed for.
    """
    suffix = path.suffix.lower()
    if suffix in _CONVERTED:
        kind, advice = _CONVERTED[suffix]
        raise BookError(
            f"is {kind}, which is not read here",
            location=str(path),
            hint=advice.format(name=path.name, stem=path.stem),
        )
    if suffix not in {".epub", ".zip", *_READERS}:
        return None
    if suffix == ".epub":
        from pytest_memleak.books.epub import read_epub

        return read_epub(path, include=include, exclude=exclude)
    if include or exclude:
        raise BookError(
            "include and exclude name documents of an EPUB, and this is none",
            location=str(path),
            hint="take them out",
        )
    if suffix == ".zip":
        return _read_zip(path)
    module, reader = _READERS[suffix]
    read: Reader = getattr(import_module(f"pytest_memleak.books.{module}"), reader)
    return read(path)


def _read_zip(path: Path) -> Manuscript:
    """The one text, or else the one page, in a zip such as Project Gutenberg's."""
    from pytest_memleak.books.archive import open_archive
    from pytest_memleak.books.html_docx import page_manuscript
    from pytest_memleak.books.plain_text import text_manuscript

    with open_archive(path) as archive:
        for suffixes, read in ((_PAGES, page_manuscript), ((".txt",), text_manuscript)):
            names = [name for name in archive.names if name.lower().endswith(suffixes)]
            if len(names) == 1:
                return read(archive.read(names[0]), name=names[0], place=str(path))
            if names:
                shown = ", ".join(map(repr, names[:_LISTED]))
                raise BookError(
                    f"holds {len(names):,} texts; a book is one",
                    location=str(path),
                    hint=f"unpack it, and name one of them: {shown}",
                )
    raise BookError(
        "holds neither .txt nor .html",
        location=str(path),
        hint="unpack it, and name the book in it",
    )
