"""`memleak try`, from a book and a server to a verdict in one command; `memleak demo`."""

import itertools
import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import Fault, FaultKind, FaultPlan, server_error
from http_server import Books, Response
from openai_server import OpenAIServer
from reciter import Reciter
from screen import run_in_terminal

from pytest_memleak.books.build_book import make_book, paper_records
from pytest_memleak.books.epub import read_epub
from pytest_memleak.cli.main import main
from pytest_memleak.cli.run_pytest import run_gate
from pytest_memleak.cli.suite_template import Draft
from pytest_memleak.cli.time_estimate import PreflightResult
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.records.number_format import amount
from pytest_memleak.sampling.cost_plan import Plan
from pytest_memleak.sampling.retry import Retry

SUITE = "base-story.memleak.toml"


@pytest.fixture
def story(file, lamplighter):
    """Six excerpts of a story."""
    records = paper_records(make_book("it", read_epub(lamplighter)))[:6]
    file("story.json", records)
    return [record["excerpt_text"] for record in records]


@pytest.fixture
def serve(tmp_path, story):
    """Starts a server whose model looks back nine words; returns the command to try it."""
    with ExitStack() as running:

        def start(props=None, models=Reciter, **more):
            books = Books(tmp_path / "books.jsonl")
            server = OpenAIServer(
                reciter=models(story, base_order=9), books=books, **more
            )
            server.route("GET", "/props", "props", lambda _: Response.json(props or {}))
            url = running.enter_context(server).base_url
            return "try", "story.json", "--model", "openai/base", "--base-url", url

        yield start


@pytest.fixture
def tried(memleak, serve):
    """A try of a model that recites, its text on one line, and how to try it again."""
    arguments = (*serve(), "--price", "1,2", "--yes")
    done = memleak(*arguments)
    text = " ".join(done.stdout.split())
    return SimpleNamespace(done=done, text=text, again=lambda: memleak(*arguments))


SHOWN = (
    "6 excerpts",
    "served by base (fp_emulated)",
    "accepts temperature, max_completion_tokens, seed, ",
    "rarer ones can go unseen. 100 samples (memleak init) would show 3.0%, for at most "
    "US$",
    "Cost: at most US$0.",
    "base/story",
    "FAIL",
    "can miss passages rarer than the detection limit above",
)


@pytest.mark.full
def test_a_model_that_recites_fails_and_its_trial_is_shown(tried):
    assert tried.done.returncode == 1, tried.done.stdout + tried.done.stderr
    assert "from an earlier run" not in tried.text
    for part in SHOWN:
        assert part in tried.text, part
    command = f"pytest -m copyright {SUITE} --memleak-html=base-story.html"
    assert tried.done.stdout.endswith(f"HTML report: {command}\n")


@pytest.mark.full
def test_a_try_names_one_next_command(tried):
    assert tried.done.stdout.count("Next: ") == 1


@pytest.mark.full
def test_a_try_leaves_its_suite(tried, tmp_path):
    suite = tomllib.loads((tmp_path / SUITE).read_text(encoding="utf-8"))
    assert suite["suite"]["probe"] == "continuation"
    assert suite["limits"] == {"preset": "strict"}
    assert suite["model"][0]["price"] == {"input": 1.0, "output": 2.0}
    samples = suite["suite"]["samples"]  # as many as this server's pace leaves time for
    assert f"of 6 excerpts, {amount(samples, 'time')} each." in tried.text


@pytest.mark.full
def test_a_second_try_reuses_the_generations_of_the_first(tried, tmp_path):
    (tmp_path / SUITE).unlink()
    text = " ".join(tried.again().stdout.split())
    assert "generations from an earlier run. They will be reused." in text


DEFAULT_FORMAT = (
    "{%- for message in messages -%}\n  {{- '<|im_start|>' + message.role + '\n' }}"
)


@pytest.mark.parametrize("template", [DEFAULT_FORMAT, "{{ bos_token }}"])
def test_a_base_model_gets_plain_text(here, serve, capsys, template):
    # Without a terminal, nobody can confirm the run.
    assert main([*serve(props={"chat_template": template})]) == 2
    shown = capsys.readouterr().out
    is_base = template == DEFAULT_FORMAT
    assert (
        "base model without a chat format: prompts are sent as plain text" in shown
    ) == is_base
    assert "Estimated time: 1 minute." in shown


class Wavering(Reciter):
    """Models that answer otherwise each time, at temperature 0, too."""

    def answer(self, *arguments, temperature, seed, **settings):
        warm = {"temperature": temperature or 1.0, "seed": None}
        return super().answer(*arguments, **settings, **warm)


def test_greedy_answers_that_vary_are_shown_with_what_follows(here, serve, capsys):
    assert main([*serve(models=Wavering)]) == 2  # no one confirms the probe
    shown = " ".join(capsys.readouterr().out.split())
    assert "temperature 0 differ, so no limit on greedy ones can pass" in shown


def test_a_text_of_three_words_is_rejected_without_advice_for_suites_alone(
    memleak, serve, tmp_path
):
    (tmp_path / "note.txt").write_text("Three words only.")
    _, _, *options = serve()
    done = memleak("try", "note.txt", *options)
    assert done.returncode == 2
    assert "check the file, or set a lower k in a suite" in done.stderr


def test_a_rate_limit_is_waited_for_and_not_counted(here, serve, capsys, monkeypatch):
    trials, looks = [], itertools.count()  # at the clock, and one second between two
    clock, pause = (
        SimpleNamespace(monotonic=lambda: next(looks)),
        lambda *_: next(looks),
    )
    monkeypatch.setattr(
        PreflightResult, "seconds_of", lambda trial, *_: trials.append(trial) or 60.0
    )
    monkeypatch.setattr("pytest_memleak.cli.neutral_prompts.time", clock)
    monkeypatch.setattr(
        "pytest_memleak.sampling.retry.Retry", lambda: Retry(pause=pause)
    )
    monkeypatch.setattr("pytest_memleak.sampling.adaptive_concurrency.FIRST_AT_ONCE", 1)
    limit = server_error("chat", status=429, calls=(3,), retry_after=0.6)
    assert main([*serve(plan=FaultPlan([limit]))]) == 2
    assert "waiting for the server's rate limit (429), " in capsys.readouterr().out
    assert trials[0].calls == 0


def test_a_failing_servers_words_are_shown_while_it_is_waited_for(
    here, serve, capsys, monkeypatch
):
    monkeypatch.setattr(
        "pytest_memleak.sampling.retry.Retry", lambda: Retry(pause=lambda *_: None)
    )
    failing = server_error("chat", status=500, calls=(1, 2))
    main([*serve(plan=FaultPlan([failing]))])
    shown = " ".join(capsys.readouterr().out.split())
    before, _, after = shown.partition("waiting for the server (500)")
    assert "500 Internal Server Error" in before
    assert "waiting for the server (500)" in after
    assert "500 Internal Server Error" not in after


def test_a_server_that_ignores_n_does_not_accept_it(here, serve, capsys):
    assert main([*serve(plan=FaultPlan([Fault(FaultKind.IGNORE_N, "chat")]))]) == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "accepts temperature, " in shown
    assert "returns one generation per call, even where two were requested" in shown


def test_a_slow_server_has_time_for_its_first_calls(here, serve, capsys, monkeypatch):
    monkeypatch.setattr(PreflightResult, "seconds_of", lambda *_: 3600.0)
    monkeypatch.setattr(PreflightResult, "call_deadline_needed", lambda *_: 1800)
    assert main([*serve()]) == 2
    assert (
        "Estimated time: 60 minutes. This run stops after 30;"
        in capsys.readouterr().out
    )


def plan_of(calls, generations, tokens):
    return Plan("m/b", calls, generations, 0, 0, tokens, None)


# Six excerpts of 300 tokens, and five canaries of 200.
OWN, GREEDY = plan_of(11, 11, 6 * 300 + 1000), plan_of(6, 6, 6 * 300)


@pytest.mark.parametrize(
    ("shares", "seconds", "deadline"),
    [
        # All overlaps: three calls at once.
        ((0.0, 0.0), 2 * 200 + 8 * 300 + 2 * 300, None),
        ((1.0, 1.0), 5 * 200 + 6 * 300 * 4 + 6 * 300, 2 * 3 * 300),  # nothing does
        ((0.0, 1.0), 2 * 200 + 2 * 300 * 4 + 2 * 300, None),
    ],
)
def test_the_estimate_counts_every_call_and_how_calls_overlap(
    shares, seconds, deadline
):
    settings = {"lines": (), "at_once": 3, "excerpts": 6, "text_only": False}
    trial = PreflightResult(
        token=1.0, calls=shares[0], completions=shares[1], **settings
    )
    assert trial.seconds_of([OWN, GREEDY], samples=4) == pytest.approx(seconds)
    assert trial.samples_that_fit(seconds * 1.2, [OWN, GREEDY]) >= 4
    assert (
        trial.samples_that_fit(1, [OWN, GREEDY]) == 2
    )  # one has no interval: it can't pass
    # The suite's own default is 600 seconds.
    assert trial.call_deadline_needed([OWN, GREEDY], samples=1) == deadline
    suite = Draft((), "openai", "base", 1, 1.0, deadline=deadline).text(Path(SUITE))
    assert tomllib.loads(suite).get("sampling", {}).get("deadline") == deadline


@pytest.mark.full
@pytest.mark.parametrize(
    ("server", "message"),
    [({"models": ("another",)}, "has this model (--model)"), ({}, "add --yes")],
)
def test_a_missing_model_or_confirmation_is_an_error(
    memleak, tmp_path, serve, server, message
):
    done = memleak(*serve(**server))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / SUITE).exists()


@pytest.mark.full
def test_the_book_is_sampled_only_after_a_yes(program, tmp_path, serve):
    seen = run_in_terminal(
        [*serve()],
        folder=tmp_path,
        program=program,
        columns=100,
        typed="y\ny\n",
        answer="n\n",
        asks="Run the probe? [y/N]",
    )
    assert seen.code == 0, seen.lines
    assert seen.line("Cost: at most").endswith("add --price IN,OUT to see it in US$.")
    assert seen.line("Next: ").startswith(f"Next: pytest -m copyright {SUITE}")
    lines = map(json.loads, (tmp_path / "books.jsonl").read_text().splitlines())
    requested = [line["instruction"] for line in lines if line["kind"] == "completion"]
    begin = "Describe a day in late autumn in a small town"
    assert {one.partition(",")[0] for one in requested} == {begin}
    assert (tmp_path / SUITE).exists()


@pytest.mark.full
def test_the_terminal_shows_progress_and_whole_words(
    program, tmp_path, serve, monkeypatch
):
    write = Reciter.answer

    def slowly(self, *arguments, **more):
        time.sleep(0.3)
        return write(self, *arguments, **more)

    monkeypatch.setattr(Reciter, "answer", slowly)
    seen = run_in_terminal(
        [*serve(), "--yes"], folder=tmp_path, program=program, columns=60
    )
    assert seen.code == 1, seen.lines
    assert seen.progress("sampling")
    waited = re.compile(r"waiting for the server +0:00:\d\d")
    assert any(waited.search(line) for screen in seen.screens for line in screen)
    taken = seen.lines.index(seen.line("  accepts      temperature, "))
    assert seen.lines[taken + 1].startswith(" " * 15)
    assert seen.line("Probe: ").endswith(" 6 excerpts, 10")
    title = seen.line("The Lamplighter ")
    assert title.endswith(" by The pytest-memleak auth…")


NOT_TRIED = {
    "gone.epub --model openai/x": "gone.epub: can't be read",
    "story.json --model opnai/x": f"known providers: {', '.join(sorted(PROVIDERS))}",
    "TRY": "export OPENAI_API_KEY=..., then rerun",
    "TRY --base-url http://127.0.0.1:9/v1": "check that http://127.0.0.1:9/v1 runs",
}


def test_a_try_that_cannot_run_says_what_to_type(here, file, story, capsys):
    def refused(arguments):
        assert (
            main(
                [
                    "try",
                    *arguments.replace("TRY", "story.json --model openai/x").split(),
                ]
            )
            == 2
        )
        return capsys.readouterr().err

    for arguments, message in NOT_TRIED.items():
        assert message in refused(arguments), arguments
        assert [path.name for path in here.iterdir()] == ["story.json"]


def _asks_at_a_terminal(program, folder, *arguments):
    """What a try at a terminal shows without a key, and a no to every question."""
    seen = run_in_terminal(
        ["try", "story.json", "--model", "openai/x", *arguments],
        folder=folder,
        program=program,
        columns=100,
        answer="n\n",
    )
    return seen.code, [line for line in seen.lines if line]


NO_KEY = "OPENAI_API_KEY isn't set in the environment"


@pytest.mark.parametrize("more", [(), ("--price", "1,2")])
def test_a_missing_key_is_said_before_anything_is_asked(program, here, story, more):
    code, lines = _asks_at_a_terminal(program, here, *more)
    assert code == 2
    assert lines == [
        f"memleak try: --model openai/x: {NO_KEY}",
        "  export OPENAI_API_KEY=..., then rerun; for your own server, add --base-url",
    ]


def test_a_missing_key_is_said_before_an_existing_suite_is_offered(
    program, here, story, file
):
    file("x-story.memleak.toml", SAME)
    code, lines = _asks_at_a_terminal(program, here)
    assert code == 2
    shown = " ".join(lines)
    assert NO_KEY in shown
    assert "Run it?" not in shown
    assert "Cost of what is left" not in shown


SAME = """
suite = { samples = 2, probe = "continuation" }
limits = { preset = "strict" }
[[model]]
id = "x"
provider = "openai"
base_model = "x"
[[book]]
id = "story"
source = "story.json"
"""
OTHERS = {
    "mine": "it can't be read as a suite of one model and one book",
    SAME.replace('base_model = "x"', 'base_model = "y"'): "its model is openai/y",
    SAME.replace("story.json", "other.json"): "its book is other.json",
    SAME.replace("[[book]]", 'options = { base_url = "http://a.test" }\n[[book]]'): (
        "its server is http://a.test"
    ),
}


@pytest.mark.parametrize("text", OTHERS)
def test_a_suite_of_another_pair_is_named_as_such(here, file, story, refused, text):
    suite = file("mine.memleak.toml", text)
    error = refused("try", "story.json", "--model=openai/x", "-o", suite)
    assert "this suite already exists, and isn't for x and story.json" in error
    assert OTHERS[text] in error
    assert f"to run this suite: pytest -m copyright {suite}" in error
    assert suite.read_text() == text


def test_an_existing_suite_of_the_same_pair_is_offered(
    here, file, story, capsys, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    suite = file("x-story.memleak.toml", SAME)
    assert main(["try", str(here / "story.json"), "--model", "openai/x"]) == 2
    shown = capsys.readouterr()
    assert "x-story.memleak.toml is a suite for x and story.json already." in shown.out
    assert "add --yes" in shown.err
    assert suite.read_text() == SAME


def test_a_missing_book_is_said_before_a_wrong_model(here, refused):
    assert "gone.epub: can't be read" in refused("try", "gone.epub", "--model", "no/x")


@pytest.mark.full
def test_a_closed_terminal_leaves_no_draft(program, tmp_path, serve):
    process = subprocess.Popen(
        [
            sys.executable,
            *program,
            *serve(plan=FaultPlan([Fault(FaultKind.SLOW, "chat", seconds=20)])),
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    suite = tmp_path / SUITE
    while not suite.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 129
    assert not suite.exists()


@pytest.mark.full
def test_a_run_that_takes_too_long_is_stopped(tmp_path, file):
    test = "@pytest.mark.copyright\ndef test_it(): time.sleep(60)\n"
    file("test_slow.py", f"import pytest, time\n{test}")
    assert run_gate("test_slow.py", folder=tmp_path, seconds=2) is None
