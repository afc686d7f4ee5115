"""Which distribution answers were drawn from: the model's own, or what a server makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Left out, a server's own values of these hold. A temperature that was refused is judged by itself.
_SHAPES = (
    *("top_p", "topP", "top_k", "topK", "min_p"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)


def distribution(options: Mapping[str, Any], refused: Iterable[str]) -> str:
    """In words; answers of two distributions cannot be compared (`options.sampling`).

    options: of the model; refused: settings that the server would not take
    """
    if options.get("sampling") == "server":
        return "the server's own"
    refused = set(refused)
    but = ", ".join(name for name in _SHAPES if name in refused)
    told = [f"{but}, which the server refuses"] if but else []
    further = {**options.get("extra_body", {}), **options.get("generation_config", {})}
    told += [f"{name} = {further[name]}" for name in _SHAPES if name in further]
    return f"the model's own, but for {'; '.join(told)}" if told else "the model's own"
