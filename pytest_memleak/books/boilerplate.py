"""What publishers put around a text, told by its words and titles.

The paragraphs of a copyright page are found wherever they stand: every model knows them, and no
author wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["boilerplate", "matter_of_title", "notices_within"]

# A paragraph of more words is no notice.
_LONGEST = 250

# One of these is enough.
_SURE = re.compile(
    r"\bISBN(?:-1[03])?\b[^\n]{0,20}\d"
    r"|\bcatalogu?ing[ -]in[ -]publication\b"
    r"|\bno part of this (?:book|publication|work|e-?book|novel) may be\b"
    r"|(?:©|\bcopyright ?\(c\)|\bcopyright ©?) ?(?:\w+ ){0,3}(?:1[6-9]|20)\d\d\b"
    r"|^[^\w\n]*(?:all rights reserved|tous droits réservés|alle rechte vorbehalten"
    r"|todos los derechos reservados|tutti i diritti riservati)[^\w\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
# Two of these are, or one beside a paragraph that is sure.
_HINTS = (
    r"\ball rights reserved\b|\bdroits réservés\b|\brechte vorbehalten\b",
    r"\b(?:first|originally) published\b|\bpublished (?:by|in (?:the )?(?:united|great|new))\b",
    r"\b(?:printed|manufactured) (?:and bound )?in\b",
    r"\ban imprint of\b|\ba division of\b|\b(?:registered )?trademarks? of\b",
    r"\blibrary of congress\b|\bbritish library\b",
    r"\b(?:this is a )?work of fiction\b.{0,80}\bnames, characters\b",
    r"\b(?:cover|jacket|book|text) (?:design|illustration|photograph|art)s? (?:©|by|copyright)",
    r"\b(?:first|second|third|\d+(?:st|nd|rd|th)) (?:e-?book |\w{1,15} )?edition\b",
    r"\bwww\.\w|\bhttps?://",
    r"\b(?:street|avenue|road|broadway|plaza|square)\b[^\n]{0,60}\b[A-Z]{1,2} ?\d{1,5}\b",
    r"\b(?:reproduced|stored|transmitted|photocopying)\b.{0,200}\b(?:permission|retrieval)\b",
    r"^\W*(?:\d\d? ){4,}\d\d?\W*$",
)
_HINT_PATTERNS = tuple(re.compile(one, re.IGNORECASE | re.DOTALL) for one in _HINTS)
_LONGEST_CHARACTERS = 2_500
_NEIGHBOURS = 3
_ENOUGH = 2
_MOST_WITHIN = 2


def boilerplate(paragraphs: Sequence[str]) -> list[bool]:
    """For each paragraph, whether it is one of a copyright page."""
    scores = [_score(one) for one in paragraphs]
    found = [score >= _ENOUGH for score in scores]
    for indices in (range(len(found)), range(len(found) - 1, -1, -1)):
        last = None
        for index in indices:
            if scores[index] and last is not None and abs(index - last) <= _NEIGHBOURS:
                found[index] = True
            if found[index]:
                last = index
    return found


def notices_within(pieces: Sequence[str]) -> list[bool]:
    """Of a paragraph that is a notice, which of its lines or sentences are.

    One or two with the fewer words stand beneath a text of another kind; else all of them are.
    """
    found = boilerplate(pieces)
    its = sum(len(one.split()) for one, is_one in zip(pieces, found, strict=True) if is_one)
    alone = 0 < sum(found) <= _MOST_WITHIN and 2 * its < sum(len(one.split()) for one in pieces)
    return found if alone else [True] * len(pieces)


def _score(text: str) -> int:
    if len(text) > _LONGEST_CHARACTERS or len(text.split()) > _LONGEST:
        return 0
    if _SURE.search(text):
        return _ENOUGH
    return sum(bool(one.search(text)) for one in _HINT_PATTERNS)


# --- titles --------------------------------------------------------------------------------

_TITLES = {
    "cover": r"(?:front |back )?cover(?: page| image)?",
    "title page": r"(?:half[ -]?)?title(?: ?page)?|frontispiece",
    "copyright": r"(?:un)?copyright(?: page| notice| information)?|imprint|colophon|legal notice",
    "contents": r"(?:table of )?contents|list of (?:illustrations|figures|tables|maps)",
    "dedication": r"dedication",
    "also by": r"(?:also|other (?:books|titles|works)|(?:more )?books|novels|works|titles) by\b.*",
    "praise": r"(?:advance |critical )?praise(?: for\b.*)?|acclaim for\b.*|reviews",
    "about the author": r"about the (?:authors?|translators?|editors?|publisher|illustrators?"
    r"|type(?:face)?|book)|(?:a )?note on the (?:author|type)|author bio(?:graphy)?",
    "acknowledgements": r"(?:author.s )?acknowledge?ments?",
    "reading group guide": r"(?:a )?(?:reading|readers?.?|book club|discussion)(?: group)?"
    r" (?:guide|questions|kit)\b.*|questions for discussion|(?:topics|discussion) questions.*",
    "excerpt": r"(?:read )?(?:an? )?(?:excerpt|extract|preview|sneak (?:peek|preview)|teaser)"
    r"(?: (?:from|of)\b.*)?|(?:also )?read on for\b.*|coming soon\b.*",
    "notes": r"(?:foot|end)?notes|bibliography|(?:general |subject )?index|glossary"
    r"|(?:photo|picture|illustration|image)? ?credits|permissions|errata",
    "advertisement": r"newsletter(?: sign-?up)?|sign up\b.*|back ads?|advertisements?"
    r"|what.s next.*|discover (?:more|your next)\b.*",
}
_TITLE_PATTERNS = {kind: re.compile(one, re.IGNORECASE) for kind, one in _TITLES.items()}
_LONGEST_TITLE = 120


def matter_of_title(title: str) -> str | None:
    """What stands under such a title, where it is nothing of the text."""
    text = " ".join(title.split()).strip(" .:*—–-")
    if len(text) > _LONGEST_TITLE:
        return None
    return next((kind for kind, one in _TITLE_PATTERNS.items() if one.fullmatch(text)), None)
