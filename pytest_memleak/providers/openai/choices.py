"""The completions in a response of OpenAI's form, of a chat or of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_memleak.formats.server_texts import texts_sent
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.providers.error_bodies import error_message
from pytest_memleak.providers.response_fields import (
    MOST_CHOICES,
    as_list,
    as_mapping,
    completions_of,
    finish_reason_of_answer,
    server_name,
    token_count,
)
from pytest_memleak.records import FinishReason
from pytest_memleak.records.provenance import server_fingerprint
from pytest_memleak.scoring.find_passages import LEAST_NEAR_VERBATIM_WORDS

_FAILED = "error"


def total_completion_tokens(
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
    floor = 0
    for text, reason in answers:
        if reason is FinishReason.LENGTH:
            floor += max_tokens
        else:
            floor += len(text.split())
    if total < floor:
        return total * count
    return total


def read_completions(
    answer: object,
    *,
    max_tokens: int | None = None,
    instruction: str = "",
) -> list[Completion]:
    """Return the completions in a chat or text completion, in its choices' order.

    Empty if `answer` has no choices or another form. A choice without text that a
    failure ended is missing, so that it is requested again.

    max_tokens: the limit per choice, to detect a server that counts only one choice's
        tokens
    instruction: not text of the model if a server repeats it
    """
    if not isinstance(answer, Mapping):
        return []
    listed = as_list(answer.get("choices"))[:MOST_CHOICES]
    whole = [choice for choice in listed if not is_failed(choice)]
    choices = [choice for choice in whole if isinstance(choice, Mapping)]
    texts = [_text_and_reason(choice) for choice in choices]
    usage = as_mapping(answer.get("usage"))
    prompt = token_count(usage.get("prompt_tokens"))
    total = total_completion_tokens(
        token_count(usage.get("completion_tokens")),
        texts,
        max_tokens=max_tokens,
    )
    served = served_of(answer)
    # The field `refusal` counts, whatever the finish reason.
    words = []
    for choice, (_, reason) in zip(choices, texts, strict=True):
        word = server_name(choice.get("finish_reason"))
        if reason is FinishReason.REFUSAL:
            word = "refusal"
        words.append(word)
    strays = [choice for choice in whole if not isinstance(choice, Mapping)]
    apart = texts_sent(strays)
    apart += _texts_of(answer, but=("choices",))
    return completions_of(
        texts,
        words,
        [_texts_outside_answer(choice) for choice in choices],
        apart=apart,
        prompt=prompt,
        total=total,
        served=served,
        instruction=instruction,
    )


def is_failed(choice: object) -> bool:
    """Tell whether a failure ended a choice before it had any text (OpenRouter's).

    What says why is no text, unless it is long enough for a passage.
    """
    if not isinstance(choice, Mapping) or choice.get("finish_reason") != _FAILED:
        return False
    text, _ = _text_and_reason(choice)
    message = as_mapping(choice.get("message"))
    if text.strip() or _texts_of(message, but=("content",)):
        return False
    outside_answer = " ".join(_texts_outside_answer(choice)).split()
    return len(outside_answer) < LEAST_NEAR_VERBATIM_WORDS


def failure_of(answer: object) -> str | None:
    """Return what ended the choices if failures ended all of them; else None."""
    choices = as_list(as_mapping(answer).get("choices"))
    if not choices or not all(map(is_failed, choices)):
        return None
    messages = (error_message(choice.get("error")) for choice in choices)
    return next(filter(None, messages), "the server gives no reason")


def served_of(answer: Mapping[str, Any]) -> Served:
    """Return the model that served a response, as the response states it."""
    fingerprint = server_name(answer.get("system_fingerprint"))
    return Served(
        model=server_name(answer.get("model")),
        fingerprint=server_fingerprint(fingerprint),
        response_id=server_name(answer.get("id")),
    )


def _text_and_reason(choice: Mapping[str, Any]) -> tuple[str, FinishReason]:
    message = as_mapping(choice.get("message"))
    text = _text_of_content(message.get("content")) or _text_of_content(
        choice.get("text")
    )
    refusal = _text_of_content(message.get("refusal"))
    if refusal:
        return text or refusal, FinishReason.REFUSAL
    return text, finish_reason_of_answer(choice.get("finish_reason"), text)


def _texts_outside_answer(choice: Mapping[str, Any]) -> list[str]:
    """Return all text beside the answer, by any name: a passage there is a passage."""
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return _texts_of(choice)
    content = message.get("content")
    answer = _text_of_content(content)
    texts = _texts_of(message, but=("content",), answer=answer)
    texts += _texts_of(choice, but=("message",), answer=answer)
    if not isinstance(content, str):
        # All at once: a stream has parts of less than a word.
        texts += texts_sent(
            [_beside_answer(part) for part in as_list(content)] or content,
        )
    return texts


def _beside_answer(part: object) -> object:
    """Return what a part of the content has beside its text, but for its type."""
    if isinstance(part, str):
        return None
    if not isinstance(part, Mapping):
        return part
    fields = dict(part)
    if isinstance(part.get("text"), str):
        del fields["text"]
    kind = part.get("type")
    if isinstance(kind, str) and not texts_sent(kind):
        del fields["type"]
    return fields


def _texts_of(
    fields: Mapping[str, Any],
    *,
    but: tuple[str, ...] = (),
    answer: str = "",
) -> list[str]:
    others = {key: value for key, value in fields.items() if key not in but}
    return texts_sent(others, answer=answer)


def _text_of_content(content: object) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for part in as_list(content):
        text = part
        if isinstance(part, Mapping):
            text = part.get("text")
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts)
