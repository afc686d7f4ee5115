"""The built-in extensions: they come in through the same hooks as anybody's."""

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
    """The providers of this package."""
    return PROVIDERS


@hookimpl(trylast=True)
def memleak_read_book(
    path: Path, include: Sequence[str], exclude: Sequence[str]
) -> Manuscript | Book | None:
    """EPUB, text, HTML, Markdown, Word, PDF and the paper's JSON or JSONL, by the file's name."""
    if path.suffix.lower() in {".json", ".jsonl"}:
        from pytest_memleak.records.paper_format import book_from_records, load_records

        return book_from_records(load_records(path), place=str(path))
    from pytest_memleak.books.formats import read_manuscript

    return read_manuscript(path, include=include, exclude=exclude)


@hookimpl(specname="memleak_report", tryfirst=True)
def write_evidence(run: RunReport) -> None:
    """The evidence bundle, where --memleak-evidence asks for one; no other sink comes before it."""
    if "evidence" in run.outputs:
        from pytest_memleak.reports.signature import sign_bundle
        from pytest_memleak.results.evidence_file import write_evidence_file
        from pytest_memleak.results.run_evidence import run_evidence

        made = run_evidence(run)
        if "signing_key" in run.outputs:
            made = sign_bundle(made, run.outputs["signing_key"])
        write_evidence_file(made, run.outputs["evidence"])


@hookimpl(specname="memleak_report", trylast=True)
def write_html(run: RunReport) -> None:
    """The HTML report, where --memleak-html asks for one."""
    if "html" in run.outputs:
        from pytest_memleak.reports.html.page import write_html as write

        write(run, run.outputs["html"])


@hookimpl(specname="memleak_report", trylast=True)
def write_step_summary(run: RunReport) -> None:
    """The Markdown summary, where GitHub's runner shows one."""
    if "step_summary" in run.outputs and run.results:
        from pytest_memleak.reports.markdown import append_summary

        append_summary(run, run.outputs["step_summary"])
