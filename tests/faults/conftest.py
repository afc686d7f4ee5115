"""Whole runs of small suites against the emulators; see worlds.py."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "emulators", HERE.parent / "sampling"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import worlds
from gcs_server import gcs_server
from postgres_server import PostgresServer, binaries
from tinker_words import save_tokenizer


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    with gcs_server("bucket") as url:
        yield url


@pytest.fixture(scope="session")
def stories():
    return worlds.stories()


@pytest.fixture(scope="session")
def tokenizer(stories, tmp_path_factory) -> Path:
    texts = [one[key] for story in stories.values() for one in story for key in
             ("excerpt_text", "instruction")]
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
