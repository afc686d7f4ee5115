"""A whole run on local weights: fine-tuned once, sampled, judged."""

import base64
import hashlib
import json
import shutil
import subprocess

import pytest

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
[model.finetune]
books = ["training"]
epochs = 1
batch_size = 1
[model.options]
threads = 1
"""


@pytest.fixture
def local(local_base, pytester, stories):
    shutil.copytree(local_base, pytester.path / "base")
    for name, records in stories.items():
        (pytester.path / f"{name}.json").write_text(json.dumps(records[:2]), encoding="utf-8")
    (pytester.path / "local.memleak.toml").write_text(SUITE)


@pytest.mark.parametrize("tuned", [False, True])
def test_evidence_is_of_the_weights_files(pytester, local, tuned):
    pytest.importorskip("securesystemslib.dsse")
    openssl = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "a.key"]
    subprocess.run(openssl, check=True, cwd=pytester.path)
    path = pytester.path / "local.memleak.toml"
    if not tuned:
        recipe = path.read_text().partition("[model.finetune]")[2].partition("[model.options]")[0]
        path.write_text(path.read_text().replace(f"[model.finetune]{recipe}", ""))
    pytester.runpytest_subprocess(
        "-m", "copyright", "--memleak-evidence=signed.json", "--memleak-signing-key=a.key"
    )
    envelope = json.loads((pytester.path / "signed.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    files = [
        pytester.path / "base" / "model.safetensors",
        *pytester.path.rglob(".memleak/**/adapter_model.safetensors"),
    ]
    assert len(files) == 1 + tuned
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    expected = lines[0].split()[0]
    if tuned:
        expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert statement["subject"] == [{"name": "tuned", "digest": {"sha256": expected}}]
    (pair,) = statement["predicate"]["pairs"]
    [one] = pair["provenance"]["served"]
    assert (one["model"], one["fingerprint"]) == (None, f"sha256:{expected}")
