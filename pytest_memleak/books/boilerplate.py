"""Publishers' text around a book: notices, titles of matter, Gutenberg's license.

Copyright notices are recognized anywhere: every model knows them, and no author wrote
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, compress, islice

# A notice has at most so many words.
_LONGEST = 250
_LONGEST_WITH_ONE = 100

# One match suffices, except in a long paragraph.
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
    "isbn",
    "publication",
    "no part of this",
    "©",
    "copyright",
    "reserved",
    "réservés",
    "vorbehalten",
    "reservados",
    "riservati",
)
# Two matches suffice, or one next to a sure paragraph. Each pattern needs one of the
# case-folded words before it; most paragraphs have none, which is fast to check.
_HINTS = {
    "reserved|réservés|vorbehalten": (
        r"\ball rights reserved\b|\bdroits réservés\b|\brechte vorbehalten\b"
    ),
    "published": (
        r"\b(?:first|originally) published\b"
        r"|\bpublished (?:by|in (?:the )?(?:united|great|new))\b"
    ),
    "printed|manufactured": r"\b(?:printed|manufactured) (?:and bound )?in\b",
    "imprint of|division of|trademark": (
        r"\ban imprint of\b|\ba division of\b|\b(?:registered )?trademarks? of\b"
    ),
    "library": r"\blibrary of congress\b|\bbritish library\b",
    "work of fiction": (
        r"\b(?:this is a )?work of fiction\b.{0,80}\bnames, characters\b"
    ),
    "cover |jacket |book |text ": (
        r"\b(?:cover|jacket|book|text) (?:design|illustration|photograph|art)s? (?:©"
        r"|by|copyright)"
    ),
    "edition": (
        r"\b(?:first|second|third|\d+(?:st|nd|rd|th)) (?:e-?book |\w{1,15} )?edition\b"
    ),
    "www.|http": r"\bwww\.\w|\bhttps?://",
    "street|avenue|road|broadway|plaza|square": (
        r"\b(?:street|avenue|road|broadway|plaza"
        r"|square)\b[^\n]{0,60}\b(?-i:[A-Z]{1,2}) ?\d{1,5}\b"
    ),
    "permission|retrieval": (
        r"\b(?:reproduced|stored|transmitted|photocopying)\b.{0,200}\b(?:permission"
        r"|retrieval)\b"
    ),
    "0 |1 |2 |3 |4 |5 |6 |7 |8 |9 ": r"^\W*(?:\d\d? ){4,}\d\d?\W*$",
}
_HINT_PATTERNS = tuple(
    (tuple(keys.split("|")), re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for keys, pattern in _HINTS.items()
)
_KEYS_OF_HINTS = chain.from_iterable(keys for keys, _ in _HINT_PATTERNS)
_KEYS = tuple(dict.fromkeys((*_SURE_WORDS, *_KEYS_OF_HINTS)))
_LONGEST_CHARACTERS = 2_500
_NEIGHBORS = 3
_FEWEST_OF_PROSE = 40
_ENOUGH = 2
_MOST_WITHIN = 2


def find_notices(paragraphs: Sequence[str]) -> list[bool]:
    """Return for each paragraph whether it is part of a copyright page."""
    whole = "\n".join(paragraphs).casefold()
    keys = tuple(filter(whole.__contains__, _KEYS))
    scores = [_notice_score(paragraph, keys) for paragraph in paragraphs]
    is_matter = [score >= _ENOUGH for score in scores]
    forwards = range(len(paragraphs))
    for indices in (forwards, reversed(forwards)):
        last = None
        for index in indices:
            if is_matter[index]:
                last = index
            elif last is None:
                continue
            elif scores[index]:
                if abs(index - last) <= _NEIGHBORS:
                    is_matter[index] = True
                    last = index
            elif len(paragraphs[index].split()) >= _FEWEST_OF_PROSE:
                last = None
    return is_matter


def notices_in_paragraph(pieces: Sequence[str]) -> list[bool]:
    """Return which lines or sentences of a notice paragraph are notices.

    If one or two have the minority of the words, only these are; otherwise all are.
    """
    notices = find_notices(pieces)
    counts = [len(piece.split()) for piece in pieces]
    notice_words = sum(compress(counts, notices))
    are_few = 0 < sum(notices) <= _MOST_WITHIN
    if are_few and 2 * notice_words < sum(counts):
        return notices
    return [True] * len(pieces)


def _notice_score(text: str, keys: Sequence[str]) -> int:
    """Return how surely a text of a document with these keys is a notice."""
    if len(text) > _LONGEST_CHARACTERS:
        return 0
    folded = text.casefold()
    if not _contains_any(folded, keys):
        return 0
    count = len(text.split())
    if count > _LONGEST:
        return 0
    is_sure = _contains_any(folded, _SURE_WORDS) and _SURE.search(text) is not None
    if is_sure and count <= _LONGEST_WITH_ONE:
        return _ENOUGH
    score = int(is_sure)
    for keys_of_hint, pattern in _HINT_PATTERNS:
        if _contains_any(folded, keys_of_hint) and pattern.search(text):
            score += 1
    return score


def _contains_any(text: str, keys: Iterable[str]) -> bool:
    return any(map(text.__contains__, keys))


# --- titles
# --------------------------------------------------------------------------------

_TITLES = {
    "cover": r"(?:front |back )?cover(?: page| image)?|couverture|umschlag",
    "title page": (
        r"(?:half[ -]?)?title(?: ?page)?|frontispiece|titel(?:seite|blatt)"
        r"|page de titre|portada"
    ),
    "copyright": (
        r"(?:un)?copyright(?: page| notice| information)?|imprint|colophon"
        r"|legal notice|impressum|mentions légales|licence|crédits|créditos|colofon"
    ),
    "contents": (
        r"(?:table of )?contents|inhalt(?:sverzeichnis)?|table des matières|sommaire"
        r"|list of (?:the )?(?:illustrations|figures|tables|maps|plates)|índice"
        r"|inhoud(?:sopgave)?"
    ),
    "dedication": r"dedication|widmung|dédicace|dedicatoria",
    "epigraph": r"epigraphs?",
    "also by": (
        r"(?:also|other (?:books|titles|works)|(?:more )?books|novels|works"
        r"|titles) by\b.*|by the same author|also (?:available|from)\b.*"
        r"|also in (?:the|this) series|weitere (?:bücher|titel) von\b.*|du même auteur"
        r"|de la même autrice|del mismo autor|otros (?:libros|títulos) de\b.*"
    ),
    "praise": (
        r"(?:advance |critical )?praise(?: for\b.*)?"
        r"|(?:critical )?acclaim(?: for\b.*)?|reviews"
    ),
    "about the author": (
        r"(?:about|meet) the (?:authors?|translators?|editors?|publisher|illustrators?"
        r"|type(?:face)?|book)|(?:a )?note (?:on|about) the (?:author|type)"
        r"|author bio(?:graphy)?|über (?:den autor|die autorin|das buch)"
        r"|à propos de l.aut(?:eur|rice)|sobre (?:el autor|la autora)"
        r"|(?:about the |notes on (?:the )?)?contributors|over de auteurs?"
        r"|(?:contributor )?biographies"
    ),
    "acknowledgements": (
        r"(?:author.s |copyright |permissions )?acknowledge?ments?|danksagung(?:en)?"
        r"|remerciements|agradecimientos|dankwoord"
    ),
    "editor's note": (
        r"(?:a )?notes? on the (?:text|translation)|(?:translator|editor).s note"
        r"|chronology|(?:suggestions for )?further reading|zu dieser ausgabe|zeittafel"
        r"|note (?:sur le texte|du traducteur)|chronologie"
        r"|nota del (?:editor|traductor)|cronología"
    ),
    "reading group guide": (
        r"(?:a )?(?:reading|reader(?:s|.s|s.)?|book club"
        r"|discussion)(?: group)? (?:guide|questions|kit)\b.*"
        r"|questions (?:and topics )?for discussion|topics for discussion"
        r"|(?:topics|discussion) questions.*|author q ?& ?a"
        r"|(?:a conversation|an interview|q ?& ?a) with the author"
        r"|fragen (?:für|zur) .*|diskussionsfragen|guide de lecture|questions pour .*"
        r"|guía de lectura|preguntas para .*"
    ),
    "excerpt": (
        r"(?:read )?(?:an? )?(?:exclusive |bonus )?(?:excerpt|extract|preview"
        r"|sneak (?:peek|preview)|teaser)(?: (?:from|of)\b.*)?"
        r"|(?:also )?read on for\b.*|coming soon\b.*|keep reading\b.*|leseprobe.*"
        r"|weiterlesen|lesen sie weiter.*|(?:lisez un |en )?extrait(?: (?:de|du)\b.*)?"
        r"|(?:continuez|poursuivez) (?:la|votre) lecture|sig[au]e? leyendo\b.*"
        r"|(?:un )?(?:adelanto|extracto|avance)(?: de\b.*)?"
    ),
    "notes": (
        r"(?:foot|end|source )?notes|(?:selected )?bibliography|references"
        r"|reference list|works cited"
        r"|(?:general |subject )?index|glossary"
        r"|(?:photo|picture|illustration|image)? ?credits|(?:text )?permissions|errata"
        r"|anmerkungen|fußnoten|literatur(?:verzeichnis)?|glossar|notas"
        r"|bibliograf[íi]a|glos(?:ario|saire)|bibliographie"
    ),
    "advertisement": (
        r"newsletters?(?: sign-?up)?|sign up\b.*|back ads?|advertisements?"
        r"|what.s next.*|discover (?:more|your next)\b.*"
    ),
}
_TITLE_PATTERNS = {
    kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _TITLES.items()
}
_LONGEST_TITLE = 120


def matter_kind_of_title(title: str) -> str | None:
    """Return the kind of matter under such a title, or None for text."""
    text = " ".join(title.split()).strip(" .:*—–-")
    if len(text) > _LONGEST_TITLE:
        return None
    for kind, pattern in _TITLE_PATTERNS.items():
        if pattern.fullmatch(text):
            return kind
    return None


# --- Project Gutenberg
# --------------------------------------------------------------------

# Search for literals only and check the stars and spaces before them afterwards: a
# pattern that begins with a repetition would restart at each.
_START = re.compile(r"START OF (?:THE|THIS) PROJECT GUTENBERG\b", re.IGNORECASE)
_REST_OF_START = re.compile(r"[^\n*]*(?:\n[^\n*]+(?=\*))?\**")
_OLD_START = re.compile(r"THE SMALL PRINT![^\n]*", re.IGNORECASE)
_END = re.compile(
    r"END OF (?:THE |THIS )?PROJECT GUTENBERG(?:['’]S)?\b|\bSTART: FULL LICENSE\b",
    re.IGNORECASE,
)
# Every paragraph with a marker has one of these, and searching for them is far cheaper.
_TOKENS = ("UTENBERG", "utenberg", "SMALL PRINT", "FULL LICENSE")
_CREDIT = re.compile(
    r"\s*(?:Produced|E-?text (?:prepared|produced)|Transcribed|Credits:|This "
    r"e-?(?:text|book) was"
    r" (?:prepared|produced|transcribed)|HTML version by|Updated editions)\b",
    re.IGNORECASE,
)
_MOST_CREDITS = 3
_MOST_BEHIND = 400

# Characters before a marker in which to look for its stars.
_LONGEST_GAP = 200
_FIELD = re.compile(
    r"^[^\S\n]*(Title|Author):[ \t]*(\S[^\n]*(?:\n[ \t]+\S[^\n]*)*)",
    re.MULTILINE,
)


def without_license(paragraphs: Sequence[str]) -> list[str]:
    """Empty paragraphs outside Project Gutenberg's markers, and transcribers' credits.

    The number of paragraphs stays the same.
    """
    kept = [""] * len(paragraphs)
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for index, text in enumerate(paragraphs):
        if not _names_license(text):
            continue
        after = _end_of_start_marker(text)
        if after is not None:
            starts[index] = after
        before = _start_of_end_marker(text)
        if before is not None:
            ends[index] = before
    begin = min(starts, default=0)
    if not starts and min(ends, default=0) <= len(kept) // 2:
        ends = {}  # Without a start marker, an early end marker is not credible.
    # A file may have several books.
    next_starts, next_ends = iter(starts), iter(ends)
    while begin < len(kept):
        end = next((index for index in next_ends if index >= begin), len(kept) - 1)
        kept[begin : end + 1] = paragraphs[begin : end + 1]
        if end in ends:
            kept[end] = kept[end][: ends[end]].strip()
        if begin in starts:
            kept[begin] = kept[begin][starts[begin] :].strip()
            _drop_credits(kept, begin)
        begin = next((index for index in next_starts if index > end), len(kept))
    ends_with_license = max(ends, default=-1) > max(starts, default=-1)
    return _with_text_behind(kept, paragraphs) if ends_with_license else kept


def _with_text_behind(kept: list[str], paragraphs: Sequence[str]) -> list[str]:
    """Keep text of some length behind the last paragraph that names the license."""
    named = [index for index, text in enumerate(paragraphs) if _names_license(text)]
    start = named[-1] + 1
    behind = paragraphs[start:]
    words_behind = sum(len(text.split()) for text in behind)
    if words_behind > _MOST_BEHIND:
        kept[start:] = behind
    return kept


def _names_license(text: str) -> bool:
    return any(token in text for token in _TOKENS)


def _end_of_start_marker(text: str) -> int | None:
    """Return where the first start marker of a paragraph ends."""
    for match in _START.finditer(text):
        if _characters_before(text, match.start()).endswith("*"):
            rest = _REST_OF_START.match(text, match.end())
            return rest.end() if rest else match.end()
    for match in _OLD_START.finditer(text):
        text_before = _characters_before(text, match.start())
        letters_before = "".join(text_before.split()).upper()
        if letters_before.endswith(("*END*", "*END")):
            return match.end()
    return None


def _start_of_end_marker(text: str) -> int | None:
    """Return where the first end marker of a paragraph begins."""
    for match in _END.finditer(text):
        before = _characters_before(text, match.start())
        plain = before.rstrip("*").rstrip(" \t\xa0")
        if (
            match[0][:5].upper() == "START"
            or before.endswith("*")
            or plain[-1:] in {"", "\n"}
        ):
            return max(match.start() - _LONGEST_GAP, 0) + len(plain)
    return None


def _characters_before(text: str, end: int) -> str:
    """Return the last characters before `end` without trailing white space."""
    before = text[max(end - _LONGEST_GAP, 0) : end]
    stripped = before.rstrip()
    # Keep the line end before a marker that starts its line without stars.
    return stripped if stripped.endswith("*") else before.rstrip(" \t\xa0")


def _drop_credits(kept: list[str], start: int) -> None:
    filled = (index for index in range(start, len(kept)) if kept[index].strip())
    for index in islice(filled, _MOST_CREDITS):
        if not _CREDIT.match(kept[index]):
            return
        kept[index] = ""


def header_field(paragraphs: Sequence[str], name: str) -> str | None:
    """Return the `Title` or `Author` of the header before the start marker, if any."""
    for paragraph in _header(paragraphs):
        for field, value in _FIELD.findall(paragraph):
            if field == name:
                return " ".join(value.split())
    return None


def _header(paragraphs: Sequence[str]) -> Sequence[str]:
    for index, paragraph in enumerate(paragraphs):
        if _end_of_start_marker(paragraph) is not None:
            return paragraphs[:index]
    return ()
