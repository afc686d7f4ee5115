"""Places at which to cut a paragraph that is too long for an excerpt.

A sentence ends with its mark, unless it may go on: after an abbreviation of any
language, a number, an ellipsis, or an exclamation of one or two words, and within a
quotation or brackets. A sentence that is itself too long is cut at such marks, or else
between words. The result is positions only: every character stays.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from pytest_memleak.records import WordMode
from pytest_memleak.scoring.words import words

# Marks before white space and no lower-case letter (in Greek, `;` asks); those of other
# scripts end sentences also without white space.
_MARK = re.compile(
    r"""([.!?…]|(?<=[\u0370-\u03ff\u1f00-\u1fff])[;\u037e])(\s?»|["'’”“)\]»«]*)"""
    r"""(?=\s+(?:«\s)?[^\w\s]*(\w))"""
    r"""|([।॥۔؟።፧։။។៕。！？｡．])(["'’”“)\]»«」』）]*)""",
)
_QUOTE = re.compile("[\"'’”“»«」』]")
_OPENS = re.compile(r"\s*[\"'‘“„«»「『—–-]")

# No sentence ends between these; a longer speech has sentences of its own.
_ENCLOSED = re.compile(
    r"“[^“”]{,400}”|„[^„“”]{,400}[“”]|«[^«»]{,400}»|»[^«»]{,400}«"
    r'|"[^"]{,400}"|「[^「」]{,400}」|『[^『』]{,400}』|（[^（）]{,400}）'
    r"|\([^()]{,400}\)|\[[^][]{,400}\]|‘(?:[^‘’]|’(?=\w)){,400}’",
)
_LAST_WORDS = re.compile(r"[^.!?…;:—–\"“”„«»(]*\Z")
_FEW_WORDS = 2
_LONGEST_WORD = 40
_LAST_WORD = re.compile(r"[^\s!-/:-@\[-`{-~“”„‘’«»]*\Z")
_NUMBER = re.compile("[0-9]+|[IVXLCDM]+")
_WITHOUT_DOT = re.compile(r"[^\W\d_]+(?![.\w])")

# The parts of a sentence that is cut between words; small, so that cuts can be placed
# well.
_WORDS_BETWEEN_CUTS = 50
_WORD_BORDER = re.compile(
    r"(?<=\w)(?=\W)|(?<=\W)(?=\w)"
    r"|(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff])",
)
_BLANK = re.compile(r"\s+")
_AROUND = 60


@dataclass(frozen=True, slots=True)
class Piece:
    """A part [start, end) of a paragraph, with its number of words.

    `ends_sentence`: whether a sentence surely ends with it.
    """

    start: int
    end: int
    words: int
    ends_sentence: bool = True


def cut_paragraph(
    text: str,
    *,
    mode: WordMode,
    longest: int,
) -> list[Piece]:
    """Cut a paragraph into sentences, and those over `longest` words into parts.

    The pieces are contiguous, and their words are the paragraph's words.
    """
    borders = (0, *_sentence_ends(text), len(text))
    pieces: list[Piece] = []
    for start, end in pairwise(borders):
        sentence = text[start:end]
        count = len(words(sentence, mode))
        if count > longest:
            pieces += _cut_at_marks(text, start, end, mode, longest)
        else:
            pieces.append(Piece(start, end, count))
    words_of_pieces = sum(piece.words for piece in pieces)
    if words_of_pieces != len(words(text, mode)):
        # A cut must not change words.
        between_words = _cut_sentence(
            text=text,
            start=0,
            end=len(text),
            mode=mode,
        )
        return list(between_words)
    return pieces


# --- sentences
# -----------------------------------------------------------------------------


def sentences(text: str) -> list[str]:
    """Split a paragraph into stripped sentences by its punctuation."""
    ends = [mark.end() for mark in _possible_sentence_ends(text)]
    borders = (0, *ends, len(text))
    return [text[start:end].strip() for start, end in pairwise(borders)]


def _possible_sentence_ends(text: str) -> Iterator[re.Match[str]]:
    """Yield the marks with which a sentence may end within the text."""
    for mark in _MARK.finditer(text):
        following = mark[3] or ""
        if not following.islower() and mark.end() < len(text):
            yield mark


def _sentence_ends(text: str) -> Iterator[int]:
    """Yield the positions at which sentences end."""
    enclosed = [match.span() for match in _ENCLOSED.finditer(text)]
    # A word also seen without a dot isn't an abbreviation.
    without_dot = map(str.lower, _WITHOUT_DOT.findall(text))
    abbreviations = _abbreviations().difference(without_dot)
    for mark in _possible_sentence_ends(text):
        end = mark.end()
        begun = bisect_left(enclosed, (end,))
        is_within = False
        if begun > 0:
            _, enclosed_end = enclosed[begun - 1]
            is_within = end < enclosed_end
        if not is_within and not _may_sentence_go_on(text, mark, abbreviations):
            yield end


def _may_sentence_go_on(
    text: str,
    match: re.Match[str],
    abbreviations: frozenset[str],
) -> bool:
    """Whether the sentence may go on behind a mark outside quotations."""
    mark = match[1] or match[4]
    closing = match[2] or match[5] or ""
    following = match[3] or ""
    if mark == "…":
        return True
    if mark == ".":
        if following.isdigit() or _is_abbreviation_dot(
            text, match.start(), abbreviations
        ):
            return True
    elif mark in "!?" and _words_before(text, match.start()) <= _FEW_WORDS:
        # Ah! Dufour, you are a bore.
        return True
    # A quotation may be part of a sentence: “No!” Harker cried.
    if not _QUOTE.search(closing) or _OPENS.match(text, match.end()):
        return False
    return mark != "." or not following.isupper()


def _is_abbreviation_dot(
    text: str,
    dot: int,
    abbreviations: frozenset[str],
) -> bool:
    """Whether a dot belongs to an abbreviation, initial, number, or ellipsis."""
    if text.endswith(".", 0, dot):
        return True
    [word, *_] = _LAST_WORD.findall(text, max(0, dot - _LONGEST_WORD), dot)
    if word.lower() in abbreviations or _NUMBER.fullmatch(word):
        return True
    is_initial: bool = sum(map(str.isalnum, word)) == 1
    return is_initial


def _words_before(text: str, mark: int) -> int:
    """Return the number of words since the mark before."""
    [last_words, *_] = _LAST_WORDS.findall(text, max(0, mark - _AROUND), mark)
    return len(last_words.split())


@cache
def _abbreviations() -> frozenset[str]:
    """Return the abbreviations of all languages that pysbd knows."""
    with warnings.catch_warnings():
        # Python 3.12 and newer warn about escapes in its source.
        warnings.simplefilter("ignore")
        from pysbd.languages import LANGUAGE_CODES
    abbreviations: set[str] = set()
    for language in LANGUAGE_CODES.values():
        abbreviations.update(map(str.lower, language.Abbreviation.ABBREVIATIONS))
    return frozenset(abbreviations)


# --- words
# ---------------------------------------------------------------------------------


def _cut_at_marks(
    text: str,
    start: int,
    end: int,
    mode: WordMode,
    longest: int,
) -> Iterator[Piece]:
    """Yield the parts of a long sentence between marks; cut those that are too long."""
    ends = (
        mark.end() for mark in _possible_sentence_ends(text) if start < mark.end() < end
    )
    for first, last in pairwise((start, *ends, end)):
        count = len(words(text[first:last], mode))
        if count > longest:
            yield from _cut_sentence(
                text=text,
                start=first,
                end=last,
                mode=mode,
            )
        else:
            yield Piece(
                start=first,
                end=last,
                words=count,
                ends_sentence=last == end,
            )


def _cut_sentence(
    text: str,
    start: int,
    end: int,
    mode: WordMode,
) -> Iterator[Piece]:
    """Yield parts of at most about fifty words, cut between two words."""
    count = len(words(text[start:end], mode))
    step = max(1, (end - start) * _WORDS_BETWEEN_CUTS // max(count, 1))
    while True:
        target = min(start + step, end)
        count = len(words(text[start:target], mode))
        if target == end and count <= _WORDS_BETWEEN_CUTS:
            break
        while count > _WORDS_BETWEEN_CUTS and target > start + 1:
            shorter = (target - start) * _WORDS_BETWEEN_CUTS // (count + 1)
            target = start + max(1, shorter)
            count = len(words(text[start:target], mode))
        borders = _word_borders_around(target, text, start, end)
        cuts = (border for border in borders if _keeps_words_whole(text, border, mode))
        cut = next(cuts, None)
        if cut is None:
            count = len(words(text[start:end], mode))
            break
        yield Piece(
            start=start,
            end=cut,
            words=len(words(text[start:cut], mode)),
            ends_sentence=False,
        )
        start = cut
    yield Piece(start, end, count)


def _keeps_words_whole(
    text: str,
    position: int,
    mode: WordMode,
) -> bool:
    """Whether a cut at the position changes no word around it."""
    start, end = max(0, position - _AROUND), position + _AROUND
    both = words(text[start:position], mode) + words(text[position:end], mode)
    return both == words(text[start:end], mode)


def _word_borders_around(
    target: int,
    text: str,
    start: int,
    end: int,
) -> Iterator[int]:
    """Yield likely word borders: blanks before the target, then others, by distance."""
    middle = (start + target) // 2
    blanks = [blank.end() for blank in _BLANK.finditer(text, middle, target)]
    yield from reversed(blanks)

    def distance(border: int) -> tuple[bool, int]:
        return border > target, abs(border - target)

    reach = _AROUND
    while True:
        first = max(start + 1, target - reach)
        last = min(end - 1, target + reach)
        borders = [match.start() for match in _WORD_BORDER.finditer(text, first, last)]
        yield from sorted(borders, key=distance)
        if borders or (first, last) == (start + 1, end - 1):
            return
        reach *= 2
