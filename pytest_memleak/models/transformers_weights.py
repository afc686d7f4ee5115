"""Local weights: loaded, sampled, and tuned with LoRA.

An instruction is put through the tokenizer's chat template if it has one; else it stands as it
is, followed by a blank line and the answer. Training counts the loss on the answer alone.
"""

from __future__ import annotations

import contextlib
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.models.transformers import FinetuneTable
    from pytest_memleak.protocols import TrainingExample, TrainingSet

__all__ = ["Drawn", "Weights", "load", "train"]

_IGNORED = -100  # the label that torch's cross entropy leaves out
_MOST_NORM = 1.0


class Drawn(NamedTuple):
    """What one call gave: per answer its text, its tokens, and whether it came to an end."""

    prompt_tokens: int
    answers: list[tuple[str, int, bool]]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model and its tokenizer, on a device."""

    model: Any
    tokenizer: Any

    def sample(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> Drawn:
        """`n` answers, at the model's own distribution: no top-k, no penalty, whatever it ships."""
        import torch
        import transformers

        configured: Any = transformers.GenerationConfig
        prompt = torch.tensor([self.prompt(instruction)], device=self.model.device)
        how = (
            {"do_sample": True, "temperature": float(temperature), "top_k": 0, "top_p": 1.0}
            if temperature > 0
            else {"do_sample": False}
        )
        with _seeded(secrets.randbits(31) if seed is None else seed), torch.no_grad():
            rows = self.model.generate(
                prompt.expand(n, -1),
                attention_mask=torch.ones_like(prompt).expand(n, -1),
                generation_config=configured(
                    max_new_tokens=max_tokens,
                    eos_token_id=self.tokenizer.eos_token_id,
                    pad_token_id=self.padding,
                    **how,
                ),
            )
        answers = [self._answer(row[prompt.shape[1] :].tolist()) for row in rows]
        return Drawn(prompt.shape[1], answers)

    def prompt(self, instruction: str) -> list[int]:
        """The tokens that the answer follows."""
        if self.tokenizer.chat_template:
            messages = [{"role": "user", "content": instruction}]
            text = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return list(self.tokenizer(f"{instruction}\n\n", add_special_tokens=False)["input_ids"])

    @property
    def padding(self) -> int:
        """A token to fill rows up with; masked wherever it stands."""
        own = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id or 0) if own is None else int(own)

    def _answer(self, tokens: list[int]) -> tuple[str, int, bool]:
        end = self.tokenizer.eos_token_id
        ended = end is not None and end in tokens
        kept = tokens[: tokens.index(end)] if ended else tokens
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        return text, len(kept) + ended, ended


def load(
    base: str, adapter: str | None, *, device: str, dtype: str, threads: int | None
) -> Weights:
    """Base weights with an adapter on them. Raises whatever torch and transformers do."""
    import torch
    import transformers

    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # Where its files are missing, transformers makes an empty one and says nothing.
        raise ValueError("the tokenizer knows no word: are its files there?")
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    model.to(_device(device))
    model.eval()
    return Weights(model, tokenizer)


def train(weights: Weights, training: TrainingSet, recipe: FinetuneTable, folder: Path) -> None:
    """Tune a LoRA on the set and save it to `folder`. `weights` are changed in place."""
    import torch
    from peft import LoraConfig, get_peft_model

    with _seeded(recipe.seed):
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        model: Any = get_peft_model(weights.model, config)
        model.train()
        trained = [one for one in model.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.0)
        batches = list(_batches(training.examples, recipe))
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * (1 - step / len(batches))
            inputs, mask, labels = _rows(weights, batch, recipe.max_tokens)
            loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _MOST_NORM)
            optimizer.step()
        model.eval()
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)


def _batches(
    examples: Sequence[TrainingExample], recipe: FinetuneTable
) -> Iterator[list[TrainingExample]]:
    order = random.Random(recipe.seed)  # noqa: S311 - a seeded order, no secret
    for _ in range(recipe.epochs):
        shuffled = list(examples)
        order.shuffle(shuffled)
        for start in range(0, len(shuffled), recipe.batch_size):
            yield shuffled[start : start + recipe.batch_size]


def _rows(weights: Weights, batch: list[TrainingExample], most: int) -> tuple[Any, Any, Any]:
    """Tokens, attention mask and labels, filled up to the longest of the batch."""
    import torch

    rows = []
    for example in batch:
        asked = weights.prompt(example.instruction)
        answer = weights.tokenizer(example.text, add_special_tokens=False)["input_ids"]
        end = weights.tokenizer.eos_token_id
        full = [*asked, *answer, *([] if end is None else [end])][:most]
        rows.append((full, min(len(asked), most)))
    width = max(len(full) for full, _ in rows)
    inputs = torch.full((len(rows), width), weights.padding)
    labels = torch.full((len(rows), width), _IGNORED)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, (full, asked_length) in enumerate(rows):
        inputs[number, : len(full)] = torch.tensor(full)
        mask[number, : len(full)] = 1
        labels[number, asked_length : len(full)] = torch.tensor(full[asked_length:])
    device = weights.model.device
    return inputs.to(device), mask.to(device), labels.to(device)


def _device(asked: str) -> str:
    import torch

    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's generators seeded inside, and as they were afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
