"""What five neutral prompts show of an endpoint, and the keys that come of it."""

import json
import tomllib
from types import SimpleNamespace

import pytest
from earned_suites import write_book
from screen import run_in_terminal
from troubled_servers import REASONING, TROUBLES, TroubledServer
from unearned_servers import book_of_servers, other_plays

from pytest_memleak.cli import neutral_prompts
from pytest_memleak.cli.learned_keys import LearnedKey, suite_text_with_keys
from pytest_memleak.cli.main import main
from pytest_memleak.cli.neutral_prompts import MOST_CALLS

SUITE = "m-b.memleak.toml"


@pytest.fixture
def server(here):
    """A server of every style, and a book of 150 words an excerpt to try on them."""
    write_book(here, book_of_servers())
    with TroubledServer(plays=other_plays(100_000)) as running:
        yield running


@pytest.fixture
def planned(here, server, capsys, monkeypatch):
    """Try a style up to the question whether to run the probe, with a yes or none.

    Returns what was printed, and the suite that would have run.
    """

    def plan(style, *options):
        suites = []
        monkeypatch.setattr(
            "pytest_memleak.cli.cmd_try._run_probe",
            lambda path, *_: suites.append(path.read_text("utf-8")) or 0,
        )
        url = f"{server.url}/{style}/v1"
        trial = ("try", "b.json", "--model", "openai/m", "--base-url", url)
        code = main([*trial, "--yes", *options])
        output = capsys.readouterr()
        assert server.calls[style] <= MOST_CALLS + 1  # one that is rejected is free
        suite = tomllib.loads(suites[0]) if suites else {}
        return SimpleNamespace(
            code=code,
            shown=" ".join(output.out.split()),
            error=output.err,
            text=suites[0] if suites else "",
            suite=suite,
            model=suite.get("model", [{}])[0],
        )

    return plan


@pytest.mark.parametrize("style", ["reasons-hidden", "reasons-shown"])
def test_reasoning_is_measured_and_gets_room(planned, style):
    plan = planned(style)
    assert f"reasons {REASONING:,} tokens" in plan.shown.replace("1,498", "1,500")
    assert plan.model["max_tokens"] >= 2 * REASONING
    assert "# it reasoned for" in plan.text


def test_a_model_that_answers_at_once_gets_no_key(planned):
    plan = planned("gzip")
    assert "max_tokens" not in plan.model
    assert "served_names" not in plan.model
    assert "two answers at temperature 0 are the same" in plan.shown


def test_a_servers_limit_of_tokens_is_written(planned):
    plan = planned("openai-cap")
    assert plan.model["max_tokens"] == 128
    assert "# the most that the server accepts" in plan.text


NAME = 'served_names = ["provider/somebodys-model-fp8"]  # the server\'s name for m'


def test_another_name_of_the_model_is_not_written_without_a_person(planned):
    plan = planned("open-router-name")
    assert "served_names" not in plan.model
    assert "Not written: served_names" in plan.shown


@pytest.mark.parametrize("knows", [True, False])
def test_a_person_knows_another_name_of_the_model(planned, monkeypatch, knows):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(neutral_prompts, "ask_yes_or_no", lambda _: knows)
    plan = planned("open-router-name")
    assert (NAME in plan.text) is knows


def test_a_filter_is_seen(planned):
    assert (
        "withholds answers to a neutral prompt" in planned("deepseek-moderates").shown
    )


@pytest.mark.parametrize("style", [
    name for name, style in TROUBLES.items() if style.most
    and name not in {"openai-cap", "vllm-context"}
])  # fmt: skip
def test_a_failing_server_is_known_before_the_book_and_leaves_no_suite(
    planned, server, here, style
):
    plan = planned(style)
    assert plan.code == 2
    assert "Is this your book" not in plan.shown
    assert "b.json" not in plan.shown
    assert SUITE not in plan.error
    assert not (here / SUITE).exists()
    assert server.calls[style] <= 2


@pytest.mark.parametrize(("style", "hint"), [
    ("wrong-model", "(--model)"), ("no-credit", "add credit to the account"),
    ("wrong-key", "OPENAI_API_KEY"), ("brotli", "turn compression off"),
])  # fmt: skip
def test_an_error_names_what_to_type(planned, style, hint):
    assert hint in planned(style).error


@pytest.mark.full
def test_a_model_that_reasons_passes_without_an_edit(memleak, server):
    url = f"{server.url}/reasons-hidden/v1"
    trial = ("b.json", "--model", "openai/m", "--base-url", url, "--yes")
    done = memleak("try", *trial)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "PASS" in done.stdout


SUITE_OF = """
[suite]
samples = 5
probe = "continuation"
[limits]
preset = "strict"
[[book]]
id = "b"
source = "b.json"
[[model]]
id = "m"
provider = "openai"
base_model = "m"
options = {{ base_url = "{url}" }}
"""


@pytest.fixture
def doctor(here, server, file, capsys):
    """Run `memleak doctor --calls` on a suite of a style; the checks and the suite."""

    def check(style):
        url = f"{server.url}/{style}/v1"
        suite = file("it.memleak.toml", SUITE_OF.format(url=url))
        code = main(["doctor", suite.name, "--calls", "--json"])
        checks = json.loads(capsys.readouterr().out)["checks"]
        states = {check["subject"]: check["state"] for check in checks}
        fixes = " ".join(check["fix"] for check in checks)
        return SimpleNamespace(
            code=code, states=states, fixes=fixes, text=suite.read_text("utf-8")
        )

    return check


def test_doctor_calls_write_what_they_show_into_the_suite(doctor, server):
    found = doctor("reasons-shown")
    assert found.code == 0
    assert "before it answers" in found.states["model m reasons"]
    assert "max_tokens = 3500  # it reasoned for" in found.text
    assert server.calls["reasons-shown"] <= MOST_CALLS


def test_doctor_calls_leave_a_suite_alone_that_needs_nothing(doctor):
    assert "#" not in doctor("marked").text


def test_doctor_calls_say_what_to_change_where_the_model_fails(doctor):
    found = doctor("no-credit")
    assert found.code == 1
    assert "add credit" in found.fixes


def test_doctor_makes_no_calls_of_its_own(here, server, file, capsys):
    url = f"{server.url}/marked/v1"
    suite = file("it.memleak.toml", SUITE_OF.format(url=url))
    main(["doctor", suite.name])
    assert not server.calls


@pytest.mark.parametrize("command", ["try", "doctor"])
def test_https_to_a_server_without_tls_has_a_hint(here, server, file, capsys, command):
    url = f"{server.url}/marked/v1".replace("http:", "https:")
    suite = file("it.memleak.toml", SUITE_OF.format(url=url))
    trial = ("b.json", "--model", "openai/m", "--base-url", url, "--yes")
    code = main(["doctor", suite.name] if command == "doctor" else ["try", *trial])
    assert code
    output = capsys.readouterr()
    assert "without TLS, write http://" in output.out + output.err


def test_doctor_names_a_missing_key_before_it_asks(program, here, server, file):
    suite = file("it.memleak.toml", SUITE_OF.format(url=server.url))
    text = suite.read_text("utf-8")
    options = next(line for line in text.splitlines() if server.url in line)
    suite.write_text(text.replace(options, ""), "utf-8")
    seen = run_in_terminal(
        ["doctor", suite.name, "--calls"],
        folder=here,
        program=program,
        columns=200,
        answer="n\n",
    )
    shown = "\n".join(seen.lines)
    assert "OPENAI_API_KEY isn't set in the environment" in shown
    assert "Send them?" not in shown


def test_doctor_calls_and_syntax_only_exclude_each_other(refused, here):
    assert "remove one of them" in refused("doctor", "--calls", "--syntax-only")


@pytest.mark.full
def test_init_learns_the_endpoint_after_a_yes(program, here, server):
    url = f"{server.url}/reasons-hidden/v1"
    model = ("--model", "openai/m", "--base-url", url, "--ci", "none")
    seen = run_in_terminal(
        ["init", "--book", "b.json", *model],
        folder=here,
        program=program,
        columns=120,
        typed="y\n",
        answer="y\nn\n",  # it offers extraction, too
        asks="Send them?",
    )
    assert seen.code == 0, seen.lines
    assert "max_tokens = 3500" in (here / "release.memleak.toml").read_text("utf-8")


@pytest.mark.full
def test_a_question_is_asked_again_after_nonsense(program, here, server):
    url = f"{server.url}/marked/v1"
    seen = run_in_terminal(
        ["try", "b.json", "--model", "openai/m", "--base-url", url],
        folder=here,
        program=program,
        columns=120,
        typed="y\n",
        answer="maybe\nn\n",
        asks="Run the probe?",
    )
    assert seen.code == 0, seen.lines
    assert seen.line("Answer y or n.")
    assert seen.line("Run the probe? [y/N] No prompt about the book was sent.")


WRITTEN = """
[suite]
samples = 5   # few
[[model]]
id = "a"
max_tokens = 5
# a comment at the end

[model.options]
max_tokens_parameter = "max_tokens"
[[model]]
id = "b"
"""
KEY = LearnedKey("model", "max_tokens", "3500", "it reasoned")


def test_a_learned_key_replaces_the_suites_own():
    text = suite_text_with_keys(WRITTEN, "a", [KEY])
    assert text == WRITTEN.replace("max_tokens = 5\n", f"{KEY.line}\n").lstrip("")


def test_a_learned_key_stands_behind_the_others_of_its_table():
    temperature = LearnedKey(
        "suite", "temperature", '"default"', "the server rejects any"
    )
    text = suite_text_with_keys(WRITTEN, "b", [KEY, temperature])
    assert text.endswith(f'id = "b"\n{KEY.line}\n')
    assert f"samples = 5   # few\n{temperature.line}\n" in text


@pytest.mark.parametrize("suite", [
    'model = [{ id = "a" }]\n', '[[model]]\nid = ["a", "b"]\n', '[[ model ]]\nid = "a"\n',
])  # fmt: skip
def test_a_suite_in_another_form_is_left_alone(suite):
    assert suite_text_with_keys(suite, "a", [KEY]) is None
