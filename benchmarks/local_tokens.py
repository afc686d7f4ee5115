"""Tokens that a processor second samples from local weights (`transformers`).

    python benchmarks/local_tokens.py               # a Llama of SmolLM2-135M's shape
    python benchmarks/local_tokens.py --small       # one of 7 million parameters

The weights are random, so that nothing is downloaded; 32 generations of 40 tokens, one
thread. To compare releases, run it from another checkout with `PYTHONPATH` set to each:
the last column is the same where the texts are.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.providers.transformers.transformers_provider import (
    TransformersProvider,
)
from pytest_memleak.records import Model

GENERATIONS, TOKENS = 32, 40
SENTENCE = "The lamp went over the quay, and nobody saw it go. "
SMOLLM2 = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1_536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
SMALL = {
    "vocab_size": 8_192,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def save_weights(folder: Path, shape: dict[str, int]) -> None:
    """Save a Llama of random weights, with a tokenizer of bytes."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        [SENTENCE], 300, special_tokens=["</s>"], show_progress=False
    )
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>"
    )
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **shape,
        max_position_embeddings=4_096,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=wrapped.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def measure(base: Path, sentences: int, options: dict[str, Any]) -> str:
    """One line of the table."""
    model = Model("local", "transformers", str(base), options={"threads": 1, **options})
    setup = ProviderSetup(model, "benchmark", base, base, lambda _: {})
    endpoint = TransformersProvider(setup).open(None)
    endpoint.sample(
        "Hello", n=1, temperature=1.0, max_tokens=2, seed=0
    )  # loads the weights
    start = time.process_time()
    completions = endpoint.sample(
        SENTENCE * sentences, n=GENERATIONS, temperature=1.0, max_tokens=TOKENS, seed=1
    )
    seconds = time.process_time() - start
    tokens = sum(completion.completion_tokens or 0 for completion in completions)
    digest = hashlib.sha256(
        repr([completion.text for completion in completions]).encode()
    )
    side_by_side = options.get("completions_per_call", "default")
    return (
        f"| {completions[0].prompt_tokens} | {side_by_side} | {tokens / seconds:.1f} "
        f"| {digest.hexdigest()[:8]} |"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--small", action="store_true", help="7 million parameters, in seconds"
    )
    shape = SMALL if parser.parse_args().small else SMOLLM2
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        save_weights(base, shape)
        print(
            "| prompt tokens | completions_per_call | tokens per processor second | "
            "texts |"
        )
        print("| ---: | ---: | ---: | --- |")
        for sentences in (1, 4):
            for options in (
                {},
                {"completions_per_call": 8},
                {"completions_per_call": 32},
            ):
                print(measure(base, sentences, options), flush=True)


if __name__ == "__main__":
    main()
