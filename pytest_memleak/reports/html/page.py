"""The HTML report: one self-contained file.

It quotes no more than --memleak-quote allows. The page runs no script and loads
nothing: its policy (CSP) allows only its own style sheet, by digest. Every text passes
through `inert` and Jinja2's autoescape.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pytest_memleak.errors import MemleakError, file_errors
from pytest_memleak.records.number_format import percent
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import (
    book_titles,
    document_lines,
    excluded_lines,
    large_exclusions,
)
from pytest_memleak.reports.detection_and_chance import (
    detection_limit_captions,
    detection_text,
)
from pytest_memleak.reports.first_screen import first_screen
from pytest_memleak.reports.html.changed_words import mark_differing_words
from pytest_memleak.reports.html.cover import cover
from pytest_memleak.reports.html.coverage_strips import (
    WIDTH,
    escaped_run_text,
    heat_labels,
)
from pytest_memleak.reports.html.views import pair_views
from pytest_memleak.reports.measure_text import rate_text, unit_text
from pytest_memleak.reports.output_table import EVIDENCE, HTML
from pytest_memleak.reports.pair_outcome import BRIEF_FROM_PAIRS, LOOKS, WORST_FIRST
from pytest_memleak.reports.probability_text import NO_VERDICT, likelihood_text
from pytest_memleak.reports.release_text import comparison_lines, comparison_sentence
from pytest_memleak.reports.screen_view import SCREEN_LOOKS
from pytest_memleak.reports.statement import Authorship, statement
from pytest_memleak.results.build_result import overview_measures
from pytest_memleak.results.coverage_map import compare_models
from pytest_memleak.scoring.measure_table import (
    BMC,
    LEAKING_WORKS,
    LONGEST_BLOCK,
    LONGEST_PASSAGE,
    NV_LONGEST_PASSAGE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.reports.html.cover import Cover
    from pytest_memleak.reports.html.views import PairView
    from pytest_memleak.reports.statement import Line
    from pytest_memleak.results.coverage_map import ModelMatrix

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_TEXT = 2000
_PIECES_TOGETHER = 1_000
_LONGEST_NAME = 120


def write_html(run: RunReport, path: Path) -> None:
    """Write the report of a run to `path`, with its folder. Raises MemleakError."""
    now = datetime.datetime.now(datetime.UTC)
    page = render(run, created=now)
    hint = f"give {HTML.option} a file in a writable folder"
    with file_errors(MemleakError, path, "Can't write the HTML report", hint=hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)


def render(run: RunReport, *, created: datetime.datetime) -> str:
    """Render the whole page. created: the time in UTC."""
    titles = book_titles((*run.results, *run.unrun))
    pairs = pair_views(run.results, titles)
    pairs.sort(key=_severity)
    front = cover(run, pairs, titles)
    style = style_sheet() + _running_head(front, created)
    # The policy's digest covers the bytes between the tags.
    digest = hashlib.sha256(style.encode()).digest()
    template = environment().get_template("report.html.j2")
    page = template.stream(
        style=Markup(style),  # noqa: S704 - our own file
        style_digest=base64.b64encode(digest).decode(),
        version=run.version,
        created=created,
        pairs=pairs,
        books=book_views(pairs),
        cover=front,
        statement=_statement(run, created),
        many=len(pairs) >= BRIEF_FROM_PAIRS,
        screen=first_screen(run),
        shared_settings=_shared_settings(pairs),
        captions=list(detection_limit_captions(run.results)),
        tally=Counter(pair.badge.kind for pair in pairs),
        heads=_overview_heads(run.results),
        compared=run.compared,
        heat=heat_labels(),
        width=WIDTH,
    )
    page.enable_buffering(_PIECES_TOGETHER)  # or all are in memory at once
    return "".join(page)


def _statement(run: RunReport, created: datetime.datetime) -> tuple[Line, ...]:
    author = f"{run.made_by.text} (as its author says)"
    adds = f"a bundle ({EVIDENCE.option}): memleak verify recomputes every number"
    if EVIDENCE.name in run.outputs:
        bundle = run.outputs[EVIDENCE.name].name
        adds = (
            f"{bundle}, with suite, books, and ledger: memleak verify recomputes every "
            "number"
        )
    edition = Authorship(float(int(created.timestamp())), author)
    return statement((*run.results, *run.unrun), edition, adds)


def style_sheet(name: str = "report.css") -> str:
    """Return a style sheet; that of the report serves all pages."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _severity(pair: PairView) -> int:
    return WORST_FIRST.index(pair.badge.kind)


def _overview_measures(results: Sequence[PairResult]) -> list[Measure]:
    """Select the overview's measures, with the longest near-verbatim passage."""
    rows = list(overview_measures(results))
    if any(NV_LONGEST_PASSAGE.name in result.values for result in results):
        place = 0
        if LONGEST_PASSAGE in rows:
            place = rows.index(LONGEST_PASSAGE) + 1
        rows.insert(place, NV_LONGEST_PASSAGE)
    return rows


def _overview_heads(results: Sequence[PairResult]) -> dict[str, str]:
    """Name the overview's measures, with their units."""
    heads = {}
    for row in _overview_measures(results):
        unit = unit_text(row, results)
        heads[row.name] = f"{row.title}, {unit}".strip(", ")
    return heads


def _shared_settings(pairs: Sequence[PairView]) -> tuple[tuple[str, str], ...]:
    """Select the settings that all of several pairs share, which are shown once."""
    if len(pairs) < 2:  # noqa: PLR2004 - a single pair shows its own
        return ()
    shared = list(pairs[0].settings)
    for pair in pairs[1:]:
        shared = [setting for setting in shared if setting in pair.settings]
    return tuple(shared)


def _running_head(front: Cover, created: datetime.datetime) -> str:
    """Write the CSS rule that heads each printed page with result, subject and date."""
    subject = front.release
    if not subject:
        subject = ", ".join(name for name, _ in front.suites)
    title = inert(f"{front.result.word}: {subject}", longest=_LONGEST_NAME)
    left = _css_text(f"Memorization report · {title}")
    right = _css_text(created.strftime("%d %B %Y"))
    return f"@page{{@top-left{{content:{left}}}@top-right{{content:{right}}}}}"


def _css_text(text: str) -> str:
    """Write a CSS string; all but ASCII letters and digits become code points."""
    plain = "".join(map(_css_character, text))
    return f'"{plain}"'


def _css_character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    return f"\\{ord(character):x} "


def _name(text: str) -> str:
    return inert(text, longest=_LONGEST_NAME)


def _key_with_line_breaks(text: str) -> Markup:
    """Allow line breaks after the underscores and dots of a name."""
    parts = re.split(r"(?<=[_.])", _name(text))
    return Markup("<wbr>").join(parts)


@functools.cache
def environment() -> Environment:
    """Return Jinja's environment of this package's pages."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_inert_if_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        BMC=BMC,
        LEAKING_WORKS=LEAKING_WORKS,
        LONGEST_BLOCK=LONGEST_BLOCK,
        mark_differing_words=mark_differing_words,
        comparison_lines=comparison_lines,
        comparison_sentence=comparison_sentence,
        detection_text=detection_text,
        document_lines=document_lines,
        excluded_lines=excluded_lines,
        large_exclusions=large_exclusions,
        likelihood_text=likelihood_text,
        looks=LOOKS,
        screen_looks=SCREEN_LOOKS,
        no_verdict=NO_VERDICT,
        rate_text=rate_text,
    )
    environment.filters.update(
        percent=percent,
        count="{:,}".format,
        escaped_run_text=escaped_run_text,
        name=_name,
        key=_key_with_line_breaks,
    )
    return environment


def _inert_if_text(value: Any) -> Any:
    """Make every text inert before Jinja escapes it."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return inert(value, longest=_LONGEST_TEXT)
    return value


@dataclass(frozen=True, slots=True)
class BookView:
    """Models compared on one book: their strips, and a matrix of Jaccard indices.

    cells: rows x columns; the diagonal has the self-agreement, without a baseline
    left_out: models whose excerpts or words differ, so that masks don't compare
    """

    anchor: str
    title: str
    pairs: tuple[PairView, ...]
    cells: ModelMatrix
    left_out: tuple[str, ...]


def book_views(views: Iterable[PairView]) -> list[BookView]:
    """Build one view per book that was measured with at least one model."""
    by_book: defaultdict[tuple[str, str], list[PairView]] = defaultdict(list)
    for view in views:
        if view.plot:
            result = view.result
            key = (result.suite.name, result.book.id)
            by_book[key].append(view)
    books = []
    for number, pairs in enumerate(by_book.values(), 1):
        books.append(_book_view(pairs, f"book-{number}"))
    return books


def _book_view(pairs: Sequence[PairView], anchor: str) -> BookView:
    counted = _mask_comparison_key(pairs[0])
    alike = [pair for pair in pairs if _mask_comparison_key(pair) == counted]
    others = [pair for pair in pairs if _mask_comparison_key(pair) != counted]
    left_out = [pair.result.model.id for pair in others]
    maps = []
    agreements = []
    for pair in alike:
        coverage = pair.result.coverage
        if coverage:
            maps.append(coverage)
        agreement = pair.result.measures["self_agreement"]
        agreements.append(agreement["value"])
    return BookView(
        anchor=anchor,
        title=pairs[0].book,
        pairs=tuple(alike),
        cells=compare_models(maps, agreements),
        left_out=tuple(left_out),
    )


def _mask_comparison_key(view: PairView) -> tuple[object, ...]:
    """Return what two masks must share to cover the same words."""
    book = view.result.book
    settings = view.result.settings
    return (
        book.words,
        book.sha256,
        settings["word_mode"],
        settings["k"],
    )
