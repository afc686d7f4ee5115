"""[[catalog]]: books that nobody asks for, and that no answer may recite either."""

import re
from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from marks import full
from suite_files import read_bundle

from pytest_memleak.cli.main import main
from pytest_memleak.errors import Inconclusive
from pytest_memleak.library.book_files import read_book
from pytest_memleak.pipeline import catalog

OTHER = (
    "Seven clerks kept the registry of winds, and not one of them had ever been "
    "outside in a gale, "
    "since the windows of the registry had been painted shut the year that it was "
    "founded."
)
QUIET = "Nothing of this book is ever said by anyone, in any words at all."
PASSAGE = " ".join(OTHER.split()[3:28])
RECITES = {"clean": (f"It is said that {PASSAGE} and so on.", *CLEAN[:2])}
BRIEFLY = {
    "clean": (f"It is said that {' '.join(OTHER.split()[3:14])} and so on.", *CLEAN[:2])
}
MODEL = '[[model]]\nid = "clean"'
CATALOG = (MODEL, '[[catalog]]\nsource = "library/**/*.txt"\n\n' + MODEL)
PREPARED = (MODEL, '[[catalog]]\nsource = "library.keys"\n\n' + MODEL)
LIMITED = (
    "longest_span = 10",
    "longest_span = 10\nlongest_passage = 20\nnv_longest_passage = 20",
)
SHELF, KEYS, EVIDENCE = (
    Path("library/shelf"),
    Path("library.keys"),
    Path("evidence.json"),
)
WINDS = "library/shelf/winds.txt"


@pytest.fixture
def library(pytester):
    """Writes the books of the catalog."""

    def write(**books):
        SHELF.mkdir(parents=True, exist_ok=True)
        for name, text in books.items():
            (SHELF / f"{name}.txt").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def build(pytester, capsys):
    """Runs `memleak catalog build`: its exit code, and what it says."""

    def go(*options, folder="library", output=KEYS):
        capsys.readouterr()
        code = main(["catalog", "build", folder, "-o", str(output), *options])
        return code, *capsys.readouterr()

    return go


@pytest.fixture
def run(gate):
    def go(chosen="clean", lines=(), **outcomes):
        reports = ("--junitxml=junit.xml", "--memleak-html=report.html")
        options = ("-v", f"--memleak-evidence={EVIDENCE}", *reports, "-k", chosen)
        gate(*options, lines=lines, **outcomes)
        return {pair["pair"].partition("/")[0]: pair for pair in read_bundle()["pairs"]}

    return go


def test_a_recited_book_of_the_catalog_breaks_the_limit_in_evidence(
    suite, library, run
):
    suite(CATALOG, LIMITED, **RECITES)
    library(winds=OTHER, quiet=QUIET)
    pair = run(failed=1, deselected=1)["clean"]
    measures = pair["measures"]
    passage = measures["longest_passage"]
    assert (passage["value"], passage["book"]) == (25, WINDS)
    assert (passage["start"], passage["end"], passage["excerpt_id"]) == (3, 28, "p_id1")
    assert measures["nv_longest_passage"]["book"] == WINDS
    assert measures["passages_over"]["books"] == {WINDS: 1}
    summary = pair["catalog"]
    assert (summary["books"], summary["words"]) == (2, len(f"{OTHER} {QUIET}".split()))
    assert summary["from_words"] == 12


def test_a_recited_book_of_the_catalog_is_named_and_not_quoted_in_every_report(
    suite, library, run
):
    suite(CATALOG, LIMITED, **RECITES)
    library(winds=OTHER, quiet=QUIET)
    shown = f"1 passage over 20 words comes from {WINDS}, which no prompt was about"
    run(lines=[f"  {shown}*"], failed=1, deselected=1)
    junit = Path("junit.xml").read_text("utf-8")
    page = Path("report.html").read_text("utf-8")
    assert f'name="memleak.passages_over.{WINDS}" value="1"' in junit
    assert WINDS in page
    assert " ".join(PASSAGE.split()[:13]).lower() not in f"{page} {junit}".lower()


def test_recorded_pairs_share_one_pass_over_the_catalog(
    suite, library, run, monkeypatch
):
    passes, prefilter = [], catalog.GenerationPrefilter

    def counted(*arguments, **settings):
        passes.append(1)
        return prefilter(*arguments, **settings)

    monkeypatch.setattr(catalog, "GenerationPrefilter", counted)
    suite(CATALOG, LIMITED, **RECITES)
    library(winds=OTHER, quiet=QUIET)
    pairs = run("clean or leaky", failed=2)
    # A passage of one pair's is no matter of the other's.
    books = {
        name: pair["measures"]["longest_passage"]["book"]
        for name, pair in pairs.items()
    }
    assert books == {"clean": WINDS, "leaky": "ferry"}
    assert len(passes) == 1


@pytest.mark.parametrize(("limit", "value"), [("", 0), ("\nlongest_passage = 8", 11)])
def test_a_passage_shorter_than_a_quotation_counts_where_a_limit_is_lower(
    suite, library, run, limit, value
):
    suite(CATALOG, (LIMITED[0], f"{LIMITED[0]}{limit}"), **BRIEFLY)
    library(winds=OTHER)
    pairs = run(**{"failed" if limit else "passed": 1}, deselected=1)
    assert pairs["clean"]["measures"]["longest_passage"]["value"] == value


def test_the_suites_own_books_are_looked_for_once(suite, library, run):
    suite(CATALOG)
    library(again="\n\n".join(BOOK), winds=OTHER)
    passage = run("leaky", failed=1, deselected=1)["leaky"]["measures"][
        "longest_passage"
    ]
    assert (passage["book"], passage["held_by"]) == ("ferry", ["ferry"])


@pytest.mark.parametrize("role", ["train", "negative-control"])
def test_a_role_in_the_suite_takes_no_book_out_of_the_catalog(
    suite, library, run, role
):
    named = f'[[book]]\nid = "winds"\nsource = "{WINDS}"\nrole = "{role}"\n\n'
    library(winds=OTHER)
    suite((MODEL, named + CATALOG[1]), LIMITED, **RECITES)
    run("clean and ferry", lines=[f"  longest passage, 25 words: {WINDS}*"])
    assert read_bundle()["result"] == "FAIL"


def test_a_prepared_catalog_is_private_and_holds_no_text(library, build):
    library(winds=OTHER, quiet=QUIET)
    size = len(f"{OTHER} {QUIET}".split())
    assert build() == (0, f"2 books, {size} words -> library.keys\n", "")
    assert KEYS.stat().st_mode & 0o077 == 0
    data = KEYS.read_bytes().lower()
    long_words = [word.lower() for word in OTHER.split() if len(word) > 3]
    assert not any(word.encode() in data for word in long_words)


def test_a_prepared_catalog_gives_the_results_of_its_books(suite, library, run, build):
    library(winds=OTHER, quiet=QUIET)
    suite(CATALOG, LIMITED, **RECITES)
    parsed = run()
    build()
    suite(PREPARED, LIMITED, **RECITES)
    prepared = run(failed=1, deselected=1)
    for name in ("measures", "catalog", "reasons"):
        assert prepared["clean"][name] == parsed["clean"][name]


def test_a_prepared_catalog_leaves_no_pass_without_a_text_that_is_needed(
    suite, library, run, build
):
    library(winds=OTHER, quiet=QUIET)
    build()
    library(
        winds="Another text, of other words than it was once prepared from, and as long."
    )
    suite(PREPARED, LIMITED, **RECITES)
    shown = f"*{WINDS}: a generation shares a long run of words with this book, but the book's file*"
    run(lines=[shown], errors=1, deselected=1)
    (SHELF / "quiet.txt").unlink()
    suite(PREPARED, LIMITED)
    run(passed=1, deselected=1)


def test_two_prepared_files_scanned_text_by_text_give_the_same(
    suite, library, run, build, monkeypatch
):
    library(winds=OTHER, quiet=QUIET)
    recites_last = {"clean": RECITES["clean"][::-1]}
    suite(CATALOG, LIMITED, **recites_last)
    parsed = run()["clean"]
    monkeypatch.setattr(catalog, "_CHARACTERS", 1)
    Path("library/other").mkdir()
    (SHELF / "quiet.txt").rename("library/other/quiet.txt")
    for name in ("shelf", "other"):
        build(folder=f"library/{name}", output=f"{name}.keys")
    suite(
        (MODEL, '[[catalog]]\nsource = "*.keys"\n\n' + MODEL), LIMITED, **recites_last
    )
    prepared = run()["clean"]
    assert [prepared[name] == parsed[name] for name in ("measures", "catalog")] == [
        True,
        True,
    ]


def test_text_that_no_measure_would_cover_is_scanned():
    path = Path(__file__).parents[2] / "fixtures" / "books" / "the-seed-vault.epub"
    assert read_book(path).excerpts[-1].chapter == "excluded: Three Steps"


def test_files_that_are_no_books_are_named_and_left_out(suite, library, build):
    library(winds=OTHER, README=QUIET)
    (SHELF / "License.md").write_text(QUIET, encoding="utf-8")
    (SHELF / "cover.png").write_bytes(b"PNG")
    (SHELF / ".cache").mkdir()
    (SHELF / ".cache" / "winds.txt").write_text(OTHER, encoding="utf-8")
    code, out, err = build()
    assert (code, out) == (0, f"1 book, {len(OTHER.split())} words -> library.keys\n")
    lines = [line.partition(" skipped: library/shelf/")[2] for line in err.splitlines()]
    assert [line.partition(";")[0] for line in lines] == [
        "License.md: not named like a book",
        "README.txt: not named like a book",
        "cover.png: no reader for '.png' files",
    ]


UNREAD = {
    "in part": (
        {
            "winds": OTHER,
            "short": "too short",
            "foreign": "Ветер не знает дороги домой. " * 20,
        },
        ["library/shelf/foreign.txt: *'paper'*", "library/shelf/short.txt: *2 words*"],
        "*unscanned books in the catalog: *foreign.txt (and 1 other): *; repair each "
        "such file*",
    ),
    "not at all": (
        {"winds": "too short"},
        ["the catalog: none of its books can be read*", f"{WINDS}: *2 words*"],
        "*not scanned: the catalog: none of its books can be read*",
    ),
    "not scanned": (
        {"winds": OTHER},
        ["the catalog: the disk is gone"],
        "*not scanned: the catalog: the disk is gone*",
    ),
}


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("case", UNREAD)
def test_an_unread_catalog_leaves_no_pass(
    suite, library, gate, monkeypatch, case, limited
):
    def lost(texts, *, k, mode):
        raise Inconclusive("the disk is gone")

    books, warnings, shown = UNREAD[case]
    if case == "not scanned":
        monkeypatch.setattr(catalog, "GenerationPrefilter", lost)
    suite(CATALOG, *([LIMITED] if limited else []))
    library(**books)
    outcome = {"errors" if limited else "passed": 1}
    result = gate("-v", "-k", "clean", lines=[shown] * limited, deselected=1, **outcome)
    # Of the whole catalog it says so in one of the two ways.
    for warning in warnings[limited and case != "in part" :]:
        result.stdout.fnmatch_lines([f"  warning: not scanned for passages: {warning}"])


@pytest.mark.parametrize("missing", [False, True])
def test_an_unreadable_test_book_leaves_no_pass(suite, run, missing):
    other = (
        '[[book]]\nid = "winds"\nsource = "winds.txt"\n'
        + "bring_your_own = true\n" * missing
    )
    if not missing:
        Path("winds.txt").write_text("too short", encoding="utf-8")
    suite((MODEL, other + MODEL), LIMITED)
    shown = "*winds: *" if missing else "*winds wasn't scanned: *"
    run(
        "clean and ferry",
        lines=[shown],
        **{"passed" if missing else "errors": 1},
        deselected=3,
    )


BUILT_OTHERWISE = "built by a version of memleak or ICU that"
DAMAGES = (
    (lambda data: data[:-20], "not a complete catalog file"),
    (lambda data: data[:40] + b"x" + data[41:], "are damaged"),
    (lambda data: re.sub(rb'("numbering": ")..', rb"\1zz", data), BUILT_OTHERWISE),
    # As it was before the file said how words were numbered.
    (lambda data: data.replace(b'"numbering"', b'"numberinG"'), BUILT_OTHERWISE),
    (lambda data: data.replace(b'"icu": null', b'"icu": "72"'), BUILT_OTHERWISE),
)


def test_a_prepared_catalog_that_is_damaged_leaves_no_pass(suite, library, gate, build):
    library(winds=OTHER)
    build()
    whole, again = KEYS.read_bytes(), "*memleak catalog build*"
    suite(PREPARED, LIMITED)
    for damage, message in DAMAGES:
        KEYS.write_bytes(damage(whole))
        result = gate("-k", "clean", lines=[again])
        assert result.ret != 0
        assert message in result.stdout.str()
    # Beside another that is whole, too.
    KEYS.write_bytes(whole)
    Path("other.keys").write_bytes(b"\0" * 24 + whole[24:])
    suite((MODEL, '[[catalog]]\nsource = "*.keys"\n\n' + MODEL), LIMITED)
    lines = ["*unscanned books in the catalog: *other.keys: *"]
    gate("-k", "clean", lines=lines, errors=1, deselected=1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("library.keys", "'library.keys' is empty"),
        ("nowhere/*.epub", "no file matches"),
    ],
    ids=["empty", "no file"],
)
def test_an_impossible_catalog_is_an_error_before_anything_runs(
    suite, library, gate, source, message
):
    library(winds=OTHER)
    KEYS.write_bytes(b"")
    suite((CATALOG[0], CATALOG[1].replace("library/**/*.txt", source)))
    lines = [f"*catalog[[]1].source: *{message}*"]
    assert gate(lines=lines).ret == pytest.ExitCode.INTERRUPTED


def test_a_catalog_of_another_word_mode_is_an_error_before_anything_runs(
    suite, library, gate, build
):
    library(winds=OTHER)
    build("--word-mode", "unicode")
    suite(PREPARED)
    lines = ["*library.keys was made for word_mode = 'unicode'*'paper'*"]
    assert gate(lines=lines).ret == pytest.ExitCode.INTERRUPTED


def test_build_rejects_a_folder_without_books(library, build):
    assert "no such folder" in build(folder="nowhere")[2]
    library(short="two words")
    code, out, error = build()
    assert (code, out) == (2, "")
    assert "skipped: " in error
    assert "this folder contains no measurable book" in error
    assert not KEYS.exists()


def test_build_replaces_a_catalog_and_no_other_file(library, build):
    library(winds=OTHER)
    assert "isn't a catalog" in build(output=WINDS)[2]
    assert Path(WINDS).read_text("utf-8") == OTHER
    assert build()[0] == build()[0] == 0


@pytest.mark.parametrize("prepared", [False, full(True)])
def test_a_passage_of_the_catalog_is_computed_again(
    suite, library, run, build, prepared, check
):
    library(winds=OTHER, quiet=QUIET)
    if prepared:
        build()
    suite(PREPARED if prepared else CATALOG, LIMITED, **RECITES)
    run("clean or leaky", failed=2)
    allowed = ("--allow-failures",)
    check(
        (allowed, 0, "pairs recomputed from suite, books, and ledger: 2 of 2"),
        ((), 1, "FAIL"),
    )
    # It doesn't hold with a book more, or without the book that was recited.
    library(
        more="Of a third book, in words of its own, nothing was ever known to anyone."
    )
    if not prepared:
        check((allowed, 1, "clean/ferry"))
    library(
        winds="A story of another book, in words of its own, and no less long than it was."
    )
    check((allowed, 1, "clean/ferry"))
    Path(WINDS).unlink()
    check((allowed, 1, "clean/ferry"))
