"""Hints of suite file errors: what to type instead."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pytest_memleak.redaction.credentials import masked
from pytest_memleak.scoring.measure_table import MEASURES
from pytest_memleak.suite.schema import LimitsTable, SuiteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_FILE = "check the name; memleak init writes a suite"
_AGAIN = "memleak doctor FILE checks it again"
_MISSING = {
    "book": 'add [[book]], with id = "..." and source = "book.epub"',
    "model": 'add [[model]], with id = "...", provider = "openai", and base_model = '
    '"NAME"',
}
_MOST_PERCENT = 100
_DEPTH_OF_MODELS_KEY = 3  # model, its number, the key
_ALSO = {
    "model": {"model": "base_model", "name": "base_model"},
    "book": {"book": "source", "file": "source", "path": "source"},
}  # names of the key in other tools
_SCHEMA = "memleak-suite.schema.json"
_MISSPELT = 0.65  # similarity to a key of the same table
_ALMOST = 0.9  # similarity to a key of another table
_LONGEST = 200  # characters of a hint


def syntax_hint(message: str) -> str:
    """Return the hint for a TOML parser's message."""
    if "escape" in message.lower() or "hex" in message.lower():
        return 'a backslash begins an escape in TOML; write paths with /: "C:/books/it.epub"'
    if "overwrite" in message or "twice" in message:
        return "remove one of the two: a key or table can occur only once"
    if "Expected ']" in message:
        return "close the heading, as in [suite] or [[book]]"
    return (
        'quote text, as in source = "it.epub"; leave numbers, true, and false unquoted'
    )


def problem_hint(problem: dict[str, Any], location: Sequence[int | str]) -> str:
    """Return the hint for a problem that pydantic reports at `location`."""
    text = _problem_hint(problem, location)
    shown_text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return masked(shown_text, limit=_LONGEST)


def is_option(location: Sequence[int | str]) -> bool:
    """Whether an unknown key of a model is a provider's option."""
    if tuple(location[:1]) != ("model",) or len(location) != _DEPTH_OF_MODELS_KEY:
        return False
    schema = json.loads(
        files("pytest_memleak.suite").joinpath(_SCHEMA).read_text("utf-8")
    )
    tables = (
        definition
        for name, definition in schema["$defs"].items()
        if name.endswith("Options")
    )
    return any(location[-1] in table["properties"] for table in tables)


def _problem_hint(problem: dict[str, Any], location: Sequence[int | str]) -> str:
    name = next((step for step in reversed(location) if isinstance(step, str)), "")
    kind, seen = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return _unknown_key_hint(str(location[-1]), location)
    if kind == "missing":
        return _MISSING.get(name, f"add {name} = ...")
    if kind == "literal_error" and isinstance(seen, str):
        near = difflib.get_close_matches(
            seen, re.findall("'([^']+)'", problem["msg"]), n=1
        )
        return f'did you mean "{near[0]}"?' if near else _change_value(name)
    return _bracket_hint(name, kind, seen, location) or _value_hint(name, kind, seen)


def _bracket_hint(
    name: str, kind: str, seen: object, location: Sequence[int | str]
) -> str:
    if kind == "list_type" and isinstance(seen, dict):
        return f"write [[{name}]] instead of [{name}]: it can occur several times"
    if isinstance(seen, list) and len(location) == 1:
        return f"write [{name}] instead of [[{name}]]: it can occur only once"
    return ""


def _value_hint(name: str, kind: str, seen: Any) -> str:
    if isinstance(seen, str) and kind.startswith(("int", "float", "bool")):
        if share := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", seen.strip()):
            return f"write {name} = {float(share[1]) / 100:g}"
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads(f"it = {seen}")
            return f"write {name} = {seen} without quotes; {_AGAIN}"
    if name == "id" and kind == "string_pattern_mismatch":
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", seen).strip("-._")
        return f"write {name} = {json.dumps(plain)}" if plain else _change_value(name)
    number = not isinstance(seen, bool) and isinstance(seen, int | float)
    if kind == "less_than_equal" and number and 1 < seen <= _MOST_PERCENT:
        return f"for {seen:g}%, write {name} = {seen / 100:g}"
    return _change_value(name)


def _change_value(name: str) -> str:
    return f"change the value of {name}; {_AGAIN}"


def _unknown_key_hint(name: str, location: Sequence[int | str]) -> str:
    """Suggest a key for a misspelled one, a column title, or a key of another table."""
    if is_option(location):
        return f"{name} is a key of [model.options]; move it there"
    own = known_keys(location)
    plain = re.sub(
        r"(@\d+|_over_\d+)$", lambda match: "_over" * ("_" in match[0]), _spelt(name)
    )
    called = {_spelt(row.title): key for key, row in MEASURES.items() if key in own}
    called |= (
        _ALSO.get(str(location[0]), {}) if len(location) == _DEPTH_OF_MODELS_KEY else {}
    )
    near = [called[plain]] if plain in called else near_keys(plain, own)
    if near:
        return f"write {near[0]} instead of {name}"
    tables = dict(_tables())
    if table := next((table for table in tables if table.strip("[]") == plain), ""):
        return f"write {table}, a table of its own"
    homes = [
        (it, key)
        for it, keys in tables.items()
        for key in near_keys(plain, keys, _ALMOST)
    ]
    if homes:
        table, key = min(homes, key=lambda home: home[1] != plain)
        return f"{key} is a key of {table}; move it there"
    return f"remove or correct it; {_AGAIN}"


def nearest_keys(location: Sequence[int | str], hint: str) -> str:
    """Return what an unknown key may be meant for, to follow the message, unless the hint does."""
    if is_option(location):
        return ""
    keys = known_keys(location)
    if near := near_keys(str(location[-1]), keys):
        return (
            ""
            if hint.startswith(f"write {near[0]} ")
            else f"; did you mean {near[0]!r}?"
        )
    return f"; known keys: {', '.join(keys)}" if keys else ""


def near_keys(
    name: str, keys: Sequence[str], similarity: float = _MISSPELT
) -> list[str]:
    """Return the key that was probably meant, if any."""
    return difflib.get_close_matches(name, keys, n=1, cutoff=similarity)


def _spelt(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def known_keys(location: Sequence[int | str]) -> list[str]:
    """Return the keys of the table in which `location` lies."""
    kind: type[BaseModel] | None = SuiteFile
    for step in location[:-1]:
        if isinstance(step, str) and kind is not None:
            kind = table_of(kind, step)
    return sorted(kind.model_fields) if kind else []


def _tables() -> Iterator[tuple[str, list[str]]]:
    yield "[limits]", [*LimitsTable.model_fields]
    for name, field in SuiteFile.model_fields.items():
        kind = table_of(SuiteFile, name)
        if kind is not None:
            shown = f"[[{name}]]" if "list" in str(field.annotation) else f"[{name}]"
            yield shown, [*kind.model_fields]


def table_of(kind: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the class of the table, or list of tables, in the field `name`."""
    field = kind.model_fields.get(name)
    parts = (
        [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
    )
    tables = (
        part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)
    )
    return next(tables, None)
