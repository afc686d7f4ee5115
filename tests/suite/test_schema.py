"""The JSON Schema that ships is the one that the suite's tables make."""

import json
import sys
from importlib.resources import files

import pytest
from suite_json_schema import json_schema

SHIPPED = files("pytest_memleak.suite") / "memleak-suite.schema.json"
ANEW = "python tests/settings/write_reference.py"


def test_the_json_schema_is_up_to_date():
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert shipped == json.loads(json_schema()), f"write it anew: {ANEW}"


def test_an_editor_is_told_what_every_key_means():
    schema = json.loads(json_schema())
    tables = {"suite file": schema, **schema["$defs"]}
    silent = [
        f"{table}: {key}"
        for table, described in tables.items()
        for key, value in described["properties"].items()
        if not value.get("description")
    ]
    assert not silent


def test_an_editor_is_told_of_unknown_keys():
    schema = json.loads(json_schema())
    closed = {
        name: table["additionalProperties"] for name, table in schema["$defs"].items()
    }
    assert (
        closed.pop("FinetuneTable") is True
    )  # the provider's own recipe stands beside `books`
    assert schema["additionalProperties"] is False
    assert not any(closed.values())


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ({}, None),
        ({"options": {"base_url": "http://localhost:8000/v1"}}, None),
        ({"options": {"baseurl": "http://localhost:8000/v1"}}, "baseurl"),
        ({"options": {"concurrency": "many"}}, "many"),
        ({"provider": "recorded", "options": {"path": "a.json"}}, None),
        ({"provider": "recorded", "options": {"concurrency": 2}}, "concurrency"),
        ({"provider": "acme", "options": {"anything": 1}}, None),
        ({"finetune": {"books": ["road"], "epochs": 2}}, None),
        ({"finetune": {"books": ["road"], "epoch": 2}}, "epoch"),
        ({"finetune": {"epochs": 2}}, "books"),
    ],
)
def test_an_editor_is_told_which_options_a_provider_takes(model, wrong, monkeypatch):
    # Of its grammars for addresses, which take seconds to load, none is needed.
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", None)
    import jsonschema

    named = {"id": "m", "provider": "openai", "options": {"concurrency": 2}}
    suite = {"book": [{"id": "road", "source": "road.txt"}], "model": [named | model]}
    report = list(
        jsonschema.Draft202012Validator(json.loads(json_schema())).iter_errors(suite)
    )
    assert bool(report) == (wrong is not None)
    if wrong:
        assert wrong in " ".join(one.message for one in report)
