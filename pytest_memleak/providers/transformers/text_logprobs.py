"""The log-probabilities of a text's tokens, as a model on this machine reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_memleak.interfaces.abilities import TokenLogprobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pytest_memleak.providers.transformers.weights import Loaded

# Numbers of one batch's logits: half a gigabyte.
_MOST_LOGITS = 1 << 27


def logprobs_of_texts(
    loaded: Loaded,
    texts: Sequence[str],
    *,
    at_once: int,
) -> Iterator[TokenLogprobs]:
    """Yield each text's tokens with their log-probabilities, without a chat.

    A begin-of-text token stands before each text, if the tokenizer has one.

    at_once: how many texts are read side by side, where memory has room for them
    """
    begins = []
    if loaded.tokenizer.bos_token_id is not None:
        begins.append(loaded.tokenizer.bos_token_id)
    coded = loaded.tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
    )
    rows = [[*begins, *tokens] for tokens in coded["input_ids"]]
    size = min(at_once, _most_rows(loaded, rows))
    logprobs: list[list[float | None]] = []
    for first in range(0, len(rows), size):
        logprobs += _logprobs_of_rows(loaded, rows[first : first + size])
    for offsets, row in zip(coded["offset_mapping"], logprobs, strict=True):
        starts = tuple(start for start, _ in offsets)
        yield TokenLogprobs(starts, tuple(row[len(begins) :]))


def _most_rows(loaded: Loaded, rows: Sequence[Sequence[int]]) -> int:
    """Return how many rows memory has room for; 1 at least."""
    vocabulary: int = loaded.model.get_output_embeddings().weight.shape[0]
    longest = max(map(len, rows))
    return max(1, _MOST_LOGITS // (vocabulary * longest))


def _logprobs_of_rows(
    loaded: Loaded,
    rows: Sequence[Sequence[int]],
) -> list[list[float | None]]:
    """Return the log-probability of each token; None for the first of a row.

    Rows are filled up at their end, where no token of a text sees it.
    """
    import torch

    longest = max(map(len, rows))
    filled = []
    masks = []
    for row in rows:
        padding = longest - len(row)
        filled.append([*row, *[loaded.padding] * padding])
        masks.append([1] * len(row) + [0] * padding)
    device = loaded.model.device
    tokens = torch.tensor(filled, device=device)
    inputs: dict[str, Any] = {
        "input_ids": tokens,
        "attention_mask": torch.tensor(masks, device=device),
    }
    with torch.inference_mode():
        output = loaded.model(**inputs)
    before: Tensor = output.logits[:, :-1].float()
    chosen = before.gather(2, tokens[:, 1:, None])[:, :, 0]
    logprobs = (chosen - before.logsumexp(dim=2)).tolist()
    return [
        [None, *values[: len(row) - 1]]
        for values, row in zip(logprobs, rows, strict=True)
    ]
