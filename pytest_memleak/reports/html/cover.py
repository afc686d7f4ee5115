"""Cover of the HTML report: the result, what to do next, models, books and limits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.generation_text import days_text, server_name
from pytest_memleak.reports.html.views import (
    model_recipe,
    titles_of_suite,
    verdict_outcome,
)
from pytest_memleak.reports.measure_text import format_percent, unit_text
from pytest_memleak.reports.output_table import EVIDENCE
from pytest_memleak.reports.pair_outcome import WORST_FIRST
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.results.run_evidence import collect_pairs
from pytest_memleak.results.run_verdict import result_of_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import BookFacts, PairResult, RunReport
    from pytest_memleak.reports.book_text import BookTitles, SuiteBook
    from pytest_memleak.reports.html.views import PairView
    from pytest_memleak.reports.pair_outcome import Outcome

_FEW_ISSUES = 4
_FEW_NAMES = 3
_LONGEST_QUOTE = 240
_LONGEST_SUBJECT = 60
_T = TypeVar("_T")


class CoverModel(NamedTuple):
    """A model.

    recipe:    what it is, key by key
    endpoints: where it was requested
    servers:   the names that servers gave
    """

    id: str
    recipe: tuple[tuple[str, str], ...]
    endpoints: str
    servers: str


class CoverBook(NamedTuple):
    """A book."""

    title: str
    facts: BookFacts
    control: bool


class CoverLimit(NamedTuple):
    """A limit of a suite. set_by: the suite's key that set it."""

    measure: Measure
    unit: str
    limit: str
    suite: str
    set_by: str


class WorstPassage(NamedTuple):
    """A passage of a single generation, with its pair."""

    pair: PairView
    passage: Passage


@dataclass(frozen=True, slots=True)
class Cover:
    """The contents of the cover.

    result:      the overall verdict, as in the evidence bundle
    subject:     the release, the models and the books that it is about
    suites:      name and digest of each
    sampled:     how many generations, and when
    archive:     how to keep and recompute the page with its evidence, or ""
    worst:       the longest passage of a single generation, from the pairs that matter
        most
    unrun:       pairs that weren't run, each with its reason
    uncollected: files
    """

    result: Outcome
    subject: str
    release: str | None
    suites: tuple[tuple[str, str], ...]
    models: tuple[CoverModel, ...]
    books: tuple[CoverBook, ...]
    limits: tuple[CoverLimit, ...]
    sampled: str
    archive: str
    worst: WorstPassage | None
    unrun: tuple[tuple[str, str], ...]
    uncollected: tuple[str, ...]


def cover(
    run: RunReport,
    pairs: Sequence[PairView],
    titles: BookTitles,
) -> Cover:
    """Build the cover of a run."""
    everyone = (*run.results, *run.unrun)
    verdict = result_of_run(run, collect_pairs(run))
    suites = [(pair.suite.name, pair.suite.sha256) for pair in everyone]
    unrun = []
    for pair in run.unrun:
        reasons = "; ".join(pair.reasons)
        unrun.append((pair.pair, reasons))
    return Cover(
        result=verdict_outcome(verdict),
        subject=_subject_text(run.release, everyone, titles),
        release=run.release,
        suites=_without_repeats(suites),
        models=_without_repeats(_cover_models(everyone, titles)),
        books=_without_repeats(_cover_books(everyone, titles)),
        limits=_without_repeats(_cover_limits(everyone)),
        sampled=_sampled_text(run.results),
        archive=_archive_hint(run),
        worst=_worst_passage(pairs),
        unrun=tuple(unrun),
        uncollected=run.uncollected,
    )


def _without_repeats(values: Iterable[_T]) -> tuple[_T, ...]:
    """Return each value once, in the order in which they come."""
    return tuple(dict.fromkeys(values))


# --- result ---


def _subject_text(
    release: str | None,
    results: Sequence[PairResult],
    titles: BookTitles,
) -> str:
    """Name the release, and a few models and books; count many."""
    models = _without_repeats(result.model.id for result in results)
    books = _without_repeats(titles.values())
    parts = [
        f"Release {release}" if release else "",
        _names_or_count(models, "model"),
        _names_or_count(books, "book"),
    ]
    return " · ".join(filter(None, parts))


def _names_or_count(names: Sequence[str], noun: str) -> str:
    if len(names) > _FEW_NAMES:
        return amount(len(names), noun)
    short = [inert(name, longest=_LONGEST_SUBJECT) for name in names]
    return ", ".join(short)


def _worst_passage(pairs: Sequence[PairView]) -> WorstPassage | None:
    for kind in WORST_FIRST:  # first those that stop a release
        passages = []
        for pair in pairs:
            if pair.badge.kind != kind:
                continue
            for passage in _passages_of_one_generation(pair.result):
                passages.append(WorstPassage(pair, passage))
        if passages:
            worst = max(passages, key=lambda entry: entry.passage.words)
            return WorstPassage(worst.pair, _with_shortened_texts(worst.passage))
    return None


def _with_shortened_texts(passage: Passage) -> Passage:
    quote = inert(passage.quote, longest=_LONGEST_QUOTE)
    answer = inert(passage.answer, longest=_LONGEST_QUOTE)
    return replace(passage, quote=quote, answer=answer)


def _passages_of_one_generation(result: PairResult) -> Iterator[Passage]:
    """Yield the passages that aren't excused; a block has several generations."""
    for passage in (*result.passages, *result.spans):
        has_generation = passage.generation is not None or passage.source
        if has_generation and not passage.excused:
            yield passage


def _archive_hint(run: RunReport) -> str:
    bundle = run.outputs.get(EVIDENCE.name)
    if bundle is None:
        return ""
    return (
        f"Archive this page with {bundle.name}. To recompute it, run “memleak verify "
        f"{bundle.name}”."
    )


def _sampled_text(results: Sequence[PairResult]) -> str:
    received = sum(result.received for result in results)
    requested = sum(result.requested for result in results)
    text = f"{received:,} of {requested:,} generations"
    times: list[float] = []
    for result in results:
        if result.provenance:
            ends = (result.provenance.first, result.provenance.last)
            times += [time for time in ends if time is not None]
    if not times:
        return text
    return f"{text}, {days_text(min(times), max(times))}"


# --- models, books, limits ---


def _cover_models(
    results: Sequence[PairResult],
    titles: BookTitles,
) -> Iterator[CoverModel]:
    by_model: defaultdict[tuple[str, str], list[PairResult]] = defaultdict(list)
    for result in results:
        key = (result.suite.name, result.model.id)
        by_model[key].append(result)
    for (suite, model), own in by_model.items():
        own_titles = titles_of_suite(titles, suite)
        recipe = model_recipe(own[0], own_titles)
        endpoints = [result.model.endpoint for result in own]
        yield CoverModel(
            id=model,
            recipe=tuple(recipe),
            endpoints=_distinct_names_text(filter(None, endpoints)),
            servers=_distinct_names_text(_server_names(own)),
        )


def _server_names(results: Sequence[PairResult]) -> Iterator[str]:
    for result in results:
        if not result.provenance:
            continue
        for server in result.provenance.served:
            if server.model:
                yield server_name(server)


def _distinct_names_text(names: Iterable[str]) -> str:
    """List names, each once."""
    return ", ".join(dict.fromkeys(names))


def _cover_books(
    results: Sequence[PairResult],
    titles: BookTitles,
) -> Iterator[CoverBook]:
    fullest: dict[SuiteBook, PairResult] = {}
    for result in results:
        key = (result.suite.name, result.book.id)
        # A pair that wasn't run may lack its book's words and file.
        earlier = fullest.get(key, result)
        fullest[key] = max(earlier, result, key=_words_and_digest)
    for key, result in fullest.items():
        yield CoverBook(
            title=titles[key],
            facts=result.book,
            control=result.control,
        )


def _words_and_digest(result: PairResult) -> tuple[int, str]:
    return result.book.words or 0, result.book.file_sha256 or ""


def _cover_limits(results: Sequence[PairResult]) -> Iterator[CoverLimit]:
    """List each limit of each suite, in the order of the measure table."""
    for name, row in collect_measures(results).items():
        for result in results:
            limit = result.limits.get(name)
            if limit:
                yield CoverLimit(
                    measure=row,
                    unit=unit_text(row, [result]),
                    limit=format_percent(row, limit.limit),
                    suite=result.suite.name,
                    set_by=limit.set_by or "",
                )
