"""--memleak-dry-run, held against what a server has billed after the run that was planned."""

import dataclasses
import json
import re
from functools import partial
from types import SimpleNamespace

import pytest
from accounts import settled
from reciter import count_tokens
from suite_files import replace_all

from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.providers.tinker.tinker_provider import TinkerProvider
from pytest_memleak.providers.together.together_provider import TogetherProvider
from pytest_memleak.providers.vertex.vertex_provider import VertexProvider

CANARIES = 4
KINDS = ["openai", "openai-batch", "vertex", "vertex-batch", "tinker"]
PRICES = 2e-6, 8e-6, 10e-6  # of prompts, completions, and training
COUNTERS = {
    provider.name: (provider, lambda _, text: count_tokens(text))
    for provider in (OpenAIProvider, VertexProvider, TogetherProvider)
} | {
    # Tinker bills the prompt as the client has worded it.
    "tinker": (TinkerProvider, lambda self, text: len(self._format().prompt(text)))
}


@pytest.fixture
def counting(monkeypatch):
    """Gives a provider the counter that its server bills by."""

    def count(provider):
        kind, counter = COUNTERS[provider]
        declared = kind.abilities.fget

        def abilities(self):
            return dataclasses.replace(
                declared(self), count_tokens=partial(counter, self)
            )

        monkeypatch.setattr(kind, "abilities", property(abilities))

    return count


def read_plan(outcome):
    """What all lines add up to. counts: calls, samples, pending, in, out, train; cost: US$."""
    rows, costs = [], []
    for line in outcome.result.stdout.lines:
        for counts, cost in re.findall(r"((?: +[\d,]+){6}) +([\d,.]+)$", line):
            rows.append([int(count.replace(",", "")) for count in counts.split()])
            costs.append(float(cost.replace(",", "")))
    counts = [sum(column) for column in zip(*rows, strict=True)]
    return SimpleNamespace(counts=counts, cost=sum(costs), lines=len(rows))


def billed(scenario):
    """Calls, samples, nothing that is pending, and a prompt's tokens for each sample."""
    rows = scenario.books.rows("completion")
    prompts = {
        row["call"]: row["prompt_tokens"] for row in rows if row["prompt_tokens"]
    }
    return [len(prompts), len(rows), 0, sum(prompts[row["call"]] for row in rows)]


@pytest.fixture
def plan_and_run(run, counting):
    """Plan and run by the server's own counter; return the plan, the bill, and the outcome."""

    def plan_and_run(server, *arguments):
        counting(server.provider)
        plan = read_plan(run(server, "--memleak-dry-run", *arguments))
        assert server.calls() == 0
        outcome = run(server, *arguments)
        assert "errors" not in outcome.result.parseoutcomes()
        rows = server.books.rows("completion")
        most = sum(row["max_tokens"] for row in rows)
        if (
            server.provider == "tinker"
        ):  # which does not bill by what is requested at most
            most = plan.counts[4]
        assert sum(row["completion_tokens"] for row in rows) <= most
        return plan, [*billed(server), most], outcome

    return plan_and_run


@pytest.mark.full
@pytest.mark.parametrize(("kind", "recipe"), [
    *((kind, {"epochs": 4}) for kind in [*KINDS[:-1], "together"]),
    *(("tinker", {"batch_size": 2, **epochs}) for epochs in ({"epochs": 2}, {})),
])  # fmt: skip
def test_planned_calls_are_billed(scenario, plan_and_run, pytester, kind, recipe):
    server = dataclasses.replace(scenario(kind, polls=0), finetune=recipe)
    server.write_suite(pytester.path)
    plan, bill, outcome = plan_and_run(server)
    assert plan.counts[:5] == bill
    trained = server.books.rows("train" if kind == "tinker" else "finetune")
    # At Tinker it is about how much: prompts and texts are counted apart there.
    tolerance = {"rel": 0.05} if kind == "tinker" else {"abs": 0, "rel": 0}
    expected = pytest.approx(sum(row["tokens"] for row in trained), **tolerance)
    assert plan.counts[5] == expected
    paid = map(float.__mul__, PRICES, map(float, plan.counts[3:]))
    assert plan.cost == pytest.approx(sum(paid), abs=0.006)
    settled(server, outcome.url, samples=6)


def with_untested_baseline(text, _):
    tuned = text[text.index("[[model]]") :]
    finetune = tuned[tuned.index("[model.finetune]") : tuned.index("[model.options]")]
    plain = tuned.replace(finetune, "").replace('"tuned"', '"plain"\ntests = []')
    named = 'id = "tuned"\n', 'id = "tuned"\nbaseline_model = "plain"\n'
    return replace_all(text, [named]) + plain


def with_null_book(text, _):
    limit = "[limits]\n", "[limits]\nbmc_excess = 1.0\n"
    return replace_all(text, [('role = "train"', ""), limit])


def with_greedy_answers(text, _):
    probe = '[suite]\nprobe = "continuation"\nprefix_words = 20\n'
    return replace_all(text, [("[suite]\n", probe)])


def with_summaries_to_write(text, folder):
    """They are planned to the token; what asks with them, as if they were as long as can be."""
    provider = re.search(r'provider = "(\w+)"', text)[1]
    options = text.partition("[model.options]\n")[2]
    # At this temperature, none of them is so short that it is requested again.
    summarizer = (
        f'[suite.summarizer]\nprovider = "{provider}"\nbase_model = "base"\n'
        f"temperature = 0.7\nprice = {{ input = 2.0, output = 8.0 }}\n"
        f"[suite.summarizer.options]\n{options}\n"
    )
    path = folder / "held-out.json"
    records = json.loads(path.read_text("utf-8"))
    blank = {"instruction": "", "detail": ""}
    path.write_text(json.dumps([record | blank for record in records]), "utf-8")
    # What a server's nonsense is taken for is no matter here.
    accepting = "[suite]\n", "[suite]\naccept_refusals = true\n"
    return replace_all(text, [accepting, ("[limits]\n", f"{summarizer}\n[limits]\n")])


@pytest.mark.full
@pytest.mark.parametrize(("rewritten", "generations"), [
    *((with_untested_baseline, 48), (with_null_book, 48)),
    *((with_greedy_answers, 32), (with_summaries_to_write, 28)),
])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_has_what_a_pair_needs_beside_its_generations(
    scenario, plan_and_run, pytester, kind, rewritten, generations
):
    server, tuned = scenario(kind, polls=0), rewritten is with_untested_baseline
    server.write_suite(pytester.path, tuned=tuned)
    path = pytester.path / "run.memleak.toml"
    path.write_text(rewritten(path.read_text("utf-8"), pytester.path), "utf-8")
    held_out = ("-k", "held-out") if rewritten is with_null_book else ()
    plan, bill, _ = plan_and_run(server, *held_out)
    planned_prompts, billed_prompts = plan.counts.pop(3), bill.pop(3)
    if rewritten is with_summaries_to_write:
        assert planned_prompts >= billed_prompts
    elif (kind, rewritten) == ("tinker", with_greedy_answers):
        # Its counter counts a chat's prompt, of which a text has only the words.
        assert planned_prompts > billed_prompts
    else:
        assert planned_prompts == billed_prompts
    assert plan.counts[:4] == bill
    assert (plan.counts[4] > 0) is tuned
    assert (plan.lines, bill[1]) == (2, generations + CANARIES)
