"""Suite files: reading, and validating by schema and across tables; opens no book."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from pytest_memleak.books.instructions import (
    validate_continuation,
    validate_summary_prompt,
)
from pytest_memleak.errors import BookError, SuiteError, escaped
from pytest_memleak.providers.option_tables import problem_text, validate_no_secrets
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.suite.book_lists import expand_book
from pytest_memleak.suite.limit_validation import preset_problems
from pytest_memleak.suite.model_variants import expand_model
from pytest_memleak.suite.schema import SuiteFile
from pytest_memleak.suite.suite_error_hints import (
    NO_FILE,
    near_keys,
    problem_hint,
    syntax_hint,
    unknown_key_text,
)
from pytest_memleak.suite.written_suite import (
    WrittenSuite,
    clipped,
    safe_key,
    shown,
    suite_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from pytest_memleak.suite.schema import ModelTable, PairTable
    from pytest_memleak.suite.written_suite import Location, Problem

    LocationAndPlace = tuple[Sequence[int | str], str]

_DEEPEST = 50
_MOST_BYTES = 16 << 20
_SHOULD_BE = "Input should be "
_NO_BOOK = "book: missing; the suite needs a book or a collection"
_CONTROLS = "a negative control is a book in no training set"
_WIDEST = 63  # bits: TOML's integers are signed and have 64


class ReadSuite(NamedTuple):
    """A suite file's tables, and the SHA-256 of its bytes and of its content.

    expanded: the tables before validation, which know their lines
    """

    tables: SuiteFile
    digest: str
    content_digest: str
    expanded: Expanded

    def place(self, location: Location) -> str:
        """Return file and line of a key of the tables, for an error."""
        _, place = self.expanded.as_written(location)
        return place


def read_suite_file(path: Path) -> ReadSuite:
    """Read and validate a suite file. Raises SuiteError with file, key and value."""
    content = _read_capped(path)
    tables = _parse_toml(content, path)
    written = WrittenSuite(tables, content.decode("utf-8-sig"), path)
    _validate_bounds(written)
    validate_no_secrets(tables, place=str(path), name="suite file")
    expanded = expand(written)
    books = {"book": expanded.tables.get("book")}  # with what tables of books say
    validate_no_secrets(books, place=str(path), name="suite file")
    return ReadSuite(
        tables=_validated_by_schema(expanded),
        digest=hashlib.sha256(content).hexdigest(),
        content_digest=_content_digest(expanded.tables),
        expanded=expanded,
    )


class Expanded(NamedTuple):
    """A table for each book and each model, and where each of them is written.

    origins: by kind, the written table's index and the row of a CSV
    """

    tables: dict[str, Any]
    origins: Mapping[str, Sequence[tuple[int, str]]]
    written: WrittenSuite

    def as_written(
        self,
        location: Sequence[int | str],
    ) -> LocationAndPlace:
        """Return a location in the written tables; and its place: file and line."""
        origins = self.origins.get(str(location[0]), ())
        row = ""
        if location[1:] and origins:
            index, row = origins[int(location[1])]
            location = (location[0], index, *location[2:])
        return location, row or self.written.place(location)


def expand(written: WrittenSuite) -> Expanded:
    """Return a suite's tables with a table for each book and each model.

    Leaves what has another form than [[book]] and [[model]] for validation to report.
    Raises SuiteError with file, line, and key.
    """
    tables: dict[str, list[Any]] = {"book": [], "model": []}
    origins: dict[str, list[tuple[int, str]]] = {"book": [], "model": []}
    works: dict[str, Any] = {}  # tables of books and collections, by their places
    for index, table in enumerate(written.list_of("book")):
        for book, row in expand_book(table, index, written):
            tables["book"].append(book)
            origins["book"].append((index, row))
            works[row or written.place(("book", index))] = book
    for index, collection in enumerate(written.list_of("collection")):
        works[written.place(("collection", index))] = collection
    for index, table in enumerate(written.list_of("model")):
        for model in expand_model(table, index, works, written):
            tables["model"].append(model)
            origins["model"].append((index, ""))
    filled = {kind: rows for kind, rows in tables.items() if rows}
    return Expanded(written.tables | filled, origins, written)


def _validated_by_schema(expanded: Expanded) -> SuiteFile:
    try:
        suite_file = SuiteFile.model_validate(expanded.tables)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        first = _first_to_fix(problems)
        location = _location_of_key(first["loc"], expanded.tables)
        hint = problem_hint(dict(first), location)
        typed = _path_to_type(expanded.written.path)
        hint = hint.replace("memleak doctor FILE", f"memleak doctor {typed}")
        raise _error_listing_problems(problems, expanded, hint) from None
    for location, message, fix in _problems_across(suite_file):
        _, place = expanded.as_written(location)
        raise SuiteError(message, location=place, hint=fix)
    return suite_file


def _path_to_type(path: Path) -> str:
    """Return a path for a shell, from the current folder where it lies in that."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)


def _first_to_fix(problems: Sequence[ErrorDetails]) -> ErrorDetails:
    """Return the problem that gets the hint: the first, or a misspelling beside it.

    A key or table that is misspelt is missing, too: the misspelling says more.
    """
    first = problems[0]
    if first["type"] not in ("missing", "list_type"):
        return first
    table = first["loc"][:-1]
    for problem in problems:
        is_sibling = problem["loc"][:-1] == table
        if is_sibling and problem["type"] == "extra_forbidden":
            return problem
    return first


# --- reading


def _read_capped(path: Path) -> bytes:
    try:
        is_regular = path.is_file() or path.is_dir()
        if path.exists() and not is_regular:
            raise suite_error(path, "not a regular file", NO_FILE)
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise suite_error(
                path,
                f"has {size:,} bytes; the maximum is {_MOST_BYTES:,}",
                NO_FILE,
            )
        return path.read_bytes()
    except OSError as error:
        names = [file.name for file in path.parent.glob("*.toml")]
        near = near_keys(path.name, names)
        hint = f"did you mean {near[0]}?" if near else NO_FILE
        raise suite_error(
            path,
            f"can't be read: {error.strerror or error}",
            hint,
        ) from None


def _parse_toml(content: bytes, path: Path) -> dict[str, Any]:
    try:
        text = content.decode("utf-8-sig")  # some editors add a byte order mark
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise suite_error(
            path,
            f"not UTF-8: byte 0x{content[error.start]:02x} at {error.start}",
            "name a suite, as memleak init writes it; if this is one, save it as UTF-8",
        ) from None
    except tomllib.TOMLDecodeError as error:
        line = _line_of_syntax_error(text, str(error))
        seen = f": {clipped(line)}" if line else ""
        raise suite_error(
            path,
            masked(f"not TOML: {error}{seen}"),
            syntax_hint(str(error), line),
        ) from None
    except RecursionError:
        raise suite_error(path, "invalid TOML: nested too deeply") from None
    except ValueError:
        raise suite_error(path, "invalid TOML: a number has too many digits") from None


def _line_of_syntax_error(text: str, message: str) -> str:
    """Return the line that a TOML parser's message numbers; "" if it has none."""
    number = re.search(r"at line (\d+)", message)
    lines = text.splitlines()
    if number is None or int(number[1]) > len(lines):
        return ""
    return escaped(lines[int(number[1]) - 1].strip())


def _validate_bounds(written: WrittenSuite) -> None:
    """Raise SuiteError for nesting and numbers that TOML allows, but not later code."""
    todo: list[tuple[Location, Any]] = [((), written.tables)]
    while todo:
        location, value = todo.pop()
        problem = ""
        if len(location) > _DEEPEST:
            problem = "nested too deeply"
        elif isinstance(value, dict):
            todo += [((*location, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            todo += [((*location, index), inner) for index, inner in enumerate(value)]
        elif isinstance(value, int) and value.bit_length() > _WIDEST:
            problem = "the number exceeds 64 bits"
        elif isinstance(value, float) and not math.isfinite(value):
            problem = f"expected a finite number; got {value}"
        if problem:
            key = clipped(_key_text(location, written.tables))
            raise SuiteError(f"{key}: {problem}", location=written.place(location))


def _content_digest(tables: dict[str, Any]) -> str:
    """Return the SHA-256 of the tables as JSON (sorted keys, no blanks, ASCII).

    `preregistered` is left out. Books count by their paths, not by their texts.
    """
    suite = dict(tables.get("suite", {}))
    suite.pop("preregistered", None)
    content = tables | {"suite": suite}
    content = {key: value for key, value in content.items() if value != {}}
    content_json = json.dumps(
        content,
        sort_keys=True,
        separators=(",", ":"),
        default=str,
    )
    return hashlib.sha256(content_json.encode()).hexdigest()


def _error_listing_problems(
    problems: Iterable[ErrorDetails],
    expanded: Expanded,
    hint: str,
) -> SuiteError:
    """Return the error that lists every problem on its own line."""
    written = expanded.written
    messages = _problem_texts(problems, expanded, hint)
    path = str(written.path)
    listed = [(place, f"{key}: {text}") for (key, place), text in messages.items()]
    has_books = written.tables.get("book") or written.tables.get("collection")
    keys = [key for key, _ in messages]
    if not has_books and "book" not in keys:
        listed.append((path, _NO_BOOK))
    if len(listed) == 1:
        ((place, text),) = listed
        return SuiteError(text, location=place, hint=hint)
    lines = [""]
    for place, text in listed:
        if place == path:
            lines.append(text)
        else:
            lines.append(f"{place.replace(f'{path}:', 'line ')}: {text}")
    return SuiteError("\n  ".join(lines), location=path, hint=hint)


def _problem_texts(
    problems: Iterable[ErrorDetails],
    expanded: Expanded,
    hint: str,
) -> dict[tuple[str, str], str]:
    """Return what is wrong, by key and place; once for all models of a table."""
    messages: dict[tuple[str, str], str] = {}
    seen = set()
    for problem in problems:
        in_tables = _location_of_key(problem["loc"], expanded.tables)
        location, place = expanded.as_written(in_tables)
        key = _key_text(location, expanded.written.tables)
        fault = (key, place, problem["msg"])
        if fault in seen:
            continue
        seen.add(fault)
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{unknown_key_text(location, hint)}"
        elif problem["type"] == "missing":
            message = "missing"
        else:
            message = problem_text(problem)
            message_before = messages.get((key, place), "")
            _, _, before = message_before.partition(_SHOULD_BE)
            if before:  # another type that the value may have
                wanted = message.removeprefix(_SHOULD_BE)
                message = f"{_SHOULD_BE}{wanted} or {before}"
            else:
                message += f"; got {shown(problem['input'])}"
        messages[key, place] = message
    return messages


def _location_of_key(
    location: Sequence[int | str],
    tables: dict[str, Any],
) -> Sequence[int | str]:
    """Cut a problem's location where it names an alternative of a type, not a key."""
    at: Any = tables
    for depth, step in enumerate(location):
        if at is not None and not isinstance(at, dict | list):
            return location[:depth]
        at = _item_or_none(at, step)
    return location


def _key_text(location: Sequence[int | str], tables: dict[str, Any]) -> str:
    """Format a location as `book[1] 'the-road'.source`, counting from 1."""
    key = ""
    at: Any = tables
    for step in location:
        at = _item_or_none(at, step)
        if isinstance(step, int):
            key += f"[{step + 1}]"
            table_id = at.get("id") if isinstance(at, dict) else None
            if isinstance(table_id, str):
                key += f" {shown(table_id)}"
        else:
            key += f".{safe_key(step)}" if key else safe_key(step)
    return key


def _item_or_none(at: Any, step: int | str) -> Any:
    try:
        return at[step]
    except (LookupError, TypeError):
        return None


# --- across the tables


def _problems_across(suite_file: SuiteFile) -> Iterator[Problem]:
    """Yield what is wrong between tables, until the first is raised."""
    roles: dict[str, str] = {}
    for book in suite_file.book:
        roles[book.id] = book.role
    for collection in suite_file.collection:
        roles[collection.id] = collection.role
    if not roles:
        hint = problem_hint({"type": "missing", "input": None}, ("book",))
        yield ("book",), _NO_BOOK, hint
    yield from _duplicate_id_problems(suite_file)
    models = [model.id for model in suite_file.model]
    for index, model in enumerate(suite_file.model):
        yield from _model_problems(index, model, models, roles)
    for index, pair in enumerate(suite_file.pair):
        yield from _pair_problems(index, pair, models, roles)
    yield from _template_problems(suite_file.suite.continuation_template)
    if suite_file.suite.summarizer is not None:
        yield from _prompt_problems(suite_file.suite.summarizer.prompt)
    yield from preset_problems(suite_file)


def _model_problems(
    index: int,
    model: ModelTable,
    models: Sequence[str],
    roles: Mapping[str, str],
) -> Iterator[Problem]:
    """Yield wrong names in a model; roles: of books and collections, by id."""
    at: Location = ("model", index)
    what = f"model {model.id!r}"
    if model.baseline_model:
        key = (*at, "baseline_model")
        where = f"{what}.baseline_model"
        yield from _unknown_id_problems(key, where, [model.baseline_model], models)
        if model.baseline_model == model.id:
            yield key, f"{where}: a model can't be its own baseline", None
    tuned = model.finetune.books if model.finetune else ()
    key = (*at, "finetune", "books")
    where = f"{what}.finetune.books"
    yield from _unknown_id_problems(key, where, tuned, roles)
    for name in tuned:
        yield from _misuse_problems(key, where, name, roles[name], trained=True)
    tests = model.tests or ()
    key = (*at, "tests")
    where = f"{what}.tests"
    yield from _unknown_id_problems(key, where, tests, roles)
    for name in tests:
        yield from _misuse_problems(key, where, name, roles[name])
    if tuned and model.endpoint:
        message = f"{what} has both finetune and endpoint ({model.endpoint!r})"
        hint = "remove one: an existing endpoint isn't fine-tuned"
        yield (*at, "finetune"), message, hint


def _pair_problems(
    index: int,
    pair: PairTable,
    models: Sequence[str],
    roles: Mapping[str, str],
) -> Iterator[Problem]:
    at = ("pair", index)
    where = f"pair[{index + 1}]"
    model_key = (*at, "model")
    yield from _unknown_id_problems(model_key, f"{where}.model", [pair.model], models)
    book_key = (*at, "book")
    yield from _unknown_id_problems(book_key, f"{where}.book", [pair.book], roles)
    role = roles[pair.book]
    yield from _misuse_problems(book_key, f"{where}.book", pair.book, role)
    if pair.expected == "leak" and role == "negative-control":
        what = f"{pair.book!r} has the role 'negative-control', so it can't leak"
        yield (*at, "expected"), f"{where}.expected: {what}", _CONTROLS


def _template_problems(template: str | None) -> Iterator[Problem]:
    try:
        if template is not None:
            validate_continuation(template)
    except BookError as error:
        message = f"suite.continuation_template: {error.message}"
        yield ("suite", "continuation_template"), message, error.hint


def _prompt_problems(prompt: str | None) -> Iterator[Problem]:
    at = ("suite", "summarizer", "prompt")
    try:
        if prompt is not None:
            validate_summary_prompt(prompt)
    except BookError as error:
        yield at, f"suite.summarizer.prompt: {error.message}", error.hint


def _duplicate_id_problems(suite_file: SuiteFile) -> Iterator[Problem]:
    """Yield ids that occur twice; books and collections share theirs."""
    names: list[tuple[str, Location, str]] = []
    for index, book in enumerate(suite_file.book):
        names.append(("book", ("book", index), book.id))
    for index, collection in enumerate(suite_file.collection):
        names.append(("book", ("collection", index), collection.id))
    for index, model in enumerate(suite_file.model):
        names.append(("model", ("model", index), model.id))
    for index, pair in enumerate(suite_file.pair):
        names.append(("pair", ("pair", index), f"{pair.model}/{pair.book}"))
    seen = set()
    for what, location, name in names:
        named = (what, name)
        if named in seen:
            hint = f"give each {what} its own id, or remove one of the two"
            yield (*location, "id"), f"{what}: duplicate id {name!r}", hint
        seen.add(named)


def _unknown_id_problems(
    at: Location,
    where: str,
    names: Iterable[str],
    ids: Iterable[str],
) -> Iterator[Problem]:
    for name in names:
        if name not in ids:
            listed = ", ".join(sorted(ids))
            near = near_keys(name, list(ids))
            hint = f"write {near[0]!r}" if near else "write one of the known ids"
            yield at, f"{where}: no such id: {name!r}; known ids: {listed}", hint


def _misuse_problems(
    at: Location,
    where: str,
    name: str,
    role: str,
    *,
    trained: bool = False,
) -> Iterator[Problem]:
    """Yield a control in a training set, or a training book in tests."""
    message = f"{where}: {name!r} has the role {role!r}"
    if trained and role == "negative-control":
        yield at, message, _CONTROLS
    elif not trained and role == "train":
        yield at, message, 'name a book with role = "test"'
