"""Ledgers for the tests of sampling: in SQLite files, in memory, and in a PostgreSQL server."""

import pytest
from by_hand import a_book, count_words
from marks import full
from postgres_server import PostgresServer, binaries

from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import build_prompts
from pytest_memleak.records import Sampling
from pytest_memleak.sampling.retry import Retry


@pytest.fixture(scope="session")
def postgres():
    if binaries() is None:
        pytest.skip(
            "PostgreSQL is not installed (on Debian: apt-get install postgresql)"
        )
    with PostgresServer() as server:
        yield server


def new_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/ledger.db"
    return request.getfixturevalue("postgres").new_place()


url = pytest.fixture(params=["sqlite", "postgresql"], name="url")(new_url)
# Of what stands above the ledger and of what reads it; what writes it is tested on
# both.
url_above = pytest.fixture(params=["sqlite", full("postgresql")], name="url")(new_url)
on_both = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
        yield opened


@pytest.fixture
def memory():
    with Ledger("sqlite://") as opened:
        yield opened


@pytest.fixture
def hasty():
    return Retry(
        deadline=20.0, recovery=0.0, first=0.0, poll=0.0, pause=lambda event, _: event
    )


@pytest.fixture
def ask():
    def make(excerpts=3, samples=4, **sampling):
        settings = Sampling(samples=samples, **sampling)
        return build_prompts(
            "model/book", a_book(excerpts), settings, words=count_words
        )

    return make
