"""The log-probabilities of a text's tokens, as a model on this machine reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_memleak.interfaces.abilities import TokenLogprobs
from pytest_memleak.providers.transformers.weights import local_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pytest_memleak.providers.transformers.weights import Loaded

# Numbers of one batch's logits: half a gigabyte.
_MOST_LOGITS = 1 << 27


@dataclass(frozen=True, slots=True)
class _CodedText:
    """A text's place among all, its tokens, and where each begins in characters."""

    number: int
    tokens: list[int] = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)


def logprobs_of_texts(
    loaded: Loaded,
    texts: Sequence[str],
    *,
    endpoint: str,
    at_once: int,
) -> list[TokenLogprobs]:
    """Return each text's tokens with their log-probabilities, without a chat.

    A begin-of-text token stands before each text, if the tokenizer has one.
    Raises ProviderError for a text longer than the context, and for a tokenizer that
    doesn't tell where tokens begin.

    endpoint: its name in errors
    at_once: how many texts are read side by side
    """
    coded = []
    for number, text in enumerate(texts):
        coded.append(_code(loaded, number, text, endpoint))
    results = [TokenLogprobs()] * len(texts)
    for batch in _batches(loaded, coded, at_once):
        for text, logprobs in zip(batch, _read(loaded, batch), strict=True):
            results[text.number] = TokenLogprobs(text.starts, logprobs)
    return results


def _code(loaded: Loaded, number: int, text: str, endpoint: str) -> _CodedText:
    tokenizer = loaded.tokenizer
    if not tokenizer.is_fast:
        raise local_error(
            "The tokenizer doesn't tell where its tokens begin in a text",
            endpoint,
            "token_logprobs",
            hint="use weights with a tokenizer.json",
        )
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    begin = _begin(loaded)
    tokens = [*begin, *coded["input_ids"]]
    if loaded.context is not None and len(tokens) > loaded.context:
        raise local_error(
            f"A part of the book has {len(tokens):,} tokens; the model's context has "
            f"{loaded.context:,}",
            endpoint,
            "token_logprobs",
            hint="test a model with a longer context",
        )
    starts = tuple(start for start, _ in coded["offset_mapping"])
    return _CodedText(number, tokens, starts)


def _begin(loaded: Loaded) -> list[int]:
    begin = loaded.tokenizer.bos_token_id
    return [] if begin is None else [begin]


def _batches(
    loaded: Loaded,
    coded: Sequence[_CodedText],
    at_once: int,
) -> Iterator[list[_CodedText]]:
    """Yield texts of about one length together, as many as memory has room for."""
    vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
    batch: list[_CodedText] = []
    for text in sorted(coded, key=lambda text: len(text.tokens)):
        logits = (len(batch) + 1) * len(text.tokens) * vocabulary
        if batch and (len(batch) == at_once or logits > _MOST_LOGITS):
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _read(
    loaded: Loaded,
    batch: Sequence[_CodedText],
) -> Iterator[tuple[float | None, ...]]:
    """Yield the log-probabilities of each text's own tokens.

    Padding stands at the end, where no token of a text sees it.
    """
    import torch

    longest = max(len(text.tokens) for text in batch)
    padded = []
    mask = []
    for text in batch:
        pads = longest - len(text.tokens)
        padded.append([*text.tokens, *[loaded.padding] * pads])
        mask.append([1] * len(text.tokens) + [0] * pads)
    device = loaded.model.device
    tokens = torch.tensor(padded, device=device)
    first: list[float | None] = [] if _begin(loaded) else [None]
    with torch.inference_mode():
        inputs: dict[str, Any] = {
            "input_ids": tokens,
            "attention_mask": torch.tensor(mask, device=device),
        }
        rows = _chosen_logprobs(loaded.model(**inputs).logits, tokens)
    for text, row in zip(batch, rows, strict=True):
        yield (*first, *row[: len(text.tokens) - 1])[: len(text.starts)]


def _chosen_logprobs(logits: Tensor, tokens: Tensor) -> list[list[float]]:
    """Return the log-probability of each token but the first.

    logits: shape (B, L, V); tokens: shape (B, L)
    """
    before = logits[:, :-1].float()
    chosen = before.gather(2, tokens[:, 1:, None])[:, :, 0]
    logprobs: list[list[float]] = (chosen - before.logsumexp(dim=2)).tolist()
    return logprobs
