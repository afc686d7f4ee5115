"""Each setting of the study: whether requests on the wire have it, as the README says.

The study is arXiv 2603.20957, by its released code. A row of the README's table that
says "equal" must be so in what an emulator got; one that doesn't must have a reason.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import scenarios
from clients import bodies
from study_suites import EXCERPTS, SUITES, SYSTEM

from pytest_memleak.providers.tinker.training import Recipe
from pytest_memleak.suite.load import load_suite

STUB = Path(scenarios.clients.__file__).parent / "cookbook_stub"
RENDERER = "<deepseekv3_disable_thinking deepseek-ai/DeepSeek-V3.1>"
SYSTEM_MESSAGES = [{"role": "system", "content": text} for text in SYSTEM]
SAMPLES = 4
EVERY = {"openai", "vertex", "tinker"}


def rows():
    """The rows of the README's table: model, setting, and what is here."""
    readme = (SUITES / "README.md").read_text("utf-8")
    _, _, table = readme.partition("| model | setting | study | here |\n")
    table, _, _ = table.partition("\n\n")
    for line in table.splitlines()[1:]:
        model, setting, _, here = re.split(r"\s*\|\s*", line)[1:-1]
        yield model, setting, here


@pytest.fixture
def observed(emulated, run, monkeypatch):
    """Run a design's models of one provider; what its emulator got."""

    def observe(provider):
        monkeypatch.syspath_prepend(STUB)
        server, path = emulated(provider, "cross_author", tested=1, kept=EVERY)
        outcome = run(server, str(path))
        sampled = f"{SAMPLES * EXCERPTS}/{SAMPLES * EXCERPTS}"
        assert outcome.text.count(sampled) == len(load_suite(path).pairs)
        books = path.parent / "books"
        records = {
            name: json.loads((books / f"{name}.json").read_text("utf-8"))
            for name in ("tested-0", "murakami-0", "murakami-1")
        }
        trained = [*records["murakami-0"], *records["murakami-1"]]
        tested = {record["instruction"]: record for record in records["tested-0"]}
        wire = SimpleNamespace(
            server=server.server,
            books=server.books,
            trained=trained,
            tested=tested,
        )
        return {"openai": of_gpt, "vertex": of_gemini, "tinker": of_deepseek}[provider](
            wire
        )

    return observe


def most_tokens(record):
    """The study's formula."""
    return int(len(record["excerpt_text"].split()) * 4 / 3) + 50


def user(record):
    return {"role": "user", "content": record["instruction"]}


def of_gpt(wire):
    """Which settings of GPT-4o are as published, by files and jobs of OpenAI's API."""
    files = wire.server._files.values()
    (training,) = (file["data"] for file in files if file["purpose"] == "fine-tune")
    trained = [json.loads(line)["messages"] for line in training.splitlines()]
    (job,) = bodies(wire.server, "jobs.create")
    recipe = job["method"]["supervised"]["hyperparameters"]
    requests = [
        json.loads(line)["body"]
        for file in files
        if file["purpose"] == "batch"
        for line in file["data"].splitlines()
    ]
    # Not the greedy ones that show whether the model stays the same.
    sampled = [body for body in requests if body["temperature"]]
    record_of = [wire.tested[body["messages"][-1]["content"]] for body in sampled]
    answers = [
        {"role": "assistant", "content": record["excerpt_text"]}
        for record in wire.trained
    ]
    return {
        "model": job["model"] == "gpt-4o-2024-08-06",
        "epochs, batch size, learning rate": recipe == {"n_epochs": 1, "batch_size": 1}
        and "seed" not in job,
        "training messages": all(
            [each["role"] for each in messages[:-2]] == ["system", "system"]
            and messages[:-2] == SYSTEM_MESSAGES
            and [each["role"] for each in messages[-2:]] == ["user", "assistant"]
            for messages in trained
        ),
        "training order": [messages[-2:] for messages in trained]
        == [
            [user(record), answer]
            for record, answer in zip(wire.trained, answers, strict=True)
        ],
        "sampling messages": all(
            body["messages"] == [*SYSTEM_MESSAGES, user(record)]
            for body, record in zip(sampled, record_of, strict=True)
        ),
        "temperature, completions": len(sampled) == SAMPLES * EXCERPTS
        and all(body["temperature"] == 1.0 for body in sampled),
        "maximum tokens": all(
            body["max_tokens"] == most_tokens(record)
            for body, record in zip(sampled, record_of, strict=True)
        ),
        "top_p, seed, penalties": all(
            body.keys() == {"model", "messages", "max_tokens", "temperature"}
            for body in sampled
        ),
        "batches": not bodies(wire.server, "chat")
        and all("n" not in body for body in sampled),
        "request order": False,
    }


def of_gemini(wire):
    """Which settings of Gemini are as published, by files and jobs of Vertex AI."""
    tunings = bodies(wire.server, "tunings.create")
    (tuning,) = (each for each in tunings if each["baseModel"] == "gemini-2.5-pro")
    spec = tuning["supervisedTuningSpec"]
    content = wire.server._read(spec["trainingDatasetUri"])
    trained = [json.loads(line) for line in content.splitlines()]
    batches = [row["file"] for row in wire.books.rows("batch")]
    requests = [
        json.loads(line)["request"]
        for file in batches
        for line in wire.server._read(file).splitlines()
    ]
    sampled = [body for body in requests if body["generationConfig"]["temperature"]]
    called = [
        request.path for name, request in wire.server.recent if name == "tunings.create"
    ]
    return {
        "model": "gemini-2.5-pro" in {each["baseModel"] for each in tunings},
        "region": all("/locations/us-central1/" in path for path in called),
        "epochs": int(spec["hyperParameters"]["epochCount"]) == 3,
        "learning rate, adapter size": spec["hyperParameters"].keys() == {"epochCount"},
        "messages": [
            [(turn["role"], turn["parts"][0]["text"]) for turn in line["contents"]]
            for line in trained
        ]
        == [
            [("user", record["instruction"]), ("model", record["excerpt_text"])]
            for record in wire.trained
        ]
        and all(line.keys() == {"contents"} for line in trained),
        "sampling": all(
            body["generationConfig"]
            == {"temperature": 1.0, "thinkingConfig": {"includeThoughts": False}}
            and body.keys() - {"labels"} == {"contents", "generationConfig"}
            for body in sampled
        ),
        # Two models of the suite are sampled.
        "completions": len(sampled) == 2 * SAMPLES * EXCERPTS
        and all("candidateCount" not in body["generationConfig"] for body in sampled),
    }


def of_deepseek(wire):
    """Which settings of DeepSeek are as published, by calls of Tinker's API."""
    from tinker.types import SamplingParams

    (model,) = bodies(wire.server, "models.create")
    steps = wire.books.rows("optim")
    passes = wire.books.rows("train")
    sampled = [
        body
        for body in bodies(wire.server, "sample")
        if body["sampling_params"]["temperature"]
    ]
    prompts = [wire.server._words.text(tokens_of(body)) for body in sampled]
    record_of = [
        wire.tested[prompt.removeprefix(RENDERER).rstrip("\n")] for prompt in prompts
    ]
    lessons = [
        wire.server._words.lesson(*example)
        for name, request in wire.server.recent
        if name == "train"
        for example in examples_of(request)
    ]
    rates = [5e-4 * (1 - number / len(steps)) for number in range(len(steps))]
    texts = {(record["instruction"], record["excerpt_text"]) for record in wire.trained}
    rendered = {(f"{RENDERER}{instruction}\n", text) for instruction, text in texts}
    return {
        "model": model["base_model"] == "deepseek-ai/DeepSeek-V3.1",
        "renderer": {*lessons} == rendered
        and all(prompt.startswith(RENDERER) for prompt in prompts),
        "rank, rate, schedule, epochs, batch": model["lora_config"]["rank"] == 32
        and [step["learning_rate"] for step in steps] == pytest.approx(rates)
        and len(lessons) == 3 * len(wire.trained)
        and all(each["examples"] == min(16, len(wire.trained)) for each in passes),
        "longest example": False,
        "system message": all("system" not in prompt for prompt in prompts),
        "optimizer": False,
        "loss": False,
        "sampling": [body["sampling_params"] for body in sampled]
        == [
            SamplingParams(
                max_tokens=most_tokens(record), temperature=1.0, stop=["<|end|>"]
            ).model_dump(exclude_none=True)
            for record in record_of
        ],
        "completions": [body["num_samples"] for body in sampled]
        == [SAMPLES] * EXCERPTS,
    }


def tokens_of(body):
    return [token for chunk in body["prompt"]["chunks"] for token in chunk["tokens"]]


def examples_of(request):
    from tinker.proto import tinker_public_pb2 as pb
    from tinker_words import read_example

    message = pb.ForwardBackwardRequest()
    message.ParseFromString(request.body)
    return [read_example(datum) for datum in message.data]


MODELS = {"GPT-4o": "openai", "Gemini": "vertex", "DeepSeek": "tinker"}


@pytest.mark.parametrize("model", MODELS)
def test_the_readme_says_which_settings_are_equal_on_the_wire(observed, model):
    seen = observed(MODELS[model])
    said = {setting: here for name, setting, here in rows() if name == model}
    assert said.keys() == seen.keys()
    assert {name for name, here in said.items() if here == "equal"} == {
        name for name, is_equal in seen.items() if is_equal
    }
    assert all(said.values())


def test_what_no_emulator_shows_has_a_reason():
    others = {setting: here for name, setting, here in rows() if name not in MODELS}
    assert others.keys() == {
        "excerpts",
        "summaries",
        "instructions",
        "duplicates",
        "other requests",
    }
    assert all(here and here != "equal" for here in others.values())


def test_the_suites_set_what_the_study_sets():
    by_model = {}
    for path in sorted(SUITES.glob("*.memleak.toml")):
        for pair in load_suite(path).pairs:
            by_model.setdefault(pair.model.base_model, []).append(pair)
    for name, pairs in by_model.items():
        for pair in pairs:
            assert pair.sampling.seed is None
            assert (pair.sampling.samples, pair.sampling.temperature) == (100, 1.0)
            tuned = bool(pair.model.finetune_books)
            if name == "gemini-2.5-pro":
                assert pair.sampling.max_tokens == "default"
                assert pair.model.finetune == ({"epochs": 3} if tuned else {})
            if name == "deepseek-ai/DeepSeek-V3.1":
                renderer = pair.model.options["renderer"]
                assert renderer == "deepseekv3_disable_thinking"
                assert pair.model.options["completions_per_call"] == 100
                assert not pair.model.finetune  # the recipe's defaults are the study's


def test_tinkers_defaults_are_the_studys_recipe():
    recipe = Recipe().model_dump(exclude={"seed", "save_steps"})
    assert recipe == {
        "rank": 32,
        "learning_rate": 5e-4,
        "batch_size": 16,
        "epochs": 3,
        "max_tokens": 2048,
    }
