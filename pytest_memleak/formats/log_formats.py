"""Rows of logs and training sets in the formats of their writers, as records of the paper's form.

A row's keys tell its format. A record has the row's id, the prompt, and an entry per
text that the model wrote, its reasoning and tool calls included (`paper_format`);
`log_messages` finds these.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_messages import (
    CONTAINERS,
    KEYS_OF_MODEL,
    Path,
    Record,
    is_metadata,
    messages_in,
    prompts_in,
    texts_of_message,
    value_at,
    without_metadata,
)
from pytest_memleak.formats.paper_format import json_value
from pytest_memleak.formats.reasoning_and_tool_calls import (
    Place,
    count_runs,
    has_few_runs,
    joined,
    texts_in,
)

# Each text of the model's with others beside it: how many prompts precede it, and why
# it ended.
_Texts = tuple[str, ...]
_Answers = dict[_Texts, tuple[int, Record]]
_Read = tuple[_Answers, list[str], int, list[Record]]
_ERRORS = (("error",), ("response", "error"), ("response", "body", "error"))
_TEXT_ALONE = 20  # words from which text of a row without an answer is one
_in_lower_case = lru_cache(1)(
    str.casefold
)  # of a row's texts, for each text beside them


class _Format(NamedTuple):
    """The keys of a format's rows; where its id, prompt, and texts outside messages are.

    dataset: keys of what the writer took from its dataset
    """

    keys: AbstractSet[str]
    row_id: Path = ("id",)
    prompt: Path = ("prompt",)
    texts: Path = ("completion",)
    dataset: AbstractSet[str] = frozenset()


_LISTS = {"messages", "contents", "choices", "candidates"}
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
    *(_Format({key}) for key in _LISTS),
    _Format({"prompt", "completion"}),
)  # fmt: skip


class RowPaths(NamedTuple):
    """Paths of the text, if not by its format, and of the prompt in each row: `/answer/text`."""

    text: str | None = None
    prompt: str | None = None

    def record(self, row: object, where: str) -> Record:
        """Return the row as a record. Raises RecordsError, naming `where`, for no text."""
        if self.text is not None:
            prompts = (
                _texts_named(row, self.prompt, where) if self.prompt is not None else []
            )
            generations = [
                {"generated_text": text} for text in _texts_named(row, self.text, where)
            ]
            return {"instruction": "\n\n".join(prompts), "generations": generations}
        if (record := record_of(row, where)) is not None:
            return record
        cells = row if isinstance(row, dict) else {}
        texts = [
            key for key in cells if key.isidentifier() and isinstance(cells[key], str)
        ]
        longest = max(texts, key=lambda key: len(cells[key]), default="answer/text")
        raise RecordsError(
            "this row has no known format, so its texts wouldn't be read",
            location=where,
            hint=f"name the place of the text in each row, as in --text /{longest:.40}",
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
    runs = groupby(
        texts if len(texts) > 1 else [], lambda text: count_runs(text) < 2 * _TEXT_ALONE
    )
    pieces = [[*run] for is_short, run in runs if is_short]
    return [whole for run in pieces if len(run) > 1 for whole in joined(run)]


def record_of(row: object, where: str | None = None) -> Record | None:
    """Return the row in the paper's form; None for no known format. Raises RecordsError."""
    if not isinstance(row, dict):
        return None
    form = _format_of(frozenset(row))
    _put_in_place(row, where)
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
    of_dataset = texts_in([row[key] for key in form.dataset if key in row])
    given = [*prompts, *of_dataset, *prompts_in(beside)]
    further = (
        _unread_texts(beside, "\n".join(read), given, form.dataset) if beside else []
    )
    if not answers and sum(map(count_runs, further)) >= _TEXT_ALONE:
        answers[("",)] = first, {"failed": bool(failed)}
    generations: list[Record] = []
    for (text, *others), (before, end) in answers.items():
        generation = {"generated_text": text, **end}
        if reasoning := [
            *others,
            *end.get("reasoning", ()),
            *([] if generations else further),
        ]:
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
    return has_format or any(
        count_runs(text) >= _TEXT_ALONE for text in texts_in(value)
    )


@lru_cache(1 << 6)  # the rows of a file have the same keys
def _format_of(keys: frozenset[str]) -> _Format | None:
    return next((form for form in _FORMATS if form.keys <= keys), None)


def _read(row: Record, form: _Format, where: str | None) -> _Read:
    """Return a row's answers, its prompts, how many precede the first, and what stands beside."""
    prompts = dict.fromkeys(_texts_at(row, form.prompt, CONTAINERS))
    answers: _Answers = {}
    written = (
        {key: row[key] for key in row if key not in form.dataset}
        if form.dataset
        else row
    )
    row_messages = messages_in(written)
    if row_messages.chunks and len({*row_messages.chunks}) == len(row_messages.chunks):
        raise RecordsError(
            "this row is a chunk of a stream, whose answer goes on in other rows",
            location=where,
            hint="log whole answers, or the chunks of each answer in one row, as a list",
        )
    turn, parts = 0, []
    for message, of_model, (end, number) in row_messages.messages:
        texts = texts_of_message(message)
        if of_model:
            before, known_end = answers.get(texts, (len(prompts), {}))
            answers[texts] = before, known_end | end
            parts.append((turn, number, texts, message))
        else:
            prompts |= dict.fromkeys(texts)
            turn += 1
    if len(parts) > 1:
        _join(parts, answers)
    first = next((before for before, _ in answers.values()), len(prompts))
    outside = _texts_at(row, form.texts)
    if "completion" in form.texts and (
        whole := _whole(outside)
    ):  # others are answers each
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
            readings = texts_in(
                [message for _, message in whole], kept=without_metadata
            )
            if further := [text for text in readings if text not in read]:
                answers[whole[-1][0]][1].setdefault("reasoning", []).extend(further)


def _unread_texts(
    values: list[Record], read: str, given: list[str], dataset: AbstractSet[str]
) -> list[str]:
    """Return the texts in values that weren't read, nor given to the model, in any case."""
    prompts = {text.strip().casefold() for text in given}

    def is_read(text: str) -> bool:
        return text in read or text.strip().casefold() in _in_lower_case(read)

    def kept(place: Place, pieces: list[str]) -> list[str]:
        of_model = not KEYS_OF_MODEL.isdisjoint(place)
        if is_metadata(place, pieces) or (
            not of_model and not dataset.isdisjoint(place)
        ):
            return []
        some = [it for it in pieces if of_model or it.strip().casefold() not in prompts]
        return [it for it in some if has_few_runs(it) or not is_read(it)]

    return [text for text in texts_in(values, kept=kept) if not is_read(text)]


def _put_in_place(row: Record, where: str | None) -> None:
    """Parse the JSON in a table's cells; replace inspect_ai's references by their texts."""
    for name in _LISTS & row.keys():
        if isinstance(cell := row[name], str) and cell.lstrip()[:1] in {"[", "{"}:
            data = cell.encode("utf-8", "surrogatepass")
            row[name] = json_value(data, f"{where}, {name}", encoding="utf-8")
    if not isinstance(attachments := row.get("attachments"), dict):
        return
    waiting: list[Any] = [row]
    while waiting:
        part = waiting.pop()
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            if isinstance(value, dict | list):
                waiting.append(value)
            elif isinstance(value, str) and value.startswith("attachment://"):
                part[key] = attachments.get(value.partition("://")[2], value)


def _texts_at(
    row: Record, path: Path, but: AbstractSet[str] = frozenset()
) -> list[str]:
    """Return the texts at a path, in lists of any depth or an object but in its messages."""
    value = value_at(row, path)
    if isinstance(value, dict):
        return texts_in(
            {**value, "error": None},
            kept=lambda at, its: [] if at[1:] and at[0] in but else its,
        )
    waiting, texts = [value], []
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += reversed(part)
        elif isinstance(part, str):
            texts.append(part)
    return texts
