"""Documents divided into sections at matter, and notes found by their links."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from pytest_memleak.books.boilerplate import matter_kind_of_title
from pytest_memleak.books.text_blocks import Entry, SpineDocument, TextBlock, locate

_NOTES = "notes"
_DEEPEST = 6
_SECTION = " § "

# A document's name, and an id in it.
_Place = tuple[str, str]


def with_linked_notes(leaves: Sequence[SpineDocument]) -> list[SpineDocument]:
    """Mark blocks that the text refers to and that link back to it as notes."""
    targets = _referred_places(leaves)
    marked: list[SpineDocument] = []
    for leaf in leaves:
        notes = _linked_notes(leaf, targets)
        blocks = _with_notes(leaf.markup.everything, notes)
        markup = replace(leaf.markup, everything=blocks)
        marked.append(replace(leaf, markup=markup))
    return marked


def _referred_places(leaves: Sequence[SpineDocument]) -> set[_Place]:
    """Return the places to which note references in the text lead."""
    places: set[_Place] = set()
    for leaf in leaves:
        for address in leaf.markup.references:
            places.add(locate(address, leaf.name))
    return places


def _linked_notes(leaf: SpineDocument, targets: Collection[_Place]) -> set[int]:
    """Return the numbers of a document's blocks that are notes."""
    blocks = leaf.markup.everything
    notes: set[int] = set()
    for number, places in leaf.markup.back_linked.items():
        if any((leaf.name, place) in targets for place in places):
            notes.add(number)
    if notes and _are_only_notes(notes, blocks):
        every_number = range(len(blocks))
        notes.update(every_number)
    return notes


def _are_only_notes(notes: Collection[int], blocks: Sequence[TextBlock]) -> bool:
    """Whether nothing but notes, titles and matter is in these blocks."""
    for number, block in enumerate(blocks):
        is_text = not block.level and not block.matter
        if is_text and number not in notes:
            return False
    return True


def _with_notes(
    blocks: Sequence[TextBlock],
    notes: Collection[int],
) -> tuple[TextBlock, ...]:
    marked = list(blocks)
    for number in notes:
        block = blocks[number]
        if not block.matter:
            marked[number] = replace(block, matter=_NOTES)
    return tuple(marked)


def divide(
    leaves: Sequence[SpineDocument],
    links: Sequence[Entry],
    *,
    out: Collection[str],
) -> tuple[list[SpineDocument], list[Entry]]:
    """Divide documents that aren't `out` at titles of matter, and where text resumes.

    A section is a document of its own, called "chapter.xhtml § 2". Returns the links to
    sections.
    """
    by_document: dict[str, list[Entry]] = {}
    for link in links:
        by_document.setdefault(link.document, []).append(link)
    sections: list[SpineDocument] = []
    divided: dict[str, tuple[SpineDocument, list[int]]] = {}
    for leaf in leaves:
        own_links = by_document.get(leaf.name, ())
        further_starts = list(_section_starts(leaf, own_links))
        if leaf.name in out or not further_starts:
            sections.append(leaf)
            continue
        starts = [0, *further_starts]
        divided[leaf.name] = leaf, starts
        sections += _sections(leaf, starts)
    moved: list[Entry] = []
    for link in links:
        if link.document in divided:
            leaf, starts = divided[link.document]
            moved.append(_link_to_section(link, leaf, starts))
        else:
            moved.append(link)
    return sections, moved


def _section_starts(leaf: SpineDocument, links: Sequence[Entry]) -> Iterator[int]:
    """Yield the numbers of the blocks at which a section after the first begins."""
    blocks = leaf.markup.everything
    level_of_matter = 0
    titles = _titles(leaf, links)
    for number in sorted(titles):
        title, level = titles[number]
        if number < len(blocks) and blocks[number].matter:
            continue
        if matter_kind_of_title(title) is not None:
            level_of_matter = level
        elif level_of_matter >= level:
            level_of_matter = 0
        else:
            continue
        if number:
            yield number


def _titles(leaf: SpineDocument, links: Sequence[Entry]) -> dict[int, tuple[str, int]]:
    """Return titles and their levels, of headings or else links, by number of block."""
    titles: dict[int, tuple[str, int]] = {}
    for number, block in enumerate(leaf.markup.everything):
        if block.level:
            titles[number] = (block.text, block.level)
    for link in links:
        linked = leaf.markup.places.get(link.place)
        if linked is not None:
            titles.setdefault(linked, (link.title, _DEEPEST))
    return titles


def _sections(leaf: SpineDocument, starts: Sequence[int]) -> Iterator[SpineDocument]:
    blocks = leaf.markup.everything
    places: list[dict[str, int]] = [{} for _ in starts]
    for place, at in leaf.markup.places.items():
        number = _section_at(at, starts)
        places[number][place] = at - starts[number]
    bounds = [*starts, len(blocks)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        markup = replace(
            leaf.markup,
            everything=blocks[start:end],
            places=places[number],
        )
        if number:
            # What is known of the whole document counts once.
            markup = replace(
                markup,
                declares_body=False,
                linked=0.0,
                links=0,
                note_texts=(),
            )
        yield SpineDocument(
            name=_section_name(leaf, number),
            markup=markup,
            role=leaf.role,
        )


def _section_at(block: int, starts: Sequence[int]) -> int:
    return bisect_right(starts, block) - 1


def _link_to_section(
    link: Entry,
    leaf: SpineDocument,
    starts: Sequence[int],
) -> Entry:
    block = leaf.markup.places.get(link.place, 0)
    section = _section_name(leaf, _section_at(block, starts))
    return replace(link, document=section)


def _section_name(leaf: SpineDocument, number: int) -> str:
    if not number:
        return leaf.name
    return f"{leaf.name}{_SECTION}{number + 1}"


def file_name(name: str) -> str:
    """Return the name of a section's document."""
    return name.partition(_SECTION)[0]
