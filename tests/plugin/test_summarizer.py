"""[suite.summarizer]: summaries written by a chat model, each paid for once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from faults import Fault, FaultKind, rate_limit
from reciter import Reciter

from pytest_memleak.scoring.words import words

ENDPOINT = ('[model.finetune]\nbooks = ["training"]', 'endpoint = "base"\nweights_version = "1"')
# The base model ends some answers early.
BRIEF = ("samples = 6\n", "samples = 6\nmax_short = 0.5\n")
LAX = ("longest_span = 30", "spans_over = 40")
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
def bare(pytester, stories, server, online):
    """Writes the suite with a summarizer, and its books without instructions."""

    def write(*replacements, summarizer=SUMMARIZER):
        text = summarizer % server.base_url if "%s" in summarizer else summarizer
        path = online(("\n[limits]", text), BRIEF, *replacements)
        for name, records in stories.items():
            rows = without_instructions(records)
            (pytester.path / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
        return path

    return write


def asked_for_summaries(server):
    rows = server.books.rows("completion")
    return [row for row in rows if row["instruction"].startswith("Summarize")]


def asked_for_excerpts(server):
    rows = server.books.rows("completion")
    return [row for row in rows if not row["instruction"].startswith("Summarize")]


# --- writing them --------------------------------------------------------------------------


def test_each_excerpt_is_summarized_once_and_asked_for_by_its_summary(
    pytester, bare, server, stories
):
    bare()
    pytester.runpytest("-m", "copyright").assert_outcomes(failed=1)
    written = {row["instruction"]: row["text"].strip() for row in asked_for_summaries(server)}
    assert len(asked_for_summaries(server)) == len(written) == 8
    for name, story in stories.items():
        for record in story:
            said = [one for prompt, one in written.items() if record["excerpt_text"] in prompt]
            assert len(said) == 1, name
    asked = {row["instruction"] for row in asked_for_excerpts(server)}
    held_out = [
        f"Write a {len(words(one['excerpt_text']))} word excerpt about the content below emulating"
        f" the style and voice of {one['author_name']}\n\nContent: {summary}"
        for one in stories["held-out"]
        for prompt, summary in written.items()
        if one["excerpt_text"] in prompt
    ]
    assert asked == set(held_out)


def test_the_prompt_asks_for_half_the_words(pytester, bare, server, stories):
    bare(ENDPOINT, LAX)
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    prompts = sorted(row["instruction"] for row in asked_for_summaries(server))
    halves = [len(words(one["excerpt_text"])) // 2 for one in stories["held-out"]]
    for half in halves:
        assert any(f"in about {half} words" in prompt for prompt in prompts)
    for told in ("characters", "person", "order", "do not quote"):
        assert all(told in prompt for prompt in prompts)
    most = {int(len(words(one["excerpt_text"])) * 4 / 3) + 50 for one in stories["held-out"]}
    assert {row["max_tokens"] for row in asked_for_summaries(server)} == most


def test_they_are_paid_for_once(pytester, bare, server):
    path = bare(ENDPOINT, LAX)
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    text = path.read_text(encoding="utf-8").replace("samples = 6", "samples = 7\nseed = 3")
    path.write_text(text, encoding="utf-8")
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    assert len(asked_for_summaries(server)) == 4
    assert len(asked_for_excerpts(server)) == 4 * (6 + 7) + 4  # canaries


def test_another_temperature_has_them_written_anew(pytester, bare, server):
    path = bare(ENDPOINT, LAX)
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    text = path.read_text(encoding="utf-8")
    text = text.replace("[suite.summarizer]\n", "[suite.summarizer]\ntemperature = 0.5\n")
    path.write_text(text, encoding="utf-8")
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    temperatures = [row["temperature"] for row in asked_for_summaries(server)]
    assert temperatures == [1.0] * 4 + [0.5] * 4


@pytest.mark.full
def test_xdists_workers_share_them(pytester, bare, server):
    again = '\n[[model]]\nid = "again"\nprovider = "openai"\nendpoint = "base"\n'
    path = bare(ENDPOINT, LAX)
    options = f'[model.options]\nbase_url = "{server.base_url}"\nsystem = "Write."\n'
    path.write_text(path.read_text(encoding="utf-8") + again + options, encoding="utf-8")
    pytester.runpytest("-m", "copyright", "-n", "2").assert_outcomes(passed=2)
    assert len(asked_for_summaries(server)) == 4


def test_only_excerpts_without_an_instruction_are_summarized(pytester, bare, server, stories):
    bare(ENDPOINT, LAX)
    rows = [*stories["held-out"][:1], *without_instructions(stories["held-out"][1:])]
    (pytester.path / "held-out.json").write_text(json.dumps(rows), encoding="utf-8")
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    assert len(asked_for_summaries(server)) == 3
    assert rows[0]["instruction"] in {row["instruction"] for row in asked_for_excerpts(server)}


def test_a_text_file_is_cut_and_summarized(pytester, bare, server, stories):
    bare(('source = "held-out.json"', 'source = "held-out.txt"\nauthor = "A. N."'))
    text = "\n\n".join(record["excerpt_text"] for record in stories["held-out"])
    (pytester.path / "held-out.txt").write_text(text, encoding="utf-8")
    pytester.runpytest("-m", "copyright").assert_outcomes(failed=1)
    excerpts = {row["instruction"] for row in asked_for_excerpts(server)}
    assert len(excerpts) > 1
    assert len(asked_for_summaries(server)) == len(excerpts) + len(stories["training"])
    assert all("voice of A. N." in one for one in excerpts)


@pytest.mark.full
@pytest.mark.parametrize("template", [None, 'instruction_template = "Write {words} words."\n'])
def test_nobody_is_asked_where_no_summary_is_needed(pytester, bare, stories, server, template):
    bare(ENDPOINT, LAX, ("samples = 6\n", f"samples = 6\n{template or ''}"))
    if template is None:
        text = json.dumps(stories["held-out"])
        (pytester.path / "held-out.json").write_text(text, encoding="utf-8")
    pytester.runpytest("-m", "copyright")
    assert asked_for_summaries(server) == []


def test_the_summarizers_draws_stand_apart_in_the_ledger(pytester, bare, capsys):
    from pytest_memleak.cli.main import main

    bare(ENDPOINT, LAX)
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    capsys.readouterr()
    assert main(["ledger", "list", "--json"]) == 0
    rows = {row["book"]: row for row in json.loads(capsys.readouterr().out)["endpoints"]}
    assert rows["summaries of held-out"]["generations"] == 4
    assert rows["held-out"]["generations"] == 24
    named = rows["summaries of held-out"]["endpoint"]
    assert rows["held-out"]["endpoint"] == f"{named}; release 1"


# --- what goes wrong -----------------------------------------------------------------------


def test_a_busy_server_is_asked_again(pytester, bare, server):
    bare(ENDPOINT, LAX)
    server.plan.add(rate_limit("chat", calls=(0, 1)))
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    assert len(asked_for_summaries(server)) == 4


def test_an_empty_answer_is_asked_for_again(pytester, bare, server):
    bare(ENDPOINT, LAX)
    server.plan.add(Fault(FaultKind.EMPTY, "chat", calls=(1,)))
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    assert len(asked_for_summaries(server)) == 5
    assert len({row["instruction"] for row in asked_for_excerpts(server)}) == 4


@pytest.mark.parametrize(
    ("kind", "reason"), [(FaultKind.EMPTY, "empty"), (FaultKind.FILTER, "content_filter")]
)
def test_what_is_withheld_is_inconclusive_and_names_the_excerpt(
    pytester, bare, server, kind, reason
):
    bare(ENDPOINT, LAX)
    server.plan.add(Fault(kind, "chat"))
    result = pytester.runpytest("-m", "copyright")
    result.assert_outcomes(errors=1)
    said = "INCONCLUSIVE: book 'held-out': *no summary of 4 of 4 excerpts in 3 tries: "
    names = ", ".join(f"p_id{number} ({reason})" for number in range(1, 5))
    result.stdout.fnmatch_lines([f"{said}{names}*"])
    assert len(server.books.rows("completion")) == 12
    pytester.runpytest("-m", "copyright").assert_outcomes(errors=1)
    assert len(server.books.rows("completion")) == 12


REFUSAL = "I'm sorry, but I can't help with summarizing that passage"
CANNED = "This service writes nothing about passages of books that somebody else may own today."


@pytest.mark.parametrize(
    ("text", "reason"), [(REFUSAL, "refusal"), (CANNED, "canned"), ("It rains.", "short")]
)
def test_what_is_no_summary_is_not_kept(pytester, bare, server, monkeypatch, stories, text, reason):
    write, calls, never = Reciter.answer, [], [""]

    def refuse(self, name, instruction, **settings):
        answers = write(self, name, instruction, **settings)
        if not instruction.startswith("Summarize"):
            return answers
        calls.append(instruction)
        refuses = calls.count(instruction) == 1 or any(one in instruction for one in never)
        return [replace(one, text=text) for one in answers] if refuses else answers

    monkeypatch.setattr(Reciter, "answer", refuse)
    bare(ENDPOINT, LAX)
    result = pytester.runpytest("-m", "copyright")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"INCONCLUSIVE: *p_id1 ({reason}), p_id2 ({reason}), *"])
    assert len(calls) == 12
    assert asked_for_excerpts(server) == []
    # Two of four never get one: too few to show among themselves that they are canned.
    (pytester.path / ".memleak").rename(pytester.path / "refused")
    never = [one["excerpt_text"] for one in stories["held-out"][2:]]
    calls.clear()
    result = pytester.runpytest("-m", "copyright")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"INCONCLUSIVE: *3 tries: p_id3 ({reason}), p_id4 ({reason}); *"])
    assert asked_for_excerpts(server) == []
    (pytester.path / ".memleak").rename(pytester.path / "two refused")
    never = []
    calls.clear()
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    assert len(calls) == 8
    assert len({row["instruction"] for row in asked_for_excerpts(server)}) == 4


def test_a_server_that_refuses_is_named(pytester, bare):
    bare(
        ENDPOINT,
        LAX,
        ('base_model = "base"\nprice = { input = 2.0, output = 8.0 }', 'base_model = "none"'),
    )
    result = pytester.runpytest("-m", "copyright")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*INCONCLUSIVE: *'held-out': some summaries are missing: openai endpoint*none*404*"]
    )


def test_a_book_without_an_author_is_said_before_anything_is_paid(pytester, bare, server, stories):
    bare(ENDPOINT, LAX)
    rows = [one | {"author_name": ""} for one in without_instructions(stories["held-out"])]
    (pytester.path / "held-out.json").write_text(json.dumps(rows), encoding="utf-8")
    result = pytester.runpytest("-m", "copyright")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the instruction template needs the book's author*"])
    assert server.plan.counts() == {}


@pytest.mark.full
def test_no_text_of_the_book_is_shown(pytester, bare, server, stories):
    bare(ENDPOINT, LAX)
    server.plan.add(Fault(FaultKind.FILTER, "chat"))
    result = pytester.runpytest("-m", "copyright", "-l", "--full-trace", "-vv")
    shown = result.stdout.str() + result.stderr.str()
    assert not any(one["excerpt_text"][:60] in shown for one in stories["held-out"])


@pytest.fixture(scope="module")
def long_story():
    from pytest_memleak.books.build_book import make_book, paper_records
    from pytest_memleak.books.epub import read_epub

    file = Path(__file__).parents[2] / "fixtures/books/the-lamplighter"
    book = make_book(file.name, read_epub(file.with_suffix(".epub")))
    return paper_records(book)[:12], json.loads(file.with_suffix(".summaries.json").read_text())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda texts, own: own, None),
        (lambda texts, own: [*own[1:], own[0]], "0 of 12 instructions resemble their own*"),
        (lambda texts, own: [REFUSAL] * 12, "? of 12 instructions resemble their own*"),
        (lambda texts, own: texts, "prompt overlap is *%; max_prompt_overlap*"),
        (lambda texts, own: ["It rains."] * 12, "12 of 12 instructions have under 10 words of*"),
    ],
    ids=["honest", "shifted", "refused", "copied", "brief"],
)
def test_nothing_is_paid_for_summaries_that_could_not_earn_a_pass(
    pytester, bare, server, long_story, wrong, said
):
    rows, summaries = long_story
    texts = [row["excerpt_text"] for row in rows]
    given = wrong(texts, [summaries[row["excerpt_id"]]["summary"] for row in rows])
    bare(ENDPOINT, ("longest_span = 30", "spans_over = 200"), ("samples = 6\n", "samples = 2\n"))
    asked = [
        row | {"instruction": f"Write a 400 word excerpt about the content below\n\nContent: {one}"}
        for row, one in zip(rows, given, strict=True)
    ]
    (pytester.path / "held-out.json").write_text(json.dumps(asked), encoding="utf-8")
    plan = pytester.runpytest("--memleak-dry-run")
    result = pytester.runpytest("-m", "copyright", "--memleak-evidence=e.json")
    evidence = json.loads((pytester.path / "e.json").read_text())["pairs"][0]
    if said is None:
        assert plan.ret == 0
        assert len(server.books.rows("completion")) == 24 + 5  # canaries
        assert evidence["completeness"]["margins"][0]["value"] == 1
        return
    plan.stdout.fnmatch_lines([f"*tuned/held-out: *{said}"])
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*INCONCLUSIVE: {said}"])
    assert server.plan.counts() == {}


# --- offline, plans and budgets ------------------------------------------------------------


def test_offline_nobody_is_asked(pytester, bare, server):
    bare(ENDPOINT, LAX)
    result = pytester.runpytest("--memleak-offline")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*4 of 4 summaries of its excerpts aren't written yet*"])
    assert server.plan.counts() == {}


def test_offline_the_ledgers_summaries_are_used(pytester, bare, server):
    bare()
    pytester.runpytest("-m", "copyright").assert_outcomes(failed=1)
    server.stop()
    pytester.runpytest("--memleak-offline").assert_outcomes(failed=1)


def test_a_plan_counts_them_and_takes_them_as_long_as_they_may_become(
    pytester, bare, server, stories
):
    bare()
    result = pytester.runpytest("--memleak-dry-run")
    assert result.ret == pytest.ExitCode.OK
    assert server.plan.counts() == {}
    for name in ("held-out", "training"):
        line = next(line for line in result.outlines if line.startswith(f"summaries of {name} "))
        *_, calls, draws, pending, tokens_in, tokens_out, train, cost = line.split()
        most = sum(int(len(words(one["excerpt_text"])) * 4 / 3) + 50 for one in stories[name])
        assert (calls, draws, pending, train) == ("4", "4", "0", "0")
        assert tokens_out == f"{most:,}"
        usd = int(tokens_in.replace(",", "")) * 2e-6 + most * 8e-6
        assert float(cost) == pytest.approx(usd, abs=0.006)
    line = next(line for line in result.outlines if line.startswith("tuned/held-out"))
    *_, calls, draws, _, tokens_in, _, train, cost = line.split()
    assert float(cost) > 0
    pytester.runpytest("-m", "copyright").assert_outcomes(failed=1)
    paid = asked_for_excerpts(server)
    assert len(paid) == int(draws)
    assert len({row["call"] for row in paid}) == int(calls)
    assert 0 < sum(row["prompt_tokens"] for row in paid) <= int(tokens_in.replace(",", ""))
    assert int(train.replace(",", "")) > 0


def test_with_the_summaries_there_the_pair_is_planned(pytester, bare):
    bare(ENDPOINT, LAX)
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1)
    result = pytester.runpytest("--memleak-dry-run")
    result.stdout.no_fnmatch_line("summaries of*")
    line = next(line for line in result.outlines if line.startswith("tuned/held-out"))
    assert line.split()[1:3] == ["0", "0"]


def test_a_budget_holds_for_them_too_and_the_next_run_goes_on(pytester, bare, server):
    bare(ENDPOINT, LAX)
    result = pytester.runpytest("-m", "copyright", "--memleak-budget=0.012")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE: *some summaries are missing: Budget: US$*"])
    rows = server.books.rows("completion")
    assert 0 < len(rows) < 4
    paid = sum(row["prompt_tokens"] * 2e-6 + row["completion_tokens"] * 8e-6 for row in rows)
    assert paid <= 0.012
    pytester.runpytest("-m", "copyright", "--memleak-budget=10").assert_outcomes(passed=1)
    assert len(asked_for_summaries(server)) == 4


def test_a_budget_needs_a_price(pytester, bare, server):
    bare(ENDPOINT, LAX, ("price = { input = 2.0, output = 8.0 }\n", ""))
    result = pytester.runpytest("-m", "copyright", "--memleak-budget=1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a budget needs a price for the summarizer*"])
    assert server.plan.counts() == {}


# --- who may be asked ----------------------------------------------------------------------


FREE = """
[suite.summarizer]
provider = "ngram"
[suite.summarizer.options]
pretraining = ["ferry"]

[limits]"""


def bare_ferry(pytester):
    path = pytester.path / "ferry.json"
    rows = without_instructions(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(rows), encoding="utf-8")


def test_a_paid_one_waits_until_somebody_asks(pytester, suite, server):
    suite(("\n[limits]", SUMMARIZER % server.base_url))
    bare_ferry(pytester)
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*calls openai: run it with -m copyright*"])
    assert server.plan.counts() == {}
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1, failed=1)
    assert len(asked_for_summaries(server)) == 2


def test_a_free_one_runs_at_once_and_reads_books_that_have_no_summaries(pytester, suite):
    # It knows one book only, and writes its summaries in that book's words.
    suite(("\n[limits]", FREE), ("samples = 3", "samples = 3\nmax_prompt_overlap = 1.0"))
    bare_ferry(pytester)
    pytester.runpytest().assert_outcomes(passed=1, failed=1)


def test_recordings_cannot_write(pytester, suite):
    recorded = '[suite.summarizer]\nprovider = "recorded"\noptions = { path = "clean.json" }\n'
    suite(("\n[limits]", f"\n{recorded}\n[limits]"))
    bare_ferry(pytester)
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*suite.summarizer*'recorded'*can't write summaries*"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'base_model = "base"',
            'bse_model = "base"',
            "suite.summarizer.bse_model: unknown key; did you mean 'base_model'?",
        ),
        ('provider = "openai"\nbase_model = "base"', "", "suite.summarizer.provider: missing"),
        (
            'provider = "openai"\nbase',
            'provider = "opnai"\nbase',
            "*unknown provider 'opnai'*openai*",
        ),
        ('base_model = "base"', "temperature = -1", "suite.summarizer.temperature: *got -1"),
        (
            'base_model = "base"',
            'options = { api_key = "sk-0123456789abcdefghij" }',
            "*like a secret*",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error_of_the_file(pytester, bare, old, new, said):
    options = '[suite.summarizer.options]\nbase_url = "%s"\n'
    bare(summarizer=SUMMARIZER.replace(options, "").replace(old, new))
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*{said}*"])
