"""Whole runs of small suites against the emulators; see scenarios.py."""

import contextlib
import dataclasses
import functools
import gc
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import scenarios
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - pytester would forget it
from clients import forget_clients, garbage, no_retries, one_certificate  # noqa: F401 - fixtures
from gcs_server import gcs_storage  # noqa: F401 - a fixture
from killed_runs import CONFTEST, KilledRuns
from ledgers import postgres  # noqa: F401 - a fixture
from nursery import Nursery
from own_plugin import OWN_PLUGIN
from study_suites import emulated, excerpts, tinker_sdk  # noqa: F401 - fixtures

from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.sampling.retry import Retry

WAITS = {"deadline": 120.0, "tries": 8, "total": 60.0, "first": 0.01, "most": 0.05}
HASTE = Retry(**WAITS, recovery=0.2, deploying=1.0, poll=0.01, poll_most=0.1)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Leave to the full set all cases of a test but its first: each is a whole run."""
    # The SDK of Tinker leaves connections open.
    expected = pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    )
    begun = set()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(expected)
            if item.get_closest_marker("full"):
                continue
            if item.function in begun:
                item.add_marker("full")
            begun.add(item.function)


@pytest.fixture(scope="session")
def stories():
    return scenarios.stories()


@pytest.fixture(scope="session")
def tokenizer(stories, tmp_path_factory):
    from tinker_words import save_tokenizer

    texts = [
        record[key]
        for story in stories.values()
        for record in story
        for key in ("excerpt_text", "instruction")
    ]
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"), texts)


@pytest.fixture
def scenario(stories, tmp_path_factory, request):
    """Starts servers: `scenario("vertex-batch", fault, ..., polls=0)`."""
    with contextlib.ExitStack() as stack:

        def start(kind, *faults, **settings):
            shared = {"stories": stories, "fixture": request.getfixturevalue}
            folder = tmp_path_factory.mktemp(kind)
            world = scenarios.world_of(
                kind, folder, faults=faults, **shared, **settings
            )
            return stack.enter_context(world)

        yield start


@pytest.fixture(scope="session")
def nursery_of():
    """A nursery for each provider, which has no more to import than its runs need."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda provider: stack.enter_context(Nursery(provider)))


@pytest.fixture
def killed_runs(scenario, nursery_of, tmp_path_factory, request):
    """Suites whose runs are killed; `suite`: options of `write_suite`; settings: of the server."""

    def start(
        kind,
        *faults,
        postgresql=False,
        pairs=1,
        workers=0,
        deploying=2.0,
        suite=None,
        **settings,
    ):
        server = scenario(kind, *faults, **settings)
        folder = tmp_path_factory.mktemp("run")
        (folder / "conftest.py").write_text(
            CONFTEST.format(deploying=deploying), "utf-8"
        )
        models = [
            "tuned",
            *(f"again-{number}" for number in range(1, workers or pairs)),
        ]
        server.write_suite(folder, models=models, **(suite or {}))
        url = f"sqlite:///{folder}/.memleak/ledger.db"
        if postgresql:
            url = request.getfixturevalue("postgres").new_database()
        return KilledRuns(
            nursery_of(server.provider), server, folder, url, models, workers
        )

    return start


@dataclass(frozen=True)
class Outcome:
    result: pytest.RunResult
    folder: Path

    @property
    def url(self):
        return f"sqlite:///{self.folder}/.memleak/ledger.db"

    @property
    def text(self):
        return " ".join(self.result.stdout.str().split())

    @property
    def ended(self):
        """How many answers of those asked for were drawn, and the verdict: "24/24 FAIL"."""
        received, verdict = re.findall(
            r"(\d+/\d+) (?:\S+ )?(PASS|FAIL|INCONCLUSIVE)", self.text
        )[0]
        return f"{received} {verdict}"

    def property(self, name):
        junit = (self.folder / "junit.xml").read_text("utf-8")
        (value,) = set(re.findall(f'name="memleak.{name}" value="([^"]*)"', junit))
        return value


def load_sdk(scenario):
    """Import what takes its time, which no call of a run has."""
    if scenario.provider == "together":
        import together  # noqa: F401
    elif scenario.provider == "tinker":
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(scenario.options["tokenizer"])


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs the suite in this process: `run(scenario, "--memleak-dry-run", tries=2)`.

    The first run writes it, and any with options of `Scenario.write_suite`.
    """
    forget_clients(monkeypatch)
    for name, value in OWN_PLUGIN.items():
        monkeypatch.setenv(name, value)

    def go(scenario, *arguments, tries=HASTE.tries, retry=HASTE, **suite):
        load_sdk(scenario)
        if suite or not (pytester.path / "run.memleak.toml").exists():
            scenario.write_suite(pytester.path, **suite)
        monkeypatch.setattr(Resources, "retry", dataclasses.replace(retry, tries=tries))
        for name, value in scenario.environment.items():
            monkeypatch.setenv(name, value)
        # While pytest parses a module, to rewrite it or to show a failure, nothing of
        # the SDKs' may be collected: Python 3.11 does not bear with a warning from
        # there.
        gc.collect()
        gc.disable()
        try:
            result = pytester.runpytest(
                # The second looks at what an SDK leaves behind.
                *("-p", "no:cacheprovider", "-p", "no:unraisableexception"),
                *(
                    "--assert=plain",
                    "-m",
                    "copyright",
                    "--junitxml=junit.xml",
                    *arguments,
                ),
            )
        finally:
            gc.enable()
        return Outcome(result, pytester.path)

    return go
