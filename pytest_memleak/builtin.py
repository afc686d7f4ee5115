"""The built-in extensions, registered through the same hooks as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.reports.output_table import EVIDENCE, REPORTS, STEP_SUMMARY

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.interfaces.protocols import Manuscript, ProviderFactory
    from pytest_memleak.records import Book
    from pytest_memleak.records.pair_result import RunReport


@hookimpl
def memleak_providers() -> Mapping[str, ProviderFactory]:
    """Return the providers of this package."""
    return PROVIDERS


@hookimpl(trylast=True)
def memleak_read_book(
    path: Path,
    include: Sequence[str],
    exclude: Sequence[str],
    encoding: str | None = None,
) -> Manuscript | Book | None:
    """Read a book in any of the formats of docs/books.md."""
    if path.suffix.lower() in {".json", ".jsonl"}:
        from pytest_memleak.formats.paper_format import book_from_records, load_records

        records = load_records(path)
        first = records[0] if records else None
        if (
            not isinstance(first, dict)
            or "text" not in first
            or "excerpt_text" in first
        ):
            return book_from_records(records, place=str(path))
    from pytest_memleak.books.book_file_types import read_manuscript

    return read_manuscript(
        path,
        include=include,
        exclude=exclude,
        encoding=encoding,
    )


@hookimpl(specname="memleak_read_book", wrapper=True)
def validate_read_book(path: Path) -> Generator[None, Manuscript | Book | None, object]:
    """Validate what any reader returns: every book passes here before it is used."""
    book = yield
    if book is not None:
        from pytest_memleak.scoring.matchable import validate_matchable

        validate_matchable(book.paragraphs(), place=str(path))
    return book


@hookimpl(specname="memleak_report", tryfirst=True)
def write_evidence(run: RunReport) -> None:
    """Write the evidence bundle before any other sink runs."""
    EVIDENCE.write_if_requested(run)


@hookimpl(specname="memleak_report", trylast=True)
def write_reports(run: RunReport) -> None:
    """Write all other reports."""
    for output in (*REPORTS, STEP_SUMMARY):
        if output is not EVIDENCE:
            output.write_if_requested(run)
