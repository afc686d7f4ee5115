"""The answer to a complaint, as one page: what was claimed, and what came of it.

It reads the results of a bundle, and of the complaint's prompts their first words. No
more of a text stands in it than a report may quote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure, moment
from pytest_memleak.redaction.text import first_words, inert
from pytest_memleak.reports.generation_text import generation_lines
from pytest_memleak.reports.plain_page import (
    Block,
    Command,
    Heading,
    Items,
    Rows,
    Sentences,
)
from pytest_memleak.reports.prompt_text import named_prompt_rate_lines, prompt_rate_text
from pytest_memleak.results.tried_prompts import tried_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.evidence_file import Bundle

_NO_CONTROLS = (
    "No control was asked, so nothing shows what such prompts bring of a book that the "
    "model can't know, or of this book from a model that can't know it."
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the page is about.

    result: of the model and the book of the complaint
    controls: the bundle's other results
    prompts: the text of each prompt, by its id
    bundle: the evidence, and the name of its file
    check: the command that verifies it
    """

    result: PairResult
    controls: Sequence[PairResult]
    prompts: Mapping[str, str]
    bundle: Bundle
    file: str
    check: str


def complaint_title(complaint: Complaint) -> str:
    """Return the page's title."""
    result = complaint.result
    book = result.book.title or result.book.id
    return f"Complaint about {inert(book)}, model {inert(result.model.id)}"


def complaint_blocks(complaint: Complaint) -> Iterator[Block]:
    """Yield the page."""
    result = complaint.result
    yield Heading(complaint_title(complaint), level=1)
    yield Sentences(complaint_answer(result), leads=True)
    if result.plain_verdict is Verdict.INCONCLUSIVE:
        yield Items(tuple(map(inert, result.reasons)))
    yield Heading("What was claimed, and what came of it")
    yield Rows(
        ("prompt", "begins", "the claimed answer", "the model's answers"),
        tuple(_prompt_rows(complaint)),
    )
    yield Sentences(_limit_text(result))
    yield Heading("Controls")
    if not complaint.controls:
        yield Sentences(_NO_CONTROLS)
    for control in complaint.controls:
        yield Sentences(_control_text(control, result))
        yield Items(
            tuple(map(inert, named_prompt_rate_lines(control))) or ("nothing came",)
        )
    yield Heading("How it was tested")
    yield Items(tuple(_fact_lines(complaint)))
    yield Heading("What was not tried, and what this can't show")
    yield Items((*map(inert, tried_lines([result])), *complaint.bundle.limitations))
    yield Heading("Check it")
    yield Sentences(
        f"{complaint.file} holds these results, without text of books or models. With "
        "the suite, the book, the prompts, and the ledger, this recomputes them:",
    )
    yield Command(complaint.check)


def complaint_answer(result: PairResult) -> str:
    """Return the answer, in a sentence."""
    rates = result.prompt_rates
    leaking = sum(bool(rate.hits) for rate in rates)
    prompts = amount(len(rates), "prompt")
    samples = amount(result.settings["samples"], "sample")
    if result.plain_verdict is Verdict.INCONCLUSIVE or not rates:
        return "The evidence is incomplete, so the complaint isn't answered."
    if result.plain_verdict is Verdict.PASS:
        return f"{prompts}, {samples} each: no answer holds a passage over the limit."
    if leaking:
        return (
            f"{leaking:,} of {prompts} brought passages of protected books that are "
            "over the limit."
        )
    return "The model wrote passages of protected books that are over the limit."


def _prompt_rows(complaint: Complaint) -> Iterator[tuple[str, ...]]:
    for rate in complaint.result.prompt_rates:
        claim = "none was named"
        if rate.claimed_words:
            words = amount(rate.claimed_words, "word")
            claim = f"holds a passage of {words} ({inert(rate.claimed_place)})"
        elif rate.claimed_words is not None:
            claim = "holds no passage of a protected book"
        begins = first_words(complaint.prompts.get(rate.id, ""))
        yield rate.id, inert(begins), claim, inert(prompt_rate_text(rate))


def _limit_text(result: PairResult) -> str:
    limits = ", ".join(
        f"{name} ≤ {figure(limit)}" for name, limit in result.limit_by_measure.items()
    )
    return (
        f"Limits: {limits}. Percentages are exact one-sided ends at 95% confidence of "
        "the rate at which the prompt brings such a passage. A place is a chapter, an "
        "excerpt of the book, and words counted from the book's beginning."
    )


def _control_text(control: PairResult, result: PairResult) -> str:
    book = inert(control.book.title or control.book.id)
    if control.book.id != result.book.id:
        return f"The same model was asked for {book}, a book in no training set:"
    return f"The same prompts, asked of {inert(control.model.id)}:"


def _fact_lines(complaint: Complaint) -> Iterator[str]:
    result, bundle = complaint.result, complaint.bundle
    book = result.book
    author = f" by {book.author}" if book.author else ""
    yield inert(f"Book: {book.title or book.id}{author}, {book.words or 0:,} words")
    if book.file_sha256:
        yield f"SHA-256 of the book's file: {book.file_sha256}"
    if result.prompts and result.prompts.file_sha256:
        yield f"SHA-256 of the file of prompts: {result.prompts.file_sha256}"
    yield inert(f"Model: {result.model.endpoint or result.model.id}")
    settings = result.settings
    samples = amount(settings["samples"], "sample")
    yield (
        f"Settings: {samples} of each prompt, temperature {settings['temperature']}, "
        f"seed {settings['seed']}"
    )
    # The rates stand above.
    rates = set(named_prompt_rate_lines(result))
    for line in generation_lines(result):
        if line not in rates:
            yield inert(line)
    created = moment(bundle.created)
    yield f"Evidence: {complaint.file}, {created}, SHA-256 {bundle.sha256}"
