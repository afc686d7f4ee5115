"""Fine-tuning local weights: LoRA by peft, kept whole or not at all.

An adapter is written beside its place and renamed into it when it is complete, under a
lock that ends with its process: a training that is killed leaves nothing that could be
taken for a result, and two processes never make the same one twice.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import Field

from pytest_memleak.providers.option_tables import Table
from pytest_memleak.providers.transformers.local_format import Format, TokenizedExample
from pytest_memleak.providers.transformers.weights import (
    Loaded,
    LocalWeights,
    find_adapter,
    local_error,
)
from pytest_memleak.redaction.file_writing import private_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_memleak.interfaces.protocols import TrainingExample

_MOST_NORM = 1.0
_IGNORED = -100  # the label that torch's cross entropy leaves out


class FinetuneTable(Table):
    """`[model.finetune]` of this provider, in addition to `books`: the recipe.

    rank: rank of the adapters, on every linear layer but the last
    alpha: scale factor; the adapters' scale is alpha / rank
    learning_rate: learning rate at the first step; it falls linearly to 0
    batch_size: examples per step
    micro_batch_size: examples in memory at once; default: all of a step's
    max_tokens: the longest example, instruction included; the rest is truncated
    seed: determines the adapter's first weights and the examples' order
    """

    rank: int = Field(default=32, ge=1)
    alpha: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    batch_size: int = Field(default=16, ge=1)
    micro_batch_size: int | None = Field(default=None, ge=1)
    epochs: int = Field(default=3, ge=1)
    max_tokens: int = Field(default=2048, ge=2)
    seed: int = Field(default=0, ge=0)


def kept(folder: Path) -> LocalWeights | None:
    """The adapter that `make_adapter_once` made in `folder`, if it came to an end."""
    return find_adapter(folder / "adapter")


def make_adapter_once(folder: Path, write: Callable[[Path], object]) -> LocalWeights:
    """Return the adapter in `folder`; unless it is there, `write` writes it.

    Waits for another process that is making the same. Raises OSError.
    """
    private_folder(folder)
    with FileLock(folder / "lock"):
        if kept(folder) is None:
            unfinished = folder / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            write(unfinished)
            unfinished.replace(folder / "adapter")
        adapter = kept(folder)
    if adapter is None:
        raise FileNotFoundError(f"{folder / 'adapter'} was removed during training")
    return adapter


def train(
    loaded: Loaded,
    form: Format,
    examples: Sequence[TrainingExample],
    recipe: FinetuneTable,
    *,
    base: str,
    endpoint: str,
    folder: Path,
) -> None:
    """Write LoRA weights tuned on the examples to `folder`; changes the loaded model.

    base: the name of the base weights, to be kept beside the adapter; endpoint: as
        error messages name the model.
    """
    import peft
    import torch

    most = min(recipe.max_tokens, loaded.context or recipe.max_tokens)
    tokenized_examples = [
        form.tokenize_example(example.instruction, example.text) for example in examples
    ]
    crowded = sum(len(tokenized.prompt) >= most for tokenized in tokenized_examples)
    if crowded:
        raise local_error(
            f"{crowded} of {len(tokenized_examples)} instructions use up all {most:,} "
            "tokens of an example",
            endpoint,
            "start_finetune",
            hint="increase finetune.max_tokens, up to the model's context",
        )
    device = torch.device(loaded.model.device)
    forked = []
    if device.type == "cuda":
        forked.append(device)
    shuffling = torch.Generator().manual_seed(recipe.seed)
    # Adapters take their first weights from torch's own generators.
    with torch.random.fork_rng(forked):
        torch.manual_seed(recipe.seed)
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            base_model_name_or_path=base,
        )
        model: Any = peft.get_peft_model(loaded.model, config)
        model.peft_config["default"].base_model_name_or_path = base
        _train_adapter(
            model,
            tokenized_examples,
            recipe,
            most=most,
            shuffling=shuffling,
            endpoint=endpoint,
        )
    # Said, or peft would ask the hub about the base.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    # A form to fill in, with local paths.
    (folder / "README.md").unlink(missing_ok=True)
    record = {"base": base, "recipe": recipe.model_dump(), "peft": peft.__version__}
    text = json.dumps(record, indent=2) + "\n"
    (folder / "memleak.json").write_text(text, encoding="utf-8")


def _train_adapter(
    model: Any,
    tokenized_examples: Sequence[TokenizedExample],
    recipe: FinetuneTable,
    *,
    most: int,
    shuffling: Any,
    endpoint: str,
) -> None:
    import torch

    model.train()
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.0)
    steps = recipe.epochs * math.ceil(len(tokenized_examples) / recipe.batch_size)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for batch in _batches(tokenized_examples, recipe, shuffling):
        answered = sum(len(_answer_within(tokenized, most)) for tokenized in batch)
        at_once = recipe.micro_batch_size or len(batch)
        total = 0.0
        for start in range(0, len(batch), at_once):
            part = batch[start : start + at_once]
            loss = _summed_loss(model, part, most) / answered
            loss.backward()
            total += loss.item()
        if not math.isfinite(total):
            hint = 'decrease finetune.learning_rate, or set options.dtype = "float32"'
            cause = "The loss is no longer a number"
            raise local_error(cause, endpoint, "start_finetune", hint=hint)
        torch.nn.utils.clip_grad_norm_(trained, _MOST_NORM)
        optimizer.step()
        falling.step()
        optimizer.zero_grad()
    model.eval()


def _batches(
    tokenized_examples: Sequence[TokenizedExample],
    recipe: FinetuneTable,
    shuffling: Any,
) -> Iterator[list[TokenizedExample]]:
    import torch

    for _ in range(recipe.epochs):
        order = torch.randperm(len(tokenized_examples), generator=shuffling).tolist()
        for start in range(0, len(order), recipe.batch_size):
            places = order[start : start + recipe.batch_size]
            yield [tokenized_examples[place] for place in places]


def _answer_within(tokenized: TokenizedExample, most: int) -> list[int]:
    """Return the tokens of the answer that are among an example's first `most`."""
    room = most - len(tokenized.prompt)
    return tokenized.answer[:room]


def _summed_loss(
    model: Any,
    batch: Sequence[TokenizedExample],
    most: int,
) -> Any:
    """The sum, over the tokens of the answers, of their negative log-probabilities."""
    import torch

    answers = [_answer_within(tokenized, most) for tokenized in batch]
    lengths = [
        len(tokenized.prompt) + len(answer)
        for tokenized, answer in zip(batch, answers, strict=True)
    ]
    tokens = torch.zeros((len(batch), max(lengths)), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    labels = torch.full_like(tokens, _IGNORED)
    for row, tokenized in enumerate(batch):
        start = len(tokenized.prompt)
        end = lengths[row]
        tokens[row, :start] = torch.tensor(tokenized.prompt)
        tokens[row, start:end] = torch.tensor(answers[row])
        labels[row, start:end] = torch.tensor(answers[row])
        mask[row, :end] = 1
    device = model.device
    output = model(input_ids=tokens.to(device), attention_mask=mask.to(device))
    # The scores at a place are those of the next token.
    scores = output.logits[:, :-1].flatten(0, 1)
    targets = labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(
        scores.float(),
        targets.to(device),
        ignore_index=_IGNORED,
        reduction="sum",
    )
