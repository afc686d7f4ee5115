"""Prose to the tokens of the `ngram` model, and back.

A token is a word or a mark of punctuation with the blank before it, if there is one, or a line
or paragraph break. Joined, the tokens of a text are the text with its white space made regular,
so a passage keeps case, spacing and paragraphs in any script.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from enum import Enum, auto

PARAGRAPH = "\n\n"

_UNUSUAL_SPACE = re.compile(r"\s{2,}|[^\S ]")
# Marks between two word characters stay inside a word: don't, 10,000, 7:30, e.g, example.com.
_TOKEN = re.compile(r"\n\n|\n| ?(?:\w+(?:['‘’.,:;!?]\w+)*|\.+|-+|[^\w\s])")


class _Kind(Enum):
    BREAK = auto()
    WORD = auto()
    OPENING = auto()
    STOP = auto()
    OTHER = auto()


def tokenise(text: str) -> list[str]:
    """The tokens of `text`; white space is one blank, one line break or one paragraph break."""
    return _TOKEN.findall(_UNUSUAL_SPACE.sub(_regular_space, text).strip())


def detokenise(tokens: Iterable[str]) -> str:
    """The text of `tokens`, which need not have stood next to each other in any text.

    Where the tokens come from one text this is that text. Where a model put them together, a
    blank that prose never lacks is added and one that it never has is left out.
    """
    pieces: list[str] = []
    before = _Kind.BREAK
    for token in tokens:
        kind = _kind(token)
        if before in _NO_BLANK_AFTER:
            if kind is _Kind.BREAK and before is _Kind.BREAK:
                continue
            pieces.append(token.removeprefix(" "))
        elif before in _BLANK_AFTER and kind in _BLANK_BEFORE and token[0] != " ":
            pieces.append(f" {token}")
        else:
            pieces.append(token)
        before = kind
    return "".join(pieces).rstrip()


def is_break(token: str) -> bool:
    """Whether a token ends a line or a paragraph."""
    return _kind(token) is _Kind.BREAK


def opens_sentence(before: str, token: str) -> bool:
    """Whether a sentence can begin with `token` right after the token `before`."""
    return (
        before[-1] in ".!?”"
        and token[0] == " "
        and (_kind(token) is _Kind.OPENING or token[1].isupper())
    )


_NO_BLANK_AFTER = {_Kind.BREAK, _Kind.OPENING}
_BLANK_AFTER = {_Kind.WORD, _Kind.STOP}
_BLANK_BEFORE = {_Kind.WORD, _Kind.OPENING}


@functools.lru_cache(maxsize=1 << 16)
def _kind(token: str) -> _Kind:
    mark = token.removeprefix(" ")
    if mark[0] == "\n":
        return _Kind.BREAK
    if mark[0].isalnum() or mark[0] == "_":
        return _Kind.WORD
    if mark in "“‘([{«„":
        return _Kind.OPENING
    return _Kind.STOP if mark in ".,;:!?”" else _Kind.OTHER


def _regular_space(run: re.Match[str]) -> str:
    breaks = len(f"x{run.group()}x".splitlines()) - 1
    return (" ", "\n", PARAGRAPH)[min(breaks, 2)]
