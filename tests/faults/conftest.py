"""Whole runs of small suites against the emulators; see worlds.py."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "emulators", HERE.parent / "sampling"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import worlds
from gcs_server import gcs_server
from postgres_server import PostgresServer, binaries

from pytest_memleak.means import Means
from pytest_memleak.sampling.patience import Patience

HASTE = Patience(
    deadline=20.0, tries=4, total=5.0, first=0.01, most=0.05, recovery=0.2, poll=0.01, poll_most=0.1
)


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    with gcs_server("bucket") as url:
        yield url


@pytest.fixture(scope="session")
def stories():
    return worlds.stories()


@pytest.fixture(scope="session")
def tokenizer(stories, tmp_path_factory) -> Path:
    from tinker_words import save_tokenizer

    texts = [
        record[key]
        for story in stories.values()
        for record in story
        for key in ("excerpt_text", "instruction")
    ]
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"), texts)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def world(stories, storage, tokenizer, tmp_path_factory):
    """Starts servers: `world("vertex-batch", fault, ..., polls=0)`."""
    with contextlib.ExitStack() as stack:

        def start(kind, *faults, **settings):
            return stack.enter_context(
                worlds.world_of(
                    kind,
                    tmp_path_factory.mktemp(kind),
                    stories=stories,
                    storage=storage,
                    tokenizer=tokenizer,
                    faults=faults,
                    **settings,
                )
            )

        yield start


# --- runs in this process ------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a run said, and where it wrote."""

    result: pytest.RunResult
    folder: Path

    @property
    def url(self) -> str:
        """The ledger's."""
        return f"sqlite:///{self.folder}/.memleak/ledger.db"

    @property
    def text(self) -> str:
        """The output, in words with one blank between them."""
        return " ".join(self.result.stdout.str().split())

    def property(self, name: str) -> str:
        """A property of the pair in the JUnit report."""
        junit = (self.folder / "junit.xml").read_text("utf-8")
        (value,) = set(re.findall(f'name="memleak.{name}" value="([^"]*)"', junit))
        return value


@pytest.fixture(scope="session")
def _imported(tokenizer):
    """What must not be forgotten while its threads are at work."""
    import tinker
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(tokenizer)  # imports the rest
    return tinker


class Imports:
    """What a run in this process imported, which pytester would forget."""

    def pytest_unconfigure(self):
        self._modules = dict(sys.modules)

    def keep(self):
        # A class that is imported twice is two classes, and no `except` clause knows the second.
        for name, module in self._modules.items():
            sys.modules.setdefault(name, module)


@pytest.fixture
def run(pytester, monkeypatch, _imported):
    """Runs the suite in this process: `run(world, "--memleak-plan", tries=2)`."""
    for name in os.environ:
        if name.startswith(("GOOGLE_", "GEMINI_", "CLOUDSDK_", "OPENAI_", "TINKER_")):
            monkeypatch.delenv(name)

    def go(world, *arguments, tries=HASTE.tries) -> Outcome:
        monkeypatch.setattr(Means, "patience", dataclasses.replace(HASTE, tries=tries))
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        others = ("hypothesispytest", "benchmark", "anyio", "pytest_cov", "xdist", "cacheprovider")
        without = [part for name in others for part in ("-p", f"no:{name}")]
        # The SDK of Tinker leaves connections open, which is none of the suite's business.
        lenient = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning")
        imports = Imports()
        result = pytester.runpytest(
            *without,
            *lenient,
            *("-m", "copyright", "--junitxml=junit.xml", *arguments),
            plugins=[imports],
        )
        imports.keep()
        return Outcome(result, pytester.path)

    return go
