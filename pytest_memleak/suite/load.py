"""From a suite file to a Suite: read, validated, and checked across its tables.

    load_suite(path) -> Suite

No book is opened here; that a book's file is there is all that is looked at.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from pytest_memleak.books.continuation import check_continuation
from pytest_memleak.errors import BookError, SuiteError
from pytest_memleak.providers.option_tables import refuse_secrets
from pytest_memleak.records import (
    AnswerLimits,
    BookSource,
    Limits,
    Model,
    Pair,
    Probe,
    Sampling,
    Scoring,
    Suite,
    Summarizer,
    WindowSettings,
)
from pytest_memleak.scoring.measure_table import MEASURES, nearest, table_with
from pytest_memleak.suite.book_sources import book_source, catalogue, collection_source
from pytest_memleak.suite.limits_that_hold import refuse_loosened_preset, refuse_toothless_limits
from pytest_memleak.suite.presets import PRESETS, Preset
from pytest_memleak.suite.quoted import clipped, plain, shown
from pytest_memleak.suite.schema import AnswerKeys, SuiteFile
from pytest_memleak.suite.what_to_type import NO_FILE, of_problem, of_syntax, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.records import Measure, ProbeKind
    from pytest_memleak.suite.schema import (
        BookTable,
        CollectionTable,
        LimitsTable,
        ModelTable,
        PairTable,
        PriceTable,
        SuiteTable,
        SummarizerTable,
    )

__all__ = ["check_suite_file", "load_suite"]

_DEEPEST = 50
_SHOULD_BE = "Input should be "
_NO_BOOK = "book: missing, and so is collection"
_WIDEST = 63  # bits: TOML's integers are signed and have 64


def load_suite(path: Path, brought: Mapping[str, Measure] = MappingProxyType({})) -> Suite:
    """The suite in the file at `path`; `brought`: the measures that extensions bring, by name.

    Raises SuiteError naming file, key and value: not TOML, an unknown key, a bad value, an id
    used twice or nowhere defined, a missing book, a pair without limits.
    """
    table_with(brought)  # refuses a name that is taken
    content = _read(path)
    tables = _parse(content, path)
    written = _checked(tables, path)
    books = (
        *(book_source(table, written.suite, path) for table in written.book),
        *(collection_source(table, written.suite, path) for table in written.collection),
    )
    models = tuple(_model(table) for table in written.model)
    return Suite(
        path=path,
        name=path.name,
        digest=hashlib.sha256(content).hexdigest(),
        books=books,
        models=models,
        pairs=_pairs(written, books, models, path, brought),
        summarizer=_summarizer(written.suite.summarizer),
        catalogue=catalogue(written, path),
        content_digest=_content_digest(tables),
        preregistered=written.suite.preregistered,
    )


def check_suite_file(path: Path) -> SuiteFile:
    """What is written in a suite file, checked by itself: no book and no extension is looked for.

    Raises SuiteError as `load_suite` does.
    """
    return _checked(_parse(_read(path), path), path)


def _checked(tables: dict[str, Any], path: Path) -> SuiteFile:
    _refuse_boundless(tables, path)
    refuse_secrets(tables, place=str(path), name="suite file")
    try:
        written = SuiteFile.model_validate(tables)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        hint = of_problem(dict(first), _within(first["loc"], tables))
        raise SuiteError(_explain(error, tables), place=str(path), hint=hint) from None
    _check_ids(written, path)
    _check_continuation(written.suite, path)
    _check_controls(written, path)
    refuse_loosened_preset(written, path)
    return written


# --- reading -------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SuiteError(
            f"cannot be read: {error.strerror or error}", place=str(path), hint=NO_FILE
        ) from None


def _parse(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors write a mark first
    except UnicodeDecodeError as error:
        raise SuiteError(
            f"not UTF-8: byte 0x{content[error.start]:02x} at {error.start}", place=str(path)
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(
            f"not TOML: {error}", place=str(path), hint=of_syntax(str(error))
        ) from None
    except RecursionError:
        raise SuiteError("not usable TOML: it is nested too deeply", place=str(path)) from None
    except ValueError:
        raise SuiteError("not usable TOML: a number has too many digits", place=str(path)) from None


def _refuse_boundless(tables: dict[str, Any], path: Path) -> None:
    """Raise SuiteError for what the parser lets through and nothing after it can hold."""
    todo: list[tuple[str, int, Any]] = [("", 0, tables)]
    while todo:
        key, depth, value = todo.pop()
        if depth > _DEEPEST:
            raise SuiteError(f"{clipped(key)}: nested too deeply", place=str(path))
        if isinstance(value, dict):
            todo += [
                (f"{key}.{plain(name)}" if key else plain(name), depth + 1, inner)
                for name, inner in value.items()
            ]
        elif isinstance(value, list):
            todo += [(f"{key}[{n}]", depth + 1, inner) for n, inner in enumerate(value, start=1)]
        elif isinstance(value, int) and value.bit_length() > _WIDEST:
            raise SuiteError(f"{clipped(key)}: the number is over 64 bits", place=str(path))


def _content_digest(tables: dict[str, Any]) -> str:
    """The SHA-256 of the tables as JSON (sorted keys, no blanks, ASCII), but for `preregistered`.

    Every limit, book, model and setting is in it as it is written; books by their paths.
    """
    suite = {key: one for key, one in tables.get("suite", {}).items() if key != "preregistered"}
    said = {key: one for key, one in (tables | {"suite": suite}).items() if one != {}}
    written = json.dumps(said, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def _explain(error: ValidationError, tables: dict[str, Any]) -> str:
    """Every problem on a line of its own: key, what is wrong, the value seen."""
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_context=False):
        location = _within(problem["loc"], tables)
        key = _key(location, tables)
        if problem["type"] == "extra_forbidden":
            lines[key] = f"{key}: unknown key{_nearest(location)}"
        elif problem["type"] == "missing":
            lines[key] = f"{key}: missing"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            other = _SHOULD_BE + said.removeprefix(_SHOULD_BE) + " or "
            before = lines.get(key, f"{key}: {_SHOULD_BE}").partition(f"{key}: {_SHOULD_BE}")[2]
            said = other + before if before else f"{said}; got {shown(problem['input'])}"
            lines[key] = f"{key}: {said}"
    if not tables.get("book") and not tables.get("collection"):
        lines.setdefault("book", _NO_BOOK)
    return "\n  ".join([*lines.values()] if len(lines) == 1 else ["", *lines.values()])


def _within(location: Sequence[int | str], tables: dict[str, Any]) -> Sequence[int | str]:
    """A problem's place without the name of the alternative that a plain value was held against."""
    at: Any = tables
    for depth, step in enumerate(location):
        if at is not None and not isinstance(at, dict | list):
            return location[:depth]
        at = _step(at, step)
    return location


def _key(location: Sequence[int | str], tables: dict[str, Any]) -> str:
    """`book[1] 'the-road'.source`: where it stands, counting from 1, with the id if it has one."""
    key = ""
    at: Any = tables
    for step in location:
        at = _step(at, step)
        if isinstance(step, int):
            its_id = at.get("id") if isinstance(at, dict) else None
            key += f"[{step + 1}]" + (f" {shown(its_id)}" if isinstance(its_id, str) else "")
        else:
            key += f".{plain(step)}" if key else plain(step)
    return key


def _step(at: Any, step: int | str) -> Any:
    try:
        return at[step]
    except (LookupError, TypeError):
        return None


def _nearest(location: Sequence[int | str]) -> str:
    kind: type[BaseModel] | None = SuiteFile
    for step in location[:-1]:
        if isinstance(step, str) and kind is not None:
            kind = table_of(kind, step)
    known = sorted(kind.model_fields) if kind else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known keys: {', '.join(known)}" if known else ""


# --- across the tables ---------------------------------------------------------------------


def _check_ids(written: SuiteFile, path: Path) -> None:
    tables: tuple[BookTable | CollectionTable, ...] = (*written.book, *written.collection)
    books = {book.id: book for book in tables}
    models = {model.id for model in written.model}
    if not tables:
        hint = of_problem({"type": "missing", "input": None}, ("book",))
        raise SuiteError(_NO_BOOK, place=str(path), hint=hint)
    _refuse_twice("book", (book.id for book in tables), path)
    _refuse_twice("model", (model.id for model in written.model), path)
    _refuse_twice("pair", (f"{pair.model}/{pair.book}" for pair in written.pair), path)
    for model in written.model:
        where = f"model {model.id!r}"
        if model.baseline is not None:
            _refuse_unknown(f"{where}.baseline", model.baseline, models, path)
            if model.baseline == model.id:
                raise SuiteError(f"{where}.baseline: is the model itself", place=str(path))
        for book_id in model.finetune.books if model.finetune else ():
            _refuse_unknown(f"{where}.finetune.books", book_id, books, path)
        if model.finetune and model.endpoint:
            raise SuiteError(
                f"{where} has both finetune and endpoint ({model.endpoint!r})",
                place=str(path),
                hint="an endpoint that exists is not fine-tuned: take one of them out",
            )
    for number, pair in enumerate(written.pair, start=1):
        _refuse_unknown(f"pair[{number}].model", pair.model, models, path)
        _refuse_unknown(f"pair[{number}].book", pair.book, books, path)
        if books[pair.book].role == "train":
            raise SuiteError(
                f"pair[{number}].book: {pair.book!r} has the role 'train'",
                place=str(path),
                hint='a pair needs a book with role = "test"',
            )


def _check_controls(written: SuiteFile, path: Path) -> None:
    """Raise SuiteError for a control that is trained on, or expected to leak."""
    controls = {book.id for book in written.book if book.role == "control"}
    hint = "a control is a book that is known to be in no training set"
    for model in written.model:
        where = f"model {model.id!r}"
        for book_id in model.finetune.books if model.finetune else ():
            if book_id in controls:
                raise SuiteError(
                    f"{where}.finetune.books: {book_id!r} has the role 'control'",
                    place=str(path),
                    hint=hint,
                )
    for number, pair in enumerate(written.pair, start=1):
        if pair.book in controls and pair.expected == "leak":
            raise SuiteError(
                f"pair[{number}].expected: {pair.book!r} has the role 'control', so it cannot leak",
                place=str(path),
                hint=hint,
            )


def _check_continuation(suite: SuiteTable, path: Path) -> None:
    if suite.continuation is not None:
        try:
            check_continuation(suite.continuation)
        except BookError as error:
            raise SuiteError(
                f"suite.continuation: {error.message}", place=str(path), hint=error.hint
            ) from None


def _refuse_twice(kind: str, ids: Iterable[str], path: Path) -> None:
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise SuiteError(f"{kind}: the id {twice[0]!r} is used twice", place=str(path))


def _refuse_unknown(key: str, value: str, known: Iterable[str], path: Path) -> None:
    if value not in known:
        raise SuiteError(
            f"{key}: there is no {value!r}; known ids: {', '.join(sorted(known))}", place=str(path)
        )


# --- records -------------------------------------------------------------------------------


def _model(table: ModelTable) -> Model:
    finetune = table.finetune
    return Model(
        id=table.id,
        provider=table.provider,
        base=table.base,
        endpoint=table.endpoint,
        baseline=table.baseline,
        finetune_books=tuple(finetune.books) if finetune else (),
        finetune=dict(finetune.model_extra or {}) if finetune else {},
        options=table.options,
        price=_price(table.price),
        price_per_hour=table.price.hour if table.price else None,
        release=table.release or "",
        serves=tuple(table.serves),
    )


def _answers(*tables: AnswerKeys) -> AnswerLimits:
    """How complete answers have to be: the last table that says something counts."""
    given = {
        name: value
        for table in tables
        for name in AnswerKeys.model_fields
        if (value := getattr(table, name)) is not None
    }
    return AnswerLimits(**given)


def _summarizer(table: SummarizerTable | None) -> Summarizer | None:
    if table is None:
        return None
    model = Model(
        id="[suite.summarizer]",
        provider=table.provider,
        base=table.base,
        endpoint=table.endpoint,
        options=table.options,
        price=_price(table.price),
    )
    return Summarizer(model, table.temperature)


def _price(table: PriceTable | None) -> tuple[float, float, float] | None:
    return (table.input, table.output, table.training) if table else None


def _pairs(
    written: SuiteFile,
    books: Sequence[BookSource],
    models: Sequence[Model],
    path: Path,
    brought: Mapping[str, Measure],
) -> tuple[Pair, ...]:
    listed = {(pair.model, pair.book): pair for pair in written.pair}
    tables = {table.id: table for table in written.model}
    pairs = tuple(
        _pair(
            model, book, tables[model.id], listed.get((model.id, book.id)), written, path, brought
        )
        for model in models
        for book in books
        if _meets(model, book, listed, written.suite.pairs == "all")
    )
    if all(pair.control for pair in pairs):
        raise SuiteError(
            "there is no pair to test",
            place=str(path),
            hint='it needs a [[book]] or a [[collection]] with role = "test", and with '
            'pairs = "listed" a [[pair]]',
        )
    return pairs


def _meets(
    model: Model, book: BookSource, listed: Mapping[tuple[str, str], PairTable], every: bool
) -> bool:
    """Whether a model meets a book: a control whenever it meets any, a test book as listed."""
    if book.role == "control":
        return every or any(model.id == one for one, _ in listed)
    return book.role == "test" and (every or (model.id, book.id) in listed)


def _pair(
    model: Model,
    book: BookSource,
    table: ModelTable,
    override: PairTable | None,
    written: SuiteFile,
    path: Path,
    brought: Mapping[str, Measure],
) -> Pair:
    suite = written.suite
    of_works = [one.limits for one in written.collection if one.id == book.id]
    tables = [
        ("limits", written.limits),
        *((f"collection {book.id!r}.limits", one) for one in of_works),
        (f"model {model.id!r}.limits", table.limits),
    ]
    if override:
        tables.append((f"pair {model.id}/{book.id}.limits", override.limits))
    probe = (override and override.probe) or table.probe or suite.probe
    preset = PRESETS[written.limits.preset] if written.limits.preset else Preset({}, None)
    # A probability is of no generation: of nothing that a preset limits.
    limits = dict(preset.limits) if probe != "probability" else {}
    origins = dict.fromkeys(limits, "limits.preset")
    for key, tighter in tables:
        _refuse_unknown_measures(tighter, key, brought, path)
        if key.startswith("collection "):
            limits |= _limits(tighter)  # those of a work, in place of a whole book's
        else:
            _tighten(limits, tighter, key, path)
        origins |= {measure: f"{key}.{measure}" for measure in _limits(tighter)}
        origins |= {measure: f"{key}.measures.{measure}" for measure in tighter.measures}
    _hold_works(limits, origins, book, probe, any_works=bool(written.collection), place=str(path))
    measures = table_with(brought)
    refuse_toothless_limits(limits, measures, origins, suite, f"{model.id}/{book.id}", path)
    expected = override.expected if override and override.expected else table.expected
    if book.role == "control":
        expected = "pass"  # that the model leaks is said of the books it may have read
    return Pair(
        suite=path,
        model=model,
        book=book,
        sampling=Sampling(
            samples=override.samples if override and override.samples else suite.samples,
            temperature=None if suite.temperature == "default" else suite.temperature,
            seed=suite.seed,
            max_tokens=suite.max_tokens,
            max_age=suite.max_age,
            stop=written.sampling.stop,
        ),
        scoring=Scoring(
            k=suite.k, trim=suite.trim, span_threshold=suite.span_threshold, words=suite.words
        ),
        limits=Limits(limits, brought=[row for name, row in brought.items() if name in limits]),
        confidence=suite.confidence,
        detect=suite.detect or preset.detect,
        answers=_answers(suite, table),
        expected=expected,
        probe=Probe(
            kind=probe,
            prefix_words=suite.prefix_words,
            continuation=suite.continuation,
            windows=WindowSettings(**suite.probability.model_dump()),
        ),
        limit_origins=origins,
    )


def _hold_works(
    limits: dict[str, float],
    origins: dict[str, str],
    book: BookSource,
    probe: ProbeKind,
    *,
    any_works: bool,
    place: str,
) -> None:
    """Of a collection no work may leak, unless a limit says how many; a book has no works."""
    if book.collection is None:
        limits.pop("leaking_works", None)
        key = origins.pop("leaking_works", None)
        if key and (key.startswith("pair ") or not any_works):
            raise SuiteError(
                f"{key}: the book {book.id!r} has no works",
                place=place,
                hint="it limits the share of a [[collection]]'s works",
            )
        return
    if probe == "probability":
        raise SuiteError(
            f"{book.id!r}: the windows of probe = 'probability' would go from one work to the next",
            place=place,
            hint='ask for a collection with probe = "instruction" or "continuation"',
        )
    limits.setdefault("leaking_works", 0.0)


def _limits(table: LimitsTable) -> dict[str, float]:
    """What a table limits, by the measures' names."""
    own: dict[str, float] = table.model_dump(exclude_none=True, exclude={"measures", "preset"})
    return own | table.measures


def _tighten(holding: dict[str, float], table: LimitsTable, key: str, path: Path) -> None:
    """Put the table's limits in the place of those that hold; SuiteError for a looser one."""
    tighter = _limits(table)
    for measure, value in tighter.items():
        general = holding.get(measure)
        if general is not None and value > general:
            raise SuiteError(
                f"{key}.{measure}: {value} is looser than {general}, which holds above it",
                place=str(path),
                hint="a model or a pair may only tighten limits",
            )
    holding |= tighter


def _refuse_unknown_measures(
    table: LimitsTable, key: str, brought: Mapping[str, Measure], path: Path
) -> None:
    for name, limit in table.measures.items():
        if name not in brought:
            raise SuiteError(
                f"{key}.measures.{name}: no extension brings a measure of that name; "
                f"{nearest(name, sorted(brought))}",
                place=str(path),
                hint=f"a built-in one stands without measures: {key}.{name}"
                if name in MEASURES
                else None,
            )
        if refusal := brought[name].refusal(limit):
            raise SuiteError(f"{key}.measures.{name}: {refusal}; got {limit}", place=str(path))
