"""Front and back matter of an EPUB, by its own declarations, the contents, and first lines.

A document's own declaration takes precedence, then landmarks, then its title in the table of
contents or its first line. Titles such as "Acknowledgments" or "Excerpt from ..." count only at
both ends of the book; elsewhere they are chapters. No title alone excludes much prose: that takes a
second sign.
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

_MOST_PROSE = 400
_FEWEST_OF_PROSE = 15
_ENDS_SENTENCE = tuple(".!?…”’\"'»)")


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The rule that excludes a document.

    `by_title`: by its title alone; `searched`: passages of it are looked for, since its author may
    have written it.
    """

    rule: str
    by_title: bool = False
    searched: bool = True


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
    def prose_words(self) -> int:
        """Number of words in its paragraphs of whole sentences.

        Notes aren't prose: they begin with their numbers, or every other one has a link.
        """
        if 2 * self.markup.links > len(self.markup.blocks):
            return 0
        counts = (
            len(block.text.split())
            for block in self.markup.blocks
            if not block.level
            and not block.text[0].isdigit()
            and block.text.endswith(_ENDS_SENTENCE)
        )
        return sum(count for count in counts if count >= _FEWEST_OF_PROSE)

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
) -> tuple[dict[str, Exclusion], dict[str, str]]:
    """Map documents at both ends of the book that aren't text to the rule that excludes them.

    `listed` has the kind of matter of each document in the contents, None for a chapter; `out`
    are the documents already excluded. Returns warnings, too: of prose that stays despite its
    title.
    """
    kinds = _kinds(leaves, listed, title)
    rules: dict[str, Exclusion] = {}
    warnings: dict[str, str] = {}
    for row in (leaves, leaves[::-1]):
        outer: list[Leaf] = []
        for leaf in row:
            if leaf.name in out or (leaf.name in kinds and not leaf.markup.declares_body):
                outer.append(leaf)
            elif leaf.small_words > _LARGE or leaf.markup.declares_body:
                break
        # Matter between a document and the text is a second sign that it is matter.
        has_second_sign = False
        for leaf in reversed(outer):
            exclusion = kinds.get(leaf.name)
            if leaf.name in out or exclusion is None:
                has_second_sign = True
            elif exclusion.by_title and leaf.prose_words > _MOST_PROSE and not has_second_sign:
                warnings[leaf.name] = (
                    f"read {leaf.name!r} as text, although {exclusion.rule}: it has "
                    f"{leaf.prose_words:,} words of prose; if it isn't the book's text, exclude it"
                )
            else:
                rules[leaf.name] = Exclusion(
                    exclusion.rule,
                    by_title=exclusion.by_title and not has_second_sign,
                    searched=exclusion.searched or not has_second_sign,
                )
                has_second_sign = True
    return rules, warnings


def _kinds(
    leaves: Sequence[Leaf], listed: Mapping[str, str | None], title: str | None
) -> dict[str, Exclusion]:
    names = {leaf.name for leaf in leaves}
    chapters = {name for name, kind in listed.items() if name in names and kind is None}
    places = [n for n, leaf in enumerate(leaves) if leaf.name in chapters] or [0]
    first, last = places[0], places[-1]
    kinds: dict[str, Exclusion] = {}
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
            kinds[leaf.name] = Exclusion(
                f"{reason} {kind!r}", by_title=True, searched=kind != "excerpt"
            )
        elif _is_notice(leaf):
            kinds[leaf.name] = Exclusion("most of it is a copyright notice")
        elif leaf.name not in listed and leaf.small_words <= _SMALL:
            if _is_title_page(leaf, title):
                kinds[leaf.name] = Exclusion("it contains little more than the book's title")
            elif number < first and len(chapters) >= _FEWEST_ENTRIES:
                kinds[leaf.name] = Exclusion(
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
