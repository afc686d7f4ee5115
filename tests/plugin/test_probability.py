"""`[suite] probability = true`: a measure on the side, from its calls to reports."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from clients import prose
from evidence_files import resealed
from http_server import Books
from logprob_server import LIKELY, UNLIKELY, LogprobServer
from reciter import Reciter
from suite_files import read_bundle, read_pair, write_book

from pytest_memleak.cli.main import main
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.sampling.retry import Retry

KEY = "sk-test-0123456789abcdefghij"
WORDS = prose(3, 400).split()
WINDOWS = 31  # of 50 words after 50, each 10 words further
# The window that ends at 260 has two words that the model doesn't know.
KNOWN = " ".join(WORDS[:258])
SURE = 16
SUITE = """
[suite]
samples = 2
max_short = 1.0
probability = true
[limits]
longest_span = 300
[[book]]
id = "book"
source = "book.json"
[[model]]
id = "model"
provider = "openai"
endpoint = "base"
weights_version = "1"
price = { input = 2.0, output = 8.0 }
[model.options]
base_url = "URL"
"""
ASKED = (
    "Write a scene in which an old boatman waits through a stormy night for a passenger "
    "who never arrives, and learns why only when the harbor freezes over."
)
EVIDENCE = ("-m", "copyright", "--memleak-evidence=evidence.json")
DRY_RUN = ("-m", "copyright", "--memleak-dry-run")


@pytest.fixture
def serve(pytester, tmp_path_factory, monkeypatch):
    """Starts a server of some form, and writes a suite for it, with some text replaced."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(Resources, "retry", Retry(first=0.01))

    @contextmanager
    def serving(*replacements, **form):
        text = " ".join(WORDS)
        write_book("book.json", {"p1": text}, lambda _: ASKED)
        books = Books(tmp_path_factory.mktemp("server") / "books.jsonl")
        settings = {"books": books, "key": KEY, "known": KNOWN, **form}
        with LogprobServer(reciter=Reciter([prose(9)]), **settings) as server:
            suite = SUITE.replace("URL", server.base_url)
            for old, new in replacements:
                assert old in suite
                suite = suite.replace(old, new)
            Path("it.memleak.toml").write_text(suite, encoding="utf-8")
            yield server

    return serving


def test_a_bundle_has_the_share_extractable_and_the_likeliest_windows(serve, gate):
    with serve():
        gate(*EVIDENCE, passed=1)
    facts = read_pair()["probability"]
    assert (facts["windows"], facts["planned"]) == (WINDOWS, WINDOWS)
    assert (facts["unreadable"], facts["fault"]) == (0, "")
    shares = {row["samples"]: row["share"] for row in facts["shares"]}
    assert shares[1] == shares[100] == pytest.approx(SURE / WINDOWS)
    assert shares[10_000] == pytest.approx((SURE + 1) / WINDOWS)
    sure = [(50, 100), (100, 150), (150, 200), (200, 250)]
    likeliest = [(row["start"], row["end"]) for row in facts["likeliest"]]
    assert likeliest[:4] == sure
    log_ps = [row["log_p"] for row in facts["likeliest"]]
    assert log_ps[:4] == pytest.approx([50 * LIKELY] * 4)
    assert log_ps[4] == pytest.approx(8 * LIKELY + 42 * UNLIKELY)


def test_reports_show_numbers_and_places_but_no_text(serve, gate):
    with serve():
        result = gate("-v", *EVIDENCE, "--memleak-html=report.html", passed=1)
    line = (
        "Probability (judges nothing): 31 windows of 50 tokens; extractable: 51.6% by "
        "1 sample, 51.6% by 100 samples, 54.8% by 10,000 samples"
    )
    assert line in " ".join(result.stdout.str().split())
    page = Path("report.html").read_text("utf-8")
    assert '<h3 id="pair-1-probability">Probability</h3>' in page
    assert '<th scope="row">50–100</th><td class="n">95.1%</td>' in page
    assert '<th scope="row" class="n">10,000</th><td class="n">54.8%</td>' in page
    assert " ".join(WORDS[50:56]) not in page + json.dumps(read_bundle())


@pytest.mark.full
def test_what_was_tried_names_probability(serve, gate):
    with serve():
        result = gate(*EVIDENCE, passed=1)
    (tried,) = read_bundle()["tried"]
    assert tried["tried"] == ["instruction, 2 samples", "probability of 31 windows"]
    assert "probability" not in tried["not_tried"]
    result.stdout.fnmatch_lines(["tried: instruction, 2 samples; probability of *"])


@pytest.mark.full
def test_a_second_run_asks_for_nothing_again(serve, gate):
    with serve() as server:
        gate(*EVIDENCE, passed=1)
        calls = len(server.asked)
        first = read_pair()
        gate(*EVIDENCE, passed=1)
        assert len(server.asked) == calls
    assert read_pair()["probability"] == first["probability"]


@pytest.mark.full
def test_verify_recomputes_the_probability(serve, gate, verify):
    with serve():
        gate(*EVIDENCE, passed=1)
    assert verify()[0] == 0

    def understate(bundle):
        bundle["pairs"][0]["probability"]["shares"][0]["share"] = 0.0

    resealed(Path("evidence.json"), understate)
    code, text = verify()
    assert code != 0
    assert "probability" in text


@pytest.mark.parametrize("form", [
    {"gives": ""},
    pytest.param({"gives": "", "refuses": True}, marks=pytest.mark.full),
    pytest.param({"written": lambda token: token[::-1]}, marks=pytest.mark.full),
], ids=["ignored", "refused", "unreadable"])  # fmt: skip
def test_a_probability_that_fails_changes_neither_evidence_nor_verdict(
    serve, gate, verify, form
):
    with serve(("probability = true", "probability = false")):
        gate(*EVIDENCE, passed=1)
    without = read_pair()
    assert without["probability"] is None
    with serve(**form):
        gate(*EVIDENCE, passed=1)
    pair = read_pair()
    assert pair["probability"]["windows"] == 0
    assert pair["probability"]["shares"] == []
    for key in ("verdict", "reasons", "completeness", "measures", "limits"):
        assert pair[key] == without[key], key
    (tried,) = read_bundle()["tried"]
    assert "probability" in tried["not_tried"]
    assert verify()[0] == 0


@pytest.mark.full
def test_a_report_says_why_probability_is_missing(serve, gate):
    with serve(gives="") as server:
        result = gate("-v", *EVIDENCE, passed=1)
    terminal = " ".join(result.stdout.str().split())
    assert "Probability not measured: " in terminal
    reason = f"{server.base_url} gives no log-probabilities of a prompt: it ignores"
    assert reason in terminal


OWN = """
import pytest
from clients import prose
from reciter import Reciter
from pytest_memleak.interfaces.abilities import Abilities
RECITER = Reciter([prose(9)])
class Own:
    id = "own"
    abilities = Abilities(token_logprobs=lambda texts: 1 / 0)
    def sample(self, instruction, **settings):
        answers = RECITER.answer("base", instruction, **settings)
        return [answer.text for answer in answers]
@pytest.fixture(scope="session")
def memleak_endpoint():
    return Own()
"""


def test_an_endpoint_of_a_test_that_breaks_changes_no_verdict(serve, gate, pytester):
    pytester.makeconftest(OWN)
    with serve():
        gate(*EVIDENCE, passed=1)
    pair = read_pair()
    assert pair["verdict"] == "PASS"
    assert "ZeroDivisionError" in pair["probability"]["fault"]


def planned_calls(result):
    """The calls of each row of a plan, by its name."""
    rows = [line.split() for line in result.stdout.lines if "model/book" in line]
    return {" ".join(row[:-7]): int(row[-7].replace(",", "")) for row in rows}


@pytest.mark.full
def test_a_dry_run_plans_the_most_calls_and_then_those_that_are_left(serve, gate):
    with serve() as server:
        planned = gate(*DRY_RUN)
        gate(*EVIDENCE, passed=1)
        asked = len(server.asked)
        again = gate(*DRY_RUN)
    first, second = planned_calls(planned), planned_calls(again)
    assert first["model/book (probability)"] >= asked
    assert second.get("model/book (probability)", 0) == 0


def test_a_dry_run_and_doctor_say_where_a_model_gives_none(serve, gate, capsys):
    line = "recorded gives no log-probabilities of a text"
    rows = [{"excerpt_id": "p1", "generations": [{"generated_text": "No."}]}]
    Path("answers.json").write_text(json.dumps(rows), "utf-8")
    with serve():
        suite = Path("it.memleak.toml").read_text("utf-8")
    suite = suite[: suite.index("[[model]]")]
    suite += '[[model]]\nid = "model"\nprovider = "recorded"\n'
    suite += 'options = { path = "answers.json" }\n'
    Path("it.memleak.toml").write_text(suite, encoding="utf-8")
    planned = gate(*DRY_RUN)
    assert "Not measured: " in planned.stdout.str()
    assert line in " ".join(planned.stdout.str().split())
    assert planned.ret == 0
    capsys.readouterr()
    main(["doctor", "it.memleak.toml"])
    assert line in capsys.readouterr().out
