"""Views of pairs: everything that the page shows, computed before the template."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, percent
from pytest_memleak.reports.html.charts import (
    coverage_chart,
    length_chart,
    length_classes,
)
from pytest_memleak.reports.html.coverage_strips import (
    draw_arcs,
    draw_strip,
    heat_runs,
    x_position,
)
from pytest_memleak.reports.pair_outcome import LOOKS, Outcome, pair_outcome
from pytest_memleak.reports.passage_selection import (
    greedy_spans,
    other_book_lines,
    unique_passages,
)
from pytest_memleak.reports.report_text import (
    detection_lines,
    flatten,
    format_p,
    format_percent,
    generation_lines,
    limit_check,
    notice_lines,
    unit_text,
    work_name,
)
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.results.coverage_map import decode_times
from pytest_memleak.scoring.measure_table import BMC, LONGEST_BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from markupsafe import Markup
    from numpy.typing import NDArray

    from pytest_memleak.records import Measure, WorkVerdict
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.plot_records import CoverageMap, PlotData
    from pytest_memleak.reports.html.charts import LengthClass
    from pytest_memleak.reports.html.coverage_strips import Arc, Run, Strip

_COLUMNS = 600
_CHAPTER_COLUMNS = 3000
_RECIPE = ("base_model", "baseline_model", "weights_version", "job")


def verdict_outcome(verdict: Verdict | str) -> Outcome:
    """Show a bare verdict; an unknown word as inconclusive."""
    word = str(verdict)
    return Outcome(word, word.lower() if word.lower() in LOOKS else "inconclusive")


@dataclass(frozen=True, slots=True)
class MeasureView:
    """One measure of a pair as shown.

    state: over, doubt, within, or "" without a limit
    scale: for shares of the book, the places of low, value, high and limit from 0 to
    100
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
class PairView:
    """A pair's part of the page; plot and all drawings are None where nothing was measured.

    book:      its title
    measures:  those with a limit first
    notices:   what readers must know first; generations: all facts about the
    generations
    passages:  the worst, without repeats; elsewhere: counts for books that weren't
    prompted
    recipe, settings: the model's, and the pair's, key by key
    chapters:  title, words, share that is reproduced, and strip to the longest one's
    scale
    works:     of a collection, the leaking works first: name, badge, record, and the
    value of each
               measure in `work_heads`, with whether it exceeds its limit
    """

    anchor: str
    result: PairResult
    book: str
    badge: Outcome
    measures: tuple[MeasureView, ...]
    notices: tuple[str, ...]
    generations: tuple[str, ...]
    passages: tuple[Passage, ...]
    elsewhere: tuple[str, ...]
    recipe: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    plot: PlotData | None = None
    map: Strip | None = None
    ticks: tuple[float, ...] = ()
    block: tuple[float, float] | None = None
    chapters: tuple[tuple[str, int, float, Strip], ...] = ()
    lengths: Markup | None = None
    classes: tuple[LengthClass, ...] = ()
    coverage: Markup | None = None
    points: tuple[tuple[int, str], ...] = ()
    arcs: tuple[Arc, ...] = ()
    text: tuple[tuple[str, tuple[Run, ...]], ...] = field(default=(), repr=False)
    works: tuple[
        tuple[str, Outcome, WorkVerdict, tuple[tuple[str, bool], ...]], ...
    ] = ()
    work_heads: tuple[str, ...] = ()

    @property
    def compared(self) -> Outcome | None:
        """Show the comparison with an earlier release."""
        return verdict_outcome(self.result.compared) if self.result.compared else None


def pair_views(
    results: Iterable[PairResult], titles: Mapping[tuple[str, str], str]
) -> list[PairView]:
    """Build one view per result, in their order. titles: of books, by suite and id."""
    views = []
    for n, result in enumerate(results, 1):
        own = {
            book: title
            for (suite, book), title in titles.items()
            if suite == result.suite.name
        }
        views.append(_pair_view(result, f"pair-{n}", own))
    return views


def _pair_view(result: PairResult, anchor: str, titles: Mapping[str, str]) -> PairView:
    rows = collect_measures([result])
    measures = [
        _measure(result, row) for name, row in rows.items() if name in result.values
    ]
    view = PairView(
        anchor=anchor,
        result=result,
        book=titles[result.book.id],
        badge=pair_outcome(result),
        measures=tuple(sorted(measures, key=lambda measure: not measure.limit)),
        notices=(*detection_lines(result), *notice_lines(result)),
        generations=tuple(generation_lines(result)),
        passages=tuple(
            _titled(passage, titles)
            for passage in unique_passages((*greedy_spans(result), *result.passages))
        ),
        elsewhere=tuple(other_book_lines(result, titles)),
        recipe=tuple(model_recipe(result, titles)),
        settings=tuple(setting_texts(result)),
    )
    if result.plot is None or result.coverage is None:
        return view
    return _drawn(view, result.plot, result.coverage)


def _titled(passage: Passage, titles: Mapping[str, str]) -> Passage:
    """Replace the ids of the passage's books by titles."""
    others = tuple(titles.get(book, book) for book in passage.others)
    title = passage.book and (titles.get(passage.book) or passage.title or passage.book)
    return dataclasses.replace(passage, others=others, title=title)


def _drawn(view: PairView, plot: PlotData, coverage: CoverageMap) -> PairView:
    result, anchor = view.result, view.anchor
    times, words = decode_times(coverage), result.book.words or 0
    block = result.measures[LONGEST_BLOCK.name]
    starts = [excerpt.start for excerpt in coverage.excerpts]
    classes = length_classes(plot.lengths, k=result.settings["k"])
    of_works = result.works[0].measures if result.works else {}
    heads = tuple(name for name in collect_measures([result]) if name in of_works)
    return dataclasses.replace(
        view,
        plot=plot,
        map=draw_strip(times, coverage.rounds, columns=_COLUMNS),
        ticks=tuple(x_position(chapter.start, words) for chapter in plot.chapters[1:]),
        block=(x_position(block["start"], words), x_position(block["end"], words))
        if block["end"]
        else None,
        chapters=() if result.works else tuple(_chapters(plot, coverage, times)),
        works=tuple(_works(result, heads)),
        work_heads=heads,
        lengths=length_chart(
            classes,
            name=f"{anchor}-lengths",
            title="Lengths of spans",
            text="; ".join(
                f"{low} to {high} words: {count:,}" for low, high, count in classes
            ),
        )
        if classes[1:]
        else None,
        classes=tuple(classes),
        coverage=_coverage(result, plot, coverage, anchor),
        points=_points(coverage.curve, plot.guess),
        arcs=draw_arcs(
            plot.links, starts, words, over=result.settings["span_threshold"]
        ),
        text=_text(result, plot, coverage, times),
    )


def _measure(result: PairResult, row: Measure) -> MeasureView:
    value, limit = result.values[row.name], result.limit_values.get(row.name)
    low, high = result.intervals.get(row.name, (value, value))
    state = ""
    if limit is not None:
        check = limit_check(result, row, limit)
        state = "over" if check.over else "doubt" if check.in_doubt else "within"
    doubt = []
    if low < high:
        doubt.append(
            f"{format_percent(row, low).removesuffix('%')}–{format_percent(row, high)}"
        )
    if row.name in result.chances:
        doubt.append(format_p(result.chances[row.name]))
    places = [round(100 * share, 2) for share in (low, value, high)]
    return MeasureView(
        name=row.name,
        title=row.title,
        unit=unit_text(row, [result]),
        value=format_percent(row, value),
        interval=", ".join(doubt),
        limit="" if limit is None else format_percent(row, limit),
        state=state,
        scale=(*places, None if limit is None else round(100 * limit, 2))  # type: ignore[arg-type]
        if row.charted
        else None,
    )


def _chapters(
    plot: PlotData, coverage: CoverageMap, times: NDArray[np.intc]
) -> Iterator[tuple[str, int, float, Strip]]:
    """Draw a strip per chapter, or per group of excerpts where the book has no headings."""
    parts = [(chapter.title, chapter.start) for chapter in plot.chapters]
    if len(parts) == 1:
        step = max(1, -(-len(coverage.excerpts) // 12))
        groups = (
            coverage.excerpts[n : n + step]
            for n in range(0, len(coverage.excerpts), step)
        )
        parts = [
            (" to ".join(dict.fromkeys((group[0].id, group[-1].id))), group[0].start)
            for group in groups
        ]
    ends = [*(start for _, start in parts[1:]), len(times)]
    longest = max(end - start for (_, start), end in zip(parts, ends, strict=True))
    columns = max(40, min(_COLUMNS // 2, _CHAPTER_COLUMNS // len(parts)))
    for (title, start), end in zip(parts, ends, strict=True):
        own = times[start:end]
        covered = float(np.count_nonzero(own)) / max(len(own), 1)
        drawn = draw_strip(own, coverage.rounds, columns=columns, of=longest)
        yield title or "(no heading)", end - start, covered, drawn


def _works(
    result: PairResult, heads: Iterable[str]
) -> Iterator[tuple[str, Outcome, WorkVerdict, tuple[tuple[str, bool], ...]]]:
    """List the works: leaking first, then inconclusive, then passed."""
    rows = collect_measures([result])
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    for work in sorted(result.works, key=lambda work: order.index(work.verdict)):
        cells = (
            (format_percent(rows[name], work.measures[name]), name in work.over)
            for name in heads
        )
        yield work_name(work), verdict_outcome(work.verdict), work, tuple(cells)


def _coverage(
    result: PairResult, plot: PlotData, coverage: CoverageMap, anchor: str
) -> Markup:
    low, high = result.intervals.get(BMC.name, (result.values[BMC.name],) * 2)
    return coverage_chart(
        coverage.curve,
        plot.guess,
        (low, high),
        result.limit_values.get(BMC.name),
        name=f"{anchor}-coverage",
        title="Coverage against the number of samples",
        text=f"BMC is {percent(coverage.curve[-1])} with {amount(coverage.rounds, 'sample')} per "
        f"excerpt, interval {percent(low)} to {percent(high)}; extrapolated to twice "
        "as many: "
        f"{percent(plot.guess[-1])}.",
    )


def _points(
    curve: Sequence[float], guess: Sequence[float]
) -> tuple[tuple[int, str], ...]:
    """Select a few points of the curve, beyond n from the extrapolation."""
    n = len(curve)
    wanted = sorted({1, max(1, n // 4), max(1, n // 2), n, n + max(1, n // 2), 2 * n})
    both = (*curve, *guess)
    return tuple((m, percent(both[m - 1])) for m in wanted)


def _text(
    result: PairResult, plot: PlotData, coverage: CoverageMap, times: NDArray[np.intc]
) -> tuple[tuple[str, tuple[Run, ...]], ...]:
    mode = result.settings["word_mode"]
    shown = []
    for excerpt, text in zip(
        coverage.excerpts, plot.text or (), strict=plot.text is not None
    ):
        own = times[excerpt.start : excerpt.start + excerpt.words].tolist()
        shown.append((excerpt.id, tuple(heat_runs(text, own, coverage.rounds, mode))))
    return tuple(shown)


def setting_texts(result: PairResult) -> Iterator[tuple[str, str]]:
    """List a pair's settings, without those that its probe ignores."""
    for key, value in flatten(result.settings):
        if key == "probe.prefix_words" and result.probe != "continuation":
            continue
        yield key.replace("probe.kind", "probe"), value_text(value)


def model_recipe(
    result: PairResult, titles: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Describe the pair's model: provider, base, fine-tuning, options.

    titles: of books by their ids
    """
    model = result.model
    yield "provider", model.provider
    recipe = ((key, getattr(model, key)) for key in _RECIPE)
    yield from ((key, value) for key, value in recipe if value)
    if model.finetune_books:
        yield (
            "fine-tuned on",
            ", ".join(titles.get(value, value) for value in model.finetune_books),
        )
    yield from (
        (key, value_text(value)) for key, value in flatten(model.finetune, "finetune.")
    )
    for key, value in flatten(model.options, "options."):
        books = (
            [titles.get(value, value) for value in value]
            if isinstance(value, list)
            else value
        )
        yield key, value_text(books)
    if model.served_names:
        yield "served_names", value_text(model.served_names)


def value_text(value: object) -> str:
    """Write a value as a suite file would, without quotation marks and brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return str(value)
