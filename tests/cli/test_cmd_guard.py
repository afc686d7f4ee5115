"""`memleak guard`: what it needs before it serves, and a guard of its own process."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from pytest_memleak.library import read_book


def guard(book, *more):
    return ("guard", book, "--upstream", "http://127.0.0.1:9/v1", *more)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_cannot_be_guarded_is_an_error(refused, lamplighter):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    assert "ftp://it is no address" in refused("guard", lamplighter, "--upstream", "ftp://it")
    assert "at least 20 words, not 5" in refused(*guard(lamplighter, "--limit", 5))
    assert "No such file" in refused(*guard("gone.epub"))
    assert "No such file" in refused(*guard(lamplighter, "--common", "gone.txt"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(*guard(lamplighter, "--port", port), out="Guards 1 book")
    assert f"can't listen on 127.0.0.1:{port}" in said
    assert said.endswith("name another port with --port\n")


def test_without_its_extra_it_says_how_to_install_it(refused, lamplighter, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert "needs the package aiohttp" in refused(*guard(lamplighter))
    assert "pip install" in refused(*guard(lamplighter))


def test_a_guard_of_its_own_process(program, lamplighter):
    pytest.importorskip("aiohttp", reason="the extra guard is not installed")
    import openai
    from chat_streams import ChatStreams, serving

    server = ChatStreams()
    text = read_book(lamplighter).excerpts[0].text
    server.answers["leak"] = {"choices": [{"index": 0, "message": {"content": text}}]}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(server.app) as (upstream,):
        command = ["guard", lamplighter, "--upstream", f"{upstream}/v1", "--port", str(port)]
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout.readline().startswith("Guards 1 book (")
            ends = time.monotonic() + 60
            while not listens(port) and time.monotonic() < ends:
                time.sleep(0.02)
            with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k") as client:
                asked = [{"role": "user", "content": "?"}]
                (choice,) = client.chat.completions.create(model="leak", messages=asked).choices
            assert choice.finish_reason == "content_filter"
            assert text.startswith(choice.message.content)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"stopped choice 0 (choices.message.content) at {lamplighter}, words " in said
