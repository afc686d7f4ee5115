"""A private page of passages: each beside its generation and prompt.

It has no script and loads nothing, as the HTML report; unlike that it holds full texts,
so it is written for its owner alone.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

from pytest_memleak.records import Origin, Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import book_titles
from pytest_memleak.reports.html.coverage_strips import WIDTH, draw_strip, heat_labels
from pytest_memleak.reports.html.page import environment, style_sheet
from pytest_memleak.reports.measure_text import format_value
from pytest_memleak.reports.pair_outcome import WORST_FIRST, pair_outcome
from pytest_memleak.reports.passage_marks import mark_passage
from pytest_memleak.reports.screen_map import screen_maps
from pytest_memleak.results.coverage_map import decode_rounds_per_word
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.pipeline.passage_sources import PassageSource
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.reports.book_text import BookTitles
    from pytest_memleak.reports.html.coverage_strips import Strip
    from pytest_memleak.reports.pair_outcome import Outcome
    from pytest_memleak.reports.passage_marks import MarkedText
    from pytest_memleak.reports.screen_view import ScreenMap

_COLUMNS = 600
_LONGEST_LINE = 100_000


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair whose passages are shown.

    number: its place among all results of the page, from 1
    note:   what to know of the texts, or ""
    """

    result: PairResult
    number: int
    passages: tuple[PassageSource, ...]
    note: str = ""


class _Passage(NamedTuple):
    anchor: str
    previous: str
    next: str
    kind: str
    words: int
    excused: bool
    where: str
    book: str
    prompt: Markup | None
    whole: Markup | None
    generation: MarkedText | None
    text: MarkedText


class _Pair(NamedTuple):
    anchor: str
    result: PairResult
    title: str
    outcome: Outcome
    note: str
    passages: tuple[_Passage, ...]
    strip: Strip | None


def render_passages(
    results: Sequence[PairResult],
    shown: Sequence[ShownPair],
    *,
    earlier: Sequence[Sequence[PairResult]] = (),
) -> str:
    """Render the page.

    results: of all pairs, for the map
    shown:   those whose passages the page has
    earlier: the results of older bundles, the newest first
    """
    titles = book_titles(results)
    ran = [result for result in results if not _is_unrun(result)]
    unrun = [result for result in results if _is_unrun(result)]
    maps = [each for each in screen_maps(ran, unrun, titles) if each.rows]
    style = style_sheet() + style_sheet("passages.css")
    digest = hashlib.sha256(style.encode()).digest()
    page = environment().get_template("passages.html.j2")
    return page.render(
        style=Markup(style),  # noqa: S704 - our own file
        style_digest=base64.b64encode(digest).decode(),
        subject=f"{amount(len(results), 'pair')}, {amount(len(shown), 'pair')} shown",
        maps=list(_maps_linking_shown_pairs(maps, shown)),
        trend=_earlier_results(earlier),
        pairs=_pair_parts(shown, titles),
        heat=heat_labels(),
        width=WIDTH,
    )


def _pair_parts(shown: Sequence[ShownPair], titles: BookTitles) -> list[_Pair]:
    """Build the shown pairs' parts of the page, the worst first."""
    shown = sorted(shown, key=_severity)
    anchors = [
        f"pair-{pair.number}-{place}"
        for pair in shown
        for place in range(len(pair.passages))
    ]
    pairs = []
    for pair in shown:
        title = titles[pair.result.suite.name, pair.result.book.id]
        pairs.append(_pair_part(pair, title, anchors))
    return pairs


def _severity(pair: ShownPair) -> tuple[int, int]:
    """Return a key that sorts the worst pairs first, then the longest passages."""
    longest = max((source.words for source in pair.passages), default=0)
    kind = pair_outcome(pair.result).kind
    return WORST_FIRST.index(kind), -longest


def _maps_linking_shown_pairs(
    maps: Sequence[ScreenMap],
    shown: Sequence[ShownPair],
) -> Iterator[ScreenMap]:
    """Yield the maps, in which only cells of shown pairs are links."""
    numbers = {pair.number for pair in shown}
    for screen_map in maps:
        rows = []
        for row in screen_map.rows:
            places = []
            for place in row.cells:
                cells = [
                    cell if cell.number in numbers else replace(cell, number=0)
                    for cell in place
                ]
                places.append(tuple(cells))
            rows.append(replace(row, cells=tuple(places)))
        yield replace(screen_map, rows=tuple(rows))


def _is_unrun(result: PairResult) -> bool:
    return result.plain_verdict is Verdict.NOT_RUN


def _earlier_results(
    earlier: Sequence[Sequence[PairResult]],
) -> Mapping[str, Sequence[str]]:
    """Return each pair's verdict and longest passage in older bundles."""
    trend: dict[str, list[str]] = {}
    for results in earlier:
        for result in results:
            text = result.verdict
            longest = result.values.get(LONGEST_PASSAGE.name)
            if longest is not None:
                text += f" {format_value(LONGEST_PASSAGE, longest)}"
            trend.setdefault(result.pair, []).append(text)
    return trend


def _pair_part(pair: ShownPair, title: str, anchors: Sequence[str]) -> _Pair:
    coverage = pair.result.coverage
    strip = None
    if coverage:
        times = decode_rounds_per_word(coverage)
        strip = draw_strip(times, coverage.rounds, columns=_COLUMNS)
    return _Pair(
        anchor=f"pair-{pair.number}",
        result=pair.result,
        title=title,
        outcome=pair_outcome(pair.result),
        note=pair.note,
        passages=tuple(_passage_parts(pair, anchors)),
        strip=strip,
    )


def _passage_parts(pair: ShownPair, anchors: Sequence[str]) -> Iterator[_Passage]:
    for number, source in enumerate(pair.passages):
        anchor = f"pair-{pair.number}-{number}"
        place = anchors.index(anchor)
        marked = mark_passage(source)
        prompt = source.held.prompt if source.held else None
        yield _Passage(
            anchor=anchor,
            previous=anchors[place - 1],
            next=anchors[(place + 1) % len(anchors)],
            kind=source.kind,
            words=source.words,
            excused=source.excused,
            where=_place_text(source),
            book=source.book.title or source.book.id,
            prompt=_escaped_text(prompt) if prompt else None,
            whole=_escaped_text(source.held.generation) if source.held else None,
            generation=_escaped_parts(marked.generation) if source.held else None,
            text=_escaped_parts(marked.book),
        )


def _place_text(source: PassageSource) -> str:
    excerpt = source.book.excerpts[source.at]
    chapter = f"{excerpt.chapter}, " if excerpt.chapter else ""
    end = source.start + source.size
    number = f"generation {source.ordinal}"
    if source.origin is not Origin.SAMPLED:
        number = f"{source.origin.label} {number}"
    words = "folded words" if source.near else "words"
    return (
        f"{source.book.id}: {chapter}{excerpt.id}, {words} {source.start:,}–{end:,}; "
        f"prompted for {source.excerpt_id}, {number}"
    )


def _escaped_parts(marked: MarkedText) -> MarkedText:
    return type(marked)(*map(_escaped_text, marked))


def _escaped_text(text: str) -> Markup:
    """Escape a text, with its lines, and without characters that steer a page."""
    lines = text.replace("\r\n", "\n").split("\n")
    # Blanks at the ends of a part stand between words.
    shown = [_escaped_line(line) for line in lines]
    return Markup("\n").join(shown)


def _escaped_line(line: str) -> Markup:
    body = inert(line, longest=_LONGEST_LINE)
    before = " " if line[:1] == " " else ""
    after = " " if body and line[-1:] == " " else ""
    return escape(f"{before}{body}{after}")
