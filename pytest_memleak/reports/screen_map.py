"""The first screen's map: a cell for each pair, books x models, models worst first."""

from __future__ import annotations

import string
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.reports.exceeded_limits import (
    closest_limit,
    exceeded_limits,
    limits_within_interval,
)
from pytest_memleak.reports.pair_outcome import pair_outcome
from pytest_memleak.reports.screen_view import (
    SCREEN_KINDS,
    UNRUN,
    ScreenCell,
    ScreenMap,
    ScreenModel,
    ScreenRow,
)
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.scoring.measure_table import LEAKING_WORKS
from pytest_memleak.verdict.inconclusive_cause import result_cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.reports.book_text import BookTitles
    from pytest_memleak.reports.exceeded_limits import ExceededLimit

_FOLDS_FROM = 24  # books
_HEATS = (2, 4, 8)  # times the limit
_MOST_EMPTY = 2  # places for each pair; a map with more is blank
_WORDS = {
    "fail": "FAIL",
    "unexpected": "passed, but must leak",
    "inconclusive": "undecided",
    "expected": "leaked, as expected",
    "pass": "pass",
    UNRUN: "not run",
}
_CONTROL_OVER = "controls over a limit"


def screen_maps(
    results: Sequence[PairResult],
    unrun: Sequence[PairResult],
    titles: BookTitles,
) -> tuple[ScreenMap, ...]:
    """Arrange the pairs of each suite by books and models; nothing for a single pair.

    Letters go on from one suite to the next.
    """
    if len(results) + len(unrun) <= 1:
        return ()
    by_suite: defaultdict[str, list[PairResult]] = defaultdict(list)  # by path
    cells: dict[int, ScreenCell] = {}
    for number, result in enumerate(results, 1):
        cells[id(result)] = result_cell(result, number)
    for result in unrun:
        cells[id(result)] = ScreenCell(result.pair, UNRUN, "", _unrun_detail(result))
    for result in (*results, *unrun):
        by_suite[result.suite.path].append(result)
    maps: list[ScreenMap] = []
    letters = 0
    for pairs in by_suite.values():
        name = pairs[0].suite.name if len(by_suite) > 1 else ""
        maps.append(_map_of_suite(name, pairs, cells, titles, first_letter=letters))
        letters += len(maps[-1].models)
    return tuple(maps)


def _unrun_detail(result: PairResult) -> str:
    reasons = "; ".join(result.reasons)
    return f"not run: {reasons}" if reasons else "not run"


def _map_of_suite(
    suite: str,
    pairs: Sequence[PairResult],
    cells: Mapping[int, ScreenCell],
    titles: BookTitles,
    *,
    first_letter: int,
) -> ScreenMap:
    by_model: defaultdict[str, list[PairResult]] = defaultdict(list)
    by_place: defaultdict[tuple[str, str], list[ScreenCell]] = defaultdict(list)
    books: dict[str, str] = {}
    for pair in pairs:
        by_model[pair.model.id].append(pair)
        by_place[pair.book.id, pair.model.id].append(cells[id(pair)])
        books[pair.book.id] = titles[pair.suite.name, pair.book.id]

    def severity(model: str) -> tuple[int, ...]:
        return _severity(cells[id(pair)].kind for pair in by_model[model])

    order = sorted(by_model, key=severity)
    models = []
    for number, model in enumerate(order, first_letter):
        own = by_model[model]
        kinds = [cells[id(pair)].kind for pair in own]
        models.append(_screen_model(_column_letter(number), model, own, kinds))
    rows = []
    for book, title in books.items():
        places = tuple(tuple(by_place[book, model]) for model in order)
        rows.append(ScreenRow(book, title, places))
    folded = _titles_of_passing_books(rows)
    if _MOST_EMPTY * len(pairs) < len(order) * len(books):
        rows = []
    return ScreenMap(
        suite,
        tuple(models),
        rows=tuple(row for row in rows if row.title not in folded),
        folded=folded,
    )


def _titles_of_passing_books(rows: Sequence[ScreenRow]) -> tuple[str, ...]:
    """Return the titles of many books' rows in which every pair passes."""
    if len(rows) < _FOLDS_FROM:
        return ()
    folded = []
    for row in rows:
        kinds = {cell.kind for place in row.cells for cell in place}
        if kinds == {"pass"}:
            folded.append(row.title)
    return tuple(folded)


def _column_letter(number: int) -> str:
    """Name columns as spreadsheets do: A to Z, then AA."""
    letters = string.ascii_uppercase
    if number < len(letters):
        return letters[number]
    quotient, remainder = divmod(number, len(letters))
    return f"{_column_letter(quotient - 1)}{letters[remainder]}"


def _severity(kinds: Iterable[str]) -> tuple[int, ...]:
    """Return a key that sorts models with more of the worst pairs first."""
    counts = Counter(kinds)
    return tuple(-counts[kind] for kind in SCREEN_KINDS)


def _screen_model(
    letter: str,
    name: str,
    pairs: Sequence[PairResult],
    kinds: Sequence[str],
) -> ScreenModel:
    worst_first = sorted(zip(kinds, pairs, strict=True), key=_rank_of_kind)
    words = Counter(_cell_word(pair, kind) for kind, pair in worst_first)
    counts = ", ".join(f"{count:,} {word}" for word, count in words.items())
    peaks = "; ".join(_worst_values(pairs))
    text = f"{counts}: {peaks}" if peaks else counts
    return ScreenModel(letter, name, worst_first[0][0], text)


def _rank_of_kind(entry: tuple[str, PairResult]) -> int:
    kind, _ = entry
    return SCREEN_KINDS.index(kind)


def _cell_word(pair: PairResult, kind: str) -> str:
    if kind == "expected" and pair.control:
        return _CONTROL_OVER
    if kind == "pass" and "," in pair.verdict:
        return "pass with refusals"
    return _WORDS[kind]


def _worst_values(pairs: Iterable[PairResult]) -> Iterable[str]:
    """State the worst value of each limit that decided a FAIL."""
    worst: dict[str, ExceededLimit] = {}
    for pair in pairs:
        if pair_outcome(pair).kind != "fail":
            continue
        for over in exceeded_limits(pair)[:1]:
            name = over.measure.name
            worst[name] = max(worst.get(name, over), over, key=_value_of_exceeded)
    for name, over in worst.items():
        yield f"{name} up to {over.value_text} (limit {over.limit_text})"


def _value_of_exceeded(over: ExceededLimit) -> float:
    return over.value


# --- cells


def result_cell(result: PairResult, number: int) -> ScreenCell:
    """Return the cell of a pair that was run. number: its place among the results."""
    kind = pair_outcome(result).kind
    over = exceeded_limits(result)
    if over:
        text = _short_value(result, over[0])
        if kind == "expected":  # not by its color alone
            text = f"({text})"
        return ScreenCell(
            result.pair,
            kind,
            text,
            _exceeded_limits_detail(over),
            _heat_level(over[0]),
            number,
        )
    if result.plain_verdict is Verdict.INCONCLUSIVE:
        text, detail = _letters_and_reason(result)
        return ScreenCell(result.pair, kind, text, detail, 0, number)
    _, _, refused = result.verdict.partition(", ")
    closest = closest_limit(result)
    details = [refused] if refused else []
    if closest:
        name, share = closest
        details.append(f"closest: {name} at {100 * share:.0f}% of its limit")
    return ScreenCell(result.pair, kind, refused, "; ".join(details), 0, number)


def _short_value(result: PairResult, over: ExceededLimit) -> str:
    """Write a value as a cell has room: 564, "bmc .169", "works 3"."""
    if over.measure.name == LEAKING_WORKS.name:
        return f"{over.measure.cell_name} {len(result.leaking):,}"
    value = over.value_text
    if value.startswith("0."):
        value = value.removeprefix("0")
    return f"{over.measure.cell_name} {value}".strip()


def _exceeded_limits_detail(over: Sequence[ExceededLimit]) -> str:
    first, *others = over
    more = len(others)
    if not more:
        return str(first)
    return f"{first}, and {amount(more, 'more limit')}"


def _heat_level(over: ExceededLimit) -> int:
    if not over.limit:
        return 1 + len(_HEATS)
    return 1 + sum(over.value > times * over.limit for times in _HEATS)


def _letters_and_reason(result: PairResult) -> tuple[str, str]:
    """Return a few letters, and a sentence, on why a pair is undecided."""
    cause = result_cause(result)
    if cause:
        return cause.key, cause.sentence
    doubtful = limits_within_interval(result)
    sentence = result.reasons[0] if result.reasons else ""
    if not doubtful:
        return "", sentence
    row = collect_measures([result])[doubtful[0]]
    return row.cell_name or row.name, sentence
