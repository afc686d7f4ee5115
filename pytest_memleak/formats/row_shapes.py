r"""The shapes of plain rows: a pattern finds the texts of a line that isn't parsed.

Most lines of a file differ in their texts, ids, and numbers only. A line that was read
as a plain row gives a pattern for these; a line that it matches has the same keys,
roles, and order of messages, so its texts are those at the same places. Any other line
is parsed: `RowShapes.texts_of` returns what `RowPaths.plain_texts` does, or None
(tests/formats/test_row_shapes.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_memleak.formats.chat_cells import may_be_chat
from pytest_memleak.formats.log_format_table import PAPER_FORMATS, format_of
from pytest_memleak.formats.message_texts import KEYS_OF_END, is_without_text
from pytest_memleak.formats.plain_rows import PlainTexts, read_plain_row
from pytest_memleak.formats.reasoning_and_tool_calls import NO_TEXT

_MOST_SHAPES = 4
# Of so many lines, half must have a shape for more to be tried.
_TRIED = 256
_LONGEST_LINE = 1 << 16  # that a shape is taken from

# The values of these keys tell what others mean.
_TELLING_KEYS = KEYS_OF_END | {"role", "type"}
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+"'
_TEXT = rb'"((?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))++)"'
# An id or a name: no blank, and too short to have many words.
_NAME = rb'"[!#-\[\]-~]{0,22}+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?+"
_TOKEN = re.compile(
    rb"(?P<key>" + _STRING + rb")(?P<colon>[ \t]*:)"
    rb"|(?P<string>" + _STRING + rb")"
    rb"|(?P<number>" + _NUMBER + rb")(?![0-9.eE+-])"
    rb"|(?P<word>true|false|null)"
    rb"|(?P<mark>[\[\]{},]|[ \t]+)"
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A pattern of lines.

    before: of each text in the pattern's order, the number of prompts before it if the
            model wrote it, or None
    """

    pattern: re.Pattern[bytes]
    before: tuple[int | None, ...]

    def texts_of(self, line: bytes) -> PlainTexts | None:
        match = self.pattern.fullmatch(line)
        if match is None:
            return None
        try:
            texts = list(map(_unescaped, match.groups()))
        except ValueError:
            return None  # not UTF-8
        if len(set(texts)) < len(texts):
            return None  # a text that occurs twice counts once
        answers: list[tuple[str, int]] = []
        prompts: list[str] = []
        for text, before in zip(texts, self.before, strict=True):
            if before is None:
                if may_be_chat(text):
                    return None
                prompts.append(text)
            else:
                answers.append((text, before))
        return PlainTexts.of(answers, prompts)


class RowShapes:
    """The shapes of the lines that were read so far."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._tried = 0
        self._matched = 0

    def texts_of(self, line: bytes) -> PlainTexts | None:
        """Return the texts of a line of JSON of some shape; None for any other line."""
        if self._tried >= _TRIED and self._matched * 2 < self._tried:
            return None
        for place, shape in enumerate(self._shapes):
            texts = shape.texts_of(line)
            if texts is not None:
                if place:
                    self._shapes.insert(0, self._shapes.pop(place))
                self._matched += 1
                self._tried += 1
                return texts
        self._tried += bool(self._shapes)
        return None

    def learn(self, line: bytes, row: Any) -> None:
        """Take the shape of a line that was parsed, if it is a plain row's."""
        if len(self._shapes) < _MOST_SHAPES and len(line) <= _LONGEST_LINE:
            shape = _shape_of(line, row)
            if shape is not None:
                self._shapes.append(shape)


def _unescaped(text: bytes) -> str:
    if b"\\" not in text:
        return text.decode()
    value = json.loads(b'"%b"' % text)
    return str(value)


def _shape_of(line: bytes, row: Any) -> _Shape | None:
    row_format = format_of(frozenset(row))
    if row_format is None or row_format in PAPER_FORMATS or row_format.calls:
        return None
    reading = read_plain_row(row, row_format)
    if reading is None or not reading.answers:
        return None
    before_texts: dict[int, int | None] = {id(text): None for text in reading.prompts}
    for (text,), facts in reading.answers.items():
        before_texts[id(text)] = facts.before
    values = _values_in(row)
    pattern: list[bytes] = []
    before: list[int | None] = []
    place = 0
    while place < len(line):
        token = _TOKEN.match(line, place)
        if token is None:
            return None
        place = token.end()
        if token["key"] or token["mark"]:
            pattern.append(re.escape(token[0]))
            continue
        key, value = next(values)
        if id(value) in before_texts:
            pattern.append(_TEXT)
            before.append(before_texts[id(value)])
            continue
        part = _pattern_of(key, value, token[0])
        if part is None:
            return None
        pattern.append(part)
    texts = len(reading.answers) + len(reading.prompts)
    if len(before_texts) < texts or len(before) != texts:
        return None  # a text that occurs twice counts once
    return _Shape(re.compile(b"".join(pattern)), tuple(before))


def _pattern_of(key: str, value: Any, token: bytes) -> bytes | None:
    """Return the pattern of a value that is no text; None if another may be one."""
    if key in _TELLING_KEYS or isinstance(value, bool | None):
        return re.escape(token)
    if isinstance(value, NO_TEXT):
        return _NUMBER
    if not is_without_text(key, value):
        return None
    is_name = re.fullmatch(_NAME, token) is not None
    return _NAME if is_name else re.escape(token)


def _values_in(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the single values in the order of the line, each with the key above it."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _values_in(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _values_in(part, key)
    else:
        yield key, value
