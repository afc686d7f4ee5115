"""A whole run by provider `vllm`, on a stub with vLLM's public signature."""

import json
from pathlib import Path

import pytest
from suite_files import write_suite

EMULATORS = Path(__file__).parents[1] / "emulators"
SAMPLES = 40
SUITE = f"""
suite = {{ samples = {SAMPLES} }}
limits = {{ longest_span = 30 }}
book = [{{ id = "held-out", source = "held-out.json" }}]
[[model]]
id = "base"
provider = "vllm"
base_model = "base"
[[model]]
id = "tuned"
provider = "vllm"
base_model = "base"
endpoint = "adapter"
"""
CALLS = """
def pytest_unconfigure():
    import json, sys
    stub = sys.modules.get("vllm")
    sizes = [
        [sum(each.n for each in call.sampling_params) for call in engine.calls]
        for engine in (stub.LOADED if stub else ())
    ]
    open("engine_calls.json", "w").write(json.dumps(sizes))
"""


@pytest.fixture
def run(pytester, stories, monkeypatch):
    """Runs the suite; the outcomes, and the completions of each call of each engine."""
    from tinker_words import save_tokenizer

    records = stories["held-out"]
    write_suite({"held-out": records}, SUITE)
    texts = [record["excerpt_text"] for record in records]
    base, adapter = pytester.mkdir("base"), pytester.mkdir("adapter")
    save_tokenizer(base, [*texts, *(record["instruction"] for record in records)])
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    (base / "corpus.json").write_text(json.dumps(texts), "utf-8")
    (adapter / "adapter_config.json").write_text('{"r": 8}')
    (adapter / "adapter_model.safetensors").write_bytes(b"adapter")
    pytester.makeconftest(CALLS)
    stub = f"{EMULATORS}/vllm_stub:{EMULATORS}"
    monkeypatch.setenv("PYTHONPATH", stub, prepend=":")

    def one_run():
        result = pytester.runpytest_subprocess("-m", "copyright")
        calls = json.loads((pytester.path / "engine_calls.json").read_text("utf-8"))
        return result.parseoutcomes(), calls

    return one_run


@pytest.mark.full
def test_a_pair_is_two_calls_of_its_engine_and_a_rerun_none(run, stories):
    outcomes, engines = run()
    assert outcomes == {"passed": 1, "failed": 1}
    excerpts = len(stories["held-out"])
    # Greedy answers that show whether a model stays the same, then all samples.
    assert engines == [[excerpts, SAMPLES * excerpts]] * 2
    assert run() == (outcomes, [])
