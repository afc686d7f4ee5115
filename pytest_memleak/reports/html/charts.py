"""Charts as SVG, colored by the report's style sheet: spans by length, BMC by samples.

No charting library draws them: the page runs no script, and its colors follow the
reader's light or dark mode.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class LengthClass(NamedTuple):
    """How many spans have a length from `low` to `high`, both included, in words."""

    low: int
    high: int
    spans: int


_WIDTH = 480
_HEIGHT = 290
# Of the plot.
_LEFT = 78
_RIGHT = 464
_TOP = 20
_BOTTOM = 238
_MOST_TICKS = 6
_MOST_RANGES = 5


class _Scale(NamedTuple):
    """A scale from a least and a most value to two places of the drawing."""

    least: float
    most: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the place of a value."""
        extent = self.most - self.least
        share = (value - self.least) / extent
        offset = share * (self.end - self.start)
        return round(self.start + offset, 2)


def length_classes(lengths: Iterable[tuple[int, int]], *, k: int) -> list[LengthClass]:
    """Count lengths in classes that double in width from k on, up to the longest."""
    counts = dict(lengths)
    longest = max(counts, default=0)
    classes = []
    low = k
    while low <= longest:
        high = 2 * low - 1
        spans = 0
        for length, count in counts.items():
            if low <= length <= high:
                spans += count
        classes.append(LengthClass(low, high, spans))
        low = high + 1
    return classes


def length_chart(
    classes: Sequence[LengthClass],
    *,
    name: str,
    title: str,
    text: str,
) -> Markup:
    """Draw the number of spans per length, on a logarithmic scale."""
    most = max((each.spans for each in classes), default=1)
    ceiling = max(most * 1.6, 2)
    lowest = math.log10(0.5)
    highest = math.log10(ceiling)
    scale = _Scale(
        least=lowest,
        most=highest,
        start=_BOTTOM,
        end=_TOP,
    )
    parts = []
    digits = len(str(most))
    for power in range(digits):
        decade = 10**power
        parts.append(_guide(scale.place(power), f"{decade:,}"))
    step = (_RIGHT - _LEFT) / max(len(classes), 1)
    has_room = len(classes) <= _MOST_RANGES
    for number, (low, high, spans) in enumerate(classes):
        offset = (number + 0.5) * step
        middle = round(_LEFT + offset, 2)
        # Narrow columns have room for the lower ends only.
        label = f"{low}–{high}" if has_room else f"{low}–"
        parts.append(_label(middle, _BOTTOM + 18, label))
        if spans:
            top = scale.place(math.log10(spans))
            left = middle - 0.4 * step
            parts.append(_bar(left, top, 0.8 * step))
            parts.append(_label(middle, top - 5, f"{spans:,}", kind="name"))
    parts += _axis_names("words in a row", "spans")
    return _svg(
        parts,
        name=name,
        title=title,
        text=text,
        kind="bar",
    )


def _bar(
    left: float,
    top: float,
    width: float,
) -> Markup:
    bar = Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>')
    height = round(_BOTTOM - top, 2)
    x = round(left, 2)
    return bar.format(x, top, round(width, 2), height)


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
    """Draw BMC against samples, with its interval at n.

    The curve is exact up to n, and a guess beyond.
    """
    n = len(curve)
    low, high = interval
    least_top = 0.01 if limit is None else limit
    top = max(high, *curve, *guess[-1:], least_top)
    ceiling = min(1.0, _round_up_to_axis_end(top * 1.08))
    across = _Scale(
        least=0,
        most=2 * n,
        start=_LEFT,
        end=_RIGHT,
    )
    up = _Scale(
        least=0,
        most=ceiling,
        start=_BOTTOM,
        end=_TOP,
    )
    parts = _coverage_axes(across, up)
    series: dict[str, Iterable[tuple[int, float]]] = {}
    series["interval"] = [(n, low), (n, high)]
    if limit is not None:
        series["limit"] = [(0, limit), (2 * n, limit)]
    series["guess"] = enumerate((curve[-1], *guess), n)
    series["measured"] = enumerate(curve, 1)
    line = Markup('<path class="{}" d="M{}"/>')
    for kind, points in series.items():
        places = []
        for count, share in points:
            places.append(f"{across.place(count)} {up.place(share)}")
        path = " L".join(places)
        parts.append(line.format(kind, path))
    if n == 1:
        dot = Markup('<circle class="dot" cx="{}" cy="{}" r="4"/>')
        x = across.place(1)
        y = up.place(curve[0])
        parts.append(dot.format(x, y))
    parts += _axis_names("samples per excerpt", "BMC")
    return _svg(
        parts,
        name=name,
        title=title,
        text=text,
        kind="xy",
    )


def _coverage_axes(across: _Scale, up: _Scale) -> list[Markup]:
    """Draw guides at four steps of the share, and ticks of samples."""
    parts = []
    for step in range(5):
        share = up.most * step / 4
        parts.append(_guide(up.place(share), f"{100 * share:.4g}%"))
    for count in _round_ticks(int(across.most)):
        x = across.place(count)
        parts.append(_label(x, _BOTTOM + 18, f"{count}"))
    return parts


def _guide(y: float, label: str) -> Markup:
    line = Markup('<path class="guide" d="M{} {}H{}"/>').format(_LEFT, y, _RIGHT)
    return line + _label(_LEFT - 6, y + 4, label, kind="y")


def _label(
    x: float,
    y: float,
    text: str,
    *,
    kind: str = "x",
) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        kind,
        x,
        round(y, 2),
        text,
    )


def _axis_names(x_name: str, y_name: str) -> list[Markup]:
    upright = Markup(
        '<text class="name" transform="translate(14 {}) rotate(-90)">{}</text>',
    )
    center = (_LEFT + _RIGHT) / 2
    middle = (_TOP + _BOTTOM) / 2
    across = _label(center, _HEIGHT - 8, x_name, kind="name")
    return [across, upright.format(middle, y_name)]


def _round_ticks(most: int) -> list[int]:
    """Return numbers up to the most, in steps of 1, 2, or 5 times a power of 10."""
    step = power = 1
    while most / step > _MOST_TICKS:
        for size in (1, 2, 5):
            step = size * power
            if most / step <= _MOST_TICKS:
                break
        power *= 10
    return list(range(0, most + 1, step))


def _round_up_to_axis_end(share: float) -> float:
    """Round up so that four steps are round numbers, too."""
    for power in range(4, -1, -1):
        for size in (1, 2, 4, 6, 8):
            step = float(size / 10**power)
            if step >= share:
                return step
    return 1.0


def _svg(
    parts: Iterable[Markup],
    *,
    name: str,
    title: str,
    text: str,
    kind: str,
) -> Markup:
    """Return the drawing, with a title and a description for screen readers.

    name: unique in the page; letters, digits and hyphens
    """
    return Markup(
        '<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="{name}-title {name}-text"><title '
        'id="{name}-title">{title}</title>'
        '<desc id="{name}-text">{text}</desc>{parts}</svg>',
    ).format(
        kind=kind,
        width=_WIDTH,
        height=_HEIGHT,
        name=name,
        title=title,
        text=text,
        parts=Markup("\n").join(parts),
    )
