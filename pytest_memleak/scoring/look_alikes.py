"""Letters that are drawn like Latin ones, as data (Unicode confusables, UTS 39)."""

from __future__ import annotations

import re
import unicodedata

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

# The same of scripts of which few books are: Lisu, Coptic, Carian, Deseret, syllabics and others.
_FURTHER = {
    "a": "ᗅꓮ𐊠𖽀ⲁ𐌀", "b": "Ƅᑲᖯᗷꓐ𐊂𐊡𐌁", "c": "ϲϹⲤⲥꓚ𐊢𐌂𐐕𐐽𐔜", "d": "ᑯᗞᗪꓒꓓ", "e": "ⴹꓰꬲ𐊆𑢦𑢮ⲉ𐌄ɛ",
    "f": "ᖴꓝꬵ𐊇𐊥𐔥𑢢𑣂", "g": "ƍᏳꓖ", "h": "ᕼⲎꓧ𐋏", "i": "ꙇ𑣃ᛁⲒⵏꓲ𐊊𐌉𖼨", "j": "ᒍꓙ", "k": "ᛕⲔꓗ𐔘",
    "l": "ǀᒪⳐꓡ𐐛𐔦𑢣𑢲𖼖", "m": "ᗰᛖⲘꓟ𐊰𐌑", "n": "Ⲛꓠ𐔓", "o": "𐌏ჿⲞⲟⵔꓳ𐊒𐊫𐐄𐐬𐓂𐓪𐔖𑢵𑣈𑣗", "p": "ᑭⲢⲣꓑ𐊕",
    "q": "ⵕ", "r": "ᖇᴦⲅꓣꭇꭈ𐒴𖼵", "s": "ƽꓢ𐊖𐐠𐑈𑣁𖼺", "t": "Ⲧꓔ𐊗𐊱𐌕𑢼𖼊", "u": "ᑌꓴꞟ𐓎𐓶𑢸𑣘𖽂",
    "v": "ᐯⴸꓦꛟ𐔝𑢠𑣀𖼈", "w": "ꓪ", "x": "ᕁᕽᚷⲬⵝꓫ𐊐𐊴𐌗𐔧", "y": "ყⲨꓬ𐊲𑢤𑣜𖽃", "z": "ꓜ𑢩𑣄",
}  # fmt: skip

# What Unicode's names call a Latin letter, with a hook or in a square, and does not take apart.
_NAMED = re.compile(
    "(?:LATIN (?:SMALL|CAPITAL) LETTER|NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER"
    "|REGIONAL INDICATOR SYMBOL LETTER) ([A-Z])(?: WITH .*)?"
)
_BLOCKS = (
    *((0x180, 0x2B0), (0x1D00, 0x1DC0), (0x1EFA, 0x1F00), (0x2C60, 0x2C80), (0xA720, 0xA800)),
    *((0xAB30, 0xAB70), (0x1F150, 0x1F18A), (0x1F1E6, 0x1F200)),
)

# Latin letters with a stroke, which no decomposition takes from them.
_STRUCK = {"b": "ƀ", "d": "đðɖ", "h": "ħ", "i": "ɨ", "l": "ł", "o": "ø", "t": "ŧ", "z": "ƶ"}


def _latin() -> dict[str, str]:
    """Every look-alike by its letter; where only one case of a letter looks so, both are read so.

    Else a word in capitals would not be the same word.
    """
    found = {form: plain.lower() for form, plain in LIGATURES.items()}
    for letters in (LOOK_ALIKES, LATIN_FORMS, _STRUCK, _FURTHER):
        for letter, forms in letters.items():
            for form in forms:
                found.setdefault(form, letter)
    for form, letter in list(found.items()):
        for other in (form.lower(), form.upper()):
            if len(other) == 1 and not other.isascii():
                found.setdefault(other, letter)
    for form in (chr(code) for block in _BLOCKS for code in range(*block)):
        if named := _NAMED.fullmatch(unicodedata.name(form, "")):
            found.setdefault(form, named[1].lower())
    return found


LATIN = _latin()
"""Per look-alike, the Latin letters that it is read as (METRICS section 11)."""
