"""An endpoint that is a model on this machine: loaded when it is first asked, drawn in rows.

One model is in memory at a time, whoever asks (`BENCH`): a suite's base, tuned and baseline
models take turns. Each answer has a random number of its own per token, made from its seed on
the CPU; so it depends neither on the answers that it is drawn with nor on where torch's own
generators stand, and these are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import Abilities, Probabilities
from pytest_memleak.interfaces.protocols import Completion, Served, WindowLogs
from pytest_memleak.providers.transformers.local_format import (
    Format,
    Wording,
    beginning,
    text_tokens,
)
from pytest_memleak.providers.transformers.weights import (
    PROVIDER,
    Loaded,
    Wanted,
    at_work,
    digest_of_weights,
    failures_as,
    load,
    load_tokenizer,
)
from pytest_memleak.records import FinishReason
from pytest_memleak.records.provenance import fingerprint_of_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_memleak.interfaces.protocols import Window, WindowLogs

_ENDLESS = 1 << 31


class Bench:
    """The model that is in memory, and who has it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._wanted: Wanted | None = None
        self._loaded: Loaded | None = None

    @contextlib.contextmanager
    def holding(self, wanted: Wanted, *, endpoint: str, keep: bool = True) -> Iterator[Loaded]:
        """The model, loaded unless it is the one here; others wait until it is free again.

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


class LocalEndpoint:
    """A model on this machine; `id` names its weights and what is said in every prompt.

    wanted:  what to load, found when it is first needed
    at_once: how many answers are drawn side by side
    """

    def __init__(
        self,
        endpoint_id: str,
        *,
        wanted: Callable[[], Wanted],
        wording: Wording,
        threads: int | None,
        at_once: int,
        as_text: bool = False,
    ) -> None:
        self.id = endpoint_id
        self._wanted = wanted
        self._wording = wording
        self._threads = threads
        self._at_once = at_once
        self._as_text = as_text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def abilities(self) -> Abilities:
        """The digest of its weights is in its id."""
        return Abilities(
            fixed_weights=True,
            continuing=self.continuing,
            portable=self.portable,
            probabilities=Probabilities(
                self.text_tokens,
                self.log_probabilities,
                self.top_k_log_probabilities,
                lambda: self.served,
                tokenizes_here=True,
                windows_per_call=2 * self._at_once,  # side by side
            ),
        )

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> list[Completion]:
        """Always `n` completions; answer i is that of seed + i, a seed of None drawn at random.

        They come from the model's own distribution at that temperature (None: 1): no top-k, no
        top-p, no penalty, whatever ships with the weights. Where the context has no room for
        `max_tokens`, an answer is cut at its end (LENGTH). Prompt tokens stand with the first.

        Raises ProviderError for a temperature below 0, for fewer than one token, for an
        instruction that fills the context, and for whatever torch fails of.
        """
        temperature = 1.0 if temperature is None else temperature
        if temperature < 0 or max_tokens < 1:
            raise self._failed(
                f"temperature {temperature} with at most {max_tokens} tokens can't be sampled",
                hint="Expected a temperature of 0 or more, and at least 1 token.",
            )
        first = secrets.randbits(31) if seed is None else seed
        with (
            at_work(threads=self._threads),
            BENCH.holding(self._wanted(), endpoint=self.id) as loaded,
            failures_as(self.id, "sample", texts=(instruction,)),
        ):
            form = Format(loaded, self._wording)
            prompt = form.opening(instruction) if self._as_text else form.prompt(instruction)
            most = min(max_tokens, self._room(loaded, prompt))
            rows = [
                row
                for start in range(0, n, self._at_once)
                for row in self._drawn(
                    loaded,
                    prompt,
                    seeds=range(first + start, first + min(start + self._at_once, n)),
                    temperature=temperature,
                    most=most,
                )
            ]
            served = self.served
        return [
            _completion(form, row, loaded.stop, served, prompt_tokens=len(prompt) * (number == 0))
            for number, row in enumerate(rows)
        ]

    def portable(self) -> Callable[[], LocalEndpoint]:
        """Makes this endpoint in another process, which must see the same folders."""
        return functools.partial(
            _made,
            self.id,
            self._wanted(),
            self._wording,
            threads=self._threads,
            at_once=self._at_once,
            as_text=self._as_text,
        )

    @functools.cached_property
    def served(self) -> Served:
        """As `Probabilities` says: the weights themselves."""
        return Served(fingerprint=fingerprint_of_weights(digest_of_weights(self._wanted())))

    # --- continuing a text, and how probable one is

    @functools.cached_property
    def _tokenizer(self) -> Any:
        with at_work(threads=self._threads):
            return load_tokenizer(self._wanted().base, endpoint=self.id)

    def continuing(self) -> LocalEndpoint | None:
        """The same weights on plain text; None for a tokenizer with a chat template."""
        if self._tokenizer.chat_template:
            return None
        return LocalEndpoint(
            f"{self.id}#text",
            wanted=self._wanted,
            wording=self._wording,
            threads=self._threads,
            at_once=self._at_once,
            as_text=True,
        )

    def text_tokens(self, text: str) -> list[int]:
        """The tokenizer's tokens of a text, without special ones."""
        return text_tokens(self._tokenizer, text)

    def log_probabilities(self, windows: Sequence[Window]) -> list[list[float]]:
        """As `Probabilities` says."""
        logs = self.top_k_log_probabilities(windows, 0, 1.0)
        return [[*window_logs.plain] for window_logs in logs]

    def top_k_log_probabilities(
        self, windows: Sequence[Window], top_k: int, temperature: float
    ) -> list[WindowLogs]:
        """As `Probabilities` says; it sees the whole distribution."""
        with (
            at_work(threads=self._threads),
            BENCH.holding(self._wanted(), endpoint=self.id) as loaded,
            failures_as(self.id, "log_probabilities"),
        ):
            return log_probabilities(
                loaded.model, loaded.tokenizer, windows, top_k=top_k, temperature=temperature
            )

    # --- drawing

    def _drawn(
        self, loaded: Loaded, prompt: list[int], *, seeds: range, temperature: float, most: int
    ) -> list[list[int]]:
        """The tokens of one answer per seed, up to and with the one that ends it."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        configured: Any = GenerationConfig
        draws = None if temperature == 0 else _draws(seeds, most, temperature)
        asked = torch.tensor([prompt] * len(seeds), device=loaded.model.device)
        with torch.inference_mode():
            written = loaded.model.generate(
                input_ids=asked,
                attention_mask=torch.ones_like(asked),
                generation_config=configured(
                    max_new_tokens=most,
                    do_sample=False,
                    eos_token_id=sorted(loaded.stop),
                    pad_token_id=loaded.padding,
                ),
                logits_processor=LogitsProcessorList([draws] if draws else []),
            )
        if draws is not None and draws.undefined():
            raise self._failed(
                "The model's probabilities aren't numbers",
                hint='float16 may overflow. Set options.dtype = "float32" or "bfloat16"',
            )
        return [_until(loaded.stop, row[len(prompt) :].tolist()) for row in written]

    def _room(self, loaded: Loaded, prompt: list[int]) -> int:
        if loaded.context is None:
            return _ENDLESS
        room = loaded.context - len(prompt)
        if room < 1:
            raise self._failed(
                f"the instruction has {len(prompt):,} tokens; the model's context has "
                f"{loaded.context:,}",
                hint="Use a shorter summary, or a model with a longer context.",
            )
        return room

    def _failed(self, cause: str, *, hint: str) -> ProviderError:
        return ProviderError(cause, provider=PROVIDER, endpoint=self.id, call="sample", hint=hint)


def _made(
    endpoint_id: str,
    wanted: Wanted,
    wording: Wording,
    *,
    threads: int | None,
    at_once: int,
    as_text: bool,
) -> LocalEndpoint:
    return LocalEndpoint(
        endpoint_id,
        wanted=lambda: wanted,
        wording=wording,
        threads=threads,
        at_once=at_once,
        as_text=as_text,
    )


def _draws(seeds: range, most: int, temperature: float) -> Any:
    """Chooses each row's next token by its own random numbers, as a logits processor.

    The number of step t, uniform in [0, 1), picks the token where the running sum of the
    probabilities passes it; all others get a logit of minus infinity.
    """
    import torch
    from transformers import LogitsProcessor

    numbers = torch.stack(
        [
            torch.rand(most, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            for seed in seeds
        ]
    )

    class Draws(LogitsProcessor):
        def __init__(self) -> None:
            self._step = 0
            self._sums: list[Tensor] = []

        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
            # Apple's GPUs have no double precision.
            precise = torch.float32 if scores.device.type == "mps" else torch.float64
            shares = torch.softmax(scores.to(precise) / temperature, dim=-1).cumsum(dim=-1)
            number = numbers[:, self._step : self._step + 1].to(scores.device, precise)
            chosen = torch.searchsorted(shares, number * shares[:, -1:], right=True)
            self._step += 1
            self._sums.append(shares[:, -1].sum())
            chosen = chosen.clamp(max=scores.shape[-1] - 1)
            return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)

        def undefined(self) -> bool:
            return not bool(torch.stack(self._sums).isfinite().all())

    return Draws()


def _until(stop: frozenset[int], tokens: list[int]) -> list[int]:
    """The tokens up to and with the first that ends an answer."""
    end = next((place for place, token in enumerate(tokens) if token in stop), len(tokens))
    return tokens[: end + 1]


def _completion(
    form: Format, tokens: list[int], stop: frozenset[int], served: Served, *, prompt_tokens: int
) -> Completion:
    text = form.text([token for token in tokens if token not in stop])
    ended = bool(stop & set(tokens))
    reason = FinishReason.STOP if ended else FinishReason.LENGTH
    return Completion(
        text,
        reason if text.strip() else FinishReason.EMPTY,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(tokens),
        served=served,
    )


if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.interfaces.protocols import Window


def log_probabilities(
    model: Any, tokenizer: Any, windows: Sequence[Window], *, top_k: int, temperature: float
) -> list[WindowLogs]:
    """Per window the natural logarithms of its suffix tokens' probabilities.

    The prefix stands at the beginning of a text, after its token if the tokenizer has one, and
    in no chat. Under top-k only the likeliest `top_k` of the tokens that may follow count (0:
    all), at `temperature`; any other has -inf, and one as likely as the last of them is inside.
    All windows have prefixes and suffixes of the same lengths.
    """
    import torch

    first = beginning(tokenizer)
    rows = torch.tensor(
        [[*first, *window.prefix, *window.suffix] for window in windows], device=model.device
    )
    suffix = len(windows[0].suffix)
    with torch.inference_mode():
        outcome = model(input_ids=rows, attention_mask=torch.ones_like(rows), use_cache=False)
        # The logits at one token are of the next. Apple's GPUs have no double precision.
        precise = torch.float32 if rows.device.type == "mps" else torch.float64
        logits = outcome.logits[:, -suffix - 1 : -1].to(precise)
        own = logits.gather(-1, rows[:, -suffix:].unsqueeze(-1)).squeeze(-1)
        plain = own - logits.logsumexp(dim=-1)
        kept, inside = logits, own
        if 0 < top_k < logits.shape[-1]:
            kept = logits.topk(top_k, dim=-1).values
            inside = own.masked_fill(own < kept[..., -1], -torch.inf)
        top = inside / temperature - (kept / temperature).logsumexp(dim=-1)
    return [WindowLogs(*both) for both in zip(plain.tolist(), top.tolist(), strict=True)]
