"""What real servers say of tokens, filters and credit, and the key that it leads to."""

import pytest

from pytest_memleak.providers.call_errors import Failing, Refusal, Refused
from pytest_memleak.providers.server_complaints import is_moderation, token_limit

MAX_TOKENS = {
    "max_tokens is too large: 9000. This model supports at most 4096 completion tokens, "
    "whereas you provided 9000.": 4096,
    "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum "
    "context length is 2048 tokens and your request has 100 input tokens "
    "(4000 > 2048 - 100).": 1948,
    "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens "
    "for this model": 64000,
    "it has a maxOutputTokens value of 100000 but the supported range is from 1 "
    "(inclusive) to 65537 (exclusive).": 65536,
    "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be "
    "[1, 8192]": 8192,
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8,192]": 8192,
    "`max_tokens` must be less than or equal to `16384`": 16384,
    "This model's maximum context length is 4,096 tokens. However, you requested 5000 "
    "tokens (1000 in the messages, 4000 in the completion).": 3096,
    "the request exceeds the available context size": None,
    "request (6000 tokens) exceeds the available context size (4096 tokens)": None,
    "Could not finish the message because max_tokens or model output limit was "
    "reached. Please try again with higher max_tokens.": None,
}
OTHERS = ["n must be at most 4", "Invalid API key", "Token expired: sign in again"]


@pytest.mark.parametrize("message", MAX_TOKENS)
def test_a_limit_of_tokens_names_the_key_and_the_number(message):
    limit = token_limit(message)
    assert limit.most == MAX_TOKENS[message]
    assert "max_tokens" in limit.hint
    if limit.most:
        assert f"max_tokens = {limit.most}" in limit.hint


@pytest.mark.parametrize("message", OTHERS)
def test_other_errors_are_about_no_limit_of_tokens(message):
    assert token_limit(message) is None


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "invalid_request_error", "Content Exists Risk"),
        (400, "data_inspection_failed", "Input data may contain inappropriate content"),
        (403, None, "X requires moderation. Your input was flagged for 'violence'."),
        (400, "content_filter", "The response was filtered"),
        (403, "permission-denied", "Content violates usage guidelines."),
    ],
)
def test_a_filters_word_on_a_prompt_is_moderation(status, code, message):
    assert is_moderation(status, code, message)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "Content Exists Risk"),
        (403, "Your key may not use this model"),
        (401, "Your account was flagged"),
        (403, "Your account was flagged"),
    ],
)
def test_an_error_of_the_account_is_no_moderation(status, message):
    assert not is_moderation(status, None, message)


@pytest.mark.parametrize(
    ("status", "code"),
    [(402, None), (429, "insufficient_quota"), (400, "insufficient_balance")],
)
def test_an_account_without_credit_is_final_and_says_so(status, code):
    error = Failing("p", "m", "c").refusal(Refusal(status, "No", code=code))
    assert isinstance(error, Refused)
    assert error.hint == "add credit to the account, or raise its limit"
