"""Every command and the gate refuse a book whose words nobody can write, before any call."""

import json
from pathlib import Path

import pytest

from pytest_memleak.cli.main import main

STORY = (
    "The boat didn’t lie in the harbor; its owner sat on the quay, at his net.\n\n" * 30
)
TWICE = STORY.encode("utf-8").decode("windows-1252")
RUSSIAN = "Лодка стояла в гавани, а её хозяин чинил сеть на берегу.\n\n" * 40
ADDRESS = "http://127.0.0.1:9/v1"
SUITE = """
[suite]
word_mode = "unicode"
[limits]
longest_passage = 38
[[book]]
id = "it"
source = "book.txt"
[[model]]
id = "candidate"
provider = "openai"
base_model = "x"
price = { input = 1.0, output = 1.0 }
options = { base_url = "http://127.0.0.1:9/v1" }
"""


@pytest.fixture
def book(file):
    return file("book.txt", TWICE)


@pytest.mark.parametrize(
    "command",
    [
        ("prepare", "book.txt", "-o", "out.json"),
        ("try", "book.txt", "--model", "openai/x", "--base-url", ADDRESS, "--yes"),
        ("scan", "book.txt", "--training", "text.jsonl"),
        ("guard", "book.txt", "--upstream", ADDRESS, "--port", 0),
        ("catalog", "build", ".", "-o", "books.catalog"),
        ("score", "book.txt", "generations.json"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_refuses_an_unreadable_book(book, here, file, command, capsys):
    file("text.jsonl", '{"text": "nothing of the kind"}\n')
    file("generations.json", [{"excerpt_id": "p_id1", "generations": []}])
    status = main([str(argument) for argument in command])
    error = capsys.readouterr().err
    assert status
    assert "is unreadable: " in error
    assert "Traceback" not in error
    assert not Path("out.json").exists()


def test_doctor_names_an_unreadable_book(book, here, file, capsys):
    file("it.memleak.toml", SUITE)
    assert main(["doctor", "it.memleak.toml"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "book it unusable" in shown
    assert "is unreadable: " in shown


def test_the_gate_refuses_an_unreadable_book_before_any_call(
    book, here, file, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    file("it.memleak.toml", SUITE)
    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "copyright",
        "--memleak-allow-paid",
    ]
    evidence = "--memleak-evidence=evidence.json"
    pytest.main([*arguments, evidence, "it.memleak.toml"])
    (pair,) = json.loads(Path("evidence.json").read_text(encoding="utf-8"))["pairs"]
    assert pair["verdict"] != "PASS"
    assert "is unreadable: " in json.dumps(pair)


def test_a_declared_encoding_makes_a_book_readable(here, file, memleak):
    file("book.txt", RUSSIAN.encode("koi8-r"))
    refused = memleak("prepare", "book.txt", "-o", "out.json", "--word-mode", "unicode")
    assert (refused.returncode, "encoding = " in refused.stderr) == (2, True)
    unicode = ("-o", "out.json", "--word-mode", "unicode")
    assert not memleak(
        "prepare", "book.txt", "--encoding", "koi8-r", *unicode
    ).returncode
    (record,) = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert RUSSIAN.split("\n\n", maxsplit=1)[0] in record["excerpt_text"]


def test_a_suite_declares_an_encoding(here, file, capsys):
    file("book.txt", RUSSIAN.encode("windows-1251"))
    file("it.memleak.toml", SUITE)
    main(["doctor", "it.memleak.toml"])
    assert "book it unusable" in " ".join(capsys.readouterr().out.split())
    declared = 'source = "book.txt"\nencoding = "windows-1251"'
    file("it.memleak.toml", SUITE.replace('source = "book.txt"', declared))
    main(["doctor", "it.memleak.toml"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "book it 1 excerpt, 440 words" in shown
