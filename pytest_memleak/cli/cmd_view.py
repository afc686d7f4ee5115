"""`memleak view`: a private page of passages beside their generations and prompts."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.default_ledger import (
    default_ledger,
    ledger_url,
    pytest_rootdir,
)
from pytest_memleak.cli.shared_options import LEDGER, add_command
from pytest_memleak.cli.terminal_output import command_line, print_sentence
from pytest_memleak.errors import EvidenceError, MemleakError, file_errors
from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.file_writing import write_private

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records import Pair
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.reports.html.passage_page import ShownPair

_PAGE = "view.html"
_WARNING = (
    "Private: this page holds text of protected books. Don't publish or send it; "
    "delete it when you are done."
)
_ELSEWHERE = "run memleak view in the folder where pytest ran"


def add_view(commands: Commands) -> None:
    """Register `memleak view`."""
    add_command(
        commands,
        "view",
        _run_view,
        "write a private page of passages beside their generations and prompts",
        "Write a page with the map of a run, and each passage beside the generation "
        "that holds it, its prompt, and its book: .memleak/view.html, which only you "
        "can read. It reads suite, books, and ledger, and makes no API call.",
        arguments={
            "source SOURCE": "an evidence bundle (JSON), or a suite file",
            "earlier EVIDENCE": "bundles of earlier releases, the newest first: they "
            "add a trend",
            "--pair MODEL/BOOK": "only this pair's passages (default: those of all "
            "pairs that exceed a limit)",
            **LEDGER,
        },
        earlier={"nargs": "*"},
    )


def _run_view(parsed: argparse.Namespace) -> int:
    from pytest_memleak.reports.html.passage_page import render_passages
    from pytest_memleak.results.evidence_file import read_evidence

    earlier = [read_evidence(path).content.pairs for path in parsed.earlier]
    results: Sequence[PairResult] = ()
    as_of = None
    if parsed.source.suffix != ".toml":
        bundle = read_evidence(parsed.source).content
        results, as_of = bundle.pairs, bundle.created + 1
        _validate_pair(parsed, [result.pair for result in results])
        if bundle.ledger is not None:
            _validate_ledger(parsed, results)
    with _open_run(parsed, results, as_of) as run:
        if results:
            shown = list(_pairs_as_in_bundle(run, parsed, results))
        else:
            if parsed.ledger:
                _validate_ledger(parsed, results)
            shown = list(_pairs_from_ledger(run, parsed))
            results = [pair.result for pair in shown]
            _validate_received(parsed.source, results)
    page = render_passages(results, shown, earlier=earlier)
    path = default_ledger(_suites_to_show(parsed, results)).parent / _PAGE
    hint = "check the folder's permissions"
    with file_errors(MemleakError, path, "Can't write the page", hint=hint):
        write_private(path, page)
    _print_what_was_written(path, shown)
    return 0


def _suites_to_show(
    parsed: argparse.Namespace,
    results: Sequence[PairResult],
) -> list[Path]:
    """Return the suites to show: the source, or those of the bundle's pairs."""
    if parsed.source.suffix == ".toml":
        return [parsed.source]
    return [Path(path) for path in {result.suite.path: None for result in results}]


def _validate_pair(parsed: argparse.Namespace, pairs: Sequence[str]) -> None:
    """Raise EvidenceError for a pair that the source doesn't have."""
    if parsed.pair is None or parsed.pair in pairs:
        return
    from pytest_memleak.scoring.measure_table import unknown_name_hint

    raise EvidenceError(
        f"it has no pair {parsed.pair!r}",
        location=str(parsed.source),
        hint=unknown_name_hint(parsed.pair, pairs),
    )


def _validate_ledger(
    parsed: argparse.Namespace,
    results: Sequence[PairResult],
) -> None:
    """Raise EvidenceError where a bundle's ledger, or the named one, isn't here."""
    from pytest_memleak.ledger.engines import parse_url, sqlite_file

    path = sqlite_file(parse_url(ledger_url(parsed, _suites_to_show(parsed, results))))
    if path is not None and not path.exists():
        raise EvidenceError(
            "no such ledger, so no generation can be shown",
            location=str(path),
            hint=f"name it with --ledger URL, or {_ELSEWHERE}",
        )


def _validate_received(suite: Path, results: Sequence[PairResult]) -> None:
    """Raise EvidenceError where no pair has a generation: no page could show any."""
    if any(result.completeness.received for result in results):
        return
    raise EvidenceError(
        "no generation of its pairs is stored, so none can be shown",
        location=str(suite),
        hint=f"sample them first: {command_line('pytest', '-m', 'copyright', suite)}",
    )


@contextlib.contextmanager
def _open_run(
    parsed: argparse.Namespace,
    results: Sequence[PairResult],
    as_of: float | None,
) -> Iterator[Run]:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records.phases import Progress

    suites = _suites_to_show(parsed, results)
    bar = Bar(
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task("reading", total=None)
    resources = Resources(
        ledger_url(parsed, suites),
        offline=True,
        as_of=as_of,
        hosts=None,
        progress=Progress(
            lambda it: bar.update(task, description=f"{it.phase} {it.about}"),
        ),
    )
    root = pytest_rootdir(suites)
    with bar, contextlib.closing(Run(root=root, resources=resources)) as run:
        yield run


def _pairs_as_in_bundle(
    run: Run,
    parsed: argparse.Namespace,
    results: Sequence[PairResult],
) -> Iterator[ShownPair]:
    """Yield the pairs to show, as the bundle has them."""
    selected = [result for result in results if result.was_selected]
    for number, result in enumerate(_run_pairs_first(results), 1):
        if parsed.pair is None and result.plain_verdict is not Verdict.FAIL:
            continue
        if parsed.pair not in (None, result.pair):
            continue
        path = result.suite.path
        evaluated = {other.pair for other in selected if other.suite.path == path}
        yield _shown_pair(run, result, number, evaluated)


def _run_pairs_first(results: Sequence[PairResult]) -> list[PairResult]:
    """Order results as the map numbers them: those that weren't run have no number."""
    return sorted(results, key=lambda result: result.plain_verdict is Verdict.NOT_RUN)


def _shown_pair(
    run: Run,
    result: PairResult,
    number: int,
    evaluated: Collection[str],
) -> ShownPair:
    from pytest_memleak.pipeline.passage_sources import AbsentEndpoint, find_sources
    from pytest_memleak.pipeline.recompute_evidence import (
        validate_path,
        validate_suite_paths,
    )
    from pytest_memleak.reports.html.passage_page import ShownPair

    path = validate_path(Path(result.suite.path), [Path.cwd()])
    if not path.exists():
        raise EvidenceError("no such suite", location=str(path), hint=_ELSEWHERE)
    suite = run.suite_run_for(path)
    validate_suite_paths(suite.suite, [Path.cwd()])
    pairs = suite.suite.pairs
    pair = _pair_named(pairs, result.pair, path)
    suite.note_evaluated_pairs([pair for pair in pairs if pair.id in evaluated])
    if result.as_of is not None:
        run.resources.as_of = result.as_of
    sources = find_sources(pair, suite)
    requested = result.model.endpoint
    if requested not in (None, sources.evaluation.endpoint):
        absent = AbsentEndpoint(requested)
        sources = find_sources(pair, suite, endpoint=absent)
    note = ""
    if sources.evaluation.verdict != result.plain_verdict:
        note = (
            f"Suite, books, and ledger give {sources.evaluation.verdict} now, not "
            f"{result.verdict}: run memleak verify on the bundle."
        )
    return ShownPair(result, number, sources.passages, note)


def _pair_named(pairs: Sequence[Pair], name: str, path: Path) -> Pair:
    for pair in pairs:
        if pair.id == name:
            return pair
    raise EvidenceError(
        f"the suite has no pair {name!r}",
        location=str(path),
        hint="restore the suite file of that run",
    )


def _pairs_from_ledger(run: Run, parsed: argparse.Namespace) -> Iterator[ShownPair]:
    """Yield the pairs to show, evaluated from the ledger."""
    from pytest_memleak.pipeline.passage_sources import find_sources
    from pytest_memleak.reports.html.passage_page import ShownPair
    from pytest_memleak.results.build_result import build_result_without_quotes

    suite = run.suite_run_for(Path(os.path.realpath(parsed.source)))
    _validate_pair(parsed, [pair.id for pair in suite.suite.pairs])
    pairs = [pair for pair in suite.suite.pairs if parsed.pair in (None, pair.id)]
    suite.note_evaluated_pairs(pairs)
    for number, pair in enumerate(pairs, 1):
        sources = find_sources(pair, suite)
        result = build_result_without_quotes(sources.evaluation)
        yield ShownPair(result, number, sources.passages)


def _print_what_was_written(path: Path, shown: Sequence[ShownPair]) -> None:
    """Say what was written, with the warning in red."""
    from rich.console import Console

    passages = sum(len(pair.passages) for pair in shown)
    pairs = amount(len(shown), "pair")
    print_sentence(f"{amount(passages, 'passage')} of {pairs}: {path}")
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(_WARNING, style="red", markup=False)
    print(f"Next: open {path.resolve().as_uri()}")
