"""--memleak-jobs: pairs are scored in several processes, with the same numbers."""

import json

import pytest
from marks import full


@pytest.mark.full
@pytest.mark.parametrize("jobs", ["2", full("auto")])
def test_the_evidence_is_that_of_one_process(pytester, suite, jobs):
    suite()
    measured = []
    for arguments in ([], ["--memleak-jobs", jobs]):
        result = pytester.runpytest_subprocess("--memleak-evidence", "e.json", *arguments)
        result.assert_outcomes(passed=1, failed=1)
        bundle = json.loads((pytester.path / "e.json").read_text())
        measured.append(bundle["pairs"])
    assert measured[0] == measured[1]


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1.5"])
def test_a_bad_number_is_refused(pytester, suite, jobs):
    suite()
    result = pytester.runpytest(f"--memleak-jobs={jobs}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-jobs: expected a number*, got '{jobs}'*"])
