"""Cover of the HTML report: the result, what to do next, models, books and limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.html.views import model_recipe, verdict_outcome
from pytest_memleak.reports.output_table import EVIDENCE
from pytest_memleak.reports.pair_outcome import WORST_FIRST
from pytest_memleak.reports.report_text import (
    control_lines,
    days_text,
    detection_caption,
    detection_text,
    format_percent,
    server_name,
    unit_text,
)
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.results.run_evidence import collect_pairs, suite_controls
from pytest_memleak.results.run_verdict import result_of_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import BookFacts, PairResult, RunReport
    from pytest_memleak.reports.html.views import PairView
    from pytest_memleak.reports.pair_outcome import Outcome

_FEW_ISSUES = 4
_FEW_NAMES = 3
_LONGEST_QUOTE = 240
_LONGEST_SUBJECT = 60


@dataclass(frozen=True, slots=True)
class Cover:
    """The contents of the cover.

    result:    the overall verdict, as in the evidence bundle; reason: why, in a
    sentence
    subject:   the release, the models and the books that it is about
    models:    id; what it is, key by key; endpoints; the names that servers gave
    books:     title, facts, and whether it is a control
    limits:    measure, unit, limit, suite, and the suite's key that set it
    sampled:   how many generations, and when; detection: the detection limit, in a
    sentence
    notes:     what controls show; next: what to do
    worst:     the longest passage of a single generation, from the pairs that matter
    most
    unrun:     pairs that weren't run, each with its reason; uncollected: files
    """

    result: Outcome
    reason: str
    subject: str
    release: str | None
    suites: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, tuple[tuple[str, str], ...], str, str], ...]
    books: tuple[tuple[str, BookFacts, bool], ...]
    limits: tuple[tuple[Measure, str, str, str, str], ...]
    sampled: str
    detection: str
    notes: tuple[str, ...]
    next: tuple[str, ...]
    worst: tuple[PairView, Passage] | None
    unrun: tuple[tuple[str, str], ...]
    uncollected: tuple[str, ...]


def cover(
    run: RunReport, pairs: Sequence[PairView], titles: Mapping[tuple[str, str], str]
) -> Cover:
    """Build the cover of a run. titles: of books, by suite and id."""
    everyone = (*run.results, *run.unrun)
    verdict = result_of_run(run, collect_pairs(run))
    return Cover(
        result=verdict_outcome(verdict),
        reason=_reason(verdict, run, pairs),
        subject=_subject(run.release, everyone, titles),
        release=run.release,
        suites=tuple(
            dict.fromkeys((pair.suite.name, pair.suite.sha256) for pair in everyone)
        ),
        models=tuple(dict.fromkeys(_models(everyone, titles))),
        books=_books(everyone, titles),
        limits=tuple(dict.fromkeys(_limits(everyone))),
        sampled=_sampled(run.results),
        detection=_detection(run.results),
        notes=tuple(control_lines(run.results)),
        next=tuple(_next(verdict, run, pairs)),
        worst=_worst(pairs),
        unrun=tuple((pair.pair, "; ".join(pair.reasons)) for pair in run.unrun),
        uncollected=run.uncollected,
    )


def book_titles(results: Sequence[PairResult]) -> dict[tuple[str, str], str]:
    """Name each book, by suite and id: its title, with its id where two books share a title."""
    titles = {
        (result.suite.name, result.book.id): result.book.title or result.book.id
        for result in reversed(results)
    }
    alike = Counter(titles.values())
    ids = {
        title: {book for (_, book), own in titles.items() if own == title}
        for title in alike
    }
    return {
        (suite, book): title if len(ids[title]) == 1 else f"{title} ({book})"
        for (suite, book), title in titles.items()
    }


# --- result
# --------------------------------------------------------------------------------


def _reason(verdict: Verdict, run: RunReport, pairs: Sequence[PairView]) -> str:
    """State why the result is what it is."""
    counts = Counter(
        pair.badge.kind
        for pair in pairs
        if not pair.result.control or pair.result.unexcused or not pair.result.values
    )
    compared = run.compared.verdict if run.compared else None
    if verdict is Verdict.PASS:
        leaks = amount(counts["expected"], "positive control")
        leaked = f" {leaks} leaked as expected." if counts["expected"] else ""
        return f"All limits hold on complete evidence.{leaked}"
    reasons = []
    if verdict is Verdict.FAIL:
        reasons += _counted(counts["fail"], "exceeds a limit", "exceed a limit")
        reasons += _counted(
            counts["unexpected"], "passed but must leak", "passed but must leak"
        )
        reasons += (
            ["the release is worse than its baseline"]
            if compared is Verdict.FAIL
            else []
        )
        text = _joined(reasons or ["a test with its own limits failed"])
    else:
        reasons += _counted(
            counts["inconclusive"], "is inconclusive", "are inconclusive"
        )
        reasons += _counted(len(run.unrun), "wasn't run", "weren't run")
        if run.uncollected:
            reasons.append(
                f"{amount(len(run.uncollected), 'file')} couldn't be collected"
            )
        if compared is Verdict.INCONCLUSIVE:
            reasons.append("the comparison with the baseline is inconclusive")
        idle = [suite.suite for suite in suite_controls(run.results) if not suite.gates]
        reasons += [f"{name} has no gated pair" for name in idle]
        if run.exit_status and not reasons:
            reasons = [f"pytest ended with exit code {run.exit_status}"]
        text = (
            f"{_joined(reasons or ['no test finished'])}, so this result isn't a pass"
        )
    return f"{text[0].upper()}{text[1:]}."


def _subject(
    release: str | None,
    results: Sequence[PairResult],
    titles: Mapping[tuple[str, str], str],
) -> str:
    """Name the release, and a few models and books; count many."""
    models = list(dict.fromkeys(result.model.id for result in results))
    books = list(dict.fromkeys(titles.values()))
    parts = [f"Release {release}"] if release else []
    for names, noun in ((models, "model"), (books, "book")):
        listed = ", ".join(inert(name, longest=_LONGEST_SUBJECT) for name in names)
        parts.append(listed if len(names) <= _FEW_NAMES else amount(len(names), noun))
    return " · ".join(filter(None, parts))


def _counted(number: int, singular: str, plural: str) -> list[str]:
    return (
        [f"{amount(number, 'pair')} {singular if number == 1 else plural}"]
        if number
        else []
    )


def _joined(reasons: Sequence[str]) -> str:
    *first, last = reasons
    return f"{', '.join(first)}, and {last}" if first else last


def _worst(pairs: Sequence[PairView]) -> tuple[PairView, Passage] | None:
    for kind in WORST_FIRST:  # first those that stop a release
        passages = [
            (pair, passage)
            for pair in pairs
            if pair.badge.kind == kind
            for passage in (*pair.result.passages, *pair.result.spans)
            if (passage.generation is not None or passage.source)
            and not passage.excused
        ]
        if passages:
            pair, worst = max(passages, key=lambda entry: entry[1].words)
            quote, answer = (
                inert(side, longest=_LONGEST_QUOTE)
                for side in (worst.quote, worst.answer)
            )
            return pair, replace(worst, quote=quote, answer=answer)
    return None


def _next(verdict: Verdict, run: RunReport, pairs: Sequence[PairView]) -> Iterator[str]:
    """List what to do next."""
    kinds = {pair.badge.kind for pair in pairs}
    if "fail" in kinds:
        yield (
            "Review the worst passages of each failed pair. Fix the model or its "
            "filter, then "
            "resample."
        )
    if "unexpected" in kinds:
        yield "A positive control didn't leak. Check that model's configuration."
    issues = [
        f"{pair.result.model.id} on {pair.book}: {str(issue).rstrip('.')}."
        for pair in pairs
        for issue in pair.result.completeness.issues
    ]
    yield from issues[:_FEW_ISSUES]
    if left := len(issues) - _FEW_ISSUES:
        yield from (
            [f"{amount(left, 'more issue')}: see the pairs below."] if left > 0 else []
        )
    if "inconclusive" in kinds or run.unrun:
        yield "Fix the causes and rerun. Stored generations are reused if they still fit."
    if verdict is Verdict.PASS and EVIDENCE.name not in run.outputs:
        yield (
            f"To archive this result, rerun with {EVIDENCE.option}=FILE. "
            "Stored generations are reused."
        )
    elif EVIDENCE.name in run.outputs:
        name = run.outputs[EVIDENCE.name].name
        yield f"Archive this page with {name}. To recompute it, run “memleak verify {name}”."


def _sampled(results: Sequence[PairResult]) -> str:
    received, requested = (
        sum(getattr(result, name) for result in results)
        for name in ("received", "requested")
    )
    text = f"{received:,} of {requested:,} generations"
    provenances = [result.provenance for result in results if result.provenance]
    times = [
        time
        for provenance in provenances
        for time in (provenance.first, provenance.last)
        if time is not None
    ]
    return f"{text}, {days_text(min(times), max(times))}" if times else text


def _detection(results: Sequence[PairResult]) -> str:
    limits = [
        (result.detection, result)
        for result in results
        if result.detection and not result.control
    ]
    if not limits:
        return ""
    summary, highest = max(limits, key=lambda entry: entry[0].detection)
    differ = len({detection_text(result) for _, result in limits}) > 1
    scope = f" (the highest, of {highest.pair})" if differ else ""
    caption = detection_caption(summary.confidence).removeprefix("detection limit")
    return f"{detection_text(highest)}{scope}{caption}."


# --- models, books, limits
# -----------------------------------------------------------------


def _models(
    results: Sequence[PairResult], titles: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, tuple[tuple[str, str], ...], str, str]]:
    by_model: dict[tuple[str, str], list[PairResult]] = {}
    for result in results:
        by_model.setdefault((result.suite.name, result.model.id), []).append(result)
    for (suite, model), own in by_model.items():
        own_titles = {
            book: title for (name, book), title in titles.items() if name == suite
        }
        endpoints = (result.model.endpoint for result in own)
        served = (result.provenance.served for result in own if result.provenance)
        servers = (
            server_name(server) for group in served for server in group if server.model
        )
        recipe = tuple(model_recipe(own[0], own_titles))
        yield model, recipe, _listed(filter(None, endpoints)), _listed(servers)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _books(
    results: Sequence[PairResult], titles: Mapping[tuple[str, str], str]
) -> tuple[tuple[str, BookFacts, bool], ...]:
    books: dict[tuple[str, str], list[tuple[str, BookFacts, bool]]] = {}
    for result in results:
        key = (result.suite.name, result.book.id)
        books.setdefault(key, []).append((titles[key], result.book, result.control))
    # A pair that wasn't run may lack its book's words and file.
    fullest = (
        max(lines, key=lambda line: (line[1].words or 0, line[1].file_sha256 or ""))
        for lines in books.values()
    )
    return tuple(dict.fromkeys(fullest))


def _limits(
    results: Sequence[PairResult],
) -> Iterator[tuple[Measure, str, str, str, str]]:
    """List each limit of each suite, in the order of the measure table."""
    for name, row in collect_measures(results).items():
        for result in results:
            if limit := result.limits.get(name):
                value = format_percent(row, limit.limit)
                yield (
                    row,
                    unit_text(row, [result]),
                    value,
                    result.suite.name,
                    limit.set_by or "",
                )
