"""Charts, drawn by pygal as SVG and colored by the report's style sheet.

pygal's style element, scripts and tooltips are removed: the page runs no script, and its colors
follow the reader's light or dark mode.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LengthClass = tuple[int, int, int]  # from, to (both included), how many

_FONTS = ("label", "major_label", "title", "value")
_FONT_SIZE = 14
_LAYOUT = {
    "width": 480,
    "height": 290,
    "margin": 6,
    "show_legend": False,
    "js": [],
    "no_data_text": "",
    "truncate_label": -1,
}
_MOST_TICKS = 6
_MOST_RANGES = 5


def length_classes(lengths: Iterable[tuple[int, int]], *, k: int) -> list[LengthClass]:
    """Count lengths in classes that double in width from k on, up to the longest."""
    counts = dict(lengths)
    longest = max(counts, default=0)
    classes, low = [], k
    while low <= longest:
        high = 2 * low - 1
        classes.append((low, high, sum(n for size, n in counts.items() if low <= size <= high)))
        low = high + 1
    return classes


def length_chart(classes: Sequence[LengthClass], *, name: str, title: str, text: str) -> Markup:
    """Draw the number of spans per length, on a logarithmic scale."""
    most = max((count for _, _, count in classes), default=1)
    decades = [10**power for power in range(len(str(most)) + 1)]
    chart = _chart(
        "Bar",
        logarithmic=True,
        zero=0.5,
        range=(0.5, max(most * 1.6, 2)),
        x_title="words in a row",
        y_title="spans",
        y_labels=[tick for tick in decades if tick <= most] or [1],
        formatter=lambda count: f"{count:,.0f}",
        print_values=True,
        print_values_position="top",
        margin_top=16,
    )
    # Narrow columns have room for the lower ends only.
    few = len(classes) <= _MOST_RANGES
    chart.x_labels = [f"{low}–{high if few else ''}" for low, high, _ in classes]
    chart.add("spans", [count or None for _, _, count in classes])
    return _svg(chart, name=name, title=title, text=text)


def coverage_chart(
    curve: Sequence[float],
    guess: Sequence[float],
    interval: tuple[float, float],
    limit: float | None,
    *,
    name: str,
    title: str,
    text: str,
) -> Markup:
    """Draw BMC against samples: exact up to n, extrapolated beyond, with its interval at n."""
    n = len(curve)
    top = max(interval[1], *curve, *guess[-1:], 0.01 if limit is None else limit)
    ceiling = min(1.0, _round_up(top * 1.08))
    chart = _chart(
        "XY",
        show_dots=False,
        range=(0, ceiling),
        xrange=(0, 2 * n),
        x_title="samples per excerpt",
        y_title="BMC",
        y_labels=[ceiling * step / 4 for step in range(5)],
        x_labels=_ticks(2 * n),
        value_formatter=lambda share: f"{100 * share:.4g}%",
        x_value_formatter=lambda samples: f"{samples:g}",
    )
    # The style sheet colors pygal's series by their number in this order.
    chart.add("interval", [(n, interval[0]), (n, interval[1])])
    chart.add("limit", [] if limit is None else [(0, limit), (2 * n, limit)])
    chart.add("guess", [(n, curve[-1]), *((n + t, share) for t, share in enumerate(guess, 1))])
    chart.add("measured", list(enumerate(curve, 1)), show_dots=n == 1)
    return _svg(chart, name=name, title=title, text=text)


def _chart(kind: str, **options: Any) -> Any:
    pygal = _pygal()
    style = pygal.style.Style(**{f"{font}_font_size": _FONT_SIZE for font in _FONTS})
    return getattr(pygal, kind)(**_LAYOUT, **options, style=style)


def _pygal() -> Any:
    """Import pygal and undo its changes to the import system.

    It leaves a finder of the old protocol, about which Python 3.11 warns at every later import; and
    its backport of importlib.metadata disables the real one.
    """
    find_distributions = vars(PathFinder).get("find_distributions")
    import pygal

    sys.meta_path[:] = [
        finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__
    ]
    if find_distributions is not None:
        setattr(PathFinder, "find_distributions", find_distributions)  # noqa: B010 - no attribute to mypy
    return pygal


def _ticks(most: int) -> list[int]:
    step = next(
        size * 10**power
        for power in range(9)
        for size in (1, 2, 5)
        if most / (size * 10**power) <= _MOST_TICKS
    )
    return list(range(0, most + 1, step))


def _round_up(share: float) -> float:
    """Round up so that four steps are round numbers, too."""
    for power in range(4, -1, -1):
        for size in (1, 2, 4, 6, 8):
            if size / 10**power >= share:
                return float(size / 10**power)
    return 1.0


def _svg(chart: Any, *, name: str, title: str, text: str) -> Markup:
    """Render the chart's bare SVG, with a title and a description for screen readers.

    name: unique in the page; letters, digits and hyphens
    """
    root = ElementTree.fromstring(chart.render())  # noqa: S314 - written by pygal just now
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    for parent in list(root.iter()):
        for child in list(parent):
            unseen = "tooltip-overlay" in child.get("class", "")
            if unseen or child.tag in {"defs", "title", "desc", "style", "script"}:
                parent.remove(child)
    for element in root.iter():
        element.attrib.pop("style", None)
        element.attrib.pop("id", None)
        for key in [key for key in element.attrib if "}" in key or ":" in key]:
            del element.attrib[key]
    root.attrib.update(
        {
            "class": f"chart {chart.__class__.__name__.lower()}",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-text",
        }
    )
    for place, (tag, content) in enumerate((("title", title), ("desc", text))):
        element = ElementTree.Element(tag, {"id": f"{name}-{'text' if place else tag}"})
        element.text = content
        root.insert(place, element)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - escaped by it
