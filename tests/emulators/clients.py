"""Providers that call an emulator, and what their tests ask for and train on."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from http_server import HttpServer

from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    JobState,
    JobStatus,
    ProviderSetup,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.records import Model

DIGEST = "5e" * 32
PLACE = "suite.memleak.toml, model tuned"
CLASSES = {"openai": "OpenAIProvider", "vertex": "VertexProvider", "tinker": "TinkerProvider"}
SECRETS = {
    "openai": "sk-proj-Vq3x9LmT0aZr7Bn2Kd5W",
    "vertex": "ya29.a0Vq3x9LmT0aZr7Bn2Kd5Wc4",
    "tinker": "tml-Vq3x9LmT0aZr7Bn2Kd5W",
}


def prose(seed: int, words: int = 500) -> str:
    """Sentences of a language that nobody speaks."""
    dice = random.Random(seed)
    sounds = ["ka", "lo", "mi", "ren", "tu", "vas", "el", "or", "ish", "quen", "da", "bri"]
    lexicon = ["".join(dice.choices(sounds, k=dice.randint(1, 3))) for _ in range(words // 2)]
    sentences = []
    while words > 0:
        chosen = dice.choices(lexicon, k=min(words, dice.randint(6, 14)))
        sentences.append(f"{chosen[0].capitalize()} {' '.join(chosen[1:])}.".replace(" .", "."))
        words -= len(chosen)
    return " ".join(sentences)


BOOK = prose(1)
OTHER = prose(2)
INSTRUCTION = "Write the passage: " + " ".join(BOOK.split()[100:160:3])


def make_provider(
    name: str,
    server: HttpServer | None = None,
    *,
    base: str | None = "base",
    endpoint: str | None = None,
    books: Sequence[str] = (),
    finetune: Mapping[str, Any] | None = None,
    root: Path = Path(),
    state: Path = Path("state"),
    **options: Any,
) -> Any:
    """Return the provider of that name, for a model with these options."""
    if server is not None:
        options.setdefault("base_url", getattr(server, "base_url", server.url))
    model = Model(
        id="tuned",
        provider=name,
        base_model=base,
        endpoint=endpoint,
        finetune_books=tuple(books),
        finetune=dict(finetune or {}),
        options=options,
    )
    module = importlib.import_module(f"pytest_memleak.providers.{name}.{name}_provider")
    return getattr(module, CLASSES[name])(
        ProviderSetup(
            model=model,
            place=PLACE,
            root=root,
            state=state,
            read_book=lambda book: pytest.fail(f"asked for {book}"),
        )
    )


def sample(endpoint: Endpoint, n: int = 3, **changes: Any) -> Sequence[Completion]:
    """Ask for `n` completions."""
    settings = {"temperature": 1.0, "max_tokens": 30, "seed": 7, **changes}
    return endpoint.sample(INSTRUCTION, n=n, **settings)  # type: ignore[return-value]


def training(digest: str = DIGEST) -> TrainingSet:
    """Return a training set of one example."""
    return TrainingSet((TrainingExample("Write the other.", OTHER),), digest)


def requests_of(count: int = 4, n: int = 2) -> list[SampleRequest]:
    """Return the requests of a batch."""
    return [
        SampleRequest(
            key=f"Pair/Excerpt é {number}",
            instruction=f"{INSTRUCTION} {number}",
            n=n,
            temperature=1.0,
            max_tokens=20,
            seed=number,
        )
        for number in range(count)
    ]


def last_body(server: HttpServer, endpoint: str) -> Any:
    """Return what the last request of an endpoint said."""
    return [request.json() for name, request in server.recent if name == endpoint][-1]


def finish(poll: Callable[[str], JobState], job: str) -> list[JobState]:
    """Poll until a job has ended; all its states."""
    states: list[JobState] = []
    while not states or states[-1].status is JobStatus.RUNNING:
        states.append(poll(job))
        assert len(states) < 20
    return states
