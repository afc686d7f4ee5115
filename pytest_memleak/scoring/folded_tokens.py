"""Words of near-verbatim passages: whatever only changes a text's looks is undone (section 11).

They are not the words of section 8, which `folded_words` gives, nor those of the four measures.
"""

from __future__ import annotations

import html
import re
import unicodedata

# Letters that are drawn like Latin ones, as data (Unicode confusables, UTS 39).
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
    letter_of = {form: plain.lower() for form, plain in LIGATURES.items()}
    for letters in (LOOK_ALIKES, LATIN_FORMS, _STRUCK, _FURTHER):
        for letter, forms in letters.items():
            for form in forms:
                letter_of.setdefault(form, letter)
    for form, letter in list(letter_of.items()):
        for other in (form.lower(), form.upper()):
            if len(other) == 1 and not other.isascii():
                letter_of.setdefault(other, letter)
    for form in (chr(code) for block in _BLOCKS for code in range(*block)):
        if named := _NAMED.fullmatch(unicodedata.name(form, "")):
            letter_of.setdefault(form, named[1].lower())
    return letter_of


LATIN = _latin()
"""Per look-alike, the Latin letters that it is read as (METRICS section 11)."""

_WORD = re.compile(r"[^\W_]+")
# No character has more than seven digits, and Python's `int` reads no more than 4,300.
_DIGITS = re.compile("&#0*([0-9]{1,8})[0-9]*")
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# A quoted attribute may hold what would end the tag.
_TAG = re.compile(
    r"""</?([A-Za-z][A-Za-z0-9-]*)((?:\s(?:=\s*(?:"[^"<]*"|'[^'<]*')|[^<>])*+|/)?)>"""
)
_WITHIN_WORDS = frozenset(
    ("b", "i", "em", "strong", "u", "s", "span", "sup", "sub", "mark", "a", "font", "small", "big",
     "code")
)  # fmt: skip
_PARTED = re.compile(r"(?<=[^\W_])[-\u2010][^\S\n]*\n[^\S\n]*(?=[^\W_])")
_NUMBERS = re.compile(r"^(?:[^\w\n]|_)*\d+(?:(?:[^\w\n]|_)+\d+)*(?![^\W_])", re.MULTILINE)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f]+")
# ASCII once more, in characters that nothing shows.
_TAG_CHARACTERS = re.compile("[\U000e0020-\U000e007e]+")
_SHOWN = {0xE0000 + code: code for code in range(0x20, 0x7F)}
# Shown as nothing, though Unicode counts them as letters: Hangul fillers.
_BLANK_LETTERS = "\u115f\u1160"
_READ_AS = str.maketrans({**LATIN, "_": " ", "*": ""})


def passage_words(text: str) -> list[str]:
    """The runs of letters and digits of the folded text, in order."""
    return _WORD.findall(folded(text))


def folded(text: str) -> str:
    """The text as METRICS section 11 folds it: what stays between words does not matter.

    What is written where no reader sees it, in tags and in tag characters, comes last.
    """
    hidden = [run.translate(_SHOWN) for run in _TAG_CHARACTERS.findall(text)]
    text = _LINE_END.sub("\n", text)
    text = without_references(text)
    if "<" in text:
        hidden += [inside for _, inside in _TAG.findall(text)]
        text = _TAG.sub(_without, text)
    text = " ".join((text, *filter(str.strip, hidden)))
    text = _CONTROLS.sub("", text) if text.isascii() else _unmarked(text)
    if "\n" in text:
        text = _PARTED.sub("", text)
    return _NUMBERS.sub("", text).translate(_READ_AS).casefold()


def without_references(text: str) -> str:
    """The text with HTML character references decoded, whatever number they name."""
    return html.unescape(_DIGITS.sub(r"&#\1", text)) if "&" in text else text


def _without(tag: re.Match[str]) -> str:
    return "" if tag[1].lower() in _WITHIN_WORDS else " "


def _unmarked(text: str) -> str:
    """Compatibility forms made plain, without combining marks and what nothing shows.

    Taken apart first: NFKC makes one character of a letter and its mark.
    """
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text))
    gone = {ord(c): None for c in set(parts) if _is_unseen(c)}
    return unicodedata.normalize("NFC", parts.translate(gone))


def _is_unseen(c: str) -> bool:
    kind = unicodedata.category(c)
    return kind[0] == "M" or (kind[0] == "C" and not c.isspace()) or c in _BLANK_LETTERS
