"""EPUB files, 2 and 3, through ebooklib, as they are and not only as they should be."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.books.archive import Archive, open_archive
from pytest_memleak.books.chapters import assemble, require_words
from pytest_memleak.books.encryption import refuse_drm
from pytest_memleak.books.gutenberg import without_licence
from pytest_memleak.books.landmarks import (
    Landmark,
    guide_landmarks,
    navigation_landmarks,
    outside_the_text,
)
from pytest_memleak.books.markup import Block, Markup, read_markup
from pytest_memleak.books.package import NAVIGATION, TidyPackage, tidy_package
from pytest_memleak.contracts.protocols import Manuscript

if TYPE_CHECKING:
    from ebooklib.epub import EpubBook

__all__ = ["read_epub"]


def read_epub(path: Path) -> Manuscript:
    """The text of an EPUB: its spine in order, without what stands around the text.

    Left out are documents with `linear="no"`, the navigation document, front and back matter
    that `epub:type`, `role` or landmarks declare, and Project Gutenberg's licence. What could
    not be read is named in the manuscript's `warnings`.

    Raises BookError, naming the file and the reason, for what is no readable EPUB: a directory,
    no zip, a damaged or locked one, DRM, a path that leads out of it, no package, no spine, more
    than 64 MiB in a document or 512 MiB in all once inflated, or no words.
    """
    with open_archive(path) as archive:
        refuse_drm(archive)
        package = tidy_package(archive)
        book = _load(path, archive, package)
        documents = [
            _Document(item.file_name, read_markup(_take_content(item)))
            for item in _reading_order(book)
        ]
        landmarks = _landmarks(book)
    noted = list(package.warnings)
    noted += [f"{one.name!r}: {note}" for one in documents for note in one.markup.notes]
    documents, left_out = _without_surroundings(documents, landmarks)
    noted += left_out
    title, author = _metadata(book)
    chapters = assemble(_without_licence(documents), title=title)
    require_words(
        chapters,
        place=str(path),
        hint="; ".join(noted) or "are its pages images, or is all of it declared front matter?",
    )
    return Manuscript(title, author, chapters, tuple(noted))


@dataclass(frozen=True, slots=True)
class _Document:
    name: str
    markup: Markup

    @property
    def letters(self) -> int:
        return sum(len(block.text) for block in self.markup.blocks)


def _load(path: Path, archive: Archive, package: TidyPackage) -> EpubBook:
    """What ebooklib makes of a tidy package, with its documents' bytes from the archive."""
    from ebooklib.epub import EpubReader

    class Reader(EpubReader):  # type: ignore[misc] # ebooklib has no types
        def read_file(self, name: str) -> bytes:
            return package.files[name] if name in package.files else archive.read(name)

    with warnings.catch_warnings():
        # Older releases warn of changes to come in themselves.
        warnings.simplefilter("ignore")
        return Reader(str(path), {"ignore_ncx": True}).load()


def _reading_order(book: EpubBook) -> list[Any]:
    # ebooklib's own look-up by id is a search through all items.
    items = {item.get_id(): item for item in book.get_items()}
    return [
        items[idref]
        for idref, linear in book.spine
        if linear != "no" and NAVIGATION not in items[idref].properties
    ]


def _take_content(item: Any) -> bytes:
    """The document's raw bytes, which the item then lets go of.

    `get_content` and `get_body_content` would re-indent them, which splits words, and take
    UTF-8 for granted.
    """
    data: bytes = item.content
    item.content = b""
    return data


def _landmarks(book: EpubBook) -> list[Landmark]:
    found = [
        mark
        for item in book.get_items()
        if NAVIGATION in item.properties
        for mark in navigation_landmarks(item.content, item.file_name)
    ]
    return found or guide_landmarks(book.guide)


def _metadata(book: EpubBook) -> tuple[str | None, str | None]:
    titles = [value for value, _ in book.get_metadata("DC", "title")]
    authors = list(dict.fromkeys(value for value, _ in book.get_metadata("DC", "creator")))
    return (titles[0] if titles else None), (" and ".join(authors) or None)


# --- what stands around the text -----------------------------------------------------------


def _without_surroundings(
    documents: list[_Document], landmarks: list[Landmark]
) -> tuple[list[_Document], list[str]]:
    """The documents that landmarks do not place outside the text, and a warning if any."""
    outside = outside_the_text(
        [one.name for one in documents],
        landmarks,
        declared_text=frozenset(one.name for one in documents if one.markup.declares_body),
    )
    kept = [one for one in documents if one.name not in outside]
    dropped = [one for one in documents if one.name in outside and one.letters]
    if sum(one.letters for one in dropped) > sum(one.letters for one in kept):
        return documents, [
            "the landmarks place most of the book outside its text; they are not believed"
        ]
    return kept, []


def _without_licence(documents: list[_Document]) -> list[list[Block]]:
    blocks = [block for one in documents for block in one.markup.blocks]
    texts = iter(without_licence([block.text for block in blocks]))
    return [
        [
            block if text is block.text else replace(block, text=text)
            for block in one.markup.blocks
            if (text := next(texts))
        ]
        for one in documents
    ]
