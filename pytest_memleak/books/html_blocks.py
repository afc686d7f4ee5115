"""Blocks of text from an XHTML or HTML document, as a reader sees them on the page.

The document is parsed as a stream of events, so that its depth and size cost no more
than its text: as XML first, and if it isn't well-formed, as HTML.

Inline elements join their text to its neighbors; blocks and `<br/>` separate. Dropped
are note references, page breaks, ruby glosses, code, links of navigation, and Project
Gutenberg's license where it is marked. Notes, hidden elements, drawings, and what only
some readers show are kept apart: passages of them are looked for. Running text in a
drawing is text. Zero-width characters
are removed; any space becomes a plain space.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from html import unescape

from pytest_memleak.books.archive import Budget
from pytest_memleak.books.boilerplate import matter_kind_of_title
from pytest_memleak.books.drawn_text import drawn_paragraph
from pytest_memleak.books.heading_lines import heading_level
from pytest_memleak.books.html_attributes import (
    APPARATUS,
    AS_BLOCK,
    BODY,
    EPUB_TYPE,
    HIDDEN,
    LONGEST_MARK,
    ClassStyles,
    class_styles,
    is_back_link,
    is_matter,
    kind_of_matter,
    note_reference_test,
    page_number,
    terms,
    word_set,
)
from pytest_memleak.books.text_blocks import Markup, TextBlock
from pytest_memleak.books.text_decoding import (
    legible,
    local_name,
    parse_events,
    read_source,
)

_BLOCKS = word_set(
    "address article aside blockquote body caption center dd details dialog dir div dl "
    "dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html "
    "legend li main menu ol p pre search section summary table tbody td tfoot th "
    "thead tr ul",
)
# By level; a group may contain one.
_HEADINGS = {f"h{level}": level for level in range(1, 7)} | {"hgroup": 7}
# Dropped, and not looked for, in what is looked for either: titles, code, glosses.
_NO_PROSE = word_set(
    "base desc embed head input link meta metadata param rp rt rtc script style title",
)
# Dropped, but looked for; a `case` of EPUB 3 stands beside a default.
_GONE = word_set(
    "annotation annotation-xml annoref audio button canvas case datalist iframe map "
    "meter nav note noteref noscript object option pagenum progress select svg "
    "template textarea track video",
)
_DROPPED = _NO_PROSE | _GONE
_PICTURES = word_set("img object svg")
_OPENED = {"sup": "superscript", "b": "bold", "strong": "bold"}
_NOTHING: frozenset[str] = frozenset()
_NO_STYLES = ClassStyles()

# Project Gutenberg's license; Sphinx's links to headings.
_NO_TEXT = word_set("pg-boilerplate pgheader pgfooter pg-header pg-footer headerlink")

_LEVEL_OF_BOLD_TITLE = 2

# A longer heading is a paragraph in a heading's markup.
_LONGEST_HEADING = 30
_MOST_CHARACTERS = 1_000

# Replaces `<br/>` until the block is complete; the source has no control characters.
_BREAK = "\x1e"
_TAG = re.compile(r"<[^<>]*>")
_BLANK_LINE = re.compile(rf"{_BREAK}[^\S{_BREAK}]*{_BREAK}\s*")


def read_markup(
    data: bytes,
    *,
    budget: Budget | None = None,
    styles: ClassStyles = _NO_STYLES,
    places: frozenset[str] = _NOTHING,
) -> Markup:
    """Read the blocks of an XHTML or HTML document in any encoding.

    `styles` are those of external style sheets; `places` are ids to locate. Raises
    BookError for more than `budget` has left, or than a new budget allows.
    """
    budget = budget or Budget()
    budget.spend(len(data), "bytes of markup")
    source = read_source(data)
    budget.spend(source.text.count("<"), "tags")
    walker: _BlockCollector = parse_events(
        source.text, lambda: _BlockCollector(budget, styles, places)
    )
    walker.finish()
    budget.spend(walker.characters, "characters of text")
    budget.spend(len(walker.blocks), "paragraphs")
    return Markup(
        everything=tuple(walker.blocks),
        declares_body=walker.declares_body,
        notes=source.notes,
        places=walker.places,
        linked=walker.linked / max(walker.characters, 1),
        links=walker.links,
        note_texts=tuple(walker.note_texts),
        unseen_words=walker.unseen_words,
        pictures=walker.pictures,
        references=frozenset(walker.references),
        back_linked=walker.back_linked,
    )


class _BlockCollector:
    """A parser target that collects blocks.

    `_leave` has for each open element that isn't dropped what to do at its end (None:
    nothing).
    """

    def __init__(
        self,
        budget: Budget,
        styles: ClassStyles,
        places: frozenset[str],
    ) -> None:
        self.blocks: list[TextBlock] = []
        self.characters = 0
        self.linked = 0  # characters of links
        self.links = 0
        self.note_texts: list[str] = []
        self.unseen_words = 0
        self.pictures = 0
        self.references: set[str] = set()
        self.back_linked: dict[int, frozenset[str]] = {}
        self._ids: list[str] = []  # since the last block
        self._is_back_linked = False
        self.places: dict[str, int] = {}
        self._wanted = places
        self._budget = budget
        self._styles = styles
        self._style: list[str] | None = None  # text of an internal style sheet
        self.declares_body = False
        self._leave: list[Callable[[], None] | None] = []
        self._parts: list[str] = []
        self._length = 0  # of the parts
        self._bold = 0  # characters of the parts that are bold or blank
        self._is_blank = True  # so far
        self._flushes = 0
        self._gone = 0  # depth within a dropped element
        # Text of what is being dropped, if it is searched.
        self._note: list[str] | None = None
        self._is_shown = False  # as a note, or where nothing better can be
        self._is_drawing = False
        self._is_navigation = False
        self._silent = 0  # depth of code or a link in navigation within it
        # Links, superscripts, labels, preformatted text.
        self._open: Counter[str] = Counter()
        self._matter: bool | None = None
        self._kind = ""  # of the matter
        self._heading: list[str] | None = None
        self._level = 0
        self._superscripts_seen = 0

    # --- called by the parser ---

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = local_name(tag)
        if name == "style":
            self._style = []
        if self._gone:
            self._start_within_dropped(name, attributes)
            return
        self.pictures += name in _PICTURES
        if attributes and (place := attributes.get("id") or attributes.get("name")):
            self._ids.append(place)
            if place in self._wanted:
                self.places.setdefault(place, len(self.blocks))
        if (attributes or name in _DROPPED) and self._is_dropped(name, attributes):
            if name in _BLOCKS:
                self._flush()
            self._gone = 1
            return
        is_block = name in _BLOCKS
        if not is_block and attributes:
            is_block = self._is_displayed_as_block(attributes)
        if is_block:
            self._leave.append(self._enter_block(name, attributes))
        else:
            self._leave.append(self._enter_inline(name, attributes))

    def _start_within_dropped(self, name: str, attributes: Mapping[str, str]) -> None:
        self._gone += 1
        if name in _NO_PROSE or (name == "a" and self._is_navigation):
            self._silent = self._silent or self._gone
        is_line = name == "text" or "x" in attributes  # of a drawing
        if self._note and (is_line or name in _BLOCKS):
            self._note.append(_BREAK if self._is_drawing else " ")

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser names it; the stack knows it
        if self._gone:
            self._gone -= 1
            if self._gone < self._silent:
                self._silent = 0
            if not self._gone:
                self._end_note()
            if self._style is not None:
                self._styles = class_styles(["".join(self._style)], self._styles)
                self._style = None
        elif leave := self._leave.pop():
            leave()

    def _end_note(self) -> None:
        text = _clean("".join(self._note or ()))
        self._note = None
        drawn = drawn_paragraph(text) if self._is_drawing else None
        if drawn:
            self._flush()
            self._add(drawn)
        elif text:
            self.unseen_words += 0 if self._is_shown else len(text.split())
            self.note_texts.append(text)
            self._budget.allow(len(self.note_texts), "paragraphs")

    def data(self, text: str) -> None:
        if self._gone:
            self._data_within_dropped(text)
            return
        length = len(text)
        is_blank = text.isspace()
        self.characters += length
        self._budget.allow(self.characters, "characters of text")
        self._length += length
        if self._open["link"]:
            self.linked += length
        if is_blank or self._open["bold"]:
            self._bold += length
        if not is_blank:
            self._is_blank = False
        if self._open["pre"]:
            text = text.replace("\n", _BREAK)
        self._parts.append(text)

    def _data_within_dropped(self, text: str) -> None:
        if self._style is not None:
            self._style.append(text)
        elif self._note is not None and not self._silent:
            self.characters += len(text)
            self._budget.allow(self.characters, "characters of text")
            self._note.append(text)

    def close(self) -> None:
        pass

    def finish(self) -> None:
        """Add the text after the last block."""
        self._flush()

    # --- elements ---

    def _is_dropped(self, name: str, attributes: Mapping[str, str]) -> bool:
        """Whether an element isn't text; begin to collect words that are looked for."""
        declared = _declared_terms(attributes)
        is_note = not APPARATUS.isdisjoint(declared)
        self._is_navigation = name == "nav"
        own_id = attributes.get("id") or ""
        classes = attributes.get("class") or ""
        named = f"{own_id} {classes}".split()
        is_text = name not in _NO_PROSE and _NO_TEXT.isdisjoint(named)
        if self._is_navigation and is_text:
            is_text = not is_note and not is_matter(declared, within=None)
        if not is_text:
            self._is_shown = False
            return True
        if is_note:
            self._record_reference(
                attributes.get("href"), is_back="backlink" in declared
            )
        is_hidden = self._is_hidden(name, attributes)
        self._is_shown = is_note or (name in _GONE and name != "svg")
        self._is_drawing = name == "svg" and not is_hidden and not is_note
        if is_note or name in _GONE or is_hidden:
            inner = attributes.get("srcdoc") or ""  # of an iframe
            self._note = [_TAG.sub(" ", unescape(inner))] if inner else []
            self.characters += len(inner)
        return self._note is not None

    def _is_hidden(self, name: str, attributes: Mapping[str, str]) -> bool:
        if "hidden" in attributes:
            return True
        # Beneath an aria-label, letters are hidden from screen readers only.
        if attributes.get("aria-hidden") == "true" and not self._open["label"]:
            return True
        style = attributes.get("style")
        if style and HIDDEN.search(style):
            return True
        if not self._styles.hidden:
            return False
        classes = attributes.get("class") or ""
        for kind in classes.lower().split():
            selectors = (f".{kind}", f"{name}.{kind}")
            if not self._styles.hidden.isdisjoint(selectors):
                return True
        return False

    def _is_displayed_as_block(self, attributes: Mapping[str, str]) -> bool:
        style = attributes.get("style")
        if style and AS_BLOCK.search(style):
            return True
        classes = attributes.get("class")
        if not classes or not self._styles.blocks:
            return False
        return not self._styles.blocks.isdisjoint(classes.lower().split())

    def _enter_block(
        self,
        name: str,
        attributes: Mapping[str, str],
    ) -> Callable[[], None]:
        self._flush()
        declared = _declared_terms(attributes)
        if declared:
            if not declared.isdisjoint(BODY):
                self.declares_body = True
            matter = is_matter(declared, within=self._matter)
            kind = kind_of_matter(declared, self._kind) if matter else ""
            if (matter, kind) != (self._matter, self._kind):
                return self._enter_matter(matter, kind)
        if name in _HEADINGS:
            return self._enter_heading(_HEADINGS[name])
        if name == "pre":
            return self._open_and_return_closer("pre")
        return self._flush

    def _enter_matter(self, matter: bool | None, kind: str) -> Callable[[], None]:
        outer_matter = self._matter
        outer_kind = self._kind
        self._matter = matter
        self._kind = kind

        def leave() -> None:
            self._flush()
            self._matter = outer_matter
            self._kind = outer_kind

        return leave

    def _enter_heading(self, level: int) -> Callable[[], None]:
        if self._heading is not None:
            self._level = min(self._level, level)
            return self._flush
        self._heading = []
        self._level = level
        return self._leave_heading

    def _leave_heading(self) -> None:
        self._flush()
        lines = self._heading or []
        self._heading = None
        text = ": ".join(line.replace("\n", " ") for line in lines)
        words = len(text.split())
        is_long = len(text) > _MOST_CHARACTERS or words > _LONGEST_HEADING
        if is_long or self._level == _HEADINGS["hgroup"]:
            for line in lines:
                self._add(line)
        elif text:
            self._add(text, self._level)

    def _open_and_return_closer(self, kind: str) -> Callable[[], None]:
        self._open[kind] += 1

        def leave() -> None:
            if kind == "pre":
                self._flush()
            self._open[kind] -= 1

        return leave

    def _enter_inline(
        self,
        name: str,
        attributes: Mapping[str, str],
    ) -> Callable[[], None] | None:
        if name == "br":
            self.data(_BREAK)
        elif name in _OPENED:
            self._superscripts_seen += name == "sup"
            return self._open_and_return_closer(_OPENED[name])
        elif not attributes:
            return None
        elif name == "a" and "href" in attributes:
            return self._enter_link(attributes)
        elif name == "img" and len(_image_alternative(attributes)) == 1:
            # The image is a drop cap.
            letter = _image_alternative(attributes)
            self.data(letter if letter.isalpha() else "")
        elif marks := page_number(attributes):
            return self._drop_on_leave_if(lambda text, _: marks(text))
        elif "aria-label" in attributes:
            return self._open_and_return_closer("label")
        return None

    def _enter_link(self, attributes: Mapping[str, str]) -> Callable[[], None]:
        watched = None
        if refers := note_reference_test(attributes):
            watched = self._drop_on_leave_if(
                self._note_link(attributes["href"], refers)
            )
        self.links += 1
        close = self._open_and_return_closer("link")

        def leave() -> None:
            close()
            if watched:
                watched()

        return leave

    def _note_link(
        self,
        address: str,
        refers: Callable[[str, bool], bool],
    ) -> Callable[[str, bool], bool]:
        at_start = self._is_blank

        def is_mark(text: str, raised: bool) -> bool:
            is_reference = refers(text, raised)
            if is_back_link(text, at_start=at_start):
                self._record_reference(address, is_back=True)
            elif is_reference:
                self._record_reference(address, is_back=False)
            return is_reference

        return is_mark

    def _record_reference(self, address: str | None, *, is_back: bool) -> None:
        if is_back:
            self._is_back_linked = True
        elif address:
            self.references.add(address)

    # --- page numbers and note references that only their text identifies ---

    def _drop_on_leave_if(
        self, is_apparatus: Callable[[str, bool], bool]
    ) -> Callable[[], None]:
        flushes, parts, length = self._flushes, len(self._parts), self._length
        seen = self._superscripts_seen

        def leave() -> None:
            if flushes != self._flushes or self._length - length > LONGEST_MARK:
                return
            raised = bool(self._open["superscript"]) or self._superscripts_seen > seen
            if is_apparatus("".join("".join(self._parts[parts:]).split()), raised):
                del self._parts[parts:]
                self._length = length

        return leave

    # --- text ---

    def _flush(self) -> None:
        if not self._parts:
            return
        raw = "".join(self._parts)
        is_bold = self._bold >= self._length
        self._parts.clear()
        self._length = self._bold = 0
        self._is_blank = True
        self._flushes += 1
        self._budget.allow(raw.count(_BREAK), "lines")
        pieces = _BLANK_LINE.split(raw) if self._open["pre"] else [raw]
        for piece in pieces:
            text = _clean(piece)
            if not text:
                continue
            level = _level_of_bold(text) if is_bold else 0
            if self._heading is not None:
                self._heading.append(text)
            elif level:
                self._add(text.replace("\n", ": "), level)
            else:
                self._add(text)

    def _add(self, text: str, level: int = 0) -> None:
        if self._is_back_linked:
            self.back_linked[len(self.blocks)] = frozenset(self._ids)
            self._is_back_linked = False
        self._ids.clear()
        self.blocks.append(TextBlock(text, level, self._kind))
        self._budget.allow(len(self.blocks), "paragraphs")


def _image_alternative(attributes: Mapping[str, str]) -> str:
    """Return the text that stands for an image."""
    return (attributes.get("alt") or "").strip()


def _level_of_bold(text: str) -> int:
    """Return the level of bold text as a heading, else 0."""
    level = heading_level(text)
    if not level and matter_kind_of_title(text):
        return _LEVEL_OF_BOLD_TITLE
    return level


def _declared_terms(attributes: Mapping[str, str]) -> frozenset[str]:
    namespaced, prefixed = EPUB_TYPE
    kind = attributes.get(namespaced) or attributes.get(prefixed)
    role = attributes.get("role")
    return terms(kind, role) if kind or role else _NOTHING


def _clean(raw: str) -> str:
    raw = legible(raw)
    if _BREAK not in raw:
        return " ".join(raw.split())
    lines = (" ".join(line.split()) for line in raw.split(_BREAK))
    return "\n".join(line for line in lines if line)
