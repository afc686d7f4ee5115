"""What `epub:type` and `role` say about a part of a book: its text, or what stands around it.

The terms are those of the EPUB 3 Structural Semantics Vocabulary and of DPUB-ARIA (whose
`doc-` is taken off). Authors' prologues and epilogues are text; what publishers put around a
text, and what its author says about it, is not, unless it is declared to be.
"""

from __future__ import annotations

from collections.abc import Iterable

EPUB_TYPE = ("{http://www.idpf.org/2007/ops}type", "epub:type")


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Elements that go wherever they stand.
APPARATUS = _names(
    "noteref annoref backlink pagebreak footnote footnotes endnote endnotes rearnote rearnotes note"
    " page-list pagelist"
)

# Declares the text itself.
BODY = _names("bodymatter volume part chapter subchapter division prologue epilogue")

# Narrative, even where it stands among front or back matter.
_ALWAYS_BODY = _names("bodymatter prologue epilogue")

# Around the text, wherever it stands.
_AROUND = _names(
    "frontmatter backmatter rearmatter cover titlepage halftitlepage title-page copyright-page"
    " seriespage imprint imprimatur toc toc-brief landmarks loa loi lot lov index glossary"
    " bibliography colophon credit credits other-credits contributors keywords errata"
    " revision-history"
)

_GENERAL = frozenset({"frontmatter", "backmatter", "rearmatter"})

# Around the text, unless it stands within what declares itself text.
_AROUND_UNLESS_IN_BODY = _names(
    "acknowledgments acknowledgements dedication foreword preface afterword appendix"
)


def terms(*values: str | None) -> frozenset[str]:
    """The terms in values of `epub:type` and `role`, lower-cased, without `doc-`."""
    return frozenset(
        term.removeprefix("doc-") for value in values if value for term in value.lower().split()
    )


def is_matter(declared: Iterable[str], *, within: bool | None) -> bool | None:
    """Whether a part with these terms is front or back matter (True) or text (False).

    `within` is the same about the part around it, None where nobody has said anything; it
    holds on where these terms say nothing.
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
    """The term that says what a part around the text is, the most particular one first.

    `within` is that of the part around it.
    """
    declared = frozenset(declared)
    particular = sorted(declared & (_AROUND | _AROUND_UNLESS_IN_BODY) - _GENERAL)
    general = [within] if within else sorted(declared & _GENERAL)
    return next(iter([*particular, *general]), "matter")
