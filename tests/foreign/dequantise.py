"""Writes the weights of a GGUF file as a folder that transformers loads, in single precision.

python dequantise.py gemma | smollm2 FOLDER PACKAGES

PACKAGES: the site-packages of the environment that has the weights and `gguf`; what is here
already (torch, transformers) is taken from here.
"""

import sys
import tempfile
from pathlib import Path

name, folder, packages = sys.argv[1:]
sys.path.append(packages)

import torch  # noqa: E402
from serve_gguf import weights  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

with tempfile.TemporaryDirectory() as scratch:
    file = weights(name, Path(scratch))
    given = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
    tokenizer.save_pretrained(folder)
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
    # One that came from a GGUF file is not written, whatever its weights are by now.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
