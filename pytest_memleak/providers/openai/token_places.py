r"""Where the tokens of a server's response stand in the text that they were made of.

Servers write tokens in several ways: with a first space that the text lacks, "▁" for a
space, begin-of-text before all, "\\ufffd" for a part of a character, and what the model
wrote after the text. Their own offsets count these as text, so tokens are looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PART_OF_CHARACTER = "\ufffd"
_SPACE = "▁"


def token_places(
    tokens: Sequence[str | None],
    text: str,
) -> list[int | None] | None:
    """Return where each token begins; None where the tokens aren't the text's.

    Before the text and behind it, the place is None. Only the first token may be None,
    which means that the server doesn't name it.
    """
    places = _places(tokens, text)
    if places is not None:
        return places
    places = _places(tokens, f" {text}")
    if places is None:
        return None
    return [place and max(0, place - 1) for place in places]


def _places(tokens: Sequence[str | None], text: str) -> list[int | None] | None:
    search = _TextSearch(text)
    for token in tokens:
        if not search.add(token):
            return None
    return search.places if search.is_complete else None


class _TextSearch:
    """The search for one token after another.

    places: of the tokens so far
    """

    def __init__(self, text: str) -> None:
        self.places: list[int | None] = []
        self._text = text
        self._end = 0  # of what was matched
        self._has_parts = False  # behind it, tokens are parts of characters

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the text is left but parts of characters."""
        rest = self._text[self._end :]
        return not rest or (self._has_parts and not _has_ascii(rest))

    def add(self, token: str | None) -> bool:
        """Find the next token; False if it isn't there."""
        text = self._text
        if self._end == len(text) or token is None:
            self.places.append(None)
            return token is not None or len(self.places) == 1
        written = token
        if _SPACE not in text:
            written = token.replace(_SPACE, " ")
        if self._has_parts:
            return self._add_behind_parts(written)
        if text.startswith(written, self._end):
            self._match(self._end, written)
        elif _PART_OF_CHARACTER in written:
            self._add_part()
        elif self.places == [None]:
            return self._add_behind_unnamed(written)
        elif not self.places:
            self.places.append(None)  # begin of text
        else:
            return False
        return True

    def _match(self, start: int, written: str) -> None:
        self.places.append(start)
        self._end = start + len(written)
        self._has_parts = False

    def _add_part(self) -> None:
        self.places.append(self._end)
        self._has_parts = True

    def _add_behind_unnamed(self, written: str) -> bool:
        """Find the second token, before which the first stands in the text."""
        start = self._text.find(written)
        if start < 0:
            return False
        self.places = [0]
        self._match(start, written)
        return True

    def _add_behind_parts(self, written: str) -> bool:
        """Find a token behind parts of characters, which are not ASCII."""
        if _PART_OF_CHARACTER in written:
            self._add_part()
            return True
        start = self._text.find(written, self._end + 1) if written else -1
        skipped = self._text[self._end : max(start, 0)].removeprefix(" ")
        if start > 0 and not _has_ascii(skipped):
            self._match(start, written)
            return True
        if not self.is_complete:
            return False
        self._end = len(self._text)
        self.places.append(None)
        return True


def _has_ascii(text: str) -> bool:
    return any(character.isascii() for character in text)
