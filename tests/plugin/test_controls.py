"""Controls: books that no model has read. They gate nothing, and say what the gate is worth."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from evidence_files import resealed
from invented_prose import ASKED, END, prose
from report_readers import properties
from suite_files import read_bundle, replace_all, write_answers, write_book

from pytest_memleak.cli.main import main

ROOT = Path(__file__).parents[2]
BOOKS = ("tale", "new", "newer", "newest")
TEXTS = {book: {f"p_id{n}": prose((book, n)) for n in range(1, 7)} for book in BOOKS}
SAMPLES = 8

SUITE = """
suite = { samples = 8 }
limits = { longest_span = 10, bmc_excess = 0.1 }
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


def instruction(texts, name):
    """What asks for an excerpt, with some of its words: a summary of a kind."""
    return f"{ASKED} {name} {' '.join(texts[name].split()[7::11])}"


@pytest.fixture
def suite(pytester):
    def write(*replacements, controls=BOOKS[1:], recalled=()):
        """`recalled`: the books of which each answer gives the first 150 words of its excerpt."""
        text = SUITE + "".join(CONTROL.replace("NAME", name) for name in controls)
        Path("it.memleak.toml").write_text(replace_all(text, replacements))
        for book, texts in TEXTS.items():
            write_book(f"{book}.json", texts, partial(instruction, texts))
            answers = {}
            for name, excerpt_text in texts.items():
                first = " ".join(excerpt_text.split()[:150] * (book in recalled))
                generations = (
                    prose((book, name, number, "answer")) for number in range(SAMPLES)
                )
                answers[name] = [
                    f"{first} {END} {generation}" for generation in generations
                ]
            write_answers(f"model-{book}.json", answers)

    return write


@pytest.fixture
def run(gate):
    def go(*options, **expected):
        gate("-m", "copyright", "--memleak-evidence=e.json", *options, **expected)
        bundle = read_bundle("e.json")
        (suite,) = bundle["suites"]
        return bundle["result"], {pair["pair"]: pair for pair in bundle["pairs"]}, suite

    return go


def test_a_control_over_a_limit_gates_nothing_and_is_a_false_alarm(suite, run):
    suite(recalled=("newer",))
    message = (
        "False positives on 3 negative controls: longest_span 1 of 3, bmc_excess 1 of 3"
    )
    reports = ("--junitxml=j.xml", "--memleak-html=r.html")
    _, pairs, suite_facts = run(
        *reports, lines=["model/newer *FAIL (control)", message], passed=4
    )
    assert (pairs["model/newer"]["verdict"], pairs["model/newer"]["control"]) == (
        "FAIL",
        True,
    )
    assert message in Path("r.html").read_text()
    assert suite_facts["false_alarms"]["longest_span"] == {"over": 1, "measured": 3}
    junit = properties("j.xml")
    assert junit["memleak.suite.it.memleak.toml.false_alarms.longest_span"] == "1 of 3"


def test_the_null_is_of_controls_and_p_stands_beside_the_excess(suite, run):
    suite(recalled=("tale",))
    lines = [
        "  Chance level: *% (3 null books); this book *%, p ? *. 3 null books can "
        "detect *"
    ]
    _, pairs, _ = run("-v", lines=lines, failed=1, passed=3)
    result = pairs["model/tale"]
    nulls = [row["pair"] for row in result["sampled"] if row["purpose"] == "null"]
    assert nulls == ["model/new", "model/newer", "model/newest"]
    excess = result["measures"]["bmc_excess"]
    assert excess["low"] > 0.1
    assert excess["p"] < 0.01 < pairs["model/new"]["measures"]["bmc_excess"]["p"]
    assert any("bmc_excess" in reason for reason in result["reasons"])


def test_a_run_without_a_leaking_control_says_so(suite, run):
    suite()
    _, _, suite_facts = run(lines=["No positive control leaked, so *"], passed=4)
    none = {name: {"over": 0, "measured": 3} for name in ("longest_span", "bmc_excess")}
    suite_told = {"suite": "it.memleak.toml", "controls": 3, "false_alarms": none}
    assert suite_facts == suite_told | {"leak_seen": False, "gates": True}


def test_a_suite_of_leaks_alone_says_that_it_gates_nothing(suite, run):
    leak = ('provider = "recorded"', 'provider = "recorded"\nexpected = "leak"')
    suite(leak, recalled=("tale",), controls=BOOKS[1:3])
    lines = ["*gates nothing: all its pairs are controls*"]
    _, pairs, suite_facts = run(lines=lines, xfailed=1, passed=2)
    assert (suite_facts["leak_seen"], suite_facts["gates"]) == (True, False)
    assert pairs["model/new"]["expected"] == "pass"


def test_a_control_that_is_not_there_is_told_and_chance_is_not_known(suite, run):
    suite(('source = "newest.json"', 'source = "gone.json"\nbring_your_own = true'))
    _, pairs, suite_facts = run(passed=2, errors=2)  # the test book's null lacks a book
    assert pairs["model/newest"]["verdict"] == "INCONCLUSIVE"
    assert suite_facts["false_alarms"]["longest_span"] == {"over": 0, "measured": 2}


def test_a_control_that_nobody_looked_at_is_no_pass(suite, run, capsys):
    suite((", bmc_excess = 0.1", ""), controls=("new",))
    assert run()[0] == "PASS"
    assert (
        run("--deselect", "it.memleak.toml::test_memorization[model/new]")[0]
        == "INCONCLUSIVE"
    )
    resealed(Path("e.json"), lambda made: made.update(result="PASS"))
    assert main(["verify", "e.json"]) == 1
    assert (
        "the bundle says PASS, but its pairs give INCONCLUSIVE"
        in capsys.readouterr().out
    )
    Path("model-new.json").unlink()
    assert run()[0] == "INCONCLUSIVE"


FINETUNED = '[model.finetune]\nbooks = ["new"]\n[model.options]'
LEAKS = '[[pair]]\nmodel = "model"\nbook = "new"\nexpected = "leak"\n\n[[model]]'
WRONG = [
    ("[model.options]", FINETUNED, "'new' has the role 'negative-control'"),
    ("[[model]]", LEAKS, "has the role 'negative-control', so it can't leak"),
]


def test_an_impossible_control_is_an_error_of_the_file(gate, suite):
    for number, (old, new, _) in enumerate(WRONG):
        suite((old, new))
        Path("it.memleak.toml").rename(f"m{number}.memleak.toml")
    text = gate("-m", "copyright", errors=len(WRONG)).stdout.str()
    for _, _, message in WRONG:
        assert message in text


@pytest.mark.full
def test_the_parrot_leaks_what_it_knows_and_raises_no_false_alarm(pytester, gate):
    """The suite of public-domain texts."""
    for folder in ("suites/public_domain", "fixtures/books"):
        shutil.copytree(ROOT / folder, pytester.path / folder)
    path = pytester.path / "suites/public_domain/public_domain.memleak.toml"
    # Fewer samples than its detection limit needs: a leak is one all the same.
    path.write_text(path.read_text().replace("samples = 66", "samples = 6"))
    gate("-m", "copyright", "--memleak-evidence=e.json", path, xfailed=3, passed=2)
    made = read_bundle("e.json")
    (suite_facts,) = made["suites"]
    assert (suite_facts["controls"], suite_facts["leak_seen"]) == (2, True)
    assert {count["over"] for count in suite_facts["false_alarms"].values()} == {0}
    assert {count["measured"] for count in suite_facts["false_alarms"].values()} == {2}
    for pair in made["pairs"]:
        assert pair["control"] or pair["measures"]["longest_passage"]["value"] > 38


PASSAGES = ("longest_span = 10", "longest_passage = 38")


def test_a_control_that_recites_its_own_book_is_none(suite, run):
    suite(PASSAGES, (", bmc_excess = 0.1", ""), recalled=("newer",))
    result, pairs, _ = run(passed=3, errors=1)
    assert (result, pairs["model/newer"]["verdict"]) == ("INCONCLUSIVE",) * 2
    cause = "newer comes back (longest_passage 150, limit 38), so it is no negative"
    assert cause in pairs["model/newer"]["reasons"][0]
    assert pairs["model/tale"]["verdict"] == "PASS"
    assert main(["verify", "e.json", "--allow-failures"]) == 0


def test_pairs_that_use_a_recited_control_are_inconclusive(suite, run):
    suite(PASSAGES, recalled=("newer",))
    result, pairs, _ = run(errors=4)
    verdicts = {name: pair["verdict"] for name, pair in pairs.items()}
    assert (result, set(verdicts.values())) == ("INCONCLUSIVE", {"INCONCLUSIVE"})
    assert "newer comes back" in " ".join(pairs["model/tale"]["reasons"])
