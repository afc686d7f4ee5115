"""Rows of logs and training sets in the formats of their writers, as records of the paper's form.

A row's keys tell its format. A record has the row's id, the prompt, and one entry per text that the
model wrote, its reasoning and tool calls included (`paper_format`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytest_memleak.errors import RecordsError
from pytest_memleak.records.reasoning_and_tool_calls import texts_in

Row = Mapping[str, Any]
Record = dict[str, Any]

_OF_MODEL = frozenset({"assistant", "model"})
# Of a message: its text, and what is never a text of it.
_TEXTS = ("content", "parts", "text", "output_text")
_ENDS = ("finish_reason", "stop_reason", "finishReason")
_UNWRITTEN = frozenset(
    {*_TEXTS, *_ENDS, "role", "id", "type", "source", "model", "index", "logprobs", "weight"}
)


def record_of(row: object) -> Record | None:
    """Return the row as a record of the paper's form; None if no known format has such rows."""
    if not isinstance(row, dict):
        return None
    for keys, convert in _FORMATS:
        if keys <= row.keys():
            return convert(row)
    return None


def record_at(row: object, texts: str, prompt: str | None, where: str) -> Record:
    """Return the texts and the prompt at two JSON pointers in a row, such as `/a/0/b`.

    Raises RecordsError, naming `where`, for what is no text.
    """
    answers = _value_at(row, texts, where)
    asked = "" if prompt is None else _value_at(row, prompt, where)
    answers = answers if isinstance(answers, list) else [answers]
    for value, pointer in (*((answer, texts) for answer in answers), (asked, prompt)):
        if not isinstance(value, str):
            raise RecordsError(
                f"{pointer} holds {type(value).__name__}; expected a text",
                location=where,
                hint="name the place of a text, or of a list of texts, in each row",
            )
    return {"instruction": asked, "generations": [{"generated_text": text} for text in answers]}


def _value_at(row: object, pointer: str, where: str) -> Any:
    value: Any = row
    for name in pointer.strip("/").split("/"):
        key = name.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise RecordsError(
                f"there is nothing at {pointer}",
                location=where,
                hint="a path names the keys from the row to the text, as in /answer/text",
            ) from None
    return value


# --- the formats ---------------------------------------------------------------------------


def _inspect(row: Row) -> Record:
    """Convert a sample of inspect_ai, with every message of a model in its events, each once."""
    attachments = row.get("attachments") or {}
    choices = map(_choice, _mappings(row["output"].get("choices")))
    answers: dict[tuple[str, ...], Record] = {}
    for answer in [*choices, *(_message(_attached(m, attachments)) for m in _messages_in(row))]:
        answers.setdefault((answer["generated_text"], *answer.get("reasoning", ())), answer)
    prompt = _turns(row["messages"])[1] or _text_of(row.get("input"))[0]
    return _record(row.get("id"), prompt, [*answers.values()])


def _messages_in(value: object) -> Iterator[Row]:
    """Yield each message of a model in a nested value, in order."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("role") in _OF_MODEL:
                yield part
            waiting += reversed([*part.values()])
        elif isinstance(part, list):
            waiting += reversed(part)


_ATTACHMENT = "attachment://"


def _attached(value: Any, attachments: Mapping[str, str]) -> Any:
    """Return a value of inspect_ai with the texts that it keeps apart."""
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return attachments.get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, dict):
        return {key: _attached(part, attachments) for key, part in value.items()}
    return [_attached(part, attachments) for part in value] if isinstance(value, list) else value


def _lm_eval(row: Row) -> Record:
    arguments = row.get("arguments")
    prompt = [*_strings(arguments)][:1] if arguments else []
    document = row["doc"] if isinstance(row["doc"], dict) else {}
    texts = [{"generated_text": text} for text in _strings(row["resps"])]
    return _record(document.get("excerpt_id", row.get("doc_id")), "".join(prompt), texts)


def _promptfoo(row: Row) -> Record:
    prompt, variables = row["prompt"], row.get("vars")
    asked = prompt.get("raw") if isinstance(prompt, dict) else prompt
    response = row["response"] if isinstance(row["response"], dict) else {}
    output = response.get("output")
    rest = {key: value for key, value in response.items() if key in _BESIDE_OUTPUT}
    texts = [output] if isinstance(output, str) else texts_in(output)
    answers: list[Record] = [{"generated_text": text} for text in [*texts, *texts_in(rest)]]
    named = variables.get("excerpt_id") if isinstance(variables, dict) else None
    return _record(named or row.get("testIdx"), _text_of(asked)[0], answers)


_BESIDE_OUTPUT = frozenset({"reasoning", "raw"})


def _batch(row: Row) -> Record:
    """Convert a row of batch output, OpenAI's or Vertex AI's, with or without its request."""
    response = row["response"] if isinstance(row["response"], dict) else {}
    body = response.get("body", response)
    request = row.get("request")
    request = request if isinstance(request, dict) else {}
    turns = request.get("contents") or request.get("messages") or []
    record = _completion(body if isinstance(body, dict) else {})
    prompt = _turns(turns)[1] if isinstance(turns, list) else ""
    return record | {"excerpt_id": row.get("custom_id", row.get("key")), "instruction": prompt}


def _completion(row: Row) -> Record:
    """Convert a response: choices of OpenAI, items of its Responses, or candidates of Gemini."""
    choices = row.get("choices") or row.get("candidates")
    answers = [_choice(choice) for choice in _mappings(choices)]
    if items := _mappings(row.get("output")):
        messages = [item for item in items if item.get("type") == "message"]
        others = [item for item in items if item.get("type") != "message"]
        answer = _message({"content": [part for item in messages for part in item["content"]]})
        answer["reasoning"] = [*answer.get("reasoning", ()), *texts_in(others)]
        answers.append(answer)
    return _record(row.get("custom_id"), "", answers)


def _chat(row: Row) -> Record:
    turns, prompt = _turns(row.get("messages") or row.get("contents"))
    system = row.get("systemInstruction") or row.get("system_instruction")
    asked = [_text_of(system)[0] if system else "", prompt]
    return _record(row.get("custom_id", row.get("id")), "\n\n".join(filter(None, asked)), turns)


def _pair(row: Row) -> Record:
    """Convert a prompt and its completion: texts, or lists of messages."""
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(completion, list):
        return _chat({"messages": [*(prompt if isinstance(prompt, list) else ()), *completion]})
    return _record(row.get("id"), _text_of(prompt)[0], [{"generated_text": completion}])


_FORMATS: list[tuple[set[str], Callable[[Row], Record]]] = [
    ({"excerpt_id", "generations"}, dict),
    ({"excerpt_id", "generated_text"}, dict),
    ({"messages", "output", "epoch"}, _inspect),
    ({"doc", "resps"}, _lm_eval),
    ({"prompt", "response", "provider"}, _promptfoo),
    ({"custom_id", "response"}, _batch),
    ({"request", "response"}, _batch),
    ({"messages"}, _chat),
    ({"contents"}, _chat),
    ({"prompt", "completion"}, _pair),
    ({"choices"}, _completion),
    ({"candidates"}, _completion),
]


# --- messages ------------------------------------------------------------------------------


def _record(row_id: object, prompt: str, answers: Sequence[Record]) -> Record:
    return {"excerpt_id": row_id, "instruction": prompt, "generations": [*answers]}


def _turns(turns: object) -> tuple[list[Record], str]:
    """Return the model's turns, and the text of all others."""
    answers, asked = [], []
    for turn in _mappings(turns):
        if turn.get("role") in _OF_MODEL:
            answers.append(_message(turn))
        else:
            text, others = _text_of(_text_part(turn))
            asked += [text, *others]
    return answers, "\n\n".join(filter(None, asked))


def _choice(choice: Row) -> Record:
    """Convert a choice or candidate, its text in a message or its own."""
    message = choice.get("message") or choice.get("content")
    answer = _message(message if isinstance(message, dict) else choice)
    for key in _ENDS:
        if key in choice:
            answer["finish_reason"] = choice[key]
    return answer


def _message(message: Row) -> Record:
    """Convert a message of the model: its text, and whatever else it wrote."""
    text, others = _text_of(_text_part(message))
    rest = {key: value for key, value in message.items() if value and key not in _UNWRITTEN}
    reasoning = [*others, *texts_in(rest)] if others or rest else []
    return {"generated_text": text} | ({"reasoning": reasoning} if reasoning else {})


def _text_part(message: Row) -> object:
    return next((message[key] for key in _TEXTS if message.get(key)), "")


def _text_of(content: object) -> tuple[str, list[str]]:
    """Return the text of a message's content, and the texts of its other parts."""
    if isinstance(content, str):
        return content, []
    if isinstance(content, dict):
        content = content.get("parts") or content.get("content") or [content]
        if isinstance(content, str):
            return content, []
    texts, others = [], []
    for part in content if isinstance(content, list) else ():
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str) and not (isinstance(part, dict) and part.get("thought")):
            texts.append(text)
        elif part:
            others += texts_in(part)
    return "".join(texts), others


def _mappings(value: object) -> list[Row]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _strings(value: object) -> Iterator[str]:
    """Yield each string in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
