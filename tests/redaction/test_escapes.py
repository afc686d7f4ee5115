"""Quotes in every look that a careless test may give them, against a slow reading of the rule."""

import ast
import html
import json
import re
import unicodedata
import urllib.parse

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.redaction.escapes import Said, plain_of
from pytest_memleak.redaction.text import Quotes, without_quotes

ENGLISH = (
    "The ferryman didn't count “nine” lanterns along the quay & did not like the number at all."
)
TURKISH = "İstanbul’da ışık söndü, kayıkçı iskelede dokuz fener saydı ve bu sayıyı hiç sevmedi."
GERMAN = (
    "Der Fährmann zählte große Laternen am Kai, maß die Straße und mochte die Zahl überhaupt nicht."
)
GREEK = (
    "Ο πορθμέας μέτρησε εννέα φανάρια στην προκυμαία και δεν του άρεσε ο αριθμός ΟΔΥΣΣΕΥΣ ᾳ τέλος."
)
FRENCH = (
    "Le passeur compta neuf ﬂammes, œuvre d’un cœur naïf, et n’aima guère ce nombre où qu’il fût."
)
DECOMPOSED = unicodedata.normalize("NFD", FRENCH)
VIETNAMESE = "Người lái đò đếm chín ngọn đèn lồng dọc bến và không thích con số ấy chút nào."
HINDI = "नाविक ने घाट पर नौ दीपक गिने और उसे वह संख्या बिल्कुल भी अच्छी नहीं लगी थी।"
KOREAN = (
    "뱃사공은 부두를 따라 아홉 개의 등불을 세었고 그 숫자가 전혀 "
    "마음에 들지 않았다 오늘 밤도 내일도."
)
MARKUP = (
    r"<p>The caf&eacute; says 50%25 of C:\new\table \u00e9 and &#233;, "
    "all of it nine times over.</p>"
)
TEXTS = [ENGLISH, TURKISH, GERMAN, GREEK, FRENCH, DECOMPOSED, VIETNAMESE, HINDI, KOREAN, MARKUP]
LOOKS = {
    "as it is": str,
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "swapcase": str.swapcase,
    "casefold": str.casefold,
    "repr": repr,
    "repr of repr": lambda text: repr(repr(text)),
    "ascii": ascii,
    "ascii of ascii": lambda text: ascii(ascii(text)),
    "bytes": lambda text: repr(text.encode()),
    "bytes in a list": lambda text: repr([text.encode()]),
    "json": json.dumps,
    "json of json": lambda text: json.dumps(json.dumps(text)),
    "html": html.escape,
    "html of html": lambda text: html.escape(html.escape(text)),
    "numbered references": lambda text: text.encode("ascii", "xmlcharrefreplace").decode(),
    "url": urllib.parse.quote,
    "query": urllib.parse.quote_plus,
    "backslashes": lambda text: text.encode("ascii", "backslashreplace").decode(),
    "unicode_escape": lambda text: text.encode("unicode_escape").decode(),
    "NFC": lambda text: unicodedata.normalize("NFC", text),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "NFKC": lambda text: unicodedata.normalize("NFKC", text),
    "NFKD": lambda text: unicodedata.normalize("NFKD", text),
    "full width": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "soft hyphens": "\u00ad".join,
    "zero width": "\u200b".join,
    "joiners": "\u2060".join,
    "no-break spaces": lambda text: text.replace(" ", "\xa0"),
    "coloured": lambda text: " ".join(
        f"\x1b[38;5;12m{word}\x1b[39;49;00m" for word in text.split()
    ),
    "coloured by the letter": lambda text: "".join(f"\x1b[31m{c}\x1b[0m" for c in text),
    "colour shown": lambda text: " ".join(f"#x1B[31m{word}#x1B[0m" for word in text.split()),
    "lines of a traceback": lambda text: "".join(f"E     - {w}\n" for w in text.split()),
    "a word a line, numbered": lambda text: "".join(
        f"{n}: {w}\n" for n, w in enumerate(text.split())
    ),
    "a list": lambda text: repr(text.split()),
    "a dict": lambda text: repr(dict(enumerate(text.split()))),
    "underscores": lambda text: "_".join(text.split()),
}
MARK = "words withheld]"


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_of_a_text_tells_thirteen_of_its_words(look):
    for text in TEXTS:
        shown = f"before {LOOKS[look](text)} after"
        plain = without_quotes(shown, [text])
        assert plain.count(MARK) >= 1, ascii(plain)
        left = slow_words(plain.replace(MARK, ""))
        held = runs(slow_words(text), 13)
        assert not held & runs(left, 13), ascii(plain)
        assert plain.startswith("before ")
        assert plain.endswith(" after")


@pytest.mark.parametrize("text", [one for one in TEXTS if one != MARKUP])
def test_a_text_in_quotation_marks_comes_out_whole(text):
    assert without_quotes(f"x '{text}' y", [text]).startswith("x '")
    assert ascii(without_quotes(ascii(text), [text])).count(MARK) == 1


def test_where_it_stands():
    text = "\x1b[31mCaf\\u00e9&nbsp;NOIR"
    said = Said(text)
    assert said.plain == "cafe noir"
    assert text[slice(*said.where(0, 4))] == "Caf\\u00e9"
    assert text[slice(*said.where(5, 9))] == "NOIR"
    assert text[slice(*said.where(3, 6))] == "\\u00e9&nbsp;N"


# --- the slow reading ----------------------------------------------------------------------


def slow_plain(text):
    """What a text says: its escapes taken for what they stand for, a character at a time."""
    return "".join(
        "i" if part == "ı" else part
        for mark in text
        for part in unicodedata.normalize("NFKD", mark.casefold()).casefold()
        if unicodedata.category(part) not in {"Mn", "Me", "Cf", "Cs"}
    )


def slow_words(text):
    words, word = [], ""
    for mark in f"{slow_plain(text)} ":
        if mark.isalnum():
            word += mark
        else:
            words += [word] if word and not word.isdecimal() else []
            word = ""
    return words


def runs(words, length):
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


LETTERS = st.sampled_from([
    *"aAbßſsSσςΣiIıİîÎïéÉeEoœŒœfﬁﬀkKKåÅÅ", "ss", "i\u0307", "e\u0301", "\u0301", "\u0345", "ᾳ",
    "ﬁ", "ŉ", "ǰ", "ΐ", "½", "²", "ａ", "Ａ", "\u00ad", "\u200b", "\u200d", "\ufeff", "\ud800",
    "가", "각", "\u1100\u1161", "ё", "Ё", "й", "１", "3", "٣",
])  # fmt: skip
WORDS = st.lists(LETTERS, min_size=1, max_size=4).map("".join)
SAID = st.lists(WORDS, max_size=12).map(" ".join)


@settings(max_examples=examples(200))
@given(
    st.lists(SAID, min_size=1, max_size=3), st.lists(st.one_of(SAID, st.integers(0, 2)), max_size=4)
)
def test_the_fast_way_finds_what_the_slow_one_finds(protected, parts):
    """With every text of its own: what holds all words of a run, and yet not the run, too."""
    # It does not begin with an E, which begins a line of a traceback.
    text = "and " + " and ".join(
        protected[part % len(protected)] if isinstance(part, int) else part for part in parts
    )
    most = 2
    words = slow_words(text)
    kept = set().union(*(runs(slow_words(one), most + 1) for one in protected))
    shown = Quotes(lambda: protected, most=most).taken_out(text)
    assert shown == without_quotes(text, protected, most=most)
    pieces = shown.split(f" {MARK}")
    left = [slow_words(piece.rpartition("[")[0]) for piece in pieces[:-1]]
    left.append(slow_words(pieces[-1]))
    taken = [int(piece.rpartition("[")[2]) for piece in pieces[:-1]]
    # No run is left, and nothing is taken that is not in one.
    assert not any(runs(piece, most + 1) & kept for piece in left)
    at = 0
    for piece, count in zip(left, [*taken, 0], strict=True):
        assert piece == words[at : at + len(piece)]
        at += len(piece)
        for word in range(at, at + count):
            first = max(word - most, 0)
            assert runs(words[first : word + most + 1], most + 1) & kept
        at += count
    assert at == len(words)


PIECES = st.sampled_from(
    [
        *"aé\\xu0123nE&#;% \n\x1b[mß",
        "\\x",
        "\\u",
        "\\U0001F4A1",
        "&#x",
        "&amp;",
        "\x1b[0m",
        "%C3%A9",
    ]
)


@settings(max_examples=examples(300))
@given(st.lists(PIECES).map("".join))
def test_any_text_is_undone_and_has_its_places(text):
    said = Said(text)
    # The E of a traceback is one in what is shown alone.
    if not re.search(r"^e\s", plain_of(text), re.MULTILINE):
        assert said.plain == plain_of(text)
    whole = [said.where(at, at + 1) for at in range(len(said.plain))]
    assert whole == sorted(whole)
    for start, end in whole:
        assert 0 <= start < end <= len(text)


@given(st.text())
def test_what_python_escapes_is_undone(text):
    assert plain_of(ast.literal_eval(ascii(text))) == plain_of(text)
    if (
        not set(plain_of(text)) & set("\\&%#\x1b")
        and "\n" not in text
        and all(c.isprintable() for c in text)
        # Escaped, these may be the bytes of UTF-8 as well.
        and not re.search(r"[\x80-\xff]{2}", text)
    ):
        assert plain_of(ascii(text)[1:-1]) == plain_of(text)


@pytest.mark.parametrize(
    "part",
    [
        *("\\", "\\x", "\\u", "\\U", "\\x4", "%", "%4", "&", "&#", "&a", "\x1b[", "#x1b[", "E"),
        *("\\x1b[0;", "\\\\\\\\u", "é", "\\xe9", "%C3", "&#x2", "a&", "\x1b[1;1;1;1;"),
    ],
)
def test_what_a_stranger_writes_is_read_once(part):
    many = part * (400_000 // len(part))
    assert len(Said(many).plain) <= len(many)


def test_an_html_reference_may_begin_with_zeros():
    assert Said("&#x00000069;t &#0000000105;s").plain == "it is"
