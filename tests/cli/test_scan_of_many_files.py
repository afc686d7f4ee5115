"""`memleak scan` reads many files: it names what it can't read, and goes on from a state."""

import gzip
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scored_books import prose

from pytest_memleak.cli.main import main
from pytest_memleak.formats import log_shards
from pytest_memleak.library import sharded_scan
from pytest_memleak.library.scan_state import ScanState

RNG = random.Random(9)
NOVEL = [" ".join(prose(RNG, 100)) for _ in range(30)]
PASSAGE = " ".join(NOVEL[12].split()[10:70])
HARMLESS = [" ".join(RNG.choices([f"v{n}" for n in range(900)], k=50)) for _ in "abc"]


def row(text):
    return f"{json.dumps({'prompt': 'Go on.', 'completion': text})}\n"


@pytest.fixture(autouse=True)
def novel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("novel.txt")
    path.write_text("\n\n".join(NOVEL), encoding="utf-8")
    Path("logs").mkdir()
    return path


@pytest.fixture
def scan(capsys):
    """Runs the command: exit code and output, or its JSON, and errors."""

    def go(*options, kind="--logs"):
        capsys.readouterr()
        code = main(["scan", "novel.txt", kind, *options])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in options and out else out, err

    return go


def write_rows(path, *texts):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(map(row, texts)), encoding="utf-8")


def written():
    """When each result of the state was written."""
    return {path: path.stat().st_mtime_ns for path in Path("s").glob("*.json")}


def places(report):
    return sorted({(passage["file"], passage["row"]) for passage in report["passages"]})


@pytest.fixture
def hundred_files():
    """A folder of 100 files: 96 with a passage each, and four that can't be read whole."""
    for number in range(96):
        write_rows(f"logs/{number:03}.jsonl", HARMLESS[0], PASSAGE)
    whole = row(HARMLESS[1]) + row(HARMLESS[2])
    Path("logs/096-cut.jsonl").write_text(whole[:-30], encoding="utf-8")
    Path("logs/097-empty.jsonl").touch()
    Path("logs/098-text.json").write_text("Once upon a time", encoding="utf-8")
    Path("logs/099-loop.jsonl").symlink_to("099-loop.jsonl")


@pytest.mark.usefixtures("hundred_files")
def test_what_cannot_be_read_is_named_with_file_row_and_cause(scan):
    _, report, _ = scan("logs", "--json")
    unread = [(place["file"], place["row"]) for place in report["unread"]]
    assert sorted(unread, key=str) == [
        ("logs/096-cut.jsonl", 2),
        ("logs/097-empty.jsonl", None),
        ("logs/098-text.json", None),
        ("logs/099-loop.jsonl", None),
    ]
    causes = {place["file"][5:8]: place["cause"] for place in report["unread"]}
    assert causes["096"].startswith("not JSON: Unterminated string")
    assert causes["097"] == "there are no rows"
    assert causes["098"].startswith("not JSON: Expecting value")
    assert causes["099"] == "can't be read: Too many levels of symbolic links"


@pytest.mark.usefixtures("hundred_files")
def test_passages_of_all_other_files_are_found(scan):
    code, report, _ = scan("logs", "--json")
    assert code == 3
    assert places(report) == [(f"logs/{number:03}.jsonl", 2) for number in range(96)]
    assert (report["rows"], report["unread_rows"], report["unread_files"]) == (
        193,
        1,
        3,
    )


def test_an_unread_row_makes_no_result_clean(scan):
    write_rows("logs/a.jsonl", HARMLESS[0])
    with Path("logs/a.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"note": "of no format"}\n')
    code, out, _ = scan("logs/a.jsonl")
    assert code == 3
    assert "No limit is exceeded" not in out
    assert "logs/a.jsonl, line 2: this row has no known format" in out
    assert out.splitlines()[-1] == (
        "Incomplete: 1 row and 0 files can't be read, so no result is clean."
    )


def test_a_row_of_a_table_with_too_many_cells_is_named(scan):
    table = f"prompt,completion\nGo,{HARMLESS[0]}\na,b,c\nGo,{PASSAGE}\n"
    Path("logs/table.csv").write_text(table, encoding="utf-8")
    code, report, _ = scan("logs/table.csv", "--json")
    assert (code, places(report)) == (3, [("logs/table.csv", 3)])
    assert [place["row"] for place in report["unread"]] == [2]


def test_rows_before_a_damage_are_scanned(scan):
    rows = "".join(row(f"{PASSAGE} {number}") for number in range(3_000))
    packed = gzip.compress(rows.encode())
    Path("logs/cut.jsonl.gz").write_bytes(packed[:-2_000])
    code, report, _ = scan("logs", "--json")
    assert code == 3
    assert report["rows_with_passages"] > 0
    assert report["unread"][0]["cause"].startswith("can't be read: ")


@pytest.mark.parametrize(
    "named",
    [
        ["logs"],
        ["logs/**/*.jsonl"],
        ["logs/a.jsonl", "logs/deep", "logs/a.jsonl"],
        ["logs/?.jsonl", "logs/*/b.jsonl"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", ["--logs", "--training"])
def test_folders_and_patterns_name_files(scan, named, kind):
    write_rows("logs/a.jsonl", PASSAGE)
    write_rows("logs/deep/b.jsonl", PASSAGE)
    code, report, _ = scan(*named, "--json", kind=kind)
    assert code == 1
    assert places(report) == [("logs/a.jsonl", 1), ("logs/deep/b.jsonl", 1)]


@pytest.mark.parametrize("named", ["empty", "logs/*.json"])
def test_a_name_of_no_file_is_an_error(scan, named):
    Path("empty").mkdir()
    write_rows("logs/a.jsonl", PASSAGE)
    code, out, err = scan("logs/a.jsonl", named)
    assert (code, out) == (2, "")
    assert f"{named}: " in err
    assert "quoted patterns such as 'logs/**/*.jsonl'" in err


def test_a_file_of_unknown_kind_in_a_folder_is_named(scan):
    write_rows("logs/a.jsonl", HARMLESS[0])
    Path("logs/b.jsonl.bz2").write_bytes(b"BZh")
    code, out, _ = scan("logs")
    assert code == 3
    assert "logs/b.jsonl.bz2: no reader for '.bz2' files" in out


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "a\tb", "a\udcffb"], ids=ascii)
def test_an_odd_name_of_a_file_is_shown_once_and_escaped(scan, name):
    path = Path(f"logs/{name}.jsonl")
    path.write_text(f"{row(PASSAGE)}no row\n", encoding="utf-8")
    code, out, _ = scan("logs")
    assert code == 3
    shown = f"logs/{ascii(name)[1:-1]}.jsonl"
    assert f"{shown}, line 2: not JSON: Expecting value" in out.splitlines()[-3]
    assert all(name not in line for line in out.splitlines())
    path.write_text("", encoding="utf-8")
    write_rows("logs/b.jsonl", PASSAGE)
    assert f"\n{shown}: there are no rows\n" in scan("logs")[1]


def test_a_row_too_long_is_named_and_the_next_ones_are_read(scan, monkeypatch):
    monkeypatch.setattr(log_shards, "MAX_ROW_BYTES", 1_000)
    long = " ".join(HARMLESS * 9)
    write_rows("logs/a.jsonl", PASSAGE, long, PASSAGE)
    packed = gzip.compress(Path("logs/a.jsonl").read_bytes())
    Path("logs/b.jsonl.gz").write_bytes(packed)
    code, report, _ = scan("logs", "--json")
    assert code == 3
    files = ("logs/a.jsonl", "logs/b.jsonl.gz")
    assert places(report) == [(file, row) for file in files for row in (1, 3)]
    unread = [
        (place["file"], place["row"], place["cause"]) for place in report["unread"]
    ]
    cause = "the row exceeds the maximum of 1,000 bytes"
    assert unread == [(file, 2, cause) for file in files]


def test_a_small_file_of_very_many_blank_lines_is_not_read_to_its_end(scan):
    blank = b"\n" * (1 << 21)
    rows = row(PASSAGE).encode()
    Path("logs/a.jsonl.gz").write_bytes(gzip.compress(rows + blank + rows))
    code, report, _ = scan("logs", "--json")
    assert code == 3
    assert places(report) == [("logs/a.jsonl.gz", 1)]
    (unread,) = report["unread"]
    assert (unread["row"], unread["cause"]) == (
        None,
        "it has over 1,048,576 blank lines in a row",
    )


def test_hidden_files_of_a_folder_are_left_out(scan):
    write_rows("logs/a.jsonl", HARMLESS[0])
    write_rows("logs/.cache/x.metadata", HARMLESS[0])
    Path("logs/_SUCCESS").touch()
    assert scan("logs")[0] == 0


def test_a_folder_linked_below_itself_is_read_once(scan):
    write_rows("logs/a.jsonl", PASSAGE)
    Path("logs/again").symlink_to(Path("logs").resolve())
    assert places(scan("logs", "--json")[1]) == [("logs/a.jsonl", 1)]


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of a few rows, several of which start in the middle of one."""
    monkeypatch.setattr(log_shards, "BYTES_OF_SHARD", 1_000)


def rows_with_passages(count):
    return [
        PASSAGE if number % 7 == 3 else HARMLESS[number % 3] for number in range(count)
    ]


def test_ranges_of_lines_have_the_rows_of_the_file(scan, monkeypatch):
    texts = rows_with_passages(40)
    texts[20] = " ".join(HARMLESS * 9)  # a row of several shards
    write_rows("logs/a.jsonl", *texts)
    with Path("logs/a.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n\nno row\n")
    whole = scan("logs", "--json")
    assert len(places(whole[1])) > 4
    for size in (97, 350, 1_000):
        monkeypatch.setattr(log_shards, "BYTES_OF_SHARD", size)
        assert scan("logs", "--json") == whole


def test_row_groups_have_the_rows_of_the_file(scan, monkeypatch):
    pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    texts = rows_with_passages(40)
    table = pyarrow.table({"prompt": ["Go on."] * 40, "completion": texts})
    parquet.write_table(table, "logs/a.parquet", row_group_size=6)
    whole = scan("logs", "--json")
    assert [place for _, place in places(whole[1])] == [4, 11, 18, 25, 32, 39]
    monkeypatch.setattr(log_shards, "BYTES_OF_SHARD", 1_000)
    assert len(log_shards.shards_of(Path("logs/a.parquet"))) > 2
    assert scan("logs", "--json") == whole


@pytest.fixture
def interrupted(scan, monkeypatch):
    """Ends a scan with Ctrl-C once it has kept the results of some shards."""

    def run(kept, *options):
        keep = ScanState.keep
        done = []

        def keep_some(state, shard, result):
            keep(state, shard, result)
            done.append(shard)
            if len(done) == kept:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(ScanState, "keep", keep_some)
            code, out, _ = scan(*options)
        assert (code, out) == (130, "")
        return done

    return run


@pytest.mark.usefixtures("small_shards")
def test_a_scan_interrupted_three_times_reads_each_shard_once(scan, interrupted):
    write_rows("logs/a.jsonl", *rows_with_passages(40))
    write_rows("logs/b.jsonl", PASSAGE)
    uninterrupted = scan("logs", "--json")
    read = [shard for _ in range(3) for shard in interrupted(4, "logs", "--state", "s")]
    assert len(set(read)) == 12
    kept = written()
    assert len(kept) == 12
    assert scan("logs", "--state", "s", "--json") == uninterrupted
    assert kept.items() < written().items()


def test_a_finished_file_is_not_read_again(scan):
    write_rows("logs/a.jsonl", HARMLESS[0], PASSAGE)
    first = scan("logs", "--state", "s", "--json")
    kept = written()
    assert scan("logs", "--state", "s", "--json") == first
    assert written() == kept


def test_a_file_with_other_rows_of_the_same_size_and_date_is_read_again(scan):
    write_rows("logs/a.jsonl", re.sub("[a-z]", "x", PASSAGE))
    assert scan("logs", "--state", "s")[0] == 0
    before = Path("logs/a.jsonl").stat()
    write_rows("logs/a.jsonl", PASSAGE)
    os.utime("logs/a.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Path("logs/a.jsonl").stat().st_size == before.st_size
    assert scan("logs", "--state", "s")[0] == 1


@pytest.mark.parametrize(
    "kept",
    ['{"counts":{"rows":2,"texts":2}}', '{"counts": null}', "[" * 50_000, ""],
    ids=["no passages", "null", "deep", "empty"],
)
def test_a_kept_result_without_its_digest_is_read_again(scan, kept):
    write_rows("logs/a.jsonl", HARMLESS[0], PASSAGE)
    first = scan("logs", "--state", "s", "--json")
    (path,) = Path("s").glob("*.json")
    path.write_text(kept)
    assert scan("logs", "--state", "s", "--json") == first


@pytest.mark.parametrize("change", ["file", "book", "option", "result"])
def test_a_changed_input_is_read_again(scan, change):
    write_rows("logs/a.jsonl", HARMLESS[0], PASSAGE)
    assert scan("logs", "--state", "s")[0] == 1
    options = []
    if change == "file":
        write_rows("logs/a.jsonl", HARMLESS[0])
    elif change == "book":
        Path("novel.txt").write_text("\n\n".join(NOVEL[:9]), encoding="utf-8")
    elif change == "option":
        options = ["--text", "/prompt"]
    else:
        write_rows("logs/a.jsonl", PASSAGE)
        for path in Path("s").glob("*.json"):
            path.write_text('{"counts":', encoding="utf-8")
    report = scan("logs", "--state", "s", "--json", *options)[1]
    assert places(report) == ([("logs/a.jsonl", 1)] if change == "result" else [])


def test_a_file_that_could_not_be_opened_is_tried_again(scan):
    write_rows("logs/a.jsonl", HARMLESS[0])
    Path("logs/b.jsonl").symlink_to("b.jsonl")
    assert scan("logs", "--state", "s")[0] == 3
    Path("logs/b.jsonl").unlink()
    write_rows("logs/b.jsonl", PASSAGE)
    assert places(scan("logs", "--state", "s", "--json")[1]) == [("logs/b.jsonl", 1)]


def test_a_state_quotes_no_text(scan):
    write_rows("logs/a.jsonl", PASSAGE)
    scan("logs", "--state", "s")
    (state,) = Path("s").glob("*.json")
    assert " ".join(PASSAGE.split()[:3]) not in state.read_text(encoding="utf-8")
    assert state.stat().st_mode & 0o077 == 0


def test_a_state_in_a_scanned_folder_is_an_error(scan):
    write_rows("logs/a.jsonl", PASSAGE)
    code, _, err = scan("logs", "--state", "logs/state")
    assert code == 2
    assert "name another folder with --state" in err


@pytest.mark.usefixtures("small_shards")
def test_a_part_over_which_processes_die_is_named_and_the_others_keep_their_rows(
    scan, monkeypatch
):
    def some_die(make, shards, *, jobs, progress):
        for number, shard in enumerate(shards):
            dies = jobs == 2 and number in {1, 2, 3}
            yield shard, None if dies else make()(shard, progress)

    write_rows("logs/a.jsonl", *rows_with_passages(40))
    whole = places(scan("logs", "--json")[1])
    monkeypatch.setattr(sharded_scan, "_SMALL", 0)
    monkeypatch.setattr(sharded_scan, "run_tasks", some_die)
    code, report, _ = scan("logs", "--json", "--jobs", "2", "--state", "s")
    assert code == 3
    assert (report["unread_files"], report["unread_rows"]) == (1, 0)
    assert "several processes ended early" in report["unread"][0]["cause"]
    assert set(places(report)) < set(whole)
    assert places(report)[-1] == whole[-1]
    assert places(scan("logs", "--json", "--state", "s", "--jobs", "3")[1]) == whole


@pytest.mark.full
@pytest.mark.usefixtures("small_shards")
def test_a_killed_process_changes_no_result(scan, monkeypatch):
    write_rows("logs/a.jsonl", *rows_with_passages(40))
    undisturbed = scan("logs", "--json")
    keep = ScanState.keep
    killed = []

    def keep_and_kill(state, shard, result):
        keep(state, shard, result)
        if not killed:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    monkeypatch.setattr(sharded_scan, "_SMALL", 0)
    monkeypatch.setattr(ScanState, "keep", keep_and_kill)
    assert scan("logs", "--json", "--jobs", "2", "--state", "s") == undisturbed
    assert killed


@pytest.mark.full
def test_a_scan_killed_three_times_ends_as_one_that_was_not():
    texts = [f"{text} {number}" for number, text in enumerate(rows_with_passages(500))]
    for number in range(12):
        write_rows(f"logs/{number}.jsonl", *texts)
    run = "import sys; from pytest_memleak.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", run, "scan", "novel.txt", "--logs", "logs"]
    command += ["--json", "--jobs", "1"]
    expected = subprocess.run(command, capture_output=True, check=False)
    assert expected.returncode == 1
    kept = 0
    for _ in range(3):
        process = subprocess.Popen([*command, "--state", "s"], stdout=subprocess.PIPE)
        wanted = kept + 2
        while process.poll() is None and len(written()) < wanted:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kept = len(written())
        assert wanted <= kept < 12
    finished = written()
    last = subprocess.run([*command, "--state", "s"], capture_output=True, check=False)
    assert (last.returncode, last.stdout) == (1, expected.stdout)
    assert finished.items() < written().items()
