"""An interpolated n-gram model over tokens: counted with numpy, sampled exactly.

The next token w after the context h has the probability

    P(w | h) = s(h) c(h w) / c(h) + (1 - s(h)) P(w | h')
    s(h) = c(h) / (c(h) + t(h))

where c counts, t(h) is the number of different tokens that followed h, and h' is h
without its first token; after the empty context it is the relative frequency. These are
the weights of Witten and Bell (method C of "The zero-frequency problem", IEEE
Transactions on Information Theory 37(4), 1991), interpolated as in Chen and Goodman,
"An empirical study of smoothing techniques for language modeling" (TR-10-98, Harvard,
1998), section 2.4. A context seen once keeps half of the probability at every order, so
a long context reproduces its text and a short one doesn't; Kneser-Ney discounting would
prevent that.

The vocabulary is closed: a token that was never read has probability 0.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BOUNDARY = ""
"""The token before and after every document."""

MAX_ORDER = 12

Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]  # of contexts, edges, and tokens
Floats = NDArray[np.float64]


class NgramModel:
    """A language model of `order` n, trained on documents as lists of tokens.

    Raises ValueError for an order outside 1..12 and without any tokens.

    repeats: how many times each document is read, by default once; each time raises its
        counts
    vocabulary: every token once, BOUNDARY first
    """

    def __init__(
        self,
        documents: Sequence[Sequence[str]],
        *,
        order: int,
        repeats: Sequence[int] | None = None,
    ) -> None:
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"order is {order}; expected 1 to {MAX_ORDER}")
        if not any(documents):
            raise ValueError("there are no tokens to learn from")
        corpus = _corpus_of_token_numbers(documents, repeats or [1] * len(documents))
        self.order = order
        self.vocabulary = corpus.vocabulary
        self._ngrams = _count_ngrams(corpus, order)
        self._weights = _shares_and_backoffs(self._ngrams)
        self._number = {token: number for number, token in enumerate(corpus.vocabulary)}
        # Views, whose single elements are faster than those of numpy.
        self._token = self._ngrams.token.data
        self._after = self._ngrams.after.data
        self._first = self._ngrams.first.data
        self._shorter = self._ngrams.shorter.data
        self._mixtures: dict[float, _Mixture] = {}

    def sample(
        self,
        context: Sequence[str],
        *,
        max_tokens: int,
        temperature: float,
        uniform: Callable[[], float],
    ) -> list[str]:
        """Return up to `max_tokens` tokens after `context`; BOUNDARY ends the text.

        Each is sampled with probability proportional to P ** (1 / temperature);
        temperature 0 takes the likeliest. `uniform` returns a number in [0, 1) per
        token.
        """
        mixture = self._mixture_at_temperature(temperature)
        # Local names, since the loop is most of the time of a run.
        share = mixture.share
        below = mixture.below
        cumulative = mixture.cumulative
        sure = mixture.sure
        first = self._first
        number = self._token
        after = self._after
        shorter = self._shorter
        vocabulary = self.vocabulary
        state = self._longest_known_suffix(context)
        tokens: list[str] = []
        for _ in range(max_tokens):
            # The inverse of the distribution after `state`, at `point` in [0, 1).
            point = 0.0
            if temperature:
                point = uniform()
            if point < sure[state]:
                edge = first[state]
            else:
                chosen = state
                while chosen and point >= share[chosen]:
                    own = share[chosen]
                    point = (point - own) / (1.0 - own)
                    chosen = shorter[chosen]
                edge = first[chosen]
                last = first[chosen + 1] - 1
                if edge != last:
                    value = below[chosen] + point / share[chosen]
                    edge = bisect_right(cumulative, value, edge, last)
                if chosen != state:  # a longer context may have this token, too
                    edge = self._edge_of_token(state, number[edge])
            token = number[edge]
            tokens.append(vocabulary[token])
            if token == 0:
                break
            state = after[edge]
        return tokens

    def _longest_known_suffix(self, context: Sequence[str]) -> int:
        """Return the longest suffix of `context` that was read; 0 is the empty one."""
        state = 0
        start = max(0, len(context) - self.order + 1)
        for token in context[start:]:
            number = self._number.get(token)
            if number is None:
                state = 0
            else:
                edge = self._edge_of_token(state, number)
                state = self._after[edge]
        return state

    def _edge_of_token(self, state: int, number: int) -> int:
        """Return a token's edge after the longest suffix that it ever followed."""
        token = self._token
        first = self._first
        while state:
            start = first[state]
            end = first[state + 1]
            edge = bisect_left(token, number, start, end)
            if edge < end and token[edge] == number:
                return edge
            state = self._shorter[state]
        return number  # every token follows the empty context

    def _mixture_at_temperature(self, temperature: float) -> _Mixture:
        if temperature not in self._mixtures:
            self._mixtures[temperature] = _mixtures_over_lengths(
                self._ngrams, self._weights, temperature
            )
        return self._mixtures[temperature]


# --- counting


@dataclass(frozen=True, slots=True)
class _Corpus:
    """All documents as one sequence of token numbers, a BOUNDARY (0) around each.

    times: how often each position is read, shape (len(sequence),).
    """

    vocabulary: tuple[str, ...]
    sequence: Ints
    times: Ints


@dataclass(frozen=True, slots=True)
class _Ngrams:
    """Contexts of length 0 to n - 1 and, for each, an edge per token that followed it.

    Contexts are numbered by length, edges sorted by context and token.

    levels:  the first context of each length, then the number of contexts; length n + 1
    shorter: per context, the context without its first token (0 for 0)
    first:   per context, its first edge, then the number of edges
    context, token, count: per edge
    backed:  per edge, the edge of the same token after the shorter context
    after:   per edge, the longest context that ends with it
    """

    levels: tuple[int, ...]
    shorter: Numbers
    first: Numbers
    context: Numbers
    token: Numbers
    count: Ints
    backed: Numbers
    after: Numbers


def _corpus_of_token_numbers(
    documents: Sequence[Sequence[str]], repeats: Sequence[int]
) -> _Corpus:
    numbers = {BOUNDARY: 0}
    sequence = [0]
    times = [0]
    for document, repeat in zip(documents, repeats, strict=True):
        sequence += [numbers.setdefault(token, len(numbers)) for token in document]
        sequence.append(0)
        times.extend([repeat] * (len(document) + 1))
    return _Corpus(
        vocabulary=tuple(numbers),
        sequence=np.array(sequence, dtype=np.int64),
        times=np.array(times, dtype=np.int64),
    )


def _context_before_each_position(
    corpus: _Corpus, order: int
) -> tuple[list[Ints], list[int]]:
    """Return the context before each position (-1: none) per length, and `levels`.

    No context spans two documents.
    """
    sequence = corpus.sequence
    size = len(corpus.vocabulary)
    place = np.arange(len(sequence), dtype=np.int64)
    latest_boundary = np.maximum.accumulate(np.where(sequence == 0, place, 0))
    boundary_before = np.concatenate([[0], latest_boundary[:-1]])
    room = place - boundary_before
    contexts = [np.where(place > 0, 0, -1)]
    levels = [0, 1]
    for length in range(1, order):
        at = np.flatnonzero(room >= length)
        token_before = sequence[at - 1]
        # The empty context precedes the first token, which isn't predicted.
        prefix = np.maximum(contexts[-1][at - 1], 0)
        key_at = prefix * size + token_before
        keys, context_at = np.unique(key_at, return_inverse=True)
        numbers = np.full(len(sequence), -1)
        numbers[at] = levels[-1] + context_at
        contexts.append(numbers)
        levels.append(levels[-1] + len(keys))
    return contexts, levels


def _count_ngrams(corpus: _Corpus, order: int) -> _Ngrams:
    sequence = corpus.sequence
    size = len(corpus.vocabulary)
    contexts, levels = _context_before_each_position(corpus, order)
    places = [np.flatnonzero(numbers >= 0) for numbers in contexts]
    keys = [
        numbers[at] * size + sequence[at]
        for numbers, at in zip(contexts, places, strict=True)
    ]
    key, edge_of = np.unique(np.concatenate(keys), return_inverse=True)
    ends = np.cumsum([len(at) for at in places])
    edges = np.split(edge_of, ends[:-1])
    shorter = np.zeros(levels[-1], dtype=np.int32)
    backed = np.zeros(len(key), dtype=np.int32)
    after = np.zeros(len(key), dtype=np.int32)
    longest = order - 1
    new_text = contexts[min(1, longest)][1]
    edge_at = np.zeros_like(sequence)
    for length, at in enumerate(places):
        edge = edges[length]
        if length:
            context = contexts[length][at]
            shorter[context] = contexts[length - 1][at]
            backed[edge] = edge_at[at]
        edge_at[at] = edge
        is_end = sequence[at] == 0
        next_place = np.where(is_end, 0, at + 1)
        following = contexts[min(length + 1, longest)][next_place]
        after[edge] = np.where(is_end, new_text, following)
    times = np.concatenate([corpus.times[at] for at in places])
    count = np.bincount(edge_of, weights=times)
    first_key = np.arange(levels[-1] + 1) * size
    first = np.searchsorted(key, first_key)
    return _Ngrams(
        levels=tuple(levels),
        shorter=shorter,
        first=first.astype(np.int32),
        context=(key // size).astype(np.int32),
        token=(key % size).astype(np.int32),
        count=count.astype(np.int64),
        backed=backed,
        after=after,
    )


# --- probabilities


@dataclass(frozen=True, slots=True)
class _Weights:
    """log_p: log P(token | context) per edge; log_backoff: log(1 - s) per context."""

    log_p: Floats
    log_backoff: Floats


@dataclass(frozen=True, slots=True)
class _Mixture:
    """How to sample at one temperature.

    share:      per context, the probability that its own edges give the next token and
        not the distribution after the shorter context
    cumulative: per edge, running sum of its part of that share; each context adds 1
    below:      per context, that sum before its first edge
    sure:       per context with one edge, the probability that this or a shorter one
        with the same only edge gives the next token, a little less to allow for
        rounding; else 0
    """

    share: array[float]
    cumulative: array[float]
    below: array[float]
    sure: array[float]


def _shares_and_backoffs(ngrams: _Ngrams) -> _Weights:
    seen = np.add.reduceat(ngrams.count, ngrams.first[:-1])
    kinds = np.diff(ngrams.first)
    share = seen / (seen + kinds)
    share[0] = 1.0
    backoff = 1.0 - share
    context = ngrams.context
    p = share[context] * ngrams.count / seen[context]
    for level in _lengths_with_contexts(ngrams)[1:]:
        edges = level.edges
        shorter_p = p[ngrams.backed[edges]]
        p[edges] += backoff[context[edges]] * shorter_p
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
        log_backoff = np.log(backoff)
    return _Weights(log_p, log_backoff)


def _mixtures_over_lengths(
    ngrams: _Ngrams,
    weights: _Weights,
    temperature: float,
) -> _Mixture:
    """Return the distributions P ** (1 / temperature), as mixtures over lengths.

    After h every token has P(w | h) >= (1 - s) P(w | h'), with equality where w never
    followed h. So its power is the power of the right side, which is a multiple of the
    distribution after h', plus an excess at the edges of h alone: one draw needs no sum
    over the vocabulary. All is kept relative to the likeliest token after each context,
    or small powers vanish.
    """
    # Per context.
    contexts = ngrams.levels[-1]
    peak = np.zeros(contexts)
    mass = np.zeros(contexts)
    share = np.zeros(contexts)
    sure = np.zeros(contexts)
    has_one_edge = np.diff(ngrams.first) == 1
    # Per edge.
    part = np.zeros(len(ngrams.token))
    for level in _lengths_with_contexts(ngrams):
        own = level.contexts
        edges = level.edges
        shorter = ngrams.shorter[own]
        context = ngrams.context[edges]
        log_p = weights.log_p[edges]
        first_edge = ngrams.first[own] - edges.start
        inherited = weights.log_backoff[own] + peak[shorter]
        likeliest = np.maximum.reduceat(log_p, first_edge)
        peak[own] = np.maximum(likeliest, inherited)
        backed_log_p = weights.log_p[ngrams.backed[edges]]
        without = weights.log_backoff[context] + backed_log_p
        edge_peak = peak[context]
        excess = _exp_of_ratio(log_p - edge_peak, temperature)
        excess -= _exp_of_ratio(without - edge_peak, temperature)
        np.maximum(excess, 0.0, out=excess)
        added = np.add.reduceat(excess, first_edge)
        inherited_mass = (
            _exp_of_ratio(inherited - peak[own], temperature) * mass[shorter]
        )
        mass[own] = added + inherited_mass
        share[own] = added / mass[own]
        divisor = np.where(added > 0.0, added, 1.0)
        part[edges] = excess / divisor[context - own.start]
        sure_if_shorter = (1.0 - share[own]) * sure[shorter]
        sure[own] = has_one_edge[own] * (share[own] + sure_if_shorter)
    cumulative = np.cumsum(part)
    sums = np.concatenate([[0.0], cumulative])
    below = sums[ngrams.first[:-1]]
    return _Mixture(
        share=_array_of_floats(share),
        cumulative=_array_of_floats(cumulative),
        below=_array_of_floats(below),
        sure=_array_of_floats(sure * (1.0 - 1e-9)),
    )


def _array_of_floats(values: Floats) -> array[float]:
    """Return an array whose single elements are faster than those of numpy."""
    return array("d", values.tobytes())


def _exp_of_ratio(log_ratio: Floats, temperature: float) -> Floats:
    """Return exp(log_ratio / temperature) for log_ratio <= 0; at 0, its limit."""
    if temperature == 0:
        return (log_ratio >= 0.0).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(log_ratio / temperature)


@dataclass(frozen=True, slots=True)
class _Level:
    """The contexts of one length, and their edges."""

    contexts: slice
    edges: slice


def _lengths_with_contexts(ngrams: _Ngrams) -> list[_Level]:
    """Return the lengths that have contexts, from the empty one on."""
    levels = []
    for start, end in pairwise(ngrams.levels):
        if start < end:
            first_edge = int(ngrams.first[start])
            end_edge = int(ngrams.first[end])
            level = _Level(slice(start, end), slice(first_edge, end_edge))
            levels.append(level)
    return levels
