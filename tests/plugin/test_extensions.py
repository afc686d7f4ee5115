"""Hooks in a conftest: measures with limits, book readers, providers, report sinks."""

from pathlib import Path

import pytest
from faults import rate_limit
from http_server import Books
from marks import full
from reciter import Reciter
from storyserver_plugin import SOURCE
from storyserver_server import StoryServer
from suite_files import write_suite

from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.sampling.retry import Retry

MEASURE = """
    from pytest_memleak import hookimpl
    @hookimpl
    def memleak_measures():
        return {"longest_line": longest_line}
    def longest_line(book, generations):
        return max(len(line) for one in generations for line in one.text.splitlines())
"""
ROW = MEASURE.replace("import hookimpl", "import Measure, hookimpl").replace(
    '{"longest_line": longest_line}',
    '{"longest_line": Measure("", kind="count", unit="letters", '
    "function=longest_line)}",
)
LIMIT = ("longest_span = 10", "longest_span = 10\n[limits.measures]\nlongest_line = 90")


def limit(value):
    return (LIMIT[0], LIMIT[1].replace("90", value))


COUNTED = "return max("
NO_NUMBER = MEASURE.replace(COUNTED, f"return float('nan') or {COUNTED[7:]}")
NUMPYS = MEASURE.replace(
    COUNTED, f"import numpy; return numpy.int64(0) + {COUNTED[7:]}"
)


@pytest.mark.parametrize(
    ("measure", "value", "outcome", "shown"),
    [
        (MEASURE, "90", "passed", "*PASS*"),
        (MEASURE, "20", "failed", "  longest_line 76 > 20"),
        (NUMPYS, "90", "passed", "*PASS*"),
        (NO_NUMBER, "90", "errors", "*longest_line*be measured: it is nan (*"),
    ],
    ids=["pass", "fail", "numpy's number", "no number"],
)
def test_a_measure_of_ones_own_is_held_against_its_limit(
    pytester, gate, suite, measure, value, outcome, shown
):
    pytester.makeconftest(measure)
    suite(limit(value))
    gate("-k", "clean", lines=[shown], deselected=1, **{outcome: 1})


@pytest.mark.parametrize("hook", ["measures", "providers"])
def test_an_extension_that_skips_leaves_no_suite_out(pytester, gate, suite, hook):
    skips = "import pytest\nfrom pytest_memleak import hookimpl\n@hookimpl\n"
    pytester.makeconftest(
        f"{skips}def memleak_{hook}(): pytest.importorskip('nonesuch')"
    )
    pytester.makepyfile("def test_other(): pass")
    suite()
    gate(lines=["*an extension skipped the suite: could not*"], errors=1)


NOT_HELD = "limits.measures.longest_line"
WITHOUT = f"{NOT_HELD}: no installed extension has this measure*known: none"


@pytest.mark.parametrize(
    ("conftest", "value", "message"),
    [
        (
            MEASURE.replace('"longest_line"', '"bmc"'),
            "90",
            "'bmc', but a built-in measure has",
        ),
        (MEASURE, "nan", f"{NOT_HELD}: *finite"),
        ("", "90", WITHOUT),
        (ROW, "29.5", f"{NOT_HELD}: a limit on a count must be*; got 29.5"),
    ],
)
def test_a_limit_that_no_measure_can_have_is_a_collection_error(
    pytester, gate, suite, conftest, value, message
):
    pytester.makeconftest(conftest)
    suite(limit(value))
    gate(lines=[f"*{message}*"], errors=1)


OTHERS = """
import random
from pathlib import Path
from pytest_memleak import hookimpl
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.formats.paper_format import book_from_records, load_records
SQUAWK = "a parrot sat in rain on some boat and said nothing to anybody there".split()
class Parrot:
    name, concurrency, completions_per_call, batch = "parrot", 1, 1, False
    def __init__(self, setup):
        pass
    def open(self, endpoint):
        return self
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        return [Completion(" ".join(random.Random(seed).sample(SQUAWK, 14)))]
@hookimpl
def memleak_providers():
    return {"parrot": Parrot}
@hookimpl
def memleak_read_book(path):
    if path.suffix == ".tale":
        return book_from_records(load_records(path))
@hookimpl
def memleak_report(run):
    told = [f"{one.pair} {one.verdict}" for one in run.results]
    with Path("told.txt").open("a") as file:
        print(*sorted(told), sep="\\n", file=file)
"""
RECORDED = 'provider = "recorded"\n[model.options]\npath = "clean.json"'


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_a_reader_a_provider_and_a_sink_of_ones_own(pytester, gate, suite, workers):
    pytester.makeconftest(OTHERS)
    suite(
        ('source = "ferry.json"', 'source = "ferry.tale"'),
        (RECORDED, 'provider = "parrot"'),
    )
    Path("ferry.json").rename("ferry.tale")
    gate("--memleak-allow-paid", *workers, passed=1, failed=1)
    # The sink gets the whole run once.
    assert Path("told.txt").read_text().splitlines() == [
        "clean/ferry PASS",
        "leaky/ferry FAIL",
    ]


STORY_SUITE = """
[suite]
samples = 4
[limits]
longest_span = 10
[[book]]
id = "held-out"
source = "held-out.json"
[[model]]
id = "stories"
provider = "storyserver"
base_model = "base"
price = { input = 2.0, output = 8.0 }
[model.options]
base_url = "URL"
"""


@pytest.fixture
def story_server(stories, tmp_path_factory, monkeypatch, pytester):
    """A server of the API of docs/extending.md, whose model recites; its class is installed."""
    monkeypatch.setenv("STORYSERVER_API_KEY", "open-sesame-for-ever")
    monkeypatch.setattr(Resources, "retry", Retry(first=0.01))
    pytester.makeconftest(SOURCE)
    corpus = [record["excerpt_text"] for record in stories["held-out"]]
    books = Books(tmp_path_factory.mktemp("server") / "books.jsonl")
    settings = {"books": books, "key": "open-sesame-for-ever"}
    with StoryServer(reciter=Reciter(corpus, base_order=9), **settings) as running:
        write_suite(stories, STORY_SUITE, ("URL", running.base_url))
        yield running


def test_an_http_api_of_ones_own_has_a_verdict_retries_and_a_ledger(gate, story_server):
    story_server.plan.add(rate_limit("chat", calls=(0,)))
    gate("-m", "copyright", failed=1, lines=["*longest_span *> 10*"])
    gate("-m", "copyright", failed=1)
    rows = story_server.books.rows("completion")
    assert len([row for row in rows if row["temperature"] == 1.0]) == 16


def test_an_http_api_of_ones_own_keeps_the_budget(gate, story_server):
    options = ("-m", "copyright", "--memleak-budget=0.0001")
    gate(
        *options,
        lines=["*Budget: US$* is spent or reserved; the next call may cost US$*"],
    )
    assert story_server.books.rows() == []


def test_an_http_api_of_ones_own_is_planned_without_a_call(gate, story_server):
    result = gate("--memleak-dry-run")
    assert "US$" in result.stdout.str()
    assert story_server.plan.counts() == {}


def test_a_model_that_its_provider_cannot_fine_tune_is_an_error(
    gate, stories, story_server
):
    tuned = (
        "[model.options]",
        '[model.finetune]\nbooks = ["held-out"]\n[model.options]',
    )
    write_suite(stories, STORY_SUITE, ("URL", story_server.base_url), tuned)
    gate(
        "--memleak-allow-paid",
        lines=[
            "*The provider 'storyserver' can't fine-tune*",
            "*remove ?model.finetune?*",
        ],
    )
    assert story_server.plan.counts() == {}
