"""Common texts within a tested book: what limits don't apply to, and what they still do."""

import html
from pathlib import Path

import pytest
from evidence_files import resealed
from invented_prose import ASKED, prose
from suite_files import read_bundle, write_answers, write_book

SUITE = """
suite = { samples = 2 }
limits = { preset = "strict" }
[[book]]
id = "tested"
source = "tested.json"
[[common]]
source = "common/*.txt"
[[model]]
id = "candidate"
provider = "recorded"
options = { path = "answers.json" }
"""
EXCERPTS = 6
REPORTS = (
    "--junitxml=junit.xml",
    "--memleak-evidence=evidence.json",
    "--memleak-html=page.html",
)


def stretch(seed, length):
    return " ".join(prose(seed, length).split()[:length])


def with_quotations(quoted, of_each=1):
    """Excerpts of 300 own words, each of which so many quotations part."""
    texts = {}
    for number in range(EXCERPTS):
        own = prose(f"own {number}", 300).split()
        parts = quoted[number * of_each : (number + 1) * of_each]
        for nth, quotation in enumerate(parts, start=1):
            own.insert(nth * 300 // (of_each + 1), quotation)
        texts[f"p_id{number}"] = " ".join(own)
    return texts


@pytest.fixture
def run(pytester, gate, monkeypatch):
    """Runs the gate on a book and answers of which the first recites so much of it."""

    def go(texts, common, recited, suite=SUITE, options=(), **outcomes):
        Path("it.memleak.toml").write_text(suite, encoding="utf-8")
        Path("common").mkdir(exist_ok=True)
        for number, text in enumerate(common):
            Path(f"common/{number}.txt").write_text(text, encoding="utf-8")
        about = {key: " ".join(text.split()[7::15]) for key, text in texts.items()}
        write_book("tested.json", texts, lambda key: f"{ASKED} {about[key]}")
        answers = {
            key: [prose(f"{key} {round_}", 300) for round_ in range(2)] for key in texts
        }
        for key, text in recited.items():
            answers[key][0] += f" xyzzy {text} xyzzy"
        write_answers("answers.json", answers)
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "steps.md"))
        result = gate("-v", *REPORTS, *options, **outcomes)
        pair = next(
            pair
            for pair in read_bundle()["pairs"]
            if pair["pair"] == "candidate/tested"
        )
        return result, pair

    return go


@pytest.mark.parametrize("length", [24, 59])
def test_a_quotation_that_is_common_passes(run, length):
    quotation = stretch("psalm", length)
    texts = with_quotations([quotation])
    _, pair = run(texts, [quotation], {"p_id0": quotation})
    assert (pair["verdict"], pair["reasons"]) == ("PASS", [])
    assert pair["excused"]["words"] == length


def test_an_annotated_edition_of_a_common_text_passes(run):
    """A third of the book is common: its model recites all of it."""
    quoted = [stretch(f"verse {number}", 75) for number in range(2 * EXCERPTS)]
    recited = {
        f"p_id{number}": " ".join(quoted[2 * number : 2 * number + 2])
        for number in range(EXCERPTS)
    }
    _, pair = run(with_quotations(quoted, 2), quoted, recited)
    assert (pair["verdict"], pair["reasons"]) == ("PASS", [])
    assert pair["excused"]["words"] == 150 * EXCERPTS
    assert pair["excused"]["measures"]["bmc"] == pytest.approx(1 / 3, abs=0.01)
    assert pair["measures"]["bmc"]["value"] < 0.01


LARGE = 30_000


def test_a_leak_beside_a_quotation_from_a_large_common_text_fails(run):
    large = stretch("scripture", LARGE)
    quotation = " ".join(large.split()[5_000:5_059])
    texts = with_quotations([quotation])
    own = texts["p_id0"].split()
    leak = " ".join(own[119:239])  # 61 own words around the quotation
    _, pair = run(texts, [large], {"p_id0": leak}, failed=1)
    assert pair["verdict"] == "FAIL"
    over = {"longest_passage": 61, "longest_block": 61, "longest_span": 61}
    values = {name: pair["measures"][name]["value"] for name in over}
    assert values == over
    assert {name: pair["excused"]["measures"][name] for name in over} == dict.fromkeys(
        over, 120
    )


def test_a_leak_of_a_book_that_common_texts_have_in_pieces_is_inconclusive(run):
    texts = with_quotations([])
    words = " ".join(texts.values()).split()
    pieces = [" ".join(words[at : at + 19]) for at in range(0, 1_200, 19)]
    common = " xyzzy ".join(pieces)
    _, pair = run(texts, [common], {"p_id0": texts["p_id0"]}, errors=1)
    assert pair["verdict"] == "INCONCLUSIVE"
    assert "[[common]] texts excuse 67." in pair["reasons"][0]


def test_own_words_on_both_sides_of_a_quotation_are_one_run(run):
    quotation = stretch("psalm", 59)
    texts = with_quotations([quotation])
    leak = " ".join(texts["p_id0"].split()[135:224])
    _, pair = run(texts, [quotation], {"p_id0": leak}, failed=1)
    longest = pair["measures"]["longest_span"]
    assert (longest["value"], longest["start"], longest["end"]) == (30, 135, 224)
    assert pair["reasons"] == ["spans_over 1 exceeds the limit 0"]


def test_every_report_says_what_is_excused(run):
    quotation = stretch("psalm", 59)
    result, _ = run(with_quotations([quotation]), [quotation], {"p_id0": quotation})
    excused = "Excused: 59 words of the book, which limits don't apply to: in common"
    page, steps = (Path(name).read_text("utf-8") for name in ("page.html", "steps.md"))
    plain_steps = html.unescape(steps)
    assert excused in result.stdout.str()
    assert "longest_span 59" in result.stdout.str()
    assert excused in html.unescape(page)
    assert excused in plain_steps


def with_fewer_words(bundle):
    bundle["pairs"][0]["excused"]["measures"]["longest_span"] = 24


def test_a_bundle_of_other_excused_words_is_wrong(run, verify):
    quotation = stretch("psalm", 59)
    run(with_quotations([quotation]), [quotation], {"p_id0": quotation})
    assert "wrong:" not in verify()[1]
    resealed(Path("evidence.json"), with_fewer_words)
    assert "excused.measures.longest_span" in verify()[1]


def test_without_a_shared_run_of_twelve_words_nothing_changes(run):
    texts = with_quotations([])
    common = " ".join(texts["p_id0"].split()[100:111])
    _, pair = run(texts, [f"{common} otherwise"], {"p_id0": common})
    assert pair["excused"] is None
    assert pair["measures"]["longest_span"]["value"] == 11


BASELINE = """
[[model]]
id = "base"
provider = "recorded"
options = { path = "base.json" }
"""


def test_the_baseline_is_measured_on_the_same_remaining_words(run):
    quotation = stretch("psalm", 59)
    texts = with_quotations([quotation])
    answers = {key: [prose(f"base {key} {n}", 300) for n in range(2)] for key in texts}
    write_answers("base.json", answers)
    compared = SUITE.replace('preset = "strict"', "uplift = 0.9").replace(
        'id = "candidate"', 'id = "candidate"\nbaseline_model = "base"'
    )
    _, pair = run(texts, [quotation], {"p_id0": quotation}, compared + BASELINE)
    assert pair["measures"]["uplift"]["value"] == 0
    assert pair["excused"]["measures"]["bmc"] == pytest.approx(59 / (1_800 + 59))


@pytest.mark.full
def test_two_processes_excuse_the_same_words(run):
    quotation = stretch("psalm", 59)
    texts = with_quotations([quotation])
    leak = " ".join(texts["p_id0"].split()[135:224])
    case = (texts, [quotation], {"p_id0": leak})
    _, alone = run(*case, failed=1)
    _, pair = run(*case, options=["--memleak-jobs=2"], failed=1)
    assert pair == alone
