"""Any passage of any protected book: planted in recorded answers, told in every report."""

import itertools
import random
import re
import shutil
from pathlib import Path

import pytest
from marks import full
from suite_files import read_bundle, read_story, replace_all, write_answers, write_json

from pytest_memleak.books.epub import read_epub
from pytest_memleak.scoring.measure_table import GENERATIONS, MEASURES, PASSAGES
from pytest_memleak.scoring.words import words

SUITE = """
suite = { samples = 2 }
limits = { longest_passage = 38, nv_longest_passage = 38 }
[[book]]
id = "lamp"
title = "The Lamplighter"
source = "lamp.json"
[[book]]
id = "vault"
title = "The Seed Vault"
source = "vault.json"
[[book]]
id = "lessons"
source = "lessons.json"
role = "train"
[[model]]
id = "candidate"
tests = ["lamp"]
provider = "recorded"
options = { path = "answers.json" }
"""
TUNED = (
    'provider = "recorded"\noptions = { path = "answers.json" }',
    'provider = "ngram"\noptions = { order = 12 }\nfinetune = { books = ["lessons"] }',
)
REPORTS = (
    "--junitxml=junit.xml",
    "--memleak-evidence=evidence.json",
    "--memleak-html=page.html",
)


@pytest.fixture(scope="module")
def stories():
    return {
        "lamp": read_story("the-lamplighter")[:18],
        "vault": read_story("the-seed-vault")[:4],
    }


@pytest.fixture(scope="module")
def read_note():
    """An EPUB, and the text of its only note."""
    path = Path(__file__).parents[2] / "fixtures" / "books" / "the-seed-vault.epub"
    *_, note = read_epub(path).excluded
    return path, note.paragraphs[0]


@pytest.fixture(scope="module")
def text(stories):
    """A story's text, as its words between blanks."""
    texts = {
        book: [record["excerpt_text"] for record in records]
        for book, records in stories.items()
    }
    return {book: " ".join(its).split() for book, its in texts.items()}


@pytest.fixture(scope="module")
def babble(text):
    """Prose in the stories' words that remembers one word back, and recites neither of them."""
    after = {}
    for story in text.values():
        for word, following in itertools.pairwise(story):
            after.setdefault(word, []).append(following)

    def write(seed, length=200):
        choose = random.Random(seed).choice
        chosen = [choose(list(after))]
        while len(chosen) < length:
            chosen.append(choose(after.get(chosen[-1]) or list(after)))
        return " ".join(chosen)

    return write


@pytest.fixture
def run(pytester, stories, babble, gate, monkeypatch):
    """Runs the gate on answers of which the first to an excerpt says the passage, too."""

    def go(passage, *options, replaced=(), lesson="", only=None, **outcomes):
        suite = replace_all(SUITE, replaced)
        Path("release.memleak.toml").write_text(suite, encoding="utf-8")
        lessons = [{**stories["vault"][0], "excerpt_text": f"{babble(-1)} {lesson}"}]
        ids = [record["excerpt_id"] for record in stories["lamp"]]
        answers = {key: [babble(2 * n), babble(2 * n + 1)] for n, key in enumerate(ids)}
        answers["p_id1"][0] += f" Xyzzy {passage} xyzzy"
        write_answers("answers.json", answers)
        for name, records in {**stories, "lessons": lessons}.items():
            write_json(f"{name}.json", records)
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "steps.md"))
        result = gate("-v", *REPORTS, *options, **outcomes)
        (pair,) = (
            pair
            for pair in read_bundle()["pairs"]
            if only in (None, pair["book"]["id"])
        )
        return result, pair

    return go


def quotes(result, passage, count):
    """Whether anything that the run put out holds so many words of the passage in a row."""
    files = ("junit.xml", "evidence.json", "page.html", "steps.md")
    shown = [result.stdout.str(), *(Path(name).read_text("utf-8") for name in files)]
    texts, passage_words = [" ".join(words(text)) for text in shown], words(passage)
    runs = [
        " ".join(passage_words[place : place + count])
        for place in range(len(passage_words) - count + 1)
    ]
    return any(run in text for run in runs for text in texts)


def page_of(text, book, start, length):
    return " ".join(text[book][start : start + length])


def changed(passage, every):
    changed_words = passage.split()
    changed_words[every - 1 :: every] = ["otherwise"] * len(
        changed_words[every - 1 :: every]
    )
    return " ".join(changed_words)


def test_a_page_under_another_prompt_fails_the_pair(run, text):
    passage = page_of(text, "lamp", 5_000, 388)
    _, pair = run(passage)
    longest, length = pair["measures"]["longest_passage"], len(words(passage))
    start = len(words(" ".join(text["lamp"][:5_000])))
    place = (longest["start"], longest["end"])
    origin = (longest["book"], longest["excerpt_id"], longest["generation"])
    assert pair["verdict"] == "FAIL"
    assert (longest["value"], *place) == (length, start, start + length)
    assert origin == ("lamp", "p_id1", 0)
    assert pair["measures"]["longest_span"]["value"] < 20  # it was not asked for
    assert pair["book"]["title"] == "The Lamplighter"  # the suite's, not the file's
    by_round = pair["rounds"]["measures"]["longest_passage"]
    assert by_round[0] == length > 38 > by_round[1]


def test_reports_name_a_page_under_another_prompt_and_quote_twelve_words(run, text):
    passage = page_of(text, "lamp", 5_000, 388)
    result, _ = run(passage)
    length, start = len(words(passage)), len(words(" ".join(text["lamp"][:5_000])))
    named = f"  longest passage, {length} words: *, prompted for p_id1, generation 0"
    limit = f"  longest_passage {length} exceeds the limit 38"
    result.stdout.fnmatch_lines([named, limit])
    quoted = re.search(rf"“(.*) … \(\+{length - 12} words\)”", result.stdout.str())[1]
    assert words(quoted) == words(passage)[:12]
    assert f"longest passage, {length} words:" in Path("steps.md").read_text("utf-8")
    page, junit = (Path(name).read_text("utf-8") for name in ("page.html", "junit.xml"))
    assert re.search(rf">{length}</th>\s*<td>longest passage: ", page)
    assert f'"memleak.longest_passage.start" value="{start}"' in junit
    assert not quotes(result, passage, 13)


def test_a_note_that_no_measure_covers_fails_the_pair_and_is_named(
    run, read_note, verify
):
    path, note = read_note
    shutil.copy(path, "vault.epub")
    result, pair = run(note, replaced=(("vault.json", "vault.epub"),))
    longest = pair["measures"]["longest_passage"]
    assert (longest["value"], longest["book"]) == (
        len(words(note)),
        "vault (excluded text)",
    )
    assert pair["verdict"] == "FAIL"
    assert pair["second_opinion"]["differences"] == 0
    result.stdout.fnmatch_lines(
        ["*words: vault (excluded text) (The Seed Vault): excluded: Three Steps*"]
    )
    assert verify("--allow-failures")[0] == 0


def disguised(text):
    """A page with look-alike letters, and every seventh word another one."""
    return changed(page_of(text, "lamp", 5_000, 300), 7).replace("o", "\u043e")


def test_a_passage_in_disguise_fails_by_its_near_verbatim_passage(run, text):
    result, pair = run(disguised(text))
    measures = pair["measures"]
    near = measures["nv_longest_passage"]
    assert pair["verdict"] == "FAIL"
    assert measures["longest_passage"]["value"] <= 38 < near["value"]
    assert near["book"] == "lamp"
    result.stdout.fnmatch_lines(["  nv_longest_passage * exceeds the limit 38"])


def test_reports_show_answer_and_book_of_a_passage_in_disguise(run, text):
    result, _ = run(disguised(text))
    answer = "answer: “dark, with a s\u043eund that reached \u043etherwise s\u043eme time *, * …”"
    book = "book: “dark, with a sound that reached them some time afterward, * … (+*"
    near = "  longest near-verbatim passage, * words: *, generation 0"
    lines = [near, f"    {book}", f"    {answer}"]
    result.stdout.fnmatch_lines(lines, consecutive=True)
    page = Path("page.html").read_text("utf-8")
    omitted = "dark, with a <del>sound</del> that reached <del>them</del> <del>some</del> time"
    marked = "<mark>\u043etherwise</mark> <mark>s\u043eme</mark> time afterward, like furniture"
    assert f"book: <q>{omitted}" in page
    assert marked in page
    for name in ("evidence.json", "junit.xml", "steps.md"):
        assert "therwise" not in Path(name).read_text("utf-8")
    assert not quotes(result, disguised(text), 13)


def test_another_book_of_the_suite_fails_the_pair_and_is_named(run, text):
    result, pair = run(" ".join(text["vault"]))
    measures = pair["measures"]
    assert pair["verdict"] == "FAIL"
    assert (
        measures["longest_passage"]["book"]
        == measures["nv_longest_passage"]["book"]
        == "vault"
    )
    assert measures["longest_passage"]["value"] == len(words(" ".join(text["vault"])))
    assert measures["passages_over"]["books"] == {"vault": 1}
    result.stdout.fnmatch_lines(
        [
            "  longest passage, * words: vault (The Seed Vault): *, prompted for "
            "p_id1, *",
            "  1 passage over 20 words comes from vault, which no prompt was about",
        ]
    )
    assert "<strong>The Seed Vault</strong>" in Path("page.html").read_text("utf-8")


def test_a_passage_of_a_training_book_is_told_and_excused(run, text):
    passage = page_of(text, "lamp", 5_000, 60)
    result, pair = run("", replaced=[TUNED], lesson=f"Xyzzy {passage} xyzzy")
    measures, length = pair["measures"], len(words(passage))
    assert pair["verdict"] != "FAIL"
    assert not [reason for reason in pair["reasons"] if "passage" in reason]
    assert measures["longest_passage"]["value"] < 20
    assert measures["excused_passage"]["value"] == length
    assert measures["excused_passage"]["held_by"] == ["lamp", "lessons"]
    assert measures["nv_excused_passage"]["value"] == length
    excused = "*, also in lessons, excused from longest_passage, *"
    result.stdout.fnmatch_lines([f"  passage, {length} words: {excused}"])


def test_a_passage_of_a_training_book_fails_a_model_not_trained_on_it(run, text):
    passage = page_of(text, "lamp", 5_000, 60)
    _, pair = run(passage, lesson=passage)
    assert pair["verdict"] == "FAIL"


CONTROL = (
    'title = "The Lamplighter"',
    'title = "The Lamplighter"\nrole = "negative-control"',
)
LEAKER = ('id = "candidate"', 'id = "candidate"\nexpected = "leak"')
COMMON = ("[[model]]", '[[common]]\nsource = "ps*.txt"\n\n[[model]]')


@pytest.mark.parametrize(
    ("purpose", "own"), [(CONTROL, 0), full(CONTROL, 80), full(LEAKER, 0), (LEAKER, 80)]
)
def test_a_passage_of_another_book_fails_a_pair_of_any_purpose(run, text, purpose, own):
    other = page_of(text, "vault", 1_000, 60)
    passage, length = (
        f"{other} xyzzy {page_of(text, 'lamp', 5_000, own)}",
        len(words(other)),
    )
    result, pair = run(passage, replaced=[purpose], failed=1)
    assert read_bundle()["result"] == pair["verdict"] == "FAIL"
    assert pair["leaked"] is bool(
        own
    )  # a positive control has leaked only if its own book did
    longest = pair["measures"]["longest_passage"]
    assert (longest["of_others"], longest["of_own"] > 38) == (length, bool(own))
    assert longest["value"] == max(length, longest["of_own"])
    result.stdout.fnmatch_lines(
        [
            "FAIL candidate/lamp",
            f"  *passage, {length} words: vault (The Seed Vault): *, prompted for "
            "p_id1, *",
            f"  longest_passage {length} exceeds the limit 38: a passage of vault (in "
            "a *",
        ]
    )
    assert not re.search(r"FAIL \((control|expected)\)", result.stdout.str())


READER = """
import pytest
@pytest.fixture(autouse=True)
def reader(memleak_book):
    return len(memleak_book.excerpts[0].text)
"""


@pytest.mark.parametrize("replaced", [(), (CONTROL,)])
def test_the_verdict_is_told_where_a_fixture_read_the_book(
    run, text, pytester, replaced
):
    pytester.makeconftest(READER)
    result, _ = run(page_of(text, "vault", 1_000, 60), replaced=replaced)
    result.stdout.re_match_lines([r"  longest_passage \d+ exceeds the limit 38"])
    failure = re.search(
        r"<failure .*?</failure>", Path("junit.xml").read_text("utf-8"), re.DOTALL
    )
    assert re.search(r"longest_passage \d+ exceeds the limit 38", failure[0])


@pytest.mark.parametrize(
    ("purpose", "outcome", "verdict"),
    [(CONTROL, "errors", "INCONCLUSIVE"), full(LEAKER, "xfailed", "FAIL")],
)
def test_the_own_book_of_a_control_gates_nothing(
    run, text, verify, purpose, outcome, verdict
):
    passage = page_of(text, "lamp", 5_000, 80)
    result, pair = run(passage, replaced=[purpose], **{outcome: 1})
    assert (pair["verdict"], pair["unexcused"], pair["leaked"]) == (verdict, [], True)
    assert (
        read_bundle()["result"] == "INCONCLUSIVE"
    )  # a suite without a test pair gates nothing
    (suite,) = read_bundle()["suites"]
    assert suite["gates"] is False
    result.stdout.fnmatch_lines(["*gates nothing: all its pairs are controls*"])
    assert "release.memleak.toml: no pair is gated" in verify("--allow-failures")[1]
    if purpose == CONTROL:
        assert suite["false_alarms"]["longest_passage"] == {"over": 1, "measured": 1}


@pytest.mark.parametrize("purpose", [CONTROL, full(LEAKER)])
def test_a_common_text_is_no_leak_of_the_own_book(run, text, purpose):
    passage = page_of(text, "lamp", 5_000, 48)
    Path("psalm.txt").write_text(passage, encoding="utf-8")
    _, pair = run(passage, replaced=[COMMON, purpose])
    measures = pair["measures"]
    assert (pair["verdict"] == "FAIL", pair["leaked"]) == (False, False)
    assert measures["longest_passage"]["of_own"] < 20
    assert measures["excused_passage"]["value"] == len(words(passage))
    (suite,) = read_bundle()["suites"]
    assert suite["leak_seen"] is False
    assert not any(counts["over"] for counts in suite["false_alarms"].values())


def test_a_common_text_excuses_what_it_contains_and_is_evidence(run, text, verify):
    passage = page_of(text, "vault", 1_000, 80)
    psalm = Path("psalm.txt")
    psalm.write_text(passage, encoding="utf-8")
    _, pair = run(passage, replaced=[COMMON])
    assert pair["verdict"] != "FAIL"
    assert pair["measures"]["excused_passage"]["value"] == len(words(passage))
    assert pair["measures"]["excused_passage"]["held_by"] == ["vault", "./psalm.txt"]
    assert list(pair["scan_scope"]["excused"]) == ["./psalm.txt"]
    assert "wrong:" not in verify()[1]
    psalm.write_text(f"{passage} and a word more.", encoding="utf-8")
    assert re.search(r"wrong:\n.*scan_scope.*psalm\.txt", verify()[1], re.DOTALL)
    _, pair = run(passage)
    assert pair["verdict"] == "FAIL"


OWN_TEST = """
from pytest_memleak.scoring.measure_table import MEASURES
def test_no_long_passage(memorization):
    assert memorization.longest_passage <= 38
def test_an_unmeasured_value_raises(memorization):
    with pytest.raises(BaseException):
        memorization.uplift
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure(memorization, memleak_evaluation, name):
    value = getattr(memorization, name)
    assert value == memleak_evaluation.analysis.passages.longest.get(name, value)
    assert value >= 0
"""


def test_a_test_of_ones_own_sees_another_book_and_every_measure(run, text, own_tests):
    own_tests(OWN_TEST, suite="release.memleak.toml")
    passage = page_of(text, "vault", 1_000, 60)
    measured = [
        row for row in MEASURES.values() if row.needs in (PASSAGES, GENERATIONS)
    ]
    failed = 2 + len(MEASURES) - len(measured)
    result, _ = run(passage, "test_own.py", passed=len(measured), failed=failed)
    result.stdout.fnmatch_lines(
        [
            f"E *assert passage of {len(words(passage))} words <= 38",
            "E *candidate/lamp: vault, p_id*, words *",
        ]
    )
    text = result.stdout.str()
    for name in ("uplift", "bmc_excess", "greedy_bmc", "nv_recall", "leaking_works"):
        assert f"{name} couldn't be measured: " in text


def test_a_book_that_the_model_is_expected_to_leak_is_excused_for_its_other_books(
    run, text
):
    expected = (
        '[[pair]]\nmodel = "candidate"\nbook = "vault"\nexpected = "leak"\n\n[[model]]'
    )
    both = [("[[model]]", expected), ('tests = ["lamp"]', "")]
    passage = page_of(text, "vault", 1_000, 60)
    _, pair = run(passage, "-k", "lamp", replaced=both, only="lamp")
    assert pair["verdict"] != "FAIL"
    assert pair["measures"]["excused_passage"]["value"] == len(words(passage))
    assert list(pair["scan_scope"]["excused"]) == ["vault"]


@pytest.mark.parametrize("jobs", ["2", full("auto")])
def test_two_processes_give_the_same_result_and_quote_nothing_with_quote_0(
    run, text, jobs
):
    passage = page_of(text, "vault", 1_000, 200)
    result, alone = run(passage, "--memleak-quote=0")
    assert alone["verdict"] == "FAIL"
    assert not quotes(result, passage, 5)
    assert run(passage, f"--memleak-jobs={jobs}")[1] == alone
