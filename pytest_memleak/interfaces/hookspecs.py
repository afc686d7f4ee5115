"""Hooks for extensions: providers, book readers, measures and report sinks.

An extension is an object with some of these functions, marked with `hookimpl`, under the
entry-point group `memleak` (found with and without pytest), or a conftest's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Manuscript, MeasureFunction, ProviderFactory
    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import RunReport

hookspec = pluggy.HookspecMarker("memleak")
hookimpl = pluggy.HookimplMarker("memleak")


@hookspec(firstresult=True)
def memleak_read_book(
    path: Path, include: Sequence[str], exclude: Sequence[str]
) -> Manuscript | None:
    """Read the book at `path`, or return None to leave it to another reader.

    include, exclude: patterns of names of documents in it that a suite has read whole, or not at
    all. A reader of files that hold several takes them, and tells of each in `Manuscript.parts`.

    Raise `BookError` where the file is of your kind and cannot be read::

        @hookimpl
        def memleak_read_book(path):
            if path.suffix == ".fb2":
                return Manuscript(title, author, chapters)
    """


@hookspec
def memleak_providers() -> Mapping[str, ProviderFactory]:  # type: ignore[empty-body]
    """Providers by the name that a suite's `provider = "..."` uses.

    ::

        @hookimpl
        def memleak_providers():
            return {"my-cluster": MyCluster}      # called with a ProviderSetup
    """


@hookspec
def memleak_measures() -> Mapping[str, MeasureFunction | Measure]:  # type: ignore[empty-body]
    """Measures beside the built-in ones, by the name that `[limits.measures]` uses.

    A function is enough; a row of the table says also how it is limited and shown::

        def longest_line(book, generations):
            return max(len(line) for g in generations for line in g.text.splitlines())

        @hookimpl
        def memleak_measures():
            row = Measure("longest_line", kind="count", unit="letters", function=longest_line)
            return {"longest_line": row}
    """


@hookspec
def memleak_report(run: RunReport) -> None:
    """Called once, when the session ends, with the findings of all pairs that were evaluated.

    Not called where none was, unless evidence or a page is asked for: they tell of the others too.
    Under xdist it is called in the controller only.

    ::

        @hookimpl
        def memleak_report(run):
            for found in run.findings:
                post(found.pair, found.verdict)
    """
