"""Text that no generation could match: glued words, misread bytes, other letters.

    validate_matchable(paragraphs, place="book.epub")

See docs/books.md. Each limit lies above the highest value of 240 real
EPUBs, 500 languages of the UDHR and 2,812 chapters, and below what unreadable text has.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.words import has_unspaced

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAMPLE = 400  # blocks
_FEWEST_LETTERS = 1_000

# Words of letters alone: "w12" is a number, such as that of a page or a verse.
_WORD = re.compile(r"(?<!\w)[^\W\d_]+(?!\w)")

# Agglutinative languages have long words, too, so a second sign is needed.
_LONG_WORD = 20
_MOST_IN_LONG_WORDS = 0.03
_COMMA = re.compile(r"(?<=[^\W\d_])[,;](?=(\D))", re.DOTALL)
_FEWEST_COMMAS = 10
_MOST_GLUED_COMMAS = 0.2

# Commas and periods are next to the word before them, or stand alone.
_BEFORE_WORD = re.compile(r"(?<=\s)[,.،](?=[^\W\d_])")
_BEHIND_WORD = re.compile(r"(?<=[^\W\d_])[,.،](?=\s)")
_FEWEST_REVERSED = 10
_TO_BEHIND_WORD = 9

_MOST_BEYOND_ASCII = 0.45
_BEYOND_ASCII = re.compile("[\u0080-\u024f]")

_MOST_ENCODED_TWICE = 0.01
# The first byte of a character in UTF-8, read as Latin-1.
_FIRST_BYTE = re.compile("[\u00c2-\u00f4]")

_FEWEST_VOWELS = 0.23
_LATIN = 0.8  # of the letters, for vowels and single letters to count
_NOT_A_TO_Z = re.compile("[^a-z]+")
_VOWELS = re.compile("[aeiou]")

_TENTH = 9
_MOST_OF_TENTH_LETTER = 0.012

_MOST_CODES = 0.05  # of what stands between blanks
_FEWEST_CODES = 50
# "&#1074;", "&eacute;", "\\u0432", "\\xd0\\xb2", "%D0%B2", "=D0=B2".
_CODE = re.compile(
    r"&#\w{2,7};|&[A-Za-z]{2,8};|\\u[0-9A-Fa-f]{4}"
    r"|(?:\\x[0-9A-Fa-f]{2}){2,99}|(?:%[0-9A-F]{2}){2,99}|(?:=[0-9A-F]{2}){2,99}"
)

_HINT = (
    "no generation could match such words, so every model would pass: use another "
    "edition or format; if it is plain text, save it as UTF-8 or state its encoding: "
    'encoding = "windows-1251" (--encoding)'
)


def validate_matchable(blocks: Sequence[str], *, place: str) -> None:
    """Raise BookError, naming `place`, for text whose words no generation could match.

    blocks: the book's paragraphs, of which at most 400, evenly spaced, are judged.
    """
    step = -(-len(blocks) // _SAMPLE) or 1
    reason = why_unmatchable("\n".join(blocks[::step]))
    if reason:
        raise BookError(f"is unreadable: {reason}", location=place, hint=_HINT)


def why_unmatchable(text: str) -> str | None:
    """Return why no generation could match the text; None for readable text.

    Judges 50 codes of characters or more; and 1,000 letters or more, of scripts that
    separate words by spaces.
    """
    codes = _CODE.findall(text)
    if len(codes) > max(_FEWEST_CODES, _MOST_CODES * len(text.split())):
        return f"it has codes of characters instead of these, such as {codes[0][:20]!r}"
    words = _WORD.findall(text)
    if has_unspaced(text):
        words = [word for word in words if not has_unspaced(word)]
    letters = sum(map(len, words))
    if letters < _FEWEST_LETTERS:
        return None
    return (
        _why_glued(text, words, letters)
        or _why_reversed(text)
        or _why_misread(text, words, letters)
        or _why_other_letters(words, letters)
    )


def _why_glued(
    text: str,
    words: Sequence[str],
    letters: int,
) -> str | None:
    in_long_words = sum(len(word) for word in words if len(word) > _LONG_WORD)
    if in_long_words <= _MOST_IN_LONG_WORDS * letters:
        return None
    behind_commas = _COMMA.findall(text)
    glued = sum(map(str.isalpha, behind_commas))
    if len(behind_commas) < _FEWEST_COMMAS:
        return None
    if glued <= _MOST_GLUED_COMMAS * len(behind_commas):
        return None
    share = in_long_words / letters
    return f"{share:.0%} of its letters are in words without spaces between them"


def _why_reversed(text: str) -> str | None:
    before = len(_BEFORE_WORD.findall(text))
    behind = len(_BEHIND_WORD.findall(text))
    if before < _FEWEST_REVERSED or before <= _TO_BEHIND_WORD * behind:
        return None
    return "its commas and periods stand before words, as where letters are reversed"


def _why_misread(
    text: str,
    words: Sequence[str],
    letters: int,
) -> str | None:
    beyond = len(_BEYOND_ASCII.findall("".join(words)))
    if beyond > _MOST_BEYOND_ASCII * letters:
        share = beyond / letters
        return f"{share:.0%} of its letters have accents, as in a misread encoding"
    twice = 0
    if _FIRST_BYTE.search(text):
        twice = sum(map(_is_encoded_twice, text.split()))
    if twice > _MOST_ENCODED_TWICE * len(words):
        return "its UTF-8 was read as windows-1252 and saved again"
    return None


def _is_encoded_twice(word: str) -> bool:
    """Whether a word reads as UTF-8 once it is encoded in windows-1252."""
    if not _FIRST_BYTE.search(word):
        return False
    try:
        return word.encode("cp1252").decode("utf-8") != word
    except UnicodeError:
        return False


def _why_other_letters(words: Sequence[str], letters: int) -> str | None:
    decomposed = unicodedata.normalize("NFD", "".join(words).lower())
    latin = _NOT_A_TO_Z.sub("", decomposed)
    if len(latin) < _LATIN * letters:
        return None
    vowels = len(_VOWELS.findall(latin))
    if vowels < _FEWEST_VOWELS * len(latin):
        share = vowels / len(latin)
        return (
            f"only {share:.0%} of its letters are vowels: its fonts may show other "
            "letters than its text has"
        )
    single = Counter(word.lower() for word in words if len(word) == 1)
    commonest = [count for _, count in single.most_common(_TENTH + 1)]
    if len(commonest) > _TENTH and commonest[-1] > _MOST_OF_TENTH_LETTER * len(words):
        return "it has spaces between letters"
    return None
