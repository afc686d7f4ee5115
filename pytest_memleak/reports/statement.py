"""The statement of a run in ten lines, for readers who read nothing else of it.

    statement(pairs, Edition(created=...), adds)    the lines, for any screen
    statement_text(lines)                        the same as sentences

It says what was tested, by what it was identified, how often it was asked, against
which limits, what could have been seen, and what else was tried. Long digests are cut
to 12 digits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records import Kind
from pytest_memleak.records.number_format import (
    amount,
    day,
    figure,
    moment,
    percent_at_most,
)
from pytest_memleak.records.provenance import weights_digest
from pytest_memleak.results.run_evidence import model_names, suite_controls
from pytest_memleak.results.tried_prompts import tried_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records.pair_result import BookFacts, PairResult
    from pytest_memleak.records.provenance import Tried

_FEW = 4  # names, before the others are counted
_LONG_DIGEST = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})[0-9a-f]{20,}(?![0-9a-f])")


class Line(NamedTuple):
    """A line of the statement.

    name: what it states; text: the statement
    heads, rows: a table of what differs by pair, empty if nothing does
    """

    name: str
    text: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Authorship:
    """When a bundle or a page was made, in seconds since 1970, and by whom and where.

    author: the author's statement, "" for none
    attempts: which attempts a witness knows the pairs as, by a checked receipt
    """

    created: float
    author: str = ""
    attempts: tuple[str, ...] = ()


def statement(
    pairs: Iterable[PairResult],
    edition: Authorship,
    adds: str,
) -> tuple[Line, ...]:
    """Build the statement of a run.

    pairs: all pairs of a run or a bundle
    adds:  what each missing file would add
    """
    everyone = list(pairs)
    gated = [pair for pair in everyone if pair.gates] or everyone
    lines = (
        Line("models", _models_text(gated)),
        Line("books", _distinct_values_text(_book_text(pair.book) for pair in gated)),
        Line("samples", _samples_text(gated)),
        _limits_line(gated),
        Line("detection limit", _detection_text(gated)),
        Line("attempt", "; ".join([*edition.attempts, _attempts_text(gated)])),
        Line("tried", tried_text(gated)),
        Line("controls", _controls_text(everyone)),
        Line("dates", _dates_text(gated, edition)),
        Line("missing files would add", adds),
    )
    return tuple(_with_short_digests(line) for line in lines)


def statement_text(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines as sentences, with a sentence for each row of a table."""
    for line in lines:
        yield f"{line.name}: {line.text}"
        for row in line.rows:
            first, *rest = row
            facts = zip(line.heads[1:], rest, strict=True)
            yield f"- {first}: {', '.join(f'{head} {fact}' for head, fact in facts)}"


def _with_short_digests(line: Line) -> Line:
    return line._replace(text=_LONG_DIGEST.sub(r"\1", line.text))


def _distinct_values_text(values: Iterable[str]) -> str:
    """List distinct values; count those after the first few."""
    distinct = list(dict.fromkeys(values))
    shown = "; ".join(distinct[:_FEW])
    if len(distinct) > _FEW:
        return f"{shown}; and {len(distinct) - _FEW:,} more"
    return shown or "none"


# --- models ---


def _models_text(pairs: Sequence[PairResult]) -> str:
    """Name the models by what identifies them."""
    by_kind: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for pair in pairs:
        by_kind[_identification_text(pair)][_model_text(pair)] = None
    groups = []
    for kind, names in by_kind.items():
        shown = list(names)[:_FEW]
        more = len(names) - len(shown)
        text = ", ".join(shown)
        if more:
            text += f" and {more:,} more"
        groups.append(f"{text}, {kind}")
    return "; ".join(groups) or "none"


def _model_text(pair: PairResult) -> str:
    """Return the suite's id of a model, and the names that it was served by."""
    names = sorted(model_names(pair) - {pair.model.id})
    return f"{pair.model.id} ({', '.join(names)})" if names else pair.model.id


def _identification_text(pair: PairResult) -> str:
    """Say what identifies the model behind a pair's generations."""
    provenance = pair.provenance
    if provenance is None or not pair.received:
        return "of which nothing was sampled"
    if not provenance.calls:
        return "by its name in the suite: files don't prove which model wrote them"
    digests = [weights_digest(server.fingerprint) for server in provenance.served]
    if digests and all(digests):
        shown = ", ".join(sorted(filter(None, digests)))
        return f"by the digest of its weights ({shown})"
    if provenance.weights == "fixed":
        return "by an address whose weights can't change, as its provider says"
    if provenance.weights.startswith("release "):
        return f"by name, and by the suite's weights_version ({provenance.weights})"
    return "by the name that its server gave, behind which weights can change"


# --- books, samples, limits ---


def _book_text(book: BookFacts) -> str:
    title = book.title or book.id
    author = f" by {book.author}" if book.author else ""
    words = "not read" if book.words is None else amount(book.words, "word")
    return f"{title}{author} ({words})"


def _samples_text(pairs: Sequence[PairResult]) -> str:
    if not pairs:
        return "none"
    each = _range_text(pair.settings["samples"] for pair in pairs)
    temperatures = _distinct_values_text(_temperature_text(pair) for pair in pairs)
    received = sum(pair.received for pair in pairs)
    requested = sum(pair.requested for pair in pairs)
    text = (
        f"{each} per excerpt, temperature {temperatures}; {received:,} of "
        f"{amount(requested, 'generation')} received"
    )
    kinds: defaultdict[str, int] = defaultdict(int)
    for pair in pairs:
        for kind, count in pair.completeness.kinds.items():
            kinds[kind] += count
    others = [
        f"{count:,} {kind}" for kind, count in kinds.items() if kind != Kind.ANSWER
    ]
    answers = kinds.get(Kind.ANSWER, 0)
    return f"{text}, {answers:,} of them answers ({_nonzero_counts_text(others)})"


def _nonzero_counts_text(others: Sequence[str]) -> str:
    nonzero = [text for text in others if not text.startswith("0 ")]
    return ", ".join(nonzero) or "no other kind"


def _temperature_text(pair: PairResult) -> str:
    temperature = pair.settings.get("temperature")
    if isinstance(temperature, int | float):
        return f"{temperature:g}"
    return "the server's own"


def _range_text(numbers: Iterable[int]) -> str:
    distinct = sorted(set(numbers))
    ends = dict.fromkeys((f"{distinct[0]:,}", f"{distinct[-1]:,}"))
    return " to ".join(ends)


def _limits_line(pairs: Sequence[PairResult]) -> Line:
    """State the limits and what came nearest; a row for each set of limits."""
    name = "limits, and the most measured"
    groups: defaultdict[tuple[tuple[str, float], ...], list[PairResult]]
    groups = defaultdict(list)
    for pair in pairs:
        groups[tuple(pair.limit_by_measure.items())].append(pair)
    if len(groups) < 2:  # noqa: PLR2004 - one set needs no table
        limits, group = next(iter(groups.items()), ((), []))
        facts = [
            f"{measure} {figure(limit)} ({_highest_value_text(measure, limit, group)})"
            for measure, limit in limits
        ]
        return Line(name, ", ".join(facts) or "none: nothing could fail")
    measures = dict.fromkeys(measure for limits in groups for measure, _ in limits)
    rows = []
    for limits, group in groups.items():
        values = dict(limits)
        row = [_pairs_text(group)]
        for measure in measures:
            if measure in values:
                limit = values[measure]
                row.append(
                    f"{figure(limit)} ({_highest_value_text(measure, limit, group)})"
                )
            else:
                row.append("no limit")
        rows.append(tuple(row))
    return Line(
        name,
        f"{len(groups):,} sets of limits, which differ by pair",
        ("pairs", *measures),
        tuple(rows),
    )


def _pairs_text(pairs: Sequence[PairResult]) -> str:
    more = f" and {amount(len(pairs) - 1, 'more pair')}" if len(pairs) > 1 else ""
    return f"{pairs[0].pair}{more}"


def _highest_value_text(
    measure: str,
    limit: float,
    pairs: Iterable[PairResult],
) -> str:
    """Return the highest value of a measure, and whether it exceeds the limit."""
    values = [pair.values[measure] for pair in pairs if measure in pair.values]
    if not values:
        return "not measured"
    most = max(values)
    return f"{figure(most)}, over" if most > limit else figure(most)


def _detection_text(pairs: Iterable[PairResult]) -> str:
    summaries = [pair.detection for pair in pairs if pair.detection]
    if not summaries:
        return "none, since no pair has samples of excerpts"
    worst = max(summaries, key=lambda summary: summary.detection)
    required = {
        percent_at_most(summary.detection_limit)
        for summary in summaries
        if summary.detection_limit is not None
    }
    text = (
        f"a passage in more than {percent_at_most(worst.detection)} of a prompt's "
        f"generations appears at least once ({100 * worst.confidence:g}% confidence)"
    )
    limits = ", ".join(sorted(required)) or "no such limit"
    return f"{text}; the suite requires {limits}"


# --- attempts, and what was tried ---


def _attempts_text(pairs: Sequence[PairResult]) -> str:
    """State which attempt of the model on the book each is, as the ledger knows it."""
    tried = [
        pair.provenance.tried
        for pair in pairs
        if pair.provenance and pair.provenance.tried
    ]
    if not tried and not any(pair.received for pair in pairs):
        return "none: nothing was sampled"
    if not tried:
        return "unknown, since the generations are from files without a ledger"
    attempts = _distinct_values_text(_attempt_text(each) for each in tried)
    return f"{attempts}, as its ledger has it"


def _attempt_text(tried: Tried) -> str:
    over = sum(attempt.over_limit for attempt in tried.others)
    facts = [
        f"{tried.removed:,} generations removed",
        f"{tried.resampled:,} times sampled again",
        f"{tried.further:,} further generations",
    ]
    if tried.others:
        facts.append(f"{over:,} of {len(tried.others):,} other attempts over a limit")
    return f"{tried.number:,} ({', '.join(facts)})"


def tried_text(pairs: Iterable[PairResult]) -> str:
    """State what was tried on the models and books, and what wasn't."""
    return _distinct_values_text(
        line.removeprefix("tried: ") for line in tried_lines(pairs)
    )


def _controls_text(pairs: Sequence[PairResult]) -> str:
    """State false positives on negative controls, and whether a known leak showed."""
    suites = suite_controls(pairs, by="path")
    over: defaultdict[str, int] = defaultdict(int)
    measured: defaultdict[str, int] = defaultdict(int)
    for suite in suites:
        for name, alarms in suite.false_alarms.items():
            over[name] += alarms.over
            measured[name] += alarms.measured
    controls = sum(suite.controls for suite in suites)
    text = amount(controls, "negative control")
    if measured:
        rates = [f"{name} {over[name]:,} of {measured[name]:,}" for name in measured]
        text += f", false positives: {', '.join(rates)}"
    leaks = sum(pair.expected == "leak" for pair in pairs)
    seen = sum(pair.expected == "leak" and pair.leaked for pair in pairs)
    if not leaks:
        return f"{text}; no positive control, so no known leak was tried"
    return f"{text}; {seen:,} of {amount(leaks, 'positive control')} leaked"


def _dates_text(pairs: Sequence[PairResult], edition: Authorship) -> str:
    times: list[float] = []
    for pair in pairs:
        provenance = pair.provenance
        ends = (provenance.first, provenance.last) if provenance else ()
        times += [time for time in ends if time is not None]
    sampled = "sampled on unknown days"
    if times:
        days = dict.fromkeys((day(min(times)), day(max(times))))
        sampled = f"sampled {' to '.join(map(str, days))}"
    author = f" {edition.author}" if edition.author else ""
    return f"{sampled}; made {moment(edition.created)}{author}"
