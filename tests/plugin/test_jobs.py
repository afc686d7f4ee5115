"""--memleak-jobs: where generations are matched."""

import json

import pytest


@pytest.mark.full
@pytest.mark.parametrize("options", ["--memleak-jobs=2", "--memleak-jobs=auto"])
def test_the_evidence_is_that_of_one_process(pytester, suite, options):
    suite()
    measured = []
    for arguments in ([], [options]):
        result = pytester.runpytest_subprocess(
            "--memleak-evidence", "e.json", "-W", "ignore", *arguments
        )
        result.assert_outcomes(passed=1, failed=1)
        measured.append(json.loads((pytester.path / "e.json").read_text())["pairs"])
    assert measured[0] == measured[1]
