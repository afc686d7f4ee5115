"""A bug in the normal path ends in INCONCLUSIVE by the second opinion, not in a wrong verdict."""

import json

import pytest
from ferry import CLEAN
from suite_files import read_bundle, write_book

from pytest_memleak.cli.main import main
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.ngram_prefilter import NgramPrefilter

PIER = '[[book]]\nid = "pier"\nsource = "pier.json"\n'
UPWARD = "Nobody on the pier had expected rain to fall upward that autumn."
BOTH = f"{UPWARD} But the ferryman counted nine lanterns along the quay."
runs = NgramPrefilter.runs


def shorter(sieve, *texts, behind=0):
    result = runs(sieve, *texts)
    return result._replace(words=result.words - 1 * (result.place > behind))


def of_every_second(*arguments):
    result = runs(*arguments)
    return result.where(result.text % 2 == 0)


BUGS = {
    "every second place": (NgramPrefilter, "runs", of_every_second),
    "the last word": (NgramPrefilter, "runs", shorter),
    "the last word of another book": (
        NgramPrefilter,
        "runs",
        lambda *a: shorter(*a, behind=32),
    ),
    "not counted": (Tally, "_count_own", lambda *_: None),
}


@pytest.fixture
def pairs(gate):
    def go(*options, lines=()):
        gate(
            "-m", "copyright", "--memleak-evidence=evidence.json", *options, lines=lines
        )
        return {pair["pair"]: pair for pair in read_bundle()["pairs"]}

    return go


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_inconclusive(suite, pairs, monkeypatch, bug):
    suite(
        ('[[model]]\nid = "clean"', f'{PIER}[[model]]\nid = "clean"'),
        leaky=(BOTH, *CLEAN[:2]),
    )
    write_book("pier.json", {"p_id1": UPWARD}, "Write of a pier, {}.".format)
    monkeypatch.setattr(*BUGS[bug])
    leaky = pairs()["leaky/ferry"]
    assert leaky["verdict"] == "INCONCLUSIVE"
    assert leaky["second_opinion"]["differences"] > 0
    [issue] = [
        issue
        for issue in leaky["completeness"]["issues"]
        if issue["rule"] == "second opinion"
    ]
    assert "p_id1, generation 0, at word" in issue["cause"]
    assert "lanterns" not in json.dumps(leaky["completeness"]["issues"])


def test_evidence_counts_the_comparisons_of_two_equal_opinions(suite, pairs):
    suite()
    result = pairs(
        "-v", lines=["*Second opinion: 6 generations matched again, 0 differences"]
    )
    nothing = {"generations": 6, "differences": 0}
    assert [pair["second_opinion"] for pair in result.values()] == [nothing] * 2
    assert main(["verify", "evidence.json", "--allow-failures"]) == 0
