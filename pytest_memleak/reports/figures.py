"""Figures of evidence bundles for papers, drawn by matplotlib as SVG and PDF.

No figure contains a word of a book but its title.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.errors import SettingsError, install_command
from pytest_memleak.records import Estimate
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.html.coverage_strips import HEAT_STEPS, book_columns, heat_labels
from pytest_memleak.results.coverage_map import compare_coverage, compare_models, decode_times
from pytest_memleak.scoring.measure_table import BMC, LONGEST_BLOCK
from pytest_memleak.scoring.measures import Similarity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pytest_memleak.records.plot_records import CoverageMap
    from pytest_memleak.reports.evidence_table import Evidence
    from pytest_memleak.results.coverage_map import ModelMatrix

    Books = Mapping[str, Sequence["PlottedPair"]]

# Okabe and Ito's palette is safe for color-blind readers; marks serve grayscale prints.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = "osD^vPX"
_HEAT = ("#fdd49e", "#fdae6b", "#f16913", "#d94801", "#7f2704")
_GRAY = "#777777"
_WIDTH = 5.5  # inches: a column of text
_COLUMNS = 400
_ACROSS = 2
_DARK = 0.6
_BAR: Mapping[str, Any] = {"markersize": 3.5, "elinewidth": 0.9, "capsize": 2}
_STYLE: Mapping[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.05,
    # Text stays text, and equal evidence gives equal files.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "memleak",
    "pdf.fonttype": 42,
}
_UNDATED: Mapping[str, Mapping[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def write_figures(evidence: Evidence, folder: Path) -> tuple[list[Path], list[str]]:
    """Write each figure as SVG and PDF; return the files, and why others are missing.

    Raises SettingsError without the extra `tables`, and where no pair can be drawn.
    """
    written: list[Path] = []
    drawn, left_out = figures_of(evidence)
    folder.mkdir(parents=True, exist_ok=True)
    with _matplotlib().rc_context(_STYLE), warnings.catch_warnings():
        # A script without a font here shows as boxes in PDF; SVG keeps the text.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        for name, figure in drawn.items():
            for form, undated in _UNDATED.items():
                path = folder / f"{name}.{form}"
                figure.savefig(path, format=form, metadata=dict(undated))
                written.append(path)
    return written, left_out


def figures_of(evidence: Evidence) -> tuple[dict[str, Figure], list[str]]:
    """Draw the figures, by name; also return why others are missing.

    coverage: where in each book; samples: BMC against samples; spans: counts by length; bmc: BMC of
    all pairs with intervals and limits; overlap: whether models reproduce the same words
    """
    mpl = _matplotlib()
    if not (books := plotted_pairs(evidence)):
        raise SettingsError(
            "the evidence contains nothing to draw",
            hint=evidence.missing[0] if evidence.missing else "it has no pairs",
        )
    left_out = []
    with mpl.rc_context(_STYLE):
        drawn = {"coverage": _coverage(books), "samples": _samples(books), BMC.name: _bmc(books)}
        if any(pair.coverage.spans for pairs in books.values() for pair in pairs):
            drawn["spans"] = _spans(books)
        else:
            left_out.append("spans: no pair has a span over its span_threshold")
        if matrices := overlaps(books):
            drawn["overlap"] = _overlap(matrices)
        else:
            left_out.append("overlap: no book was tested with two models")
    return drawn, left_out


@dataclass(frozen=True, slots=True)
class PlottedPair:
    """A pair with a coverage map.

    label:    its model, distinct among the pairs of the book
    coverage: its map; times: for each word of the book, the rounds that cover it; (N,)
    bmc, limit: BMC with its interval, and its limit, if any
    block:    first word and end of the longest block, None without one
    agreement: the model's self-agreement
    """

    label: str
    bmc: Estimate
    limit: float | None
    threshold: int
    coverage: CoverageMap = field(repr=False)
    times: NDArray[np.intc] = field(repr=False)
    block: tuple[int, int] | None
    agreement: float | None


def plotted_pairs(evidence: Evidence) -> dict[str, list[PlottedPair]]:
    """Collect the pairs with a coverage map, by the titles of their books.

    Raises EvidenceError for a map that doesn't fit its book.
    """
    books: dict[str, list[PlottedPair]] = {}
    rows = zip(evidence.pairs, evidence.rows, evidence.columns, strict=True)
    for (_, pair), row, label in rows:
        if (coverage := pair.coverage) is None:
            continue
        block = pair.measures.get(LONGEST_BLOCK.name, {})
        drawn = PlottedPair(
            label=inert(label),
            bmc=Estimate(*(row[f"{BMC.name}{end}"] for end in ("", "_low", "_high"))),
            limit=row.get(f"{BMC.name}_limit"),
            threshold=pair.settings["span_threshold"],
            coverage=coverage,
            times=decode_times(coverage),
            block=(block["start"], block["end"]) if block.get("end") else None,
            agreement=pair.measures.get("self_agreement", {}).get("value"),
        )
        books.setdefault(inert(evidence.titles[row["book"]]), []).append(drawn)
    return books


def span_counts(pair: PlottedPair) -> tuple[list[int], list[int]]:
    """List the distinct lengths of spans over T, and how many spans are at least that long."""
    spans = np.sort([span.end - span.start for span in pair.coverage.spans]).astype(int)
    lengths, first = np.unique(spans, return_index=True)
    return lengths.tolist(), (len(spans) - first).tolist()


def overlaps(books: Books) -> dict[str, tuple[list[str], ModelMatrix]]:
    """Compare the models of each book whose excerpts are the same; also return their labels."""
    matrices = {}
    for title, pairs in books.items():
        alike = [pair for pair in pairs if compare_coverage(pair.coverage, pairs[0].coverage)]
        if len(alike) > 1:
            matrix = compare_models(
                [pair.coverage for pair in alike], [pair.agreement for pair in alike]
            )
            matrices[title] = ([pair.label for pair in alike], matrix)
    return matrices


def _coverage(books: Books) -> Figure:
    """Draw a strip per model; a column's height is the share of its words that are reproduced."""
    from matplotlib.patches import Patch

    rows = [len(pairs) for pairs in books.values()]
    height = 0.8 + sum(0.27 * count + 0.5 for count in rows)
    figure, panels = _panels(len(books), 1, height, ratios=[0.27 * count + 0.1 for count in rows])
    for axes, (title, pairs) in zip(panels, books.items(), strict=True):
        for at, pair in enumerate(reversed(pairs)):
            _draw_strip(axes, pair, at)
        labels = [pair.label for pair in reversed(pairs)]
        axes.set_yticks([at + 0.37 for at in range(len(pairs))], labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, max(len(pair.times) for pair in pairs))
        axes.set_ylim(-0.2, len(pairs) - 0.2)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(title, loc="left")
    panels[-1].set_xlabel("word of the book")
    figure.legend(
        handles=[Patch(color=c, label=x) for x, c in zip(heat_labels(), _HEAT, strict=True)],
        title="share of rounds that reproduce a word; line below: longest block",
        loc="outside lower center",
        ncols=len(_HEAT),
        handlelength=1.2,
        columnspacing=1.4,
    )
    return figure


def _draw_strip(axes: Axes, pair: PlottedPair, at: int) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    strip = book_columns(pair.times, pair.coverage.rounds, columns=_COLUMNS)
    levels = np.minimum(np.searchsorted(HEAT_STEPS, strip.frequency - 1e-9), len(_HEAT) - 1)
    heights = np.where(strip.covered > 0, np.maximum(strip.covered, 0.06), 0).round(2)
    # Merging equal neighbors, and all columns of a level, avoids seams.
    unlike = (np.diff(levels, prepend=-1) != 0) | (np.diff(heights, prepend=-1) != 0)
    left = strip.left[unlike]
    right = np.append(left[1:], len(pair.times))
    top = at + 0.74 * heights[unlike]
    axes.barh(at + 0.37, len(pair.times), 0.74, color="#f3f3f3", linewidth=0)
    for level, color in enumerate(_HEAT):
        at_level = (levels[unlike] == level) & (top > at)
        low = np.full(int(at_level.sum()), float(at))
        x, y = (left[at_level], right[at_level]), (low, top[at_level])
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        boxes = np.moveaxis(np.array(corners), 2, 0)
        path = Path.make_compound_path_from_polys(boxes)
        axes.add_patch(PathPatch(path, facecolor=color, linewidth=0))
    if pair.block:
        axes.plot(pair.block, [at - 0.1] * 2, color="black", linewidth=1.5, solid_capstyle="butt")


def _samples(books: Books) -> Figure:
    """Draw the expected BMC of 1, 2, ... n rounds, with its interval at n."""
    from matplotlib.ticker import MaxNLocator

    figure, panels = _panels(len(books), _ACROSS)
    looks = _looks(books)
    for axes, (title, pairs) in zip(panels, books.items(), strict=True):
        most = max(len(pair.coverage.curve) for pair in pairs)
        for place, pair in enumerate(pairs):
            curve, (color, mark) = pair.coverage.curve, looks[pair.label]
            axes.plot(range(1, len(curve) + 1), curve, color=color)
            # Shifted, since intervals of several models would overlap.
            at = len(curve) + most * 0.02 * place
            axes.errorbar([at], [pair.bmc.value], _ends(pair.bmc), fmt=mark, color=color, **_BAR)
        for limit in {pair.limit for pair in pairs if pair.limit is not None}:
            axes.axhline(limit, color=_GRAY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(title, loc="left")
    _name_axes(panels, "samples per excerpt", BMC.name)
    _add_legend(figure, looks, "dashed: the limit")
    return figure


def _spans(books: Books) -> Figure:
    """Draw how many distinct spans over T are at least that long, on logarithmic scales."""
    figure, panels = _panels(len(books), _ACROSS)
    looks = _looks(books)
    for axes, (title, pairs) in zip(panels, books.items(), strict=True):
        without = []
        for pair in pairs:
            lengths, counts = span_counts(pair)
            color, mark = looks[pair.label]
            if lengths:
                axes.step([pair.threshold + 1, *lengths], [counts[0], *counts], color=color)
                axes.plot(lengths[-1:], counts[-1:], mark, color=color, markersize=3.5)
            else:
                without.append(pair.label)
        if without:
            note = f"none over {pairs[0].threshold}:\n" + "\n".join(without)
            axes.text(
                0.98, 0.97, note, transform=axes.transAxes,
                ha="right", va="top", color=_GRAY, fontsize=7,
            )  # fmt: skip
        if len(without) < len(pairs):
            _make_logarithmic(axes)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        axes.set_title(title, loc="left")
    _name_axes(panels, "words in a row", "spans at least as long")
    _add_legend(figure, looks)
    return figure


def _bmc(books: Books) -> Figure:
    """Draw each pair's BMC with its interval and limit, one below the other."""
    rows = sum(map(len, books.values()))
    figure, (axes,) = _panels(1, 1, 0.7 + 0.19 * (rows + 1.3 * len(books)))
    looks = _looks(books)
    at, ticks = 0.0, []
    for title, pairs in books.items():
        at -= 1.3
        ticks.append((at, title))
        for pair in pairs:
            at -= 1
            ticks.append((at, pair.label))
            color, mark = looks[pair.label]
            axes.errorbar(
                [pair.bmc.value], [at], xerr=_ends(pair.bmc), fmt=mark, color=color, **_BAR
            )
            if pair.limit is not None:
                axes.vlines(pair.limit, at - 0.4, at + 0.4, color=_GRAY, linewidth=1)
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    for label in axes.get_yticklabels():
        if label.get_text() in books:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(at - 0.8, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("bmc, with its interval; gray: the limit")
    return figure


def _overlap(books: Mapping[str, tuple[list[str], ModelMatrix]]) -> Figure:
    """Draw the overlap of models, a matrix per book."""
    across = min(_ACROSS, len(books))
    side = min(_WIDTH / across, 1.2 + 0.45 * max(len(labels) for labels, _ in books.values()))
    figure, panels = _panels(len(books), across, side * math.ceil(len(books) / across))
    for axes, (title, (labels, matrix)) in zip(panels, books.items(), strict=True):
        shares = np.full((len(labels), len(labels)), np.nan)
        for (y, x), _ in np.ndenumerate(shares):
            cell = matrix[y][x]
            text = "–" if cell is None else ""
            if isinstance(cell, Similarity):
                shares[y, x], text = cell.jaccard, f"{cell.jaccard:.2f}\n({cell.baseline:.2f})"
            elif cell is not None:
                shares[y, x], text = cell, f"{cell:.2f}"
            color = "white" if shares[y, x] > _DARK else "black"
            axes.text(x, y, text, ha="center", va="center", color=color, fontsize=7)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        places = range(len(labels))
        axes.set_xticks(places, labels, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks(places, labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title, loc="left")
    caption = "Jaccard index of reproduced words (if independent); diagonal: self-agreement"
    figure.supxlabel(caption, fontsize=7)
    return figure


def _ends(bmc: Estimate) -> list[list[float]]:
    """Return how far the interval reaches below and above the value."""
    return [[max(bmc.value - bmc.low, 0)], [max(bmc.high - bmc.value, 0)]]


def _panels(
    count: int, across: int, height: float | None = None, *, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Create a figure with `count` panels, `across` of them in a row."""
    from matplotlib.figure import Figure

    across = min(across, count)
    down = math.ceil(count / across)
    figure = Figure(figsize=(_WIDTH, height or 2.1 * down + 0.5), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, height_ratios=ratios).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def _looks(books: Books) -> dict[str, tuple[str, str]]:
    """Assign each model a color and a mark, the same in every figure."""
    labels = dict.fromkeys(pair.label for pairs in books.values() for pair in pairs)
    return {
        label: (_COLORS[place % len(_COLORS)], _MARKS[place % len(_MARKS)])
        for place, label in enumerate(labels)
    }


def _add_legend(figure: Figure, looks: Mapping[str, tuple[str, str]], more: str = "") -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        handles=[
            Line2D([], [], color=color, marker=mark, markersize=3.5, label=label)
            for label, (color, mark) in looks.items()
        ],
        title=more or None,
        loc="outside lower center",
        ncols=min(len(looks), 4),
    )


def _name_axes(panels: Iterable[Axes], x: str, y: str) -> None:
    for axes in panels:
        place = axes.get_subplotspec()
        if place and place.is_last_row():
            axes.set_xlabel(x)
        if place and place.is_first_col():
            axes.set_ylabel(y)


def _make_logarithmic(axes: Axes) -> None:
    """Set logarithmic scales with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, steps in ((axes.xaxis, (1, 2, 3, 5, 7)), (axes.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter("{x:,.0f}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0.8)


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise SettingsError(
            "figures need the package matplotlib",
            hint=f"install it with: {install_command('tables')}",
        ) from None
    return mpl
