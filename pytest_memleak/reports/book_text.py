"""Books and works as text: what leaks, and what of a file is measured."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.reports.measure_text import format_value
from pytest_memleak.scoring.measure_table import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records import BookPart, WorkVerdict
    from pytest_memleak.records.pair_result import PairResult

    SuiteBook = tuple[str, str]  # a suite's name, and the id of a book in it
    BookTitles = Mapping[SuiteBook, str]

_WORKS_SHOWN = 10

# What is left out is shown one by one if it has more words.
LARGE_CUT = 200


def leaking_work_lines(result: PairResult, *, verbose: bool = False) -> Iterator[str]:
    """Count the leaking works; list ten of them, and ten without a verdict.

    verbose: list all
    """
    works = result.works
    if not works:
        return
    count = Counter(work.verdict for work in works)
    counts = []
    for verdict in Verdict:
        if count[verdict]:
            counts.append(f"{count[verdict]:,} {verdict}")
    leaking = f"{count[Verdict.FAIL]:,} of {amount(len(works), 'work')}"
    yield f"leaking: {leaking} ({', '.join(counts)})"
    open_works = [work for work in works if work.reason]
    shown = len(works) if verbose else _WORKS_SHOWN
    for work in result.leaking[:shown]:
        words = amount(work.words, "word")
        over = ", ".join(_exceeded_limit_texts(work, result))
        yield f"leaks: {work_name(work)}, {words}: {over}"
    for work in open_works[:shown]:
        yield f"inconclusive: {work_name(work)}: {work.reason}"
    leaking_left = result.leaking[shown:]
    open_left = open_works[shown:]
    left = len(leaking_left) + len(open_left)
    if left:
        where = "for all, use -v, --memleak-html=FILE, or --memleak-evidence=FILE"
        yield f"{amount(left, 'more work')}; {where}"


def _exceeded_limit_texts(work: WorkVerdict, result: PairResult) -> Iterator[str]:
    for name in work.over:
        row = MEASURES[name]
        value = format_value(row, work.measures[name])
        limit = format_value(row, result.limits[name].limit)
        yield f"{name} {value} > {limit}"


def work_name(work: WorkVerdict) -> str:
    """Name a work by its title, with its id where they differ."""
    if work.title == work.id:
        return work.title
    return f"{work.title} ({work.id})"


def document_lines(parts: Sequence[BookPart]) -> Iterator[str]:
    """State how much of a book's file is measured, and what each rule leaves out."""
    measured = [part for part in parts if part.kept]
    words = sum(part.words for part in parts)
    headings = sum(part.headings for part in parts)
    notes = sum(part.notes for part in parts)
    matter = sum(part.matter for part in measured)
    yield (
        f"{amount(words, 'word')} of text in {len(measured):,} of "
        f"{amount(len(parts), 'document')}; excluded from these: "
        f"{amount(headings, 'word')} of headings, {notes:,} of notes, "
        f"{matter:,} of other matter"
    )
    yield from excluded_lines(parts)
    rules: defaultdict[str, list[BookPart]] = defaultdict(list)
    for part in parts:
        if not part.kept:
            rules[part.rule].append(part)
    for rule, left_out in rules.items():
        total = sum(part.matter for part in left_out)
        documents = amount(len(left_out), "document")
        yield f"excluded because {rule}: {documents}, {amount(total, 'word')}"


def large_exclusions(parts: Sequence[BookPart]) -> list[BookPart]:
    """Return the documents of which over 200 words aren't text, by these words."""
    large = [part for part in parts if part.matter > LARGE_CUT]
    return sorted(large, key=lambda part: -part.matter)


def excluded_lines(
    parts: Sequence[BookPart],
    *,
    by_title_alone: bool = False,
) -> Iterator[str]:
    """State how much of a book's file isn't measured.

    by_title_alone: only if a title alone decided on some of it
    """
    words = sum(part.words for part in parts)
    excluded = 0
    for part in parts:
        excluded += part.headings + part.notes + part.matter
    by_title = sum(part.matter for part in parts if part.by_title)
    if excluded and (by_title or not by_title_alone):
        share = excluded / (words + excluded)
        text = f"{share:.1%} of the file excluded"
        if by_title:
            text += f"; {amount(by_title, 'word')} of that only because of a title"
        yield text


def book_titles(results: Sequence[PairResult]) -> dict[SuiteBook, str]:
    """Name each book: its title, with its id where books share it."""
    titles: dict[SuiteBook, str] = {}
    ids_by_title: defaultdict[str, set[str]] = defaultdict(set)
    for result in reversed(results):
        book = result.book
        titles[result.suite.name, book.id] = book.title or book.id
    for (_, book_id), title in titles.items():
        ids_by_title[title].add(book_id)
    for (suite, book_id), title in titles.items():
        if len(ids_by_title[title]) > 1:
            titles[suite, book_id] = f"{title} ({book_id})"
    return titles
