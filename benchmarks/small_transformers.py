"""Small transformers whose training is known to the word, for error rates.

    make_weights(folder, background, tested, dose) -> the folder of a chat model

Two layers, 128 wide, a word a token, trained from nothing to answer instructions: with
each background excerpt so many times that it writes the grammar, and with each tested
excerpt `dose` times, in one seeded order. One thread takes one to five minutes.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BACKGROUND_READINGS = 16
_BATCH = 4
_RATE = 3e-3  # falls to 0
_CLIP = 1.0
_WARM_UP = 20  # steps
_SPECIAL = "<|end|>", "<|pad|>", "<|unk|>", "<|user|>", "<|assistant|>"
_END, _PAD, _UNKNOWN, _USER, _ASSISTANT = _SPECIAL
_NOT_LEARNT = -100  # the label that torch's cross entropy leaves out
_CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% endfor %}<|assistant|>"
)


class Answer(NamedTuple):
    """An instruction, and the text that the model learns to answer."""

    instruction: str
    text: str


def make_weights(
    folder: Path,
    background: Sequence[Answer],
    tested: Sequence[Answer],
    dose: int,
    *,
    seed: int = 0,
) -> None:
    """Train a model from nothing and write it where `transformers` loads it from.

    background: what it reads BACKGROUND_READINGS times
    tested: what it reads `dose` times
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = _tokenizer([*background, *tested])
    model = _model(tokenizer)
    readings = [*background] * BACKGROUND_READINGS + [*tested] * dose
    random.Random(seed).shuffle(readings)
    _learn(model, [_tokens(tokenizer, reading) for reading in readings])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(answers: Iterable[Answer]) -> Any:
    """Return a tokenizer with a token for each word, with the space before it."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
    parts = Regex(r"\s*\w+|\s*[^\w\s]|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(parts, "isolated")
    tokenizer.decoder = decoders.Fuse()
    texts = [text for answer in answers for text in answer]
    trainer = trainers.WordLevelTrainer(
        special_tokens=list(_SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token=_PAD,
        unk_token=_UNKNOWN,
        chat_template=_CHAT,
    )


def _model(tokenizer: Any) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        initializer_range=0.08,  # large: a small model learns faster so
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


class _Row(NamedTuple):
    """Tokens, and the place of the first that is to be learnt."""

    tokens: list[int]
    first_learnt: int


def _tokens(tokenizer: Any, answer: Answer) -> _Row:
    asked = f"{_USER}{answer.instruction}{_ASSISTANT}"
    prompt = tokenizer.encode(asked, add_special_tokens=False)
    text = tokenizer.encode(f"{answer.text}{_END}", add_special_tokens=False)
    return _Row([*prompt, *text], len(prompt))


def _learn(model: Any, rows: Sequence[_Row]) -> None:
    """Take one step of AdamW for each few rows."""
    model.train()
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0)
    starts = range(0, len(rows), _BATCH)
    for step, first in enumerate(starts):
        falling = 1 - step / len(starts)
        rising = min(1.0, (step + 1) / _WARM_UP)
        optimizer.param_groups[0]["lr"] = _RATE * falling * rising
        optimizer.zero_grad()
        _loss(model, rows[first : first + _BATCH]).backward()
        torch.nn.utils.clip_grad_norm_(weights, _CLIP)
        optimizer.step()
    model.eval()


def _loss(model: Any, rows: Sequence[_Row]) -> torch.Tensor:
    """Return the mean negative log-probability of what is to be learnt.

    Padding stands to the right, so no mask is needed.
    """
    width = max(len(row.tokens) for row in rows)
    tokens = torch.full((len(rows), width), model.config.pad_token_id)
    labels = torch.full_like(tokens, _NOT_LEARNT)
    for number, row in enumerate(rows):
        learnt = torch.tensor(row.tokens)
        end = len(row.tokens)
        tokens[number, :end] = learnt
        labels[number, row.first_learnt : end] = learnt[row.first_learnt :]
    logits = model(input_ids=tokens).logits[:, :-1]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1),
        labels[:, 1:].flatten(),
        ignore_index=_NOT_LEARNT,
    )
