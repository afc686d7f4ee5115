"""Front and back matter of an EPUB, by its own declarations, the contents, and first lines.

A document's own declaration takes precedence, then landmarks, then its title in the table of
contents or its first line. Titles such as "Acknowledgments" or "Excerpt from ..." count only at
both ends of the book; elsewhere they are chapters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pytest_memleak.books.boilerplate import find_notices, kind_of_title
from pytest_memleak.books.html_blocks import Markup
from pytest_memleak.books.text_decoding import letters_and_digits

# Matter of several documents, such as a sample of another book.
RUN_ON = {"excerpt", "reading group guide"}

_SMALL = 60
_LARGE = 100
_LONGEST_FIRST_LINE = 15
_SIGNATURE_BLOCKS = 3
_FEWEST_ENTRIES = 3
_LONGEST_INITIALS = 4


@dataclass(frozen=True, slots=True)
class Leaf:
    """A document of the spine: its name and content.

    `role` is "navigation" or "not linear" if the package declares that it isn't text.
    """

    name: str
    markup: Markup
    role: str = ""

    @property
    def letters(self) -> int:
        """Number of characters of its text."""
        return sum(len(block.text) for block in self.markup.blocks)

    @property
    def small_words(self) -> int:
        """Number of its words between spaces, headings included."""
        return sum(len(block.text.split()) for block in self.markup.blocks)

    @property
    def first_line(self) -> str | None:
        """Its first block, if that is a heading or a few words."""
        for block in self.markup.blocks[:1]:
            if block.level or len(block.text.split()) <= _LONGEST_FIRST_LINE:
                return block.text
        return None


def outer_matter(
    leaves: Sequence[Leaf],
    listed: Mapping[str, str | None],
    *,
    out: Collection[str],
    title: str | None,
) -> dict[str, str]:
    """Map documents at both ends of the book that aren't text to the rule that excludes them.

    `listed` has the kind of matter of each document in the contents, None for a chapter; `out`
    are the documents already excluded.
    """
    kinds = _kinds(leaves, listed, title)
    rules: dict[str, str] = {}
    for row in (leaves, leaves[::-1]):
        for leaf in row:
            if leaf.name in out:
                continue
            if leaf.name in kinds and not leaf.markup.declares_body:
                rules[leaf.name] = kinds[leaf.name]
            elif leaf.small_words > _LARGE or leaf.markup.declares_body:
                break
    return rules


def _kinds(
    leaves: Sequence[Leaf], listed: Mapping[str, str | None], title: str | None
) -> dict[str, str]:
    names = {leaf.name for leaf in leaves}
    chapters = {name for name, kind in listed.items() if name in names and kind is None}
    places = [n for n, leaf in enumerate(leaves) if leaf.name in chapters] or [0]
    first, last = places[0], places[-1]
    kinds: dict[str, str] = {}
    running = None
    behind = False  # at the last listed chapter or after it
    for number, leaf in enumerate(leaves):
        if leaf.name in listed:
            running = listed[leaf.name] if listed[leaf.name] in RUN_ON else None
            kind = listed[leaf.name]
            reason = "the table of contents lists it as"
            behind = number > last and len(chapters) >= _FEWEST_ENTRIES
        else:
            kind = running or kind_of_title(leaf.first_line or "")
            reason = "its first line marks it as"
            if running:
                reason = "it isn't in the table of contents and follows"
            running = running or (kind if behind and kind in RUN_ON else None)
        if kind:
            kinds[leaf.name] = f"{reason} {kind!r}"
        elif _is_notice(leaf):
            kinds[leaf.name] = "most of it is a copyright notice"
        elif leaf.name not in listed and leaf.small_words <= _SMALL:
            if _is_title_page(leaf, title):
                kinds[leaf.name] = "it contains little more than the book's title"
            elif number < first and len(chapters) >= _FEWEST_ENTRIES:
                kinds[leaf.name] = (
                    "it comes before the first chapter and isn't in the table of contents"
                )
    return kinds


def _is_notice(leaf: Leaf) -> bool:
    texts = [block.text for block in leaf.markup.blocks]
    notices = sum(
        len(text) for text, is_notice in zip(texts, find_notices(texts), strict=True) if is_notice
    )
    return notices * 2 > sum(map(len, texts))


def _is_title_page(leaf: Leaf, title: str | None) -> bool:
    letters = letters_and_digits(title or "")
    return bool(letters) and letters in letters_and_digits(
        " ".join(b.text for b in leaf.markup.blocks)
    )


def is_authors_preface(author: str | None, leaf: Leaf, label: str | None) -> bool:
    """Whether a preface is the author's own, by its title or its signature."""
    folded = (label or "").casefold()
    if "author’s" in folded or "author's" in folded or "by the author" in folded:
        return True
    parts = [part for part in (author or "").replace(".", " ").split() if part]
    if not parts:
        return False
    initials = "".join(part[0] for part in parts).casefold()
    last = [block.text for block in leaf.markup.everything[-_SIGNATURE_BLOCKS:]]
    return any(
        len(text.split()) <= _LONGEST_FIRST_LINE
        and (
            letters_and_digits(text) == "theauthor"
            or _are_initials(letters_and_digits(text), initials)
            or (
                letters_and_digits(parts[-1]) in letters_and_digits(text)
                and text.split()[0][:1].isupper()
            )
        )
        for text in last
    )


def _are_initials(text: str, initials: str) -> bool:
    """Whether a text is the initials of a name, with or without middle names."""
    return (
        1 < len(initials) <= len(text) <= len(initials) + 2
        and text[0] == initials[0]
        and text[-1] == initials[-1]
        and len(text) <= _LONGEST_INITIALS
    )
