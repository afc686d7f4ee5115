"""An endpoint that is a model on this machine, loaded when it is first sampled.

One model is in memory at a time, whoever uses it (`BENCH`): a suite's base, tuned and
baseline models take turns. Each generation has a random number of its own per token,
made from its seed on the CPU. So it depends neither on the generations beside it nor on
torch's own generators, which are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.interfaces.protocols import (
    Completion,
    RequestEndpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.providers.transformers.local_format import Format, Wording
from pytest_memleak.providers.transformers.weights import (
    Loaded,
    Wanted,
    at_work,
    digest_of_weights,
    failures_as,
    is_out_of_memory,
    load,
    load_tokenizer,
    local_error,
)
from pytest_memleak.records import FinishReason
from pytest_memleak.records.provenance import fingerprint_of_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ENDLESS = 1 << 31


class Bench:
    """The model that is in memory, and who has it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._wanted: Wanted | None = None
        self._loaded: Loaded | None = None

    @contextlib.contextmanager
    def holding(
        self,
        wanted: Wanted,
        *,
        endpoint: str,
        keep: bool = True,
    ) -> Iterator[Loaded]:
        """Yield the model, loaded unless it is here; others wait until it is free.

        keep: False where it will be changed, and is of no use to others then.
        """
        with self._lock:
            if wanted != self._wanted or self._loaded is None:
                self.clear()
                self._loaded, self._wanted = load(wanted, endpoint=endpoint), wanted
            try:
                yield self._loaded
            finally:
                if not keep:
                    self.clear()

    def clear(self) -> None:
        """Let go of the model."""
        with self._lock:
            if self._loaded is None:
                return
            self._loaded = self._wanted = None
            import torch

            if torch.cuda.is_available():
                torch.cuda.empty_cache()


BENCH = Bench()


@dataclass(eq=False, repr=False)
class LocalEndpoint(RequestEndpoint):
    """A model on this machine; `id` names its weights and the wording of every prompt.

    wanted:  returns what to load; called when it is first needed
    threads: of torch, None for its own choice
    at_once: how many generations are sampled side by side
    as_text: whether it continues a text, without instruction or chat
    """

    id: str
    wanted: Callable[[], Wanted]
    wording: Wording
    threads: int | None
    at_once: int
    as_text: bool = False

    @property
    def abilities(self) -> Abilities:
        """The digest of its weights is in its id."""
        return Abilities(
            fixed_weights=True,
            samples_each=True,
            continuing=self.continuing,
            converses=None if self.as_text else self.answer,
        )

    def answer(self, request: SampleRequest) -> list[Completion]:
        """Always `n` completions; number i has the seed + i, or a random seed for None.

        They come from the model's own distribution at that temperature (None: 1): no
        top-k, no top-p, no penalty, whatever ships with the weights. Where the context
        has no room for `max_tokens` (None: all of it), a text is cut at its end
        (LENGTH). Prompt tokens stand with the first.
        Out of memory, a quarter as many are sampled side by side from then on, with a
        warning.
        """
        n = request.n
        max_tokens = request.max_tokens
        temperature = self._temperature(request)
        first = request.seed
        if first is None:
            first = secrets.randbits(31)
        at_once = self.at_once
        with (
            at_work(threads=self.threads),
            BENCH.holding(self.wanted(), endpoint=self.id) as loaded,
            failures_as(
                self.id, "sample", texts=(*request.before, request.instruction)
            ),
        ):
            form = Format(loaded, self.wording)
            if self.as_text:
                prompt = form.opening(request.instruction)
            else:
                prompt = form.prompt(request.instruction, request.before)
            most = self._room(loaded, prompt)
            if max_tokens is not None:
                most = min(max_tokens, most)
            rows: list[list[int]] = []
            while len(rows) < n:
                end = min(len(rows) + self.at_once, n)
                seeds = range(first + len(rows), first + end)
                try:
                    rows += self._sample_rows(
                        loaded,
                        prompt,
                        seeds=seeds,
                        temperature=temperature,
                        most=most,
                    )
                except Exception as error:
                    again = self.at_once < at_once
                    if again or len(seeds) == 1 or not is_out_of_memory(error):
                        raise
                    self.at_once = max(1, len(seeds) // 4)
            served = self.served
        if self.at_once < at_once:
            with contextlib.suppress(UserWarning):  # under -W error
                warnings.warn(
                    "Out of memory: completions_per_call was reduced from "
                    f"{at_once} to {self.at_once}",
                    stacklevel=3,
                )
        completions = []
        prompt_tokens = len(prompt)
        for row in rows:
            completion = _completion(
                form,
                row,
                loaded.stop,
                served,
                prompt_tokens=prompt_tokens,
            )
            completions.append(completion)
            prompt_tokens = 0  # they count once
        return completions

    def _temperature(self, request: SampleRequest) -> float:
        """Return the temperature; raise an error for what can't be sampled."""
        temperature = 1.0 if request.temperature is None else request.temperature
        max_tokens = request.max_tokens
        if temperature < 0 or (max_tokens is not None and max_tokens < 1):
            raise self._error(
                f"temperature {temperature} with at most {max_tokens} tokens can't be "
                "sampled",
                hint="expected a temperature of 0 or more, and at least 1 token",
            )
        return temperature

    @functools.cached_property
    def served(self) -> Served:
        """The model that served: the weights themselves, by their digest."""
        return Served(
            fingerprint=fingerprint_of_weights(digest_of_weights(self.wanted())),
        )

    @functools.cached_property
    def _tokenizer(self) -> Any:
        with at_work(threads=self.threads):
            return load_tokenizer(self.wanted().base, endpoint=self.id)

    def continuing(self) -> LocalEndpoint | None:
        """The same weights on plain text; None for a tokenizer with a chat template."""
        if self._tokenizer.chat_template:
            return None
        return replace(self, id=f"{self.id}#text", as_text=True)

    def _sample_rows(
        self,
        loaded: Loaded,
        prompt: list[int],
        *,
        seeds: range,
        temperature: float,
        most: int,
    ) -> list[list[int]]:
        """The tokens of one generation per seed, up to and with the one that ends it.

        The prompt is read once and its cache repeated; a finished row leaves the batch.
        A model that keeps more than keys and values reads the prompt in each row, by
        `generate`.
        """
        import torch

        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        numbers = torch.stack(
            [
                torch.rand(most, generator=own, dtype=torch.float64)
                for own in generators
            ],
        )
        generated: list[list[int]] = [[] for _ in seeds]

        def choose(
            step: int,
            scores: Tensor,
            *,
            rows: list[int],
        ) -> Tensor:
            tokens = self._choose_tokens(scores, numbers[rows, step], temperature)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                if loaded.stop.isdisjoint(generated[row][-1:]):
                    generated[row].append(token)
            return tokens

        rows = [*range(len(seeds))]
        with torch.inference_mode():
            prefill = _generate(
                loaded,
                [prompt],
                most=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
            name, cache = _repeatable_cache(prefill)
            if cache is None:
                choice = functools.partial(choose, rows=rows)
                _generate(loaded, [prompt] * len(rows), most=most, choose=choice)
                return generated
            cache.batch_repeat_interleave(len(rows))
            scores = prefill.logits[0].expand(len(rows), -1)
            for step in range(most):
                tokens = choose(step, scores, rows=rows)
                unfinished = [
                    place
                    for place, row in enumerate(rows)
                    if generated[row][-1] not in loaded.stop
                ]
                if not unfinished or step + 1 == most:
                    break
                if len(unfinished) < len(rows):
                    rows = [rows[place] for place in unfinished]
                    kept = torch.tensor(unfinished, device=tokens.device)
                    cache.batch_select_indices(kept)
                    tokens = tokens[kept]
                tokens_so_far = len(prompt) + step + 1
                outcome = loaded.model(
                    input_ids=tokens[:, None],
                    attention_mask=tokens.new_ones((len(rows), tokens_so_far)),
                    use_cache=True,
                    **{name: cache},
                )
                scores = outcome.logits[:, -1].float()
        return generated

    def _choose_tokens(
        self,
        scores: Tensor,
        numbers: Tensor,
        temperature: float,
    ) -> Tensor:
        """Return each row's next token: where the summed probabilities pass its number.

        The numbers are uniform in [0, 1). At temperature 0 it is the likeliest token.
        """
        import torch

        if temperature == 0:
            total, tokens = scores.max(dim=-1)
        else:
            precise = _precise(scores)
            logits = scores.to(precise) / temperature
            shares = torch.softmax(logits, dim=-1).cumsum(dim=-1)
            total = shares[:, -1]
            passed = numbers.to(scores.device, precise) * total
            tokens = torch.searchsorted(shares, passed[:, None], right=True)[:, 0]
            last_token = scores.shape[-1] - 1
            tokens = tokens.clamp(max=last_token)
        if not bool(total.isfinite().all()):
            raise self._error(
                "The model's probabilities aren't numbers",
                hint="float16 may overflow; set options.dtype = "
                '"float32" or "bfloat16"',
            )
        return tokens

    def _room(self, loaded: Loaded, prompt: list[int]) -> int:
        if loaded.context is None:
            return _ENDLESS
        room = loaded.context - len(prompt)
        if room < 1:
            raise self._error(
                f"the instruction has {len(prompt):,} tokens; the model's context has "
                f"{loaded.context:,}",
                hint="use a shorter summary, or a model with a longer context",
            )
        return room

    def _error(self, cause: str, *, hint: str) -> ProviderError:
        return local_error(cause, self.id, "sample", hint=hint)


def _generate(
    loaded: Loaded,
    prompts: list[list[int]],
    *,
    most: int,
    choose: Callable[[int, Tensor], Tensor] | None = None,
    **outputs: bool,
) -> Any:
    """Generate by transformers; `choose` returns a step's tokens, else the likeliest.

    All prompts have the same length.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

    class Choice(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            if choose is None:
                return scores
            tokens = choose(input_ids.shape[1] - len(prompts[0]), scores)
            return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)

    configured: Any = GenerationConfig
    rows = torch.tensor(prompts, device=loaded.model.device)
    return loaded.model.generate(
        input_ids=rows,
        attention_mask=torch.ones_like(rows),
        generation_config=configured(
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=sorted(loaded.stop),
            pad_token_id=loaded.padding,
            **outputs,
        ),
        logits_processor=LogitsProcessorList([Choice()]),
    )


def _repeatable_cache(prefill: Any) -> tuple[str, Any]:
    """Return a prompt's cache of keys and values alone, and its name; else None."""
    from transformers.cache_utils import (
        DynamicCache,
        DynamicLayer,
        DynamicSlidingWindowLayer,
    )

    repeatable = {DynamicLayer, DynamicSlidingWindowLayer}
    # Releases of transformers differ in how they name it, as an argument and in what
    # comes back.
    for name, cache in prefill.items():
        if type(cache) is not DynamicCache:
            continue
        layers = {type(layer) for layer in cache.layers}
        if layers <= repeatable and cache.get_seq_length():
            return name, cache
    return "", None


def _completion(
    form: Format,
    tokens: list[int],
    stop: frozenset[int],
    served: Served,
    *,
    prompt_tokens: int,
) -> Completion:
    text = form.text([token for token in tokens if token not in stop])
    reason = FinishReason.LENGTH
    if tokens[-1] in stop:
        reason = FinishReason.STOP
    if not text.strip():
        reason = FinishReason.EMPTY
    return Completion(
        text,
        reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(tokens),
        served=served,
    )


def _precise(tensor: Tensor) -> torch.dtype:
    import torch

    # Apple's GPUs have no double precision.
    if tensor.device.type == "mps":
        return torch.float32
    return torch.float64
