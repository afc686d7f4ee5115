"""Texts in base64, hexadecimal, ROT13, or camelCase, decoded: further readings."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG_UNIT = 16
"""The least characters, a power of two, of a unit that may be decoded.

Prose has few units so long, and needs no further search.
"""

SHORTEST_BLOB = 40
"""The least characters of a blob."""

_UNIT = re.compile(rf"\S{{{LONG_UNIT},}}")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=[A-Z][a-z])")
_ESCAPE = re.compile(r"\\u[0-9A-Fa-f]{4}")
_LEAST_HUMPS = 8
_MOST_DIGITS = 0.05  # random base64 has more
_BLOB = re.compile(r"[A-Za-z0-9+/_-]{40,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
_HEX_BLOB = re.compile(r"[0-9A-Fa-f]{40,}(?:\r?\n[0-9A-Fa-f]+)*")
_LEAST_LETTERS = 0.7
_PASSAGE = 60  # characters; the shortest near-verbatim one has 20 words
# Base64 writes three bytes in four characters, hexadecimal one in two.
_BASE64_UNIT = 4
_HEX_UNIT = 2
_URL_SAFE = str.maketrans("-_", "+/")
_GOES_ON = range(0x80, 0xC0)  # bytes of UTF-8 that begin no character


def decoded_readings(text: str) -> Iterator[str]:
    """Yield the text with its blobs decoded, and with the words of camelCase apart.

    A blob has 40 characters or more, and decodes to UTF-8 of which 70% are letters.
    camelCase has eight humps or more, and few digits.
    """
    units = [unit for unit in text.split() if len(unit) >= LONG_UNIT]
    if not units:
        return
    long = " ".join(units)
    if _BLOB.search(long):
        yield _HEX_BLOB.sub(partial(_decoded, _text_from_hex), text)
        yield _BLOB.sub(partial(_decoded, _text_from_base64), text)
    if _with_camel_case_split(long) != long:
        yield _with_camel_case_split(text)


def hides_words(text: str) -> bool:
    """Tell whether a text may be a passage in blobs or camelCase; ids are shorter."""
    return len(text) >= _PASSAGE and any(
        decoded != text for decoded in decoded_readings(text)
    )


def decoded_rot13(text: str) -> str:
    """Return a text of ROT13."""
    return codecs.encode(text, "rot13")


def _with_camel_case_split(text: str) -> str:
    return _UNIT.sub(_camel_case_words, text)


def _camel_case_words(unit: re.Match[str]) -> str:
    humps = _HUMP.split(unit[0])
    digits = sum(map(str.isdigit, _ESCAPE.sub("", unit[0])))
    if len(humps) < _LEAST_HUMPS or digits > _MOST_DIGITS * len(unit[0]):
        return unit[0]
    return " ".join(humps)


def _decoded(decode: Callable[[str], str], blob: re.Match[str]) -> str:
    """Return the text of a blob: of all its lines, or of each, if words stand behind.

    decode: returns the text of digits, or ""
    """
    lines = blob[0].split()
    text = decode("".join(lines))
    if text or len(lines) == 1:
        return text or blob[0]
    decoded = [decode(line) if len(line) >= SHORTEST_BLOB else "" for line in lines]
    pairs = zip(decoded, lines, strict=True)
    return "\n".join(text or line for text, line in pairs)


def _text_from_hex(digits: str) -> str:
    for first in range(_HEX_UNIT):
        data = bytes.fromhex(_whole_units(digits[first:], _HEX_UNIT))
        if text := _text_if_mostly_letters(data):
            return text
    return ""


def _text_from_base64(digits: str) -> str:
    digits = digits.rstrip("=").translate(_URL_SAFE)
    # A text may begin in the middle of a blob.
    for first in range(_BASE64_UNIT):
        whole = _whole_units(digits[first:], _BASE64_UNIT)
        rest = digits[first + len(whole) :]
        if len(rest) > 1:
            whole += rest + "=" * (_BASE64_UNIT - len(rest))
        try:
            data = base64.b64decode(whole)
        except binascii.Error:
            continue
        if text := _text_if_mostly_letters(data):
            return text
    return ""


def _whole_units(digits: str, unit: int) -> str:
    return digits[: len(digits) // unit * unit]


def _text_if_mostly_letters(data: bytes) -> str:
    """Return data as text; "" if it isn't UTF-8, or most of it aren't letters.

    At its edges, characters may be cut.
    """
    start = 0
    while start < len(data) and data[start] in _GOES_ON and start < _BASE64_UNIT:
        start += 1
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[start:])
    except UnicodeDecodeError:
        return ""
    letters = sum(map(str.isalpha, text))
    return text if letters >= _LEAST_LETTERS * len(text) else ""
