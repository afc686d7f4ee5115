"""A default run leaves no 13 consecutive words of a book or of a generation in anything it writes.

Twelve words of a passage are shown by default; everything that holds more is a copy.
"""

import json
import logging
import re

import pytest
from faults import Fault, FaultKind, FaultPlan, server_error
from ledger_file import generated_texts
from quoted_words import MOST, REPORT_FILES, grams

from pytest_memleak.redaction.log_records import safe_log_records


@pytest.fixture
def written(pytester, online, monkeypatch):
    """Runs the suite as anybody would, with all reports, and gives all that it wrote by name."""

    def go(*arguments):
        online()
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))
        result = pytester.runpytest(
            *("-m", "copyright", "--junitxml=junit.xml", "-o", "junit_logging=all"),
            *(f"{option}={name}" for option, name in REPORT_FILES.items()),
            *("--log-file=log.txt", *arguments),
        )
        files = ("junit.xml", *REPORT_FILES.values(), "step.md", "log.txt")
        results = {name: (pytester.path / name).read_text("utf-8") for name in files}
        return results | {"stdout": result.stdout.str(), "stderr": result.stderr.str()}

    return go


@pytest.fixture
def protected(pytester, stories):
    """Every 13 words of the books, and of what is in the ledger once a run has ended."""

    def all_grams():
        texts = [
            record["excerpt_text"] for story in stories.values() for record in story
        ]
        generations = generated_texts(pytester.path)
        assert len(generations) == 24 + 4  # canaries
        return set().union(*map(grams, [*texts, *generations]))

    return all_grams


@pytest.mark.parametrize("names", ["model system_fingerprint", ""])
def test_reports_hold_no_13_words_of_a_server_s_names_and_messages(
    written, server, stories, names
):
    passages = [record["excerpt_text"] for record in stories["held-out"]]
    stories["held-out"] = [
        row | {"chapter": row["excerpt_text"]} for row in stories["held-out"]
    ]
    passage, code = passages[0], "_".join(passages[0].split())
    named = Fault(FaultKind.BESIDE, "chat", code=names, message=passage)
    failed = server_error("chat", status=400, code=code, message=passage)
    server.plan = FaultPlan((named if names else failed,))
    outputs = written()
    assert re.search("[ _]".join(passage.split()[:6]), outputs["stdout"])
    kept = set().union(*map(grams, passages))
    for name, text in outputs.items():
        assert not kept.intersection(grams(text)), (
            f"{name} quotes more than {MOST} words"
        )


def test_the_search_finds_what_a_full_quote_shows(written, protected):
    outputs = written("--memleak-quote=full")
    kept = protected()
    assert kept.intersection(grams(outputs["stdout"]))
    assert kept.intersection(grams(outputs["html.html"]))
    assert json.loads(outputs["evidence.json"])["pairs"]
    assert not kept.intersection(grams(outputs["evidence.json"]))


@pytest.mark.parametrize("most", [0, 12])
def test_log_records_show_no_reason_phrase_or_path_of_a_server(caplog, most):
    passage = (
        "the_ferryman_counted_nine_lanterns_along_the_quay_and_did_not_like_the_number"
    )
    arguments = ("POST", f"http://host:9/api/v1/{passage}", "HTTP/1.1", 404, passage)
    caplog.set_level("INFO")
    with safe_log_records(lambda: most):
        logging.getLogger("client").info('HTTP Request: %s %s "%s %d %s"', *arguments)
        logging.getLogger("own").info(
            f"{passage} %s %s %s %d %s",  # noqa: G004
            *[passage] * 3,
            799,
            passage,
        )
    assert [record.getMessage() for record in caplog.records] == [
        'HTTP Request: POST http://host:9/api/v1/ "HTTP 404 Not Found"',
        'HTTP Request: ? ? "HTTP 799 unknown status"',
    ]


@pytest.mark.parametrize("quote", ["12", "0"])
def test_a_servers_names_are_hidden_where_no_words_are_quoted(
    pytester, online, server, verify, quote
):
    passage = "nine lanterns along the quay"
    code = "model system_fingerprint"
    names = Fault(FaultKind.BESIDE, "chat", code=code, message=passage)
    ends = Fault(FaultKind.ENDED, "chat", code=passage)
    server.plan = FaultPlan((names, ends))
    online(("longest_span = 30", "longest_span = 440"), ("samples = 6", "samples = 2"))
    reports = ("--junitxml=junit.xml", "--memleak-html=report.html")
    options = ("-m", "copyright", f"--memleak-quote={quote}", "-vv")
    evidence = "--memleak-evidence=evidence.json"
    result = pytester.runpytest(*options, *reports, evidence)
    result.assert_outcomes(errors=1)
    files = ("junit.xml", "evidence.json", "report.html")
    texts = [(pytester.path / name).read_text() for name in files]
    for text in (result.stdout.str(), *texts):
        assert ("lanterns" in text) is (quote == "12")
        assert ("(5 words) #" in text) is (quote == "0")
    assert "pairs recomputed from suite, books, and ledger: 1 of 1" in verify()[1]
