"""Prompts for a book's probability, sent through the ledger like any other prompt.

A prompt is JSON, so that the ledger keys it by tokens and scheme: stored results are never
requested, or paid for, again. A prompt of windows holds the tokens from the first window to the
last, and its answer the logarithm of p_z of each, null for -inf; under top-k a pair, plain and
under the scheme.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import TopKUnavailable
from pytest_memleak.interfaces.abilities import Abilities, Probabilities, abilities_of, id_of
from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    RequestEndpoint,
    SampleRequest,
    Window,
)
from pytest_memleak.ledger.prompts import TOKENS_PER_WORD, PairPrompts, build_prompts
from pytest_memleak.providers.call_errors import Failing
from pytest_memleak.records import Book, Excerpt, Sampling
from pytest_memleak.scoring.extraction import window_starts

if TYPE_CHECKING:
    from pytest_memleak.records import Generation, WindowSettings

    LogP = tuple[float | None, float | None]

Token = int | str

# Rounding can raise a log-probability this far above 0.
_ROUNDING = 1e-3
# Servers that batch calls compute a text's ln p slightly differently each time.
_APART, _APART_IN = 0.5, 0.05


def text_questions(pair: str, texts: Sequence[str]) -> PairPrompts:
    """Build the prompts for the tokens of each text; text i belongs to the excerpt `i`."""
    asked = [_as_json({"text": text}) for text in texts]
    words = [len(text.split()) for text in texts]
    return _questions(f"tokens of {pair}", asked, words, of=texts)


def window_questions(
    pair: str,
    tokens: Sequence[Token],
    settings: WindowSettings,
    *,
    top_k: bool,
    windows_per_call: int,
) -> PairPrompts:
    """Build the prompts for every window of a text, `windows_per_call` in each, in order.

    top_k: whether p_z is also requested under the scheme's top_k and temperature.
    """
    starts = window_starts(len(tokens), settings)
    window_length = settings.prefix_tokens + settings.suffix_tokens
    groups = [
        starts[first : first + windows_per_call]
        for first in range(0, len(starts), windows_per_call)
    ]
    scheme = {"top_k": settings.top_k, "temperature": settings.temperature}
    scheme_settings: dict[str, Any] = {
        "prefix": settings.prefix_tokens,
        "suffix": settings.suffix_tokens,
        # A single window doesn't depend on the stride.
        "stride": settings.stride if windows_per_call > 1 else 1,
        **(scheme if top_k else {"scheme": None}),
    }
    instructions = [
        _as_json({**scheme_settings, "tokens": list(tokens[group[0] : group[-1] + window_length])})
        for group in groups
    ]
    words = [math.ceil(len(group) * window_length / TOKENS_PER_WORD) for group in groups]
    return _questions(f"windows of {pair}", instructions, words, of=tokens)


def canary_windows(
    pair: str, tokens: Sequence[Token], settings: WindowSettings, *, top_k: bool, count: int
) -> PairPrompts:
    """Build the prompts for `count` windows, spread over a text whatever its stride.

    The ledger keys them apart from the pair's prompts, so no answer serves both.
    """
    window_length = settings.prefix_tokens + settings.suffix_tokens
    apart = max(1, (len(tokens) - window_length) // count)
    spread = dataclasses.replace(settings, stride=apart)
    selected = window_questions(pair, tokens, spread, top_k=top_k, windows_per_call=1)
    twice = [prompt for prompt in selected.questions[:count] for _ in range(2)]
    instructions = [prompt.instruction for prompt in twice]
    words = [prompt.prompt_words for prompt in twice]
    repeated = _questions(f"canaries of {pair}", instructions, words, of=tokens)
    return dataclasses.replace(repeated, questions=repeated.questions[1::2])


def windows_alike(answers: Collection[Sequence[str]]) -> bool | None:
    """Tell whether the last answers to most canaries equal the first ones; None without two."""
    if not answers or min(map(len, answers)) <= 1:
        return None
    return 2 * sum(_close(texts[0], texts[-1]) for texts in answers) > len(answers)


def _close(first: str, last: str) -> bool:
    before, after = _values(first), _values(last)
    return len(before) == len(after) and all(
        before_value == after_value
        or abs(before_value - after_value) <= _APART + _APART_IN * abs(before_value)
        for before_value, after_value in zip(before, after, strict=True)
    )


def _values(answer: str) -> list[float]:
    rows = (row if isinstance(row, list) else [row] for row in json.loads(answer))
    return [_or_zero(value) for row in rows for value in row]


def windows_of(asked: dict[str, Any]) -> list[Window]:
    """List the windows that a prompt requests."""
    prefix, tokens = asked["prefix"], tuple(asked["tokens"])
    whole = prefix + asked["suffix"]
    return [
        Window(tokens[start : start + prefix], tokens[start + prefix : start + whole])
        for start in range(0, len(tokens) - whole + 1, asked["stride"])
    ]


def answered_tokens(asked: PairPrompts, answers: Iterable[Generation]) -> list[list[Token] | None]:
    """Return the tokens of each text, None for one without an answer."""
    values = {answer.excerpt_id: json.loads(answer.text) for answer in answers}
    return [values.get(question.excerpt_id) for question in asked.questions]


def answered_windows(asked: PairPrompts, answers: Iterable[Generation]) -> Iterator[LogP]:
    """Yield each window's logarithm of p_z, plain and under the scheme.

    -inf for 0, None if it has no answer yet or wasn't requested.
    """
    by_excerpt = {answer.excerpt_id: json.loads(answer.text) for answer in answers}
    for question in asked.questions:
        values = by_excerpt.get(question.excerpt_id)
        if values is None:
            windows = len(windows_of(json.loads(question.instruction)))
            yield from [(None, None)] * windows
            continue
        for value in values:
            if isinstance(value, list):
                plain, scheme = value
                yield _or_zero(plain), _or_zero(scheme)
            else:
                yield _or_zero(value), None


def _or_zero(log_p: float | None) -> float:
    return -math.inf if log_p is None else log_p


def _as_json(value: object) -> str:
    # Unescaped, so that quotations of the text are recognized.
    return json.dumps(value, ensure_ascii=False)


def _questions(
    name: str, instructions: Sequence[str], words: Sequence[int], *, of: Sequence[Token]
) -> PairPrompts:
    excerpts = tuple(
        Excerpt(str(n), "", instruction=instruction) for n, instruction in enumerate(instructions)
    )
    kind, text = name.partition(" ")[0], _as_json(list(of))
    digest = hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogatepass")).hexdigest()
    book = Book(name, name, "", excerpts, digest="", words_digest=digest)
    prompts = build_prompts(name, book, Sampling(samples=1, temperature=0.0), words=lambda _: 0)
    questions = tuple(
        dataclasses.replace(question, prompt_words=count, max_tokens=1)
        for question, count in zip(prompts.questions, words, strict=True)
    )
    return dataclasses.replace(prompts, questions=questions)


class TextEndpoint(RequestEndpoint):
    """An endpoint that answers this file's prompts from another's log-probabilities.

    Has an `id` if that has one.
    """

    def __init__(self, endpoint: Endpoint, probabilities: Probabilities) -> None:
        self._probabilities = probabilities
        endpoint_id, abilities = id_of(endpoint), abilities_of(endpoint)
        self.id = f"{endpoint_id}#probability" if endpoint_id else ""
        self.abilities = Abilities(
            fixed_weights=abilities.fixed_weights, model_name=abilities.model_name
        )
        name = self.id or "(no id)"
        self._failing = Failing(type(endpoint).__name__, name, "log_probabilities")

    def answer(self, request: SampleRequest) -> list[Completion]:
        """Return the answer as one completion; its settings are in the prompt.

        Raises ProviderError if the endpoint's answer doesn't match the request.
        """
        asked = json.loads(request.instruction)
        if "text" in asked:
            tokens = list(self._probabilities.text_tokens(asked["text"]))
            text, paid = _as_json(tokens), len(tokens)
            if self._probabilities.tokenizes_here:
                paid = 0
        else:
            windows = windows_of(asked)
            sums = self._in_top_k(windows, asked) if "top_k" in asked else self._plain(windows)
            text = json.dumps(sums)
            paid = sum(len(window.prefix) + len(window.suffix) for window in windows)
        return [Completion(text, prompt_tokens=paid, served=self._probabilities.served())]

    def _plain(self, windows: Sequence[Window]) -> list[float | None]:
        log_probabilities = self._probabilities.log_probabilities(windows)
        return [
            self._log_p(window, values)
            for window, values in zip(windows, log_probabilities, strict=True)
        ]

    def _in_top_k(
        self, windows: Sequence[Window], asked: dict[str, Any]
    ) -> list[tuple[float | None, float | None]]:
        if self._probabilities.top_k is None:
            cause = "The endpoint reports only the probabilities of a text's own tokens"
            raise TopKUnavailable(cause, **self._failing.place)
        sums = self._probabilities.top_k(windows, asked["top_k"], asked["temperature"])
        return [
            (self._log_p(window, values.plain), self._log_p(window, values.top_k))
            for window, values in zip(windows, sums, strict=True)
        ]

    def _log_p(self, window: Window, values: Sequence[float]) -> float | None:
        """Return the logarithm of p_z, None if p_z is 0."""
        total = -math.inf if -math.inf in values else math.fsum(values)
        if len(values) != len(window.suffix) or not total <= _ROUNDING * len(values):
            raise self._failing.final(
                f"Got {len(values)} log-probabilities with the sum {total:g} for a suffix of "
                f"{len(window.suffix)} tokens",
                "expected natural logarithms, one for each token of the suffix",
            )
        return None if total == -math.inf else min(total, 0.0)
