import pytest
from by_hand import intent
from hypothesis import given
from hypothesis import strategies as st
from scripted import (
    CountingSampler,
    Sampler,
    Scripted,
    broken,
    busy,
    sample_all,
    spent,
    terms,
)

from pytest_memleak.errors import BudgetExceeded, ProviderError, SettingsError
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_reservations import CallTerms, reserve_call
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.records import FinishReason
from pytest_memleak.sampling.cost_plan import (
    Plan,
    PlannedOrdinals,
    PlannedStep,
    plan,
    sum_of_plans,
    summed,
)


def reply_once(request):
    return [
        Completion(
            "x", FinishReason.LENGTH, len(request.instruction), request.max_tokens
        )
    ]


@pytest.mark.parametrize("per_call", [1, 3, 4])
def test_a_plan_is_the_most_that_is_billed_also_by_a_server_that_ignores_n(
    memory, ask, hasty, per_call
):
    sampler = CountingSampler(completions_per_call=per_call, concurrency=3)
    by = CallTerms(sampler, price=(3.75, 15.0))
    prompts = ask(excerpts=3, samples=7)
    first = plan(memory, "new", prompts, by)
    assert plan(memory, "e", prompts, by) == first
    assert first.generations == 21
    counts = sample_all(memory, Scripted(reply_once), prompts, hasty, by)
    assert (first.calls, counts.calls) == (3 * -(-7 // per_call), 21)
    assert counts.prompt_tokens == first.prompt_tokens
    assert counts.completion_tokens == first.completion_tokens
    assert counts.cost == pytest.approx(first.cost, abs=1e-9 * 21)
    after = plan(memory, "e", prompts, by)
    assert (after.calls, after.generations, after.pending, after.cost) == (0, 0, 0, 0.0)


def test_a_plan_of_what_is_left(memory, ask, hasty):
    prompts = ask(excerpts=2, samples=5)
    with pytest.raises(ProviderError):
        sample_all(
            memory, Scripted(*[lambda _: ["x"]] * 4, broken()), prompts, hasty, terms()
        )
    left = plan(memory, "e", prompts, terms(per_call=2))
    assert (left.generations, left.calls, left.cost) == (6, 4, None)


def test_a_plan_counts_no_generation_twice(memory, ask):
    counted = PlannedOrdinals()
    few, many = ask(excerpts=2, samples=3), ask(excerpts=2, samples=5)
    by = terms(price=(1.0, 1.0))
    plans = [plan(memory, "e", prompts, by, counted) for prompts in (few, many, many)]
    assert [each.generations for each in plans] == [6, 4, 0]
    assert plan(memory, "another", many, by, counted).generations == 10
    whole = plan(memory, "e", many, by)
    assert sum_of_plans(plans).cost == pytest.approx(whole.cost)


def planned(cost, *, generations=1):
    return Plan("model/book", 1, generations, 0, 10, 10, cost)


@pytest.mark.parametrize(
    ("step", "cost"),
    [
        (PlannedStep("a", planned(2.0)), 2.0),
        (PlannedStep("a", planned(None)), None),
        (PlannedStep("a", planned(None, generations=0)), 0.0),
        (PlannedStep("a", planned(2.0), 100, 0.5), 2.5),
        (PlannedStep("a", planned(None), 100), None),
        (PlannedStep("a", hours=2.0, hours_cost=6.0), 6.0),
        (PlannedStep("a", hours=2.0), None),
        (PlannedStep("a"), 0.0),
    ],
)
def test_a_step_costs_nothing_known_without_a_price(step, cost):
    assert step.cost == cost


def test_plans_together_cost_nothing_known_if_one_has_no_price():
    assert sum_of_plans([planned(1.0), planned(2.0)]).cost == 3.0
    assert sum_of_plans([planned(1.0), planned(None)]).cost is None


def test_a_plan_counts_what_is_on_its_way(ledger, url, ask):
    prompts = ask(excerpts=1, samples=4)
    prompt = prompts.specs[0]
    with Ledger(url) as other:
        reserve_call(other, intent(other, prompts, Ask(prompt, (0, 1, 2))))
        now = plan(ledger, "e", prompts, terms())
        assert (now.generations, now.pending) == (1, 3)
    now = plan(ledger, "e", prompts, terms())
    assert (now.generations, now.pending) == (4, 0)


def test_prompts_are_counted_by_their_words(ask):
    (prompt,) = ask(excerpts=1).specs
    assert prompt.instruction == "Write number 1."
    assert terms().prompt_tokens(prompt) == 4
    assert CallTerms(CountingSampler()).prompt_tokens(prompt) == 15
    # What is not said is billed as estimated.
    (prompt,) = ask(excerpts=1).specs
    by = terms(price=(1.0, 1.0))
    completions = [
        Completion("x", prompt_tokens=7, completion_tokens=5),
        Completion("y"),
    ]
    assert by.billed(prompt, completions) == (
        7,
        None,
        (7 + 5 + prompt.max_tokens) * 1000,
    )
    assert by.billed(prompt, []) == (None, 0, 4000)
    assert terms().billed(prompt, completions) == (7, None, None)


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.floats(0, 1000, allow_nan=False).map(lambda price: round(price, 4)),
)
def test_costs_are_rounded_up_to_billionths(prompts, completions, price):
    by = CallTerms(Sampler(), (price, 2 * price))
    exact = (prompts + 2 * completions) * round(price * 10_000)
    assert by.cost(prompts, completions) == -(-exact // 10)


def test_a_budget_stops_before_the_call_that_could_exceed_it(memory, ask, hasty):
    """Calls cost 20 millionths of a US$ and may cost (4 + 55) millionths."""
    prompts = ask(excerpts=1, samples=50)
    endpoint = Scripted(
        lambda _: [Completion("x", prompt_tokens=4, completion_tokens=16)]
    )
    by = terms(price=(1.0, 1.0))
    with pytest.raises(
        BudgetExceeded, match=r"US\$0\.0002 of US\$0\.00 .* next call"
    ) as caught:
        sample_all(memory, endpoint, prompts, hasty, by, budget=240e-6)
    assert "raise the budget" in caught.value.hint
    worst = 4 + prompts.specs[0].max_tokens
    calls_before = len(endpoint.calls)
    assert calls_before * 20 + worst > 240 >= (calls_before - 1) * 20 + worst
    assert spent(memory) == calls_before * 20_000


def test_a_budget_that_suffices_and_what_is_free(memory, ask, hasty):
    free = terms(price=(0.0, 0.0))
    assert (
        sample_all(memory, Scripted(), ask(seed=1), hasty, free, budget=0.0).cost == 0.0
    )
    prompts = ask(excerpts=2, samples=3)
    by = terms(price=(1.0, 1.0), concurrency=3)
    worst = plan(memory, "new", prompts, by).cost
    assert sample_all(memory, Scripted(), prompts, hasty, by, budget=worst).got == 6
    assert spent(memory) <= round(worst * 1e9)


def test_lost_calls_count_at_their_worst_and_those_turned_away_cost_nothing(
    memory, ask, hasty
):
    prompts = ask(excerpts=1, samples=1)
    by = terms(price=(1.0, 1.0))
    with pytest.raises(ProviderError):
        sample_all(memory, Scripted(busy()), prompts, hasty, by, budget=1.0)
    assert spent(memory) == 0
    endpoint = Scripted(busy("the connection was cut off"))
    call = plan(memory, "new", prompts, by).cost
    with pytest.raises(BudgetExceeded):
        sample_all(memory, endpoint, prompts, hasty, by, budget=2.5 * call)
    assert len(endpoint.calls) == 2
    assert spent(memory) == round(2 * call * 1e9)


def test_a_budget_needs_a_price(memory, ask, hasty):
    with pytest.raises(SettingsError, match="needs a price for the model") as caught:
        sample_all(memory, Scripted(), ask(), hasty, budget=1.0)
    assert caught.value.location == "model/book"


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_a_budget_that_means_nothing(memory, ask, hasty, budget):
    with pytest.raises(SettingsError):
        sample_all(memory, Scripted(), ask(), hasty, terms(price=(0, 0)), budget=budget)


def a_step(**fields):
    sampling = Plan("p", 1, 2, 3, 4, 5, cost=fields.pop("cost", 0.5))
    return PlannedStep("p", sampling, **fields)


def test_steps_in_one_cost_what_they_cost_by_themselves():
    deployed = PlannedStep("p (deployed)", hours=2.0, hours_cost=3.0)
    steps = [a_step(), a_step(training_tokens=7, training_cost=0.25), deployed]
    one = summed(steps, "2 more")
    assert one.what == "2 more"
    assert one.cost == sum(step.cost for step in steps) == 4.25
    assert (one.sampling.generations, one.sampling.pending, one.training_tokens) == (
        4,
        6,
        7,
    )
    assert summed([*steps, a_step(cost=None)], "3 more").cost is None
    assert summed([deployed, deployed], "2 more").cost == 6.0
    done = PlannedStep("p", Plan("p", 0, 0, 0, 0, 0, cost=0.0))
    assert summed([done, deployed], "2 more").cost == 3.0
