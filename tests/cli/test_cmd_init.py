"""`memleak init`: a suite that can be run, a job, a line; from options and from answers."""

import re

import pytest
import yaml
from http_server import Books, Response
from openai_server import OpenAIServer
from reciter import Reciter
from screen import run_in_terminal

from pytest_memleak.pipeline.limit_reachability import planned_rounds
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.scoring.measure_table import PRESETS
from pytest_memleak.suite.load import load_suite


def test_options_become_a_suite_a_job_and_a_gitignore_line(
    memleak, last_line, tmp_path, lamplighter
):
    (tmp_path / ".gitignore").write_text("*.pyc")
    done = memleak(
        "init", "--book", lamplighter, "--model", "openai/gpt-4o", "--ci", "github"
    )
    assert done.returncode == 0, done.stderr
    (pair,) = load_suite(tmp_path / "release.memleak.toml").pairs
    assert pair.id == "gpt-4o/the-lamplighter"
    assert pair.book.source.resolve() == lamplighter
    assert pair.probe.kind == "continuation"
    limits = {name: it for name, it in PRESETS["strict"].items() if name != "extracted"}
    assert (pair.limits, pair.detection_limit) == (limits, 0.05)
    assert planned_rounds(pair).needed == 66 <= pair.sampling.samples
    job = yaml.safe_load((tmp_path / ".github/workflows/memorization.yml").read_text())
    steps = job["jobs"]["memorization"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[0] == "pip install --require-hashes -r memleak.lock"
    assert runs[1].startswith(
        "pytest -m copyright release.memleak.toml --memleak-quote 0"
    )
    (keys,) = [step["env"] for step in steps if "env" in step]
    assert keys == {"OPENAI_API_KEY": "${{ secrets.OPENAI_API_KEY }}"}
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n.memleak/\n"
    assert last_line(done) == "memleak doctor release.memleak.toml"


def test_an_own_server_and_gitlab_become_a_suite_and_a_job(
    memleak, tmp_path, lamplighter
):
    local = (
        "--model",
        "openai/acme/Novelist-7B",
        "--base-url",
        "http://127.0.0.1:8000/v1",
    )
    done = memleak(
        "init", "--book", lamplighter, *local, "--price", "0.5,1", "--ci", "gitlab"
    )
    assert done.returncode == 0, done.stderr
    (model,) = load_suite(tmp_path / "release.memleak.toml").models
    assert (model.id, model.base_model) == ("novelist-7b", "acme/Novelist-7B")
    assert model.options == {"base_url": "http://127.0.0.1:8000/v1"}
    assert model.price[:2] == (0.5, 1.0)
    job = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())["memorization"]
    assert job["artifacts"]["reports"] == {"junit": "memleak.xml"}


def test_a_base_model_gets_plain_text(memleak, tmp_path, lamplighter):
    form = "{%- for message in messages -%}{{- '<|im_start|>' + message.role + '"
    with OpenAIServer(
        reciter=Reciter(["a b c"]), books=Books(tmp_path / "books")
    ) as server:
        server.route(
            "GET", "/props", "props", lambda _: Response.json({"chat_template": form})
        )
        local = ("--model", "openai/base", "--base-url", server.base_url)
        done = memleak("init", "--book", lamplighter, *local)
        assert server.books.rows() == []
    assert (
        "base model without a chat format: prompts are sent as plain text"
        in done.stdout
    )
    (model,) = load_suite(tmp_path / "release.memleak.toml").models
    assert model.options["api"] == "completions"


@pytest.mark.parametrize(
    ("address", "is_warned"),
    [("http://localhost:8000/v1", True), ("https://models.example/v1", False)],
)
def test_a_job_that_cannot_reach_its_server_is_warned_of(
    memleak, lamplighter, address, is_warned
):
    model = ("--model", "openai/x", "--base-url", address, "--ci", "github")
    done = memleak("init", "--book", lamplighter, *model)
    assert done.returncode == 0
    assert ("a hosted runner can't reach" in done.stdout) == is_warned


@pytest.mark.parametrize(("model", "lacking"), [
    ("ngram/x", "options.pretraining names its training books"),
    ("recorded/x", "options.path"),
])  # fmt: skip
def test_what_a_new_suite_lacks_to_run_is_told_at_once(
    memleak, lamplighter, model, lacking
):
    done = memleak("init", "--book", lamplighter, "--model", model)
    assert "The suite isn't complete." in done.stdout
    assert lacking in done.stdout


@pytest.mark.parametrize(("answers", "message", "options"), [
    (["BOOK", "openai/gpt-4o", "", "", "y"], (), {}),
    (["gone.epub", "BOOK", "gpt-4o", "opnai/gpt-4o", "openai/gpt-4o",
      "localhost:8000", "http://localhost:8000/v1", "githab", "none", "y"],
     ("no such file", "expected PROVIDER/NAME", "unknown provider 'opnai'",
      "expected a URL with http://", "'githab'"), {"base_url": "http://localhost:8000/v1"}),
])  # fmt: skip
def test_init_asks_for_omitted_options_until_answers_are_right(
    program, tmp_path, lamplighter, answers, message, options
):
    typed = "".join(f"{answer}\n" for answer in (*answers, "n")).replace(
        "BOOK", str(lamplighter)
    )
    settings = {"folder": tmp_path, "program": program, "typed": typed, "columns": 200}
    seen = run_in_terminal(["init"], **settings)
    assert seen.code == 0, seen.lines
    assert all(any(part in line for line in seen.lines) for part in message)
    (model,) = load_suite(tmp_path / "release.memleak.toml").models
    assert (model.base_model, model.options) == ("gpt-4o", options)
    assert not (tmp_path / ".github").exists()


def test_init_offers_extraction_with_its_price_and_adds_it(
    program, tmp_path, lamplighter
):
    settings = {"folder": tmp_path, "program": program, "columns": 400}
    arguments = ["init", "--book", str(lamplighter), "--model", "openai/gpt-4o"]
    priced = [*arguments, "--ci", "none", "--price", "2,8"]
    seen = run_in_terminal(priced, typed="y\ny\n", **settings)
    assert seen.code == 0, seen.lines
    offer = seen.line("Next rung: ")
    assert re.search(r"at most US\$\d+\.\d\d \([\d,]+ input tokens", offer)
    first, second = load_suite(tmp_path / "release.memleak.toml").pairs
    assert (first.id, first.probe.kind) == ("gpt-4o/the-lamplighter", "continuation")
    assert second.id == "gpt-4o-extraction/the-lamplighter"
    assert (second.probe.kind, second.limits["extracted"]) == ("extraction", 0.01)


def test_without_a_terminal_init_says_how_to_add_extraction(
    memleak, tmp_path, lamplighter
):
    local = ("--model", "openai/gpt-4o", "--ci", "none")
    done = memleak("init", "--book", lamplighter, *local)
    assert "--extraction adds it" in done.stdout
    assert len(load_suite(tmp_path / "release.memleak.toml").pairs) == 1
    other = ("--extraction", "-o", "other.memleak.toml")
    memleak("init", "--book", lamplighter, *local, *other)
    assert len(load_suite(tmp_path / "other.memleak.toml").pairs) == 2


NOT_WRITTEN = {
    "": "memleak init --book BOOK.epub --model openai/NAME",
    "--book gone.epub --model openai/x": "gone.epub: no such file",
    "--book it.txt --model gpt-4o": "expected PROVIDER/NAME, got 'gpt-4o'",
    "--book it.txt --model opnai/x": f"known providers: {', '.join(sorted(PROVIDERS))}",
}


def test_an_init_that_cannot_write_a_suite_says_what_to_type(refused, here, file):
    file("it.txt", "Every word of it was true.")
    for arguments, message in NOT_WRITTEN.items():
        assert message in refused("init", *arguments.split()), arguments
        assert [path.name for path in here.iterdir()] == ["it.txt"]
    # And what is there stays as it is.
    suite = file("mine.memleak.toml", "mine")
    error = refused("init", "--book", "it.txt", "--model", "openai/x", "-o", suite.name)
    assert "never overwrites a file" in error
    assert suite.read_text() == "mine"
