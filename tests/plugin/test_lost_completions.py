"""Completions that a server fails: in every report, and recomputed by `memleak verify`."""

import json

import pytest
from faults import server_error
from report_readers import plain, properties, read_reports

from pytest_memleak.results.evidence_file import seal_bundle

REPORTS = (
    "--junitxml=junit.xml",
    "--memleak-html=report.html",
    "--memleak-evidence=evidence.json",
)
LOST = "never came"


@pytest.fixture
def lossy(online, gate, server, pytester, monkeypatch):
    """Runs the suite with three calls that fail; returns what each report says."""
    online(("longest_span = 30", "spans_over = 40"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))
    server.plan.add(server_error("chat", calls=(8, 12, 16)))
    result = gate("-m", "copyright", *REPORTS)
    return read_reports(pytester.path, result.stdout.str())


def test_every_report_states_lost_completions(lossy):
    for name in ("terminal", "html", "markdown"):
        assert LOST in plain(lossy[name]), name
    (pair,) = lossy["evidence"]["pairs"]
    delivery = pair["completeness"]["delivery"]
    assert 1 <= delivery["lost"] <= 3
    assert pair["detection"]["detection_if_lost"] > pair["detection"]["detection"]
    stated = properties(lossy["junit"])
    assert int(stated["memleak.completions_lost"]) == delivery["lost"]


@pytest.mark.usefixtures("lossy")
def test_verify_recomputes_them_from_the_ledger(verify, pytester):
    assert "level: recomputed" in verify()[1]
    path = pytester.path / "evidence.json"
    bundle = json.loads(path.read_text("utf-8"))
    bundle["pairs"][0]["completeness"]["delivery"]["lost"] = 0
    text = json.dumps(bundle | seal_bundle(bundle), indent=1) + "\n"
    path.write_text(text, "utf-8")
    text = verify()[1]
    assert "VERIFICATION FAILED" in text
    assert "completeness.delivery" in text
