r"""What a text says once escapes, colours and looks are undone, and where in it that is said.

    said = Said(r"\x1b[31mCaf\u00e9&nbsp;NOIR")
    said.plain                       # "cafe noir": to be compared, never shown
    said.where(5, 9)                 # where "NOIR" stands in the text itself

Whoever prints a book may print its repr, its bytes, JSON, HTML, a URL, colours or capitals.
`plain` undoes all that alike: lower case, accents and ligatures taken apart, nothing invisible.
"""

from __future__ import annotations

import functools
import html
import re
import sys
import unicodedata
from bisect import bisect_right
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Said", "plain_of"]

# No part begins with a repetition without a bound: a text of nothing but beginnings is read once.
_ESCAPES = r"""
      (?P<colour> (?:\x1b|\\{1,4}(?:x1b|033|u001b)|\#x1b) \[ [0-9;:?]{0,40} [A-Za-z] )
    | (?P<bytes>  (?:\\{1,4}x[0-9a-f]{2})+ )
    | (?P<units>  (?:\\{1,4}(?-i:u)[0-9a-f]{4})+ )
    | (?P<code>   \\{1,4}(?-i:U)[0-9a-f]{8} )
    | (?P<space>  \\{1,4}[abfnrtv] )
    | (?P<url>    (?:%[0-9a-f]{2})+ )
    | (?P<html>   &(?:\#0{0,20}[0-9]{1,7}|\#x0{0,20}[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30}); )
"""
_BEGINS = "\x1b\\#%&"  # an escape
_FIRST = re.compile(f"[{re.escape(_BEGINS)}]")
# In any case of ASCII letters alone: else `[^\x00-\x7f]` would leave out the long s.
_FLAGS = re.VERBOSE | re.MULTILINE | re.IGNORECASE | re.ASCII
_ESCAPE = re.compile(_ESCAPES, _FLAGS)
# In what is shown also the E of a traceback, and whatever has another look.
_ODD = re.compile(rf"{_ESCAPES} | (?P<e> ^(?-i:E)(?=\s) ) | (?P<other> [^\x00-\x7f] )", _FLAGS)
_FIRST_ODD = re.compile(f"[{re.escape(_BEGINS)}E\x80-\U0010ffff]")
_HEX = re.compile(r"[xu]([0-9a-f]+)", re.IGNORECASE)
_FEW = 24  # so many different characters are quicker replaced one after the other
_MOST_LAYERS = 4
_UNSEEN = frozenset(("Mn", "Me", "Cf", "Cs"))


class Said:
    """A text, undone as often as its escapes hold others."""

    def __init__(self, text: str) -> None:
        self._layers = [_Layer(text)]
        while len(self._layers) < _MOST_LAYERS and _may_be_escaped(self.plain):
            self._layers.append(_Layer(self.plain))

    @property
    def plain(self) -> str:
        """What it says."""
        return self._layers[-1].plain

    def where(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text that stands which `plain[start:end]` says; end > start."""
        for layer in reversed(self._layers):
            start, end = layer.where(start, end)
        return start, end


class _Layer:
    """A text, undone once."""

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self._starts: list[int] = []  # in `plain`, of each piece
        self._places: list[tuple[int, int | None]] = []  # in the text; the end of what was undone
        length = copied = 0
        for found in _found(_ODD, text, first=_FIRST_ODD):
            for piece, start, end in (
                (text[copied : found.start()].lower(), copied, None),
                (_undone(found), found.start(), found.end()),
            ):
                if piece:
                    pieces.append(piece)
                    self._starts.append(length)
                    self._places.append((start, end))
                    length += len(piece)
            copied = found.end()
        pieces.append(text[copied:].lower())
        self._starts.append(length)
        self._places.append((copied, None))
        self.plain = "".join(pieces)

    def where(self, start: int, end: int) -> tuple[int, int]:
        first, last = (bisect_right(self._starts, at) - 1 for at in (start, end - 1))
        begins, undone = self._places[first]
        if undone is None:
            begins += start - self._starts[first]
        there, ends = self._places[last]
        return begins, there + end - self._starts[last] if ends is None else ends


def plain_of(text: str) -> str:
    """`Said(text).plain`, many times sooner: where it stands is not asked for."""
    text = _plain_text(_unescaped(text))
    for _ in range(_MOST_LAYERS - 1):
        if not _may_be_escaped(text):
            break
        text = _plain_text(_unescaped(text))
    return text


def _unescaped(text: str) -> str:
    """Without the escapes of one layer."""
    if not _may_be_escaped(text):  # as most texts are
        return text
    parts: list[str] = []
    copied = 0
    for found in _found(_ESCAPE, text, first=_FIRST):
        parts += [text[copied : found.start()], _undone(found)]
        copied = found.end()
    return "".join([*parts, text[copied:]])


def _found(
    pattern: re.Pattern[str], text: str, *, first: re.Pattern[str]
) -> Iterator[re.Match[str]]:
    """Where a pattern is found, looked for only where `first` says that it may begin."""
    end = 0
    for beginning in first.finditer(text):
        at = beginning.start()
        if at >= end and (found := pattern.match(text, at)):
            yield found
            end = found.end()


def _may_be_escaped(text: str) -> bool:
    return any(mark in text for mark in _BEGINS)


def _plain_text(text: str) -> str:
    """As a layer has a text in which nothing is escaped."""
    if text.isascii():
        return text.lower()
    odd = {mark for mark in set(text) if not mark.isascii()}
    if len(odd) <= _FEW:
        for mark in odd:
            text = text.replace(mark, _folded(mark))
        return text.lower()
    return text.translate({ord(mark): _folded(mark) for mark in odd}).lower()


@functools.lru_cache(maxsize=4096)
def _folded(mark: str) -> str:
    """One character in lower case, taken apart, without what nobody sees."""
    parts = unicodedata.normalize("NFKD", mark.casefold()).casefold()
    seen = "".join(part for part in parts if unicodedata.category(part) not in _UNSEEN)
    return seen.replace("ı", "i")  # capitals do not tell them apart


def _undone(found: re.Match[str]) -> str:
    said = found.group()
    match found.lastgroup:
        case "other":
            return _folded(said)
        case "colour":
            return ""
        case "space" | "e":
            return " " * len(said)
        case kind:
            return _plain_text(_READ[kind or ""](said))


def _of_bytes(said: str) -> str:
    """Escaped bytes: UTF-8 in the repr of bytes, characters in that of a text."""
    data = bytes.fromhex("".join(_HEX.findall(said)))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _of_units(said: str) -> str:
    return bytes.fromhex("".join(_HEX.findall(said))).decode("utf-16-be", "replace")


def _of_code(said: str) -> str:
    number = int(_HEX.findall(said)[0], 16)
    return chr(number) if number <= sys.maxunicode else " "


_READ: dict[str, Callable[[str], str]] = {
    "bytes": _of_bytes,
    "units": _of_units,
    "code": _of_code,
    "url": functools.partial(unquote, errors="replace"),
    "html": html.unescape,
}
