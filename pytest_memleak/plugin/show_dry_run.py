"""What --memleak-dry-run shows: outstanding calls, their maximum cost, and one step up.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_memleak.pipeline.detection_table import (
    detection_row,
    next_usual_samples,
    pairs_with_rounds,
)
from pytest_memleak.pipeline.dry_run import plan_run
from pytest_memleak.plugin.options import pairs_of, terminal_settings
from pytest_memleak.records.number_format import percent_at_most
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.plan_tables import plan_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records import Pair


def show_plans(session: pytest.Session, run: Run) -> None:
    """Write the plans of the session's pairs to the terminal."""
    config = session.config
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--memleak-dry-run runs in one process: omit -n")
    pairs = tuple(pairs_of(session.items).values())
    plan = plan_run(pairs, lambda pair: run.suite_run_for(pair.suite))
    writer = config.get_terminal_writer()
    writer.line()
    every = config.get_verbosity() > 0
    writer.write(plan_table(plan, **terminal_settings(config), every=every))
    if plan.obstacles:
        session.testsfailed = len(plan.obstacles)
    elif step_up := _step_up(pairs, run):
        writer.line(step_up)
    if plan.steps:
        new = " (doesn't exist yet)" if run.resources.is_ledger_file_missing else ""
        writer.line(f"Ledger: {inert(run.resources.ledger_name)}{new}")


def _step_up(pairs: Sequence[Pair], run: Run) -> str:
    """Say what the next usual number of samples detects and costs; "" without one."""
    samples = next_usual_samples(pairs)
    if samples is None:
        return ""
    planned = plan_run(
        pairs, lambda pair: run.suite_run_for(pair.suite), samples=samples
    )
    row = detection_row(planned, pairs_with_rounds(pairs)[0], samples)
    if planned.obstacles or not row.generations:  # recordings have no more samples
        return ""
    text = (
        f"{samples} samples: detection limit {percent_at_most(row.detection)}, "
        f"{row.generations:,} generations"
    )
    if row.cost:
        text += f", at most US${row.cost:,.2f}"
    return f"{text} (memleak doctor: more)"
