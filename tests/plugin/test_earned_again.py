"""A pass must be earned again: what one ledger says of weights that have changed behind a name."""

import html
import json

import pytest
from http_server import Books
from ledger_file import ledger_file
from openai_server import OpenAIServer
from suite_files import model_table
from test_earned import SUITE, check, documented, run_here, write_book
from unearned_servers import SAMPLES, book_of_servers, other_plays, reciters

pytestmark = pytest.mark.full

WEEK = 8 * 86_400
# Name, keys of its model in the first run and in the second, and whether its weights change.
AT_A_SERVER = {
    "the same weights again": ("", "", False),
    "new weights behind the same name": ("", "", True),
    "new weights, offline": ("", "", True),
    "new weights, another release": ('weights_version = "1"', 'weights_version = "2"', True),
    "new weights, the same release": ('weights_version = "1"', 'weights_version = "1"', True),
    "new weights, answers older than max_age_days": ("", "", True),
}
OF_ONES_OWN = {
    "an endpoint of one's own, the same weights again": "",
    "an endpoint of one's own, new weights behind its id": "",
    "an endpoint of one's own without an id, new weights": "",
    "an endpoint of one's own that samples at temperature 0, too": "greedy",
    "an endpoint of one's own, a limit on greedy answers": "greedy",
}
FEWER = {
    "fewer samples, nothing recited beyond them": "kept",
    "fewer samples, a passage beyond them": "ends-in-a-passage",
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
BOOK = {one["instruction"]: one["excerpt_text"] for one in RECORDS}

class Own:
    """Writes some other play; with new weights, what is asked for."""
    def __init__(self, *, new, obeys):
        self.new, self.obeys = new, obeys
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        greedy = self.obeys and temperature == 0
        dice = [instruction if greedy else f"{instruction} {seed} {at}" for at in range(n)]
        return [self.one(instruction, random.Random(die)) for die in dice]
    def one(self, instruction, dice):
        if self.new:
            return BOOK.get(instruction, "")
        start = dice.randrange(len(PLAYS) - 150)
        return " ".join(PLAYS[start : start + 150])

class Kept(Own):
    @property
    def id(self):
        return f"own-{self.name}"

class EndsInAPassage(Kept):
    """Gives in the end what is asked for; at temperature 0 never."""
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        texts = super().sample(instruction, n=n, temperature=temperature, max_tokens=0, seed=seed)
        self.asked[instruction] += n * (temperature > 0)
        return [*texts[:-1], BOOK[instruction]] if self.asked[instruction] == ALL else texts

OPEN = {}
ALL = 5  # samples of the first run
KINDS = {"o2": Own, "ends-in-a-passage": EndsInAPassage}

@pytest.fixture(scope="session")
def memleak_endpoint(memleak_pair):
    name = memleak_pair.model.id
    if name not in OPEN:
        new = name in ("o1", "o2") and (HERE / "new").exists()
        one = KINDS.get(name, Kept)(new=new, obeys=name != "o3")
        one.name, one.asked = name, dict.fromkeys(BOOK, 0)
        OPEN[name] = one
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
            "update calls set began = began - ?, ended = ended - ? where question in"
            " (select id from questions where cast(endpoint as text) like ?)",
            (WEEK, WEEK, f"{url}%"),
        ).rowcount
    assert aged > 0


def verdicts(reports):
    return {one["pair"]: one["verdict"] for one in reports["evidence"]["pairs"]}


@pytest.fixture(scope="session")
def at_servers(tmp_path_factory):
    """The first run, one that is offline, and one that is not, after the weights changed."""
    folder = tmp_path_factory.mktemp("servers")
    book, books = book_of_servers(), Books(folder / "books.jsonl")
    write_book(folder, book)
    known, suite = reciters(book), folder / "s.memleak.toml"
    servers = [OpenAIServer(reciter=known[False], books=books).start() for _ in AT_A_SERVER]
    urls = [one.base_url for one in servers]
    suite.write_text(suite_at_servers(urls, second=0), "utf-8")
    first = run_here(folder)
    for place, (_, _, new) in enumerate(AT_A_SERVER.values()):
        if new:
            port = servers[place].port
            servers[place].stop()
            servers[place] = OpenAIServer(reciter=known[True], books=books, port=port).start()
    grow_old(folder, urls[-1])
    offline = run_here(folder, "--memleak-offline")
    suite.write_text(suite_at_servers(urls, second=1), "utf-8")
    second = run_here(folder)
    for one in servers:
        one.stop()
    books.close()
    return first, offline, second


def own_folder(folder):
    """A folder with the book, and endpoints of one's own."""
    write_book(folder, book_of_servers())
    (folder / "plays.json").write_text(json.dumps(other_plays(300_000)), "utf-8")
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    return folder


@pytest.fixture(scope="session")
def of_ones_own(tmp_path_factory):
    """The first run, and one after the weights changed."""
    folder = own_folder(tmp_path_factory.mktemp("own"))
    (folder / "o.memleak.toml").write_text(suite_of_ones_own(), "utf-8")
    first = run_here(folder)
    (folder / "new").touch()
    return first, run_here(folder)


@pytest.fixture(scope="session")
def of_fewer(tmp_path_factory):
    """The first run, and one that asks for fewer samples."""
    folder = own_folder(tmp_path_factory.mktemp("fewer"))
    limits = "limits = { longest_passage = 38 }"
    models = "".join(model_table(name, "recorded", NO_FILE, limits) for name in FEWER.values())
    runs = []
    for samples in (SAMPLES, SAMPLES - 2):
        suite = SUITE.format(samples=samples, keys="") + models
        (folder / "f.memleak.toml").write_text(suite, "utf-8")
        runs.append(run_here(folder))
    return runs


def test_all_that_is_tested_again_has_passed(at_servers, of_ones_own):
    assert set(verdicts(at_servers[0]).values()) == {"PASS"}
    told = verdicts(of_ones_own[0])
    assert {told[f"o{number}/b"] for number in (0, 1, 2, 4)} == {"PASS"}


def test_what_asks_for_fewer_samples_had_more(of_fewer):
    assert verdicts(of_fewer[0]) == {"kept/b": "PASS", "ends-in-a-passage/b": "FAIL"}


def test_the_table_names_every_case():
    assert documented("second run").keys() == {*AT_A_SERVER, *OF_ONES_OWN, *FEWER}


@pytest.mark.parametrize("name", AT_A_SERVER)
def test_a_second_run_at_a_server_ends_as_the_table_of_cases_says(name, at_servers):
    reports = at_servers[1 if name.endswith("offline") else 2]
    check(reports, f"s{list(AT_A_SERVER).index(name)}/b", *documented("second run")[name])


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_a_second_run_of_ones_own_ends_as_the_table_of_cases_says(name, of_ones_own):
    check(of_ones_own[1], f"o{list(OF_ONES_OWN).index(name)}/b", *documented("second run")[name])


@pytest.mark.parametrize("name", FEWER)
def test_a_second_run_of_fewer_samples_ends_as_the_table_of_cases_says(name, of_fewer):
    pair = f"{FEWER[name]}/b"
    check(of_fewer[1], pair, *documented("second run")[name])
    (told,) = [one for one in of_fewer[1]["evidence"]["pairs"] if one["pair"] == pair]
    excerpts = len(book_of_servers().excerpts)
    assert told["provenance"]["tried"]["further"] == 2 * excerpts
    for report in ("terminal", "html", "markdown"):
        assert f"{2 * excerpts} further generations stored" in html.unescape(of_fewer[1][report])
