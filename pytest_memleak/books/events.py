"""A document as a stream of events, so that its depth and size cost no more than its text.

It is parsed as XML first, and where it is not well-formed, as browsers read HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from pytest_memleak.errors import BookError

# libxml2 looks for what an end tag closes through all elements that are open: some 1.5 ns a step.
_MOST_STEPS = 8_000_000_000
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*)")
_NEVER_CLOSED = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
}  # fmt: skip


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
    to expand or a file to fetch. Raises BookError for nesting that would take a parser minutes.
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
        _check_nesting(text)
        target = new_target()
        html = etree.HTMLParser(
            target=cast(Any, target), encoding="utf-8", huge_tree=True, no_network=True
        )
        etree.fromstring(data, html)
    return target


def _check_nesting(text: str) -> None:
    """Raise BookError where end tags that close nothing stand too deep within others."""
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
            f"has elements {depth:,} deep that its tags do not close",
            hint="no book has such a document: the file is damaged or hostile",
        )
