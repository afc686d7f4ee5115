"""How often the gate is wrong: verdicts on models whose training is known to the word.

    python benchmarks/error_rates.py [--stories 20] [--seeds 5] [--doses 0 1 4 16 64]

Each model is an `ngram` model that read other stories, and each tested story so many
times (its dose): verbatim, or with every 7th word changed. `fine-tuned` models were
also fine-tuned on other stories, as the study fine-tunes. A case has a suite of its
own; each seed samples it anew. Writes results/error_rates.md, which docs/validation.md
summarizes, and the counts as JSON, which docs/figures/charts.py draws.

Stories come from a seeded grammar (`grammar_stories`), so that nobody's text is needed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grammar_stories import Story, story, summary, with_changes

from pytest_memleak.scoring.confidence_bounds import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).parent / "results" / "error_rates.md"
COUNTS = PAGE.with_suffix(".json")
DOSES = (0, 1, 4, 16, 64)
KINDS = ("verbatim", "every 7th word changed", "fine-tuned")
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")
_CONFIDENCE = 0.95
# The next word depends on the two before it, or on the four before it.
ORDERS = (3, 5)
_SAMPLES = 10
_BACKGROUND = 40
_FIRST_BACKGROUND_SEED = 10_000
_EXCERPT_WORDS = 350


class Case(NamedTuple):
    """A model of an order, what it read of the tested stories, and how often."""

    kind: str
    order: int
    dose: int


@dataclass(frozen=True)
class Verdicts:
    """How many pairs of a case got each verdict, and how many each limit failed."""

    verdicts: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return self.verdicts.total()

    def add(self, bundle: dict[str, Any]) -> None:
        """Count the pairs of an evidence bundle."""
        for pair in bundle["pairs"]:
            self.verdicts[pair["verdict"]] += 1
            for name, limit in pair["limits"].items():
                if pair["measures"][name]["value"] > limit["limit"]:
                    self.limits[name] += 1

    def rate(self, count: int) -> str:
        """Return a share of the pairs with its exact interval, in percent."""
        low, high = clopper_pearson(count, self.pairs, confidence=_CONFIDENCE)
        share = 100 * count / self.pairs
        return f"{share:.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def excerpts(told: Story) -> Iterator[str]:
    """Cut a story into excerpts of whole paragraphs."""
    part: list[str] = []
    count = 0
    for paragraph in told.paragraphs:
        part.append(paragraph)
        count += len(paragraph.split())
        if count >= _EXCERPT_WORDS:
            yield "\n\n".join(part)
            part = []
            count = 0
    if part:
        yield "\n\n".join(part)


def write_book(path: Path, told: Story, dice: random.Random) -> None:
    """Write a story as a book of the paper's records, with a summary per excerpt."""
    records = []
    for number, text in enumerate(excerpts(told), 1):
        words = len(text.split())
        asked = summary(text, dice)
        records.append(
            {
                "excerpt_id": f"p_id{number}",
                "excerpt_text": text,
                "detail": asked,
                "instruction": f"Write a {words} word part of a story. {asked}",
                "book_name": told.title,
                "author_name": "The grammar",
                "word_count": words,
            },
        )
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


def write_suite(
    folder: Path,
    case: Case,
    stories: Sequence[Story],
    seed: int,
) -> Path:
    """Write a case's suite with its books, and return the suite file."""
    dice = random.Random(str(case))
    books: list[tuple[str, str]] = []
    learned: list[str] = []
    for number, told in enumerate(stories):
        name = f"story-{number}"
        write_book(folder / f"{name}.json", told, dice)
        books.append((name, "test"))
        if case.kind == KINDS[1] and case.dose:
            copy = Story(told.title, tuple(_changed(told.paragraphs, dice)))
            write_book(folder / f"{name}-copy.json", copy, dice)
            books.append((f"{name}-copy", "train"))
            name = f"{name}-copy"
        learned += [name] * case.dose
    background = []
    for number in range(_BACKGROUND):
        name = f"background-{number}"
        told = story(_FIRST_BACKGROUND_SEED + number)
        write_book(folder / f"{name}.json", told, dice)
        books.append((name, "train"))
        background.append(name)
    half = len(background) // 2
    lines = [
        "[suite]",
        f"samples = {_SAMPLES}",
        f"seed = {seed}",
        "[limits]",
        'preset = "strict"',
        "[[model]]",
        'id = "model"',
        'provider = "ngram"',
        "[model.options]",
        f"order = {case.order}",
        f"pretraining = {json.dumps(background[:half] + learned)}",
    ]
    if case.kind == KINDS[2]:
        lines += ["[model.finetune]", f"books = {json.dumps(background[half:])}"]
    for name, role in books:
        lines += [
            "[[book]]",
            f'id = "{name}"',
            f'source = "{name}.json"',
            f'role = "{role}"',
        ]
    path = folder / "case.memleak.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _changed(paragraphs: Sequence[str], dice: random.Random) -> Iterator[str]:
    for paragraph in paragraphs:
        yield with_changes(paragraph, dice)


def run_case(case: Case, stories: Sequence[Story], seeds: Sequence[int]) -> Verdicts:
    """Run a case's suite once a seed, as a user would, and count the verdicts."""
    counted = Verdicts()
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            suite = write_suite(folder, case, stories, seed)
            evidence = folder / "evidence.json"
            command = [sys.executable, "-m", "pytest", "-q", "-m", "copyright"]
            command += ["-p", "no:cacheprovider", f"--rootdir={folder}", str(suite)]
            command += [f"--memleak-evidence={evidence}"]
            subprocess.run(command, cwd=folder, check=False, capture_output=True)
            counted.add(json.loads(evidence.read_text(encoding="utf-8")))
    return counted


def page(rows: dict[Case, Verdicts], stories: int, seeds: int) -> str:
    """Write the tables of verdicts and of limits, with exact intervals."""
    lines = [
        "# Error rates",
        "",
        f'Verdicts of `preset = "strict"` on {stories} stories with {seeds} seeds',
        f"each, {_SAMPLES} samples an excerpt, in percent of the pairs with exact",
        f"{100 * _CONFIDENCE:g}% intervals. Order: the next word depends on so many",
        "words less one. Dose: how often the model read each tested story. Made by",
        "`benchmarks/error_rates.py`.",
        "",
        "| model read | order | dose | pairs | PASS | FAIL | INCONCLUSIVE |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case, counted in rows.items():
        rates = [counted.rate(counted.verdicts[verdict]) for verdict in VERDICTS]
        cells = [case.kind, str(case.order), str(case.dose), str(counted.pairs), *rates]
        lines.append(f"| {' | '.join(cells)} |")
    names = list(dict.fromkeys(name for each in rows.values() for name in each.limits))
    lines += ["", "Pairs over each limit:", ""]
    lines.append(f"| model read | order | dose | {' | '.join(names)} |")
    lines.append("|---|---:|---:|" + "---:|" * len(names))
    for case, counted in rows.items():
        rates = [counted.rate(counted.limits[name]) for name in names]
        cells = [case.kind, str(case.order), str(case.dose), *rates]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def counts_of(case: Case, counted: Verdicts) -> dict[str, Any]:
    """Return a case's pairs, and how many got each verdict and are over each limit."""
    return {
        "model read": case.kind,
        "order": case.order,
        "dose": case.dose,
        "pairs": counted.pairs,
        "verdicts": {name: counted.verdicts[name] for name in VERDICTS},
        "over": dict(counted.limits),
    }


def main() -> None:
    """Run all cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stories", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--doses", type=int, nargs="+", default=DOSES)
    asked = parser.parse_args()
    stories = [story(seed) for seed in range(asked.stories)]
    rows = {}
    for kind in KINDS:
        for order in ORDERS:
            for dose in asked.doses:
                case = Case(kind, order, dose)
                rows[case] = run_case(case, stories, range(asked.seeds))
                print(case, dict(rows[case].verdicts), flush=True)
    PAGE.write_text(page(rows, asked.stories, asked.seeds), encoding="utf-8")
    counts = ",\n".join(json.dumps(counts_of(case, rows[case])) for case in rows)
    COUNTS.write_text(f"[\n{counts}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
