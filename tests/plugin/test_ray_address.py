"""--memleak-ray-address: which Ray cluster."""

import pytest


def test_it_needs_the_executor(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-ray-address", "auto")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-ray-address needs --memleak-executor ray*"])


@pytest.mark.full
def test_no_cluster_there_leaves_pairs_inconclusive(pytester, suite):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    suite()
    result = pytester.runpytest_subprocess(
        "-W", "ignore", "--memleak-executor", "ray", "--memleak-ray-address", "127.0.0.1:1"
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*127.0.0.1:1: the Ray cluster is unreachable*"])
