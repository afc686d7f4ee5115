"""Text that every report shares: verdicts, measures, limits, generations, releases.

Measures appear under the names that suite files use.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Kind, LimitCheck, Verdict
from pytest_memleak.records.number_format import (
    amount,
    day,
    figure,
    percent,
    percent_at_most,
)
from pytest_memleak.records.provenance import distribution, weights_digest
from pytest_memleak.records.verdicts import refusals_text
from pytest_memleak.results.run_evidence import suite_controls
from pytest_memleak.scoring.measure_table import BMC, MEASURES
from pytest_memleak.verdict.model_identity import REUSE_RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records import BookPart, Completeness, Measure, WorkVerdict
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.provenance import Provenance, ServedBy, Tried
    from pytest_memleak.records.verdicts import Change, ReleaseComparison

MANY = 9
"""From so many pairs on, reports show a matrix of models and books."""
_WEIGHTS = {"a name": "identified by name only", "fixed": "can't change"}
_LETTERS = {"k": "k", "span_threshold": "T"}
_WORKS_SHOWN = 10


def fills_matrix(results: Sequence[PairResult]) -> bool:
    """Whether many pairs fill at least half of the matrix of their models and books."""
    models = {(result.suite.name, result.model.id) for result in results}
    books = {(result.suite.name, result.book.id) for result in results}
    return len(results) >= MANY and len(models) * len(books) <= 2 * len(results)


def format_value(row: Measure, value: float) -> str:
    """Format a value or a limit: a share to three places, a count whole."""
    if row.kind == "share":
        return f"{value:,.3f}"
    if row.kind == "count":
        return f"{value:,.0f}"
    return f"{value:,.4g}"


def format_percent(row: Measure, value: float) -> str:
    """Format a value or a limit of the measure, a share as a percentage."""
    return percent(value) if row.kind == "share" else format_value(row, value)


def format_p(p: float) -> str:
    """Format a p-value to three places."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: PLR2004 - the least of three places


def measure_cell(
    result: PairResult,
    row: Measure,
    *,
    interval: bool,
    limit: bool,
) -> tuple[str, bool]:
    """Format a table cell: value, interval and limit; and whether it is over that."""
    value = result.values[row.name]
    limit_value = result.limit_values.get(row.name)
    over = limit_value is not None and limit_check(result, row, limit_value).over
    text = format_value(row, value)
    if interval and row.name in result.intervals:
        low, high = result.intervals[row.name]
        text += f" ({format_value(row, low)}–{format_value(row, high)})"
    if row.name in result.chances:
        text += f" {format_p(result.chances[row.name])}"
    if limit and limit_value is not None:
        relation = ">" if value > limit_value else "≤"
        text += f" {relation} {format_value(row, limit_value)}"
    return text, over


def limit_check(result: PairResult, row: Measure, limit: float) -> LimitCheck:
    """Return a limit beside the measure, as the verdict compares them."""
    value = result.values[row.name]
    low, high = result.intervals.get(row.name, (value, value))
    return LimitCheck(row.name, value, limit, low, high, row.rises)


def unit_text(row: Measure, results: Sequence[PairResult]) -> str:
    """Name the measure's unit with k and T, as letters where pairs differ in them."""
    settings = dict(_LETTERS)
    for name in _LETTERS:
        values = {result.settings[name] for result in results}
        if len(values) == 1:
            settings[name] = values.pop()
    return row.unit.format(**settings)


def rate_text(rate: PassageRate) -> str:
    """State how many generations of its own prompt have the passage, and its rate."""
    text = f"in {rate.hits:,} of {amount(rate.tries, 'generation')} from its prompt"
    if rate.low == rate.high:
        return text
    about = "about " if rate.approximate else ""
    return f"{text}; likely rate {about}{percent(rate.low)} to {percent(rate.high)}"


def flatten(settings: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting that has a value; keys of inner tables are joined by dots."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{name}{key}.")
        elif value is not None:
            yield f"{name}{key}", value


def work_lines(result: PairResult, *, verbose: bool = False) -> Iterator[str]:
    """Count the leaking works; list ten of them, and ten without a verdict.

    verbose: list all
    """
    works = result.works
    if not works:
        return
    count = Counter(work.verdict for work in works)
    counts = [f"{count[verdict]:,} {verdict}" for verdict in Verdict if count[verdict]]
    leaking = f"{count[Verdict.FAIL]:,} of {amount(len(works), 'work')}"
    yield f"leaking: {leaking} ({', '.join(counts)})"
    open_works = [work for work in works if work.reason]
    shown = len(works) if verbose else _WORKS_SHOWN
    for work in result.leaking[:shown]:
        over = []
        for name in work.over:
            row = MEASURES[name]
            value = format_value(row, work.measures[name])
            over.append(
                f"{name} {value} > {format_value(row, result.limits[name].limit)}",
            )
        words = amount(work.words, "word")
        yield f"leaks: {work_name(work)}, {words}: {', '.join(over)}"
    for work in open_works[:shown]:
        yield f"inconclusive: {work_name(work)}: {work.reason}"
    if left := max(len(result.leaking) - shown, 0) + max(len(open_works) - shown, 0):
        where = "for all, use -v, --memleak-html=FILE, or --memleak-evidence=FILE"
        yield f"{amount(left, 'more work')}; {where}"


def work_name(work: WorkVerdict) -> str:
    """Name a work by its title, with its id where they differ."""
    return work.title if work.title == work.id else f"{work.title} ({work.id})"


def document_lines(parts: Sequence[BookPart]) -> Iterator[str]:
    """State how much of a book's file is measured, and what each rule leaves out."""
    measured = [part for part in parts if part.kept]
    words = sum(part.words for part in parts)
    headings = sum(part.headings for part in parts)
    notes = sum(part.notes for part in parts)
    yield (
        f"{amount(words, 'word')} of text in {len(measured):,} of "
        f"{amount(len(parts), 'document')}; excluded from these: "
        f"{amount(headings, 'word')} of headings, {notes:,} of notes, "
        f"{sum(part.matter for part in measured):,} of other matter"
    )
    yield from excluded_lines(parts)
    rules: defaultdict[str, list[BookPart]] = defaultdict(list)
    for part in parts:
        if not part.kept:
            rules[part.rule].append(part)
    for rule, left_out in rules.items():
        total = sum(part.matter for part in left_out)
        documents = amount(len(left_out), "document")
        yield f"excluded because {rule}: {documents}, {amount(total, 'word')}"


def excluded_lines(
    parts: Sequence[BookPart],
    *,
    by_title_alone: bool = False,
) -> Iterator[str]:
    """State how much of a book's file isn't measured.

    by_title_alone: only if a title alone decided on some of it
    """
    words = sum(part.words for part in parts)
    excluded = sum(part.headings + part.notes + part.matter for part in parts)
    by_title = sum(part.matter for part in parts if part.by_title)
    if excluded and (by_title or not by_title_alone):
        share = excluded / (words + excluded)
        text = f"{share:.1%} of the file excluded"
        if by_title:
            text += f"; {amount(by_title, 'word')} of that only because of a title"
        yield text


def detection_text(result: PairResult) -> str:
    """Format the pair's detection limit; "-" where it has none."""
    return percent_at_most(result.detection.detection) if result.detection else "-"


def detection_captions(results: Sequence[PairResult]) -> Iterator[str]:
    """Explain the detection limit, once for each confidence in the run."""
    confidences: dict[float, None] = {}
    for result in results:
        if result.detection:
            confidences[result.detection.confidence] = None
    for confidence in confidences:
        yield detection_caption(confidence)


def detection_caption(confidence: float) -> str:
    """Explain a column of detection limits."""
    return (
        "detection limit: a passage that occurs in more than this share of a prompt's "
        "generations appears at least once in the run "
        f"({100 * confidence:g}% confidence)"
    )


def detection_lines(result: PairResult) -> Iterator[str]:
    """State the pair's detection limit, and what it rests on."""
    summary = result.detection
    if summary is None:
        return
    samples = amount(summary.rounds, "sample")
    if summary.blocks is not None:
        samples += f" that count as {amount(summary.blocks, 'block')}"
    elif summary.calls:
        samples += f" in {amount(summary.answers, 'call')}, which count as one each"
    elif summary.answers < summary.rounds:
        samples += f", only {amount(summary.answers, 'answer')} for one excerpt"
    confidence = f"{100 * summary.confidence:g}% confidence"
    yield f"Detection limit: {detection_text(result)} ({samples}, {confidence})"


def _range_lines(result: PairResult) -> Iterator[str]:
    summary = result.detection
    if summary and summary.ranges:
        ranges = []
        for name, (low, high) in summary.ranges.items():
            ends = dict.fromkeys((f"{low:,}", f"{high:,}"))
            ranges.append(f"{name} {'–'.join(ends)}")
        samples = amount(summary.rounds, "sample")
        yield f"Expected range in a second run of {samples}: {', '.join(ranges)} words"


def _round_lines(result: PairResult) -> Iterator[str]:
    summary = result.detection
    if summary and summary.blocks is not None:
        likelier = "clumped" if summary.clumped <= summary.drifting else "drifting"
        p = 2 * min(summary.clumped, summary.drifting)
        yield (
            f"Rounds aren't exchangeable ({likelier}, p = {p:.2g}): recall varies, or "
            f"the endpoint changed. Intervals use {amount(summary.blocks, 'block')}."
        )


def _chance_lines(result: PairResult) -> Iterator[str]:
    null = result.measures.get("null")
    if null is None:
        return
    books = amount(len(null["books"]), "null book")
    text = (
        f"Chance level: {percent(null['null_bmc'])} ({books}); "
        f"this book {percent(null[BMC.name])}"
    )
    if null["p"] is None:
        yield f"{text}. An interval and a p-value need two null books."
    else:
        yield (
            f"{text}, {format_p(null['p'])}. {books} can detect "
            f"coverage of {null['visible']:.1f} times the chance level."
        )


def control_lines(results: Sequence[PairResult]) -> Iterator[str]:
    """State what controls show: false positives, leaks, suites that gate nothing."""
    suites = suite_controls(results)
    for suite in suites:
        name = f"{suite.suite}: " if len(suites) > 1 else ""
        pairs = [result for result in results if result.suite.name == suite.suite]
        # Its own book, whether expected or not.
        leaked = any(pair.leaked for pair in pairs)
        if suite.controls:
            counts = []
            for limit, count in suite.false_alarms.items():
                counts.append(f"{limit} {count.over} of {count.measured}")
            rates = ", ".join(counts) or "none was measured"
            controls = amount(suite.controls, "negative control")
            yield f"{name}False positives on {controls}: {rates}"
        if not suite.gates:
            yield f"{name}This suite has no gated pair: all are controls."
        elif not leaked and any(pair.completeness.received for pair in pairs):
            yield (
                f"{name}No positive control leaked, so this run doesn't show that the "
                'gate can detect a leak. Add a pair with expected = "leak".'
            )


def generation_lines(result: PairResult) -> Iterator[str]:
    """Describe a pair's generations, a sentence each; some quote servers."""
    evidence, provenance = result.completeness, result.provenance
    yield from reuse_lines(result)
    yield from detection_lines(result)
    yield from _round_lines(result)
    yield from _range_lines(result)
    yield from _chance_lines(result)
    if any(evidence.kinds.values()):
        yield _generation_counts(evidence)
    if provenance is not None and evidence.received:
        yield _sampling_dates(provenance)
        if provenance.served:
            yield _server_names(provenance)
        if provenance.calls:
            shape = distribution(result.model.options, provenance.refused)
            yield f"Sampling distribution: {shape}"
    if second := result.second_opinion:
        matched = amount(second.generations, "generation")
        differences = amount(second.differences, "difference")
        yield f"Second opinion: {matched} matched again, {differences}"
    yield from _loss_lines(result)
    yield from _attempt_lines(result)
    yield from excluded_lines(result.book.parts)
    for note in evidence.notes:
        yield f"Note: {note}"


def reuse_lines(result: PairResult) -> Iterator[str]:
    """Say what shows that a failed pair's stored generations may be another model's."""
    if result.plain_verdict is Verdict.FAIL:
        for issue in result.completeness.issues:
            if issue.rule in REUSE_RULES:
                yield str(issue)


def notice_lines(result: PairResult) -> Iterator[str]:
    """Describe what readers must know even of a pass: rounds, losses, attempts."""
    yield from _round_lines(result)
    yield from _loss_lines(result)
    yield from _attempt_lines(result)
    yield from excluded_lines(result.book.parts, by_title_alone=True)


def _loss_lines(result: PairResult) -> Iterator[str]:
    """State the completions that the server lost, and what may be in them."""
    delivery = result.completeness.delivery
    if delivery is None or not delivery.lost:
        return
    text = (
        f"Lost: {delivery.lost:,} of {amount(delivery.requested, 'completion')} never "
        "came"
    )
    if delivery.missing_choices:
        text += f", {delivery.missing_choices:,} of them choices of an answer"
    if delivery.control_requested:
        lost, requested = delivery.control_lost, delivery.control_requested
        text += f"; control calls lost {lost:,} of {requested:,}"
    if result.detection and result.detection.detection_if_lost is not None:
        limit = percent_at_most(result.detection.detection_if_lost)
        text += f". If each held the passage, the detection limit is {limit}"
    yield f"{text}."


def _attempt_lines(result: PairResult) -> Iterator[str]:
    tried = result.provenance and result.provenance.tried
    if tried and (tried.number > 1 or tried.further):
        yield _attempt(tried)
    for counted in result.sampled:
        if counted.purpose == "baseline" and counted.refused:
            yield f"Baseline model: {refusals_text(counted.refused, counted.received)}"


def _attempt(tried: Tried) -> str:
    details = [amount(tried.seeds, "seed"), amount(tried.temperatures, "temperature")]
    if tried.resampled:
        details.append(f"resampled {amount(tried.resampled, 'time')} because of age")
    details.append(amount(tried.runs, "run"))
    if tried.removed:
        details.append(f"{amount(tried.removed, 'generation')} removed")
    if tried.further:
        details.append(f"{amount(tried.further, 'further generation')} stored")
    return (
        f"Attempt {tried.number:,} for book and model, by weights or name "
        f"({', '.join(details)})"
    )


def server_name(server: ServedBy) -> str:
    """Name a server as it identifies itself, or the local weights."""
    local = "weights on this machine" if weights_digest(server.fingerprint) else None
    name = server.model or local or "an unnamed server"
    return f"{name} ({server.fingerprint})" if server.fingerprint else name


def _generation_counts(evidence: Completeness) -> str:
    plurals = {Kind.ANSWER: "answers", Kind.REFUSAL: "refusals"}
    counts = []
    for kind in sorted(evidence.kinds, key=lambda kind: kind != Kind.ANSWER):
        count = evidence.kinds[kind]
        if count > 1:
            counts.append(f"{count:,} {plurals.get(kind, kind)}")
        elif count:
            counts.append(f"1 {kind}")
    text = f"Generations: {', '.join(counts)}"
    if evidence.withheld:
        words = [f"{count:,} {word}" for word, count in evidence.withheld.items()]
        text += f"; finish reasons of withheld text: {', '.join(words)}"
    if evidence.surplus:
        text += f"; {evidence.surplus:,} beyond the requested samples"
    if evidence.median_length_ratio is not None:
        text += f"; median length ratio {percent(evidence.median_length_ratio)}"
    if evidence.prompt_overlap is not None:
        text += f"; prompt overlap {percent(evidence.prompt_overlap)}"
    return text


def _sampling_dates(provenance: Provenance) -> str:
    if provenance.first is None or provenance.last is None:
        return "Read from files that give no dates"
    days = days_text(provenance.first, provenance.last)
    calls = f"{provenance.calls_this_run:,} of {amount(provenance.calls, 'call')}"
    return f"Sampled {days}, {calls} made in this run"


def days_text(first: float, last: float) -> str:
    """State the day, or the first and the last."""
    days = dict.fromkeys((day(first), day(last)))
    return " to ".join(days)


def _server_names(provenance: Provenance) -> str:
    weights = _WEIGHTS.get(provenance.weights, provenance.weights)
    has_names = any(server.model for server in provenance.served)
    if provenance.requested is None and not has_names:
        return f"Weights: {weights}"
    parts = []
    for server in provenance.served:
        parts.append(f"{server_name(server)}, {amount(server.calls, 'call')}")
    if provenance.requested is not None:
        parts.append(f"requested {provenance.requested}")
    parts.append(f"weights: {weights}")
    return f"Served by {'; '.join(parts)}"


def comparison_sentence(comparison: ReleaseComparison) -> str:
    """State the comparison's verdict in a sentence (docs/method.md)."""
    if not comparison.changes:
        text = "nothing to compare"
    else:
        worse = sum(change.verdict is Verdict.FAIL for change in comparison.changes)
        text = f"worse in {worse:,} of {amount(comparison.comparisons, 'comparison')}"
        undecided = comparison.comparisons - sum(
            change.verdict is not Verdict.INCONCLUSIVE for change in comparison.changes
        )
        if undecided:
            text += f", {undecided:,} undecided"
    if comparison.left_out:
        text += f", {amount(len(comparison.left_out), 'baseline pair')} not compared"
    if comparison.confidence:
        error = 1 - comparison.confidence
        certainty = f"probability of any false alarm at most {error:.2g}"
    else:
        certainty = (
            "without a significance test: any increase beyond the tolerance fails"
        )
    return (
        f"Compared with {comparison.baseline}: {comparison.verdict.value}: {text} "
        f"({certainty})"
    )


def comparison_lines(comparison: ReleaseComparison) -> Iterator[str]:
    """List what is worse or undecided, a line each, the worst first."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        for change in comparison.changes:
            if change.verdict is verdict:
                yield f"{change.pair}: {change_text(change)}"
    for pair, reason in comparison.obstacles.items():
        yield f"{pair}: INCONCLUSIVE: {reason}"


def change_text(change: Change) -> str:
    """State a measure before and after, its uncertainty, and the verdict."""
    text = (
        f"{change.measure} {figure(change.before)} -> {figure(change.after)} "
        f"({change.rise:+.4g}"
    )
    if change.low is not None and change.high is not None:
        text += f", interval {change.low:+.4g} to {change.high:+.4g}"
    text += f"), p = {change.p:.2g}, tolerance {change.tolerance:g}"
    rounds = amount(change.rounds, "round")
    if change.resolved is not None:
        text += f", {rounds} can detect an increase of {change.resolved:.2g}"
    if change.approximate:
        text += ", approximate because rounds aren't exchangeable"
    if change.verdict is Verdict.INCONCLUSIVE:
        text += f", {rounds} can't tell an increase from noise"
    return f"{text}: {change.verdict.value}"
