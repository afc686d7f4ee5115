"""The command `memleak ledger`: list and export, in both kinds of database."""

import contextlib
import json
import random
import shutil
import sqlite3
from operator import attrgetter

import pytest
import sqlalchemy as sa
from ledgers import postgres  # noqa: F401 - fixtures
from marks import full
from scripted import Scripted, Tuner, terms

from pytest_memleak.cli.main import main
from pytest_memleak.formats.paper_format import generations_from_records, load_records
from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.prompts import CANARY_TOKENS, build_prompts
from pytest_memleak.ledger.tables import metadata
from pytest_memleak.records import Book, Excerpt, FinishReason, Sampling
from pytest_memleak.sampling.loop import sample_missing
from pytest_memleak.sampling.remote_jobs import ensure_finetune
from pytest_memleak.sampling.training_set import build_training_set

TEXTS = (
    "The ferryman counted nine lanterns along the quay and did not like the number at "
    "all.",
    "His grandmother had warned him that an odd light brings an odd passenger before "
    "dawn.",
)
EXCERPTS = tuple(
    Excerpt(f"p_id{n}", text, f"Write number {n}.") for n, text in enumerate(TEXTS, 1)
)
BOOK = Book(id="ferry", title="T", author="A", digest="", excerpts=EXCERPTS)
ENDPOINT = "ft:base:\x1b[31mevil\u202e"
DIGESTS = (f"ngram:abcd{'0' * 60}", f"ngram:abef{'1' * 60}", f"local:abcd{'2' * 60}")


def answer(request):
    """Withheld, empty, for an unknown reason, and whole, in turn."""
    if request.number == 0:
        return [Completion("", FinishReason.CONTENT_FILTER, 10, 0)] * request.n
    reason = {1: FinishReason.EMPTY, 2: FinishReason.UNKNOWN}.get(
        request.number, "stop"
    )
    more = {
        "reasoning": "a thought",
        "finish_word": "guarded" if request.number == 2 else None,
    }
    texts = [f"{request.number}.{place} \x1b[2J" for place in range(request.n)]
    return [Completion(text, FinishReason(reason), 10, 7, **more) for text in texts]


CANARIES = {"temperature": 0.0, "samples": 1, "max_tokens": CANARY_TOKENS}


def prompts(**sampling):
    settings = Sampling(**{"samples": 4} | sampling)
    return build_prompts(
        "clean/ferry", BOOK, settings, words=lambda text: len(text.split())
    )


def fill(url, *, endpoint=ENDPOINT, **sampling):
    """A fine-tune, and four draws of each excerpt from it."""
    tuner = Tuner(looks=0)
    tuner.outcome = JobState(JobStatus.SUCCEEDED, endpoint=ENDPOINT, tokens=1234)
    price = terms(per_call=2, price=(2.0, 8.0))
    with Ledger(url) as ledger:
        ensure_finetune(ledger, tuner, build_training_set([BOOK], {"base": "b"}))
        settings = {"prompts": prompts(**sampling), "terms": price}
        sample_missing(ledger, Scripted(answer), endpoint_id=endpoint, **settings)


@pytest.fixture(params=["sqlite", full("postgresql")])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/ledger.db"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def memleak(capsys):
    """Runs the command on a ledger; returns its exit code, what it wrote, and its errors."""

    def run(verb, url, *arguments):
        status = main(["ledger", verb, "--ledger", str(url), *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refuses(memleak):
    """Runs what ends with exit code 2; returns the error."""

    def run(*arguments):
        status, out, err = memleak(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("memleak ledger: ")
        return err

    return run


def test_an_empty_ledger_has_nothing_to_list(memleak, url):
    Ledger(url).close()
    assert memleak("list", url) == (0, "the ledger is empty\n", "")


def test_list_shows_endpoints_and_fine_tunes(memleak, url):
    fill(url)
    status, out, err = memleak("list", url)
    assert (status, err) == (0, "")
    title, _, line, *_ = out.splitlines()
    assert title == "Endpoints:"
    # book, temperature, seed, excerpts, samples, withheld, calls, lost, open, in, out,
    # billed US$, at most US$
    row = line.split()[-13:]
    counts = ["ferry", "1", "0", "2", "8", "4", "4", "0", "0", "80", "42"]
    assert row == [*counts, "0.00", "0.00"]
    (job,) = [line.split() for line in out.splitlines() if "job-0" in line]
    assert job[:3] == ["tuner", "job-0", "succeeded"]
    assert "1,234" in job
    assert "Batches:" not in out


def test_the_json_of_list_has_endpoints_and_fine_tunes(memleak, url):
    fill(url)
    status, listing, _ = memleak("list", url, "--json")
    listed = json.loads(listing)
    assert (status, listed["batches"]) == (0, [])
    assert list(listed) == ["ledger", "endpoints", "finetunes", "batches"]
    (row,), (job,) = listed["endpoints"], listed["finetunes"]
    assert row["endpoint"] == job["endpoint"] == ENDPOINT
    assert (row["generations"], row["withheld"], row["calls"]) == (8, 4, 4)
    assert row["cost"] == pytest.approx((80 * 2 + 42 * 8) / 1e6)


def test_list_prints_no_password_and_no_control_characters(memleak, url):
    fill(url)
    listing = memleak("list", url, "--json")[1]
    assert not set(memleak("list", url)[1] + listing) & {"\x1b", "\u202e", "\x07"}
    assert "correct-horse" not in listing


def test_a_ledger_is_named_by_a_path_or_a_url_or_found_in_pytest_s_rootdir(
    tmp_path, monkeypatch, capsys, refuses
):
    monkeypatch.chdir(tmp_path)
    assert main(["ledger", "list"]) == 2
    assert "name the ledger with --ledger" in capsys.readouterr().err
    assert not (tmp_path / ".memleak").exists()
    path = f"{tmp_path}/.memleak/ledger.db"
    fill(f"sqlite:///{path}")
    printed = set()
    for more in ([], ["--ledger", path], ["--ledger", f"sqlite:///{path}"]):
        assert main(["ledger", "list", *more]) == 0
        printed.add(capsys.readouterr().out)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(["ledger", "list"]) == 2  # no settings: this folder is the rootdir
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert main(["ledger", "list"]) == 0
    printed.add(capsys.readouterr().out)
    (out,) = printed
    assert "ferry" in out
    err = refuses("list", "postgresql+psycopg://user:hunter2@127.0.0.1:1/none")
    assert "127.0.0.1" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("verb", ["list", "export --endpoint e -o out.json", "verify"])
def test_a_ledger_that_is_not_there_is_an_error_and_is_not_made(
    refuses, url, verb, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    verb, *more = verb.split()
    for place in (url, url, "gone.db"):  # the first has not made it
        assert "No ledger exists here" in refuses(verb, place, *more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_exported_generations_are_the_paper_s_records(memleak, url, tmp_path, name):
    fill(url)
    file = tmp_path / name
    exported = memleak("export", url, "--endpoint", ENDPOINT, "-o", file)
    assert exported == (0, f"8 generations -> {file}\n", "")
    after = generations_from_records(load_records(file))
    with Ledger(url) as ledger:
        before = list(generations(ledger, ENDPOINT, prompts()))
    parts = attrgetter("excerpt_id", "ordinal", "text", "reasoning", "finish_reason")
    assert list(map(parts, before)) == list(map(parts, after))
    assert {generation.reasoning for generation in after} == {"", "a thought"}
    assert "guarded" in {generation.finish_word for generation in after}


def test_export_of_several_settings_asks_for_one(memleak, refuses, sqlite, tmp_path):
    fill(sqlite)
    fill(sqlite, temperature=0.5, seed=7)
    common = ("export", sqlite, "--endpoint", ENDPOINT, "-o", tmp_path / "out.json")
    err = refuses(*common)
    assert "temperature 0.5, seed 7" in err
    assert "temperature 1, seed 0" in err
    for endpoint, name, message in (
        ("none", "out.json", "No generations of endpoint 'none'"),
        (ENDPOINT, "out.txt", ".json or .jsonl"),
        (ENDPOINT, "out", ".json or .jsonl"),
    ):
        assert message in refuses(
            "export", sqlite, "--endpoint", endpoint, "-o", tmp_path / name
        )
        assert not (tmp_path / name).exists()
    assert memleak(*common, "--temperature", "0.5")[0] == 0
    assert memleak(*common, "--seed", "0", "--book", "ferry")[0] == 0
    refuses(*common, "--seed", "1")


def test_canaries_are_not_exported(memleak, sqlite, tmp_path):
    for settings in ({"temperature": 0.0, "samples": 2}, CANARIES):
        fill(sqlite, **settings)
    file = tmp_path / "out.jsonl"
    exported = memleak("export", sqlite, "--endpoint", ENDPOINT, "-o", file)
    assert exported == (0, f"4 generations -> {file}\n", "")
    fill(sqlite, temperature=0.0, max_tokens=300)
    error = memleak("export", sqlite, "--endpoint", ENDPOINT, "-o", file)[2]
    assert "has 2 different prompts, since its book was split" in error


def test_verify_compares_every_row_with_the_chain(memleak, url):
    fill(url)
    status, out, err = memleak("verify", url)
    assert (status, err) == (0, "")
    assert "calls: every row is unchanged" in out
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE calls SET kind = 'batch' WHERE id = 1"))
    engine.dispose()
    status, out, _ = memleak("verify", url)
    assert status == 1
    first, *_, last = out.splitlines()
    assert ': kind is "batch", but was written as "sample"' in first
    assert last.endswith(": 1 difference")


def test_history_lists_every_run(memleak, url):
    for seed in (0, 7):
        fill(url, seed=seed)
    status, out, err = memleak("history", url, "--endpoint", ENDPOINT)
    assert (status, err) == (0, "")
    title, header, *rows = out.splitlines()
    assert title == "Attempts:"
    assert header.split()[:4] == ["book", "temp.", "seed", "by"]
    # book, temperature, seed, by, run, excerpts, calls, lost, failed, samples, surplus,
    # removed
    for row, seed in zip(rows, ("0", "7"), strict=True):
        *by, run = row.split()[:5]
        assert by == ["ferry", "1", seed, "sample"]
        assert len(run) == 12
        assert row.split()[5:12] == ["2", "4", "0", "0", "8", "0", "0"]
    listed = json.loads(memleak("history", url, "--endpoint", ENDPOINT, "--json")[1])
    assert [(row["kind"], row["generations"]) for row in listed["attempts"]] == [
        ("sample", 8)
    ] * 2


def test_the_beginning_of_a_digest_names_an_endpoint(
    memleak, refuses, sqlite, tmp_path
):
    for digest in DIGESTS:
        fill(sqlite, endpoint=digest)
    begins = ("ngram:abcd", "abef", "abef11...", "ngram:abef1…", DIGESTS[2])
    for begin, number in zip(begins, (0, 1, 1, 1, 2), strict=True):
        whole = memleak("history", sqlite, "--endpoint", DIGESTS[number])
        assert whole[0] == 0
        assert memleak("history", sqlite, "--endpoint", begin) == whole
        output = tmp_path / f"{begin[:7]}.jsonl"
        assert memleak("export", sqlite, "--endpoint", begin, "-o", output)[0] == 0
        assert output.exists()
    assert "matches 2 endpoints: local:abcd" in refuses(
        "history", sqlite, "--endpoint", "abcd"
    )
    for begin in ("ngram:", "abe", "ngram:abe", "", f"{DIGESTS[0]} --book none"):
        err = refuses("history", sqlite, "--endpoint", *begin.split(" "))
        assert "No samples from endpoint" in err
        assert "memleak ledger list" in err


VALUES = (
    *("abc", "", -1, 5, 10**12, 2**63 - 1, 1.5, -1e300, 1e300, float("inf"), None),
    *(b"\xff\xfe", b"", b"[1, {", b"\xed\xa0\x80"),
    b'{"at": 1, "table": "calls", "row": {"id": []}}',
)
WORST = [
    (
        "chain",
        "entry",
        b'{"at": 1, "table": "calls", "row": {"id": 1, "generations": 5}}',
    ),
    *(("chain", "entry", value) for value in (-1, b"\xed\xa0\x80")),
    *(
        ("chain", "number", 7000),
        ("prompts", "book", 10**12),
        ("calls", "state", b"\xff"),
    ),
    *(("prompts", "temperature", value) for value in ("abc", float("inf"))),
    *(("jobs", "began", value) for value in ("abc", 1e300)),
    *(("ledger_version", "since", b"\xff"), ("ledger_version", "version", "abc")),
    *(("generations", column, "abc") for column in ("ordinal", "finish_reason")),
]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A small ledger with a fine-tune, its prompts, calls, and generations."""
    path = tmp_path_factory.mktemp("intact") / "ledger.db"
    fill(f"sqlite:///{path}")
    return path


@pytest.fixture
def check(intact, tmp_path, capsys):
    """Damage a copy, run every command on it, and check what each one says."""
    path = tmp_path / "ledger.db"

    def run(damage):
        shutil.copy(intact, path)
        damage(path)
        for command in (
            *(["list"], ["list", "--json"], ["verify"], ["cleanup"]),
            ["history", "--endpoint", ENDPOINT],
            ["export", "--endpoint", ENDPOINT, "-o", str(tmp_path / "x.json")],
        ):
            status = main(["ledger", command[0], "--ledger", str(path), *command[1:]])
            written = capsys.readouterr()
            assert status in (0, 1, 2), command
            if status == 2:
                first, hint = written.err.splitlines()[:2]
                assert (
                    first.startswith(f"memleak ledger: {path}: ")
                    or "No generations" in first
                )
                assert hint.startswith("  "), first
            yield command, status, written.out + written.err

    return run


def edit(table, column, value, row=1):
    def damage(path):
        connection = sqlite3.connect(path)
        key = ", ".join(metadata.tables[table].primary_key.columns.keys()) or "rowid"
        where = f"({key}) = (SELECT {key} FROM {table} LIMIT 1 OFFSET {row - 1})"
        with contextlib.suppress(
            sqlite3.IntegrityError
        ):  # of a value that no one can write
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {where}", (value,)
            )
        connection.commit()
        connection.close()

    return damage


@pytest.mark.parametrize(("table", "column", "value"), WORST)
def test_a_value_that_no_program_of_ours_wrote_is_named(check, table, column, value):
    outcomes = check(edit(table, column, value))
    ((status, out),) = [
        outcome for command, *outcome in outcomes if command == ["verify"]
    ]
    assert status in (1, 2)
    assert any(part in out for part in ("damaged", "chain", "was written as"))


def cells(seed):
    chance = random.Random(seed)
    table = chance.choice(metadata.sorted_tables)
    column = chance.choice(list(table.columns))
    return edit(table.name, column.name, chance.choice(VALUES), chance.randint(1, 3))


def bits(seed):
    def damage(path):
        chance, data = random.Random(seed), bytearray(path.read_bytes())
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data[: len(data) if seed % 4 else chance.randrange(len(data))])

    return damage


@pytest.mark.parametrize("damage", [cells, bits])
@pytest.mark.parametrize("seed", [*range(3), *(full(n) for n in range(3, 150))])
def test_a_damaged_ledger_gives_no_traceback(check, damage, seed):
    assert len([*check(damage(seed))]) == 6
