"""Progress while a pair is sampled, one line that redraws itself.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from pytest_memleak.records import Pair
    from pytest_memleak.sampling.loop import Progress, Standing

__all__ = ["progress_for"]


@contextlib.contextmanager
def progress_for(config: pytest.Config, pair: Pair) -> Iterator[Progress | None]:
    """What to tell of the pair's drawing; None where nobody looks on.

    Off when the output is no terminal, under -q, and in xdist's workers.
    """
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if (
        reporter is None
        or not reporter.isatty
        or config.get_verbosity() < 0
        or hasattr(config, "workerinput")
    ):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=_Terminal(config), force_terminal=True)  # type: ignore[arg-type]
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[spent]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
    ) as bars:
        task = bars.add_task(pair.id, total=None, start=True, spent="")

        def tell(standing: Standing) -> None:
            bars.update(
                task,
                completed=standing.done,
                total=standing.done + standing.outstanding,
                spent=_spent(standing),
                refresh=True,
            )

        yield tell


def _spent(standing: Standing) -> str:
    tokens = f"{standing.prompt_tokens + standing.completion_tokens:,} tokens"
    return tokens if standing.cost is None else f"{tokens}, US$ {standing.cost:.2f}"


class _Terminal:
    """Writes past pytest's capture, which holds stdout while a test runs."""

    def __init__(self, config: pytest.Config) -> None:
        capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._past: Callable[[], contextlib.AbstractContextManager[None]] = (
            capture.global_and_fixture_disabled if capture else contextlib.nullcontext
        )
        self._file = config.get_terminal_writer()

    def write(self, text: str) -> int:
        with self._past():
            self._file.write(text, flush=True)
        return len(text)

    def flush(self) -> None:
        """Every write is flushed."""
