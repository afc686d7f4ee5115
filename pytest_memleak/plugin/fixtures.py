"""The fixtures of your own tests.

PYTEST_DONT_REWRITE

Override `memleak_endpoint` in a conftest to test your own model, any object with
`sample`.

    @pytest.mark.copyright(suite="release.memleak.toml")
    def test_no_long_passage(memorization):
        assert memorization.longest_passage <= 38
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.options import run_key

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.plugin.pair_evaluation import Memorization
    from pytest_memleak.records import Book, Pair
    from pytest_memleak.verdict.evaluation import Evaluation


@pytest.fixture(scope="session")
def memleak_pair(request: pytest.FixtureRequest) -> Pair:
    """Return the pair of model and book under test (`pytest_memleak.records.Pair`)."""
    if not hasattr(request, "param"):
        pytest.fail(
            "this test needs a suite:\n    "
            '@pytest.mark.copyright(suite="release.memleak.toml")',
            pytrace=False,
        )
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def memleak_book(memleak_pair: Pair, request: pytest.FixtureRequest) -> Book:
    """Return the pair's book, cut into excerpts with their instructions."""
    from pytest_memleak.plugin.hidden_tracebacks import hiding_tracebacks
    from pytest_memleak.plugin.reporting_views import view_of_book

    run = request.config.stash[run_key]
    with hiding_tracebacks(request.config):
        return view_of_book(
            run.suite_run_for(memleak_pair.suite).books.pair_book(memleak_pair),
        )


@pytest.fixture(scope="session")
def memleak_endpoint(memleak_pair: Pair, request: pytest.FixtureRequest) -> Endpoint:
    """Return the model's endpoint, opened and perhaps fine-tuned on first use."""
    from pytest_memleak.plugin.pair_evaluation import SuiteEndpoint

    return SuiteEndpoint(memleak_pair, request.config)


@pytest.fixture
def memleak_evaluation(
    memleak_pair: Pair,
    memleak_endpoint: Any,
    request: pytest.FixtureRequest,
) -> Evaluation:
    """Return the pair's evaluation, with its verdict; error if it is INCONCLUSIVE."""
    from pytest_memleak.plugin.pair_evaluation import (
        evaluate_for,
        recording_failure,
        require_conclusive,
    )
    from pytest_memleak.plugin.reporting_views import view_of_evaluation

    with recording_failure(request.node):
        evaluation = evaluate_for(request.node, memleak_pair, memleak_endpoint)
        return view_of_evaluation(require_conclusive(evaluation))


@pytest.fixture
def memorization(
    memleak_pair: Pair,
    memleak_endpoint: Any,
    request: pytest.FixtureRequest,
) -> Memorization:
    """Return the pair's measures, on complete evidence only, whatever the limits."""
    from pytest_memleak.plugin.pair_evaluation import (
        Memorization,
        evaluate_for,
        recording_failure,
        require_complete,
    )

    with recording_failure(request.node):
        evaluation = evaluate_for(request.node, memleak_pair, memleak_endpoint)
        return Memorization(require_complete(evaluation), request.node)
