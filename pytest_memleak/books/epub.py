"""EPUB 2 and 3 files, valid or not, read through ebooklib; DRM is rejected."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pytest_memleak.books.archive import Archive, Budget, open_archive
from pytest_memleak.books.compose_manuscript import compose_manuscript
from pytest_memleak.books.epub_contents import navigation_entries, ncx_entries
from pytest_memleak.books.epub_package import (
    NAVIGATION,
    RepairedPackage,
    parse_member,
    repair_package,
)
from pytest_memleak.books.html_attributes import (
    ClassStyles,
    class_styles,
    terms,
    word_set,
)
from pytest_memleak.books.html_blocks import read_markup
from pytest_memleak.books.text_blocks import Entry, Markup, SpineDocument, locate
from pytest_memleak.books.text_decoding import decode, elements
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.records.number_format import first_three
from pytest_memleak.redaction.text import short_name

if TYPE_CHECKING:
    from ebooklib.epub import EpubBook

_MOST_SHEETS = 20
_LONGEST_SHEET = 1 << 20


def read_epub(
    path: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Manuscript:
    """Read the text of an EPUB: the documents of its spine, in order.

    Leaves out documents with `linear="no"` that the contents don't list, the navigation
    document, front and back matter according to `epub:type`, `role`, landmarks or the
    table of contents, copyright notices, and Project Gutenberg's license. The
    manuscript's `parts` record for each document whether it is text, and why; its
    `warnings` list what couldn't be read; `excluded` has what its author may have
    written of the rest.

    `include` and `exclude` name documents to read in full or not at all, against every
    rule. A name may omit its folders and contain `*` and `?`.

    Raises BookError, naming the file and the reason, for an unreadable EPUB: a
    directory, not a zip, a damaged or locked one, DRM, a path outside the zip, no
    package, no spine, more than 64 MiB in a document or 512 MiB in total when
    decompressed, more text than the budget, an `include` or `exclude` that matches no
    document, or no words.
    """
    with open_archive(path) as archive:
        validate_no_drm(archive)
        package = repair_package(archive)
        book = _load(path, package)
        navigation = [
            item.file_name for item in book.get_items() if NAVIGATION in item.properties
        ]
        contents: list[Entry] = []
        landmarks: list[Entry] = []
        for name in navigation:
            document = archive.read(name)
            contents += navigation_entries(document, name, "toc")
            landmarks += navigation_entries(document, name, "landmarks")
        if not contents and package.ncx:
            contents = ncx_entries(archive.read(package.ncx), package.ncx)
        leaves = _leaves(book, archive, contents)
    reading_warnings = list(package.warnings)
    for leaf in leaves:
        reading_warnings += (f"{leaf.name!r}: {note}" for note in leaf.markup.notes)
    read_names = {leaf.name for leaf in leaves} | {*navigation}
    unread = dict.fromkeys(
        short_name(entry.document)
        for entry in contents
        if entry.document not in read_names
    )
    if unread:
        reading_warnings.append(
            "its contents name documents that its spine lacks, so they aren't read: "
            f"{first_three(list(unread))}"
        )
    authors = dict.fromkeys(_metadata(book, "creator"))
    return compose_manuscript(
        leaves,
        landmarks or _guide_landmarks(book.guide),
        contents,
        title=next(_metadata(book, "title"), None),
        author=" and ".join(authors) or None,
        language=next(_metadata(book, "language"), None),
        include=include,
        exclude=exclude,
        warnings=reading_warnings,
        place=str(path),
        hint="if its pages are images, run OCR; if all its text is declared front "
        "matter, set include to the documents to read",
    )


def _metadata(book: EpubBook, name: str) -> Iterator[str]:
    return (value for value, _ in book.get_metadata("DC", name))


def _leaves(
    book: EpubBook,
    archive: Archive,
    entries: Sequence[Entry],
) -> list[SpineDocument]:
    """Read the documents of the spine."""
    budget = Budget(archive.place)
    styles = class_styles(_style_sheets(archive))
    places: dict[str, set[str]] = {}
    for entry in entries:
        places.setdefault(entry.document, set()).add(entry.place)
    # ebooklib's look-up by id searches all items.
    items = {item.get_id(): item for item in book.get_items()}
    leaves = []
    for idref, linear in book.spine:
        name = items[idref].file_name
        role = "navigation" if NAVIGATION in items[idref].properties else ""
        if linear == "no" and name not in places:
            role = "not linear"
        document_places = frozenset(places.get(name, ())) - {""}
        markup = _read_document(archive, name, budget, styles, document_places)
        leaves.append(SpineDocument(name, markup, role))
    return leaves


def _style_sheets(archive: Archive) -> Iterator[str]:
    """Yield the book's style sheets; skip unreadable ones, which aren't essential."""
    sheets = [name for name in archive.names if name.lower().endswith(".css")]
    for name in sheets[:_MOST_SHEETS]:
        with suppress(BookError):
            yield decode(archive.read(name, limit=_LONGEST_SHEET))[0]


def _read_document(
    archive: Archive,
    name: str,
    budget: Budget,
    styles: ClassStyles,
    places: frozenset[str],
) -> Markup:
    data = archive.read(name)
    try:
        return read_markup(
            data,
            budget=budget,
            styles=styles,
            places=places,
        )
    except BookError as error:
        raise BookError(
            f"{name!r} {error.message}",
            location=archive.place,
            hint=error.hint,
        ) from None


def _load(path: Path, package: RepairedPackage) -> EpubBook:
    """Let ebooklib read a tidy package, without the documents' content.

    All documents together may exceed memory, and ebooklib re-indents their text, which
    splits words.
    """
    from ebooklib.epub import EpubReader

    class Reader(EpubReader):  # type: ignore[misc] # ebooklib has no types
        def read_file(self, name: str) -> bytes:
            return package.files.get(name, b"")

    with warnings.catch_warnings():
        # Older releases emit deprecation warnings about themselves.
        warnings.simplefilter("ignore")
        return Reader(str(path), {"ignore_ncx": True}).load()


# EPUB 2's terms that differ from EPUB 3's. Its "text" is where to open the book, which
# often isn't the beginning of the text.
_GUIDE_TYPES = {"notes": "endnotes", "other.endnotes": "endnotes"}


def _guide_landmarks(guide: Iterable[Mapping[str, str | None]]) -> list[Entry]:
    """Return the references of a package's guide, with addresses from the root."""
    entries: list[Entry] = []
    for reference in guide:
        kind = (reference.get("type") or "").strip().lower()
        if kind in {"", "bodymatter"}:
            continue
        document, place = locate(reference.get("href") or "", "")
        kinds = terms(_GUIDE_TYPES.get(kind, kind))
        entries.append(
            Entry(
                document=document,
                place=place,
                title="",
                depth=1,
                terms=kinds,
            )
        )
    return entries


# DRM (OCF 3.3, section 4.2.6).
_ENCRYPTION = "META-INF/encryption.xml"
_RIGHTS = {
    "META-INF/rights.xml": "Adobe",
    "META-INF/sinf.xml": "Apple",
    "META-INF/license.lcpl": "Readium LCP",
}

# Font obfuscation needs no key, so it isn't DRM.
_FONT_OBFUSCATION = {
    "http://www.idpf.org/2008/embedding",
    "http://ns.adobe.com/pdf/enc#RC",
}
_FONT_SUFFIXES = tuple(word_set(".ttf .otf .ttc .woff .woff2 .eot .pfb .pfa .dfont"))
_BOOK_SUFFIXES = tuple(
    word_set(
        ".xhtml .html .htm .xht .xml .opf .ncx .css .svg .jpg .jpeg .png .gif .webp"
        " .js .smil",
    ),
)
_MEDIA_SUFFIXES = tuple(word_set(".mp3 .mp4 .m4a .m4v .mov .ogg .oga .ogv .opus .webm"))


def validate_no_drm(archive: Archive) -> None:
    """Raise BookError for DRM files and encrypted parts, except fonts and media."""
    for rights, maker in _RIGHTS.items():
        if archive.find(rights) is not None:
            raise _under_drm(
                archive,
                f"it contains {rights}, a DRM file written by {maker}",
            )
    name = archive.find(_ENCRYPTION)
    if name is None:
        return
    for data in elements(parse_member(archive, name), "EncryptedData"):
        target = next(
            (cipher.get("URI") for cipher in elements(data, "CipherReference")),
            None,
        )
        # Its own method precedes its key's.
        method = next(
            (form.get("Algorithm") for form in elements(data, "EncryptionMethod")),
            "",
        )
        if not _is_unread(unquote(target or ""), method):
            raise _under_drm(
                archive,
                f"{_ENCRYPTION} lists {target or 'a part'!r} as encrypted",
            )


def _under_drm(archive: Archive, why: str) -> BookError:
    return BookError(
        f"is protected by DRM: {why}",
        location=archive.place,
        hint="use a copy without DRM",
    )


def _is_unread(target: str, algorithm: str | None) -> bool:
    path = target.lower()
    if algorithm in _FONT_OBFUSCATION:
        return bool(path) and not path.endswith(_BOOK_SUFFIXES)
    return path.endswith(_FONT_SUFFIXES + _MEDIA_SUFFIXES)
