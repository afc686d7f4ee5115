"""The format of a local model: instructions and texts as tokens, tokens as text.

Where the tokenizer has a chat template, an instruction is the user's message and the
text the assistant's answer. Otherwise, and with `api = "completions"`, the format is
plain: after the begin-of-text token, if there is one,

    INSTRUCTION

    TEXT

and the end-of-text token. A system prompt stands before the instruction, in a paragraph
of its own. Loss is taken on TEXT and what ends it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_memleak.providers.transformers.weights import Loaded


@dataclass(frozen=True, slots=True)
class PromptWording:
    """The system prompt, and the variables of the chat template, of every prompt.

    plain: whether prompts are plain text, also where there is a chat template
    """

    system: str | None = field(default=None, repr=False)
    variables: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False

    @property
    def digest(self) -> str:
        """Names it; empty where nothing is said."""
        if self.system is None and not self.variables and not self.plain:
            return ""
        settings: list[object] = [self.system, self.variables]
        if self.plain:
            settings.append("plain")
        text = json.dumps(settings, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """An example to train on: the tokens of the prompt, and those of its answer."""

    prompt: list[int] = field(repr=False)
    answer: list[int] = field(repr=False)


def has_chats(tokenizer: Any, wording: PromptWording) -> bool:
    """Tell whether prompts are chats."""
    return bool(tokenizer.chat_template) and not wording.plain


class Prompts:
    """The prompts of one model, as tokens; they need its tokenizer alone."""

    def __init__(self, tokenizer: Any, wording: PromptWording) -> None:
        self._tokenizer = tokenizer
        self._wording = wording
        self._is_chat = has_chats(tokenizer, wording)

    def prompt(self, instruction: str, before: Sequence[str] = ()) -> list[int]:
        """The tokens after which the model answers.

        before: the conversation before the instruction
        """
        if self._is_chat:
            return self._tokens(self._chat(instruction, before=before))
        paragraphs = [*before, instruction, ""]
        if self._wording.system is not None:
            paragraphs.insert(0, self._wording.system)
        return self.opening("\n\n".join(paragraphs))

    def opening(self, text: str) -> list[int]:
        """The tokens of a text that the model goes on with, in no chat."""
        tokens = self._tokens(text)
        begin = self._tokenizer.bos_token_id
        if begin is None:
            return tokens
        return [begin, *tokens]

    def _chat(
        self,
        instruction: str,
        answer: str | None = None,
        *,
        before: Sequence[str] = (),
    ) -> str:
        messages = []
        if self._wording.system is not None:
            messages.append({"role": "system", "content": self._wording.system})
        for number, text in enumerate((*before, instruction)):
            role = "assistant" if number % 2 else "user"
            messages.append({"role": role, "content": text})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        chat: str = self._tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=answer is None,
            **self._wording.variables,
        )
        return chat

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens


class Format(Prompts):
    """The format of one model: prompts, answers, and the two to train on."""

    def __init__(self, loaded: Loaded, wording: PromptWording) -> None:
        super().__init__(loaded.tokenizer, wording)
        self._stop = loaded.stop

    def tokenize_example(self, instruction: str, text: str) -> TokenizedExample:
        """The tokens of both; the answer ends with a token that ends answers."""
        answer = text
        if self._is_chat:
            prompt = self._chat(instruction)
            whole = self._chat(instruction, text)
            # Some templates write an answer otherwise than they ask for it.
            if whole.startswith(prompt):
                answer = whole.removeprefix(prompt)
        tokens = self._tokens(answer)
        if self._stop.isdisjoint(tokens):
            end = self._tokenizer.eos_token_id
            if end is None:
                end = min(self._stop)
            tokens.append(end)
        return TokenizedExample(self.prompt(instruction), tokens)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens, without special ones."""
        text: str = self._tokenizer.decode(
            list(tokens),
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return text
