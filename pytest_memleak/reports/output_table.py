"""The table of outputs: one row holds an output's option and its writer.

An output is added here and nowhere else: plugin, preflight, and commands read the table
(those of a run: `REPORTS`). Light to import: an idle plugin reads the rows for its
options.
"""

from __future__ import annotations

import base64
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.records.pair_result import RunReport


@dataclass(frozen=True, slots=True)
class Output:
    """A row of the table.

    name:   its key in `RunReport.outputs`, or its form in `memleak table --format`
    option: the option that names its file, or the environment variable
    writer: module of this package and function, imported when something is written: of
    a run
            (RunReport, file); of a verified bundle (bundle, file); of a table (Table,
            open file)
    help:   of the option
    ending: of its files' names
    signs:  a file without any of these near its beginning isn't overwritten
    """

    name: str
    option: str
    writer: str
    help: str = ""
    ending: str = ""
    signs: tuple[bytes, ...] = ()

    @property
    def dest(self) -> str:
        """The option's name in pytest's configuration."""
        return self.option.removeprefix("--").replace("-", "_")

    def write(self, source: Any, target: Any) -> None:
        """Write it; MemleakError where that fails."""
        pkgutil.resolve_name(f"{__package__}.{self.writer}")(source, target)

    def write_if_requested(self, run: RunReport) -> None:
        """Write it if the run's options or environment name a file for it."""
        if self.name in run.outputs:
            self.write(run, run.outputs[self.name])


HTML = Output(
    name="html",
    option="--memleak-html",
    writer="html.page:write_html",
    help="write an HTML report with maps and charts: one file that works offline",
    ending=".html",
    signs=(b"<html",),
)
EVIDENCE = Output(
    "evidence",
    "--memleak-evidence",
    "signature:write_evidence",
    help="write an evidence bundle: JSON without text of books or models",
    ending=".json",
    signs=(
        b'"schema": "pytest-memleak evidence',
        # Signed evidence begins with its payload: a Statement whose predicate is a
        # bundle ...
        base64.b64encode(
            b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"com',
        ),
        # ... or, beside it, a test result.
        base64.b64encode(
            b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"con',
        ),
    ),
)
JSON = Output(
    name="json",
    option="--memleak-json",
    writer="screen_json:write_json",
    help="write the first screen as JSON: verdict, map, causes, and the next command",
    ending=".json",
    signs=(b'"schema": "pytest-memleak first screen',),
)
STEP_SUMMARY = Output(
    name="step_summary",
    option="GITHUB_STEP_SUMMARY",
    writer="github_summary:append_job_summary",
)
JUNIT = Output(
    name="junit",
    option="--junitxml",
    writer="junit_properties:add_run_properties",
    ending=".xml",
)  # of pytest
BADGE = Output(
    name="badge",
    option="--badge",
    writer="badge:write_badge",
    help="write a badge of the result if everything was recomputed and matches",
    ending=".svg",
)

REPORTS = (HTML, EVIDENCE, JSON)
"""The files that the plugin's options name."""

TABLES = tuple(
    Output(
        name=form,
        option="--output",
        writer=f"evidence_table:write_{form}",
        ending=ending,
    )
    for form, ending in (
        ("md", ".md"),
        ("latex", ".tex"),
        ("csv", ".csv"),
        ("json", ".json"),
        ("parquet", ".parquet"),
    )
)
"""The forms of `memleak table` that programs read; people read text."""


def test_result_path(evidence: Path) -> Path:
    """Return the file beside signed evidence that holds in-toto's test result."""
    return evidence.with_suffix(".test-result.json")
