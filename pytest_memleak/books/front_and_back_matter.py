"""Front and back matter of an EPUB, by its own declarations, the contents, and first lines.

A document's own declaration takes precedence, then landmarks, then its title in the
table of contents or its first line. Titles such as "Acknowledgments" or "Excerpt from
..." count only at both ends of the book; elsewhere they are chapters. No title alone
excludes much prose: that takes a second sign. At both ends, text that names the book's
author again and again is about the book, and behind matter, what begins with a first
chapter is a preview of another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_memleak.books.boilerplate import find_notices, kind_of_title
from pytest_memleak.books.heading_lines import opens_book
from pytest_memleak.books.text_blocks import LONGEST_FIRST_LINE, Leaf
from pytest_memleak.books.text_decoding import letters_and_digits

# Matter of several documents, such as a sample of another book.
_RUN_ON = {"excerpt", "reading group guide"}

_SMALL = 60
_LARGE = 100
_SIGNATURE_BLOCKS = 3
_FEWEST_ENTRIES = 3
_LONGEST_INITIALS = 4

_MOST_PROSE = 400
_LARGEST_NOTICE = 10_000  # characters

_THANKS = re.compile(
    r"\b(?:thank|grateful|dank|remerci|merci\b|graci|agrade)", re.IGNORECASE
)
_NAMED_AT_LEAST = 5
_PER_THOUSAND = 2
_TIMES_THE_REST = 10
_SHORTEST_NAME = 3

# A preview is at the back, and a small part of the file.
_LARGEST_PREVIEW = 0.2
_BEHIND = 0.5
_SHORTEST_LISTED_TITLE = 6
_BACK = {
    "about the author",
    "acknowledgements",
    "also by",
    "excerpt",
    "reading group guide",
}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The rule that excludes a document.

    `by_title`: by its title alone; `searched`: passages of it are looked for, since its
    author may have written it; `kind`: of its title.
    """

    rule: str
    by_title: bool = False
    searched: bool = True
    kind: str = ""


def outer_matter(
    leaves: Sequence[Leaf],
    listed: Mapping[str, str | None],
    *,
    out: Collection[str],
    title: str | None,
    author: str | None,
) -> tuple[dict[str, Exclusion], dict[str, str]]:
    """Map documents at both ends of the book that aren't text to the rule that excludes them.

    `listed` has the kind of matter of each document in the contents, None for a
    chapter; `out` are the documents already excluded. Returns warnings, too: of prose
    that stays despite its title.
    """
    kinds = _kinds(leaves, listed, title)
    for name in _naming_author(leaves, author):
        kinds[name] = Exclusion(
            "it names the author throughout, as text by others does"
        )
    for name in _previews(
        [leaf for leaf in leaves if leaf.name not in out], kinds, listed
    ):
        kinds[name] = Exclusion("it follows other matter, like a preview")
    rules: dict[str, Exclusion] = {}
    warnings: dict[str, str] = {}
    for row in (leaves, leaves[::-1]):
        outer: list[Leaf] = []
        for leaf in row:
            if leaf.name in out or (
                leaf.name in kinds and not leaf.markup.declares_body
            ):
                outer.append(leaf)
            elif leaf.small_words > _LARGE or leaf.markup.declares_body:
                break
        # Matter between a document and the text is a second sign that it is matter.
        has_second_sign = False
        for leaf in reversed(outer):
            exclusion = kinds.get(leaf.name)
            if leaf.name in out or exclusion is None:
                has_second_sign = True
            elif (
                exclusion.by_title
                and leaf.prose_words > _MOST_PROSE
                and not has_second_sign
            ):
                warnings[leaf.name] = (
                    f"read {leaf.name!r} as text, although {exclusion.rule}: it has "
                    f"{leaf.prose_words:,} words of prose; if it isn't the book's "
                    "text, exclude it"
                )
            else:
                rules[leaf.name] = Exclusion(
                    exclusion.rule,
                    by_title=exclusion.by_title and not has_second_sign,
                    # A preview of another book is at the back.
                    searched=exclusion.searched or not has_second_sign or row is leaves,
                )
                has_second_sign = True
    return rules, warnings


def _kinds(
    leaves: Sequence[Leaf], listed: Mapping[str, str | None], title: str | None
) -> dict[str, Exclusion]:
    chapters = {leaf.name for leaf in leaves if listed.get(leaf.name, "") is None}
    first = next(
        (number for number, leaf in enumerate(leaves) if leaf.name in chapters), 0
    )
    kinds: dict[str, Exclusion] = {}
    for number, leaf in enumerate(leaves):
        if leaf.name in listed:
            kind, reason = listed[leaf.name], "the table of contents lists it as"
        else:
            kind, reason = (
                kind_of_title(leaf.first_line or ""),
                "its first line marks it as",
            )
        if kind:
            thanks = kind == "acknowledgements" and _is_often(leaf.count(_THANKS), leaf)
            kinds[leaf.name] = Exclusion(
                f"{reason} {kind!r}",
                by_title=not thanks,
                searched=kind != "excerpt",
                kind=kind,
            )
        elif _is_notice(leaf):
            kinds[leaf.name] = Exclusion("most of it is a copyright notice")
        elif leaf.name not in listed and leaf.small_words <= _SMALL:
            if _is_title_page(leaf, title):
                kinds[leaf.name] = Exclusion(
                    "it contains little more than the book's title"
                )
            elif number < first and len(chapters) >= _FEWEST_ENTRIES:
                kinds[leaf.name] = Exclusion(
                    "it comes before the first chapter and isn't in the table of "
                    "contents"
                )
    return kinds


def _is_often(count: int, leaf: Leaf) -> bool:
    return (
        count >= _NAMED_AT_LEAST and 1_000 * count >= _PER_THOUSAND * leaf.small_words
    )


def _naming_author(leaves: Sequence[Leaf], author: str | None) -> Iterator[str]:
    """Yield the documents that name the book's author often, if most of the book doesn't."""
    names = (
        name.partition(",")[0].split()[-1:] for name in (author or "").split(" and ")
    )
    families = [
        re.escape(last)
        for name in names
        for last in name
        if len(last) >= _SHORTEST_NAME
    ]
    if not families:
        return
    pattern = re.compile(rf"(?:{'|'.join(families)})\b")
    counts = {leaf.name: leaf.count(pattern) for leaf in leaves}
    sizes = {
        leaf.name: leaf.small_words
        for leaf in leaves
        if _is_often(counts[leaf.name], leaf)
    }
    if not sizes:
        return
    size = sum(leaf.small_words for leaf in leaves) - sum(sizes.values())
    count = sum(counts.values()) - sum(counts[name] for name in sizes)
    for name, own_size in sizes.items():
        often = counts[name] * size >= _TIMES_THE_REST * count * own_size
        if often and size > sum(sizes.values()):
            yield name


def _previews(
    leaves: Sequence[Leaf], kinds: Mapping[str, Exclusion], listed: Collection[str]
) -> Iterator[str]:
    """Yield documents behind back matter that begin with a first chapter or a title by the author.

    So do any behind a sample or guide, if the contents list matter there, but not them.
    """
    also_by = "".join(
        letters_and_digits(block.text)
        for leaf in leaves
        if leaf.name in kinds and kinds[leaf.name].kind == "also by"
        for block in leaf.markup.blocks
    )
    total = sum(leaf.letters for leaf in leaves)
    before, behind, is_listed = 0, "", False  # letters, the kind of the matter
    for is_text, group in groupby(leaves, key=lambda leaf: leaf.name not in kinds):
        run = list(group)
        size = sum(leaf.letters for leaf in run)
        if not is_text:
            run_kinds = [
                kinds[leaf.name].kind for leaf in run if before > _BEHIND * total
            ]
            behind = next((kind for kind in run_kinds[::-1] if kind in _BACK), "")
            is_listed = any(leaf.name in listed for leaf in run)
        elif behind and (
            (
                size <= _LARGEST_PREVIEW * total
                and any(_begins_another(leaf, also_by) for leaf in run[:2])
            )
            or (
                is_listed
                and behind in _RUN_ON
                and all(leaf.name not in listed for leaf in run)
            )
        ):
            yield from (leaf.name for leaf in run)
        before += size


def _begins_another(leaf: Leaf, also_by: str) -> bool:
    line = leaf.first_line or ""
    title = letters_and_digits(line)
    return opens_book(line) or (
        len(title) >= _SHORTEST_LISTED_TITLE and title in also_by
    )


def _is_notice(leaf: Leaf) -> bool:
    if leaf.letters > _LARGEST_NOTICE:
        return False
    texts = [block.text for block in leaf.markup.blocks]
    notices = sum(
        len(text)
        for text, is_notice in zip(texts, find_notices(texts), strict=True)
        if is_notice
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
        len(text.split()) <= LONGEST_FIRST_LINE
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
