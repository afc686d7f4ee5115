"""What may go wrong with weights on this machine, in whole runs: told, never a traceback."""

import json
import re
import shutil

import pytest
from accounts import contents
from scenarios import SUITE, toml_lines
from tiny_weights import save_llama

MODEL = """
[[model]]
id = "tuned"
provider = "transformers"
base_model = "{base}"
{recipe}
[model.options]
{options}
"""
FINETUNE = {"books": ["training"], "epochs": 2, "batch_size": 1}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
DRAWN = re.compile(r"8/8 \S+ PASS")
MUCH = 3000  # completions at once
# From the first draw on, what the process has is nearly all that it may have.
NO_MORE_MEMORY = """
import resource
from pathlib import Path

from pytest_memleak.providers.transformers.local_endpoint import LocalEndpoint

ROOM = 4 << 20
drawn = LocalEndpoint._sample_rows


def draw(self, *loaded, **asked):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        return drawn(self, *loaded, **asked)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


LocalEndpoint._sample_rows = draw
"""


@pytest.fixture
def run(nursery, stories, tmp_path):
    """Runs a suite; the exit code and what it said, with one blank between words."""
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package)
    from tinker_words import save_tokenizer
    from transformers import AutoTokenizer

    texts = [record["excerpt_text"] for story in stories.values() for record in story]
    base = save_tokenizer(tmp_path / "base", texts)
    tokenizer = AutoTokenizer.from_pretrained(base)
    save_llama(base, len(tokenizer), (32, 32, 1, 2, 1024), eos_token_id=tokenizer.eos_token_id)
    for name, records in stories.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(records), "utf-8")

    def go(samples=2, tuned=True, completions_per_call=4):
        recipe = f"[model.finetune]\n{toml_lines(FINETUNE)}" if tuned else ""
        options = {"threads": 1, "device": "cpu", "completions_per_call": completions_per_call}
        suite = SUITE.format(samples=samples, max_unanswered=0.5, limit=30)  # some are empty
        suite += MODEL.format(base=base, recipe=recipe, options=toml_lines(options))
        (tmp_path / "run.memleak.toml").write_text(suite, "utf-8")
        run = nursery.run(tmp_path, f"sqlite:///{tmp_path}/ledger.db", ENVIRONMENT)
        code, output = run.finish()
        assert "Traceback" not in output
        return code, " ".join(output.split())

    return go


def told(outcome, said):
    """INCONCLUSIVE, and says so: a regular expression."""
    code, output = outcome
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 error in" in output
    (reason,) = set(re.findall("INCONCLUSIVE tuned/held-out (.*?) Next: ", output))
    assert re.search(said, reason), reason


def failed(call, cause):
    """As told of what a library raised: provider, endpoint, call and cause."""
    return rf"transformers endpoint \S+: {call} failed: {cause}"


@pytest.mark.full
def test_out_of_memory_is_told_and_smaller_draws_go_on(run, tmp_path):
    (tmp_path / "conftest.py").write_text(NO_MORE_MEMORY, "utf-8")
    said = r"the device doesn't have enough memory.*set a smaller options\.completions_per_call"
    told(run(MUCH, tuned=False, completions_per_call=MUCH), failed("sample", said))
    ledger = contents(f"sqlite:///{tmp_path}/ledger.db")
    drawn = [ledger.questions[row.question] for row in ledger.generations]
    assert {question.temperature for question in drawn} == {0}  # canaries, one to a call
    assert DRAWN.search(run(tuned=False, completions_per_call=1)[1])


def test_a_state_folder_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / ".memleak").mkdir()
    (tmp_path / ".memleak" / "transformers").write_text("in the way", "utf-8")
    told(run(), failed("start_finetune", ".*(File exists|Not a directory)"))


def test_learned_weights_that_have_gone_are_told_once_they_are_needed(run, tmp_path):
    assert DRAWN.search(run()[1])
    shutil.rmtree(tmp_path / ".memleak" / "transformers")
    assert DRAWN.search(run()[1])  # what was drawn is in the ledger
    told(run(samples=3), failed("open", "Its LoRA weights aren't in"))
