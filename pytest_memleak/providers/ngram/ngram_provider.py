"""Provider `ngram`: a small language model trained on the spot; no key, no download, no GPU.

    [[model]]
    id = "reciter"
    provider = "ngram"
    [model.options]
    order = 9                        # context of 8 tokens: recites; 2 does not
    pretraining = ["the-lamplighter"]  # ids of the suite's books that it is trained on first

It is trained on the books of `pretraining`, and on those of `[model.finetune]` through the
usual fine-tuning verbs, which end at once. What a fine-tune learned is kept in the provider's
state folder, so that another process can open the endpoint.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field

from pytest_memleak.errors import ProviderError, SuiteError
from pytest_memleak.interfaces.abilities import Abilities, Finetuning, Probabilities
from pytest_memleak.interfaces.protocols import (
    Completion,
    JobState,
    JobStatus,
    ProviderSetup,
    Served,
    TrainingSet,
    Window,
    WindowLogs,
)
from pytest_memleak.providers.ngram.ngram_model import MAX_ORDER, NgramModel
from pytest_memleak.providers.ngram.ngram_writer import (
    PARAGRAPH,
    Draft,
    NgramWriter,
    TrainingText,
    tokenise,
)
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.records import Book, FinishReason
from pytest_memleak.records.provenance import fingerprint_of_weights
from pytest_memleak.redaction.private_files import write_private

# Part of every endpoint's id: raise it when the same training would give another model.
VERSION = 1

_ENDPOINT = re.compile(r"ngram:([0-9a-f]{64})")


class _Write(Protocol):
    """How an `NgramWriter` is asked."""

    def __call__(
        self, asked: str, /, *, n: int, seed: int, temperature: float, max_tokens: int
    ) -> list[Draft]: ...


class NgramOptions(Table):
    """`[model.options]` of an `ngram` model."""

    order: Annotated[int, Field(strict=True, ge=1, le=MAX_ORDER)] = 3
    """Length of the n-grams: the next token is chosen by the order - 1 tokens before it."""
    pretraining: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Ids of the suite's books that the model is trained on before any fine-tuning."""


class NgramFinetune(Table):
    """`[model.finetune]` of an `ngram` model, beside its books."""

    epochs: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    """How many times the training set is read; more of it is recited the more it is read."""


class NgramEndpoint:
    """A trained model that answers instructions; `id` names its weights.

    The answers to an instruction depend on its text, `seed`, `temperature` and `max_tokens`
    alone. Answer i of a call is that of seed + i, so rounds may be grouped into calls in any
    way when a call's seed is a base plus the ordinal of its first answer.
    """

    def __init__(self, endpoint_id: str, writer: NgramWriter) -> None:
        self.id = endpoint_id
        self._writer = writer

    @property
    def abilities(self) -> Abilities:
        """Its id identifies its training books, and so its weights."""
        return Abilities(
            fixed_weights=True,
            continuing=self.continuing,
            probabilities=Probabilities(
                self.text_tokens,
                self.log_probabilities,
                self.top_k_log_probabilities,
                lambda: _served(self.id),
                tokenizes_here=True,
                windows_per_call=50,
            ),
        )

    @property
    def model(self) -> NgramModel:
        """The language model itself, for probabilities of given text."""
        return self._writer.model

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> list[Completion]:
        """Always `n` completions; a seed of None is drawn at random, a temperature of None is 1.

        Raises ProviderError for a temperature below 0 and for fewer than one token.
        """
        return _sample(
            self._writer.write,
            instruction,
            endpoint=self.id,
            n=n,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
        )

    def text_tokens(self, text: str) -> list[str]:
        """The model's tokens; its spacing is regular, so they are not the text to the letter."""
        return tokenise(text)

    def log_probabilities(self, windows: Sequence[Window]) -> list[list[float]]:
        """As `Probabilities` says."""
        return [self._writer.log_probabilities(window) for window in windows]

    def top_k_log_probabilities(
        self, windows: Sequence[Window], top_k: int, temperature: float
    ) -> list[WindowLogs]:
        """As `Probabilities` says; it sees the whole distribution."""
        return [
            WindowLogs(
                self._writer.log_probabilities(window),
                self._writer.log_probabilities_in(window, top_k=top_k, temperature=temperature),
            )
            for window in windows
        ]

    def continuing(self) -> NgramContinuation:
        """The same model, going on with a text instead of answering an instruction."""
        return NgramContinuation(self.id, self._writer)


class NgramContinuation:
    """A trained model that goes on with a text; seeds as for `NgramEndpoint`."""

    abilities = Abilities(fixed_weights=True)

    def __init__(self, endpoint_id: str, writer: NgramWriter) -> None:
        self.id = f"{endpoint_id}#text"
        self._writer = writer

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> list[Completion]:
        """Always `n` continuations of the text `instruction`; otherwise as `NgramEndpoint`."""
        return _sample(
            self._writer.go_on,
            instruction,
            endpoint=self.id,
            n=n,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
        )


def _served(endpoint: str) -> Served | None:
    """Its weights: there is no file of them, they are what training on this gives, each time."""
    weights = _ENDPOINT.match(endpoint)
    return Served(fingerprint=fingerprint_of_weights(weights[1])) if weights else None


def _sample(
    write: _Write,
    asked: str,
    *,
    endpoint: str,
    n: int,
    temperature: float | None,
    max_tokens: int,
    seed: int | None,
) -> list[Completion]:
    temperature = 1.0 if temperature is None else temperature
    if not 0 <= temperature < math.inf or max_tokens < 1:
        raise ProviderError(
            f"temperature {temperature} with at most {max_tokens} tokens can't be sampled",
            provider=NgramProvider.name,
            endpoint=endpoint,
            call="sample",
            hint="Expected a temperature of 0 or more, and at least 1 token.",
        )
    drafts = write(
        asked,
        n=n,
        seed=secrets.randbits(63) if seed is None else seed,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    prompt_tokens = len(tokenise(asked))
    served = _served(endpoint)
    return [
        Completion(
            draft.text,
            FinishReason.STOP if draft.ended else FinishReason.LENGTH,
            prompt_tokens=prompt_tokens,
            completion_tokens=draft.tokens,
            served=served,
        )
        for draft in drafts
    ]


class NgramProvider:
    """Trains and opens `ngram` models; see the module's docstring.

    A fine-tune's job id is its endpoint. Raises SuiteError for bad options and where there is
    nothing to train on.
    """

    name = "ngram"
    concurrency = 1
    completions_per_call = 50
    batch = False
    abilities = Abilities(finetuning=Finetuning(frozenset({"order", "pretraining"})))

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        self._setup = setup
        self._options = read_table(NgramOptions, model.options, place=place, name="options")
        self._finetune = read_table(NgramFinetune, model.finetune, place=place, name="finetune")
        self._books: tuple[Book, ...] | None = None
        self._opened: dict[str, NgramEndpoint] = {}
        if model.base_model is not None:
            raise SuiteError(
                f"base_model = {model.base_model!r}: an ngram model has no base model",
                location=place,
                hint="Remove base_model; options.pretraining names its training books.",
            )
        if not (self._options.pretraining or model.finetune_books or model.endpoint):
            raise self._nothing_to_train_on()

    def find_finetune(self, digest: str) -> str | None:
        """The endpoint trained on the set of that digest with these options, if it was kept."""
        endpoint = self._endpoint_id(digest)
        return endpoint if self._kept(endpoint).is_file() else None

    def start_finetune(self, training: TrainingSet) -> str:
        """Keep the training set; the model is trained, at once, when it is opened."""
        endpoint = self._endpoint_id(training.digest)
        examples = [[example.instruction, example.text] for example in training.examples]
        record = json.dumps({"training": training.digest, "examples": examples})
        try:
            write_private(self._kept(endpoint), record)
        except OSError as error:
            raise self._failed("start_finetune", endpoint, _cause(error)) from None
        return endpoint

    def poll_finetune(self, job_id: str) -> JobState:
        """SUCCEEDED if the training set was kept, else FAILED."""
        kept = self._kept(job_id)
        if kept.is_file():
            return JobState(JobStatus.SUCCEEDED, endpoint=job_id)
        return JobState(JobStatus.FAILED, detail=f"there is no {kept}")

    def open(self, endpoint: str | None) -> NgramEndpoint:
        """The model after pretraining (None), or a fine-tuned one.

        Raises ProviderError for an endpoint that was not kept or has other options.
        """
        examples = [] if endpoint is None else self._learned(endpoint)
        endpoint = endpoint or self._endpoint_id(None)
        if endpoint not in self._opened:
            books = [
                TrainingText(PARAGRAPH.join(excerpt.text for excerpt in book.excerpts))
                for book in self._pretraining()
            ]
            self._opened[endpoint] = NgramEndpoint(endpoint, self._train([*books, *examples]))
        return self._opened[endpoint]

    def _train(self, texts: list[TrainingText]) -> NgramWriter:
        if not any(text.text.strip() for text in texts):
            raise self._nothing_to_train_on()
        return NgramWriter(texts, order=self._options.order)

    def _learned(self, endpoint: str) -> list[TrainingText]:
        """The training set behind an endpoint, from the state folder."""
        kept = self._kept(endpoint)
        try:
            record = json.loads(kept.read_bytes())
            training, epochs = str(record["training"]), self._finetune.epochs
            texts = [TrainingText(text, asked, epochs) for asked, text in record["examples"]]
        except OSError as error:
            raise self._failed("open", endpoint, f"{kept}: {_cause(error)}", _TRAIN_AGAIN) from None
        except (ValueError, TypeError, KeyError):
            raise self._failed(
                "open", endpoint, f"{kept} is damaged", f"Delete it, then {_TRAIN_AGAIN}"
            ) from None
        if self._endpoint_id(training) != endpoint:
            raise self._failed(
                "open",
                endpoint,
                "It was trained with another order, pretraining, or number of epochs",
                "Restore them, or remove the endpoint from the suite to train a new one.",
            )
        return texts

    def _pretraining(self) -> tuple[Book, ...]:
        if self._books is None:
            self._books = tuple(map(self._setup.read_book, self._options.pretraining))
        return self._books

    def _endpoint_id(self, training: str | None) -> str:
        """A name for the weights: everything that the trained model depends on."""
        tuned = [] if training is None else [training, self._finetune.epochs]
        books = [book.digest for book in self._pretraining()]
        name = json.dumps([VERSION, self._options.order, books, *tuned])
        return f"ngram:{hashlib.sha256(name.encode()).hexdigest()}"

    def _kept(self, endpoint: str) -> Path:
        match = _ENDPOINT.fullmatch(endpoint)
        if match is None:
            raise self._failed(
                "open", endpoint, "Not the id of an ngram endpoint", "Expected ngram:<64 digits>."
            )
        return self._setup.state / f"{match[1]}.json"

    def _nothing_to_train_on(self) -> SuiteError:
        return SuiteError(
            "An ngram model needs training text",
            location=self._setup.place,
            hint="Name books of the suite in options.pretraining or [model.finetune].",
        )

    def _failed(
        self, call: str, endpoint: str, cause: str, hint: str | None = None
    ) -> ProviderError:
        return ProviderError(cause, provider=self.name, endpoint=endpoint, call=call, hint=hint)


_TRAIN_AGAIN = "train again: name its books in [model.finetune], without endpoint."


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
