"""Page numbers and note references that only an address, a name or their own text gives away."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_PAGE_NUMBER_CLASSES = {
    "page", "pageno", "page-no", "page_no", "pagenum", "page-num", "pagenumber", "page-number",
    "page_number", "pagebreak", "page-break", "pgno", "pgnum", "pb", "folio",
    "x-ebookmaker-pageno",
}  # fmt: skip
_NOTE_REFERENCE_CLASSES = {
    "noteref", "note-ref", "note_ref", "fnref", "fn-ref", "footnote-ref", "footnoteref",
    "footnote_ref", "endnote-ref", "endnoteref", "fnanchor", "fn-anchor", "note-anchor",
    "footnote-reference",
}  # fmt: skip

# These see text without its spaces (and a page number without any mark), of so many characters
# at most: whatever it holds, they are soon done with it.
LONGEST_MARK = 60
_PAGE_NUMBER = re.compile(r"(?:pp?g?|page|seite)?(?:\d{1,5}|[ivxlcdm]{1,9})?", re.IGNORECASE)
_NOTE_MARK = re.compile(
    r"[\[({]?(?:(?i:(?:foot|end)?note)?\d{1,4}|[A-Za-z]{1,2}|[^\w\s]{1,4})[\])}]?"
)
_PAGE_ID = re.compile(r"(?:page|pg|p|pagenum|page-?break)[-_.]?0*(\d{1,5})", re.IGNORECASE)
_NOTE_ID = re.compile(
    r"_?(?:(?:foot|end)?note|f?note|e?fn|ftn|edn)(?:ref)?[-_.:]?\d{1,5}", re.IGNORECASE
)


def note_reference(attributes: Mapping[str, str]) -> Callable[[str, bool], bool] | None:
    """For a link within a book, what tells from its text whether it leads to a note.

    It is asked with the text, without spaces, and whether that text is raised. None: no link.
    """
    _, hash_mark, place = (attributes.get("href") or "").rpartition("#")
    if not hash_mark:
        return None
    named = not _NOTE_REFERENCE_CLASSES.isdisjoint(_classes(attributes)) or bool(
        len(place) <= LONGEST_MARK and _NOTE_ID.fullmatch(place)
    )

    def is_reference(text: str, raised: bool) -> bool:
        bracketed = text[:1] in {"[", "(", "{"} and text[-1:] in {"]", ")", "}"}
        return bool(_NOTE_MARK.fullmatch(text) and (raised or bracketed or named))

    return is_reference


def page_number(attributes: Mapping[str, str]) -> Callable[[str], bool] | None:
    """For what may mark a page, what tells from its text, without spaces, whether it does."""
    if not _PAGE_NUMBER_CLASSES.isdisjoint(_classes(attributes)):
        return _is_page_number
    name = attributes.get("id") or attributes.get("name") or ""
    page = _PAGE_ID.fullmatch(name) if len(name) <= LONGEST_MARK else None
    return (lambda text: text.strip("[](){}.") == page[1]) if page else None


def _is_page_number(text: str) -> bool:
    return bool(_PAGE_NUMBER.fullmatch("".join(char for char in text if char.isalnum())))


def _classes(attributes: Mapping[str, str]) -> list[str]:
    return (attributes.get("class") or "").lower().split()
