"""What a server's error means: a filter's word, no credit, or a limit of tokens.

Servers have no common codes for these, so their words count, too.

    is_moderation(400, "invalid_request_error", "Content Exists Risk")       DeepSeek
    is_moderation(400, "data_inspection_failed", "...")                      Qwen
    is_moderation(403, None, "... your input was flagged")                   OpenRouter
    token_limit("max_tokens is too large: 9000. ... at most 4096 ...")       OpenAI
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.providers.response_fields import FILTER_CODES
from pytest_memleak.redaction.text import QUOTED_WORDS, WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 2000
_REJECTIONS = {
    HTTPStatus.OK,  # some routers send their errors with it
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
}
# Each is about one prompt, not about the account.
_MODERATION = re.compile(
    r"content exists risk"
    r"|data[_ ]inspection[_ ]failed"
    r"|(?:input|output) data may contain inappropriate content"
    r"|(?:input|prompt|request|content|message) was flagged"
    r"|was rejected because it was considered high risk"
    r"|content violates usage guidelines"
    r"|responsibleaipolicyviolation"
    r"|content management policy"
    r"|content[_ ]filter(?:ed)?\b"
    r"|contentpolicyviolation"
    r"|prompt was (?:filtered|blocked)"
    r"|blocked by (?:the |our )?(?:content|safety|moderation)",
    re.IGNORECASE,
)
# A wrong key. LiteLLM's proxy looks for one in a database, which it may not have.
_KEY = re.compile(r"\bapi[_ -]?key\b|no_db_connection", re.IGNORECASE)
_KEY_REJECTIONS = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}
_NO_MODEL = re.compile(
    r"(?:invalid|unknown|no such) model\b|model (?:does )?not (?:exist|found)"
    r"|not a valid model|model_not_found",
    re.IGNORECASE,
)
_MODEL_REJECTIONS = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
# Credit, and limits of tokens.
NO_CREDIT = "add credit to the account, or raise its limit"
OUT_OF_MONEY = frozenset(
    {
        "billing_hard_limit_reached",
        "budget_exceeded",
        "exceeded_current_quota_error",
        "insufficient_balance",
        "insufficient_quota",
    },
)
MORE_TOKENS = (
    "raise max_tokens in [[model]]: a reasoning model uses tokens before it answers"
)
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NAME = r"max(?:imum)?[_ ]?(?:completion|output|new)?[_ ]?tokens?"
_TOO_LARGE = re.compile(
    rf"\b{_NAME}\b.{{0,80}}?"
    r"(?:too (?:large|high)|exceed|less than or equal|at most|must be (?:<|less|in)"
    r"|(?:supported|valid) range|should be (?:<|in|\[)|\d{1,9} > \d)"
    rf"|range of {_NAME}",
    re.IGNORECASE | re.DOTALL,
)
_TOO_SMALL = re.compile(
    rf"{_NAME} or model output limit was reached|try again with higher {_NAME}",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context[_ ](?:length|size|window)|exceed_context_size"
    r"|(?:prompt|input) is too long|inputs? tokens? \+ .{0,20}max_new_tokens",
    re.IGNORECASE,
)
# What stands before the highest number that a message allows.
_HIGHEST = (
    re.compile(r"at most (\d{1,9})", re.IGNORECASE),
    re.compile(r"\d > (\d{1,9})\b(?! ?- ?\d)"),
    re.compile(r"\[\s?\d{1,9}\s?,\s?(\d{1,9})\s?\]"),
    re.compile(r"to (\d{1,9}) \(inclusive\)", re.IGNORECASE),
    re.compile(r"(?:less than or equal to|<=) ['`]?(\d{1,9})", re.IGNORECASE),
)
_EXCLUSIVE = re.compile(r"to (\d{1,9}) \(exclusive\)", re.IGNORECASE)
_CONTEXT_LENGTH = (
    re.compile(r"context (?:length|size|window)\D{0,30}?(\d{2,9})", re.IGNORECASE),
)
_INPUT_TOKENS = (
    re.compile(r"(\d{1,9}) (?:input tokens|in the (?:messages|prompt|input))"),
    re.compile(r"request \((\d{1,9}) tokens\)"),
    re.compile(r"(?:messages|prompt|input) (?:resulted in|has|contains) (\d{1,9})"),
)


# Words of servers' errors that novels hardly have.
_OF_ERRORS = re.compile(
    r"tokens?|completions?|prompts?|parameters?|param|endpoints?|api|json|https?|url"
    r"|invalid|validation|(?:un)?supported|exceeds?|exceeded|max|maximum|context|quota"
    r"|billing|credits?|error|model|request|requested|requests|server|provider|litellm"
    r"|timeouts?|fallbacks?",
    re.IGNORECASE,
)


class TokenLimit(NamedTuple):
    """A server's limit of tokens that a request exceeded.

    most: the highest max_tokens that the server names, if it names one
    hint: the key to change
    is_cut: whether the limit ended an answer, instead of being too high
    """

    most: int | None
    hint: str
    is_cut: bool = False


def is_moderation(status: int, code: str | None, message: str) -> bool:
    """Tell whether an error is a filter's word on one prompt."""
    if code in FILTER_CODES:
        return True
    is_rejection = status in _REJECTIONS
    return is_rejection and _MODERATION.search(message[:_LONGEST]) is not None


def is_about_key(status: int, code: str | None, message: str) -> bool:
    """Tell whether an error says that the key is wrong, whatever its status."""
    if status == HTTPStatus.UNAUTHORIZED:
        return True
    words = f"{code} {message[:_LONGEST]}"
    return status in _KEY_REJECTIONS and _KEY.search(words) is not None


def lacks_model(status: int, code: str | None, message: str) -> bool:
    """Tell whether an error says that the server has no model of that name."""
    words = f"{code} {message[:_LONGEST]}"
    return status in _MODEL_REJECTIONS and _NO_MODEL.search(words) is not None


def reads_as_error(message: str) -> bool:
    """Tell whether each 13 words of a message have one that errors have, not books."""
    ordinary = 0
    for word in WORD.findall(message):
        ordinary += 1
        if _OF_ERRORS.fullmatch(word):
            ordinary = 0
        if ordinary > QUOTED_WORDS:
            return False
    return True


def lacks_credit(status: int, code: str | None) -> bool:
    """Tell whether an error is final until someone pays."""
    return status == HTTPStatus.PAYMENT_REQUIRED or code in OUT_OF_MONEY


def token_limit(message: str) -> TokenLimit | None:
    """Return the limit of tokens that an error is about; None for other errors."""
    text = _GROUPED.sub("", message[:_LONGEST])  # 16,384 is a number
    if _TOO_SMALL.search(text):
        return TokenLimit(None, MORE_TOKENS, is_cut=True)
    if _CONTEXT.search(text):
        return _context_limit(text)
    if not _TOO_LARGE.search(text):
        return None
    most = _highest_token_limit(text)
    if most is None:
        return TokenLimit(None, "lower max_tokens in [[model]]")
    return TokenLimit(most, f"set max_tokens = {most} in [[model]], or less")


def _highest_token_limit(text: str) -> int | None:
    """Return the highest number of tokens that a message allows."""
    if match := _EXCLUSIVE.search(text):
        return int(match[1]) - 1
    return _first_number(_HIGHEST, text)


def _context_limit(text: str) -> TokenLimit:
    """Return what a short context leaves for the answer."""
    length = _first_number(_CONTEXT_LENGTH, text)
    prompt = _first_number(_INPUT_TOKENS, text)
    longer = "serve the model with a longer context"
    if length and prompt:
        room = length - prompt
        if room <= 0:
            return TokenLimit(None, f"{longer}: the prompt alone has {prompt:,} tokens")
        hint = f"set max_tokens = {room} in [[model]], or less; or {longer}"
        return TokenLimit(room, hint)
    return TokenLimit(None, f"lower max_tokens in [[model]], or {longer}")


def _first_number(patterns: Sequence[re.Pattern[str]], text: str) -> int | None:
    for pattern in patterns:
        if match := pattern.search(text):
            return int(match[1])
    return None
