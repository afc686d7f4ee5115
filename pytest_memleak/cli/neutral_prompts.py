"""Five neutral prompts that show what an endpoint does, for `try`, `init`, `doctor`.

They show hidden reasoning, the limit of tokens, the served name, whether greedy answers
repeat, a filter, refused settings, and the pace. What a suite has to say about the
endpoint becomes a key, with its reason.
"""

from __future__ import annotations

import json
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.cli.confirmation import ask_yes_or_no
from pytest_memleak.cli.learned_keys import LearnedKey
from pytest_memleak.cli.terminal_output import print_sentence
from pytest_memleak.cli.time_estimate import PreflightResult
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.records import Model, Sampling
from pytest_memleak.records.generation import FinishReason, finish_reason_from_word
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.errors import ProviderBusy
    from pytest_memleak.interfaces.abilities import ParameterValues
    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.suite_run import SuiteRun

MOST_CALLS = 5
_PROMPT = "Describe a day in late autumn in a small town, in about a hundred words."
_PROMPT_TOKENS = 30  # of the prompt in any chat format
_FIRST_TOKENS = 16
_TOKENS = 200
_REASONING_TOKENS = 8_000
_SECONDS = 20.0  # for one call of a slow server; three times as many for the second
_TOKENS_PER_WORD = 4 / 3
_LEAST_HIDDEN = 100  # tokens; fewer may be a tokenizer's own way to count
_ROUND = 500
_NAME_QUESTION = "Is the server's name for it the model that you mean?"
_SILENT_CUT = 0.9


class _TimedCall(NamedTuple):
    """The completions of one call, and its seconds without pauses."""

    completions: Sequence[Completion]
    seconds: float

    @property
    def first(self) -> Completion:
        return self.completions[0]

    @property
    def tokens(self) -> float:
        """The tokens of the first, as the server counts them or as estimated."""
        return self.first.completion_tokens or _words_as_tokens(self.first.written)


@dataclass(frozen=True, slots=True)
class _Reasoning:
    """Reasoning before the answer.

    tokens: at least; 0 for a model that doesn't
    ended:  whether the answer came
    """

    tokens: int = 0
    ended: bool = True


class Preflight(NamedTuple):
    """The neutral prompts for one model of a suite, before they are sent.

    needed:   tokens of its longest generation
    excerpts: of its first book
    sampling: of its first pair
    """

    suite_run: SuiteRun
    model: Model
    needed: int
    excerpts: int
    sampling: Sampling

    @classmethod
    def of(cls, suite_run: SuiteRun, model: Model) -> Preflight:
        """Prepare those of a model; raises BookError for a book that can't be read."""
        from pytest_memleak.ledger.prompts import max_tokens_for_words
        from pytest_memleak.scoring.words import count_about_as_tokens

        pairs = [pair for pair in suite_run.suite.pairs if pair.model == model]
        books = []
        counts = [0]
        for pair in pairs:
            book = suite_run.books.cut_into_excerpts(pair.book)
            mode = pair.scoring.word_mode
            books.append(book)
            counts += (
                count_about_as_tokens(excerpt.text, mode) for excerpt in book.excerpts
            )
        excerpts = len(books[0].excerpts) if books else 0
        sampling = pairs[0].sampling if pairs else Sampling()
        return cls(
            suite_run, model, max_tokens_for_words(max(counts)), excerpts, sampling
        )

    @property
    def cost(self) -> str:
        """The most that it costs, in words."""
        prompt_tokens = MOST_CALLS * _PROMPT_TOKENS
        # The third call has two answers.
        tokens = max(_REASONING_TOKENS, self.needed) + _FIRST_TOKENS + 4 * _TOKENS
        text = f"up to {MOST_CALLS} neutral prompts, at most {tokens:,} output tokens"
        price = self.model.price
        if price is None:
            return text
        dollars = (price[0] * prompt_tokens + price[1] * tokens) / 1e6
        return f"{text}, at most US${math.ceil(dollars * 100) / 100:.2f}"

    def run(self) -> PreflightResult:
        """Send the prompts; raises ProviderError and SuiteError."""
        endpoints = self.suite_run.endpoints
        return preflight(
            endpoints.open_endpoint(self.model),
            needed=self.needed,
            at_once=endpoints.provider(self.model).concurrency,
            excerpts=self.excerpts,
            sampling=self.sampling,
            served_names=self.model.served_names,
        )


def preflight(
    endpoint: Endpoint,
    *,
    needed: int,
    at_once: int | None,
    excerpts: int,
    sampling: Sampling,
    served_names: Sequence[str] = (),
) -> PreflightResult:
    """Sample the neutral prompt in at most MOST_CALLS calls.

    needed: tokens of the suite's longest generation; at_once: the suite's number of
    concurrent calls, if any; excerpts: of the book; sampling, served_names: the suite's
    """
    from pytest_memleak.sampling.adaptive_concurrency import FIRST_AT_ONCE

    at_once = at_once or FIRST_AT_ONCE
    sample = partial(_sample_neutral_prompt, endpoint)
    first = sample(_FIRST_TOKENS, greedy=True)
    pace = first.seconds / _FIRST_TOKENS
    few = _tokens_within_seconds(_TOKENS, pace, _SECONDS)
    if _is_cut_before_text(first.first):
        most = _REASONING_TOKENS
    else:
        longest = max(needed, _max_tokens_of_suite(sampling) or 0, _TOKENS)
        most = _tokens_within_seconds(longest, pace, 3 * _SECONDS)
    single, limit = _sample_within_server_limit(endpoint, most)
    most = min(most, limit or most)
    few = min(few, most)
    reasoning = _reasoning_of(single.first)
    token = single.seconds / max(1.0, min(single.tokens, most))
    completions = 1.0  # a server that ignores n gets a call for each
    came = 2
    if not reasoning.tokens:
        both = sample(few, n=2)
        came = len(both.completions)
        if came > 1:
            completions = _clamp_to_unit_interval(
                both.seconds / max(token * both.tokens, 1e-9) - 1
            )
    pair = _sample_greedily_twice(endpoint, few, at_once)
    calls = 0.0
    if at_once > 1:
        slowest = max(pair, key=lambda answers: answers.seconds)
        calls = _clamp_to_unit_interval(
            slowest.seconds / max(token * slowest.tokens, 1e-9) - 1
        )
    parameters = abilities_of(endpoint).parameter_values()
    keys = (
        *_max_tokens_keys(needed, sampling, reasoning, limit),
        *_name_keys(endpoint, single.first, served_names),
        *_temperature_keys(parameters, sampling),
    )
    spent = 1.0
    for key in keys:
        if key.name == "max_tokens":
            spent = min(1.0, (needed + reasoning.tokens) / int(key.value))
    return PreflightResult(
        lines=(
            *_identity_lines(endpoint, single.first),
            *_accepted_and_rejected_lines(parameters, came),
            *_reasoning_lines(reasoning),
            *_token_limit_lines(single, most, limit),
            *_greedy_lines(pair, parameters),
            *_withheld_lines((*single.completions, *(each.first for each in pair))),
        ),
        token=token,
        calls=calls,
        completions=completions,
        at_once=at_once,
        excerpts=excerpts,
        text_only="api" in parameters and "chat" in parameters["api"].rejected,
        keys=keys,
        spent=spent,
    )


def print_preflight_result(trial: PreflightResult) -> None:
    """Print what the prompts showed, and the keys that come of it."""
    lines = [*trial.lines, *(("suite", key.line) for key in trial.keys)]
    for title, text in lines:
        print_sentence(f"  {title:<12} {inert(text)}", indent=15)


def accepted_keys(trial: PreflightResult) -> tuple[LearnedKey, ...]:
    """Return the keys to write: another model's name only if a person knows it."""
    keys = []
    for key in trial.keys:
        is_name = key.name == "served_names"
        if is_name and not (sys.stdin.isatty() and ask_yes_or_no(_NAME_QUESTION)):
            print_sentence(f"Not written: {key.line}", indent=2)
        else:
            keys.append(key)
    return tuple(keys)


# --- the calls


def _tokens_within_seconds(tokens: int, pace: float, seconds: float) -> int:
    """Return how many of the tokens a call may have to end in about these seconds."""
    if pace <= 0:
        return tokens
    return max(_FIRST_TOKENS, min(tokens, int(seconds / pace)))


def _sample_within_server_limit(
    endpoint: Endpoint, tokens: int
) -> tuple[_TimedCall, int | None]:
    """Sample once; if the server names a lower limit of tokens, with that one.

    Returns the limit, too. A rejected call costs nothing.
    """
    from pytest_memleak.providers.call_errors import RequestRejected

    try:
        return _sample_neutral_prompt(endpoint, tokens), None
    except RequestRejected as refused:
        limit = refused.token_limit.most if refused.token_limit else None
        if limit is None or not 0 < limit < tokens:
            raise
    return _sample_neutral_prompt(endpoint, limit), limit


def _sample_greedily_twice(
    endpoint: Endpoint, tokens: int, at_once: int
) -> list[_TimedCall]:
    """Sample the same greedy answer twice, at once if the suite may."""
    with ThreadPoolExecutor(min(2, at_once)) as threads:
        sample = partial(_sample_neutral_prompt, endpoint, greedy=True)
        return [*threads.map(sample, [tokens] * 2)]


def _sample_neutral_prompt(
    endpoint: Endpoint,
    tokens: int,
    n: int = 1,
    *,
    greedy: bool = False,
) -> _TimedCall:
    """Return answers to the neutral prompt."""
    from pytest_memleak.sampling.reserved_call import Notice
    from pytest_memleak.sampling.retry import Retry

    def attempt() -> _TimedCall:
        before = time.monotonic()
        answers = endpoint.sample(
            _PROMPT,
            n=n,
            temperature=0.0 if greedy else 1.0,
            max_tokens=tokens,
            seed=0,
        )
        seconds = time.monotonic() - before
        return _TimedCall([*map(_as_completion, answers)], seconds)

    causes = set()

    def tell(error: ProviderBusy, seconds: float) -> None:
        notice = Notice()
        notice.wait(error, seconds)
        if error.cause not in causes:
            print_sentence(inert(error.cause))
            causes.add(error.cause)
        print_sentence(str(notice))
        sys.stdout.flush()

    return Retry().run(attempt, max_seconds_to_reach=lambda: 0.0, waiting=tell)


def _as_completion(answer: Completion | str) -> Completion:
    return Completion(answer) if isinstance(answer, str) else answer


def _clamp_to_unit_interval(delay: float) -> float:
    return min(1.0, max(0.0, delay))


def _words_as_tokens(text: str) -> int:
    return math.ceil(len(text.split()) * _TOKENS_PER_WORD)


# --- what they show


def _is_cut_before_text(completion: Completion) -> bool:
    was_cut = finish_reason_from_word(completion.finish_word) is FinishReason.LENGTH
    return was_cut and not completion.text.strip()


def _reasoning_of(completion: Completion) -> _Reasoning:
    """Return the reasoning of an answer: as told, or what its text doesn't account for.

    Of a server that counts no tokens and shows no reasoning, none is seen.
    """
    of_text = _words_as_tokens(completion.text)
    shown = _words_as_tokens(completion.reasoning)
    hidden = (completion.completion_tokens or 0) - of_text
    is_cut = _is_cut_before_text(completion)
    if hidden < max(_LEAST_HIDDEN, of_text) and not is_cut:
        hidden = 0
    tokens = max(hidden, shown)
    if is_cut:
        tokens = max(tokens, _REASONING_TOKENS)
    return _Reasoning(tokens, ended=not is_cut)


def _max_tokens_keys(
    needed: int,
    sampling: Sampling,
    reasoning: _Reasoning,
    limit: int | None,
) -> Iterator[LearnedKey]:
    """Yield max_tokens if the suite's is too low or too high for this server."""
    if sampling.max_tokens == "default":  # which sends none
        return
    present = _max_tokens_of_suite(sampling) or needed
    wanted = present
    why = "the most that the server accepts"
    if reasoning.tokens and present < needed + reasoning.tokens:
        # Longer prompts make it reason for longer.
        wanted = math.ceil((needed + 2 * reasoning.tokens) / _ROUND) * _ROUND
        over = "" if reasoning.ended else "over "
        why = f"it reasoned for {over}{reasoning.tokens:,} tokens before it answered"
    if limit is not None and limit < wanted:
        wanted = limit
    if wanted != present:
        yield LearnedKey("model", "max_tokens", f"{wanted}", why)


def _name_keys(
    endpoint: Endpoint,
    completion: Completion,
    served_names: Sequence[str],
) -> Iterator[LearnedKey]:
    """Yield served_names if the server has another name for the model."""
    from pytest_memleak.verdict.provenance_issues import is_requested

    requested = abilities_of(endpoint).model_name
    served = completion.served.model if completion.served else None
    if requested is None or not served or is_requested(served, requested, served_names):
        return
    if short_name(served) != served:
        return  # too long for a name: it may be a text
    names = json.dumps([*served_names, served], ensure_ascii=False)
    why = f"the server's name for {short_name(requested)}"
    yield LearnedKey("model", "served_names", names, why)


def _max_tokens_of_suite(sampling: Sampling) -> int | None:
    """Return the suite's own max_tokens, if it has a number."""
    return sampling.max_tokens if isinstance(sampling.max_tokens, int) else None


def _temperature_keys(
    parameters: Mapping[str, ParameterValues],
    sampling: Sampling,
) -> Iterator[LearnedKey]:
    support = parameters.get("temperature")
    if support is None or sampling.temperature is None:
        return
    if 1.0 in support.rejected:
        why = "the server rejects any"
        yield LearnedKey("suite", "temperature", '"default"', why)


def _identity_lines(
    endpoint: Endpoint,
    completion: Completion,
) -> Iterator[tuple[str, str]]:
    from pytest_memleak.interfaces.abilities import id_of
    from pytest_memleak.pipeline.provenance_check import shortened_served_by
    from pytest_memleak.reports.generation_text import server_name
    from pytest_memleak.verdict.provenance_issues import served_model_issues

    yield "endpoint", id_of(endpoint) or "unnamed"
    if served := completion.served:
        record = shortened_served_by(
            served.model,
            served.fingerprint,
            calls=1,
            requested=False,
        )
        yield "served by", server_name(record)
        requested = abilities_of(endpoint).model_name
        if requested is not None:
            for issue in served_model_issues(requested, {served.model: 1}):
                yield "another name", issue.cause
    ended = short_name(completion.finish_word or "") or completion.finish_reason.value
    counts = "token counts"
    if completion.completion_tokens is None:
        counts = "no token counts"
    yield "reports", f"finish reason ({ended}), {counts}"


def _accepted_and_rejected_lines(
    parameters: Mapping[str, ParameterValues],
    came: int,
) -> Iterator[tuple[str, str]]:
    """Yield what the server accepts.

    came: the number of generations of a call that requested two
    """
    accepted = []
    rejected = []
    for name, support in parameters.items():
        if support.accepted:
            accepted.append(name)
        else:
            rejected.append(name)
    if came == 1:
        accepted = [name for name in accepted if name not in {"candidateCount", "n"}]
    if parameters:
        yield "accepts", ", ".join(accepted)
    if rejected:
        yield "rejects", f"{', '.join(rejected)} (omitted)"
    if came == 1:
        yield "returns", "one generation per call, even where two were requested"


def _reasoning_lines(reasoning: _Reasoning) -> Iterator[tuple[str, str]]:
    if not reasoning.tokens:
        return
    tokens = amount(reasoning.tokens, "token")
    if reasoning.ended:
        yield "reasons", f"{tokens} before it answers"
    else:
        yield "reasons", f"for more than {tokens}: no answer came"


def _token_limit_lines(
    single: _TimedCall,
    requested: int,
    limit: int | None,
) -> Iterator[tuple[str, str]]:
    if limit is not None:
        yield "at most", amount(limit, "token")
        return
    counted = single.first.completion_tokens or requested
    was_cut = finish_reason_from_word(single.first.finish_word) is FinishReason.LENGTH
    if was_cut and counted < _SILENT_CUT * requested:
        yield "at most", f"{amount(counted, 'token')}, though {requested:,} may come"


def _greedy_lines(
    pair: Sequence[_TimedCall],
    parameters: Mapping[str, ParameterValues],
) -> Iterator[tuple[str, str]]:
    support = parameters.get("temperature")
    if support is not None and 0.0 in support.rejected:
        yield "greedy", "temperature 0 is rejected"
        return
    texts = {answers.first.written for answers in pair}
    if not any(text.strip() for text in texts):
        return
    if len(texts) == 1:
        yield "greedy", "two answers at temperature 0 are the same"
    else:
        yield (
            "greedy",
            "two answers at temperature 0 differ, so no limit on greedy ones can pass",
        )


def _withheld_lines(completions: Sequence[Completion]) -> Iterator[tuple[str, str]]:
    reasons = {FinishReason.CONTENT_FILTER, FinishReason.RECITATION}
    withheld = [each for each in completions if each.finish_reason in reasons]
    if withheld:
        word = short_name(withheld[0].finish_word or "a filter")
        yield "withholds", f"answers to a neutral prompt ({word})"
