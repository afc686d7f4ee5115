"""--memleak-dry-run: what is outstanding and what it costs at most, without a call."""

import re

import pytest

from pytest_memleak.scoring.words import words


def planned(result):
    line = next(line for line in result.stdout.lines if line.startswith("tuned"))
    return line.split()


def test_nothing_is_called_and_no_test_runs(pytester, online, server):
    online()
    result = pytester.runpytest("--memleak-dry-run")
    result.assert_outcomes()
    assert server.books.rows() == []
    assert server.plan.counts() == {}


def test_it_counts_calls_draws_and_tokens(pytester, online, stories):
    online(("[model.options]", "[model.options]\ncompletions_per_call = 4"))
    _, calls, draws, pending, tokens_in, tokens_out, _, cost = planned(
        pytester.runpytest("--memleak-dry-run")
    )
    most = sum(int(len(words(one["excerpt_text"])) * 4 / 3) + 50 for one in stories["held-out"])
    canaries = len(stories["held-out"])
    assert (calls, draws, pending) == (f"{8 + canaries}", f"{24 + canaries}", "0")
    most = 6 * most + 64 * canaries
    assert tokens_out == f"{most:,}"
    assert float(cost) == pytest.approx(
        int(tokens_in.replace(",", "")) * 2e-6 + most * 8e-6, abs=0.2
    )


def test_a_pair_that_cannot_be_planned_is_said_and_fails_the_run(pytester, online):
    online(('source = "held-out.json"', 'source = "gone.json"\nbring_your_own = true'))
    result = pytester.runpytest("--memleak-dry-run")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["Can't estimate: tuned/held-out: *gone.json*"])


@pytest.mark.full
def test_it_runs_in_one_process(pytester, online):
    online()
    result = pytester.runpytest("--memleak-dry-run", "-n", "2")
    assert result.ret != 0
    assert re.search("omit -n", result.stdout.str() + result.stderr.str())
