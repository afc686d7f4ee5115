"""Measure the memory of runs of recorded pairs, into benchmarks/results/memory.md.

python benchmarks/memory.py     # some minutes

Each suite runs in a pytest of its own, which notes its memory after each pair.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import corpus
from pages import write_measured

PAIRS, ROUNDS = 6, 100
SHORT_EXCERPTS, SHORT_ROUNDS, SHORT_WORDS = 10, 10_000, 40
_SUITE = "[suite]\nsamples = {rounds}\n[limits]\nlongest_passage = 38\n"
_BOOK = '[[book]]\nid = "{0}"\nsource = "{0}.json"\n'
_MODEL = (
    '[[model]]\nid = "{0}"\nprovider = "recorded"\noptions.path = "{0}-{{book}}.json"\n'
)
_REQUEST = "Write this part of the book in its own style."
_PROBE = """
def _megabytes(field):
    with open("/proc/self/status") as file:
        return int(file.read().partition(field)[2].split()[0]) / 1e3

def pytest_runtest_logfinish():
    with open("memory.txt", "a") as file:
        print(_megabytes("VmRSS:"), _megabytes("VmHWM:"), file=file)
"""


def run_suite(models: int, books: int) -> list[tuple[float, float]]:
    """Run recorded pairs of 250 x 100 generations; return MB and peak after each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = corpus.king_james()
        for number in range(books):
            start = number * corpus.BOOK_WORDS
            _write_book(folder, number, words[start : start + corpus.BOOK_WORDS])
        generations = corpus.answers(ROUNDS * corpus.BOOK_WORDS // corpus.EXCERPT_WORDS)
        _write_records(folder, ((each.excerpt_id, each.text) for each in generations))
        return _memory_of(folder, models, books, rounds=ROUNDS)


def run_short_generations() -> list[tuple[float, float]]:
    """Run a pair of few excerpts with many short generations each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = corpus.king_james()[: SHORT_EXCERPTS * SHORT_WORDS]
        _write_book(folder, 0, words, excerpt_words=SHORT_WORDS)
        _write_records(folder, _short_texts())
        return _memory_of(folder, 1, 1, rounds=SHORT_ROUNDS)


def _short_texts() -> Iterator[tuple[str, str]]:
    prose = corpus.shakespeare()
    for number in range(SHORT_EXCERPTS * SHORT_ROUNDS):
        start = number * 7 % (len(prose) - SHORT_WORDS)
        text = " ".join(prose[start : start + SHORT_WORDS])
        yield f"p_id{number % SHORT_EXCERPTS + 1}", text


def _write_book(
    folder: Path,
    number: int,
    words: tuple[str, ...],
    *,
    excerpt_words: int = corpus.EXCERPT_WORDS,
) -> None:
    excerpts = (
        words[start : start + excerpt_words]
        for start in range(0, len(words), excerpt_words)
    )
    records = [
        {
            "excerpt_id": f"p_id{place}",
            "excerpt_text": " ".join(excerpt),
            "instruction": f"{_REQUEST} Tell of this: {' '.join(excerpt[10:16])}",
        }
        for place, excerpt in enumerate(excerpts, start=1)
    ]
    (folder / f"book-{number}.json").write_text(json.dumps(records), encoding="utf-8")


def _write_records(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    records: dict[str, list[dict[str, str]]] = {}
    for excerpt_id, text in texts:
        records.setdefault(excerpt_id, []).append({"generated_text": text})
    rows = [
        {"excerpt_id": name, "generations": answers}
        for name, answers in records.items()
    ]
    (folder / "records.json").write_text(json.dumps(rows), encoding="utf-8")


def _memory_of(
    folder: Path, models: int, books: int, *, rounds: int
) -> list[tuple[float, float]]:
    suite = _SUITE.format(rounds=rounds)
    suite += "".join(_BOOK.format(f"book-{number}") for number in range(books))
    for number in range(models):
        suite += _MODEL.format(f"model-{number}")
        for book in range(books):
            os.link(
                folder / "records.json", folder / f"model-{number}-book-{book}.json"
            )
    (folder / "memory.memleak.toml").write_text(suite, encoding="utf-8")
    (folder / "memory_probe.py").write_text(_PROBE, encoding="utf-8")
    plugins = ("-p", "pytest_memleak.plugin.hooks", "-p", "memory_probe")
    options = ("-q", "-m", "copyright", "-p", "no:cacheprovider")
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, "memory.memleak.toml"],
        cwd=folder,
        env=os.environ
        | {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join((*sys.path[1:], str(folder))),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    if not (folder / "memory.txt").exists():
        raise RuntimeError(completed.stdout[-2000:])
    lines = (folder / "memory.txt").read_text(encoding="utf-8").splitlines()
    return [(float(used), float(peak)) for used, peak in map(str.split, lines)]


def main() -> None:
    rows = []
    for models, books in ((PAIRS, 1), (1, PAIRS)):
        memory = run_suite(models, books)
        first, last = memory[0][0], memory[-1][0]
        rows.append(
            f"| {models} x {books} pairs of 250 x {ROUNDS} generations "
            f"| {first:.0f} MB | {(last - first) / (PAIRS - 1):+.1f} MB "
            f"| {memory[-1][1]:.0f} MB |"
        )
        print(rows[-1], file=sys.stderr)
    used, peak = run_short_generations()[0]
    rows.append(
        f"| 1 pair of {SHORT_EXCERPTS} x {SHORT_ROUNDS:,} generations of "
        f"{SHORT_WORDS} words | {used:.0f} MB | | {peak:.0f} MB |"
    )
    head = (
        "| models x books, recorded | after the first pair | each further pair | peak |"
    )
    table = "\n".join(
        [
            f"CPython {platform.python_version()}, {platform.machine()}.",
            "",
            head,
            "| --- | --: | --: | --: |",
            *rows,
        ]
    )
    print(table)
    write_measured("memory.md", table)


if __name__ == "__main__":
    main()
