"""The rules on a pair's evidence, in the order of docs/method.md: a function each.

A rule yields an issue where it is broken, its value beside its threshold, or a note on
what can't be judged. Its fixes are in `evidence_requirements`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Issue, Kind, RuleCheck
from pytest_memleak.records.number_format import amount, first_three
from pytest_memleak.scoring.measure_table import PASSAGE_LIMIT
from pytest_memleak.verdict.evidence_requirements import exact_fraction, fix
from pytest_memleak.verdict.generation_features import LENGTH, runs_by_excerpt
from pytest_memleak.verdict.generation_kinds import KINDS
from pytest_memleak.verdict.prompt_overlap import instruction_rules
from pytest_memleak.verdict.shingles import count_distinct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.scoring.array_types import Counts, Flags
    from pytest_memleak.scoring.word_ranges import Positions
    from pytest_memleak.verdict.generation_features import GenerationFeatures
    from pytest_memleak.verdict.generation_kinds import CensusResult, KindNumbers
    from pytest_memleak.verdict.prompt_overlap import PromptOverlap
    from pytest_memleak.verdict.shingles import Keys

    SharesOfAnswersAndRuns = tuple[list[Fraction], list[Fraction]]

_LEAST_MEDIAN_LENGTH_RATIO = Fraction(1, 2)
_MOST_EXCERPTS_WITHOUT_ANSWER = Fraction(1, 20)
_MOST_WITHHELD_OF_EXCERPT = 0.5
_FEW_EXCERPTS = 10  # of fewer, each needs an answer
_LEAST_DISTINCT = Fraction(1, 2)
_LEAST_COMMON_WORDS = Fraction(35, 100)
_LEAST_WORD_ORDER = Fraction(3, 4)
_LEAST_COMMON_PAIRS = Fraction(1, 10)
_FEWEST_MARKED_PAIRS = 50  # F + R under which the order is not judged
_WORDLESS = frozenset(
    {Kind.WITHHELD, Kind.EMPTY, Kind.REFUSAL, Kind.ECHO, Kind.CUT_EARLY}
)

RuleOutcome = Issue | RuleCheck | str


class RuleContext:
    """The evidence that the rules judge.

    over_limit: whether the pair exceeds a limit anyway
    """

    def __init__(
        self,
        counted: CensusResult,
        overlap: PromptOverlap,
        *,
        over_limit: bool,
    ) -> None:
        self.counted = counted
        self.overlap = overlap
        self.over_limit = over_limit
        self.request = counted.request
        self.limits = counted.request.limits
        self.readings = counted.readings
        self.kinds = counted.kinds
        self.excerpts = len(counted.excerpts)
        named = counted.request.named
        prompts = self.excerpts if named is None else len(named)
        self.requested = prompts * counted.request.samples
        self.counts = count_kinds(counted.kinds)

    def are_of(self, *kinds: Kind) -> Flags:
        """Tell which generations are of one of these kinds."""
        places = [KINDS.index(kind) for kind in kinds]
        return np.isin(self.kinds, places)

    def excerpt_ids(self, numbers: Positions) -> list[str]:
        """Return the ids of excerpts by their numbers."""
        ids = self.counted.excerpts
        return [ids[number] for number in numbers.tolist()]

    def count_by_excerpt(self, chosen: Flags | slice = slice(None)) -> Counts:
        """Count the chosen generations of each excerpt; by default, all."""
        excerpts = self.readings.excerpt[chosen]
        return np.bincount(excerpts, minlength=max(self.excerpts, 1))

    def issue(
        self,
        rule: str,
        cause: str,
        cure: str | None = None,
    ) -> Issue:
        """Return the broken rule, with the fix for `cure`, by default for the rule."""
        cure_or_rule = cure or rule
        rule_fix = fix(cure_or_rule, recorded=self.request.recorded)
        return Issue(rule, cause, rule_fix)

    @property
    def answering(self) -> tuple[Kind, ...]:
        """The kinds that count as answers."""
        if self.limits.accept_refusals:
            return (Kind.ANSWER, Kind.REFUSAL)
        return (Kind.ANSWER,)

    @cached_property
    def unanswered(self) -> Positions:
        """The numbers of the excerpts without an answer."""
        answers = self.count_by_excerpt(self.are_of(*self.answering))
        return np.flatnonzero(answers[: self.excerpts] == 0)

    @cached_property
    def median_length_ratio(self) -> Fraction | None:
        """The median over all generations; accepted refusals count as whole answers."""
        counts = self.readings.expected > 0
        accepted = self.are_of(Kind.REFUSAL) & self.limits.accept_refusals
        accepted = accepted[counts]
        if accepted.all():
            return None
        expected = self.readings.expected[counts]
        own = np.where(accepted, expected, self.readings.own[counts])
        order = np.argsort(own / expected, kind="stable").tolist()
        lower = order[(len(own) - 1) // 2]
        upper = order[len(own) // 2]
        ratios = []
        for place in {lower, upper}:
            own_words = int(own[place])
            expected_words = int(expected[place])
            ratios.append(Fraction(own_words, expected_words))
        return median(ratios)


def count_kinds(kinds: KindNumbers) -> dict[Kind, int]:
    """Count generations by kind. kinds: their places in KINDS."""
    counts = np.bincount(kinds, minlength=len(KINDS)).tolist()
    return dict(zip(KINDS, counts, strict=True))


# --- instructions, and the generations that they got


def check_instructions(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge the book's instructions."""
    return instruction_rules(
        context.overlap,
        context.request,
        excerpts=context.excerpts,
    )


def check_all_received(context: RuleContext) -> Iterator[RuleOutcome]:
    """Yield an issue unless all requested generations are there."""
    received = len(context.readings)
    requested = context.requested
    if not requested:
        cause = "no generation was requested from the model"
        yield context.issue("all received", cause, "none requested")
    if received < requested:
        requests = amount(requested, "requested generation")
        yield context.issue("all received", f"{received:,} of {requests} received")


def check_no_surplus(context: RuleContext) -> Iterator[RuleOutcome]:
    """Yield an issue for generations beyond the requested samples."""
    surplus = context.counted.surplus
    if surplus > 0:
        holder = "file" if context.request.recorded else "ledger"
        yield context.issue(
            "no surplus",
            f"the {holder} holds {amount(surplus, 'generation')} "
            "beyond the requested samples",
        )


def note_missing_finish_reasons(context: RuleContext) -> Iterator[RuleOutcome]:
    """Yield a note if no generation says why it ended."""
    if context.counted.unstated:
        yield "no generation has a finish reason, so all count as complete"


# --- generations that are no answers


def check_short_generations(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge the share of short generations."""
    received = len(context.readings)
    short = context.counts[Kind.SHORT]
    share = short / max(received, 1)
    most = exact_fraction(context.limits.max_short)
    yield RuleCheck(
        rule="short",
        value=share,
        bound="<=",
        threshold=float(most),
    )
    if short * most.denominator > received * most.numerator:
        yield context.issue(
            "short",
            f"{short:,} of {received:,} generations are shorter than "
            f"min_length_ratio = {context.limits.min_length_ratio:g} allows; "
            f"max_short = {context.limits.max_short:g}",
        )


def check_unanswered_generations(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge the share of generations that are neither short nor an answer."""
    kinds = _kinds_that_count(context)
    received = len(kinds)
    every = count_kinds(kinds)
    answers = {*context.answering, Kind.SHORT}
    counts = {kind: every[kind] for kind in every if kind not in answers}
    unanswered = sum(counts.values())
    share = unanswered / max(received, 1)
    most = exact_fraction(context.limits.max_unanswered)
    yield RuleCheck(
        rule="unanswered",
        value=share,
        bound="<=",
        threshold=float(most),
    )
    if unanswered * most.denominator > received * most.numerator:
        chief = max(counts, key=counts.__getitem__)
        yield context.issue(
            "unanswered",
            f"{unanswered:,} of {received:,} generations aren't answers "
            f"({_kinds_text(counts)}{_server_words(context.counted.withheld)}); "
            f"max_unanswered = {context.limits.max_unanswered:g}",
            chief,
        )


def _kinds_that_count(context: RuleContext) -> KindNumbers:
    """Return the kinds of generations; of few excerpts, one may have no answer."""
    few = _FEW_EXCERPTS <= context.excerpts < 2 * _FEW_EXCERPTS
    if few and len(context.unanswered) == 1:
        is_other = context.readings.excerpt != context.unanswered[0]
        others: KindNumbers = context.kinds[is_other]
        return others
    return context.kinds


def _kinds_text(counts: Mapping[Kind, int]) -> str:
    texts = []
    for kind, count in counts.items():
        if count:
            texts.append(f"{count:,} {_noun(kind, count)}")
    return ", ".join(texts)


def _noun(kind: Kind, count: int) -> str:
    if count > 1 and kind is Kind.REFUSAL:
        return "refusals"
    if count > 1 and kind is Kind.ECHO:
        return "echoes"
    return kind.value


def _server_words(withheld: Mapping[str, int]) -> str:
    if not withheld:
        return ""
    texts = []
    for word, count in sorted(withheld.items()):
        in_ascii = ascii(word)[1:-1]
        texts.append(f"{count:,} {in_ascii}")
    return f"; finish reasons of withheld text: {', '.join(texts)}"


def check_median_length_ratio(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge the median length of generations, a ratio of the excerpts' lengths."""
    ratio = context.median_length_ratio
    if ratio is None:
        return
    least = _LEAST_MEDIAN_LENGTH_RATIO
    yield RuleCheck(
        rule="median length ratio",
        value=float(ratio),
        bound=">=",
        threshold=float(least),
    )
    if ratio < least:
        chief = max(KINDS, key=context.counts.__getitem__)
        cure = chief if chief in _WORDLESS else None
        yield context.issue(
            "median length ratio",
            f"the median answer has {_percent(ratio)} of the words expected of it; "
            "at least 50% is required",
            cure,
        )


def check_unanswered_excerpts(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge the number of excerpts without an answer."""
    unanswered = context.unanswered
    most = 0
    if context.excerpts >= _FEW_EXCERPTS:
        share = context.excerpts * _MOST_EXCERPTS_WITHOUT_ANSWER
        most = max(1, int(share))
    yield RuleCheck(
        rule="excerpts without an answer",
        value=len(unanswered),
        bound="<=",
        threshold=most,
    )
    # Where none of them was sampled, the rule on received generations is broken.
    sampled = np.isin(unanswered, context.readings.excerpt)
    if len(unanswered) > most and sampled.any():
        names = first_three(context.excerpt_ids(unanswered))
        yield context.issue(
            "excerpts without an answer",
            f"no answer to {len(unanswered):,} of "
            f"{amount(context.excerpts, 'excerpt')} ({names}); the maximum is {most}",
        )


# --- withheld generations


def check_withheld_per_excerpt(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge the share of each excerpt's generations that the provider withheld."""
    are_withheld = context.are_of(Kind.WITHHELD)
    withheld = context.count_by_excerpt(are_withheld)
    received = np.maximum(context.count_by_excerpt(), 1)
    share = withheld / received
    highest = float(share.max())
    yield RuleCheck(
        rule="withheld per excerpt",
        value=highest,
        bound="<=",
        threshold=_MOST_WITHHELD_OF_EXCERPT,
    )
    over_half = np.flatnonzero(2 * withheld > received)
    if len(over_half):
        names = first_three(context.excerpt_ids(over_half))
        yield context.issue(
            "withheld per excerpt",
            "the provider withheld more than half of the generations of "
            f"{amount(len(over_half), 'excerpt')} ({names})",
            Kind.WITHHELD,
        )


def check_recitation(context: RuleContext) -> Iterator[RuleOutcome]:
    """Yield an issue for generations that a filter withheld for recitation."""
    recitation = context.counted.recitation
    if recitation:
        yield context.issue(
            "recitation",
            f"the provider withheld {amount(recitation, 'generation')} for "
            "recitation, so its filter matched verbatim text",
        )


def check_none_withheld(context: RuleContext) -> Iterator[RuleOutcome]:
    """Yield an issue for any answer to a named prompt that the provider withheld."""
    withheld = context.counts[Kind.WITHHELD]
    if withheld:
        words = _server_words(context.counted.withheld)
        yield context.issue(
            "none withheld",
            f"the provider withheld {amount(withheld, 'answer')}{words}",
        )


def check_named_prompts_answered(context: RuleContext) -> Iterator[RuleOutcome]:
    """Yield an issue for answers to named prompts that could hold no passage.

    Refusals and short answers count, as the model ended them. Silence doesn't, nor does
    what was cut before it had more words than the limit on passages.
    """
    readings = context.readings
    silent = int(readings.blank.sum())
    is_cut = readings.ended == LENGTH
    too_early = is_cut & ~readings.blank & (readings.words <= PASSAGE_LIMIT)
    cut = int(too_early.sum())
    if silent or cut:
        yield context.issue(
            "named prompts answered",
            f"of {amount(len(readings), 'answer')}, {silent:,} had no text, and "
            f"{cut:,} were cut at {PASSAGE_LIMIT} words or fewer",
        )


# --- answers that aren't independent samples, or no prose


def check_answer_diversity(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge whether answers to one prompt differ as independent samples do."""
    if context.request.temperature == 0 or context.over_limit:
        return
    suspected = "the server may cache responses or ignore temperature"
    if context.request.recorded:
        suspected = "they may not be independent samples"
    answers, runs = distinct_shares(
        context.readings,
        context.counted.runs,
        context.are_of(Kind.ANSWER),
    )
    rules = {
        "distinct answers": answers,
        "distinct 8-word runs": runs,
    }
    for rule, shares in rules.items():
        if not shares:
            yield f"{rule} not judged: no excerpt has two answers"
            continue
        middle = median(shares)
        yield RuleCheck(
            rule=rule,
            value=float(middle),
            bound=">",
            threshold=float(_LEAST_DISTINCT),
        )
        if middle <= _LEAST_DISTINCT:
            yield context.issue(
                rule,
                f"median share of {rule} is {_percent(middle)}; over 50% is required: "
                f"{suspected}",
                "sampled",
            )


def distinct_shares(
    readings: GenerationFeatures,
    runs: Keys,
    chosen: Flags,
) -> SharesOfAnswersAndRuns:
    """Return the shares of distinct answers and of distinct 8-word runs, per excerpt.

    Only excerpts with two answers or more count; runs need 8 words.

    chosen: which generations are answers
    """
    of_answers: list[Fraction] = []
    of_runs: list[Fraction] = []
    for numbers, excerpt_runs in runs_by_excerpt(readings, runs, chosen):
        if len(numbers) == 1:
            continue
        distinct_answers = len(np.unique(readings.key[numbers]))
        of_answers.append(Fraction(distinct_answers, len(numbers)))
        if len(excerpt_runs):
            distinct_runs = count_distinct(excerpt_runs)
            of_runs.append(Fraction(distinct_runs, len(excerpt_runs)))
    return of_answers, of_runs


def check_prose(context: RuleContext) -> Iterator[RuleOutcome]:
    """Judge whether the answers together resemble the book's prose."""
    if not context.counted.prose.can_judge_answers:
        yield (
            "prose not judged: the book is too short, "
            "or its script has no words to compare"
        )
        return
    for rule, share, least in _prose_shares(context):
        yield RuleCheck(
            rule=rule,
            value=float(share),
            bound=">=",
            threshold=float(least),
        )
        if share < least:
            yield context.issue(
                rule,
                f"answers don't resemble the book's prose: {rule} {_percent(share)}, "
                f"minimum {_percent(least)}",
                Kind.UNREADABLE,
            )


def _prose_shares(context: RuleContext) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Yield each rule on prose, the answers' share, and the least that is required."""
    readings = context.readings
    prose = context.counted.prose
    answers = context.are_of(Kind.ANSWER)
    words = int(readings.words[answers].sum())
    if not words:
        return
    common = int(readings.common[answers].sum())
    share = Fraction(common, words) / prose.common
    yield "common words", share, _LEAST_COMMON_WORDS
    forward = int(readings.forward[answers].sum())
    backward = int(readings.reversed[answers].sum())
    marked_pairs = forward + backward
    if marked_pairs >= _FEWEST_MARKED_PAIRS:
        share = Fraction(forward, marked_pairs)
        yield "word order", share, _LEAST_WORD_ORDER
    pairs = words - int(answers.sum())
    if prose.can_judge_word_pairs and pairs and prose.pair:
        share = Fraction(forward, pairs) / prose.pair
        yield "common word pairs", share, _LEAST_COMMON_PAIRS


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.3g}%"


# Instructions come first: where they fail, nothing is sampled, which breaks the others.
RULES: tuple[Callable[[RuleContext], Iterator[RuleOutcome]], ...] = (
    check_instructions,
    check_all_received,
    check_no_surplus,
    note_missing_finish_reasons,
    check_short_generations,
    check_unanswered_generations,
    check_median_length_ratio,
    check_unanswered_excerpts,
    check_withheld_per_excerpt,
    check_recitation,
    check_answer_diversity,
    check_prose,
)

RULES_ON_NAMED_PROMPTS: tuple[Callable[[RuleContext], Iterator[RuleOutcome]], ...] = (
    check_all_received,
    check_no_surplus,
    note_missing_finish_reasons,
    check_none_withheld,
    check_named_prompts_answered,
    check_recitation,
)
"""The same where prompts request no excerpt: refusals and short answers count."""
