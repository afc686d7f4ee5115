"""--memleak-dry-run, held against what a server has billed after the run that was planned."""

import dataclasses
import json
import re
from functools import partial

import pytest
from accounts import settled
from faults import server_error
from reciter import count_tokens

from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.providers.tinker.tinker_provider import TinkerProvider
from pytest_memleak.providers.together.together_provider import TogetherProvider
from pytest_memleak.providers.vertex.vertex_provider import VertexProvider

CANARIES = 4
PRICES = 2e-6, 8e-6, 10e-6
COUNTERS = {
    "openai": (OpenAIProvider, lambda _, text: count_tokens(text)),
    "vertex": (VertexProvider, lambda _, text: count_tokens(text)),
    "together": (TogetherProvider, lambda _, text: count_tokens(text)),
    # Tinker bills the prompt as the client has worded it.
    "tinker": (TinkerProvider, lambda self, text: len(self._format().prompt(text))),
}


@pytest.fixture
def counting(monkeypatch):
    """Gives a provider the counter that its server bills by."""

    def count(provider):
        kind, counter = COUNTERS[provider]
        declared = kind.abilities.fget

        def abilities(self):
            return dataclasses.replace(declared(self), count_tokens=partial(counter, self))

        monkeypatch.setattr(kind, "abilities", property(abilities))

    return count


def planned(outcome):
    """calls, draws, pending, in, out, train of all lines together, US$, and how many lines."""
    rows, costs = [], []
    for line in outcome.result.stdout.lines:
        for counts, cost in re.findall(r"((?: +[\d,]+){6}) +([\d,.]+)$", line):
            rows.append([int(count.replace(",", "")) for count in counts.split()])
            costs.append(float(cost.replace(",", "")))
    return [sum(column) for column in zip(*rows, strict=True)], sum(costs), len(rows)


def billed(scenario):
    """Calls, draws, nothing that is pending, prompt tokens."""
    rows = scenario.books.rows("completion")
    prompts = sum(row["prompt_tokens"] for row in rows)
    return [len({row["call"] for row in rows}), len(rows), 0, prompts]


@pytest.mark.full
@pytest.mark.parametrize("kind", ["openai", "openai-batch", "vertex", "vertex-batch", "together"])
def test_what_is_planned_is_billed(scenario, run, pytester, kind, counting):
    server = scenario(kind, polls=0)
    counting(server.provider)
    server.write_suite(pytester.path, recipe={"epochs": 4})
    counts, cost, _ = planned(run(server, "--memleak-dry-run"))
    assert server.calls() == 0
    outcome = run(server)
    rows = server.books.rows("completion")
    most = sum(row["max_tokens"] for row in rows)
    (tuned,) = server.books.rows("finetune")
    assert counts == [*billed(server), most, tuned["tokens"]]
    assert sum(row["completion_tokens"] for row in rows) <= most
    paid = [counts[3], most, tuned["tokens"]]
    assert cost == pytest.approx(sum(map(float.__mul__, PRICES, map(float, paid))), abs=0.006)
    settled(server, outcome.url, samples=6)


@pytest.mark.full
@pytest.mark.parametrize("recipe", [{"epochs": 2}, {}])
def test_the_same_at_tinker(scenario, run, pytester, counting, recipe):
    """Of a training it says about how much: prompts and texts are counted apart there."""
    server = dataclasses.replace(scenario("tinker"), finetune={"batch_size": 2, **recipe})
    counting("tinker")
    server.write_suite(pytester.path)
    counts, _, _ = planned(run(server, "--memleak-dry-run"))
    assert server.calls() == 0
    run(server)
    rows = server.books.rows("completion")
    assert counts[:4] == billed(server)
    assert sum(row["completion_tokens"] for row in rows) <= counts[4]
    trained = sum(row["tokens"] for row in server.books.rows("train"))
    assert trained == pytest.approx(counts[5], rel=0.05)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["openai", "vertex", "tinker"])
def test_without_a_counter_the_plan_is_an_estimate_and_after_the_run_nothing(
    scenario, run, pytester, kind
):
    server = scenario(kind, polls=0)
    server.write_suite(pytester.path)
    counts, _, _ = planned(run(server, "--memleak-dry-run"))
    run(server)
    asked, before = billed(server), server.calls()
    assert counts[:3] == asked[:3]
    assert asked[3] / 3 < counts[3] < asked[3] * 3
    assert planned(run(server, "--memleak-dry-run"))[:2] == ([0] * 6, 0.0)
    assert server.calls() == before


@pytest.mark.full
def test_of_a_run_that_was_cut_short_the_rest_is_planned(scenario, run, pytester, counting):
    server = scenario("openai", polls=0)
    counting("openai")
    server.plan(server_error("chat", calls=tuple(range(3, 40))))
    server.write_suite(pytester.path, concurrency=1)
    run(server, tries=1)
    before = billed(server)
    counts, _, _ = planned(run(server, "--memleak-dry-run"))
    server.plan()
    outcome = run(server)
    assert (outcome.ended, settled(server, outcome.url, samples=6).lost) == ("24/24 FAIL", 0)
    after = billed(server)
    assert counts[:4] == [one - other for one, other in zip(after, before, strict=True)]
    assert counts[5] == 0


KINDS = ["openai", "openai-batch", "vertex", "vertex-batch", "tinker"]


def rewrite(pytester, *replacements, end=""):
    path = pytester.path / "run.memleak.toml"
    text = path.read_text("utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text + end, "utf-8")


def plan_and_run(run, server, *arguments):
    """The plan's lines together, how many, and what was billed then."""
    counts, _, lines = planned(run(server, "--memleak-dry-run", *arguments))
    assert server.calls() == 0
    assert "errors" not in run(server, *arguments).result.parseoutcomes()
    rows = server.books.rows("completion")
    if server.provider == "tinker":  # which does not bill by what is asked for at most
        assert sum(row["completion_tokens"] for row in rows) <= counts[4]
        return counts, lines, [*billed(server), counts[4]]
    return counts, lines, [*billed(server), sum(row["max_tokens"] for row in rows)]


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_and_its_untested_baseline(scenario, run, pytester, kind, counting):
    server = scenario(kind, polls=0)
    counting(server.provider)
    server.write_suite(pytester.path)
    text = (pytester.path / "run.memleak.toml").read_text("utf-8")
    tuned = text[text.index("[[model]]") :]
    finetune = tuned[tuned.index("[model.finetune]") : tuned.index("[model.options]")]
    plain = tuned.replace(finetune, "").replace('"tuned"', '"plain"')
    rewrite(
        pytester,
        ('id = "tuned"\n', 'id = "tuned"\nbaseline_model = "plain"\n'),
        end=plain.replace('"plain"', '"plain"\ntests = []'),
    )
    counts, lines, bill = plan_and_run(run, server)
    assert counts[:5] == bill
    assert (lines, bill[1]) == (2, 48 + CANARIES)
    assert counts[5] > 0


NULL = (('role = "train"', ""), ("[limits]\n", "[limits]\nbmc_excess = 1.0\n"))
GREEDY = (("[suite]\n", '[suite]\nprobe = "continuation"\nprefix_words = 20\n'),)


@pytest.mark.full
@pytest.mark.parametrize(
    ("changes", "draws"), [(NULL, 48), (GREEDY, 32)], ids=["null books", "greedy answers"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_and_what_it_is_compared_with(
    scenario, run, pytester, kind, counting, changes, draws
):
    server = scenario(kind, polls=0)
    counting(server.provider)
    server.write_suite(pytester.path, tuned=False)
    rewrite(pytester, *changes)
    counts, lines, bill = plan_and_run(run, server, *(("-k", "held-out") if draws == 48 else ()))
    if (kind, changes) == ("tinker", GREEDY):
        # Its counter counts a chat's prompt, of which a text has only the words.
        assert counts[3] > bill[3]
        counts[3] = bill[3]
    assert counts == [*bill, 0]
    assert (lines, bill[1]) == (2, draws + CANARIES)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_summaries_that_are_not_written_yet(scenario, run, pytester, kind, counting):
    """They are planned to the token; what asks with them, as if they were as long as can be."""
    server = scenario(kind, polls=0)
    counting(server.provider)
    server.write_suite(pytester.path, tuned=False)
    text = (pytester.path / "run.memleak.toml").read_text("utf-8")
    options = text.partition("[model.options]\n")[2]
    # At this temperature, none of them is so short that it is asked for again.
    summarizer = (
        f'[suite.summarizer]\nprovider = "{server.provider}"\nbase_model = "base"\n'
        f"temperature = 0.7\nprice = {{ input = 2.0, output = 8.0 }}\n"
        f"[suite.summarizer.options]\n{options}\n"
    )
    rewrite(
        pytester,
        # What a server's nonsense is taken for is no matter here.
        ("[suite]\n", "[suite]\naccept_refusals = true\n"),
        ("[limits]\n", f"{summarizer}\n[limits]\n"),
    )
    path = pytester.path / "held-out.json"
    records = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps([{**one, "instruction": "", "detail": ""} for one in records]))
    counts, lines, bill = plan_and_run(run, server)
    assert (lines, bill[1]) == (2, 4 + 24 + CANARIES)
    assert (counts[:3], counts[4]) == (bill[:3], bill[4])
    assert counts[3] >= bill[3]
