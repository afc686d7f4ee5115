"""Words as the paper counts them, and for every script (docs/method.md)."""

from __future__ import annotations

import codecs
import html
import re
import unicodedata
from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from icu4py.breakers import WordBreaker

    from pytest_memleak.records import WordMode

_TOKEN = re.compile(r"\w+")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_ASCII_ALNUM = re.compile(r"[A-Za-z0-9]")

# Common marks outside Latin-1.
COMMON_MARKS = "’‘“”—–…"

# What stands for characters that an encoding doesn't have. Python calls a handler of
# errors where they are, which is far faster than a pattern that reads every character.
BEYOND = "\x01"
WITH_SPACES = "pytest_memleak.with_spaces"

# Per byte of Latin-1: a word character's lower case, a space for any other character.
LOWER_OR_SPACE = "".join(
    c.lower() if _TOKEN.match(c) else " " for c in map(chr, range(256))
).encode("latin-1")

# In bytes so translated, the words without an ASCII letter or digit. They begin with a
# byte that `_SHAPE` maps to "_", as no other English word does, which is far faster to
# test.
_NOT_COUNTED = re.compile(rb"[_\x80-\xff](?<![^ ].)[_\x80-\xff]*(?![^ ])", re.DOTALL)
_SHAPE = bytes(range(0x80)) + b"_" * 0x80

# Lower-casing the whole text equals lower-casing word by word except for these: two
# become ASCII letters (and would then count), and a sigma's lower case depends on its
# neighbors.
_LOWERS_ALONE = re.compile("[\u0130\u212aΣ]")

# Letters and marks, but no digits, of scripts written without spaces, by Unicode's
# Script property, with the two marks (U+3006, U+30FC) that only they use.
_UNSPACED = (
    "\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"  # Han
    "\uf900-\ufaff\U00016fe3\U00020000-\U000323af"  # Han
    "\u3041-\u3096\u309d-\u309f\U0001b001-\U0001b11f\U0001b132"  # Hiragana
    "\U0001b150-\U0001b152"  # Hiragana
    "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001aff0-\U0001affe\U0001b000"  # Katakana
    "\U0001b120-\U0001b122\U0001b155\U0001b164-\U0001b167"  # Katakana
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ece\u0edc-\u0edf"  # Lao
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d"  # Burmese
    "\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a-\uaa7f"  # Burmese
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_LEAST_UNSPACED = 0.01  # share of a book's letters
_OF_EACH_DICTIONARY = "あア漢กກកက"
_RUN = re.compile(rf"(?:[{_UNSPACED}]\s*){{2}}")

# NFKC decomposes the vowel am of Thai and Lao, which dictionaries have as one letter.
_PARTS_OF_AM = (
    (
        "([\u0e01-\u0e2e][\u0e31-\u0e4e]*?)\u0e4d([\u0e48-\u0e4b]?)\u0e32",
        "\\1\\2\u0e33",
    ),
    (
        "([\u0e81-\u0eae][\u0eb1-\u0ece]*?)\u0ecd([\u0ec8-\u0ecb]?)\u0eb2",
        "\\1\\2\u0eb3",
    ),
)

_LINE_ENDS = "\n\r\v\f\x85\u2028\u2029"

# No character has more than seven digits, and Python's `int` reads no more than 4,300.
_DIGITS = re.compile("&#0*([0-9]{1,8})[0-9]*")

# Normalizing takes minutes to sort many marks on one letter.
_MANY_MARKS = 30


def words(text: str, mode: WordMode = "paper") -> list[str]:
    """Return the words of `text`, lower-cased, in order.

    `paper`: the runs of word characters that have an ASCII letter or digit in them, as
    the paper's released code counts them (arXiv 2603.20957). `unicode`: those of every
    script, after NFKC and without format characters, with the combining marks that
    stand in them; ICU tells the words of Han, Hiragana, Katakana, Thai, Lao, Khmer and
    Burmese apart.
    """
    if mode == "paper" or text.isascii():  # both modes agree on ASCII
        return _paper_words(text)
    return _unicode_words(text)


def requested_words(text: str, mode: WordMode) -> int:
    """Count the words that a prompt for a text requests: as the paper does, by blanks.

    So "well-kept" and "don't" are a word each. Mode "unicode" has its own rule, which
    covers scripts without spaces.
    """
    return len(text.split()) if mode == "paper" else len(words(text, mode))


def count_about_as_tokens(text: str, mode: WordMode) -> int:
    """Count words, and letters in scripts without spaces: about as many as tokens."""
    if mode == "paper":
        return requested_words(text, mode)
    text_words = words(text, mode)
    if not has_unspaced(text):
        return len(text_words)
    return sum(len(word) if has_unspaced(word) else 1 for word in text_words)


def _paper_words(text: str) -> list[str]:
    latin_1 = encoded(text, WITH_SPACES)
    if BEYOND.encode() in latin_1:
        return _words_beyond_latin_1(text)
    lower = latin_1.translate(LOWER_OR_SPACE)
    shape = lower
    if not lower.isascii():
        shape = lower.translate(_SHAPE)
    if b" _" in b" " + shape:
        lower = _NOT_COUNTED.sub(b" ", lower)
    return lower.decode("latin-1").split()


def in_latin_1(text: str) -> bytes | None:
    """Return the text in Latin-1, as `encoded` does; None if it has other letters."""
    try:
        return encoded(text)
    except UnicodeEncodeError:
        return None


def encoded(
    text: str,
    errors: str = "strict",
    *,
    mark_as: str = " ",
) -> bytes:
    """Return the text in Latin-1, with `mark_as` for quotes, dashes and ellipses.

    errors: how to encode other characters

    Raises UnicodeEncodeError.
    """
    if not text.isascii():
        for mark in COMMON_MARKS:
            text = text.replace(mark, mark_as)
    return text.encode("latin-1", errors)


def _encode_beyond_ascii(error: UnicodeError) -> tuple[str, int]:
    """Encode characters with a letter among them as `BEYOND`, separators as spaces."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = _TOKEN.search(error.object, error.start, error.end)
    return BEYOND if letter else " ", error.end


codecs.register_error(WITH_SPACES, _encode_beyond_ascii)


def _words_beyond_latin_1(text: str) -> list[str]:
    if _LOWERS_ALONE.search(text):
        return [
            word.lower() for word in _TOKEN.findall(text) if _ASCII_ALNUM.search(word)
        ]
    return [
        word
        for word in _TOKEN.findall(text.lower())
        # An ASCII word without a letter or digit is all underscores.
        if (word.isascii() and word[-1] != "_") or _ASCII_ALNUM.search(word)
    ]


def _unicode_words(text: str) -> list[str]:
    text = normalized(text, "NFKC")
    letters = "".join(set(text))
    formats = {
        ord(c) for c in letters if not c.isascii() and unicodedata.category(c) == "Cf"
    }
    if formats:
        text = text.translate(dict.fromkeys(formats))
    if has_unspaced(letters):
        text = separate_unspaced_words(text)
    tokens = re.findall(rf"\w[\w{_combining_marks_in(letters)}]*", text)
    return [
        word.lower()
        for word in tokens
        if "_" not in word or _LETTER_OR_DIGIT.search(word)
    ]


def has_unspaced(text: str) -> bool:
    """Whether a text has letters of a script without spaces."""
    return not text.isascii() and _IS_UNSPACED.search(text) is not None


def separate_unspaced_words(text: str) -> str:
    """Separate the words of scripts without spaces by spaces.

    text: without format characters

    A word never crosses a blank line. Without ICU, which a book of such a script
    requires (`needs_icu`), each letter is a word.
    """
    for parts, am in _PARTS_OF_AM:
        text = re.sub(parts, am, text)
    run_pattern = _run_pattern(_combining_marks_in(text))
    runs = "\n".join("".join(run.split()) for run in run_pattern.findall(text))
    words_of_runs = iter(_with_spaces_between_words(runs).split("\n"))
    return run_pattern.sub(lambda _: f" {next(words_of_runs)} ", text)


def _with_spaces_between_words(runs: str) -> str:
    """Put spaces between the words of runs, one per line."""
    breaker = _word_breaker()
    if breaker is None:
        return re.sub(
            f"(?<=.)(?=[{_UNSPACED}])(?![{_combining_marks_in(runs)}\u0e33\u0eb3])",
            " ",
            runs,
        )
    return " ".join(breaker(runs, "root"))


@cache
def _word_breaker() -> type[WordBreaker] | None:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError:
        return None
    # Which dictionary a mark such as U+30FC belongs to depends on those that are
    # loaded.
    list(WordBreaker(_OF_EACH_DICTIONARY, "root"))
    return WordBreaker


def has_runs(texts: Iterable[str]) -> bool:
    """Whether any text has two letters of a script without spaces in a row."""
    return any(has_unspaced(text) and _RUN.search(text) for text in texts)


def needs_icu(texts: Sequence[str]) -> bool:
    """Whether a book is of a script without spaces (docs/method.md, "Words").

    Such letters hold at least 1% of all: not a novel in English with a name in
    Japanese.
    """
    if not has_runs(texts):
        return False
    unspaced = 0
    letters = 0
    for text in texts:
        unspaced += len(_IS_UNSPACED.findall(text))
        letters += sum(map(_is_letter_or_mark, text))
    return unspaced >= _LEAST_UNSPACED * letters


def _is_letter_or_mark(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character).startswith("M")


def installed_icu() -> str | None:
    """Return the version of the ICU that is installed; None without any."""
    if _word_breaker() is None:
        return None
    from icu4py import icu_version

    return icu_version


def _combining_marks_in(text: str) -> str:
    return "".join(
        sorted(c for c in set(text) if unicodedata.category(c).startswith("M")),
    )


def _run_pattern(marks: str) -> re.Pattern[str]:
    """Return the pattern of runs of unspaced scripts, with these combining marks."""
    letter = f"[{_UNSPACED}]"
    if marks:
        letter = f"(?![{marks}]){letter}"
    letters = f"{letter}[{_UNSPACED}{marks}]*+"
    blanks = rf"[^\S{_LINE_ENDS}]*+"
    return re.compile(
        rf"{letters}(?:{blanks}(?:(?:\r\n|[{_LINE_ENDS}]){blanks})?{letters})*+",
    )


def normalized(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Return `text` in a normal form of Unicode, in time that grows as it does."""
    if text.isascii():
        return text
    combining_marks = filter(unicodedata.combining, set(text))
    combining = "".join(sorted(combining_marks))
    if len(text) > _MANY_MARKS and combining:
        text = re.sub(f"[{combining}]{{{_MANY_MARKS},}}", _marks_in_normal_order, text)
    return unicodedata.normalize(form, text)


def without_references(text: str) -> str:
    """Return the text with HTML character references decoded, of any number."""
    if "&" not in text:
        return text
    return html.unescape(_DIGITS.sub(r"&#\1", text))


def _marks_in_normal_order(marks: re.Match[str]) -> str:
    """Return the marks in their normal order, so that normalizing has none to sort."""
    apart = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    return "".join(sorted(apart, key=unicodedata.combining))


def place_after_words(
    count: int,
    text: str,
    split: Callable[[str], list[str]],
    *,
    reach: int | None = 100,
) -> int:
    """Return the first place after `count` words at which `text` splits between words.

    split: returns the words of a text; the place is the end of the text if there is no
    other within `reach` characters (None: anywhere), as in markup.
    """
    whole = split(text)
    places = range(len(text) + 1)
    first = bisect_left(places, count, key=lambda end: len(split(text[:end])))
    for end in places[first:][:reach]:
        head = split(text[:end])
        if head == whole[: len(head)] and split(text[end:]) == whole[len(head) :]:
            return end
    return len(text)
