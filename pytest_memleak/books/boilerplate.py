"""What publishers put around a text, told by its words and titles.

The paragraphs of a copyright page are found wherever they stand: every model knows them, and no
author wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
_SURE_WORDS = (
    "isbn", "publication", "no part of this", "©", "copyright",
    "reserved", "réservés", "vorbehalten", "reservados", "riservati",
)  # fmt: skip
# Two of these are, or one beside a paragraph that is sure. Before each stand the words, folded,
# without one of which it fits nothing: most paragraphs of a book have none, and that is seen soon.
_HINTS = (
    ("reserved|réservés|vorbehalten",
     r"\ball rights reserved\b|\bdroits réservés\b|\brechte vorbehalten\b"),
    ("published",
     r"\b(?:first|originally) published\b|\bpublished (?:by|in (?:the )?(?:united|great|new))\b"),
    ("printed|manufactured", r"\b(?:printed|manufactured) (?:and bound )?in\b"),
    ("imprint of|division of|trademark",
     r"\ban imprint of\b|\ba division of\b|\b(?:registered )?trademarks? of\b"),
    ("library", r"\blibrary of congress\b|\bbritish library\b"),
    ("work of fiction", r"\b(?:this is a )?work of fiction\b.{0,80}\bnames, characters\b"),
    ("cover |jacket |book |text ",
     r"\b(?:cover|jacket|book|text) (?:design|illustration|photograph|art)s? (?:©|by|copyright)"),
    ("edition", r"\b(?:first|second|third|\d+(?:st|nd|rd|th)) (?:e-?book |\w{1,15} )?edition\b"),
    ("www.|http", r"\bwww\.\w|\bhttps?://"),
    ("street|avenue|road|broadway|plaza|square",
     r"\b(?:street|avenue|road|broadway|plaza|square)\b[^\n]{0,60}\b[A-Z]{1,2} ?\d{1,5}\b"),
    ("permission|retrieval",
     r"\b(?:reproduced|stored|transmitted|photocopying)\b.{0,200}\b(?:permission|retrieval)\b"),
    ("0 |1 |2 |3 |4 |5 |6 |7 |8 |9 ", r"^\W*(?:\d\d? ){4,}\d\d?\W*$"),
)  # fmt: skip
_HINT_PATTERNS = tuple(
    (tuple(keys.split("|")), re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for keys, pattern in _HINTS
)
_LONGEST_CHARACTERS = 2_500
_NEIGHBOURS = 3
_ENOUGH = 2
_MOST_WITHIN = 2


def boilerplate(paragraphs: Sequence[str]) -> list[bool]:
    """For each paragraph, whether it is one of a copyright page."""
    scores = [_score(paragraph) for paragraph in paragraphs]
    is_matter = [score >= _ENOUGH for score in scores]
    for indices in (range(len(is_matter)), range(len(is_matter) - 1, -1, -1)):
        last = None
        for index in indices:
            if scores[index] and last is not None and abs(index - last) <= _NEIGHBOURS:
                is_matter[index] = True
            if is_matter[index]:
                last = index
    return is_matter


def notices_within(pieces: Sequence[str]) -> list[bool]:
    """Of a paragraph that is a notice, which of its lines or sentences are.

    One or two with the fewer words stand beneath a text of another kind; else all of them are.
    """
    notices = boilerplate(pieces)
    counts = [len(piece.split()) for piece in pieces]
    notice_words = sum(count for count, is_notice in zip(counts, notices, strict=True) if is_notice)
    alone = 0 < sum(notices) <= _MOST_WITHIN and 2 * notice_words < sum(counts)
    return notices if alone else [True] * len(pieces)


def _score(text: str) -> int:
    if len(text) > _LONGEST_CHARACTERS or len(text.split()) > _LONGEST:
        return 0
    folded = text.casefold()
    if any(word in folded for word in _SURE_WORDS) and _SURE.search(text):
        return _ENOUGH
    return sum(
        any(key in folded for key in keys) and pattern.search(text) is not None
        for keys, pattern in _HINT_PATTERNS
    )


# --- titles --------------------------------------------------------------------------------

_TITLES = {
    "cover": r"(?:front |back )?cover(?: page| image)?|couverture|umschlag",
    "title page": r"(?:half[ -]?)?title(?: ?page)?|frontispiece|titel(?:seite|blatt)"
    r"|page de titre|portada",
    "copyright": r"(?:un)?copyright(?: page| notice| information)?|imprint|colophon|legal notice"
    r"|impressum|mentions légales|créditos",
    "contents": r"(?:table of )?contents|list of (?:illustrations|figures|tables|maps)"
    r"|inhalt(?:sverzeichnis)?|table des matières|sommaire|índice",
    "dedication": r"dedication|widmung|dédicace|dedicatoria",
    "epigraph": r"epigraphs?",
    "also by": r"(?:also|other (?:books|titles|works)|(?:more )?books|novels|works|titles) by\b.*"
    r"|by the same author|also (?:available|from)\b.*|also in (?:the|this) series"
    r"|du même auteur|de la même autrice|del mismo autor",
    "praise": r"(?:advance |critical )?praise(?: for\b.*)?|(?:critical )?acclaim(?: for\b.*)?"
    r"|reviews",
    "about the author": r"(?:about|meet) the (?:authors?|translators?|editors?|publisher"
    r"|illustrators?|type(?:face)?|book)|(?:a )?note (?:on|about) the (?:author|type)"
    r"|author bio(?:graphy)?|über (?:den autor|die autorin|das buch)"
    r"|à propos de l.aut(?:eur|rice)|sobre (?:el autor|la autora)",
    "acknowledgements": r"(?:author.s |copyright |permissions )?acknowledge?ments?|danksagung"
    r"|remerciements|agradecimientos",
    "reading group guide": r"(?:a )?(?:reading|reader(?:s|.s|s.)?|book club|discussion)(?: group)?"
    r" (?:guide|questions|kit)\b.*|questions (?:and topics )?for discussion"
    r"|topics for discussion|(?:topics|discussion) questions.*"
    r"|author q ?& ?a|(?:a conversation|an interview|q ?& ?a) with the author",
    "excerpt": r"(?:read )?(?:an? )?(?:exclusive |bonus )?(?:excerpt|extract|preview"
    r"|sneak (?:peek|preview)|teaser)(?: (?:from|of)\b.*)?|(?:also )?read on for\b.*"
    r"|coming soon\b.*|leseprobe",
    "notes": r"(?:foot|end|source )?notes|(?:selected )?bibliography|(?:general |subject )?index"
    r"|glossary|(?:photo|picture|illustration|image)? ?credits|(?:text )?permissions|errata",
    "advertisement": r"newsletters?(?: sign-?up)?|sign up\b.*|back ads?|advertisements?"
    r"|what.s next.*|discover (?:more|your next)\b.*",
}
_TITLE_PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _TITLES.items()}
_LONGEST_TITLE = 120


def matter_of_title(title: str) -> str | None:
    """What stands under such a title, where it is nothing of the text."""
    text = " ".join(title.split()).strip(" .:*—–-")
    if len(text) > _LONGEST_TITLE:
        return None
    return next(
        (kind for kind, pattern in _TITLE_PATTERNS.items() if pattern.fullmatch(text)), None
    )
