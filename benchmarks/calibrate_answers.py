"""How far honest answers, and non-answers, lie from each threshold of completeness.

    MEMLEAK_BOOKS=FOLDER python benchmarks/calibrate_answers.py [RECORDED]  #
    results/answers.md

FOLDER holds EPUBs of novels, each of which answers the instructions of every other.
RECORDED is a folder of generations as `memleak ledger export` writes them,
NAME.BOOK.json for one of the fixtures' books. docs/method.md; a threshold moves only
with this table.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import king_james, shakespeare

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "verdict"))
import answer_sets as sets
import honest_writers as writers

from pytest_memleak.books.instructions import beginnings
from pytest_memleak.formats.paper_format import generations_from_records
from pytest_memleak.records import Completeness, FinishReason
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.evidence_requirements import GenerationRequest
from pytest_memleak.verdict.generation_kinds import GenerationCensus
from pytest_memleak.verdict.prompt_overlap import prompt_overlap
from pytest_memleak.verdict.refusal_phrases import has_refusal_phrase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.records import Book, Generation

PAGE = Path(__file__).parent / "results" / "answers.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
REFUSALS = Path(__file__).parents[1] / "tests" / "verdict" / "refusals.jsonl"
LISTED = {"en", "de", "fr", "es", "zh", "ja"}
RULES = {
    "short": "<= 0.25",
    "unanswered": "<= 0.05",
    "median length ratio": ">= 0.5",
    "prompt overlap": "<= 0.1",
    "distinct answers": "> 0.5",
    "distinct 8-word runs": "> 0.5",
    "common words": ">= 0.35",
    "word order": ">= 0.75",
    "common word pairs": ">= 0.1",
}
SIZES = {
    "whole": (None, 400, 2),
    "40 excerpts": (40, 400, 2),
    "12 excerpts": (12, 400, 5),
    "4 excerpts": (4, 400, 10),
    "40 of 60 words": (40, 60, 10),
}


def weigh(book: Book, drawn: list[Generation], **asked: object) -> Completeness:
    settings = GenerationRequest(**asked)  # type: ignore[arg-type]
    census = GenerationCensus(book, settings)
    census.read(drawn)
    return completeness(census.counted(), prompt_overlap(book, settings))


def novels(size: str) -> Iterator[tuple[Book, list[Generation], int]]:
    excerpts, words, samples = SIZES[size]
    texts = {path.stem: sets.novel_text(path) for path in sets.NOVELS}
    for asked, answering in itertools.permutations(texts, 2):
        most = excerpts or len(texts[answering]) // words // samples
        book = sets.book_of(asked, texts[asked], words=words, excerpts=most)
        yield book, sets.honest(book, texts[answering], samples), samples


def honest_sets() -> Iterator[tuple[str, list[Completeness]]]:
    for size in SIZES if sets.NOVELS else ():
        cases = list(novels(size))
        yield (
            f"novels, {size}",
            [weigh(book, drawn, samples=n) for book, drawn, n in cases],
        )
    if sets.NOVELS:
        cases = list(novels("40 excerpts"))
        yield (
            "novels, 40 excerpts, to continue",
            [
                weigh(
                    beginnings(book, prefix_words=50),
                    drawn,
                    samples=n,
                    continuation=True,
                )
                for book, drawn, n in cases
            ],
        )
        yield (
            "novels, 40 excerpts, trim = 2",
            [weigh(book, drawn, samples=n, trim=2) for book, drawn, n in cases],
        )
        yield (
            "novels, 40 excerpts, no finish reasons",
            [weigh(book, untold(drawn), samples=n) for book, drawn, n in cases],
        )
        yield (
            "novels, 40 excerpts, one in seven short",
            [
                weigh(book, sets.one_in_seven_short(drawn), samples=n)
                for book, drawn, n in cases
            ],
        )
    plays = list(shakespeare())
    for excerpts in (20, 4):
        book = sets.book_of("plays", plays, excerpts=excerpts)
        found = [
            weigh(book, sets.honest(book, plays[at:], 10), samples=10)
            for at in range(20_000, 700_000, 85_000)
        ]
        yield (
            f"Shakespeare to Shakespeare (verse, dialogue), {excerpts} excerpts",
            found,
        )
    for excerpts in (250, 40, 20, 12):
        book = sets.book_of("kjv", king_james(), excerpts=excerpts)
        samples = 8 if excerpts == 250 else 10
        drawn = sets.honest(book, shakespeare(), samples)
        yield (
            f"Shakespeare to King James, {excerpts} excerpts",
            [weigh(book, drawn, samples=samples)],
        )


def untold(drawn: list[Generation]) -> list[Generation]:
    return [
        dataclasses.replace(one, finish_reason=FinishReason.UNSTATED) for one in drawn
    ]


def recorded(folder: Path) -> Iterator[tuple[str, list[Completeness]]]:
    for path in sorted(folder.glob("*.json")):
        name, _, book_id = path.stem.rpartition(".")
        drawn = generations_from_records(json.loads(path.read_text(encoding="utf-8")))
        book = sets.fixture_book(book_id)
        asked = {one.excerpt_id for one in drawn}
        excerpts = tuple(one for one in book.excerpts if one.id in asked)
        samples = 1 + max(one.ordinal for one in drawn)
        few = dataclasses.replace(book, excerpts=excerpts)
        said = f"{name} on {book_id}, {len(excerpts)} excerpts, {samples} answers each"
        yield said, [weigh(few, drawn, samples=samples)]


def worst(found: list[Completeness]) -> dict[str, float]:
    values = defaultdict(list)
    for one in found:
        for margin in one.margins:
            values[margin.rule].append(margin.value)
    return {
        rule: (max if bound.startswith("<") else min)(values[rule])
        for rule, bound in RULES.items()
        if values[rule]
    }


def table_of_honest(named: Iterable[tuple[str, list[Completeness]]]) -> str:
    rows = [
        "| answers that are honest, the worst of each set | sets | complete |"
        + "".join(f" {rule} {bound} |" for rule, bound in RULES.items()),
        "| --- " * (3 + len(RULES)) + "|",
    ]
    for name, found in named:
        far = worst(found)
        complete = sum(one.complete for one in found)
        cells = "".join(
            f" {far[rule]:.3g} |" if rule in far else " |" for rule in RULES
        )
        rows.append(f"| {name} | {len(found)} | {complete} |{cells}")
    return "\n".join(rows)


def adversaries() -> Iterator[tuple[str, Book, list[Generation], int]]:
    plays = list(shakespeare())
    book = sets.book_of("plays", plays, excerpts=20)
    yield "plays", book, sets.honest(book, plays[100_000:], 10), 10
    for size in ("12 excerpts", "4 excerpts", "40 of 60 words") if sets.NOVELS else ():
        for book, drawn, samples in novels(size):
            yield f"novels, {size}", book, drawn, samples


def no_answers(
    book: Book, drawn: list[Generation]
) -> Iterator[tuple[str, list[Generation]]]:
    for name, change in sets.TRANSFORMED.items():
        yield name, sets.each(drawn, change)
    for name, rearrange in sets.REARRANGED.items():
        yield name, rearrange(book, drawn)


def table_of_adversaries() -> str:
    told: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    rules: dict[str, set[str]] = defaultdict(set)
    for where, book, drawn, samples in adversaries():
        for name, changed in no_answers(book, drawn):
            found = weigh(book, changed, samples=samples)
            told[name][where].append(not found.complete)
            if where == "plays":
                rules[name] = {issue.rule for issue in found.issues}
    columns = list(told["rot13"])
    rows = [
        "| what is no answer | rules broken (plays) |"
        + "".join(f" incomplete, {column} |" for column in columns),
        "| --- " * (2 + len(columns)) + "|",
    ]
    for name, found in told.items():
        cells = "".join(f" {sum(found[one])} of {len(found[one])} |" for one in columns)
        rows.append(f"| {name} | {', '.join(sorted(rules[name]))} |{cells}")
    return "\n".join(rows)


def table_of_refusals() -> str:
    rows = [
        json.loads(line) for line in REFUSALS.read_text(encoding="utf-8").splitlines()
    ]
    groups = {
        "all languages": rows,
        "the list's six languages": [one for one in rows if one["language"] in LISTED],
        "English": [one for one in rows if one["language"] == "en"],
    }
    told = [
        "| held out | refusals found | story openings taken for one |",
        "| --- | --- | --- |",
    ]
    for name, group in groups.items():
        cells = []
        for kind in ("refusal", "story"):
            texts = [one["text"] for one in group if one["kind"] == kind]
            cells.append(f"{sum(map(has_refusal_phrase, texts))} of {len(texts)}")
        told.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(told)


def table_of_writers() -> str:
    """Per source of prose: what becomes of its manners, which rules keep some open."""
    sizes = (10, 66)
    rows = [
        "| honest writers | " + " | ".join(f"n = {n}" for n in sizes) + " |",
        "| --- " * 3 + "|",
    ]
    for source in writers.SOURCES:
        cells = []
        for samples in sizes:
            told = Counter(
                ", ".join(
                    (
                        judgement.verdict.value,
                        *(f"{writer[1]}: {rule}" for rule in rules),
                    )
                )
                for writer in writers.WRITERS
                if writer[0] == source
                for seed in writers.SEEDS
                for judgement, rules in [
                    writers.judged(writers.play(), writer, samples, seed)
                ]
            )
            cells.append(
                "; ".join(f"{count} {name}" for name, count in sorted(told.items()))
            )
        rows.append(f"| {source} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    named = honest_sets()
    if len(sys.argv) > 1:
        named = itertools.chain(named, recorded(Path(sys.argv[1])))
    tables = (
        table_of_honest(named),
        table_of_writers(),
        table_of_adversaries(),
        table_of_refusals(),
    )
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    told = "\n\n".join(tables)
    PAGE.write_text(f"{before}{BEGIN}\n{told}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
