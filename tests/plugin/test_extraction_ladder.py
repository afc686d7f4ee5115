"""The ladder through the front door: a server that refuses until it is asked otherwise."""

import json
from pathlib import Path

import pytest
from answer_sets import book_of
from extraction_servers import BOOK, opens_at, refuses, serving
from suite_files import read_bundle

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import seal_bundle, write_evidence_file

SUITE = """
suite = {{ samples = 3, accept_refusals = true, turns = 6 }}
limits = {{ longest_passage = 38, extracted = 0.01 }}
[[book]]
id = "play"
source = "play.json"
[[model]]
id = "chat"
{model}
{more}
"""
MODEL = """
provider = "openai"
base_model = "reciter"
weights_version = "1"
options = {{ base_url = "{url}", api_key_env = "EXTRACTION_TEST_KEY" }}
"""
EXTRACTION = '[[model]]\nid = "asked"\nprobe = "extraction"\n'
TRIED = "tried: instruction, 3 samples; "
RUN = ("-m", "copyright", "--memleak-evidence=evidence.json")


@pytest.fixture
def run(pytester, monkeypatch):
    """Returns the result of a run against a server of this behavior, and the server."""
    monkeypatch.setenv("EXTRACTION_TEST_KEY", "k")
    monkeypatch.setattr("pytest_memleak.pipeline.extraction_conversation.REWORDINGS", 4)
    rows = [
        {
            "excerpt_id": excerpt.id,
            "excerpt_text": excerpt.text,
            "instruction": excerpt.instruction,
        }
        for excerpt in book_of("play", BOOK).excerpts
    ]
    (pytester.path / "play.json").write_text(json.dumps(rows))

    def run(behavior, *options, extraction=True):
        with serving(behavior) as server:
            model = MODEL.format(url=server.url)
            more = EXTRACTION + model if extraction else ""
            suite = SUITE.format(model=model, more=more)
            (pytester.path / "it.memleak.toml").write_text(suite)
            return pytester.runpytest(*RUN, *options), server

    return run


def test_a_server_that_yields_to_a_rewording_passed_without_extraction(run):
    result, _ = run(opens_at(3), extraction=False)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "tried: instruction, 3 samples; not tried: continuation, extraction, "
            "fine-tuning, probability",
        ],
    )


def test_a_server_that_yields_to_a_rewording_fails_and_the_screen_names_it(run):
    result, _ = run(opens_at(3))
    result.assert_outcomes(passed=1, failed=1)
    opened = "extraction, opened by rewording 3, 6 turns"
    worst = "*longest_passage > 38 (worst 126: asked/play)"
    result.stdout.fnmatch_lines([worst, f"{TRIED}{opened}; not tried: *"])


@pytest.mark.full
def test_pairs_of_one_model_and_book_stand_together_in_the_bundle(run):
    run(refuses)
    (group,) = read_bundle()["tried"]
    assert group["pairs"] == ["asked/play", "chat/play"]
    never = "extraction, plain and 4 rewordings: never opened"
    assert group["tried"] == [never, "instruction, 3 samples"]


def test_a_pass_that_never_opened_is_verified_and_says_so(run, capsys):
    result, _ = run(refuses)
    result.assert_outcomes(passed=2)
    capsys.readouterr()
    assert main(["verify", "evidence.json"]) == 0
    assert "rewordings: never opened; instruction, 3" in capsys.readouterr().out


@pytest.mark.full
def test_a_bundle_that_claims_other_prompts_fails_verification(run, capsys):
    run(refuses)
    bundle = read_bundle()
    bundle["tried"][0]["not_tried"] = []
    del bundle["sha256"]
    write_evidence_file(seal_bundle(bundle), Path("evidence.json"))
    assert main(["verify", "evidence.json"]) == 1
    assert "tried" in capsys.readouterr().out


@pytest.mark.full
def test_neither_pair_is_another_attempt_of_the_other(run):
    run(refuses)
    pairs = read_bundle()["pairs"]
    assert [pair["provenance"]["tried"]["number"] for pair in pairs] == [1, 1]
    assert {count["purpose"] for pair in pairs for count in pair["sampled"]} == {
        "own",
        "canary",
    }


@pytest.mark.full
def test_every_report_names_what_was_tried(run, pytester, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    run(refuses, "--memleak-html=page.html", "--junitxml=junit.xml")
    for name in ("summary.md", "page.html", "junit.xml"):
        assert "never opened" in (pytester.path / name).read_text("utf-8"), name
