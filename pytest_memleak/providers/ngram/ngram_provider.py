"""Provider `ngram`: a small language model trained on the spot, without a key.

    [[model]]
    id = "reciter"
    provider = "ngram"
    [model.options]
    order = 9                          # a context of 8 tokens recites; of 2, not
    pretraining = ["the-lamplighter"]  # books of the suite to train on first

It is trained on the books of `pretraining` and of `[model.finetune]`; a fine-tune ends
at once. Its training set is stored in the provider's state folder, so that another
process can open the endpoint.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pytest_memleak.errors import SuiteError
from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.protocols import (
    Completion,
    JobState,
    JobStatus,
    ProviderSetup,
    RequestEndpoint,
    SampleRequest,
    Served,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import CallErrorFactory
from pytest_memleak.providers.ngram.ngram_model import MAX_ORDER
from pytest_memleak.providers.ngram.ngram_writer import (
    PARAGRAPH,
    NgramWriter,
    TrainingText,
    text_to_tokens,
)
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.records import Book, FinishReason
from pytest_memleak.records.provenance import fingerprint_of_weights
from pytest_memleak.redaction.file_writing import write_private

# Part of every endpoint's id: raise it if the same training gives another model.
VERSION = 1

_ENDPOINT = re.compile(r"ngram:([0-9a-f]{64})")
_MOST_TOKENS = 2048  # where requests have no cap


class NgramOptions(Table):
    """`[model.options]` of an `ngram` model.

    order: length of the n-grams: the next token depends on the preceding (order - 1)
        tokens
    pretraining: ids of the suite's books to train on before fine-tuning
    """

    order: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=MAX_ORDER,
        ),
    ] = 3
    pretraining: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class NgramFinetune(Table):
    """`[model.finetune]` of an `ngram` model, in addition to its books.

    epochs: how many times the training set is read; the model memorizes more of it each
        time
    """

    epochs: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=1000,
        ),
    ] = 1


class NgramEndpoint(RequestEndpoint):
    """A trained model; `id` identifies its weights.

    Its completions depend only on instruction, `seed`, `temperature`, and `max_tokens`.
    Completion i of a call is that of seed + i, so rounds may be grouped into calls in
    any way if a call's seed is a base plus the ordinal of its first completion.

    continues: whether it continues a text instead of answering an instruction
    """

    def __init__(
        self,
        endpoint_id: str,
        writer: NgramWriter,
        *,
        continues: bool = False,
    ) -> None:
        self.id = endpoint_id
        self._writer = writer
        self._continues = continues
        # There is no file of the weights; training on these texts always gives the
        # same.
        weights = _ENDPOINT.match(endpoint_id)
        self._served = (
            Served(fingerprint=fingerprint_of_weights(weights[1])) if weights else None
        )

    @property
    def abilities(self) -> Abilities:
        """The id identifies the training texts, and so the weights."""
        fingerprint = self._served.fingerprint if self._served else None
        if self._continues:
            return Abilities(
                fixed_weights=True,
                weights_fingerprint=lambda: fingerprint,
                samples_each=True,
            )
        return Abilities(
            fixed_weights=True,
            weights_fingerprint=lambda: fingerprint,
            samples_each=True,
            continuing=lambda: NgramEndpoint(
                f"{self.id}#text",
                self._writer,
                continues=True,
            ),
        )

    def answer(self, request: SampleRequest) -> list[Completion]:
        """Return the completions.

        None means a random seed, a temperature of 1, and 2,048 tokens.

        Raises ProviderError for a temperature below 0 and for fewer than one token.
        """
        seed = request.seed
        max_tokens = _MOST_TOKENS if request.max_tokens is None else request.max_tokens
        temperature = 1.0 if request.temperature is None else request.temperature
        if not 0 <= temperature < math.inf or max_tokens < 1:
            raise CallErrorFactory(NgramProvider.name, self.id, "sample").final(
                f"temperature {temperature} with at most {max_tokens} tokens can't be "
                "sampled",
                "expected a temperature of 0 or more, and at least 1 token",
            )
        write = self._writer.go_on if self._continues else self._writer.write
        drafts = write(
            request.instruction,
            n=request.n,
            seed=secrets.randbits(63) if seed is None else seed,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        prompt_tokens = len(text_to_tokens(request.instruction))
        return [
            Completion(
                draft.text,
                FinishReason.STOP if draft.ended else FinishReason.LENGTH,
                prompt_tokens=prompt_tokens,
                completion_tokens=draft.tokens,
                served=self._served,
            )
            for draft in drafts
        ]


class NgramProvider:
    """Trains and opens `ngram` models; a fine-tune's job id is its endpoint.

    Raises SuiteError for wrong options and without training text.
    """

    name = "ngram"
    concurrency = 1
    completions_per_call = 50
    batch = False

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        self._setup = setup
        self._options = read_table(
            NgramOptions,
            model.options,
            place=place,
            name="options",
        )
        self._finetune = read_table(
            NgramFinetune,
            model.finetune,
            place=place,
            name="finetune",
        )
        self._opened: dict[str, NgramEndpoint] = {}
        if model.base_model is not None:
            raise setup.error(
                f"base_model = {model.base_model!r}: an ngram model has no base model",
                "remove base_model; options.pretraining names its training books",
            )
        if not (self._options.pretraining or model.finetune_books or model.endpoint):
            raise self._no_training_text_error()

    @property
    def abilities(self) -> Abilities:
        """A fine-tune depends on the model's order and pretraining."""
        finetuning = Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            weights_options=frozenset({"order", "pretraining"}),
        )
        return Abilities(finetuning=finetuning)

    def find_finetune(self, digest: str) -> str | None:
        """Return the endpoint of a stored training set with these options."""
        endpoint = self._endpoint_id(digest)
        return endpoint if self._training_set_path(endpoint).is_file() else None

    def start_finetune(self, training: TrainingSet) -> str:
        """Store the training set; the model is trained when it is opened."""
        endpoint = self._endpoint_id(training.digest)
        examples = [
            [example.instruction, example.text] for example in training.examples
        ]
        record = json.dumps({"training": training.digest, "examples": examples})
        try:
            write_private(self._training_set_path(endpoint), record)
        except OSError as error:
            failing = CallErrorFactory(self.name, endpoint, "start_finetune")
            raise failing.final(_cause_of_error(error)) from None
        return endpoint

    def poll_finetune(self, job_id: str) -> JobState:
        """Return SUCCEEDED if the training set is stored, else FAILED."""
        kept = self._training_set_path(job_id)
        if kept.is_file():
            return JobState(JobStatus.SUCCEEDED, endpoint=job_id)
        return JobState(
            JobStatus.FAILED,
            detail=f"the stored training set {kept} is missing",
        )

    def open(self, endpoint: str | None) -> NgramEndpoint:
        """Return the fine-tuned model of an endpoint; None: the one after pretraining.

        Raises ProviderError for an endpoint that isn't stored or has other options.
        """
        examples: list[TrainingText] = []
        if endpoint is None:
            endpoint = self._endpoint_id(None)
        else:
            examples = self._read_training_set(endpoint)
        if endpoint not in self._opened:
            texts = [_text_of(book) for book in self._pretraining_books]
            texts += examples
            if not any(text.text.strip() for text in texts):
                raise self._no_training_text_error()
            writer = NgramWriter(texts, order=self._options.order)
            self._opened[endpoint] = NgramEndpoint(endpoint, writer)
        return self._opened[endpoint]

    def _read_training_set(self, endpoint: str) -> list[TrainingText]:
        """Return an endpoint's training set, from the state folder."""
        kept, failing = (
            self._training_set_path(endpoint),
            CallErrorFactory(self.name, endpoint, "open"),
        )
        try:
            record = json.loads(kept.read_bytes())
            training, epochs = str(record["training"]), self._finetune.epochs
            texts = [
                TrainingText(text, asked, epochs) for asked, text in record["examples"]
            ]
        except OSError as error:
            raise failing.final(
                f"{kept}: {_cause_of_error(error)}", _TRAIN_AGAIN
            ) from None
        except (ValueError, TypeError, KeyError):
            hint = f"delete it, then {_TRAIN_AGAIN}"
            raise failing.final(f"{kept} is damaged", hint) from None
        if self._endpoint_id(training) != endpoint:
            raise failing.final(
                "It was trained with a different order, pretraining, or number of "
                "epochs",
                "restore them, or remove the endpoint from the suite to train a new "
                "one",
            )
        return texts

    @functools.cached_property
    def _pretraining_books(self) -> tuple[Book, ...]:
        return tuple(map(self._setup.read_book, self._options.pretraining))

    def _endpoint_id(self, training: str | None) -> str:
        """Return a name for the weights, by everything that they depend on."""
        books = [book.digest for book in self._pretraining_books]
        parts: list[object] = [VERSION, self._options.order, books]
        if training is not None:
            parts += [training, self._finetune.epochs]
        name = json.dumps(parts)
        return f"ngram:{hashlib.sha256(name.encode()).hexdigest()}"

    def _training_set_path(self, endpoint: str) -> Path:
        match = _ENDPOINT.fullmatch(endpoint)
        if match is None:
            raise CallErrorFactory(self.name, endpoint, "open").final(
                "Not the id of an ngram endpoint",
                "expected ngram:<64 digits>",
            )
        return self._setup.state / f"{match[1]}.json"

    def _no_training_text_error(self) -> SuiteError:
        return self._setup.error(
            "An ngram model needs training text",
            "name books of the suite in options.pretraining or [model.finetune]",
        )


_TRAIN_AGAIN = "train again: name its books in [model.finetune], and remove endpoint."


def _text_of(book: Book) -> TrainingText:
    excerpts = [excerpt.text for excerpt in book.excerpts]
    return TrainingText(PARAGRAPH.join(excerpts))


def _cause_of_error(error: OSError) -> str:
    return error.strerror or str(error)
