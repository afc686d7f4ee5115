"""--memleak-budget: stop before the next call could exceed it."""

import pytest

ENDPOINT = ('[model.finetune]\nbooks = ["training"]', 'endpoint = "base"\nweights_version = "1"')
LAX = ("longest_span = 30", "spans_over = 40")
CANARIES = 4


def paid(server):
    return sum(
        row["prompt_tokens"] * 2e-6 + row["completion_tokens"] * 8e-6
        for row in server.books.rows("completion")
    )


@pytest.mark.full
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_it_stops_within_the_budget_and_is_inconclusive(pytester, online, server, workers):
    online(ENDPOINT, LAX, ("[model.options]", "[model.options]\ncompletions_per_call = 1"))
    result = pytester.runpytest("-m", "copyright", "--memleak-budget=0.03", *workers)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: *budget*"])
    assert 0 < paid(server) <= 0.03
    assert 0 < len(server.books.rows("completion")) < 24 + CANARIES


def test_what_was_drawn_counts_for_the_next_run(pytester, online, server):
    online(ENDPOINT, LAX, ("[model.options]", "[model.options]\ncompletions_per_call = 1"))
    pytester.runpytest("-m", "copyright", "--memleak-budget=0.03").assert_outcomes(errors=1)
    pytester.runpytest("-m", "copyright", "--memleak-budget=10").assert_outcomes(passed=1)
    assert len(server.books.rows("completion")) == 24 + CANARIES


def test_a_model_without_a_price_cannot_have_one(pytester, online, server):
    online(ENDPOINT, ("price = { input = 2.0, output = 8.0, training = 10.0 }\n", ""))
    result = pytester.runpytest("-m", "copyright", "--memleak-budget=1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*A budget needs a price for the model*"])
    assert server.books.rows("completion") == []


@pytest.mark.parametrize("usd", ["-1", "much", "nan", "inf"])
def test_anything_but_a_number_is_a_usage_error(pytester, online, usd):
    online()
    result = pytester.runpytest(f"--memleak-budget={usd}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-budget: expected an amount in US$, got '{usd}'*"])
