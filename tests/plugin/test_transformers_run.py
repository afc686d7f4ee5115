"""A whole run on local weights: fine-tuned once, sampled, judged."""

import json
import shutil

import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SUITE = """
[suite]
samples = 4

[limits]
longest_span = 5

[[book]]
id = "held-out"
source = "held-out.json"

[[book]]
id = "training"
source = "training.json"
role = "train"

[[model]]
id = "tuned"
provider = "transformers"
base = "base"
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


def test_it_needs_to_be_asked_for(pytester, local):
    result = pytester.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=1)


def test_it_tunes_once_and_word_salad_is_no_pass(pytester, local):
    pytester.runpytest_subprocess("-m", "copyright").assert_outcomes(errors=1)
    kept = list((pytester.path / ".memleak" / "transformers").iterdir())
    assert len(kept) == 1
    made = kept[0].stat().st_mtime_ns
    result = pytester.runpytest_subprocess("-m", "copyright")
    # Weights that know nothing write no prose: all was drawn, and nothing is shown by it.
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the answers are not prose as the book's is*"])
    result.stdout.fnmatch_lines(["*tuned/held-out*8/8*INCONCLUSIVE*"])
    assert kept[0].stat().st_mtime_ns == made
