"""From a suite file to a Suite: its records, and the limits that hold for each pair.

    load_suite(path) -> Suite

No book is opened here; that a book's file is there is all that is looked at.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

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
    WindowSettings,
)
from pytest_memleak.scoring.measure_table import (
    MEASURES,
    OF_PASSAGES,
    asks_for,
    nearest,
    table_with,
)
from pytest_memleak.suite.book_sources import (
    book_source,
    catalog,
    collection_source,
    common_sources,
)
from pytest_memleak.suite.limit_validation import PRESETS, refuse_toothless_limits
from pytest_memleak.suite.schema import AnswerKeys
from pytest_memleak.suite.suite_file import read_suite_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.records import Measure, ProbeKind
    from pytest_memleak.suite.schema import (
        LimitsTable,
        ModelTable,
        PairTable,
        PriceTable,
        SuiteFile,
        SummarizerTable,
    )


def load_suite(path: Path, brought: Mapping[str, Measure] = MappingProxyType({})) -> Suite:
    """The suite in the file at `path`; `brought`: the measures that extensions bring, by name.

    Raises SuiteError naming file, key and value: not TOML, an unknown key, a bad value, an id
    used twice or nowhere defined, a missing book, a pair without limits.
    """
    table_with(brought)  # refuses a name that is taken
    read = read_suite_file(path)
    written = read.tables
    books = (
        *(book_source(table, written.suite, path) for table in written.book),
        *(collection_source(table, written.suite, path) for table in written.collection),
        *{source.id: source for source in common_sources(written, path)}.values(),
    )
    models = tuple(_model(table) for table in written.model)
    return Suite(
        path=path,
        name=path.name,
        digest=read.digest,
        books=books,
        models=models,
        pairs=_pairs(written, books, models, path, brought),
        summarizer=_summarizer(written.suite.summarizer),
        catalog=catalog(written, path),
        content_digest=read.content_digest,
        preregistered=written.suite.preregistered,
    )


def _model(table: ModelTable) -> Model:
    finetune = table.finetune
    return Model(
        id=table.id,
        provider=table.provider,
        base_model=table.base_model,
        endpoint=table.endpoint,
        baseline_model=table.baseline_model,
        finetune_books=tuple(finetune.books) if finetune else (),
        finetune=dict(finetune.model_extra or {}) if finetune else {},
        options=table.options,
        price=_price(table.price),
        price_per_hour=table.price.hour if table.price else None,
        weights_version=table.weights_version or "",
        served_names=tuple(table.served_names),
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
        base_model=table.base_model,
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
    if not pairs:
        raise SuiteError(
            "there is no pair to test",
            location=str(path),
            hint='it needs a [[book]] or a [[collection]] with role = "test", and with '
            'pairs = "listed" a [[pair]]',
        )
    return pairs


def _meets(
    model: Model, book: BookSource, listed: Mapping[tuple[str, str], PairTable], every: bool
) -> bool:
    """Whether a model meets a book: a control whenever it meets any, a test book as listed."""
    if book.role == "negative-control":
        return every or any(model.id == model_id for model_id, _ in listed)
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
    of_collection = [
        collection.limits for collection in written.collection if collection.id == book.id
    ]
    tables = [
        ("limits", written.limits),
        *((f"collection {book.id!r}.limits", limits) for limits in of_collection),
        (f"model {model.id!r}.limits", table.limits),
    ]
    if override:
        tables.append((f"pair {model.id}/{book.id}.limits", override.limits))
    probe = (override and override.probe) or table.probe or suite.probe
    limits = _preset(written.limits.preset, probe)
    origins = dict.fromkeys(limits, "limits.preset")
    if limits and book.collection is not None:
        limits["leaking_works"] = 0.0  # what holds unsaid, a preset keeps from being loosened
    for key, tighter in tables:
        _refuse_unknown_measures(tighter, key, brought, path)
        if key.startswith("collection ") and not written.limits.preset:
            of_works = _limits(tighter).keys() - OF_PASSAGES  # a work's, in place of a whole book's
            limits = {name: limit for name, limit in limits.items() if name not in of_works}
        _tighten(limits, tighter, key, path)
        origins |= {measure: f"{key}.{measure}" for measure in _limits(tighter)}
        origins |= {measure: f"{key}.measures.{measure}" for measure in tighter.measures}
    _hold_works(limits, origins, book, probe, any_works=bool(written.collection), place=str(path))
    measures = table_with(brought)
    refuse_toothless_limits(limits, measures, origins, suite, f"{model.id}/{book.id}", path)
    expected = override.expected if override and override.expected else table.expected
    if book.role == "negative-control":
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
            max_age_days=suite.max_age_days,
            stop_on_fail=written.sampling.stop_on_fail,
        ),
        scoring=Scoring(
            k=suite.k,
            trim=suite.trim,
            span_threshold=suite.span_threshold,
            word_mode=suite.word_mode,
        ),
        limits=Limits(limits, brought=[row for name, row in brought.items() if name in limits]),
        confidence=suite.confidence,
        detection_limit=suite.detection_limit,
        answers=_answers(suite, table),
        expected=expected,
        probe=Probe(
            kind=probe,
            prefix_words=suite.prefix_words,
            continuation_template=suite.continuation_template,
            windows=WindowSettings(**suite.probability.model_dump()),
        ),
        limit_origins=origins,
    )


def _preset(name: str | None, probe: ProbeKind) -> dict[str, float]:
    """The preset's limits on measures of which the probe requests generations."""
    if name is None or probe == "probability":
        return {}
    greedy = probe == "continuation"
    return {
        measure: limit
        for measure, limit in PRESETS[name].items()
        if greedy or not asks_for([measure], "greedy")
    }


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
                location=place,
                hint="it limits the share of a [[collection]]'s works",
            )
        return
    if probe == "probability":
        raise SuiteError(
            f"{book.id!r}: the windows of probe = 'probability' would go from one work to the next",
            location=place,
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
    looser = {
        name: holding[name] for name in tighter if tighter[name] > holding.get(name, math.inf)
    }
    if looser:
        preset = "; or list every limit in place of the preset" if key == "limits" else ""
        problems = (
            f"{key}.{name}: {tighter[name]} is looser than {looser[name]}" for name in looser
        )
        highest = " and ".join(f"{name} = {general:g}" for name, general in looser.items())
        raise SuiteError(
            f"{', '.join(problems)}, which holds above it",
            location=str(path),
            hint=f"write {highest} or less, or leave it out{preset}",
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
                location=str(path),
                hint=f"a built-in one stands without measures: {key}.{name}"
                if name in MEASURES
                else None,
            )
        if refusal := brought[name].refusal(limit):
            raise SuiteError(f"{key}.measures.{name}: {refusal}; got {limit}", location=str(path))
