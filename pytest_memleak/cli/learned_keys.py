"""Keys that a preflight learned of a server, and their lines in a suite file."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEADING = re.compile(r"\s*\[")
_SUITE = re.compile(r"\s*\[suite\]\s*(?:#.*)?")
_MODEL = re.compile(r"\s*\[\[model\]\]\s*(?:#.*)?")


class LearnedKey(NamedTuple):
    """A key of a suite file.

    table: the one that it stands in
    value: as TOML
    why:   what the server did
    """

    table: Literal["suite", "model"]
    name: str
    value: str
    why: str

    @property
    def line(self) -> str:
        """The key's line in a suite file, with its reason."""
        return f"{self.name} = {self.value}  # {self.why}"


def lines_of(keys: Iterable[LearnedKey], table: str) -> list[str]:
    """Return the lines of one table's keys."""
    return [key.line for key in keys if key.table == table]


def suite_text_with_keys(
    text: str, model_id: str, keys: Sequence[LearnedKey]
) -> str | None:
    """Return a suite's text with these keys, in place of what it has under their names.

    None where they have no place: the table isn't written as [suite] or [[model]], or
    one [[model]] stands for several models.
    """
    lines = text.splitlines()
    for key in keys:
        start = _line_of_table_heading(lines, key.table, model_id, tomllib.loads(text))
        if start is None:
            return None
        _set_key_line(lines, start, key)
    changed = "\n".join(lines) + "\n"
    return changed if _has_all_keys(changed, model_id, keys) else None


def _line_of_table_heading(
    lines: Sequence[str],
    table: str,
    model_id: str,
    suite: dict[str, Any],
) -> int | None:
    """Return the line number, from 0, of a table's heading."""
    if table == "suite":
        return next((n for n, line in enumerate(lines) if _SUITE.fullmatch(line)), None)
    headings = [n for n, line in enumerate(lines) if _MODEL.fullmatch(line)]
    models = suite.get("model", [])
    places = [n for n, model in enumerate(models) if model.get("id") == model_id]
    if len(headings) != len(models) or len(places) != 1:
        return None
    return headings[places[0]]


def _set_key_line(lines: list[str], start: int, key: LearnedKey) -> None:
    """Write a key's line: over the one that it has, or behind the table's last key."""
    own = re.compile(rf"\s*{re.escape(key.name)}\s*=")
    last = start
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if _HEADING.match(line):
            break
        if own.match(line):
            lines[number] = key.line
            return
        if line.strip() and not line.lstrip().startswith("#"):
            last = number
    lines.insert(last + 1, key.line)


def _has_all_keys(text: str, model_id: str, keys: Sequence[LearnedKey]) -> bool:
    """Tell whether a suite's text is valid TOML and has each key where it belongs."""
    try:
        suite = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    models = [model for model in suite["model"] if model.get("id") == model_id]
    tables = {"suite": suite.get("suite", {}), "model": models[0]}
    return all(
        tables[key.table].get(key.name) == tomllib.loads(f"x = {key.value}")["x"]
        for key in keys
    )
