"""Words of near-verbatim recitals: whatever only changes a text's looks is undone (section 11).

They are not the words of section 8, which `folded_words` gives, nor those of the four measures.
"""

from __future__ import annotations

import html
import re
import unicodedata

from pytest_memleak.scoring.look_alikes import LATIN

__all__ = ["folded", "recital_words", "without_references"]

_WORD = re.compile(r"[^\W_]+")
# No character has more than seven digits, and Python's `int` reads no more than 4,300.
_DIGITS = re.compile("&#0*([0-9]{1,8})[0-9]*")
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# A quoted attribute may hold what would end the tag.
_TAG = re.compile(
    r"""</?([A-Za-z][A-Za-z0-9-]*)((?:\s(?:=\s*(?:"[^"<]*"|'[^'<]*')|[^<>])*+|/)?)>"""
)
_WITHIN_WORDS = frozenset(
    ("b", "i", "em", "strong", "u", "s", "span", "sup", "sub", "mark", "a", "font", "small", "big",
     "code")
)  # fmt: skip
_PARTED = re.compile(r"(?<=[^\W_])[-\u2010][^\S\n]*\n[^\S\n]*(?=[^\W_])")
_NUMBERS = re.compile(r"^(?:[^\w\n]|_)*\d+(?:(?:[^\w\n]|_)+\d+)*(?![^\W_])", re.MULTILINE)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f]+")
# ASCII once more, in characters that nothing shows.
_TAG_CHARACTERS = re.compile("[\U000e0020-\U000e007e]+")
_SHOWN = {0xE0000 + code: code for code in range(0x20, 0x7F)}
# Shown as nothing, though Unicode counts them as letters: Hangul fillers.
_BLANK_LETTERS = "\u115f\u1160"
_READ_AS = str.maketrans({**LATIN, "_": " ", "*": ""})


def recital_words(text: str) -> list[str]:
    """The runs of letters and digits of the folded text, in order."""
    return _WORD.findall(folded(text))


def folded(text: str) -> str:
    """The text as METRICS section 11 folds it: what stays between words does not matter.

    What is written where no reader sees it, in tags and in tag characters, comes last.
    """
    hidden = [run.translate(_SHOWN) for run in _TAG_CHARACTERS.findall(text)]
    text = _LINE_END.sub("\n", text)
    text = without_references(text)
    if "<" in text:
        hidden += [inside for _, inside in _TAG.findall(text)]
        text = _TAG.sub(_without, text)
    text = " ".join((text, *filter(str.strip, hidden)))
    text = _CONTROLS.sub("", text) if text.isascii() else _unmarked(text)
    if "\n" in text:
        text = _PARTED.sub("", text)
    return _NUMBERS.sub("", text).translate(_READ_AS).casefold()


def without_references(text: str) -> str:
    """The text with HTML character references decoded, whatever number they name."""
    return html.unescape(_DIGITS.sub(r"&#\1", text)) if "&" in text else text


def _without(tag: re.Match[str]) -> str:
    return "" if tag[1].lower() in _WITHIN_WORDS else " "


def _unmarked(text: str) -> str:
    """Compatibility forms made plain, without combining marks and what nothing shows.

    Taken apart first: NFKC makes one character of a letter and its mark.
    """
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text))
    gone = {ord(c): None for c in set(parts) if _is_unseen(c)}
    return unicodedata.normalize("NFC", parts.translate(gone))


def _is_unseen(c: str) -> bool:
    kind = unicodedata.category(c)
    return kind[0] == "M" or (kind[0] == "C" and not c.isspace()) or c in _BLANK_LETTERS
