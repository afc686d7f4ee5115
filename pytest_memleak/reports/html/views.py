"""What the page shows of each pair and of each book: everything worked out before the template."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.findings.finding import main_measures
from pytest_memleak.records import Verdict
from pytest_memleak.reports.html.book_text import coloured
from pytest_memleak.reports.html.charts import coverage_chart, length_chart, length_classes
from pytest_memleak.reports.html.strips import arcs, strip, x_of
from pytest_memleak.reports.html.window_strip import WindowMap, window_map
from pytest_memleak.scoring.similarity import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markupsafe import Markup

    from pytest_memleak.records.finding import Finding
    from pytest_memleak.records.plot import PlotData
    from pytest_memleak.reports.html.book_text import Run
    from pytest_memleak.reports.html.charts import LengthClass
    from pytest_memleak.reports.html.strips import Arc, Strip
    from pytest_memleak.scoring.similarity import Similarity

__all__ = [
    "Badge",
    "BookView",
    "Measure",
    "PairView",
    "book_views",
    "main_titles",
    "pair_views",
    "percent",
]

_COLUMNS = 600
_CHAPTER_COLUMNS = 3000
_LONGEST_LISTED = 10
_SHARES = (
    "bmc",
    "bmc_excess",
    "uplift",
    "nv_recall",
    "greedy_bmc",
    "extractable",
    "extractable_plain",
)
_TITLES = {
    "bmc": ("Coverage", "BMC@{k}"),
    "longest_block": ("Longest block", "words"),
    "longest_span": ("Longest span", "words"),
    "spans_over": ("Long spans", "over {span_threshold} words"),
    "bmc_excess": ("Above chance", "BMC minus null"),
    "uplift": ("Above baseline", "BMC minus baseline's"),
    "nv_recall": ("Near-verbatim", "share of book"),
    "nv_longest_span": ("Near-verbatim span", "words"),
    "greedy_bmc": ("Likeliest answers", "BMC@{k}"),
    "greedy_longest_span": ("Likeliest span", "words"),
    "extractable": ("Extractable", "share of windows"),
    "extractable_plain": ("Extractable, plain product", "share of windows"),
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict as shown: never by colour alone."""

    word: str
    mark: str
    kind: str


@dataclass(frozen=True, slots=True)
class Measure:
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
class PairView:
    """A pair's part of the page; plot and all drawings are None where nothing was measured."""

    anchor: str
    found: Finding
    badge: Badge
    measures: tuple[Measure, ...]
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


@dataclass(frozen=True, slots=True)
class BookView:
    """Models compared on one book: their strips, and a matrix of Jaccard indices.

    cells: rows x columns; the diagonal's is the self-agreement, without a baseline.
    left_out: models whose masks cannot be compared, since the book was cut or counted otherwise.
    """

    anchor: str
    book: str
    suite: str
    pairs: tuple[PairView, ...]
    cells: tuple[tuple[Similarity | float, ...], ...]
    left_out: tuple[str, ...]


# --- pairs ---------------------------------------------------------------------------------


def pair_views(findings: Iterable[Finding]) -> list[PairView]:
    """One view per finding, in their order."""
    return [_pair_view(found, f"pair-{n}") for n, found in enumerate(findings, 1)]


def _pair_view(found: Finding, anchor: str) -> PairView:
    known = [name for name in _TITLES if name in found.measures]
    brought = [name for name in found.measures if name not in _TITLES]
    measures = tuple(_measure(found, name) for name in known + brought)
    seen = found.plot
    if seen is None:
        windows = found.evidence.get("windows")
        drawn = window_map(windows) if windows else None
        return PairView(anchor, found, _badge(found), measures, windows=drawn)
    times, words = seen.times, found.words
    classes = length_classes(seen.lengths, k=found.settings["k"])
    return PairView(
        anchor,
        found,
        _badge(found),
        measures,
        plot=seen,
        map=strip(times, seen.rounds, columns=_COLUMNS),
        ticks=tuple(x_of(chapter.start, words) for chapter in seen.chapters[1:]),
        block=(x_of(seen.block[0], words), x_of(seen.block[1], words)) if seen.block else None,
        chapters=_chapters(seen, words),
        lengths=length_chart(
            classes,
            name=f"{anchor}-lengths",
            title="How long the recited spans are",
            text="; ".join(f"{low} to {high} words: {count:,}" for low, high, count in classes),
        )
        if classes
        else None,
        classes=tuple(classes),
        coverage=_coverage(found, seen, anchor),
        points=_points(seen),
        arcs=arcs(seen.links, seen.starts, words),
        text=_text(found, seen),
    )


def _badge(found: Finding) -> Badge:
    verdict = Verdict(found.verdict)
    if verdict is Verdict.FAIL and found.expected == "leak":
        return Badge("FAIL (expected)", "✗", "expected")
    if verdict is Verdict.PASS and found.expected == "leak":
        return Badge("PASS (a leak was expected)", "!", "inconclusive")
    mark = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?"}[verdict]
    return Badge(verdict.value, mark, verdict.value.lower())


def _measure(found: Finding, name: str) -> Measure:
    title, unit = _TITLES.get(name, (name, ""))  # an extension's has no other title
    value, limit = found.measures[name], found.limits.get(name)
    low, high = found.intervals.get(name, (value, value))
    show = percent if name in _SHARES else _count if name in _TITLES else _plain
    state = ""
    if limit is not None:
        state = "over" if value > limit else "doubt" if high > limit else "within"
    places = [round(100 * one, 2) for one in (low, value, high)]
    return Measure(
        name=name,
        title=title,
        unit=unit.format(**found.settings),
        value=show(value),
        interval=f"{show(low).removesuffix(' %')} to {show(high)}" if low < high else "",
        limit="" if limit is None else show(limit),
        state=state,
        scale=(*places, None if limit is None else round(100 * limit, 2))  # type: ignore[arg-type]
        if name == "bmc"
        else None,
    )


def percent(share: float) -> str:
    """A share of the book, to three places where it is small."""
    shown = 100 * share
    places = 2 if shown and abs(shown) < 1 else 1
    return f"{shown:.{places}f} %".replace("-", "−")


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _plain(number: float) -> str:
    return f"{number:,.4g}"


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


def _excerpts(seen: PlotData, first: int, step: int) -> str:
    last = min(first + step, len(seen.excerpts)) - 1
    if first == last:
        return seen.excerpts[first]
    return f"{seen.excerpts[first]} to {seen.excerpts[last]}"


def _coverage(found: Finding, seen: PlotData, anchor: str) -> Markup:
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


def _text(found: Finding, seen: PlotData) -> tuple[tuple[str, tuple[Run, ...]], ...]:
    if seen.text is None:
        return ()
    times = seen.times.tolist()
    ends = [*seen.starts[1:], found.words]
    return tuple(
        (name, tuple(coloured(text, times[start:end], seen.rounds, found.settings["words"])))
        for name, text, start, end in zip(seen.excerpts, seen.text, seen.starts, ends, strict=True)
    )


def main_titles(findings: Sequence[Finding]) -> dict[str, tuple[str, str]]:
    """Headings of the main measures, with k and T; with the letters where pairs differ in them.

    In the order in which an overview shows them.
    """
    letters = {"k": "k", "span_threshold": "T"}
    settings: dict[str, object] = {}
    for name, letter in letters.items():
        values = {found.settings[name] for found in findings}
        settings[name] = values.pop() if len(values) == 1 else letter
    return {
        name: (title, unit.format(**settings))
        for name in main_measures(findings)
        for title, unit in [_TITLES[name]]
    }


# --- books ---------------------------------------------------------------------------------


def book_views(views: Iterable[PairView]) -> list[BookView]:
    """One view per book that was measured with at least one model."""
    by_book: dict[tuple[str, str], list[PairView]] = {}
    for view in views:
        if view.plot:
            by_book.setdefault((view.found.suite, view.found.book), []).append(view)
    return [
        _book_view(pairs, f"book-{n}", suite=suite, book=book)
        for n, ((suite, book), pairs) in enumerate(by_book.items(), 1)
    ]


def _book_view(pairs: Sequence[PairView], anchor: str, *, suite: str, book: str) -> BookView:
    alike = [one for one in pairs if _counted(one) == _counted(pairs[0])]
    left_out = tuple(one.found.model for one in pairs if one not in alike)
    masks = [one.plot.times > 0 for one in alike if one.plot]
    agreements = [one.plot.agreement for one in alike if one.plot]
    size = range(len(masks))
    similar = {(i, j): compare(masks[i], masks[j]) for i, j in itertools.combinations(size, 2)}
    cells = tuple(
        tuple(agreements[i] if i == j else similar[min(i, j), max(i, j)] for j in size)
        for i in size
    )
    return BookView(anchor, book, suite, tuple(alike), cells, left_out)


def _counted(view: PairView) -> tuple[object, ...]:
    """What must be the same for two masks to be of the same words."""
    settings = view.found.settings
    return view.found.words, view.found.book_digest, settings["words"], settings["k"]
