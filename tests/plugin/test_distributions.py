"""Answers of two distributions are not compared, and each report says of which they are."""

import json

import pytest
from faults import Fault, FaultKind, FaultPlan
from test_situations import plain

OTHERS_OWN = ("[model.options]", '[model.options]\nsampling = "server"')
OTHER = """
[[model]]
id = "before"
provider = "openai"
base_model = "base"
[model.options]
base_url = "URL"
"""


@pytest.fixture
def before(pytester, online):
    """A bundle of a server that was left to its own distribution."""
    online(OTHERS_OWN)
    pytester.runpytest("-m", "copyright", "--memleak-evidence=before.json")


def test_a_bundle_of_another_distribution_is_not_compared(pytester, gate, online, before):
    online()
    baseline = ("-m", "copyright", "--memleak-baseline=before.json")
    result = pytester.runpytest(*baseline, "--memleak-max-increase=bmc=0.9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*sampled from a different distribution: the server's own; now the *"]
    )
    lines = [
        "*the baseline was sampled from a different distribution: the server's own; now the "
        "model's own*"
    ]
    gate(*baseline, "--memleak-html=report.html", lines=lines)
    told = plain((pytester.path / "report.html").read_text("utf-8"))
    assert "Distribution: the model's own" in told


def test_a_bundle_of_the_same_is(gate, online, before):
    online(OTHERS_OWN)
    lines = ["*Distribution: the server's own"]
    result = gate("-m", "copyright", "--memleak-baseline=before.json", "-v", lines=lines)
    result.stdout.no_fnmatch_line("*another distribution*")


def test_what_a_server_refuses_is_another_distribution(pytester, gate, online, server):
    online()
    pytester.runpytest("-m", "copyright", "--memleak-evidence=before.json")
    server.plan = FaultPlan((Fault(FaultKind.REFUSE_PARAMETER, "chat", code="min_p top_k"),))
    online(("samples = 6", "samples = 6\nseed = 7"))
    lines = ["*Distribution: the model's own, but for top_k, min_p, which the server refuses"]
    gate("-m", "copyright", "-v", lines=lines)


def test_what_a_suite_sets_beside_it_is_another_distribution(gate, online):
    online(("[model.options]", "[model.options]\nextra_body = { top_p = 0.5 }"))
    gate("-m", "copyright", "-v", lines=["*Distribution: the model's own, but for top_p = 0.5"])


def test_an_uplift_over_another_distribution_is_inconclusive(pytester, gate, online, server):
    online(
        ('base_model = "base"\nprice', 'base_model = "base"\nbaseline_model = "before"\nprice'),
        ("longest_span = 30", "spans_over = 40\nuplift = 1.0"),
    )
    path = pytester.path / "online.memleak.toml"
    path.write_text(
        path.read_text("utf-8")
        + OTHER.replace("URL", server.base_url).replace("[model.options]", OTHERS_OWN[1])
    )
    lines = [
        "*baseline 'before': it was sampled from another distribution: the server's own; the "
        "model itself from the model's own; set the same options.sampling*"
    ]
    gate(
        "-m",
        "copyright",
        "-k",
        "tuned",
        "--memleak-evidence=e.json",
        lines=lines,
        errors=1,
        deselected=1,
    )
    *_, pair = json.loads((pytester.path / "e.json").read_text("utf-8"))["pairs"]
    assert "uplift" not in pair["measures"]
