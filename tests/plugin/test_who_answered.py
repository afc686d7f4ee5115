"""Who answered, when, how often it was tried and what the answers were, in every report."""

import datetime
import html
import json
import re
import xml.etree.ElementTree as ET

import pytest
from ledger_file import chain_anew, ledger_file
from marks import full

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import seal_bundle

BY_NAME = (
    ('base_model = "base"', 'endpoint = "base"'),
    ('[model.finetune]\nbooks = ["training"]\n', ""),
    ("longest_span = 30", "longest_span = 60"),
)
SEED = ("[suite]", "[suite]\nseed = 1")
DAY = 86_400


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs what is there, and reads all that it writes."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))

    def running(*options, bundle="evidence.json"):
        (pytester.path / "step.md").write_text("")
        result = pytester.runpytest(
            *("-m", "copyright", "-p", "no:cacheprovider", "--junitxml=junit.xml"),
            *("--memleak-html=report.html", f"--memleak-evidence={bundle}", *options),
        )
        (pair,) = json.loads((pytester.path / bundle).read_text())["pairs"]
        page = (pytester.path / "report.html").read_text("utf-8")
        return {
            "result": result,
            "terminal": result.stdout.str().partition(" memorization ")[2],
            "junit": {
                one.get("name"): one.get("value")
                for one in ET.parse(pytester.path / "junit.xml").iter("property")
            },
            "html": " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split()),
            "markdown": html.unescape((pytester.path / "step.md").read_text("utf-8")),
            "pair": pair,
        }

    return running


def today():
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def verify(bundle="evidence.json", *options):
    return main(["verify", bundle, *options])


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_every_report_says_who_answered_and_when(online, run, workers):
    online(*BY_NAME)
    day = today()
    told = run("-v", *workers)
    told["result"].assert_outcomes(passed=1)
    answerer = told["pair"]["provenance"]
    calls = answerer["calls"]
    assert answerer["calls_this_run"] == calls > 0
    assert (answerer["requested"], answerer["weights"]) == ("base", "a name")
    assert [one["model"] for one in answerer["served"]] == ["base"]
    assert (answerer["first"], answerer["last"]) == (day, today())
    assert answerer["tried"]["number"] == 1
    said = f"{day}, {calls} of {calls} calls in this run"
    for report in ("terminal", "html"):
        assert said in told[report], report
        assert f"base (fp_emulated), {calls} calls; requested base" in told[report], report
    properties = told["junit"]
    assert properties["memleak.drawn_first"] == properties["memleak.drawn_last"] == day
    assert properties["memleak.calls_this_run"] == str(calls)
    assert properties["memleak.answered_by.1"] == "base (fp_emulated)"
    assert properties["memleak.weights"] == "a name"
    assert verify() == 0


def test_what_the_answers_were_stands_beside_their_number(online, run):
    online(*BY_NAME)
    told = run("-v")
    answers = told["pair"]["completeness"]
    assert sum(answers["kinds"].values()) == told["pair"]["counts"]["received"] == 24
    assert answers["median_length_ratio"] >= 0.5
    assert {one["rule"] for one in answers["margins"]} >= {"short", "unanswered", "given away"}
    assert f"{answers['kinds']['answer']} answer" in told["terminal"]
    assert f"{answers['kinds']['answer']} answer" in told["html"]
    assert told["junit"]["memleak.answers.answer"] == str(answers["kinds"]["answer"])
    assert told["junit"]["memleak.median_length_ratio"] == str(answers["median_length_ratio"])


def test_a_pass_takes_no_more_lines_than_its_own_unless_more_are_asked_for(online, run):
    online(*BY_NAME)
    assert "Sampled " not in run()["terminal"]


def test_a_second_run_says_that_it_made_no_call(online, run):
    online(*BY_NAME)
    calls = run(bundle="first.json")["pair"]["provenance"]["calls"]
    again = run("-v")
    again["result"].assert_outcomes(passed=1)
    assert again["pair"]["provenance"]["calls_this_run"] == 0
    assert f", 0 of {calls} calls in this run" in again["terminal"]
    assert verify("first.json") == verify() == 0


def test_more_calls_than_there_are_is_no_evidence(pytester, online, run, capsys):
    online(*BY_NAME)
    calls = run()["pair"]["provenance"]["calls"]
    path = pytester.path / "evidence.json"
    made = json.loads(path.read_text())
    made["pairs"][0]["provenance"]["calls_this_run"] = calls + 1
    seal(path, made)
    assert verify() == 1
    assert "provenance.calls_this_run" in capsys.readouterr().out


def test_a_bundle_cannot_be_older_than_its_answers(pytester, online, run, capsys):
    online(*BY_NAME)
    run()
    path = pytester.path / "evidence.json"
    made = json.loads(path.read_text())
    created = datetime.datetime.fromisoformat(made["created"]) - datetime.timedelta(days=1)
    made["created"] = created.isoformat(timespec="seconds")
    seal(path, made)
    assert verify() == 1
    assert f"its generations were sampled after {made['created']}" in capsys.readouterr().out


def test_a_bundle_that_names_no_time_is_none(pytester, online, run, capsys):
    online(*BY_NAME)
    run()
    path = pytester.path / "evidence.json"
    made = json.loads(path.read_text())
    made["created"] = "yesterday"
    seal(path, made)
    assert verify() == 2
    assert "not a bundle: created: Value error" in capsys.readouterr().err


# --- old bundles ---------------------------------------------------------------------------


def seal(path, made):
    made |= seal_bundle(made)
    path.write_text(json.dumps(made, indent=1) + "\n")


def thirty_days_ago(pytester, bundle):
    """The ledger and the bundle as if all of it had been then."""
    with ledger_file(pytester.path) as ledger:
        ledger.execute(f"update calls set began = began - 30 * {DAY}, ended = ended - 30 * {DAY}")
    path = pytester.path / bundle
    made = json.loads(path.read_text())
    month = datetime.timedelta(days=30)
    created = datetime.datetime.fromisoformat(made["created"]) - month
    made["created"] = created.isoformat(timespec="seconds")
    as_of = datetime.datetime.fromisoformat(made["pairs"][0]["as_of"]) - month
    made["pairs"][0]["as_of"] = as_of.isoformat()
    for key in ("first", "last"):
        drawn = datetime.date.fromisoformat(made["pairs"][0]["provenance"][key])
        made["pairs"][0]["provenance"][key] = (drawn - month).isoformat()
    made["ledger"] = chain_anew(pytester.path)
    seal(path, made)


@pytest.mark.full
def test_a_bundle_of_a_month_ago_still_holds_after_the_answers_were_drawn_anew(
    pytester, online, run
):
    online(*BY_NAME)
    run(bundle="old.json")["result"].assert_outcomes(passed=1)
    thirty_days_ago(pytester, "old.json")
    assert verify("old.json") == 0
    anew = run()
    anew["result"].assert_outcomes(passed=1)
    assert anew["pair"]["provenance"]["calls_this_run"] == anew["pair"]["provenance"]["calls"] > 0
    assert anew["pair"]["model"]["endpoint"].endswith("; series 2")
    assert anew["pair"]["provenance"]["tried"]["anew"] == 1
    assert "Attempt 2 for this endpoint and book" in anew["terminal"]
    assert "resampled 1 time because of age" in anew["terminal"]
    offline = run("--memleak-offline", bundle="offline.json")
    assert offline["pair"]["model"]["endpoint"] == anew["pair"]["model"]["endpoint"]
    assert verify() == verify("old.json") == 0


# --- how often it was tried ----------------------------------------------------------------


@pytest.mark.full
def test_another_seed_is_another_attempt_and_every_report_says_so(online, run):
    online(*BY_NAME)
    run(bundle="first.json")
    online(*BY_NAME, ("[suite]", "[suite]\nseed = 1"))
    run(bundle="second.json")
    online(*BY_NAME, ("[suite]", "[suite]\nseed = 1\ntemperature = 0.9"))
    third = run()
    third["result"].assert_outcomes(passed=1)
    tried = third["pair"]["provenance"]["tried"]
    assert (tried["number"], tried["seeds"], tried["temperatures"]) == (3, 2, 2)
    assert (tried["runs"], tried["anew"], tried["files"], tried["removed"]) == (3, 0, 0, 0)
    said = "Attempt 3 for this endpoint and book (2 seeds, 2 temperatures, 3 runs)"
    for report in ("terminal", "html", "markdown"):
        assert said in third[report], report
    assert third["junit"]["memleak.attempt"] == "3"
    assert verify() == 0


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (2, [('id = "held-out"', 'id = "renamed"'), SEED]),
        (2, [('id = "tuned"', 'id = "renamed"'), SEED]),
        (2, [('endpoint = "base"', 'endpoint = "base"\nweights_version = "2026-11"')]),
        (2, [("[model.options]", '[model.options]\nsystem = "Be brief."')]),
        (1, [('endpoint = "base"', 'endpoint = "another"'), SEED]),
        (1, [('"held-out.json"', '"other.json"'), SEED]),
        (1, [('id = "held-out"', 'id = "renamed"')]),
    ],
    ids=["book id", "model id", "release", "options", "another model", "another book", "reused"],
)
def test_attempts_count_by_the_books_words_and_the_model(pytester, online, run, number, changed):
    online(*BY_NAME)
    run(bundle="first.json")
    online(*BY_NAME, *changed)
    records = json.loads((pytester.path / "held-out.json").read_text())
    for record in records:
        record["excerpt_text"] += " Quite another word."
    (pytester.path / "other.json").write_text(json.dumps(records))
    pair = run()["pair"]
    assert pair["provenance"]["tried"]["number"] == number
    assert pair["provenance"]["calls"] > 0
    assert verify("evidence.json", "--allow-failures") == 0
    assert main(["ledger", "history", "--endpoint", pair["model"]["endpoint"]]) == 0


def test_the_attempts_before_a_pairs_own_are_told_and_not_those_after(online, run):
    online(*BY_NAME)
    run(bundle="first.json")
    online(*BY_NAME, ("[suite]", "[suite]\nseed = 1"))
    run(bundle="second.json")
    online(*BY_NAME)
    again = run()
    assert again["pair"]["provenance"]["tried"]["number"] == 1
    assert "attempt" not in again["terminal"]


def test_what_was_drawn_after_a_bundle_changes_nothing_in_it(pytester, online, run):
    lenient = ("[suite]", "[suite]\nmax_short = 0.5")
    released = ('endpoint = "base"', 'endpoint = "base"\nweights_version = "1"')
    asked = (*BY_NAME, lenient, released)
    online(*asked, ("samples = 6", "samples = 4"))
    run(bundle="old.json")["result"].assert_outcomes(passed=1)
    thirty_days_ago(pytester, "old.json")
    online(*asked)
    more = run()
    more["result"].assert_outcomes(passed=1)
    assert more["pair"]["provenance"]["tried"]["further"] == 0
    online(*asked, ("samples = 6", "samples = 4"))
    few = run(bundle="few.json")
    few["result"].assert_outcomes(passed=1)
    assert few["pair"]["provenance"]["tried"]["further"] == 2 * few["pair"]["book"]["excerpts"]
    assert few["junit"]["memleak.further_answers"] == str(2 * few["pair"]["book"]["excerpts"])
    assert verify("old.json") == verify("few.json") == 0


# --- refusals that are accepted ------------------------------------------------------------

REFUSAL = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_a_pass_for_refusals_reads_so_wherever_it_stands(pytester, suite, run, workers):
    suite(
        ("[suite]", "[suite]\naccept_refusals = true\nmax_prompt_overlap = 1.0"),
        ('[[model]]\nid = "leaky"\nprovider = "recorded"\n', ""),
        ('[model.options]\npath = "leaky.json"\n', ""),
        clean=(REFUSAL,) * 3,
    )
    told = run(*workers)
    told["result"].assert_outcomes(passed=1)
    words = "PASS, 100% refused"
    assert told["pair"]["verdict"] == told["junit"]["memleak.verdict"] == words
    for report in ("terminal", "html", "markdown"):
        assert words in told[report], report
    assert verify() == 0


# --- what is not a pass --------------------------------------------------------------------


def test_every_issue_has_a_line_with_its_cause_and_its_remedy(suite, run):
    suite(
        ('[[model]]\nid = "leaky"\nprovider = "recorded"\n', ""),
        ('[model.options]\npath = "leaky.json"\n', ""),
        clean=(REFUSAL,) * 3,
    )
    told = run()
    issues = told["pair"]["completeness"]["issues"]
    assert {"unanswered", "excerpts without an answer"} <= {one["rule"] for one in issues}
    lines = [line.strip() for line in told["terminal"].splitlines()]
    for one in issues:
        assert one["cause"]
        said = "; ".join(filter(None, [one["cause"], one["fix"]]))
        assert said in lines
        assert said in told["markdown"]
        assert said in told["html"]
    assert "6 refusal" in told["terminal"]


# --- preregistered -------------------------------------------------------------------------


def preregistered(digest):
    return ("[suite]", f'[suite]\npreregistered = "{digest}"')


def test_a_suite_is_held_to_the_one_that_was_preregistered(online, server, run):
    online(*BY_NAME, preregistered("0" * 64))
    told = run()
    told["result"].assert_outcomes(errors=1)
    assert server.plan.counts() == {}
    (issue,) = told["pair"]["reasons"]
    assert told["pair"]["verdict"] == "INCONCLUSIVE"
    digest = re.search("this one's is ([0-9a-f]{64})", issue)[1]
    assert f"that one's SHA-256 is {'0' * 64}" in issue
    path = online(*BY_NAME, preregistered(digest))
    path.write_text(
        path.read_text().replace("[limits]", "# Comments and blanks are free.\n[limits]")
    )
    run()["result"].assert_outcomes(passed=1)
    for change in (
        ("samples = 6", "samples = 5"),
        ("longest_span = 60", "longest_span = 61"),
        ('source = "held-out.json"', 'source = "training.json"'),
        ('endpoint = "base"', 'endpoint = "base"\nweights_version = "2"'),
    ):
        online(*BY_NAME, preregistered(digest), change)
        changed = run()
        changed["result"].assert_outcomes(errors=1)
        assert f"that one's SHA-256 is {digest}" in changed["terminal"]


def test_a_plan_says_that_it_is_another_suite(pytester, online):
    online(*BY_NAME, preregistered("0" * 64))
    result = pytester.runpytest("--memleak-dry-run")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["Can't estimate: *not the preregistered suite*"])
