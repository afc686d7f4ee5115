"""`memleak guard`: what it needs before it serves, and a guard of its own process."""

import re
import signal
import socket
import subprocess
import sys

import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.library import read_book


def guard(book, *more):
    return ("guard", book, "--upstream", "http://127.0.0.1:9/v1", "--port", 0, *more)


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


def test_without_its_extra_it_says_how_to_install_it(refused, lamplighter, monkeypatch):
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
        "at most 7 words in a row leave per answer",
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


def test_a_guard_of_its_own_process(program, lamplighter):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    import httpx
    import openai
    from chat_streams import ChatStreams, serving

    server = ChatStreams()
    text = read_book(lamplighter).excerpts[-1].text
    server.answers["leak"] = {"choices": [{"index": 0, "message": {"content": text}}]}
    with serving(server.app) as (upstream,):
        command = ["guard", lamplighter, "--upstream", f"{upstream}/v1", "--port", "0"]
        command += ["--metrics-port", "0"]
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line.startswith("Guards 1 book (")
            address = re.search(r"at (http://127.0.0.1:[1-9]\d+/v1), ", line)[1]
            with openai.OpenAI(base_url=address, api_key="k") as client:
                asked = [{"role": "user", "content": "?"}]
                (choice,) = client.chat.completions.create(
                    model="leak", messages=asked
                ).choices
            assert choice.finish_reason == "content_filter"
            counts = process.stdout.readline().removeprefix("Counts: ").strip()
            metrics = httpx.get(counts).text
            assert (
                f'memleak_guard_stops_total{{book="{lamplighter.name}"}} 1.0' in metrics
            )
            assert str(lamplighter.parent) not in metrics
            shown = httpx.get(f"{address.removesuffix('/v1')}/guard").json()
            assert shown[f"stops in {lamplighter.name}"] == 1
            assert text.startswith(choice.message.content)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    place = re.escape(
        f"stopped choice 0 (choices.message.content) at {lamplighter}, words "
    )
    assert re.search(rf"{place}\d+,\d+-\d+,\d+: ", said)
