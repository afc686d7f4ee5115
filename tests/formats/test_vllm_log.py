"""The log of a vLLM server: its lines are as `vllm/entrypoints/logger.py` formats them."""

import gzip
from pathlib import Path

import pytest

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_files import read_blocks
from pytest_memleak.formats.rows_as_records import record_of

HEAD = "INFO 12-02 20:31:38 [logger.py:43]"
PROMPT = 'Tell of the "harbor",\nand it\'s ship.'
ANSWER = (
    "She walks to the harbor: output: 'x', \\n and\n\tfinish_reason: it's \"done\"."
)


def received(request_id, prompt):
    """As a release of 2025 logs it; see the file of vLLM named above."""
    return (
        f"{HEAD} Received request {request_id}: prompt: {prompt!r}, params: SamplingParams(n=1), "
        "prompt_token_ids: None, prompt_embeds shape: None, lora_request: None."
    )


def generated(request_id, output, kind="", end="stop", ids="None"):
    return (
        f"{HEAD} Generated response {request_id}{kind}: output: {output!r}, "
        f"output_token_ids: {ids}, finish_reason: {end}"
    )


def rows_of(*lines, name="vllm.log"):
    data = "".join(f"{line}\n" for line in lines).encode()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    (block,) = read_blocks(Path(name))
    return [(number, record_of(row), where) for number, row, where in block.places()]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["vllm.log", "vllm.log.gz"])
def test_a_response_has_its_requests_prompt_and_its_line(name):
    result = rows_of(
        f"{HEAD} Started server process [1]",
        received("cmpl-1-0", PROMPT),
        received("cmpl-2-0", "Another."),
        generated("cmpl-2-0", "No.", ids="[1, 2]"),
        generated("cmpl-1-0", ANSWER),
        name=name,
    )
    assert [(number, where) for number, _, where in result] == [
        (4, f"{name}, line 4"),
        (5, f"{name}, line 5"),
    ]
    records = [record for _, record, _ in result]
    answers = [record["generations"][0]["generated_text"] for record in records]
    assert answers == ["No.", ANSWER]
    assert [record["instruction"] for record in records] == ["Another.", PROMPT]
    assert [record["excerpt_id"] for record in records] == ["cmpl-2-0", "cmpl-1-0"]


def test_a_later_releases_prompt_and_response_are_read():
    result = rows_of(
        f"DEBUG 12-02 20:31:38 [logger.py:43] Request a details: prompt: {PROMPT!r}, "
        "prompt_token_ids: None, prompt_embeds shape: None.",
        f"{HEAD} Received request a: params: SamplingParams(n=1), lora_request: None.",
        f"{HEAD} Generated response a: output: {ANSWER!r}, finish_reason: length",
    )
    ((_, record, _),) = result
    assert record["instruction"] == PROMPT
    (answer,) = record["generations"]
    assert (answer["generated_text"], answer["finish_reason"]) == (ANSWER, "length")


def test_a_streamed_response_is_read_once():
    delta = " (streaming delta)"
    lines = [
        received("a", PROMPT),
        generated("a", "She ", delta, "None"),
        generated("a", "walks.", delta, "None"),
    ]
    complete = generated("a", "She walks.", " (streaming complete)")
    for whole in (lines, [*lines, complete]):
        ((_, record, _),) = rows_of(*whole)
        (answer,) = record["generations"]
        assert answer["generated_text"] == "She walks."


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([received("a", PROMPT)], "requests of vLLM, but no responses"),
        (['127.0.0.1 - - "GET / HTTP/1.1" 200'], "no log of vLLM"),
    ],
)
def test_a_log_without_responses_is_an_error(lines, cause):
    with pytest.raises(RecordsError) as caught:
        rows_of(*lines)
    assert cause in str(caught.value)
    assert "--enable-log-outputs" in caught.value.fix
