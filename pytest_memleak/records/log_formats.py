"""Rows of logs and training sets in the formats of their writers, as records of the paper's form.

A row's keys tell its format. A record has the row's id, the prompt, and an entry per text that the
model wrote, its reasoning and tool calls included (`paper_format`). One rule finds these in all
formats: texts of users, systems, tools, and requests are the prompt of what follows them, but not
in an answer. All other text is the model's, but for metadata of a few words outside arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from pytest_memleak.errors import RecordsError
from pytest_memleak.records.reasoning_and_tool_calls import (
    NO_TEXT,
    Place,
    count_runs,
    has_few_runs,
    is_text,
    is_text_key,
    joined,
    texts_in,
)

Record = dict[str, Any]
Path = Sequence[str]
# Why an answer of several ended, under the key of a generation, and its number.
_Choice = tuple[Record, object]
# A value with its key, whether it is in an answer (None: in neither), and the choice.
_Part = tuple[str, Any, bool | None, _Choice]
# Each text of the model's with others beside it: how many prompts precede it, and why it ended.
_Texts = tuple[str, ...]
_Answers = dict[_Texts, tuple[int, Record]]
_Read = tuple[_Answers, list[str], int, list[Record]]
_ASKING = frozenset({"user", "human", "system", "developer", "tool", "function"})
_OF_REQUEST = frozenset({"request", "prompt", "input"})
_LISTS_OF_MODEL = frozenset({"choices", "candidates", "output"})
_OF_MODEL = _LISTS_OF_MODEL | {"response", "completion"}
# Where messages are, at any depth.
_CONTAINERS = frozenset(
    {*_OF_REQUEST, *_OF_MODEL, "messages", "contents", "body", "message", "content", "delta",
     "systemInstruction", "system_instruction"}
)  # fmt: skip
_IN_ANSWERS = _CONTAINERS - _OF_REQUEST
_IN_ANSWER = {**dict.fromkeys(_OF_REQUEST, False), **dict.fromkeys(_OF_MODEL, True)}
_NESTED = (dict, list)
_ENDS = frozenset({"finish_reason", "stop_reason", "finishReason"})
_TEXTS = ("content", "parts", "text")
# What describes a text, in a few words.
_METADATA = frozenset(
    {*_ENDS, "role", "id", "type", "source", "model", "name", "object", "provider", "logprobs",
     "error", "usage", "status", "event", "timestamp", "metrics", "uuid", "span_id", "parent_id",
     "tool_call_id", "op", "path", "custom_id", "request_id", "system_fingerprint"}
)  # fmt: skip
_ERRORS = (("error",), ("response", "error"), ("response", "body", "error"))
_TEXT_ALONE = 20  # words from which text of a row without an answer is one
_in_lower_case = lru_cache(1)(str.casefold)  # of a row's texts, for each text beside them
_ATTACHMENT = "attachment://"  # of inspect_ai, for texts that it keeps apart


class _Format(NamedTuple):
    """The keys of a format's rows; where its id, prompt, and texts outside messages are.

    dataset: keys of what the writer took from its dataset
    """

    keys: AbstractSet[str]
    row_id: Path = ("id",)
    prompt: Path = ("prompt",)
    texts: Path = ("completion",)
    dataset: AbstractSet[str] = frozenset()


_PAPER = ({"excerpt_id", "generations"}, {"excerpt_id", "generated_text"})
_FORMATS = (
    *map(_Format, _PAPER),
    _Format(
        {"messages", "output", "epoch"},
        prompt=("input",), dataset={"target", "choices", "metadata"},
    ),
    _Format(
        {"doc", "resps"}, ("doc", "excerpt_id"), ("arguments",), ("resps",), {"doc", "target"}
    ),
    _Format(
        {"prompt", "response", "provider"},
        ("vars", "excerpt_id"), ("prompt", "raw"), ("response",),
        {"prompt", "vars", "testCase", "gradingResult"},
    ),
    _Format({"custom_id", "response"}, ("custom_id",)),
    _Format({"request", "response"}, ("key",)),
    *(_Format({key}) for key in ("messages", "contents", "choices", "candidates")),
    _Format({"prompt", "completion"}),
)  # fmt: skip


class RowPaths(NamedTuple):
    """Paths of the text, if not by its format, and of the prompt in each row: `/answer/text`."""

    text: str | None = None
    prompt: str | None = None

    def record(self, row: object, where: str) -> Record:
        """Return the row as a record. Raises RecordsError, naming `where`, for no text."""
        if self.text is not None:
            prompts = _texts_named(row, self.prompt, where) if self.prompt is not None else []
            generations = [{"generated_text": text} for text in _texts_named(row, self.text, where)]
            return {"instruction": "\n\n".join(prompts), "generations": generations}
        if (record := record_of(row, where)) is not None:
            return record
        raise RecordsError(
            "this row has no known format, so its texts wouldn't be read",
            location=where,
            hint="name the place of the text in each row, as in --text /answer/text",
        )


def keys_of(path: str) -> list[str]:
    """Return the keys of a path such as `/answer/text`."""
    return [key.replace("~1", "/").replace("~0", "~") for key in path.split("/") if key]


def _texts_named(row: object, path: str, where: str) -> list[str]:
    value = value_at(row, keys_of(path))
    texts = value if isinstance(value, list) else [value]
    if texts and all(isinstance(text, str) for text in texts):
        return [*texts, *_whole(texts)]
    raise RecordsError(
        f"there is no text at {path}",
        location=where,
        hint="name the keys from each row to a text or a list of texts: /answer/text",
    )


def _whole(texts: list[str]) -> list[str]:
    """Return neighbors joined that have too few words for a passage each."""
    runs = groupby(texts if len(texts) > 1 else [], lambda text: count_runs(text) < 2 * _TEXT_ALONE)
    pieces = [[*run] for is_short, run in runs if is_short]
    return [whole for run in pieces if len(run) > 1 for whole in joined(run)]


def record_of(row: object, where: str | None = None) -> Record | None:
    """Return the row in the paper's form; None for no known format. Raises RecordsError."""
    if not isinstance(row, dict):
        return None
    form = _format_of(frozenset(row))
    if form is None or form.keys in _PAPER:
        return row if form else None
    answers, prompts, first, beside = _read(row, form, where)
    # Vertex puts an error beside an empty response.
    errors = _ERRORS if row.get("response", True) else (*_ERRORS, ("status",))
    failed = not answers and any(value_at(row, path) for path in errors)
    if not (answers or prompts or failed):
        return None  # its texts are where no such format has them
    # The prompts before the first answer are also those before texts beside messages.
    read = [*prompts[:first], *(text for texts in answers for text in texts)]
    further = _unread_texts(beside, "\n".join(read), form.dataset) if beside else []
    if not answers and sum(map(count_runs, further)) >= _TEXT_ALONE:
        answers[("",)] = first, {"failed": bool(failed)}
    generations: list[Record] = []
    for (text, *others), (before, end) in answers.items():
        generation = {"generated_text": text, **end}
        if reasoning := [*others, *end.get("reasoning", ()), *([] if generations else further)]:
            generation["reasoning"] = reasoning
        if before < len(prompts):
            generation["instruction"] = "\n\n".join(filter(None, prompts[:before]))
        generations.append(generation)
    return {
        "excerpt_id": value_at(row, form.row_id),
        "instruction": "\n\n".join(filter(None, prompts)),
        "generations": generations,
    }


def is_row(value: object) -> bool:
    """Return whether a list's element is a row, or has text that would go unread otherwise."""
    has_format = isinstance(value, dict) and bool(_format_of(frozenset(value)))
    return has_format or any(count_runs(text) >= _TEXT_ALONE for text in texts_in(value))


@lru_cache(1 << 6)  # the rows of a file have the same keys
def _format_of(keys: frozenset[str]) -> _Format | None:
    return next((form for form in _FORMATS if form.keys <= keys), None)


def _read(row: Record, form: _Format, where: str | None) -> _Read:
    """Return a row's answers, its prompts, how many precede the first, and what stands beside."""
    prompts = dict.fromkeys(_texts_at(row, form.prompt, _CONTAINERS))
    answers: _Answers = {}
    written = {key: row[key] for key in row if key not in form.dataset} if form.dataset else row
    row_messages = _messages_in(written)
    if row_messages.chunks and len({*row_messages.chunks}) == len(row_messages.chunks):
        raise RecordsError(
            "this row is a chunk of a stream, whose answer goes on in other rows",
            location=where,
            hint="log whole answers, or the chunks of each answer in one row, as a list",
        )
    turn, parts = 0, []
    for message, of_model, (end, number) in row_messages.messages:
        texts = _texts_of_message(resolved := _resolved(message, row))
        if of_model:
            before, known_end = answers.get(texts, (len(prompts), {}))
            answers[texts] = before, known_end | end
            parts.append((turn, number, texts, resolved))
        else:
            prompts |= dict.fromkeys(texts)
            turn += 1
    if len(parts) > 1:
        _join(parts, answers)
    first = next((before for before, _ in answers.values()), len(prompts))
    outside = _texts_at(row, form.texts)
    if "completion" in form.texts and (whole := _whole(outside)):  # others are answers each
        row_messages.beside.append({"": whole})
    beside = dict.fromkeys((text,) for text in outside)
    ended = {texts: (first, answers.pop(texts, (first, {}))[1]) for texts in beside}
    return ended | answers, [*prompts], first, row_messages.beside


def _join(parts: list[tuple[int, object, _Texts, Record]], answers: _Answers) -> None:
    """Add the whole text of each answer in parts, such as a stream's chunks, to its last part."""
    wholes: dict[str, list[tuple[_Texts, Record]]] = {}
    for turn, number, texts, message in parts:
        wholes.setdefault(f"{turn} {number}", []).append((texts, message))
    for whole in wholes.values():
        read = {text for texts, _ in whole for text in texts}
        if len(whole) > 1:
            readings = texts_in([message for _, message in whole], kept=_without_metadata)
            if further := [text for text in readings if text not in read]:
                answers[whole[-1][0]][1].setdefault("reasoning", []).extend(further)


# --- the messages in a row -----------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _RowMessages:
    """What a row holds.

    messages: each message, whether the model wrote it, and its choice
    beside:   what stands beside them, by its key
    chunks:   the number of the choice of each chunk of a stream
    """

    messages: list[tuple[Record, bool, _Choice]]
    beside: list[Record]
    chunks: list[str]


def _messages_in(row: Record) -> _RowMessages:
    """Return the messages in a row, with what stands beside them."""
    row_messages = _RowMessages([], [], [])
    waiting: list[_Part] = [("", row, None, ({}, 0))]
    while waiting:
        key, part, in_answer, choice = waiting.pop()
        if isinstance(part, list):
            waiting += [(key, element, in_answer, choice) for element in reversed(part)]
        elif isinstance(part, dict):
            choice = _choice_in(part, key, choice)
            if _is_chunk(part, choice):
                row_messages.chunks.append(str(choice[1]))
            nested = _nested(part, in_answer)
            has_role = "role" in part and part is not row
            has_text = not part.keys().isdisjoint(_TEXTS)
            is_container = not nested <= {"content"} or isinstance(part.get("content"), dict)
            if part is row or (is_container and not has_role):
                waiting += _opened(part, nested, in_answer, choice, row_messages.beside)
            elif has_role or key in _LISTS_OF_MODEL or in_answer is False or has_text:
                asks = is_asking(part) or (in_answer is False and not has_role)
                row_messages.messages.append((part, bool(in_answer) or not asks, choice))
            else:
                row_messages.beside.append({key: part})
        else:
            row_messages.beside.append({key: part})
    return row_messages


def is_asking(turn: object) -> bool:
    """Return whether a turn is a prompt: one of a role that asks, or a text alone."""
    role = next(filter(None, (value_at(turn, [key]) for key in ("role", "from", "type"))), "")
    return isinstance(turn, str) or str(role).lower() in _ASKING


def value_at(row: object, path: Path) -> Any:
    """Return the value at a path of keys; None if there is none."""
    value = row
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal():
            value = dict(enumerate(value)).get(int(key))
        else:
            return None
    return value


def _choice_in(part: Record, key: str, choice: _Choice) -> _Choice:
    end, number = choice
    if key in _LISTS_OF_MODEL:
        number = part.get("index") or 0
    if not _ENDS.isdisjoint(part):
        end = {"finish_reason": part[next(filter(_ENDS.__contains__, part))]}
    return end, number


def _is_chunk(part: Record, choice: _Choice) -> bool:
    is_delta = isinstance(part.get("delta"), dict) and not part.get("message")
    return is_delta and not any(choice[0].values())


def _nested(part: Record, in_answer: bool | None) -> set[str]:
    """Return the keys of an object under which messages may be."""
    containers = _IN_ANSWERS if in_answer else _CONTAINERS
    return {key for key in part if key in containers and isinstance(part[key], _NESTED)}


def _opened(
    part: Record, nested: set[str], in_answer: bool | None, choice: _Choice, beside: list[Record]
) -> list[_Part]:
    """Return the nested parts of an object; what stands beside them is added to `beside`."""
    parts: list[_Part] = []
    for key in _prompts_first(tuple(part)):
        value = part[key]
        if key in nested:
            parts.append((key, value, _IN_ANSWER.get(key, in_answer), choice))
        elif not _is_without_text(key, value):
            if _IN_ANSWER.get(key, in_answer) is False:  # a request's text
                parts.append((key, {"content": value}, False, choice))
            else:
                beside.append({key: value})
    return parts


@lru_cache(1 << 6)
def _prompts_first(keys: tuple[str, ...]) -> list[str]:
    """Order the keys of an object; a row may have its response before its request."""
    return sorted(keys, key=_OF_MODEL.__contains__, reverse=True)


def _texts_of_message(message: Record) -> tuple[str, ...]:
    """Return the text of a message, and whatever else is in it."""
    place = next(filter(message.get, _TEXTS), "")
    content = message.get(place, "")
    texts, rest = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif (
            isinstance(part, dict) and isinstance(part.get("text"), str) and not part.get("thought")
        ):
            texts.append(part["text"])
            rest.append(_with_text(part, "text"))
        else:
            rest.append(part)
    parts = [*filter(None, [*rest, _with_text(message, place)])]
    readings = dict.fromkeys(["".join(texts), *joined(texts)])
    return *readings, *(texts_in(parts, kept=_without_metadata) if parts else ())


def _without_metadata(place: Place, pieces: list[str]) -> list[str]:
    """Return the texts at a place in a message; none if they only describe it."""
    return [] if "input" not in place and _is_metadata(place, pieces) else pieces


def _with_text(part: Record, read: str) -> Record:
    return {k: part[k] for k in part if k != read and not _is_without_text(k, part[k])}


def _is_without_text(key: str, value: object) -> bool:
    """Return whether neither a key nor its value holds text; faster than `texts_in`."""
    if isinstance(value, str):
        return key in _METADATA and not is_text(value)
    return (not value or isinstance(value, NO_TEXT)) and not is_text_key(key)


def _is_metadata(place: Place, pieces: list[str]) -> bool:
    """Return whether texts at a place describe another, in a few words."""
    described = not _METADATA.isdisjoint(place) and {"arguments", "args"}.isdisjoint(place)
    return described and has_few_runs(" ".join(filter(is_text, {*pieces})))


# --- the other texts ------------------------------------------------------------------------


def _unread_texts(values: list[Record], read: str, dataset: AbstractSet[str]) -> list[str]:
    """Return the texts in values that aren't among those that were read, in any case."""

    def is_read(text: str) -> bool:
        return text in read or text.strip().casefold() in _in_lower_case(read)

    def kept(place: Place, pieces: list[str]) -> list[str]:
        of_dataset = not dataset.isdisjoint(place) and _OF_MODEL.isdisjoint(place)
        left_out = of_dataset or _is_metadata(place, pieces)
        return [] if left_out else [it for it in pieces if has_few_runs(it) or not is_read(it)]

    return [text for text in texts_in(values, kept=kept) if not is_read(text)]


def _resolved(value: Any, row: Record) -> Any:
    """Return a message with the texts that its row keeps apart."""
    if not isinstance(row.get("attachments"), dict):
        return value
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return row["attachments"].get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, dict):
        return {key: _resolved(part, row) for key, part in value.items()}
    return [_resolved(part, row) for part in value] if isinstance(value, list) else value


def _texts_at(row: Record, path: Path, but: AbstractSet[str] = frozenset()) -> list[str]:
    """Return the texts at a path, in lists of any depth or an object but in its messages."""
    value = value_at(row, path)
    if isinstance(value, dict):
        return texts_in(
            {**value, "error": None}, kept=lambda at, its: [] if at[1:] and at[0] in but else its
        )
    waiting, texts = [value], []
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += reversed(part)
        elif isinstance(part, str):
            texts.append(part)
    return texts
