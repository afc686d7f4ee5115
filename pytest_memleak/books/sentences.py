"""Places at which to cut a paragraph that is too long for an excerpt.

Punctuation marks the candidates; pysbd judges those in use from the text around them (milliseconds
each). A sentence that is itself too long is cut between words. The result is positions only: every
character of the paragraph stays.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pytest_memleak.records import WordMode
from pytest_memleak.scoring.words import words

_CANDIDATE = re.compile(r"""[.!?…]["'’”)\]»]*(?=\s+[^\w\s]*(\w))|[。！？][」』”’）]*""")

# Context for pysbd on both sides. It finds no sentence end within a quotation that it sees in full,
# as it should in a short one; of a long speech it doesn't see both quotation marks.
_CHARACTERS_AROUND = 200

# The parts of a sentence that is cut between words; small, so that cuts can be placed well.
_WORDS_BETWEEN_CUTS = 50
_WORD_BORDER = re.compile(
    r"(?<=\w)(?=\W)|(?<=\W)(?=\w)|(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff])"
)
_TRIES = 5
_REACH = 500


@dataclass(frozen=True, slots=True)
class Piece:
    """A part [start, end) of a paragraph, with its number of words.

    `ends_sentence`: whether punctuation suggests that a sentence ends with it.
    """

    start: int
    end: int
    words: int
    ends_sentence: bool = True


def cut_paragraph(text: str, *, mode: WordMode, longest: int) -> list[Piece]:
    """Cut a paragraph into sentences, and those of more than `longest` words into parts.

    The pieces are contiguous, and their words are the paragraph's words.
    """
    borders = [0, *_candidates(text), len(text)]
    pieces: list[Piece] = []
    for start, end in pairwise(borders):
        count = len(words(text[start:end], mode))
        if count > longest:
            pieces += _cut_sentence(text, start, end, mode)
        else:
            pieces.append(Piece(start, end, count))
    if sum(piece.words for piece in pieces) != len(words(text, mode)):
        # A cut must not change words.
        return list(_cut_sentence(text, 0, len(text), mode))
    return pieces


# --- sentences -----------------------------------------------------------------------------


def sentences(text: str) -> list[str]:
    """Split a paragraph into stripped sentences by its punctuation."""
    borders = [0, *_candidates(text), len(text)]
    return [text[start:end].strip() for start, end in pairwise(borders)]


def _candidates(text: str) -> Iterator[int]:
    """Yield positions after closing punctuation without a lower-case letter next."""
    for match in _CANDIDATE.finditer(text):
        if not (match[1] or "").islower() and match.end() < len(text):
            yield match.end()


class SentenceJudge:
    """A judge of sentence ends by pysbd's rules for English."""

    def __init__(self) -> None:
        self._segmenter: Any = None

    def ends_at(self, text: str, position: int) -> bool:
        """Whether a sentence ends at `position`, where `text` has white space."""
        if not text[position].isspace():
            # In scripts without spaces these marks always end a sentence.
            return True
        start = max(position - _CHARACTERS_AROUND, 0)
        while 0 < start < position and not text[start - 1].isspace():
            start += 1
        window = text[start : position + _CHARACTERS_AROUND]
        ended = {len(window[: span.end].rstrip()) for span in self._segment(window)}
        return position - start in ended

    def _segment(self, text: str) -> Any:
        if self._segmenter is None:
            with warnings.catch_warnings():
                # Python 3.12 and newer warn about escapes in its source.
                warnings.simplefilter("ignore")
                import pysbd
            self._segmenter = pysbd.Segmenter(language="en", clean=False, char_span=True)
        return self._segmenter.segment(text)


# --- words ---------------------------------------------------------------------------------


def _cut_sentence(text: str, start: int, end: int, mode: WordMode) -> Iterator[Piece]:
    """Yield parts of about fifty words, each but the last ending between two words."""
    begin, count = start, 0
    for token in re.finditer(r"\S+\s*", text[start:end]):
        token_start, token_end = start + token.start(), start + token.end()
        size = len(words(token[0], mode))
        if count and count + size > _WORDS_BETWEEN_CUTS:
            yield Piece(begin, token_start, count, ends_sentence=False)
            begin, count = token_start, 0
        if size > _WORDS_BETWEEN_CUTS:
            *parts, last = _split_run(text, token_start, token_end, mode, size)
            yield from parts
            begin, count = last.start, last.words
        else:
            count += size
    yield Piece(begin, end, count)


def _split_run(text: str, start: int, end: int, mode: WordMode, count: int) -> Iterator[Piece]:
    """Split a run without white space, such as words joined by dashes or an unspaced script."""
    stack = [(start, end, count)]
    while stack:
        start, end, count = stack.pop()
        cut = _middle(text, start, end, mode, count) if count > _WORDS_BETWEEN_CUTS else None
        if cut is None:
            yield Piece(start, end, count, ends_sentence=False)
        else:
            position, left = cut
            stack += [(position, end, count - left), (start, position, left)]


def _middle(text: str, start: int, end: int, mode: WordMode, count: int) -> tuple[int, int] | None:
    """Return the word border nearest to the middle, and the number of words before it."""
    middle = (start + end) // 2
    for position in _borders_around(middle, text, start, end):
        left = len(words(text[start:position], mode))
        if left + len(words(text[position:end], mode)) == count and 0 < left < count:
            return position, left
    return None


def _borders_around(middle: int, text: str, start: int, end: int) -> Sequence[int]:
    """Return likely word borders, nearest to `middle` first."""
    reach = _REACH
    while True:
        first, last = max(start + 1, middle - reach), min(end - 1, middle + reach)
        borders = [match.start() for match in _WORD_BORDER.finditer(text, first, last)]
        if borders or (first, last) == (start + 1, end - 1):
            return sorted(borders, key=lambda border: abs(border - middle))[:_TRIES]
        reach *= 2
