"""Suite files: reading, validating by schema, and validating across tables.

    read_suite_file(path).tables -> SuiteFile

Needs no book and no extension.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from pytest_memleak.books.instructions import validate_continuation
from pytest_memleak.errors import BookError, SuiteError
from pytest_memleak.providers.option_tables import problem_words, refuse_secrets
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.suite.limit_validation import validate_preset
from pytest_memleak.suite.matrix import Written, expand
from pytest_memleak.suite.schema import SuiteFile
from pytest_memleak.suite.suite_error_hints import (
    NO_FILE,
    clipped,
    is_option,
    known_keys,
    near_keys,
    plain,
    problem_hint,
    shown,
    suite_error,
    syntax_hint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from pytest_memleak.suite.matrix import Expanded
    from pytest_memleak.suite.schema import BookTable, CollectionTable, SuiteTable

_DEEPEST = 50
_MOST_BYTES = 16 << 20
_SHOULD_BE = "Input should be "
_NO_BOOK = "book: missing; the suite needs a book or a collection"
_WIDEST = 63  # bits: TOML's integers are signed and have 64


class ReadSuite(NamedTuple):
    """A suite file's tables, and the SHA-256 of its bytes and of its content."""

    tables: SuiteFile
    digest: str
    content_digest: str


def read_suite_file(path: Path) -> ReadSuite:
    """Read and validate the suite file at `path`. Raises SuiteError with file, key and value."""
    content = _read(path)
    tables = _parse(content, path)
    _validate_bounds(tables, path)
    refuse_secrets(tables, place=str(path), name="suite file")
    written = Written(tables, content.decode("utf-8-sig"), path)
    expanded = expand(written)
    books = {"book": expanded.tables.get("book")}  # with what tables of books say
    refuse_secrets(books, place=str(path), name="suite file")
    digest = hashlib.sha256(content).hexdigest()
    return ReadSuite(_checked(expanded, written), digest, _content_digest(expanded.tables))


def _checked(expanded: Expanded, written: Written) -> SuiteFile:
    path = written.path
    try:
        suite_file = SuiteFile.model_validate(expanded.tables)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        # A key that is misspelt is missing, too: the misspelling says more.
        first = next(
            (
                problem
                for problem in problems
                if problem["type"] == "extra_forbidden"
                and problems[0]["type"] == "missing"
                and problem["loc"][:-1] == problems[0]["loc"][:-1]
            ),
            problems[0],
        )
        hint = problem_hint(dict(first), _within(first["loc"], expanded.tables))
        raise _explain(problems, expanded, written, hint) from None
    _validate_ids(suite_file, path)
    _validate_continuation_template(suite_file.suite, path)
    _validate_controls(suite_file, path)
    validate_preset(suite_file, path)
    return suite_file


# --- reading -------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise suite_error(path, "not a regular file", NO_FILE)
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise suite_error(path, f"has {size:,} bytes; the maximum is {_MOST_BYTES:,}", NO_FILE)
        return path.read_bytes()
    except OSError as error:
        raise suite_error(path, f"can't be read: {error.strerror or error}", NO_FILE) from None


def _parse(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # Some editors add a byte order mark.
    except UnicodeDecodeError as error:
        raise suite_error(
            path,
            f"not UTF-8: byte 0x{content[error.start]:02x} at {error.start}",
            "save the file as UTF-8",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise suite_error(
            path, f"not TOML: {masked(str(error))}", syntax_hint(str(error))
        ) from None
    except RecursionError:
        raise suite_error(path, "invalid TOML: nested too deeply") from None
    except ValueError:
        raise suite_error(path, "invalid TOML: a number has too many digits") from None


def _validate_bounds(tables: dict[str, Any], path: Path) -> None:
    """Raise SuiteError for nesting and numbers that TOML allows and later code can't handle."""
    todo: list[tuple[str, int, Any]] = [("", 0, tables)]
    while todo:
        key, depth, value = todo.pop()
        if depth > _DEEPEST:
            raise suite_error(path, f"{clipped(key)}: nested too deeply")
        if isinstance(value, dict):
            todo += [
                (f"{key}.{plain(name)}" if key else plain(name), depth + 1, inner)
                for name, inner in value.items()
            ]
        elif isinstance(value, list):
            todo += [(f"{key}[{n}]", depth + 1, inner) for n, inner in enumerate(value, start=1)]
        elif isinstance(value, int) and value.bit_length() > _WIDEST:
            raise suite_error(path, f"{clipped(key)}: the number exceeds 64 bits")


def _content_digest(tables: dict[str, Any]) -> str:
    """Return the SHA-256 of the tables as JSON (sorted keys, no blanks, ASCII).

    `preregistered` is left out. Books count by their paths, not by their texts.
    """
    suite = {key: value for key, value in tables.get("suite", {}).items() if key != "preregistered"}
    content = {key: value for key, value in (tables | {"suite": suite}).items() if value != {}}
    content_json = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(content_json.encode()).hexdigest()


def _explain(
    problems: Iterable[ErrorDetails], expanded: Expanded, written: Written, hint: str
) -> SuiteError:
    """Return the error that lists every problem on its own line: place, key, problem, value."""
    lines: dict[tuple[str, str], str] = {}
    seen = set()
    for problem in problems:
        location, row = expanded.as_written(_within(problem["loc"], expanded.tables))
        key, place = _key(location, written.tables), row or written.place(location)
        if (key, place, problem["msg"]) in seen:  # of another model of the same table
            continue
        seen.add((key, place, problem["msg"]))
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{_nearest(location)}"
        elif problem["type"] == "missing":
            message = "missing"
        else:
            message = problem_words(problem)
            other = _SHOULD_BE + message.removeprefix(_SHOULD_BE) + " or "
            before = lines.get((key, place), _SHOULD_BE).partition(_SHOULD_BE)[2]
            message = other + before if before else f"{message}; got {shown(problem['input'])}"
        lines[key, place] = message
    path = str(written.path)
    listed = [(place, f"{key}: {message}") for (key, place), message in lines.items()]
    has_books = written.tables.get("book") or written.tables.get("collection")
    if not has_books and "book" not in (key for key, _ in lines):
        listed.append((path, _NO_BOOK))
    if len(listed) == 1:
        return SuiteError(listed[0][1], location=listed[0][0], hint=hint)
    texts = [""]
    for place, text in listed:
        texts.append(text if place == path else f"{place.replace(f'{path}:', 'line ')}: {text}")
    return SuiteError("\n  ".join(texts), location=path, hint=hint)


def _within(location: Sequence[int | str], tables: dict[str, Any]) -> Sequence[int | str]:
    """Cut a problem's location where it names an alternative of a type, not a key."""
    at: Any = tables
    for depth, step in enumerate(location):
        if at is not None and not isinstance(at, dict | list):
            return location[:depth]
        at = _step(at, step)
    return location


def _key(location: Sequence[int | str], tables: dict[str, Any]) -> str:
    """Format a location as `book[1] 'the-road'.source`, counting from 1, with the id if any."""
    key = ""
    at: Any = tables
    for step in location:
        at = _step(at, step)
        if isinstance(step, int):
            table_id = at.get("id") if isinstance(at, dict) else None
            key += f"[{step + 1}]" + (f" {shown(table_id)}" if isinstance(table_id, str) else "")
        else:
            key += f".{plain(step)}" if key else plain(step)
    return key


def _step(at: Any, step: int | str) -> Any:
    try:
        return at[step]
    except (LookupError, TypeError):
        return None


def _nearest(location: Sequence[int | str]) -> str:
    keys = known_keys(location)
    if is_option(location):
        return ""
    near = near_keys(str(location[-1]), keys)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known keys: {', '.join(keys)}" if keys else ""


# --- across the tables ---------------------------------------------------------------------


def _validate_ids(suite_file: SuiteFile, path: Path) -> None:
    tables: tuple[BookTable | CollectionTable, ...] = (*suite_file.book, *suite_file.collection)
    books = {book.id: book for book in tables}
    models = {model.id for model in suite_file.model}
    if not tables:
        hint = problem_hint({"type": "missing", "input": None}, ("book",))
        raise suite_error(path, _NO_BOOK, hint)
    _validate_unique("book", (book.id for book in tables), path)
    _validate_unique("model", (model.id for model in suite_file.model), path)
    _validate_unique("pair", (f"{pair.model}/{pair.book}" for pair in suite_file.pair), path)
    for model in suite_file.model:
        where = f"model {model.id!r}"
        if model.baseline_model is not None:
            _validate_reference(f"{where}.baseline_model", model.baseline_model, models, path)
            if model.baseline_model == model.id:
                raise suite_error(
                    path, f"{where}.baseline_model: a model can't be its own baseline"
                )
        for book_id in model.finetune.books if model.finetune else ():
            _validate_reference(f"{where}.finetune.books", book_id, books, path)
        for book_id in model.tests or ():
            _validate_tested(f"{where}.tests", book_id, books, path)
        if model.finetune and model.endpoint:
            raise suite_error(
                path,
                f"{where} has both finetune and endpoint ({model.endpoint!r})",
                "remove one: an existing endpoint isn't fine-tuned",
            )
    for number, pair in enumerate(suite_file.pair, start=1):
        _validate_reference(f"pair[{number}].model", pair.model, models, path)
        _validate_tested(f"pair[{number}].book", pair.book, books, path)


def _validate_controls(suite_file: SuiteFile, path: Path) -> None:
    """Raise SuiteError for a negative control that is trained on or expected to leak."""
    controls = {book.id for book in suite_file.book if book.role == "negative-control"}
    problems = [
        f"model {model.id!r}.finetune.books: {book_id!r} has the role 'negative-control'"
        for model in suite_file.model
        for book_id in (model.finetune.books if model.finetune else ())
        if book_id in controls
    ]
    problems += [
        f"pair[{number}].expected: {pair.book!r} has the role 'negative-control', so it can't leak"
        for number, pair in enumerate(suite_file.pair, start=1)
        if pair.book in controls and pair.expected == "leak"
    ]
    if problems:
        raise suite_error(path, problems[0], "a negative control is a book in no training set")


def _validate_continuation_template(suite: SuiteTable, path: Path) -> None:
    if suite.continuation_template is not None:
        try:
            validate_continuation(suite.continuation_template)
        except BookError as error:
            message = f"suite.continuation_template: {error.message}"
            raise suite_error(path, message, error.hint) from None


def _validate_unique(kind: str, ids: Iterable[str], path: Path) -> None:
    duplicates = [duplicate for duplicate, count in Counter(ids).items() if count > 1]
    if duplicates:
        raise suite_error(path, f"{kind}: duplicate id {duplicates[0]!r}")


def _validate_tested(
    key: str, book_id: str, books: Mapping[str, BookTable | CollectionTable], path: Path
) -> None:
    _validate_reference(key, book_id, books, path)
    if books[book_id].role == "train":
        raise suite_error(
            path, f"{key}: {book_id!r} has the role 'train'", 'name a book with role = "test"'
        )


def _validate_reference(key: str, value: str, known_ids: Iterable[str], path: Path) -> None:
    if value not in known_ids:
        raise suite_error(
            path, f"{key}: no such id: {value!r}; known ids: {', '.join(sorted(known_ids))}"
        )
