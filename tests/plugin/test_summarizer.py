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
from pytest_memleak.scoring.words import words

ENDPOINT = (
    '[model.finetune]\nbooks = ["training"]',
    'endpoint = "base"\nweights_version = "1"',
)
# The base model ends some answers early.
BRIEF = ("samples = 6\n", "samples = 2\nmax_short = 0.5\n")
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
    return int(len(words(record["excerpt_text"])) * 4 / 3) + 50


def test_each_excerpt_is_summarized_once_and_asked_for_by_its_summary(
    bare, server, stories, gate
):
    bare()
    result = gate("--memleak-dry-run")
    assert server.plan.counts() == {}
    (line,) = (
        line for line in result.outlines if line.startswith("summaries of held-out ")
    )
    *_, tokens_in, _, _, cost = line.split()
    usd = (
        int(tokens_in.replace(",", "")) * 2e-6
        + sum(map(longest, stories["held-out"])) * 8e-6
    )
    assert float(cost) == pytest.approx(usd, abs=0.006)
    gate(*PAID, failed=1)
    written = {
        row["instruction"]: row["text"].strip() for row in asked_for_summaries(server)
    }
    assert len(asked_for_summaries(server)) == len(written) == 8
    summaries = {
        record["excerpt_text"]: [
            text for prompt, text in written.items() if record["excerpt_text"] in prompt
        ]
        for story in stories.values()
        for record in story
    }
    assert {len(texts) for texts in summaries.values()} == {1}
    assert {row["instruction"] for row in asked_for_excerpts(server)} == {
        f"Write a {len(words(text))} word excerpt about the content below emulating"
        f" the style and voice of {record['author_name']}\n\nContent: "
        f"{summaries[text][0]}"
        for record in stories["held-out"]
        for text in [record["excerpt_text"]]
    }
    server.stop()
    gate("--memleak-offline", failed=1)


def test_they_are_written_in_half_the_words_and_paid_for_once(
    bare, server, stories, gate, capsys
):
    path = bare(ENDPOINT, LAX)
    gate(*PAID, passed=1)
    prompts = [row["instruction"] for row in asked_for_summaries(server)]
    for record in stories["held-out"]:
        half = len(words(record["excerpt_text"])) // 2
        assert any(f"in about {half} words" in prompt for prompt in prompts)
    assert {row["max_tokens"] for row in asked_for_summaries(server)} == {
        *map(longest, stories["held-out"])
    }
    # They stand apart in the ledger, and are planned no more.
    capsys.readouterr()
    assert main(["ledger", "list", "--json"]) == 0
    rows = {
        row["book"]: row for row in json.loads(capsys.readouterr().out)["endpoints"]
    }
    assert rows["summaries of held-out"]["generations"] == 4
    assert rows["held-out"]["generations"] == 8
    named = rows["summaries of held-out"]["endpoint"]
    assert rows["held-out"]["endpoint"] == f"{named}; release 1"
    plan = gate("--memleak-dry-run", lines=["tuned/held-out *0 *0 *"])
    plan.stdout.no_fnmatch_line("summaries of*")
    text = path.read_text(encoding="utf-8").replace(
        "samples = 2", "samples = 3\nseed = 3"
    )
    path.write_text(text, encoding="utf-8")
    gate(*PAID, passed=1)
    assert len(asked_for_summaries(server)) == 4
    assert len(asked_for_excerpts(server)) == 4 * (2 + 3) + 4  # canaries
    # Another temperature has them written anew.
    text = text.replace(
        "[suite.summarizer]\n", "[suite.summarizer]\ntemperature = 0.5\n"
    )
    path.write_text(text, encoding="utf-8")
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
def test_nobody_is_asked_where_the_template_needs_no_summary(bare, server, gate):
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
def test_what_is_withheld_is_inconclusive_and_names_the_excerpt(
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


@pytest.mark.parametrize(
    ("text", "reason"),
    [full(REFUSAL, "refusal"), (CANNED, "canned"), full("It rains.", "short")],
)
def test_what_is_no_summary_is_not_kept(
    bare, server, gate, monkeypatch, stories, text, reason
):
    write, calls, never = Reciter.answer, [], [""]

    def refuse(self, name, instruction, **settings):
        answers = write(self, name, instruction, **settings)
        if not instruction.startswith("Summarize"):
            return answers
        calls.append(instruction)
        refuses = calls.count(instruction) == 1 or any(
            own in instruction for own in never
        )
        return (
            [replace(answer, text=text) for answer in answers] if refuses else answers
        )

    monkeypatch.setattr(Reciter, "answer", refuse)
    bare(ENDPOINT, LAX)
    gate(*PAID, lines=[f"*p_id1 ({reason}), p_id2 ({reason}), *"], errors=1)
    assert (len(calls), asked_for_excerpts(server)) == (12, [])
    # Two of four never get one: too few to show among themselves that they are canned.
    Path(".memleak").rename("refused")
    never = [record["excerpt_text"] for record in stories["held-out"][2:]]
    calls.clear()
    gate(*PAID, lines=[f"*3 tries: p_id3 ({reason}), p_id4 ({reason}); *"], errors=1)
    assert asked_for_excerpts(server) == []
    Path(".memleak").rename("two refused")
    never = []
    calls.clear()
    gate(*PAID, passed=1)
    assert len(calls) == 8
    assert len({row["instruction"] for row in asked_for_excerpts(server)}) == 4


PRICE = "price = { input = 2.0, output = 8.0 }\n"
NONE = (f'base_model = "base"\n{PRICE}', 'base_model = "none"\n')
# Of the book and the suite, options, and what is said before anything is paid.
STOPPED = {
    "a server that refuses": (*({}, [NONE], PAID),
        "*'held-out': some summaries are missing: openai endpoint*none*404*"),
    "no author": (*({"author_name": ""}, [], PAID),
        "*the instruction template needs the book's author*"),
    "offline": (*({}, [], ("--memleak-offline",)),
                "*4 of 4 summaries of its excerpts aren't written yet*"),
    "a budget without a price": (*({}, [(PRICE, "")], (*PAID, "--memleak-budget=1")),
        "*a budget needs a price for the summarizer*"),
}  # fmt: skip


@pytest.mark.parametrize("why", STOPPED)
def test_nothing_is_paid_where_they_cannot_be_written(bare, server, stories, gate, why):
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


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda texts, own: own, None),
    (lambda texts, own: [*own[1:], own[0]], "0 of 12 instructions resemble their own*"),
    full(lambda texts, own: [REFUSAL] * 12, "? of 12 instructions resemble their own*"),
    full(lambda texts, own: texts, "prompt overlap is *%; max_prompt_overlap*"),
    full(lambda texts, own: ["It rains."] * 12, "*under 10 words of their own *: 12 of 12 (*"),
], ids=["honest", "shifted", "refused", "copied", "brief"])  # fmt: skip
def test_nothing_is_paid_for_summaries_that_could_not_earn_a_pass(
    bare, server, long_story, gate, wrong, message
):
    rows, summaries = long_story
    texts = [row["excerpt_text"] for row in rows]
    chosen = wrong(texts, [summaries[row["excerpt_id"]]["summary"] for row in rows])
    bare(ENDPOINT, ("longest_span = 30", "spans_over = 200"))
    instructions = [
        row
        | {
            "instruction": f"Write a 400 word excerpt about the content below\n\nContent: {summary}"
        }
        for row, summary in zip(rows, chosen, strict=True)
    ]
    write_json("held-out.json", instructions)
    plan = gate(
        "--memleak-dry-run", lines=[f"*tuned/held-out: *{message}"] * bool(message)
    )
    result = gate(*PAID, "--memleak-evidence=e.json")
    if message:
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"*{message}"])
        assert server.plan.counts() == {}
    else:
        assert plan.ret == 0
        assert len(server.books.rows("completion")) == 24 + 5  # canaries
        assert read_pair("e.json")["completeness"]["margins"][0]["value"] == 1


def test_a_budget_holds_for_them_too_and_the_next_run_goes_on(bare, server, gate):
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


def test_a_paid_one_waits_until_somebody_asks(suite, server, gate):
    suite(("\n[limits]", SUMMARIZER % server.base_url))
    bare_ferry()
    gate("-rs", lines=["SKIPPED*calls openai: run it with -m copyright*"], skipped=2)
    assert server.plan.counts() == {}
    gate(*PAID, passed=1, failed=1)
    assert len(asked_for_summaries(server)) == 2


def test_a_free_one_runs_at_once_and_reads_books_that_have_no_summaries(suite, gate):
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
