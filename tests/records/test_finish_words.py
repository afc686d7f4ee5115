"""The words that servers have for the end of an answer, in one table."""

import pytest

from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason
from pytest_memleak.records.paper_format import generations_from_records

WORDS = {
    FinishReason.STOP: "stop STOP end_turn eos eos_token stop_sequence COMPLETE",
    FinishReason.LENGTH: "length max_tokens MAX_TOKENS max_output_tokens model_length CONTINUATION",
    FinishReason.CONTENT_FILTER: "content_filter content_filtered content-filter SAFETY SPII",
    FinishReason.RECITATION: "recitation RECITATION blocked_for_recitation",
    FinishReason.REFUSAL: "refusal",
    FinishReason.UNKNOWN: "guardrail_intervened tool_calls null stopped lengthy error",
}
EVERY = [(word, reason) for reason, words in WORDS.items() for word in words.split()]


@pytest.mark.parametrize(("word", "reason"), EVERY)
def test_a_word_means_the_same_from_a_server_and_in_a_file(word, reason):
    assert finish_reason(word) is reason
    answers = [{"generated_text": "Some words.", "finish_reason": word}]
    (recorded,) = generations_from_records([{"excerpt_id": "p_id1", "generations": answers}])
    assert (recorded.finish_reason, recorded.finish_word) == (reason, word)


def test_no_word_is_no_end():
    assert finish_reason(None) is finish_reason("") is FinishReason.UNKNOWN
