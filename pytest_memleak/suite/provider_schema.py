"""The providers' own tables in the JSON Schema: which options a model may have depends on it."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, get_args

from pytest_memleak.providers.option_tables import Table
from pytest_memleak.providers.provider_registry import PROVIDERS

_ABOUT = re.compile(r"^([a-z_, ]+): (.*(?:\n {4}.*)*)", re.MULTILINE)


def with_providers(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of suite files, in which a model's options are those of its provider.

    A provider that an extension brings may have any.
    """
    definitions = dict(schema["$defs"])
    model = definitions["ModelTable"]
    conditions = []
    for provider, where in PROVIDERS.items():
        then = {}
        for kind in vars(importlib.import_module(where.module)).values():
            if isinstance(kind, type) and issubclass(kind, Table) and kind is not Table:
                about = inspect.cleandoc(kind.__doc__ or "")
                key = "options" if about.startswith("`[model.options]`") else "finetune"
                name = f"{provider.capitalize()}{key.capitalize()}"
                definitions[name] = _described(kind, about)
                for inner in _tables_within(kind):
                    docstring = inspect.cleandoc(inner.__doc__ or "")
                    definitions[inner.__name__] = _described(inner, docstring)
                if key == "finetune":
                    definitions[name] = _beside_books(definitions[name], definitions)
                then[key] = {"$ref": f"#/$defs/{name}"}
        conditions.append(
            {
                "if": {"properties": {"provider": {"const": provider}}},
                "then": {"properties": then},
            }
        )
    definitions["ModelTable"] = {**model, "allOf": conditions}
    return {**schema, "$defs": definitions}


def _described(kind: type[Table], about: str) -> dict[str, Any]:
    """The table's schema; what each key is for stands in the docstring of its class."""
    descriptions = {
        name.strip(): " ".join(text.split())
        for names, text in _ABOUT.findall(about)
        for name in names.split(",")
    }
    schema = kind.model_json_schema()
    properties = {
        name: {**value, "description": descriptions.get(name, f"{name} of the provider's recipe")}
        for name, value in schema["properties"].items()
    }
    schema.pop("$defs", None)  # they stand beside it
    return {**schema, "properties": properties, "description": about.partition("\n")[0]}


def _tables_within(kind: type[Table]) -> list[type[Table]]:
    """The classes of the tables that its keys may hold."""
    held = (
        candidate
        for field in kind.model_fields.values()
        for candidate in get_args(field.annotation)
    )
    return [
        candidate
        for candidate in held
        if isinstance(candidate, type) and issubclass(candidate, Table)
    ]


def _beside_books(table: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    books = definitions["FinetuneTable"]["properties"]["books"]
    return {**table, "properties": {"books": books, **table["properties"]}, "required": ["books"]}
