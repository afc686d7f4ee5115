"""`memleak guard`: what it needs before it serves, and a guard of its own process."""

import contextlib
import itertools
import re
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.library import read_book


def guard(book, *more):
    needed = {"--upstream": "http://127.0.0.1:9/v1", "--port": 0}
    left = {name: value for name, value in needed.items() if name not in more}
    return ("guard", book, *itertools.chain(*left.items()), *more)


@pytest.mark.parametrize(("more", "message"), [
    (("--upstream", "ftp://it"), "--upstream ftp://it isn't a server's address"),
    (("--upstream", "http://localhost:99999/v1"), "localhost:99999/v1 isn't a server's"),
    (("--upstream", "http:///v1"), "--upstream http:///v1 isn't a server's address"),
    (("--upstream", "http://u:secret@LOCALHOST:8790/v1", "--port", 8790), ":8790/v1 is the"),
    (("--upstream", "http://10.9.9.9/v1", "--host", "10.9.9.9", "--port", 80), "guard itself"),
    (("--port", 99999), "--port 99999 isn't between 0 and 65535"),
    (("--port", -5), "--port -5 isn't between 0 and 65535"),
    (("--limit", 5), "at least 20 words, not 5"),
    (("--metrics-port", 99999), "--metrics-port 99999 isn't between 0 and 65535"),
    (("--connections", 0), "--connections 0 lets no client in"),
    (("--per", 0), "--per 0 isn't a number of hours above 0"),
    (("--limit", 20_000), "it has 12,414 words, too few for a passage of over 20000"),
    (("--common", "gone.txt"), "No such file"),
    (("--host", "192.0.2.9"), "can't listen on 192.0.2.9:0: "),
])  # fmt: skip
def test_guard_rejects_bad_options(refused, lamplighter, more, message):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    said = refused(*guard(lamplighter, *more))
    assert message.lower() in said.lower()
    assert "secret" not in said
    if more[0] in ("--upstream", "--port"):
        assert refused(*guard("gone.epub", *more)) == said  # before a book is read


def test_a_missing_book_and_a_taken_port_are_errors(refused, lamplighter):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    bare = (
        ("--upstream", "http://127.0.0.1:9"),
        "On most servers, --upstream ends in /v1, unlike ",
    )
    for more, notice in (((), ""), bare):
        assert "No such file" in refused(*guard("gone.epub", *more), out=notice)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(*guard(lamplighter, "--port", port))
    assert f"can't listen on 127.0.0.1:{port}: Address already in use\n" in said
    assert "another port with --port, or an address of this machine with --host" in said


def test_a_missing_extra_is_an_error_with_its_install_command(
    refused, lamplighter, monkeypatch
):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert "guard: the packages aiohttp and prometheus-client, which run" in refused(
        *guard(lamplighter)
    )
    assert "pip install" in refused(*guard(lamplighter))


@pytest.mark.parametrize("option", ["--budget", "--client-budget"])
@pytest.mark.parametrize("typed", ["5", "many"])
def test_a_budget_is_none_or_a_number_of_words(memleak, lamplighter, option, typed):
    run = memleak(*guard(lamplighter, option, typed))
    assert run.returncode == 2
    assert (
        f"{option}: '{typed}' isn't none or a number of words from 20 on" in run.stderr
    )


def test_the_help_states_what_the_guard_promises(capsys):
    with pytest.raises(SystemExit):
        main(["guard", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for promise in (
        "before it sends more than --limit words of a protected passage",
        "before a conversation has more than --budget words of one book",
        "at most 7 words in a row leave per choice",
        "if the client returns earlier turns unchanged",
        "doesn't hold over conversations, over turns that a client drops, and for a "
        "client with many keys",
    ):
        assert promise in text


def test_a_client_budget_is_kept_beside_the_ledger(
    refused, lamplighter, tmp_path, monkeypatch
):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".memleak"
    (folder / "guard.db").mkdir(parents=True)
    said = refused(*guard(lamplighter, "--client-budget", 100))
    assert "can't keep the clients' budgets there" in said


@contextlib.contextmanager
def running_guard(program, book, upstream):
    """A guard's process; its addresses and, once the context ends, its errors."""
    command = [*program, "guard", str(book), "--upstream", upstream, "--port", "0"]
    command += ["--metrics-port", "0"]
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = SimpleNamespace()
    try:
        line = process.stdout.readline()
        assert line.startswith("Guards 1 book (")
        run.address = re.search(r"at (http://127.0.0.1:[1-9]\d+/v1), ", line)[1]
        run.metrics = process.stdout.readline().removeprefix("Counts: ").strip()
        yield run
    finally:
        process.send_signal(signal.SIGINT)
        _, run.errors = process.communicate(timeout=60)
    assert process.returncode == 0


def chat_answer(address, model):
    import openai

    with openai.OpenAI(base_url=address, api_key="k") as client:
        messages = [{"role": "user", "content": "?"}]
        completion = client.chat.completions.create(model=model, messages=messages)
    (choice,) = completion.choices
    return choice


def test_a_guard_s_process_cuts_a_passage_and_names_its_place(program, lamplighter):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    import httpx
    from chat_streams import ChatStreams, serving

    server = ChatStreams()
    text = read_book(lamplighter).excerpts[-1].text
    server.answers["leak"] = {"choices": [{"index": 0, "message": {"content": text}}]}
    with (
        serving(server.app) as (upstream,),
        running_guard(program, lamplighter, f"{upstream}/v1") as guard_run,
    ):
        choice = chat_answer(guard_run.address, "leak")
        metrics = httpx.get(guard_run.metrics).text
        counts = httpx.get(f"{guard_run.address.removesuffix('/v1')}/guard").json()
    assert choice.finish_reason == "content_filter"
    assert text.startswith(choice.message.content)
    assert f'memleak_guard_stops_total{{book="{lamplighter.name}"}} 1.0' in metrics
    assert str(lamplighter.parent) not in metrics
    assert counts[f"stops in {lamplighter.name}"] == 1
    place = re.escape(
        f"stopped choice 0 (choices.message.content) at {lamplighter}, words "
    )
    assert re.search(rf"{place}\d+,\d+-\d+,\d+: ", guard_run.errors)
