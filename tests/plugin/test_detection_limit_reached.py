"""What a pass is worth: detection beside every verdict, and the rounds that `detect` asks for."""

from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from report_readers import properties
from suite_files import read_bundle, write_json

DETECT = ("samples = 3", "samples = 3\ndetection_limit = 0.05")


def answers(generations_of):
    """Write the clean model's answers: `generations_of(excerpt's text)` for each excerpt."""
    records = [
        {"excerpt_id": f"p_id{n}", "generations": generations_of(text)}
        for n, text in enumerate(BOOK, 1)
    ]
    write_json("clean.json", records)


@pytest.fixture
def evidence(gate):
    def run(*options, lines=()):
        text = gate(
            "-m", "copyright", "--memleak-evidence=e.json", *options, lines=lines
        ).stdout
        return text.str(), read_bundle("e.json")["pairs"][0]

    return run


def test_reports_say_what_the_rounds_would_have_seen(suite, evidence):
    suite()
    text, pair = evidence("-v", "--junitxml=j.xml", "--memleak-html=r.html")
    line = "Detection limit: 63.2% (3 samples, 95% confidence)"
    assert line in text
    assert line in Path("r.html").read_text(encoding="utf-8")
    detection = pair["detection"]
    assert (detection["rounds"], detection["answers"], detection["blocks"]) == (
        3,
        3,
        None,
    )
    assert abs(detection["detection"] - (1 - 0.05 ** (1 / 3))) < 1e-12
    junit = properties("j.xml")
    assert float(junit["memleak.detection"]) == detection["detection"]
    assert junit["memleak.rounds_alike"] == "yes"
    assert "memleak.longest_span.range_high" in junit


def test_too_few_samples_for_detect_are_no_pass_and_it_says_how_many_are_enough(
    suite, gate
):
    suite(DETECT)
    lines = [
        "*detection limit is 63.2*% (3 samples, 95% confidence); "
        "the suite requires 5.0*% (*",
        "  Fix: set samples = 66, or raise detection_limit",
    ]
    # A leak is one, however few.
    gate("-m", "copyright", lines=lines, errors=1, failed=1)
    suite((DETECT[0], DETECT[1].replace("0.05", "0.64")))
    gate("-m", "copyright", passed=1, failed=1)


def test_withheld_answers_have_seen_nothing(suite, evidence):
    reasons = ("stop", "content_filter", "stop")
    generations = [
        {"generated_text": text, "finish_reason": reason}
        for text, reason in zip(CLEAN, reasons, strict=True)
    ]
    suite(DETECT)
    answers(lambda _: generations)
    _, pair = evidence()
    assert pair["detection"]["answers"] == 2
    shown = " ".join(pair["reasons"])
    assert "only 2 answers for one excerpt" in shown
    assert "set samples = 89" in shown


def test_a_model_that_recites_in_moods_is_told_and_counts_for_fewer_rounds(
    suite, evidence
):
    suite(("samples = 3", "samples = 40\ndetection_limit = 0.1"), ("= 10", "= 99"))

    def answers_in_moods(text):
        texts = (text if 10 <= at < 20 else CLEAN[at % 3] for at in range(40))
        return [{"generated_text": f"{text} {at}"} for at, text in enumerate(texts)]

    answers(answers_in_moods)
    _, pair = evidence("-v", lines=["*Rounds aren't exchangeable (*, p = 0.00*"])
    assert pair["detection"]["blocks"] == 6
    line = "40 samples, which aren't exchangeable and count as 6 blocks"
    assert line in " ".join(pair["reasons"])
