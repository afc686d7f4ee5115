"""Providers that call an emulator, and what their tests ask for and train on."""

import asyncio
import functools
import gc
import importlib
import os
import random
import sys
import time
import warnings
from difflib import SequenceMatcher
from pathlib import Path

import certifi
import pytest

from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import (
    JobStatus,
    ProviderSetup,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.records import Model

VARIABLES = (
    "OPENAI_",
    "TINKER_",
    "TOGETHER_",
    "GOOGLE_",
    "GEMINI_",
    "CLOUDSDK_",
    "GCLOUD_",
)
DIGEST = "5e" * 32
PLACE = "suite.memleak.toml, model tuned"
SECRETS = {
    "openai": "sk-proj-Vq3x9LmT0aZr7Bn2Kd5W", "vertex": "ya29.a0Vq3x9LmT0aZr7Bn2Kd5Wc4",
    "tinker": "tml-Vq3x9LmT0aZr7Bn2Kd5W", "together": "tgp_v1_Vq3x9LmT0aZr7Bn2Kd5W",
}  # fmt: skip
_FOLDER = Path(__file__).parent


def _named(suffix):
    return {path.name.removesuffix(suffix) for path in _FOLDER.glob(f"*{suffix}")}


_PLUGINS = _named("_plugin.py")
HTTP_APIS = sorted(
    (_PLUGINS | PROVIDERS.keys()) & _named("_server.py") - SECRETS.keys()
)
"""Classes of HttpProvider, built in or of a plugin (NAME_plugin.py), with NAME_server.py."""
SECRETS |= {name: f"key-{name}-Vq3x9LmT0aZr7Bn2Kd5W" for name in HTTP_APIS}


def prose(seed, words=500):
    """Sentences of a language that nobody speaks."""
    dice = random.Random(seed)
    sounds = [
        "ka",
        "lo",
        "mi",
        "ren",
        "tu",
        "vas",
        "el",
        "or",
        "ish",
        "quen",
        "da",
        "bri",
    ]
    lexicon = [
        "".join(dice.choices(sounds, k=dice.randint(1, 3))) for _ in range(words // 2)
    ]
    sentences = []
    while words > 0:
        chosen = dice.choices(lexicon, k=min(words, dice.randint(6, 14)))
        sentences.append(
            f"{chosen[0].capitalize()} {' '.join(chosen[1:])}.".replace(" .", ".")
        )
        words -= len(chosen)
    return " ".join(sentences)


BOOK, OTHER = prose(1), prose(2)
INSTRUCTION = "Write the passage: " + " ".join(BOOK.split()[100:160:3])


def forget_clients(monkeypatch):
    """Take what clients are told by variables out of the environment."""
    for name in os.environ:
        if name.startswith(VARIABLES):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module", autouse=True)
def one_certificate(tmp_path_factory):
    """Of all that clients trust by default, which each of them takes its time to read."""
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("certificate") / "one.pem"
    path.write_text(certifi.contents().partition(end)[0] + end, "ascii")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(scope="module", autouse=True)
def garbage():
    """Collect what the SDKs have left behind, whose sockets may still be open."""
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


@pytest.fixture(autouse=True)
def no_retries():
    """End what the SDK of Tinker tries again and logs for minutes, whatever test runs then."""
    yield
    if sdk := sys.modules.get("tinker.lib.internal_client_holder"):
        loop = sdk._internal_client_holder_thread_singleton.get_loop()
        asyncio.run_coroutine_threadsafe(_end_others(), loop).result()


async def _end_others():
    if ended := [
        it for it in asyncio.all_tasks() - {asyncio.current_task()} if it.cancel()
    ]:
        await asyncio.wait(ended, timeout=2)


def make_provider(
    name,
    server=None,
    *,
    base="base",
    endpoint=None,
    books=(),
    finetune=None,
    root=Path(),
    state=Path("state"),
    read_book=lambda book: pytest.fail(f"asked for {book}"),
    timeout=300.0,
    hosts=(),
    **options,
):
    if server is not None:
        options.setdefault("base_url", getattr(server, "base_url", server.url))
    recipe = {"finetune_books": tuple(books), "finetune": dict(finetune or {})}
    model = Model("tuned", name, base, endpoint=endpoint, options=options, **recipe)
    setup = ProviderSetup(
        model, PLACE, root, state, read_book, frozenset(hosts), timeout
    )
    return _factory(name)(setup)


@functools.cache
def _factory(name):
    """A provider by its name, as the hooks of plugins have it."""
    if name in PROVIDERS:
        return PROVIDERS[name]
    plugins = [importlib.import_module(f"{plugin}_plugin") for plugin in _PLUGINS]
    return Extensions(plugins).provider(name, place=PLACE)


def sample(endpoint, n=3, instruction=INSTRUCTION, **changes):
    settings = {"temperature": 1.0, "max_tokens": 30, "seed": 7, **changes}
    return endpoint.sample(instruction, n=n, **settings)


def training(digest=DIGEST):
    return TrainingSet((TrainingExample("Write the other.", OTHER),), digest)


def requests_of(count=4, n=2):
    return [
        SampleRequest(
            f"Pair/Excerpt é {seed}", f"{INSTRUCTION} {seed}", n, 1.0, 20, seed
        )
        for seed in range(count)
    ]


def bodies(server, endpoint):
    return [request.json() for name, request in server.recent if name == endpoint]


def last_body(server, endpoint):
    return bodies(server, endpoint)[-1]


def finish(poll, job):
    """Poll until a job has ended; all its states."""
    states = [poll(job)]
    while states[-1].status is JobStatus.RUNNING:
        assert len(states) < 500, "the job does not end"
        time.sleep(0.02)
        states.append(poll(job))
    return states


def deploy(provider, weights=None):
    """Deploy weights, where they need it, and move in; the endpoint's resource name."""
    platform = provider.abilities.deployments
    wanted = platform and platform.needed(weights)
    if wanted is None:
        return None
    name = finish(platform.poll, platform.start(wanted))[-1].endpoint
    platform.move_in(wanted, name, time.time() + 60)
    return name


def longest_passage(text, source):
    ours, theirs = text.split(), source.split()
    return SequenceMatcher(None, ours, theirs, autojunk=False).find_longest_match().size
