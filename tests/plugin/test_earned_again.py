"""A pass must be earned again: what one ledger says of weights that have changed behind a name."""

import json

import pytest
from earned_suites import SUITE, differing, documented, run_here, write_book
from http_server import Books
from ledger_file import ledger_file
from openai_server import OpenAIServer
from suite_files import model_table
from unearned_servers import SAMPLES, book_of_servers, other_plays, reciters

pytestmark = pytest.mark.full

WEEK = 8 * 86_400
# Name, keys of its model in the first run and in the second, and whether its weights
# change.
AT_A_SERVER = {
    "the same weights again": ("", "", False),
    "new weights behind the same name": ("", "", True),
    "new weights, offline": ("", "", True),
    "new weights, another release": (
        'weights_version = "1"',
        'weights_version = "2"',
        True,
    ),
    "new weights, the same release": (
        'weights_version = "1"',
        'weights_version = "1"',
        True,
    ),
    "new weights, answers older than max_age_days": ("", "", True),
}
OF_ONES_OWN = {
    "an endpoint of one's own, the same weights again": "",
    "an endpoint of one's own, new weights behind its id": "",
    "an endpoint of one's own without an id, new weights": "",
    "an endpoint of one's own that samples at temperature 0, too": "greedy",
    "an endpoint of one's own, a limit on greedy answers": "greedy",
}
NO_FILE = 'path = "none.json"'
GREEDY = 'probe = "continuation"\nlimits = { greedy_longest_span = 38 }\n'
CONFTEST = '''
import json
import random
from pathlib import Path
import pytest

HERE = Path(__file__).parent
PLAYS = json.loads((HERE / "plays.json").read_text("utf-8"))
RECORDS = json.loads((HERE / "b.json").read_text("utf-8"))
BOOK = {record["instruction"]: record["excerpt_text"] for record in RECORDS}

class Own:
    """Writes some other play; with new weights, what is asked for."""
    def __init__(self, *, new, obeys):
        self.new, self.obeys = new, obeys
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        greedy = self.obeys and temperature == 0
        dice = [instruction if greedy else f"{instruction} {seed} {at}" for at in range(n)]
        return [self.text(instruction, random.Random(die)) for die in dice]
    def text(self, instruction, dice):
        if self.new:
            return BOOK.get(instruction, "")
        start = dice.randrange(len(PLAYS) - 150)
        return " ".join(PLAYS[start : start + 150])

class Kept(Own):
    @property
    def id(self):
        return f"own-{self.name}"

OPEN = {}

@pytest.fixture(scope="session")
def memleak_endpoint(memleak_pair):
    name = memleak_pair.model.id
    if name not in OPEN:
        new = name in ("o1", "o2") and (HERE / "new").exists()
        OPEN[name] = (Own if name == "o2" else Kept)(new=new, obeys=name != "o3")
        OPEN[name].name = name
    return OPEN[name]
'''


def suite_at_servers(urls, *, second):
    suite = SUITE.format(samples=SAMPLES, keys="")
    for number, (url, keys) in enumerate(zip(urls, AT_A_SERVER.values(), strict=True)):
        named = f'base_model = "base"\n{keys[second]}'
        suite += model_table(f"s{number}", "openai", f'base_url = "{url}"', named)
    return suite


def suite_of_ones_own():
    suite = SUITE.format(samples=SAMPLES, keys="")
    for number, probe in enumerate(OF_ONES_OWN.values()):
        suite += model_table(f"o{number}", "recorded", NO_FILE, GREEDY if probe else "")
    return suite


def grow_old(folder, url):
    """What was drawn at a server was drawn more than a week earlier."""
    with ledger_file(folder) as ledger:
        aged = ledger.execute(
            "update calls set began = began - ?, ended = ended - ? where prompt in"
            " (select id from prompts where cast(endpoint as text) like ?)",
            (WEEK, WEEK, f"{url}%"),
        ).rowcount
    assert aged > 0


def verdicts(reports):
    return {pair["pair"]: pair["verdict"] for pair in reports["evidence"]["pairs"]}


@pytest.fixture(scope="session")
def at_servers(tmp_path_factory):
    """The first run, one that is offline, and one that is not, after the weights changed."""
    folder = tmp_path_factory.mktemp("servers")
    book, books = book_of_servers(), Books(folder / "books.jsonl")
    write_book(folder, book)
    by_knowledge, suite = reciters(book), folder / "s.memleak.toml"
    servers = [
        OpenAIServer(reciter=by_knowledge[False], books=books).start()
        for _ in AT_A_SERVER
    ]
    urls = [server.base_url for server in servers]
    suite.write_text(suite_at_servers(urls, second=0), "utf-8")
    first = run_here(folder)
    for place, (_, _, new) in enumerate(AT_A_SERVER.values()):
        if new:
            port = servers[place].port
            servers[place].stop()
            servers[place] = OpenAIServer(
                reciter=by_knowledge[True], books=books, port=port
            ).start()
    grow_old(folder, urls[-1])
    offline = run_here(folder, "--memleak-offline")
    suite.write_text(suite_at_servers(urls, second=1), "utf-8")
    second = run_here(folder)
    for server in servers:
        server.stop()
    books.close()
    return first, offline, second


@pytest.fixture(scope="session")
def of_ones_own(tmp_path_factory):
    """The first run, and one after the weights changed."""
    folder = tmp_path_factory.mktemp("own")
    write_book(folder, book_of_servers())
    (folder / "plays.json").write_text(json.dumps(other_plays(300_000)), "utf-8")
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "o.memleak.toml").write_text(suite_of_ones_own(), "utf-8")
    first = run_here(folder)
    (folder / "new").touch()
    return first, run_here(folder)


def test_first_runs_of_cases_that_are_tested_again_pass(at_servers, of_ones_own):
    assert set(verdicts(at_servers[0]).values()) == {"PASS"}
    own = verdicts(of_ones_own[0])
    assert {own[f"o{number}/b"] for number in (0, 1, 2, 4)} == {"PASS"}


def test_the_table_names_every_case():
    assert documented("second run").keys() == {*AT_A_SERVER, *OF_ONES_OWN}


@pytest.mark.parametrize("name", AT_A_SERVER)
def test_a_second_run_at_a_server_ends_as_the_table_of_cases_says(name, at_servers):
    reports = at_servers[1 if name.endswith("offline") else 2]
    pair = f"s{list(AT_A_SERVER).index(name)}/b"
    assert differing(reports, pair, *documented("second run")[name]) == {}


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_a_second_run_of_ones_own_ends_as_the_table_of_cases_says(name, of_ones_own):
    pair = f"o{list(OF_ONES_OWN).index(name)}/b"
    assert differing(of_ones_own[1], pair, *documented("second run")[name]) == {}
