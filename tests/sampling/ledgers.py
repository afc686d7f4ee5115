"""Ledgers for the tests of sampling: in SQLite files, in memory, and in a PostgreSQL server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import a_book, count_words
from marks import full
from postgres_server import PostgresServer, binaries

from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PairPrompts, build_prompts
from pytest_memleak.records import Sampling
from pytest_memleak.sampling.retry import Retry


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with PostgresServer() as server:
        yield server


def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/ledger.db"
    return request.getfixturevalue("postgres").new_place()


url = pytest.fixture(params=["sqlite", "postgresql"], name="url")(new_url)
# Of what stands above the ledger, whose own tests run on both.
url_above = pytest.fixture(params=["sqlite", full("postgresql")], name="url")(new_url)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as opened:
        yield opened


@pytest.fixture
def memory() -> Iterator[Ledger]:
    with Ledger("sqlite://") as opened:
        yield opened


@pytest.fixture
def hasty() -> Retry:
    return Retry(deadline=20.0, recovery=0.0, first=0.0, poll=0.0, pause=lambda event, _: event)


@pytest.fixture
def ask() -> Callable[..., PairPrompts]:
    def make(excerpts: int = 3, samples: int = 4, **sampling: float) -> PairPrompts:
        settings = Sampling(samples=samples, **sampling)
        return build_prompts("model/book", a_book(excerpts), settings, words=count_words)

    return make
