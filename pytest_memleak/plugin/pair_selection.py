"""Which pairs a session runs, and in which order.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pytest_memleak.plugin.collect_suites import skip_reason
from pytest_memleak.plugin.options import (
    HOW_TO_RUN,
    pair_of,
    pairs_of,
)
from pytest_memleak.plugin.session_run import run_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_memleak.records import Pair


def skip_paid_pairs(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skip pairs with paid calls unless the marker or an option selects them."""
    selecting = ("memleak_allow_paid", "memleak_dry_run", "memleak_offline")
    if any(config.getoption(name) for name in selecting):
        return
    if "copyright" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        pair = pair_of(item)
        if pair is None:
            continue
        provider = run_of(config).paid_provider(pair)
        if provider:
            item.add_marker(pytest.mark.skip(reason=f"calls {provider}: {HOW_TO_RUN}"))


def group_by_file(items: list[pytest.Item]) -> None:
    """Order pairs by file, each with a line of progress; pytest mixes them."""
    places = [place for place, item in enumerate(items) if pair_of(item)]
    by_file: dict[Path, list[pytest.Item]] = {}
    for place in places:
        by_file.setdefault(items[place].path, []).append(items[place])
    grouped = itertools.chain.from_iterable(by_file.values())
    for place, item in zip(places, list(grouped), strict=True):
        items[place] = item


def expect_pairs(session: pytest.Session) -> None:
    """Tell each suite which of its pairs the session runs.

    Raises UsageError for a budget without prices, or without caps.
    """
    pairs = pairs_of(session.items)
    config = session.config
    unpriced = dict.fromkeys(
        pair.model.id for pair in pairs.values() if pair.model.price is None
    )
    calls_none = any(map(config.getoption, ("memleak_offline", "memleak_dry_run")))
    has_budget = config.getoption("memleak_budget") is not None and not calls_none
    # In a worker of xdist, which can't end a run, each pair says so.
    if unpriced and has_budget and not hasattr(config, "workerinput"):
        raise pytest.UsageError(
            f"--memleak-budget needs a price for {', '.join(unpriced)}; add price = "
            "{ input = ..., output = ... } (US$ per million tokens) to the [[model]]; "
            "0 if the model is free",
        )
    uncapped = dict.fromkeys(
        pair.model.id
        for pair in pairs.values()
        if pair.sampling.max_tokens == "default"
    )
    if uncapped and has_budget and not hasattr(config, "workerinput"):
        raise pytest.UsageError(
            "--memleak-budget needs a cap on the generations of "
            f"{', '.join(uncapped)}, "
            'but max_tokens = "default" sends none; set max_tokens to a number',
        )
    by_suite: dict[Path, list[Pair]] = {}
    running = (item for item in session.items if skip_reason(item) is None)
    for (suite, _), pair in pairs_of(running).items():
        by_suite.setdefault(suite, []).append(pair)
    for suite, its_pairs in by_suite.items():
        run_of(config).suite_run_for(suite).note_evaluated_pairs(its_pairs)
