"""How often the gate is wrong: verdicts on models whose training is known to the word.

    python benchmarks/error_rates.py [--models ...] [--stories 20] [--seeds 5]
                                     [--doses 0 1 4 16 64]

Each model read other stories, and each tested story so many times (its dose): verbatim,
or with every 7th word changed. `fine-tuned` models were also fine-tuned on other
stories, as the study fine-tunes. `ngram` models take minutes, transformers that are
trained from nothing (`small_transformers`) hours. A case has a suite of its own; each
seed samples it anew. Writes the counts to results/error_rates.json, beside those of
models that weren't asked for, and all as tables to results/error_rates.md, which
docs/validation.md summarizes and docs/figures/charts.py draws.

Stories come from a seeded grammar (`grammar_stories`), so that nobody's text is needed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grammar_stories import Story, story, summary, with_changes

from pytest_memleak.scoring.confidence_bounds import clopper_pearson
from pytest_memleak.scoring.measure_table import (
    EXTRACTION,
    GREEDY,
    MEASURES,
    PRESETS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PAGE = Path(__file__).parent / "results" / "error_rates.md"
COUNTS = PAGE.with_suffix(".json")
DOSES = (0, 1, 4, 16, 64)
VERBATIM = "verbatim"
CHANGED = "every 7th word changed"
TUNED = "fine-tuned"
KINDS = (VERBATIM, CHANGED, TUNED)
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")
OF_OTHER_PROBES = (GREEDY, EXTRACTION)
LIMITED = tuple(
    name for name in PRESETS["strict"] if MEASURES[name].needs not in OF_OTHER_PROBES
)
_CONFIDENCE = 0.95
TRANSFORMER = "transformer"
# Of order 3, the next word depends on the two before it; of order 5, on four.
ORDERS = {"order 3": 3, "order 5": 5}
MODELS = (*ORDERS, TRANSFORMER)
_SAMPLES = 10
_BACKGROUND = 40
_FIRST_BACKGROUND_SEED = 10_000
_EXCERPT_WORDS = 350


class Case(NamedTuple):
    """A kind of model, what it read of the tested stories, and how often."""

    kind: str
    model: str
    dose: int


@dataclass(frozen=True)
class Counts:
    """How many pairs of a case got each verdict under each preset, or are over a limit.

    verdicts: by preset and verdict, "strict PASS"
    over: by measure, of the stricter limit
    """

    pairs: int
    verdicts: dict[str, int]
    over: dict[str, int]

    def rate(self, count: int) -> str:
        """Return a share of the pairs with its exact interval, in percent."""
        low, high = clopper_pearson(count, self.pairs, confidence=_CONFIDENCE)
        share = 100 * count / self.pairs
        return f"{share:.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def count(bundles: Iterable[dict[str, Any]]) -> Counts:
    """Count the pairs of evidence bundles."""
    verdicts: Counter[str] = Counter()
    over: Counter[str] = Counter()
    pairs = 0
    for bundle in bundles:
        for pair in bundle["pairs"]:
            pairs += 1
            for preset in PRESETS:
                verdicts[f"{preset} {verdict_under(preset, pair)}"] += 1
            for name in LIMITED:
                limits = [limits[name] for limits in PRESETS.values() if name in limits]
                over[name] += pair["measures"][name]["value"] > min(limits)
    return Counts(pairs, dict(verdicts), dict(over))


def verdict_under(preset: str, pair: dict[str, Any]) -> str:
    """Return a pair's verdict under a preset's limits alone.

    A pair over one of them fails, complete or not. Limits on what other probes measure
    aren't part of these runs.
    """
    for name, limit in PRESETS[preset].items():
        if name in LIMITED and pair["measures"][name]["value"] > limit:
            return "FAIL"
    return "INCONCLUSIVE" if pair["completeness"]["issues"] else "PASS"


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


@dataclass(frozen=True)
class Shelf:
    """The books of a case, as files of a folder, and what the case's model learns.

    tested: names of the stories
    learned: what it reads of them, as often as the dose says
    background: names of the stories that it reads, and that are never tested
    """

    folder: Path
    tested: list[str]
    learned: list[str]
    background: list[str]

    @property
    def pretraining(self) -> list[str]:
        """The background that the model reads before any fine-tune."""
        return self.background[: len(self.background) // 2]

    @property
    def tuning(self) -> list[str]:
        """The background of a fine-tune."""
        return self.background[len(self.background) // 2 :]

    def answers(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return the instructions and excerpts of some books."""
        pairs = []
        for name in names:
            text = (self.folder / f"{name}.json").read_text(encoding="utf-8")
            for record in json.loads(text):
                pairs.append((record["instruction"], record["excerpt_text"]))
        return pairs


def write_books(folder: Path, case: Case, stories: Sequence[Story]) -> Shelf:
    """Write a case's books."""
    dice = random.Random(f"{case.kind} {case.dose}")
    shelf = Shelf(folder, [], [], [])
    for number, told in enumerate(stories):
        name = f"story-{number}"
        write_book(folder / f"{name}.json", told, dice)
        shelf.tested.append(name)
        if case.kind == CHANGED and case.dose:
            copy = replace(told, paragraphs=tuple(_changed(told.paragraphs, dice)))
            name = f"{name}-copy"
            write_book(folder / f"{name}.json", copy, dice)
        shelf.learned.extend([name] * case.dose)
    for number in range(_BACKGROUND):
        name = f"background-{number}"
        told = story(_FIRST_BACKGROUND_SEED + number)
        write_book(folder / f"{name}.json", told, dice)
        shelf.background.append(name)
    return shelf


def write_suite(case: Case, shelf: Shelf, seed: int) -> Path:
    """Write a case's suite beside its books, and return its path."""
    lines = [
        "[suite]",
        f"samples = {_SAMPLES}",
        f"seed = {seed}",
        "[limits]",
        'preset = "strict"',
        "[[model]]",
        'id = "model"',
    ]
    if case.model == TRANSFORMER:
        lines += _transformer_lines(case, shelf)
    else:
        pretraining = [*shelf.pretraining, *shelf.learned]
        lines += [
            'provider = "ngram"',
            "[model.options]",
            f"order = {ORDERS[case.model]}",
            f"pretraining = {json.dumps(pretraining)}",
        ]
        if case.kind == TUNED:
            lines += ["[model.finetune]", f"books = {json.dumps(shelf.tuning)}"]
    training = [*dict.fromkeys(shelf.learned), *shelf.background]
    for name in shelf.tested:
        lines += _book_lines(name, "test")
    for name in training:
        if name not in shelf.tested:
            lines += _book_lines(name, "train")
    path = shelf.folder / "case.memleak.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _transformer_lines(case: Case, shelf: Shelf) -> list[str]:
    """Train the case's model, and say where it is."""
    from small_transformers import Answer, make_weights

    weights = shelf.folder / "weights"
    if not weights.exists():  # each seed samples the same model
        background = shelf.answers(shelf.pretraining)
        learned = shelf.answers(dict.fromkeys(shelf.learned))
        make_weights(
            weights,
            [Answer(*pair) for pair in background],
            [Answer(*pair) for pair in learned],
            case.dose,
        )
    lines = ['provider = "transformers"', f'base_model = "{weights}"']
    if case.kind == TUNED:
        lines += [
            "[model.finetune]",
            f"books = {json.dumps(shelf.tuning)}",
            "rank = 32",
            "learning_rate = 1e-3",
        ]
    return [*lines, "[model.options]", 'device = "cpu"', "threads = 1"]


def _book_lines(name: str, role: str) -> list[str]:
    return [
        "[[book]]",
        f'id = "{name}"',
        f'source = "{name}.json"',
        f'role = "{role}"',
    ]


def _changed(paragraphs: Sequence[str], dice: random.Random) -> Iterator[str]:
    for paragraph in paragraphs:
        yield with_changes(paragraph, dice)


def run_case(case: Case, stories: Sequence[Story], seeds: Sequence[int]) -> Counts:
    """Run a case's suite once a seed, as a user would, and count the verdicts."""
    with tempfile.TemporaryDirectory() as name:
        shelf = write_books(Path(name), case, stories)
        return count(_bundles(case, shelf, seeds))


def _bundles(
    case: Case,
    shelf: Shelf,
    seeds: Sequence[int],
) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        suite = write_suite(case, shelf, seed)
        evidence = shelf.folder / "evidence.json"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "copyright"]
        command += ["-p", "no:cacheprovider", f"--rootdir={shelf.folder}", str(suite)]
        command += [f"--memleak-evidence={evidence}"]
        command += [f"--memleak-ledger={shelf.folder / f'ledger-{seed}.db'}"]
        subprocess.run(command, cwd=shelf.folder, check=False, capture_output=True)
        yield json.loads(evidence.read_text(encoding="utf-8"))
        evidence.unlink()


def page(rows: dict[Case, Counts]) -> str:
    """Write the tables of verdicts and of limits, with exact intervals."""
    lines = [
        "# Error rates",
        "",
        "Verdicts on generated stories, in percent of the pairs with exact",
        f"{100 * _CONFIDENCE:g}% intervals; {_SAMPLES} samples an excerpt.",
        "Order: the next word depends on so many words less one. Dose: how often the",
        "model read each tested story. Made by `benchmarks/error_rates.py`.",
    ]
    for preset in PRESETS:
        lines += [
            "",
            f'Verdicts under `preset = "{preset}"`:',
            "",
            "| model | it read | dose | pairs | PASS | FAIL | INCONCLUSIVE |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for case, counts in rows.items():
            cells = [case.model, case.kind, str(case.dose), str(counts.pairs)]
            for verdict in VERDICTS:
                number = counts.verdicts.get(f"{preset} {verdict}", 0)
                cells.append(counts.rate(number))
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Pairs over each limit:", ""]
    lines.append(f"| model | it read | dose | {' | '.join(LIMITED)} |")
    lines.append("|---|---|---:|" + "---:|" * len(LIMITED))
    for case, counts in rows.items():
        rates = [counts.rate(counts.over.get(name, 0)) for name in LIMITED]
        cells = [case.model, case.kind, str(case.dose), *rates]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def stored_counts() -> dict[Case, Counts]:
    """Read the counts of earlier runs."""
    if not COUNTS.exists():
        return {}
    rows = json.loads(COUNTS.read_text(encoding="utf-8"))
    return {
        Case(row["it read"], row["model"], row["dose"]): Counts(
            row["pairs"],
            row["verdicts"],
            row["over"],
        )
        for row in rows
    }


def write_counts(rows: dict[Case, Counts]) -> None:
    """Write the counts, a case a line."""
    lines = []
    for case, counts in rows.items():
        row = {"model": case.model, "it read": case.kind, "dose": case.dose}
        lines.append(json.dumps({**row, **asdict(counts)}))
    text = ",\n".join(lines)
    COUNTS.write_text(f"[\n{text}\n]\n", encoding="utf-8")


def main() -> None:
    """Run the cases of the models asked for, and write all that is known."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*ORDERS])
    parser.add_argument("--stories", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--doses", type=int, nargs="+", default=DOSES)
    asked = parser.parse_args()
    stories = [story(seed) for seed in range(asked.stories)]
    rows = stored_counts()
    for kind, model, dose in itertools.product(KINDS, asked.models, asked.doses):
        case = Case(kind, model, dose)
        rows[case] = run_case(case, stories, range(asked.seeds))
        print(case, rows[case].verdicts, flush=True)
        write_counts(rows)
    ordered = dict(sorted(rows.items(), key=_place))
    write_counts(ordered)
    PAGE.write_text(page(ordered), encoding="utf-8")


def _place(row: tuple[Case, Counts]) -> tuple[int, int, int]:
    case, _ = row
    return MODELS.index(case.model), KINDS.index(case.kind), case.dose


if __name__ == "__main__":
    main()
