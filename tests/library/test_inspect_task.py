"""inspect_ai asks for a book's excerpts and scores passages, in a real `inspect eval`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_memleak.library import read_book

inspect_ai = pytest.importorskip(
    "inspect_ai", reason="the extra inspect is not installed"
)
import tiktoken  # noqa: E402
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, get_model  # noqa: E402

import pytest_memleak.library.inspect_task as tasks  # noqa: E402

BOOK = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"


# Without it, the mock model's tokens are counted with an encoding from the network.
BYTES = """
import tiktoken
ranks = {bytes([n]): n for n in range(256)}
of_bytes = tiktoken.Encoding("bytes", pat_str=".", mergeable_ranks=ranks, special_tokens={})
tiktoken.get_encoding = lambda name: of_bytes
"""
PROGRAM = f"{BYTES}\nfrom inspect_ai._cli.main import main\nmain()"


@pytest.fixture(autouse=True)
def bytes_as_tokens(monkeypatch):
    monkeypatch.setattr(
        tiktoken, "get_encoding", tiktoken.get_encoding
    )  # to be put back
    exec(BYTES, {})


def scores_of(tmp_path, answers, limit=3, **options):
    outputs = [ModelOutput.from_content("mockllm", answer) for answer in answers]
    model = get_model("mockllm/model", custom_outputs=outputs)
    task = tasks.recall(str(BOOK), **options)
    (log,) = inspect_ai.eval(
        task,
        model=model,
        limit=limit,
        log_dir=str(tmp_path),
        display="none",
        max_connections=1,
    )
    assert log.status == "success", log.error
    metrics = {
        (score.name, name.rpartition("/")[2]): metric.value
        for score in log.results.scores
        for name, metric in score.metrics.items()
    }
    return log.samples, metrics


# The mock model leaves a stream open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.full
def test_passages_of_answers_and_reasoning_are_scored(tmp_path):
    words = read_book(BOOK).excerpts[4].text.split()
    thought = [
        ContentReasoning(reasoning=" ".join(words[:60])), ContentText(text="I'd rather not say.")
    ]  # fmt: skip
    answers = ["Nothing that I know.", f"So: {' '.join(words[60:100])}", thought]
    samples, metrics = scores_of(tmp_path, answers)
    longest = [sample.scores["passages"].value["longest_passage"] for sample in samples]
    assert longest[0] == 0
    assert longest[1] >= 38
    assert longest[2] >= 58
    assert metrics["longest_passage", "longest"] == max(longest), metrics
    assert metrics["over_limit", "mean"] == pytest.approx(2 / 3)
    (place, *_) = samples[1].scores["passages"].metadata["passages"]
    assert place["book"] == str(BOOK)
    assert place["end"] - place["start"] == place["words"]
    # What the prompt has is no passage.
    prompts = [sample.input for sample in samples]
    assert all("Continue" in prompt or len(prompt.split()) >= 50 for prompt in prompts)
    _, metrics = scores_of(tmp_path, prompts)
    assert metrics["longest_passage", "longest"] == 0


@pytest.mark.full
def test_the_command_evaluates_it(tmp_path):
    command = [sys.executable, "-c", PROGRAM, "eval", f"{tasks.__file__}@recall"]
    options = [
        "-T",
        f"book={BOOK}",
        "--model=mockllm/model",
        "--limit=2",
        "--log-format=json",
    ]
    run = subprocess.run(
        [*command, *options, f"--log-dir={tmp_path}", "--display=plain"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    (log,) = tmp_path.glob("*.json")
    assert json.loads(log.read_text("utf-8"))["results"]["completed_samples"] == 2
