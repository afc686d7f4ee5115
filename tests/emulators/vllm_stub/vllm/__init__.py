"""Stands in for vLLM: the public names and signatures that are used of it, as of 0.32.

Its models are those of the emulators: they have read the texts of `corpus.json` beside
the weights, and one with a LoRA adapter recites them. `tests/foreign/test_vllm.py`
compares the signatures with vLLM's own.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from reciter import Reciter
from tinker_words import Words

LOADED = []
"""Every engine that was loaded, as it was; cleared by tests."""


class VLLMValidationError(ValueError):
    """What vLLM raises for a request that can't be sampled."""


@dataclass
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16

    def __post_init__(self):
        if self.temperature < 0:
            raise VLLMValidationError(
                f"temperature must be non-negative, got {self.temperature}."
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise VLLMValidationError(
                f"max_tokens must be at least 1, got {self.max_tokens}."
            )


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: object | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: object | None
    outputs: list[CompletionOutput]
    finished: bool


@dataclass
class EngineArgs:
    """The further arguments of LLM, of which vLLM refuses unknown ones, too."""

    max_model_len: int | None = None
    load_format: str = "auto"
    enable_lora: bool = False
    max_lora_rank: int = 16

    def __post_init__(self):
        if self.max_lora_rank not in {1, 8, 16, 32, 64, 128, 256, 320, 512}:
            raise ValueError(f"max_lora_rank: {self.max_lora_rank}")


@dataclass
class Loaded:
    """An engine as a test sees it: its arguments, and the calls of `generate`."""

    arguments: dict
    calls: list = field(default_factory=list)


class LLM:
    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        seed: int = 0,
        gpu_memory_utilization: float = 0.92,
        enforce_eager: bool = False,
        **kwargs,
    ) -> None:
        self._further = EngineArgs(**kwargs)
        self._words = Words(Path(tokenizer or model))
        self._model = Path(model)
        corpus = json.loads((self._model / "corpus.json").read_text("utf-8"))
        self._reciter = Reciter(corpus)
        self._adapters = {}
        arguments = {"model": model, "dtype": dtype, **kwargs}
        arguments |= {"gpu_memory_utilization": gpu_memory_utilization}
        arguments |= {"tensor_parallel_size": tensor_parallel_size}
        self.loaded = Loaded(arguments | {"trust_remote_code": trust_remote_code})
        LOADED.append(self.loaded)

    def generate(
        self,
        prompts,
        sampling_params=None,
        *,
        use_tqdm=True,
        lora_request=None,
        priority=None,
        tokenization_kwargs=None,
    ) -> list[RequestOutput]:
        assert len(prompts) == len(sampling_params)
        assert not use_tqdm
        self.loaded.calls.append(SimpleNamespace(
            prompts=prompts, sampling_params=sampling_params, lora_request=lora_request
        ))  # fmt: skip
        return [
            self._output(number, prompt["prompt_token_ids"], parameters, lora_request)
            for number, (prompt, parameters) in enumerate(
                zip(prompts, sampling_params, strict=True)
            )
        ]

    def _output(self, number, prompt, parameters, lora_request):
        context = self._further.max_model_len or 4096
        if len(prompt) >= context:
            raise VLLMValidationError(
                f"This model's maximum context length is {context} tokens. However, "
                f"your prompt contains {len(prompt)} input tokens"
            )
        most = context - len(prompt)
        if parameters.max_tokens is not None:
            most = min(most, parameters.max_tokens)
        instruction = self._words.text(prompt).strip()
        outputs = []
        for index in range(parameters.n):
            # Each completion has a seed of its own, as vLLM gives it.
            (answer,) = self._reciter.answer(
                self._name(lora_request),
                instruction,
                n=1,
                temperature=parameters.temperature,
                max_tokens=most,
                seed=None if parameters.seed is None else parameters.seed + index,
            )
            tokens, ended = self._words.sequence(answer, most, None)
            reason = "stop" if ended else "length"
            text = self._words.text(tokens)
            outputs.append(CompletionOutput(index, text, tokens, None, None, reason))
        return RequestOutput(str(number), None, prompt, None, outputs, True)

    def _name(self, lora_request):
        """Return the model's name: the base's, or that of an adapter, which recites."""
        if lora_request is None:
            return "base"
        if not self._further.enable_lora:
            raise ValueError(
                f"Got lora_request {lora_request} but LoRA is not enabled!"
            )
        name = self._adapters.setdefault(lora_request.lora_int_id, lora_request)
        assert name == lora_request, "two adapters of one number"
        config = Path(lora_request.lora_path) / "adapter_config.json"
        rank = json.loads(config.read_text("utf-8"))["r"]
        if rank > self._further.max_lora_rank:
            raise ValueError(
                f"LoRA rank {rank} is greater than max_lora_rank "
                f"{self._further.max_lora_rank}."
            )
        self._reciter.tune(lora_request.lora_name, [], epochs=1)
        return lora_request.lora_name
