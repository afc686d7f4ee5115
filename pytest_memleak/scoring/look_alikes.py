"""Letters that are drawn like Latin ones, as data (Unicode confusables, UTS 39)."""

from __future__ import annotations

__all__ = ["LATIN", "LATIN_FORMS", "LIGATURES", "LOOK_ALIKES"]

LIGATURES = {
    "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ꜳ": "aa", "Ꜳ": "AA", "ꝏ": "oo", "Ꝏ": "OO",
}  # fmt: skip

# Other forms of Latin letters (small capitals, IPA): read so in any word.
LATIN_FORMS = {
    "a": "ɑᴀ", "b": "ʙ", "c": "ᴄ", "d": "ᴅ", "e": "ᴇ", "f": "ꜰ", "g": "ɡɢ", "h": "ʜ", "i": "ıɩɪ",
    "j": "ȷᴊ", "k": "ᴋ", "l": "ʟ", "m": "ᴍ", "n": "ɴ", "o": "ᴏᴑ", "p": "ᴘ", "r": "ʀ", "s": "ꜱ",
    "t": "ᴛ", "u": "ᴜʋ", "v": "ᴠ", "w": "ᴡɯ", "y": "ʏɣ", "z": "ᴢ",
}  # fmt: skip

# Letters of other scripts that are drawn like a Latin letter, and small letters drawn like a
# small capital. Cyrillic, Greek, Armenian, Cherokee.
# The capitals of four Greek letters (Η, Μ, Ν, Υ) look like another letter than the small ones.
LOOK_ALIKES = {
    "a": "аАαΑᎪ", "b": "вВьЬβΒᏴᏏ", "c": "сСᏟꮯ", "d": "ԁᎠᏧ", "e": "еЕҽεΕᎬ", "f": "Ϝք",
    "g": "ԌցᏀ", "h": "нНһҺΗհᎻᏂ", "i": "іІιΙᎥꭵ", "j": "јЈϳͿᎫ", "k": "кКκΚᏦ", "l": "ӏӀᏞ",
    "m": "мМΜϺᎷ", "n": "ηΝոռ", "o": "оОοΟσօՕ", "p": "рРρΡϱᏢ", "q": "ԛԚգզ", "r": "гᏒᎡꮁ",
    "s": "ѕЅՏᏕᏚꮪ", "t": "тТτΤᎢ", "u": "υμսՍ", "v": "ѵѴνᏙꮩ", "w": "ԝԜѡωաᎳᏔꮃ", "x": "хХχΧ",
    "y": "уУүҮγΥᎩᎽ", "z": "ζΖᏃꮓ",
}  # fmt: skip

# Latin letters with a stroke, which no decomposition takes from them.
_STRUCK = {"b": "ƀ", "d": "đðɖ", "h": "ħ", "i": "ɨ", "l": "ł", "o": "ø", "t": "ŧ", "z": "ƶ"}


def _latin() -> dict[str, str]:
    """Every look-alike by its letter; where only one case of a letter looks so, both are read so.

    Else a word in capitals would not be the same word.
    """
    found = {form: plain.lower() for form, plain in LIGATURES.items()}
    for letters in (LOOK_ALIKES, LATIN_FORMS, _STRUCK):
        for letter, forms in letters.items():
            for form in forms:
                found.setdefault(form, letter)
    for form, letter in list(found.items()):
        for other in (form.lower(), form.upper()):
            if len(other) == 1 and not other.isascii():
                found.setdefault(other, letter)
    return found


LATIN = _latin()
"""Per look-alike, the Latin letters that it is read as (METRICS section 11)."""
