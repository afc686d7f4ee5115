"""Hooks for extensions: providers, book readers, measures, and report sinks.

An extension is an object with some of these functions, marked with `hookimpl`, in the
entry-point group `memleak` (loaded with and without pytest) or in a conftest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import (
        Manuscript,
        MeasureFunction,
        ProviderFactory,
    )
    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import RunReport

hookspec = pluggy.HookspecMarker("memleak")
hookimpl = pluggy.HookimplMarker("memleak")


@hookspec(firstresult=True)
def memleak_read_book(
    path: Path,
    include: Sequence[str],
    exclude: Sequence[str],
    encoding: str | None,
) -> Manuscript | None:
    """Read the book at `path`, or return None to leave it to another reader.

    include, exclude: patterns of document names that the suite reads whole or not at
    all. A reader of formats with several documents applies them and lists each document
    in `Manuscript.parts`.
    encoding: the one that the suite declares for files of plain text, None for none.

    Raise `BookError` if the file has your format and can't be read::

        @hookimpl
        def memleak_read_book(path):
            if path.suffix == ".fb2":
                return Manuscript(title, author, chapters)
    """


@hookspec
def memleak_providers() -> Mapping[str, ProviderFactory]:  # type: ignore[empty-body]
    """Return providers by the name that a suite's `provider = "..."` uses.

    ::

        @hookimpl
        def memleak_providers():
            return {"my-cluster": MyCluster}      # called with a ProviderSetup
    """


@hookspec
def memleak_measures() -> Mapping[str, MeasureFunction | Measure]:  # type: ignore[empty-body]
    """Return measures by the name that `[limits.measures]` uses.

    A function is enough; a `Measure` also defines how it is limited and shown::

        def longest_line(book, generations):
            return max(len(line) for g in generations for line in g.text.splitlines())

        @hookimpl
        def memleak_measures():
            row = Measure(
                "longest_line", kind="count", unit="letters", function=longest_line
            )
            return {"longest_line": row}
    """


@hookspec
def memleak_report(run: RunReport) -> None:
    """Report a finished run, once at the session's end, with its evaluated pairs.

    Not called without any, unless evidence or HTML is requested, which list unrun
    pairs, too. Under xdist, only the controller calls it.

    ::

        @hookimpl
        def memleak_report(run):
            for result in run.results:
                post(result.pair, result.verdict)
    """
