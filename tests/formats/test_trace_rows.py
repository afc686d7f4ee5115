"""Rows of traces and other APIs: answers and prompts are where their writers put them."""

import json
from pathlib import Path

import pytest
from trace_writers import PROMPT, TEXT, WRITERS

from pytest_memleak.formats.paper_format import texts_of_record
from pytest_memleak.formats.rows_as_records import record_of

ROWS = Path(__file__).parents[1] / "library" / "traces.jsonl"
STORED = {
    entry["name"]: entry["row"]
    for entry in map(json.loads, ROWS.read_text().splitlines())
}
ANSWERS_ALONE = {"anthropic_message", "anthropic_batch"}


def assert_read(name, row, text):
    record = record_of(row)
    assert any(text in answer for answer in texts_of_record(record, name))
    prompts = [record["instruction"]]
    prompts += [answer.get("instruction", "") for answer in record["generations"]]
    assert not any(text in prompt for prompt in prompts)
    has_prompt = any(PROMPT in prompt for prompt in prompts)
    assert has_prompt is (name not in ANSWERS_ALONE)


@pytest.mark.parametrize("name", WRITERS)
def test_a_stored_row_has_its_answer_and_prompt(name):
    assert_read(name, STORED[name], TEXT)


@pytest.mark.parametrize("name", WRITERS)
def test_a_row_that_todays_library_writes_has_its_answer_and_prompt(name):
    text = TEXT.replace("harbor", "market")
    try:
        row = WRITERS[name](text)
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    assert_read(name, row, text)


def test_each_span_has_its_own_prompt():
    row = json.loads(json.dumps(STORED["otlp_spans"]))
    spans = row["resourceSpans"][0]["scopeSpans"][0]["spans"]
    other = json.loads(json.dumps(spans[0]).replace("harbor", "market"))
    spans.append(other)
    record = record_of(row)
    own = {
        answer["generated_text"][:26]: answer["instruction"]
        for answer in record["generations"]
        if answer["generated_text"]
    }
    assert own == {
        "She walks to the harbor, w": PROMPT,
        "She walks to the market, w": PROMPT.replace("harbor", "market"),
    }


MESSAGE = {"role": "assistant", "parts": [{"type": "text", "content": "TEXT"}]}


@pytest.mark.parametrize(
    "output",
    [
        "TEXT",
        ["TEXT"],
        {"answer": "TEXT"},
        [MESSAGE, "TEXT"],
        [MESSAGE | {"parts": ["TEXT"]}],
        [MESSAGE | {"parts": ["Yes.", {"type": "text", "content": "TEXT"}]}],
        [MESSAGE | {"parts": [{"type": "reasoning", "content": "TEXT"}]}],
        [MESSAGE | {"parts": [{"type": "text", "text": "Yes.", "content": "TEXT"}]}],
        [MESSAGE | {"parts": [{"type": "tool_call", "arguments": {"a": "TEXT"}}]}],
        [{"role": "user", "content": "TEXT"}],
        [MESSAGE | {"parts": [{"type": "text", "content": {"deep": "TEXT"}}]}],
    ],
)
@pytest.mark.parametrize("write", [json.dumps, lambda value: value])
def test_an_output_of_a_span_of_any_shape_is_the_models(output, write):
    span = STORED["opentelemetry_span"]
    output = json.loads(json.dumps(output).replace("TEXT", TEXT))
    attributes = span["attributes"] | {"gen_ai.output.messages": write(output)}
    record = record_of(span | {"attributes": attributes})
    assert any(TEXT in answer for answer in texts_of_record(record, "span"))


def test_a_span_of_no_model_has_no_text():
    row = json.loads(json.dumps(STORED["otlp_spans"]).replace("gen_ai.", "http."))
    assert record_of(row)["generations"] == []


@pytest.mark.parametrize("output", ["TEXT", {"completion": "TEXT"}, ["TEXT"], {"a": {"b": "TEXT"}}, [[{"x": "TEXT"}]]])  # fmt: skip
@pytest.mark.parametrize("request_", [None, "Write.", {"question": "Write it."}])
@pytest.mark.parametrize("name", ["langfuse_observation", "langsmith_run"])
def test_an_output_of_any_shape_is_the_models(name, output, request_):
    asked, answered = {
        "langfuse_observation": ("input", "output"),
        "langsmith_run": ("inputs", "outputs"),
    }[name]
    output = json.loads(json.dumps(output).replace("TEXT", TEXT))
    record = record_of(STORED[name] | {asked: request_, answered: output})
    assert any(TEXT in answer for answer in texts_of_record(record, name))
