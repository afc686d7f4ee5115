"""A renderer whose name begins each prompt, so that its tokens tell who rendered them."""

from dataclasses import dataclass

import numpy as np
from tinker import ModelInput


def get_renderer(name, tokenizer, model_name=None):
    return Renderer(f"<{name} {model_name}>", tokenizer)


def get_text_content(message):
    return message["content"]


@dataclass
class Renderer:
    mark: str
    tokenizer: object

    def get_stop_sequences(self):
        return ["<|end|>"]

    def build_generation_prompt(self, messages):
        (user,) = messages
        assert user["role"] == "user"
        return ModelInput.from_ints(self._tokens(f"{self.mark}{user['content']}\n"))

    def build_supervised_example(self, messages):
        *asked, answer = messages
        prompt = self.build_generation_prompt(asked).to_ints()
        tokens = [*self._tokens(answer["content"]), self.tokenizer.eos_token_id]
        weights = np.array([0.0] * len(prompt) + [1.0] * len(tokens))
        return ModelInput.from_ints([*prompt, *tokens]), weights

    def parse_response(self, tokens):
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return {"role": "assistant", "content": text}, True

    def _tokens(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)
