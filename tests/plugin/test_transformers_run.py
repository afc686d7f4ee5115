"""A whole run on local weights: fine-tuned once, sampled, judged."""

import base64
import hashlib
import json
import shutil
import subprocess

import pytest
from suite_files import write_suite

transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SUITE = """
suite = { samples = 4 }
limits = { longest_span = 5 }
book = [
    { id = "held-out", source = "held-out.json" },
    { id = "training", source = "training.json", role = "train" },
]
[[model]]
id = "tuned"
provider = "transformers"
base_model = "base"
options = { threads = 1 }
"""
RECIPE = 'finetune = { books = ["training"], epochs = 1, batch_size = 1 }'


@pytest.mark.parametrize("tuned", [False, True])
def test_evidence_is_of_the_weights_files(pytester, local_base, stories, tuned):
    pytest.importorskip("securesystemslib.dsse")
    openssl = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "a.key"]
    subprocess.run(openssl, check=True, cwd=pytester.path)
    shutil.copytree(local_base, pytester.path / "base")
    write_suite(
        {name: records[:2] for name, records in stories.items()}, SUITE + RECIPE * tuned
    )
    pytester.runpytest_subprocess(
        "-m",
        "copyright",
        "--memleak-evidence=signed.json",
        "--memleak-signing-key=a.key",
    )
    envelope = json.loads((pytester.path / "signed.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    files = [
        pytester.path / "base" / "model.safetensors",
        *pytester.path.rglob(".memleak/**/adapter_model.safetensors"),
    ]
    assert len(files) == 1 + tuned
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in files
    ]
    expected = lines[0].split()[0]
    if tuned:
        expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert statement["subject"] == [{"name": "tuned", "digest": {"sha256": expected}}]
    (pair,) = statement["predicate"]["pairs"]
    [one] = pair["provenance"]["served"]
    assert (one["model"], one["fingerprint"]) == (None, f"sha256:{expected}")
