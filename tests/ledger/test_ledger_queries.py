import dataclasses
import itertools
import random
from collections import Counter
from pathlib import Path

import pytest
import scripted
import sqlalchemy as sa
from by_hand import a_book, answer, count_words, intent
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import on_both, url_above  # noqa: F401 - a fixture
from scripted import TRAINING, Batching, Scripted, Tuner, broken, busy, terms

from pytest_memleak.errors import LedgerError, ProviderError
from pytest_memleak.formats.paper_format import generations_from_records, load_records
from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus
from pytest_memleak.ledger.call_outcomes import (
    CallResult,
    end_call_unanswered,
    store_call_result,
)
from pytest_memleak.ledger.call_reservations import reserve_call
from pytest_memleak.ledger.generation_files import export_generations
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import (
    count_generations_and_calls,
    find_missing_ordinals,
    generations,
)
from pytest_memleak.ledger.listing import list_batches, list_endpoints, list_jobs
from pytest_memleak.ledger.prompts import Ask, asks_by_round, build_prompts
from pytest_memleak.ledger.stored_summaries import keep_summary, stored_summaries
from pytest_memleak.ledger.tables import chain
from pytest_memleak.records import Book, Excerpt, FinishReason, Generation, Sampling
from pytest_memleak.sampling.loop import sample_missing
from pytest_memleak.sampling.remote_jobs import ensure_finetune

any_text = st.text(st.characters(exclude_categories=()), max_size=60)
ODD = "NUL \x00, lone \ud83d and \udc00, both \ud83d\ude00, whole \U0001f600"
LONG = "".join(
    map(chr, random.Random(1).choices(range(0x100, 0x3000), k=3_000))
)  # in parts
NUMBERS = itertools.count()


def record_sampled(ledger, prompts, prompt, ordinals, completions, **outcome):
    call = reserve_call(
        ledger,
        intent(ledger, prompts, Ask(prompt, ordinals), price=outcome.get("cost")),
    )
    values = {"prompt_tokens": None, "completion_tokens": None, "cost": None} | outcome
    store_call_result(ledger, CallResult(call, completions, **values))


@pytest.mark.parametrize("change", [
    "UPDATE generations SET place = 0 WHERE ordinal = 1",
    "UPDATE generations SET place = -1 WHERE ordinal = 1",
    "UPDATE generations SET place = 0, ordinal = -1 WHERE ordinal = 1",
    "DELETE FROM generations WHERE ordinal = 1",
    "DELETE FROM call_texts",
    "UPDATE calls SET came = 1",
])  # fmt: skip
def test_generations_of_a_call_that_are_not_those_that_came_are_an_error(
    memory, ask, change
):
    """Else one text would be read twice, and another, which may leak, not at all."""
    prompts = ask(excerpts=1, samples=2)
    record_sampled(
        memory,
        prompts,
        prompts.specs[0],
        (0, 1),
        [Completion("clean"), Completion("leak")],
    )
    memory.write(lambda connection: connection.exec_driver_sql(change).rowcount)
    with pytest.raises(
        LedgerError, match="generations of call 1 aren't those received"
    ):
        list(generations(memory, "e", prompts))


def test_an_empty_ledger_and_counts(ledger, ask):
    prompts = ask(excerpts=2, samples=3)
    assert list(generations(ledger, "e", prompts)) == []
    lacking = find_missing_ordinals(ledger, "e", prompts)
    assert lacking.free == {prompt: [0, 1, 2] for prompt in prompts.specs}
    assert (lacking.count, lacking.elsewhere, lacking.in_batches) == (6, 0, 0)
    counts = count_generations_and_calls(ledger, "e", prompts)
    assert (counts.requested, counts.got, counts.withheld, counts.cost) == (
        6,
        0,
        {},
        None,
    )
    failed = reserve_call(
        ledger, intent(ledger, prompts, Ask(prompts.specs[0], (0,)), price=None)
    )
    end_call_unanswered(ledger, failed, billed=False, cause="x")
    assert count_generations_and_calls(ledger, "e", prompts).cost is None
    assert stored_summaries(ledger, "s", ["text"]) == {}
    keep_summary(ledger, "s", "text", "first")
    keep_summary(ledger, "s", "text", "second")
    keep_summary(ledger, "other", "text", "third")
    assert stored_summaries(ledger, "s", ["text", "else"]) == {"text": "first"}
    assert stored_summaries(ledger, "other", ["text"]) == {"text": "third"}
    assert (
        ledger.read(lambda c: c.scalar(sa.text("SELECT count(*) FROM summaries"))) == 2
    )


def test_by_excerpt_and_by_ordinal_and_by_setting(ledger, ask):
    prompts = ask(excerpts=3, samples=4)
    for prompt in reversed(prompts.specs):
        for ordinals in ((2, 3), (0, 1)):
            came = [
                Completion(f"{prompt.excerpt_id} {ordinal}") for ordinal in ordinals
            ]
            record_sampled(ledger, prompts, prompt, ordinals, came)
    texts = [generation.text for generation in generations(ledger, "e", prompts)]
    assert texts == [
        f"p_id{number} {ordinal}" for number in (1, 2, 3) for ordinal in range(4)
    ]
    assert find_missing_ordinals(ledger, "e", prompts).free == {}
    (first,) = generations(ledger, "e", ask(excerpts=1, samples=1))
    assert first.text == "p_id1 0"
    for more, count in (
        ({"samples": 5}, 1),
        ({"temperature": 0.5}, 4),
        ({"seed": 9}, 4),
    ):
        assert (
            find_missing_ordinals(
                ledger, "e", ask(excerpts=1, **{"samples": 4} | more)
            ).count
            == count
        )
    assert find_missing_ordinals(ledger, "other", prompts).count == 12


def test_counts(ledger, ask):
    prompts = ask(excerpts=2, samples=3)
    first, second = prompts.specs
    withheld = [
        Completion("a", FinishReason.STOP, 5, 6),
        Completion("b", FinishReason.LENGTH),
        Completion("", FinishReason.RECITATION),
    ]
    tokens = {"prompt_tokens": 5, "completion_tokens": 60}
    record_sampled(ledger, prompts, first, (0, 1, 2), withheld, cost=700, **tokens)
    empty = [Completion("", FinishReason.EMPTY), Completion("no", FinishReason.REFUSAL)]
    record_sampled(ledger, prompts, second, (0, 1), empty, cost=300, **tokens)
    for billed in (True, False):
        failed = reserve_call(
            ledger, intent(ledger, prompts, Ask(second, (2,)), price=1_000)
        )
        end_call_unanswered(ledger, failed, billed=billed, cause="x")
    counts = count_generations_and_calls(ledger, "e", prompts)
    assert counts.got == 5
    reasons = (FinishReason.RECITATION, FinishReason.EMPTY, FinishReason.REFUSAL)
    assert counts.withheld == dict.fromkeys(reasons, 1)
    assert (counts.calls, counts.lost, counts.recovered) == (3, 1, 0)
    assert (counts.prompt_tokens, counts.completion_tokens) == (10, 120)
    assert (counts.billed, counts.cost) == pytest.approx((1_000 / 1e9, 2_000 / 1e9))
    expected = Generation("p_id1", 0, "a", FinishReason.STOP, 5, 6)
    assert next(iter(generations(ledger, "e", prompts))) == expected


@on_both
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=examples(30),
)
@given(st.lists(any_text, min_size=1, max_size=4), any_text)
def test_texts_come_back_as_they_were(ledger, ask, texts, endpoint_id):
    texts = [*texts, ODD, LONG]
    prompts = ask(excerpts=1, samples=len(texts))
    endpoint_id = f"{endpoint_id} {next(NUMBERS)}"
    wanted = Ask(prompts.specs[0], tuple(range(len(texts))))
    call = reserve_call(
        ledger, intent(ledger, prompts, wanted, endpoint_id=endpoint_id)
    )
    store_call_result(ledger, answer(call, *texts))
    assert [
        generation.text for generation in generations(ledger, endpoint_id, prompts)
    ] == texts
    keep_summary(ledger, endpoint_id, texts[0], texts[-1])
    stored = stored_summaries(ledger, endpoint_id, [texts[0], "?" + texts[0]])
    assert stored == {texts[0]: texts[-1]}


def test_a_thousand_prompts(memory, ask):
    """More than one statement may name."""
    prompts = ask(excerpts=1000, samples=1)
    numbers = Counter(prompt.key for prompt in prompts.specs)
    assert numbers.total() == len(numbers) == 1000
    wanted = [Ask(prompt, (0,)) for prompt in prompts.specs]
    for _ in wanted[:3]:
        call = reserve_call(memory, intent(memory, prompts, *wanted))
        store_call_result(memory, answer(call, "a"))
    assert find_missing_ordinals(memory, "e", prompts).count == 997
    assert count_generations_and_calls(memory, "e", prompts).got == 3


def asked_of(*excerpts, **sampling):
    book = Book("b", "B", "A", excerpts, "0" * 64)
    return build_prompts("m/b", book, Sampling(**sampling), words=count_words)


def one_prompt(text=None, instruction=None, **sampling):
    (excerpt,) = a_book(1).excerpts
    changes = {
        "text": text or excerpt.text,
        "instruction": instruction or excerpt.instruction,
    }
    return asked_of(dataclasses.replace(excerpt, **changes), **sampling).specs[0]


def test_a_prompts_settings_shape_its_key_and_seeds():
    key = one_prompt().key
    other = (
        {"temperature": 0.5},
        {"seed": 1},
        {"instruction": "Other."},
        {"text": "word " * 50},
    )
    assert key not in {one_prompt(**changes).key for changes in other}
    assert one_prompt(samples=7, temperature=1).key == key
    # A lone surrogate isn't its pair.
    pair, letter = (
        one_prompt(instruction=text).key for text in ("\ud83d\ude00", "\U0001f600")
    )
    assert pair != letter
    for count, tokens in ((0, 50), (1, 51), (2, 52), (3, 54), (400, 583)):
        assert one_prompt(text="word " * count or " ").max_tokens == tokens
    prompt = one_prompt()
    seeds = {prompt.seed_from(first) for first in range(200)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert one_prompt(seed=1).seed_from(0) != prompt.seed_from(0)


@pytest.mark.parametrize("instruction", [None, ""])
def test_a_repeated_instruction_is_a_question_of_its_own_and_none_is_left_out(
    instruction,
):
    excerpts = [Excerpt(f"p_id{n}", "some words", "The same.") for n in range(3)]
    prompts = asked_of(*excerpts)
    assert len({prompt.key for prompt in prompts.specs}) == 3
    assert asked_of(*excerpts) == prompts
    excerpts = Excerpt("p_id1", "text", instruction), Excerpt("p_id2", "text", "Write.")
    prompts = asked_of(*excerpts, samples=5)
    assert [prompt.excerpt_id for prompt in prompts.specs] == ["p_id2"]
    assert prompts.requested == 5


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=5),
    st.integers(1, 5),
)
def test_asks_are_rounds_of_what_is_missing(missing, per_call):
    specs = build_prompts(
        "m/b", a_book(len(missing)), Sampling(), words=count_words
    ).specs
    pairs = zip(specs, missing, strict=True)
    wanted = {prompt: sorted(ordinals) for prompt, ordinals in pairs if ordinals}
    generations, rounds = {}, []
    for call in asks_by_round(wanted, per_call):
        assert 1 <= len(call.ordinals) <= per_call
        earlier = generations.setdefault(call.prompt, [])
        rounds.append(len(earlier))
        earlier.append(call.ordinals)
    assert {
        asked: [*itertools.chain(*parts)] for asked, parts in generations.items()
    } == wanted
    assert rounds == sorted(rounds)


ODD_IN_JSON = "NUL \x00, lone \ud83d, pair \U0001f600, \u2028 line"
COMPLETIONS = [
    Completion(ODD_IN_JSON, FinishReason.STOP, 5, 7),
    Completion("cut", FinishReason.LENGTH, 0, 9),
    Completion("", FinishReason.RECITATION),
]


@pytest.fixture
def prompts(ask):
    return ask(excerpts=12, samples=4)


@pytest.fixture
def filled(ledger, prompts):
    """Some generations of endpoint `e`, with holes, an open call and a surplus completion."""
    for prompt in reversed(prompts.specs):
        call = reserve_call(ledger, intent(ledger, prompts, Ask(prompt, (0, 2, 3))))
        came = [*COMPLETIONS, Completion("surplus")][
            : 4 if prompt is prompts.specs[0] else 3
        ]
        store_call_result(ledger, CallResult(call, came, 5, 16, None))
    reserve_call(ledger, intent(ledger, prompts, Ask(prompts.specs[0], (1,))))
    return ledger


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_out_in_the_papers_form(filled, prompts, tmp_path, suffix):
    path = tmp_path / "files" / f"generations{suffix}"
    sampled = list(generations(filled, "e", prompts))
    assert export_generations(filled, path, endpoint_id="e") == len(sampled) == 36
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert all(byte < 128 for byte in path.read_bytes())
    result = generations_from_records(load_records(path))
    ids = [f"p_id{number}" for number in range(1, 13) for _ in range(3)]
    assert [one.excerpt_id for one in result] == ids
    assert [one.text for one in result[:3]] == [ODD_IN_JSON, "cut", ""]
    assert result[2].finish_reason is FinishReason.RECITATION
    assert [one.finish_word for one in result[:3]] == ["stop", "length", "recitation"]


def test_an_ambiguous_or_missing_selection_is_not_exported(ledger, ask, tmp_path):
    first = ask(excerpts=1, samples=1)
    sample_missing(ledger, Scripted(), endpoint_id="e", prompts=first, terms=terms())
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="can't be written"):
        export_generations(ledger, tmp_path / "file" / "out.json", endpoint_id="e")
    longer = Excerpt("p_id1", "words " * 50, "Write number 1.")
    book = Book("book", "A Book", "An Author", (longer,), "0" * 64)
    second = build_prompts("m/b", book, Sampling(samples=1), words=count_words)
    sample_missing(ledger, Scripted(), endpoint_id="e", prompts=second, terms=terms())
    with pytest.raises(LedgerError, match="has 2 different prompts"):
        export_generations(ledger, tmp_path / "out.json", endpoint_id="e")


def sample_in_batches(ledger, endpoint, prompts, retry):
    return scripted.sample_all(
        ledger, endpoint, prompts, retry, terms(per_call=2, batch=True)
    )


@on_both
def test_endpoints(filled, ask):
    priced = ask(excerpts=2, samples=1, temperature=0.5)
    endpoint = Scripted(
        lambda _: [Completion("x", prompt_tokens=10, completion_tokens=5)]
    )
    sample_missing(
        filled, endpoint, endpoint_id="e", prompts=priced, terms=terms(price=(1, 2))
    )
    lost = reserve_call(
        filled, intent(filled, priced, Ask(priced.specs[0], (7,)), price=1000)
    )
    end_call_unanswered(filled, lost, billed=True, cause="x")
    first, second = list_endpoints(filled)
    assert (first.endpoint, first.book, first.temperature, first.seed) == (
        "e",
        "book",
        0.5,
        0,
    )
    counts = (first.excerpts, first.generations, first.withheld, first.surplus)
    assert counts == (2, 2, 0, 0)
    assert (first.calls, first.lost, first.open) == (3, 1, 0)
    assert (first.prompt_tokens, first.completion_tokens) == (20, 10)
    assert (first.billed, first.cost) == pytest.approx((40e-6, 41e-6))
    assert (second.excerpts, second.generations, second.withheld) == (12, 36, 12)
    assert (second.calls, second.surplus, second.open, second.cost) == (12, 1, 1, None)


def test_jobs_and_batches(ledger, ask, hasty):
    tuner = Tuner()
    tuner.outcome = JobState(JobStatus.SUCCEEDED, endpoint="e", tokens=5)
    ensure_finetune(ledger, tuner, TRAINING, retry=hasty)
    batching = Batching(fails=lambda batch, place: batch == place == 0)
    sample_in_batches(ledger, batching, ask(), hasty)
    (job,) = list_jobs(ledger)
    names = (job.provider, job.job_id, job.state, job.endpoint)
    assert names == ("tuner", "job-0", "succeeded", "e")
    assert (job.examples, job.tokens, job.digest) == (1, 5, TRAINING.digest)
    first, second = list_batches(ledger)
    assert (first.batch_id, first.state) == ("batch-0", "succeeded")
    assert (first.requests, first.answered) == (6, 5)
    assert (second.batch_id, second.requests, second.answered) == ("batch-1", 1, 1)
    assert first.began <= first.ended <= second.ended


def test_no_key_reaches_the_ledger(tmp_path, ask, hasty, monkeypatch):
    """Whatever a provider says goes through the mask before it is written."""
    secret = "tops3cret-value"
    monkeypatch.setenv("OTHER_API_KEY", secret)
    cause = f"no: {secret} and sk-abcdef0123456789"
    refused = JobState(JobStatus.FAILED, detail=cause)
    tuner, failing, batching = Tuner(), Tuner(), Batching()
    tuner.failures["start"] = [broken(cause)]
    failing.name, failing.outcome = "failing", refused
    batching.states["batch-0"] = refused

    def is_masked(shown):
        return "[masked]" in shown and secret not in shown and "sk-abc" not in shown

    def sampled(ledger, endpoint):
        scripted.sample_all(ledger, endpoint, ask(), hasty)

    def tuned(ledger, tuner):
        ensure_finetune(ledger, tuner, TRAINING, retry=hasty)

    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for run, provider in (
            (sampled, Scripted(broken(cause))),
            (sampled, Scripted(busy(f"cut off {cause}"))),
            (tuned, tuner),
            (tuned, failing),
        ):
            with pytest.raises(ProviderError) as caught:
                run(ledger, provider)
            shown = f"{caught.value} {caught.value!r} {caught.value.__dict__}"
            assert is_masked(shown)
        with pytest.raises(ProviderError):
            sample_in_batches(ledger, batching, ask(), hasty)
        entries = "".join(row.entry for row in ledger.rows(sa.select(chain.c.entry)))
        assert is_masked(entries)
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert secret.encode() not in path.read_bytes()
        assert b"sk-abcdef" not in path.read_bytes()
    assert b"[masked]" in (tmp_path / "ledger.db").read_bytes()
