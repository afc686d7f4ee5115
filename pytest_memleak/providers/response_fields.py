"""Fields of a server's JSON, which may have any value, and a call's completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_memleak.formats.reasoning_and_tool_calls import join_without_answer
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason_from_word
from pytest_memleak.redaction.text import inert

FILTER_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "data_inspection_failed",
        "DataInspectionFailed",
        "invalid_prompt",
        "moderation_blocked",
        "ResponsibleAIPolicyViolation",
    },
)
MOST_CHOICES = 1_000
"""More than any request has; the rest is ignored."""

# More than any request has; a higher count is invalid.
_MOST_TOKENS = 100_000_000
_LONGEST_NAME = 200


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object; empty for any other value."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """Return a JSON list; empty for any other value."""
    return value if isinstance(value, list) else []


def server_name(value: object) -> str | None:
    """Return a server's name for something, in a short line; a non-text's type.

    Without control characters, so that no report or bundle has any.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return f"({type(value).__name__})"
    return inert(value[:_LONGEST_NAME])


def token_count(value: object) -> int | None:
    """Return a number of tokens; None if it can't be one."""
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and 0 <= value <= _MOST_TOKENS
    ):
        return value
    return None


def finish_reason_of_answer(finish_word: object, text: str) -> FinishReason:
    """Return the reason that a server's finish word means; EMPTY for a blank answer."""
    reason = finish_reason_from_word(server_name(finish_word))
    if not reason.withheld and not text.strip():
        return FinishReason.EMPTY
    return reason


def tokens_per_completion(total: int | None, count: int) -> list[int | None]:
    """Divide `total` tokens among `count` completions, as evenly as integers allow."""
    if total is None:
        return [None] * count
    return [(total + count - 1 - place) // count for place in range(count)]


def filtered(n: int) -> list[Completion]:
    """Return `n` unbilled completions of a prompt that a filter rejected."""
    withheld = Completion(
        "",
        FinishReason.CONTENT_FILTER,
        0,
        0,
        finish_word="content_filter",
    )
    return [withheld] * n


def cut_short(n: int, *, max_tokens: int | None) -> list[Completion]:
    """Return `n` completions whose reasoning used up all tokens, which are billed."""
    cut = Completion(
        "",
        FinishReason.EMPTY,
        0,
        max_tokens,
        finish_word="length",
    )
    return [cut] * n


def completions_of(
    texts: Sequence[tuple[str, FinishReason]],
    finish_words: Sequence[str | None],
    other_texts: Sequence[list[str]],
    *,
    apart: list[str],
    prompt: int | None,
    total: int | None,
    served: Served,
    instruction: str = "",
) -> list[Completion]:
    """Return the completions of one call; the first has the prompt's tokens.

    other_texts: per completion, the texts beside its answer
    apart: texts that may belong to any completion; they count with the first
    """
    completions = []
    counts = tokens_per_completion(total, len(texts))
    for place, (text, reason) in enumerate(texts):
        others = [*other_texts[place]]
        prompt_tokens = prompt
        if place == 0:
            others += apart
        elif prompt is not None:
            prompt_tokens = 0
        completion = Completion(
            text,
            reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=counts[place],
            finish_word=finish_words[place],
            served=served,
            reasoning=join_without_answer(others, text, asked=instruction),
        )
        completions.append(completion)
    return completions
