"""Why a completion ended, by the word that its server has for it.

    finish_reason("eos_token") -> FinishReason.STOP

One table for servers and for files that were recorded from them. Any other word, and none, is
UNKNOWN: what came may be a part, and why it ended is the server's secret.
"""

from __future__ import annotations

from pytest_memleak.records.generation import FinishReason

_REASONS = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "complete": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "continuation": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "safety": FinishReason.CONTENT_FILTER,
    "prohibited_content": FinishReason.CONTENT_FILTER,
    "blocklist": FinishReason.CONTENT_FILTER,
    "spii": FinishReason.CONTENT_FILTER,
    "language": FinishReason.CONTENT_FILTER,
    "model_armor": FinishReason.CONTENT_FILTER,
}


def finish_reason(word: str | None) -> FinishReason:
    """The reason that a server's word stands for, in any case of letters."""
    said = (word or "").lower()
    if "recitation" in said:
        return FinishReason.RECITATION
    if said.startswith(("content_filter", "content-filter")):
        return FinishReason.CONTENT_FILTER
    return _REASONS.get(said, FinishReason.UNKNOWN)
