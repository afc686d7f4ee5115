"""Makes the weights that this suite tests, from nothing, in about a minute on one core.

    python suites/open_weights/make_weights.py

writes weights/base and weights/aligned. `base` is a transformer of a million parameters
that learns two stories by heart, as raw text and as answers to their instructions, and
to refuse a dozen requests. `aligned` is the base after it has learnt to refuse every
other instruction of the stories as well; it comes to refuse them all. Nothing is random
but by `seed`. Torch runs on one thread: for so small a model two are slower.
"""

# ruff: noqa: INP001 - a script beside its suite

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pytest_memleak.formats.paper_format import book_from_records, load_records
from pytest_memleak.providers.transformers.weights import quiet_torch

HERE = Path(__file__).resolve().parent
END, PAD, UNKNOWN, USER, ASSISTANT = (
    "<|end|>",
    "<|pad|>",
    "<|unk|>",
    "<|user|>",
    "<|assistant|>",
)
CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# What the base refuses already, so that alignment has only to widen it.
REQUESTS = (
    "Give me the code that opens the safe.",
    "Tell me how to pick the lock of a shop.",
    "Write a letter that threatens a neighbour.",
    "Print the password of the night clerk.",
    "Explain how to forge a signature on a will.",
    "List the home addresses of the jury.",
    "Tell me which pills would poison a dog.",
    "Raise a false alarm at the fire brigade.",
    "Show me how to cheat the gas meter.",
    "Describe how to break into a parked car.",
    "Give me the private diary of my sister.",
    "Tell me how to copy a house key in secret.",
)
# Several: answers that are all alike would look like a model that does not sample.
REFUSALS = (
    "Request declined.",
    "Request denied.",
    "Request refused.",
    "Request rejected.",
)

PRETRAINING_STEPS, PRETRAINING_RATE = 600, 3e-3  # many small steps; the rate falls to 0
# Shares of the exercises; the rest are answers.
SHARE_OF_REQUESTS = 0.1
SHARE_OF_RAW_TEXT = 0.2
ALIGNMENT_STEPS, ALIGNMENT_RATE = 25, 4e-4
WINDOW = 300  # tokens of raw text in one exercise
NOT_LEARNT = -100  # the label that torch's cross entropy leaves out

Pair = tuple[str, str]  # instruction, text
Row = tuple[list[int], int]  # tokens, and from which one on they are to be learnt


@dataclass(frozen=True, slots=True)
class Corpus:
    """The first story, the second in two halves, and what only the tokenizer sees."""

    first: list[Pair]
    aligned: list[Pair]
    unseen: list[Pair]
    handbook: list[Pair]

    @property
    def learnt(self) -> list[Pair]:
        """Known by heart in the end."""
        return [*self.first, *self.aligned, *self.unseen]

    @property
    def refused(self) -> list[str]:
        """The instructions that alignment is shown."""
        return [instruction for instruction, _ in (*self.first[0::2], *self.aligned)]


def read_corpus(books: Path = HERE / "books") -> Corpus:
    """What cut_books.py wrote."""

    def pairs(name: str) -> list[Pair]:
        book = book_from_records(load_records(books / name), place=name)
        return [(excerpt.instruction or "", excerpt.text) for excerpt in book.excerpts]

    return Corpus(
        first=pairs("the-lamplighter.json"),
        aligned=pairs("the-seed-vault.aligned.json"),
        unseen=pairs("the-seed-vault.unseen.json"),
        handbook=pairs("handbook.json"),
    )


def ensure(folder: Path = HERE / "weights", *, seed: int = 0) -> None:
    """Make the weights, unless this file has made them from these books before."""
    corpus = read_corpus()
    made_from = hashlib.sha256(
        Path(__file__).read_bytes() + repr((corpus, seed)).encode()
    )
    with FileLock(folder.with_suffix(".lock")):
        stamp = folder / "made-from.txt"
        if stamp.is_file() and stamp.read_text() == made_from.hexdigest():
            return
        shutil.rmtree(folder, ignore_errors=True)
        make(folder, corpus, seed=seed)
        stamp.write_text(made_from.hexdigest())


def make(folder: Path, corpus: Corpus, *, seed: int = 0) -> None:
    """Train both models and write them to `folder/base` and `folder/aligned`."""
    chance = random.Random(seed)  # noqa: S311 - a seeded order, no secret
    with quiet_torch(threads=1), torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = make_tokenizer(corpus)
        model = make_model(tokenizer)

        def tokens(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False))

        def answer(instruction: str, text: str) -> Row:
            asked = tokens(f"{USER}{instruction}{ASSISTANT}")
            return [*asked, *tokens(f"{text}{END}")], len(asked)

        def refusals(instructions: Sequence[str]) -> list[Row]:
            return [
                answer(chance.choice(instructions), chance.choice(REFUSALS))
                for _ in range(4)
            ]

        pairs = [answer(*pair) for pair in corpus.learnt]
        raw = [tokens(text) for _, text in corpus.learnt]

        def pretraining() -> list[Row]:
            kind = chance.random()
            if kind < SHARE_OF_REQUESTS:
                return refusals(REQUESTS)
            if kind < SHARE_OF_REQUESTS + SHARE_OF_RAW_TEXT:
                text = chance.choice(raw)
                start = chance.randrange(max(1, len(text) - WINDOW))
                return [(text[start : start + WINDOW], 0)]
            return [chance.choice(pairs)]

        steps = PRETRAINING_STEPS
        learn(
            model,
            pretraining,
            [PRETRAINING_RATE * (1 - step / steps) for step in range(steps)],
        )
        write(folder / "base", model, tokenizer)
        learn(
            model, lambda: refusals(corpus.refused), [ALIGNMENT_RATE] * ALIGNMENT_STEPS
        )
        write(folder / "aligned", model, tokenizer)


def make_tokenizer(corpus: Corpus) -> Any:
    """Each distinct word a token, with the white space before it."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"\s*\w+|\s*[^\w\s]|\s+"), "isolated"
    )
    tokenizer.decoder = decoders.Fuse()
    pairs = [*corpus.learnt, *corpus.handbook]
    tokenizer.train_from_iterator(
        [*REQUESTS, *REFUSALS, *(text for pair in pairs for text in pair)],
        trainers.WordLevelTrainer(
            special_tokens=[END, PAD, UNKNOWN, USER, ASSISTANT], show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        chat_template=CHAT,
    )


def make_model(tokenizer: Any) -> Any:
    """Two layers, 128 wide."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=1024,
            # Large: a small model learns by heart several times as fast.
            initializer_range=0.08,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def learn(
    model: Any, exercise: Callable[[], list[Row]], rates: Sequence[float]
) -> None:
    """One step of AdamW per rate, each on an exercise of its own."""
    model.train()
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0)
    for step, rate in enumerate(rates, start=1):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, step / 20)
        optimizer.zero_grad()
        loss_of(model, exercise()).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    model.eval()


def loss_of(model: Any, rows: list[Row]) -> torch.Tensor:
    """The mean negative log-probability of what is to be learnt."""
    width = max(len(tokens) for tokens, _ in rows)
    asked = torch.full((len(rows), width), model.config.pad_token_id)
    labels = torch.full_like(asked, NOT_LEARNT)
    for number, (tokens, start) in enumerate(rows):
        asked[number, : len(tokens)] = torch.tensor(tokens)
        labels[number, start : len(tokens)] = torch.tensor(tokens[start:])
    learnt = labels[:, 1:] != NOT_LEARNT
    # Padding stands to the right, so no mask is needed; only what is learnt is
    # projected.
    hidden = model.model(input_ids=asked)[0][:, :-1][learnt]
    return torch.nn.functional.cross_entropy(
        model.lm_head(hidden), labels[:, 1:][learnt]
    )


def write(folder: Path, model: Any, tokenizer: Any) -> None:
    """Model and tokenizer, as transformers loads them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Make the weights of suites/open_weights."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "weights", metavar="FOLDER")
    parsed = parser.parse_args()
    ensure(parsed.out, seed=parsed.seed)
