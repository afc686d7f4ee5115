"""EPUB files, 2 and 3, through ebooklib, as they are and not only as they should be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.books.archive import Archive, open_archive
from pytest_memleak.books.block_styles import block_classes
from pytest_memleak.books.chapters import require_words
from pytest_memleak.books.document_selection import compose
from pytest_memleak.books.drm import refuse_drm
from pytest_memleak.books.epub_package import NAVIGATION, TidyPackage, tidy_package
from pytest_memleak.books.front_and_back_matter import Leaf
from pytest_memleak.books.html_blocks import Markup, read_markup
from pytest_memleak.books.landmarks import Landmark, guide_landmarks, navigation_landmarks
from pytest_memleak.books.size_caps import Budget
from pytest_memleak.books.table_of_contents import Entry, navigation_contents, ncx_contents
from pytest_memleak.books.text_decoding import decode
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

if TYPE_CHECKING:
    from ebooklib.epub import EpubBook

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
        refuse_drm(archive)
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
