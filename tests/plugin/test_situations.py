"""Every situation of the verdict's table, as each report shows it: one run, a pair for each."""

import dataclasses
import html
import json
import re
import xml.etree.ElementTree as ET

import pytest
from situations import BOOK, SITUATIONS

import pytest_memleak.pipeline.evaluate_pair
from pytest_memleak.verdict.evaluation import Evaluation
from pytest_memleak.verdict.judge import judge

OUTCOMES = {"PASS": [], "FAIL": ["failure"], "INCONCLUSIVE": ["error"]}
SHOWN = r"\w+(?:, (?:under )?\d+% refused)?"
SUITE = (
    '[limits]\nbmc = 0.5\n[[book]]\nid = "b"\nsource = "b.json"\nbring_your_own = true\n'
    + "".join(
        f'[[model]]\nid = "s{n}"\nprovider = "recorded"\noptions = {{ path = "none.json" }}\n'
        for n in range(len(SITUATIONS))
    )
)


def evaluate(pair, workshop, **_):
    """Stands in for the story of a pair; what comes after it is the program's own."""
    found, evidence, limits, _, _ = SITUATIONS[int(pair.model.id[1:])]
    return Evaluation(
        suite=workshop.suite.name,
        suite_digest=workshop.suite.digest,
        pair=dataclasses.replace(pair, limits=limits),
        verdict_result=judge(found, evidence, limits),
        completeness=evidence,
        book=BOOK,
        measurement=found.measurement if found else None,
        analysis=found,
    )


@pytest.fixture
def reports(pytester, monkeypatch):
    """What one run of them all writes, and how to read a pair's verdict and reasons from it."""
    monkeypatch.setattr(pytest_memleak.pipeline.evaluate_pair, "evaluate", evaluate)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))
    (pytester.path / "table.memleak.toml").write_text(SUITE)
    result = pytester.runpytest(
        *("--junitxml=junit.xml", "--memleak-html=report.html", "--memleak-evidence=evidence.json"),
        *("-p", "no:cacheprovider"),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return read_reports(pytester.path, result.stdout.str())


def read_reports(folder, terminal):
    """What each report of a run in the folder says."""
    return {
        "terminal": terminal.partition(" memorization ")[2],
        "junit": ET.parse(folder / "junit.xml").getroot(),
        "html": (folder / "report.html").read_text("utf-8"),
        "markdown": (folder / "step.md").read_text("utf-8"),
        "evidence": json.loads((folder / "evidence.json").read_text("utf-8")),
    }


def plain(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def in_the_terminal(text, pair):
    (row,) = re.findall(rf"^{pair} .*$", text, re.MULTILINE)
    details = re.search(rf"^{pair}: (.*)\n((?:  .*\n)*)", text, re.MULTILINE)
    shown = re.search(rf"({SHOWN})\s*$", row)[1]
    return shown, f"{details[1]} {details[2]}" if details else row


def in_junit(root, pair):
    (case,) = [one for one in root.iter("testcase") if one.get("name").endswith(f"[{pair}]")]
    verdicts = {
        one.get("value") for one in case.iter("property") if one.get("name") == "memleak.verdict"
    }
    outcomes = [one for one in case if one.tag in ("failure", "error")]
    assert [one.tag for one in outcomes] == OUTCOMES["".join(verdicts).partition(",")[0]]
    return " ".join(verdicts), "".join(f"{one.text}" for one in outcomes)


def in_html(page, pair):
    model, _, _ = pair.partition("/")
    (part,) = [
        plain(part)
        for part in re.findall(r"<article.*?</article>", page, re.DOTALL)
        if re.search(rf"words(, prompts not counted)?; pair {re.escape(pair)} ", plain(part))
    ]
    shown = re.search(rf"{model} on .*? [✓✗?!] ({SHOWN})", part)[1]
    return re.sub(r"^\w+", lambda word: word[0].upper(), shown), part


def in_markdown(text, pair):
    (row,) = [plain(line) for line in text.splitlines() if plain(line).startswith(f"| {pair} |")]
    details = re.findall(r"<details>.*?</details>", text, re.DOTALL)
    return row.split(" | ")[1].partition(" ")[2], "".join(
        plain(one) for one in details if plain(one).startswith(f"{pair}: ")
    )


def in_evidence(bundle, pair):
    (found,) = [one for one in bundle["pairs"] if one["pair"] == pair]
    return found["verdict"], "\n".join(found["reasons"])


READERS = {
    "terminal": in_the_terminal,
    "junit": in_junit,
    "html": in_html,
    "markdown": in_markdown,
    "evidence": in_evidence,
}
HTML_WORDS = {"PASSED": "PASS", "FAILED": "FAIL"}


@pytest.mark.full
def test_each_report_tells_each_verdict_and_its_reasons(reports):
    wrong = []
    for n, (_, _, _, verdict, reasons) in enumerate(SITUATIONS):
        for name, read in READERS.items():
            shown, told = read(reports[name], f"s{n}/b")
            said = HTML_WORDS.get(shown, shown)
            missing = [one for one in reasons if one.partition("*")[0].strip() not in told]
            if said != verdict or missing:
                wrong.append((n, name, shown, verdict.value, missing))
    assert wrong == []


def test_there_are_enough_of_them():
    assert len(SITUATIONS) >= 60
    assert {one[3].value for one in SITUATIONS} == OUTCOMES.keys()
