"""Answers of two distributions are not compared, and each report says of which they are."""

from pathlib import Path

from faults import Fault, FaultKind, FaultPlan
from report_readers import plain
from suite_files import model_table, read_bundle

OTHERS_OWN = ("[model.options]", '[model.options]\nsampling = "server"')
PAID, FEW = ("-m", "copyright"), ("samples = 6", "samples = 2")


def test_a_bundle_of_another_distribution_is_not_compared(gate, online):
    online(OTHERS_OWN, FEW)
    gate(*PAID, "--memleak-evidence=before.json")
    baseline = (*PAID, "--memleak-baseline=before.json")
    result = gate(
        *baseline, "-v", lines=["*Sampling distribution: the server's defaults"]
    )
    result.stdout.no_fnmatch_line("*different distribution*")
    online(FEW)
    message = "sampled from a different distribution: the server's defaults; now the "
    gate(*baseline, "--memleak-max-increase=bmc=0.9", usage=[f"*{message}*"])
    gate(
        *baseline,
        "-v",
        "--memleak-html=r.html",
        lines=[f"*the baseline was {message}model's own*"],
    )
    assert "Sampling distribution: the model's own" in plain(
        Path("r.html").read_text("utf-8")
    )


def test_a_parameter_that_a_server_rejects_is_another_distribution(
    gate, online, server
):
    online(FEW)
    gate(*PAID, "--memleak-evidence=before.json")
    server.plan = FaultPlan(
        (Fault(FaultKind.REFUSE_PARAMETER, "chat", code="min_p top_k"),)
    )
    online(("samples = 6", "samples = 2\nseed = 7"))
    message = "Sampling distribution: the model's own, except top_k, min_p, which the server rejects"
    gate(*PAID, "-v", lines=[f"*{message}"])


def test_a_top_p_of_the_suite_is_another_distribution(gate, online):
    online(("[model.options]", "[model.options]\nextra_body = { top_p = 0.5 }"), FEW)
    gate(
        *PAID,
        "-v",
        lines=["*Sampling distribution: the model's own, except top_p = 0.5"],
    )


def test_a_baseline_of_other_rounds_takes_nothing_from_the_pair(gate, suite):
    baseline = ('id = "leaky"', 'id = "leaky"\nbaseline_model = "clean"')
    suite(baseline, clean=("A boat crossed at night.", "Nothing was seen."))
    gate("-k", "leaky", "--memleak-evidence=evidence.json", failed=1, deselected=1)
    _, pair = read_bundle()["pairs"]
    assert pair["verdict"] == "FAIL"
    assert "uplift" not in pair["measures"]


def test_an_uplift_over_another_distribution_is_inconclusive(gate, online, server):
    path = online(
        (
            'base_model = "base"\nprice',
            'base_model = "base"\nbaseline_model = "before"\nprice',
        ),
        ("longest_span = 30", "spans_over = 40\nuplift = 1.0"),
    )
    options = f'base_url = "{server.base_url}", sampling = "server"'
    other = model_table("before", "openai", options, 'base_model = "base"')
    path.write_text(path.read_text("utf-8") + other)
    message = (
        "*baseline 'before': it was sampled from a different distribution: the "
        "server's defaults, "
        "not the model's own (*"
    )
    options = (*PAID, "-k", "tuned", "--memleak-evidence=e.json")
    gate(*options, lines=[message], errors=1, deselected=1)
    *_, pair = read_bundle("e.json")["pairs"]
    assert "uplift" not in pair["measures"]
