"""How probable a given text is to local weights: nothing needed but a model and its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_memleak.interfaces.protocols import WindowLogs
from pytest_memleak.providers.transformers.local_format import beginning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.interfaces.protocols import Window


def log_probabilities(
    model: Any,
    tokenizer: Any,
    windows: Sequence[Window],
    *,
    top_k: int,
    temperature: float,
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
        [[*first, *one.prefix, *one.suffix] for one in windows], device=model.device
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
