"""A suite for weights on this machine: a model that knows nothing, fine-tuned and drawn from.

Nobody else keeps books here, so a run is held against what an earlier one has left: the LoRA
weights, which are made once, and the ledger.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from accounts import complete, contents
from scenarios import SUITE, toml_lines

MODEL = """
[[model]]
id = "{name}"
provider = "transformers"
base_model = "{base}"
{recipe}
[model.options]
{options}
"""
FINETUNE = {"books": ["training"], "epochs": 2, "batch_size": 1}
OPTIONS = {"threads": 1, "device": "cpu", "completions_per_call": 4}


@dataclass
class LocalWeights:
    base: Path
    folder: Path
    stories: Mapping[str, list[dict[str, Any]]] = field(repr=False)
    kind: str = "transformers"
    verdict: str = "PASS"
    _made: dict[Path, int] = field(default_factory=dict)

    @property
    def environment(self):
        return {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

    @property
    def in_flight(self):
        """How many calls one process makes at once."""
        return 1

    def calls(self):
        """Grows when a run is at work."""
        return len(list((self.folder / ".memleak").rglob("*")))

    def write_suite(
        self, folder, *, samples, models=("tuned",), tuned=True, concurrency=1, **options
    ):
        """Write the suite and its books; `tuned=False` draws from the base weights.

        There is no `concurrency` but one. options: of the model.
        """
        for name, records in self.stories.items():
            (folder / f"{name}.json").write_text(json.dumps(records), "utf-8")
        recipe = f"[model.finetune]\n{toml_lines(FINETUNE)}" if tuned else ""
        suite = SUITE.format(
            samples=samples, max_unanswered=0.5, limit=30
        )  # of random weights, some are empty
        for name in models:
            suite += MODEL.format(
                name=name, base=self.base, recipe=recipe, options=toml_lines({**OPTIONS, **options})
            )
        (folder / "run.memleak.toml").write_text(suite, "utf-8")

    def look(self):
        """After each run: weights that are there are never made again, nor are others."""
        kept = self.folder / ".memleak" / "transformers"
        found = kept.glob("*/adapter/adapter_model.safetensors")
        made = {path: path.stat().st_mtime_ns for path in found}
        assert self._made.items() <= made.items()
        assert len(made) <= 1
        self._made = made

    def settle(self, url, *, samples, hits):
        """Everything was drawn, once, from weights that were made once."""
        ledger = contents(url)
        complete(ledger, samples, excerpts=len(self.stories["held-out"]))
        (job,) = ledger.jobs
        assert job.state == "succeeded"
        assert len(self._made) == 1
        assert len(ledger.by_state("lost")) <= hits * self.in_flight
        return ledger


def make_weights(folder, texts):
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package)
    from tinker_words import save_tokenizer
    from tiny_weights import save_llama
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_tokenizer(folder, texts))
    return save_llama(
        folder, len(tokenizer), (32, 32, 1, 2, 1024), eos_token_id=tokenizer.eos_token_id
    )
