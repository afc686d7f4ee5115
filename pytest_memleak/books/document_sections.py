"""Documents divided into sections where matter begins or ends, and notes found by their links."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from pytest_memleak.books.boilerplate import kind_of_title
from pytest_memleak.books.text_blocks import Entry, Leaf, locate

_NOTES = "notes"
_DEEPEST = 6
_SECTION = " § "


def with_linked_notes(leaves: Sequence[Leaf]) -> list[Leaf]:
    """Mark blocks that the text refers to and that link back to it as notes."""
    targets = {
        locate(address, leaf.name)
        for leaf in leaves
        for address in leaf.markup.references
    }
    marked: list[Leaf] = []
    for leaf in leaves:
        blocks = leaf.markup.everything
        notes = {
            number
            for number, places in leaf.markup.back_linked.items()
            if any((leaf.name, place) in targets for place in places)
        }
        if notes and all(
            block.level or block.matter or number in notes
            for number, block in enumerate(blocks)
        ):
            notes = set(range(len(blocks)))
        everything = tuple(
            replace(block, matter=_NOTES)
            if number in notes and not block.matter
            else block
            for number, block in enumerate(blocks)
        )
        marked.append(replace(leaf, markup=replace(leaf.markup, everything=everything)))
    return marked


def divide(
    leaves: Sequence[Leaf], links: Sequence[Entry], *, out: Collection[str]
) -> tuple[list[Leaf], list[Entry]]:
    """Divide documents that aren't `out` at titles of matter, and where text begins again.

    A section is a document of its own, called "chapter.xhtml § 2". Returns the links to
    sections.
    """
    by_document: dict[str, list[Entry]] = {}
    for link in links:
        by_document.setdefault(link.document, []).append(link)
    sections: list[Leaf] = []
    divided: dict[str, tuple[Leaf, list[int]]] = {}
    for leaf in leaves:
        starts = [0, *_starts(leaf, by_document.get(leaf.name, ()))]
        if leaf.name in out or not starts[1:]:
            sections.append(leaf)
        else:
            divided[leaf.name] = leaf, starts
            sections += _sections(leaf, starts)
    moved = [
        _moved(link, *divided[link.document]) if link.document in divided else link
        for link in links
    ]
    return sections, moved


def _starts(leaf: Leaf, links: Sequence[Entry]) -> Iterator[int]:
    """Yield the numbers of the blocks at which a section after the first begins."""
    blocks = leaf.markup.everything
    titles = {
        n: (block.text, block.level) for n, block in enumerate(blocks) if block.level
    }
    for link in links:
        if (number := leaf.markup.places.get(link.place)) is not None:
            titles.setdefault(number, (link.title, _DEEPEST))
    within = 0  # the level of the title of the matter
    for number, (title, level) in sorted(titles.items()):
        if number < len(blocks) and blocks[number].matter:
            continue
        is_matter = kind_of_title(title) is not None
        if is_matter or within >= level:
            within = level if is_matter else 0
            if number:
                yield number


def _sections(leaf: Leaf, starts: Sequence[int]) -> Iterator[Leaf]:
    blocks = leaf.markup.everything
    places: list[dict[str, int]] = [{} for _ in starts]
    for place, at in leaf.markup.places.items():
        number = bisect_right(starts, at) - 1
        places[number][place] = at - starts[number]
    for number, (start, end) in enumerate(pairwise([*starts, len(blocks)])):
        markup = replace(
            leaf.markup, everything=blocks[start:end], places=places[number]
        )
        if number:
            markup = replace(
                markup, declares_body=False, linked=0.0, links=0, note_texts=()
            )
        yield Leaf(_section_name(leaf, number), markup, leaf.role)


def _moved(link: Entry, leaf: Leaf, starts: Sequence[int]) -> Entry:
    number = bisect_right(starts, leaf.markup.places.get(link.place, 0)) - 1
    return replace(link, document=_section_name(leaf, number))


def _section_name(leaf: Leaf, number: int) -> str:
    return f"{leaf.name}{_SECTION}{number + 1}" if number else leaf.name


def file_name(name: str) -> str:
    """Return the name of a section's document."""
    return name.partition(_SECTION)[0]
