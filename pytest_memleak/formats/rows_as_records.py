"""Rows of logs and training sets, in their writers' formats, as the paper's records.

A row's keys tell its format (`log_format_table`). A record has the row's id, the
prompt, and an entry per text that the model wrote, its reasoning and tool calls
included (`paper_format`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.chat_cells import chat_in_cell
from pytest_memleak.formats.log_answers import (
    AnswerFacts,
    RowReading,
    Texts,
    joined_short_neighbors,
    read_row,
)
from pytest_memleak.formats.log_format_table import (
    CALL_FORMAT,
    LISTS_OF_MESSAGES,
    PAPER_FORMATS,
    LogFormat,
    format_of,
)
from pytest_memleak.formats.log_messages import KEYS_OF_REQUEST, value_at
from pytest_memleak.formats.message_texts import WORDS_OF_TEXT, Record
from pytest_memleak.formats.paper_format import parse_json
from pytest_memleak.formats.plain_rows import PlainTexts, joined_prompts, read_plain_row
from pytest_memleak.formats.reasoning_and_tool_calls import count_word_runs, texts_in

_ERRORS = (("error",), ("response", "error"), ("response", "body", "error"))
_ATTACHMENT = "attachment://"


class RowPaths(NamedTuple):
    """Paths in each row, such as `/answer/text`.

    text:   of the model's text; None to go by the row's format
    prompt: of its prompt, if any
    """

    text: str | None = None
    prompt: str | None = None

    def record(self, row: object, where: str) -> Record:
        """Return the row as a record.

        Raises RecordsError, naming `where`, for no text.
        """
        if self.text is not None:
            return self._record_at_paths(row, self.text, where)
        record = record_of(row, where)
        if record is None:
            raise _unknown_format(row, where)
        return record

    def plain_texts(self, row: object) -> PlainTexts | None:
        """Return a row's texts, if they are those of its `record` and nothing else is.

        None for most shapes; far faster than the record.
        """
        if self.text is not None or not isinstance(row, dict):
            return None
        row_format = format_of(frozenset(row))
        if row_format is None or row_format in PAPER_FORMATS or row_format.calls:
            return None
        reading = read_plain_row(row, row_format)
        if reading is None or not reading.answers:
            return None
        answers = [(text, facts.before) for (text,), facts in reading.answers.items()]
        return PlainTexts.of(answers, reading.prompts)

    def _record_at_paths(
        self,
        row: object,
        text_path: str,
        where: str,
    ) -> Record:
        prompts: list[str] = []
        if self.prompt is not None:
            prompts = _texts_at_path(row, self.prompt, where)
        texts = _texts_at_path(row, text_path, where)
        return {
            "instruction": "\n\n".join(prompts),
            "generations": [{"generated_text": text} for text in texts],
        }


def _unknown_format(row: object, where: str) -> RecordsError:
    cells = row if isinstance(row, dict) else {}
    length_by_key = {}
    for key, value in cells.items():
        if key.isidentifier() and isinstance(value, str):
            length_by_key[key] = len(value)
    longest = max(length_by_key, key=length_by_key.__getitem__, default="answer/text")
    return RecordsError(
        "this row has no known format, so its texts wouldn't be read",
        location=where,
        hint=f"name the place of the text in each row, as in --text /{longest:.40}",
    )


def keys_of(path: str) -> list[str]:
    """Return the keys of a path such as `/answer/text`."""
    keys = filter(None, path.split("/"))
    return [key.replace("~1", "/").replace("~0", "~") for key in keys]


def _texts_at_path(
    row: object,
    path: str,
    where: str,
) -> list[str]:
    value = value_at(row, keys_of(path))
    texts = value if isinstance(value, list) else [value]
    if texts and all(isinstance(text, str) for text in texts):
        return [*texts, *joined_short_neighbors(texts)]
    raise RecordsError(
        f"there is no text at {path}",
        location=where,
        hint="name the keys from each row to a text or a list of texts: /answer/text",
    )


def record_of(row: object, where: str | None = None) -> Record | None:
    """Return the row in the paper's form; None for no known format.

    Raises RecordsError, naming `where`, for a chunk of a stream and for damaged JSON in
    a cell.
    """
    if not isinstance(row, dict):
        return None
    row_format = format_of(frozenset(row))
    _parse_json_cells(row, where)
    _insert_attachments(row)
    if row_format is None:
        return None
    if row_format in PAPER_FORMATS:
        return row
    if row_format.calls is not None:
        return _record_of_calls(row_format.calls(row), where)
    return _record_of_format(row, row_format, where)


def _record_of_calls(calls: list[Record], where: str | None) -> Record:
    """Return a row of several calls, whose generations have their own prompts."""
    generations: list[Record] = []
    record: Record = {"excerpt_id": None, "instruction": ""}
    for call in calls:
        of_call = _record_of_format(call, CALL_FORMAT, where)
        if of_call is None:
            # Its texts are where no format has them.
            generations.append({"generated_text": "", "reasoning": texts_in(call)})
            continue
        record["excerpt_id"] = of_call["excerpt_id"]
        if len(calls) == 1:
            record["instruction"] = of_call["instruction"]
        for generation in of_call["generations"]:
            own = {"instruction": of_call["instruction"]}
            generations.append(own | generation)
    return record | {"generations": generations}


def _record_of_format(
    row: Record,
    row_format: LogFormat,
    where: str | None,
) -> Record | None:
    reading = read_plain_row(row, row_format) or read_row(row, row_format, where)
    failed = not reading.answers and _has_error(row)
    if not (reading.answers or reading.prompts or failed):
        return None  # its texts are where no such format has them
    unread = reading.unread_texts()
    has_text = sum(map(count_word_runs, unread)) >= WORDS_OF_TEXT
    if has_text and not reading.answers:
        no_texts = ("",)
        facts = AnswerFacts(reading.before_first, {"failed": failed})
        reading.answers[no_texts] = facts
    return {
        "excerpt_id": value_at(row, row_format.row_id),
        "instruction": joined_prompts(reading.prompts),
        "generations": _generations(reading, unread),
    }


def _has_error(row: Record) -> bool:
    if any(value_at(row, path) for path in _ERRORS):
        return True
    # Vertex has an error beside an empty response.
    return not row.get("response", True) and bool(row.get("status"))


def _generations(reading: RowReading, unread: list[str]) -> list[Record]:
    """Return a generation per answer; the first one's reasoning has what was unread."""
    generations: list[Record] = []
    for texts, facts in reading.answers.items():
        generation = _generation(texts, facts, unread)
        unread = []
        if facts.before < len(reading.prompts):
            own_prompts = reading.prompts[: facts.before]
            generation["instruction"] = joined_prompts(own_prompts)
        generations.append(generation)
    return generations


def _generation(
    texts: Texts,
    facts: AnswerFacts,
    unread: list[str],
) -> Record:
    text, *others = texts
    generation = {"generated_text": text, **facts.end}
    reasoning = [*others, *facts.end.get("reasoning", ()), *unread]
    if reasoning:
        generation["reasoning"] = reasoning
    return generation


def is_row(value: object) -> bool:
    """Return whether a list's element is a row, or has text that would go unread."""
    if isinstance(value, dict) and format_of(frozenset(value)):
        return True
    return any(count_word_runs(text) >= WORDS_OF_TEXT for text in texts_in(value))


def _parse_json_cells(row: Record, where: str | None) -> None:
    """Parse the JSON in a table's cells, in place."""
    for name in LISTS_OF_MESSAGES & row.keys():
        cell = row[name]
        if isinstance(cell, str) and cell.lstrip().startswith(("[", "{")):
            data = cell.encode("utf-8", "surrogatepass")
            row[name] = parse_json(data, f"{where}, {name}", encoding="utf-8")
    for name in KEYS_OF_REQUEST & row.keys():
        cell = row[name]
        if isinstance(cell, str) and (chat := chat_in_cell(cell)):
            row[name] = chat


def _insert_attachments(row: Record) -> None:
    """Replace inspect_ai's references by their texts, in place."""
    attachments = row.get("attachments")
    if not isinstance(attachments, dict):
        return
    waiting: list[Any] = [row]
    while waiting:
        part = waiting.pop()
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in items:
            if isinstance(value, dict | list):
                waiting.append(value)
            elif isinstance(value, str) and value.startswith(_ATTACHMENT):
                name = value.removeprefix(_ATTACHMENT)
                part[key] = attachments.get(name, value)
