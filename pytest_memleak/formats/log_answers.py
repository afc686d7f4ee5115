"""What a row of a log says: its prompts, the model's answers, and unread texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_format_table import LogFormat
from pytest_memleak.formats.log_messages import (
    CONTAINERS,
    KEYS_OF_MODEL,
    Message,
    messages_in,
    prompts_in,
    value_at,
)
from pytest_memleak.formats.message_texts import (
    WORDS_OF_TEXT,
    Record,
    is_metadata,
    texts_of_message,
    without_metadata,
)
from pytest_memleak.formats.reasoning_and_tool_calls import (
    Place,
    count_word_runs,
    has_few_word_runs,
    joined,
    texts_in,
)

# Of a row's texts, for each text beside them.
_in_lower_case = lru_cache(1)(str.casefold)

Texts = tuple[str, ...]
"""A text of the model's, with others beside it, such as its reasoning."""


@dataclass(slots=True)
class AnswerFacts:
    """What is known of an answer beside its texts.

    before: number of prompts before it
    end:    keys of its generation: why it ended, and further readings as reasoning
    """

    before: int
    end: Record


@dataclass(slots=True)
class RowReading:
    """What was read of a row.

    answers: by their texts, in order
    prompts: in order, each once
    other_values:  what stands beside messages, by its key
    dataset: keys of what the writer took from its dataset
    of_dataset: the texts below these
    """

    answers: dict[Texts, AnswerFacts]
    prompts: list[str]
    other_values: list[Record]
    dataset: AbstractSet[str]
    of_dataset: list[str] = field(default_factory=list)

    @property
    def before_first(self) -> int:
        """Number of prompts before the first answer, and before texts beside."""
        for facts in self.answers.values():
            return facts.before
        return len(self.prompts)

    def unread_texts(self) -> list[str]:
        """Return the texts beside messages that no answer and no prompt has."""
        if not self.other_values:
            return []
        read = self.prompts[: self.before_first]
        for texts in self.answers:
            read += texts
        given = [*self.prompts, *self.of_dataset, *prompts_in(self.other_values)]
        return _unread_texts(self.other_values, "\n".join(read), given, self.dataset)


def read_row(
    row: Record,
    row_format: LogFormat,
    where: str | None,
) -> RowReading:
    """Read a row. Raises RecordsError, naming `where`, for a chunk of a stream."""
    dataset = row_format.dataset
    written = row
    if dataset:
        written = {key: value for key, value in row.items() if key not in dataset}
    in_row = messages_in(written)
    _validate_no_stream_chunk(in_row.chunks, where)
    prompts, answers = _read_messages(
        in_row.messages,
        _texts_at(row, row_format.prompt, CONTAINERS),
    )
    reading = RowReading(answers, prompts, in_row.other_values, dataset)
    outside = _texts_at(row, row_format.texts)
    if "completion" in row_format.texts and (whole := joined_short_neighbors(outside)):
        # Elsewhere each of several texts is an answer.
        reading.other_values.append({"": whole})
    reading.answers = _with_texts_outside(outside, reading)
    if dataset:
        values = [value for key, value in row.items() if key in dataset]
        reading.of_dataset = texts_in(values)
    return reading


def _validate_no_stream_chunk(chunks: list[str], where: str | None) -> None:
    """Raise RecordsError for a chunk of a stream that goes on in other rows."""
    if chunks and len({*chunks}) == len(chunks):
        raise RecordsError(
            "this row is a chunk of a stream, whose answer goes on in other rows",
            location=where,
            hint="log whole answers, or the chunks of each answer in one row, as a "
            "list",
        )


@dataclass(slots=True)
class _WrittenMessage:
    """A message of the model's: its turn, its choice's number, and its texts."""

    turn: int
    number: object
    texts: Texts
    message: Record


def _read_messages(
    messages: Sequence[Message],
    first_prompts: Iterable[str],
) -> tuple[list[str], dict[Texts, AnswerFacts]]:
    """Return all prompts and the answers, from messages and the prompts before them."""
    prompts = dict.fromkeys(first_prompts)
    answers: dict[Texts, AnswerFacts] = {}
    written: list[_WrittenMessage] = []
    turn = 0
    for message in messages:
        texts = texts_of_message(message.content)
        if not message.of_model:
            prompts |= dict.fromkeys(texts)
            turn += 1
            continue
        choice = message.choice
        facts = answers.get(texts)
        if facts is None:
            answers[texts] = AnswerFacts(len(prompts), {**choice.end})
        else:
            facts.end |= choice.end
        written.append(
            _WrittenMessage(
                turn=turn,
                number=choice.number,
                texts=texts,
                message=message.content,
            )
        )
    if len(written) > 1:
        _join_parts(written, answers)
    return [*prompts], answers


def _join_parts(
    written: list[_WrittenMessage],
    answers: dict[Texts, AnswerFacts],
) -> None:
    """Add the whole text of each answer in parts, such as chunks, to its last part."""
    parts_of_answer: dict[str, list[_WrittenMessage]] = {}
    for part in written:
        answer = f"{part.turn} {part.number}"
        parts_of_answer.setdefault(answer, []).append(part)
    for parts in parts_of_answer.values():
        if len(parts) == 1:
            continue
        read: set[str] = set()
        for part in parts:
            read.update(part.texts)
        readings = texts_in([part.message for part in parts], kept=without_metadata)
        further = [text for text in readings if text not in read]
        if further:
            end = answers[parts[-1].texts].end
            end.setdefault("reasoning", []).extend(further)


def _with_texts_outside(
    outside: list[str],
    reading: RowReading,
) -> dict[Texts, AnswerFacts]:
    """Return the texts outside messages as answers, and then those in messages."""
    before = reading.before_first
    in_messages = {**reading.answers}
    answers: dict[Texts, AnswerFacts] = {}
    for text in dict.fromkeys(outside):
        facts = in_messages.pop((text,), None)
        answers[text,] = AnswerFacts(before, facts.end if facts else {})
    return answers | in_messages


def joined_short_neighbors(texts: list[str]) -> list[str]:
    """Return neighbors joined that have too few words for a passage each."""
    if len(texts) <= 1:
        return []
    whole: list[str] = []
    for is_short, neighbors in groupby(texts, _is_short):
        pieces = [*neighbors]
        if is_short and len(pieces) > 1:
            whole += joined(pieces)
    return whole


def _is_short(text: str) -> bool:
    return count_word_runs(text) < 2 * WORDS_OF_TEXT


def _unread_texts(
    values: list[Record],
    read: str,
    given: list[str],
    dataset: AbstractSet[str],
) -> list[str]:
    """Return the texts in values that weren't read, nor given to the model."""
    prompts = {text.strip().casefold() for text in given}

    def is_read(text: str) -> bool:
        # In any letter case.
        return text in read or text.strip().casefold() in _in_lower_case(read)

    def kept(place: Place, pieces: list[str]) -> list[str]:
        of_model = not KEYS_OF_MODEL.isdisjoint(place)
        of_dataset = not of_model and not dataset.isdisjoint(place)
        if of_dataset or is_metadata(place, pieces):
            return []
        unread: list[str] = []
        for piece in pieces:
            if not of_model and piece.strip().casefold() in prompts:
                continue
            if has_few_word_runs(piece) or not is_read(piece):
                unread.append(piece)
        return unread

    return [text for text in texts_in(values, kept=kept) if not is_read(text)]


def _texts_at(
    row: Record,
    path: Sequence[str],
    containers: AbstractSet[str] = frozenset(),
) -> list[str]:
    """Return the texts at a path: of an object, without those below its containers."""

    def kept(place: Place, pieces: list[str]) -> list[str]:
        below_container = len(place) > 1 and place[0] in containers
        return [] if below_container else pieces

    value = value_at(row, path)
    if isinstance(value, dict):
        return texts_in({**value, "error": None}, kept=kept)
    return _texts_in_lists(value)


def _texts_in_lists(value: object) -> list[str]:
    """Return a text, or the texts in lists of any depth."""
    waiting = [value]
    texts: list[str] = []
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += reversed(part)
        elif isinstance(part, str):
            texts.append(part)
    return texts
