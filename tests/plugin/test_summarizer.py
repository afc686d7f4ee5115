"""[suite.summarizer]: summaries written by a chat model, each paid for once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from faults import Fault, FaultKind, rate_limit
from marks import full
from reciter import Reciter
from suite_files import STORIES, read_pair, read_story, write_json

from pytest_memleak.cli.main import main

ENDPOINT = (
    '[model.finetune]\nbooks = ["training"]',
    'endpoint = "base"\nweights_version = "1"',
)
# The base model ends some answers early.
BRIEF = ("samples = 6\n", "samples = 2\nseed = 12\nmax_short = 0.5\n")
TOGETHER = ("[model.options]", "[model.options]\ncompletions_per_call = 10")
LAX = ("longest_span = 30", "spans_over = 40")
PAID = ("-m", "copyright")
SUMMARIZER = """
[suite.summarizer]
provider = "openai"
base_model = "base"
price = { input = 2.0, output = 8.0 }
[suite.summarizer.options]
base_url = "%s"
[limits]"""


def without_instructions(records):
    return [record | {"instruction": "", "detail": ""} for record in records]


@pytest.fixture
def bare(stories, server, online):
    """Writes the suite with a summarizer, and its books without instructions."""

    def write(*replacements, summarizer=SUMMARIZER):
        text = summarizer % server.base_url if "%s" in summarizer else summarizer
        path = online(("\n[limits]", text), BRIEF, TOGETHER, *replacements)
        for name, records in stories.items():
            write_json(f"{name}.json", without_instructions(records))
        return path

    return write


def asked_for_summaries(server, wanted=True):
    rows = server.books.rows("completion")
    return [row for row in rows if row["instruction"].startswith("Summarize") is wanted]


def asked_for_excerpts(server):
    return asked_for_summaries(server, wanted=False)


def longest(record):
    """The most tokens that an answer of this excerpt's length may have."""
    return int(len(record["excerpt_text"].split()) * 4 / 3) + 50


def test_a_dry_run_estimates_the_cost_of_summaries(bare, server, stories, gate):
    bare()
    result = gate("--memleak-dry-run")
    assert server.plan.counts() == {}
    rows = [row for row in result.outlines if row.startswith("summaries of held-out ")]
    (row,) = rows
    *_, tokens_in, _, _, cost = row.split()
    tokens_out = sum(map(longest, stories["held-out"]))
    usd = int(tokens_in.replace(",", "")) * 2e-6 + tokens_out * 8e-6
    assert float(cost) == pytest.approx(usd, abs=0.006)


def summaries_of(server, text):
    """The summaries that were written of an excerpt."""
    rows = asked_for_summaries(server)
    return [row["text"].strip() for row in rows if text in row["instruction"]]


def test_an_excerpt_is_summarized_once_and_requested_by_its_summary(
    bare, server, stories, gate
):
    bare()
    gate(*PAID, failed=1)
    prompts = [row["instruction"] for row in asked_for_summaries(server)]
    assert len(prompts) == len({*prompts}) == 8
    for story in stories.values():
        texts = [record["excerpt_text"] for record in story]
        assert all(len(summaries_of(server, text)) == 1 for text in texts)
    expected = set()
    for record in stories["held-out"]:
        text = record["excerpt_text"]
        (summary,) = summaries_of(server, text)
        expected.add(
            f"Write a {len(text.split())} word excerpt about the content below emulating"
            f" the style and voice of {record['author_name']}\n\nContent: {summary}"
        )
    assert {row["instruction"] for row in asked_for_excerpts(server)} == expected
    server.stop()
    gate("--memleak-offline", failed=1)


@pytest.fixture
def summarized(bare, gate):
    """The suite, after a run in which its summaries were written."""
    path = bare(ENDPOINT, LAX)
    gate(*PAID, passed=1)
    return path


def replace_in(path, old, new):
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_summaries_are_written_in_half_the_words(summarized, server, stories):
    rows = asked_for_summaries(server)
    for record in stories["held-out"]:
        half = len(record["excerpt_text"].split()) // 2 + 1
        assert any(f"in about {half} words" in row["instruction"] for row in rows)
    most = {*map(longest, stories["held-out"])}
    assert {row["max_tokens"] for row in rows} == most


def test_summaries_stand_apart_in_the_ledger(summarized, capsys):
    capsys.readouterr()
    assert main(["ledger", "list", "--json"]) == 0
    endpoints = json.loads(capsys.readouterr().out)["endpoints"]
    rows = {row["book"]: row for row in endpoints}
    assert rows["summaries of held-out"]["generations"] == 4
    assert rows["held-out"]["generations"] == 8
    named = rows["summaries of held-out"]["endpoint"]
    assert rows["held-out"]["endpoint"] == f"{named}; release 1"


def test_written_summaries_are_not_planned_or_paid_again(summarized, server, gate):
    plan = gate("--memleak-dry-run", lines=["tuned/held-out *0 *0 *"])
    plan.stdout.no_fnmatch_line("summaries of*")
    replace_in(summarized, "samples = 2\nseed = 12", "samples = 3\nseed = 3")
    gate(*PAID)
    assert len(asked_for_summaries(server)) == 4
    assert len(asked_for_excerpts(server)) == 4 * (2 + 3) + 4  # canaries


def test_another_temperature_of_the_summarizer_writes_other_summaries(
    summarized, server, gate
):
    table = "[suite.summarizer]\n"
    replace_in(summarized, table, f"{table}temperature = 0.5\n")
    gate(*PAID, passed=1)
    temperatures = [row["temperature"] for row in asked_for_summaries(server)]
    assert temperatures == [1.0] * 4 + [0.5] * 4


def test_a_text_file_is_cut_and_summarized(bare, server, stories, gate):
    bare(('source = "held-out.json"', 'source = "held-out.txt"\nauthor = "A. N."'))
    text = "\n\n".join(record["excerpt_text"] for record in stories["held-out"])
    Path("held-out.txt").write_text(text, encoding="utf-8")
    gate(*PAID, failed=1)
    excerpts = {row["instruction"] for row in asked_for_excerpts(server)}
    assert len(excerpts) > 1
    assert len(asked_for_summaries(server)) == len(excerpts) + len(stories["training"])
    assert all("voice of A. N." in instruction for instruction in excerpts)


@pytest.mark.full
def test_a_template_without_summaries_calls_no_summarizer(bare, server, gate):
    template = 'instruction_template = "Write {words} words."\n'
    bare(ENDPOINT, LAX, ("samples = 2\n", f"samples = 2\n{template}"))
    gate(*PAID)
    assert asked_for_summaries(server) == []


def test_a_busy_server_and_an_empty_answer_are_asked_again(bare, server, stories, gate):
    bare(ENDPOINT, LAX)
    # Only excerpts without an instruction are summarized.
    rows = [*stories["held-out"][:1], *without_instructions(stories["held-out"][1:])]
    write_json("held-out.json", rows)
    server.plan.add(rate_limit("chat", calls=(0, 1)))
    server.plan.add(Fault(FaultKind.EMPTY, "chat", calls=(3,)))
    gate(*PAID, passed=1)
    assert len(asked_for_summaries(server)) == 3 + 1
    instructions = {row["instruction"] for row in asked_for_excerpts(server)}
    assert len(instructions) == 4
    assert rows[0]["instruction"] in instructions


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(FaultKind.EMPTY, "empty"), full(FaultKind.FILTER, "content_filter")],
)
def test_a_withheld_summary_is_inconclusive_and_names_the_excerpt(
    bare, server, stories, gate, kind, reason
):
    bare(ENDPOINT, LAX)
    server.plan.add(Fault(kind, "chat"))
    names = ", ".join(f"p_id{number} ({reason})" for number in range(1, 5))
    shown = f"*book 'held-out': *no summary for 4 of 4 excerpts in 3 tries: {names}*"
    gate(*PAID, lines=[shown], errors=1)
    assert len(server.books.rows("completion")) == 12
    result = gate(*PAID, "-l", "--full-trace", "-vv", errors=1)
    shown = result.stdout.str() + result.stderr.str()
    assert not any(
        record["excerpt_text"][:60] in shown for record in stories["held-out"]
    )
    assert len(server.books.rows("completion")) == 12


REFUSAL = "I'm sorry, but I can't help with summarizing that passage"
CANNED = "This service writes nothing about passages of books that somebody else may own today."


NO_SUMMARIES = pytest.mark.parametrize(
    ("text", "reason"),
    [full(REFUSAL, "refusal"), (CANNED, "canned"), full("It rains.", "short")],
)


class Refuser:
    """A model that answers some calls for summaries with a text that is none.

    text: of these answers
    never: texts of excerpts that get no summary; the others get none at the first call
    calls: the instructions of all calls for summaries
    """

    def __init__(self):
        self.text, self.never, self.calls = "", [""], []
        self.write = Reciter.answer

    def answer(self, reciter, name, instruction, **settings):
        answers = self.write(reciter, name, instruction, **settings)
        if not instruction.startswith("Summarize"):
            return answers
        self.calls.append(instruction)
        first = self.calls.count(instruction) == 1
        if first or any(text in instruction for text in self.never):
            return [replace(answer, text=self.text) for answer in answers]
        return answers


@pytest.fixture
def refuser(bare, monkeypatch):
    refuser = Refuser()

    def answer(reciter, *arguments, **settings):
        return refuser.answer(reciter, *arguments, **settings)

    monkeypatch.setattr(Reciter, "answer", answer)
    bare(ENDPOINT, LAX)
    return refuser


@NO_SUMMARIES
def test_a_text_that_is_no_summary_is_not_kept(refuser, server, gate, text, reason):
    refuser.text = text
    gate(*PAID, lines=[f"*p_id1 ({reason}), p_id2 ({reason}), *"], errors=1)
    assert (len(refuser.calls), asked_for_excerpts(server)) == (12, [])


@NO_SUMMARIES
def test_excerpts_without_a_summary_are_named_among_others(
    refuser, server, stories, gate, text, reason
):
    """Two of four: too few to show among themselves that they are canned."""
    refuser.text = text
    refuser.never = [record["excerpt_text"] for record in stories["held-out"][2:]]
    gate(*PAID, lines=[f"*3 tries: p_id3 ({reason}), p_id4 ({reason})*"], errors=1)
    assert asked_for_excerpts(server) == []


@NO_SUMMARIES
def test_a_summary_is_requested_again_after_a_text_that_is_none(
    refuser, server, gate, text, reason
):
    refuser.text, refuser.never = text, []
    gate(*PAID, passed=1)
    assert len(refuser.calls) == 8
    assert len({row["instruction"] for row in asked_for_excerpts(server)}) == 4


PRICE = "price = { input = 2.0, output = 8.0 }\n"
NONE = (f'base_model = "base"\n{PRICE}', 'base_model = "none"\n')
# Of the book and the suite, options, and what is said before anything is paid.
STOPPED = {
    "a server that refuses": (
        {},
        [NONE],
        PAID,
        "*'held-out': some summaries are missing: openai endpoint*none*404*",
    ),
    "no author": (
        {"author_name": ""},
        [],
        PAID,
        "*the instruction template needs the book's author*",
    ),
    "offline": (
        {},
        [],
        ("--memleak-offline",),
        "*4 of 4 summaries of its excerpts aren't written yet*",
    ),
    "a budget without a price": (
        {},
        [(PRICE, "")],
        (*PAID, "--memleak-budget=1"),
        "*a budget needs a price for the summarizer*",
    ),
}


@pytest.mark.parametrize("why", STOPPED)
def test_unwritable_summaries_cost_nothing(bare, server, stories, gate, why):
    book, replaced, options, line = STOPPED[why]
    bare(ENDPOINT, LAX, *replaced)
    bare_records = without_instructions(stories["held-out"])
    write_json("held-out.json", [record | book for record in bare_records])
    gate(*options, lines=[line], errors=1)
    assert server.books.rows() == []
    assert bool(server.plan.counts()) is (why == "a server that refuses")


@pytest.fixture(scope="module")
def long_story():
    summaries = json.loads((STORIES / "the-lamplighter.summaries.json").read_text())
    return read_story("the-lamplighter")[:12], summaries


def write_instructions(rows, summaries):
    """Write the book with an instruction of each summary."""
    head = "Write a 400 word excerpt about the content below\n\nContent: "
    pairs = zip(rows, summaries, strict=True)
    write_json(
        "held-out.json",
        [row | {"instruction": head + summary} for row, summary in pairs],
    )


def own_summaries(rows, summaries):
    return [summaries[row["excerpt_id"]]["summary"] for row in rows]


MANY_SPANS = ("longest_span = 30", "spans_over = 200")


def test_honest_summaries_are_run(bare, server, long_story, gate):
    rows, summaries = long_story
    bare(ENDPOINT, MANY_SPANS)
    write_instructions(rows, own_summaries(rows, summaries))
    assert gate("--memleak-dry-run").ret == 0
    gate(*PAID, "--memleak-evidence=e.json")
    assert len(server.books.rows("completion")) == 24 + 5  # canaries
    assert read_pair("e.json")["completeness"]["margins"][0]["value"] == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda texts, own: [*own[1:], own[0]],
            "0 of 12 instructions resemble their own*",
        ),
        full(
            lambda texts, own: [REFUSAL] * 12,
            "? of 12 instructions resemble their own*",
        ),
        full(lambda texts, own: texts, "prompt overlap is *%; max_prompt_overlap*"),
        full(
            lambda texts, own: ["It rains."] * 12,
            "*under 10 words of their own *: 12 of 12 (*",
        ),
    ],
    ids=["shifted", "refused", "copied", "brief"],
)
def test_summaries_that_could_not_earn_a_pass_cost_no_generations(
    bare, server, long_story, gate, wrong, message
):
    rows, summaries = long_story
    texts = [row["excerpt_text"] for row in rows]
    bare(ENDPOINT, MANY_SPANS)
    write_instructions(rows, wrong(texts, own_summaries(rows, summaries)))
    gate("--memleak-dry-run", lines=[f"*tuned/held-out: *{message}"])
    gate(*PAID, "--memleak-evidence=e.json", lines=[f"*{message}"], errors=1)
    assert server.plan.counts() == {}


def test_a_budget_holds_for_summaries_and_the_next_run_continues(bare, server, gate):
    bare(ENDPOINT, LAX, summarizer=SUMMARIZER.replace('"%s"', '"%s"\nconcurrency = 1'))
    line = "*some summaries are missing: Budget: US$*"
    gate(*PAID, "--memleak-budget=0.012", lines=[line], errors=1)
    rows = server.books.rows("completion")
    assert 0 < len(rows) < 4
    paid = sum(
        row["prompt_tokens"] * 2e-6 + row["completion_tokens"] * 8e-6 for row in rows
    )
    assert paid <= 0.012
    gate(*PAID, "--memleak-budget=10", passed=1)
    assert len(asked_for_summaries(server)) == 4


FREE = """
[suite.summarizer]
provider = "ngram"
[suite.summarizer.options]
pretraining = ["ferry"]
[limits]"""


def bare_ferry():
    write_json(
        "ferry.json", without_instructions(json.loads(Path("ferry.json").read_text()))
    )


def test_a_paid_summarizer_runs_on_request_only(suite, server, gate):
    suite(("\n[limits]", SUMMARIZER % server.base_url))
    bare_ferry()
    gate("-rs", lines=["SKIPPED*calls openai: run it with -m copyright*"], skipped=2)
    assert server.plan.counts() == {}
    gate(*PAID, passed=1, failed=1)
    assert len(asked_for_summaries(server)) == 2


def test_a_free_summarizer_runs_at_once(suite, gate):
    # It knows one book only, and writes its summaries in that book's words.
    suite(
        ("\n[limits]", FREE), ("samples = 3", "samples = 3\nmax_prompt_overlap = 1.0")
    )
    bare_ferry()
    gate(passed=1, failed=1)
    recorded = (
        '[suite.summarizer]\nprovider = "recorded"\noptions = { path = "clean.json" }\n'
    )
    suite(("\n[limits]", f"\n{recorded}\n[limits]"))
    bare_ferry()
    gate(lines=["*suite.summarizer*'recorded'*can't write summaries*"], errors=2)


def test_a_prompt_of_ones_own_asks_for_the_summaries(bare, server, gate):
    own = 'prompt = "Retell in {words} words: {passage}"\nprice'
    bare(ENDPOINT, LAX, summarizer=SUMMARIZER.replace("price", own, 1))
    gate(*PAID)
    rows = server.books.rows("completion")
    assert len([row for row in rows if row["instruction"].startswith("Retell in")]) == 4


def test_a_prompt_without_the_passage_is_rejected(bare, gate):
    bare(summarizer=SUMMARIZER.replace("price", 'prompt = "Retell."\nprice', 1))
    gate(lines=["*suite.summarizer.prompt: the prompt has no {passage}*"])


def test_a_budget_without_a_cap_is_refused_before_any_call(online, server, gate):
    online(ENDPOINT, ("samples = 6", 'samples = 6\nmax_tokens = "default"'))
    usage = ["*--memleak-budget needs a cap on the generations of tuned*"]
    gate(*PAID, "--memleak-budget=1", usage=usage)
    assert server.plan.calls("chat") == 0
