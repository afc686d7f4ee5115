"""An XHTML or HTML document to blocks of text, as a reader sees them on the page.

The document is parsed as a stream of events, so that neither its depth nor its size costs more
than the text it holds: as XML first, and where it is not well-formed, as browsers read HTML.

Inline elements join what they hold to its neighbours; blocks and `<br/>` separate. Gone are note
references and semantic notes, page breaks, ruby glosses, hidden elements, scripts, styles,
drawings, navigation, front and back matter (see `matter`) and Project Gutenberg's licence where
it is marked. Soft hyphens, word joiners and other zero-width characters go; spaces of any kind
become plain ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from pytest_memleak.books.characters import legible
from pytest_memleak.books.matter import APPARATUS, BODY, is_matter, terms
from pytest_memleak.books.source import read_source

__all__ = ["EPUB_TYPE", "Block", "Markup", "parse_events", "read_markup"]

_OPS = "{http://www.idpf.org/2007/ops}"
EPUB_TYPE = (f"{_OPS}type", "epub:type")


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_BLOCKS = _names(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset"
    " figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu ol"
    " p pre search section summary table tbody td tfoot th thead tr ul"
    # DTBook, which EPUB 2 allows
    " bodymatter book bridgehead byline dateline frontmatter imggroup level level1 level2 level3"
    " level4 level5 level6 line linegroup list poem prodnote rearmatter sidebar stanza"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_GONE = _names(
    "annotation annotation-xml annoref audio base button canvas datalist embed head iframe input"
    " link map meta meter nav note noteref noscript object option pagenum param progress rp rt rtc"
    " script select style svg template textarea title track video"
)
_NOTHING: frozenset[str] = frozenset()
_DTBOOK_MATTER = frozenset({"frontmatter", "bodymatter", "rearmatter"})

_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_AS_BLOCK = re.compile(r"display\s*:\s*(?:block|list-item|table\b)", re.IGNORECASE)

_PAGE_NUMBER_CLASSES = frozenset({"pagenum", "pageno", "pagenumber", "page-number", "page-num"})
_GUTENBERG = frozenset({"pg-boilerplate", "pgheader", "pgfooter", "pg-header", "pg-footer"})

_PAGE_NUMBER = re.compile(
    r"\W*(?:pp?g?|page|seite)?[\W_]*(?:\d{1,5}|[ivxlcdm]{1,9})?\W*", re.IGNORECASE
)
_NOTE_MARK = re.compile(r"\s*[\[({]?\s*(?:\d{1,4}|[A-Za-z]{1,2}|[^\w\s]{1,4})\s*[\])}]?\s*")
_BRACKETED = re.compile(r"\s*[\[({].*[\])}]\s*", re.DOTALL)

# A heading of more words is a paragraph in heading's clothes.
_LONGEST_HEADING = 30

# Stands for a `<br/>` until the block is complete; the source has no control characters left.
_BREAK = "\x1e"
_BLANK_LINE = re.compile(rf"{_BREAK}[^\S{_BREAK}]*{_BREAK}\s*")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph (level 0) or a heading (levels 1 to 6), never empty.

    Lines that the document breaks on purpose are separated by a newline.
    """

    text: str = field(repr=False)
    level: int = 0


@dataclass(frozen=True, slots=True)
class Markup:
    """A document's blocks in order; whether it declares itself text; what could not be read."""

    blocks: tuple[Block, ...]
    declares_body: bool = False
    notes: tuple[str, ...] = ()


def read_markup(data: bytes) -> Markup:
    """The blocks of the XHTML or HTML document in `data`, in any encoding."""
    source = read_source(data)
    walker = parse_events(source.text, _Walker)
    walker.finish()
    return Markup(tuple(walker.blocks), walker.declares_body, source.notes)


# --- events --------------------------------------------------------------------------------


class EventTarget(Protocol):
    """Takes a document's events; `close` returns what the parse is to return."""

    def start(self, tag: str, attributes: Mapping[str, str], /) -> None:
        """An element begins."""

    def end(self, tag: str, /) -> None:
        """An element ends."""

    def data(self, text: str, /) -> None:
        """Character data; a run of it may come in pieces."""

    def close(self) -> object:
        """The document ends."""


_Target = TypeVar("_Target", bound=EventTarget)


def parse_events(text: str, new_target: Callable[[], _Target]) -> _Target:
    """Send the events of a document to a new target, and return it.

    `text` comes from `read_source`: it has no document type, so that no parser finds an entity
    to expand or a file to fetch.
    """
    from lxml import etree

    data = text.encode("utf-8")
    target = new_target()
    if not data.strip():
        return target
    xml = etree.XMLParser(
        target=cast(Any, target),
        encoding="utf-8",
        huge_tree=True,
        resolve_entities=False,
        no_network=True,
    )
    try:
        etree.fromstring(data, xml)
    except etree.XMLSyntaxError:
        # Not well-formed, or deeper than libxml2 lets XML be; its HTML parser takes both.
        target = new_target()
        html = etree.HTMLParser(
            target=cast(Any, target), encoding="utf-8", huge_tree=True, no_network=True
        )
        etree.fromstring(data, html)
    return target


class _Walker:
    """Collects blocks from a document's events.

    `_leave` holds, for each open element that is not gone, what to do at its end (None: nothing).
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.declares_body = False
        self._leave: list[Callable[[], None] | None] = []
        self._parts: list[str] = []
        self._flushes = 0
        self._gone = 0  # how many elements deep in one that is gone
        self._matter: bool | None = None
        self._heading: list[str] | None = None
        self._level = 0
        self._pre = 0
        self._superscripts = 0
        self._superscripts_seen = 0
        self._labelled = 0
        self._local_names: dict[str, str] = {}

    # --- what the parser calls ---

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._gone:
            self._gone += 1
            return
        name = self._local_names.get(tag) or self._local_name(tag)
        if name in _GONE or tag == f"{_OPS}case" or (attributes and self._goes(attributes)):
            if name in _BLOCKS:
                self._flush()
            self._gone = 1
        elif name in _BLOCKS or (attributes and _is_displayed_as_block(attributes)):
            self._leave.append(self._enter_block(name, attributes))
        else:
            self._leave.append(self._enter_inline(name, attributes))

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser names it; the stack knows it
        if self._gone:
            self._gone -= 1
        elif leave := self._leave.pop():
            leave()

    def data(self, text: str) -> None:
        if self._gone or self._matter:
            return
        self._parts.append(text.replace("\n", _BREAK) if self._pre else text)

    def close(self) -> None:
        pass

    def finish(self) -> None:
        """Take in what follows the last block."""
        self._flush()

    # --- elements ---

    def _local_name(self, tag: str) -> str:
        name = tag.rpartition("}")[2].rpartition(":")[2].lower()
        self._local_names[tag] = name
        return name

    def _goes(self, attributes: Mapping[str, str]) -> bool:
        if "hidden" in attributes:
            return True
        if attributes.get("aria-hidden") == "true" and not self._labelled:
            # Beneath an aria-label the letters themselves are hidden from screen readers only.
            return True
        style = attributes.get("style")
        if style and _HIDDEN.search(style):
            return True
        if not _GUTENBERG.isdisjoint((attributes.get("id") or "").split()):
            return True
        return not (
            APPARATUS.isdisjoint(_declared(attributes))
            and _GUTENBERG.isdisjoint((attributes.get("class") or "").split())
        )

    def _enter_block(self, name: str, attributes: Mapping[str, str]) -> Callable[[], None]:
        self._flush()
        declared = _declared(attributes)
        if name in _DTBOOK_MATTER:
            declared |= {name}
        if declared:
            if not declared.isdisjoint(BODY):
                self.declares_body = True
            matter = is_matter(declared, within=self._matter)
            if matter != self._matter:
                return self._enter_matter(matter)
        if level := _heading_level(name, attributes):
            return self._enter_heading(level)
        if name == "pre":
            self._pre += 1
            return self._leave_pre
        return self._flush

    def _enter_matter(self, matter: bool | None) -> Callable[[], None]:
        outer, self._matter = self._matter, matter

        def leave() -> None:
            self._flush()
            self._matter = outer

        return leave

    def _enter_heading(self, level: int) -> Callable[[], None]:
        if self._heading is not None:
            self._level = min(self._level, level)
            return self._flush
        self._heading, self._level = [], level
        return self._leave_heading

    def _leave_heading(self) -> None:
        self._flush()
        lines, self._heading = self._heading or [], None
        text = ": ".join(line.replace("\n", " ") for line in lines)
        if len(text.split()) > _LONGEST_HEADING or self._level > len(_HEADINGS):
            self.blocks += [Block(line) for line in lines]
        elif text:
            self.blocks.append(Block(text, self._level))

    def _leave_pre(self) -> None:
        self._flush()
        self._pre -= 1

    def _enter_inline(self, name: str, attributes: Mapping[str, str]) -> Callable[[], None] | None:
        if name == "br":
            self.data(_BREAK)
        elif name == "sup":
            self._superscripts += 1
            self._superscripts_seen += 1
            return self._leave_superscript
        elif not attributes:
            return None
        elif name == "a" and "#" in (attributes.get("href") or ""):
            return self._watch(self._is_note_reference, self._superscripts_seen)
        elif name == "img" and len(letter := (attributes.get("alt") or "").strip()) == 1:
            # A drop cap that was drawn.
            self.data(letter if letter.isalpha() else "")
        elif not _PAGE_NUMBER_CLASSES.isdisjoint((attributes.get("class") or "").split()):
            return self._watch(_is_page_number, 0)
        elif "aria-label" in attributes:
            self._labelled += 1
            return self._leave_label
        return None

    def _leave_superscript(self) -> None:
        self._superscripts -= 1

    def _leave_label(self) -> None:
        self._labelled -= 1

    # --- page numbers and note references that only their text gives away ---

    def _watch(self, is_apparatus: Callable[[str, int], bool], seen: int) -> Callable[[], None]:
        flushes, start = self._flushes, len(self._parts)

        def leave() -> None:
            if flushes == self._flushes and is_apparatus("".join(self._parts[start:]), seen):
                del self._parts[start:]

        return leave

    def _is_note_reference(self, text: str, superscripts_before: int) -> bool:
        raised = self._superscripts or self._superscripts_seen > superscripts_before
        return bool(_NOTE_MARK.fullmatch(text) and (raised or _BRACKETED.fullmatch(text)))

    # --- text ---

    def _flush(self) -> None:
        if not self._parts:
            return
        raw = "".join(self._parts)
        self._parts.clear()
        self._flushes += 1
        for piece in _BLANK_LINE.split(raw) if self._pre else (raw,):
            if text := _clean(piece):
                if self._heading is None:
                    self.blocks.append(Block(text))
                else:
                    self._heading.append(text)


def _declared(attributes: Mapping[str, str]) -> frozenset[str]:
    namespaced, prefixed = EPUB_TYPE
    kind = attributes.get(namespaced) or attributes.get(prefixed)
    role = attributes.get("role")
    return terms(kind, role) if kind or role else _NOTHING


def _is_displayed_as_block(attributes: Mapping[str, str]) -> bool:
    style = attributes.get("style")
    return bool(style and _AS_BLOCK.search(style))


def _heading_level(name: str, attributes: Mapping[str, str]) -> int:
    """The level of a heading; 7 of a group of lines that may hold one; 0 of anything else."""
    if name == "hgroup":
        return len(_HEADINGS) + 1
    if name not in _HEADINGS and attributes.get("role") == "heading":
        stated = attributes.get("aria-level") or ""
        return int(stated) if stated in {"1", "2", "3", "4", "5", "6"} else 2
    return _HEADINGS.get(name, 0)


def _is_page_number(text: str, _: int) -> bool:
    return bool(_PAGE_NUMBER.fullmatch(text))


def _clean(raw: str) -> str:
    raw = legible(raw)
    if _BREAK not in raw:
        return " ".join(raw.split())
    lines = (" ".join(line.split()) for line in raw.split(_BREAK))
    return "\n".join(line for line in lines if line)
