"""Meaning of `epub:type` and `role`: whether a part of a book is text or matter around it.

Terms come from the EPUB 3 Structural Semantics Vocabulary and DPUB-ARIA (without `doc-`).
Prologues and epilogues are text. Publishers' matter and authors' notes about the text are not,
unless they are declared as text.
"""

from __future__ import annotations

from collections.abc import Iterable

EPUB_TYPE = ("{http://www.idpf.org/2007/ops}type", "epub:type")


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Dropped anywhere.
APPARATUS = _names(
    "noteref annoref backlink pagebreak footnote footnotes endnote endnotes rearnote rearnotes note"
    " page-list pagelist"
)

# Text.
BODY = _names("bodymatter volume part chapter subchapter division prologue epilogue")

# Text even within front or back matter.
_ALWAYS_BODY = _names("bodymatter prologue epilogue")

# Matter anywhere.
_AROUND = _names(
    "frontmatter backmatter rearmatter cover titlepage halftitlepage title-page copyright-page"
    " seriespage imprint imprimatur toc toc-brief landmarks loa loi lot lov index glossary"
    " bibliography colophon credit credits other-credits contributors keywords errata"
    " revision-history"
)

_GENERAL = frozenset({"frontmatter", "backmatter", "rearmatter"})

# Matter, except within declared text.
_AROUND_UNLESS_IN_BODY = _names(
    "acknowledgments acknowledgements dedication foreword preface afterword appendix"
)


def terms(*values: str | None) -> frozenset[str]:
    """Return the terms in values of `epub:type` and `role`, lower-cased, without `doc-`."""
    return frozenset(
        term.removeprefix("doc-") for value in values if value for term in value.lower().split()
    )


def is_matter(declared: Iterable[str], *, within: bool | None) -> bool | None:
    """Whether a part with these terms is front or back matter (True) or text (False).

    `within` is the same for the enclosing part, None if undeclared; it applies where these terms
    are neutral.
    """
    declared = frozenset(declared)
    if declared & _ALWAYS_BODY:
        return False
    if declared & _AROUND:
        return True
    if declared & _AROUND_UNLESS_IN_BODY:
        return within is not False
    if declared & BODY and within is None:
        return False
    return within


def kind_of_matter(declared: Iterable[str], within: str = "") -> str:
    """Return the most specific term for a part of matter; `within` is the enclosing part's."""
    declared = frozenset(declared)
    particular = sorted(declared & (_AROUND | _AROUND_UNLESS_IN_BODY) - _GENERAL)
    general = [within] if within else sorted(declared & _GENERAL)
    return next(iter([*particular, *general]), "matter")
