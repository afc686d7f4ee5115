"""--memleak-no-wait: submit, report as pending, come back another day."""

import pytest

ARGUMENTS = ("-m", "copyright", "--memleak-no-wait")


def test_a_fine_tune_is_started_once_and_picked_up_later(pytester, online, server):
    server._polls = 1
    online()
    for _ in range(2):
        result = pytester.runpytest(*ARGUMENTS)
        if result.parseoutcomes().get("errors"):
            result.stdout.fnmatch_lines(["INCONCLUSIVE: *openai*"])
    pytester.runpytest("-m", "copyright").assert_outcomes(failed=1)
    assert len(server.books.rows("finetune")) == 1


def test_the_first_run_says_that_the_job_is_pending(pytester, online, server):
    server._polls = 5
    online()
    result = pytester.runpytest(*ARGUMENTS)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*tuned/held-out*INCONCLUSIVE*"])


@pytest.mark.full
def test_a_batch_is_submitted_once_and_read_later(pytester, online, server):
    online(
        ('[model.finetune]\nbooks = ["training"]', 'endpoint = "base"\nweights_version = "1"'),
        ("[model.options]", "[model.options]\nbatch = true"),
        ("longest_span = 30", "spans_over = 40"),
    )
    server._polls = 2
    pytester.runpytest(*ARGUMENTS).assert_outcomes(errors=1)
    for _ in range(8):
        result = pytester.runpytest(*ARGUMENTS)
    result.assert_outcomes(passed=1)
    assert len(server.books.rows("batch")) == 2  # One of the canaries.
    assert len(server.books.rows("completion")) == 24 + 4
