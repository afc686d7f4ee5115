"""What attributes of HTML elements say: blocks, page numbers, notes, kinds of matter.

A class counts as a block, such as a line of verse, only if a rule outside `@media` ends
in it and neither floats nor positions it: a drop cap is displayed as a block but
belongs to its word. A class is hidden only by a rule of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_MOST_CHARACTERS = 2 << 20
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_AT_RULE = re.compile(r"@[^@{};]*+(?:;|\{[^@{}]*+(?:\{[^{}]*+\}[^@{}]*+)*+\}?)")
_RULE = re.compile(r"(?<![^{}])([^{}]*+)\{([^{}]*+)\}")
_LAST_CLASS = re.compile(
    r"(?:^|[\s>+~])(?:span|a|i|b|em|strong|q|small|cite)?\.([\w-]{1,100})\Z",
)
_ONLY_CLASS = re.compile(r"\w{0,20}\.([\w-]{1,100})")
_LONGEST_SELECTOR = 200
AS_BLOCK = re.compile(r"display\s*:\s*(?:block|list-item|table\b)", re.IGNORECASE)
HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_DISPLAYED = re.compile(r"display\s*:|visibility\s*:", re.IGNORECASE)
_MOVED = re.compile(
    r"float\s*:\s*(?:left|right)|position\s*:\s*(?:absolute|fixed)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ClassStyles:
    """Classes that style sheets display as blocks, and hidden ones, as in "p.note"."""

    blocks: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()


def class_styles(
    sheets: Iterable[str],
    before: ClassStyles | None = None,
) -> ClassStyles:
    """Return the classes that style sheets after those of `before` show so."""
    before = before or ClassStyles()
    blocks = set(before.blocks)
    hidden: dict[str, set[str]] = {}  # selectors by class
    for name in before.hidden:
        kind = name.rpartition(".")[2]
        hidden.setdefault(kind, set()).add(name)
    for sheet in sheets:
        without_comments = _COMMENT.sub("", sheet[:_MOST_CHARACTERS])
        rules = _AT_RULE.sub("", without_comments)
        for selectors, declarations in _RULE.findall(rules):
            if not _DISPLAYED.search(declarations):
                continue
            as_block = AS_BLOCK.search(declarations) and not _MOVED.search(declarations)
            hides = HIDDEN.search(declarations)
            for selector in selectors.split(","):
                name = selector.strip()[-_LONGEST_SELECTOR:]
                last_class = _LAST_CLASS.search(name)
                if as_block and last_class:
                    blocks.add(last_class[1].lower())
                only_class = _ONLY_CLASS.fullmatch(name)
                if only_class is None:
                    continue
                kind = only_class[1].lower()
                if hides:
                    hidden.setdefault(kind, set()).add(name.lower())
                else:
                    hidden.pop(kind, None)
    every_hidden = frozenset().union(*hidden.values())
    return ClassStyles(frozenset(blocks), every_hidden)


# --- page numbers and note references
# -----------------------------------------------------


def word_set(listed: str) -> frozenset[str]:
    """Return the set of the words in a text."""
    return frozenset(listed.split())


_PAGE_NUMBER_CLASSES = word_set(
    "page pageno page-no page_no pagenum page-num pagenumber page-number page_number "
    "pagebreak page-break pgno pgnum pb folio x-ebookmaker-pageno",
)
_NOTE_REFERENCE_CLASSES = word_set(
    "noteref note-ref note_ref fnref fn-ref footnote-ref footnoteref footnote_ref "
    "endnote-ref endnoteref fnanchor fn-anchor note-anchor footnote-reference",
)

# These patterns read text without spaces, at most this long, so that matching stays
# fast.
LONGEST_MARK = 60
_PAGE_NUMBER = re.compile(
    r"(?:pp?g?|page|seite)?(?:\d{1,5}|[ivxlcdm]{1,9})?",
    re.IGNORECASE,
)
_NOTE_MARK = re.compile(
    r"[\[({]?(?:(?i:(?:foot|end)?note)?\d{1,4}|[A-Za-z]{1,2}|[^\w\s]{1,4})[\])}]?",
)
_BACK = tuple("↩↑←⤴⏎^")
_PAGE_ID = re.compile(
    r"(?:page|pg|p|pagenum|page-?break)[-_.]?0*(\d{1,5})",
    re.IGNORECASE,
)
_NOTE_ID = re.compile(
    r"_?(?:(?:foot|end)?note|f?note|e?fn|ftn|edn)(?:ref)?[-_.:]?\d{1,5}",
    re.IGNORECASE,
)


def note_reference_test(
    attributes: Mapping[str, str],
) -> Callable[[str, bool], bool] | None:
    """Return a test for whether a link leads to a note; None for links out of the book.

    The test takes the link's text, without spaces, and whether it is raised.
    """
    address = attributes.get("href") or ""
    _, hash_mark, place = address.rpartition("#")
    if not hash_mark:
        return None
    class_names = _class_names(attributes)
    has_class = not _NOTE_REFERENCE_CLASSES.isdisjoint(class_names)
    has_id = len(place) <= LONGEST_MARK and _NOTE_ID.fullmatch(place) is not None
    is_named = has_class or has_id

    def is_reference(text: str, raised: bool) -> bool:
        is_opened = text[:1] in {"[", "(", "{"}
        is_closed = text[-1:] in {"]", ")", "}"}
        is_bracketed = is_opened and is_closed
        if not raised and not is_bracketed and not is_named:
            return False
        return _NOTE_MARK.fullmatch(text) is not None

    return is_reference


def is_back_link(text: str, *, at_start: bool) -> bool:
    """Whether a link with this text leads back from a note."""
    if text[:1] in _BACK:
        return True
    return at_start and _NOTE_MARK.fullmatch(text.rstrip(".:")) is not None


def page_number(attributes: Mapping[str, str]) -> Callable[[str], bool] | None:
    """Return a test for whether text without spaces is a page number, or None."""
    if not _PAGE_NUMBER_CLASSES.isdisjoint(_class_names(attributes)):
        return _is_page_number
    name = attributes.get("id") or attributes.get("name") or ""
    if len(name) > LONGEST_MARK:
        return None
    match = _PAGE_ID.fullmatch(name)
    if match is None:
        return None
    page = match[1]

    def is_this_page(text: str) -> bool:
        return text.strip("[](){}.") == page

    return is_this_page


def _is_page_number(text: str) -> bool:
    letters = "".join(filter(str.isalnum, text))
    return _PAGE_NUMBER.fullmatch(letters) is not None


def _class_names(attributes: Mapping[str, str]) -> list[str]:
    names = attributes.get("class") or ""
    return names.lower().split()


# --- epub:type and role
# -------------------------------------------------------------------

# Terms come from the EPUB 3 Structural Semantics Vocabulary and DPUB-ARIA (without
# `doc-`). Prologues and epilogues are text. Publishers' matter and authors' notes about
# the text are not, unless they are declared as text.
EPUB_TYPE = ("{http://www.idpf.org/2007/ops}type", "epub:type")

# Dropped anywhere.
APPARATUS = word_set(
    "noteref annoref backlink pagebreak footnote footnotes endnote endnotes rearnote "
    "rearnotes note page-list pagelist",
)

# Text.
BODY = word_set("bodymatter volume part chapter subchapter division prologue epilogue")

# Text even within front or back matter.
_ALWAYS_BODY = word_set("bodymatter prologue epilogue")

# Matter anywhere.
_AROUND = word_set(
    "frontmatter backmatter rearmatter cover titlepage halftitlepage title-page "
    "copyright-page seriespage imprint imprimatur toc toc-brief landmarks loa loi lot "
    "lov index glossary bibliography colophon credit credits other-credits "
    "contributors keywords errata revision-history",
)

# Publishers' text.
BY_OTHERS = word_set("copyright-page imprint imprimatur colophon")

_GENERAL = frozenset({"frontmatter", "backmatter", "rearmatter"})

# Matter, except within declared text.
_AROUND_UNLESS_IN_BODY = word_set(
    "acknowledgments acknowledgements dedication foreword preface afterword appendix",
)


def terms(*values: str | None) -> frozenset[str]:
    """Return the terms of `epub:type` and `role`, in lower case, without `doc-`."""
    joined = " ".join(filter(None, values))
    listed = joined.lower().split()
    return frozenset(term.removeprefix("doc-") for term in listed)


def is_matter(declared: frozenset[str], *, within: bool | None) -> bool | None:
    """Whether a part with these terms is front or back matter (True) or text (False).

    `within` is the same for the enclosing part, None if undeclared; it applies where
    these terms are neutral.
    """
    if declared & _ALWAYS_BODY:
        return False
    if declared & _AROUND:
        return True
    if declared & _AROUND_UNLESS_IN_BODY:
        return within is not False
    if declared & BODY and within is None:
        return False
    return within


def kind_of_matter(declared: frozenset[str], within: str = "") -> str:
    """Return the most specific term for a part of matter within another, if any."""
    particular = sorted(declared & (_AROUND | _AROUND_UNLESS_IN_BODY) - _GENERAL)
    general = [within] if within else sorted(declared & _GENERAL)
    return next(iter([*particular, *general]), "matter")
