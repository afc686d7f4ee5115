"""The probe "probability": windows slid over a pair's book, requested through the ledger."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import Inconclusive, TopKUnavailable
from pytest_memleak.interfaces.abilities import Probabilities, abilities_of
from pytest_memleak.ledger.prompts import TOKENS_PER_WORD, PairPrompts
from pytest_memleak.pipeline.canaries import CANARIES, Canaries
from pytest_memleak.pipeline.ledger_endpoint import (
    LedgerEndpoint,
    ProvenanceCheck,
    call_terms,
    check_provenance,
    through_ledger,
)
from pytest_memleak.pipeline.required_samples import Purpose
from pytest_memleak.pipeline.sampled_generations import frame
from pytest_memleak.records import Book, Completeness, Issue, Pair
from pytest_memleak.records.pair_result import SampledCount
from pytest_memleak.sampling import windows
from pytest_memleak.scoring.extraction import Extraction
from pytest_memleak.scoring.measure_table import TOP_K, with_needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.sampling.cost_plan import Plan

_PARAGRAPH = "\n\n"


@dataclass(frozen=True, slots=True)
class WindowExtraction:
    """The measured windows of a pair; `extraction` is None without any.

    provenance_check: who computed them; sampled: their counts, for evidence
    """

    extraction: Extraction | None
    completeness: Completeness
    endpoint_id: str | None = None
    provenance_check: ProvenanceCheck | None = None
    sampled: tuple[SampledCount, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of an Evaluation that these windows set."""
        return {
            "endpoint": self.endpoint_id,
            "extraction": self.extraction,
            "provenance": self.provenance_check and self.provenance_check.provenance,
            "sampled": self.sampled,
        }


def extract_pair(
    pair: Pair, book: Book, endpoints: Endpoints, *, endpoint: Endpoint | None = None
) -> WindowExtraction:
    """Measure the pair's windows; request those that the ledger lacks.

    `endpoint` replaces the suite's own. Whatever is missing becomes an issue.
    """
    try:
        opened = endpoints.endpoint(pair.model) if endpoint is None else endpoint
    except Inconclusive as missing:
        return WindowExtraction(None, _completeness((), (missing.line,)))
    probabilities = abilities_of(opened).probabilities
    if probabilities is None:
        return WindowExtraction(None, _completeness((), (_tells_nothing(pair),)))
    asking = windows.TextEndpoint(opened, probabilities)
    source = through_ledger(pair.model, endpoints, asking, own=endpoint is not None)
    texts = _text_questions(pair, book)
    source = source.current_series(pair, texts, may_sample=not endpoints.resources.offline)
    issues = _drawn(source, texts)
    tokens = _tokens(source, texts)
    if tokens is None:
        issues = issues or ("some tokens of the book aren't in the ledger",)
        return WindowExtraction(None, _completeness((), issues), source.endpoint_id)
    whole = list(itertools.chain.from_iterable(tokens))
    prompts = _Windows(pair, whole, probabilities, source)
    issues += prompts.sample_missing()
    plain, scheme = prompts.answered()
    if not plain:
        size = f"{pair.probe.windows.prefix_tokens} + {pair.probe.windows.suffix_tokens}"
        issues += (f"the book has {len(whole):,} tokens, fewer than a window of {size}",)
        return WindowExtraction(None, _completeness(plain, issues), source.endpoint_id)
    extraction = Extraction(
        pair.probe.windows, len(whole), plain, scheme, tuple(_chapters(book, tokens))
    )
    provenance_check = prompts.who_answered()
    return WindowExtraction(
        extraction,
        _completeness(plain, issues, provenance_check),
        source.endpoint_id,
        provenance_check,
        (prompts.counted(),),
    )


def plan_windows(pair: Pair, book: Book, endpoints: Endpoints, opened: Endpoint | None) -> Plan:
    """Plan what the windows still take; estimated where their tokens are unknown.

    `opened` is None where there is no endpoint yet. Raises Inconclusive for an endpoint without
    log-probabilities.
    """
    from pytest_memleak.sampling.cost_plan import in_all, plan

    terms = call_terms(pair.model, endpoints, own=False)
    texts = _text_questions(pair, book)
    if opened is None:
        guessed = windows.window_questions(
            pair.id, _guessed(texts), pair.probe.windows, top_k=True, windows_per_call=1
        )
        return in_all(
            [plan(endpoints.resources.ledger, None, prompts, terms) for prompts in (texts, guessed)]
        )
    probabilities = abilities_of(opened).probabilities
    if probabilities is None:
        raise Inconclusive(_tells_nothing(pair))
    asking = windows.TextEndpoint(opened, probabilities)
    source = through_ledger(pair.model, endpoints, asking, own=False)
    source = source.current_series(pair, texts, may_sample=True)
    tokens = _tokens(source, texts)
    whole = _guessed(texts) if tokens is None else list(itertools.chain.from_iterable(tokens))
    return in_all([source.left(texts), _Windows(pair, whole, probabilities, source).left()])


class _Windows:
    """A book's windows, requested under the scheme, or plain where more of those are available.

    A scheme of all tokens at temperature 1 is the plain product.
    """

    def __init__(
        self,
        pair: Pair,
        tokens: Sequence[int | str],
        probabilities: Probabilities,
        source: LedgerEndpoint,
    ) -> None:
        self._source = source
        self._pair = pair
        self._tokens = tokens
        settings = pair.probe.windows
        self._both_alike = settings.top_k == 0 and settings.temperature == 1.0
        at_once = probabilities.windows_per_call
        prompts = functools.partial(
            windows.window_questions, pair.id, tokens, settings, windows_per_call=at_once
        )
        self._plain = prompts(top_k=False)
        truncated = probabilities.top_k is not None and not self._both_alike
        self._scheme = prompts(top_k=True) if truncated else None
        self._limited = bool(with_needs(pair.limits, TOP_K))

    def sample_missing(self) -> tuple[str, ...]:
        """Sample what the ledger lacks, canaries too, and return what prevented it."""
        scheme = self._wanted()
        if scheme is None:
            return self._drawn(self._plain)
        try:
            # One call shows whether the others are available.
            self._source.sample_missing(dataclasses.replace(scheme, questions=scheme.questions[:1]))
        except TopKUnavailable:
            return self._drawn(self._plain)
        except Inconclusive as missing:
            return (missing.line,)
        return self._drawn(scheme)

    def _drawn(self, prompts: PairPrompts) -> tuple[str, ...]:
        canaries = self._lacking_canaries(prompts)
        return (_drawn(self._source, canaries) if canaries else ()) or _drawn(self._source, prompts)

    def _lacking_canaries(self, prompts: PairPrompts) -> PairPrompts | None:
        """Return the canaries to request: for a mere name, since windows have no generated text."""
        if not self._source.is_name(self._pair):
            return None
        return self._canaries(prompts).to_request(prompts, is_name=True)

    def _canaries(self, prompts: PairPrompts) -> Canaries:
        few = windows.canary_windows(
            self._pair.id,
            self._tokens,
            self._pair.probe.windows,
            top_k=prompts is self._scheme,
            count=CANARIES,
        )
        return Canaries(
            self._source.ledger,
            self._source.endpoint_id,
            lambda rounds: dataclasses.replace(few, samples=rounds),
            windows.windows_alike,
        )

    def left(self) -> Plan:
        """Plan what is still to be requested, at most."""
        from pytest_memleak.sampling.cost_plan import in_all

        prompts = self._wanted() or self._plain
        every = (prompts, self._lacking_canaries(prompts))
        return in_all([self._source.left(prompts) for prompts in every if prompts is not None])

    def who_answered(self) -> ProvenanceCheck:
        """Check who computed the windows that `answered` returns."""
        prompts = self._chosen
        same, until = self._canaries(prompts).same_weights, self._source.resources.now
        return check_provenance(self._source, prompts, self._pair, until=until, same=same)

    def counted(self) -> SampledCount:
        """Return what evidence says of these windows."""
        prompts, digest, got = self._chosen, hashlib.sha256(), 0
        for got, answer in enumerate(self._source.generations(prompts), 1):  # noqa: B007 - counted
            digest.update(frame(answer.excerpt_id) + frame(answer.text))
        return SampledCount(
            purpose=Purpose.OWN.value,
            pair=self._pair.id,
            endpoint=self._source.endpoint_id,
            requested=len(prompts.questions),
            received=got,
            refused=0,
            sha256=digest.hexdigest(),
        )

    @functools.cached_property
    def _chosen(self) -> PairPrompts:
        """The prompts whose answers count: without the scheme where more of those are known."""
        if self._both_alike or self._scheme is None:
            return self._plain
        both, plain = self._of(self._scheme), self._of(self._plain)
        return self._scheme if _known(both) >= _known(plain) else self._plain

    def answered(self) -> tuple[tuple[float | None, ...], tuple[float | None, ...] | None]:
        """Return each window's logarithm of p_z, plain and under the scheme; None where unknown.

        The second is None where the ledger knows more windows without the scheme.
        """
        both = self._of(self._chosen)
        own = tuple(plain for plain, _ in both)
        if self._both_alike:
            return own, own
        return own, tuple(log for _, log in both) if self._chosen is self._scheme else None

    def _wanted(self) -> PairPrompts | None:
        """Return the prompts under the scheme; None where all that a limit needs is known."""
        if self._scheme is None or self._limited or self._source.left(self._plain).generations:
            return self._scheme
        return None if self._source.left(self._scheme).generations else self._scheme

    def _of(self, prompts: PairPrompts) -> tuple[windows.LogP, ...]:
        return tuple(windows.answered_windows(prompts, self._source.generations(prompts)))


def _known(logs: Sequence[windows.LogP]) -> int:
    return sum(plain is not None for plain, _ in logs)


def _guessed(texts: PairPrompts) -> list[int]:
    """Return as many distinct tokens as the texts are likely to have."""
    words = sum(question.prompt_words for question in texts.questions)
    return list(range(math.ceil(words * TOKENS_PER_WORD)))


def _text_questions(pair: Pair, book: Book) -> PairPrompts:
    last = len(book.excerpts) - 1
    return windows.text_questions(
        pair.id,
        [
            excerpt.text if place == last else excerpt.text + _PARAGRAPH
            for place, excerpt in enumerate(book.excerpts)
        ],
    )


def _drawn(source: LedgerEndpoint, prompts: PairPrompts) -> tuple[str, ...]:
    """Sample what the ledger lacks, and return what prevented it."""
    try:
        source.sample_missing(prompts)
    except Inconclusive as missing:
        return (missing.line,)
    return ()


def _tokens(source: LedgerEndpoint, texts: PairPrompts) -> list[list[int | str]] | None:
    """Return the tokens of each text; None unless all are there."""
    tokens = windows.answered_tokens(texts, source.generations(texts))
    complete = [text_tokens for text_tokens in tokens if text_tokens is not None]
    return complete if len(complete) == len(tokens) else None


def _chapters(
    book: Book, tokens: Sequence[Sequence[int | str]]
) -> Iterator[tuple[str | None, int]]:
    """Yield each heading and the token that it begins with."""
    start, before = 0, object()
    for excerpt, its_tokens in zip(book.excerpts, tokens, strict=True):
        if excerpt.chapter != before:
            yield excerpt.chapter, start
        before = excerpt.chapter
        start += len(its_tokens)


def _completeness(
    log_p: Sequence[float | None],
    issues: tuple[str, ...],
    provenance_check: ProvenanceCheck | None = None,
) -> Completeness:
    unknown = sum(value is None for value in log_p)
    if unknown and not issues:
        issues = (f"{unknown:,} of {len(log_p):,} windows aren't in the ledger",)
    return Completeness(
        requested=len(log_p),
        received=len(log_p) - unknown,
        issues=(
            *(Issue("sampled", issue) for issue in issues),
            *(provenance_check.issues if provenance_check else ()),
        ),
        notes=provenance_check.notes if provenance_check else (),
    )


def _tells_nothing(pair: Pair) -> str:
    return (
        f"the provider {pair.model.provider!r} of {pair.model.id} returns no log-probabilities of "
        'a given text; probe = "probability" needs them'
    )
