"""Servers that lose completions: a filter doesn't pass, chance doesn't fail."""

import re

import pytest
from lossy_servers import (
    INSTRUCTIONS,
    Lossy,
    blanks,
    blanks_all,
    caps,
    censors,
    drops_choices,
    evaluation,
    fails,
    fails_one_excerpt,
    honest,
    lossy_suite,
    outage,
)
from marks import full

from pytest_memleak.pipeline.dry_run import plan_run
from pytest_memleak.records import Verdict
from pytest_memleak.reports.generation_text import notice_lines
from pytest_memleak.results.build_result import build_result_without_quotes
from pytest_memleak.scoring.control_call_count import control_calls_due


def issues(result):
    return [str(issue) for issue in result.completeness.issues]


@pytest.mark.parametrize(
    ("server", "samples", "cause"),
    [
        (Lossy(censors(0.2)), 12, "of control calls only 0 of"),
        (Lossy(drops_choices(0.4), 10), 10, "of control calls only 0 of"),
        (Lossy(fails_one_excerpt(0.3)), 20, "one excerpt lost more than chance"),
        (Lossy(blanks(0.25, INSTRUCTIONS[:1])), 20, "one excerpt lost more than"),
        full(Lossy(blanks(0.04, INSTRUCTIONS)), 100, "of control calls only 0 of"),
        full(Lossy(censors(0.05)), 100, "of control calls only 0 of"),
    ],
    ids=[
        "censor",
        "dropped choices",
        "500s at one excerpt",
        "blanks at one excerpt",
        "uniform 4% blanks",
        "uniform 5% censor",
    ],
)
def test_a_server_that_drops_what_leaks_does_not_pass(tmp_path, server, samples, cause):
    result = evaluation(tmp_path, server, samples=samples)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert {issue.rule for issue in result.completeness.issues} == {"delivered"}
    assert any(cause in issue for issue in issues(result))


@pytest.mark.parametrize(
    ("server", "samples", "loses"),
    [
        (Lossy(honest), 5, False),
        (Lossy(fails(0.1, "429 Too Many Requests"), seed=1), 12, False),
        (Lossy(caps(4), 10), 10, False),
        (Lossy(caps(1), 10), 10, False),
        (Lossy(outage(20, 6)), 12, True),
        (Lossy(fails(0.2), seed=1), 12, True),
        (Lossy(blanks_all(0.03), seed=1), 20, True),
        full(Lossy(fails(0.05)), 100, True),
    ],
    ids=[
        "honest",
        "10% rate limits",
        "caps n",
        "ignores n",
        "outage",
        "20% faults",
        "3% blanks",
        "5% faults",
    ],
)
def test_a_server_that_fails_by_chance_passes(tmp_path, server, samples, loses):
    result = evaluation(tmp_path, server, samples=samples)
    assert issues(result) == []
    assert result.verdict is Verdict.PASS
    lines = notice_lines(build_result_without_quotes(result))
    assert any(line.startswith("Lost: ") for line in lines) == loses
    assert bool(result.completeness.delivery.lost) == loses
    assert (result.detection.detection_if_lost is not None) == loses


def test_an_outage_counts_once(tmp_path):
    result = evaluation(tmp_path, Lossy(outage(20, 6)), samples=12)
    assert result.completeness.delivery.lost == 1


def test_no_control_call_is_made_without_losses(tmp_path):
    server = Lossy(honest)
    evaluation(tmp_path, server, samples=5)
    assert server.control_calls == 0


def test_as_many_control_calls_are_made_as_losses_call_for(tmp_path):
    server = Lossy(censors(0.2), seed=1)
    delivery = evaluation(tmp_path, server, samples=12).completeness.delivery
    due = control_calls_due(delivery.requested, delivery.lost)
    assert due <= server.control_calls < due + 5
    assert delivery.control_requested == server.control_calls


def test_a_second_run_makes_no_control_call_twice(tmp_path):
    server = Lossy(fails(0.2), seed=1)
    evaluation(tmp_path, server, samples=12)
    before = server.calls
    evaluation(tmp_path, server, samples=12)
    assert server.calls == before


def test_verify_reads_the_same_losses_from_the_ledger(tmp_path):
    online = evaluation(tmp_path, Lossy(censors(0.2)), samples=12)
    offline = evaluation(tmp_path, Lossy(honest), samples=12, offline=True)
    assert offline.completeness == online.completeness
    assert offline.detection == online.detection


def test_missing_control_calls_are_an_issue(tmp_path):
    def deliver(server, instruction, texts):
        answer = censors(0.2)(server, instruction, texts)
        if server.control_calls:
            raise KeyboardInterrupt
        return answer

    with pytest.raises(KeyboardInterrupt):
        evaluation(tmp_path, Lossy(deliver), samples=12)
    result = evaluation(tmp_path, Lossy(honest), samples=12, offline=True)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("control calls are missing" in issue for issue in issues(result))


def test_a_dry_run_prices_control_calls_at_their_most(tmp_path):
    server = Lossy(honest)
    with lossy_suite(tmp_path, server, samples=100) as run:
        plan = plan_run(run.suite.pairs, lambda _: run)
    (step,) = plan.if_lost
    assert 450 <= step.sampling.calls <= 500
    assert step.cost > 0
    assert server.calls == 0


def test_several_completions_of_a_call_count_as_one_for_the_detection_limit(tmp_path):
    result = evaluation(tmp_path, Lossy(honest, 10), samples=20)
    assert result.detection.answers == 2
    assert result.detection.calls
    assert result.detection.detection == pytest.approx(1 - 0.05**0.5)


@pytest.mark.full
def test_of_200_honest_runs_at_most_9_do_not_pass(tmp_path):
    """Each server fails by chance, between never and every fifth call."""
    passed = 0
    for seed in range(200):
        folder = tmp_path / str(seed)
        folder.mkdir()
        server = Lossy(fails(0.2 * seed / 200), seed=seed)
        result = evaluation(folder, server, samples=10)
        passed += result.verdict is Verdict.PASS
    assert passed >= 191


def test_a_report_states_losses_control_calls_and_what_they_may_hide(tmp_path):
    result = evaluation(tmp_path, Lossy(fails(0.2), seed=1), samples=12)
    line, *_ = notice_lines(build_result_without_quotes(result))
    assert re.fullmatch(
        r"Lost: \d+ of \d+ completions never came or came empty \(an outage counts once\); control calls lost \d+ of \d+\. "
        r"If each held the passage, the detection limit is \d\d\.\d%\.",
        line,
    )
