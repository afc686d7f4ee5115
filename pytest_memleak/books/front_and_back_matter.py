"""Front and back matter of an EPUB, by declarations, contents, and first lines.

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

from pytest_memleak.books.boilerplate import find_notices, matter_kind_of_title
from pytest_memleak.books.heading_lines import heading_level, is_first_heading
from pytest_memleak.books.text_blocks import LONGEST_FIRST_LINE, SpineDocument
from pytest_memleak.books.text_decoding import letters_and_digits

# Matter of several documents, such as a sample of another book.
_RUN_ON = {"excerpt", "reading group guide"}

_SMALL = 60
_LARGE = 100
# At the front, matter may stand behind a blurb.
_LONGEST_BLURB = 400
_SIGNATURE_BLOCKS = 3
_FEWEST_ENTRIES = 3
_LONGEST_INITIALS = 4

_MOST_PROSE_BY_TITLE = 400
_LARGEST_NOTICE = 10_000  # characters

_THANKS = re.compile(
    r"\b(?:thank|grateful|dank|remerci|merci\b|graci|agrade)",
    re.IGNORECASE,
)
_NAMED_AT_LEAST = 5
_PER_THOUSAND = 2
_TIMES_THE_REST = 10
_SHORTEST_NAME = 3

# Chapters of memoirs have 38 to 52, an introduction by others 13.
_FIRST_PERSON_PER_THOUSAND = 20
_FIRST_PERSON = re.compile(r"\b(?:I|me|my|je|mon|ich|mein\w*|yo|mi|io|mio)\b")
_NUMERAL = re.compile(r"(?:[IVXLC]+|\d+)\W*")

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


@dataclass(frozen=True, slots=True)
class OuterMatter:
    """Documents at both ends of a book, by name.

    rules:    that exclude those that aren't text
    warnings: of prose that stays despite its title
    """

    rules: dict[str, Exclusion]
    warnings: dict[str, str]


def outer_matter(
    leaves: Sequence[SpineDocument],
    listed: Mapping[str, str | None],
    *,
    out: Collection[str],
    title: str | None,
    author: str | None,
) -> OuterMatter:
    """Map documents at both ends of the book that aren't text to their rules.

    `listed` has the kind of matter of each document in the contents, None for a
    chapter; `out` are the documents already excluded.
    """
    kinds = _exclusions_at_ends(leaves, listed, title)
    for name in _documents_naming_author(leaves, author):
        kinds[name] = _NAMES_AUTHOR
    left = [leaf for leaf in leaves if leaf.name not in out]
    for name in _previews_of_other_books(left, kinds, listed):
        kinds[name] = _PREVIEW
    result = OuterMatter({}, {})
    front = _outer_documents(leaves, kinds, out, blurb=_LONGEST_BLURB)
    _add_outer_rules_and_warnings(front, kinds, out, result, is_back=False)
    back = _outer_documents(leaves[::-1], kinds, out, blurb=0)
    _add_outer_rules_and_warnings(back, kinds, out, result, is_back=True)
    return result


_NAMES_AUTHOR = Exclusion("it names the author throughout, as text by others does")
_PREVIEW = Exclusion("it follows other matter, like a preview")


def _outer_documents(
    inwards: Sequence[SpineDocument],
    kinds: Mapping[str, Exclusion],
    out: Collection[str],
    *,
    blurb: int,
) -> list[SpineDocument]:
    """Return the documents from one end of the book up to its text.

    blurb: words that may stand there in larger documents before the text begins
    """
    outer: list[SpineDocument] = []
    for leaf in inwards:
        declares_body = leaf.markup.declares_body
        if leaf.name in out or (leaf.name in kinds and not declares_body):
            outer.append(leaf)
            continue
        if leaf.spaced_words > _LARGE:
            blurb -= leaf.spaced_words
        if declares_body or blurb < 0:
            break
    return outer


def _add_outer_rules_and_warnings(
    outer: Sequence[SpineDocument],
    kinds: Mapping[str, Exclusion],
    out: Collection[str],
    result: OuterMatter,
    *,
    is_back: bool,
) -> None:
    """Add the rules and warnings of documents from one end of the book."""
    # Matter between a document and the text is a second sign that it is matter.
    has_second_sign = False
    for leaf in reversed(outer):
        exclusion = kinds.get(leaf.name)
        if leaf.name in out or exclusion is None:
            has_second_sign = True
            continue
        by_title = exclusion.by_title and not has_second_sign
        if by_title and leaf.prose_words > _MOST_PROSE_BY_TITLE:
            result.warnings[leaf.name] = _kept_despite_title_warning(leaf, exclusion)
            continue
        # A preview of another book is at the back.
        is_preview = not exclusion.searched and has_second_sign and is_back
        result.rules[leaf.name] = Exclusion(
            exclusion.rule,
            by_title=by_title,
            searched=not is_preview,
        )
        has_second_sign = True


def _kept_despite_title_warning(leaf: SpineDocument, exclusion: Exclusion) -> str:
    return (
        f"read {leaf.name!r} as text, although {exclusion.rule}: it has "
        f"{leaf.prose_words:,} words of prose; if it isn't the book's text, exclude it"
    )


# --- kinds of matter
# -----------------------------------------------------------------------------

_TITLE_PAGE = Exclusion("it contains little more than the book's title")
_BEFORE_CHAPTERS = Exclusion(
    "it comes before the first chapter and isn't in the table of contents",
)


def _exclusions_at_ends(
    leaves: Sequence[SpineDocument],
    listed: Mapping[str, str | None],
    title: str | None,
) -> dict[str, Exclusion]:
    """Return the rule that excludes each document at an end of the book."""
    chapters = [leaf.name for leaf in leaves if listed.get(leaf.name, "") is None]
    has_chapters = len(chapters) >= _FEWEST_ENTRIES
    is_before = bool(chapters)
    kinds: dict[str, Exclusion] = {}
    for leaf in leaves:
        is_before = is_before and leaf.name != chapters[0]
        is_small = leaf.name not in listed and leaf.spaced_words <= _SMALL
        by_title = _exclusion_by_title(leaf, listed)
        if by_title:
            kinds[leaf.name] = by_title
        elif _is_notice(leaf):
            kinds[leaf.name] = Exclusion("most of it is a copyright notice")
        elif is_small and _is_title_page(leaf, title):
            kinds[leaf.name] = _TITLE_PAGE
        elif is_small and is_before and has_chapters:
            kinds[leaf.name] = _BEFORE_CHAPTERS
    return kinds


def _exclusion_by_title(
    leaf: SpineDocument, listed: Mapping[str, str | None]
) -> Exclusion | None:
    """Return the rule for a document's title in the contents, or its first line."""
    if leaf.name in listed:
        kind = listed[leaf.name]
        reason = "the table of contents lists it as"
    else:
        kind = matter_kind_of_title(leaf.first_line or "")
        reason = "its first line marks it as"
    if not kind:
        return None
    has_thanks = kind == "acknowledgements" and _is_frequent_in(
        leaf.count(_THANKS), leaf
    )
    return Exclusion(
        f"{reason} {kind!r}",
        by_title=not has_thanks,
        searched=kind != "excerpt",
        kind=kind,
    )


def _is_frequent_in(count: int, leaf: SpineDocument) -> bool:
    return (
        count >= _NAMED_AT_LEAST and 1_000 * count >= _PER_THOUSAND * leaf.spaced_words
    )


def _documents_naming_author(
    leaves: Sequence[SpineDocument], author: str | None
) -> Iterator[str]:
    """Yield documents that name the author often, if most of the book doesn't."""
    families = _family_names(author or "")
    if not families:
        return
    alternatives = "|".join(map(re.escape, families))
    pattern = re.compile(rf"(?:{alternatives})\b")
    counts = {leaf.name: leaf.count(pattern) for leaf in leaves}
    sizes: dict[str, int] = {}  # of documents that name the author often
    for leaf in leaves:
        if _is_frequent_in(counts[leaf.name], leaf):
            sizes[leaf.name] = leaf.spaced_words
    if not sizes:
        return
    size_of_these = sum(sizes.values())
    count_of_these = sum(counts[name] for name in sizes)
    rest_size = sum(leaf.spaced_words for leaf in leaves) - size_of_these
    rest_count = sum(counts.values()) - count_of_these
    if rest_size <= size_of_these:
        return
    chapters = {leaf.name for leaf in leaves if _is_authors_chapter(leaf)}
    for name, size in sizes.items():
        least = _TIMES_THE_REST * rest_count * size
        is_often = counts[name] * rest_size >= least
        if is_often and name not in chapters:
            yield name


def _is_authors_chapter(leaf: SpineDocument) -> bool:
    """Whether a document is a chapter by its first line, or told in the first person.

    A memoir's first chapter names its author as often as an editor's preface does.
    """
    line = leaf.first_line or ""
    if heading_level(line) or _NUMERAL.fullmatch(line):
        return True
    count = 1_000 * leaf.count(_FIRST_PERSON)
    return count >= _FIRST_PERSON_PER_THOUSAND * leaf.spaced_words


def _family_names(author: str) -> list[str]:
    """Return the last names of the authors, as in "Ann Lee and Poe, Edgar"."""
    families: list[str] = []
    for name in author.split(" and "):
        before_comma, _, _ = name.partition(",")
        parts = before_comma.split()
        if parts and len(parts[-1]) >= _SHORTEST_NAME:
            families.append(parts[-1])
    return families


def _previews_of_other_books(
    leaves: Sequence[SpineDocument],
    kinds: Mapping[str, Exclusion],
    listed: Collection[str],
) -> Iterator[str]:
    """Yield documents behind back matter that begin another book by the author.

    They begin with a first chapter, or with one of the titles listed as "also by". So
    do any behind a sample or guide, if the contents list matter there, but not them.
    """
    also_by = _titles_also_by(leaves, kinds)
    total = sum(leaf.letters for leaf in leaves)
    letters_before = 0
    behind = ""  # the kind of the last matter
    is_listed = False  # whether the contents list that matter
    for is_text, group in groupby(leaves, key=lambda leaf: leaf.name not in kinds):
        run = list(group)
        letters = sum(leaf.letters for leaf in run)
        run_is_listed = any(leaf.name in listed for leaf in run)
        if not is_text:
            is_at_back = letters_before > _BEHIND * total
            behind = _last_back_matter(run, kinds) if is_at_back else ""
            is_listed = run_is_listed
        elif behind:
            is_small = letters <= _LARGEST_PREVIEW * total
            runs_on = is_listed and behind in _RUN_ON and not run_is_listed
            if runs_on or (is_small and _begins_another_book(run, also_by)):
                yield from (leaf.name for leaf in run)
        letters_before += letters


def _titles_also_by(
    leaves: Sequence[SpineDocument], kinds: Mapping[str, Exclusion]
) -> str:
    """Return letters and digits of the author's other titles."""
    titles: list[str] = []
    for leaf in leaves:
        exclusion = kinds.get(leaf.name)
        if exclusion is None or exclusion.kind != "also by":
            continue
        for block in leaf.markup.blocks:
            titles.append(letters_and_digits(block.text))
    return "".join(titles)


def _last_back_matter(
    run: Sequence[SpineDocument], kinds: Mapping[str, Exclusion]
) -> str:
    for leaf in reversed(run):
        kind = kinds[leaf.name].kind
        if kind in _BACK:
            return kind
    return ""


def _begins_another_book(run: Sequence[SpineDocument], also_by: str) -> bool:
    """Whether one of the first two documents begins another book."""
    for leaf in run[:2]:
        line = leaf.first_line or ""
        title = letters_and_digits(line)
        is_listed = len(title) >= _SHORTEST_LISTED_TITLE and title in also_by
        if is_listed or is_first_heading(line):
            return True
    return False


def _is_notice(leaf: SpineDocument) -> bool:
    if leaf.letters > _LARGEST_NOTICE:
        return False
    texts = [block.text for block in leaf.markup.blocks]
    marked = zip(texts, find_notices(texts), strict=True)
    notices = sum(len(text) for text, is_notice in marked if is_notice)
    return notices * 2 > leaf.letters


def _is_title_page(leaf: SpineDocument, title: str | None) -> bool:
    letters = letters_and_digits(title or "")
    text = " ".join(block.text for block in leaf.markup.blocks)
    return bool(letters) and letters in letters_and_digits(text)


# --- prefaces
# -----------------------------------------------------------------------------


def is_authors_preface(
    author: str | None,
    leaf: SpineDocument,
    label: str | None,
) -> bool:
    """Whether a preface is the author's own, by its title or its signature."""
    folded = (label or "").casefold()
    if "author’s" in folded or "author's" in folded or "by the author" in folded:
        return True
    names = (author or "").replace(".", " ").split()
    if not names:
        return False
    # A date may stand in the line below, a place in the line above.
    last = leaf.markup.everything[-_SIGNATURE_BLOCKS:]
    lines = "\n".join(block.text for block in last).split("\n")
    return any(_is_signature(line, names) for line in lines)


def _is_signature(text: str, names: Sequence[str]) -> bool:
    """Whether a line is the author's name, initials, or "The Author"."""
    if len(text.split()) > LONGEST_FIRST_LINE:
        return False
    letters = letters_and_digits(text)
    initials = "".join(name[0] for name in names).casefold()
    if letters == "theauthor" or _are_initials(letters, initials):
        return True
    family_name = letters_and_digits(names[-1])
    first_letter = text.lstrip()[:1]
    return family_name in letters and first_letter.isupper()


def _are_initials(text: str, initials: str) -> bool:
    """Whether a text is the initials of a name, with or without middle names."""
    return (
        1 < len(initials) <= len(text) <= len(initials) + 2
        and text[0] == initials[0]
        and text[-1] == initials[-1]
        and len(text) <= _LONGEST_INITIALS
    )
