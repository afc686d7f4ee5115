"""The JSON Schema of suite files, from their tables and from the options of providers."""

import importlib
import json
import re

from pytest_memleak.providers.option_tables import Table
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.suite.schema import SuiteFile


def json_schema():
    schema = SuiteFile.model_json_schema()
    _add_provider_options(schema["$defs"])
    _add_matrix(schema["$defs"])
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return (
        json.dumps({**dialect, **schema, "title": "pytest-memleak suite"}, indent=2)
        + "\n"
    )


def own_tables(provider):
    """A provider's tables by what they are: `options`, `finetune`."""
    module = importlib.import_module(PROVIDERS[provider].module)
    options = getattr(getattr(module, PROVIDERS[provider].name), "options_table", None)
    if options is not None:  # a class of HttpProvider
        return {"options": options}
    tables = {}
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, Table) and kind is not Table:
            name = re.match(r"`\[model\.(options|finetune)\]`", kind.__doc__)[1]
            assert name not in tables
            tables[name] = kind
    return tables


_ABOUT = re.compile(r"^([a-z_, ]+): (.*(?:\n {4}.*)*)", re.MULTILINE)


def _add_provider_options(definitions):
    """Add the options of each provider; an extension's provider may have any."""
    books = definitions["FinetuneTable"]["properties"]["books"]
    conditions = definitions["ModelTable"]["allOf"] = []
    for provider in PROVIDERS:
        then = {}
        for key, kind in own_tables(provider).items():
            table = kind.model_json_schema()
            inner_tables = table.pop("$defs", {})
            definitions |= {
                name: described(inner) for name, inner in inner_tables.items()
            }
            table = described(table)
            if key == "finetune":
                table["properties"] = {"books": books, **table["properties"]}
                table["required"] = ["books"]
            name = f"{provider.capitalize()}{key.capitalize()}"
            definitions[name] = table
            then[key] = {"$ref": f"#/$defs/{name}"}
        conditions.append(
            {
                "if": {"properties": {"provider": {"const": provider}}},
                "then": {"properties": then},
            }
        )


def _add_matrix(definitions):
    """Allow what is expanded before validation: books without an id, lists, and selectors."""
    definitions["BookTable"]["required"].remove("id")
    text = {"type": "string"}
    texts = {
        "type": "array",
        "items": {"anyOf": [text, {"type": "array", "items": text}]},
    }
    entries = {"anyOf": [text, texts]}
    for name, table in definitions.items():
        keys = table["properties"]
        if name == "ModelTable":
            keys["tests"] |= entries
            listed = ["base_model", "endpoint"]
            keys["id"] = {**keys["id"], **text, "pattern": ".", "maxLength": 1000}
        elif name.endswith("Finetune") or name == "FinetuneTable":
            listed = [key for key in keys if key != "books"]
            keys["books"] = {"description": keys["books"]["description"], **entries}
        else:
            continue
        for key in listed:
            about = keys[key].pop("description")
            either = {"anyOf": [keys[key], {"type": "array", "items": keys[key]}]}
            keys[key] = {**either, "description": about}


def described(table):
    """Return a table's schema with the descriptions in the docstring of its class."""
    about = table["description"]
    descriptions = {
        name.strip(): " ".join(text.split())
        for names, text in _ABOUT.findall(about)
        for name in names.split(",")
    }
    properties = {
        name: {
            **value,
            "description": descriptions.get(name, "as the provider documents it"),
        }
        for name, value in table["properties"].items()
    }
    return {**table, "properties": properties, "description": about.partition("\n")[0]}
