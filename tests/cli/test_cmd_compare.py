"""`memleak compare` and `memleak trace`, on METRICS sections 4 and 5's worked examples."""

import json
from pathlib import Path

import pytest

from pytest_memleak.cli.main import main

BOOK = (("p_id1", "a b c d e f g h"), ("p_id2", "i j k l m n o p"))


@pytest.fixture
def files(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file("book.json", [{"excerpt_id": i, "excerpt_text": text} for i, text in BOOK])

    def write(name, **drawn):
        generations = {i: [{"generated_text": one} for one in texts] for i, texts in drawn.items()}
        file(name, [{"excerpt_id": i, "generations": some} for i, some in generations.items()])

    return write


@pytest.fixture
def printed(capsys):
    def run(command):
        assert main(command.split()) == 0
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in command else out

    return run


def test_compare_gives_the_worked_example(files, printed):
    files("a.json", p_id1=["a b c d e f", "c d e f g"], p_id2=["i j k l m"])
    files("b.json", p_id1=["d e f g h"], p_id2=["k l m n o p", "i j k l m"])
    assert "jaccard" in printed("compare book.json a.json b.json")
    found = printed("compare book.json a.json b.json --json")
    [pair] = found["pairs"]
    assert pair["jaccard"] == 0.5625
    assert pair["baseline"] == pytest.approx(0.63934, abs=1e-5)
    assert [one["self_agreement"] for one in found["models"]] == [4 / 12, 3 / 13]


@pytest.mark.parametrize(
    ("last", "cross", "spans"), [("i j k l m n o", 0, 2), ("i j k l m n", 1, 2)]
)
def test_trace_gives_the_worked_example(files, printed, last, cross, spans):
    files("g.json", p_id1=["a b c d e f z i j k l m n", "x f g h i j k y"], p_id2=[last])
    found = printed("trace book.json g.json --json")
    assert (found["spans"], found["cross"], found["ratio"]) == (spans, cross, cross / spans)
    text = f"{spans} spans, {cross} of them cross-excerpt ({cross / spans:.3f})"
    assert text in printed("trace book.json g.json")


def test_trace_finds_what_is_recited_of_another_book(files, file, printed):
    other = [{"excerpt_id": "p_id1", "excerpt_text": "one two three four five six seven"}]
    file("other.json", other)
    files("g.json", p_id1=["so one two three four five six then"])
    found = printed("trace book.json g.json other.json --span-threshold 5 --json")
    assert found["books"] == [{"book": "other", "spans": 1, "longest": 6, "over": 1}]


def test_bad_files_are_one_plain_error(files, refused):
    for command in ("compare", "trace"):
        assert "gone.json: cannot be read" in refused(command, "book.json", "gone.json")
    Path("e.json").write_text("{}")
    assert "not a bundle" in refused("verify", "e.json")
