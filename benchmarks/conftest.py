"""Inputs of the benchmarks, and how large they are."""

import corpus
import floor
import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--scale",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="share of the 25,000 generations that are scored (default: 0.02)",
    )


@pytest.fixture(scope="session")
def book():
    return corpus.book()


@pytest.fixture(scope="session")
def known(book):
    return floor.vocabulary(excerpt.text for excerpt in book.excerpts)


@pytest.fixture(scope="session", params=corpus.LEAK_RATES)
def drawn(request):
    return list(
        corpus.generations(
            request.param, round(25_000 * request.config.getoption("scale"))
        )
    )
