"""Words for near-verbatim matching: what only looks different is made alike.

Folding never touches the four measures of METRICS section 3, whose words are in `words`.
"""

from __future__ import annotations

import re
import unicodedata

from pytest_memleak.scoring.folded_tokens import LATIN_FORMS, LIGATURES, LOOK_ALIKES

_WORD = re.compile(r"[^\W_](?:\S*[^\W_])?")

# They part two words without a space, and editions differ in them.
_BREAKS = ("--", "...")

# Up to this many different marks are quicker replaced one after the other than looked up.
_FEW = 16

# Marks above and below Latin, Greek and Cyrillic letters.
_FIRST_MARK, _LAST_MARK = "\u0300", "\u036f"


def _inverted(forms: dict[str, str]) -> dict[str, str]:
    return {form: letter for letter, its_forms in forms.items() for form in its_forms}


_READ_AS = {
    **dict.fromkeys("‒–—―⸺⸻", " "),
    **dict.fromkeys("‐‑−", "-"),
    **dict.fromkeys("‘’‚‛′ʹʻʼʽˊˋ`´", "'"),
    **dict.fromkeys("“”„‟«»", '"'),
    **LIGATURES,
    **_inverted(LATIN_FORMS),
    # Shown as nothing, though Unicode counts them as letters or marks.
    **dict.fromkeys("\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0", ""),
    **{chr(code): "" for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))},
}

_AS_LATIN = str.maketrans(_inverted(LOOK_ALIKES) | _inverted(LATIN_FORMS))


def folded_words(text: str) -> list[str]:
    """The words of `text`, split on white space and on dashes and ellipses, folded.

    Compatibility forms (ligatures, full width, mathematical letters) become plain ones;
    format, control and zero-width characters and the accents of Latin, Greek and Cyrillic
    letters go; curly quotes and odd hyphens become ASCII; punctuation at a word's edges goes,
    and with it a word that is nothing else; case is folded. A word all of whose letters look
    like Latin ones is read as Latin; so no word of another script is half translated.
    """
    odd = {
        mark: _plain(mark)
        for mark in set(text)
        if not (" " <= mark <= "~" or mark.isspace()) or mark == "`"
    }
    if len(odd) <= _FEW:
        for mark, plain in odd.items():
            text = text.replace(mark, plain)
    else:
        text = text.translate({ord(mark): plain for mark, plain in odd.items()})
    for mark in _BREAKS:
        text = text.replace(mark, " ")
    if text.isascii():
        return _WORD.findall(text.lower())
    return [_folded(word) for word in _WORD.findall(unicodedata.normalize("NFC", text))]


def _plain(mark: str) -> str:
    if mark in _READ_AS:
        return _READ_AS[mark]
    if unicodedata.category(mark) in ("Cf", "Cc", "Cs"):
        return ""
    parts = unicodedata.normalize("NFKD", mark)
    kept = [_READ_AS.get(part, part) for part in parts if not _FIRST_MARK <= part <= _LAST_MARK]
    return unicodedata.normalize("NFC", "".join(kept))


def _folded(word: str) -> str:
    """The word in lower case, and in Latin letters if all of it looks like them.

    First in the case it is in, as a capital may look like a Latin one where its small letter
    does not; then in lower case, so that a capital at its head changes nothing.
    """
    if word.isascii():
        return word.lower()
    lower = word.casefold()
    for form in (word, lower):
        latin = form.translate(_AS_LATIN)
        if latin.isascii():
            return latin.lower()
    return lower
