"""A manuscript from a book's documents: chapters, and a record of what is left out.

`select_documents` decides which documents are text, `notice_blocks` which blocks of
them are notices, and `chapters` where chapters begin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_memleak.books.chapters import (
    Document,
    build_chapters,
    validate_has_words,
    with_contents_titles,
)
from pytest_memleak.books.contents_list import CONTENTS, with_contents_marked
from pytest_memleak.books.drawn_text import drawing_warnings
from pytest_memleak.books.front_and_back_matter import Exclusion
from pytest_memleak.books.html_attributes import BY_OTHERS
from pytest_memleak.books.notice_blocks import (
    LICENSE,
    NOTICE,
    with_license_marked,
    with_notices_at_ends_marked,
    with_notices_marked,
    with_notices_split,
)
from pytest_memleak.books.publisher_pages import HOUSE_PAGE, with_publisher_pages_marked
from pytest_memleak.books.select_documents import DocumentSelection, select_documents
from pytest_memleak.books.text_blocks import (
    MOSTLY_LINKS,
    Entry,
    Markup,
    SpineDocument,
    TextBlock,
)
from pytest_memleak.books.text_decoding import letters_and_digits
from pytest_memleak.books.unreadable_documents import validate_readable_documents
from pytest_memleak.interfaces.protocols import Chapter, Cut, Manuscript
from pytest_memleak.records import BookPart
from pytest_memleak.scoring.words import has_unspaced, words

_Blocks = tuple[TextBlock, ...]

# As many begin what a cut is shown by.
_FIRST_BLOCKS = 5
_FIRST_WORDS = 12

_TEXT = Exclusion("it is text")
_INCLUDED = Exclusion("it matches include")

# Kinds of matter that the book's author can't have written, or that anyone may.
_UNSEARCHED = BY_OTHERS | {NOTICE, LICENSE, CONTENTS, HOUSE_PAGE}


def compose_manuscript(
    leaves: Sequence[SpineDocument],
    landmarks: Sequence[Entry],
    entries: Sequence[Entry],
    *,
    title: str | None,
    author: str | None,
    language: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    warnings: Iterable[str],
    place: str,
    hint: str = "check that the file contains the book's text",
) -> Manuscript:
    """Select the text of a book by its documents, and record the rule of each.

    `include` and `exclude` are patterns of names that override every rule; `warnings`
    are those of reading. Raises BookError, naming `place`, for a pattern that matches
    no document, text that can't be matched, or no words, with the warnings or `hint`.
    """
    selection = select_documents(
        leaves,
        landmarks,
        entries,
        title=title,
        author=author,
        include=include,
        exclude=exclude,
        place=place,
    )
    validate_readable_documents(
        selection.texts,
        language=language,
        excused=selection.included,
        place=place,
    )
    blocks = _marked_blocks(selection)
    text_blocks = {name: _without_matter(document) for name, document in blocks.items()}
    chapters = tuple(build_chapters(text_blocks, title=title))
    warnings = (
        *warnings,
        *selection.warnings,
        *drawing_warnings(selection.leaves),
    )
    all_warnings = "; ".join(warnings)
    validate_has_words(chapters, place=place, hint=all_warnings or hint)
    return Manuscript(
        title=title,
        author=author,
        chapters=chapters,
        warnings=warnings,
        parts=_book_parts(selection, blocks),
        excluded=_excluded_documents(selection, blocks),
        cuts=tuple(_unmeasured_texts(selection, blocks)),
    )


def manuscript_from_document(
    name: str,
    markup: Markup,
    *,
    title: str | None,
    author: str | None,
    warnings: Sequence[str],
    place: str,
) -> Manuscript:
    """Compose the manuscript of one document; it raises the same errors."""
    return compose_manuscript(
        [SpineDocument(name, markup)],
        (),
        (),
        title=title,
        author=author,
        warnings=(*warnings, *markup.notes),
        place=place,
    )


# --- blocks of the documents that are text
# -----------------------------------------------------------------------------


def _marked_blocks(selection: DocumentSelection) -> dict[str, _Blocks]:
    """Return the blocks of each text, with titles, notices and license marked."""
    leaves = selection.texts
    marked = with_notices_at_ends_marked([leaf.markup.everything for leaf in leaves])
    documents: list[Document] = []
    for leaf, blocks in zip(leaves, marked, strict=True):
        if leaf.name in selection.included or leaf.name in selection.prefaces:
            blocks = _without_matter_marks(leaf.markup)  # noqa: PLW2901
        documents.append(
            Document(
                name=leaf.name,
                blocks=blocks,
                places=leaf.markup.places,
            )
        )
    titled = with_contents_titles(documents, selection.entries)
    listed = with_contents_marked(titled)
    housed = [with_publisher_pages_marked(blocks) for blocks in listed]
    split = [with_notices_split(blocks) for blocks in housed]
    names = [document.name for document in documents]
    return dict(zip(names, with_license_marked(split), strict=True))


def _without_matter_marks(markup: Markup) -> _Blocks:
    return tuple(replace(block, matter="") for block in markup.everything)


def _without_matter(blocks: Sequence[TextBlock]) -> list[TextBlock]:
    return [block for block in blocks if not block.matter]


def _only_matter(blocks: Sequence[TextBlock]) -> list[TextBlock]:
    return [block for block in blocks if block.matter]


# --- the record of each document
# -----------------------------------------------------------------------------


def _book_parts(
    selection: DocumentSelection,
    blocks: Mapping[str, _Blocks],
) -> tuple[BookPart, ...]:
    parts: list[BookPart] = []
    for leaf in selection.leaves:
        label = selection.titles[leaf.name]
        if leaf.name not in blocks:
            exclusion = selection.exclusions[leaf.name]
            parts.append(_excluded_part(leaf, label, exclusion))
        elif leaf.name in selection.included:
            parts.append(
                _text_part(
                    leaf=leaf,
                    label=label,
                    blocks=blocks[leaf.name],
                    reason=_INCLUDED,
                )
            )
        else:
            parts.append(
                _text_part(
                    leaf=leaf,
                    label=label,
                    blocks=blocks[leaf.name],
                    reason=_TEXT,
                )
            )
    return tuple(parts)


def _text_part(
    leaf: SpineDocument,
    label: str | None,
    blocks: Sequence[TextBlock],
    reason: Exclusion,
) -> BookPart:
    text = _without_matter(blocks)
    headings = [block for block in text if block.level]
    paragraphs = [block for block in text if not block.level]
    return BookPart(
        name=leaf.name,
        label=label,
        kept=True,
        rule=reason.rule,
        by_title=reason.by_title,
        words=_count_words_of_any_script(paragraphs),
        matter=_count_words_of_any_script(_only_matter(blocks)),
        notes=_note_words(leaf),
        headings=_count_words_of_any_script(headings),
    )


def _excluded_part(
    leaf: SpineDocument,
    label: str | None,
    exclusion: Exclusion,
) -> BookPart:
    return BookPart(
        name=leaf.name,
        label=label,
        kept=False,
        rule=exclusion.rule,
        by_title=exclusion.by_title,
        words=0,
        matter=_count_words_of_any_script(leaf.markup.everything),
        notes=_note_words(leaf),
        headings=0,
    )


def _count_words_of_any_script(blocks: Iterable[TextBlock]) -> int:
    """Return the number of words of any script."""
    text = "\n\n".join(block.text for block in blocks)
    return len(words(text, "unicode"))


def _note_words(leaf: SpineDocument) -> int:
    return sum(len(text.split()) for text in leaf.markup.note_texts)


def _unmeasured_texts(
    selection: DocumentSelection,
    blocks: Mapping[str, _Blocks],
) -> Iterator[Cut]:
    """Yield each document's text that isn't measured, one per rule."""
    for leaf in selection.leaves:
        label = selection.titles[leaf.name]
        if leaf.name not in blocks:
            rule = selection.exclusions[leaf.name].rule
            yield from _cut(leaf.name, label, rule, leaf.markup.everything)
            continue
        document = blocks[leaf.name]
        inside = _matter_between_text(document)
        for kind in dict.fromkeys(block.matter for block in document if block.matter):
            of_kind = [block for block in document if block.matter == kind]
            of_kind_inside = [block for block in inside if block.matter == kind]
            count = _count_words_of_any_script(of_kind_inside)
            yield from _cut(leaf.name, label, kind, of_kind, inside=count)


def _cut(
    document: str,
    label: str | None,
    rule: str,
    blocks: Sequence[TextBlock],
    *,
    inside: int = 0,
) -> Iterator[Cut]:
    count = _count_words_of_any_script(blocks)
    if count:
        beginning = " ".join(block.text for block in blocks[:_FIRST_BLOCKS])
        first_words = " ".join(beginning.split()[:_FIRST_WORDS])
        yield Cut(document, label, rule, count, first_words, inside)


def _matter_between_text(blocks: Sequence[TextBlock]) -> list[TextBlock]:
    """Return the paragraphs of matter that text of their document surrounds."""
    text = [
        place
        for place, block in enumerate(blocks)
        if not block.matter and not block.level
    ]
    if not text:
        return []
    between = blocks[text[0] : text[-1]]
    return [block for block in between if block.matter and not block.level]


# --- text that isn't measured, but which the book's author may have written
# -----------------------------------------------------------------------------


def _excluded_documents(
    selection: DocumentSelection,
    blocks: Mapping[str, _Blocks],
) -> tuple[Chapter, ...]:
    titles = _titles(blocks)
    excluded: list[Chapter] = []
    for leaf in selection.leaves:
        exclusion = selection.exclusions.get(leaf.name)
        if exclusion and not _is_searched(leaf, exclusion):
            continue
        left_out = _unmeasured_blocks(leaf, selection, blocks)
        paragraphs = (*_authors_paragraphs(left_out, titles), *_notes_with_words(leaf))
        if paragraphs:
            title = f"excluded: {selection.titles[leaf.name] or leaf.name}"
            excluded.append(Chapter(title, paragraphs))
    return tuple(excluded)


def _is_searched(leaf: SpineDocument, exclusion: Exclusion) -> bool:
    return exclusion.searched and leaf.markup.linked < MOSTLY_LINKS


def _unmeasured_blocks(
    leaf: SpineDocument,
    selection: DocumentSelection,
    blocks: Mapping[str, _Blocks],
) -> Sequence[TextBlock]:
    if leaf.name in blocks:
        return _only_matter(blocks[leaf.name])
    if leaf.name in selection.repeated:
        # Notes of a repeated document may be its own.
        return _only_matter(leaf.markup.everything)
    return with_notices_marked(leaf.markup.everything)


def _titles(blocks: Mapping[str, _Blocks]) -> set[str]:
    """Return the letters of the book's headings, which lists of contents repeat."""
    titles: set[str] = set()
    for document in blocks.values():
        for block in document:
            if block.level:
                titles.add(letters_and_digits(block.text))
    return titles


def _authors_paragraphs(
    blocks: Sequence[TextBlock],
    titles: Collection[str],
) -> list[str]:
    """Return paragraphs, without titles, notices and licenses."""
    paragraphs: list[str] = []
    for block in blocks:
        is_unsearched = block.matter in _UNSEARCHED or "Gutenberg" in block.text
        is_title = block.level > 0 or letters_and_digits(block.text) in titles
        if not is_title and not is_unsearched:
            paragraphs.append(block.text)
    return paragraphs


def _notes_with_words(leaf: SpineDocument) -> list[str]:
    notes: list[str] = []
    for text in leaf.markup.note_texts:
        # A note of a single word is its reference.
        has_words = " " in text or has_unspaced(text)
        if has_words:
            notes.append(text)
    return notes
