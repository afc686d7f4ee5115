"""The paper's record format: lists of dicts, as JSON or JSONL, to and from our records.

A book is a list of records with `excerpt_id`, `excerpt_text`, `instruction`,
`author_name`, `book_name`, `word_count` and `detail` (the summary); generations are a
list of records with `excerpt_id`, `generations: [{"generated_text": ...}]` and perhaps
`instruction`. Records are ordered by the first integer in `excerpt_id`. (arXiv
2603.20957, released data format.)
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import IO, Any

from pytest_memleak.errors import RecordsError, UnknownExcerpt, file_errors
from pytest_memleak.formats.distinct_keys import DuplicateKey, distinct_keys
from pytest_memleak.formats.log_messages import is_prompt_turn
from pytest_memleak.formats.reasoning_and_tool_calls import (
    REASONING_KEYS,
    count_word_runs,
    join_without_answer,
    texts_in,
)
from pytest_memleak.records.book import Book, Excerpt, book_digest
from pytest_memleak.records.generation import (
    FinishReason,
    Generation,
    finish_reason_from_word,
)
from pytest_memleak.records.provenance import RecordedAs

MAX_JSON_BYTES = 1 << 30
_CHUNK = 1 << 20
# Reports show ids, so none may be a passage.
_LONGEST_ID = 64  # bytes
_WORDS_OF_ID = 12
_LONGEST_REASON = 40
# Our own exports use these beside servers' words.
_OWN_WORDS = {reason.value: reason for reason in FinishReason}
# Known keys; a longer text under any other key may be the model's.
_OF_ROWS = frozenset(
    {
        "excerpt_id",
        "excerpt_text",
        "instruction",
        "prompt",
        "author_name",
        "book_name",
        "word_count",
        "detail",
        "chapter",
        "generations",
    },
)
_TEXT_ALONE = {"generated_text"}
_PLAIN = _TEXT_ALONE | {"finish_reason", "instruction"}
_OF_GENERATIONS = _PLAIN | {
    "finish_word",
    "ordinal",
    "prompt",
    "excerpt_text",
    *REASONING_KEYS,
}
_FEW_WORDS = 20
_INTEGER = re.compile(r"\d+")
_ID_WORD = re.compile(r"[^\W_]+")


def book_from_records(
    records: object,
    *,
    book_id: str | None = None,
    place: str = "book records",
) -> Book:
    """Build the book from the paper's records, its excerpts in the order of their IDs.

    Raises RecordsError, naming `place` and the record, for anything not of that form.
    """
    rows = _rows(records, place)
    excerpts: dict[str, Excerpt] = {}
    for number, row in enumerate(rows):
        where = f"{place}, record {number}"
        excerpt_id = _excerpt_id(row, where)
        if excerpt_id in excerpts:
            raise _duplicate_id_error(excerpt_id, where, "give each excerpt its own id")
        excerpts[excerpt_id] = Excerpt(
            id=excerpt_id,
            text=_text(row, "excerpt_text", where),
            instruction=_optional_text(row, "instruction", where),
            chapter=_optional_text(row, "chapter", where),
        )
    if not excerpts:
        raise RecordsError(
            "there are no excerpts",
            location=place,
            hint="a book needs at least one",
        )
    ordered = tuple(
        sorted(excerpts.values(), key=lambda excerpt: _number_in_excerpt_id(excerpt.id))
    )
    first = rows[0]
    title = _optional_text(first, "book_name", place) or ""
    return Book(
        id=book_id or title or "untitled",
        title=title,
        author=_optional_text(first, "author_name", place) or "",
        excerpts=ordered,
        digest=book_digest(ordered),
    )


def generations_from_records(
    records: object,
    *,
    place: str = "generation records",
) -> list[Generation]:
    """Build every generation from the paper's records, ordered by their excerpts' IDs.

    A record has either `generations` (a list) or one `generated_text` of its own, as
    lines of JSONL do; several such lines of one excerpt are its rounds, in the order
    they stand. A blank text is EMPTY, whatever else the record says, unless it was
    withheld.
    Raises RecordsError, naming `place` and the record, for anything not of that form.
    """
    generations: dict[str, list[Generation]] = {}
    whole: set[str] = set()
    for number, row in enumerate(_rows(records, place)):
        where = f"{place}, record {number}"
        excerpt_id = _excerpt_id(row, where)
        _optional_text(row, "instruction", where)
        single = _has_single_generation(row)
        if excerpt_id in whole or (excerpt_id in generations and not single):
            hint = "put all generations of an excerpt into one record"
            raise _duplicate_id_error(excerpt_id, where, hint)
        if not single:
            whole.add(excerpt_id)
        rounds = generations.setdefault(excerpt_id, [])
        for answer in [row] if single else _answers(row, where):
            rounds.append(
                _generation(answer, excerpt_id, len(rounds), where, single=single),
            )
    in_order: list[Generation] = []
    for excerpt_id in sorted(generations, key=_number_in_excerpt_id):
        in_order += generations[excerpt_id]
    return in_order


def texts_of_record(record: Mapping[str, Any], where: str) -> list[str]:
    """Return all that the model wrote, per answer in a record. Raises RecordsError."""
    single = _has_single_generation(record)
    answers = [record] if single else _answers(record, where)
    _optional_text(record, "instruction", where)
    for answer in answers:
        if isinstance(answer, dict):
            _optional_text(answer, "instruction", where)
    texts: list[str] = []
    for nth, answer in enumerate(answers):
        text = _plain_text(answer)
        if text is None:  # which takes longer
            text = _generation(answer, "", nth, where, single=single).written
        texts.append(text)
    return texts


def _plain_text(answer: object) -> str | None:
    """Return the text of an answer without anything else to read; None for others."""
    if not isinstance(answer, dict) or not answer.keys() <= _PLAIN:
        return None
    text = answer.get("generated_text")
    return text if isinstance(text, str) else None


def _has_single_generation(row: Mapping[str, Any]) -> bool:
    return "generated_text" in row and "generations" not in row


def book_facts_in_records(records: object) -> Iterator[RecordedAs]:
    """Yield what generation records say about their book."""
    if not isinstance(records, Sequence):
        return
    for row in records:
        if isinstance(row, Mapping) and isinstance(row.get("excerpt_id"), str | int):
            yield RecordedAs(
                excerpt_id=str(row["excerpt_id"]),
                book_name=_text_or_none(row, "book_name"),
                author_name=_text_or_none(row, "author_name"),
                excerpt_text=_text_or_none(row, "excerpt_text"),
                instruction=_text_or_none(row, "instruction"),
            )


def _text_or_none(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) and value else None


def with_recorded_instructions(book: Book, records: object) -> Book:
    """Return the book with the instructions that the generation records have."""
    described = book_facts_in_records(records)
    instructions = {
        row.excerpt_id: row.instruction for row in described if row.instruction
    }
    if not instructions:
        return book
    excerpts = tuple(
        dataclasses.replace(
            excerpt,
            instruction=instructions.get(excerpt.id, excerpt.instruction),
        )
        for excerpt in book.excerpts
    )
    return dataclasses.replace(book, excerpts=excerpts, digest=book_digest(excerpts))


def load_records(path: Path) -> list[object]:
    """Load the list in a `.json` file, or the lines of a `.jsonl` file.

    Raises RecordsError for a file that is missing, empty, over 1 GiB (a line of it, for
    `.jsonl`), not UTF-8 (`.json` may be UTF-16 or UTF-32), not JSON, or not a list.
    """
    return list(read_records(path))


def read_records(path: Path, *, most_bytes: int | None = None) -> Iterator[object]:
    """Yield the records of `load_records`.

    most_bytes: of a `.json` file or a line; None for 1 GiB
    """
    most_bytes = MAX_JSON_BYTES if most_bytes is None else most_bytes
    with file_errors(RecordsError, path):
        if path.suffix.lower() == ".jsonl":
            yield from _json_lines(path, most_bytes)
            return
        with path.open("rb") as file:
            records: Any = parse_json(read_whole(file, path, most_bytes), str(path))
    if not isinstance(records, list):
        raise not_a_list_error(records, str(path))
    yield from records


def read_whole(
    file: IO[bytes],
    path: Path,
    most_bytes: int = MAX_JSON_BYTES,
) -> bytes:
    """Read a file. Raises RecordsError for an empty and for a bigger one."""
    chunks: list[bytes] = []
    size = 0
    # Pipes and devices have no size to check first.
    while chunk := file.read(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise too_big_error("the file", str(path), most_bytes)
    if not any(map(bytes.strip, chunks)):
        raise empty(path, "expected a JSON list of records")
    return b"".join(chunks)


def _json_lines(path: Path, most_bytes: int) -> Iterator[object]:
    seen = False
    with path.open("rb") as file:
        for number, line in enumerate(lines_of(file, path, most_bytes), 1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                seen = True
                yield parse_json(text, f"{path}, line {number}", encoding="utf-8")
    if not seen:
        raise empty(path, "expected one JSON record on each line")


def lines_of(
    file: IO[bytes],
    path: Path,
    most_bytes: int = MAX_JSON_BYTES,
) -> Iterator[bytes]:
    """Yield the lines of a file. Raises RecordsError for a longer one."""
    number = 1
    while line := file.readline(most_bytes + 1):
        if len(line) > most_bytes:
            raise too_big_error("the line", f"{path}, line {number}", most_bytes)
        yield line
        number += 1


def empty(path: Path, hint: str) -> RecordsError:
    """Build the error for a file without content."""
    return RecordsError("the file is empty", location=str(path), hint=hint)


def too_big_error(
    what: str,
    place: str,
    most_bytes: int = MAX_JSON_BYTES,
) -> RecordsError:
    """Build the error for a file or line of more bytes."""
    return RecordsError(
        f"{what} exceeds the maximum of {most_bytes:,} bytes",
        location=place,
        hint="split it by book, or use .jsonl, which is read line by line",
    )


def parse_json(
    data: bytes,
    place: str,
    *,
    encoding: str | None = None,
) -> Any:
    """Parse JSON. Raises RecordsError, naming `place`."""
    try:
        text = data.decode(encoding or json.detect_encoding(data))
        del data  # before the values are in memory, too
        return _DECODER.decode(text)
    except DuplicateKey as error:
        raise RecordsError(str(error), location=place, hint="remove one") from None
    except UnicodeDecodeError as error:
        first_byte = error.object[error.start]
        raise RecordsError(
            f"not {error.encoding.upper()} text: "
            f"byte 0x{first_byte:02x} at {error.start}",
            location=place,
            hint="save the file as UTF-8",
        ) from None
    except json.JSONDecodeError as error:
        at_line = f"line {error.lineno}, " if "\n" in error.doc else ""
        raise RecordsError(
            f"not JSON: {error.msg.removesuffix(' at')} at {at_line}column "
            f"{error.colno}",
            location=place,
            hint="correct it there, or write the file again",
        ) from None
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        cause = "it is nested too deeply" if deep else "a number has too many digits"
        raise RecordsError(f"not usable JSON: {cause}", location=place) from None


_DECODER = json.JSONDecoder(object_pairs_hook=distinct_keys)


def _rows(records: object, place: str) -> list[Mapping[str, Any]]:
    if not isinstance(records, Sequence) or isinstance(records, str | bytes):
        raise not_a_list_error(records, place)
    for number, row in enumerate(records):
        if not isinstance(row, Mapping):
            raise RecordsError(
                f"expected an object, found {_kind(row)}",
                location=f"{place}, record {number}",
            )
    return list(records)


def not_a_list_error(records: object, place: str) -> RecordsError:
    """Build the error for records that are no list."""
    return RecordsError(
        f"expected a list of records, found {_kind(records)}",
        location=place,
    )


def _excerpt_id(row: Mapping[str, Any], where: str) -> str:
    value = row.get("excerpt_id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise _wrong_type_error(row, "excerpt_id", "a string such as 'p_id1'", where)
    size = len(value.encode("utf-8", "surrogatepass"))
    count = len(_ID_WORD.findall(value))
    if size > _LONGEST_ID or count > _WORDS_OF_ID:
        raise RecordsError(
            f"excerpt_id has {len(value):,} characters; "
            f"expected at most {_WORDS_OF_ID} words in {_LONGEST_ID} bytes of UTF-8",
            location=where,
            hint="ids look like 'p_id1'",
        )
    if not _INTEGER.search(value):
        raise RecordsError(
            f"excerpt_id {value!r} has no number to order it by",
            location=where,
            hint="ids look like 'p_id1'",
        )
    return value


def _duplicate_id_error(
    excerpt_id: str,
    where: str,
    hint: str,
) -> RecordsError:
    return RecordsError(
        f"the excerpt_id {excerpt_id!r} occurs twice",
        location=where,
        hint=hint,
    )


def _number_in_excerpt_id(excerpt_id: str) -> int:
    return int(_INTEGER.findall(excerpt_id)[0])  # every ID was validated on reading


def _answers(row: Mapping[str, Any], where: str) -> list[Any]:
    answers = row.get("generations")
    if not isinstance(answers, list | tuple):
        error = _wrong_type_error(
            row,
            "generations",
            "a list",
            where,
            missing="there are no generations",
        )
        error.hint = 'each record needs "generations": [{"generated_text": "..."}]'
        raise error
    texts = [
        str(answer.get("generated_text"))
        for answer in answers
        if isinstance(answer, Mapping)
    ]
    _validate_nothing_unread(row, texts, where, _OF_ROWS)
    return list(answers)


def _generation(
    answer: object,
    excerpt_id: str,
    ordinal: int,
    where: str,
    *,
    single: bool,
) -> Generation:
    # Most answers are of that form; the others take longer.
    if isinstance(answer, dict) and answer.keys() == _TEXT_ALONE:
        text = answer["generated_text"]
        if isinstance(text, str):
            return Generation(excerpt_id, ordinal, text, FinishReason.UNSTATED)
    where = f"{where}, generation {ordinal}"
    if not isinstance(answer, Mapping):
        raise RecordsError(f"expected an object, found {_kind(answer)}", location=where)
    text = _text(answer, "generated_text", where)
    reason, word = _finish(answer, where)
    if not text.strip() and not reason.withheld:
        reason = FinishReason.EMPTY
    readable = _OF_GENERATIONS | _OF_ROWS if single else _OF_GENERATIONS
    _validate_nothing_unread(answer, [text], where, readable)
    thoughts: list[str] = []
    for key in REASONING_KEYS:
        if key in answer:
            thoughts += texts_in(answer[key])
    return Generation(
        excerpt_id,
        ordinal,
        text,
        reason,
        finish_word=word,
        reasoning=join_without_answer(thoughts, text),
    )


def _validate_nothing_unread(
    answer: Mapping[str, Any],
    texts: Sequence[str],
    where: str,
    readable: AbstractSet[str],
) -> None:
    """Raise RecordsError for long texts that would go unread.

    They are under unknown keys, or in turns that aren't prompts.

    texts: what is read
    readable: the known keys
    """
    if answer.keys() <= readable:
        return  # most; the rest takes longer
    values = {key: answer[key] for key in answer.keys() - readable}
    turns = values.get("messages")
    if not isinstance(turns, str):
        turns = turns if isinstance(turns, list) else [turns]
        values["messages"] = [turn for turn in turns if not is_prompt_turn(turn)]
    read = "\n".join(texts)
    for key, value in values.items():
        unread = [text for text in texts_in(value) if text.strip() not in read]
        longest = max(map(count_word_runs, unread), default=0)
        if longest >= _FEW_WORDS:
            name = str(key)[:_LONGEST_REASON]
            raise RecordsError(
                f"{name!a} holds a text of {longest:,} words, "
                "which wouldn't be measured",
                location=where,
                hint="in a generation, 'generated_text' is the model's text, and "
                "'reasoning' its thoughts; remove text that it didn't write",
            )


def _finish(answer: Mapping[str, Any], where: str) -> tuple[FinishReason, str | None]:
    """Return the finish reason and the server's word.

    Only known words mean a complete answer.
    """
    if "finish_reason" not in answer:
        return FinishReason.UNSTATED, None
    value = answer["finish_reason"]
    if value is None:
        return FinishReason.UNKNOWN, "null"
    if not isinstance(value, str):
        raise _wrong_type_error(
            answer,
            "finish_reason",
            "a string such as 'stop', or null",
            where,
        )
    word = _optional_text(answer, "finish_word", where) or value
    reason = _OWN_WORDS.get(value.lower()) or finish_reason_from_word(value)
    if reason is FinishReason.UNSTATED:
        return reason, None
    return reason, word[:_LONGEST_REASON]


def _text(
    row: Mapping[str, Any],
    key: str,
    where: str,
) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise _wrong_type_error(row, key, "a string", where)
    return value


def _optional_text(
    row: Mapping[str, Any],
    key: str,
    where: str,
) -> str | None:
    if row.get(key) is None:
        return None
    return _text(row, key, where) or None


def _wrong_type_error(
    row: Mapping[str, Any],
    key: str,
    expected: str,
    where: str,
    *,
    missing: str | None = None,
) -> RecordsError:
    text = missing or f"there is no {key}"
    if key in row:
        text = f"{key} is {_kind(row[key])}; expected {expected}"
    return RecordsError(text, location=where)


def _kind(value: object) -> str:
    """Name a value's JSON type, without quoting it."""
    names = {
        type(None): "null",
        bool: "a boolean",
        str: "a string",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def validate_excerpt_ids(
    generations: Iterable[Generation],
    book: Book,
    *,
    place: str,
    hint: str | None = None,
) -> None:
    """Raise RecordsError for generations of excerpts that the book doesn't have."""
    ids = {excerpt.id for excerpt in book.excerpts}
    unknown = sorted({generation.excerpt_id for generation in generations} - ids)
    if unknown:
        raise UnknownExcerpt(
            *unknown,
            book_id=book.id,
            location=place,
            hint=hint,
        )
