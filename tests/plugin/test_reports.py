"""The HTML report, the summary of a job on GitHub, and how many words of a passage they show."""

from pathlib import Path

import pytest
from ferry import BOOK

from pytest_memleak.scoring.words import words

HTML = "--memleak-html=out/report.html"
PASSAGE = words(BOOK[0])
GONE = '[[model]]\nid = "gone"\nprovider = "recorded"\noptions = { path = "gone.json" }\n\n'


def page():
    return Path("out/report.html").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def step(pytester, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))
    return pytester.path / "step.md"


def test_page_and_job_summary_show_every_pair(suite, gate, step):
    suite(('[[model]]\nid = "leaky"', f'{GONE}[[model]]\nid = "leaky"'))
    lines = ["HTML report: out/report.html", "Next: memleak view *--pair leaky/ferry *"]
    release = ("--memleak-release", "novelist 7")
    gate(HTML, *release, lines=lines, passed=1, failed=1, errors=1)
    shown = (
        "Release novelist 7 · ",
        "1 pair over a limit, 1 undecided, 1 passed; 3 models, 1 book.",
        "Nothing was measured",
    )
    for text in shown:
        assert text in page()
    lines = step.read_text(encoding="utf-8").splitlines()
    verdicts = [
        line.split(" | ")[1]
        for line in lines
        if line.startswith(("| clean", "| leaky"))
    ]
    assert verdicts == ["✅ PASS", "❌ FAIL"]
    assert "- longest&#95;span 16 exceeds the limit 10" in lines


def longest_quote(text):
    text = " ".join(words(text))
    return max((n for n in range(2, 17) if " ".join(PASSAGE[:n]) in text), default=0)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 12),
        (("--memleak-quote=3",), 3),
        (("--memleak-quote=0",), 0),
        (("--memleak-quote=full",), 16),
        (("--memleak-quote=99",), 16),
    ],
)
def test_quotes_are_as_long_as_memleak_quote_says(suite, gate, step, options, count):
    suite()
    text = gate(HTML, "-k", "leaky", *options).stdout.str()
    assert longest_quote(text) == longest_quote(page()) == count
    shown = [line.strip() for line in text.splitlines() if "“" in line]
    left = f" … (+{16 - count} words)" * (count < 16)
    assert all(line.endswith(f"{left}”") for line in shown)
    assert [words(line.partition(" …")[0]) for line in shown] == [
        PASSAGE[:count]
    ] * len(shown)
    assert bool(shown) == bool(count)
    assert ("Show the text, colored by rounds" in page()) is (
        "--memleak-quote=full" in options
    )
    assert "lanterns" not in step.read_text(encoding="utf-8")


# A conftest that takes the folder away which was there when the run began.
TAKES_FOLDER_AWAY = """
from pathlib import Path
def pytest_runtest_logfinish():
    Path("out").rmdir()
    Path("out").touch()
"""


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--memleak-evidence=out/e.json", "out/e.json: can't be written: File exists"),
        (HTML, "Can't write the HTML report: File exists"),
    ],
    ids=["evidence", "page"],
)
def test_a_report_that_cannot_be_written_is_an_error_and_not_announced(
    pytester, suite, gate, option, message
):
    suite()
    pytester.makeconftest(TAKES_FOLDER_AWAY)
    Path("out").mkdir()
    result = gate("-k", "clean", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert text.count(message) == 1
    assert "clean/ferry" in text
    assert "evidence: PASS" not in text
    assert "HTML report: " not in text.replace(message, "")


def test_a_job_summary_that_cannot_be_written_is_an_error(suite, gate, monkeypatch):
    suite()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "none/step.md")
    result = gate("-k", "clean")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "Can't write the job summary" in text
    assert "INTERNALERROR" not in text


def test_pairs_that_were_not_run_make_the_page_no_pass(suite, gate):
    suite()
    gate(HTML, "-k", "clean", passed=1, deselected=1)
    assert "INCONCLUSIVE</p><p>1 of 2 pairs ran; 1 pair passed;" in page()
    assert "leaky/ferry: deselected" in page()
    gate(HTML, "-k", "nothing")
    assert "INCONCLUSIVE</p><p>0 of 2 pairs ran;" in page()
