"""Lines of a suite file, which tomllib doesn't report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADING = re.compile(r"\s*\[\[?([^\[\]=]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*([\w."'-]+)\s*=""")


def line_of(text: str, location: Sequence[int | str]) -> int | None:
    """Return the line of a key, counting from 1, or that of the table that should have it.

    location: as `("model", 0, "finetune", "books")`; None where neither is written
    """
    index = next((step for step in location[1:2] if isinstance(step, int)), None)
    names = [step for step in location if isinstance(step, str)]
    heading: list[str] = []
    tables, depth, line = -1, 0, None
    for number, content in enumerate(text.splitlines(), start=1):
        if match := _HEADING.fullmatch(content):
            path = heading = _parts(match[1])
            tables += heading == names[:1] and content.lstrip().startswith("[[")
        elif match := _KEY.match(content):
            path = [*heading, *_parts(match[1])]
        else:
            continue
        is_there = index is None or tables in {index, -1}
        if is_there and depth < len(path) and path == names[: len(path)]:
            depth, line = len(path), number
    return line


def _parts(name: str) -> list[str]:
    return [part.strip(" \t\"'") for part in name.split(".")]
