"""`memleak figures`: evidence bundles as the figures of a paper."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_figures(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak figures`."""
    figures = commands.add_parser(
        "figures",
        help="evidence bundles as figures, in SVG and PDF",
        description="What evidence bundles say, drawn: where in the books, BMC against samples, "
        "spans, models compared; each as SVG and PDF.",
    )
    figures.add_argument(
        "evidence", metavar="EVIDENCE", type=Path, nargs="+", help="bundles (JSON)"
    )
    figures.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("figures"),
        help="the folder to write them to (default: figures)",
    )
    figures.set_defaults(run=_figures)


def _figures(parsed: argparse.Namespace) -> int:
    from pytest_memleak.redaction.text import inert
    from pytest_memleak.reports.evidence_table import Evidence
    from pytest_memleak.reports.figures import write_figures

    evidence = Evidence(*parsed.evidence)
    written, left_out = write_figures(evidence, parsed.output)
    for one in (*evidence.lacking, *left_out):
        print(f"memleak figures: {inert(one)}", file=sys.stderr)
    for path in written:
        print(path)
    return 0
