"""A pair's passages, each with the generation that holds it and its prompt.

Reads suite, books, and ledger alone: it evaluates the pair again, offline, and finds
the generations by the places that the analysis gives. The texts are of protected books,
so nothing of this belongs into a report that others read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from pytest_memleak.errors import Inconclusive
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.required_samples import all_generations
from pytest_memleak.pipeline.sample_pair import sample_pair
from pytest_memleak.records import Book, Origin, WordMode
from pytest_memleak.results.passage_details import book_of_passage, passages_to_list
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.sample_readers import SampledGenerations
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Pair, Span
    from pytest_memleak.scoring.protected_passages import (
        ProtectedPassage,
        ProtectedPassages,
    )
    from pytest_memleak.verdict.evaluation import Evaluation

    Holder = tuple[Origin, str, int]


class AbsentEndpoint:
    """A test's own endpoint, of which only the ledger is left."""

    def __init__(self, name: str) -> None:
        self.id = name

    def sample(self, *_: object, **__: object) -> NoReturn:
        """Raise Inconclusive."""
        raise Inconclusive(f"{self.id} is a test's own endpoint, so it isn't here")


@dataclass(frozen=True, slots=True)
class GenerationAndPrompt:
    """A generation's text, and the prompt that it answers; None where it is unknown."""

    generation: str = field(repr=False)
    prompt: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class PassageSource:
    """A passage, and where it stands in a book and in a generation.

    kind:     as reports name it
    words:    its length; of a near-verbatim passage, its matching words
    near:     whether it is near-verbatim: its words are then folded ones
    mode:     the suite's word mode
    book:     its book
    at:       the place of the excerpt in which it begins, in `book.excerpts`
    skipped:  that excerpt's words before it
    size:     its words in the book
    start:    its first word in the whole book
    origin, excerpt_id, ordinal: the generation's
    place:    its first word among the generation's words
    held:     the generation and its prompt; None if they can't be read any more
    excused:  whether no limit counts it
    """

    kind: str
    words: int
    near: bool
    mode: WordMode
    book: Book = field(repr=False)
    at: int
    skipped: int
    size: int
    start: int
    origin: Origin
    excerpt_id: str
    ordinal: int
    place: int
    held: GenerationAndPrompt | None
    excused: bool = False


@dataclass(frozen=True, slots=True)
class PairSources:
    """An evaluation made again, and its passages, the longest first."""

    evaluation: Evaluation = field(repr=False)
    passages: tuple[PassageSource, ...]


def find_sources(
    pair: Pair,
    suite_run: SuiteRun,
    *,
    endpoint: Endpoint | None = None,
) -> PairSources:
    """Evaluate the pair offline, and find its passages in their generations.

    endpoint: stands for a test's own; else the suite's
    """
    evaluation = evaluate_pair(pair, suite_run, endpoint=endpoint)
    analysis = evaluation.analysis
    if analysis is None or analysis.passages is None:
        return PairSources(evaluation, ())
    span = analysis.measurement.longest_span
    listed = _passages_by_kind(analysis.passages)
    holders = {passage.holder for _, passage in listed}
    holders.add(_holder_of(span))
    plan = suite_run.plan_pair(pair, endpoint=endpoint)
    held = dict(_held_texts(sample_pair(plan), holders))
    excused = (analysis.passages.excused, analysis.passages.nv_excused)
    sources = []
    for kind, passage in listed:
        text = held.get(passage.holder)
        is_excused = passage in excused
        source = _passage_source(kind, passage, evaluation, text, excused=is_excused)
        sources.append(source)
    if span.start is not None and not _has_passage_as_long(span, sources):
        text = held.get(_holder_of(span))
        sources.append(_span_source(span, evaluation, text))
    return PairSources(evaluation, tuple(sources))


def _passages_by_kind(
    passages: ProtectedPassages,
) -> list[tuple[str, ProtectedPassage]]:
    """List the passages that there are, each with its kind."""
    every = passages_to_list(passages)
    return [(kind, passage) for kind, passage in every if passage.start is not None]


def _holder_of(span: Span) -> Holder:
    return Origin.SAMPLED, span.excerpt_id or "", span.generation or 0


def _held_texts(
    parts: Sequence[SampledGenerations],
    holders: Iterable[Holder],
) -> Iterator[tuple[Holder, GenerationAndPrompt]]:
    """Yield the text and the prompt of each of these generations."""
    missing = set(holders)
    for part in parts:
        prompts = {
            excerpt.id: excerpt.instruction or None for excerpt in part.book.excerpts
        }
        for generation in all_generations([part]):
            holder = (generation.origin, generation.excerpt_id, generation.ordinal)
            if holder in missing:
                missing.discard(holder)
                prompt = prompts.get(generation.excerpt_id)
                yield holder, GenerationAndPrompt(generation.text, prompt)
        if not missing:
            return


def _passage_source(
    kind: str,
    passage: ProtectedPassage,
    evaluation: Evaluation,
    held: GenerationAndPrompt | None,
    *,
    excused: bool,
) -> PassageSource:
    book = book_of_passage(passage.book, evaluation)
    excerpt_ids = [excerpt.id for excerpt in book.excerpts]
    start, end = passage.start or 0, passage.end or 0
    return PassageSource(
        kind=kind,
        words=passage.words,
        near="near-verbatim" in kind,
        mode=evaluation.pair.scoring.word_mode,
        book=book,
        at=excerpt_ids.index(passage.excerpt_at or ""),
        skipped=passage.skipped,
        size=end - start,
        start=start,
        origin=passage.origin,
        excerpt_id=passage.excerpt_id or "",
        ordinal=passage.generation or 0,
        place=passage.place or 0,
        held=held,
        excused=excused,
    )


def _has_passage_as_long(span: Span, sources: Iterable[PassageSource]) -> bool:
    """Whether a passage of the same generation is as long as the span."""
    for source in sources:
        holder = (source.origin, source.excerpt_id, source.ordinal)
        if holder == _holder_of(span) and source.words >= span.words:
            return True
    return False


def _span_source(
    span: Span,
    evaluation: Evaluation,
    held: GenerationAndPrompt | None,
) -> PassageSource:
    """Return the longest span: placed in what prompts leave of the pair's own book."""
    book, measured = evaluation.book, evaluation.measurement
    assert book is not None  # noqa: S101 - a span was measured
    assert measured is not None  # noqa: S101 - likewise
    start = span.start or 0
    at = measured.excerpt_at(start)
    mode = measured.word_mode
    skipped = start - measured.excerpt_starts[at]
    own_words = words(book.excerpts[at].text, mode)[skipped : skipped + span.words]
    place = 0
    if held:
        place = _word_index_of_run(own_words, words(held.generation, mode))
    return PassageSource(
        kind="longest span",
        words=span.words,
        near=False,
        mode=mode,
        book=book,
        at=at,
        skipped=skipped,
        size=span.words,
        start=start + book.words_in_prompts(at),
        origin=Origin.SAMPLED,
        excerpt_id=span.excerpt_id or "",
        ordinal=span.generation or 0,
        place=place,
        held=held,
    )


def _word_index_of_run(run: Sequence[str], text_words: Sequence[str]) -> int:
    """Return where the run begins among the words of a text."""
    for place in range(len(text_words) - len(run) + 1):
        if text_words[place : place + len(run)] == run:
            return place
    return 0
