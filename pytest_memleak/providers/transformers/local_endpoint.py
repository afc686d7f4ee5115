"""An endpoint that is a model on this machine, loaded when it is first sampled.

One model is in memory at a time, whoever uses it (`MODEL_SLOT`): a suite's base, tuned
and baseline models take turns. Each generation has a random number of its own per
token, made from its seed on the CPU. So it depends neither on the generations beside it
nor on torch's own generators, which are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import Abilities, Engine, TokenLogprobs
from pytest_memleak.interfaces.protocols import (
    Completion,
    RequestEndpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.providers.transformers.local_format import (
    Format,
    PromptWording,
    has_chats,
)
from pytest_memleak.providers.transformers.text_logprobs import logprobs_of_texts
from pytest_memleak.providers.transformers.weights import (
    Loaded,
    WeightsToLoad,
    digest_of_weights,
    errors_as_provider_errors,
    is_out_of_memory,
    load,
    load_tokenizer,
    local_error,
    quiet_torch,
)
from pytest_memleak.records import FinishReason
from pytest_memleak.records.provenance import fingerprint_of_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ENDLESS = 1 << 31


class ModelSlot:
    """The model that is in memory, and who has it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._wanted: WeightsToLoad | None = None
        self._loaded: Loaded | None = None

    @contextlib.contextmanager
    def holding(
        self,
        wanted: WeightsToLoad,
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


MODEL_SLOT = ModelSlot()


@dataclass(slots=True)
class Row:
    """A generation to sample: its prompt's tokens, its settings, and its own tokens.

    most: how many tokens it may have
    is_first: whether it is its request's first, which counts the prompt's tokens
    """

    prompt: list[int] = field(repr=False)
    seed: int
    temperature: float
    most: int
    is_first: bool
    generated: list[int] = field(default_factory=list, repr=False)


@dataclass(eq=False, repr=False)
class LocalEndpoint(RequestEndpoint):
    """A model on this machine; `id` names its weights and the wording of every prompt.

    wanted:  returns what to load; called when it is first needed
    threads: of torch, None for its own choice
    at_once: how many generations are sampled side by side
    as_text: whether it continues a text, without instruction or chat
    """

    id: str
    wanted: Callable[[], WeightsToLoad]
    wording: PromptWording
    threads: int | None
    at_once: int
    as_text: bool = False

    @property
    def abilities(self) -> Abilities:
        """The digest of its weights is in its id."""
        return Abilities(
            fixed_weights=True,
            weights_fingerprint=lambda: self.served.fingerprint,
            samples_each=True,
            continuing=self.continuing,
            converses=None if self.as_text else self.answer,
            engine=Engine(self.sample_many, self.at_once),
            token_logprobs=self.token_logprobs,
        )

    def answer(self, request: SampleRequest) -> list[Completion]:
        """Sample one request alone."""
        return self.sample_many([request])[0]

    def sample_many(self, requests: Sequence[SampleRequest]) -> list[list[Completion]]:
        """Return `n` completions of each request, in their order.

        Number i of a request has its seed + i, or a random seed for None. They come
        from the model's own distribution at that temperature (None: 1): no top-k, no
        top-p, no penalty, whatever ships with the weights. Where the context has no
        room for `max_tokens` (None: all of it), a text is cut at its end (LENGTH).
        Prompt tokens stand with the first.
        Out of memory, a quarter as many are sampled side by side from then on, with a
        warning.
        """
        at_once = self.at_once
        texts = [text for request in requests for text in request.texts]
        with (
            quiet_torch(threads=self.threads),
            MODEL_SLOT.holding(self.wanted(), endpoint=self.id) as loaded,
            errors_as_provider_errors(self.id, "sample", texts=texts),
        ):
            form = Format(loaded, self.wording)
            rows = [
                row for request in requests for row in self._rows(loaded, form, request)
            ]
            self._sample_side_by_side(loaded, rows)
            served = self.served
        if self.at_once < at_once:
            with contextlib.suppress(UserWarning):  # under -W error
                warnings.warn(
                    "Out of memory: completions_per_call was reduced from "
                    f"{at_once} to {self.at_once}",
                    stacklevel=3,
                )
        completions = [_completion(form, row, loaded.stop, served) for row in rows]
        left = iter(completions)
        return [list(itertools.islice(left, request.n)) for request in requests]

    def token_logprobs(self, texts: Sequence[str]) -> list[TokenLogprobs]:
        """Return the log-probabilities of each text's tokens, without a chat."""
        with (
            quiet_torch(threads=self.threads),
            MODEL_SLOT.holding(self.wanted(), endpoint=self.id) as loaded,
            errors_as_provider_errors(self.id, "token_logprobs", texts=texts),
        ):
            return [*logprobs_of_texts(loaded, texts, at_once=self.at_once)]

    def _rows(
        self,
        loaded: Loaded,
        form: Format,
        request: SampleRequest,
    ) -> list[Row]:
        """Return the generations of a request, as they are to be sampled."""
        temperature = self._temperature(request)
        if self.as_text:
            prompt = form.opening(request.instruction)
        else:
            prompt = form.prompt(request.instruction, request.before)
        most = self._tokens_left_in_context(loaded, prompt)
        if request.max_tokens is not None:
            most = min(request.max_tokens, most)
        first = request.seed
        if first is None:
            first = secrets.randbits(31)
        return [
            Row(prompt, first + number, temperature, most, is_first=not number)
            for number in range(request.n)
        ]

    def _sample_side_by_side(self, loaded: Loaded, rows: Sequence[Row]) -> None:
        """Sample the rows, as many at once as memory has room for.

        Prompts of about one length go together.
        """
        by_length = sorted(rows, key=lambda row: len(row.prompt))
        fewer = False
        while by_length:
            some = by_length[: self.at_once]
            try:
                self._sample_rows(loaded, some)
            except Exception as error:
                if fewer or len(some) == 1 or not is_out_of_memory(error):
                    raise
                fewer = True
                self.at_once = max(1, len(some) // 4)
                for row in some:
                    row.generated.clear()
            else:
                by_length = by_length[len(some) :]

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
        with quiet_torch(threads=self.threads):
            return load_tokenizer(self.wanted().base, endpoint=self.id)

    def continuing(self) -> LocalEndpoint | None:
        """The same weights on plain text; None where prompts are chats."""
        if has_chats(self._tokenizer, self.wording):
            return None
        return replace(self, id=f"{self.id}#text", as_text=True)

    def _sample_rows(self, loaded: Loaded, rows: Sequence[Row]) -> None:
        """Generate the tokens of each row, up to and with the one that ends it.

        A prompt is read once and its cache repeated; a finished row leaves the batch.
        A model that keeps more than keys and values, or whose tokens can't be told
        their places, reads one prompt at a time, the former in each row, by `generate`.
        """
        import torch

        prompts = [*{tuple(row.prompt): row.prompt for row in rows}.values()]
        if len({*map(len, prompts)}) > 1 and not _accepts_token_positions(loaded.model):
            for same in _rows_by_prompt(rows):
                self._sample_rows(loaded, same)
            return
        with torch.inference_mode():
            prefill = _generate(
                loaded,
                prompts,
                most=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
            name, cache = _repeatable_cache(prefill)
            if cache is None:
                for same in _rows_by_prompt(rows):
                    numbers = _random_numbers(same)
                    _generate(
                        loaded,
                        [row.prompt for row in same],
                        most=max(row.most for row in same),
                        choose=functools.partial(
                            self._next_tokens, loaded, same, numbers
                        ),
                    )
                return
            places = [prompts.index(row.prompt) for row in rows]
            cache.batch_select_indices(torch.tensor(places, device=loaded.model.device))
            self._generate_from_cache(
                loaded, rows, prefill.logits[0][places], {name: cache}
            )

    def _generate_from_cache(
        self,
        loaded: Loaded,
        rows: Sequence[Row],
        scores: Tensor,
        cached: dict[str, Any],
    ) -> None:
        """Generate each row from its prompt's cache and the scores after the prompt."""
        import torch

        numbers = _random_numbers(rows)
        (cache,) = cached.values()
        longest = max(len(row.prompt) for row in rows)
        lengths = torch.tensor([len(row.prompt) for row in rows])
        mask = torch.arange(longest) >= longest - lengths[:, None]
        mask = mask.long().to(loaded.model.device)
        is_padded = bool((lengths < longest).any())
        left = [*range(len(rows))]
        for step in itertools.count():
            some = [rows[place] for place in left]
            tokens = self._next_tokens(loaded, some, numbers[left], step, scores)
            unfinished = [
                place
                for place, row in enumerate(some)
                if row.generated[-1] not in loaded.stop and step + 1 < row.most
            ]
            if not unfinished:
                return
            if len(unfinished) < len(left):
                left = [left[place] for place in unfinished]
                kept = torch.tensor(unfinished, device=tokens.device)
                cache.batch_select_indices(kept)
                tokens, mask = tokens[kept], mask[kept]
            mask = torch.cat([mask, mask.new_ones((len(left), 1))], dim=1)
            places = {}
            if is_padded:
                places["position_ids"] = mask.sum(dim=1, keepdim=True) - 1
            outcome = loaded.model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                use_cache=True,
                **places,
                **cached,
            )
            scores = outcome.logits[:, -1].float()

    def _next_tokens(
        self,
        loaded: Loaded,
        rows: Sequence[Row],
        numbers: Tensor,
        step: int,
        scores: Tensor,
    ) -> Tensor:
        """Return each row's next token, which joins it unless the row has ended."""
        tokens = self._choose_tokens(scores, numbers[:, step], rows)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            is_open = loaded.stop.isdisjoint(row.generated[-1:])
            if is_open and len(row.generated) < row.most:
                row.generated.append(token)
        return tokens

    def _choose_tokens(
        self,
        scores: Tensor,
        numbers: Tensor,
        rows: Sequence[Row],
    ) -> Tensor:
        """Return each row's next token: where the summed probabilities pass its number.

        The numbers are uniform in [0, 1). At temperature 0 it is the likeliest token.
        """
        import torch

        total, tokens = scores.max(dim=-1)
        if any(row.temperature for row in rows):
            precise = _precise_dtype(scores)
            heat = scores.new_tensor([[row.temperature or 1.0] for row in rows])
            logits = scores.to(precise) / heat.to(precise)
            shares = torch.softmax(logits, dim=-1).cumsum(dim=-1)
            total = shares[:, -1]
            passed = numbers.to(scores.device, precise) * total
            drawn = torch.searchsorted(shares, passed[:, None], right=True)[:, 0]
            drawn = drawn.clamp(max=scores.shape[-1] - 1)
            is_drawn = heat.new_tensor([row.temperature > 0 for row in rows]).bool()
            tokens = torch.where(is_drawn, drawn, tokens)
        if not bool(total.isfinite().all()):
            raise self._error(
                "The model's probabilities aren't numbers",
                hint="float16 may overflow; set options.dtype = "
                '"float32" or "bfloat16"',
            )
        return tokens

    def _tokens_left_in_context(self, loaded: Loaded, prompt: list[int]) -> int:
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


def _rows_by_prompt(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each prompt."""
    rows_of: dict[tuple[int, ...], list[Row]] = {}
    for row in rows:
        rows_of.setdefault(tuple(row.prompt), []).append(row)
    return [*rows_of.values()]


def _random_numbers(rows: Sequence[Row]) -> Tensor:
    """Return a number for each row and step, of the row's own seed; 0 after its end."""
    import torch

    longest = max(row.most for row in rows)
    numbers = torch.zeros((len(rows), longest), dtype=torch.float64)
    for place, row in enumerate(rows):
        own = torch.Generator().manual_seed(row.seed)
        drawn = torch.rand(row.most, generator=own, dtype=torch.float64)
        numbers[place, : row.most] = drawn
    return numbers


def _accepts_token_positions(model: Any) -> bool:
    """Tell whether a model can be told the places of its tokens, despite padding."""
    base = getattr(model, "get_base_model", lambda: model)()
    return "position_ids" in inspect.signature(base.forward).parameters


def _generate(
    loaded: Loaded,
    prompts: list[list[int]],
    *,
    most: int,
    choose: Callable[[int, Tensor], Tensor] | None = None,
    **outputs: bool,
) -> Any:
    """Generate by transformers; `choose` returns a step's tokens, else the likeliest.

    prompts: shorter ones are padded at their beginning
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

    class Choice(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            if choose is None:
                return scores
            tokens = choose(input_ids.shape[1] - longest, scores)
            return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)

    configured: Any = GenerationConfig
    longest = max(map(len, prompts))
    pads = [longest - len(prompt) for prompt in prompts]
    padded = [
        [loaded.padding] * pad + prompt
        for pad, prompt in zip(pads, prompts, strict=True)
    ]
    rows = torch.tensor(padded, device=loaded.model.device)
    mask = torch.ones_like(rows)
    for row, pad in zip(mask, pads, strict=True):
        row[:pad] = 0
    return loaded.model.generate(
        input_ids=rows,
        attention_mask=mask,
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
    row: Row,
    stop: frozenset[int],
    served: Served,
) -> Completion:
    tokens = row.generated
    text = form.text([token for token in tokens if token not in stop])
    reason = FinishReason.LENGTH
    if tokens[-1] in stop:
        reason = FinishReason.STOP
    if not text.strip():
        reason = FinishReason.EMPTY
    return Completion(
        text,
        reason,
        prompt_tokens=len(row.prompt) if row.is_first else 0,
        completion_tokens=len(tokens),
        served=served,
    )


def _precise_dtype(tensor: Tensor) -> torch.dtype:
    import torch

    # Apple's GPUs have no double precision.
    if tensor.device.type == "mps":
        return torch.float32
    return torch.float64
