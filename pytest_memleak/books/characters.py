"""Characters that are no text: controls, invisible ones, controls that stand for letters."""

from __future__ import annotations

import re
import unicodedata

from pytest_memleak.scoring.words import normalized

__all__ = ["is_binary", "is_noise", "legible", "without_controls"]

_VERTICAL_SPACE = re.compile("[\x0b\x0c\x1c-\x1f]")
# What XML does not allow; lone surrogates are not even text.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\ufffe\uffff\ud800-\udfff]")

# Random bytes have nine controls in a hundred.
_ENOUGH_TO_TELL = 200

# Soft hyphens, joiners, zero-width spaces, directional marks: they cut words that a reader sees
# whole, and no two editions have them in the same places.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb"
)
# U+0080 to U+009F are controls that nobody means; the code page that was meant has letters there.
_ODD = re.compile(f"[{_INVISIBLE}\x80-\x9f]")
# Latin and Armenian; those of Arabic are forms of letters, which only old files have.
_LIGATURES = re.compile("[\ufb00-\ufb06\ufb13-\ufb17]")
_FROM_CP1252 = {chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}


def is_binary(text: str) -> bool:
    """Whether this was no text: a zero anywhere, or many controls at its beginning."""
    head = text[:10_000]
    return "\0" in text or len(_CONTROLS.findall(head)) * 100 > len(head)


def is_noise(text: str) -> bool:
    """Whether so many controls stand at its beginning that these are random or encrypted bytes."""
    head = text[:10_000]
    return len(head) >= _ENOUGH_TO_TELL and len(_CONTROLS.findall(head)) * 30 > len(head)


def without_controls(text: str) -> str:
    """The text without control characters, but for tabs and line ends."""
    return _CONTROLS.sub("", _VERTICAL_SPACE.sub(" ", text))


def legible(text: str) -> str:
    """The text as a reader sees it: no invisible characters, letters whole and by themselves.

    Letters and their marks come in NFC, however they were put together, and ligatures as the
    letters that they join. White space of any kind stays as it is.
    """
    if text.isascii():
        return text
    return normalized(_LIGATURES.sub(_joined, _ODD.sub(_seen, text)), "NFC")


def _joined(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0])


def _seen(match: re.Match[str]) -> str:
    return _FROM_CP1252.get(match[0], "")
