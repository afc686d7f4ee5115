"""probe = "continuation": every kind of endpoint is asked with beginnings, and measured."""

import re
import shutil

import pytest
from ledger_file import ledger_file
from suite_files import evidence, write_json, write_suite

from pytest_memleak.books.instructions import CONTINUE_INSTRUCTION
from pytest_memleak.cli.main import main
from pytest_memleak.providers.ngram.ngram_model import NgramModel
from pytest_memleak.providers.ngram.ngram_writer import (
    PARAGRAPH,
    text_to_tokens,
    tokens_to_text,
)
from pytest_memleak.scoring.words import words

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SAMPLES = 3
SUITE = f"""
suite = {{ samples = {SAMPLES}, probe = "continuation", prefix_words = 40 }}
limits = {{ longest_span = 30 }}
book = [{{ id = "held-out", source = "held-out.json" }}]
[[model]]
id = "model"
"""
NGRAM = """
provider = "ngram"
options = { order = ORDER, pretraining = ["held-out"] }
"""


@pytest.fixture
def write(stories):
    """Writes the suite of one model, with some text replaced, and its book."""
    return lambda model, *replacements: write_suite(
        stories, SUITE + model, *replacements
    )


@pytest.fixture
def texts(stories):
    return [record["excerpt_text"] for record in stories["held-out"]]


def asked_in_ledger(pytester):
    """(instruction, temperature) of every prompt, and how many generations there are."""
    with ledger_file(pytester.path) as ledger:
        prompts = ledger.execute(
            "select instruction, temperature from prompts"
        ).fetchall()
        (count,) = ledger.execute("select count(*) from generations").fetchone()
    return [(text.decode(), temperature) for text, temperature in prompts], count


def beginning(text, count=40):
    """What the probe is to ask with, found by hand."""
    end = next(end for end in range(len(text)) if len(words(text[:end])) > count) - 1
    while not text[end - 1].isalnum():
        end -= 1
    return text[:end]


def test_the_probe_asks_with_beginnings_for_samples_canaries_and_greedy_answers(
    pytester, write, texts
):
    write(NGRAM, ("ORDER", "12"))
    _, pair = evidence(pytester, failed=1)
    assert pair["settings"]["probe"]["kind"] == "continuation"
    # Per excerpt a canary, the likeliest continuation, asked twice, and the sampled
    # ones.
    prompts, count = asked_in_ledger(pytester)
    expected = []
    for text in texts:
        expected += [(beginning(text), temperature) for temperature in (0.0, 0.0, 1.0)]
    assert sorted(prompts) == sorted(expected)
    assert count == len(texts) * (SAMPLES + 3)
    assert pair["completeness"]["received"] == len(texts) * SAMPLES


def test_a_model_that_recites_fails_and_prefixes_are_not_measured(
    pytester, write, texts
):
    write(NGRAM, ("ORDER", "12"))
    result, pair = evidence(pytester, "-v", failed=1)
    total = sum(len(words(text)) for text in texts)
    assert pair["book"]["words"] == total - 40 * len(texts)
    # What runs on stands in the rests and in the whole book; it is one passage of the
    # latter.
    over = pair["measures"]["passages_over"]
    assert over["books"] == {"held-out": over["value"]}
    shown = re.findall(r"^ +(?:longest )?passage, ", str(result.stdout), re.MULTILINE)
    assert over["value"] == len(shown) > 2
    assert pair["measures"]["longest_passage"]["end"] <= total


def greedy_run(pytester, write):
    limit = ("longest_span = 30", "greedy_longest_span = 1")
    write(NGRAM, ("ORDER", "4"), limit)
    return evidence(pytester, "--memleak-html=page.html")


def test_reports_show_the_place_of_a_span_in_the_likeliest_continuation(
    pytester, write
):
    result, pair = greedy_run(pytester, write)
    result.stdout.fnmatch_lines(["*greedy_longest_span * > 1*"])
    span = pair["measures"]["greedy_longest_span"]
    in_prompts = 40 * int(span["excerpt_id"].removeprefix("p_id"))
    ends = [span[end] + in_prompts for end in ("start", "end")]
    where = "{}, words {:,}-{:,}, generation 0".format(span["excerpt_id"], *ends)
    shown = f"*span in the most likely answer, {span['value']} words: *{where}*"
    result.stdout.fnmatch_lines([shown])
    page = (pytester.path / "page.html").read_text("utf-8")
    assert f"{pair['book']['words']:,} words, not counting prompts; pair" in page


def likeliest_continuations(stories, texts):
    """(excerpt id, prefix, rest) of every text, and the model's own continuations by id."""
    model = NgramModel([text_to_tokens(PARAGRAPH.join(texts))], order=4)
    parts, answers = [], {}
    for record, text in zip(stories["held-out"], texts, strict=True):
        prefix = beginning(text)
        rest = text.removeprefix(prefix)
        tokens = model.sample(
            text_to_tokens(prefix),
            max_tokens=int(len(rest.split()) * 4 / 3) + 50,
            temperature=0,
            uniform=lambda: pytest.fail("nothing is drawn"),
        )
        parts.append((record["excerpt_id"], prefix, rest))
        answers[record["excerpt_id"]] = [tokens_to_text(tokens)]
    return parts, answers


def test_the_likeliest_continuations_agree_with_the_model_itself(
    pytester, write, stories, texts, oracle
):
    _, pair = greedy_run(pytester, write)
    expected = oracle.measure_continuations(*likeliest_continuations(stories, texts))
    span = pair["measures"]["greedy_longest_span"]
    assert pair["measures"]["greedy_bmc"]["value"] == expected["bmc"]
    assert span["value"] == expected["longest_span"][0] == span["end"] - span["start"]
    assert pair["measures"]["bmc"]["value"] != expected["bmc"]


def test_a_dry_run_plans_samples_canaries_and_greedy_answers(pytester, write):
    write(NGRAM, ("ORDER", "2"))
    plan = [
        f"model/held-out  *8 *{4 * (SAMPLES + 1)} *",
        "model/held-out (greedy) *4 *8 *",
    ]
    pytester.runpytest("--memleak-dry-run").stdout.fnmatch_lines(plan)


@pytest.fixture
def babbled(pytester, write):
    """The pair of a model that babbles, whose generations are stored."""
    write(NGRAM, ("ORDER", "2"))
    return evidence(pytester, passed=1)[1]


def test_a_model_that_babbles_passes_and_is_not_asked_again(pytester, babbled):
    _, again = evidence(pytester, "--memleak-offline", passed=1)
    assert again["measures"] == babbled["measures"]
    assert again["completeness"] == babbled["completeness"]
    assert main(["verify", "evidence.json"]) == 0


def test_another_prefix_needs_other_generations(pytester, write, babbled):
    write(NGRAM, ("ORDER", "2"), ("prefix_words = 40", "prefix_words = 41"))
    _, pair = evidence(pytester, "--memleak-offline", errors=1)
    assert (pair["verdict"], pair["completeness"]["received"]) == ("INCONCLUSIVE", 0)


def test_missing_greedy_answers_leave_the_pair_inconclusive(pytester, babbled):
    with ledger_file(pytester.path) as ledger:
        ledger.execute(
            "delete from generations where prompt ="
            " (select min(id) from prompts where temperature = 0)"
        )
    _, pair = evidence(pytester, "--memleak-offline", errors=1)
    missing = "greedy: 6 of 8 requested generations received"
    assert pair["reasons"][0].startswith(missing)


def test_a_continuation_template_needs_no_summaries(pytester, write, stories, texts):
    template = 'continuation_template = "Go on: {prefix}", prefix_words'
    write(NGRAM, ("ORDER", "2"), ("prefix_words", template))
    bare = [
        {**record, "instruction": "", "detail": ""} for record in stories["held-out"]
    ]
    write_json("held-out.json", bare)
    evidence(pytester, passed=1)
    prompts, _ = asked_in_ledger(pytester)
    assert {instruction for instruction, _ in prompts} == {
        f"Go on: {beginning(text)}" for text in texts
    }


def test_a_recorded_model_cannot_be_prompted_by_continuation(pytester, write):
    write('provider = "recorded"\n[model.options]\npath = "held-out.json"\n')
    _, pair = evidence(pytester, errors=1)
    reason = "model is recorded: it can't be prompted by the probe 'continuation'"
    assert pair["reasons"][0].startswith(reason)


def test_a_pair_may_have_a_probe_of_its_own(pytester, write, texts):
    instructed = (
        '\n[[pair]]\nmodel = "model"\nbook = "held-out"\nprobe = "instruction"\n'
    )
    write(NGRAM + instructed, ("ORDER", "2"))
    _, pair = evidence(pytester, passed=1)
    assert "greedy_bmc" not in pair["measures"]
    assert pair["book"]["words"] == sum(len(words(text)) for text in texts)


def test_chat_models_get_an_instruction_around_the_prefix(
    pytester, write, server, texts
):
    model = 'provider = "openai"\nbase_model = "base"\nweights_version = "1"\n'
    write(f'{model}[model.options]\nbase_url = "{server.base_url}"\n')
    # The n-gram model behind it ends early more often than not.
    _, pair = evidence(pytester, errors=1)
    rests = {
        prefix: text.removeprefix(prefix)
        for text in texts
        for prefix in [beginning(text)]
    }
    assert {row["instruction"] for row in server.books.rows("completion")} == {
        CONTINUE_INSTRUCTION.format(prefix=prefix, words=len(rest.split()))
        for prefix, rest in rests.items()
    }
    assert sorted({row["temperature"] for row in server.books.rows("completion")}) == [
        0.0,
        1.0,
    ]
    assert {"greedy_bmc", "greedy_longest_span"} <= pair["measures"].keys()


@pytest.mark.full
def test_local_weights_go_on_with_the_prefix_itself(pytester, write, local_base, texts):
    shutil.copytree(local_base, pytester.path / "base")
    write(
        'provider = "transformers"\nbase_model = "base"\n[model.options]\nthreads = '
        "1\n",
        ("longest_span = 30", "longest_span = 5"),
    )
    result, pair = evidence(pytester, run="runpytest_subprocess")
    # Weights that know nothing write word salad, each draw its own: no pass, and
    # nothing recited.
    result.assert_outcomes(errors=1)
    assert re.search(r"unreadable|don't resemble the book's prose", pair["reasons"][0])
    assert pair["measures"]["longest_span"]["value"] <= 5
    prompts, _ = asked_in_ledger(pytester)
    assert {instruction for instruction, _ in prompts} == set(map(beginning, texts))
    assert pair["model"]["endpoint"].endswith("#text")
