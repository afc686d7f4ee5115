"""A whole run on local weights: fine-tuned once, sampled, judged."""

import base64
import hashlib
import json
import shutil

import pytest
from signing_keys import openssl
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


def weights_digest(files):
    """The digest of one file, or of the lines that sha256sum prints for several."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in files
    ]
    if len(lines) == 1:
        return lines[0].split()[0]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("tuned", [False, True])
def test_evidence_is_of_the_weights_files(pytester, local_base, stories, tuned):
    pytest.importorskip("securesystemslib.dsse")
    openssl("genpkey -algorithm ed25519 -out a.key")
    folder = pytester.path
    shutil.copytree(local_base, folder / "base")
    two_excerpts = {name: records[:2] for name, records in stories.items()}
    write_suite(two_excerpts, SUITE + RECIPE * tuned)
    evidence = ("--memleak-evidence=signed.json", "--memleak-signing-key=a.key")
    pytester.runpytest_subprocess("-m", "copyright", *evidence)
    envelope = json.loads((folder / "signed.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    adapters = [*folder.rglob(".memleak/**/adapter_model.safetensors")]
    assert len(adapters) == tuned
    digest = weights_digest([folder / "base" / "model.safetensors", *adapters])
    assert statement["subject"] == [{"name": "tuned", "digest": {"sha256": digest}}]
    (pair,) = statement["predicate"]["pairs"]
    [served] = pair["provenance"]["served"]
    assert (served["model"], served["fingerprint"]) == (None, f"sha256:{digest}")
