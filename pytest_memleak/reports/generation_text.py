"""Generations and their provenance as text: kinds, dates, servers, attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Kind, Verdict
from pytest_memleak.records.number_format import amount, day, percent, percent_at_most
from pytest_memleak.records.provenance import describe_distribution, weights_digest
from pytest_memleak.records.verdicts import refusals_text
from pytest_memleak.reports.book_text import excluded_lines
from pytest_memleak.reports.detection_and_chance import (
    chance_lines,
    detection_lines,
    exchangeability_lines,
    expected_range_lines,
)
from pytest_memleak.reports.excused_text import excused_word_lines
from pytest_memleak.reports.probability_text import probability_lines
from pytest_memleak.reports.prompt_text import (
    extraction_lines,
    named_prompt_rate_lines,
    prompt_lines,
    prompted_excerpt_lines,
)
from pytest_memleak.verdict.provenance_issues import REUSE_RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Completeness
    from pytest_memleak.records.pair_result import PairResult, SecondOpinionCounts
    from pytest_memleak.records.provenance import (
        OtherAttempt,
        Provenance,
        ServedBy,
        Tried,
    )

_SHOWN = 3
_MAY_HIDE = (Kind.WITHHELD, Kind.UNREADABLE)  # kinds whose passages may not be seen
_WEIGHTS = {"a name": "identified by name only", "fixed": "can't change"}


def generation_lines(result: PairResult) -> Iterator[str]:
    """Describe a pair's generations, a sentence each; some quote servers."""
    evidence = result.completeness
    provenance = result.provenance
    yield from extraction_lines(result)
    yield from named_prompt_rate_lines(result)
    yield from probability_lines(result)
    yield from doubtful_reuse_lines(result)
    yield from detection_lines(result)
    yield from exchangeability_lines(result)
    yield from excused_word_lines(result)
    yield from expected_range_lines(result)
    yield from chance_lines(result)
    if any(evidence.kinds.values()):
        yield _generation_counts_text(evidence)
    if provenance is not None and evidence.received:
        yield _sampling_dates_text(provenance)
        if provenance.served:
            yield _server_names(provenance)
        if provenance.calls:
            shape = describe_distribution(result.model.options, provenance.refused)
            yield f"Sampling distribution: {shape}"
    if result.second_opinion:
        yield _second_opinion_text(result.second_opinion)
    yield from _lost_completion_lines(result)
    yield from _attempt_lines(result)
    yield from prompt_lines(result)
    yield from prompted_excerpt_lines(result)
    yield from excluded_lines(result.book.parts)
    yield f"Book text: {result.book.approval}"
    for note in evidence.notes:
        yield f"Note: {note}"


def _second_opinion_text(counts: SecondOpinionCounts) -> str:
    matched = amount(counts.generations, "generation")
    differences = amount(counts.differences, "difference")
    return f"Second opinion: {matched} matched again, {differences}"


def doubtful_reuse_lines(result: PairResult) -> Iterator[str]:
    """Say what shows that a failed pair's stored generations may be another model's."""
    if result.plain_verdict is not Verdict.FAIL:
        return
    for issue in result.completeness.issues:
        if issue.rule in REUSE_RULES:
            yield str(issue)


def notice_lines(result: PairResult) -> Iterator[str]:
    """Describe what readers must know even of a pass: rounds, losses, attempts."""
    yield from named_prompt_rate_lines(result)
    yield from exchangeability_lines(result)
    yield from excused_word_lines(result)
    yield from _kind_counts_of_doubtful_pass(result)
    yield from _lost_completion_lines(result)
    yield from _attempt_lines(result)
    yield from prompt_lines(result)
    yield from excluded_lines(result.book.parts, by_title_alone=True)


def _kind_counts_of_doubtful_pass(result: PairResult) -> Iterator[str]:
    """Count a pass's generations by kind if some may hide passages."""
    kinds = result.completeness.kinds
    if result.plain_verdict is Verdict.PASS and any(map(kinds.get, _MAY_HIDE)):
        yield _generation_counts_text(result.completeness)


def _lost_completion_lines(result: PairResult) -> Iterator[str]:
    """State the completions that the server lost, and what may be in them."""
    delivery = result.completeness.delivery
    if delivery is None or not delivery.lost:
        return
    requested = amount(delivery.requested, "completion")
    text = f"Lost: {delivery.lost:,} of {requested} never came or came empty"
    text += " (an outage counts once)"
    if delivery.missing_choices:
        text += f", {delivery.missing_choices:,} of them choices of an answer"
    if delivery.control_requested:
        lost, controls = delivery.control_lost, delivery.control_requested
        text += f"; control calls lost {lost:,} of {controls:,}"
    if result.detection and result.detection.detection_if_lost is not None:
        limit = percent_at_most(result.detection.detection_if_lost)
        text += f". If each held the passage, the detection limit is {limit}"
    yield f"{text}."


def _attempt_lines(result: PairResult) -> Iterator[str]:
    tried = result.provenance and result.provenance.tried
    if tried and (tried.number > 1 or tried.further or attempts_over_limit(tried)):
        yield _attempt_text(tried)
    for counted in result.sampled:
        if counted.purpose == "baseline" and counted.refused:
            refusals = refusals_text(counted.refused, counted.received)
            yield f"Baseline model: {refusals}"


def _attempt_text(tried: Tried) -> str:
    details = [
        amount(tried.seeds, "seed"),
        amount(tried.temperatures, "temperature"),
    ]
    if tried.resampled:
        details.append(f"resampled {amount(tried.resampled, 'time')} because of age")
    details.append(amount(tried.runs, "run"))
    if tried.removed:
        details.append(f"{amount(tried.removed, 'generation')} removed")
    if tried.further:
        details.append(f"{amount(tried.further, 'further generation')} stored")
    text = (
        f"Attempt {tried.number:,} for book and model, by weights or name "
        f"({', '.join(details)})"
    )
    failed = attempts_over_limit(tried)
    texts = [text, *(_reproduced_text(attempt) for attempt in failed[:_SHOWN])]
    if len(failed) > _SHOWN:
        texts.append(f"{amount(len(failed) - _SHOWN, 'more attempt')} failed")
    return "; ".join(texts)


def attempts_over_limit(tried: Tried) -> list[OtherAttempt]:
    """Return the other attempts with a passage over a limit."""
    return [attempt for attempt in tried.others if attempt.over_limit]


def _reproduced_text(attempt: OtherAttempt) -> str:
    words = max(attempt.longest_passage, attempt.nv_longest_passage)
    return f"attempt {attempt.number:,} reproduced {amount(words, 'word')} (FAIL)"


def server_name(server: ServedBy) -> str:
    """Name a server as it identifies itself, or the local weights."""
    name = server.model or "an unnamed server"
    if not server.model and weights_digest(server.fingerprint):
        name = "weights on this machine"
    if not server.fingerprint:
        return name
    return f"{name} ({server.fingerprint})"


def _generation_counts_text(evidence: Completeness) -> str:
    plurals = {Kind.ANSWER: "answers", Kind.REFUSAL: "refusals"}
    counts = []
    answers_first = sorted(evidence.kinds, key=lambda kind: kind != Kind.ANSWER)
    for kind in answers_first:
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


def _sampling_dates_text(provenance: Provenance) -> str:
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
