"""vLLM's engine in this process, loaded when an endpoint is first sampled.

It takes nearly all of a GPU's memory, so one is loaded at a time, and none while
torch's own models are (`MODEL_SLOT`). It serves its base weights, and every LoRA
adapter up to the rank that it was loaded for.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError
from pytest_memleak.providers.call_errors import safe_message
from pytest_memleak.providers.transformers.local_endpoint import MODEL_SLOT
from pytest_memleak.providers.transformers.weights import LocalWeights, local_error

if TYPE_CHECKING:
    from pytest_memleak.errors import ProviderError

PROVIDER = "vllm"

# vLLM's own list: an engine is loaded for one of these ranks.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)

# A user's own values stay. Engines are processes of their own, and a fork of this
# process, which has threads, could hang.
_QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine is loaded with.

    rank: the highest rank of an adapter; 0 without adapters
    memory: the share of a GPU's memory that it takes; None for vLLM's default
    context: the most tokens of prompt and completion; None for the model's
    gpus: that the weights are divided among
    """

    base: LocalWeights
    dtype: str
    rank: int = 0
    memory: float | None = None
    context: int | None = None
    gpus: int = 1

    def can_serve(self, others: EngineSettings) -> bool:
        """Tell whether an engine with these settings serves these others, too."""
        return replace(self, rank=others.rank) == others and self.rank >= others.rank


@dataclass(slots=True)
class LoadedEngine:
    """A loaded engine; `adapters` number the adapters that it has been given."""

    settings: EngineSettings
    llm: Any = field(repr=False)
    adapters: dict[LocalWeights, int] = field(default_factory=dict)

    def lora_request(self, adapter: LocalWeights | None) -> Any:
        """Return what has vLLM apply an adapter; None for the base alone."""
        if adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        # vLLM takes adapters of one number for the same.
        number = self.adapters.setdefault(adapter, len(self.adapters) + 1)
        return LoRARequest(
            lora_name=adapter.name,
            lora_int_id=number,
            lora_path=str(adapter.folder.resolve()),
        )


class EngineSlot:
    """The engine that is loaded, and who has it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._loaded: LoadedEngine | None = None

    @contextlib.contextmanager
    def holding(
        self,
        settings: EngineSettings,
        *,
        endpoint: str,
    ) -> Iterator[LoadedEngine]:
        """Yield an engine, loaded unless it is here; others wait until it is free.

        After an error it is of no use: requests may still be in it.
        """
        with self._lock:
            if self._loaded is None or not self._loaded.settings.can_serve(settings):
                self.clear()
                MODEL_SLOT.clear()
                self._loaded = LoadedEngine(settings, _load(settings, endpoint))
            try:
                yield self._loaded
            except BaseException:
                self.clear()
                raise

    def clear(self) -> None:
        """Let go of the engine: its process ends, and its memory is free."""
        with self._lock:
            if self._loaded is None:
                return
            self._loaded = None
            gc.collect()


ENGINE_SLOT = EngineSlot()


def rank_for(adapter: LocalWeights, endpoint: str) -> int:
    """Return the least of vLLM's ranks that an adapter fits in."""
    path = adapter.folder / "adapter_config.json"
    try:
        config = json.loads(path.read_bytes())
        own = max([config["r"], *(config.get("rank_pattern") or {}).values()])
        return next(rank for rank in _RANKS if own <= rank)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise engine_error(
            f"no rank from 1 to {_RANKS[-1]} in {path}",
            endpoint,
            hint="name LoRA weights as peft saves them",
        ) from None


def _load(settings: EngineSettings, endpoint: str) -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    chosen: dict[str, Any] = {}
    if settings.memory is not None:
        chosen["gpu_memory_utilization"] = settings.memory
    if settings.context is not None:
        chosen["max_model_len"] = settings.context
    if settings.rank:
        chosen |= {"enable_lora": True, "max_lora_rank": settings.rank}
    folder = str(settings.base.folder)
    with vllm_errors_as_provider_errors(endpoint, "load"):
        from vllm import LLM

        return LLM(
            model=folder,
            tokenizer=folder,
            dtype=settings.dtype,
            load_format="safetensors",
            trust_remote_code=False,
            tensor_parallel_size=settings.gpus,
            **chosen,
        )


@contextlib.contextmanager
def vllm_errors_as_provider_errors(
    endpoint: str,
    call: str,
    *,
    texts: Sequence[str] = (),
) -> Iterator[None]:
    """Raise what vLLM raises as ProviderError.

    texts: what was asked; a message that quotes any of them is withheld.
    """
    try:
        yield
    except MemleakError:
        raise
    except Exception as error:  # noqa: BLE001 - it raises anything
        cause = safe_message(str(error), texts=texts) or type(error).__name__
    else:
        return
    # Outside the handler: nothing that the error holds on to comes along.
    raise engine_error(cause, endpoint, call, hint=_HINTS[call])


_HINTS = {
    "load": "see vLLM's messages above; a smaller options.max_model_len needs less "
    "memory, and a smaller options.gpu_memory_utilization leaves more to others",
    "sample": "see vLLM's messages above; a long prompt needs a larger "
    "options.max_model_len, or a shorter summary",
}


def engine_error(
    cause: str,
    endpoint: str,
    call: str = "load",
    *,
    hint: str,
) -> ProviderError:
    """An error of this provider."""
    return local_error(cause, endpoint, call, hint=hint, provider=PROVIDER)
