"""Rows as the libraries of their writers write them; `traces.jsonl` has one each.

python tests/library/trace_writers.py > tests/library/traces.jsonl
"""

import datetime
import json
import sys
import uuid

PROMPT = "Tell what happens in the harbor when the ship comes in, please."
NOW = datetime.datetime(2026, 12, 2, tzinfo=datetime.UTC)
ASKED = {"role": "user", "content": PROMPT}


def openai_response(text):
    from openai.types.responses import Response

    part = {"type": "output_text", "text": text, "annotations": []}
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [part],
    }  # fmt: skip
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": []}
    response = Response.model_validate({
        "id": "resp_1", "created_at": 1.0, "model": "gpt-5", "object": "response",
        "output": [reasoning, message], "parallel_tool_calls": True, "tool_choice": "auto",
        "tools": [], "instructions": PROMPT,
    })  # fmt: skip
    return json.loads(response.model_dump_json())


def _anthropic(text):
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 2},
    }  # fmt: skip


def anthropic_message(text):
    from anthropic.types import Message

    return json.loads(Message.model_validate(_anthropic(text)).model_dump_json())


def anthropic_batch(text):
    from anthropic.types.messages import MessageBatchIndividualResponse

    result = {"type": "succeeded", "message": _anthropic(text)}
    row = {"custom_id": "p_id1", "result": result}
    return json.loads(
        MessageBatchIndividualResponse.model_validate(row).model_dump_json()
    )


def langfuse_observation(text):
    from langfuse.api import ObservationV2

    fields = {"id": "o", "trace_id": "t", "start_time": NOW, "project_id": "p"}
    observation = ObservationV2(
        **fields, type="GENERATION", input=[ASKED], output={"role": "assistant", "content": text}
    )  # fmt: skip
    return json.loads(observation.model_dump_json())


def langfuse_observation_in_cells(text):
    row = langfuse_observation(text)
    return row | {
        "input": json.dumps(row["input"]),
        "output": json.dumps(row["output"]),
    }


def langsmith_run(text):
    from langsmith.schemas import Run

    message = {"role": "assistant", "content": text}
    run = Run(
        id=uuid.UUID(int=1), trace_id=uuid.UUID(int=1), name="ChatOpenAI", run_type="llm",
        start_time=NOW, inputs={"messages": [ASKED]},
        outputs={"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]},
    )  # fmt: skip
    return json.loads(run.model_dump_json())


def langsmith_run_of_langchain(text):
    def constructed(kind, content):
        return {"lc": 1, "type": "constructor", "id": ["langchain", kind], "kwargs": {"content": content}}  # fmt: skip

    answer = {"text": text, "message": constructed("AIMessage", text)}
    return langsmith_run(text) | {
        "inputs": {"messages": [[constructed("HumanMessage", PROMPT)]]},
        "outputs": {"generations": [[answer]], "llm_output": None},
    }


def _spans(attributes, events=()):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("app").start_as_current_span("chat") as span:
        span.set_attributes({"gen_ai.operation.name": "chat", **attributes})
        for name, of_event in events:
            span.add_event(name, of_event)
    with provider.get_tracer("app").start_as_current_span("GET /"):
        pass
    return exporter.get_finished_spans()


def _messages(text):
    def message(role, content):
        return {"role": role, "parts": [{"type": "text", "content": content}]}

    return {
        "gen_ai.input.messages": json.dumps([message("user", PROMPT)]),
        "gen_ai.output.messages": json.dumps([message("assistant", text)]),
    }


def opentelemetry_span(text):
    return json.loads(_spans(_messages(text))[0].to_json())


def opentelemetry_span_with_events(text):
    events = [
        ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps([ASKED])}),
        ("gen_ai.content.completion", {"gen_ai.completion": text}),
    ]
    return json.loads(_spans({}, events)[0].to_json())


def openllmetry_span(text):
    attributes = {
        "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": PROMPT,
        "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": text,
    }  # fmt: skip
    return json.loads(_spans(attributes)[0].to_json())


def otlp_spans(text):
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return MessageToDict(encode_spans(_spans(_messages(text))))


def otlp_logs(text):
    attributes = _messages(text)
    body = {
        "kvlistValue": {"values": [{"key": "content", "value": {"stringValue": text}}]}
    }
    pairs = [
        {"key": key, "value": {"stringValue": value}}
        for key, value in attributes.items()
    ]
    records = [
        {"eventName": "gen_ai.choice", "body": body, "attributes": []},
        {"eventName": "gen_ai.client.inference.operation.details", "attributes": pairs},
    ]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


WRITERS = {
    write.__name__: write
    for write in (
        openai_response, anthropic_message, anthropic_batch, langfuse_observation,
        langfuse_observation_in_cells, langsmith_run, langsmith_run_of_langchain,
        opentelemetry_span, opentelemetry_span_with_events, openllmetry_span, otlp_spans,
        otlp_logs,
    )
}  # fmt: skip
TEXT = (
    "She walks to the harbor, where a ship has come in, and counts the racks of the hall "
    "from top to bottom, until no rack of this hall is left to count by anyone."
)


if __name__ == "__main__":
    for name, write in WRITERS.items():
        row = {"name": name, "row": write(TEXT)}
        sys.stdout.write(f"{json.dumps(row)}\n")
