"""The formats of Tinker's models: instructions and texts as tokens, and tokens as text.

Tinker trains and samples tokens. Without a renderer the format is

    User: INSTRUCTION

    Assistant: TEXT

between the tokenizer's begin-of-text token, if it has one, and its end-of-text token;
the loss is that of TEXT, the blank before it, and the end. With `renderer = "qwen3"`
(or another name of tinker-cookbook), the format is the model's chat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_memleak.errors import SuiteError
from pytest_memleak.providers.call_errors import CallErrorFactory
from pytest_memleak.providers.tinker.tinker_client import PROVIDER


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """A training example: its tokens, and the weight (0 or 1) of each token's loss."""

    tokens: list[int] = field(repr=False)
    weights: list[float] = field(repr=False)


class ChatFormat(ABC):
    """An instruction and its answer as tokens."""

    stop: list[int] | list[str]

    @abstractmethod
    def prompt(self, instruction: str, before: Sequence[str] = ()) -> list[int]:
        """Return the tokens before an answer.

        before: the conversation before the instruction
        """

    @abstractmethod
    def tokenize_example(self, instruction: str, text: str) -> TokenizedExample:
        """Return a training example; the loss is that of the answer and its end."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer, without reasoning and end."""

    def thoughts(self, tokens: Sequence[int]) -> str:  # noqa: ARG002
        """Return the reasoning before an answer's text, if any."""
        return ""


class PlainFormat(ChatFormat):
    """The plain format; `tokenizer` is a fast tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._begin: list[int] = []
        if tokenizer.bos_token_id is not None:
            self._begin.append(tokenizer.bos_token_id)
        self._end: int = tokenizer.eos_token_id
        self.stop = [self._end]

    def prompt(self, instruction: str, before: Sequence[str] = ()) -> list[int]:
        """Return the tokens up to "Assistant:"."""
        turns = [
            f"{'Assistant' if number % 2 else 'User'}: {text}\n\n"
            for number, text in enumerate((*before, instruction))
        ]
        return [
            *self._begin,
            *self._tokens_of_text_alone(f"{''.join(turns)}Assistant:"),
        ]

    def tokenize_example(self, instruction: str, text: str) -> TokenizedExample:
        """Return a training example; the loss is that of the text and the end."""
        prompt = self.prompt(instruction)
        answer = [*self._tokens_of_text_alone(f" {text}"), self._end]
        no_loss = [0.0] * len(prompt)
        loss = [1.0] * len(answer)
        return TokenizedExample(prompt + answer, no_loss + loss)

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text without special tokens and the blank after "Assistant:"."""
        text: str = self._tokenizer.decode(
            list(tokens),
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return text.removeprefix(" ")

    def as_text(self) -> TextFormat:
        """Return the format of a text to continue, with the same tokenizer."""
        return TextFormat(self._tokenizer)

    def _tokens_of_text_alone(self, text: str) -> list[int]:
        """Return the tokens of a text alone."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens


class TextFormat(PlainFormat):
    """No format: the instruction is the beginning of the text."""

    def prompt(self, instruction: str, before: Sequence[str] = ()) -> list[int]:
        """Return the begin-of-text token and those of the text."""
        return [
            *self._begin,
            *self._tokens_of_text_alone("\n\n".join((*before, instruction))),
        ]


class RenderedFormat(ChatFormat):
    """A renderer of tinker-cookbook."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer
        self.stop = renderer.get_stop_sequences()

    def prompt(self, instruction: str, before: Sequence[str] = ()) -> list[int]:
        """Return the tokens of the chat up to the answer."""
        messages = [
            {"role": "assistant" if number % 2 else "user", "content": text}
            for number, text in enumerate((*before, instruction))
        ]
        prompt = self._renderer.build_generation_prompt(messages)
        tokens: list[int] = prompt.to_ints()
        return tokens

    def tokenize_example(self, instruction: str, text: str) -> TokenizedExample:
        """Return a training example; the loss is that of the answer and its end."""
        messages = [
            {"role": "user", "content": instruction},
            {"role": "assistant", "content": text},
        ]
        tokens, weights = self._renderer.build_supervised_example(messages)
        return TokenizedExample(
            tokens.to_ints(), [float(weight) for weight in weights.tolist()]
        )

    def text(self, tokens: Sequence[int]) -> str:
        """Return the answer's text, truncated or not."""
        from tinker_cookbook.renderers import get_text_content

        message, _ = self._renderer.parse_response(list(tokens))
        return str(get_text_content(message))

    def thoughts(self, tokens: Sequence[int]) -> str:
        """Return the parts of the answer that the renderer identifies as reasoning."""
        message, _ = self._renderer.parse_response(list(tokens))
        parts = message.get("content")
        if not isinstance(parts, list):
            return ""
        return "".join(str(part.get("thinking") or "") for part in parts)


def load_format(
    tokenizer: str | Path,
    *,
    renderer: str | None,
    base: str | None,
    place: str,
    endpoint: str,
) -> ChatFormat:
    """Return a model's format.

    Raises SuiteError for an unknown renderer or a tokenizer without an end-of-text
    token, and ProviderError if the tokenizer can't be loaded.

    tokenizer: a folder, or a name on the model hub; base: the model, for renderers that
        need it
    """
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(str(tokenizer))
    except (OSError, ValueError, KeyError, ImportError) as error:
        seen = type(error).__name__
    else:
        if len(loaded) > len(loaded.all_special_tokens):
            return _format(
                loaded,
                str(tokenizer),
                renderer=renderer,
                base=base,
                place=place,
            )
        # Of an empty folder, transformers before 5.2 makes an empty one and says
        # nothing.
        seen = "it has no vocabulary"
    raise CallErrorFactory(PROVIDER, endpoint, "AutoTokenizer.from_pretrained").final(
        f"Can't load the tokenizer {str(tokenizer)!r} ({seen})",
        "set options.tokenizer to a name on the model hub or a local folder",
    )


def _format(
    tokenizer: Any,
    name: str,
    *,
    renderer: str | None,
    base: str | None,
    place: str,
) -> ChatFormat:
    if renderer is None:
        if tokenizer.eos_token_id is None:
            raise SuiteError(
                f"the tokenizer {name!r} has no end-of-text token, so no generation "
                "could end",
                location=place,
                hint="set options.renderer to a tinker-cookbook chat format with "
                "an end token",
            )
        return PlainFormat(tokenizer)
    from tinker_cookbook.exceptions import TinkerCookbookError
    from tinker_cookbook.renderers import get_renderer

    try:
        return RenderedFormat(get_renderer(renderer, tokenizer, model_name=base))
    except (TinkerCookbookError, ValueError, KeyError, AssertionError) as error:
        seen = type(error).__name__
    raise SuiteError(
        f"options.renderer: {renderer!r} can't be loaded for the tokenizer {name!r} "
        f"({seen})",
        location=place,
        hint="use a name that tinker_cookbook.renderers.get_renderer accepts",
    )
