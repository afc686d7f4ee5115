"""The paper's six designs, as suites/whack_a_mole has them, on small books and emulators."""

import contextlib
import importlib
import json
import re
import shutil
from pathlib import Path

import pytest
import scenarios
from suite_files import read_story, replace_all

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


def write_suite(folder, design, provider, *, options="", kept=KEPT_OPTIONS):
    """Write a design with the models of one provider, and few samples; return the file.

    options: of the emulator; kept: providers whose models have the design's, too
    """
    text = (SUITES / f"{design}.memleak.toml").read_text("utf-8")
    assert text.count("\n") <= 45
    head, *models = text.split("[[model]]")
    (model,) = [model for model in models if f'"{provider}"' in model]
    few = ("detection_limit = 0.05", "samples = 4")
    head = replace_all(head, [few, ('preset = "strict"', LIMIT)])
    path = folder / "suites" / "paper" / f"{design}.memleak.toml"
    if options:
        own = re.search(r"options = \{ (.*) \}\n", model)
        own_options = f", {own[1]}" if own and provider in kept else ""
        model = re.sub("options = .*\n", "", model)
        model += f"options = {{ {options}{own_options} }}\n"
    path.write_text(f"{head}[[model]]{model}", "utf-8")
    return path


@pytest.fixture(scope="session")
def tinker_sdk():
    """Imported once: pytester forgets what a test imports, and torch can't be twice."""
    return importlib.import_module("tinker_server")


@pytest.fixture
def emulated(tinker_sdk, tmp_path_factory, excerpts, pytester, request):
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

        def start(provider, design, tested=8, kept=KEPT_OPTIONS):
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
            write_suite(pytester.path, design, provider, options=options, kept=kept)
            return server, path

        yield start
