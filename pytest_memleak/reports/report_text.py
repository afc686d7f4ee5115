"""How every report says things: verdicts, values of measures, what holds of a limit, who answered.

Heads are the measures' own names, as suite files have them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, day, percent, percent_at_most
from pytest_memleak.records.provenance import distribution, weights_in
from pytest_memleak.records.verdicts import refused_words
from pytest_memleak.results.run_verdict import suite_controls
from pytest_memleak.scoring.measure_table import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import BookPart, Measure, WorkVerdict
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.provenance import Provenance, ServedBy, Tried

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


def outcome(found: PairResult) -> Outcome:
    """What became of the pair."""
    verdict = Verdict(found.verdict)
    if found.unexcused:
        note = "neither a control nor an expected leak excuses a passage of another book"
        return Outcome(found.verdict_words, "fail", note)
    if found.control:
        note = "" if verdict is Verdict.PASS else "a control gates nothing: its item passes"
        return Outcome(
            f"{found.verdict_words} (control)", _CONTROL.get(verdict, "inconclusive"), note
        )
    if found.expected == "leak" and verdict is Verdict.FAIL:
        return Outcome(f"{found.verdict_words} (expected)", "expected")
    if found.expected == "leak" and verdict is Verdict.PASS:
        note = "it was expected to leak, and its limits hold: its item fails"
        return Outcome(f"{found.verdict_words} (a leak was expected)", "unexpected", note)
    return Outcome(found.verdict_words, verdict.value.lower())


def shown(row: Measure, value: float) -> str:
    """A value of the measure, or a limit on it: a share to three places, a count whole."""
    if row.kind == "share":
        return f"{value:,.3f}"
    return f"{value:,.0f}" if row.kind == "count" else f"{value:,.4g}"


def in_percent(row: Measure, value: float) -> str:
    """The same, a share in per cent."""
    return percent(value) if row.kind == "share" else shown(row, value)


def cell(found: PairResult, row: Measure, *, interval: bool, limit: bool) -> tuple[str, bool]:
    """A measure of a pair in a table: value, interval, limit; and whether it is over that."""
    value, most = found.measures[row.name], found.limits.get(row.name)
    over = most is not None and is_over(found, row, most)
    said = shown(row, value)
    if interval and row.name in found.intervals:
        low, high = found.intervals[row.name]
        said += f" ({shown(row, low)}–{shown(row, high)})"
    if row.name in found.chances:
        said += f" p={chance(found.chances[row.name])}"
    if limit and most is not None:
        said += f" {'>' if value > most else '≤'} {shown(row, most)}"
    return said, over


def is_over(found: PairResult, row: Measure, limit: float) -> bool:
    """Whether a limit on a measure of the pair is broken, as the verdict has it."""
    value = found.measures[row.name]
    low, _ = found.intervals.get(row.name, (value, value))
    return (value if row.rises else low) > limit


def chance(p: float) -> str:
    """A p of "no more than chance"."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - no more places are told


def unit(row: Measure, findings: Sequence[PairResult]) -> str:
    """The measure's unit, with k and T; with the letters where pairs differ in them."""
    values = {name: {found.settings[name] for found in findings} for name in _LETTERS}
    settings = {
        name: seen.pop() if len(seen) == 1 else _LETTERS[name] for name, seen in values.items()
    }
    return row.unit.format(**settings)


def rate_text(rate: PassageRate) -> str:
    """How often a passage came back of its own prompt, and in how many answers to expect it."""
    said = f"in {rate.hits:,} of {amount(rate.tries, 'answer')} to its prompt"
    if rate.low == rate.high:
        return said
    about = "about " if rate.approximate else ""
    return f"{said}; expected in {about}{percent(rate.low)} to {percent(rate.high)} of them"


# --- a collection's works ------------------------------------------------------------------


def of_works(found: PairResult) -> Iterator[str]:
    """How many works leak, each of them, and those that could not be judged by themselves."""
    works = found.works
    if not works:
        return
    count = Counter(one.verdict for one in works)
    told = [f"{count[verdict]:,} {verdict}" for verdict in Verdict if count[verdict]]
    yield f"{count[Verdict.FAIL]:,} of {amount(len(works), 'work')} leak: {', '.join(told)}"
    for one in found.leaking:
        over = (
            f"{name} {shown(MEASURES[name], one.measures[name])} > "
            f"{shown(MEASURES[name], found.limits[name])}"
            for name in one.over
        )
        yield f"leaks: {work_named(one)}, {amount(one.words, 'word')}: {', '.join(over)}"
    for one in works:
        if one.reason:
            yield f"not judged: {work_named(one)}: {one.reason}"


def work_named(one: WorkVerdict) -> str:
    """A work's title, and its place in the collection where that says more."""
    return one.title if one.title == one.id else f"{one.title} ({one.id})"


# --- the book's documents ------------------------------------------------------------------


def of_documents(parts: Sequence[BookPart]) -> Iterator[str]:
    """How much of a book's file is text, and how much was left out, by which rule."""
    kept = [one for one in parts if one.kept]
    words, headings, notes = (
        sum(getattr(one, name) for one in parts) for name in ("words", "headings", "notes")
    )
    yield (
        f"{words:,} words of text in {len(kept):,} of {amount(len(parts), 'document')}; beside "
        f"them {headings:,} of headings, {notes:,} of notes and "
        f"{sum(one.matter for one in kept):,} of matter, which are left out"
    )
    rules: dict[str, list[BookPart]] = {}
    for one in parts:
        if not one.kept:
            rules.setdefault(one.rule, []).append(one)
    for rule, its in rules.items():
        total = sum(one.matter for one in its)
        yield f"left out, since {rule}: {amount(len(its), 'document')}, {total:,} words"


# --- what so many rounds can show ----------------------------------------------------------


def detects(found: PairResult) -> str:
    """The share of answers above which a passage would have been seen; "-" where none can say."""
    return percent_at_most(found.detection.detection) if found.detection else "-"


def of_sensitivity(found: PairResult) -> Iterator[tuple[str, str]]:
    """What the rounds of a pair would have seen, and what another so many may: title, sentence."""
    known = found.detection
    if known is None:
        return
    rounds = amount(known.rounds, "round")
    if known.blocks is not None:
        rounds += f" that count as {amount(known.blocks, 'block')}"
    elif known.answers < known.rounds:
        rounds += f", of an excerpt only {amount(known.answers, 'answer')}"
    confidence = f"{100 * known.confidence:g} %"
    said = (
        f"{rounds}: a passage that comes in more than {detects(found)} of the answers to its "
        f"prompt would have been seen ({confidence})"
    )
    yield "detects", said
    yield from not_alike(found)
    if known.ranges:
        told = (
            f"{name} {low:,}" if low == high else f"{name} {low:,} to {high:,}"
            for name, (low, high) in known.ranges.items()
        )
        yield f"another {amount(known.rounds, 'round')}", f"{', '.join(told)} words"


def not_alike(found: PairResult) -> Iterator[tuple[str, str]]:
    """That the rounds were not alike, where they were not."""
    known = found.detection
    if known and known.blocks is not None:
        likelier = "clumped" if known.clumped <= known.drifting else "drifting"
        p = 2 * min(known.clumped, known.drifting)
        said = (
            f"the rounds were not alike ({likelier}, p = {p:.2g}): the model recites in moods, or "
            f"something changed on the way; intervals rest on {amount(known.blocks, 'block')}"
        )
        yield "not alike", said


def of_chance(found: PairResult) -> Iterator[tuple[str, str]]:
    """What chance was measured by, and what it can see."""
    null = found.details.get("null")
    if null is None:
        return
    books = amount(len(null["books"]), "null book")
    said = f"{percent(null['null_bmc'])} by {books}, {percent(null['bmc'])} of its own"
    if null["p"] is None:
        said += "; fewer than two null books give no interval and no p"
    else:
        said += (
            f"; p = {chance(null['p'])} that this is no more than chance; {books} would show "
            f"{null['visible']:.1f} times as much as chance"
        )
    yield "chance", said


def captions(findings: Sequence[PairResult]) -> Iterator[str]:
    """What the column of detection says, once for each confidence in the run."""
    known = (one.detection for one in findings)
    for confidence in dict.fromkeys(one.confidence for one in known if one):
        yield detection_caption(confidence)


def detection_caption(confidence: float) -> str:
    """What a column of detection says."""
    share = f"{100 * confidence:g} %"
    return f"detects: a passage in more than this share of its answers would be seen ({share})"


def of_suites(findings: Sequence[PairResult]) -> Iterator[str]:
    """What controls say of the gate: false alarms, whether it saw a leak, whether it gates."""
    suites = suite_controls(findings)
    for one in suites:
        for line in one.told():
            yield line if len(suites) == 1 else f"{one.suite}: {line}"


# --- the answers, and who gave them --------------------------------------------------------


def generation_lines(found: PairResult) -> Iterator[tuple[str, str]]:
    """What is said of a pair's answers: a title and a sentence each; servers' words are in them."""
    evidence, who = found.completeness, found.provenance
    yield from of_sensitivity(found)
    yield from of_chance(found)
    if any(evidence.kinds.values()):
        yield "kinds", _kinds(found)
    if who is not None and evidence.received:
        yield "drawn", _drawn(who)
        if who.served:
            yield "answered by", _answered_by(who)
        if who.calls:
            yield "distribution", distribution(found.model_settings.get("options", {}), who.refused)
    if second := found.second_opinion:
        matched, differ = (amount(second[name], name[:-1]) for name in second)
        yield "second opinion", f"{matched}, {differ}"
    yield from _attempts_and_refusals(found)
    for note in evidence.notes:
        yield "note", note


def notice_lines(found: PairResult) -> Iterator[tuple[str, str]]:
    """What of it is told even of a pass: rounds, attempts and answers beside these, refusals."""
    yield from not_alike(found)
    yield from _attempts_and_refusals(found)


def _attempts_and_refusals(found: PairResult) -> Iterator[tuple[str, str]]:
    tried = found.provenance and found.provenance.tried
    if tried and (tried.number > 1 or tried.further):
        yield "attempt", _attempt(tried)
    for one in found.sampled:
        if one.purpose == "baseline" and one.refused:
            yield "uplift", f"over a baseline of which {refused_words(one.refused, one.received)}"


def _attempt(tried: Tried) -> str:
    of = [amount(tried.seeds, "seed"), amount(tried.temperatures, "temperature")]
    of += [f"drawn anew {amount(tried.anew, 'time')} since answers aged"] if tried.anew else []
    of += [amount(tried.runs, "run")] if tried.runs else []
    of += [amount(tried.files, "imported file")] if tried.files else []
    of += [f"{amount(tried.removed, 'answer')} no longer there"] if tried.removed else []
    of += [f"{amount(tried.further, 'further answer')} stored"] if tried.further else []
    return f"{tried.number:,} for this endpoint and book ({', '.join(of)})"


def served_by(one: ServedBy) -> str:
    """What a server said of itself, or which weights answered here."""
    here = "weights on this machine" if weights_in(one.fingerprint) else None
    name = one.model or here or "a server that gives no name"
    return f"{name} ({one.fingerprint})" if one.fingerprint else name


def _kinds(found: PairResult) -> str:
    evidence = found.completeness
    said = ", ".join(f"{count:,} {kind.value}" for kind, count in evidence.kinds.items() if count)
    if evidence.withheld:
        words = ", ".join(f"{count:,} {word}" for word, count in evidence.withheld.items())
        said += f"; withheld as {words}"
    if evidence.surplus:
        said += f"; {evidence.surplus:,} more that nobody asked for"
    if evidence.median_length_ratio is not None:
        said += f"; median yield {percent(evidence.median_length_ratio)}"
    if evidence.prompt_overlap is not None:
        said += f"; given away {percent(evidence.prompt_overlap)}"
    return said


def _drawn(who: Provenance) -> str:
    if who.first is None or who.last is None:
        return "from files, which do not say when"
    first, last = day(who.first), day(who.last)
    days = first if first == last else f"{first} to {last}"
    said = f"{days}, {who.calls_this_run:,} of {amount(who.calls, 'call')} in this run"
    return f"{said}; {amount(who.imported, 'answer')} from files" if who.imported else said


def _answered_by(who: Provenance) -> str:
    if who.requested is None and not any(one.model for one in who.served):
        return _WEIGHTS.get(who.weights, who.weights)
    said = [f"{served_by(one)}, {amount(one.calls, 'call')}" for one in who.served]
    if who.requested is not None:
        said.append(f"{who.requested} was asked")
    return "; ".join([*said, _WEIGHTS.get(who.weights, who.weights)])
