"""What a pass is worth: detection beside every verdict, and the rounds that `detect` asks for."""

from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from report_readers import properties
from suite_files import read_bundle, write_json

DETECT = ("samples = 3", "samples = 3\ndetection_limit = 0.05")


def answers(told):
    """Write the clean model's answers: `told(excerpt's text)` for each excerpt."""
    records = [
        {"excerpt_id": f"p_id{n}", "generations": told(text)} for n, text in enumerate(BOOK, 1)
    ]
    write_json("clean.json", records)


@pytest.fixture
def evidence(gate):
    def run(*options, lines=()):
        text = gate("-m", "copyright", "--memleak-evidence=e.json", *options, lines=lines).stdout
        return text.str(), read_bundle("e.json")["pairs"][0]

    return run


def test_every_report_says_what_the_rounds_would_have_seen(suite, evidence):
    suite()
    text, pair = evidence("-v", "--junitxml=j.xml", "--memleak-html=r.html")
    told = "Detection limit: 63.2% (3 samples, 95% confidence)"
    assert told in text
    assert told in Path("r.html").read_text(encoding="utf-8")
    known = pair["detection"]
    assert (known["rounds"], known["answers"], known["blocks"]) == (3, 3, None)
    assert abs(known["detection"] - (1 - 0.05 ** (1 / 3))) < 1e-12
    junit = properties("j.xml")
    assert float(junit["memleak.detection"]) == known["detection"]
    assert junit["memleak.rounds_alike"] == "yes"
    assert "memleak.longest_span.range_high" in junit


def test_too_few_samples_for_detect_are_no_pass_and_it_says_how_many_are_enough(suite, gate):
    suite(DETECT)
    said = (
        "*detection limit is 63.2*% (3 samples, 95% confidence); "
        "the suite requires 5.0*%; set samples = 66, or raise detection_limit*"
    )
    gate("-m", "copyright", lines=[said], errors=1, failed=1)  # a leak is one, however few
    suite((DETECT[0], DETECT[1].replace("0.05", "0.64")))
    gate("-m", "copyright", passed=1, failed=1)


def test_a_plan_says_it_before_a_cent_is_spent(online, gate):
    online(("samples = 6", "samples = 6\ndetection_limit = 0.05"))
    said = (
        "6 samples: detection limit 39.4% (95% confidence). "
        "Set samples = 66 to reach detection_limit = 0.05 even if the provider withholds 1 "
        "generation in 10."
    )
    gate("--memleak-dry-run", lines=[said])


def test_withheld_answers_have_seen_nothing(suite, evidence):
    reasons = ("stop", "content_filter", "stop")
    told = [
        {"generated_text": text, "finish_reason": reason}
        for text, reason in zip(CLEAN, reasons, strict=True)
    ]
    suite(DETECT)
    answers(lambda _: told)
    _, pair = evidence()
    assert pair["detection"]["answers"] == 2
    said = " ".join(pair["reasons"])
    assert "only 2 answers for one excerpt" in said
    assert "set samples = 89" in said


def test_a_model_that_recites_in_moods_is_told_and_counts_for_fewer_rounds(suite, evidence):
    suite(("samples = 3", "samples = 40\ndetection_limit = 0.1"), ("= 10", "= 99"))

    def told(text):
        said = (text if 10 <= at < 20 else CLEAN[at % 3] for at in range(40))
        return [{"generated_text": f"{one} {at}"} for at, one in enumerate(said)]

    answers(told)
    _, pair = evidence("-v", lines=["*Rounds aren't exchangeable (*, p = 0.00*"])
    assert pair["detection"]["blocks"] == 6
    said = "40 samples, which aren't exchangeable and count as 6 blocks"
    assert said in " ".join(pair["reasons"])
