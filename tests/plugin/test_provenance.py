"""Who answered, when, how often it was tried and what the answers were, in every report."""

import datetime
import html
import itertools
import json
import re
import shutil
import time
from pathlib import Path

import pytest
from evidence_files import resealed
from faults import lose
from marks import full
from report_readers import plain, properties
from suite_files import read_pair, write_json

from pytest_memleak.cli.main import main
from pytest_memleak.ledger.ledger import Ledger

BY_NAME = (
    ('base_model = "base"', 'endpoint = "base"'),
    ('[model.finetune]\nbooks = ["training"]\n', ""),
    ("longest_span = 30", "longest_span = 60"),
)
SEED = ("[suite]", "[suite]\nseed = 1")


@pytest.fixture
def run(gate, monkeypatch, pytester):
    """Runs what is there, and reads all that it writes."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))

    def running(*options, bundle="evidence.json", **outcomes):
        Path("step.md").write_text("")
        reports = ("--junitxml=junit.xml", "--memleak-html=report.html")
        always = (
            "-m",
            "copyright",
            "-p",
            "no:cacheprovider",
            f"--memleak-evidence={bundle}",
        )
        text = gate(*always, *reports, *options, **outcomes).stdout.str()
        return {
            "terminal": text.partition(" memorization ")[2],
            "junit": properties("junit.xml"),
            "html": plain(Path("report.html").read_text("utf-8")),
            "markdown": html.unescape(Path("step.md").read_text("utf-8")),
            "pair": read_pair(bundle),
        }

    return running


def today():
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def verify(bundle="evidence.json", *options):
    return main(["verify", bundle, *options])


@pytest.fixture(params=[(), full(("-n", "2"))], ids=["", "-n 2"])
def workers(request):
    return request.param


@pytest.fixture
def answered(online, server, run, workers):
    """Reports of a run in which one response was lost."""
    online(*BY_NAME, ("samples = 6", "samples = 2"))
    server.plan.replace([lose("chat", calls=(6,))])
    day = today()
    reports = run("-v", *workers, bundle="first.json", passed=1)
    return reports | {"day": day}


def test_evidence_says_who_answered_when_and_what(answered):
    provenance = answered["pair"]["provenance"]
    assert provenance["calls_this_run"] == provenance["calls"] > 0
    assert (provenance["requested"], provenance["weights"]) == ("base", "a name")
    assert [model["model"] for model in provenance["served"]] == ["base"]
    assert (provenance["first"], provenance["last"]) == (answered["day"], today())
    assert provenance["tried"]["number"] == 1
    completeness = answered["pair"]["completeness"]
    assert sum(completeness["kinds"].values()) == completeness["received"] == 8
    assert completeness["median_length_ratio"] >= 0.5
    rules = {margin["rule"] for margin in completeness["margins"]}
    assert rules >= {"short", "unanswered", "prompt overlap"}


@pytest.mark.parametrize("report", ["terminal", "html"])
def test_terminal_and_page_say_who_answered_when_and_what(answered, report):
    text, day = answered[report], answered["day"]
    calls = answered["pair"]["provenance"]["calls"]
    kinds = answered["pair"]["completeness"]["kinds"]
    assert f"{day}, {calls} of {calls} calls made in this run" in text
    assert f"base (fp_emulated), {calls} calls; requested base" in text
    assert f"{kinds['answer']} answer" in text
    assert "responses lost, and counted as billed: 1 call" in text


def test_junit_says_who_answered_when_and_what(answered):
    completeness = answered["pair"]["completeness"]
    expected = {
        "memleak.drawn_first": answered["day"],
        "memleak.drawn_last": answered["day"],
        "memleak.calls_this_run": str(answered["pair"]["provenance"]["calls"]),
        "memleak.answered_by.1": "base (fp_emulated)",
        "memleak.weights": "a name",
        "memleak.answers.answer": str(completeness["kinds"]["answer"]),
        "memleak.median_length_ratio": str(completeness["median_length_ratio"]),
    }
    assert expected.items() <= answered["junit"].items()


def test_a_second_run_makes_no_call_and_takes_fewer_lines(answered, run, workers):
    calls = answered["pair"]["provenance"]["calls"]
    again = run(*workers, passed=1)
    assert again["pair"]["provenance"]["calls_this_run"] == 0
    assert f", 0 of {calls} calls made in this run" in again["html"]
    # A pass takes no more lines than its own, unless -v asks for more.
    assert "Sampled " not in again["terminal"]
    assert verify("first.json") == verify() == 0


def test_an_offline_run_without_new_canaries_is_inconclusive(answered, run):
    offline = run("--memleak-offline", errors=1, bundle="offline.json")["pair"]
    (issue,) = offline["completeness"]["issues"]
    assert "no canaries (fixed prompts) answered since" in issue["cause"]
    assert verify("offline.json", "--allow-failures") == 0


def test_evidence_older_than_its_generations_is_detected(answered, capsys):
    old = "2000-01-01T00:00:00+00:00"
    resealed(Path("first.json"), lambda bundle: bundle.update(created=old))
    capsys.readouterr()
    assert verify("first.json") == 1
    assert "its generations were sampled after " in capsys.readouterr().out


@pytest.fixture
def clock(monkeypatch):
    """Sets the clock by so many seconds."""
    now = time.time
    return lambda ahead: monkeypatch.setattr(time, "time", lambda: now() + ahead)


MONTH = 30 * 86_400


@pytest.mark.full
def test_a_bundle_of_a_month_ago_still_holds_after_the_answers_were_drawn_anew(
    online, run, clock
):
    online(*BY_NAME)
    clock(-MONTH)
    run(bundle="old.json", passed=1)
    clock(0)
    assert verify("old.json") == 0
    anew = run(passed=1)
    assert (
        anew["pair"]["provenance"]["calls_this_run"]
        == anew["pair"]["provenance"]["calls"]
        > 0
    )
    assert anew["pair"]["model"]["endpoint"].endswith("; series 2")
    assert anew["pair"]["provenance"]["tried"]["resampled"] == 1
    assert "Attempt 2 for book and model, by weights or name" in anew["terminal"]
    assert "resampled 1 time because of age" in anew["terminal"]
    offline = run("--memleak-offline", bundle="offline.json")
    assert offline["pair"]["model"]["endpoint"] == anew["pair"]["model"]["endpoint"]
    assert verify() == verify("old.json") == 0


@pytest.mark.full
def test_another_seed_is_another_attempt_in_every_report(online, run):
    online(*BY_NAME)
    run(bundle="first.json")
    online(*BY_NAME, ("[suite]", "[suite]\nseed = 1"))
    run(bundle="second.json")
    online(*BY_NAME, ("[suite]", "[suite]\nseed = 1\ntemperature = 0.9"))
    third = run(passed=1)
    tried = third["pair"]["provenance"]["tried"]
    assert (tried["number"], tried["seeds"], tried["temperatures"]) == (3, 2, 2)
    assert (tried["runs"], tried["resampled"], tried["removed"]) == (3, 0, 0)
    cause = "Attempt 3 for book and model, by weights or name (2 seeds, 2 temperatures, 3 runs)"
    for report in ("terminal", "html", "markdown"):
        assert cause in third[report], report
    assert third["junit"]["memleak.attempt"] == "3"
    assert verify() == 0
    # The attempts before a pair's own are told, and not those after.
    online(*BY_NAME)
    again = run()
    assert again["pair"]["provenance"]["tried"]["number"] == 1
    assert "attempt" not in again["terminal"]


# What is changed after a run, and which attempt the next one is.
ATTEMPTS = {
    "book id": (2, [('id = "held-out"', 'id = "renamed"'), SEED]),
    "model id": (2, [('id = "tuned"', 'id = "renamed"'), SEED]),
    "release": (
        1,
        [('endpoint = "base"', 'endpoint = "base"\nweights_version = "2026-11"')],
    ),
    "options": (1, [("[model.options]", '[model.options]\nsystem = "Be brief."')]),
    "another model": (1, [('endpoint = "base"', 'endpoint = "another"'), SEED]),
    "another edition with the same instructions": (
        2,
        [('"held-out.json"', '"other.json"'), SEED],
    ),
    "reused": (1, [('id = "held-out"', 'id = "renamed"')]),
}


@pytest.mark.full
def test_attempts_count_by_the_books_words_and_the_model(online, run):
    online(*BY_NAME)
    run(bundle="first.json")
    records = json.loads(Path("held-out.json").read_text())
    for record in records:
        record["excerpt_text"] += " Quite another word."
    write_json("other.json", records)
    Path(".memleak").rename("kept")
    for what, (number, changed) in ATTEMPTS.items():
        shutil.rmtree(".memleak", ignore_errors=True)
        shutil.copytree("kept", ".memleak")
        online(*BY_NAME, *changed)
        pair = run()["pair"]
        assert pair["provenance"]["tried"]["number"] == number, what
        assert pair["provenance"]["calls"] > 0
        assert verify("evidence.json", "--allow-failures") == 0, what
        assert main(["ledger", "history", "--endpoint", pair["model"]["endpoint"]]) == 0


def test_generations_sampled_after_a_bundle_change_nothing_in_it(online, run, clock):
    lenient = ("[suite]", "[suite]\nmax_short = 0.5")
    released = ('endpoint = "base"', 'endpoint = "base"\nweights_version = "1"')
    replacements = (*BY_NAME, lenient, released)
    online(*replacements, ("samples = 6", "samples = 4"))
    clock(-MONTH)
    run(bundle="old.json", passed=1)
    clock(0)
    online(*replacements)
    more = run(passed=1)
    assert more["pair"]["provenance"]["tried"]["further"] == 0
    online(*replacements, ("samples = 6", "samples = 4"))
    few = run("-v", bundle="few.json", passed=1)
    further = 2 * few["pair"]["book"]["excerpts"]
    assert few["pair"]["provenance"]["tried"]["further"] == further
    assert few["junit"]["memleak.further_answers"] == str(further)
    for report in ("terminal", "html", "markdown"):
        assert f"{further} further generations stored" in few[report], report
    assert verify("old.json") == verify("few.json") == 0


@pytest.mark.parametrize("hours", [full(0.5), 2])
def test_a_ledger_of_a_clock_that_was_ahead_is_read_whole_or_not_at_all(
    online, run, clock, hours
):
    replacements = (
        *BY_NAME,
        ('endpoint = "base"', 'endpoint = "base"\nweights_version = "1"'),
    )
    online(*replacements, ("samples = 6", "samples = 7"))
    clock(hours * 3_600)
    run(passed=1)
    clock(0)
    online(*replacements)
    reports = run()
    if hours > 1:
        assert (
            "Its last call ended 2.0 hours ahead of this machine's clock"
            in reports["terminal"]
        )
        assert reports["pair"]["verdict"] == "INCONCLUSIVE"
        return
    surplus = reports["pair"]["book"]["excerpts"]
    assert reports["pair"]["provenance"]["tried"]["further"] == surplus
    assert reports["pair"]["sampled"][-1]["received"] == surplus
    assert verify() == 0


def test_canaries_follow_samples_of_another_run_and_of_a_later_clock(
    online, run, server, monkeypatch, clock
):
    online(*BY_NAME)
    runs = map(str, itertools.count())  # each call is another run's
    with monkeypatch.context() as patch:
        patch.setattr(
            Ledger,
            "run",
            property(lambda _: next(runs), lambda *_: None),
            raising=False,
        )
        calls = run(passed=1, bundle="first.json")["pair"]["provenance"]["calls"]
    assert server.plan.counts()["chat"] == calls + 2 * 4
    assert verify("first.json") == 0
    clock(-1_800)
    run(passed=1)
    assert server.plan.counts()["chat"] == calls + 3 * 4
    assert verify() == 0


REFUSAL = "I'm sorry, but I can't help with that."
CLEAN_ALONE = (
    ('[[model]]\nid = "leaky"\nprovider = "recorded"\n', ""),
    ('[model.options]\npath = "leaky.json"\n', ""),
)


def test_an_issue_has_a_line_with_its_cause_and_its_fix(suite, run):
    suite(*CLEAN_ALONE, clean=(REFUSAL,) * 3)
    reports = run("-v", errors=1)
    issues = reports["pair"]["completeness"]["issues"]
    assert {"unanswered", "excerpts without an answer"} <= {
        issue["rule"] for issue in issues
    }
    lines = [line.strip() for line in reports["terminal"].splitlines()]
    for issue in issues:
        assert issue["cause"]
        cause = "; ".join(filter(None, [issue["cause"], issue["fix"]]))
        assert cause in lines
        assert cause in reports["markdown"]
        assert cause in reports["html"]
    assert "6 refusal" in reports["terminal"]


def preregistered(digest):
    return ("[suite]", f'[suite]\npreregistered = "{digest}"')


def test_a_suite_is_held_to_the_one_that_was_preregistered(online, server, run, gate):
    online(*BY_NAME, preregistered("0" * 64))
    lines = ["Can't estimate: *not the preregistered suite*"]
    assert gate("--memleak-dry-run", lines=lines).ret != 0
    reports = run(errors=1)
    assert server.plan.counts() == {}
    (issue,) = reports["pair"]["reasons"]
    assert reports["pair"]["verdict"] == "INCONCLUSIVE"
    digest = re.search("got ([0-9a-f]{64})", issue)[1]
    assert f"expected SHA-256 {'0' * 64}" in issue
    online(
        *BY_NAME,
        preregistered(digest),
        ("[limits]", "# Comments and blanks are free.\n[limits]"),
    )
    run(passed=1)
    for change in (
        ("samples = 6", "samples = 5"),
        ("longest_span = 60", "longest_span = 61"),
        ('source = "held-out.json"', 'source = "training.json"'),
        ('endpoint = "base"', 'endpoint = "base"\nweights_version = "2"'),
    ):
        online(*BY_NAME, preregistered(digest), change)
        assert f"expected SHA-256 {digest}" in run(errors=1)["terminal"]
