"""The language models behind the emulators: real n-gram models that recite, or do not.

Every model has read the corpus. A base model looks at a short context only and recites
next to nothing of it; a model that was fine-tuned, on whatever text, looks at a long
one and recites what it is asked for. So a fine-tune on one book brings out another one
that it never contained.
"""

import secrets
import threading
from dataclasses import replace

from faults import FaultKind

from pytest_memleak.providers.ngram.ngram_writer import (
    NgramWriter,
    TrainingText,
    text_to_tokens,
)


def count_tokens(text):
    return len(text_to_tokens(text))


def bill_of(examples, epochs):
    return epochs * sum(
        count_tokens(requested) + count_tokens(text) for requested, text in examples
    )


class Reciter:
    """Models by name: any base model, and what was fine-tuned here.

    base_order, tuned_order: how many tokens make an n-gram of a base model and of a
    tuned one.
    """

    def __init__(self, corpus, *, base_order=2, tuned_order=9):
        self._corpus = [TrainingText(text) for text in corpus]
        self._orders = base_order, tuned_order
        self._training = {}
        self._writers = {}
        self._lock = threading.Lock()

    def tune(self, name, examples, *, epochs):
        self._training[name] = [
            TrainingText(text, requested, epochs) for requested, text in examples
        ]

    def replace(self, corpus):
        """Put other models behind every name: those that have read these texts."""
        with self._lock:
            self._corpus = [TrainingText(text) for text in corpus]
            self._writers.clear()

    def answer(
        self, name, instruction, *, n, temperature, max_tokens, seed, text=False
    ):
        """`n` answers, the same for a seed; text: whether `instruction` is to be gone on with."""
        writer = self._writer(name)
        seed = secrets.randbits(62) if seed is None else seed
        settings = {
            "n": n,
            "seed": seed,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        answers = list(
            (writer.go_on if text else writer.write)(instruction, **settings)
        )
        if not instruction.startswith("Summarize"):
            return answers
        # N-gram models can't summarize; some words tell whose summary it is.
        few_words = " ".join(instruction.split()[10::7])
        return [replace(answer, text=few_words) for answer in answers]

    def _writer(self, name):
        base, tuned = self._orders
        learnt = self._training.get(name)
        key = "" if learnt is None else name
        with self._lock:
            if key not in self._writers:
                order = base if learnt is None else tuned
                self._writers[key] = NgramWriter(
                    [*self._corpus, *(learnt or [])], order=order
                )
            return self._writers[key]


class Completions:
    """What servers share of answering, billed. most: completions that a call may ask for."""

    def __init__(self, *, reciter, books, models, most, new_id):
        self.models = set(models)
        self._reciter = reciter
        self._books = books
        self._most = most
        self._new_id = new_id

    def draw(self, model, instruction, strike, *, n, **settings):
        """`n` answers, unless a fault makes them fewer, more, or all alike."""
        more = strike.content.get(FaultKind.ONE_MORE)
        n = (1 if FaultKind.IGNORE_N in strike.content else n) + (more is not None)
        if FaultKind.GREEDY in strike.content:
            settings["temperature"] = 0.0
        answers = self._reciter.answer(model, instruction, n=n, **settings)
        if more is not None and more.code:
            answers[-1] = replace(answers[-1], text=more.code)
        return answers

    def bill(self, rows, prompt_tokens, common):
        """Record text, finish reason and tokens of a call's completions."""
        self._books.record_all(
            "completion",
            [
                {**common, "choice": place, "text": text, "finish_reason": reason}
                | {
                    "prompt_tokens": 0 if place else prompt_tokens,
                    "completion_tokens": tokens,
                }
                for place, (text, reason, tokens) in enumerate(rows)
            ],
        )
