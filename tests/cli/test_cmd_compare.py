"""`memleak compare` and `memleak trace`, on METRICS sections 4 and 5's worked examples."""

import json

import pytest

from pytest_memleak.cli.main import main

BOOK = (("p_id1", "a b c d e f g h"), ("p_id2", "i j k l m n o p"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, records):
        (tmp_path / name).write_text(json.dumps(records), encoding="utf-8")

    write("book.json", [{"excerpt_id": i, "excerpt_text": text} for i, text in BOOK])

    def generations(name, **drawn):
        write(
            name,
            [
                {"excerpt_id": i, "generations": [{"generated_text": one} for one in texts]}
                for i, texts in drawn.items()
            ],
        )

    return generations


def told(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_compare_gives_the_worked_example(files, capsys):
    files("a.json", p_id1=["a b c d e f", "c d e f g"], p_id2=["i j k l m"])
    files("b.json", p_id1=["d e f g h"], p_id2=["k l m n o p", "i j k l m"])
    found = told(capsys, "compare", "book.json", "a.json", "b.json")
    [pair] = found["pairs"]
    assert pair["jaccard"] == 0.5625
    assert pair["baseline"] == pytest.approx(0.63934, abs=1e-5)
    assert [one["self_agreement"] for one in found["models"]] == [4 / 12, 3 / 13]


@pytest.mark.parametrize(
    ("last", "cross", "spans"), [("i j k l m n o", 0, 2), ("i j k l m n", 1, 2)]
)
def test_cross_gives_the_worked_example(files, capsys, last, cross, spans):
    files("g.json", p_id1=["a b c d e f z i j k l m n", "x f g h i j k y"], p_id2=[last])
    found = told(capsys, "trace", "book.json", "g.json")
    assert (found["spans"], found["cross"], found["ratio"]) == (spans, cross, cross / spans)


def test_cross_finds_what_is_recited_of_another_book(files, tmp_path, capsys):
    other = [{"excerpt_id": "p_id1", "excerpt_text": "one two three four five six seven"}]
    (tmp_path / "other.json").write_text(json.dumps(other))
    files("g.json", p_id1=["so one two three four five six then"])
    found = told(capsys, "trace", "book.json", "g.json", "other.json", "--span-threshold", "5")
    assert found["books"] == [{"book": "other", "spans": 1, "longest": 6, "over": 1}]


def test_tables_for_people(files, capsys):
    files("a.json", p_id1=["a b c d e f"])
    files("b.json", p_id1=["d e f g h"])
    assert main(["compare", "book.json", "a.json", "b.json"]) == 0
    assert "jaccard" in capsys.readouterr().out
    assert main(["trace", "book.json", "a.json"]) == 0
    assert "1 spans, 0 of them cross-excerpt (0.000)" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["compare", "trace"])
def test_bad_files_are_one_plain_error(files, capsys, command):
    assert main([command, "book.json", "gone.json"]) == 2
    assert "gone.json: cannot be read" in capsys.readouterr().err


def test_verify_of_no_bundle_is_a_plain_error(files, tmp_path, capsys):
    (tmp_path / "e.json").write_text("{}")
    assert main(["verify", "e.json"]) == 2
    assert "not a bundle" in capsys.readouterr().err
