"""Texts of other attempts on the same model and book count against a pass."""

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from marks import full
from reciter import Reciter
from suite_files import read_bundle, read_pair, write_json
from unearned_servers import other_plays

from pytest_memleak.cli.main import main

NAMED = (
    ('base_model = "base"', 'endpoint = "base"'),
    ('[model.finetune]\nbooks = ["training"]\n', ""),
    ("longest_span = 30", "longest_passage = 38"),
    ("samples = 6", "samples = 3"),
)
SEED = ("[suite]", "[suite]\nseed = 1")
LONGER = ("[suite]", "[suite]\nmax_tokens = 700")
SYSTEM = ("[model.options]", '[model.options]\nsystem = "Be brief."')
RELEASE = ('endpoint = "base"', 'endpoint = "base"\nweights_version = "2026-11"')
LEAK = """
[[pair]]
model = "tuned"
book = "held-out"
expected = "leak"
"""


PLAYS = other_plays(60_000)


class Leaks:
    """A switch: whether sampled texts end in a passage of the held-out story.

    passage: its 60 words; after: how many texts come without it
    """

    def __init__(self, stories):
        self.passage = " ".join(stories["held-out"][1]["excerpt_text"].split()[:60])
        self.on = True
        self.after = 0

    def end(self):
        """Some other words each time, and perhaps the passage."""
        self.after -= 1
        start = random.randrange(len(PLAYS) - 150)
        others = " ".join(PLAYS[start : start + 150])
        leaks = self.on and self.after < 0
        return f"{others}\n\n{self.passage}" if leaks else others


@pytest.fixture
def clock(monkeypatch):
    """Sets the clock by so many days."""
    now = time.time
    return lambda days: monkeypatch.setattr(time, "time", lambda: now() + 86_400 * days)


@pytest.fixture
def leaks(stories, monkeypatch):
    """A switch for the passage; it is on at first."""
    switch = Leaks(stories)
    answer = Reciter.answer

    def leaking(self, name, instruction, *, temperature, **settings):
        texts = answer(self, name, instruction, temperature=temperature, **settings)
        if temperature == 0:
            return texts
        return [replace(text, text=f"{text.text}\n\n{switch.end()}") for text in texts]

    monkeypatch.setattr(Reciter, "answer", leaking)
    return switch


@pytest.fixture
def run(online, gate):
    """Runs the suite with some text replaced; returns the pair and the terminal."""

    def running(
        *replacements,
        reword=None,
        add="",
        bundle="evidence.json",
        one=True,
        options=(),
    ):
        suite = online(*NAMED, *replacements)
        suite.write_text(suite.read_text("utf-8") + add, "utf-8")
        if reword:
            records = json.loads(Path("held-out.json").read_text("utf-8"))
            for record in records:
                record["instruction"] = reword(record["instruction"])
            write_json("held-out.json", records)
        evidence = f"--memleak-evidence={bundle}"
        result = gate("-m", "copyright", "-v", evidence, *options)
        return one and read_pair(bundle), " ".join(result.stdout.str().split())

    return running


def after_a_fail(run, leaks, *replacements, **changes):
    """Run until a FAIL; then with changes, while the model's texts are clean."""
    failed, _ = run(bundle="first.json")
    assert failed["verdict"] == "FAIL"
    leaks.on = False
    return run(*replacements, **changes)


def reworded(instruction):
    return f"Please do what follows, and nothing else. {instruction}"


@pytest.mark.parametrize(
    ("replacements", "changes"),
    [
        ((), {"reword": reworded}),
        full((SEED,), {}),
        full((LONGER,), {}),
    ],
)
def test_another_attempt_after_a_fail_fails_and_says_why(
    run, leaks, replacements, changes
):
    pair, terminal = after_a_fail(run, leaks, *replacements, **changes)
    assert pair["verdict"] == "FAIL"
    passage = pair["measures"]["longest_passage"]
    assert (passage["value"] >= 60, passage["origin"]) == (True, "attempt")
    tried = pair["provenance"]["tried"]
    assert (tried["number"], tried["others"][0]["number"]) == (2, 1)
    assert "Attempt 2 for book and model" in terminal
    words = tried["others"][0]["longest_passage"]
    assert f"attempt 1 reproduced {words} words (FAIL)" in terminal
    assert main(["verify", "evidence.json", "--allow-failures"]) == 0


@pytest.mark.parametrize("replacement", [SYSTEM, full(RELEASE)])
def test_other_options_or_weights_are_another_model(run, leaks, replacement):
    pair, _ = after_a_fail(run, leaks, replacement, SEED)
    tried = pair["provenance"]["tried"]
    assert (pair["verdict"], tried["number"], tried["others"]) == ("PASS", 1, [])


def test_another_attempt_is_trimmed_by_its_own_instruction(run, leaks):
    def quoting(instruction):
        return f"{instruction} It begins: {leaks.passage}"

    leaks.on = True
    told, _ = run(reword=quoting)
    assert told["measures"]["longest_passage"]["value"] < 38
    leaks.on = False
    pair, _ = run()
    (other,) = pair["provenance"]["tried"]["others"]
    assert (other["number"], other["over_limit"]) == (1, False)
    assert pair["measures"]["longest_passage"]["value"] < 38


def test_texts_of_a_name_count_until_they_are_too_old(run, leaks, clock):
    clock(-8)
    run(bundle="first.json")
    clock(0)
    leaks.on = False
    pair, _ = run(SEED)
    assert (pair["verdict"], pair["provenance"]["tried"]["others"]) == ("PASS", [])


AGE = ("[suite]", "[suite]\nmax_age_days = 0.5")


@pytest.mark.parametrize("replacement", [AGE, full((AGE[0], f"{AGE[1]}\nseed = 1"))])
def test_a_short_age_of_reuse_ends_no_attempt(run, leaks, clock, replacement):
    clock(-1)
    run(bundle="first.json")
    clock(0)
    leaks.on = False
    pair, _ = run(replacement)
    assert pair["verdict"] == "FAIL"
    assert main(["verify", "evidence.json", "--allow-failures"]) == 0


@pytest.mark.full
def test_a_later_attempt_breaks_no_earlier_bundle(run, leaks, online):
    leaks.on = False
    run(bundle="first.json")
    leaks.on = True
    run(SEED, bundle="second.json")
    online(*NAMED)
    assert main(["verify", "first.json"]) == 0


TWICE = """
[[model]]
id = "again"
provider = "openai"
endpoint = "base"
seed = 0
[model.options]
base_url = "{url}"
[[pair]]
model = "again"
book = "held-out"
"""


@pytest.fixture
def run_twice(run, server):
    """Runs a model under two ids, the second with its own keys of the pair."""

    def running(keys, *replacements, options=()):
        second = TWICE.format(url=server.base_url)
        run(*replacements, add=second + keys, one=False, options=options)
        bundle = json.loads(Path("evidence.json").read_text("utf-8"))
        return {pair["model"]["id"]: pair for pair in bundle["pairs"]}

    return running


def test_rounds_that_another_pair_requests_are_that_pairs(run_twice, leaks):
    """A sample-size curve: the passage comes in a round that one pair requests."""
    leaks.after = 12
    for _ in range(2):
        pairs = run_twice("samples = 5\n")
        verdicts = {name: pair["verdict"] for name, pair in pairs.items()}
        assert verdicts == {"tuned": "PASS", "again": "FAIL"}
        assert {pair["provenance"]["tried"]["number"] for pair in pairs.values()} == {1}
    assert main(["verify", "evidence.json", "--allow-failures"]) == 0


def test_rounds_of_a_positive_control_of_the_same_model_count_against_a_pass(
    run, run_twice, leaks
):
    run(bundle="first.json")
    leaks.on = False
    pairs = run_twice('expected = "leak"\n', SEED)
    verdicts = {name: pair["verdict"] for name, pair in pairs.items()}
    assert verdicts == {"tuned": "FAIL", "again": "FAIL"}
    assert main(["verify", "evidence.json", "--allow-failures"]) == 0


NODE = "online.memleak.toml::test_memorization[tuned/held-out]"


@pytest.mark.parametrize("options", [("-k", "tuned"), full((NODE,))])
def test_rounds_of_a_pair_that_is_left_out_count_against_a_pass(
    run, run_twice, leaks, options
):
    run(bundle="first.json")
    leaks.on = False
    pairs = run_twice("", SEED, options=options)
    verdicts = {name: pair["verdict"] for name, pair in pairs.items()}
    assert verdicts == {"tuned": "FAIL", "again": "NOT RUN"}
    assert main(["verify", "evidence.json", "--allow-failures"]) == 0


@pytest.mark.full
def test_prompts_of_another_probe_in_the_suite_are_that_pairs(run_twice, leaks):
    leaks.after = 12
    for _ in range(2):
        pairs = run_twice('probe = "continuation"\n')
        verdicts = {name: pair["verdict"] for name, pair in pairs.items()}
        assert (verdicts["tuned"], verdicts["again"]) == ("PASS", "FAIL")


def test_a_positive_control_reads_its_own_rounds_only(run, leaks):
    run()
    leaks.on = False
    pair, _ = run(SEED, add=LEAK)
    assert pair["measures"]["longest_passage"]["value"] < 38
    assert pair["provenance"]["tried"]["others"] == []


COPY = """
[[book]]
id = "copy"
source = "copy.json"
[[pair]]
model = "tuned"
book = "copy"
expected = "leak"
"""


@pytest.mark.parametrize("excerpts", [slice(None), slice(1, 2)])
def test_a_copy_or_a_part_that_is_expected_to_leak_excuses_no_attempt(
    run, leaks, stories, excerpts
):
    run(bundle="first.json")
    records = stories["held-out"][excerpts]
    write_json(
        "copy.json",
        [
            {**record, "instruction": reworded(record["instruction"])}
            for record in records
        ],
    )
    run(SEED, add=COPY, one=False)
    bundle = read_bundle()
    (pair,) = (pair for pair in bundle["pairs"] if pair["pair"] == "tuned/held-out")
    assert (bundle["result"], pair["verdict"]) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert "which the model 'tuned' is expected to leak" in pair["reasons"][0]
