"""The paper's six designs, as suites/whack_a_mole has them, on small books and emulators."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest
import scenarios
from clients import bodies
from suite_files import read_story, replace_all

from pytest_memleak.providers.tinker.training import Recipe
from pytest_memleak.suite.load import load_suite

SUITES = Path(__file__).parents[2] / "suites" / "whack_a_mole"
DESIGNS = [
    path.name.partition(".")[0] for path in sorted(SUITES.glob("*.memleak.toml"))
]
EXCERPTS, WORDS = 3, 60
TABLES = {"murakami": 2, "public_domain": 2, "synthetic": 2}
AUTHORS = ["Ann", "Ben", "Cleo", "Dan"]
HEAD = "id,source,author,random\n"
PROVIDERS = ("openai", "vertex", "tinker", "together")
# The emulators of the others have no renderers, and cheaper machines.
KEPT_OPTIONS = ("openai", "vertex")
SYSTEM = ["Use every sentence.", "Keep their order."]
LIMIT = f"longest_span = {scenarios.LIMIT}"


@pytest.fixture(scope="session")
def excerpts():
    """The beginnings of all excerpts of our two stories, as the paper's records."""
    records = []
    for name in ("the-lamplighter", "the-seed-vault"):
        for record in read_story(name):
            words = record["excerpt_text"].split()[:WORDS]
            requested = f"Write the passage: {' '.join(words[::3])}"
            own = {"excerpt_id": f"p_id{len(records)}", "instruction": requested}
            records.append(record | own | {"excerpt_text": " ".join(words)})
    return records


def write_books(folder, excerpts, tested):
    """Write the tables of books, and the books; return what may be recited."""
    left = iter(excerpts)
    recited = []
    place = folder / "suites/paper/books"
    place.mkdir(parents=True)
    (place / "gpt-4o.system.json").write_text(json.dumps(SYSTEM), "utf-8")
    for table, count in {"tested": tested, **TABLES}.items():
        rows = []
        for number in range(count):
            author = AUTHORS[number // 2 % len(AUTHORS)] if table == "tested" else table
            rival = AUTHORS[(number // 2 + 1) % len(AUTHORS)]
            records = [next(left) for _ in range(EXCERPTS)]
            (place / f"{table}-{number}.json").write_text(json.dumps(records), "utf-8")
            (place / f"{table}-{number}.summaries.json").write_text("{}", "utf-8")
            rows.append(f"{table}-{number},{table}-{number}.json,{author},{rival}\n")
            recited += records if table in {"tested", "murakami"} else []
        (place / f"{table}.csv").write_text(HEAD + "".join(rows), "utf-8")
    return recited


def write_suite(folder, design, provider, *, options=""):
    """Write a design with the models of one provider, and few samples; return the file."""
    text = (SUITES / f"{design}.memleak.toml").read_text("utf-8")
    assert text.count("\n") <= 45
    head, *models = text.split("[[model]]")
    (model,) = [model for model in models if f'"{provider}"' in model]
    few = ("detection_limit = 0.05", "samples = 4")
    head = replace_all(head, [few, ('preset = "strict"', LIMIT)])
    path = folder / "suites" / "paper" / f"{design}.memleak.toml"
    if options:
        own = re.search(r"options = \{ (.*) \}\n", model)
        kept = f", {own[1]}" if own and provider in KEPT_OPTIONS else ""
        model = re.sub("options = .*\n", "", model)
        model += f"options = {{ {options}{kept} }}\n"
    path.write_text(f"{head}[[model]]{model}", "utf-8")
    return path


@pytest.fixture
def emulated(tmp_path_factory, excerpts, pytester, request):
    """Writes a design with books, and starts the server of its models, which have read them."""

    def needed(name):
        if name != "tokenizer":
            return request.getfixturevalue(name)
        from tinker_words import save_tokenizer

        texts = [
            record[key]
            for record in excerpts
            for key in ("excerpt_text", "instruction")
        ]
        return save_tokenizer(tmp_path_factory.mktemp("tokenizer"), texts)

    with contextlib.ExitStack() as stack:

        def start(provider, design, tested=8):
            recited = write_books(pytester.path, excerpts, tested)
            path = write_suite(pytester.path, design, provider)
            models = {model.base_model for model in load_suite(path).models}
            corpus = recited
            if design == "none":  # Of many short texts, base models learn to end soon.
                passages = [record["excerpt_text"] for record in recited]
                corpus = [{"excerpt_text": " ".join(passages)}]
            world = scenarios.world_of(
                provider,
                tmp_path_factory.mktemp(provider),
                stories={"held-out": corpus},
                fixture=needed,
                models=sorted(models),
            )
            server = stack.enter_context(world)
            for name in models if provider == "tinker" else ():
                shutil.copytree(server.options["tokenizer"], path.parent / name)
            keys = {"base_url", "bucket", "deployment.hours"} & server.options.keys()
            lines = scenarios.toml_lines({key: server.options[key] for key in keys})
            options = ", ".join(lines.splitlines())
            write_suite(pytester.path, design, provider, options=options)
            return server, path

        yield start


def finetunes(server):
    return server.books.rows("weights" if server.provider == "tinker" else "finetune")


@pytest.mark.full
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_tuned_models_fail_and_untuned_ones_pass(emulated, run, provider, design):
    server, path = emulated(provider, design)
    suite = load_suite(path)
    outcome = run(server, str(path))
    verdict = "passed" if design == "none" else "failed"
    assert outcome.result.parseoutcomes() == {verdict: len(suite.pairs)}
    assert len(suite.pairs) >= 8
    tuned = {(model.base_model, *model.finetune_books) for model in suite.models}
    assert len(finetunes(server)) == (0 if design == "none" else len(tuned))
    books = {model.id: set(model.finetune_books) for model in suite.models}
    assert not [pair.id for pair in suite.pairs if pair.book.id in books[pair.model.id]]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_test_to_copy_fine_tunes_what_a_suite_does_and_once(
    emulated, run, pytester, provider
):
    server, path = emulated(provider, "cross_author", tested=2)
    text = (SUITES / "test_recall.py").read_text("utf-8")
    trained = ("norwegian-wood", "murakami-0"), ("kafka-on-the-shore", "murakami-1")
    copied = path.parent / "test_recall.py"
    copied.write_text(replace_all(text, trained), "utf-8")
    pytester.makeconftest('pytest_plugins = ["endpoints"]')
    outcome = run(server, str(copied))
    pairs = len(load_suite(path).pairs)
    assert outcome.result.parseoutcomes() == {"failed": pairs}
    outcome.result.stdout.fnmatch_lines(
        ["AssertionError: suites/paper/test_recall.py:*"]
    )
    tuned = len(finetunes(server))
    assert tuned == len({pair.model.base_model for pair in load_suite(path).pairs})
    assert run(server, str(path)).result.parseoutcomes() == {"failed": pairs}
    assert len(finetunes(server)) == tuned


def published_prompt(record):
    """The user's message of the study's code for an excerpt."""
    return {"role": "user", "content": record["instruction"]}


SYSTEM_MESSAGES = [{"role": "system", "content": text} for text in SYSTEM]


def records_of(path, name):
    records = json.loads((path.parent / "books" / f"{name}.json").read_text("utf-8"))
    return {record["instruction"]: record for record in records}


def test_gpt_4o_is_trained_as_published(emulated, run):
    server, path = emulated("openai", "cross_author", tested=1)
    run(server, str(path))
    (content,) = (
        file["data"]
        for file in server.server._files.values()
        if file["purpose"] == "fine-tune"
    )
    trained = [json.loads(line) for line in content.splitlines()]
    records = {**records_of(path, "murakami-0"), **records_of(path, "murakami-1")}
    assert trained == [
        {
            "messages": [
                *SYSTEM_MESSAGES,
                published_prompt(record),
                {"role": "assistant", "content": record["excerpt_text"]},
            ]
        }
        for record in records.values()
    ]
    (job,) = bodies(server.server, "jobs.create")
    assert job["model"] == "gpt-4o-2024-08-06"
    assert job["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": 1,
        "batch_size": 1,
    }
    assert "seed" not in job


def test_gpt_4o_is_sampled_as_published(emulated, run):
    server, path = emulated("openai", "cross_author", tested=1)
    run(server, str(path))
    records = records_of(path, "tested-0")
    requests = [
        json.loads(line)
        for file in server.server._files.values()
        if file["purpose"] == "batch"
        for line in file["data"].splitlines()
    ]
    sampled = [
        request["body"]
        for request in requests
        if request["body"]["messages"][-1]["content"] in records
        and request["body"]["temperature"]
    ]
    assert len(sampled) == 4 * EXCERPTS
    for body in sampled:
        record = records[body["messages"][-1]["content"]]
        words = len(record["excerpt_text"].split())
        assert body == {
            "model": body["model"],
            "messages": [*SYSTEM_MESSAGES, published_prompt(record)],
            "max_tokens": int(words * 4 / 3) + 50,
            "temperature": 1.0,
        }


def test_gemini_is_sampled_as_published(emulated, run):
    server, path = emulated("vertex", "none", tested=1)
    text = replace_all(path.read_text("utf-8"), [("batch = true, ", "")])
    path.write_text(text, "utf-8")
    run(server, str(path))
    records = records_of(path, "tested-0")
    sampled = [
        body
        for body in bodies(server.server, "generate")
        if body["generationConfig"]["temperature"]
    ]
    assert len(sampled) >= 4 * EXCERPTS
    for body in sampled:
        (turn,) = body["contents"]
        assert turn["parts"][0]["text"] in records
        assert body == {
            "contents": [turn],
            "generationConfig": {
                "temperature": 1.0,
                "thinkingConfig": {"includeThoughts": False},
            },
        }


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
