"""--memleak-ledger: where generations are kept."""

import pytest
from _pytest.pytester import LineMatcher

LAX = ("longest_span = 30", "spans_over = 40")


def test_the_default_is_a_file_below_the_rootdir(pytester, online):
    online()
    pytester.runpytest("-m", "copyright")
    assert (pytester.path / ".memleak" / "ledger.db").is_file()


def test_a_file_of_ones_own(pytester, online, server):
    online(LAX)
    url = f"--memleak-ledger=sqlite:///{pytester.path / 'team' / 'ledger.db'}"
    pytester.runpytest("-m", "copyright", url).assert_outcomes(passed=1)
    assert not (pytester.path / ".memleak" / "ledger.db").exists()
    pytester.runpytest("-m", "copyright", url).assert_outcomes(passed=1)
    assert len(server.books.rows("completion")) == 24 + 4  # canaries


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "nonsense",
            "Invalid ledger URL: expected a path that ends in .db, sqlite:///PATH*",
        ),
        ("oracle://here/there", "*oracle*"),
        ("postgresql+psycopg://user:hunter2@127.0.0.1:1/none", "*127.0.0.1*"),
    ],
)
def test_one_that_cannot_be_opened_ends_the_run_without_its_password(pytester, online, url, said):
    online()
    result = pytester.runpytest("-m", "copyright", f"--memleak-ledger={url}")
    assert result.ret in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED}
    told = result.stdout.str() + result.stderr.str()
    LineMatcher(told.splitlines()).fnmatch_lines([f"*{said}"])
    assert "hunter2" not in told
