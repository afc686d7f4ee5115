"""The tokens of the Tinker emulator: its tokenizer, and the examples it is given to train on."""

import json

import numpy as np
from http_server import RequestRejected
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Lesson = tuple[str, str]
"""What is asked, and what is to be answered."""


class Words:
    def __init__(self, folder):
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        self._end = self._tokenizer.token_to_id(settings["eos_token"])

    def text(self, tokens):
        return str(self._tokenizer.decode(list(tokens)))

    def lesson(self, inputs, targets, weights):
        """What is asked (the tokens without a weight) and what is to be answered."""
        learnt = [
            token for token, weight in zip(targets, weights, strict=True) if weight
        ]
        first = next(
            (place for place, weight in enumerate(weights) if weight), len(weights)
        )
        return self.text(inputs[: first + 1]), self.text(learnt)

    def sequence(self, answer, most, stop):
        """An answer as up to `most` tokens; whether it ended by itself or by `stop`."""
        text = answer.text
        stops = (
            [stop]
            if isinstance(stop, str)
            else list(stop)
            if isinstance(stop, list)
            else []
        )
        cuts = [
            text.find(stop) for stop in stops if isinstance(stop, str) and stop in text
        ]
        if cuts:
            text = text[: min(cuts)]
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        if stop is None or self._end in stops:
            tokens = [*tokens, self._end] if answer.ended else tokens
        return tokens[:most], len(tokens) <= most and (answer.ended or bool(cuts))


def save_tokenizer(folder, texts, *, size=600):
    """Train a byte-level tokenizer of `size` tokens; the folder holds what AutoTokenizer loads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def read_example(datum):
    """Inputs, targets and weights of one training example; refused where they do not fit."""
    inputs = [
        token
        for chunk in datum.model_input
        for token in np.frombuffer(chunk.encoded_text.tokens, dtype=np.int32).tolist()
    ]
    inputs_ = datum.loss_fn_inputs
    targets = np.frombuffer(inputs_["target_tokens"].dense, dtype=np.int64).tolist()
    weights = np.frombuffer(inputs_["weights"].dense, dtype=np.float32).tolist()
    if not len(inputs) == len(targets) == len(weights):
        raise RequestRejected(400, "inputs, targets and weights differ in length")
    if inputs[1:] != targets[:-1]:
        raise RequestRejected(400, "the targets are not the inputs' next tokens")
    return inputs, targets, weights
