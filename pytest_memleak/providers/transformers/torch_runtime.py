"""torch and transformers as guests: quiet, on so many threads, and with errors of this project.

with at_work(threads=1):
    ...
"""

from __future__ import annotations

import contextlib
import re
import warnings
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError, ProviderError
from pytest_memleak.providers.call_errors import safe_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROVIDER = "transformers"

_SHORT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory", re.IGNORECASE)


@contextlib.contextmanager
def at_work(*, threads: int | None) -> Iterator[None]:
    """No progress bars, log lines or warnings inside; torch on `threads` threads (None: as is).

    What was set before is set again afterwards. Torch keeps the number per thread, so it is
    said anew in whichever thread a call comes.
    """
    import torch
    from transformers.utils import logging

    log: Any = logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    threads_before = torch.get_num_threads()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
        if threads is not None:
            torch.set_num_threads(threads_before)


@contextlib.contextmanager
def failures_as(endpoint: str, call: str, *, texts: Sequence[str] = ()) -> Iterator[None]:
    """Whatever torch, transformers, peft and safetensors raise inside, as ProviderError.

    texts: what was asked or learnt; a message that quotes any of them is withheld.
    """
    hint = None
    try:
        yield
    except MemleakError:
        raise
    except Exception as error:  # noqa: BLE001 - these libraries raise anything
        said = str(error)
        if isinstance(error, MemoryError) or _SHORT_OF_MEMORY.search(said):
            cause = f"the device has not enough memory ({type(error).__name__})"
            hint = "set a smaller options.completions_per_call or finetune.micro_batch_size"
        else:
            cause = safe_message(said, texts=texts) or type(error).__name__
    else:
        return
    # Outside the handler: nothing that the error holds on to comes along.
    raise ProviderError(cause, provider=PROVIDER, endpoint=endpoint, call=call, hint=hint)
