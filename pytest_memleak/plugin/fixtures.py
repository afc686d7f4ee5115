"""Fixtures for tests of one's own.

PYTEST_DONT_REWRITE

    @pytest.mark.copyright(suite="release.memleak.toml")
    def test_no_long_recital(memorization):
        assert memorization.longest_recital <= 38

Override `endpoint` in a conftest to bring a model of your own: anything with `sample`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.stash import run_key

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Endpoint, Recording
    from pytest_memleak.plugin.own_tests import Memorization
    from pytest_memleak.records import Book, Pair
    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["book", "endpoint", "evaluation", "memorization", "pair"]


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest) -> Pair:
    """The model and the book that the test is for (`pytest_memleak.records.Pair`)."""
    if not hasattr(request, "param"):
        pytest.fail(
            "this test needs the suite whose pairs it runs for:\n"
            '    @pytest.mark.copyright(suite="release.memleak.toml")',
            pytrace=False,
        )
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def book(pair: Pair, request: pytest.FixtureRequest) -> Book:
    """The pair's book, cut into excerpts with their instructions."""
    from pytest_memleak.plugin.outcomes import plainly
    from pytest_memleak.plugin.text_views import view_of_book

    run = request.config.stash[run_key]
    with plainly(request.config):
        return view_of_book(run.of_suite(pair.suite).books.book_of(pair))


@pytest.fixture(scope="session")
def endpoint(pair: Pair, request: pytest.FixtureRequest) -> Endpoint | Recording:
    """The model's endpoint, opened (and fine-tuned, if need be) when it is first used."""
    from pytest_memleak.plugin.outcomes import SuiteEndpoint

    return SuiteEndpoint(pair, request.config)


@pytest.fixture
def evaluation(pair: Pair, endpoint: Any, request: pytest.FixtureRequest) -> Evaluation:
    """The pair's evaluation: measurement, completeness, judgement. INCONCLUSIVE is an error."""
    from pytest_memleak.plugin.outcomes import conclusive, evaluate_for, remembering_doubt
    from pytest_memleak.plugin.text_views import view_of_evaluation

    with remembering_doubt(request.node):
        return view_of_evaluation(conclusive(evaluate_for(request.node, pair, endpoint)))


@pytest.fixture
def memorization(pair: Pair, endpoint: Any, request: pytest.FixtureRequest) -> Memorization:
    """The pair's measures, on complete evidence only; the suite's limits do not matter to them."""
    from pytest_memleak.plugin.outcomes import complete, evaluate_for, remembering_doubt
    from pytest_memleak.plugin.own_tests import Memorization

    with remembering_doubt(request.node):
        return Memorization(complete(evaluate_for(request.node, pair, endpoint)), request.node)
