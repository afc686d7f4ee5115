"""Text from bytes, safe to parse: encodings, entities, document types, events.

Real files declare wrong encodings or none, and use HTML's named entities without a DTD.
Parsers get Unicode without a document type, so that there is nothing to expand or
fetch.
"""

from __future__ import annotations

import codecs
import encodings
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html.entities import html5
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import BookError
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.words import normalized, without_references

if TYPE_CHECKING:
    from lxml.etree import _Element

# UTF-32's byte order mark begins like UTF-16's, so it comes first.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# At least one byte in so many is zero, because of spaces alone.
_ZEROS_IN_WIDE_TEXT = 16

# The note of `decode` on bytes that nothing declares and that aren't UTF-8.
READ_AS_CP1252 = "not UTF-8; read as windows-1252"

# Reads the same in any encoding that a readable declaration may name, but not where
# bytes are escapes.
_ASCII = rb"\u0041 +AEE-"

_XML_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_DECLARED_IN_XML = re.compile(
    rb"""^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)["']""",
)
_DECLARED_IN_META = re.compile(
    rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)

# A comment or a quotation that never ends ends the match, so that no later one is
# searched for.
_PROLOG = re.compile(r"(?:\s++|<!--.*?-->|<\?.*?\?>)*+", re.DOTALL)
_DOCTYPE = re.compile(
    r"""<!DOCTYPE(?:[^"'\[>]|"[^"]*"|'[^']*')*+"""
    r"""(?:\[(?:[^"'<\]]|"[^"]*"|'[^']*'|<!--.*?-->|<\?.*?\?>|<(?!!--|\?))*+\]\s*+)?+>""",
    re.DOTALL | re.IGNORECASE,
)
# A short value without tags or other references stands for a character or two.
_DECLARED_ENTITY = re.compile(
    r"""<!ENTITY\s+([\w.:-]+)(?:\s+(["'])((?:[^<&%"']|&\#x?[0-9A-Fa-f]{1,7};){0,10})\2)?""",
)
_NAMED_ENTITY = re.compile(r"&([A-Za-z_][\w.:-]*);")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})


@dataclass(frozen=True, slots=True)
class Source:
    """A document's text without its XML declaration and document type.

    `notes` list problems of decoding, without quoting text.
    """

    text: str = field(repr=False)
    notes: tuple[str, ...] = ()


def read_source(data: bytes) -> Source:
    """Decode a markup document without what a parser might expand or fetch."""
    head = data[:4096]
    match = _DECLARED_IN_XML.search(head) or _DECLARED_IN_META.search(head)
    declared = match[1].decode("ascii", "replace") if match else None
    text, note = decode(data, declared=declared)
    notes = [note] if note else []
    if is_noise(text):
        return Source("", ("isn't text: it has many control characters",))
    text = without_controls(text)
    if declaration := _XML_DECLARATION.match(text):
        text = text[declaration.end() :]
    text, own_entities = _without_doctype(text)
    text, dropped = _with_named_entities(text, own_entities)
    if dropped:
        notes.append(
            f"omitted {amount(dropped, 'reference')} to entities that the document "
            "declares (only short entities without tags or nested references are "
            "expanded)",
        )
    return Source(text, tuple(notes))


# --- encodings
# -----------------------------------------------------------------------------


def decode(data: bytes, *, declared: str | None = None) -> tuple[str, str | None]:
    """Decode `data`, and return a note if its encoding isn't the expected one.

    A byte order mark takes precedence over `declared`, then UTF-8; otherwise the bytes
    are read as windows-1252, the usual cause of a wrong declaration.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_as(data[len(mark) :], encoding)
    if wide := _detect_utf16(data):
        return _decode_as(data, wide)
    if declared is None:
        return _decode_as(data, "utf-8")
    if codec := _ascii_compatible_encoding(declared):
        return _decode_as(data, codec)
    text, note = _decode_as(data, "utf-8")
    if note is None:
        note = f"the declared encoding {declared[:40]!r} doesn't apply; read as UTF-8"
    return text, note


def _decode_as(data: bytes, encoding: str) -> tuple[str, str | None]:
    try:
        return data.decode(encoding), None
    except (UnicodeDecodeError, UnicodeError):
        pass
    if encoding != "utf-8":
        text = data.decode(encoding, "replace")
        broken = text.count("\ufffd")
        return text, f"undecodable as {encoding.upper()}: {amount(broken, 'character')}"
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if broken < beyond_ascii - broken:
        return text, f"undecodable as UTF-8: {amount(broken, 'character')}"
    return data.decode("cp1252", "replace"), READ_AS_CP1252


def standard_codec(name: str) -> codecs.CodecInfo:
    """Return Python's own codec of that name.

    `codecs.lookup` asks packages, too, and some answer to every name. Raises
    LookupError.
    """
    codec = encodings.search_function(name.lower())
    if codec is None:
        raise LookupError(name)
    return codec


def _ascii_compatible_encoding(name: str) -> str | None:
    """Return Python's name for a declared encoding that extends ASCII, or None."""
    try:
        codec = standard_codec(name)
        if _ASCII.decode(codec.name) != _ASCII.decode("ascii"):
            return None
    except (LookupError, ValueError):
        return None
    # On the web and in e-books, Latin-1 and ASCII mean windows-1252.
    return "cp1252" if codec.name in {"iso8859-1", "ascii"} else codec.name


def _detect_utf16(data: bytes) -> str | None:
    """Detect UTF-16 without a byte order mark by the zeros of its Latin letters."""
    head = data[:1024]
    zeros_in_first_bytes = head[0::2].count(0)
    zeros_in_second_bytes = head[1::2].count(0)
    if zeros_in_first_bytes and zeros_in_second_bytes:
        return None
    zeros = zeros_in_first_bytes + zeros_in_second_bytes
    if zeros * _ZEROS_IN_WIDE_TEXT <= len(head):
        return None
    return "utf-16-be" if zeros_in_first_bytes else "utf-16-le"


# --- document types and entities
# -----------------------------------------------------------


def _without_doctype(text: str) -> tuple[str, dict[str, str | None]]:
    """Remove the document type; return its entities, None for one that isn't short."""
    prolog = _PROLOG.match(text)
    start = prolog.end() if prolog else 0
    if text[start : start + 9].upper() != "<!DOCTYPE":
        return text, {}
    match = _DOCTYPE.match(text, start)
    if match is None:
        # It never ends. Without these letters it is a broken tag, which the parser
        # ignores.
        return text[:start] + text[start + 9 :], {}
    declared: dict[str, str | None] = {}
    for name, quote, value in _DECLARED_ENTITY.findall(match[0]):
        # In XML the first declaration counts.
        declared.setdefault(name, without_references(value) if quote else None)
    return text[:start] + text[match.end() :], declared


def _with_named_entities(text: str, own: Mapping[str, str | None]) -> tuple[str, int]:
    """Replace named entities by characters, and count the dropped ones."""
    dropped = 0

    def character(match: re.Match[str]) -> str:
        nonlocal dropped
        name = match[1]
        if name in _XML_ENTITIES:
            return match[0]
        decoded = html5.get(f"{name};") or own.get(name, f"&{name};")
        if decoded is None:
            dropped += 1
            return ""
        return _MARKUP_CHARACTER.sub(lambda char: f"&#{ord(char[0])};", decoded)

    return _NAMED_ENTITY.sub(character, text), dropped


_MARKUP_CHARACTER = re.compile("[&<>\"']")
_VERTICAL_SPACE = re.compile("[\x0b\x0c\x1c-\x1f]")
# Characters that XML doesn't allow, and lone surrogates.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\ufffe\uffff\ud800-\udfff]")

# Random bytes have about nine controls per hundred.
_ENOUGH_TO_TELL = 200

# Soft hyphens, joiners, zero-width spaces, directional marks: they would split words,
# at places that differ between editions.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb"
)
# U+0080 to U+009F are unused controls; windows-1252, which was meant, has characters
# there.
_ODD = re.compile(f"[{_INVISIBLE}\x80-\x9f]")
# Letters that stand in reverse of how they are shown, up to the end of a line.
_OVERRIDDEN = re.compile("([\u202d\u202e])([^\u202c-\u202e\n\u2029]*)")
_RLO = "\u202e"  # RIGHT-TO-LEFT OVERRIDE
_LEFT_TO_RIGHT = {"L"}
_RIGHT_TO_LEFT = {"R", "AL"}
# Latin and Armenian; Arabic ligatures occur only in old files.
_LIGATURES = re.compile("[\ufb00-\ufb06\ufb13-\ufb17]")
_FROM_CP1252 = {
    chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)
}


def is_binary(text: str) -> bool:
    """Whether this is no text: a zero anywhere, or many controls at its beginning."""
    head = text[:10_000]
    controls = len(_CONTROLS.findall(head))
    return "\0" in text or controls * 100 > len(head)


def is_noise(text: str) -> bool:
    """Whether its beginning has as many controls as random or encrypted bytes."""
    head = text[:10_000]
    controls = len(_CONTROLS.findall(head))
    return len(head) >= _ENOUGH_TO_TELL and controls * 30 > len(head)


def without_controls(text: str) -> str:
    """Remove control characters except tabs and line ends."""
    return _CONTROLS.sub("", _VERTICAL_SPACE.sub(" ", text))


def legible(text: str) -> str:
    """Return the text as a reader sees it, without invisible characters.

    Letters and their marks become NFC, ligatures their letters. White space stays
    unchanged.
    """
    if text.isascii():
        return text
    text = _OVERRIDDEN.sub(_in_order_shown, text)
    text = _ODD.sub(_from_cp1252, text)
    text = _LIGATURES.sub(_letters_of_ligature, text)
    return normalized(text, "NFC")


def _in_order_shown(overridden: re.Match[str]) -> str:
    """Return text in its order of reading, if an override shows it in reverse."""
    override, text = overridden.groups()
    directions = Counter(map(unicodedata.bidirectional, text))
    leftward = sum(directions[name] for name in _RIGHT_TO_LEFT)
    rightward = sum(directions[name] for name in _LEFT_TO_RIGHT)
    is_reversed = rightward > leftward if override == _RLO else leftward > rightward
    return text[::-1] if is_reversed else text


def _from_cp1252(odd: re.Match[str]) -> str:
    """Return the character that was meant; of an invisible one nothing."""
    return _FROM_CP1252.get(odd[0], "")


def _letters_of_ligature(ligature: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", ligature[0])


def one_line(text: str) -> str:
    """Return the text on one line, legible, its character references as characters."""
    return " ".join(legible(without_references(text)).split())


def letters_and_digits(text: str) -> str:
    """Return the case-folded letters and digits of a text."""
    return "".join(char for char in text.casefold() if char.isalnum())


# --- small XML files
# -----------------------------------------------------------------------

_REFERENCE = re.compile(r"&#(?:x([0-9a-f]{1,9})|([0-9]{1,9}))(?=;)", re.IGNORECASE)
# Of XML 1.0, section 2.2; libxml2 accepts references to others, too.
_XML_CHARACTER = re.compile("[\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACED = "&#xFFFD"


def parse_xml(data: bytes) -> _Element | None:
    """Parse XML leniently and return its root, if any."""
    from lxml import etree

    text = _REFERENCE.sub(_to_xml_character, read_source(data).text)
    parser = etree.XMLParser(
        recover=True,
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
        # Without `huge_tree`: such files stay within libxml2's default depth.
    )
    try:
        return etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        return None


def _to_xml_character(reference: re.Match[str]) -> str:
    """Return a reference as it is, or one to U+FFFD if XML has no such character."""
    hexadecimal, decimal = reference.groups()
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    if code <= sys.maxunicode and _XML_CHARACTER.match(chr(code)):
        return reference[0]
    return _REPLACED


def elements(root: _Element | None, name: str) -> Iterator[_Element]:
    """Iterate over descendants with that local name in any namespace."""
    if root is None:
        return iter(())
    # As real files vary.
    return root.iter(f"{{*}}{name}", f"{{*}}{name.capitalize()}")


# --- parser events
# ------------------------------------------------------------------------

# libxml2 searches all open elements for the one that an end tag closes: about 1.5 ns a
# step.
_MOST_STEPS = 8_000_000_000
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*)")
_NEVER_CLOSED = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta"),
    *("param", "source", "track", "wbr"),
}


@lru_cache(maxsize=1_000)
def local_name(tag: str) -> str:
    """Return an element's name without its namespace or prefix, lower-cased."""
    return tag.rpartition("}")[2].rpartition(":")[2].lower()


def parse_events(text: str, new_target: Callable[[], Any]) -> Any:
    """Parse a document, as XML or else HTML, and return a new target with its events.

    `text` comes from `read_source`, so it has no entity to expand or file to fetch.
    Raises BookError for nesting that would take a parser minutes.
    """
    from lxml import etree

    data = text.encode("utf-8")
    target = new_target()
    if not data.strip():
        return target
    xml = etree.XMLParser(
        target=target,
        encoding="utf-8",
        huge_tree=True,
        resolve_entities=False,
        no_network=True,
    )
    try:
        etree.fromstring(data, xml)
    except etree.XMLSyntaxError:
        # Not well-formed, or too deep for libxml2's XML parser; its HTML parser accepts
        # both.
        _validate_unclosed_elements(text)
        target = new_target()
        html = etree.HTMLParser(
            target=target,
            encoding="utf-8",
            huge_tree=True,
            no_network=True,
        )
        etree.fromstring(data, html)
    return target


def _validate_unclosed_elements(text: str) -> None:
    """Raise BookError for unmatched end tags too deep within other elements."""
    open_elements: Counter[str] = Counter()
    depth = steps = 0
    for closes, name in _TAG.findall(text):
        if not closes:
            if name.lower() not in _NEVER_CLOSED:
                open_elements[name] += 1
                depth += 1
            continue
        steps += depth
        if open_elements[name]:
            open_elements[name] -= 1
            depth -= 1
    if steps > _MOST_STEPS:
        raise BookError(
            f"has unclosed elements nested {depth:,} deep",
            hint="the file is damaged or hostile: no book has such a document; use "
            "a different edition",
        )
