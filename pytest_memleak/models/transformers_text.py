"""Local weights on plain text: after the begin-of-text token, if there is one, the text itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_memleak.models.transformers_weights import Weights

__all__ = ["TextWeights", "begin", "text_tokens"]


@dataclass(frozen=True, slots=True)
class TextWeights(Weights):
    """A model that goes on with what it is given, instead of answering it."""

    def prompt(self, instruction: str) -> list[int]:
        """The tokens of the text that is gone on with."""
        return [*begin(self.tokenizer), *text_tokens(self.tokenizer, instruction)]


def begin(tokenizer: Any) -> list[int]:
    """The begin-of-text token, where the tokenizer has one."""
    return [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of the text alone."""
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return tokens
