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
        return str(self.path) if line is None else f"{self.path}:{line}"

    def error(
        self, kind: str, index: int, key: str, problem: str, hint: str
    ) -> SuiteError:
        """Return an error with file, line, and key."""
        place = self.place((kind, index, *key.split(".")))
        return SuiteError(
            f"{kind}[{index + 1}].{key}: {problem}", location=place, hint=hint
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
        """Replace the placeholders of a text. Raises SuiteError for one without a value.

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
                problem = f"{name}: missing, but {kind}[{index + 1}].{key} = {shown(value)} needs it"
                raise SuiteError(
                    problem, location=place, hint=f"add the {name} of this book"
                )
            problem = f"{shown(value)} has the unknown placeholder {shown(match[0])}"
            hint = f"known names: {', '.join(sorted(fields)) or 'none'}"
            raise self.error(*location, problem, hint)

        return _PLACEHOLDER.sub(fill, value)


def suite_error(path: Path, message: str, hint: str | None = None) -> SuiteError:
    """Return an error that names the suite file."""
    return SuiteError(message, location=str(path), hint=hint)


def plain(name: str) -> str:
    """Return a key with its control characters escaped and credentials masked."""
    return masked(clipped(name if name.isprintable() else repr(name)))


def shown(value: object) -> str:
    """Return a value's repr, clipped."""
    return clipped(repr(value))


def clipped(text: str) -> str:
    """Clip a long text and append its length."""
    return (
        text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
    )


def fit_for_id(text: str) -> str:
    """Make a part of an id of a text."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")


def _line_of(text: str, location: Sequence[int | str]) -> int | None:
    """Return the line of a key, counting from 1, or that of the table that should have it."""
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
