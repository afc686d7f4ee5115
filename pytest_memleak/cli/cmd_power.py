"""`memleak power`: detection limit and cost of a suite by the number of samples."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

UNPLANNABLE = 1


def add_power(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak power`."""
    power = commands.add_parser(
        "power",
        help="show detection limit and maximum cost for several sample counts",
        description="Show detection limit and maximum cost for several sample counts, and whether "
        "each limit can pass; for a run that samples everything. Makes no API calls. Exits with 1 "
        "if something can't be planned.",
    )
    power.add_argument("suite", metavar="SUITE", type=Path, help="the suite file")
    power.add_argument("--json", action="store_true", help="print JSON instead of a table")
    power.set_defaults(run=_power)


def _power(parsed: argparse.Namespace) -> int:
    from pytest_memleak.pipeline.dry_run import suite_power
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.reports.terminal import power_table

    run = Run(root=Path.cwd(), resources=Resources("sqlite://", offline=True))
    try:
        power = suite_power(run.of_suite(Path(os.path.realpath(parsed.suite))))
    finally:
        run.close()
    if parsed.json:
        print(json.dumps(dataclasses.asdict(power), indent=2))
    else:
        width, color = shutil.get_terminal_size().columns, sys.stdout.isatty()
        print(power_table(power, width=width, color=color), end="")
    return UNPLANNABLE if power.obstacles else 0
