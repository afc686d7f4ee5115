"""The command `memleak`: scores, bad input, ends of processes, tables, odd files."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from marks import full
from screen import run_in_terminal

from pytest_memleak.cli.main import main
from pytest_memleak.cli.terminal_output import WHOLE, print_sentence, table_text
from pytest_memleak.pipeline import score_files
from pytest_memleak.scoring.measure_table import GENERATIONS, MEASURES, PASSAGES

SCORED = [
    name for name, row in MEASURES.items() if row.needs in (GENERATIONS, PASSAGES)
]


def excerpts(*texts):
    return [
        {"excerpt_id": f"p_id{n}", "excerpt_text": text}
        for n, text in enumerate(texts, 1)
    ]


def answers(*texts):
    """Generations for excerpts 1, 2, ...: a list of them, or one."""
    generations = [[one] if isinstance(one, str) else one for one in texts]
    return [
        {
            "excerpt_id": f"p_id{n}",
            "generations": [{"generated_text": text} for text in some],
        }
        for n, some in enumerate(generations, 1)
    ]


STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
BOOK = excerpts("a b c d e f g h", "i j k l m n o p")
ANSWERS = answers("x f g h i j k y", "L, m; n O p")


@pytest.fixture
def files(file):
    """The paths of BOOK.json and GENERATIONS.json, as arguments."""

    def write(book=BOOK, generations=ANSWERS):
        return [str(file("book.json", book)), str(file("drawn.json", generations))]

    return write


@pytest.fixture
def score(files, capsys):
    """What `memleak score` prints of a book and generations; with `as_json`, its JSON."""

    def run(*options, as_json=False, warning="", **content):
        options = [*options, "--json"] if as_json else options
        assert main(["score", *files(**content), *options]) == 0
        output = capsys.readouterr()
        assert warning in output.err
        assert warning or not output.err
        return json.loads(output.out)[0] if as_json else output.out

    return run


@pytest.fixture
def in_a_process(program):
    def run(*arguments, encoding="utf-8", stdout=subprocess.PIPE, **environment):
        return subprocess.run(
            [sys.executable, *program, *arguments],
            check=False,
            timeout=120,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding=encoding,
            env=os.environ | environment,
        )

    return run


LENGTHS = ("longest_passage", "nv_longest_passage", "longest_block", "longest_span")
SPAN = {"words": 5, "excerpt_id": "p_id2", "generation": 0, "start": 11, "end": 16}
PASSAGE = {
    "words": 6,
    "book": "book",
    "excerpt_id": "p_id1",
    "generation": 0,
    "start": 5,
    "end": 11,
}


def test_json_has_the_measures_in_their_order_and_what_they_are_of(score):
    report = score("--span-threshold", "4", as_json=True)
    assert [key for key in report if key in MEASURES] == SCORED
    ends = [f"{name}_range_{end}" for name in LENGTHS for end in ("low", "high")]
    assert {*report} - {*SCORED} == {
        *("book", "generations", "words", "rounds", "k", "trim", "span_threshold"),
        *("bmc_low", "bmc_high", *ends),
    }


def test_json_has_the_worked_example_s_values(score):
    report = score("--span-threshold", "4", as_json=True)
    assert (report["words"], report["bmc"], report["spans_over"]) == (16, 11 / 16, 1)
    block = {"words": 11, "start": 5, "end": 16}
    for name, expected in (
        ("longest_block", block),
        ("longest_span", SPAN),
        ("longest_passage", PASSAGE),
    ):
        assert [*report[name].items()] == [*expected.items()]


def test_json_has_zeros_where_nothing_matches(score):
    report = score(as_json=True, generations=answers("nothing", "at all"))
    assert (report["bmc"], report["spans_over"]) == (0, 0)
    assert [*report["longest_block"].values()] == [0, None, None]
    assert [*report["longest_span"].values()] == [0, None, None, None, None]


def test_words_of_another_script_are_counted_in_unicode_mode(score):
    text = "Кот и мышь жили в доме"
    content = {"book": excerpts(text), "generations": answers(text)}
    report = score("--word-mode", "unicode", as_json=True, **content)
    assert (report["words"], report["bmc"]) == (6, 1.0)


def test_the_table_has_a_row_for_a_measure(score):
    lines = re.sub(" +", " ", score("--span-threshold", "4")).splitlines()
    first_words = [line.split()[0] for line in lines]
    assert first_words == ["measure", "words", "rounds", *SCORED]
    assert {*lines} >= {
        "measure value low high where",
        *("words 16", "rounds 1", "passages_over 2", "spans_over 1"),
        "longest_passage 6 0 16 words 5-11, p_id1, generation 0",
        "nv_longest_passage 0 0 13",
        "bmc 0.6875 0.0000 1.0000",
        "longest_block 11 0 16 words 5-16",
        "longest_span 5 0 8 words 11-16, p_id2, generation 0",
    }


def test_the_table_groups_digits_by_thousands(score):
    text = " ".join(f"w{n}" for n in range(1500))
    table = score(book=excerpts(text), generations=answers(text))
    assert re.search(r"longest_block +1,500 .*words 0-1,500", table)


def test_the_table_of_no_generations_has_zeros(score):
    warning = "drawn.json: contains no generations\n"
    lines = score("--k", "3", generations=answers([], []), warning=warning).splitlines()
    assert [line.split() for line in lines] == [
        ["measure", "value", "low", "high", "where"],
        *(["words", "16"], ["rounds", "0"], ["bmc", "0.0000"], ["longest_block", "0"]),
        *(["longest_span", "0"], ["spans_over", "0"]),
    ]


def test_lone_surrogates_and_control_characters_print(score):
    text, odd = "a b c d e \ud800 f g h", "\x1b[31mp1\u202e\udcff"
    book = [{"excerpt_id": odd, "excerpt_text": text, "book_name": "\ud83d"}]
    generations = [{"excerpt_id": odd, "generations": [{"generated_text": text}]}]
    report = score(as_json=True, book=book, generations=generations)
    assert (report["words"], report["bmc"], report["longest_span"]["excerpt_id"]) == (
        8,
        1.0,
        odd,
    )
    table = score(book=book, generations=generations)
    assert "words 0-8, " in table
    assert "p1, generation 0" in table
    assert not set(table) & {"\x1b", "\u202e", "\udcff"}


ID = '[{"excerpt_id": "p_id1", '
SCRIPT = excerpts("Кот и мышь жили в доме", "и были рады")


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        *(
            (place, f'{ID}"text": "the secret', "not JSON: ")
            for place in ("book", "generations")
        ),
        ("book", f'{ID}"generations": []}}]', "record 0: there is no excerpt_text"),
        ("book", SCRIPT, 'set word_mode = "unicode" (--word-mode unicode'),
        ("generations", answers("a", "b", "c"), "has no excerpt 'p_id3'"),
        ("generations", b"[]", "there are no records"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_malformed_records_are_one_plain_error(refused, files, place, content, message):
    paths = dict(zip(("book", "generations"), files(**{place: content}), strict=True))
    error = refused("score", *paths.values())
    assert message in error
    named = f"memleak score: {paths[place]}", f"memleak score: book {paths['book']!r}"
    assert error.startswith(named)
    assert "secret" not in error


@pytest.mark.parametrize(("arguments", "message"), [
    ("scroe", "invalid choice: 'scroe'"),
    ("try a.epub --model openai/m --base_url x", "did you mean --base-url?"),
    ("try a.epub --model openai/m --base-url host:80", "as in http://localhost:8000/v1"),
    ("init --book a.epub --model openai/m --price 3", "IN,OUT, as in 3.75,15"),
    ("init --book a.epub --model openai/m -o a.toml", "a name that ends in .memleak.toml"),
    ("init --model openai/m --model openai/n", "--model: given twice; it takes one value"),
    ("scan b --logs x --logs y", "write it once, with all its values behind it"),
    ("try a.epub --model openai/m --price -1,10", "IN,OUT, as in 3.75,15; got '-1,10'"),
    (f"try {STORY} --model ngram/m", "ngram has no models with names"),
    ("ledger", "required"), ("ledger export --endpoint e", "required: -o"),
])  # fmt: skip
def test_wrong_usage_ends_with_exit_code_2(capsys, arguments, message):
    try:
        code = main(arguments.split())
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_ctrl_c_ends_with_exit_code_130(files, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(score_files, "score_files", interrupted)
    assert main(["score", *files()]) == 130
    assert capsys.readouterr() == ("", "\n")


@pytest.mark.parametrize("kind", [ValueError, AssertionError, RecursionError])
def test_an_internal_error_is_no_result(files, capsys, monkeypatch, tmp_path, kind):
    def fail(*_, **__):
        raise kind("It was the best of times")

    arguments = ["score", *files()]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(score_files, "score_files", fail)
    assert main(arguments) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"memleak score: internal error, no result: {kind.__name__}")
    assert "best of times" not in err
    (path,) = (tmp_path / ".memleak").glob("error-*.txt")
    assert path.name in err
    assert "best of times" in path.read_text()


def test_the_version_is_printed(in_a_process):
    assert re.fullmatch(r"memleak \d+\.\d+\.\d+\n", in_a_process("--version").stdout)


def test_the_installed_command_ends_with_one_plain_error(tmp_path):
    command = Path(sys.executable).with_name("memleak")
    gone = tmp_path / "no.json"
    done = subprocess.run(
        [command, "score", gone, gone],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"memleak score: {gone}: can't be read: No such file or directory\n"
        f"  {tmp_path.resolve()} has no file of a similar name\n"
    )


def test_an_ascii_terminal_gets_escapes(in_a_process, files):
    book = [{"excerpt_id": "第1", "excerpt_text": "a b c d e"}]
    generations = [
        {"excerpt_id": "第1", "generations": [{"generated_text": "a b c d e"}]}
    ]
    done = in_a_process("score", *files(book, generations), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"words 0-5, \u7b2c1, generation 0" in done.stdout


either_buffering = pytest.mark.parametrize("unbuffered", ["", full("1")])


@either_buffering
def test_output_that_nobody_reads_ends_with_exit_code_141(
    files, in_a_process, unbuffered
):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {"PYTHONUNBUFFERED": unbuffered}
    with os.fdopen(writing, "w") as closed:
        done = in_a_process("score", *files(), stdout=closed, **environment)
    assert (done.returncode, done.stderr) == (141, "")


@either_buffering
def test_output_to_a_full_disk_is_an_error(files, in_a_process, unbuffered):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    environment = {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as device:
        done = in_a_process("score", *files(), stdout=device, **environment)
    assert done.returncode == 2
    assert done.stderr == (
        "memleak score: standard output: The disk is full\n"
        "  free space and rerun; stored generations are reused\n"
    )


HEADS = ("model", "book", "nv_longest_passage", "bmc", "verdict")
ROWS = [
    (
        "babbler",
        "The Lamplighter of Saltmarsh Row",
        "1,234",
        "0.019 (0.015–0.025)",
        "PASS",
    ),
    ("reciter-of-everything", "夜の種", "12,345", "1.000 (0.915–1.000)", "FAIL"),
    ("none", "", "-", "-", "NOT RUN"),
]
NUMBERS = ("nv_longest_passage", "bmc")


@pytest.mark.parametrize("width", [20, 30, 40, 52, 60, 79, 80, 100, 120, WHOLE])
def test_a_table_of_any_width_cuts_no_letter(width):
    text = table_text(HEADS, ROWS, right=NUMBERS, width=width)
    assert max(map(len, text.splitlines())) <= width
    letters = sorted("".join(text.split()))
    once = "".join((*HEADS, *map("".join, ROWS))).replace(" ", "")
    # One below the other, every row has its heads.
    several = "".join("".join(HEADS) + "".join(row) for row in ROWS[:2])
    several += "".join(
        head + cell for head, cell in zip(HEADS, ROWS[2], strict=True) if cell
    )
    assert letters in (sorted(once), sorted(several.replace(" ", "")))


def test_a_pipe_gets_a_row_a_line_and_a_terminal_whole_numbers():
    lines = table_text(HEADS, ROWS, right=NUMBERS).splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert lines[0].split() == list(HEADS)
    assert lines[1].startswith("babbler")
    wide = table_text(HEADS[2:], [row[2:] for row in ROWS], right=NUMBERS, width=40)
    assert "12,345" in wide
    assert "passage" in wide.split()
    assert "0.915–1.000" in wide
    # Text of others moves no cursor.
    assert not {"\x1b", "\u202e"} & set(table_text(("a",), [("\x1b[31m\u202e[red]b",)]))
    assert "[red]b" in table_text(("a",), [("[red]b",)])


def test_a_sentence_is_written_at_once_beside_those_of_other_threads(monkeypatch):
    written = []
    monkeypatch.setattr(sys.stdout, "write", written.append)
    print_sentence("waiting")
    assert written == ["waiting\n"]


STORY = "Every word of it was true, and they all knew it well enough by then. " * 120


@pytest.fixture
def odd(tmp_path):
    """Of each kind one, under any ending that a command asks for."""
    (tmp_path / "story.txt").write_text(STORY)
    (tmp_path / "taken").write_text("a file")
    for ending in ("", ".db", ".json", ".memleak.toml"):
        (tmp_path / f"circle{ending}").symlink_to(f"circle{ending}")
        os.mkfifo(tmp_path / f"pipe{ending}")
    with (tmp_path / "vast.memleak.toml").open("wb") as file:
        file.truncate(1 << 30)


ODD_SUITES = {
    "circle.memleak.toml": "can't be read: Too many levels of symbolic links",
    "circle/x.memleak.toml": "can't be read: Too many levels of symbolic links",
    "pipe.memleak.toml": "not a regular file",
    "vast.memleak.toml": "has 1,073,741,824 bytes",
}


@pytest.mark.parametrize("name", ODD_SUITES)
def test_an_odd_suite_is_an_error_of_doctor_with_its_fix(memleak, odd, name):
    done = memleak("doctor", name)
    assert done.returncode == 1
    assert done.stderr == ""
    first, hint, *_ = done.stdout.partition(f"\n{name}: ")[2].splitlines()
    assert ODD_SUITES[name] in first
    assert hint.startswith("  ")


ODD = {
    "ledger list --ledger circle.db": "No ledger exists here",
    "ledger verify --ledger circle/x.db": "No ledger exists here",
    "prepare story.txt -o o.json --summaries pipe.json": "is a device or a pipe",
    "prepare story.txt -o circle": "can't be written: Too many levels",
    "demo taken": "taken: File exists",
}


@pytest.mark.parametrize("arguments", ODD)
def test_an_odd_file_is_one_plain_error_and_what_to_type(refused, here, odd, arguments):
    error = refused(*arguments.split())
    assert ODD[arguments] in error
    assert len(error.splitlines()) > 1


def test_a_failed_copy_names_its_target(refused, here, monkeypatch):
    full = OSError(errno.ENOSPC, "full", "from", None, "to")
    monkeypatch.setattr("shutil.copyfile", Mock(side_effect=full))
    assert "memleak demo: to: The disk is full" in refused("demo")


def test_a_file_name_that_is_no_text_is_an_error(memleak, tmp_path, odd):
    arguments = ("init", "--book", "story.txt", "--model", "openai/base", "-o")
    done = memleak(*arguments, os.fsdecode(b"\xff.memleak.toml"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "  rename the file whose name isn't UTF-8"
    assert "Traceback" not in done.stderr
    assert not [name for name in tmp_path.iterdir() if name.name.startswith("\udcff")]


LONG_SUITE = f"{'a-release-' * 4}.memleak.toml"
CHECK_AGAIN = f"Next: memleak doctor {LONG_SUITE}"


@pytest.mark.parametrize(
    ("columns", "last"),
    [
        (80, [CHECK_AGAIN, "      # check again"]),
        (120, [f"{CHECK_AGAIN}   # check again"]),
    ],
)
def test_a_purpose_without_room_beside_its_command_stands_below(
    program, file, tmp_path, columns, last
):
    suite = file(LONG_SUITE, "[limits]\nbmcc = 1\n").name
    seen = run_in_terminal(
        ["doctor", suite], program=program, folder=tmp_path, columns=columns
    )
    shown = [line for line in seen.lines if line]
    assert shown[-len(last) :] == last


def test_an_error_of_usage_is_broken_between_words_at_a_terminal(program, tmp_path):
    wrong = ["try", "a.epub", "--model", "openai/m", "--price", "3"]
    seen = run_in_terminal(wrong, program=program, folder=tmp_path, columns=60)
    assert seen.code == 2
    assert max(map(len, seen.lines)) <= 60
    assert "IN,OUT, as in 3.75,15; got '3'" in " ".join(map(str.strip, seen.lines))


@pytest.mark.parametrize("arguments", [
    ["demo"],
    ["prepare", "story.txt"],
])  # fmt: skip
def test_what_may_not_be_read_or_written_is_said_with_what_to_do(
    refused, here, monkeypatch, arguments
):
    (here / "story.txt").write_text("It was a dark night. " * 90, encoding="utf-8")

    def deny(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", deny)
    monkeypatch.setattr(Path, "open", deny)
    monkeypatch.setattr(Path, "read_bytes", deny)
    error = refused(*arguments)
    assert "Permission denied" in error
    shown = "chmod u+rw story.txt", f"{here} isn't one"
    assert shown[arguments == ["demo"]] in error
