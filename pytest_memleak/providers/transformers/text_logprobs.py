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
    coded = loaded.tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True
    )
    begin = loaded.tokenizer.bos_token_id
    begins = [] if begin is None else [begin]
    rows = [[*begins, *tokens] for tokens in coded["input_ids"]]
    vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
    fit = _MOST_LOGITS // (vocabulary * max(map(len, rows)))
    size = max(1, min(at_once, fit))
    logprobs: list[list[float]] = []
    for first in range(0, len(rows), size):
        logprobs += _logprobs_of_rows(loaded, rows[first : first + size])
    for offsets, row in zip(coded["offset_mapping"], logprobs, strict=True):
        # Without a begin of text, nothing is known of the first token.
        padded: list[float | None] = [*([] if begins else [None]), *row]
        starts = tuple(start for start, _ in offsets)
        yield TokenLogprobs(starts, tuple(padded[: len(starts)]))


def _logprobs_of_rows(
    loaded: Loaded,
    rows: Sequence[Sequence[int]],
) -> list[list[float]]:
    """Return the log-probability of each token but the first of its row.

    Rows are filled up at their end, where no token of a text sees it.
    """
    import torch

    longest = max(map(len, rows))
    filled = [[*row, *[loaded.padding] * (longest - len(row))] for row in rows]
    tokens = torch.tensor(filled, device=loaded.model.device)
    lengths = torch.tensor([len(row) for row in rows], device=tokens.device)
    mask = torch.arange(longest, device=tokens.device) < lengths[:, None]
    inputs: dict[str, Any] = {"input_ids": tokens, "attention_mask": mask.long()}
    with torch.inference_mode():
        logits: Tensor = loaded.model(**inputs).logits[:, :-1].float()
    chosen = logits.gather(2, tokens[:, 1:, None])[:, :, 0]
    values: list[list[float]] = (chosen - logits.logsumexp(dim=2)).tolist()
    return [each[: len(row) - 1] for each, row in zip(values, rows, strict=True)]
