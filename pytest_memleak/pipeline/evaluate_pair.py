"""The story of one pair, from its book to its verdict.

    suite ── books ── providers ── sampling ── scoring ── verdict ── reports
                          (ledger)

Read the book; say what has to be drawn; draw what is missing through the ledger; measure it
against the book, and the measures against chance; judge. Every room has a folder of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.analyze_pair import SecondLook, analysed, is_over_a_limit, stop_for
from pytest_memleak.pipeline.limit_reachability import (
    refuse_limits_out_of_reach,
    sensitivity_issues,
    sensitivity_of,
)
from pytest_memleak.pipeline.probability import extract_pair
from pytest_memleak.pipeline.reference_models import Compared, compared
from pytest_memleak.pipeline.required_samples import all_texts, draws_of
from pytest_memleak.pipeline.sampled_generations import CountedAnswers, all_written, answered_by
from pytest_memleak.records import Completeness, Issue
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.verdict.evaluation import Evaluation
from pytest_memleak.verdict.judge import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint, Recording
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Book, Generation, Pair
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.extraction import Extraction


def evaluate(
    pair: Pair, suite: SuiteRun, *, endpoint: Endpoint | Recording | None = None
) -> Evaluation:
    """Evaluate one model on one book.

    `endpoint` takes the place of the suite's own, for a model of one's own. What is already in
    the ledger is not drawn again. Whatever cannot be read, opened or drawn makes the pair
    INCONCLUSIVE, unless what is there is over a limit already; nothing is raised for it.
    """
    try:
        suite.refuse_unregistered()
        suite.resources.progress(ProgressEvent(Phase.READING, pair.id))
        book = suite.books.book_of(pair)
        suite.books.refuse_shared_text(book, pair)
        refuse_limits_out_of_reach(pair, book, suite.suite, suite.protected)
        if pair.probe.kind == "probability":
            return _of_windows(pair, book, suite, endpoint)
        return _of_generations(pair, suite, endpoint)
    except MemleakError as error:
        nothing = Completeness(requested=0, received=0, issues=(Issue("drawn", error.line),))
        return _judged(pair, suite, None, nothing)


def _of_generations(
    pair: Pair, suite: SuiteRun, endpoint: Endpoint | Recording | None
) -> Evaluation:
    wanted = draws_of(pair, suite.suite, endpoint)
    protected, resources = suite.protected, suite.resources
    stop = stop_for(pair, protected, resources)
    written = all_written(wanted, suite.endpoints, stop=stop)
    own, *beside = counted = [CountedAnswers(part) for part in written]
    resources.progress(ProgressEvent(Phase.SCORING, pair.id))
    held = suite.catalog.held_by(written)
    second = SecondLook(written, protected, held)
    texts = second.watch(all_texts(counted))
    found = analysed(pair, written, protected, resources, held, texts=texts)
    with_others = compared(found, own, beside, wanted, suite.endpoints) if found else Compared(None)
    analysis = with_others.analysis
    who = answered_by(own.answers, resources)
    over_limit = is_over_a_limit(analysis, pair)
    sensitivity = sensitivity_of(analysis, pair, answers=own.fewest) if analysis else None
    unlooked = (*second.issues(found), *protected.issues(pair), *held.issues)
    completeness = own.completeness(
        over_limit=over_limit,
        issues=(*with_others.issues, *who.issues, *unlooked, *sensitivity_issues(sensitivity)),
        notes=(*who.notes, *with_others.notes),
    )
    drawn = (*counted, *with_others.drawn)
    return _judged(
        pair,
        suite,
        analysis,
        completeness,
        book=own.book,
        endpoint=own.answers.endpoint_id,
        measurement=analysis.measurement if analysis else None,
        analysis=analysis,
        spared=own.answers.spared,
        detection=sensitivity,
        second_opinion=second.counts,
        provenance=who.answerer,
        as_of=own.answers.until,
        sampled=tuple(one.counted for one in drawn),
        generations=partial(_all_of, drawn),
        protected=protected.holding(analysis, own.book, held.books),
        scan_scope=protected.looked_for(pair) if analysis else None,
        catalog=held.told,
        unread=(*held.unread, *(f"{name}: {why}" for name, why in protected.unread.items())),
    )


def _all_of(drawn: Iterable[CountedAnswers]) -> Iterator[Generation]:
    return (generation for one in drawn for generation in one.answers.generations())


def _of_windows(
    pair: Pair, book: Book, suite: SuiteRun, endpoint: Endpoint | Recording | None
) -> Evaluation:
    found = extract_pair(pair, book, suite.endpoints, endpoint=endpoint)
    return _judged(pair, suite, found.extraction, found.completeness, book=book, **found.told)


def _judged(
    pair: Pair,
    suite: SuiteRun,
    known: Analysis | Extraction | None,
    completeness: Completeness,
    **found: Any,
) -> Evaluation:
    return Evaluation(
        suite=suite.suite.name,
        suite_digest=suite.suite.digest,
        pair=pair,
        verdict_result=judge(known, completeness, pair.limits, found.get("book")),
        completeness=completeness,
        job=suite.endpoints.job_of(pair.model) if found else None,
        book_file=suite.books.file_digest(pair.book),
        **found,
    )
