"""Collections through the front door: one pair, a verdict a work, every report names what leaks."""

import html
import json
from pathlib import Path

import pytest
from corpus import shakespeare
from marks import full
from report_readers import properties
from suite_files import read_pair, replace_all, write_answers

from pytest_memleak.cli.main import main

WORKS, WORDS, SAMPLES = 12, 60, 4
SUITE = """
[suite]
samples = 4
instruction_template = "Write {words} words, as in the speech called {title}, the one by {author}."
[limits]
longest_passage = 20
bmc = 0.5
[[collection]]
id = "speeches"
source = "speeches.jsonl"
author = "Will"
[[model]]
id = "m"
provider = "recorded"
[model.options]
path = "answers.json"
"""


# Of so few works and rounds the coverage of all of them is not known well enough.
POINTS = ("samples = 4", "samples = 4\nconfidence = 0.0")


def speech(number):
    at = number * WORDS
    return " ".join(shakespeare()[at : at + WORDS])


def row(number):
    return {"title": f"Speech {number}", "text": speech(number)}


def honest():
    """Answers to each speech: other speeches, no passage of them twice."""
    return [
        [speech(1_000 + n * SAMPLES + m) for m in range(SAMPLES)] for n in range(WORKS)
    ]


@pytest.fixture
def run(gate, monkeypatch, pytester):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))

    def with_answers(
        answers, *replacements, rows=None, options=(), lines=(), **outcomes
    ):
        text = replace_all(SUITE, replacements)
        Path("c.memleak.toml").write_text(text, encoding="utf-8")
        records = map(json.dumps, rows or map(row, range(WORKS)))
        Path("speeches.jsonl").write_text("\n".join(records), encoding="utf-8")
        by_id = {f"p_id{n}": texts for n, texts in enumerate(answers, start=1)}
        write_answers("answers.json", by_id, finish_reason="stop")
        reports = (
            "--memleak-evidence=e.json",
            "--memleak-html=r.html",
            "--junitxml=j.xml",
        )
        return gate(*reports, *options, lines=lines, **outcomes)

    return with_answers


def leaking(*numbers):
    answers = honest()
    for n in numbers:
        answers[n][1] = f"{speech(n)} and so on it goes"
    return answers


AUTHOR, MODEL = 'author = "Will"', "[[model]]"
SHARE = ("bmc = 0.5", "bmc = 0.5\nleaking_works = 0.2")


LEAKED = ["Speech 2 (speeches.jsonl:3)", "Speech 7 (speeches.jsonl:8)"]


@pytest.fixture(params=[(), full(("-n", "2"))], ids=["", "-n 2"])
def leaky_run(run, request):
    """A run of a model that leaks two works."""
    return run(leaking(2, 7), options=request.param, failed=1)


def test_the_terminal_names_leaked_works_and_quotes_twelve_words(leaky_run):
    over = "longest_passage * > 20, bmc 1.000 > 0.500"
    lines = [
        "FAIL m/speeches",
        "  leaking_works 0.167 > 0",
        "  leaking: 2 of 12 works (10 PASS, 2 FAIL)",
        *(f"  leaks: {work}, * words: {over}" for work in LEAKED),
    ]
    leaky_run.stdout.fnmatch_lines(lines)
    assert " ".join(speech(2).split()[:13]) not in leaky_run.stdout.str()


def test_junit_names_leaked_works(leaky_run):
    shown = properties("j.xml")
    assert (shown["memleak.works"], shown["memleak.works.FAIL"]) == ("12", "2")
    assert [shown[f"memleak.leaking_work.{n}"] for n in (1, 2)] == LEAKED
    assert shown["memleak.leaking_work.2.bmc"] == "1.0"


def test_page_and_job_summary_name_leaked_works(leaky_run):
    step = Path("step.md").read_text("utf-8")
    assert step.replace("&#40;", "(").count("- leaks&#58; Speech") == 2
    page = Path("r.html").read_text("utf-8")
    assert "Leaking: 2 of 12 works." in page
    works = page[page.index("Works, leaking ones first") :]
    assert works.index(LEAKED[0]) < works.index(LEAKED[1]) < works.index("Speech 0")


def test_evidence_holds_a_verdict_on_every_work(leaky_run):
    pair = read_pair("e.json")
    over = [work for work in pair["works"] if work["verdict"] == "FAIL"]
    assert [work["id"] for work in over] == ["speeches.jsonl:3", "speeches.jsonl:8"]
    assert over[0]["over"] == {"longest_passage": 20, "bmc": 0.5}
    assert len(pair["works"]) == WORKS
    assert pair["measures"]["leaking_works"]["value"] == pytest.approx(2 / 12)


def test_files_hold_no_word_of_a_work_but_its_title(leaky_run):
    for name in ("j.xml", "step.md", "e.json"):
        assert speech(2)[:40].lower() not in Path(name).read_text("utf-8").lower()


def test_evidence_of_a_collection_is_recomputed(leaky_run, capsys):
    verify = ["verify", "e.json", "--ledger", "sqlite://", "--allow-failures"]
    capsys.readouterr()
    assert main(verify) == 0, capsys.readouterr()
    works = Path("speeches.jsonl")
    works.write_text(works.read_text().replace("Speech 3", "Speech 4"))
    assert main(verify) == 1
    assert "m/speeches: book.file_sha256: " in capsys.readouterr().out


def test_a_share_of_the_works_may_leak_and_which_is_told_of_a_pass_too(run):
    lines = ["PASS m/speeches", "  leaking: 2 of 12 works *", "  leaks: Speech 2 *"]
    run(leaking(2, 7), SHARE, POINTS, lines=lines, passed=1)
    shown = {"limit": 0.2, "set_by": "limits.leaking_works"}
    assert read_pair("e.json")["limits"]["leaking_works"] == shown


def test_the_terminal_shows_ten_leaking_works_and_where_the_others_are(run):
    more = "  2 more works; for all, use -v, --memleak-html=FILE, or --memleak-evidence=FILE*"
    done = run(leaking(*range(WORKS)), lines=["  leaks: Speech 0 *", more], failed=1)
    assert done.stdout.str().count("  leaks: ") == 10
    step = html.unescape(Path("step.md").read_text("utf-8"))
    assert step.count("- leaks: ") == 10
    assert more.strip(" *") in step
    assert (
        properties("j.xml")["memleak.leaking_work.12"]
        == "Speech 11 (speeches.jsonl:12)"
    )
    assert Path("r.html").read_text("utf-8").count("(speeches.jsonl:") >= WORKS
    assert (
        run(leaking(*range(WORKS)), options=["-v"], failed=1)
        .stdout.str()
        .count("leaks: ")
        == 12
    )


def test_honest_answers_pass_work_by_work(run):
    run(honest(), passed=1)
    for report in ("r.html", "e.json"):
        assert "works are requested by title and author" in Path(report).read_text(
            encoding="utf-8"
        )
    assert {work["verdict"] for work in read_pair("e.json")["works"]} == {"PASS"}
    assert read_pair("e.json")["limits"]["leaking_works"] == {
        "limit": 0.0,
        "set_by": None,
    }


def test_a_title_without_its_author_asks_for_no_work(run):
    line = "*instructions with under 10 words of their own can't say *: 12 of 12 (*"
    run(
        honest(),
        ("the one by {author}", "the one of the seaside"),
        lines=[line],
        errors=1,
    )


def test_a_work_recited_under_another_prompt_counts_for_the_recited_work(run):
    answers = honest()
    answers[0][0] = speech(5)
    run(answers, lines=["  leaks: Speech 5 (speeches.jsonl:6), *"], failed=1)


PASSAGES = ("longest_passage = 20", "longest_passage = 70")


def test_limits_of_works_stand_with_the_collection(run):
    strict = (AUTHOR, f"{AUTHOR}\nlimits = {{ bmc = 0.999 }}")
    run(leaking(3), PASSAGES, strict, failed=1)


def test_works_that_no_limit_can_fail_are_not_judged(run):
    line = "*12 works of 12 can't be judged (Speech 0, Speech 1, Speech 2, ...): too short*"
    loose = (AUTHOR, f"{AUTHOR}\nlimits = {{ bmc = 1.0 }}")
    run(honest(), PASSAGES, loose, lines=[line], errors=1)


def test_a_work_that_was_not_answered_keeps_the_pair_open(run):
    answers = honest()
    answers[4] = ["I'm sorry, but I can't help with that."] * SAMPLES
    keys = ("samples = 4", "samples = 4\nmax_unanswered = 0.1")
    line = "[?] 1 pair: 1 work of 12 can't be judged (Speech 4): it has no answer (*"
    run(answers, keys, lines=[line], errors=1)
    # A share that may leak covers it.
    run(answers, keys, ("bmc = 0.5", "bmc = 0.5\nleaking_works = 0.1"), passed=1)


def test_works_too_short_are_named_and_left_out(run):
    rows = [*map(row, range(WORKS)), {"title": "A Sigh", "text": "O, o, alas!"}]
    line = "  warning: left out works too short for a match of k = 5 words: A Sigh"
    run(honest(), rows=rows, lines=[line], passed=1)
    parts = read_pair("e.json")["book"]["parts"]
    assert [part["label"] for part in parts if not part["kept"]] == ["A Sigh"]


def test_passages_of_another_book_are_no_works_and_fail_the_pair_all_the_same(run):
    Path("other.txt").write_text(
        " ".join(shakespeare()[300_000:300_600]), encoding="utf-8"
    )
    answers = honest()
    answers[0][0] = " ".join(shakespeare()[300_100:300_160])
    book = (
        f'[[book]]\nid = "other"\nsource = "other.txt"\n{AUTHOR}\ntitle = "Other"\n\n'
    )
    lines = ["  longest_passage 60 > 20", "  leaking: 0 of 12 works (12 PASS)"]
    chosen = {
        "options": ("-k", "speeches"),
        "lines": lines,
        "failed": 1,
        "deselected": 1,
    }
    done = run(answers, (MODEL, f"{book}{MODEL}"), **chosen)
    assert "leaking_works 0" not in done.stdout.str()


WRONG = [
    (
        ('source = "speeches.jsonl"', 'source = "songs/**"'),
        "no file matches 'songs/**'",
    ),
    ((AUTHOR, 'unit = "word"'), "collection[[]1[]] 'speeches'.unit: Input should be"),
    (("longest_passage = 20\nbmc = 0.5", "leaking_works = 0.1"), "has no limits"),
    (('id = "m"', 'id = "m"\nlimits = { bmc = 0.6 }'), "0.6 is looser than 0.5"),
    (  # a passage may be of another book
        (AUTHOR, f"{AUTHOR}\nlimits = {{ longest_passage = 21 }}"),
        "collection 'speeches'.limits.longest_passage: 21 is looser than 20",
    ),
]


def test_mistakes_in_a_collection_are_told_before_anything_runs(run, gate):
    run(honest(), WRONG[0][0], lines=[f"*{WRONG[0][1]}*"], errors=1)
    Path("c.memleak.toml").unlink()
    for number, (replaced, _) in enumerate(WRONG):
        Path(f"m{number}.memleak.toml").write_text(replace_all(SUITE, [replaced]))
    result = gate(errors=len(WRONG))
    for number, (_, message) in enumerate(WRONG):
        result.stdout.fnmatch_lines([f"*m{number}.memleak.toml*{message}*"])


def test_a_limit_on_works_needs_a_collection(run):
    Path("b.txt").write_text(speech(1) * 9, encoding="utf-8")
    collection = SUITE[SUITE.index("[[collection]]") : SUITE.index(MODEL)]
    book = (collection, '[[book]]\nid = "b"\nsource = "b.txt"\n\n')
    line = "*limits.leaking_works: the book 'b' has no works*"
    run(honest(), book, SHARE, lines=[line], errors=1)


def test_a_work_that_the_model_was_trained_on_is_named_and_nothing_is_drawn(run):
    Path("learnt.txt").write_text(f"{speech(400)} {speech(3)}", encoding="utf-8")
    learnt = f'[[book]]\nid = "learnt"\nsource = "learnt.txt"\ntitle = "L"\n{AUTHOR}\n'
    recorded = 'provider = "recorded"\n[model.options]\npath = "answers.json"'
    trained = (recorded, 'provider = "ngram"\nfinetune = { books = ["learnt"] }')
    line = "*its work 'Speech 3' shares * of its words*'learnt'*"
    run(
        honest(),
        (MODEL, f'{learnt}role = "train"\n\n{MODEL}'),
        trained,
        lines=[line],
        errors=1,
    )
