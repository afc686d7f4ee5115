"""The first screen as JSON, for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError, file_errors
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.reports.first_screen import first_screen
from pytest_memleak.reports.output_table import JSON

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.records.pair_result import RunReport

SCHEMA = "pytest-memleak first screen 1"


def write_json(run: RunReport, path: Path) -> None:
    """Write the first screen of a run to `path`, with its folder.

    Raises MemleakError.
    """
    view = dataclasses.asdict(first_screen(run))
    content = {"schema": SCHEMA, "version": run.version, **view}
    text = json.dumps(content, indent=1)
    hint = f"give {JSON.option} a file in a writable folder"
    with file_errors(MemleakError, path, "Can't write the JSON", hint=hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{text}\n")
