"""What texts have beside prose's usual characters; read once for several questions."""

from __future__ import annotations

import string
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROSE = (string.ascii_letters + " \t.,;:!?'\"()>`").encode()


class TextMarks:
    """The bytes of some texts, in UTF-8 with NUL between them.

    have_nul: whether a text has one
    """

    def __init__(self, texts: Sequence[str]) -> None:
        # Joined first, one letter beyond ASCII would make each text take longer.
        self._texts = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._joined = b"\x00".join(self._texts)
        self.have_nul = self._joined.count(0) >= len(texts)

    def joined(self, *, nul_as: bytes) -> bytes:
        """Return all texts; `nul_as` stands for any NUL in them."""
        if self.have_nul:
            return b"\x00".join(text.replace(b"\x00", nul_as) for text in self._texts)
        return self._joined

    def beside(self, usual: bytes, *, and_beside: str = "") -> list[bytes]:
        """Return what each text has beside prose's letters and marks.

        usual, and_beside: bytes, and characters beyond ASCII, that are left out, too

        NUL reads as a blank.
        """
        marks = self._beside_prose.translate(None, usual)
        for mark in and_beside:
            marks = marks.replace(mark.encode(), b"")
        return marks.split(b"\x00") if self._texts else []

    @cached_property
    def _beside_prose(self) -> bytes:
        return self.joined(nul_as=b" ").translate(None, _PROSE)
