"""A suite file as it is written, and how errors name its keys, lines, and values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.errors import SuiteError
from pytest_memleak.redaction.credentials import masked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

Table = dict[str, Any]
Location = tuple[int | str, ...]
Problem = tuple[Location, str, str | None]
"""The key where a suite is wrong, the message, and the hint."""

_HEADING = re.compile(r"\s*\[\[?([^\[\]=]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*([\w."'-]+)\s*=""")
_SHOWN = 80  # characters of a name or value
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class WrittenSuite(NamedTuple):
    """Tables, text, and path of a suite file."""

    tables: Table
    text: str
    path: Path

    def place(self, location: Sequence[int | str]) -> str:
        """Return file and line of a key such as `("model", 0, "finetune", "books")`."""
        line = _line_of(self.text, location)
        if line is None:
            return str(self.path)
        return f"{self.path}:{line}"

    def error(
        self,
        kind: str,
        index: int,
        key: str,
        problem: str,
        hint: str,
    ) -> SuiteError:
        """Return an error with file, line, and key."""
        place = self.place((kind, index, *key.split(".")))
        return SuiteError(
            f"{kind}[{index + 1}].{key}: {problem}",
            location=place,
            hint=hint,
        )

    def list_of(self, kind: str) -> list[Any]:
        """Return the tables of a kind."""
        value = self.tables.get(kind)
        return value if isinstance(value, list) else []

    def filled(
        self,
        value: Any,
        fields: Mapping[str, Any],
        location: tuple[str, int, str],
        *,
        place: str = "",
        names: Collection[str] = (),
    ) -> Any:
        """Replace a text's placeholders. Raises SuiteError for one without a value.

        place, names: of the book that the fields are of, and what other books have
        """
        if not isinstance(value, str):
            return value

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name in fields:
                return str(fields[name])
            kind, index, key = location
            if name in names:
                needed_by = f"{kind}[{index + 1}].{key} = {shown(value)}"
                raise SuiteError(
                    f"{name}: missing, but {needed_by} needs it",
                    location=place,
                    hint=f"add the {name} of this book",
                )
            problem = f"{shown(value)} has the unknown placeholder {shown(match[0])}"
            hint = f"known names: {', '.join(sorted(fields)) or 'none'}"
            raise self.error(*location, problem, hint)

        return _PLACEHOLDER.sub(fill, value)


def suite_error(
    path: Path,
    message: str,
    hint: str | None = None,
) -> SuiteError:
    """Return an error that names the suite file."""
    return SuiteError(message, location=str(path), hint=hint)


def safe_key(name: str) -> str:
    """Return a key with its control characters escaped and credentials masked."""
    if not name.isprintable():
        name = repr(name)
    return masked(clipped(name))


def shown(value: object) -> str:
    """Return a value's repr, clipped."""
    return clipped(repr(value))


def clipped(text: str) -> str:
    """Clip a long text and append its length."""
    if len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}... ({len(text)} characters)"


def as_id_part(text: str) -> str:
    """Make a part of an id of a text."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")


def _line_of(text: str, location: Sequence[int | str]) -> int | None:
    """Return the line of a key, from 1, or of the table that should have it."""
    index = None
    if len(location) > 1 and isinstance(location[1], int):
        index = location[1]
    names = [step for step in location if isinstance(step, str)]
    heading: list[str] = []
    table_index = -1  # of the last [[table]] of the location's kind
    longest = 0
    line = None
    for number, content in enumerate(text.splitlines(), start=1):
        if match := _HEADING.fullmatch(content):
            heading = _dotted_key_parts(match[1])
            path = heading
            is_of_list = content.lstrip().startswith("[[")
            if is_of_list and heading == names[:1]:
                table_index += 1
        elif match := _KEY.match(content):
            path = [*heading, *_dotted_key_parts(match[1])]
        else:
            continue
        in_table = index is None or table_index in {index, -1}
        leads_there = path == names[: len(path)]
        if in_table and leads_there and len(path) > longest:
            longest = len(path)
            line = number
    return line


def _dotted_key_parts(name: str) -> list[str]:
    return [part.strip(" \t\"'") for part in name.split(".")]
