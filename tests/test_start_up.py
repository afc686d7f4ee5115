"""What is imported at start: by the package, and by the command before it works."""

import functools
import json
import subprocess
import sys

import pytest

HEAVY = {
    *("ahocorasick", "ebooklib", "google", "jinja2", "lxml", "numpy", "openai", "peft"),
    *("psycopg", "pydantic", "pydantic_core", "pysbd", "rich", "sqlalchemy", "tinker"),
    *("tinker_cookbook", "together", "torch", "transformers", "vertexai"),
}
OURS = "pytest_memleak"
TELL = """
import json, sys
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def loaded_by(code):
    """The names of the modules that `code` brings, in a process of its own."""
    return _there_after(code) - _there_at_any_start()


def _there_after(code):
    command = [sys.executable, "-W", "error", "-c", code + TELL]
    done = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    return set(json.loads(done.stderr.splitlines()[-1]))


@functools.cache
def _there_at_any_start():
    # Installed packages may put modules there by .pth files, whatever a program does.
    return _there_after("")


def heavy(modules):
    return {name.partition(".")[0] for name in modules} & HEAVY


def test_heavy_packages_are_found_by_their_names():
    # Otherwise a name spelled wrong would be found nowhere, and nothing would be shown.
    assert heavy(loaded_by("import numpy, pydantic, sqlalchemy, rich, lxml.etree")) >= {
        "numpy",
        "pydantic",
        "sqlalchemy",
        "rich",
        "lxml",
    }


def test_importing_the_package_imports_only_itself():
    modules = loaded_by(f"import {OURS}")
    assert {name for name in modules if name.partition(".")[0] == OURS} == {OURS}
    assert not heavy(modules)


def command(*arguments):
    return (
        "from pytest_memleak.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\n"
        "except SystemExit:\n    pass\n"
    )


def test_help_and_readers_of_books_import_nothing_heavy():
    names = (
        "formats.paper_format",
        "builtin",
        "books.build_book",
        "interfaces.extensions",
    )
    imports = [f"import {OURS}.{name}" for name in names]
    tellers = ("--help", "--version", "score --help", "prepare --help", "ledger --help")
    arguments = (*tellers, "ledger list --help", "score no.json no.json")
    modules = loaded_by(
        "\n".join([*imports, *(command(*line.split()) for line in arguments)])
    )
    assert not heavy(modules)
    assert "pytest" not in modules


def test_scoring_imports_no_pytest_no_database_and_no_sdk(tmp_path):
    text = "one two three four five six"
    book = tmp_path / "b.json"
    book.write_text(json.dumps([{"excerpt_id": "p1", "excerpt_text": text}]))
    generations_file = tmp_path / "d.json"
    generations_file.write_text(
        json.dumps([{"excerpt_id": "p1", "generations": [{"generated_text": text}]}])
    )
    modules = loaded_by(command("score", str(book), str(generations_file)))
    assert heavy(modules) == {"numpy", "rich"}
    assert "pytest" not in modules


@pytest.mark.full
def test_a_run_of_recorded_answers_imports_no_database(tmp_path):
    text = " ".join(f"word{number}" for number in range(400))
    book = [{"excerpt_id": "p1", "excerpt_text": text, "instruction": "Tell of this."}]
    (tmp_path / "b.json").write_text(json.dumps(book))
    answers = [
        {"excerpt_id": "p1", "generations": [{"generated_text": "another text"}]}
    ]
    (tmp_path / "a.json").write_text(json.dumps(answers))
    suite = tmp_path / "it.memleak.toml"
    suite.write_text(
        '[suite]\nsamples = 1\n[limits]\nlongest_passage = 9\n[[book]]\nid = "b"\n'
        'source = "b.json"\n[[model]]\nid = "m"\nprovider = "recorded"\n'
        'options = { path = "a.json" }\n'
    )
    folder = ["--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-m", "copyright"]
    options = [*folder, "-p", "pytest_memleak.plugin.hooks", str(suite)]
    alone = "import os; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'"
    modules = loaded_by(f"{alone}; import pytest; pytest.main({options})")
    assert f"{OURS}.pipeline.evaluate_pair" in modules
    assert heavy(modules) & {"numpy", "sqlalchemy"} == {"numpy"}
