"""`memleak scan` names each passage by book, place, and row, and prints no word of any text."""

import csv
import gzip
import json
import os
import random
import re
from pathlib import Path

import log_rows
import pytest
from log_rows import FORMATS, chat, openai_batch, openai_failed, paper
from scored_books import prose

from pytest_memleak.cli.main import main
from pytest_memleak.library import read_book

ROOT = Path(__file__).parents[2]
LAMPLIGHTER = ROOT / "fixtures" / "books" / "the-lamplighter.epub"
WRITTEN = sorted((ROOT / "tests" / "library" / "logs").iterdir())
RNG = random.Random(5)
NOVEL = [" ".join(prose(RNG, 100)) for _ in range(175)]
HARMLESS = [
    " ".join(RNG.choices([f"v{n}" for n in range(5_000)], k=60)) for _ in range(400)
]
PASSAGE = NOVEL[70].split()[10:70]
CHANGED = [*PASSAGE]
CHANGED[7::8] = ["other"] * len(CHANGED[7::8])
PLANTED = [
    *HARMLESS[:4],
    f"{HARMLESS[4]} {' '.join(CHANGED)} {HARMLESS[5]}",
    HARMLESS[6],
]
SUMMARY = (
    "Write a 100 word excerpt about the content below emulating the style and voice of "
    "Ann Author"
    "\n\nContent: She walks to the harbor, where a ship has come in, and asks for her "
    "brother."
)


@pytest.fixture(scope="module")
def novel(tmp_path_factory):
    path = tmp_path_factory.mktemp("books") / "novel.txt"
    path.write_text("\n\n".join(NOVEL), encoding="utf-8")
    return path


@pytest.fixture
def scan(novel, capsys, tmp_path, monkeypatch):
    """Runs the command: exit code, output or its JSON, errors; rows are written to a file."""
    monkeypatch.chdir(tmp_path)

    def go(rows, *options, kind="--logs", book=novel, name="rows.jsonl"):
        path = rows
        if isinstance(rows, list):
            path = Path(name)
            path.write_text(
                "".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8"
            )
        capsys.readouterr()
        code = main(["scan", str(book), kind, str(path), *options])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in options and out else out, err

    return go


def zstd(data):
    """A frame of zstd."""
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


def quoted(text, *sources):
    """Whether three words in a row of any source stand in the text."""
    words = [re.findall(r"\w+", source.lower()) for source in sources]
    said = " ".join(re.findall(r"\w+", text.lower()))
    return any(
        " ".join(its[n : n + 3]) in said for its in words for n in range(len(its) - 2)
    )


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_a_passage_in_a_file_that_the_tool_itself_wrote_is_found_in_its_row(scan, path):
    options = []
    if path.suffix == ".csv":  # a table of promptfoo has a column for each prompt
        options = ["--text", "/[mock] Write scene {{n}} of a story about a lamp."]
    code, out, _ = scan(path, *options, book=LAMPLIGHTER)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["book", "rows_with_passages"]
    assert lines[3].split()[:4] == ["words", "kind", "book", "at_word"]
    assert lines[4].split()[:2] == ["49", "near-verbatim"]
    assert lines[4].split()[-3:] == ["1,228", str(path), "2"]
    assert lines[-2:] == [
        "1 of 3 rows with passages (33.3%)", "nv_longest_passage 49 exceeds the limit 38",
    ]  # fmt: skip
    texts = [excerpt.text for excerpt in read_book(LAMPLIGHTER).excerpts]
    assert not quoted(out, *texts)
    code, report, _ = scan(path, *options, "--json", book=LAMPLIGHTER)
    (passage,) = report["passages"]
    assert (passage["row"], passage["start"], passage["near"]) == (2, 1_228, True)
    assert not quoted(json.dumps(report), *texts)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("kind", ["--logs", "--training"])
def test_formats_are_known_by_their_rows(scan, form, kind):
    rows = [form(n, text) for n, text in enumerate(PLANTED, start=1)]
    code, report, _ = scan(rows, "--json", kind=kind)
    assert (code, report["rows"], report["rows_with_passages"]) == (1, 6, 1)
    (passage,) = report["passages"]
    assert (passage["row"], passage["words"], passage["near"]) == (5, 49, True)
    assert (passage["start"], passage["end"]) == (7_010, 7_065)
    assert report["over"] == ["nv_longest_passage"]


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".json", ".csv", ".parquet"])
def test_files_are_unpacked_by_their_suffix(scan, suffix):
    rows = [{"answer": {"text": text}} for text in PLANTED]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    path = Path(f"rows.jsonl{suffix}" if suffix in {".gz", ".zst"} else f"rows{suffix}")
    pointer = "/answer/text"
    if path.stem == "rows.jsonl":
        pack = gzip.compress if suffix == ".gz" else zstd
        path.write_bytes(pack(lines[:900]) + pack(lines[900:]))
    elif suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8-sig")
    elif suffix == ".csv":
        pointer = "answer"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["answer"], *([text] for text in PLANTED)])
    else:
        pandas = pytest.importorskip("pandas")
        pandas.DataFrame(rows).to_parquet(path)
    code, report, _ = scan(path, "--json", "--text", pointer)
    assert (code, [passage["row"] for passage in report["passages"]]) == (1, [5])


def test_a_prompt_s_own_words_are_no_passage_and_each_turn_is_a_text(scan):
    passage = " ".join(PASSAGE)
    rows = [
        {"messages": [{"role": "user", "content": f"Repeat: {passage}"},
                      {"role": "assistant", "content": passage}]},
        {"messages": [{"role": "assistant", "content": HARMLESS[0]},
                      {"role": "assistant", "content": passage}]},
    ]  # fmt: skip
    code, report, _ = scan(rows, "./rows.jsonl", "--json")  # named twice, and read once
    places = {(passage["row"], passage["text"]) for passage in report["passages"]}
    assert (code, report["texts"], places) == (1, 3, {(2, 1)})
    assert report["values"]["longest_passage"] == 60
    code, report, _ = scan(
        rows, "--json", kind="--training"
    )  # which also learns the prompt
    assert {passage["row"] for passage in report["passages"]} == {1, 2}
    asked = {"excerpt_id": "p_id1", "prompt": passage, "generated_text": HARMLESS[0]}
    assert scan([asked], kind="--training")[0] == 1
    plain = [{"q": passage, "a": passage}, {"q": "", "a": [HARMLESS[1], HARMLESS[2]]}]
    assert scan(plain, "--text", "/a")[0] == 1
    assert scan(plain, "--text", "/a", "--prompt", "/q")[0] == 0
    assert scan([{"a": PASSAGE}], "--text", "/a")[0] == 1  # a text in pieces


def test_words_of_an_earlier_prompt_are_no_passage_wherever_the_answer_stands(scan):
    rows = [*log_rows.texts_beside_an_answer(" ".join(PASSAGE)).values()]
    code, report, _ = scan(rows, "--json")
    assert code == 1
    assert {passage["row"] for passage in report["passages"]} == {
        *range(1, len(rows) + 1)
    }
    echo = {"role": "user", "content": f"Repeat: {' '.join(PASSAGE)}"}
    answer = {"role": "assistant", "content": " ".join(PASSAGE)}
    assert scan([{"messages": [echo, answer, answer]}])[0] == 0
    request, response = {"contents": [echo]}, {"candidates": [{"content": answer}]}
    assert scan([{"response": response, "request": request}])[0] == 0


def test_scan_measures_how_much_of_a_book_a_training_set_has(scan):
    chosen = random.Random(7).sample(range(175), 30)
    rows = [chat(0, text) for text in HARMLESS]
    for nth, number in enumerate(chosen):
        rows.insert(nth * 11, log_rows.pair(0, NOVEL[number]) | {"prompt": SUMMARY})
    code, report, _ = scan(rows, "--json", kind="--training")
    assert (code, report["rows"], report["style_rows"]) == (1, 430, 30)
    assert report["rows_with_passages"] == report["books"][0]["rows"] == 30
    assert report["values"]["coverage"] == 30 / 175  # excerpts of 100 words
    assert {passage["row"] for passage in report["passages"]} == {
        1 + nth * 11 for nth in range(30)
    }
    code, out, _ = scan(rows, kind="--training")
    assert (
        "30 of 430 rows asking for an author's style from a summary (7.0%)"
        in out.splitlines()
    )
    assert "10 more texts with passages: add --json" in out.splitlines()
    summaries = [log_rows.pair(0, HARMLESS[n]) | {"prompt": SUMMARY} for n in range(30)]
    code, out, _ = scan(summaries, kind="--training")
    assert (code, out.splitlines()[-1]) == (0, "No limit is exceeded.")


@pytest.mark.parametrize(("options", "over"), [
    (["--nv-longest-passage", "49"], []),
    (["--nv-longest-passage", "48"], ["nv_longest_passage 49 exceeds the limit 48"]),
    (["--longest-passage", "6", "--nv-longest-passage", "60"],
     ["longest_passage 7 exceeds the limit 6"]),
    (["--nv-longest-passage", "60", "--max-rows", "0.1"], ["rows 16.7% exceeds the limit 10.0%"]),
    (["--nv-longest-passage", "60", "--max-coverage", "0.001"],
     ["nv_coverage 0.3% exceeds the limit 0.1%"]),
])  # fmt: skip
def test_limits_decide_the_exit_code(scan, options, over):
    code, out, _ = scan([paper(n, text) for n, text in enumerate(PLANTED)], *options)
    assert code == bool(over)
    lines = [line for line in out.splitlines() if "exceed" in line]
    assert lines == (over or ["No limit is exceeded."])


def test_passages_are_quoted_where_that_is_asked_for(scan):
    rows = [paper(1, f"{HARMLESS[0]} {' '.join(PASSAGE)}")]
    assert not quoted(scan(rows)[1], *NOVEL)
    assert " ".join(PASSAGE) in scan(rows, "--quote")[1]
    assert {
        passage["quote"] for passage in scan(rows, "--quote", "--json")[1]["passages"]
    } == {" ".join(PASSAGE)}


def test_a_row_that_cannot_be_read_is_an_error_with_its_place(scan):
    good = [{**chat(0, text), "attachments": [""]} for text in HARMLESS[:2]]
    os.mkfifo("pipe.jsonl")
    Path("loop.jsonl").symlink_to("loop.jsonl")
    for rows, options, message in (
        (
            [*good, {"note": "a b"}],
            [],
            "rows.jsonl, line 3: this row has no known format",
        ),
        (
            [*good, {"messages": "a b"}],
            [],
            "rows.jsonl, line 3: this row has no known format",
        ),
        ([*good, ["a"]], [], "rows.jsonl, line 3: this row has no known format"),
        (
            [*good, {"choices": [{"delta": {"content": "a "}}]}],
            [],
            "3: this row is a chunk of a",
        ),
        (
            [*good, {"a": 1}],
            ["--text", "/b"],
            "rows.jsonl, line 1: there is no text at /b",
        ),
        ([{"prompt": "a", "reply": "b c"}], [], "in each row, as in --text /reply"),
        ([{"a": 1}], ["--text", "/a"], "rows.jsonl, line 1: there is no text at /a"),
        (
            [{"excerpt_id": "p_id1", "generations": [{}]}],
            [],
            "line 1, generation 0: there is no",
        ),
        (
            [{"excerpt_id": 1, "generated_text": "", "instruction": []}],
            [],
            "instruction is a list",
        ),
        ([], [], "rows.jsonl: there are no rows"),
        ([openai_failed(1, "")], [], "rows.jsonl: no row has a text to search"),
        (
            [openai_failed(1, "") | {"error": {"message": "Too busy. " * 15}}],
            [],
            "no row has a",
        ),
        (
            [{"request": {}, "response": {}, "status": "Busy now. " * 15}],
            [],
            "no row has a",
        ),
        (
            [{"choices": [{"delta": {"content": "…"}, "finish_reason": "stop"}]}],
            [],
            "no row has a",
        ),
        (
            Path("row.jsonl"),
            [],
            "No such file or directory\n  did you mean rows.jsonl?",
        ),
        (Path("pipe.jsonl"), [], "pipe.jsonl: can't be read: not a regular file"),
        (
            Path("loop.jsonl"),
            [],
            "loop.jsonl: can't be read: Too many levels of symbolic links",
        ),
        (Path("rows.xml"), [], "rows.xml: no reader for '.xml' files"),
        (good, ["--prompt", "/a"], "--prompt needs --text"),
        (good, ["--max-rows", "2"], "--max-rows must be from 0 to 1, not 2.0"),
        (
            good,
            ["--max-coverage", "nan"],
            "--max-coverage must be from 0 to 1, not nan",
        ),
        (good, ["--jobs", "-1"], "--jobs must be at least 0, not -1"),
        (good, ["--training", "rows.jsonl"], "omit one of them"),
        (
            good,
            ["--longest-passage", "-1"],
            "--longest-passage must be at least 0, not -1",
        ),
        (Path(), [], "no reader for"),
    ):
        code, out, err = scan(rows, *options)
        assert (code, out) == (2, ""), message
        assert message in err
    for name, data, message in (
        (
            "broken.jsonl",
            b'{"prompt": "a", "completion": "b"}\n{"mess',
            ", line 2: not JSON",
        ),
        ("cut.jsonl.gz", gzip.compress(b"{}" * 900)[:-9], ": can't be read"),
        ("bad.jsonl.gz", gzip.compress(b"")[:10] + b"\xff" * 9, ": can't be read"),
        ("no.eval", b"PK no", ": can't be read: File is not a zip file"),
        ("none.json", b"[]", ": there are no rows"),
        ("no.parquet", b"PAR1", ": "),
        ("list.json", b'{"a": 1}', ": expected a list of records, found an object"),
        (
            "twice.jsonl",
            b'{"prompt": "a", "prompt": "b"}',
            ", line 1: the key 'prompt' occurs",
        ),
        (
            "comma.csv",
            b'a,b\na,"b\nb"\na,b,c\n',
            ", line 4: 3 cells, but 2 distinct column names",
        ),
        (
            "short.csv",
            b"a,a,b\nleft,right\n",
            ", line 2: 2 cells, but 2 distinct column names",
        ),
    ):
        Path(name).write_bytes(data)
        code, out, err = scan(Path(name))
        assert (code, out) == (2, "")
        assert f"{name}{message}" in err


@pytest.mark.parametrize(("cut", "message"), [
    (slice(-3), "ends early"), (slice(40), "ends early"), (slice(None), "damaged zstd"),
])  # fmt: skip
def test_a_damaged_zstd_file_is_an_error(scan, cut, message):
    head, first, second = map(
        zstd, (b"prompt,completion\n", b"a,b\n", HARMLESS[1].encode())
    )
    garbage = b"garbage" if cut == slice(None) else b""
    Path("rows.csv.zst").write_bytes(head + first + second[cut] + garbage)
    code, out, err = scan(Path("rows.csv.zst"))
    assert (code, out) == (2, "")
    assert "rows.csv.zst: can't be read" in err
    assert message in err


def test_a_book_of_which_no_passage_is_found_is_an_error(scan, tmp_path):
    text = " ".join(PASSAGE[:36])
    book = tmp_path / "short.txt"
    book.write_text(text, encoding="utf-8")
    code, out, err = scan([chat(0, text)], book=book)
    assert (code, out) == (2, "")
    assert f"{book}: it has 36 words, too few for a passage of over 38" in err
    for name in ("--longest-passage", "--nv-longest-passage"):
        assert scan([chat(0, text)], name, "35", book=book)[0] == 1


def test_a_json_file_s_lists_and_a_table_s_columns_are_all_read(scan):
    pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    passage = " ".join(PASSAGE)
    others = {
        "traces": [{"id": "a"}],
        "scores": [0.5],
        "prompts": [passage],
        "vars": ["n"],
    }
    both = {"samples": [chat(1, HARMLESS[0])], "outputs": [chat(1, passage)], **others}
    Path("named.json").write_text(
        json.dumps(others | {"x": [{"a": passage}]}), encoding="utf-8"
    )
    assert scan(Path("named.json"), "--text", "/a")[0] == 1
    Path("both.json").write_text(json.dumps(both), encoding="utf-8")
    Path("texts.json").write_text(
        json.dumps(both | {"outputs": [passage]}), encoding="utf-8"
    )
    assert (
        "texts.json, row 2: this row has no known format" in scan(Path("texts.json"))[2]
    )
    table = f"prompt,completion,reasoning\na,{HARMLESS[0]},{passage}\n"
    Path("table.csv").write_text(table, encoding="utf-8")
    columns = [
        ["a"],
        [HARMLESS[0].encode()],
        [[{"a": f"{passage} é".encode("latin-1")}]],
        [b"\xff"],
    ]
    for name in ("chosen", "image"):
        names = ["prompt", "completion", name, "image"]
        parquet.write_table(pyarrow.table(columns, names=names), f"{name}.parquet")
    for name in ("both.json", "table.csv", "chosen.parquet"):
        assert scan(Path(name))[0] == 1
    assert "image.parquet: 4 cells, but 3 distinct" in scan(Path("image.parquet"))[2]


@pytest.mark.full
def test_several_processes_find_what_one_does(scan, monkeypatch):
    monkeypatch.setattr("pytest_memleak.library.log_scan._SMALL", 0)
    rows = [openai_batch(n, HARMLESS[n % 400]) for n in range(6_000)]
    rows[4_321] = openai_batch(4_321, PLANTED[4])
    assert scan(rows, "--json", "--jobs", "3") == scan(rows, "--json", "--jobs", "1")
    rows[5_000] = {"note": "of no format"}
    code, out, err = scan(rows, "--jobs", "2")
    assert (code, out) == (2, "")
    assert "rows.jsonl, line 5001: this row has no known format" in err
