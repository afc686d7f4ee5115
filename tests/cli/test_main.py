"""The command `memleak`: score and prepare, and what they say of bad input."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_memleak.books import archive
from pytest_memleak.books.build_book import make_book, read_json
from pytest_memleak.books.plain_text import read_text
from pytest_memleak.books.summary_files import write_summaries
from pytest_memleak.cli.main import main
from pytest_memleak.pipeline import scored_files
from pytest_memleak.records import paper_format as paper

MEMLEAK = [
    sys.executable,
    "-c",
    "import sys; from pytest_memleak.cli.main import main; sys.exit(main())",
]
STORY = "Every word of it was true, and they all knew it well enough by then. " * 120
WORDS = 15 * 120


def excerpts(*texts, **more):
    return [
        {"excerpt_id": f"p_id{n}", "excerpt_text": text} | more
        for n, text in enumerate(texts, start=1)
    ]


def answers(*texts):
    """Generations for excerpts 1, 2, ...: a list of them, or one."""
    return [
        {
            "excerpt_id": f"p_id{n}",
            "generations": [
                {"generated_text": one} for one in ([drawn] if isinstance(drawn, str) else drawn)
            ],
        }
        for n, drawn in enumerate(texts, start=1)
    ]


BOOK = excerpts("a b c d e f g h", "i j k l m n o p")
ANSWERS = answers("x f g h i j k y", "L, m; n O p")


@pytest.fixture
def file(tmp_path):
    """Writes a file: bytes or text as they are, anything else as JSON; returns its path."""

    def write(name, content):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def files(file):
    """The paths of BOOK.json and GENERATIONS.json, as arguments."""

    def write(book=BOOK, drawn=ANSWERS, book_name="book.json", drawn_name="drawn.json"):
        return [str(file(book_name, book)), str(file(drawn_name, drawn))]

    return write


@pytest.fixture
def score(files, capsys):
    """What `memleak score --json` prints of a book and generations, as JSON."""

    def run(*options, **content):
        assert main(["score", *files(**content), "--json", *options]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        (told,) = json.loads(said.out)
        return told

    return run


@pytest.fixture
def refused(capsys):
    """The one error on stderr of arguments that end with exit code 2."""

    def run(*arguments):
        assert main([str(one) for one in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        first, *hints = said.err.splitlines()
        assert first.startswith(f"memleak {arguments[0]}: ")
        assert all(line.startswith("  ") for line in hints)
        assert "Traceback" not in said.err
        return said.err

    return run


def in_a_process(*arguments, **settings):
    return subprocess.run(
        [*MEMLEAK, *map(str, arguments)],
        check=False,
        timeout=120,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"} | settings,
    )


# --- score: what it prints -----------------------------------------------------------------


def test_json_has_exactly_these_keys_in_this_order(score):
    told = score()
    assert list(told) == [
        "book", "generations", "words", "rounds", "k", "trim", "span_threshold",
        "longest_passage", "longest_passage_range_low", "longest_passage_range_high",
        "passages_over",
        "nv_longest_passage", "nv_longest_passage_range_low", "nv_longest_passage_range_high",
        "bmc", "bmc_low", "bmc_high",
        "longest_block", "longest_block_range_low", "longest_block_range_high",
        "longest_span", "longest_span_range_low", "longest_span_range_high",
        "spans_over",
    ]  # fmt: skip
    assert list(told["longest_block"]) == ["words", "start", "end"]
    assert list(told["longest_span"]) == ["words", "excerpt_id", "generation", "start", "end"]
    assert list(told["longest_passage"]) == [
        "words", "book", "excerpt_id", "generation", "start", "end"
    ]  # fmt: skip


def test_the_worked_example(score):
    told = score("--span-threshold", "4")
    assert (told["words"], told["bmc"], told["spans_over"]) == (16, 11 / 16, 1)
    assert told["longest_block"] == {"words": 11, "start": 5, "end": 16}
    assert told["longest_span"] == {
        "words": 5, "excerpt_id": "p_id2", "generation": 0, "start": 11, "end": 16
    }  # fmt: skip
    assert told["longest_passage"] == {
        "words": 6, "book": "book", "excerpt_id": "p_id1", "generation": 0, "start": 5, "end": 11
    }  # fmt: skip


@pytest.mark.parametrize("asked_in", ["book", "drawn"])
@pytest.mark.parametrize(
    ("k", "block", "bmc"),
    [("3", {"words": 4, "start": 4, "end": 8}, 4 / 16),
     ("5", {"words": 0, "start": None, "end": None}, 0)],
)  # fmt: skip
def test_the_worked_example_with_an_instruction(score, asked_in, k, block, bmc):
    book, drawn = excerpts("a b c d e f g h", "i j k l m n o p"), answers("a b c d e f g h", [])
    (book if asked_in == "book" else drawn)[0]["instruction"] = "tell of b c d now"
    told = score("--k", k, "--trim", "3", book=book, drawn=drawn)
    assert (told["bmc"], told["longest_block"]) == (bmc, block)
    assert told["longest_span"]["words"] == 8


@pytest.mark.parametrize(("spans", "count"), [(((0, 16), (12, 26)), 2), (((0, 14), (10, 26)), 1)])
def test_the_worked_example_of_spans_over(score, spans, count):
    text = [f"w{n}" for n in range(30)]
    drawn = answers([" ".join(text[start:end]) for start, end in spans])
    told = score("--span-threshold", "8", book=excerpts(" ".join(text)), drawn=drawn)
    assert told["spans_over"] == count


def test_where_a_measure_is_zero_its_positions_are_null(score):
    told = score(drawn=answers("nothing", "at all"))
    assert told["bmc"] == 0
    assert told["longest_block"] == {"words": 0, "start": None, "end": None}
    assert told["longest_span"] == {
        "words": 0, "excerpt_id": None, "generation": None, "start": None, "end": None
    }  # fmt: skip
    assert told["spans_over"] == 0


def test_excerpts_are_ordered_by_number_and_positions_are_the_books(score):
    told = score(book=BOOK[::-1], drawn=ANSWERS[::-1])
    assert told["longest_block"] == {"words": 11, "start": 5, "end": 16}
    assert told["longest_span"]["excerpt_id"] == "p_id2"


def test_generations_may_be_lines(score):
    lines = [
        {"excerpt_id": one["excerpt_id"], "generated_text": drawn["generated_text"]}
        for one in ANSWERS
        for drawn in one["generations"]
    ]
    drawn = "\n".join(map(json.dumps, lines))
    told = score(drawn=drawn, drawn_name="drawn.jsonl") | {"generations": ""}
    assert told == score() | {"generations": ""}


def test_every_script_counts_with_words_unicode(score):
    text = "Кот и мышь жили в доме"
    told = score("--word-mode", "unicode", book=excerpts(text), drawn=answers(text))
    assert (told["words"], told["bmc"]) == (6, 1.0)


def test_the_table(files, capsys):
    assert main(["score", *files(), "--span-threshold", "4"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "measure              value     low    high  where",
        "words                   16",
        "rounds                   1",
        "longest_passage          6       0      16  words 5-11, p_id1, generation 0",
        "passages_over            2",
        "nv_longest_passage       0       0      13",
        "bmc                 0.6875  0.0000  1.0000",
        "longest_block           11       0      16  words 5-16",
        "longest_span             5       0       8  words 11-16, p_id2, generation 0",
        "spans_over               1",
    ]


def test_the_table_of_nothing_has_no_places(files, capsys):
    assert main(["score", *files(drawn=answers([], [])), "--k", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "measure         value  low  high  where",
        "words              16",
        "rounds              0",
        "bmc            0.0000",
        "longest_block       0",
        "longest_span        0",
        "spans_over          0",
    ]


def test_large_numbers_have_separators(files, capsys):
    text = " ".join(f"w{n}" for n in range(1500))
    assert main(["score", *files(excerpts(text), answers(text))]) == 0
    assert re.search(r"longest_block +1,500 .*words 0-1,500", capsys.readouterr().out)


def test_generations_that_are_none_are_measured_but_not_in_silence(files, capsys):
    arguments = files(drawn=answers([], []))
    assert main(["score", *arguments, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["bmc"] == 0
    warning = f"memleak score: warning: {arguments[1]}: contains no generations\n"
    assert said.err == warning


def test_lone_surrogates_are_no_words_and_print(score, files, capsys):
    text = "a b c d e \ud800 f g h"
    lone = [{"excerpt_id": "p1\udcff", "excerpt_text": text, "book_name": "\ud83d"}]
    drawn = [{"excerpt_id": "p1\udcff", "generations": [{"generated_text": text}]}]
    told = score(book=lone, drawn=drawn)
    assert (told["words"], told["bmc"]) == (8, 1.0)
    assert told["longest_span"]["excerpt_id"] == "p1\udcff"
    assert main(["score", *files(lone, drawn)]) == 0
    assert "words 0-8, p1, generation 0" in capsys.readouterr().out


def test_an_id_cannot_reach_the_terminal_raw(files, capsys):
    book = [{"excerpt_id": "\x1b[31m1\u202e", "excerpt_text": "a b c d e"}]
    drawn = [{"excerpt_id": "\x1b[31m1\u202e", "generations": [{"generated_text": "a b c d e"}]}]
    assert main(["score", *files(book, drawn)]) == 0
    assert not set(capsys.readouterr().out) & {"\x1b", "\u202e"}


# --- score: bad input ----------------------------------------------------------------------

ID = '[{"excerpt_id": "p_id1", '
BAD_JSON = [
    (b"", "the file is empty"),
    (b" \n ", "the file is empty"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8 text: byte 0x89 at 0"),
    (bytes(range(256)), "not UTF-"),
    (json.dumps(BOOK).encode()[:-9], "not JSON: "),
    (f'{ID}"excerpt_text": "the secret'.encode(), "not JSON: Unterminated string"),
    ('[{"excerpt_id": "p1", "excerpt_text": "café"}]'.encode("latin-1"), "not UTF-8 text"),
    (json.dumps(BOOK).encode("utf-16")[:-1], "not UTF-16"),
    (b"[" * 200_000, "not usable JSON: it is nested too deeply"),
    (b'[{"excerpt_id": ' + b"9" * 5000 + b"}]", "not usable JSON: a number has too many digits"),
    (b'[{"excerpt_id": ' + b"9" * 4000 + b"}]", "record 0: excerpt_id has 4,000 characters"),
    (b'{"excerpt_id": "p_id1"}', "expected a list of records, found an object"),
    (b"null", "expected a list of records, found null"),
    (b"[[]]", "record 0: expected an object, found a list"),
    (b"[{}]", "record 0: there is no excerpt_id"),
    (b'[{"excerpt_id": "one"}]', "record 0: excerpt_id 'one' has no number"),
    (b'[{"excerpt_id": NaN}]', "record 0: excerpt_id is a number"),
    (b'[{"excerpt_id": "p' + b"9" * 5000 + b'"}]', "record 0: excerpt_id has 5,001 characters"),
    (b"[]", "there are no "),
]
BAD_BOOKS = [
    (f'{ID}"excerpt_text": null}}]', "record 0: excerpt_text is null; expected a string"),
    (f'{ID}"generations": []}}]', "record 0: there is no excerpt_text"),
    (BOOK + BOOK[:1], "record 2: the excerpt_id 'p_id1' occurs twice"),
    (
        excerpts("Кот и мышь жили в доме", "и были рады"),
        'set word_mode = "unicode" (--word-mode unicode',
    ),
    (excerpts("... — !", "«»"), "it has 0 words, fewer than k = 5"),
    (excerpts("one two", "three four"), "it has 4 words, fewer than k = 5"),
]
BAD_GENERATIONS = [
    (f'{ID}"generations": null}}]', "record 0: generations is null; expected a list"),
    (f'{ID}"generations": [null]}}]', "record 0, generation 0: expected an object, found null"),
    (f'{ID}"generations": [{{"generated_text": null}}]}}]', "generated_text is null; expected"),
    (f'{ID}"excerpt_text": "a"}}]', "record 0: there are no generations"),
    (f'{ID}"generations": [], "instruction": ["a"]}}]', "record 0: instruction is a list"),
    (answers("a") + answers("b"), "record 1: the excerpt_id 'p_id1' occurs twice"),
    (answers("a", "b", "c"), "has no excerpt 'p_id3'"),
]


def case(value):
    return str(value)[:30] if isinstance(value, str) else ""


@pytest.mark.parametrize(("content", "said"), BAD_JSON + BAD_BOOKS, ids=case)
def test_a_book_of_another_form_is_one_plain_error(refused, files, content, said):
    book, drawn = files(book=content)
    error = refused("score", book, drawn)
    assert said in error
    assert error.startswith((f"memleak score: {book}", f"memleak score: book {book!r}"))
    assert "secret" not in error


@pytest.mark.parametrize(("content", "said"), BAD_JSON + BAD_GENERATIONS, ids=case)
def test_generations_of_another_form_are_one_plain_error(refused, files, content, said):
    book, drawn = files(drawn=content)
    error = refused("score", book, drawn)
    assert said in error
    assert error.startswith(f"memleak score: {drawn}")
    assert "secret" not in error


@pytest.mark.parametrize(
    ("place", "path", "why"),
    [
        (0, "no.json", "cannot be read: No such file or directory"),
        (1, "no.json", "cannot be read: No such file or directory"),
        (0, "no.epub", "cannot be read: No such file or directory"),
        (0, ".", "is a folder; expected a file"),
        (1, ".", "cannot be read: Is a directory"),
    ],
)
def test_files_that_are_not_there_or_no_files(refused, files, tmp_path, place, path, why):
    arguments = files()
    arguments[place] = str(tmp_path / path)
    assert refused("score", *arguments).startswith(f"memleak score: {arguments[place]}: {why}")


@pytest.mark.parametrize("place", [0, 1])
def test_a_huge_file_is_not_read(refused, files, monkeypatch, place):
    arguments = files()
    monkeypatch.setattr(paper, "MAX_JSON_BYTES", 150)
    big = files(**{("book", "drawn")[place]: json.dumps([{"excerpt_id": "p1" * 100}])})[place]
    for other in set(arguments) - {big}:
        Path(other).write_text('[{"excerpt_id": "p1", "excerpt_text": "a b c d e"}]')
    assert f"{big}: the file has more than the 150 bytes" in refused("score", *arguments)


@pytest.mark.parametrize("name", ["story.epub", "story.djvu", "story"])
def test_a_book_that_cannot_be_read_is_told_without_its_text(refused, files, name):
    book, drawn = files(book="Chapter 1\n\nIt was a dark night.", book_name=name)
    error = refused("score", book, drawn)
    assert book in error
    assert "dark" not in error


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--k", "0"), "k must be a whole number of at least 1, not 0"),
        (("--k", "-3"), "k must be a whole number of at least 1, not -3"),
        (("--trim", "-1"), "trim must be a whole number of at least 0, not -1"),
        (("--span-threshold", "-1"), "span_threshold must be a whole number of at least 0"),
        (("--k", "17"), "it has 16 words, fewer than k = 17"),
        (("--k", "9" * 30), "it has 16 words, fewer than k = "),
    ],
)
def test_settings_out_of_range_are_one_plain_error(refused, files, option, said):
    assert said in refused("score", *files(), *option)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["scroe"], "invalid choice: 'scroe'"),
        (["try", "a.epub", "--model", "openai/m", "--base_url", "x"], "did you mean --base-url?"),
        (["score"], "required: BOOK, GENERATIONS.json\n"),
        (["score", "a", "b", "--k", "five"], "argument --k: invalid int value: 'five'"),
        (
            ["score", "a", "b", "--word-mode", "ascii"],
            "argument --word-mode: invalid choice: 'ascii'",
        ),
    ],
)
def test_wrong_usage_ends_with_the_same_code(capsys, arguments, said):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_control_characters_in_a_name_do_not_reach_the_terminal(refused, file):
    book = file("b\x1b[31m\u202e\x07.json", "")
    error = refused("score", book, book)
    assert not set(error) & {"\x1b", "\u202e", "\x07"}
    assert r"b\x1b[31m\u202e\x07.json: the file is empty" in error


def test_ctrl_c_has_a_code_of_its_own(files, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(scored_files, "score_files", interrupted)
    assert main(["score", *files()]) == 130
    assert capsys.readouterr() == ("", "")


# --- prepare -------------------------------------------------------------------------------


def test_a_text_becomes_the_papers_records(file, tmp_path, capsys):
    book, output = file("story.txt", STORY), tmp_path / "story.json"
    arguments = ["prepare", str(book), "-o", str(output), "--title", "T", "--author", "A"]
    assert main(arguments) == 0
    records = json.loads(output.read_text(encoding="utf-8"))
    assert {tuple(one) for one in records} == {
        ("excerpt_id", "excerpt_text", "instruction", "author_name", "book_name", "word_count",
         "detail")
    }  # fmt: skip
    assert [one["excerpt_id"] for one in records] == [f"p_id{n + 1}" for n in range(len(records))]
    assert {(one["book_name"], one["author_name"]) for one in records} == {("T", "A")}
    assert sum(one["word_count"] for one in records) == WORDS
    assert all(300 <= one["word_count"] <= 500 for one in records)
    out, err = capsys.readouterr()
    assert out == f"{len(records)} excerpts, {WORDS:,} words -> {output}\n"
    assert "without summaries, the excerpts have no instructions" in err


def test_what_it_writes_can_be_scored(file, tmp_path, capsys):
    output = tmp_path / "story.json"
    assert main(["prepare", str(file("s.txt", STORY)), "-o", str(output)]) == 0
    drawn = file("drawn.json", answers(read_json(output).excerpts[0].text))
    capsys.readouterr()
    assert main(["score", str(output), str(drawn), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["words"] == WORDS


def test_summaries_become_instructions(file, tmp_path):
    path, summaries, output = file("s.txt", STORY), tmp_path / "sum.json", tmp_path / "s.json"
    cut = make_book("s", read_text(path)).excerpts
    write_summaries(summaries, cut, {one.id: f"What {one.id} tells." for one in cut})
    arguments = ["prepare", str(path), "-o", str(output), "--summaries", str(summaries)]
    assert main([*arguments, "--author", "A"]) == 0
    first = json.loads(output.read_text(encoding="utf-8"))[0]
    assert first["detail"] == "What p_id1 tells."
    assert first["instruction"] == (
        f"Write a {first['word_count']} word excerpt about the content below emulating the style"
        " and voice of A\n\nContent: What p_id1 tells."
    )


def test_letters_stay_letters_and_lone_surrogates_stay_json(file, tmp_path):
    output = tmp_path / "s.json"
    text = STORY.replace("Every", "Évery")
    assert (
        main(["prepare", str(file("s.txt", text)), "-o", str(output), "--author", "x\udcff"]) == 0
    )
    assert "Évery".encode() in output.read_bytes()
    assert read_json(output).author == "x\udcff"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.epub", None, "cannot be read: No such file or directory"),
        ("gone.txt", None, "cannot be read: No such file or directory"),
        ("gone.json", None, "cannot be read: No such file or directory"),
        ("b.djvu", b"AT&T", "no reader for files named '.djvu'\n  use .epub, .txt, "),
        ("b", b"text", "no reader for files named 'b'"),
        ("b.epub", b"", "b.epub"),
        ("b.epub", b"no zip at all", "b.epub"),
        ("b.json", json.dumps(BOOK).encode(), "this file holds excerpts already"),
        ("b.json", b"[", "not JSON"),
        ("b.txt", b"", "b.txt"),
        ("b.txt", "Кот и мышь жили в доме. ".encode() * 200, "unicode"),
        ("b.txt", b"... --- !!!", "b.txt"),
    ],
)
def test_books_that_cannot_be_prepared_are_one_plain_error(
    refused, file, tmp_path, name, content, said
):
    book = tmp_path / name if content is None else file(name, content)
    output = tmp_path / "out.json"
    error = refused("prepare", book, "-o", output)
    assert said in error
    assert str(book) in error
    assert not output.exists()


def test_a_huge_text_is_not_read(refused, file, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_DOCUMENT_BYTES", 1000)
    book = file("s.txt", STORY)
    error = refused("prepare", book, "-o", tmp_path / "out.json")
    assert str(book) in error
    assert "1,000" in error


@pytest.mark.parametrize(
    ("output", "why", "hint"),
    [
        ("no/such/folder.json", "No such file or directory", "No such folder: "),
        (".", "Is a directory", "run memleak prepare --help for usage"),
    ],
)
def test_an_output_that_cannot_be_written(refused, file, tmp_path, output, why, hint):
    output = tmp_path / output
    hint += str(output.parent) if "folder" in hint else ""
    assert refused("prepare", file("s.txt", STORY), "-o", output) == (
        f"memleak prepare: {output}: cannot be written: {why}\n  {hint}\n"
    )


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_an_output_that_may_not_be_written(refused, file):
    output = file("out.json", "")
    output.chmod(0o400)
    assert "Permission denied" in refused("prepare", file("s.txt", STORY), "-o", output)


@pytest.mark.parametrize("linked", [False, True])
def test_a_book_is_never_overwritten_by_its_own_excerpts(refused, file, tmp_path, linked):
    book = file("s.txt", STORY)
    output = book
    if linked:
        output = tmp_path / "link.json"
        output.symlink_to(book)
    error = refused("prepare", book, "-o", output)
    assert f"{book}: the output would overwrite this input" in error
    assert book.read_text(encoding="utf-8") == STORY


def test_nor_are_its_summaries(refused, file):
    summaries = file("sum.json", "{}")
    book = file("s.txt", STORY)
    assert "the output would overwrite this input" in refused(
        "prepare", book, "-o", summaries, "--summaries", summaries
    )
    assert summaries.read_text() == "{}"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"p_id9": {}}'])
def test_summaries_that_do_not_fit_are_named(refused, file, tmp_path, content):
    summaries = file("sum.json", content)
    arguments = ("-o", tmp_path / "out.json", "--summaries", summaries)
    assert str(summaries) in refused("prepare", file("s.txt", STORY), *arguments)


def test_what_a_reader_leaves_out_is_a_warning(file, tmp_path, capsys):
    book = file("s.txt", (STORY + "café").encode("cp1252"))
    assert main(["prepare", str(book), "-o", str(tmp_path / "out.json")]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) > 1
    assert all(line.startswith("memleak prepare: warning: ") for line in warnings)


# --- in a process of its own ---------------------------------------------------------------


def test_the_command_is_installed(tmp_path):
    command = Path(sys.executable).with_name("memleak")
    done = subprocess.run(
        [command, "score", tmp_path / "no.json", tmp_path / "no.json"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"memleak score: {tmp_path / 'no.json'}: cannot be read: No such file or directory\n"
        f"  No such file in {tmp_path.resolve()}.\n"
    )


def test_its_version_is_the_packages():
    assert re.fullmatch(r"memleak \d+\.\d+\.\d+\n", in_a_process("--version").stdout)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_gets_no_complaint_and_no_success(files, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = in_a_process("score", *files(), stdout=closed, env=environment)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_plain_error(files, unbuffered):
    with Path("/dev/full").open("w") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = in_a_process("score", *files(), stdout=full, env=environment)
    assert done.returncode == 2
    assert done.stderr == (
        "memleak score: standard output: No space left on device\n"
        "  free some space, or write to another disk\n"
    )


def test_a_terminal_without_the_letters_gets_their_codes(files):
    book = [{"excerpt_id": "第1", "excerpt_text": "a b c d e"}]
    drawn = [{"excerpt_id": "第1", "generations": [{"generated_text": "a b c d e"}]}]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = in_a_process("score", *files(book, drawn), env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"words 0-5, \u7b2c1, generation 0" in done.stdout


def test_a_stand_in_for_stdout_that_breaks_is_no_traceback(files, capsys, monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Broken())
    assert main(["score", *files()]) == 141
    print("still here", file=sys.stderr)
    assert capsys.readouterr().err == "still here\n"
