"""The report's first page: what came of it, of which models and books, by whose limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, day
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.html.badges import Badge, verdict_badge
from pytest_memleak.reports.plain_settings import recipe
from pytest_memleak.reports.report_text import detects, in_percent, of_suites, served_by, unit
from pytest_memleak.results.build_result import table_of
from pytest_memleak.results.run_evidence import pairs_of
from pytest_memleak.results.run_verdict import result_of, suite_controls

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

    result:    the overall verdict, as the evidence bundle has it; said: why, in a sentence
    drawn:     when and how much; detection: what so many rounds would have seen
    notes:     what controls say of the gate; next: what to do
    unrun:     pairs that nobody looked at, each with why; uncollected: suites that could not be
    read
    """

    result: Badge
    said: str
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
    result = result_of(
        pairs_of(run),
        uncollected=run.uncollected,
        compared=run.compared.verdict if run.compared else None,
    )
    return Cover(
        result=verdict_badge(result),
        said=_said(result, run, pairs),
        release=run.release,
        suites=tuple(dict.fromkeys((one.suite, one.suite_digest) for one in everyone)),
        models=_models(everyone, titles),
        books=_books(everyone, titles),
        limits=_limits(everyone),
        drawn=_drawn(run.results),
        detection=_detection(run.results),
        notes=tuple(of_suites(run.results)),
        next=tuple(_next(result, run, pairs)),
        worst=_worst(pairs),
        unrun=tuple((one.pair, "; ".join(one.reasons)) for one in run.unrun),
        uncollected=run.uncollected,
    )


def book_titles(findings: Sequence[PairResult]) -> dict[tuple[str, str], str]:
    """What each book is called, by suite and id: its title, with its id where two have one."""
    titles = {(one.suite, one.book): one.title or one.book for one in reversed(findings)}
    alike = Counter(titles.values())
    ids = {title: {book for (_, book), own in titles.items() if own == title} for title in alike}
    return {
        (suite, book): title if len(ids[title]) == 1 else f"{title} ({book})"
        for (suite, book), title in titles.items()
    }


# --- what came of it -----------------------------------------------------------------------


def _said(result: Verdict, run: RunReport, pairs: Sequence[PairView]) -> str:
    """Why the result is what it is."""
    counts = Counter(
        pair.badge.kind
        for pair in pairs
        if not pair.found.control or pair.found.unexcused or not pair.found.measures
    )
    compared = run.compared.verdict if run.compared else None
    told = []
    if result is Verdict.PASS:
        told.append("every limit holds, on complete evidence")
        if leaks := counts["expected"]:
            told.append(f"{amount(leaks, 'leak')} came that had to come")
    elif result is Verdict.FAIL:
        told += _counted(counts["fail"], "is over a limit", "are over a limit")
        told += _counted(counts["unexpected"], "passed and had to leak", "passed and had to leak")
        told += ["it is worse than the release before"] if compared is Verdict.FAIL else []
        told = told or ["a test with limits of its own failed"]
    else:
        told += _counted(counts["inconclusive"], "could not be judged", "could not be judged")
        told += _counted(len(run.unrun), "was not run", "were not run")
        if run.uncollected:
            told.append(f"{amount(len(run.uncollected), 'suite')} could not be read")
        if compared is Verdict.INCONCLUSIVE:
            told.append("whether it is worse than the release before cannot be told")
        idle = [one.suite for one in suite_controls(run.results) if not one.gates]
        told += [f"{name} gates nothing" for name in idle]
        told = [*(told or ["no test came to an end"]), "that is no pass"]
    said = ", and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)
    return f"{said[0].upper()}{said[1:]}."


def _counted(number: int, one: str, more: str) -> list[str]:
    return [f"{amount(number, 'pair')} {one if number == 1 else more}"] if number else []


def _worst(pairs: Sequence[PairView]) -> WorstPassage | None:
    for kind in _WORST_FIRST:
        passages = [
            WorstPassage(pair, one)
            for pair in pairs
            if pair.badge.kind == kind
            for one in (*pair.found.passages, *pair.found.spans)
            if (one.generation is not None or one.source) and not one.excused
        ]
        if passages:
            return max(passages, key=lambda one: one.passage.words)
    return None


def _next(result: Verdict, run: RunReport, pairs: Sequence[PairView]) -> Iterator[str]:
    """What to do about it."""
    kinds = {pair.badge.kind for pair in pairs}
    if "fail" in kinds:
        yield (
            "Read the worst passages of each pair that failed, below. What the model must not know "
            "is mended in the model or in its filter; the next release is drawn anew."
        )
    if "unexpected" in kinds:
        yield "A leak that had to come did not: see whether that model was asked as it was meant."
    told = [
        f"{pair.found.model} on {pair.book}: {issue}."
        for pair in pairs
        for issue in pair.found.completeness.issues
    ]
    yield from told[:_FEW_GAPS]
    if left := len(told) - _FEW_GAPS:
        yield from [f"{amount(left, 'issue')} more stand with their pairs."] if left > 0 else []
    if "inconclusive" in kinds or run.unrun:
        yield "Mend these and run the same command again: no answer is drawn twice."
    if result is Verdict.PASS and "evidence" not in run.outputs:
        yield "To file this result, run it again with --memleak-evidence: nothing is drawn anew."
    elif "evidence" in run.outputs:
        name = run.outputs["evidence"].name
        yield f"File this page with {name}; “memleak verify {name}” computes it again."


def _drawn(findings: Sequence[PairResult]) -> str:
    got, asked = (sum(getattr(one, name) for one in findings) for name in ("received", "requested"))
    said = f"{got:,} of {asked:,} answers"
    whos = [one.provenance for one in findings if one.provenance]
    times = [t for who in whos for t in (who.first, who.last) if t is not None]
    if not times:
        return said
    first, last = day(min(times)), day(max(times))
    return f"{said}, {first}" if first == last else f"{said}, {first} to {last}"


def _detection(findings: Sequence[PairResult]) -> str:
    known = [one for one in findings if one.detection and not one.control]
    if not known:
        return ""
    least = max(known, key=lambda one: one.detection.detection if one.detection else 0)
    assert least.detection is not None  # noqa: S101 - as `known` has it
    of = "" if len({detects(one) for one in known}) == 1 else f" of {least.pair}, which shows least"
    return (
        f"A passage that comes in more than {detects(least)} of the answers to its prompt would "
        f"have been seen{of} ({100 * least.detection.confidence:g} %)."
    )


# --- of what -------------------------------------------------------------------------------


def _models(
    findings: Sequence[PairResult], titles: Mapping[tuple[str, str], str]
) -> tuple[ModelLine, ...]:
    by_model: dict[tuple[str, str], list[PairResult]] = {}
    for one in findings:
        by_model.setdefault((one.suite, one.model), []).append(one)
    lines = []
    for (suite, model), its in by_model.items():
        own = {book: title for (of, book), title in titles.items() if of == suite}
        served = (each for one in its if one.provenance for each in one.provenance.served)
        answered = ", ".join(dict.fromkeys(served_by(one) for one in served if one.model))
        asked = ", ".join(dict.fromkeys(one.endpoint for one in its if one.endpoint))
        lines.append(ModelLine(model, tuple(recipe(its[0], own)), asked, answered))
    return tuple(dict.fromkeys(lines))


def _books(
    findings: Sequence[PairResult], titles: Mapping[tuple[str, str], str]
) -> tuple[BookLine, ...]:
    lines: dict[tuple[str, str], list[BookLine]] = {}
    for one in findings:
        line = BookLine(
            one.book,
            titles[one.suite, one.book],
            one.author,
            one.book_file,
            one.book_digest,
            one.word_count,
            one.control,
        )
        lines.setdefault((one.suite, one.book), []).append(line)
    # A pair that was not run knows less of its book.
    known = (max(its, key=lambda one: (one.words, one.file or "")) for its in lines.values())
    return tuple(dict.fromkeys(known))


def _limits(findings: Sequence[PairResult]) -> tuple[LimitLine, ...]:
    """Each limit once for whoever set it, in the order of the table of measures."""
    rows = table_of(findings)
    lines = {
        LimitLine(
            name=name,
            title=row.title,
            unit=unit(row, [found]),
            limit=in_percent(row, found.limits[name]),
            suite=found.suite,
            set_by=found.limit_origins.get(name, ""),
        ): None
        for name, row in rows.items()
        for found in findings
        if name in found.limits
    }
    return tuple(lines)
