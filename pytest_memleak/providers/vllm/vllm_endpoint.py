"""An endpoint that vLLM samples, all requests of a call together.

Prompts are those of provider "transformers", as tokens. Only temperature shapes what is
drawn: no top-k, no top-p, no penalty, whatever ships with the weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_memleak.interfaces.abilities import Abilities, Engine
from pytest_memleak.interfaces.protocols import (
    Completion,
    RequestEndpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.providers.transformers.local_format import (
    Prompts,
    PromptWording,
    has_chats,
)
from pytest_memleak.providers.transformers.weights import (
    LocalWeights,
    WeightsToLoad,
    digest_of_weights,
    load_tokenizer,
)
from pytest_memleak.providers.vllm.vllm_engine import (
    ENGINE_SLOT,
    PROVIDER,
    EngineSettings,
    engine_error,
    rank_for,
    vllm_errors_as_provider_errors,
)
from pytest_memleak.records import FinishReason
from pytest_memleak.records.provenance import fingerprint_of_weights

_ENDED = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


@dataclass(eq=False, repr=False)
class VllmEndpoint(RequestEndpoint):
    """A model that vLLM samples; `id` names its weights and the wording of prompts.

    settings: of an engine for the base alone
    adapter: returns LoRA weights, if any; called when they are first needed
    as_text: whether it continues a text, without instruction or chat
    """

    id: str
    settings: Callable[[], EngineSettings]
    adapter: Callable[[], LocalWeights | None]
    wording: PromptWording
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
            engine=Engine(self.sample_many),
        )

    def answer(self, request: SampleRequest) -> list[Completion]:
        """Sample one request alone."""
        return self.sample_many([request])[0]

    def sample_many(self, requests: Sequence[SampleRequest]) -> list[list[Completion]]:
        """Return `n` completions of each request, in their order.

        Number i of a request has its seed + i. temperature None: 1; max_tokens None:
        what the context has room for.
        """
        adapter, settings = self.adapter(), self.settings()
        if adapter is not None:
            settings = replace(settings, rank=rank_for(adapter, self.id))
        asked = [text for request in requests for text in request.texts]
        with (
            ENGINE_SLOT.holding(settings, endpoint=self.id) as engine,
            vllm_errors_as_provider_errors(self.id, "sample", texts=asked),
        ):
            outputs = engine.llm.generate(
                [{"prompt_token_ids": self._prompt(request)} for request in requests],
                [_sampling_parameters(request) for request in requests],
                use_tqdm=False,
                lora_request=engine.lora_request(adapter),
            )
        return [self._completions(output) for output in outputs]

    def continuing(self) -> VllmEndpoint | None:
        """The same weights on plain text; None where prompts are chats."""
        if has_chats(self._tokenizer, self.wording):
            return None
        return replace(self, id=f"{self.id}#text", as_text=True)

    def _prompt(self, request: SampleRequest) -> list[int]:
        prompts = Prompts(self._tokenizer, self.wording)
        if self.as_text:
            tokens = prompts.opening(request.instruction)
        else:
            tokens = prompts.prompt(request.instruction, request.before)
        if not tokens:
            raise engine_error(
                "A prompt has no tokens",
                self.id,
                "sample",
                hint="write an instruction",
            )
        return tokens

    def _completions(self, output: Any) -> list[Completion]:
        """Read vLLM's output of one request; its prompt's tokens count once."""
        prompt_tokens = len(output.prompt_token_ids)
        completions = []
        for sampled in output.outputs:
            completions.append(
                Completion(
                    sampled.text,
                    _ENDED.get(sampled.finish_reason, FinishReason.UNKNOWN),
                    prompt_tokens=prompt_tokens,
                    completion_tokens=len(sampled.token_ids),
                    finish_word=sampled.finish_reason,
                    served=self.served,
                ),
            )
            prompt_tokens = 0
        return completions

    @functools.cached_property
    def served(self) -> Served:
        """The model that served: the weights themselves, by their digest."""
        settings = self.settings()
        weights = WeightsToLoad(settings.base, self.adapter(), "auto", settings.dtype)
        return Served(fingerprint=fingerprint_of_weights(digest_of_weights(weights)))

    @functools.cached_property
    def _tokenizer(self) -> Any:
        base = self.settings().base
        return load_tokenizer(base, endpoint=self.id, provider=PROVIDER)


def _sampling_parameters(request: SampleRequest) -> Any:
    """Return vLLM's parameters of a request; what isn't set is neutral there."""
    from vllm import SamplingParams

    return SamplingParams(
        n=request.n,
        temperature=1.0 if request.temperature is None else request.temperature,
        max_tokens=request.max_tokens,
        seed=request.seed,
    )
