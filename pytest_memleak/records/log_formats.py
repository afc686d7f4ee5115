"""Rows of logs and training sets, as records of the paper's form.

One rule reads the rows of all writers. Texts of users, systems, tools, and requests are the prompt
of what follows them, but not in an answer. All other text is the model's, but for metadata of a few
words outside arguments, and for what evaluations took from their dataset. A record has the row's
id, the prompt, and an entry per message of the model, its reasoning and tool calls included
(`paper_format`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from pytest_memleak.errors import RecordsError
from pytest_memleak.records.reasoning_and_tool_calls import (
    NO_TEXT,
    Place,
    count_runs,
    has_few_runs,
    is_text,
    texts_in,
)

Record = dict[str, Any]
# Each answer is its texts: how many prompts precede it, and why it ended.
_Answers = dict[tuple[str, ...], tuple[int, Record]]

_ASKING = frozenset({"user", "human", "system", "developer", "tool", "function"})
# Keys of requests, of answers, and of either: where messages are, at any depth.
_OF_REQUEST = frozenset({"request", "prompt", "input", "arguments"})
_OF_MODEL = frozenset({"response", "completion", "output", "choices", "candidates", "resps"})
_OF_EITHER = frozenset(
    {"messages", "contents", "body", "message", "content", "systemInstruction",
     "system_instruction"}
)  # fmt: skip
_WHOSE = dict.fromkeys(_OF_REQUEST, False) | dict.fromkeys(_OF_MODEL, True)
_IN_ANSWERS = _OF_MODEL | _OF_EITHER
_CONTAINERS = _IN_ANSWERS | _OF_REQUEST
_ENDS = frozenset({"finish_reason", "stop_reason", "finishReason"})
_TEXTS = ("content", "parts", "text")
_OF_MESSAGES = _ENDS.union(_TEXTS)
_TEXT_ALONE = 20  # words from which text of a row without an answer is one
# What describes a text, in a few words.
_METADATA = frozenset(
    {*_ENDS, "role", "id", "type", "source", "model", "name", "object", "provider", "logprobs",
     "error", "usage", "status", "event", "timestamp", "metrics", "uuid", "span_id", "parent_id",
     "tool_call_id", "op", "path", "custom_id", "request_id", "system_fingerprint", "service_tier"}
)  # fmt: skip
# Outside answers, what an evaluation took from its dataset, by keys that all its rows have.
_OF_DATASET = {
    frozenset({"messages", "output", "epoch"}): frozenset({"target"}),  # inspect_ai
    frozenset({"doc", "resps"}): frozenset({"doc", "target"}),  # lm-eval
    frozenset({"prompt", "response", "provider"}): frozenset({"testCase", "vars", "label"}),
}
_IDS = ("excerpt_id", "custom_id", "key", "id")
_PAPER = frozenset({"generations", "generated_text"})


class RowPaths(NamedTuple):
    """Paths of the text, if not by the rule, and of its prompt in each row: `/answer/text`."""

    text: str | None = None
    prompt: str | None = None

    def record(self, row: object, where: str) -> Record:
        """Return the row as a record. Raises RecordsError, naming `where`, for no text."""
        if self.text is None:
            if (record := record_of(row)) is not None:
                return record
            message = "this row has no known format, so its texts wouldn't be read"
        else:
            value = value_at(row, self.text)
            texts = value if isinstance(value, list) else [value]
            if texts and all(isinstance(text, str) for text in texts):
                prompt = "\n\n".join(texts_in(value_at(row, self.prompt)))
                generations = [{"generated_text": text} for text in texts]
                return {"instruction": prompt, "generations": generations}
            message = f"there is no text at {self.text}"
        raise RecordsError(
            message,
            location=where,
            hint="name the keys from each row to a text or a list of texts: --text /answer/text",
        )


def value_at(row: object, pointer: str | None) -> Any:
    """Return the value at a JSON pointer; None if there is none."""
    value = None if pointer is None else row
    for name in filter(None, (pointer or "").split("/")):
        key = name.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and key.isdecimal():
            value = dict(enumerate(value)).get(int(key))
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def record_of(row: object) -> Record | None:
    """Return the row as a record of the paper's form; None if it has no answer or prompt."""
    if not isinstance(row, dict):
        return None
    if "excerpt_id" in row and not _PAPER.isdisjoint(row):
        return row
    if _IN_ANSWERS.isdisjoint(row):
        return None
    left_out = _left_out(tuple(row))
    answers, prompts, beside = _read(row, left_out)
    # The prompts before the first answer are also those before texts beside messages.
    first = next((before for before, _ in answers.values()), len(prompts))
    read = [*prompts[:first], *(text for texts in answers for text in texts)]
    further = _unread_texts(beside, read, left_out) if beside else []
    if not answers:
        failed = bool(row.get("error") or value_at(row, "response/body/error"))
        if sum(map(count_runs, further)) >= _TEXT_ALONE:
            answers[("",)] = first, {"failed": failed}
        elif not (prompts or failed):
            return None
    generations: list[Record] = []
    for (text, *others), (before, end) in answers.items():
        generation = {"generated_text": text, **end}
        if reasoning := others if generations else others + further:
            generation["reasoning"] = reasoning
        if before < len(prompts):
            generation["instruction"] = "\n\n".join(filter(None, prompts[:before]))
        generations.append(generation)
    in_dataset = (row[key] for key in ("doc", "vars") if isinstance(row.get(key), dict))
    ids = (part.get(key) for part in (*in_dataset, row) for key in _IDS)
    return {
        "excerpt_id": next(filter(None, ids), None),
        "instruction": "\n\n".join(filter(None, prompts)),
        "generations": generations,
    }


@lru_cache(1 << 10)  # the rows of a file have the same keys
def _left_out(keys: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(its for mark, its in _OF_DATASET.items() if mark.issubset(keys)))


def _read(row: Record, left_out: frozenset[str]) -> tuple[_Answers, list[str], list[object]]:
    """Return a row's answers, its prompts, and what stands beside messages."""
    answers: _Answers = {}
    completions: _Answers = {}  # outside messages, which may repeat their text
    prompts: dict[str, None] = {}
    beside: list[object] = []
    for part, of_model, end in _parts(row, left_out):
        if of_model is None:
            beside.append(part)
            continue
        texts = _texts_of(part)
        if of_model:
            alike = answers if isinstance(part, dict) else completions
            before, known_end = alike.get(texts, (len(prompts), {}))
            alike[texts] = before, known_end | end
        else:
            prompts |= dict.fromkeys(texts)
    if answers:
        beside += [text for texts in completions for text in texts]
    return answers or completions, [*prompts], beside


def _parts(row: Record, left_out: frozenset[str]) -> Iterator[tuple[Any, bool | None, Record]]:
    """Yield a row's messages and other texts, and why each ended.

    Each with whether it is the model's; None: it stands beside messages. Requests are first, since
    a row may have its response before them.
    """
    waiting: list[tuple[str, Any, bool | None, Record]] = [("", row, None, {})]
    while waiting:
        key, part, in_answer, end = waiting.pop()
        beside = False if in_answer is False else None
        if isinstance(part, list):
            waiting += [(key, element, in_answer, end) for element in reversed(part)]
        elif isinstance(part, str) and key in _OF_MODEL:
            yield part, True, end
        elif not isinstance(part, dict):
            yield {key: part}, beside, end
        else:
            if not _ENDS.isdisjoint(part):
                end = {"finish_reason": next(part[name] for name in part if name in _ENDS)}
            containers = _IN_ANSWERS if in_answer else _CONTAINERS
            if part is not row and _is_message(part, containers):
                asked = str(part["role"]) in _ASKING if "role" in part else in_answer is False
                yield part, in_answer or not asked, end
                continue
            for name, value in _with_text(part):
                if name in containers:
                    waiting.append((name, value, _WHOSE.get(name, in_answer), end))
                elif in_answer or name not in left_out:
                    yield {name: value}, beside, end


def _is_message(part: Record, containers: frozenset[str]) -> bool:
    """Return whether texts in it are one text: it has a role, or is where messages end."""
    return "role" in part or (
        not _OF_MESSAGES.isdisjoint(part)
        and not any(
            isinstance(part[name], dict) or (name != "content" and isinstance(part[name], list))
            for name in containers.intersection(part)
        )
    )


def _texts_of(message: Record | str) -> tuple[str, ...]:
    """Return the text of a message, and whatever else is in it."""
    if isinstance(message, str):
        return (message,)
    place = next((key for key in _TEXTS if message.get(key)), "")
    content = message.get(place, "")
    texts: list[str] = []
    rest: list[Any] = []
    for part in content if isinstance(content, list) else [content]:
        text = part
        if isinstance(part, dict) and isinstance(part.get("text"), str) and not part.get("thought"):
            text = part["text"]
            rest.append({key: value for key, value in _with_text(part) if key != "text"})
        (texts if isinstance(text, str) else rest).append(text)

    def kept(place: Place, pieces: list[str]) -> list[str]:
        return [] if "input" not in place and _is_metadata(place, pieces) else pieces

    rest.append({key: value for key, value in _with_text(message) if key != place})
    return "".join(texts), *(texts_in(rest, kept=kept) if any(rest) else ())


def _with_text(part: Record) -> list[tuple[str, Any]]:
    """Return the entries that may hold text, those of answers first, and those of requests last."""
    return [
        (key, part[key])
        for key, described, is_text_itself in _kinds_of(tuple(part))
        if is_text_itself
        or (
            not described or is_text(value)
            if isinstance(value := part[key], str)
            else value and not isinstance(value, NO_TEXT)
        )
    ]


@lru_cache(1 << 10)
def _kinds_of(keys: tuple[str, ...]) -> list[tuple[str, bool, bool]]:
    """Return the keys in the order of `_with_text`, and whether each is metadata's, or text."""
    ordered = sorted(keys, key=lambda key: {True: 0, None: 1, False: 2}[_WHOSE.get(key)])
    return [(key, key in _METADATA, is_text(key)) for key in ordered]


def _is_metadata(place: Place, pieces: list[str]) -> bool:
    described = not _METADATA.isdisjoint(place) and {"arguments", "args"}.isdisjoint(place)
    return described and has_few_runs(" ".join(filter(is_text, {*pieces})))


def _unread_texts(values: list[Any], read: list[str], left_out: frozenset[str]) -> list[str]:
    """Return the texts in values that aren't among those that were read, in any case."""
    lower: list[str] = []

    def is_read(text: str) -> bool:
        if not lower:
            lower.append("\n".join(read).casefold())
        return text.strip().casefold() in lower[0]

    def kept(place: Place, pieces: list[str]) -> list[str]:
        if not left_out.isdisjoint(place) or _is_metadata(place, pieces):
            return []
        return [it for it in pieces if has_few_runs(it) or not is_read(it)]

    return [text for text in texts_in(values, kept=kept) if not is_read(text)]
