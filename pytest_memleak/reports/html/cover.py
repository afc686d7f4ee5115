"""The report's first page: what came of it, of which models and books, by whose limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, day
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.html.views import Badge, model_recipe, verdict_badge
from pytest_memleak.reports.report_text import (
    control_lines,
    detection_text,
    format_percent,
    server_name,
    unit_text,
)
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.results.run_evidence import collect_pairs, suite_controls
from pytest_memleak.results.run_verdict import run_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records.pair_result import PairResult, Passage, RunReport
    from pytest_memleak.reports.html.views import PairView

# Whose passages are the worst to tell of: those of pairs that stop a release come first.
_WORST_FIRST = ("fail", "unexpected", "inconclusive", "expected", "pass")
_FEW_GAPS = 4
_LONGEST_QUOTE = 240


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A model. recipe: what it is, key by key; asked, answered: whom, and who said they did."""

    id: str
    recipe: tuple[tuple[str, str], ...]
    asked: str
    answered: str


@dataclass(frozen=True, slots=True)
class BookLine:
    """A book. file: SHA-256 of its file; digest: of its words as they were cut; words: N."""

    id: str
    title: str
    author: str
    file: str | None
    digest: str
    words: int
    control: bool


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A limit, and the key of the suite file that set it."""

    name: str
    title: str
    unit: str
    limit: str
    suite: str
    set_by: str


@dataclass(frozen=True, slots=True)
class WorstPassage:
    """The longest passage in one answer, of the pairs that matter most."""

    pair: PairView
    passage: Passage

    @property
    def quote(self) -> str:
        """Its words, as many as a cover has room for."""
        return inert(self.passage.quote, longest=_LONGEST_QUOTE)


@dataclass(frozen=True, slots=True)
class Cover:
    """What the first page says.

    result:    the overall verdict, as the evidence bundle has it; reason: why, in a sentence
    drawn:     when and how much; detection: what so many rounds would have seen
    notes:     what controls say of the gate; next: what to do
    unrun:     pairs that nobody looked at, each with why; uncollected: suites that could not be
    read
    """

    result: Badge
    reason: str
    release: str | None
    suites: tuple[tuple[str, str], ...]
    models: tuple[ModelLine, ...]
    books: tuple[BookLine, ...]
    limits: tuple[LimitLine, ...]
    drawn: str
    detection: str
    notes: tuple[str, ...]
    next: tuple[str, ...]
    worst: WorstPassage | None
    unrun: tuple[tuple[str, str], ...]
    uncollected: tuple[str, ...]


def cover(
    run: RunReport, pairs: Sequence[PairView], titles: Mapping[tuple[str, str], str]
) -> Cover:
    """The first page of a run. titles: of books, by suite and id."""
    everyone = (*run.results, *run.unrun)
    verdict = run_result(
        collect_pairs(run),
        uncollected=run.uncollected,
        compared=run.compared.verdict if run.compared else None,
    )
    return Cover(
        result=verdict_badge(verdict),
        reason=_reason(verdict, run, pairs),
        release=run.release,
        suites=tuple(dict.fromkeys((pair.suite, pair.suite_digest) for pair in everyone)),
        models=_models(everyone, titles),
        books=_books(everyone, titles),
        limits=_limits(everyone),
        drawn=_drawn(run.results),
        detection=_detection(run.results),
        notes=tuple(control_lines(run.results)),
        next=tuple(_next(verdict, run, pairs)),
        worst=_worst(pairs),
        unrun=tuple((pair.pair, "; ".join(pair.reasons)) for pair in run.unrun),
        uncollected=run.uncollected,
    )


def book_titles(results: Sequence[PairResult]) -> dict[tuple[str, str], str]:
    """What each book is called, by suite and id: its title, with its id where two have one."""
    titles = {
        (result.suite, result.book): result.title or result.book for result in reversed(results)
    }
    alike = Counter(titles.values())
    ids = {title: {book for (_, book), own in titles.items() if own == title} for title in alike}
    return {
        (suite, book): title if len(ids[title]) == 1 else f"{title} ({book})"
        for (suite, book), title in titles.items()
    }


# --- what came of it -----------------------------------------------------------------------


def _reason(verdict: Verdict, run: RunReport, pairs: Sequence[PairView]) -> str:
    """Why the result is what it is."""
    counts = Counter(
        pair.badge.kind
        for pair in pairs
        if not pair.result.control or pair.result.unexcused or not pair.result.measures
    )
    compared = run.compared.verdict if run.compared else None
    reasons = []
    if verdict is Verdict.PASS:
        reasons.append("every limit holds, on complete evidence")
        if leaks := counts["expected"]:
            reasons.append(f"{amount(leaks, 'leak')} came that had to come")
    elif verdict is Verdict.FAIL:
        reasons += _counted(counts["fail"], "is over a limit", "are over a limit")
        reasons += _counted(
            counts["unexpected"], "passed and had to leak", "passed and had to leak"
        )
        reasons += ["it is worse than the release before"] if compared is Verdict.FAIL else []
        reasons = reasons or ["a test with limits of its own failed"]
    else:
        reasons += _counted(counts["inconclusive"], "could not be judged", "could not be judged")
        reasons += _counted(len(run.unrun), "was not run", "were not run")
        if run.uncollected:
            reasons.append(f"{amount(len(run.uncollected), 'suite')} could not be read")
        if compared is Verdict.INCONCLUSIVE:
            reasons.append("whether it is worse than the release before cannot be told")
        idle = [suite.suite for suite in suite_controls(run.results) if not suite.gates]
        reasons += [f"{name} gates nothing" for name in idle]
        reasons = [*(reasons or ["no test came to an end"]), "that is no pass"]
    sentence = ", and ".join([", ".join(reasons[:-1]), reasons[-1]] if reasons[1:] else reasons)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _counted(number: int, singular: str, plural: str) -> list[str]:
    return [f"{amount(number, 'pair')} {singular if number == 1 else plural}"] if number else []


def _worst(pairs: Sequence[PairView]) -> WorstPassage | None:
    for kind in _WORST_FIRST:
        passages = [
            WorstPassage(pair, passage)
            for pair in pairs
            if pair.badge.kind == kind
            for passage in (*pair.result.passages, *pair.result.spans)
            if (passage.generation is not None or passage.source) and not passage.excused
        ]
        if passages:
            return max(passages, key=lambda worst: worst.passage.words)
    return None


def _next(verdict: Verdict, run: RunReport, pairs: Sequence[PairView]) -> Iterator[str]:
    """What to do about it."""
    kinds = {pair.badge.kind for pair in pairs}
    if "fail" in kinds:
        yield (
            "Read the worst passages of each pair that failed, below. What the model must not know "
            "is mended in the model or in its filter; the next release is drawn anew."
        )
    if "unexpected" in kinds:
        yield "A leak that had to come did not: see whether that model was asked as it was meant."
    issues = [
        f"{pair.result.model} on {pair.book}: {issue}."
        for pair in pairs
        for issue in pair.result.completeness.issues
    ]
    yield from issues[:_FEW_GAPS]
    if left := len(issues) - _FEW_GAPS:
        yield from [f"{amount(left, 'issue')} more stand with their pairs."] if left > 0 else []
    if "inconclusive" in kinds or run.unrun:
        yield "Mend these and run the same command again: no answer is drawn twice."
    if verdict is Verdict.PASS and "evidence" not in run.outputs:
        yield "To file this result, run it again with --memleak-evidence: nothing is drawn anew."
    elif "evidence" in run.outputs:
        name = run.outputs["evidence"].name
        yield f"File this page with {name}; “memleak verify {name}” computes it again."


def _drawn(results: Sequence[PairResult]) -> str:
    received, requested = (
        sum(getattr(result, name) for result in results) for name in ("received", "requested")
    )
    text = f"{received:,} of {requested:,} answers"
    provenances = [result.provenance for result in results if result.provenance]
    times = [
        t
        for provenance in provenances
        for t in (provenance.first, provenance.last)
        if t is not None
    ]
    if not times:
        return text
    first, last = day(min(times)), day(max(times))
    return f"{text}, {first}" if first == last else f"{text}, {first} to {last}"


def _detection(results: Sequence[PairResult]) -> str:
    measured = [result for result in results if result.detection and not result.control]
    if not measured:
        return ""
    least = max(measured, key=lambda result: result.detection.detection if result.detection else 0)
    assert least.detection is not None  # noqa: S101 - as `measured` has it
    of = (
        ""
        if len({detection_text(result) for result in measured}) == 1
        else f" of {least.pair}, which shows least"
    )
    return (
        f"A passage that comes in more than {detection_text(least)} of the answers to its prompt "
        f"would have been seen{of} ({100 * least.detection.confidence:g} %)."
    )


# --- of what -------------------------------------------------------------------------------


def _models(
    results: Sequence[PairResult], titles: Mapping[tuple[str, str], str]
) -> tuple[ModelLine, ...]:
    by_model: dict[tuple[str, str], list[PairResult]] = {}
    for result in results:
        by_model.setdefault((result.suite, result.model), []).append(result)
    lines = []
    for (suite, model), model_results in by_model.items():
        own = {book: title for (of, book), title in titles.items() if of == suite}
        servers = (
            server
            for result in model_results
            if result.provenance
            for server in result.provenance.served
        )
        answered = ", ".join(
            dict.fromkeys(server_name(server) for server in servers if server.model)
        )
        asked = ", ".join(
            dict.fromkeys(result.endpoint for result in model_results if result.endpoint)
        )
        lines.append(ModelLine(model, tuple(model_recipe(model_results[0], own)), asked, answered))
    return tuple(dict.fromkeys(lines))


def _books(
    results: Sequence[PairResult], titles: Mapping[tuple[str, str], str]
) -> tuple[BookLine, ...]:
    lines: dict[tuple[str, str], list[BookLine]] = {}
    for result in results:
        line = BookLine(
            result.book,
            titles[result.suite, result.book],
            result.author,
            result.book_file,
            result.book_digest,
            result.word_count,
            result.control,
        )
        lines.setdefault((result.suite, result.book), []).append(line)
    # A pair that was not run knows less of its book.
    fullest = (
        max(book_lines, key=lambda line: (line.words, line.file or ""))
        for book_lines in lines.values()
    )
    return tuple(dict.fromkeys(fullest))


def _limits(results: Sequence[PairResult]) -> tuple[LimitLine, ...]:
    """Each limit once for whoever set it, in the order of the table of measures."""
    rows = collect_measures(results)
    lines = {
        LimitLine(
            name=name,
            title=row.title,
            unit=unit_text(row, [result]),
            limit=format_percent(row, result.limits[name]),
            suite=result.suite,
            set_by=result.limit_origins.get(name, ""),
        ): None
        for name, row in rows.items()
        for result in results
        if name in result.limits
    }
    return tuple(lines)
