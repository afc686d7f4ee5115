"""Suites: the records of a suite file and the limits of each pair.

Opens no book; only checks that its file exists.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.errors import SuiteError
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
)
from pytest_memleak.scoring.measure_table import (
    GREEDY,
    LEAKING_WORKS,
    MEASURES,
    OF_PASSAGES,
    PRESETS,
    applies_to,
    table_with,
    unknown_name_hint,
    with_needs,
)
from pytest_memleak.suite.book_sources import (
    book_source,
    catalog_files,
    collection_source,
    common_sources,
    record_of,
)
from pytest_memleak.suite.limit_validation import (
    LimitOrigin,
    tables_of_limits,
    validate_limits,
)
from pytest_memleak.suite.suite_file import read_suite_file
from pytest_memleak.suite.written_suite import suite_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.records import Measure, ProbeKind
    from pytest_memleak.suite.limit_validation import TableOfLimits
    from pytest_memleak.suite.schema import (
        LimitsTable,
        ModelTable,
        PairTable,
        PriceTable,
        SuiteFile,
        SummarizerTable,
    )
    from pytest_memleak.suite.suite_file import ReadSuite

    InputOutputAndTraining = tuple[float, float, float]
    LimitsAndOrigins = tuple[dict[str, float], dict[str, LimitOrigin]]


def load_suite(
    path: Path,
    extension_measures: Mapping[str, Measure] = MappingProxyType({}),
) -> Suite:
    """Load the suite file at `path`; `extension_measures` are by name.

    Raises SuiteError with file, key and value: not TOML, an unknown key, a bad value, a
    duplicate or undefined id, a missing book, a pair without limits.
    """
    table_with(extension_measures)  # Raises for a name that a built-in measure has.
    read = read_suite_file(path)
    suite_file = read.tables
    books = tuple(_book_sources(suite_file, path))
    models = tuple(_model(table) for table in suite_file.model)
    return Suite(
        path=path,
        name=path.name,
        digest=read.digest,
        books=books,
        models=models,
        pairs=_pairs(_Source(path, read, extension_measures), books, models),
        summarizer=_summarizer(suite_file.suite.summarizer),
        catalog=catalog_files(suite_file, path),
        content_digest=read.content_digest,
        preregistered=suite_file.suite.preregistered,
        deadline=suite_file.sampling.deadline,
        probability=suite_file.suite.probability,
    )


def _book_sources(suite_file: SuiteFile, path: Path) -> Iterator[BookSource]:
    for book in suite_file.book:
        yield book_source(book, suite_file.suite, path)
    for collection in suite_file.collection:
        yield collection_source(collection, suite_file.suite, path)
    common = {source.id: source for source in common_sources(suite_file, path)}
    yield from common.values()


def _model(table: ModelTable) -> Model:
    fields: dict[str, object] = {}
    if table.finetune:
        fields["finetune_books"] = tuple(table.finetune.books)
        fields["finetune_share"] = table.finetune.share
        fields["finetune"] = dict(table.finetune.model_extra or {})
    else:
        fields["finetune"] = {}
    if table.price:
        fields["price_per_hour"] = table.price.hour
    return record_of(
        Model,
        table,
        price=_price_from_table(table.price),
        served_names=tuple(table.served_names),
        **fields,
    )


def _summarizer(table: SummarizerTable | None) -> Summarizer | None:
    if table is None:
        return None
    model = record_of(
        Model, table, id="[suite.summarizer]", price=_price_from_table(table.price)
    )
    temperature = None if table.temperature == "default" else table.temperature
    return Summarizer(model, temperature, table.prompt)


def _price_from_table(table: PriceTable | None) -> InputOutputAndTraining | None:
    if table is None:
        return None
    return table.input, table.output, table.training


class _Source(NamedTuple):
    """The suite file that pairs are read from, and the extensions' measures by name."""

    path: Path
    read: ReadSuite
    extension_measures: Mapping[str, Measure]


def _pairs(
    source: _Source,
    books: Sequence[BookSource],
    models: Sequence[Model],
) -> tuple[Pair, ...]:
    tables = source.read.tables
    overrides = {(pair.model, pair.book): pair for pair in tables.pair}
    pairs = []
    for model, table in zip(models, tables.model, strict=True):
        for book in books:
            if _are_paired(table, book):
                override = overrides.pop((model.id, book.id), None)
                pairs.append(_pair(source, model, book, table, override))
    for model_id, book_id in overrides:
        raise suite_error(
            source.path,
            f"pair {model_id}/{book_id}: the book isn't in the model's tests",
            f"add {book_id!r} to the tests of {model_id!r}, or remove the [[pair]]",
        )
    if not pairs:
        raise suite_error(
            source.path,
            "the suite has no pair to test",
            'add a [[book]] or [[collection]] with role = "test"; add its id to tests '
            "= [...] "
            "of models that have one",
        )
    return tuple(pairs)


def _are_paired(model: ModelTable, book: BookSource) -> bool:
    """Tell whether model and book are a pair; any tested model is with each control."""
    if book.role == "negative-control":
        return model.tests != []
    return book.role == "test" and (model.tests is None or book.id in model.tests)


def _pair(
    source: _Source,
    model: Model,
    book: BookSource,
    table: ModelTable,
    override: PairTable | None,
) -> Pair:
    path, read, extension_measures = source
    suite_file = read.tables
    suite = suite_file.suite
    probe = (override and override.probe) or table.probe or suite.probe
    limits, origins = _limits_of_pair(
        source,
        book,
        _limit_tables(suite_file, book, model),
        probe,
    )
    measures = table_with(extension_measures)
    pair_id = f"{model.id}/{book.id}"
    validate_limits(limits, measures, origins, suite, pair_id, source.read.place)
    expected = table.expected
    if override and override.expected:
        expected = override.expected
    if book.role == "negative-control":
        expected = "pass"  # a model's "leak" means the books that it may have read
    temperature = None if suite.temperature == "default" else suite.temperature
    seed = suite.seed if table.seed is None else table.seed
    brought = [row for name, row in extension_measures.items() if name in limits]
    sampling = record_of(
        Sampling,
        suite,
        suite_file.sampling,
        override,
        temperature=temperature,
        seed=None if seed == "none" else seed,
        max_tokens=table.max_tokens or suite.max_tokens,
    )
    if probe == "prompts" and book.prompts is None:
        raise suite_error(
            path,
            f'book {book.id!r}: probe = "prompts" needs a file of prompts',
            'add prompts = "FILE.jsonl" to its [[book]], or set another probe',
        )
    if probe == "extraction":
        _validate_extraction(book, path)
        # Each prompt is asked once, for the likeliest answer.
        sampling = replace(sampling, samples=1, temperature=0.0)
    return Pair(
        suite=path,
        model=model,
        book=book,
        sampling=sampling,
        scoring=record_of(Scoring, suite),
        limits=Limits(limits, brought=brought),
        confidence=suite.confidence,
        detection_limit=None if probe == "extraction" else suite.detection_limit,
        answers=record_of(AnswerLimits, suite, table),
        expected=expected,
        probe=record_of(Probe, suite, kind=probe),
        limit_origins={name: origin.key for name, origin in origins.items()},
    )


def _validate_extraction(book: BookSource, path: Path) -> None:
    if book.collection is not None:
        raise suite_error(
            path,
            f"collection {book.id!r}: an extraction asks for one book from its "
            "beginning",
            "list its works as [[book]], or set another probe for it in [[pair]]",
        )


def _limit_tables(
    suite_file: SuiteFile,
    book: BookSource,
    model: Model,
) -> list[TableOfLimits]:
    """Return the tables of limits that apply to a pair, the general ones first."""
    keys = {
        "limits",
        f"collection {book.id!r}.limits",
        f"model {model.id!r}.limits",
        f"pair {model.id}/{book.id}.limits",
    }
    return [table for table in tables_of_limits(suite_file) if table.key in keys]


def _limits_of_pair(
    source: _Source,
    book: BookSource,
    tables: Sequence[TableOfLimits],
    probe: ProbeKind,
) -> LimitsAndOrigins:
    """Return a pair's limits, and where the suite sets each."""
    preset = source.read.tables.limits.preset
    limits = _preset_limits(preset, probe)
    of_preset = LimitOrigin("limits.preset", ("limits", "preset"))
    origins = dict.fromkeys(limits, of_preset)
    if limits and book.collection is not None:
        # A preset keeps this default from being loosened.
        limits[LEAKING_WORKS.name] = 0.0
    for table in tables:
        _validate_measures(table, source)
        own = _limits_by_measure(table.limits)
        if table.key.startswith("collection ") and not preset:
            # A work's limits replace those of a whole book.
            for name in own.keys() - OF_PASSAGES:
                limits.pop(name, None)
        _replace_by_tighter(limits, table, source)
        origins |= {name: table.origin(name) for name in own}
    rows = table_with(source.extension_measures)
    for name in [name for name in limits if not _applies_to_probe(rows[name], probe)]:
        del limits[name], origins[name]
    _set_limit_of_leaking_works(limits, origins, book, source)
    return limits, origins


def _preset_limits(name: str | None, probe: ProbeKind) -> dict[str, float]:
    """Return the preset's limits on measures whose generations the probe requests."""
    if name is None:
        return {}
    limits = dict(PRESETS[name])
    if probe != "continuation":
        for measure in with_needs(PRESETS[name], GREEDY):
            del limits[measure]
    return limits


def _applies_to_probe(row: Measure, probe: ProbeKind) -> bool:
    """Tell whether a limit applies to the probe; if it may, an issue says why not."""
    return row.name == LEAKING_WORKS.name or applies_to(row, probe)


def _set_limit_of_leaking_works(
    limits: dict[str, float],
    origins: dict[str, LimitOrigin],
    book: BookSource,
    source: _Source,
) -> None:
    """Limit a collection's leaking works to none by default; a book has no works."""
    if book.collection is None:
        limits.pop(LEAKING_WORKS.name, None)
        origin = origins.pop(LEAKING_WORKS.name, None)
        has_works = bool(source.read.tables.collection)
        if origin and (origin.key.startswith("pair ") or not has_works):
            raise SuiteError(
                f"{origin.key}: the book {book.id!r} has no works",
                location=source.read.place(origin.location),
                hint="use leaking_works for a [[collection]] only",
            )
        return
    limits.setdefault(LEAKING_WORKS.name, 0.0)


def _limits_by_measure(table: LimitsTable) -> dict[str, float]:
    """Return a table's limits by the measures' names."""
    own: dict[str, float] = table.model_dump(
        exclude_none=True,
        exclude={"measures", "preset"},
    )
    return own | table.measures


def _replace_by_tighter(
    limits: dict[str, float],
    table: TableOfLimits,
    source: _Source,
) -> None:
    """Replace limits with the table's tighter ones; SuiteError for looser ones."""
    tighter = _limits_by_measure(table.limits)
    faults = []
    highest = []
    places = []
    for name in tighter:
        if tighter[name] > limits.get(name, math.inf):
            faults.append(
                f"{table.origin(name).key}: {tighter[name]} is looser than "
                f"{limits[name]}",
            )
            places.append(source.read.place(table.origin(name).location))
            highest.append(f"{name} = {limits[name]:g}")
    if faults:
        hint = f"write {' and '.join(highest)} or less, or leave it out"
        if table.key == "limits":
            hint += ", or replace the preset with a limit per measure"
        message = f"{', '.join(faults)}, the more general limit"
        raise SuiteError(message, location=places[0], hint=hint)
    limits |= tighter


def _validate_measures(table: TableOfLimits, source: _Source) -> None:
    measures = source.extension_measures
    for name, limit in table.limits.measures.items():
        key, location = table.origin(name)
        place = source.read.place(location)
        if name not in measures:
            hint = "install the extension that has it, or remove it"
            if name in MEASURES:
                hint = f"{name} is a built-in measure: write {table.key}.{name}"
            raise SuiteError(
                f"{key}: no installed extension has this measure; "
                f"{unknown_name_hint(name, sorted(measures))}",
                location=place,
                hint=hint,
            )
        if fault := measures[name].limit_fault(limit):
            raise SuiteError(f"{key}: {fault}; got {limit}", location=place)
