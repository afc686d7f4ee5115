"""The built-in extensions, registered through the same hooks as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.providers.provider_registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    path: Path, include: Sequence[str], exclude: Sequence[str]
) -> Manuscript | Book | None:
    """Read EPUB, text, HTML, Markdown, Word, PDF, and the paper's JSON or JSONL."""
    if path.suffix.lower() in {".json", ".jsonl"}:
        from pytest_memleak.records.paper_format import book_from_records, load_records

        return book_from_records(load_records(path), place=str(path))
    from pytest_memleak.books.formats import read_manuscript

    return read_manuscript(path, include=include, exclude=exclude)


@hookimpl(specname="memleak_report", tryfirst=True)
def write_evidence(run: RunReport) -> None:
    """Write the evidence bundle for --memleak-evidence, before any other sink runs."""
    if "evidence" in run.outputs:
        from pytest_memleak.reports.signature import sign_bundle
        from pytest_memleak.results.evidence_file import write_evidence_file
        from pytest_memleak.results.run_evidence import run_evidence

        bundle = run_evidence(run)
        if "signing_key" in run.outputs:
            bundle = sign_bundle(bundle, run.outputs["signing_key"])
        write_evidence_file(bundle, run.outputs["evidence"])


@hookimpl(specname="memleak_report", trylast=True)
def write_html(run: RunReport) -> None:
    """Write the HTML report for --memleak-html."""
    if "html" in run.outputs:
        from pytest_memleak.reports.html.page import write_html as write

        write(run, run.outputs["html"])


@hookimpl(specname="memleak_report", trylast=True)
def write_step_summary(run: RunReport) -> None:
    """Append the Markdown summary that GitHub shows."""
    if "step_summary" in run.outputs and run.results:
        from pytest_memleak.reports.markdown import append_summary

        append_summary(run, run.outputs["step_summary"])
