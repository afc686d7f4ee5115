"""What real servers say of tokens, filters and credit, and the key that it leads to."""

import pytest

from pytest_memleak.errors import CallTimeout
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    ErrorResponse,
    RequestRejected,
)
from pytest_memleak.providers.error_bodies import error_code
from pytest_memleak.providers.error_meanings import (
    is_about_key,
    is_moderation,
    lacks_model,
    token_limit,
)

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
        (400, None, "litellm.ContentPolicyViolationError: VertexAIException - blocked"),
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
    [
        (402, None),
        (429, "insufficient_quota"),
        (400, "insufficient_balance"),
        (422, "budget_exceeded"),
        (429, "budget_exceeded"),
    ],
)
def test_an_account_without_credit_is_final_and_says_so(status, code):
    error = CallErrorFactory("p", "m", "c").of_response(
        ErrorResponse(status, "No", code=code)
    )
    assert isinstance(error, RequestRejected)
    assert error.hint == "add credit to the account, or raise its limit"


def test_a_prompt_over_the_whole_context_asks_for_a_longer_one():
    limit = token_limit(
        "request (6000 tokens) exceeds the available context size (4096 tokens), "
        "try increasing it"
    )
    assert limit.hint == (
        "serve the model with a longer context: the prompt alone has 6,000 tokens"
    )


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("400", "no_db_connection", "no_db_connection"),  # LiteLLM
        (400, "exceed_context_size_error", "exceed_context_size_error"),  # llama.cpp
        ("insufficient_quota", "requests", "insufficient_quota"),
        (502, None, None),
    ],
)
def test_an_error_has_the_name_that_isnt_a_number(code, kind, name):
    assert error_code({"error": {"code": code, "type": kind}}) == name


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, None, "Unauthorized"),
        (400, "no_db_connection", "No connected db."),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        (400, None, "Incorrect API key provided: xai-0."),
    ],
)
def test_a_wrong_key_is_seen_in_any_form(status, code, message):
    assert is_about_key(status, code, message)


@pytest.mark.parametrize(
    ("status", "message"),
    [(429, "Rate limit exceeded for api_key: 0f"), (403, "No access to this model")],
)
def test_other_rejections_are_about_no_key(status, message):
    assert not is_about_key(status, None, message)


@pytest.mark.parametrize(
    "message",
    [
        "/chat/completions: Invalid model name passed in model=m. Call `/v1/models`",
        "Model Not Exist",
        "m is not a valid model ID",
        "Invalid model: m",
    ],
)
def test_a_missing_model_is_seen_in_any_form(message):
    assert lacks_model(400, "invalid_request_error", message)
    assert not lacks_model(500, None, message)


@pytest.mark.parametrize("status", [408, 504, 524])
def test_a_proxys_timeout_is_one_of_the_call(status):
    error = CallErrorFactory("p", "m", "c").of_response(
        ErrorResponse(status, "No answer from upstream")
    )
    assert isinstance(error, CallTimeout)
    assert "raise the timeout of the proxy" in error.hint
