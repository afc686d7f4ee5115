"""Which classes a style sheet sets apart as blocks, so that a line of verse is one.

Only what is sure: rules outside `@media`, that end in a class, and that neither float nor place
what they style (a drop cap is displayed as a block, and belongs to its word all the same).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_MOST_CHARACTERS = 2 << 20
_RULE_PART = re.compile(r"[{}]")
_LAST_CLASS = re.compile(r"(?:^|[\s>+~])(?:span|a|i|b|em|strong|q|small|cite)?\.([\w-]{1,100})\Z")
_LONGEST_SELECTOR = 200
_AS_BLOCK = re.compile(r"display\s*:\s*(?:block|list-item|table\b)", re.IGNORECASE)
_MOVED = re.compile(r"float\s*:\s*(?:left|right)|position\s*:\s*(?:absolute|fixed)", re.IGNORECASE)


def block_classes(sheets: Iterable[str]) -> frozenset[str]:
    """The classes that the style sheets display as blocks."""
    return frozenset(
        name
        for sheet in sheets
        for selectors, declarations in _rules(_without_comments(sheet[:_MOST_CHARACTERS]))
        if _AS_BLOCK.search(declarations) and not _MOVED.search(declarations)
        for name in _classes(selectors)
    )


def _without_comments(sheet: str) -> str:
    pieces, begin = [], 0
    while (start := sheet.find("/*", begin)) >= 0:
        pieces.append(sheet[begin:start])
        end = sheet.find("*/", start + 2)
        begin = end + 2 if end >= 0 else len(sheet)
    return "".join([*pieces, sheet[begin:]])


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Selectors and declarations of the rules that stand in no other."""
    depth = begin = 0
    selectors = ""
    for brace in _RULE_PART.finditer(sheet):
        text = sheet[begin : brace.start()]
        begin = brace.end()
        if brace[0] == "{":
            depth += 1
            selectors = text.rpartition(";")[2] if depth == 1 else "@"
        elif depth:
            depth -= 1
            if depth == 0 and "@" not in selectors:
                yield selectors, text


def _classes(selectors: str) -> Iterator[str]:
    for selector in selectors.split(","):
        match = _LAST_CLASS.search(selector.strip()[-_LONGEST_SELECTOR:])
        if match:
            yield match[1].lower()
