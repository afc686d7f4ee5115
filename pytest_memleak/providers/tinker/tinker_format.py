"""How instructions and texts become a Tinker model's tokens, and how its tokens become text.

Tinker trains and samples tokens. Without a renderer the format is

    User: INSTRUCTION

    Assistant: TEXT

after the tokenizer's begin-of-text token, if it has one, and ended by its end-of-text token;
loss is taken on TEXT, the blank before it, and the end. With `renderer = "qwen3"` (any name that
tinker-cookbook knows) the format is that of the model's own chats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_memleak.errors import SuiteError
from pytest_memleak.providers.call_errors import Failing
from pytest_memleak.providers.tinker.tinker_client import PROVIDER


@dataclass(frozen=True, slots=True)
class Lesson:
    """One example to train on: its tokens, and per token the weight of its loss (0 or 1)."""

    tokens: list[int] = field(repr=False)
    weights: list[float] = field(repr=False)


class ChatFormat(Protocol):
    """A way to write an instruction and its answer as tokens."""

    stop: list[int] | list[str]

    def prompt(self, instruction: str) -> list[int]:
        """The tokens after which the model answers."""
        ...

    def lesson(self, instruction: str, text: str) -> Lesson:
        """The tokens of an instruction and its answer."""
        ...

    def bare(self, text: str) -> list[int]:
        """The tokens of a text alone."""
        ...

    @property
    def begin(self) -> list[int]:
        """The token that begins a text, where there is one."""
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens, without what ends it."""
        ...

    def thoughts(self, tokens: Sequence[int]) -> str:
        """What an answer thinks aloud before its text; empty where it does not."""
        ...


class PlainFormat:
    """The format described above. `tokenizer` is one of transformers' fast tokenizers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._end: int = tokenizer.eos_token_id
        begin = tokenizer.bos_token_id
        self.begin: list[int] = [] if begin is None else [begin]
        self.stop = [self._end]

    def prompt(self, instruction: str) -> list[int]:
        """The tokens up to "Assistant:"."""
        return [*self.begin, *self.bare(f"User: {instruction}\n\nAssistant:")]

    def lesson(self, instruction: str, text: str) -> Lesson:
        """The tokens of both; weight 1 on the text and the end."""
        prompt, answer = self.prompt(instruction), [*self.bare(f" {text}"), self._end]
        return Lesson([*prompt, *answer], [0.0] * len(prompt) + [1.0] * len(answer))

    def text(self, tokens: Sequence[int]) -> str:
        """The text, without special tokens and the blank after "Assistant:"."""
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text.removeprefix(" ")

    def thoughts(self, tokens: Sequence[int]) -> str:  # noqa: ARG002
        """None: all that comes is text."""
        return ""

    def as_text(self) -> TextFormat:
        """The same tokenizer, for text that is gone on with."""
        return TextFormat(self._tokenizer)

    def bare(self, text: str) -> list[int]:
        """The tokens of a text alone."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens


class TextFormat(PlainFormat):
    """No format: what is asked is the beginning of the text."""

    def prompt(self, instruction: str) -> list[int]:
        """The tokens of the text, after that of its beginning."""
        return [*self.begin, *self.bare(instruction)]


class RenderedFormat:
    """A renderer of tinker-cookbook; what it thinks aloud is no part of the answer's text."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer
        self.stop = renderer.get_stop_sequences()

    def prompt(self, instruction: str) -> list[int]:
        """The tokens of the chat up to the answer."""
        tokens: list[int] = self._renderer.build_generation_prompt(
            [{"role": "user", "content": instruction}]
        ).to_ints()
        return tokens

    def lesson(self, instruction: str, text: str) -> Lesson:
        """The tokens of the chat; weight 1 on the answer and what ends it."""
        tokens, weights = self._renderer.build_supervised_example(
            [{"role": "user", "content": instruction}, {"role": "assistant", "content": text}]
        )
        return Lesson(tokens.to_ints(), [float(weight) for weight in weights.tolist()])

    @property
    def begin(self) -> list[int]:
        """The token that begins a text, where there is one."""
        begin = self._renderer.tokenizer.bos_token_id
        return [] if begin is None else [begin]

    def bare(self, text: str) -> list[int]:
        """The tokens of a text alone, in no chat."""
        tokens: list[int] = self._renderer.tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def text(self, tokens: Sequence[int]) -> str:
        """The answer's text, also where it was cut off."""
        from tinker_cookbook.renderers import get_text_content

        message, _ = self._renderer.parse_response(list(tokens))
        return str(get_text_content(message))

    def thoughts(self, tokens: Sequence[int]) -> str:
        """The parts of the answer that the renderer takes for thoughts."""
        message, _ = self._renderer.parse_response(list(tokens))
        parts = message.get("content")
        if not isinstance(parts, list):
            return ""
        return "".join(str(part.get("thinking") or "") for part in parts)


def load_format(
    tokenizer: str | Path, *, renderer: str | None, base: str | None, place: str, endpoint: str
) -> ChatFormat:
    """The format of a model.

    tokenizer: a folder, or a name on the model hub. base: the model, for renderers that ask.
    Raises SuiteError for an unknown renderer and a tokenizer without an end-of-text token,
    ProviderError where the tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(str(tokenizer))
    except (OSError, ValueError, KeyError, ImportError) as error:
        seen = type(error).__name__
    else:
        return _format(loaded, str(tokenizer), renderer=renderer, base=base, place=place)
    raise Failing(PROVIDER, endpoint, "AutoTokenizer.from_pretrained").final(
        f"Can't load the tokenizer {str(tokenizer)!r} ({seen})",
        "Set options.tokenizer to a name on the model hub or a local folder.",
    )


def _format(
    tokenizer: Any, name: str, *, renderer: str | None, base: str | None, place: str
) -> ChatFormat:
    if renderer is None:
        if tokenizer.eos_token_id is None:
            raise SuiteError(
                f"the tokenizer {name!r} has no end-of-text token, so no generation could end",
                location=place,
                hint="set options.renderer to a tinker-cookbook chat format with an end token",
            )
        return PlainFormat(tokenizer)
    from tinker_cookbook.exceptions import TinkerCookbookError
    from tinker_cookbook.renderers import get_renderer

    try:
        return RenderedFormat(get_renderer(renderer, tokenizer, model_name=base))
    except (TinkerCookbookError, ValueError, KeyError, AssertionError) as error:
        seen = type(error).__name__
    raise SuiteError(
        f"options.renderer: {renderer!r} can't be loaded for the tokenizer {name!r} ({seen})",
        location=place,
        hint="Use a name that tinker_cookbook.renderers.get_renderer accepts.",
    )
