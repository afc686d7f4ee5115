"""What servers say of tokens: read, bounded, and shared out among a call's completions."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_memleak.records import FinishReason

MOST_CHOICES = 1_000
"""No call of ours asks for as many completions: those behind are not looked at."""

# No call of ours has more tokens: a count above it is no count.
_MOST_TOKENS = 100_000_000


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
