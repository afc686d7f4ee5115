"""The completions in an answer of OpenAI's form, of a chat or of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason
from pytest_memleak.records.provenance import server_fingerprint
from pytest_memleak.records.reasoning_and_tool_calls import texts_in, without_answer

MOST_CHOICES = 1_000
"""No call of ours asks for as many completions: those behind are not looked at."""

# No call of ours has more tokens: a count above it is no count.
_MOST_TOKENS = 100_000_000


def as_mapping(value: object) -> Mapping[str, Any]:
    """A JSON object; empty where it is none."""
    return value if isinstance(value, Mapping) else {}


def token_count(value: object) -> int | None:
    """A number of tokens; None where it is missing, negative, absurd or no whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
        return value
    return None


def whole_count(
    total: int | None, answers: Sequence[tuple[str, FinishReason]], *, max_tokens: int | None
) -> int | None:
    """The completion tokens of a whole call, also where a server counts one choice for all.

    answers: the choices' texts and reasons. It counts one choice if all fit into what one may
    have, and yet are fewer than the choices' words, or than those cut by length must have.
    """
    count = len(answers)
    if total is None or max_tokens is None or count < 2 or total > max_tokens:  # noqa: PLR2004
        return total
    floor = sum(
        max_tokens if reason is FinishReason.LENGTH else len(text.split())
        for text, reason in answers
    )
    return total * count if total < floor else total


def shared_out(total: int | None, count: int) -> list[int | None]:
    """`total` tokens among `count` completions, as evenly as whole numbers go."""
    if total is None:
        return [None] * count
    return [(total + count - 1 - place) // count for place in range(count)]


_LONGEST_NAME = 200


def filtered(n: int) -> list[Completion]:
    """`n` completions of a prompt that the provider's filter rejected; nothing was billed."""
    return [
        Completion("", FinishReason.CONTENT_FILTER, 0, 0, finish_word="content_filter")
        for _ in range(n)
    ]


def read_completions(
    answer: object, *, max_tokens: int | None = None, asked: str = ""
) -> list[Completion]:
    """The completions in a chat completion or text completion object, in its choices' order.

    max_tokens: what a choice may have, where that is known; so it is noticed when a server
    counts one choice's tokens for all of them. asked: the instruction, which is no text of the
    model's where a server says it again. Empty where there are no choices, or where `answer` is
    no such object.
    """
    if not isinstance(answer, Mapping):
        return []
    listed = _list(answer.get("choices"))[:MOST_CHOICES]
    choices = [choice for choice in listed if isinstance(choice, Mapping)]
    texts = [_text_and_reason(choice) for choice in choices]
    usage = as_mapping(answer.get("usage"))
    prompt = token_count(usage.get("prompt_tokens"))
    total = whole_count(token_count(usage.get("completion_tokens")), texts, max_tokens=max_tokens)
    served = served_of(answer)
    # Of no choice, so that nobody can say of which: it stands with the first.
    apart = texts_in([choice for choice in listed if not isinstance(choice, Mapping)])
    apart += _texts_of(answer, but=("choices",))
    return [
        Completion(
            text,
            reason,
            prompt_tokens=None if prompt is None else prompt * (place == 0),
            completion_tokens=tokens,
            # The field `refusal` counts, whatever the finish reason.
            finish_word=_name(
                "refusal" if reason is FinishReason.REFUSAL else choice.get("finish_reason")
            ),
            served=served,
            reasoning=without_answer(
                [*_beside(choice), *(apart if place == 0 else ())], text, asked=asked
            ),
        )
        for place, (choice, (text, reason), tokens) in enumerate(
            zip(choices, texts, shared_out(total, len(choices)), strict=True)
        )
    ]


def served_of(answer: Mapping[str, Any]) -> Served:
    """Who gave an answer, as the answer has it."""
    model, fingerprint, response_id = (
        _name(answer.get(key)) for key in ("model", "system_fingerprint", "id")
    )
    return Served(model, server_fingerprint(fingerprint), response_id)


def _text_and_reason(choice: Mapping[str, Any]) -> tuple[str, FinishReason]:
    message = as_mapping(choice.get("message"))
    text = _text(message.get("content")) or _text(choice.get("text"))
    refusal = _text(message.get("refusal"))
    if refusal:
        return text or refusal, FinishReason.REFUSAL
    reason = finish_reason(_name(choice.get("finish_reason")))
    if not reason.withheld and not text.strip():
        return text, FinishReason.EMPTY
    return text, reason


def _beside(choice: Mapping[str, Any]) -> list[str]:
    """All that was written beside the answer, by whatever name: a passage there is a passage."""
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return _texts_of(choice)
    content = message.get("content")
    texts = _texts_of(message, but=("content",))
    texts += _texts_of(choice, but=("message",))
    if isinstance(content, list):
        texts += [text for part in content for text in _texts_of_part(part)]
    elif not isinstance(content, str):
        texts += texts_in(content)
    return texts


def _texts_of_part(part: object) -> list[str]:
    """Of a part of the content what `_text` does not read."""
    if not isinstance(part, Mapping):
        return [] if isinstance(part, str) else texts_in(part)
    of_the_answer = part.get("type") in {"text", "output_text"} and isinstance(
        part.get("text"), str
    )
    return _texts_of(part, but=("text",) if of_the_answer else ())


def _texts_of(fields: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> list[str]:
    return texts_in({key: value for key, value in fields.items() if key not in but})


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    texts = (part.get("text") if isinstance(part, Mapping) else part for part in _list(content))
    return "".join(text for text in texts if isinstance(text, str))


def _name(value: object) -> str | None:
    """A word of the server's, in one line of bounded length; a word of another form by its kind."""
    if value is None:
        return None
    if not isinstance(value, str):
        return f"({type(value).__name__})"
    return " ".join(value[:_LONGEST_NAME].split())


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
