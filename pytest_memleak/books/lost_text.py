"""Text that parsers would leave out: they enter more of it, and losses are errors.

data, texts = make_parser_enter_all_text(data)
validate_no_lost_text(texts, html, parser="mammoth")
validate_no_skipped_commands(data, log)
validate_no_skipped_groups(data)
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from html import unescape
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from lxml.etree import _Element

# --- Word, OpenDocument, FB2
# ---------------------------------------------------------------

# Elements that parsers skip with their text.
_ENTERED = [
    f"{{*}}{name}"
    for name in ["ruby", "rubyBase", "ruby-base", "fldSimple", "bdo", "dir"]
]
_SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_NO_TEXT = (
    "{*}rt",
    "{*}ruby-text",
    "{*}moveFrom",
    "{*}tracked-changes",
    "{*}table-of-content",
    f"{_OFFICE}annotation",
    f"{_SVG}title",
    f"{_SVG}desc",
)
_PARTS = re.compile(r"content\.xml|word/(?:document|footnotes|endnotes)\.xml")
_BODIES = ("{*}body", "{*}footnotes", "{*}endnotes")
_PARAGRAPHS = {"p", "h", "v"}
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"

_TAG = re.compile("<[^>]*>")
_FEWEST_OF_PLACE = 8


def make_parser_enter_all_text(data: bytes) -> tuple[bytes, list[tuple[int, str]]]:
    """Return XML, or a zip of it, whose parser skips no text, and its texts.

    XML that isn't well-formed is left to the parser.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return _with_all_text_entered(data)
    texts: list[tuple[int, str]] = []
    copy = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(copy, "w") as target,
    ):
        for member in source.namelist():
            part = source.read(member)
            if _PARTS.fullmatch(member):
                part, texts_of_part = _with_all_text_entered(part)
                texts += texts_of_part
            target.writestr(member, part)
    return copy.getvalue(), texts


def _with_all_text_entered(part: bytes) -> tuple[bytes, list[tuple[int, str]]]:
    from lxml import etree

    try:
        root = etree.fromstring(part, etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError:
        return part, []
    etree.strip_elements(root, *_NO_TEXT, with_tail=False)
    for fallback in root.iterfind(".//{*}AlternateContent/{*}Fallback"):
        if fallback.find(f".//{_WORD}t") is not None:
            etree.strip_elements(fallback.getparent(), "{*}Choice")
    etree.strip_tags(root, *_ENTERED)
    entered = etree.tostring(
        root,
        encoding="utf-8",
        xml_declaration=True,
    )
    return entered, list(_texts(root))


def _texts(root: _Element) -> Iterator[tuple[int, str]]:
    """Yield the letters of each piece of text, with the number of its paragraph."""
    number = 0
    for body in root.iter(*_BODIES):
        for element in body.iter("*"):
            tag = str(element.tag)
            number += tag.rpartition("}")[2] in _PARAGRAPHS
            if not tag.startswith(_WORD) or tag == f"{_WORD}t":
                yield number, _letters(element.text or "")
                yield number, _letters(element.tail or "")


def validate_no_lost_text(
    texts: list[tuple[int, str]],
    html: str,
    *,
    parser: str,
) -> None:
    """Raise BookError if the HTML lacks a letter of the texts."""
    _, _, body = html.partition("<body>")
    text_of_html = unescape(_TAG.sub("", body or html))
    output = _letters(text_of_html)
    letters: Counter[str] = Counter()
    for _, text in texts:
        letters.update(text)
    lost = (letters - Counter(output)).total()
    if lost:
        place = _first_lost(texts, output)
        raise BookError(
            f"{parser} leaves out {amount(lost, 'letter')} of this file's text{place}",
            hint="move text out of text boxes, shapes, tables, and unused notes, or "
            "convert it to EPUB",
        )


def _first_lost(texts: list[tuple[int, str]], output: str) -> str:
    for number, text in texts:
        if len(text) >= _FEWEST_OF_PLACE and text not in output:
            return f", as in paragraph {number} of its XML"
    return ""


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


# --- RTF
# -----------------------------------------------------------------------------------

# The name of a group that readers may skip, a brace, a character, another command, or
# text.
_RTF_TOKEN = re.compile(
    rb"(\\\*\s*\\[a-z]+)|([{}])|(\\u-?\d+|\\'[0-9A-Fa-f]{2})|\\[A-Za-z]+-?\d* "
    rb"?|\\.?|[^\\{}]+",
    re.DOTALL,
)
_RTF_WORD = re.compile(rb"(?<![^\s(\"'])[A-Za-z]{1,30}(?!\w)")
_FEWEST_LETTERS = 40
_RTF_READ = (b"\\*\\shppict", b"\\*\\shpinst", b"\\*\\nesttableprops")
# Groups that have words, but none of the text.
_RTF_NO_TEXT = re.compile(
    rb"\\\*\s*\\(?:annotation|at[nr]\w*|a?ftnsepc?|fldinst|formfield|generator|latentstyles|list\w*"
    rb"|revtbl|template|userprops|[cdt]?s|xmlnstbl|protusertbl|[fl]chars|m?htmltag|picprop)",
)


def validate_no_skipped_groups(data: bytes) -> None:
    """Raise BookError if an RTF file has prose in a group that pandoc skips."""
    depth = 0
    outer = 0  # depth of the skipped group
    name = b""
    letters = 0
    for token in _RTF_TOKEN.finditer(data):
        if token[2]:
            depth += 1 if token[2] == b"{" else -1
            if depth < outer:
                outer = 0
        elif not outer:
            if token[1] and token[1] not in _RTF_READ:
                outer = depth
                name = token[1]
                letters = 0
        elif not token[0].startswith(b"\\") or token[3]:
            letters += 1 if token[3] else sum(map(len, _RTF_WORD.findall(token[0])))
            if letters >= _FEWEST_LETTERS and not _RTF_NO_TEXT.fullmatch(name):
                line = data.count(b"\n", 0, token.start()) + 1
                raise BookError(
                    f"pandoc leaves out the text in the group {name.decode()} on line "
                    f"{line}",
                    hint="save it again as .docx, or as .txt",
                )


# --- LaTeX and the rest of pandoc's formats
# ------------------------------------------------

_NOT_READ = re.compile(
    r"(?:WARNING\] Could not load include file|Unexpected XML element) ([^\n]+)",
)
_SKIPPED = re.compile(
    r"INFO\] Skipped '\\([A-Za-z@]+\*?)((?:[^']|'(?! at line))*)' at line (\d+)",
)
# What an argument has beside text: commands, options, and lengths.
_IN_ARGUMENT = re.compile(
    r"\\[A-Za-z@]+|(?:^|(?<=}))\[[^\]]*\]|(?<![\d.])\d[\d.]*+\s?[a-z]{2}\b",
)
# Commands whose arguments are not the book's text.
_LAYOUT = re.compile(
    "begin|end|label|index|glossary|hyphenation|pdfbookmark|hypersetup|usepackage|bibliography.*"
    "|(?:this)?pagestyle|pagenumbering|mark(?:both|right)|(?:chapter|section)mark|fancy(?:head|foot)"
    "|addcontentsline|(?:set|addto|new|step|refstep)counter|counterwithin|(?:set|addto)length"
    "|settowidth|addtocontents|(?:page|define)?color|font(?:encoding|family|series|shape)|usefont"
    "|selectlanguage",
)


def validate_no_skipped_commands(data: bytes, log: str) -> None:
    """Raise BookError if pandoc's log names an omitted part or command with text."""
    if lost := _NOT_READ.search(log):
        raise BookError(
            f"pandoc leaves out a part of this file: {lost[1]}",
            hint="join all parts in one file, as latexpand does for LaTeX, or convert "
            "it to EPUB",
        )
    start = data[: data.find(b"\\begin{document}")].count(b"\n")
    for name, argument, line in _SKIPPED.findall(log):
        is_text = any(map(str.isalpha, _IN_ARGUMENT.sub("", argument)))
        if int(line) > start and is_text and not _LAYOUT.fullmatch(name):
            count = argument.count("}{") + 1
            raise BookError(
                f"pandoc leaves out the text in \\{name} on line {line}",
                hint="define it in this file, as "
                f"\\newcommand{{\\{name}}}[{count}]{{#1}}",
            )
