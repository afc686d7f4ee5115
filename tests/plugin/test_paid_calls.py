"""Paid calls: who asks for them, what they cost at most, and what the ledger has already."""

from pathlib import Path

import pytest
from suite_files import read_pair

from pytest_memleak.cli.run_pytest import run_gate

ASKED = ("-m", "copyright")
CANARIES = 4
BASE = (
    '[model.finetune]\nbooks = ["training"]',
    'endpoint = "base"\nweights_version = "1"',
)
LAX = ("longest_span = 30", "spans_over = 40")
# The budget has room for both calls, so that one is sent before the next is refused.
TWO = ("[model.options]", "[model.options]\ncompletions_per_call = 1\nconcurrency = 2")


def rows(server, kind="completion"):
    return server.books.rows(kind)


def test_a_plain_run_skips_pairs_that_cost_money_and_says_how_to_run_them(
    online, server, gate
):
    online()
    shown = "calls openai: run it with -m copyright or --memleak-allow-paid"
    gate("-rs", "--memleak-evidence=e.json", lines=[f"*{shown}"], skipped=1)
    assert server.books.rows() == []
    assert read_pair("e.json")["reasons"] == [f"skipped: {shown}"]


def test_a_quiet_run_names_skipped_pairs_that_cost_money(online, gate):
    """A skip without a word, at exit code 0, would look like a pass."""
    online()
    shown = (
        "memleak: skipped 1 pair whose provider can charge for calls. To run them, add "
        "-m copyright."
    )
    assert gate("-q", lines=[shown]).ret == pytest.ExitCode.OK


def test_an_offline_run_without_a_fine_tune_is_inconclusive(online, server, gate):
    online()
    shown = "*the ledger has no finished fine-tune of 'tuned'*"
    gate("--memleak-offline", lines=[shown], errors=1)
    assert server.plan.counts() == {}


ADVICE = "run without --memleak-offline to fine-tune it"


def test_advice_names_an_option_of_pytest_s_settings(online, gate, pytester):
    online()
    pytester.makeini("[pytest]\naddopts = --memleak-offline")
    gate("-m", "copyright", lines=[f"*Fix: {ADVICE}*"], errors=1)


def test_advice_names_no_option_that_a_command_adds_by_itself(online, capfd):
    path = online()
    typed = "pytest -m copyright online.memleak.toml"
    run_gate(path, "--memleak-offline", folder=path.parent, typed=typed)
    shown = capfd.readouterr().out
    assert "Fix: run to fine-tune it" in shown
    assert f"Next: {typed}  (" in shown


def test_a_first_paid_run_fine_tunes_once_and_names_its_ledger(online, server, gate):
    online()
    ledger = f"New ledger: {Path('.memleak/ledger.db').absolute()}"
    lines = ["*tuned/held-out*24/24*FAIL*", ledger]
    gate("--memleak-allow-paid", lines=lines, failed=1)
    assert len(rows(server, "finetune")) == 1
    assert len(rows(server)) == 24 + CANARIES


def test_stored_generations_are_not_paid_for_again(online, server, gate):
    online()
    gate(*ASKED, failed=1)
    before = server.books.rows()
    gate(*ASKED, failed=1)
    assert server.books.rows() == before
    online(("samples = 6", "samples = 8"))
    gate(*ASKED, failed=1)
    assert len(rows(server)) == 4 * 8 + CANARIES
    assert len(rows(server, "finetune")) == 1
    server.stop()
    gate("--memleak-offline", lines=["*tuned/held-out*32/32*FAIL*"], failed=1)


def test_an_offline_run_with_too_few_stored_generations_is_inconclusive(
    online, server, gate
):
    online(LAX)
    url = "--memleak-ledger=sqlite:///team/ledger.db"
    gate(*ASKED, url, passed=1)
    assert not Path(".memleak/ledger.db").exists()
    online(LAX, ("samples = 6", "samples = 9"))
    shown = "*24 of 36 requested generations received (*"
    gate("--memleak-offline", url, lines=[shown], errors=1)
    assert len(rows(server)) == 24 + CANARIES


def test_an_offline_run_scores_every_stored_generation(gate, online):
    online()
    gate(*ASKED, failed=1)
    online(("[limits]", "[sampling]\nstop_on_fail = true\n[limits]"))
    gate("--memleak-offline", "--memleak-evidence=evidence.json", failed=1)
    pair = read_pair()
    assert (pair["completeness"]["received"], pair["stopped_early"]) == (24, False)


def test_a_fine_tune_is_started_once_and_picked_up_later(online, server, gate):
    server._polls = 2
    online()
    for _ in range(2):
        lines = ["*tuned/held-out*INCONCLUSIVE*", "*openai*"]
        result = gate(*ASKED, "--memleak-no-wait", lines=lines, errors=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
    gate(*ASKED, failed=1)
    assert len(rows(server, "finetune")) == 1


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.full)]
)
def test_a_run_stops_within_its_budget_and_continues_with_another(
    online, server, gate, workers
):
    online(BASE, LAX, TWO)
    lines = ["*budget*"]
    gate(*ASKED, "--memleak-budget=0.03", *workers, lines=lines, errors=1)
    tokens = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows(server)]
    assert 0 < sum(prompt * 2e-6 + answer * 8e-6 for prompt, answer in tokens) <= 0.03
    assert len(tokens) < 24 + CANARIES
    gate(*ASKED, "--memleak-budget=10", *workers, passed=1)
    assert len(rows(server)) == 24 + CANARIES


def test_a_budget_without_prices_is_one_error_and_calls_nobody(online, server, gate):
    online(BASE, ("price = { input = 2.0, output = 8.0, training = 10.0 }\n", ""))
    usage = ["*--memleak-budget needs a price for tuned; add price = *"]
    gate(*ASKED, "--memleak-budget=3", usage=usage)
    assert server.plan.counts() == {}


def test_a_dry_run_counts_calls_and_generations_and_makes_no_call(online, server, gate):
    detection = ("samples = 6", "samples = 6\ndetection_limit = 0.05")
    online(("[model.options]", "[model.options]\ncompletions_per_call = 4"), detection)
    line = (
        "6 samples: detection limit 39.4% (95% confidence). Set samples = 66 to reach *"
    )
    ledger = Path(".memleak/ledger.db").absolute()
    lines = [line, f"Ledger: {ledger} (doesn't exist yet)"]
    result = gate("--memleak-dry-run", lines=lines)
    result.assert_outcomes()
    assert not ledger.exists()
    assert (server.books.rows(), server.plan.counts()) == ([], {})
    rows = [row for row in result.stdout.lines if row.startswith(("pair", "tuned"))]
    tuned = next(row for row in rows if row.startswith("tuned"))
    assert tuned.split()[1:4] == [f"{8 + CANARIES}", f"{24 + CANARIES}", "0"]
    assert all(len(row) <= 80 for row in rows)


def test_a_dry_run_of_a_pair_that_cannot_be_planned_fails(online, gate):
    online(('source = "held-out.json"', 'source = "gone.json"\nbring_your_own = true'))
    lines = ["Can't estimate: tuned/held-out: *gone.json*"]
    result = gate("--memleak-dry-run", lines=lines)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.full
def test_a_dry_run_takes_one_process(online, gate):
    online()
    gate("--memleak-dry-run", "-n", "1", usage=["*omit -n"])
