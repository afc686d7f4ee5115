"""`memleak doctor`: what is there, and what needs a fix."""

import re
import socket
from pathlib import Path

import pytest
import yaml
from http_server import Books
from openai_server import OpenAIServer
from reciter import Reciter

from pytest_memleak.cli import model_checks
from pytest_memleak.cli.doctor_check import Check
from pytest_memleak.cli.main import main

KEY = "sk-test-0123456789abcdefghij"


SUITE = """
[limits]
longest_passage = 38
[[book]]
id = "it"
source = "LAMPLIGHTER"
[[model]]
id = "candidate"
provider = "openai"
base_model = "x"
"""


@pytest.fixture
def suite(file, lamplighter):
    def write(begin="", end="", provider="openai"):
        text = SUITE.replace("LAMPLIGHTER", str(lamplighter)).replace(
            "openai", provider
        )
        return file("it.memleak.toml", f"{begin}\n{text}\n{end}").name

    return write


def test_doctor_without_a_suite_lists_providers(memleak, last_line, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "pytest_memleak.providers.provider_registry.ProviderNeeds.missing", ("x",)
        )
        shown = memleak("doctor").stdout
        assert re.search(
            r"^- +provider transformers +not installed ", shown, re.MULTILINE
        )
    done = memleak("doctor", OPENAI_API_KEY=KEY)
    assert (done.returncode, "provider transformers" in done.stdout) == (0, True)
    assert re.search(r"^(ok|fix) +ledger  ", done.stdout, re.MULTILINE)
    assert last_line(done).startswith("memleak demo")
    assert KEY not in done.stdout + done.stderr


def test_models_and_keys_of_one_state_are_named_once(memleak, suite, file):
    models = Path(suite()).read_text("utf-8").replace('"x"', '["x", "y"]')
    file("it.memleak.toml", models.replace('"candidate"', '"{base_model}"'))
    done = memleak("doctor", "it.memleak.toml")
    assert done.stdout.count("OPENAI_API_KEY: export OPENAI_API_KEY=...") == 1
    assert re.findall(r"model (.+?) +openai, valid options", done.stdout) == ["x, y"]


def test_doctor_names_an_uncreatable_ledger_and_escapes_file_names(
    memleak, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        assert re.search(
            "^fix +ledger +can't be created$", memleak("doctor").stdout, re.MULTILINE
        )
    assert (
        "\x1b" not in memleak("doctor", "--syntax-only", "\x1b[31m.memleak.toml").stdout
    )


def test_doctor_names_fixes_of_suites(memleak, last_line, suite, file):
    done = memleak("doctor", suite(), OPENAI_API_KEY=" ")
    assert done.returncode == 1
    state = "31 excerpts, 12,345 words, not approved, 31 without an instruction"
    assert state in done.stdout
    ways = ('summaries = "FILE"', "[suite.summarizer]", 'probe = "continuation"')
    assert all(way in done.stdout for way in ways)
    assert "OPENAI_API_KEY: export OPENAI_API_KEY=..." in done.stdout
    assert last_line(done) == "memleak doctor it.memleak.toml"
    file("ledger.db", "no ledger")
    done = memleak("doctor", "it.memleak.tml", "--ledger", "sqlite:///ledger.db")
    assert done.returncode == 1
    assert (
        "\nit.memleak.tml: can't be read: No such file or directory\n  did you"
        in done.stdout
    )
    assert "Next: " not in done.stdout  # by the same wrong name
    assert sum(line.startswith("fix") for line in done.stdout.splitlines()) == 2


def test_doctor_names_a_missing_book_once(memleak, suite, lamplighter):
    text = Path(suite()).read_text("utf-8")
    gone = 'source = "gone.epub"\nbring_your_own = true'
    text = text.replace(f'source = "{lamplighter}"', gone)
    Path("it.memleak.toml").write_text(text, "utf-8")
    lines = memleak("doctor", "it.memleak.toml").stdout.splitlines()
    assert f"book it: no such file: {Path('gone.epub').resolve()}" in lines


def test_doctor_names_a_model_with_an_invalid_option_once(memleak, suite):
    done = memleak("doctor", suite(end='options = { bucket = "x" }'))
    [line] = [
        line for line in done.stdout.splitlines() if line.startswith("model candidate:")
    ]
    assert line.count("candidate") == 1
    assert "options.bucket" in line


def test_doctor_shows_books_that_nobody_approved(memleak, suite, file):
    shown = memleak("doctor", suite()).stdout
    assert "12,345 words in 7 chapters; left out: 108 words (1%)" in shown
    [approved] = re.findall(r'^approved = "[0-9a-f]{64}"$', shown, re.MULTILINE)
    text = Path("it.memleak.toml").read_text()
    file("it.memleak.toml", text.replace('id = "it"', f'id = "it"\n{approved}'))
    shown = memleak("doctor", "it.memleak.toml").stdout
    assert "12,345 words, approved by the suite's author" in shown
    assert "7 chapters" not in shown


def test_doctor_asks_for_a_new_approval_of_changed_words(memleak, suite, file):
    key = f'approved = "{"0" * 64}"'
    text = Path(suite()).read_text()
    file("it.memleak.toml", text.replace('id = "it"', f'id = "it"\n{key}'))
    done = memleak("doctor", "it.memleak.toml")
    assert done.returncode == 1
    assert "12,345 words, changed since it was approved" in done.stdout
    assert "set approved to the digest printed there" in done.stdout


@pytest.fixture
def server(tmp_path):
    books = Books(tmp_path / "books.jsonl")
    with OpenAIServer(
        reciter=Reciter(["a b c"]), books=books, models=("x:latest", "y")
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("x", "/v1", "ok model candidate listed by the server; shutdown: 2027-01-14"),
        ("z", "/v1", "fix model candidate the server doesn't list z"),
        ("x", "/api", "fix model candidate no list of models"),
    ],
)
def test_doctor_reads_the_server_s_list_of_models(
    suite, server, capsys, here, name, path, message
):
    end = f'[model.options]\nbase_url = "{server.url}{path}"'
    written = Path(suite('[suite]\nprobe = "continuation"', end))
    written.write_text(written.read_text("utf-8").replace('"x"', f'"{name}"'), "utf-8")
    status = main(["doctor", str(written)])
    shown = capsys.readouterr().out
    assert message in " ".join(shown.split())
    assert status == message.startswith("fix")
    assert ("name one that it lists: x:latest, y" in shown) == (name == "z")
    assert ("on most servers, base_url ends in /v1" in shown) == (path == "/api")
    assert server.books.rows() == []


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://models.example/v1", 0),
        ("http://models.example/v1", 1),
    ],
)
def test_a_host_that_only_the_suite_names_gets_no_key(
    suite, monkeypatch, capsys, here, url, status
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    reachable = Check("server", "reachable")
    monkeypatch.setattr(model_checks, "check_server", lambda _: reachable)
    monkeypatch.setattr(
        model_checks,
        "check_server_lists_model",
        lambda *_: pytest.fail("the key was sent"),
    )
    end = f'[model.options]\nbase_url = "{url}"'
    assert main(["doctor", suite('[suite]\nprobe = "continuation"', end)]) == status
    shown = " ".join(capsys.readouterr().out.split())
    assert "model candidate not contacted" in shown
    assert "OPENAI_API_KEY would go to models.example" in shown


@pytest.mark.full
@pytest.mark.parametrize("samples", [65, 66])
def test_a_suite_with_too_few_samples_for_a_pass_needs_a_fix(
    memleak, last_line, suite, samples, server
):
    text = (
        f'[suite]\nprobe = "continuation"\nsamples = {samples}\ndetection_limit = 0.05'
    )
    done = memleak(
        "doctor", suite(text), OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.base_url
    )
    assert done.returncode == (samples < 66), done.stdout
    assert KEY not in done.stdout + done.stderr
    if samples < 66:
        assert "set samples = 66, or a higher detection_limit" in done.stdout
    else:
        assert (
            last_line(done) == "pytest -m copyright it.memleak.toml --memleak-dry-run"
        )


@pytest.mark.full
@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("openai", None),
        ("openai", "OPENAI_BASE_URL"),
        ("vertex", "GOOGLE_VERTEX_BASE_URL"),
    ],
)
def test_doctor_contacts_the_server_of_suite_or_environment(
    memleak, suite, provider, variable
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        if variable:
            url = f"{url.replace('//', '//me:hunter2hunter2@')}?key={KEY}"
        end = "" if variable else f'[model.options]\nbase_url = "{url}"'
        path = suite('[suite]\nprobe = "continuation"', end, provider)
        arguments, environment = ("doctor", path), {variable: url} if variable else {}
        done = memleak(*arguments, **environment)
    assert "  reachable" in done.stdout
    assert done.returncode == 0, done.stdout
    assert not any(
        secret in done.stdout for secret in ("hunter2", KEY, "OPENAI_API_KEY")
    )
    gone = memleak(*arguments, **environment)
    assert gone.returncode == 1
    fix = "start it, or correct options.base_url"
    assert all(part in gone.stdout for part in ("unreachable", fix))


ROOT = Path(__file__).parents[2]


def test_the_pre_commit_hook_checks_suites_against_the_schema(memleak, tmp_path):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["entry"].startswith("memleak ")
    arguments = hook["entry"].split()[1:]
    written = (ROOT / "suites" / "quickstart" / "quickstart.memleak.toml").read_text(
        "utf-8"
    )
    good, bad = tmp_path / "good.memleak.toml", tmp_path / "bad.memleak.toml"
    # Neither books nor keys are where a commit is made.
    good.write_text(
        written.replace('"ngram"', '"openai"').replace("order = ", "n = "), "utf-8"
    )
    bad.write_text(written.replace("samples", "sampels"), "utf-8")
    matched = [
        bool(re.search(hook["files"], name)) for name in (good.name, "pyproject.toml")
    ]
    assert matched == [True, False]
    done = memleak(*arguments, good.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 models, 1 book" in done.stdout
    done = memleak(*arguments, good.name, bad.name)
    assert done.returncode == 1
    assert "write samples instead of sampels" in done.stdout
