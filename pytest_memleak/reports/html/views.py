"""Views of pairs: everything that the page shows, computed before the template."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, percent
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import work_name
from pytest_memleak.reports.detection_and_chance import detection_lines
from pytest_memleak.reports.generation_text import generation_lines, notice_lines
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
from pytest_memleak.reports.measure_text import (
    format_p,
    format_percent,
    limit_check,
    unit_text,
)
from pytest_memleak.reports.pair_outcome import LOOKS, Outcome, pair_outcome
from pytest_memleak.reports.passage_selection import (
    greedy_spans,
    other_book_lines,
    unique_passages,
)
from pytest_memleak.reports.setting_keys import flatten
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.results.coverage_map import decode_rounds_per_word
from pytest_memleak.scoring.measure_table import BMC, LONGEST_BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from markupsafe import Markup

    from pytest_memleak.records import LimitCheck, Measure, WorkVerdict
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.plot_records import CoverageMap, PlotData
    from pytest_memleak.reports.book_text import BookTitles
    from pytest_memleak.reports.html.charts import LengthClass
    from pytest_memleak.reports.html.coverage_strips import Arc, Run, Strip
    from pytest_memleak.scoring.array_types import PerWord

    Setting = tuple[str, str]  # a key, and its value as text

_COLUMNS = 600
_CHAPTER_COLUMNS = 3000
_MOST_GROUPS = 12
_RECIPE = ("base_model", "baseline_model", "weights_version", "job")


def verdict_outcome(verdict: Verdict | str) -> Outcome:
    """Show a bare verdict; an unknown word as inconclusive."""
    word = str(verdict)
    look = word.lower()
    if look not in LOOKS:
        look = "inconclusive"
    return Outcome(word, look)


class ShareScale(NamedTuple):
    """A share's places on a scale from 0 to 100."""

    low: float
    value: float
    high: float
    limit: float | None


@dataclass(frozen=True, slots=True)
class MeasureView:
    """One measure of a pair as shown.

    state: over, doubt, within, or "" without a limit
    scale: for shares of the book
    """

    name: str
    title: str
    unit: str
    value: str
    interval: str
    limit: str
    state: str
    scale: ShareScale | None


class ChapterView(NamedTuple):
    """A chapter.

    covered: share of its words that is reproduced
    strip:   to the longest chapter's scale
    """

    title: str
    words: int
    covered: float
    strip: Strip


class WorkView(NamedTuple):
    """A work of a collection.

    cells: the value of each measure in `work_heads`, and whether it exceeds its limit
    """

    name: str
    badge: Outcome
    record: WorkVerdict
    cells: tuple[tuple[str, bool], ...]


class ExcerptText(NamedTuple):
    """An excerpt's text, colored."""

    excerpt: str
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class PairView:
    """A pair's part of the page; without drawings where nothing was measured.

    book:        its title
    measures:    those with a limit first
    notices:     what readers must know first
    generations: all facts about the generations
    passages:    the worst, without repeats
    elsewhere:   counts for books that weren't prompted
    recipe, settings: the model's, and the pair's, key by key
    works:       of a collection, the leaking works first
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
    recipe: tuple[Setting, ...]
    settings: tuple[Setting, ...]
    plot: PlotData | None = None
    coverage_strip: Strip | None = None
    ticks: tuple[float, ...] = ()
    block: tuple[float, float] | None = None
    chapters: tuple[ChapterView, ...] = ()
    lengths: Markup | None = None
    classes: tuple[LengthClass, ...] = ()
    coverage: Markup | None = None
    points: tuple[tuple[int, str], ...] = ()
    arcs: tuple[Arc, ...] = ()
    text: tuple[ExcerptText, ...] = field(default=(), repr=False)
    works: tuple[WorkView, ...] = ()
    work_heads: tuple[str, ...] = ()

    @property
    def compared(self) -> Outcome | None:
        """Show the comparison with an earlier release."""
        if not self.result.compared:
            return None
        return verdict_outcome(self.result.compared)


def pair_views(results: Iterable[PairResult], titles: BookTitles) -> list[PairView]:
    """Build one view per result, in their order."""
    views = []
    for number, result in enumerate(results, 1):
        own_titles = titles_of_suite(titles, result.suite.name)
        views.append(_pair_view(result, f"pair-{number}", own_titles))
    return views


def titles_of_suite(titles: BookTitles, suite: str) -> dict[str, str]:
    """Return the titles of a suite's books, by their ids."""
    own = {}
    for (name, book), title in titles.items():
        if name == suite:
            own[book] = title
    return own


def _pair_view(
    result: PairResult,
    anchor: str,
    titles: Mapping[str, str],
) -> PairView:
    measures = []
    for name, row in collect_measures([result]).items():
        if name in result.values:
            measures.append(_measure_view(result, row))
    measures.sort(key=lambda measure: not measure.limit)
    every_passage = (*greedy_spans(result), *result.passages)
    passages = unique_passages(every_passage)
    view = PairView(
        anchor=anchor,
        result=result,
        book=titles[result.book.id],
        badge=pair_outcome(result),
        measures=tuple(measures),
        notices=(*detection_lines(result), *notice_lines(result)),
        generations=tuple(generation_lines(result)),
        passages=tuple(_passage_with_titles(passage, titles) for passage in passages),
        elsewhere=tuple(other_book_lines(result, titles)),
        recipe=tuple(model_recipe(result, titles)),
        settings=tuple(setting_texts(result)),
    )
    if result.plot is None or result.coverage is None:
        return view
    return _view_with_drawings(view, result.plot, result.coverage)


def _passage_with_titles(passage: Passage, titles: Mapping[str, str]) -> Passage:
    """Replace the ids of the passage's books by titles."""
    others = tuple(titles.get(book, book) for book in passage.others)
    title = passage.book
    if title:
        title = titles.get(title) or passage.title or title
    return dataclasses.replace(passage, others=others, title=title)


def _view_with_drawings(
    view: PairView,
    plot: PlotData,
    coverage: CoverageMap,
) -> PairView:
    result = view.result
    anchor = view.anchor
    times = decode_rounds_per_word(coverage)
    words = result.book.words or 0
    starts = [excerpt.start for excerpt in coverage.excerpts]
    later_chapters = plot.chapters[1:]
    classes = length_classes(plot.lengths, k=result.settings["k"])
    view = dataclasses.replace(
        view,
        plot=plot,
        coverage_strip=draw_strip(times, coverage.rounds, columns=_COLUMNS),
        ticks=tuple(x_position(chapter.start, words) for chapter in later_chapters),
        block=_block_ends(result, words),
        lengths=_draw_span_lengths(classes, anchor),
        classes=tuple(classes),
        coverage=_draw_coverage(result, plot, coverage, anchor),
        points=_points_of_curve(coverage.curve, plot.guess),
        arcs=draw_arcs(
            plot.links,
            starts,
            words,
            over=result.settings["span_threshold"],
        ),
        text=_excerpt_texts(result, plot, coverage, times),
    )
    if result.works:
        of_works = result.works[0].measures
        every_name = collect_measures([result])
        heads = tuple(name for name in every_name if name in of_works)
        works = tuple(_work_views(result, heads))
        return dataclasses.replace(view, works=works, work_heads=heads)
    chapters = tuple(_chapter_views(plot, coverage, times))
    return dataclasses.replace(view, chapters=chapters)


def _block_ends(result: PairResult, words: int) -> tuple[float, float] | None:
    """Return where the longest block begins and ends in a drawing, if there is one."""
    block = result.measures[LONGEST_BLOCK.name]
    if not block["end"]:
        return None
    start = x_position(block["start"], words)
    end = x_position(block["end"], words)
    return start, end


def _draw_span_lengths(classes: Sequence[LengthClass], anchor: str) -> Markup | None:
    """Draw the spans by length, unless one class holds them all."""
    if len(classes) <= 1:
        return None
    counts = [f"{low} to {high} words: {spans:,}" for low, high, spans in classes]
    return length_chart(
        classes,
        name=f"{anchor}-lengths",
        title="Lengths of spans",
        text="; ".join(counts),
    )


def _measure_view(result: PairResult, row: Measure) -> MeasureView:
    value = result.values[row.name]
    low, high = result.intervals.get(row.name, (value, value))
    doubt = []
    if low < high:
        low_text = format_percent(row, low).removesuffix("%")
        high_text = format_percent(row, high)
        doubt.append(f"{low_text}–{high_text}")
    if row.name in result.chances:
        p_value = result.chances[row.name]
        doubt.append(format_p(p_value))
    limit = result.limit_by_measure.get(row.name)
    limit_text = ""
    limit_place = None
    state = ""
    if limit is not None:
        check = limit_check(result, row, limit)
        limit_text = format_percent(row, limit)
        limit_place = _place_of_share(limit)
        state = _state_of_limit(check)
    scale = None
    if row.charted:
        scale = ShareScale(
            low=_place_of_share(low),
            value=_place_of_share(value),
            high=_place_of_share(high),
            limit=limit_place,
        )
    return MeasureView(
        name=row.name,
        title=row.title,
        unit=unit_text(row, [result]),
        value=format_percent(row, value),
        interval=", ".join(doubt),
        limit=limit_text,
        state=state,
        scale=scale,
    )


def _state_of_limit(check: LimitCheck) -> str:
    if check.is_exceeded:
        return "over"
    return "doubt" if check.is_in_doubt else "within"


def _place_of_share(share: float) -> float:
    """Return the place of a share on a scale from 0 to 100."""
    return round(100 * share, 2)


def _chapter_views(
    plot: PlotData,
    coverage: CoverageMap,
    times: PerWord,
) -> Iterator[ChapterView]:
    """Draw a strip per chapter; of a book without headings, per group of excerpts."""
    titles = [chapter.title for chapter in plot.chapters]
    starts = [chapter.start for chapter in plot.chapters]
    if len(titles) == 1:
        titles, starts = _excerpt_groups(coverage)
    ends = [*starts[1:], len(times)]
    lengths = np.subtract(ends, starts)
    longest = max(lengths.tolist())
    columns_each = _CHAPTER_COLUMNS // len(titles)
    columns = max(40, min(_COLUMNS // 2, columns_each))
    for title, start, end in zip(titles, starts, ends, strict=True):
        own = times[start:end]
        covered = float(np.count_nonzero(own))
        yield ChapterView(
            title=title or "(no heading)",
            words=end - start,
            covered=covered / max(len(own), 1),
            strip=draw_strip(own, coverage.rounds, columns=columns, of=longest),
        )


def _excerpt_groups(coverage: CoverageMap) -> tuple[list[str | None], list[int]]:
    """Name at most twelve groups of excerpts, and say where each begins."""
    excerpts = coverage.excerpts
    equal_share = math.ceil(len(excerpts) / _MOST_GROUPS)
    size = max(1, equal_share)
    names: list[str | None] = []
    starts = []
    for first in range(0, len(excerpts), size):
        group = excerpts[first : first + size]
        first_id = group[0].id
        last_id = group[-1].id
        ends = dict.fromkeys((first_id, last_id))
        names.append(" to ".join(ends))
        starts.append(group[0].start)
    return names, starts


def _work_views(result: PairResult, heads: Iterable[str]) -> Iterator[WorkView]:
    """List the works: leaking first, then inconclusive, then passed."""
    rows = collect_measures([result])
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    works = sorted(result.works, key=lambda work: order.index(work.verdict))
    for work in works:
        cells = []
        for name in heads:
            value = format_percent(rows[name], work.measures[name])
            cells.append((value, name in work.over))
        yield WorkView(
            name=work_name(work),
            badge=verdict_outcome(work.verdict),
            record=work,
            cells=tuple(cells),
        )


def _draw_coverage(
    result: PairResult,
    plot: PlotData,
    coverage: CoverageMap,
    anchor: str,
) -> Markup:
    bmc = result.values[BMC.name]
    low, high = result.intervals.get(BMC.name, (bmc, bmc))
    return coverage_chart(
        curve=coverage.curve,
        guess=plot.guess,
        interval=(low, high),
        limit=result.limit_by_measure.get(BMC.name),
        name=f"{anchor}-coverage",
        title="Coverage against the number of samples",
        text=(
            f"BMC is {percent(coverage.curve[-1])} with "
            f"{amount(coverage.rounds, 'sample')} per excerpt, interval {percent(low)} "
            f"to {percent(high)}; extrapolated to twice as many: "
            f"{percent(plot.guess[-1])}."
        ),
    )


def _points_of_curve(
    curve: Sequence[float],
    guess: Sequence[float],
) -> tuple[tuple[int, str], ...]:
    """Select a few points of the curve, beyond n from the extrapolation."""
    n = len(curve)
    quarter = max(1, n // 4)
    half = max(1, n // 2)
    wanted = {1, quarter, half, n, n + half, 2 * n}
    both = (*curve, *guess)
    points = []
    for samples in sorted(wanted):
        share = both[samples - 1]
        points.append((samples, percent(share)))
    return tuple(points)


def _excerpt_texts(
    result: PairResult,
    plot: PlotData,
    coverage: CoverageMap,
    times: PerWord,
) -> tuple[ExcerptText, ...]:
    if plot.text is None:
        return ()
    mode = result.settings["word_mode"]
    shown = []
    texts = zip(coverage.excerpts, plot.text, strict=True)
    for excerpt, text in texts:
        end = excerpt.start + excerpt.words
        own = times[excerpt.start : end].tolist()
        runs = heat_runs(
            text=text,
            times=own,
            rounds=coverage.rounds,
            mode=mode,
        )
        shown.append(ExcerptText(excerpt.id, tuple(runs)))
    return tuple(shown)


_PROBE_OF_KEY = {
    "probe.prefix_words": "continuation",
    "probe.continuation_template": "continuation",
    "probe.turns": "extraction",
}


def setting_texts(result: PairResult) -> Iterator[Setting]:
    """List a pair's settings, without those that its probe ignores."""
    for key, value in flatten(result.settings):
        if _PROBE_OF_KEY.get(key, result.probe) != result.probe:
            continue
        yield key.replace("probe.kind", "probe"), value_text(value)


def model_recipe(
    result: PairResult,
    titles: Mapping[str, str],
) -> Iterator[Setting]:
    """Describe the pair's model: provider, base, fine-tuning, options.

    titles: of books by their ids
    """
    model = result.model
    yield "provider", model.provider
    for key in _RECIPE:
        text = getattr(model, key)
        if text:
            yield key, text
    if model.finetune_books:
        books = _with_titles(model.finetune_books, titles)
        yield "fine-tuned on", value_text(books)
    for key, value in flatten(model.finetune, "finetune."):
        yield key, value_text(value)
    for key, value in flatten(model.options, "options."):
        shown = value
        if isinstance(value, list):
            shown = _with_titles(value, titles)
        yield key, value_text(shown)
    if model.served_names:
        yield "served_names", value_text(model.served_names)


def _with_titles(values: Iterable[Any], titles: Mapping[str, str]) -> list[Any]:
    """Replace the ids of books by their titles."""
    return [titles.get(value, value) for value in values]


def value_text(value: object) -> str:
    """Write a value as a suite file would, without quotation marks and brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return inert(str(value))
