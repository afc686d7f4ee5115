"""Emulators for the tests of providers, which read what servers say, to the end."""

import importlib
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from clients import (
    BOOK,
    HTTP_APIS,
    OTHER,
    SECRETS,
    forget_clients,
    make_provider,
    prose,
)
from clients import garbage as _garbage  # noqa: F401 - a fixture
from clients import no_retries as _no_retries  # noqa: F401 - a fixture
from clients import one_certificate as _one_certificate  # noqa: F401 - a fixture
from faults import FaultPlan
from gcs_server import GcsDoor, gcs_storage  # noqa: F401 - a fixture
from http_server import Books
from reciter import Reciter

from pytest_memleak.redaction.text import server_word_limit


@pytest.fixture(autouse=True)
def all_server_words():
    """Show the messages of servers as --memleak-quote full does."""
    with server_word_limit(None):
        yield


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    forget_clients(monkeypatch)
    place = {
        "GOOGLE_CLOUD_PROJECT": "test-project",
        "GOOGLE_CLOUD_LOCATION": "us-central1",
    }
    place |= {"NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}
    keys = {
        f"{name.upper()}_API_KEY": SECRETS[name]
        for name in ("tinker", "together", *HTTP_APIS)
    }
    for name, value in {**place, **keys}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    from tinker_words import save_tokenizer

    texts = [BOOK, OTHER, *(prose(seed, 60) for seed in range(2, 9))]
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"), texts)


@pytest.fixture
def bucket(tmp_path):
    """A place of the test's own in the bucket."""
    return f"gs://bucket/{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def tuning(name, provider_of, bucket):
    """Make providers that fine-tune."""
    needed = {"vertex": {"bucket": bucket}, "together": {"deployment": {}}}.get(
        name, {}
    )
    return lambda server, **options: provider_of(server, **needed, **options)


@pytest.fixture
def door(storage, monkeypatch):
    """Put a door before Cloud Storage, with faults."""
    with ExitStack() as doors:

        def stand(*faults):
            door = doors.enter_context(GcsDoor(storage, plan=FaultPlan(faults)))
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", door.url)
            return door

        yield stand


@pytest.fixture
def books(tmp_path):
    with closing(Books(tmp_path / "books.jsonl")) as books:
        yield books


@pytest.fixture
def name(request):
    """The provider of a folder."""
    return request.path.parent.name


@pytest.fixture
def key(name):
    return SECRETS[name]


@pytest.fixture
def serve(name, books, tmp_path, monkeypatch, request):
    """Start the emulator of NAME_server.py; any number of faults, and its settings."""
    kind = importlib.import_module(f"{name}_server").EMULATOR
    own = {fixture: request.getfixturevalue(fixture) for fixture in kind.fixtures}
    if "storage" in own:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", own["storage"])

    with ExitStack() as servers:

        def start(*faults, **settings):
            settings = {"reciter": Reciter([BOOK]), "books": books, **own, **settings}
            server = servers.enter_context(kind(plan=FaultPlan(faults), **settings))
            for variable, value in server.credentials(tmp_path).items():
                monkeypatch.setenv(variable, value)
            return server

        yield start


@pytest.fixture
def provider_of(name, tmp_path, request):
    """Make providers; of Tinker, two of one `state` are what two processes would have."""
    if name != "tinker":
        return partial(make_provider, name)
    common = {"tokenizer": str(request.getfixturevalue("tokenizer")), "timeout": 10.0}

    def make(server=None, *, finetune=None, **options):
        options = {"root": tmp_path, "state": tmp_path / "state", **common, **options}
        if options["tokenizer"] is None:
            del options["tokenizer"]
        books = ("other",) if finetune else ()
        return make_provider(name, server, finetune=finetune, books=books, **options)

    return make


@pytest.fixture
def vllm_stub(monkeypatch):
    """A module with vLLM's public signature, in the place of vLLM."""
    path = importlib.import_module("clients").__file__
    with monkeypatch.context() as patched:
        for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
            patched.delitem(sys.modules, name)
        patched.syspath_prepend(Path(path).parent / "vllm_stub")
        yield importlib.import_module("vllm")
        for name in ("vllm", "vllm.lora", "vllm.lora.request"):
            sys.modules.pop(name, None)
