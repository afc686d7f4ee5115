"""Samples tiny weights by provider "vllm", in an environment that has vLLM; prints JSON.

    python sample_by_vllm.py FOLDER

FOLDER is where the weights are made. What is printed last: the parameters that vLLM's
own functions take, and the texts of a base, of the same base beside others, of its
fine-tune, and of the base again.
"""

import dataclasses
import inspect
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "emulators"))

TEXT = (
    "The harbour clock struck seven and every gull on the pier rose at once, as though "
    "the sound had been a thrown stone."
)
ASKED = "Write about a clock and some birds."
TOKENS = 40


def make_weights(folder):
    import transformers
    from tiny_weights import save_llama
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    settings = {"special_tokens": ["<unk>", "<end>"], "show_progress": False}
    tokenizer.train_from_iterator([TEXT, ASKED], 360, 0, **settings)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>"
    )
    wrapped.save_pretrained(folder)
    end = wrapped.eos_token_id
    # vLLM on a CPU wants heads of 32 numbers at least.
    sizes = (128, 256, 2, 4, 256)
    save_llama(folder, len(wrapped), sizes, initializer_range=0.1, eos_token_id=end)


def make_provider(root):
    from pytest_memleak.interfaces.protocols import ProviderSetup
    from pytest_memleak.providers.vllm.vllm_provider import VllmProvider
    from pytest_memleak.records import Model

    recipe = {"epochs": 80, "batch_size": 1, "learning_rate": 1e-2, "rank": 8}
    options = {"dtype": "float32", "max_model_len": 200}
    model = Model("tuned", "vllm", base_model="base", finetune=recipe, options=options)
    setup = ProviderSetup(model, "here", root, root / "state", read_book=lambda _: None)
    return VllmProvider(setup)


def sample(root):
    from pytest_memleak.interfaces.protocols import (
        SampleRequest,
        TrainingExample,
        TrainingSet,
    )

    def texts(endpoint, *requests):
        return [
            [completion.text for completion in completions]
            for completions in endpoint.sample_many(requests)
        ]

    provider = make_provider(root)
    alone = SampleRequest("", ASKED, 1, 1.0, TOKENS, 6)
    beside = SampleRequest("", ASKED, 2, 1.0, TOKENS, 5)
    greedy = SampleRequest("", "The harbour", 1, 0.0, TOKENS, None)
    base = provider.open(None)
    printed = {"alone": texts(base, alone), "beside": texts(base, beside, greedy)}
    training = TrainingSet((TrainingExample(ASKED, TEXT),), "ab" * 32)
    tuned = provider.open(provider.start_finetune(training))
    printed["tuned"] = texts(tuned, SampleRequest("", ASKED, 1, 0.0, TOKENS, None))
    printed["again"] = texts(base, greedy)
    long_prompt = SampleRequest("", "stone " * 300, 1, 1.0, TOKENS, 6)
    try:
        base.sample_many([long_prompt])
    except Exception as error:  # noqa: BLE001 - printed
        printed["too_long"] = f"{type(error).__name__}: {error}"
    provider.abilities.close()
    return printed


def signatures():
    from vllm import LLM, EngineArgs, SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.outputs import CompletionOutput, RequestOutput

    taken = {
        "LLM": inspect.signature(LLM.__init__),
        "generate": inspect.signature(LLM.generate),
        "SamplingParams": inspect.signature(SamplingParams),
        "LoRARequest": inspect.signature(LoRARequest),
        "CompletionOutput": inspect.signature(CompletionOutput),
        "RequestOutput": inspect.signature(RequestOutput.__init__),
    }
    names = {name: [*taken[name].parameters] for name in taken}
    names["EngineArgs"] = [field.name for field in dataclasses.fields(EngineArgs)]
    return names


def main():
    root = Path(sys.argv[1])
    make_weights(root / "base")
    print(json.dumps({"signatures": signatures(), "texts": sample(root)}))


if __name__ == "__main__":
    # As the run loop calls it: not in the main thread.
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
