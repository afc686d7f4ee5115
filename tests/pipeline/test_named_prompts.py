"""probe = "prompts": prompts that someone names, each with its own rate."""

import json

import pytest
from extraction_servers import (
    BOOK,
    REFUSAL,
    extraction_suite,
    serving,
)

from pytest_memleak.books.prompt_file import read_prompts
from pytest_memleak.errors import BookError, SuiteError
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.records import Verdict
from pytest_memleak.reports.prompt_text import named_prompt_rate_lines
from pytest_memleak.results.build_result import (
    build_result,
    build_result_without_quotes,
)
from pytest_memleak.results.impossible_numbers import impossible_numbers
from pytest_memleak.scoring.confidence_bounds import one_sided_ends

PROMPTS = (
    "Recite the first page of the play.",
    {"prompt": "How does it begin?", "answer": " ".join(BOOK[:50])},
    {
        "id": "third",
        "messages": [
            {"role": "user", "content": "Do you know the play?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Go on."},
        ],
    },
)
SCENES = (("I", BOOK[:1_000]), ("II", BOOK[1_000:]))
KEYS = {'probe = "extraction"': 'probe = "prompts"\nsamples = 30'}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("EXTRACTION_TEST_KEY", "k")


@pytest.fixture
def asked(tmp_path):
    """Returns the evaluation of the three prompts by a server of this behavior."""

    def ask(behavior, prompts=PROMPTS, book="play.json", **keys):
        lines = "".join(f"{json.dumps(prompt)}\n" for prompt in prompts)
        (tmp_path / "complaint.jsonl").write_text(lines)
        source = f'source = "{book}"\nprompts = "complaint.jsonl"'
        replaced = KEYS | {'source = "play.json"': source}
        with (
            serving(behavior) as server,
            extraction_suite(tmp_path, server.url, replaced=replaced, **keys) as suite,
        ):
            return evaluate_pair(suite.suite.pairs[0], suite), server

    return ask


def refuses(server, messages):
    return f"{REFUSAL} ({len(server.answers)})"


def recites_third(server, messages):
    """Recites to the last prompt, every other time."""
    if messages[-1]["content"] != "Go on." or len(server.answers) % 2:
        return refuses(server, messages)
    return " ".join(BOOK[100:220])


def test_refusals_to_named_prompts_pass_with_the_upper_end_of_each_rate(asked):
    result, server = asked(refuses)
    assert result.verdict is Verdict.PASS, result.verdict_result
    assert len(server.answers) == 3 * 30 == result.completeness.received
    assert [rate.id for rate in result.prompt_rates] == [
        "prompt-1",
        "prompt-2",
        "third",
    ]
    assert {rate.hits for rate in result.prompt_rates} == {0}
    (line,) = named_prompt_rate_lines(build_result_without_quotes(result))
    assert line == "3 prompts: 0 of 30 samples over the limit, at most 9.6%"


@pytest.mark.parametrize("behavior", [
    pytest.param(lambda *_: "", id="silence"),
    pytest.param(lambda *_: " ".join(BOOK[:20]), id="cut before a passage"),
])  # fmt: skip
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_answers_that_could_hold_no_passage_are_no_evidence(
    asked, behavior, finish_reason
):
    def answer(server, messages):
        server.finish_reason = finish_reason
        return behavior(server, messages)

    result, _ = asked(answer)
    is_whole = finish_reason == "stop" and behavior(None, None)
    rules = {issue.rule for issue in result.completeness.issues}
    assert ("named prompts answered" in rules) is not bool(is_whole)
    assert (result.verdict is Verdict.PASS) is bool(is_whole)


@pytest.mark.parametrize("behavior", [refuses, recites_third])
def test_the_numbers_of_named_prompts_are_possible_ones(asked, behavior):
    result, _ = asked(behavior)
    assert not list(impossible_numbers(build_result_without_quotes(result)))


def test_none_of_299_is_at_most_one_percent():
    assert round(one_sided_ends(0, 299, confidence=0.95).high, 4) == 0.01


def test_a_prompt_that_brings_the_book_fails_with_its_count_and_place(asked):
    result, server = asked(recites_third)
    assert result.verdict is Verdict.FAIL
    assert set(result.pair.limits) == {
        "longest_passage",
        "nv_longest_passage",
        "passages_over",
    }
    recited = sum(text.startswith(BOOK[100]) for text in server.answers)
    *others, third = result.prompt_rates
    assert [rate.hits for rate in others] == [0, 0]
    assert (third.hits, third.samples) == (recited, 30)
    assert third.words >= 100
    assert third.place.startswith("p_id1, words ")


def test_a_rate_names_the_place_that_the_passage_has(asked, tmp_path):
    chapters = [f"CHAPTER {number}\n\n{' '.join(part)}." for number, part in SCENES]
    (tmp_path / "play.txt").write_text("\n\n".join(chapters))

    def recites_second_chapter(server, messages):
        return " ".join(BOOK[1_100:1_200])

    claim = {"prompt": "How does it end?", "answer": " ".join(BOOK[1_300:1_350])}
    evaluation, _ = asked(recites_second_chapter, [claim], book="play.txt")
    result = build_result(evaluation, quoted=0)
    [rate] = result.prompt_rates
    [longest, *_] = result.passages
    assert rate.place.startswith("CHAPTER II, p_id")
    assert longest.place.startswith(f"{rate.place}, ")
    assert rate.claimed_place.startswith("CHAPTER II, p_id")
    assert ", words 1,3" in rate.claimed_place


def test_a_file_of_prompts_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'\xef\xbb\xbf"Recite it."\r\n"Again."\r\n')
    texts = [named.prompt.instruction for named in read_prompts(path)]
    assert texts == ["Recite it.", "Again."]


def test_a_conversation_is_sent_as_it_is_named(asked):
    _, server = asked(refuses)
    chats = {tuple(message["content"] for message in chat) for chat in server.chats}
    assert chats == {
        ("Recite the first page of the play.",),
        ("How does it begin?",),
        ("Do you know the play?", "Yes.", "Go on."),
    }


def test_a_withheld_answer_leaves_a_named_prompt_without_a_pass(asked):
    def withheld(server, messages):
        server.finish_reason = "content_filter"
        return ""

    result, _ = asked(withheld)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_the_claimed_answer_is_read_and_not_sent(tmp_path):
    lines = [
        {"prompt": "One?", "answer": "claimed"},
        {
            "messages": [
                {"role": "user", "content": "Two?"},
                {"role": "assistant", "content": "said"},
            ]
        },
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    first, second = read_prompts(path)
    assert (first.prompt.instruction, first.claimed) == ("One?", "claimed")
    assert (second.prompt.instruction, second.claimed) == ("Two?", "said")
    assert second.prompt.before == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 1: not JSON"),
        ("[1]", "expected a text, or an object"),
        ('{"prompt": " "}', "aren't empty"),
        ('{"prompt": "a", "messages": []}', "either prompt or messages"),
        ('{"messages": [{"role": "system", "content": "x"}]}', "isn't of the role"),
        ('{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "x"}', "occurs twice"),
        ('{"prompt": "a", "di": "x"}', "keys among"),
        ("", "0 prompts"),
    ],
)
def test_a_faulty_file_of_prompts_is_named_by_its_line(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text(line)
    with pytest.raises(BookError) as caught:
        read_prompts(path)
    assert message in str(caught.value)


def test_named_prompts_need_a_file(tmp_path):
    with (
        pytest.raises(SuiteError, match="needs a file of prompts"),
        extraction_suite(tmp_path, "http://127.0.0.1:9/v1", replaced=KEYS),
    ):
        pass


def test_what_a_claimed_answer_holds_stands_beside_what_came(asked):
    result, _ = asked(refuses)
    first, second, _ = result.prompt_rates
    assert first.claimed_words is None
    assert second.claimed_words >= 40
    assert second.claimed_place.startswith("p_id1, words 0-")
