"""Provider tests read what servers say, to the end."""

import pytest

from pytest_memleak.providers.call_errors import server_words


@pytest.fixture(autouse=True)
def all_server_words():
    """Show the messages of servers as --memleak-quote full does."""
    with server_words(None):
        yield
