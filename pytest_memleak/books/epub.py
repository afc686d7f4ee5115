"""EPUB files, 2 and 3, through ebooklib, as they are and not only as they should be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pytest_memleak.books.archive import Archive, open_archive
from pytest_memleak.books.chapters import require_words
from pytest_memleak.books.document_selection import compose
from pytest_memleak.books.epub_package import NAVIGATION, TidyPackage, parse_member, tidy_package
from pytest_memleak.books.front_and_back_matter import Leaf
from pytest_memleak.books.html_attributes import block_classes
from pytest_memleak.books.html_blocks import Markup, read_markup
from pytest_memleak.books.size_caps import Budget
from pytest_memleak.books.table_of_contents import (
    Entry,
    Landmark,
    guide_landmarks,
    navigation_contents,
    navigation_landmarks,
    ncx_contents,
)
from pytest_memleak.books.text_decoding import decode
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

if TYPE_CHECKING:
    from ebooklib.epub import EpubBook
    from lxml.etree import _Element

    from pytest_memleak.books.archive import Archive

_MOST_SHEETS = 20
_LONGEST_SHEET = 1 << 20


def read_epub(
    path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Manuscript:
    """The text of an EPUB: its spine in order, without what stands around the text.

    Left out are documents with `linear="no"`, the navigation document, front and back matter
    that `epub:type`, `role`, landmarks or the table of contents name, copyright notices, and
    Project Gutenberg's licence. The manuscript's `parts` say of each document whether it is
    text, and why; its `warnings` name what could not be read.

    `include` and `exclude` are names of documents, whole or without their folders, that are read
    whole or not at all, whatever is said of them; `*` and `?` stand for any letters.

    Raises BookError, naming the file and the reason, for what is no readable EPUB: a directory,
    no zip, a damaged or locked one, DRM, a path that leads out of it, no package, no spine, more
    than 64 MiB in a document or 512 MiB in all once inflated, more text than the budget, a name
    in `include` or `exclude` that fits no document, or no words.
    """
    with open_archive(path) as archive:
        reject_drm(archive)
        package = tidy_package(archive)
        book = _load(path, package)
        navigation = [item.file_name for item in book.get_items() if NAVIGATION in item.properties]
        entries = _contents(archive, navigation, package)
        leaves = _leaves(book, archive, entries)
        landmarks = _landmarks(book, archive, navigation)
    title, author = _metadata(book)
    composed = compose(
        leaves,
        landmarks,
        entries,
        title=title,
        author=author,
        include=include,
        exclude=exclude,
        place=str(path),
    )
    noted = list(package.warnings)
    noted += [f"{leaf.name!r}: {note}" for leaf in leaves for note in leaf.markup.notes]
    noted += composed.warnings
    require_words(
        composed.chapters,
        place=str(path),
        hint="; ".join(noted) or "are its pages images, or is all of it declared front matter?",
    )
    return Manuscript(title, author, composed.chapters, tuple(noted), composed.parts)


def _leaves(book: EpubBook, archive: Archive, entries: Sequence[Entry]) -> list[Leaf]:
    """The documents of the spine."""
    budget = Budget(archive.place)
    as_blocks = block_classes(_style_sheets(archive))
    places: dict[str, set[str]] = {}
    for entry in entries:
        places.setdefault(entry.document, set()).add(entry.place)
    # ebooklib's own look-up by id is a search through all items.
    items = {item.get_id(): item for item in book.get_items()}
    leaves = []
    for idref, linear in book.spine:
        name = items[idref].file_name
        role = "navigation" if NAVIGATION in items[idref].properties else ""
        if linear == "no":
            role = "not linear"
        wanted = frozenset(places.get(name, ())) - {""}
        markup = _read_document(archive, name, budget, as_blocks, wanted)
        leaves.append(Leaf(name, markup, role))
    return leaves


def _style_sheets(archive: Archive) -> Iterator[str]:
    """The style sheets of the book; it reads as well without those that cannot be read."""
    for name in [member for member in archive.names if member.lower().endswith(".css")][
        :_MOST_SHEETS
    ]:
        with suppress(BookError):
            yield decode(archive.read(name, limit=_LONGEST_SHEET))[0]


def _read_document(
    archive: Archive,
    name: str,
    budget: Budget,
    as_blocks: frozenset[str],
    places: frozenset[str],
) -> Markup:
    data = archive.read(name)
    try:
        return read_markup(data, budget=budget, as_blocks=as_blocks, places=places)
    except BookError as error:
        raise BookError(
            f"{name!r} {error.message}", location=archive.place, hint=error.hint
        ) from None


def _load(path: Path, package: TidyPackage) -> EpubBook:
    """What ebooklib makes of a tidy package.

    Documents have no content yet: all of them at once may be more than memory holds, and
    ebooklib's own ways to their text would re-indent them, which splits words.
    """
    from ebooklib.epub import EpubReader

    class Reader(EpubReader):  # type: ignore[misc] # ebooklib has no types
        def read_file(self, name: str) -> bytes:
            return package.files.get(name, b"")

    with warnings.catch_warnings():
        # Older releases warn of changes to come in themselves.
        warnings.simplefilter("ignore")
        return Reader(str(path), {"ignore_ncx": True}).load()


def _contents(archive: Archive, navigation: Sequence[str], package: TidyPackage) -> list[Entry]:
    """The table of contents of the navigation document, or else of the NCX."""
    entries = [
        entry for name in navigation for entry in navigation_contents(archive.read(name), name)
    ]
    if not entries and package.ncx:
        entries = ncx_contents(archive.read(package.ncx), package.ncx)
    return entries


def _landmarks(book: EpubBook, archive: Archive, navigation: Sequence[str]) -> list[Landmark]:
    landmarks = [
        mark for name in navigation for mark in navigation_landmarks(archive.read(name), name)
    ]
    return landmarks or guide_landmarks(book.guide)


def _metadata(book: EpubBook) -> tuple[str | None, str | None]:
    titles = [value for value, _ in book.get_metadata("DC", "title")]
    authors = list(dict.fromkeys(value for value, _ in book.get_metadata("DC", "creator")))
    return (titles[0] if titles else None), (" and ".join(authors) or None)


# --- DRM (OCF 3.3, section 4.2.6) ---------------------------------------------------------

_ENCRYPTION = "META-INF/encryption.xml"
_RIGHTS = {"META-INF/rights.xml": "Adobe's DRM", "META-INF/sinf.xml": "Apple's"}

# Fonts are scrambled with these so that they are not taken out of the book; no key is needed.
_FONT_OBFUSCATION = {
    "http://www.idpf.org/2008/embedding",
    "http://ns.adobe.com/pdf/enc#RC",
}
_FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".woff", ".woff2", ".eot", ".pfb", ".pfa", ".dfont")
_BOOK_SUFFIXES = (
    ".xhtml", ".html", ".htm", ".xht", ".xml", ".opf", ".ncx", ".css", ".svg", ".jpg", ".jpeg",
    ".png", ".gif", ".webp", ".js", ".smil",
)  # fmt: skip
_MEDIA_SUFFIXES = (".mp3", ".mp4", ".m4a", ".m4v", ".mov", ".ogg", ".oga", ".ogv", ".opus", ".webm")


def reject_drm(archive: Archive) -> None:
    """Raise BookError for the files of a DRM, and where anything is encrypted that is read.

    Fonts, sound and film are not: nobody reads them here.
    """
    for rights, maker in _RIGHTS.items():
        if archive.find(rights) is not None:
            raise _under_drm(archive, f"it has {rights}, as {maker} writes it")
    name = archive.find(_ENCRYPTION)
    if name is None:
        return
    for target, algorithm in _encrypted_targets(parse_member(archive, name)):
        if not _is_unread(target, algorithm):
            raise _under_drm(
                archive, f"{_ENCRYPTION} says that {target or 'something'!r} is encrypted"
            )


def _under_drm(archive: Archive, why: str) -> BookError:
    return BookError(f"is under DRM: {why}", location=archive.place, hint="use a copy without DRM")


def _is_unread(target: str, algorithm: str) -> bool:
    path = target.lower()
    if algorithm in _FONT_OBFUSCATION:
        return bool(path) and not path.endswith(_BOOK_SUFFIXES)
    return path.endswith(_FONT_SUFFIXES + _MEDIA_SUFFIXES)


def _encrypted_targets(root: _Element) -> Iterator[tuple[str, str]]:
    """What each `EncryptedData` is about and its method, which comes before that of any key."""
    target = algorithm = ""
    begun = False
    for element in root.iter():
        name = str(element.tag).rpartition("}")[2].lower()
        if name == "encrypteddata":
            if begun:
                yield target, algorithm
            target, algorithm, begun = "", "", True
        elif name == "cipherreference":
            target = target or unquote(element.get("URI") or "")
        elif name == "encryptionmethod":
            algorithm = algorithm or element.get("Algorithm") or ""
    if begun:
        yield target, algorithm
