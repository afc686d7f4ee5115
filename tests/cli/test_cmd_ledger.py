"""The command `memleak ledger`: list, export and import, in both kinds of database."""

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa
from postgres_server import PostgresServer, binaries

from pytest_memleak.cli.main import main
from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus
from pytest_memleak.ledger.call_reservations import Terms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.prompts import questionnaire
from pytest_memleak.records import Book, Excerpt, FinishReason, Sampling
from pytest_memleak.sampling.loop import draw
from pytest_memleak.sampling.remote_jobs import ensure_finetune, training_set

TEXTS = (
    "The ferryman counted nine lanterns along the quay and did not like the number at all.",
    "His grandmother had warned him that an odd light brings an odd passenger before dawn.",
)
ENDPOINT = "ft:base:\x1b[31mevil\u202e"
SUITE = """
[limits]
longest_span = 10

[[book]]
id = "ferry"
source = "ferry.json"

[[model]]
id = "clean"
provider = "recorded"
options = { path = "clean.json" }
"""


class Provider:
    """Answers in order, and trains at once."""

    name = "scripted"
    concurrency = 1
    completions_per_call = 2
    batch = False

    def __init__(self):
        self.calls = 0

    def find_finetune(self, digest):
        return None

    def start_finetune(self, training):
        return "job-1"

    def poll_finetune(self, job_id):
        return JobState(JobStatus.SUCCEEDED, endpoint=ENDPOINT, tokens=1234)

    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        self.calls += 1
        if self.calls == 1:
            return [Completion("", FinishReason.CONTENT_FILTER, 10, 0) for _ in range(n)]
        reason = FinishReason.EMPTY if self.calls == 2 else FinishReason.STOP  # not withheld
        return [Completion(f"{self.calls}.{place} \x1b[2J", reason, 10, 7) for place in range(n)]


def a_book(**more):
    excerpts = tuple(
        Excerpt(f"p_id{n}", text, f"Write number {n}.") for n, text in enumerate(TEXTS, start=1)
    )
    return Book(
        **{"id": "ferry", "title": "T", "author": "A", "digest": ""} | more, excerpts=excerpts
    )


def asked(book, **sampling):
    settings = Sampling(**{"samples": 4} | sampling)
    return questionnaire("clean/ferry", book, settings, words=lambda text: len(text.split()))


def fill(url, *, endpoint=ENDPOINT, **sampling):
    """A fine-tune, and four draws of each excerpt from it."""
    provider, book = Provider(), a_book()
    with Ledger(url) as ledger:
        ensure_finetune(ledger, provider, training_set([book], {"base": "b"}))
        draw(
            ledger,
            provider,
            endpoint_id=endpoint,
            questionnaire=asked(book, **sampling),
            terms=Terms(provider, (2.0, 8.0)),
        )


@pytest.fixture(scope="module")
def postgres():
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/ledger.db"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def suite(tmp_path):
    """A suite file whose pair asks what `fill` asks."""
    rows = [
        {
            "excerpt_id": one.id,
            "excerpt_text": one.text,
            "instruction": one.instruction,
            "author_name": "A",
            "book_name": "T",
        }
        for one in a_book().excerpts
    ]
    (tmp_path / "ferry.json").write_text(json.dumps(rows), encoding="utf-8")
    path = tmp_path / "x.memleak.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


@pytest.fixture
def memleak(capsys):
    """Runs the command; returns its exit code, what it wrote, and its errors."""

    def run(*arguments):
        status = main(["ledger", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


# --- list ----------------------------------------------------------------------------------


@pytest.mark.full
def test_list_shows_endpoints_and_fine_tunes(memleak, url):
    fill(url)
    status, out, err = memleak("list", "--ledger", url)
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["Endpoints:"] in lines
    assert ["Fine-tunes:"] in lines
    assert "Batches:" not in out
    row = next(line for line in lines if "ferry" in line)
    # book, temperature, seed, excerpts, samples, withheld, calls, lost, open, in, out, US$
    assert row[-12:] == ["ferry", "1", "0", "2", "8", "2", "4", "0", "0", "80", "42", "0.00"]
    job = next(line for line in lines if "job-1" in line)
    assert job[:3] == ["scripted", "job-1", "succeeded"]
    assert "1,234" in job


def test_list_aligns_its_columns(memleak, sqlite):
    fill(sqlite)
    _, out, _ = memleak("list", "--ledger", sqlite)
    _, header, row, *_ = out.splitlines()
    for column, value in (("samples", "8"), ("withheld", "2"), ("calls", "4")):
        end = header.index(column) + len(column)
        assert row[:end].endswith(f" {value}")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_nothing_reaches_the_terminal_raw(memleak, sqlite, arguments):
    fill(sqlite)
    status, out, err = memleak("list", "--ledger", sqlite, *arguments)
    assert status == 0
    assert not set(out + err) & {"\x1b", "\u202e", "\x07"}


def test_list_as_json_keeps_every_id(memleak, url):
    fill(url)
    status, out, _ = memleak("list", "--ledger", url, "--json")
    listed = json.loads(out)
    assert status == 0
    assert list(listed) == ["ledger", "endpoints", "finetunes", "batches"]
    assert "correct-horse" not in out
    (row,) = listed["endpoints"]
    assert row["endpoint"] == ENDPOINT
    assert (row["generations"], row["withheld"], row["calls"]) == (8, 2, 4)
    assert row["cost"] == pytest.approx((80 * 2 + 42 * 8) / 1e6)
    assert listed["finetunes"][0]["endpoint"] == ENDPOINT
    assert listed["batches"] == []


def test_a_ledger_without_anything_says_so(memleak, sqlite):
    Ledger(sqlite).close()
    assert memleak("list", "--ledger", sqlite) == (0, "the ledger is empty\n", "")


def test_the_default_is_below_the_current_folder(memleak, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = memleak("list")
    assert status == 2
    assert "No ledger exists here" in err
    assert "name the ledger with --ledger" in err
    assert not (tmp_path / ".memleak").exists()
    fill(f"sqlite:///{tmp_path}/.memleak/ledger.db")
    assert "ferry" in memleak("list")[1]


@pytest.mark.parametrize(
    "verb", [("list",), ("list", "--json"), ("export", "--endpoint", "e", "-o", "out.json")]
)
def test_a_ledger_that_is_not_there_is_an_error_and_is_not_made(
    memleak, url, verb, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the first has not made it
        status, out, err = memleak(*verb, "--ledger", url)
        assert (status, out) == (2, "")
        assert "memleak ledger: " in err
        assert "No ledger exists here" in err
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_not_shown(memleak):
    url = "postgresql+psycopg://user:hunter2@127.0.0.1:1/none"
    status, out, err = memleak("list", "--ledger", url)
    assert status == 2
    assert "127.0.0.1" in err
    assert "hunter2" not in out + err


# --- export --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_what_is_exported_comes_back_by_an_import(memleak, url, sqlite, suite, tmp_path, name):
    fill(url)
    file = tmp_path / name
    status, out, err = memleak("export", "--ledger", url, "--endpoint", ENDPOINT, "-o", file)
    assert (status, out, err) == (0, f"8 generations -> {file}\n", "")
    place = ("--endpoint", ENDPOINT, "--suite", suite, "--model", "clean", "--book", "ferry")
    status, out, _ = memleak("import", file, "--ledger", sqlite, *place)
    assert status == 0
    assert out.startswith("8 generations added, 0 already there -> ")
    assert memleak("import", file, "--ledger", sqlite, *place)[1].startswith(
        "0 generations added, 8"
    )
    questions = asked(a_book())
    with Ledger(url) as one, Ledger(sqlite) as other:
        assert [*generations(one, ENDPOINT, questions)] == [
            *generations(other, ENDPOINT, questions)
        ]


def test_export_asks_which_is_meant(memleak, sqlite, tmp_path):
    fill(sqlite)
    fill(sqlite, temperature=0.5, seed=7)
    common = ("export", "--ledger", sqlite, "--endpoint", ENDPOINT, "-o", tmp_path / "out.json")
    status, _, err = memleak(*common)
    assert status == 2
    assert "temperature 0.5, seed 7" in err
    assert "temperature 1, seed 0" in err
    assert memleak(*common, "--temperature", "0.5")[0] == 0
    assert memleak(*common, "--seed", "0", "--book", "ferry")[0] == 0
    assert memleak(*common, "--seed", "1")[0] == 2


def test_export_of_an_unknown_endpoint(memleak, sqlite, tmp_path):
    fill(sqlite)
    file = tmp_path / "out.json"
    status, _, err = memleak("export", "--ledger", sqlite, "--endpoint", "none", "-o", file)
    assert status == 2
    assert "No generations of endpoint 'none'" in err
    assert "`memleak ledger list`" in err
    assert not file.exists()


@pytest.mark.parametrize("name", ["out.txt", "out"])
def test_export_to_another_kind_of_file_is_refused(memleak, sqlite, tmp_path, name):
    fill(sqlite)
    file = tmp_path / name
    status, _, err = memleak("export", "--ledger", sqlite, "--endpoint", ENDPOINT, "-o", file)
    assert status == 2
    assert ".json or .jsonl" in err
    assert not file.exists()


# --- import --------------------------------------------------------------------------------


def answers(*texts, excerpt="p_id1"):
    return [{"excerpt_id": excerpt, "generations": [{"generated_text": one} for one in texts]}]


@pytest.fixture
def bring(memleak, suite, tmp_path):
    """Imports records into a ledger."""

    def run(records, url, *, model="clean", book="ferry"):
        file = tmp_path / "drawn.json"
        file.write_text(json.dumps(records), encoding="utf-8")
        pair = ("--suite", suite, "--model", model, "--book", book)
        return memleak("import", file, "--ledger", url, "--endpoint", "e", *pair)

    return run


def test_imported_generations_are_listed_and_cost_nothing(memleak, bring, url):
    assert bring(answers("one", "two"), url)[0] == 0
    (row,) = json.loads(memleak("list", "--ledger", url, "--json")[1])["endpoints"]
    assert (row["endpoint"], row["book"], row["generations"]) == ("e", "ferry", 2)
    assert (row["calls"], row["cost"]) == (0, None)


def test_a_run_scores_what_was_imported(bring, sqlite, suite, tmp_path):
    from pytest_memleak.pipeline.required_samples import pair_prompts
    from pytest_memleak.suite.load import load_suite

    bring(answers("one", "two"), sqlite)
    (pair,) = load_suite(suite).pairs
    with Ledger(sqlite) as ledger:
        found = list(generations(ledger, "e", pair_prompts(pair, a_book())))
    assert [one.text for one in found] == ["one", "two"]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (answers("x", excerpt="p_id9"), "no excerpt 'p_id9'"),
        ([{"excerpt_id": "p_id1", "generations": [{}]}], "there is no generated_text"),
        ([answers("x")[0] | {"instruction": "Another one."}], "differs from the book's"),
        (
            [
                {
                    "excerpt_id": "p_id1",
                    "generations": [{"generated_text": "a", "ordinal": 1}, {"generated_text": "b"}],
                }
            ],
            "have the same ordinal",
        ),
    ],
)
def test_records_that_do_not_fit_are_refused_whole(memleak, bring, sqlite, records, said):
    status, out, err = bring([*answers("fine", excerpt="p_id2"), *records], sqlite)
    assert (status, out) == (2, "")
    assert said in err
    assert memleak("list", "--ledger", sqlite)[1] == "the ledger is empty\n"


def test_other_generations_in_their_places_are_refused(bring, sqlite):
    bring(answers("one"), sqlite)
    status, _, err = bring(answers("another"), sqlite)
    assert status == 2
    assert "The ledger holds another generation 0 of excerpt 'p_id1'" in err
    assert "another\n" not in err


@pytest.mark.parametrize("pair", [{"model": "other"}, {"book": "other"}])
def test_a_pair_that_the_suite_does_not_have(bring, sqlite, pair):
    status, _, err = bring(answers("one"), sqlite, **pair)
    assert status == 2
    assert "no pair '" in err
    assert "clean/ferry" in err


# --- check ---------------------------------------------------------------------------------


def test_check_holds_every_row_against_the_chain(memleak, bring, url):
    bring(answers("one", "two"), url)
    status, out, err = memleak("verify", "--ledger", url)
    assert (status, err) == (0, "")
    assert "(1 imported from files): every row is unchanged" in out
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE calls SET kind = 'sample' WHERE kind = 'import'"))
    engine.dispose()
    status, out, _ = memleak("verify", "--ledger", url)
    assert status == 1
    first, *_, last = out.splitlines()
    assert ': kind is "sample", but was written as "import"' in first
    assert last.endswith(": 2 differences")


def test_check_of_no_ledger(memleak, sqlite):
    status, _, err = memleak("verify", "--ledger", sqlite)
    assert status == 2
    assert "No ledger exists here" in err


# --- attempts ------------------------------------------------------------------------------


def test_attempts_lists_every_run_and_file(memleak, bring, url):
    for seed in (0, 7):
        fill(url, seed=seed)
    bring(answers("x", "y"), url)
    status, out, err = memleak("history", "--ledger", url, "--endpoint", ENDPOINT)
    assert (status, err) == (0, "")
    title, header, *rows = out.splitlines()
    assert title == "Attempts:"
    assert header.split()[:4] == ["book", "temp.", "seed", "by"]
    assert len(rows) == 2
    # book, temperature, seed, by, run, excerpts, calls, lost, failed, samples, surplus, removed
    for row, seed in zip(rows, ("0", "7"), strict=True):
        book, temperature, drawn_by, kind, run, *counts = row.split()[:12]
        assert (book, temperature, drawn_by, kind) == ("ferry", "1", seed, "sample")
        assert len(run) == 12
        assert counts == ["2", "4", "0", "0", "8", "0", "0"]
    status, out, _ = memleak("history", "--ledger", url, "--endpoint", "e", "--json")
    listed = json.loads(out)
    assert list(listed) == ["ledger", "attempts"]
    (row,) = listed["attempts"]
    assert (row["kind"], len(row["source"]), row["generations"]) == ("import", 64, 2)


def test_attempts_of_what_was_never_asked(memleak, sqlite):
    fill(sqlite)
    for more in (("--endpoint", "nobody"), ("--endpoint", ENDPOINT, "--book", "other")):
        status, out, err = memleak("history", "--ledger", sqlite, *more)
        assert (status, out) == (2, "")
        assert "No samples from endpoint" in err
        assert "memleak ledger list" in err


# --- the command itself --------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--help"], ["ledger", "--help"], ["ledger", "list", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    script = (
        "import sys\nfrom pytest_memleak.cli.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'sqlalchemy', 'rich', 'lxml', 'pytest', 'openai'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, encoding="utf-8"
    ).stdout
    assert "ledger" in said
    assert said.endswith("HEAVY []\n")


@pytest.mark.parametrize(
    "arguments", [[], ["show"], ["export", "--endpoint", "e"], ["import", "x.json"]]
)
def test_what_is_missing_is_a_usage_error(memleak, arguments):
    with pytest.raises(SystemExit, match="2"):
        memleak(*arguments)


# --- a path, and the beginning of a digest -------------------------------------------------

DIGESTS = (f"ngram:abcd{'0' * 60}", f"ngram:abef{'1' * 60}", f"local:abcd{'2' * 60}")


@pytest.fixture
def of_digests(sqlite):
    for one in DIGESTS:
        fill(sqlite, endpoint=one)
    return sqlite.removeprefix("sqlite:///")


def test_a_ledger_is_named_by_its_path(memleak, of_digests, tmp_path, monkeypatch):
    by_url = memleak("list", "--ledger", f"sqlite:///{of_digests}", "--json")
    assert memleak("list", "--ledger", of_digests, "--json") == by_url
    monkeypatch.chdir(tmp_path)
    status, _, err = memleak("list", "--ledger", "gone.db")
    assert (status, "No ledger exists here" in err) == (2, True)
    assert not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize(
    ("begin", "meant"),
    [
        ("ngram:abcd", DIGESTS[0]),
        ("abef", DIGESTS[1]),
        ("abef11...", DIGESTS[1]),
        ("ngram:abef1…", DIGESTS[1]),
        (DIGESTS[2], DIGESTS[2]),
    ],
)
def test_the_beginning_of_a_digest_will_do(memleak, of_digests, tmp_path, begin, meant):
    whole = memleak("history", "--ledger", of_digests, "--endpoint", meant)
    assert whole[0] == 0
    assert memleak("history", "--ledger", of_digests, "--endpoint", begin) == whole
    output = tmp_path / "drawn.jsonl"
    status, _, _ = memleak("export", "--ledger", of_digests, "--endpoint", begin, "-o", str(output))
    assert status == 0
    assert output.exists()


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        ("abcd", "matches 2 endpoints: local:abcd"),
        ("ngram:", "No samples from endpoint"),
        ("abe", "No samples from endpoint"),
        ("ngram:abe", "No samples from endpoint"),
        ("", "No samples from endpoint"),
    ],
)
def test_a_beginning_that_tells_no_one_endpoint(memleak, of_digests, begin, said):
    status, out, err = memleak("history", "--ledger", of_digests, "--endpoint", begin)
    assert (status, out) == (2, "")
    assert said in err
