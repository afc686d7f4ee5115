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
from pytest_memleak.suite.written_suite import as_id_part

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


def syntax_hint(message: str, line: str) -> str:
    """Return the hint for a TOML parser's message on a line."""
    if "escape" in message.lower() or "hex" in message.lower():
        return (
            "a backslash begins an escape in TOML; write paths with /: "
            '"C:/books/it.epub"'
        )
    if "overwrite" in message or "twice" in message:
        return "remove one of the two: a key or table can occur only once"
    if re.search("[“”„‘’]", line):
        return 'write straight quotes, as in source = "it.epub"'
    if "Expected ']" in message:
        return "close the heading, as in [suite] or [[book]]"
    return (
        'quote text, as in source = "it.epub"; leave numbers, true, and false unquoted'
    )


def problem_hint(problem: dict[str, Any], location: Sequence[int | str]) -> str:
    """Return the hint for a problem that pydantic reports at `location`."""
    text = _problem_hint(problem, location)
    shown_text = ""
    for character in text:
        if character.isprintable():
            shown_text += character
        else:
            shown_text += repr(character)[1:-1]
    return masked(shown_text, limit=_LONGEST)


def is_option(location: Sequence[int | str]) -> bool:
    """Whether an unknown key of a model is a provider's option."""
    if len(location) != _DEPTH_OF_MODELS_KEY or location[0] != "model":
        return False
    schema_file = files("pytest_memleak.suite").joinpath(_SCHEMA)
    schema = json.loads(schema_file.read_text("utf-8"))
    key = location[-1]
    for name, definition in schema["$defs"].items():
        if name.endswith("Options") and key in definition["properties"]:
            return True
    return False


def _problem_hint(problem: dict[str, Any], location: Sequence[int | str]) -> str:
    names = [step for step in location if isinstance(step, str)]
    name = names[-1] if names else ""
    kind = problem["type"]
    seen = problem["input"]
    if kind == "extra_forbidden":
        return _unknown_key_hint(str(location[-1]), location)
    if kind == "missing":
        return _MISSING.get(name, f"add {name} = ...")
    if kind == "literal_error" and isinstance(seen, str):
        expected = re.findall("'([^']+)'", problem["msg"])
        near = difflib.get_close_matches(seen, expected, n=1)
        return f'did you mean "{near[0]}"?' if near else _change_value(name)
    if kind in {"model_type", "dict_type"} and not isinstance(seen, list):
        return _table_hint(name, location)
    return _bracket_hint(name, kind, seen, location) or _value_hint(name, problem)


def _table_hint(name: str, location: Sequence[int | str]) -> str:
    if len(location) == 1:
        return f"write [{name}], a table of its own"
    hint = f"write {name} = {{ ... }}, a table"
    keys = ", ".join(known_keys([*location, ""]))
    return f"{hint} with keys of: {keys}" if keys else hint


def _bracket_hint(
    name: str,
    kind: str,
    seen: object,
    location: Sequence[int | str],
) -> str:
    if kind == "list_type" and isinstance(seen, dict):
        return f"write [[{name}]] instead of [{name}]: it can occur several times"
    if isinstance(seen, list) and len(location) == 1:
        return f"write [{name}] instead of [[{name}]]: it can occur only once"
    return ""


def _value_hint(name: str, problem: dict[str, Any]) -> str:
    kind = problem["type"]
    seen = problem["input"]
    if isinstance(seen, str) and kind.startswith(("int", "float", "bool")):
        if share := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", seen.strip()):
            return f"write {name} = {float(share[1]) / 100:g}"
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads(f"it = {seen}")
            return f"write {name} = {seen} without quotes; {_AGAIN}"
    if name == "id" and kind == "string_pattern_mismatch":
        if plain := as_id_part(seen):
            return f"write {name} = {json.dumps(plain)}"
        return _change_value(name)
    is_number = not isinstance(seen, bool) and isinstance(seen, int | float)
    is_share = problem["msg"].endswith("less than or equal to 1")
    if is_share and is_number and 1 < seen <= _MOST_PERCENT:
        return f"for {seen:g}%, write {name} = {seen / 100:g}"
    return _change_value(name)


def _change_value(name: str) -> str:
    return f"change the value of {name}; {_AGAIN}"


def _unknown_key_hint(name: str, location: Sequence[int | str]) -> str:
    """Suggest a key for a misspelled one, a column title, or a key of another table."""
    if is_option(location):
        return f"{name} is a key of [model.options]; move it there"
    own = known_keys(location)
    plain = _without_number(_with_underscores(name))
    called = {
        _with_underscores(row.title): key for key, row in MEASURES.items() if key in own
    }
    if len(location) == _DEPTH_OF_MODELS_KEY:
        called |= _ALSO.get(str(location[0]), {})
    near = [called[plain]] if plain in called else near_keys(plain, own)
    if near:
        return f"write {near[0]} instead of {name}"
    tables = dict(_tables_and_keys())
    for table in tables:
        if table.strip("[]") == plain:
            return f"write {table}, a table of its own"
    homes: list[tuple[str, str]] = []  # tables with a key of almost this name
    for table, keys in tables.items():
        homes += [(key, table) for key in near_keys(plain, keys, _ALMOST)]
    exact = [(key, table) for key, table in homes if key == plain]
    candidates = exact or homes
    if candidates:
        key, table = candidates[0]
        return f"{key} is a key of {table}; move it there"
    return f"remove or correct it; {_AGAIN}"


def _without_number(name: str) -> str:
    """Shorten a column's title: bmc@5 to bmc, spans_over_20 to spans_over."""
    if re.search(r"_over_\d+$", name):
        return name.rstrip("0123456789").removesuffix("_")
    return re.sub(r"@\d+$", "", name)


def unknown_key_text(location: Sequence[int | str], hint: str) -> str:
    """Return what an unknown key may be meant for, unless the hint says it."""
    if is_option(location):
        return ""
    keys = known_keys(location)
    if near := near_keys(str(location[-1]), keys):
        if hint.startswith(f"write {near[0]} "):
            return ""
        return f"; did you mean {near[0]!r}?"
    return f"; known keys: {', '.join(keys)}" if keys else ""


def near_keys(
    name: str,
    keys: Sequence[str],
    similarity: float = _MISSPELT,
) -> list[str]:
    """Return the key that was probably meant, if any."""
    return difflib.get_close_matches(name, keys, n=1, cutoff=similarity)


def _with_underscores(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def known_keys(location: Sequence[int | str]) -> list[str]:
    """Return the keys of the table in which `location` lies."""
    kind: type[BaseModel] = SuiteFile
    for step in location[:-1]:
        if isinstance(step, str):
            inner = table_class_of_field(kind, step)
            if inner is None:
                return []
            kind = inner
    return sorted(kind.model_fields)


def _tables_and_keys() -> Iterator[tuple[str, list[str]]]:
    yield "[limits]", [*LimitsTable.model_fields]
    for name, field in SuiteFile.model_fields.items():
        kind = table_class_of_field(SuiteFile, name)
        if kind is not None:
            is_list = "list" in str(field.annotation)
            title = f"[[{name}]]" if is_list else f"[{name}]"
            yield title, [*kind.model_fields]


def table_class_of_field(kind: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the class of the table, or list of tables, in the field `name`."""
    field = kind.model_fields.get(name)
    if field is None:
        return None
    for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None
