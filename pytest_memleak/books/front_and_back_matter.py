"""Which documents of an EPUB are its text, and which stand around it.

What a document says of itself comes first, then landmarks, then what the table of contents or
its first line calls it. Titles such as "Acknowledgements" or "Excerpt from ..." count only from
the book's ends inwards: in its midst they are chapters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pytest_memleak.books.boilerplate import boilerplate, matter_of_title
from pytest_memleak.books.html_blocks import Markup
from pytest_memleak.books.table_of_contents import Entry

# Whole books that follow another, as samples do.
_RUN_ON = {"excerpt", "reading group guide"}

_SMALL = 60
_LARGE = 100
_LONGEST_FIRST_LINE = 15
_SIGNATURE_BLOCKS = 3
_FEWEST_ENTRIES = 3
_LONGEST_INITIALS = 4


@dataclass(frozen=True, slots=True)
class Leaf:
    """A document of the spine: its name and what is in it.

    `role` is "navigation" or "not linear" where the package says that it is none of the text.
    """

    name: str
    markup: Markup
    role: str = ""

    @property
    def letters(self) -> int:
        """The characters of its text."""
        return sum(len(block.text) for block in self.markup.blocks)

    @property
    def small_words(self) -> int:
        """Its words between spaces, headings among them."""
        return sum(len(block.text.split()) for block in self.markup.blocks)

    @property
    def first_line(self) -> str | None:
        """Its first heading or first few words, if it begins with some."""
        for block in self.markup.blocks[:1]:
            if block.level or len(block.text.split()) <= _LONGEST_FIRST_LINE:
                return block.text
        return None


def matching(names: Sequence[str], patterns: Iterable[str]) -> tuple[set[str], list[str]]:
    """The names that any of the patterns (`*`, `?`) fits, and the patterns that fit none.

    A pattern is about the whole name in the archive or the file's own name.
    """
    matched: set[str] = set()
    idle: list[str] = []
    for pattern in patterns:
        fits = {
            name
            for name in names
            if fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)
        }
        matched |= fits
        idle += [] if fits else [pattern]
    return matched, idle


def outer_matter(
    leaves: Sequence[Leaf], entries: Sequence[Entry], *, out: Collection[str], title: str | None
) -> dict[str, str]:
    """The rules by which documents at both ends of the book are none of its text, by name.

    `out` are those that are known not to be text.
    """
    kinds = _kinds(leaves, entries, title)
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


def _kinds(leaves: Sequence[Leaf], entries: Sequence[Entry], title: str | None) -> dict[str, str]:
    listed = _listed(entries)
    names = {leaf.name for leaf in leaves}
    chapters = {name for name, kind in listed.items() if name in names and kind is None}
    places = [n for n, leaf in enumerate(leaves) if leaf.name in chapters] or [0]
    first, last = places[0], places[-1]
    kinds: dict[str, str] = {}
    running = None
    behind = False  # the last chapter, and what the contents list behind it
    for number, leaf in enumerate(leaves):
        if leaf.name in listed:
            running = listed[leaf.name] if listed[leaf.name] in _RUN_ON else None
            kind = listed[leaf.name]
            reason = "the contents call it"
            behind = number > last and len(chapters) >= _FEWEST_ENTRIES
        else:
            kind = running or matter_of_title(leaf.first_line or "")
            reason = "it begins as" if not running else "it follows, unlisted,"
            running = running or (kind if behind and kind in _RUN_ON else None)
        if kind:
            kinds[leaf.name] = f"{reason} {kind!r}"
        elif _is_notice(leaf):
            kinds[leaf.name] = "most of it is a copyright notice"
        elif leaf.name not in listed and leaf.small_words <= _SMALL:
            if _is_title_page(leaf, title):
                kinds[leaf.name] = "it holds the book's title and little else"
            elif number < first and len(chapters) >= _FEWEST_ENTRIES:
                kinds[leaf.name] = "a page before the first chapter that the contents do not list"
    return kinds


def _listed(entries: Sequence[Entry]) -> dict[str, str | None]:
    """Per document of the contents what its first title says it is, None for a chapter.

    What is listed beneath a sample of another book belongs to it.
    """
    listed: dict[str, str | None] = {}
    above: list[tuple[int, str | None]] = []
    for entry in entries:
        while above and above[-1][0] >= entry.depth:
            above.pop()
        kind = matter_of_title(entry.title)
        if above and above[-1][1] in _RUN_ON:
            kind = above[-1][1]
        above.append((entry.depth, kind))
        listed.setdefault(entry.document, kind)
    return listed


def _is_notice(leaf: Leaf) -> bool:
    texts = [block.text for block in leaf.markup.blocks]
    notices = sum(
        len(text) for text, is_notice in zip(texts, boilerplate(texts), strict=True) if is_notice
    )
    return notices * 2 > sum(map(len, texts))


def _is_title_page(leaf: Leaf, title: str | None) -> bool:
    letters = _letters(title or "")
    return bool(letters) and letters in _letters(" ".join(b.text for b in leaf.markup.blocks))


def preface_by(author: str | None, leaf: Leaf, label: str | None) -> bool:
    """Whether a preface is the author's own: it says so, or the author's name is under it."""
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
            _letters(text) == "theauthor"
            or _are_initials(_letters(text), initials)
            or (_letters(parts[-1]) in _letters(text) and text.split()[0][:1].isupper())
        )
        for text in last
    )


def _are_initials(text: str, initials: str) -> bool:
    """Whether these are someone's initials, those of middle names among them or not."""
    return (
        1 < len(initials) <= len(text) <= len(initials) + 2
        and text[0] == initials[0]
        and text[-1] == initials[-1]
        and len(text) <= _LONGEST_INITIALS
    )


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
