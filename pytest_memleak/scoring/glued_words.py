"""Words without spaces between them, which no generation could match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import WordMode

# The share of letters that words longer than these may have. Over 40 letters occur in
# jest only; over 20 are common where neither blanks nor ICU separate words, as in
# Javanese.
_MOST_IN_WORDS_OVER = {40: 0.02, 20: 0.5}
_LETTERS_PERMITTED_IN_JEST = 300


def validate_no_glued_words(
    texts: Iterable[str],
    *,
    mode: WordMode,
    place: str,
) -> None:
    """Raise BookError, naming `place`, if the texts have too many glued words."""
    texts = list(texts)
    long_word_lengths: list[int] = []
    for text in texts:
        long_word_lengths += _long_word_lengths(text, mode)
    if sum(long_word_lengths) <= _LETTERS_PERMITTED_IN_JEST:
        return
    letters = sum(map(_count_nonblank, texts))
    for longest, most in _MOST_IN_WORDS_OVER.items():
        glued = sum(length for length in long_word_lengths if length > longest)
        permitted = max(_LETTERS_PERMITTED_IN_JEST, most * letters)
        if glued > permitted:
            raise BookError(
                f"{glued / letters:.0%} of its letters are in words of over {longest} "
                "letters, which no generation could match",
                location=place,
                hint="its words may be separated only by a style sheet, or by nothing, "
                "as in Javanese: use a different edition",
            )


def _long_word_lengths(text: str, mode: WordMode) -> list[int]:
    """Return the lengths of the text's words of over 20 letters."""
    shortest = min(_MOST_IN_WORDS_OVER) + 1
    between_blanks = map(len, text.split())
    if max(between_blanks, default=0) < shortest:
        return []  # a word lies between blanks
    lengths = map(len, words(text, mode))
    return [length for length in lengths if length >= shortest]


def _count_nonblank(text: str) -> int:
    """Return the number of characters other than blanks."""
    return sum(map(len, text.split()))
