"""What a book is asked for by its probability, through the ledger like any other question.

    text_questions(pair, texts)               -> what asks for the tokens of each text
    window_questions(pair, tokens, ...)       -> what asks for the windows, some in a question
    canary_windows(pair, tokens, ...)         -> what asks for five of them by themselves
    TextEndpoint(endpoint)                    -> answers them; an answer is a line of JSON

A question says what is asked as JSON too, so that the ledger keys it by tokens and scheme: what
is in the ledger is never asked, or paid for, again. A question of windows holds the tokens from
the first window's to the last one's, and its answer the logarithm of p_z of each, null for -inf;
under top-k it is the plain one of each, and that under the scheme.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderError, TopKUnavailable
from pytest_memleak.interfaces.capabilities import (
    AsksByName,
    FixedWeights,
    Identified,
    SaysWhoServed,
)
from pytest_memleak.interfaces.protocols import (
    Completion,
    LogProbabilityEndpoint,
    Served,
    TopKEndpoint,
    Window,
)
from pytest_memleak.ledger.prompts import TOKENS_PER_WORD, PairPrompts, questionnaire
from pytest_memleak.records import Book, Excerpt, Sampling
from pytest_memleak.scoring.extraction import window_starts

if TYPE_CHECKING:
    from pytest_memleak.records import Generation, WindowSettings

    LogP = tuple[float | None, float | None]

Token = int | str

# A log-probability may come out above 0 by so much.
_ROUNDING = 1e-3
_CANARIES = 5
# Servers that put calls together compute a text's ln p a little otherwise each time.
_APART, _APART_IN = 0.5, 0.05


def text_questions(pair: str, texts: Sequence[str]) -> PairPrompts:
    """What asks for the tokens of each text; the question of text i is for the excerpt `i`."""
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
    """What asks for every window of a text, `windows_per_call` in a question, in order.

    top_k: whether p_z is asked for under the scheme's top_k and temperature, too.
    """
    starts = window_starts(len(tokens), settings)
    whole = settings.prefix_tokens + settings.suffix_tokens
    groups = [
        starts[first : first + windows_per_call]
        for first in range(0, len(starts), windows_per_call)
    ]
    scheme = {"top_k": settings.top_k, "temperature": settings.temperature}
    said: dict[str, Any] = {
        "prefix": settings.prefix_tokens,
        "suffix": settings.suffix_tokens,
        # Of one window alone it tells nothing: another stride asks for the same window.
        "stride": settings.stride if windows_per_call > 1 else 1,
        **(scheme if top_k else {"scheme": None}),
    }
    asked = [
        _as_json({**said, "tokens": list(tokens[group[0] : group[-1] + whole])}) for group in groups
    ]
    words = [math.ceil(len(group) * whole / TOKENS_PER_WORD) for group in groups]
    return _questions(f"windows of {pair}", asked, words, of=tokens)


def canary_windows(
    pair: str, tokens: Sequence[Token], settings: WindowSettings, *, top_k: bool
) -> PairPrompts:
    """What asks for five windows, spread over a text whatever its stride is.

    To the ledger they are no questions of the pair's, so that no answer to them is one of those.
    """
    whole = settings.prefix_tokens + settings.suffix_tokens
    apart = max(1, (len(tokens) - whole) // _CANARIES)
    spread = dataclasses.replace(settings, stride=apart)
    few = window_questions(pair, tokens, spread, top_k=top_k, windows_per_call=1)
    twice = [one for one in few.questions[:_CANARIES] for _ in range(2)]
    asked, words = [one.instruction for one in twice], [one.prompt_words for one in twice]
    made = _questions(f"canaries of {pair}", asked, words, of=tokens)
    return dataclasses.replace(made, questions=made.questions[1::2])


def windows_alike(answers: Collection[Sequence[str]]) -> bool | None:
    """Whether the last answers to most canaries tell what the first did; None without two."""
    if not answers or min(map(len, answers)) <= 1:
        return None
    return 2 * sum(_close(one[0], one[-1]) for one in answers) > len(answers)


def _close(first: str, last: str) -> bool:
    before, after = _values(first), _values(last)
    return len(before) == len(after) and all(
        one == other or abs(one - other) <= _APART + _APART_IN * abs(one)
        for one, other in zip(before, after, strict=True)
    )


def _values(answer: str) -> list[float]:
    told = json.loads(answer)
    each = (one if isinstance(one, list) else [one] for one in told)
    return [_or_zero(value) for one in each for value in one]


def windows_of(asked: dict[str, Any]) -> list[Window]:
    """The windows that a question asks for."""
    prefix, tokens = asked["prefix"], tuple(asked["tokens"])
    whole = prefix + asked["suffix"]
    return [
        Window(tokens[start : start + prefix], tokens[start + prefix : start + whole])
        for start in range(0, len(tokens) - whole + 1, asked["stride"])
    ]


def answered_tokens(asked: PairPrompts, answers: Iterable[Generation]) -> list[list[Token] | None]:
    """The tokens of each text, None for one that has no answer yet."""
    found = {one.excerpt_id: json.loads(one.text) for one in answers}
    return [found.get(question.excerpt_id) for question in asked.questions]


def answered_windows(asked: PairPrompts, answers: Iterable[Generation]) -> Iterator[LogP]:
    """Per window the logarithm of its p_z, plain and under the scheme.

    -inf for 0, None where it has no answer yet or was not asked for.
    """
    found = {one.excerpt_id: json.loads(one.text) for one in answers}
    for question in asked.questions:
        values = found.get(question.excerpt_id)
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
    # As it is written, so that what quotes it is known for a quotation.
    return json.dumps(value, ensure_ascii=False)


def _questions(
    name: str, asked: Sequence[str], words: Sequence[int], *, of: Sequence[Token]
) -> PairPrompts:
    excerpts = tuple(Excerpt(str(n), "", instruction=one) for n, one in enumerate(asked))
    kind, text = name.partition(" ")[0], _as_json(list(of))
    digest = hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogatepass")).hexdigest()
    book = Book(name, name, "", excerpts, digest="", words_digest=digest)
    made = questionnaire(name, book, Sampling(samples=1, temperature=0.0), words=lambda _: 0)
    questions = tuple(
        dataclasses.replace(question, prompt_words=count, max_tokens=1)
        for question, count in zip(made.questions, words, strict=True)
    )
    return dataclasses.replace(made, questions=questions)


class TextEndpoint:
    """Answers the questions of this file for an endpoint that knows log-probabilities.

    Has an `id` where that one has.
    """

    def __init__(self, endpoint: LogProbabilityEndpoint) -> None:
        self._endpoint = endpoint
        named = isinstance(endpoint, Identified) and endpoint.id
        self.id = f"{named}#probability" if named else None

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> list[Completion]:
        """The answer, as one completion; its settings are in the question.

        Raises ProviderError for an endpoint that answers with other than was asked for.
        """
        del n, temperature, max_tokens, seed
        asked = json.loads(instruction)
        if "text" in asked:
            tokens = list(self._endpoint.text_tokens(asked["text"]))
            paid = 0 if self._endpoint.tokenizes_here else len(tokens)
            return [Completion(_as_json(tokens), prompt_tokens=paid, served=self._served)]
        windows = windows_of(asked)
        sums = self._in_top_k(windows, asked) if "top_k" in asked else self._plain(windows)
        return [
            Completion(
                json.dumps(sums),
                prompt_tokens=sum(len(one.prefix) + len(one.suffix) for one in windows),
                served=self._served,
            )
        ]

    @property
    def fixed_weights(self) -> bool:
        """Whether the endpoint's id names weights."""
        return isinstance(self._endpoint, FixedWeights) and self._endpoint.fixed_weights

    @property
    def model_name(self) -> str | None:
        """The name that the server is asked for."""
        return self._endpoint.model_name if isinstance(self._endpoint, AsksByName) else None

    @property
    def _served(self) -> Served | None:
        return self._endpoint.served if isinstance(self._endpoint, SaysWhoServed) else None

    def _plain(self, windows: Sequence[Window]) -> list[float | None]:
        found = self._endpoint.log_probabilities(windows)
        return [self._log_p(window, values) for window, values in zip(windows, found, strict=True)]

    def _in_top_k(
        self, windows: Sequence[Window], asked: dict[str, Any]
    ) -> list[tuple[float | None, float | None]]:
        if not isinstance(self._endpoint, TopKEndpoint):
            raise TopKUnavailable(
                "it tells the probabilities of a text's own tokens alone",
                provider=type(self._endpoint).__name__,
                endpoint=self.id or "(no id)",
                call="log_probabilities",
            )
        found = self._endpoint.top_k_log_probabilities(
            windows, top_k=asked["top_k"], temperature=asked["temperature"]
        )
        return [
            (self._log_p(window, one.plain), self._log_p(window, one.top_k))
            for window, one in zip(windows, found, strict=True)
        ]

    def _log_p(self, window: Window, values: Sequence[float]) -> float | None:
        """The logarithm of p_z, None for that of 0."""
        total = -math.inf if -math.inf in values else math.fsum(values)
        if len(values) != len(window.suffix) or not total <= _ROUNDING * len(values):
            raise ProviderError(
                f"{len(values)} log-probabilities with the sum {total:g} came for a suffix of "
                f"{len(window.suffix)} tokens",
                provider=type(self._endpoint).__name__,
                endpoint=self.id or "(no id)",
                call="log_probabilities",
                hint="they are natural logarithms, one for each token of the suffix",
            )
        return None if total == -math.inf else min(total, 0.0)
