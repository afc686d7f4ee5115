"""The completions in a response of OpenAI's form, of a chat or of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.providers.response_fields import (
    MOST_CHOICES,
    answer_reason,
    as_list,
    as_mapping,
    completions_of,
    server_name,
    token_count,
)
from pytest_memleak.records import FinishReason
from pytest_memleak.records.provenance import server_fingerprint


def whole_count(
    total: int | None,
    answers: Sequence[tuple[str, FinishReason]],
    *,
    max_tokens: int | None,
) -> int | None:
    """Return the completion tokens of all choices, also if the server counts one.

    answers: the choices' texts and reasons. The total is that of one choice if it fits
        into `max_tokens` but is less than the choices' words, or than truncated choices
        must have.
    """
    count = len(answers)
    if total is None or max_tokens is None or count < 2 or total > max_tokens:  # noqa: PLR2004
        return total
    floor = sum(
        max_tokens if reason is FinishReason.LENGTH else len(text.split())
        for text, reason in answers
    )
    return total * count if total < floor else total


def read_completions(
    answer: object, *, max_tokens: int | None = None, instruction: str = ""
) -> list[Completion]:
    """Return the completions in a chat or text completion, in its choices' order.

    Empty if `answer` has no choices or another form.

    max_tokens: the limit per choice, to detect a server that counts only one choice's
        tokens
    instruction: not text of the model if a server repeats it
    """
    if not isinstance(answer, Mapping):
        return []
    listed = as_list(answer.get("choices"))[:MOST_CHOICES]
    choices = [choice for choice in listed if isinstance(choice, Mapping)]
    texts = [_text_and_reason(choice) for choice in choices]
    usage = as_mapping(answer.get("usage"))
    prompt = token_count(usage.get("prompt_tokens"))
    total = whole_count(
        token_count(usage.get("completion_tokens")), texts, max_tokens=max_tokens
    )
    served = served_of(answer)
    # The field `refusal` counts, whatever the finish reason.
    words = [
        "refusal"
        if reason is FinishReason.REFUSAL
        else server_name(choice.get("finish_reason"))
        for choice, (_, reason) in zip(choices, texts, strict=True)
    ]
    apart = texts_in([choice for choice in listed if not isinstance(choice, Mapping)])
    apart += _texts_of(answer, but=("choices",))
    return completions_of(
        texts,
        words,
        [_beside(choice) for choice in choices],
        apart=apart,
        prompt=prompt,
        total=total,
        served=served,
        instruction=instruction,
    )


def served_of(answer: Mapping[str, Any]) -> Served:
    """Return the model that served a response, as the response states it."""
    model, fingerprint, response_id = (
        server_name(answer.get(key)) for key in ("model", "system_fingerprint", "id")
    )
    return Served(model, server_fingerprint(fingerprint), response_id)


def _text_and_reason(choice: Mapping[str, Any]) -> tuple[str, FinishReason]:
    message = as_mapping(choice.get("message"))
    text = _text(message.get("content")) or _text(choice.get("text"))
    refusal = _text(message.get("refusal"))
    if refusal:
        return text or refusal, FinishReason.REFUSAL
    return text, answer_reason(choice.get("finish_reason"), text)


def _beside(choice: Mapping[str, Any]) -> list[str]:
    """Return all text beside the answer, by any name: a passage there is a passage."""
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return _texts_of(choice)
    content = message.get("content")
    texts = _texts_of(message, but=("content",))
    texts += _texts_of(choice, but=("message",))
    if not isinstance(content, str):
        # All at once: a stream has parts of less than a word.
        texts += texts_in(
            [_beside_answer(part) for part in as_list(content)] or content
        )
    return texts


def _beside_answer(part: object) -> object:
    """Return what `_text` doesn't read of a part of the content, but for its type."""
    if not isinstance(part, Mapping):
        return None if isinstance(part, str) else part
    return {
        key: value
        for key, value in part.items()
        if not isinstance(value, str)
        or (key != "text" and (key != "type" or texts_in(value)))
    }


def _texts_of(fields: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> list[str]:
    return texts_in({key: value for key, value in fields.items() if key not in but})


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    texts = (
        part.get("text") if isinstance(part, Mapping) else part
        for part in as_list(content)
    )
    return "".join(text for text in texts if isinstance(text, str))
