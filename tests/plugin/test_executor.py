"""--memleak-executor and --memleak-jobs: where generations are matched."""

import json
import shutil
import sys

import pytest
from suite_files import evidence, write_suite

LOCAL = """
suite = { samples = 6, max_unanswered = 1.0 }
limits = { longest_span = 30 }
book = [{ id = "held-out", source = "held-out.json" }]
[[model]]
id = "local"
provider = "transformers"
base_model = "base"
options = { threads = 1, completions_per_call = 2 }
"""


def test_without_ray_every_pair_says_what_to_install(pytester, suite, monkeypatch):
    suite()
    monkeypatch.setitem(sys.modules, "ray", None)
    result = pytester.runpytest_inprocess("--memleak-executor", "ray")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*needs the package 'ray'*pip install 'ray**"])


@pytest.mark.full
@pytest.mark.parametrize(
    "options", ["--memleak-executor=ray", "--memleak-jobs=2", "--memleak-jobs=auto"]
)
def test_the_evidence_is_that_of_one_process(pytester, suite, options):
    if "ray" in options:
        pytest.importorskip("ray", reason="the extra ray is not installed")
    suite()
    measured = []
    for arguments in ([], [options]):
        result = pytester.runpytest_subprocess(
            "--memleak-evidence", "e.json", "-W", "ignore", *arguments
        )
        result.assert_outcomes(passed=1, failed=1)
        measured.append(json.loads((pytester.path / "e.json").read_text())["pairs"])
    assert measured[0] == measured[1]


@pytest.mark.full
def test_no_cluster_there_leaves_pairs_inconclusive(pytester, suite):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    suite()
    cluster = ("--memleak-executor=ray", "--memleak-ray-address=127.0.0.1:1")
    result = pytester.runpytest_subprocess("-W", "ignore", *cluster)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*127.0.0.1:1: the Ray cluster is unreachable*"])


@pytest.mark.full
def test_local_weights_answer_in_actors_as_they_do_here(pytester, stories, local_base):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    shutil.copytree(local_base, pytester.path / "base")
    write_suite(stories, LOCAL)
    _, here = evidence(pytester, "--memleak-ledger=sqlite:///here.db", run="runpytest_subprocess")
    result, there = evidence(
        pytester,
        *("--memleak-ledger=sqlite:///there.db", "--memleak-executor=ray", "-W", "ignore"),
        run="runpytest_subprocess",
    )
    result.assert_outcomes(errors=1)  # weights that know nothing write no prose
    assert there["completeness"]["received"] == there["completeness"]["requested"] == 24
    assert there["sampled"] == here["sampled"]
    assert there == here
