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


@pytest.fixture(scope="module")
def lamplighter_texts():
    return [excerpt.text for excerpt in read_book(LAMPLIGHTER).excerpts]


each_log = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)


def options_for(path):
    """What a log needs: a table of promptfoo has a column for each prompt."""
    if path.suffix == ".csv":
        return ["--text", "/[mock] Write scene {{n}} of a story about a lamp."]
    return []


@each_log
def test_a_passage_in_a_file_of_another_tool_is_found_in_its_row(
    scan, path, lamplighter_texts
):
    code, out, _ = scan(path, *options_for(path), book=LAMPLIGHTER)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["book", "rows_with_passages"]
    assert lines[3].split()[:4] == ["words", "kind", "book", "at_word"]
    assert lines[4].split()[:2] == ["49", "near-verbatim"]
    assert lines[4].split()[-3:] == ["1,228", str(path), "2"]
    assert lines[-2] == "1 of 3 rows with passages (33.3%)"
    assert lines[-1] == "nv_longest_passage 49 exceeds the limit 38"
    assert not quoted(out, *lamplighter_texts)


@each_log
def test_the_json_of_a_scan_names_a_passage_s_place_and_no_word(
    scan, path, lamplighter_texts
):
    _, report, _ = scan(path, *options_for(path), "--json", book=LAMPLIGHTER)
    (passage,) = report["passages"]
    assert (passage["row"], passage["start"], passage["near"]) == (2, 1_228, True)
    assert not quoted(json.dumps(report), *lamplighter_texts)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("kind", ["--logs", "--training"])
def test_a_format_is_recognized_by_its_rows(scan, form, kind):
    rows = [form(n, text) for n, text in enumerate(PLANTED, start=1)]
    code, report, _ = scan(rows, "--json", kind=kind)
    assert (code, report["rows"], report["rows_with_passages"]) == (1, 6, 1)
    (passage,) = report["passages"]
    assert (passage["row"], passage["words"], passage["near"]) == (5, 49, True)
    assert (passage["start"], passage["end"]) == (7_010, 7_065)
    assert report["over"] == ["nv_longest_passage"]


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".json", ".csv", ".parquet"])
def test_a_file_is_unpacked_by_its_suffix(scan, suffix):
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


def turn(role, text):
    return {"role": role, "content": text}


TURNS = [
    [
        turn("user", f"Repeat: {' '.join(PASSAGE)}"),
        turn("assistant", " ".join(PASSAGE)),
    ],
    [turn("assistant", HARMLESS[0]), turn("assistant", " ".join(PASSAGE))],
]
CHATS = [{"messages": turns} for turns in TURNS]


def test_a_prompt_s_own_words_are_no_passage_and_a_turn_is_a_text(scan):
    code, report, _ = scan(CHATS, "./rows.jsonl", "--json")  # named twice, read once
    places = {(passage["row"], passage["text"]) for passage in report["passages"]}
    assert (code, report["texts"], places) == (1, 3, {(2, 1)})
    assert report["values"]["longest_passage"] == 60


def test_prompts_of_a_training_set_are_scanned_too(scan):
    _, report, _ = scan(CHATS, "--json", kind="--training")
    assert {passage["row"] for passage in report["passages"]} == {1, 2}
    asked = {"prompt": " ".join(PASSAGE), "generated_text": HARMLESS[0]}
    assert scan([{"excerpt_id": "p_id1", **asked}], kind="--training")[0] == 1


def test_pointers_say_where_texts_and_prompts_are(scan):
    passage = " ".join(PASSAGE)
    plain = [{"q": passage, "a": passage}, {"q": "", "a": [HARMLESS[1], HARMLESS[2]]}]
    assert scan(plain, "--text", "/a")[0] == 1
    assert scan(plain, "--text", "/a", "--prompt", "/q")[0] == 0
    assert scan([{"a": PASSAGE}], "--text", "/a")[0] == 1  # a text in pieces


def test_passages_beside_an_answer_are_found_in_their_rows(scan):
    rows = [*log_rows.texts_beside_an_answer(" ".join(PASSAGE)).values()]
    code, report, _ = scan(rows, "--json")
    assert code == 1
    found = {passage["row"] for passage in report["passages"]}
    assert found == {*range(1, len(rows) + 1)}


def test_words_of_an_earlier_prompt_are_no_passage_wherever_the_answer_stands(scan):
    echo, answer = TURNS[0]
    assert scan([{"messages": [echo, answer, answer]}])[0] == 0
    request, response = {"contents": [echo]}, {"candidates": [{"content": answer}]}
    assert scan([{"response": response, "request": request}])[0] == 0


@pytest.fixture(scope="module")
def training_rows():
    """Harmless rows, and among them thirty summaries that a part of the novel answers."""
    rows = [chat(0, text) for text in HARMLESS]
    for nth, number in enumerate(random.Random(7).sample(range(175), 30)):
        rows.insert(nth * 11, log_rows.pair(0, NOVEL[number]) | {"prompt": SUMMARY})
    return rows


def test_scan_measures_how_much_of_a_book_a_training_set_has(scan, training_rows):
    code, report, _ = scan(training_rows, "--json", kind="--training")
    assert (code, report["rows"], report["style_rows"]) == (1, 430, 30)
    assert report["rows_with_passages"] == report["books"][0]["rows"] == 30
    assert report["values"]["coverage"] == 30 / 175  # excerpts of 100 words
    rows = {passage["row"] for passage in report["passages"]}
    assert rows == {1 + nth * 11 for nth in range(30)}


def test_scan_counts_rows_that_ask_for_an_author_s_style(scan, training_rows):
    lines = scan(training_rows, kind="--training")[1].splitlines()
    style = "30 of 430 rows asking for an author's style from a summary (7.0%)"
    assert style in lines
    assert "10 more texts with passages: add --json" in lines


def test_summaries_without_the_book_s_words_exceed_no_limit(scan):
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


def test_passages_are_quoted_only_with_the_option(scan):
    rows = [paper(1, f"{HARMLESS[0]} {' '.join(PASSAGE)}")]
    assert not quoted(scan(rows)[1], *NOVEL)
    assert " ".join(PASSAGE) in scan(rows, "--quote")[1]
    report = scan(rows, "--quote", "--json")[1]
    quotes = {passage["quote"] for passage in report["passages"]}
    assert quotes == {" ".join(PASSAGE)}


@pytest.fixture
def rejected(scan):
    """Scans what ends with exit code 2 and prints nothing; returns the error."""

    def run(rows, *options):
        code, out, err = scan(rows, *options)
        assert (code, out) == (2, "")
        return err

    return run


GOOD = [{**chat(0, text), "attachments": [""]} for text in HARMLESS[:2]]
NO_FORMAT = "rows.jsonl, line 3: this row has no known format"
CHUNK = {"choices": [{"delta": {"content": "a "}}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"note": "a b"}, NO_FORMAT),
        ({"messages": "a b"}, NO_FORMAT),
        (["a"], NO_FORMAT),
        (CHUNK, "3: this row is a chunk of a"),
    ],
)
def test_a_row_of_no_format_is_named_and_the_others_are_scanned(scan, row, message):
    code, out, _ = scan([*GOOD, row])
    assert code == 3
    assert message in out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "reply": "b c"}, "in each row, as in --text /reply"),
        (
            {"excerpt_id": "p_id1", "generations": [{}]},
            "line 1: generation 0: there is no",
        ),
        (
            {"excerpt_id": 1, "generated_text": "", "instruction": []},
            "instruction is a list",
        ),
    ],
)
def test_a_row_that_lacks_its_texts_is_an_error(rejected, row, message):
    assert message in rejected([row])


@pytest.mark.parametrize(
    ("rows", "pointer"), [([*GOOD, {"a": 1}], "/b"), ([{"a": 1}], "/a")]
)
def test_a_pointer_to_no_text_is_an_error(rejected, rows, pointer):
    message = f"rows.jsonl, line 1: there is no text at {pointer}"
    assert message in rejected(rows, "--text", pointer)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (openai_failed(1, ""), "rows.jsonl: no row has a text to search"),
        (
            openai_failed(1, "") | {"error": {"message": "Too busy. " * 15}},
            "no row has a",
        ),
        ({"request": {}, "response": {}, "status": "Busy now. " * 15}, "no row has a"),
        (
            {"choices": [{"delta": {"content": "…"}, "finish_reason": "stop"}]},
            "no row has a",
        ),
    ],
)
def test_rows_of_failed_requests_alone_are_an_error(rejected, row, message):
    assert message in rejected([row])


def test_a_file_without_rows_is_an_error(rejected):
    assert "rows.jsonl: there are no rows" in rejected([])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("row.jsonl", "No such file or directory\n  did you mean rows.jsonl?"),
        ("pipe.jsonl", "pipe.jsonl: can't be read: not a regular file"),
        (
            "loop.jsonl",
            "loop.jsonl: can't be read: Too many levels of symbolic links",
        ),
        ("rows.xml", "rows.xml: no reader for '.xml' files"),
    ],
)
def test_a_path_that_is_no_file_of_rows_is_an_error(rejected, path, message):
    Path("rows.jsonl").touch()
    os.mkfifo("pipe.jsonl")
    Path("loop.jsonl").symlink_to("loop.jsonl")
    assert message in rejected(Path(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "/a"], "--prompt needs --text"),
        (["--max-rows", "2"], "--max-rows must be from 0 to 1, not 2.0"),
        (["--max-coverage", "nan"], "--max-coverage must be from 0 to 1, not nan"),
        (["--jobs", "-1"], "--jobs must be at least 0, not -1"),
        (["--training", "rows.jsonl"], "omit one of them"),
        (["--longest-passage", "-1"], "--longest-passage must be at least 0, not -1"),
    ],
)
def test_scan_rejects_a_wrong_option(rejected, options, message):
    assert message in rejected(GOOD, *options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.jsonl.gz", gzip.compress(b"{}" * 900, mtime=0)[:-9], ": can't be read"),
        (
            "bad.jsonl.gz",
            gzip.compress(b"", mtime=0)[:10] + b"\xff" * 9,
            ": can't be read",
        ),
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
            "short.csv",
            b"a,a,b\nleft,right\n",
            ", line 2: 2 cells, but 2 distinct column names",
        ),
    ],
)
def test_a_damaged_file_is_an_error_with_its_place(rejected, name, content, message):
    Path(name).write_bytes(content)
    assert f"{name}{message}" in rejected(Path(name))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (slice(-3), "ends early"),
        (slice(40), "ends early"),
        (slice(None), "damaged zstd"),
    ],
)
def test_a_damaged_zstd_file_is_an_error(rejected, cut, message):
    head, first, second = map(
        zstd, (b"prompt,completion\n", b"a,b\n", HARMLESS[1].encode())
    )
    garbage = b"garbage" if cut == slice(None) else b""
    Path("rows.csv.zst").write_bytes(head + first + second[cut] + garbage)
    error = rejected(Path("rows.csv.zst"))
    assert "rows.csv.zst: can't be read" in error
    assert message in error


def test_a_book_too_short_for_a_passage_is_an_error(scan, tmp_path):
    text = " ".join(PASSAGE[:36])
    book = tmp_path / "short.txt"
    book.write_text(text, encoding="utf-8")
    code, out, err = scan([chat(0, text)], book=book)
    assert (code, out) == (2, "")
    assert f"{book}: it has 36 words, too few for a passage of over 38" in err
    for name in ("--longest-passage", "--nv-longest-passage"):
        assert scan([chat(0, text)], name, "35", book=book)[0] == 1


LISTS_OF_NO_ROWS = {
    "traces": [{"id": "a"}],
    "scores": [0.5],
    "prompts": [" ".join(PASSAGE)],
    "vars": ["n"],
}


def test_lists_in_a_json_file_are_all_read(scan):
    samples = {"samples": [chat(1, HARMLESS[0])]}
    outputs = {"outputs": [chat(1, " ".join(PASSAGE))]}
    content = samples | outputs | LISTS_OF_NO_ROWS
    Path("both.json").write_text(json.dumps(content), encoding="utf-8")
    assert scan(Path("both.json"))[0] == 1


def test_lists_of_rows_are_those_with_a_text_at_the_pointer(scan):
    rows = {"x": [{"a": " ".join(PASSAGE)}]}
    Path("named.json").write_text(json.dumps(LISTS_OF_NO_ROWS | rows), encoding="utf-8")
    assert scan(Path("named.json"), "--text", "/a")[0] == 1


def test_a_list_of_bare_texts_has_no_known_format(scan):
    samples = {"samples": [chat(1, HARMLESS[0])]}
    content = samples | {"outputs": [" ".join(PASSAGE)]} | LISTS_OF_NO_ROWS
    Path("texts.json").write_text(json.dumps(content), encoding="utf-8")
    code, out, _ = scan(Path("texts.json"))
    assert code == 3
    assert "texts.json, row 2: this row has no known format" in out


def test_a_third_column_of_a_table_is_read(scan):
    table = f"prompt,completion,reasoning\na,{HARMLESS[0]},{' '.join(PASSAGE)}\n"
    Path("table.csv").write_text(table, encoding="utf-8")
    assert scan(Path("table.csv"))[0] == 1


def test_columns_of_parquet_are_read_and_named_once(scan):
    pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    latin = f"{' '.join(PASSAGE)} é".encode("latin-1")
    columns = [["a"], [HARMLESS[0].encode()], [[{"a": latin}]], [b"\xff"]]
    for name in ("chosen", "image"):
        names = ["prompt", "completion", name, "image"]
        parquet.write_table(pyarrow.table(columns, names=names), f"{name}.parquet")
    assert scan(Path("chosen.parquet"))[0] == 1
    assert "image.parquet: 4 cells, but 3 distinct" in scan(Path("image.parquet"))[2]


@pytest.mark.full
def test_several_processes_find_the_same_passages_as_one(scan, monkeypatch):
    monkeypatch.setattr("pytest_memleak.library.sharded_scan._SMALL", 0)
    rows = [openai_batch(n, HARMLESS[n % 400]) for n in range(6_000)]
    rows[4_321] = openai_batch(4_321, PLANTED[4])
    assert scan(rows, "--json", "--jobs", "3") == scan(rows, "--json", "--jobs", "1")
    rows[5_000] = {"note": "of no format"}
    code, out, _ = scan(rows, "--jobs", "2")
    assert code == 3
    assert "rows.jsonl, line 5001: this row has no known format" in out
