"""Measure a collection: 900 poems, two models, one pytest, every report.

    python benchmarks/collection.py                # some minutes
    python benchmarks/collection.py --works 10_000

The works are stretches of the King James text and of books in its style, the answers
those of a chain over Shakespeare's prose, read from files as `recorded` generations, so
that nothing is spent on sampling. One model recites 17 of the works.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

from corpus import GENERATION_WORDS, answers, in_style, king_james

LEAKED = 17
SUITE = """
[suite]
samples = 8
instruction_template = "Write {words} words: the poem {title} by {author}, whole."

[limits]
bmc = 0.5
longest_passage = 38

[[collection]]
id = "poems"
source = "poems.jsonl"
"""
MODEL = """
[[model]]
id = "NAME"
provider = "recorded"
[model.options]
path = "NAME.jsonl"
"""
REPORTS = {
    "--junitxml": "junit.xml",
    "--memleak-html": "report.html",
    "--memleak-evidence": "evidence.json",
}
SUMMARY, PEAK = "summary.md", "peak.txt"
# Not ru_maxrss, in which a child process begins with the peak of its parent.
PYTEST = f"""
import pathlib, sys, pytest
code = pytest.main()
status = pathlib.Path("/proc/self/status").read_text()
pathlib.Path("{PEAK}").write_text(status.partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""
LONGEST = 1_200  # seconds, on a machine with other work


@dataclass(frozen=True, slots=True)
class Measured:
    """A run. reports: the text of each, the terminal's by ""; leaked: works' titles."""

    processor_seconds: float
    peak_mb: float
    leaked: tuple[str, ...]
    reports: dict[str, str]


def measured(folder: Path, works: int) -> Measured:
    """Make the suite in `folder` and run it in a process of its own."""
    leaked = write_suite(folder, works)
    arguments = [f"{option}={name}" for option, name in REPORTS.items()]
    arguments += ["-p", "no:cacheprovider"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", PYTEST, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
        env=os.environ | {"GITHUB_STEP_SUMMARY": str(folder / SUMMARY)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    names = (*REPORTS.values(), SUMMARY)
    reports = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    peak_mb = int((folder / PEAK).read_text()) * 1024 / 1e6
    return Measured(spent, peak_mb, leaked, {"": done.stdout, **reports})


def write_suite(folder: Path, works: int) -> tuple[str, ...]:
    """The titles of those works that the model `leaky` recites."""
    draw = random.Random(16)
    books = (
        each.text.split() for number in count() for each in in_style(number).excerpts
    )
    source = chain(king_james(), chain.from_iterable(books))
    texts = [" ".join(islice(source, draw.randrange(50, 150))) for _ in range(works)]
    rows = [
        {"title": f"Poem {n}", "author": "A", "text": text}
        for n, text in enumerate(texts)
    ]
    (folder / "poems.jsonl").write_text(
        "\n".join(map(json.dumps, rows)), encoding="utf-8"
    )
    leaked = sorted(draw.sample(range(works), LEAKED))
    lengths = [len(text.split()) for text in texts]
    drawn = answers(8 * sum(lengths) // GENERATION_WORDS + 1)
    prose = chain.from_iterable(each.text.split() for each in drawn)
    honest = [[" ".join(islice(prose, length)) for _ in range(8)] for length in lengths]
    reciting = [
        [*its[:3], texts[n], *its[4:]] if n in leaked else its
        for n, its in enumerate(honest)
    ]
    for name, texts_of in (("clean", honest), ("leaky", reciting)):
        records = [
            {
                "excerpt_id": f"p_id{n}",
                "generations": [
                    {"generated_text": one, "finish_reason": "stop"} for one in its
                ],
            }
            for n, its in enumerate(texts_of, start=1)
        ]
        (folder / f"{name}.jsonl").write_text(
            "\n".join(map(json.dumps, records)), encoding="utf-8"
        )
    models = "".join(MODEL.replace("NAME", name) for name in ("clean", "leaky"))
    (folder / "poems.memleak.toml").write_text(SUITE + models, encoding="utf-8")
    return tuple(f"Poem {n}" for n in leaked)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a collection of works.")
    parser.add_argument("--works", type=int, default=900, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), arguments.works)
    print(found.reports[""][-3_000:], file=sys.stderr)
    print(
        f"{arguments.works:,} works x 2 models: {found.processor_seconds:.1f} s of "
        "processor time, "
        f"{found.peak_mb:,.0f} MB at the peak, "
        f"{len(found.reports['report.html']) / 1e6:.1f} MB "
        f"of HTML"
    )


if __name__ == "__main__":
    main()
