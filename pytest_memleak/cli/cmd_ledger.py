"""`memleak ledger`: subcommands that list, verify, export, and clean up."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.default_ledger import FOLDER, pytest_rootdir
from pytest_memleak.cli.shared_options import LEDGER, add_command, existing_ledger
from pytest_memleak.cli.terminal_output import print_table
from pytest_memleak.errors import LedgerError, MemleakError, RecordsError
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.ledger.deployments import OpenDeployment
    from pytest_memleak.ledger.ledger import Ledger

_SUFFIXES = (".json", ".jsonl")
_SHOWN_OF_RUN = 12  # characters
_DIFFERS = 1
_STILL_DEPLOYED = 1
_ENDPOINT = "an endpoint of `ledger list`, or the beginning of its digest"


def add_ledger(commands: Commands) -> None:
    """Register `memleak ledger` and its subcommands."""
    ledger = commands.add_parser(
        "ledger",
        help="list, verify, and export generations; clean up deployments",
        description="List, verify, and export generations, and delete deployments that "
        "earlier runs left active.",
    )
    verbs = ledger.add_subparsers(
        dest="verb",
        required=True,
        metavar="COMMAND",
    )
    _add_subcommand(
        verbs,
        "list",
        _run_list,
        "list endpoints, fine-tunes, and batches",
        {"--json": "print JSON instead of tables"},
    )
    _add_subcommand(
        verbs,
        "history",
        _run_history,
        "list an endpoint's samples by run and settings",
        {
            "--endpoint ID": _ENDPOINT,
            "--book ID": "list this book only",
            "--json": "print JSON instead of a table",
        },
        "endpoint",
    )
    cleanup = "delete deployments that earlier runs left active"
    _add_subcommand(verbs, "cleanup", _run_cleanup, cleanup, {})
    verify = "verify every row against the ledger's hash chain"
    _add_subcommand(verbs, "verify", _run_verify, verify, {})
    _add_subcommand(
        verbs,
        "export",
        _run_export,
        "write an endpoint's generations to a file",
        {
            "--endpoint ID": _ENDPOINT,
            "--book ID": "the book, if the endpoint was sampled for several",
            "--temperature T": "the temperature, if there are several",
            "--seed N": "the seed, if there are several",
            "-o/--output "
            "FILE": "the file: .json for the paper's format, .jsonl for one generation "
            "per line",
        },
        "endpoint",
        "output",
    )


def _add_subcommand(
    verbs: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    arguments: Mapping[str, str],
    *required: str,
) -> None:
    """Register a subcommand; required: its options that can't be omitted."""
    arguments = {**LEDGER, **arguments}
    settings = {option: {"required": True} for option in required}
    texts = text, f"{text.capitalize()}."
    add_command(verbs, name, run, *texts, arguments=arguments, **settings)


def _run_list(parsed: argparse.Namespace) -> int:
    from pytest_memleak.ledger.listing import list_batches, list_endpoints, list_jobs

    with existing_ledger(parsed) as ledger:
        endpoints = list_endpoints(ledger)
        jobs = list_jobs(ledger)
        batches = list_batches(ledger)
        json_text = _as_json(
            ledger.place,
            endpoints=endpoints,
            finetunes=jobs,
            batches=batches,
        )
        sections = (
            ("Endpoints", _ENDPOINT_COLUMNS, list(map(_endpoint_cells, endpoints))),
            ("Fine-tunes", _JOB_COLUMNS, list(map(_job_cells, jobs))),
            ("Batches", _BATCH_COLUMNS, list(map(_batch_cells, batches))),
        )
    if parsed.json:
        print(json_text)
        return 0
    filled = [section for section in sections if section[2]]
    for number, (title, columns, rows) in enumerate(filled):
        if number:
            print()
        _print_table(title, columns, rows)
    if not filled:
        print("the ledger is empty")
    return 0


def _as_json(place: str, **listed: Sequence[Any]) -> str:
    content: dict[str, Any] = {"ledger": place}
    for name, rows in listed.items():
        content[name] = [row._asdict() for row in rows]
    # Non-ASCII is escaped, so that no terminal acts on it and no id changes.
    return json.dumps(content, indent=2)


_WORDS = {
    "provider",
    "endpoint",
    "book",
    "fine-tune",
    "batch",
    "state",
    "began",
    "cause",
    "by",
    "run",
    "first",
    "last",
}
"""Columns of words; the others are numbers."""
_ENDPOINT_COLUMNS = (
    "endpoint",
    "book",
    "temp.",
    "seed",
    "excerpts",
    "samples",
    "withheld",
    "calls",
    "lost",
    "open",
    "in",
    "out",
    "billed US$",
    "at most US$",
)
_JOB_COLUMNS = (
    "provider",
    "fine-tune",
    "state",
    "endpoint",
    "examples",
    "tokens",
    "began",
    "cause",
)
_BATCH_COLUMNS = (
    "provider",
    "batch",
    "endpoint",
    "state",
    "answered",
    "began",
    "cause",
)
_HISTORY_COLUMNS = (
    "book",
    "temp.",
    "seed",
    "by",
    "run",
    "excerpts",
    "calls",
    "lost",
    "failed",
    "samples",
    "surplus",
    "removed",
    "first",
    "last",
    "endpoint",
)


def _endpoint_cells(row: Any) -> Sequence[object]:
    return (
        row.endpoint,
        row.book,
        f"{row.temperature:g}",
        str(row.seed),
        row.excerpts,
        row.generations,
        row.withheld,
        row.calls,
        row.lost,
        row.open,
        row.prompt_tokens,
        row.completion_tokens,
        "-" if row.billed is None else f"{row.billed:,.2f}",
        "-" if row.cost is None else f"{row.cost:,.2f}",
    )


def _job_cells(row: Any) -> Sequence[object]:
    return (
        row.provider,
        row.job_id or "-",
        row.state,
        row.endpoint or "-",
        row.examples,
        "-" if row.tokens is None else row.tokens,
        _utc_text(row.began),
        row.cause,
    )


def _batch_cells(row: Any) -> Sequence[object]:
    return (
        row.provider,
        row.batch_id or "-",
        row.endpoint,
        row.state,
        f"{row.answered:,}/{row.requests:,}",
        _utc_text(row.began),
        row.cause,
    )


def _utc_text(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
) -> None:
    print(f"{title}:")
    print_table(columns, rows, right=[name for name in columns if name not in _WORDS])


def _run_history(parsed: argparse.Namespace) -> int:
    from pytest_memleak.ledger.listing import resolve_endpoint
    from pytest_memleak.ledger.sampling_history import list_attempts

    with existing_ledger(parsed) as ledger:
        endpoint = resolve_endpoint(ledger, parsed.endpoint)
        history = list_attempts(ledger, endpoint, parsed.book)
        json_text = _as_json(ledger.place, attempts=history)
        rows = [_history_cells(row) for row in history]
    if parsed.json:
        print(json_text)
    else:
        _print_table("Attempts", _HISTORY_COLUMNS, rows)
    return 0


def _history_cells(row: Any) -> Sequence[object]:
    return (
        row.book,
        f"{row.temperature:g}",
        str(row.seed),
        row.kind,
        (row.run or "-")[:_SHOWN_OF_RUN],
        row.excerpts,
        row.calls,
        row.lost,
        row.failed,
        row.generations,
        row.surplus,
        row.removed,
        _utc_text(row.first),
        _utc_text(row.last),
        row.endpoint,
    )


def _run_cleanup(parsed: argparse.Namespace) -> int:
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.ledger.deployments import possibly_active_deployments

    with existing_ledger(parsed) as ledger:
        extensions = Extensions()
        states = []
        for deployment in possibly_active_deployments(ledger):
            state = _delete_unless_in_use(deployment, ledger, extensions)
            states.append(state)
            name = deployment.endpoint or deployment.job_id or deployment.weights
            if deployment.an_hour is not None:
                name = f"{name}, US${deployment.an_hour:,.2f} an hour"
            print(inert(f"{deployment.provider} {name}: {state}"))
    if not states:
        print("nothing is deployed")
    return 0 if all(state == "deleted" for state in states) else _STILL_DEPLOYED


def _delete_unless_in_use(
    deployment: OpenDeployment,
    ledger: Ledger,
    extensions: Extensions,
) -> str:
    """Delete a deployment unless it is in use; return its state, and why it remains."""
    from pytest_memleak.ledger.deployments import possibly_active_deployments
    from pytest_memleak.pipeline.endpoints import remove_deployment

    if deployment.in_use:
        return "in use"
    try:
        state = pytest_rootdir() / FOLDER
        if remove_deployment(
            deployment,
            extensions,
            ledger=ledger,
            state=state,
            retry=None,
        ):
            return "deleted"
    except LedgerError:
        raise
    except MemleakError as error:
        if error.line:
            return f"still deployed: {error.line}"
    for debt in possibly_active_deployments(ledger):
        if debt.number == deployment.number and debt.cause:
            return f"still deployed: {debt.cause}"
    return "still deployed"


def _run_verify(parsed: argparse.Namespace) -> int:
    from pytest_memleak.cli.terminal_output import print_sentence
    from pytest_memleak.ledger.verify_chain import check_ledger

    with existing_ledger(parsed) as ledger:
        place = inert(ledger.place)
        check = check_ledger(ledger)
    for line in check.wrong:
        print_sentence(inert(line), indent=2)
    text = f"{amount(check.entries, 'entry', 'entries')}, {amount(check.calls, 'call')}"
    if not check.wrong:
        print_sentence(f"{place}: {text}: every row is unchanged", indent=2)
        return 0
    differences = amount(len(check.wrong), "difference")
    print_sentence(f"{place}: {text}: {differences}", indent=2)
    return _DIFFERS


def _run_export(parsed: argparse.Namespace) -> int:
    from pytest_memleak.ledger.generation_files import export_generations
    from pytest_memleak.ledger.listing import resolve_endpoint

    if parsed.output.suffix.lower() not in _SUFFIXES:
        raise RecordsError(
            f"expected a name that ends in {' or '.join(_SUFFIXES)}, got "
            f"{parsed.output.suffix or 'none'}",
            location=str(parsed.output),
        )
    with existing_ledger(parsed) as ledger:
        count = export_generations(
            ledger,
            parsed.output,
            endpoint_id=resolve_endpoint(ledger, parsed.endpoint),
            book_id=parsed.book,
            temperature=parsed.temperature,
            seed=parsed.seed,
        )
    print(f"{amount(count, 'generation')} -> {inert(str(parsed.output))}")
    return 0
