"""What was tried on each model and book, and what wasn't: a pass rests on it.

    tried: instruction, 100 samples; extraction, plain and 50 rewordings: never opened;
    not tried: continuation, fine-tuning, probability

Pairs of one model and book stand together, whatever their probes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records.extraction_facts import ExtractionFacts
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.probability_facts import ProbabilityFacts

_FINETUNING = "fine-tuning"
LADDER = ("instruction", "continuation", "extraction", _FINETUNING, "probability")
"""The ways to try a model, each of which may show what those before it didn't."""


@dataclass(frozen=True, slots=True)
class TriedPrompts:
    """What was tried on a model and a book.

    pairs: those that it is about
    tried: a phrase for each way
    not_tried: the ways of the ladder that weren't
    """

    book: str
    pairs: tuple[str, ...]
    tried: tuple[str, ...]
    not_tried: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it, in a line."""
        return f"tried: {self.ways}"

    @property
    def ways(self) -> str:
        """What was tried, and what wasn't."""
        tried = "; ".join(self.tried) or "nothing"
        if not self.not_tried:
            return tried
        return f"{tried}; not tried: {', '.join(self.not_tried)}"


def tried_prompts(results: Iterable[PairResult]) -> tuple[TriedPrompts, ...]:
    """Return what was tried on each model and book whose verdict counts, in order."""
    groups: defaultdict[tuple[str, str], list[PairResult]] = defaultdict(list)
    for result in results:
        if result.gates:
            groups[_model_key(result), result.book.id].append(result)
    return tuple(_of_group(book, group) for (_, book), group in groups.items())


def tried_lines(results: Iterable[PairResult]) -> Iterator[str]:
    """Yield what was tried, once for all models and books of which it holds alike."""
    by_ways: defaultdict[str, list[str]] = defaultdict(list)
    for group in tried_prompts(results):
        by_ways[group.ways] += group.pairs
    for ways, pairs in by_ways.items():
        where = ""
        if len(by_ways) > 1:
            where = f" ({pairs[0]})"
        if where and len(pairs) > 1:
            where = f" ({pairs[0]} and {amount(len(pairs) - 1, 'more pair')})"
        yield f"tried{where}: {ways}"


def _of_group(book: str, group: Sequence[PairResult]) -> TriedPrompts:
    tried: dict[str, None] = {}
    ways: set[str] = set()
    for result in group:
        if result.plain_verdict is Verdict.NOT_RUN or not result.received:
            continue
        phrases = {result.probe: probe_text(result)}
        if result.probability is not None and result.probability.windows:
            phrases["probability"] = _probability_text(result.probability)
        for way, phrase in phrases.items():
            if result.model.finetune_books:
                tried[f"{_FINETUNING} ({phrase})"] = None
                ways.add(_FINETUNING)
            else:
                tried[phrase] = None
                ways.add(way)
    return TriedPrompts(
        book=book,
        pairs=tuple(result.pair for result in group),
        tried=tuple(tried),
        not_tried=tuple(way for way in LADDER if way not in ways),
    )


def probe_text(result: PairResult) -> str:
    """Describe what a pair's probe asked, and for an extraction what came of it."""
    samples = amount(result.settings["samples"], "sample")
    if result.extraction is not None:
        return _extraction_text(result.extraction)
    if result.probe == "prompts":
        prompts = result.requested // result.settings["samples"]
        return f"{amount(prompts, 'named prompt')}, {samples} each"
    if result.received < result.requested:
        received = f"{result.received:,} of {result.requested:,}"
        return f"{result.probe}, {received} generations"
    return f"{result.probe}, {samples}"


def _extraction_text(facts: ExtractionFacts) -> str:
    if facts.opened_by is not None:
        opening = facts.opened_by.replace("-", " ")
        turns = amount(facts.turns, "turn")
        return f"extraction, opened by {opening}, {turns}"
    if not facts.ended:
        return f"extraction, {facts.openings} of {facts.all_openings} openings"
    rewordings = facts.all_openings - 1
    openings = f"plain and {amount(rewordings, 'rewording')}" if rewordings else "plain"
    return f"extraction, {openings}: {facts.ended}"


def _probability_text(facts: ProbabilityFacts) -> str:
    measured = f"{facts.windows:,} of " if facts.windows != facts.planned else ""
    return f"probability of {measured}{amount(facts.planned or 0, 'window')}"


def _model_key(result: PairResult) -> str:
    """Return what tells models apart, whatever they are asked and trained on."""
    model = result.model
    options: dict[str, Any] = {
        name: value for name, value in model.options.items() if name != "api"
    }
    name = model.base_model or model.endpoint or model.id
    parts = [model.provider, name, model.weights_version, options]
    return json.dumps(parts, sort_keys=True, default=str)
