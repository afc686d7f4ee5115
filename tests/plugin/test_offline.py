"""--memleak-offline: score what the ledger has, call nobody."""


def test_with_everything_in_the_ledger_it_judges(pytester, online, server):
    online()
    pytester.runpytest("-m", "copyright").assert_outcomes(failed=1)
    server.stop()
    result = pytester.runpytest("--memleak-offline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tuned/held-out*24/24*FAIL*"])


def test_without_a_fine_tune_it_is_inconclusive_and_calls_nobody(pytester, online, server):
    online()
    result = pytester.runpytest("--memleak-offline")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*INCONCLUSIVE: *the ledger has no finished fine-tune of 'tuned'*"]
    )
    assert server.plan.counts() == {}


def test_with_some_of_it_there_it_is_inconclusive(pytester, online, server):
    online(("longest_span = 30", "spans_over = 40"))
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    online(("longest_span = 30", "spans_over = 40"), ("samples = 6", "samples = 9"))
    result = pytester.runpytest("--memleak-offline")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: 24 of 36 requested generations received; rerun*"])
    assert len(server.books.rows("completion")) == 24 + 4  # canaries
