"""The command as it is typed, in a folder of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pytest_memleak.books.build_book import make_book, paper_records
from pytest_memleak.books.epub import read_epub
from pytest_memleak.cli.main import main

BOOKS = Path(__file__).parents[2] / "fixtures" / "books"
NAMES = ("the-lamplighter", "the-seed-vault")
SUITE = """
suite = { samples = 3 }
limits = { bmc = 0.1, nv_recall = 0.1 }
model = [{ id = "m", provider = "recorded", options = { path = "{book}.json" } }]
"""


@pytest.fixture
def program():
    """What Python runs for `memleak`."""
    return (
        "-c",
        "import sys; from pytest_memleak.cli.main import main; sys.exit(main())",
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Commands that run in this process are typed in this folder, without keys."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.endswith(("_KEY", "_URL")):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def memleak(here, capfd, monkeypatch):
    """Runs `memleak` with these arguments in tmp_path, without keys; nobody types."""

    def run(*arguments, **environment):
        capfd.readouterr()
        with monkeypatch.context() as patched:
            for name, value in {"COLUMNS": "100", **environment}.items():
                patched.setenv(name, value)
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as ended:
                code = ended.code
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(capsys):
    """Runs what ends with exit code 2, in this process; returns the one error on stderr."""

    def run(*arguments, out=""):
        assert main([str(argument) for argument in arguments]) == 2
        output = capsys.readouterr()
        assert out in output.out
        assert out or not output.out
        first, *hints = output.err.splitlines()
        assert first.startswith(f"memleak {arguments[0]}: ")
        assert all(line.startswith("  ") for line in hints)
        assert "Traceback" not in output.err
        return output.err

    return run


@pytest.fixture
def file(tmp_path):
    """Writes a file: bytes or text as they are, anything else as JSON; returns its path."""

    def write(name, content):
        path = tmp_path / name
        if not isinstance(content, bytes):
            text = content if isinstance(content, str) else json.dumps(content)
            content = text.encode("utf-8")
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def last_line():
    """The last line of the output, which says what to type next."""

    def check(done):
        assert "Traceback" not in done.stderr
        line = done.stdout.splitlines()[-1]
        assert line.startswith("Next: ")
        return line.removeprefix("Next: ").partition("   #")[0]

    return check


@pytest.fixture
def lamplighter():
    return BOOKS / "the-lamplighter.epub"


@pytest.fixture(scope="session")
def gate(tmp_path_factory):
    """A folder with two books, what a model answered for each, and the gate's evidence on it."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "books").mkdir()
    books = {}
    for name in NAMES:
        book = make_book(name, read_epub(BOOKS / f"{name}.epub"))
        (folder / "books" / f"{name}.json").write_text(
            json.dumps(paper_records(book)[:8])
        )
        books[name] = book.excerpts[:8]
    for name, cut in books.items():
        (other,) = [book for key, book in books.items() if key != name]
        records = [
            record(one, other[at % len(other)].text, at) for at, one in enumerate(cut)
        ]
        (folder / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
    entries = "".join(
        f'[[book]]\nid = "{name}"\nsource = "books/{name}.json"\n' for name in NAMES
    )
    (folder / "it.memleak.toml").write_text(SUITE + entries, encoding="utf-8")
    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={folder}",
        "-m",
        "copyright",
    ]
    evidence = folder / "evidence.json"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        pytest.main([*arguments, f"--memleak-evidence={evidence}", "it.memleak.toml"])
    pairs = json.loads(evidence.read_text(encoding="utf-8"))["pairs"]
    return folder, {pair["book"]["id"]: pair for pair in pairs}


def record(excerpt, other, at):
    """Three answers, unlike each other: of its own words, of another book's, of none."""
    own = excerpt.text.split()
    changed = [word if place % 9 else "otherwise" for place, word in enumerate(own)]
    generations = (
        " ".join(own[at : at + 8 + 5 * (at % 9)])
        + " and then nothing more was said of it",
        f"It began so: {' '.join(other.split()[: 20 + at])} and there it ended.",
        " ".join(changed)
        if at % 2
        else "Nothing of the kind was ever written anywhere.",
    )
    return {
        "excerpt_id": excerpt.id,
        "instruction": f"Tell of {' '.join(own[:7])} in words of your own, at some length.",
        "generations": [
            {"generated_text": generation, "finish_reason": "stop"}
            for generation in generations
        ],
    }


WORKED_EXAMPLE = (("p_id1", "a b c d e f g h"), ("p_id2", "i j k l m n o p"))


@pytest.fixture
def generations_file(file, here):
    """Writes generations for the worked example's book.json, by excerpt."""
    file(
        "book.json",
        [{"excerpt_id": name, "excerpt_text": text} for name, text in WORKED_EXAMPLE],
    )

    def write(name, **texts_by_excerpt):
        records = []
        for excerpt, texts in texts_by_excerpt.items():
            generations = [{"generated_text": text} for text in texts]
            records.append({"excerpt_id": excerpt, "generations": generations})
        file(name, records)

    return write


@pytest.fixture
def printed(capsys):
    """Runs a command that succeeds; returns its output, parsed if it is JSON."""

    def run(command):
        assert main(command.split()) == 0
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in command else out

    return run
