"""Rows of logs and training sets in the formats of their writers, as records of the paper's form.

A row's keys tell its format. A record has the row's id, the prompt, and an entry per text that the
model wrote, its reasoning and tool calls included (`paper_format`). One rule finds these in all
formats: what lies in `choices`, `candidates`, or `output`, and each message of an unknown role, is
the model's; the texts of users, systems, and tools are the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pytest_memleak.errors import RecordsError
from pytest_memleak.records.reasoning_and_tool_calls import texts_in

Record = dict[str, Any]
Path = Sequence[str]

_ASKING = frozenset({"user", "human", "system", "developer", "tool", "function"})
_OF_MODEL = frozenset({"choices", "candidates", "output"})
_ENDS = frozenset({"finish_reason", "stop_reason", "finishReason"})
_TEXTS = ("content", "parts", "text")
# What no message's text stands in.
_UNWRITTEN = frozenset({*_TEXTS, *_ENDS, "role", "id", "type", "source", "model", "logprobs"})
_ATTACHMENT = "attachment://"  # of inspect_ai, for texts that it keeps apart


class _Format(NamedTuple):
    """The keys of a format's rows; where its id, prompt, and texts outside messages are."""

    keys: frozenset[str]
    row_id: Path = ("id",)
    prompt: Path = ("prompt",)
    texts: Path = ("completion",)


_FORMATS = (
    _Format(frozenset({"messages", "output", "epoch"}), prompt=("input",)),
    _Format(frozenset({"doc", "resps"}), ("doc", "excerpt_id"), ("arguments",), ("resps",)),
    _Format(
        frozenset({"prompt", "response", "provider"}),
        ("vars", "excerpt_id"), ("prompt", "raw"), ("response",),
    ),
    _Format(frozenset({"custom_id", "response"}), ("custom_id",)),
    _Format(frozenset({"request", "response"}), ("key",)),
    *(_Format(frozenset({key})) for key in ("messages", "contents", "choices", "candidates")),
    _Format(frozenset({"prompt", "completion"})),
)  # fmt: skip
_PAPER = frozenset({"generations", "generated_text"})


def record_of(row: object) -> Record | None:
    """Return the row as a record of the paper's form; None if no known format has such rows."""
    if not isinstance(row, dict):
        return None
    if "excerpt_id" in row and not _PAPER.isdisjoint(row):
        return row
    form = next((form for form in _FORMATS if form.keys <= row.keys()), None)
    if form is None:
        return None
    answers: dict[tuple[str, ...], Record] = {}
    asked = dict.fromkeys(_texts_at(row, form.prompt))
    for message, of_model, end in _messages(row):
        text, others = _text_of(_resolved(message, row))
        if of_model:
            answer = {"generated_text": text} | ({"reasoning": others} if others else {})
            same = answers.setdefault((text, *others), answer)
            same |= end
        else:
            asked |= dict.fromkeys((text, *others))
    for text in _texts_at(row, form.texts):
        answers.setdefault((text,), {"generated_text": text})
    failed = row.get("error") or value_at(row, ("response", "body", "error"))
    if not (answers or asked or failed):
        return None  # its texts are where no such format has them
    return {
        "excerpt_id": value_at(row, form.row_id),
        "instruction": "\n\n".join(filter(None, asked)),
        "generations": [*answers.values()],
    }


def record_at(row: object, texts: str, prompt: str | None, where: str) -> Record:
    """Return the texts and the prompt at two paths in a row, such as `/answer/0/text`.

    Raises RecordsError, naming `where`, where there is no text.
    """
    values = []
    for path in (texts, prompt):
        keys = [key.replace("~1", "/").replace("~0", "~") for key in (path or "").split("/") if key]
        value = value_at(row, keys) if path is not None else ""
        value = value if isinstance(value, list) else [value]
        if not value or not all(isinstance(text, str) for text in value):
            raise RecordsError(
                f"there is no text at {path}",
                location=where,
                hint="name the keys from each row to a text or a list of texts: /answer/text",
            )
        values.append(value)
    generations = [{"generated_text": text} for text in values[0]]
    return {"instruction": "\n\n".join(values[1]), "generations": generations}


def _messages(row: Record) -> Iterator[tuple[Record, bool, Record]]:
    """Yield each message in a row, in order, whether it is the model's, and why it ended."""
    waiting: list[tuple[Any, bool, Record]] = [(row, False, {})]
    while waiting:
        part, of_model, end = waiting.pop()
        if isinstance(part, list):
            waiting += [(element, of_model, end) for element in reversed(part)]
            continue
        if not isinstance(part, dict):
            continue
        if not _ENDS.isdisjoint(part):
            end = {"finish_reason": next(part[key] for key in part if key in _ENDS)}
        inner = part.get("message") or part.get("content")
        if "role" in part:
            yield part, part["role"] not in _ASKING, end
        elif "parts" in part or (of_model and not isinstance(inner, dict)):
            yield part, of_model, end
        else:
            for key in reversed(part):
                value = part[key]
                if isinstance(value, dict):
                    waiting.append((value, of_model, end))
                elif isinstance(value, list):
                    waiting.append((value, of_model or key in _OF_MODEL, end))


def _text_of(message: Record) -> tuple[str, list[str]]:
    """Return the text of a message, and whatever else is in it."""
    content = next((message[key] for key in _TEXTS if message.get(key)), "")
    texts, others = [], []
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, dict) and not part.get("thought") else part
        if isinstance(text, str):
            texts.append(text)
        elif part:
            others += texts_in(part)
    rest = {key: value for key, value in message.items() if value and key not in _UNWRITTEN}
    return "".join(texts), others + texts_in(rest) if rest else others


def _resolved(value: Any, row: Record) -> Any:
    """Return a message with the texts that its row keeps apart."""
    if not row.get("attachments"):
        return value
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return row["attachments"].get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, dict):
        return {key: _resolved(part, row) for key, part in value.items()}
    return [_resolved(part, row) for part in value] if isinstance(value, list) else value


def value_at(row: object, path: Path) -> Any:
    """Return the value at a path of keys; None if there is none."""
    value = row
    for key in path:
        if isinstance(value, list) and key.isdecimal():
            value = dict(enumerate(value)).get(int(key))
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _texts_at(row: Record, path: Path) -> list[str]:
    """Return the texts at a path, in lists of any depth or an object."""
    value = value_at(row, path)
    if isinstance(value, dict):
        return texts_in(value)
    waiting, texts = [value], []
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += reversed(part)
        elif isinstance(part, str):
            texts.append(part)
    return texts
