"""Controls: books that no model has read. They gate nothing, and say what the gate is worth."""

import json
import xml.etree.ElementTree as ET

import pytest
from test_doubt import ASKED, END, prose
from test_verify import resealed

from pytest_memleak.cli.main import main

BOOKS = ("tale", "new", "newer", "newest")
TEXTS = {
    book: {f"p_id{n}": prose((book, n)) for n in range(1, 7)} if book != "tale" else None
    for book in BOOKS
}
TEXTS["tale"] = {f"p_id{n}": prose(("tale", n)) for n in range(1, 7)}
SAMPLES = 8

SUITE = """
[suite]
samples = 8

[limits]
longest_span = 10
bmc_excess = 0.1

[[book]]
id = "tale"
source = "tale.json"

[[model]]
id = "model"
provider = "recorded"
[model.options]
path = "model-{book}.json"
"""
CONTROL = """
[[book]]
id = "NAME"
source = "NAME.json"
role = "negative-control"
"""


@pytest.fixture
def suite(pytester):
    def write(*replacements, controls=BOOKS[1:], recalled=()):
        """`recalled`: the books of which each answer gives the first 150 words of its excerpt."""
        text = SUITE + "".join(CONTROL.replace("NAME", name) for name in controls)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (pytester.path / "it.memleak.toml").write_text(text)
        for book, texts in TEXTS.items():
            records = [
                {"excerpt_id": i, "excerpt_text": said, "instruction": f"{ASKED} {i}"}
                for i, said in texts.items()
            ]
            (pytester.path / f"{book}.json").write_text(json.dumps(records))
            records = [
                {
                    "excerpt_id": i,
                    "generations": [
                        {
                            "generated_text": " ".join(said.split()[:150] * (book in recalled))
                            + f" {END} {prose((book, i, number, 'answer'))}"
                        }
                        for number in range(SAMPLES)
                    ],
                }
                for i, said in texts.items()
            ]
            (pytester.path / f"model-{book}.json").write_text(json.dumps(records))

    return write


def run(pytester, *options):
    path = pytester.path / "e.json"
    result = pytester.runpytest("-m", "copyright", f"--memleak-evidence={path}", *options)
    made = json.loads(path.read_text())
    return result, {one["pair"]: one for one in made["pairs"]}, made["suites"]


def test_a_control_over_a_limit_gates_nothing_and_is_a_false_alarm(pytester, suite):
    suite(recalled=("newer",))
    result, pairs, (told,) = run(pytester, "--junitxml=j.xml", "--memleak-html=r.html")
    result.assert_outcomes(passed=4)
    assert pairs["model/newer"]["verdict"] == "FAIL"
    assert pairs["model/newer"]["control"] is True
    said = "False positives on 3 negative controls: longest_span 1 of 3, bmc_excess 1 of 3"
    result.stdout.fnmatch_lines([said, "model/newer: FAIL (control)"])
    assert said in (pytester.path / "r.html").read_text()
    assert told["false_alarms"]["longest_span"] == {"over": 1, "measured": 3}
    found = {one.get("name"): one.get("value") for one in ET.parse("j.xml").iter("property")}
    assert found["memleak.suite.it.memleak.toml.false_alarms.longest_span"] == "1 of 3"


def test_the_null_is_of_controls_and_p_stands_beside_the_excess(pytester, suite):
    suite(recalled=("tale",))
    result, pairs, _ = run(pytester, "-v")
    result.assert_outcomes(failed=1, passed=3)
    found = pairs["model/tale"]
    nulls = [one["pair"] for one in found["sampled"] if one["purpose"] == "null"]
    assert nulls == ["model/new", "model/newer", "model/newest"]
    excess = found["measures"]["bmc_excess"]
    assert excess["low"] > 0.1
    assert excess["p"] < 0.01
    assert any("bmc_excess" in reason for reason in found["reasons"])
    result.stdout.fnmatch_lines(
        ["  Chance level: *% (3 null books); this book *%, p = *. 3 null books can detect *"]
    )
    assert pairs["model/new"]["measures"]["bmc_excess"]["p"] > 0.01


def test_that_nothing_showed_that_the_gate_could_see_is_told(pytester, suite):
    suite()
    result, _, (told,) = run(pytester)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["No positive control leaked, so *"])
    assert told == {
        "suite": "it.memleak.toml",
        "controls": 3,
        "false_alarms": {
            name: {"over": 0, "measured": 3} for name in ("longest_span", "bmc_excess")
        },
        "leak_seen": False,
        "gates": True,
    }


def test_a_suite_of_leaks_alone_says_that_it_gates_nothing(pytester, suite):
    leak = ('provider = "recorded"', 'provider = "recorded"\nexpected = "leak"')
    suite(leak, recalled=("tale",), controls=BOOKS[1:3])
    result, pairs, (told,) = run(pytester)
    result.assert_outcomes(xfailed=1, passed=2)  # a control is not expected to leak
    result.stdout.fnmatch_lines(["This suite gates nothing: every pair is a control."])
    result.stdout.no_fnmatch_line("*No positive control leaked*")
    assert (told["leak_seen"], told["gates"]) == (True, False)
    assert pairs["model/new"]["expected"] == "pass"


def test_a_control_that_is_not_there_is_told_and_chance_is_not_known(pytester, suite):
    gone = ('source = "newest.json"', 'source = "gone.json"\nbring_your_own = true')
    suite(gone)
    result, pairs, (told,) = run(pytester)
    result.assert_outcomes(passed=2, errors=2)  # the test book's null lacks a book
    assert pairs["model/newest"]["verdict"] == "INCONCLUSIVE"
    assert told["false_alarms"]["longest_span"] == {"over": 0, "measured": 2}


def test_a_control_that_nobody_looked_at_is_no_pass(pytester, suite, capsys):
    suite(("bmc_excess = 0.1", ""), controls=("new",))
    run(pytester)
    path = pytester.path / "e.json"
    assert json.loads(path.read_text())["result"] == "PASS"
    run(pytester, "--deselect", "it.memleak.toml::test_memorization[model/new]")
    assert json.loads(path.read_text())["result"] == "INCONCLUSIVE"
    resealed(path, lambda made: made.update(result="PASS"))
    assert main(["verify", str(path)]) == 1
    assert "the bundle says PASS, its pairs give INCONCLUSIVE" in capsys.readouterr().out
    (pytester.path / "model-new.json").unlink()
    run(pytester)
    assert json.loads(path.read_text())["result"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('role = "negative-control"', 'role = "contol"', "'test', 'train' or 'negative-control'"),
        (
            "[model.options]",
            '[model.finetune]\nbooks = ["new"]\n[model.options]',
            "'new' has the role 'negative-control'",
        ),
        (
            "[[model]]",
            '[[pair]]\nmodel = "model"\nbook = "new"\nexpected = "leak"\n\n[[model]]',
            "has the role 'negative-control', so it can't leak",
        ),
    ],
)
def test_what_no_control_can_be_is_an_error_of_the_file(pytester, suite, old, new, said):
    suite((old, new))
    result = pytester.runpytest("-m", "copyright")
    result.assert_outcomes(errors=1)
    assert said in result.stdout.str()
