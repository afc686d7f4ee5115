"""What a test tells piece by piece: none is a quote, but one after the other they may be one.

    pieces = Pieces(quotes, most=12)
    pieces.goes_on("the ferryman counted")        # False
    ...                                           # True from the thirteenth word on

Properties, warnings and subtests of one test come singly; a book may be told a line, or a word,
at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_memleak.redaction.text import last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Pieces", "messages_of"]

_OURS = "memleak."
# Each costs a look at every book. Nobody reads on here.
_MOST = 100


class Pieces:
    """The pieces of one kind, in order.

    quotes: whether a text quotes what is protected. most: as many words may stand in a row.
    """

    def __init__(self, quotes: Callable[[str], bool], *, most: int) -> None:
        self._quotes = quotes
        self._most = most
        self._before = ""
        self._count = 0

    def goes_on(self, text: str) -> bool:
        """Whether this piece makes a quote of what came before it, shown or not."""
        self._count += 1
        if self._count > _MOST:
            return True
        joined = f"{self._before} {text}"
        self._before = last_words(joined, self._most)
        return self._quotes(joined)

    def properties(self, told: list[Any]) -> list[Any]:
        """Pairs of a name and a value, without those that go on with a quote; ours stay."""
        theirs = (str(value) for name, value in told if not str(name).startswith(_OURS))
        if not self._quotes(" ".join(theirs)):
            return told
        kept: list[Any] = []
        for name, value in told:
            if str(name).startswith(_OURS):
                kept.append((name, value))
                continue
            self._count = 0  # all of it has been looked for at once
            hidden = self.goes_on(str(value))
            kept.append((name, "withheld") if hidden else (name, value))
        return kept


def messages_of(error: BaseException | None) -> Iterator[str]:
    """What an exception says, with all that it groups and that led to it, in that order."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            waiting[:0] = one.exceptions
        else:
            yield str(one)
        yield from map(str, getattr(one, "__notes__", ()))
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
