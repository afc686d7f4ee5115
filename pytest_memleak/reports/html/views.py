"""What the page shows of each pair: everything worked out before the template."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import percent
from pytest_memleak.reports.html.badges import Badge, outcome_badge, verdict_badge
from pytest_memleak.reports.html.book_text import coloured
from pytest_memleak.reports.html.charts import coverage_chart, length_chart, length_classes
from pytest_memleak.reports.html.coverage_strips import arcs, strip, x_of
from pytest_memleak.reports.html.window_strip import WindowMap, window_map
from pytest_memleak.reports.passage_selection import of_other_books, of_the_likeliest, told_once
from pytest_memleak.reports.plain_settings import recipe, settings_told
from pytest_memleak.reports.report_text import (
    chance,
    generation_lines,
    in_percent,
    is_over,
    unit,
    work_named,
)
from pytest_memleak.results.build_result import overview, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from markupsafe import Markup

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult, Passage
    from pytest_memleak.records.plot_records import PlotData
    from pytest_memleak.reports.html.book_text import Run
    from pytest_memleak.reports.html.charts import LengthClass
    from pytest_memleak.reports.html.coverage_strips import Arc, Strip

_COLUMNS = 600
_CHAPTER_COLUMNS = 3000


@dataclass(frozen=True, slots=True)
class MeasureView:
    """One measure of a pair as shown. `state`: over, doubt, within, or "" without a limit.

    low, value_at, high, limit_at: places on a scale of 0 to 100, for shares of the book.
    """

    name: str
    title: str
    unit: str
    value: str
    interval: str
    limit: str
    state: str
    scale: tuple[float, float, float, float | None] | None


@dataclass(frozen=True, slots=True)
class ChapterView:
    """A chapter's own strip, drawn to the scale of the longest one."""

    title: str
    words: int
    covered: float
    strip: Strip


@dataclass(frozen=True, slots=True)
class WorkView:
    """A work of a collection. cells: what was measured, and whether it is over its limit."""

    name: str
    badge: Badge
    words: int
    cells: tuple[tuple[str, bool], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class PairView:
    """A pair's part of the page; plot and all drawings are None where nothing was measured.

    book:    what the book is called
    measures: those with a limit first
    answers: what is said of them, by titles
    passages: the worst, once each; elsewhere: how many there are of books that nobody asked for
    recipe, settings: of the model, and how the pair was sampled, measured and judged, key by key
    works, work_heads: of a collection, the leaking ones first, and the heads of their measures
    """

    anchor: str
    found: PairResult
    book: str
    badge: Badge
    measures: tuple[MeasureView, ...]
    answers: tuple[tuple[str, str], ...]
    passages: tuple[Passage, ...]
    elsewhere: tuple[str, ...]
    recipe: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    plot: PlotData | None = None
    map: Strip | None = None
    ticks: tuple[float, ...] = ()
    block: tuple[float, float] | None = None
    chapters: tuple[ChapterView, ...] = ()
    lengths: Markup | None = None
    classes: tuple[LengthClass, ...] = ()
    coverage: Markup | None = None
    points: tuple[tuple[int, str], ...] = ()
    arcs: tuple[Arc, ...] = ()
    text: tuple[tuple[str, tuple[Run, ...]], ...] = field(default=(), repr=False)
    windows: WindowMap | None = None
    works: tuple[WorkView, ...] = ()
    work_heads: tuple[str, ...] = ()

    @property
    def compared(self) -> Badge | None:
        """What is said of it against an earlier release."""
        return verdict_badge(self.found.compared) if self.found.compared else None


# --- pairs ---------------------------------------------------------------------------------


def pair_views(
    findings: Iterable[PairResult], titles: Mapping[tuple[str, str], str]
) -> list[PairView]:
    """One view per finding, in their order. titles: of books, by suite and id."""
    views = []
    for n, found in enumerate(findings, 1):
        own = {book: title for (suite, book), title in titles.items() if suite == found.suite}
        views.append(_pair_view(found, f"pair-{n}", own))
    return views


def _pair_view(found: PairResult, anchor: str, titles: Mapping[str, str]) -> PairView:
    rows = table_of([found])
    measures = [_measure(found, row) for name, row in rows.items() if name in found.measures]
    view = PairView(
        anchor=anchor,
        found=found,
        book=titles[found.book],
        badge=outcome_badge(found),
        measures=tuple(sorted(measures, key=lambda one: not one.limit)),
        answers=tuple(generation_lines(found)),
        passages=tuple(
            _titled(one, titles) for one in told_once((*of_the_likeliest(found), *found.passages))
        ),
        elsewhere=tuple(of_other_books(found, titles)),
        recipe=tuple(recipe(found, titles)),
        settings=tuple(settings_told(found)),
        windows=window_map(found.windows) if found.windows and not found.plot else None,
    )
    return _drawn(view, found.plot, anchor) if found.plot else view


def _titled(one: Passage, titles: Mapping[str, str]) -> Passage:
    """The passage, with its books by their titles."""
    others = tuple(titles.get(book, book) for book in one.others)
    title = one.book and (titles.get(one.book) or one.title or one.book)
    return dataclasses.replace(one, others=others, title=title)


def _drawn(view: PairView, seen: PlotData, anchor: str) -> PairView:
    """The view with all of its drawings."""
    found = view.found
    times, words = seen.times, found.word_count
    classes = length_classes(seen.lengths, k=found.settings["k"])
    return dataclasses.replace(
        view,
        plot=seen,
        map=strip(times, seen.rounds, columns=_COLUMNS),
        ticks=tuple(x_of(chapter.start, words) for chapter in seen.chapters[1:]),
        block=(x_of(seen.block[0], words), x_of(seen.block[1], words)) if seen.block else None,
        chapters=() if found.works else _chapters(seen, words),
        works=_works(found),
        work_heads=_work_heads(found),
        lengths=length_chart(
            classes,
            name=f"{anchor}-lengths",
            title="How long the recited spans are",
            text="; ".join(f"{low} to {high} words: {count:,}" for low, high, count in classes),
        )
        if classes[1:]
        else None,
        classes=tuple(classes),
        coverage=_coverage(found, seen, anchor),
        points=_points(seen),
        arcs=arcs(seen.links, seen.starts, words, over=found.settings["span_threshold"]),
        text=_text(found, seen),
    )


def _measure(found: PairResult, row: Measure) -> MeasureView:
    value, limit = found.measures[row.name], found.limits.get(row.name)
    low, high = found.intervals.get(row.name, (value, value))
    state = ""
    if limit is not None:
        state = "over" if is_over(found, row, limit) else "doubt" if high > limit else "within"
    places = [round(100 * one, 2) for one in (low, value, high)]
    return MeasureView(
        name=row.name,
        title=row.title,
        unit=unit(row, [found]),
        value=in_percent(row, value),
        interval=", ".join(_doubt(found, row, low, high)),
        limit="" if limit is None else in_percent(row, limit),
        state=state,
        scale=(*places, None if limit is None else round(100 * limit, 2))  # type: ignore[arg-type]
        if row.name == "bmc"
        else None,
    )


def _doubt(found: PairResult, row: Measure, low: float, high: float) -> Iterator[str]:
    if low < high:
        yield f"{in_percent(row, low).removesuffix(' %')} to {in_percent(row, high)}"
    if row.name in found.chances:
        yield f"p = {chance(found.chances[row.name])}"


def _chapters(seen: PlotData, words: int) -> tuple[ChapterView, ...]:
    """Strips of the chapters; of groups of excerpts where the book has no headings."""
    parts = [(one.title, one.start) for one in seen.chapters]
    if len(parts) == 1:
        step = max(1, -(-len(seen.starts) // 12))
        parts = [
            (_excerpts(seen, n, step), seen.starts[n]) for n in range(0, len(seen.starts), step)
        ]
    ends = [*(start for _, start in parts[1:]), words]
    longest = max(end - start for (_, start), end in zip(parts, ends, strict=True))
    columns = max(40, min(_COLUMNS // 2, _CHAPTER_COLUMNS // len(parts)))
    times = seen.times
    views = []
    for (title, start), end in zip(parts, ends, strict=True):
        own = times[start:end]
        covered = float(np.count_nonzero(own)) / max(len(own), 1)
        drawn = strip(own, seen.rounds, columns=columns, of=longest)
        views.append(ChapterView(title or "(no heading)", end - start, covered, drawn))
    return tuple(views)


def _work_heads(found: PairResult) -> tuple[str, ...]:
    told = found.works[0].measures if found.works else {}
    return tuple(name for name in table_of([found]) if name in told)


def _works(found: PairResult) -> tuple[WorkView, ...]:
    """Those that leak first, then those that could not be judged."""
    rows, heads = table_of([found]), _work_heads(found)
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    return tuple(
        WorkView(
            name=work_named(one),
            badge=verdict_badge(one.verdict),
            words=one.words,
            cells=tuple(
                (in_percent(rows[name], one.measures[name]), name in one.over) for name in heads
            ),
            reason=one.reason or "",
        )
        for one in sorted(found.works, key=lambda one: order.index(one.verdict))
    )


def _excerpts(seen: PlotData, first: int, step: int) -> str:
    last = min(first + step, len(seen.excerpts)) - 1
    if first == last:
        return seen.excerpts[first]
    return f"{seen.excerpts[first]} to {seen.excerpts[last]}"


def _coverage(found: PairResult, seen: PlotData, anchor: str) -> Markup:
    low, high = found.intervals.get("bmc", (found.measures["bmc"],) * 2)
    n = seen.rounds
    return coverage_chart(
        seen.curve,
        seen.guess,
        (low, high),
        found.limits.get("bmc"),
        name=f"{anchor}-coverage",
        title="Coverage against the number of samples",
        text=f"BMC is {percent(seen.curve[-1])} with {n} samples per excerpt, "
        f"interval {percent(low)} to {percent(high)}; a guess at twice as many is "
        f"{percent(seen.guess[-1])}.",
    )


def _points(seen: PlotData) -> tuple[tuple[int, str], ...]:
    """A few values of the curve for its table, beyond n from the guess."""
    n = seen.rounds
    wanted = sorted({1, max(1, n // 4), max(1, n // 2), n, n + max(1, n // 2), 2 * n})
    both = (*seen.curve, *seen.guess)
    return tuple((m, percent(both[m - 1])) for m in wanted)


def _text(found: PairResult, seen: PlotData) -> tuple[tuple[str, tuple[Run, ...]], ...]:
    if seen.text is None:
        return ()
    times = seen.times.tolist()
    ends = [*seen.starts[1:], found.word_count]
    return tuple(
        (name, tuple(coloured(text, times[start:end], seen.rounds, found.settings["word_mode"])))
        for name, text, start, end in zip(seen.excerpts, seen.text, seen.starts, ends, strict=True)
    )


def main_titles(findings: Sequence[PairResult]) -> dict[str, str]:
    """What the measures of an overview are, and in which unit, by name, in its order."""
    return {
        row.name: f"{row.title}, {unit(row, findings)}".strip(", ") for row in overview(findings)
    }
