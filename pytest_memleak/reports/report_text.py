"""How every report says things: verdicts, values of measures, what holds of a limit, who answered.

Heads are the measures' own names, as suite files have them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, day, figure, percent, percent_at_most
from pytest_memleak.records.provenance import distribution, weights_digest
from pytest_memleak.records.verdicts import refusals_text
from pytest_memleak.results.run_evidence import suite_controls
from pytest_memleak.scoring.measure_table import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records import BookPart, Measure, WorkVerdict
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.provenance import Provenance, ServedBy, Tried
    from pytest_memleak.records.releases import Change, ReleaseComparison

_WEIGHTS = {"fixed": "fixed weights", "a name": "weights known by name alone"}
_CONTROL = {Verdict.PASS: "pass", Verdict.FAIL: "expected", Verdict.INCONCLUSIVE: "inconclusive"}
_LETTERS = {"k": "k", "span_threshold": "T"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict beside what was expected.

    word: the verdict, with what was expected in brackets where that makes a difference
    kind: pass, fail, inconclusive, expected (a leak that had to be) or unexpected (a pass that
          had not)
    note: what it means for the pair's item, where the word alone could mislead
    """

    word: str
    kind: str
    note: str = ""


def pair_outcome(result: PairResult) -> Outcome:
    """What became of the pair."""
    verdict = Verdict(result.verdict)
    if result.unexcused:
        note = "neither a control nor an expected leak excuses a passage of another book"
        return Outcome(result.verdict_words, "fail", note)
    if result.control:
        note = "" if verdict is Verdict.PASS else "a control gates nothing: its item passes"
        return Outcome(
            f"{result.verdict_words} (control)", _CONTROL.get(verdict, "inconclusive"), note
        )
    if result.expected == "leak" and verdict is Verdict.FAIL:
        return Outcome(f"{result.verdict_words} (expected)", "expected")
    if result.expected == "leak" and verdict is Verdict.PASS:
        note = "it was expected to leak, and its limits hold: its item fails"
        return Outcome(f"{result.verdict_words} (a leak was expected)", "unexpected", note)
    return Outcome(result.verdict_words, verdict.value.lower())


def format_value(row: Measure, value: float) -> str:
    """A value of the measure, or a limit on it: a share to three places, a count whole."""
    if row.kind == "share":
        return f"{value:,.3f}"
    return f"{value:,.0f}" if row.kind == "count" else f"{value:,.4g}"


def format_percent(row: Measure, value: float) -> str:
    """The same, a share in per cent."""
    return percent(value) if row.kind == "share" else format_value(row, value)


def measure_cell(
    result: PairResult, row: Measure, *, interval: bool, limit: bool
) -> tuple[str, bool]:
    """A measure of a pair in a table: value, interval, limit; and whether it is over that."""
    value, limit_value = result.measures[row.name], result.limits.get(row.name)
    over = limit_value is not None and exceeds_limit(result, row, limit_value)
    text = format_value(row, value)
    if interval and row.name in result.intervals:
        low, high = result.intervals[row.name]
        text += f" ({format_value(row, low)}–{format_value(row, high)})"
    if row.name in result.chances:
        text += f" p={format_p(result.chances[row.name])}"
    if limit and limit_value is not None:
        text += f" {'>' if value > limit_value else '≤'} {format_value(row, limit_value)}"
    return text, over


def exceeds_limit(result: PairResult, row: Measure, limit: float) -> bool:
    """Whether a limit on a measure of the pair is broken, as the verdict has it."""
    value = result.measures[row.name]
    low, _ = result.intervals.get(row.name, (value, value))
    return (value if row.rises else low) > limit


def format_p(p: float) -> str:
    """A p of "no more than chance"."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - no more places are told


def unit_text(row: Measure, results: Sequence[PairResult]) -> str:
    """The measure's unit, with k and T; with the letters where pairs differ in them."""
    values = {name: {result.settings[name] for result in results} for name in _LETTERS}
    settings = {
        name: seen.pop() if len(seen) == 1 else _LETTERS[name] for name, seen in values.items()
    }
    return row.unit.format(**settings)


def rate_text(rate: PassageRate) -> str:
    """How often a passage came back of its own prompt, and in how many answers to expect it."""
    text = f"in {rate.hits:,} of {amount(rate.tries, 'answer')} to its prompt"
    if rate.low == rate.high:
        return text
    about = "about " if rate.approximate else ""
    return f"{text}; expected in {about}{percent(rate.low)} to {percent(rate.high)} of them"


# --- a collection's works ------------------------------------------------------------------


def work_lines(result: PairResult) -> Iterator[str]:
    """How many works leak, each of them, and those that could not be judged by themselves."""
    works = result.works
    if not works:
        return
    count = Counter(work.verdict for work in works)
    counts = [f"{count[verdict]:,} {verdict}" for verdict in Verdict if count[verdict]]
    yield f"{count[Verdict.FAIL]:,} of {amount(len(works), 'work')} leak: {', '.join(counts)}"
    for work in result.leaking:
        over = (
            f"{name} {format_value(MEASURES[name], work.measures[name])} > "
            f"{format_value(MEASURES[name], result.limits[name])}"
            for name in work.over
        )
        yield f"leaks: {work_name(work)}, {amount(work.words, 'word')}: {', '.join(over)}"
    for work in works:
        if work.reason:
            yield f"not judged: {work_name(work)}: {work.reason}"


def work_name(work: WorkVerdict) -> str:
    """A work's title, and its place in the collection where that says more."""
    return work.title if work.title == work.id else f"{work.title} ({work.id})"


# --- the book's documents ------------------------------------------------------------------


def document_lines(parts: Sequence[BookPart]) -> Iterator[str]:
    """How much of a book's file is text, and how much was left out, by which rule."""
    read_parts = [part for part in parts if part.kept]
    words, headings, notes = (
        sum(getattr(part, name) for part in parts) for name in ("words", "headings", "notes")
    )
    yield (
        f"{words:,} words of text in {len(read_parts):,} of {amount(len(parts), 'document')}; "
        f"beside them {headings:,} of headings, {notes:,} of notes and "
        f"{sum(part.matter for part in read_parts):,} of matter, which are left out"
    )
    rules: dict[str, list[BookPart]] = {}
    for part in parts:
        if not part.kept:
            rules.setdefault(part.rule, []).append(part)
    for rule, left_out in rules.items():
        total = sum(part.matter for part in left_out)
        yield f"left out, since {rule}: {amount(len(left_out), 'document')}, {total:,} words"


# --- what so many rounds can show ----------------------------------------------------------


def detection_text(result: PairResult) -> str:
    """The share of answers above which a passage would have been seen; "-" where none can say."""
    return percent_at_most(result.detection.detection) if result.detection else "-"


def _detection_lines(result: PairResult) -> Iterator[tuple[str, str]]:
    """What the rounds of a pair would have seen, and what another so many may: title, sentence."""
    summary = result.detection
    if summary is None:
        return
    rounds = amount(summary.rounds, "round")
    if summary.blocks is not None:
        rounds += f" that count as {amount(summary.blocks, 'block')}"
    elif summary.answers < summary.rounds:
        rounds += f", of an excerpt only {amount(summary.answers, 'answer')}"
    confidence = f"{100 * summary.confidence:g} %"
    text = (
        f"{rounds}: a passage that comes in more than {detection_text(result)} of the answers to "
        f"its prompt would have been seen ({confidence})"
    )
    yield "detects", text
    yield from _round_lines(result)
    if summary.ranges:
        ranges = (
            f"{name} {low:,}" if low == high else f"{name} {low:,} to {high:,}"
            for name, (low, high) in summary.ranges.items()
        )
        yield f"another {amount(summary.rounds, 'round')}", f"{', '.join(ranges)} words"


def _round_lines(result: PairResult) -> Iterator[tuple[str, str]]:
    """That the rounds were not alike, where they were not."""
    summary = result.detection
    if summary and summary.blocks is not None:
        likelier = "clumped" if summary.clumped <= summary.drifting else "drifting"
        p = 2 * min(summary.clumped, summary.drifting)
        text = (
            f"the rounds were not alike ({likelier}, p = {p:.2g}): the model recites in moods, or "
            f"something changed on the way; intervals rest on {amount(summary.blocks, 'block')}"
        )
        yield "not alike", text


def _chance_lines(result: PairResult) -> Iterator[tuple[str, str]]:
    """What chance was measured by, and what it can see."""
    null = result.details.get("null")
    if null is None:
        return
    books = amount(len(null["books"]), "null book")
    text = f"{percent(null['null_bmc'])} by {books}, {percent(null['bmc'])} of its own"
    if null["p"] is None:
        text += "; fewer than two null books give no interval and no p"
    else:
        text += (
            f"; p = {format_p(null['p'])} that this is no more than chance; {books} would show "
            f"{null['visible']:.1f} times as much as chance"
        )
    yield "chance", text


def detection_captions(results: Sequence[PairResult]) -> Iterator[str]:
    """What the column of detection says, once for each confidence in the run."""
    summaries = (result.detection for result in results)
    for confidence in dict.fromkeys(summary.confidence for summary in summaries if summary):
        yield detection_caption(confidence)


def detection_caption(confidence: float) -> str:
    """What a column of detection says."""
    share = f"{100 * confidence:g} %"
    return f"detects: a passage in more than this share of its answers would be seen ({share})"


def control_lines(results: Sequence[PairResult]) -> Iterator[str]:
    """What controls say of the gate: false alarms, whether it saw a leak, whether it gates."""
    suites = suite_controls(results)
    for suite in suites:
        for line in suite.lines():
            yield line if len(suites) == 1 else f"{suite.suite}: {line}"


# --- the answers, and who gave them --------------------------------------------------------


def generation_lines(result: PairResult) -> Iterator[tuple[str, str]]:
    """What is said of a pair's answers: a title and a sentence each; servers' words are in them."""
    evidence, provenance = result.completeness, result.provenance
    yield from _detection_lines(result)
    yield from _chance_lines(result)
    if any(evidence.kinds.values()):
        yield "kinds", _generation_counts(result)
    if provenance is not None and evidence.received:
        yield "drawn", _sampling_dates(provenance)
        if provenance.served:
            yield "answered by", _server_names(provenance)
        if provenance.calls:
            yield (
                "distribution",
                distribution(result.model_settings.get("options", {}), provenance.refused),
            )
    if second := result.second_opinion:
        matched, differ = (amount(second[name], name[:-1]) for name in second)
        yield "second opinion", f"{matched}, {differ}"
    yield from _attempt_lines(result)
    for note in evidence.notes:
        yield "note", note


def notice_lines(result: PairResult) -> Iterator[tuple[str, str]]:
    """What of it is told even of a pass: rounds, attempts and answers beside these, refusals."""
    yield from _round_lines(result)
    yield from _attempt_lines(result)


def _attempt_lines(result: PairResult) -> Iterator[tuple[str, str]]:
    tried = result.provenance and result.provenance.tried
    if tried and (tried.number > 1 or tried.further):
        yield "attempt", _attempt(tried)
    for counted in result.sampled:
        if counted.purpose == "baseline" and counted.refused:
            yield (
                "uplift",
                f"over a baseline of which {refusals_text(counted.refused, counted.received)}",
            )


def _attempt(tried: Tried) -> str:
    details = [amount(tried.seeds, "seed"), amount(tried.temperatures, "temperature")]
    details += [f"drawn anew {amount(tried.anew, 'time')} since answers aged"] if tried.anew else []
    details += [amount(tried.runs, "run")] if tried.runs else []
    details += [amount(tried.files, "imported file")] if tried.files else []
    details += [f"{amount(tried.removed, 'answer')} no longer there"] if tried.removed else []
    details += [f"{amount(tried.further, 'further answer')} stored"] if tried.further else []
    return f"{tried.number:,} for this endpoint and book ({', '.join(details)})"


def server_name(server: ServedBy) -> str:
    """What a server said of itself, or which weights answered here."""
    here = "weights on this machine" if weights_digest(server.fingerprint) else None
    name = server.model or here or "a server that gives no name"
    return f"{name} ({server.fingerprint})" if server.fingerprint else name


def _generation_counts(result: PairResult) -> str:
    evidence = result.completeness
    text = ", ".join(f"{count:,} {kind.value}" for kind, count in evidence.kinds.items() if count)
    if evidence.withheld:
        words = ", ".join(f"{count:,} {word}" for word, count in evidence.withheld.items())
        text += f"; withheld as {words}"
    if evidence.surplus:
        text += f"; {evidence.surplus:,} more that nobody asked for"
    if evidence.median_length_ratio is not None:
        text += f"; median yield {percent(evidence.median_length_ratio)}"
    if evidence.prompt_overlap is not None:
        text += f"; given away {percent(evidence.prompt_overlap)}"
    return text


def _sampling_dates(provenance: Provenance) -> str:
    if provenance.first is None or provenance.last is None:
        return "from files, which do not say when"
    first, last = day(provenance.first), day(provenance.last)
    days = first if first == last else f"{first} to {last}"
    text = (
        f"{days}, {provenance.calls_this_run:,} of {amount(provenance.calls, 'call')} in this run"
    )
    return (
        f"{text}; {amount(provenance.imported, 'answer')} from files"
        if provenance.imported
        else text
    )


def _server_names(provenance: Provenance) -> str:
    if provenance.requested is None and not any(server.model for server in provenance.served):
        return _WEIGHTS.get(provenance.weights, provenance.weights)
    parts = [
        f"{server_name(server)}, {amount(server.calls, 'call')}" for server in provenance.served
    ]
    if provenance.requested is not None:
        parts.append(f"{provenance.requested} was asked")
    return "; ".join([*parts, _WEIGHTS.get(provenance.weights, provenance.weights)])


# --- a release against an earlier one ------------------------------------------------------------


def comparison_sentence(comparison: ReleaseComparison) -> str:
    """The statement on the whole, in a sentence."""
    if not comparison.changes:
        text = "nothing could be compared"
    else:
        worse = sum(change.verdict is Verdict.FAIL for change in comparison.changes)
        text = f"worse in {worse:,} of {amount(comparison.comparisons, 'comparison')}"
        undecided = comparison.comparisons - sum(
            change.verdict is not Verdict.INCONCLUSIVE for change in comparison.changes
        )
        text += f", {undecided:,} of them open" if undecided else ""
    if comparison.left_out:
        text += f", {amount(len(comparison.left_out), 'pair')} of the baseline not looked at"
    certainty = (
        "that any is called worse by chance has a probability of at most "
        f"{1 - comparison.confidence:.2g}"
        if comparison.confidence
        else "point value: every rise over its tolerance counts"
    )
    return (
        f"release against {comparison.baseline}: {comparison.verdict.value}: {text} ({certainty})"
    )


def comparison_lines(comparison: ReleaseComparison) -> Iterator[str]:
    """What is worse or cannot be told, a line each, the worst first."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        for change in comparison.changes:
            if change.verdict is verdict:
                yield f"{change.pair}: {change_text(change)}"
    for pair, reason in comparison.obstacles.items():
        yield f"{pair}: INCONCLUSIVE: {reason}"


def change_text(change: Change) -> str:
    """A measure then and now, what of it may be noise, and what that means."""
    text = f"{change.measure} {figure(change.before)} -> {figure(change.after)} ({change.rise:+.4g}"
    if change.low is not None and change.high is not None:
        text += f", interval {change.low:+.4g} to {change.high:+.4g}"
    text += f"), p = {change.p:.2g}, tolerance {change.tolerance:g}"
    if change.resolved is not None:
        text += f", {amount(change.rounds, 'round')} resolve a rise of {change.resolved:.2g}"
    if change.approximate:
        text += ", approximate since rounds were not alike"
    if change.verdict is Verdict.INCONCLUSIVE:
        text += f", {amount(change.rounds, 'round')} cannot tell a rise from noise"
    return f"{text}: {change.verdict.value}"


def flatten(settings: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting that has a value, those of inner tables with dots in their names."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{name}{key}.")
        elif value is not None:
            yield f"{name}{key}", value
