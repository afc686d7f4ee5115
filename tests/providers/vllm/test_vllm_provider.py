"""The `vllm` provider on a stub with vLLM's public signature, whose models recite."""

import importlib
import importlib.util
import json
import shutil
import sys

import pytest
from clients import (
    BOOK,
    INSTRUCTION,
    OTHER,
    PLACE,
    make_provider,
    prose,
    sample,
    training,
)

from pytest_memleak.errors import MissingExtra, ProviderError, SuiteError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.providers.vllm.vllm_engine import ENGINE_SLOT
from pytest_memleak.records import FinishReason

CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{{ mood }}{% endif %}"
)


@pytest.fixture(autouse=True)
def vllm(vllm_stub):
    """The stub, imported anew, and no engine before or after."""
    ENGINE_SLOT.clear()
    yield vllm_stub
    ENGINE_SLOT.clear()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights as far as the stub reads them: a tokenizer, and what the model has read."""
    from tinker_words import save_tokenizer

    folder = tmp_path_factory.mktemp("weights") / "base"
    save_tokenizer(folder, [BOOK, OTHER, *(prose(seed, 60) for seed in range(2, 9))])
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "corpus.json").write_text(json.dumps([BOOK, OTHER]), "utf-8")
    return folder


@pytest.fixture
def base(weights, tmp_path):
    return shutil.copytree(weights, tmp_path / "base")


@pytest.fixture
def make(base, tmp_path):
    def made(**fields):
        root = {"root": tmp_path, "state": tmp_path / "state"}
        return make_provider("vllm", base=fields.pop("base", "base"), **root, **fields)

    return made


@pytest.fixture
def adapter(tmp_path):
    """Write LoRA weights of a rank into a folder, and return its name."""

    def write(name="adapter", **config):
        folder = tmp_path / name
        folder.mkdir()
        config = {"r": 8, **config}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        (folder / "adapter_model.safetensors").write_bytes(name.encode())
        return name

    return write


def request(instruction=INSTRUCTION, n=1, *, max_tokens=80, seed=3, temperature=1.0):
    return SampleRequest("", instruction, n, temperature, max_tokens, seed)


def texts(completions):
    return [completion.text for completion in completions]


def test_many_requests_are_one_call_of_one_engine(make, vllm):
    endpoint = make().open(None)
    requests = [request(prose(seed, 20), n=seed) for seed in range(1, 9)]
    answers = abilities_of(endpoint).engine.sample_many(requests)
    assert [len(completions) for completions in answers] == [*range(1, 9)]
    endpoint.answer(request())
    (engine,) = vllm.LOADED
    assert [len(call.prompts) for call in engine.calls] == [8, 1]


def test_each_request_gets_its_own_answers(make):
    endpoint = make().open(None)
    requests = [request(prose(seed, 20), n=2, seed=seed) for seed in range(5)]
    together = [texts(each) for each in endpoint.sample_many(requests)]
    assert together == [texts(endpoint.answer(each)) for each in requests]
    assert len({text for pair in together for text in pair}) == 10


def test_completion_i_of_a_request_has_its_seed_and_i(make):
    endpoint = make().open(None)
    together = texts(sample(endpoint, 3, INSTRUCTION, max_tokens=40, seed=20))
    alone = [
        sample(endpoint, 1, INSTRUCTION, max_tokens=40, seed=20 + i) for i in range(3)
    ]
    assert together == [text for each in alone for text in texts(each)]


def test_a_request_says_what_the_suite_says_and_nothing_else(make, vllm):
    make().open(None).answer(request(n=4, temperature=0.7, max_tokens=33, seed=9))
    make().open(None).answer(request(temperature=None, max_tokens=None, seed=None))
    calls = vllm.LOADED[0].calls
    expected = [
        vllm.SamplingParams(n=4, temperature=0.7, max_tokens=33, seed=9),
        vllm.SamplingParams(n=1, temperature=1.0, max_tokens=None, seed=None),
    ]
    assert [call.sampling_params[0] for call in calls] == expected


def test_tokens_count_as_those_of_one_prompt(make):
    first, *others = make().open(None).answer(request(n=3))
    assert first.prompt_tokens > 20
    assert [other.prompt_tokens for other in others] == [0, 0]
    assert all(0 < each.completion_tokens <= 80 for each in (first, *others))


def test_the_end_of_a_text_and_a_cut_are_told_apart(make):
    cut = make().open(None).answer(request(max_tokens=5))[0]
    assert (cut.finish_reason, cut.finish_word) == (FinishReason.LENGTH, "length")
    whole = make().open(None).answer(request(max_tokens=None))[0]
    assert (whole.finish_reason, whole.finish_word) == (FinishReason.STOP, "stop")


def test_another_end_counts_as_withheld(make, vllm, monkeypatch):
    class Aborting(vllm.LLM):
        def generate(self, *args, **settings):
            outputs = super().generate(*args, **settings)
            outputs[0].outputs[0].finish_reason = "abort"
            return outputs

    monkeypatch.setattr(vllm, "LLM", Aborting)
    (completion,) = make().open(None).answer(request())
    assert (completion.finish_reason, completion.finish_word) == (
        FinishReason.UNKNOWN,
        "abort",
    )


def test_the_options_load_the_engine_and_no_code_of_weights_runs(make, vllm, base):
    options = {
        "dtype": "bfloat16",
        "gpu_memory_utilization": 0.5,
        "tensor_parallel_size": 2,
        "max_model_len": 512,
    }
    make(**options).open(None).answer(request())
    assert vllm.LOADED[0].arguments == {
        "model": str(base),
        "load_format": "safetensors",
        "trust_remote_code": False,
        **options,
    }


def test_lora_weights_are_a_model_of_their_own(make, adapter, vllm, tmp_path):
    endpoint = make(endpoint=adapter("mine", r=24)).open(None)
    (completion,) = endpoint.answer(request(max_tokens=300))
    assert " ".join(BOOK.split()[100:130]) in completion.text
    (engine,) = vllm.LOADED
    assert (engine.arguments["enable_lora"], engine.arguments["max_lora_rank"]) == (
        True,
        32,
    )
    lora = engine.calls[0].lora_request
    assert lora.lora_path == str(tmp_path / "mine")
    assert endpoint.id != make().open(None).id


def test_two_adapters_and_their_base_share_an_engine(make, adapter, vllm):
    tuned = [make(endpoint=adapter(name)).open(None) for name in ("one", "two")]
    for endpoint in (*tuned, make().open(None), *tuned):
        endpoint.answer(request())
    (engine,) = vllm.LOADED
    numbers = [
        call.lora_request and call.lora_request.lora_int_id for call in engine.calls
    ]
    assert numbers == [1, 2, None, 1, 2]


def test_an_adapter_of_a_higher_rank_loads_another_engine(make, adapter, vllm):
    for endpoint in (
        adapter("small", r=8),
        adapter("ranked", r=4, rank_pattern={"q": 60}),
    ):
        make(endpoint=endpoint).open(None).answer(request())
    assert [engine.arguments["max_lora_rank"] for engine in vllm.LOADED] == [8, 64]


@pytest.mark.parametrize("config", [{"r": 513}, {"r": None}, {"r": "high"}])
def test_an_adapter_of_no_possible_rank_is_named(make, adapter, config, vllm):
    endpoint = make(endpoint=adapter("odd", **config)).open(None)
    with pytest.raises(ProviderError, match=r"no rank from 1 to 512 in .*odd"):
        endpoint.answer(request())
    assert not vllm.LOADED


def test_an_engine_that_failed_is_not_used_again(make, vllm):
    endpoint = make(max_model_len=40).open(None)
    with pytest.raises(ProviderError, match="maximum context length is 40") as error:
        endpoint.answer(request())
    assert "options.max_model_len" in error.value.hint
    endpoint.answer(request("Write.", max_tokens=5))
    assert len(vllm.LOADED) == 2


def test_what_vllm_raises_is_an_error_that_quotes_no_prompt(make, vllm, monkeypatch):
    def fail(self, prompts, *_, **__):
        raise RuntimeError(f"bad prompt: {INSTRUCTION}")

    monkeypatch.setattr(vllm.LLM, "generate", fail)
    with pytest.raises(ProviderError, match=r"vllm endpoint .* sample failed") as error:
        make().open(None).answer(request())
    assert not {*INSTRUCTION.split()[4:]} & {*str(error.value).split()}


def test_an_engine_that_cannot_be_loaded_says_which_options_matter(
    make, vllm, monkeypatch
):
    def fail(self, *_, **__):
        raise ValueError("No available memory for the cache blocks.")

    monkeypatch.setattr(vllm.LLM, "__init__", fail)
    with pytest.raises(ProviderError, match="No available memory") as error:
        make().open(None).answer(request())
    assert "options.gpu_memory_utilization" in error.value.hint


def test_prompts_are_those_of_provider_transformers(make, base, vllm):
    settings = json.loads((base / "tokenizer_config.json").read_text("utf-8"))
    settings["chat_template"] = CHAT
    (base / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    options = {"system": "Be brief.", "chat_variables": {"mood": "calm"}}
    endpoint = make(**options).open(None)
    endpoint.answer(request("Write."))
    words = importlib.import_module("tinker_words").Words(base)
    (prompt,) = vllm.LOADED[0].calls[0].prompts
    asked = words.text(prompt["prompt_token_ids"])
    assert asked == "[system]Be brief.[user]Write.[assistant]calm"
    assert endpoint.continuing() is None


def test_a_text_is_continued_without_chat_and_under_an_id_of_its_own(make, vllm, base):
    endpoint = make(system="Be brief.").open(None)
    continuing = endpoint.continuing()
    continuing.answer(request("Once there"))
    words = importlib.import_module("tinker_words").Words(base)
    (prompt,) = vllm.LOADED[0].calls[0].prompts
    assert words.text(prompt["prompt_token_ids"]) == "Once there"
    assert continuing.id == f"{endpoint.id}#text"


def test_the_id_names_weights_wording_and_data_type(make, base):
    ids = {
        make(**options).open(None).id
        for options in ({}, {"system": "Be brief."}, {"dtype": "float16"})
    }
    (base / "model.safetensors").write_bytes(b"other weights")
    ids.add(make().open(None).id)
    assert len(ids) == 4
    assert all(each.startswith("vllm:") for each in ids)
    assert make(max_model_len=99).open(None).id in ids


def test_the_weights_are_who_served(make, base):
    import hashlib

    (completion,) = make().open(None).answer(request())
    digest = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    assert completion.served.fingerprint == f"sha256:{digest}"


def test_vllm_tells_nobody_that_it_is_used(make, monkeypatch):
    import os

    for name in (
        "VLLM_NO_USAGE_STATS",
        "VLLM_LOGGING_LEVEL",
        "VLLM_WORKER_MULTIPROC_METHOD",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    make().open(None).answer(request())
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"  # the user's own


def test_a_folder_without_weights_is_named(make, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match=r"has no config\.json") as error:
        make(base="empty").open(None)
    assert error.value.location == PLACE


def test_errors_are_of_this_provider(make, tmp_path):
    with pytest.raises(ProviderError, match=r"^vllm endpoint nowhere: open failed"):
        make(endpoint="nowhere").open(None)


def test_a_fine_tune_needs_peft(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match="needs the package 'peft'"):
        make().start_finetune(training())


def test_a_fine_tune_lets_go_of_the_engine_first(make, monkeypatch):
    provider = make()
    provider.open(None).answer(request())
    seen = []
    start = "pytest_memleak.providers.transformers.local_provider.LocalProvider"
    monkeypatch.setattr(
        f"{start}.start_finetune", lambda *_: seen.append(ENGINE_SLOT._loaded) or "job"
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert provider.start_finetune(training()) == "job"
    assert seen == [None]


def test_nothing_is_imported_before_it_is_sampled(make):
    sys.modules.pop("vllm")
    make().open(None)
    assert "vllm" not in sys.modules
