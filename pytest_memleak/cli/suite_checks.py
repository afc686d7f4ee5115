"""What `memleak doctor` checks of a suite: its file, books, models, and plan."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_memleak.cli.doctor_check import Check, error_without_subject
from pytest_memleak.cli.model_checks import check_model
from pytest_memleak.cli.terminal_output import output_width
from pytest_memleak.errors import MemleakError, SuiteError
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import APPROVED, NOT_APPROVED
from pytest_memleak.results.build_result import CHANGED, is_approved
from pytest_memleak.verdict.evidence_requirements import PROMPT_FIXES

# memleak prepare shows the others.
_MOST_SCREENS = 3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import BookSource, Suite


def check_syntax(path: Path) -> Check:
    """Check a suite file's syntax, keys, and values; read no book."""
    from pytest_memleak.suite.suite_file import read_suite_file

    try:
        tables = read_suite_file(path).tables
    except SuiteError as error:
        return invalid_suite_check(path, error)
    models = amount(len(tables.model), "model")
    books = amount(len(tables.book) + len(tables.collection), "book")
    return Check(str(path), f"valid keys and values: {models}, {books}")


def invalid_suite_check(path: Path, error: MemleakError) -> Check:
    """Return the check of a suite that can't be read, without the error's location."""
    fix = error.message
    if error.hint:
        fix += f"\n  {error.hint}"
    return Check(str(path), "invalid suite", fix)


def check_suite(path: Path, suite_run: SuiteRun) -> list[Check]:
    """Check what an opened suite needs: its books and models, and then its plan."""
    suite = suite_run.suite
    pairs = amount(len(suite.pairs), "pair")
    books = amount(len(suite.books), "book")
    checks = [Check(str(path), f"{pairs}, {books}")]
    checks += [_check_book(book, suite, suite_run) for book in suite.books]
    models = [*suite.models]
    if suite.summarizer:
        models.append(suite.summarizer.model)
    for model in models:
        checks += check_model(model, suite_run)
    if not any(check.fix for check in checks):  # a plan needs all books and models
        checks += _check_plan(suite, suite_run)
    return checks


def _check_plan(suite: Suite, suite_run: SuiteRun) -> Iterator[Check]:
    from pytest_memleak.pipeline.detection_table import limits_that_cant_pass
    from pytest_memleak.pipeline.dry_run import plan_run

    plan = plan_run(suite.pairs, lambda _: suite_run)
    obstacles = map(str, plan.obstacles)
    cant_pass = limits_that_cant_pass(suite.pairs, suite_run)
    for obstacle in (*obstacles, *cant_pass):
        yield Check("plan", "can't pass", obstacle)
    for line in plan.without_probability:
        yield Check("probability", f"not measured: {line}")
    for step in plan.steps:
        rounds = step.rounds
        if rounds is None or rounds.needed is None:
            continue
        if rounds.needed > rounds.samples:
            yield Check(
                f"pair {step.what}",
                f"samples = {rounds.samples} is too few for detection_limit = "
                f"{rounds.detection_limit:g}",
                f"set samples = {rounds.needed}, or a higher detection_limit",
            )


def screens_of_unapproved(suite_run: SuiteRun) -> list[list[str]]:
    """Return what is read of each test book that no one approved, on a screen each."""
    from pytest_memleak.books.book_outline import outline_of
    from pytest_memleak.reports.book_screen import screen_lines

    suite = suite_run.suite
    mode = suite.pairs[0].scoring.word_mode
    tested = {pair.book.id: pair.book for pair in suite.pairs}
    screens: list[list[str]] = []
    for source in tested.values():
        if len(screens) == _MOST_SCREENS:
            break
        with contextlib.suppress(MemleakError):  # which a check states
            book = suite_run.books.cut_into_excerpts(source)
            if is_approved(source, book):
                continue
            read = book if source.collection else suite_run.books.read_file(source)
            outline = outline_of(read, book, mode=mode)
            lines = screen_lines(outline, output_width())
            screens.append([*lines, f'approved = "{book.words_digest}"'])
    return screens


def _check_book(
    source: BookSource,
    suite: Suite,
    suite_run: SuiteRun,
) -> Check:
    from pytest_memleak.scoring.book_layout import measurable_words

    subject = f"book {source.id}"
    try:
        book = suite_run.books.cut_into_excerpts(source)
        words = measurable_words(book, suite.pairs[0].scoring)
    except MemleakError as error:
        return Check(subject, "unusable", str(error_without_subject(error, subject)))
    state = f"{amount(len(book.excerpts), 'excerpt')}, {words:,} words"
    approved = is_approved(source, book)
    if source.approved and not approved:
        return Check(subject, f"{state}, changed since it was approved", CHANGED)
    state += f", {APPROVED if approved else NOT_APPROVED}"
    unprompted = sum(not excerpt.instruction for excerpt in book.excerpts)
    own_pairs = [pair for pair in suite.pairs if pair.book.id == source.id]
    needs_instructions = any(pair.probe.kind == "instruction" for pair in own_pairs)
    if unprompted and needs_instructions and suite.summarizer is None:
        state += f", {unprompted:,} without an instruction"
        return Check(subject, state, PROMPT_FIXES)
    return Check(subject, state)
