"""No key is in any file that a run wrote, nor in what it said."""

import dataclasses

import pytest
import sqlalchemy as sa
from faults import server_error
from scenarios import KINDS, SECRETS

from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations_with_texts
from pytest_memleak.ledger.tables import chain, generations
from pytest_memleak.reports.output_table import REPORTS

# Everything that may write: reports, the state of every local, the logs of every
# library.
LOUD = (
    *(
        "-l",
        "-vv",
        "--full-trace",
        "--showlocals",
        "--log-level=DEBUG",
        "--log-file=log.txt",
    ),
    *(f"{output.option}={output.name}{output.ending}" for output in REPORTS),
    "--memleak-quote=full",
)
WRONG = "wrong-9876543210abcdefghij"


def refusing(scenario, wrong):
    """The same server for a client with a wrong key."""
    variable = f"{scenario.provider.upper()}_API_KEY"
    if variable in scenario.environment:
        return dataclasses.replace(
            scenario, environment={**scenario.environment, variable: wrong}
        )
    scenario.server.key = wrong  # The token is given out by the server itself.
    message = f"Invalid credentials: Bearer {wrong}"
    scenario.plan(server_error("tunings.*", status=401, message=message))
    return scenario


def assert_nowhere(secret, outcome):
    """Neither in the output nor in any file that the run wrote."""
    files = {
        path: path.read_bytes() for path in outcome.folder.rglob("*") if path.is_file()
    }
    assert {"ledger.db", "junit.xml"} <= {path.name for path in files}
    assert any(path.name == "log.txt" and content for path, content in files.items())
    assert secret not in outcome.result.stdout.str() + outcome.result.stderr.str()
    assert [path for path, content in files.items() if secret.encode() in content] == []
    [path] = [path for path in files if path.name == "ledger.db"]
    with Ledger(
        f"sqlite:///{path}"
    ) as ledger:  # where texts and the chain are compressed
        texts = generations_with_texts(ledger, sa.select(generations))
        assert secret not in f"{texts} {ledger.rows(sa.select(chain.c.entry))}"


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_no_key_is_in_any_file_or_output(scenario, run, kind):
    server = scenario(kind, polls=0)
    outcome = run(server, *LOUD)
    assert outcome.ended == "24/24 FAIL"
    assert_nowhere(SECRETS[server.provider], outcome)


@pytest.mark.full
@pytest.mark.parametrize(
    "kind", ["openai", "openai-batch", "vertex", "tinker", "together"]
)
def test_nor_a_key_that_the_server_refuses_and_quotes(scenario, run, kind):
    wrong = SECRETS[kind.partition("-")[0]][:5] + WRONG
    server = refusing(scenario(kind, polls=0), wrong)
    outcome = run(server, *LOUD, tries=1, timeout=3)
    assert outcome.result.parseoutcomes() == {"errors": 1}
    assert "401" in outcome.text
    assert_nowhere(wrong, outcome)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["openai", "vertex", "tinker", "together"])
def test_nor_where_a_server_puts_it_into_whatever_fails(scenario, run, kind):
    message = (
        f"no luck with the credentials {SECRETS[kind]}, given as Bearer {SECRETS[kind]}"
    )
    server = scenario(kind, polls=0)
    server.plan(server_error(server.places.sample, status=400, message=message))
    outcome = run(server, *LOUD, tries=1, timeout=1)
    assert outcome.result.parseoutcomes() == {"errors": 1}
    assert "no luck with the credentials" in outcome.text
    assert_nowhere(SECRETS[kind], outcome)


PASSWORD = "hunter2-0123456789abcdef"
ADDRESSES = {"openai": "OPENAI_BASE_URL", "vertex": "GOOGLE_VERTEX_BASE_URL"}
ADDRESSES |= {name: f"{name.upper()}_BASE_URL" for name in ("tinker", "together")}
PROXIES = [f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL")]


@pytest.mark.full
@pytest.mark.parametrize("whose", ["address", "proxy"])
@pytest.mark.parametrize("kind", ADDRESSES)
def test_nor_a_password_in_the_environment_s_addresses(scenario, run, kind, whose):
    server = scenario(kind, polls=0)
    environment, options = dict(server.environment), dict(server.options)
    if whose == "address":
        plain = options.pop("base_url")
        environment[ADDRESSES[kind]] = plain.replace("://", f"://svc:{PASSWORD}@")
    else:
        # Nobody is there: what goes wrong is told.
        proxy = f"http://svc:{PASSWORD}@127.0.0.1:9"
        environment |= dict.fromkeys([*PROXIES, *map(str.lower, PROXIES)], proxy)
        environment |= {"NO_PROXY": "", "no_proxy": ""}
    server = dataclasses.replace(server, environment=environment, options=options)
    outcome = run(server, *LOUD, tries=1, timeout=3)
    assert sum(outcome.result.parseoutcomes().values()) == 1
    assert_nowhere(PASSWORD, outcome)
