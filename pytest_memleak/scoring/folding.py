"""Words of near-verbatim matching, folded: text that looks alike becomes equal.

Two foldings: `passage_words` for passages (docs/method.md) and `folded_words` for
near-verbatim recall. Neither touches the four measures, whose words are
in `words`.
"""

from __future__ import annotations

import re
import unicodedata

from pytest_memleak.scoring.words import (
    has_unspaced,
    separate_unspaced_words,
    without_references,
)

# Letters that look like Latin ones, as data (Unicode confusables, UTS 39).
LIGATURES = {
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ꜳ": "aa",
    "Ꜳ": "AA",
    "ꝏ": "oo",
    "Ꝏ": "OO",
}

# Other forms of Latin letters (small capitals, IPA), folded in any word.
LATIN_FORMS = {
    "a": "ɑᴀ",
    "b": "ʙ",
    "c": "ᴄ",
    "d": "ᴅ",
    "e": "ᴇ",
    "f": "ꜰ",
    "g": "ɡɢ",
    "h": "ʜ",
    "i": "ıɩɪ",
    "j": "ȷᴊ",
    "k": "ᴋ",
    "l": "ʟ",
    "m": "ᴍ",
    "n": "ɴ",
    "o": "ᴏᴑ",
    "p": "ᴘ",
    "r": "ʀ",
    "s": "ꜱ",
    "t": "ᴛ",
    "u": "ᴜʋ",
    "v": "ᴠ",
    "w": "ᴡɯ",
    "y": "ʏɣ",
    "z": "ᴢ",
}

# Letters of other scripts that look like a Latin letter, and small letters that look
# like a small capital. Cyrillic, Greek, Armenian, Cherokee.
# The capitals of four Greek letters (Η, Μ, Ν, Υ) don't look like their small ones.
LOOK_ALIKES = {
    "a": "аАαΑᎪ",
    "b": "вВьЬβΒᏴᏏ",
    "c": "сСᏟꮯ",
    "d": "ԁᎠᏧ",
    "e": "еЕҽεΕᎬ",
    "f": "Ϝք",
    "g": "ԌցᏀ",
    "h": "нНһҺΗհᎻᏂ",
    "i": "іІιΙᎥꭵ",
    "j": "јЈϳͿᎫ",
    "k": "кКκΚᏦ",
    "l": "ӏӀᏞ",
    "m": "мМΜϺᎷ",
    "n": "ηΝոռ",
    "o": "оОοΟσօՕ",
    "p": "рРρΡϱᏢ",
    "q": "ԛԚգզ",
    "r": "гᏒᎡꮁ",
    "s": "ѕЅՏᏕᏚꮪ",
    "t": "тТτΤᎢ",
    "u": "υμսՍ",
    "v": "ѵѴνᏙꮩ",
    "w": "ԝԜѡωաᎳᏔꮃ",
    "x": "хХχΧ",
    "y": "уУүҮγΥᎩᎽ",
    "z": "ζΖᏃꮓ",
}

# The same for scripts of few books: Lisu, Coptic, Carian, Deseret, syllabics and
# others.
_FURTHER = {
    "a": "ᗅꓮ𐊠𖽀ⲁ𐌀",
    "b": "Ƅᑲᖯᗷꓐ𐊂𐊡𐌁",
    "c": "ϲϹⲤⲥꓚ𐊢𐌂𐐕𐐽𐔜",
    "d": "ᑯᗞᗪꓒꓓ",
    "e": "ⴹꓰꬲ𐊆𑢦𑢮ⲉ𐌄ɛ",
    "f": "ᖴꓝꬵ𐊇𐊥𐔥𑢢𑣂",
    "g": "ƍᏳꓖ",
    "h": "ᕼⲎꓧ𐋏",
    "i": "ꙇ𑣃ᛁⲒⵏꓲ𐊊𐌉𖼨",
    "j": "ᒍꓙ",
    "k": "ᛕⲔꓗ𐔘",
    "l": "ǀᒪⳐꓡ𐐛𐔦𑢣𑢲𖼖",
    "m": "ᗰᛖⲘꓟ𐊰𐌑",
    "n": "Ⲛꓠ𐔓",
    "o": "𐌏ჿⲞⲟⵔꓳ𐊒𐊫𐐄𐐬𐓂𐓪𐔖𑢵𑣈𑣗",
    "p": "ᑭⲢⲣꓑ𐊕",
    "q": "ⵕ",
    "r": "ᖇᴦⲅꓣꭇꭈ𐒴𖼵",
    "s": "ƽꓢ𐊖𐐠𐑈𑣁𖼺",
    "t": "Ⲧꓔ𐊗𐊱𐌕𑢼𖼊",
    "u": "ᑌꓴꞟ𐓎𐓶𑢸𑣘𖽂",
    "v": "ᐯⴸꓦꛟ𐔝𑢠𑣀𖼈",
    "w": "ꓪ",
    "x": "ᕁᕽᚷⲬⵝꓫ𐊐𐊴𐌗𐔧",
    "y": "ყⲨꓬ𐊲𑢤𑣜𖽃",
    "z": "ꓜ𑢩𑣄",
}

# Characters that Unicode names as Latin letters (hooked, squared) but doesn't
# decompose.
_NAMED = re.compile(
    "(?:LATIN (?:SMALL|CAPITAL) LETTER"
    "|NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER"
    "|REGIONAL INDICATOR SYMBOL LETTER) ([A-Z])(?: WITH .*)?",
)
_BLOCKS = (
    (0x180, 0x2B0),
    (0x1D00, 0x1DC0),
    (0x1EFA, 0x1F00),
    (0x2C60, 0x2C80),
    (0xA720, 0xA800),
    (0xAB30, 0xAB70),
    (0x1F150, 0x1F18A),
    (0x1F1E6, 0x1F200),
)

# Latin letters with a stroke, which no decomposition removes.
_STRUCK = {
    "b": "ƀ",
    "d": "đðɖ",
    "h": "ħ",
    "i": "ɨ",
    "l": "ł",
    "o": "ø",
    "t": "ŧ",
    "z": "ƶ",
}


def _letters_by_form(forms: dict[str, str]) -> dict[str, str]:
    letter_of = {}
    for letter, look_alikes in forms.items():
        letter_of.update(dict.fromkeys(look_alikes, letter))
    return letter_of


def _letter_of_look_alike() -> dict[str, str]:
    """Map every look-alike to its letter, in both cases if one looks alike.

    Otherwise a word in capitals would not be the same word.
    """
    letter_of = {form: plain.lower() for form, plain in LIGATURES.items()}
    for letters in (LOOK_ALIKES, LATIN_FORMS, _STRUCK, _FURTHER):
        letter_of = _letters_by_form(letters) | letter_of
    for form, letter in list(letter_of.items()):
        for other in (form.lower(), form.upper()):
            if len(other) == 1 and not other.isascii():
                letter_of.setdefault(other, letter)
    for first, behind in _BLOCKS:
        for form in map(chr, range(first, behind)):
            named = _NAMED.fullmatch(unicodedata.name(form, ""))
            if named:
                letter_of.setdefault(form, named[1].lower())
    return letter_of


LATIN = _letter_of_look_alike()
"""The Latin letters that each look-alike is read as (docs/method.md)."""

# Letters that look like no Latin one, so that a text with them has Greek words. Their
# capitals and small letters look like different Latin ones (Η like H, η like n), and
# case folding writes an iota below a letter behind it, as capitals do.
_GREEK = re.compile("[ΓΔΘΛΞΠΦΨΩδθλξπφψ]")
_MARKED_WORD = re.compile(r"[\w\u0300-\u036f]+")
_GREEK_WORD = re.compile("[\u0300-\u03ff\u1f00-\u1fff]+")

_WORD = re.compile(r"[^\W_]+")
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# A quoted attribute may contain the tag's end.
_TAG = re.compile(
    r"""</?([A-Za-z][A-Za-z0-9-]*)((?:\s(?:=\s*(?:"[^"<]*"|'[^'<]*')|[^<>])*+|/)?)>""",
)
_WITHIN_WORDS = frozenset(
    (
        "a",
        "b",
        "big",
        "code",
        "em",
        "font",
        "i",
        "mark",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "u",
        "wbr",
    ),
)
_COMMENT = re.compile("<!--(.*?)-->", re.DOTALL)
_PARTED = re.compile(r"(?<=[^\W_])[-\u2010][^\S\n]*\n[^\S\n]*(?=[^\W_])")
_NUMBERS = re.compile(
    r"^(?:[^\w\n]|_)*\d+(?:(?:[^\w\n]|_)+\d+)*(?![^\W_])",
    re.MULTILINE,
)
ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f]+")
# ASCII in invisible characters.
_TAG_CHARACTERS = re.compile("[\U000e0020-\U000e007e]+")
_SHOWN = {0xE0000 + code: code for code in range(0x20, 0x7F)}
# Invisible, though Unicode counts them as letters: Hangul fillers.
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0"
_READ_AS = str.maketrans({**LATIN, "_": " ", "*": ""})
# Folding may join words at what is invisible, at symbols, and at these; also, in ASCII,
# at `*` between letters and at `-` before a line's end.
_JOINING = "\uff0a\ufe61\u2010\u2011\ufe63\uff0d" + _BLANK_LETTERS
_PRINTED = bytes((*range(9, 14), *range(28, 127)))
_BESIDE = "[^\x00-/:-@[-`{-\x7f\u2010-\u2027]"
_JOINING_ASTERISK = re.compile(rf"\*(?<={_BESIDE}\*)\**(?={_BESIDE})")
_JOINING_HYPHEN = re.compile(
    rf"-(?<={_BESIDE}-)(?=[^!-~\u2010-\u2027]*[\n\r\v\f\x85\u2028\u2029])",
)


def passage_words(text: str) -> list[str]:
    """Return the runs of letters and digits of the folded text, in order."""
    return _WORD.findall(folded(text))


def folded(text: str) -> str:
    """Fold the text as docs/method.md does; characters between words don't matter.

    Text that no reader sees, in tags and in tag characters, comes last.
    """
    hidden = [run.translate(_SHOWN) for run in _TAG_CHARACTERS.findall(text)]
    text = ANSI.sub("", _LINE_END.sub("\n", text))
    text = without_references(text)
    if "<" in text:
        # The part behind the last end has no whole comment, and would be read again and
        # again.
        commented, end, rest = text.rpartition("-->")
        hidden += _COMMENT.findall(commented + end)
        text = _COMMENT.sub("", commented + end) + rest
        hidden += [inside for _, inside in _TAG.findall(text)]
        text = _TAG.sub(_replacement_of_tag, text)
    text = " ".join((text, *filter(str.strip, hidden)))
    text = _CONTROLS.sub("", text) if text.isascii() else _in_plain_forms(text)
    if "\n" in text:
        text = _PARTED.sub("", text)
    return _NUMBERS.sub("", text).translate(_READ_AS).casefold()


def with_gaps(text: str) -> str:
    """Return the text with gaps where folding joins words; what it moves stays put."""
    text = without_references(text).replace("&", " ")
    text = _TAG.sub(_tag_as_gap, text).replace("<", " ")
    odd = text.encode("utf-8", "surrogatepass").translate(None, _PRINTED)
    odd_letters = set(odd.decode("utf-8", "surrogatepass"))
    gaps = {ord(c): " " for c in odd_letters if _may_join_words_at(c)}
    if gaps:
        text = _TAG_CHARACTERS.sub(_tag_characters_as_ascii, text)
        text = text.translate(gaps)
    text = _JOINING_ASTERISK.sub(" ", text)
    return _JOINING_HYPHEN.sub("–", text)


def _tag_as_gap(tag: re.Match[str]) -> str:
    """Return a tag within words as a gap with its attributes; others as they are."""
    if _replacement_of_tag(tag):
        return tag[0]
    return f" {tag[2]} "


def _tag_characters_as_ascii(run: re.Match[str]) -> str:
    """Return tag characters as the ASCII that they stand for."""
    return f" {run[0].translate(_SHOWN)} "


def _may_join_words_at(c: str) -> bool:
    """Return whether folding may join words at a character."""
    if c in _JOINING:
        return True
    return unicodedata.category(c)[0] in "CS" and not c.isspace()


def _replacement_of_tag(tag: re.Match[str]) -> str:
    return "" if tag[1].lower() in _WITHIN_WORDS else " "


def _in_plain_forms(text: str) -> str:
    """Return compatibility forms as plain ones, without marks or unseen letters.

    NFKD comes first: NFKC combines a letter and its mark.
    """
    composed = unicodedata.normalize("NFKC", _with_greek_folded(text))
    parts = unicodedata.normalize("NFKD", composed)
    letters = "".join(set(parts))
    unseen = [c for c in letters if _is_invisible(c)]
    if has_unspaced(letters):  # marks are part of words
        invisible = (ord(c) for c in unseen if unicodedata.category(c)[0] != "M")
        composed = separate_unspaced_words(composed.translate(dict.fromkeys(invisible)))
        parts = unicodedata.normalize("NFKD", composed)
    seen = parts.translate(dict.fromkeys(map(ord, unseen)))
    return unicodedata.normalize("NFC", seen)


def _with_greek_folded(text: str) -> str:
    """Return a text with its words of Greek letters in small letters."""
    if not _GREEK.search(text):
        return text
    return _MARKED_WORD.sub(_greek_folded, text)


def _greek_folded(word: re.Match[str]) -> str:
    return word[0].casefold() if _GREEK_WORD.fullmatch(word[0]) else word[0]


def _is_invisible(c: str) -> bool:
    kind = unicodedata.category(c)[0]
    if kind == "C":
        return not c.isspace()
    return kind == "M" or c in _BLANK_LETTERS


_EDGED_WORD = re.compile(r"[^\W_](?:\S*[^\W_])?")

# They separate words without a space, and editions differ in them.
_BREAKS = ("--", "...")

# Up to this many different marks, replacing each is faster than a table.
_FEW = 16

# Accents of Latin, Greek and Cyrillic letters.
_FIRST_MARK, _LAST_MARK = "\u0300", "\u036f"

_PLAIN_FORMS = {
    **dict.fromkeys("‒–—―⸺⸻", " "),
    **dict.fromkeys("‐‑−", "-"),
    **dict.fromkeys("‘’‚‛′ʹʻʼʽˊˋ`´", "'"),
    **dict.fromkeys("“”„‟«»", '"'),
    **LIGATURES,
    **_letters_by_form(LATIN_FORMS),
    # Invisible, though Unicode counts them as letters or marks.
    **dict.fromkeys("\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0", ""),
    **{chr(code): "" for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))},
}

_AS_LATIN = str.maketrans(_letters_by_form(LOOK_ALIKES) | _letters_by_form(LATIN_FORMS))


def folded_words(text: str) -> list[str]:
    """Return the folded words of `text`, split on white space, dashes, and ellipses.

    Compatibility forms (ligatures, full width, mathematical letters) become plain ones;
    format, control and zero-width characters and the accents of Latin, Greek and
    Cyrillic letters are removed; curly quotes and odd hyphens become ASCII; punctuation
    at a word's edges is removed, as is a word of nothing else; case is folded. A word
    whose letters all look like Latin ones is read as Latin; words of other scripts stay
    whole.
    """
    text = _with_greek_folded(text)
    odd = {mark: _plain_form(mark) for mark in set(text) if _may_have_plain_form(mark)}
    if len(odd) <= _FEW:
        for mark, plain in odd.items():
            text = text.replace(mark, plain)
    else:
        text = text.translate({ord(mark): plain for mark, plain in odd.items()})
    for mark in _BREAKS:
        text = text.replace(mark, " ")
    if text.isascii():
        return _EDGED_WORD.findall(text.lower())
    words = _EDGED_WORD.findall(unicodedata.normalize("NFC", text))
    return [_folded_word(word) for word in words]


def _may_have_plain_form(mark: str) -> bool:
    """Return whether a character may have a plainer form."""
    if mark.isspace():
        return False
    return mark == "`" or not " " <= mark <= "~"


def _plain_form(mark: str) -> str:
    if mark in _PLAIN_FORMS:
        return _PLAIN_FORMS[mark]
    if unicodedata.category(mark) in ("Cf", "Cc", "Cs"):
        return ""
    parts = unicodedata.normalize("NFKD", mark)
    kept = [
        _PLAIN_FORMS.get(part, part)
        for part in parts
        if not _FIRST_MARK <= part <= _LAST_MARK
    ]
    return unicodedata.normalize("NFC", "".join(kept))


def _folded_word(word: str) -> str:
    """Return the word in lower case, in Latin letters if all of it looks like them.

    Tries the original case first, since a capital may look Latin where its small letter
    does not; then lower case, so that an initial capital changes nothing.
    """
    if word.isascii():
        return word.lower()
    lower = word.casefold()
    for form in (word, lower):
        latin = form.translate(_AS_LATIN)
        if latin.isascii():
            return latin.lower()
    return lower
