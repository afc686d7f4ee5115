"""[[catalogue]] and --memleak-shard-memory: recall of books that nobody asked for."""

import json
import re

import pytest
from ferry import CLEAN

from pytest_memleak.errors import Inconclusive

OTHER = (
    "Seven clerks kept the registry of winds, and not one of them had ever been outside in a gale, "
    "since the windows of the registry had been painted shut the year that it was founded."
)
MODEL = '[[model]]\nid = "clean"'
CATALOGUE = (MODEL, '[[catalogue]]\nsource = "library/**/*.txt"\n\n' + MODEL)


@pytest.fixture
def library(pytester):
    """Writes the books of the catalogue."""

    def write(**books):
        folder = pytester.path / "library" / "shelf"
        folder.mkdir(parents=True)
        for name, text in books.items():
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def run(pytester):
    def go(*arguments):
        result = pytester.runpytest(
            *("--junitxml=junit.xml", "--memleak-evidence=evidence.json"),
            *("--memleak-html=report.html", "-k", "clean", *arguments),
        )
        (pair,) = json.loads((pytester.path / "evidence.json").read_text("utf-8"))["pairs"]
        return result, {one["book"]: one for one in pair["elsewhere"]}

    return go


def answers(text):
    return (text, *CLEAN[:2])


def test_a_recited_book_that_nobody_asked_for_is_told_in_every_report(
    pytester, suite, library, run
):
    recital = " ".join(OTHER.split()[3:28])
    suite(CATALOGUE, clean=answers(f"It is said that {recital} and so on."))
    library(winds=OTHER, quiet="Nothing of this book is ever said by anyone, in any words at all.")
    result, found = run()
    result.assert_outcomes(passed=1)  # it holds no limit
    winds, quiet = found["library/shelf/winds.txt"], found["library/shelf/quiet.txt"]
    assert (winds["longest_span"], winds["start"], winds["end"]) == (25, 3, 28)
    assert winds["spans_over"] == 1
    assert winds["words"] == len(OTHER.split())
    assert winds["asked_for"] == ["p_id1", "p_id2"]
    assert (quiet["longest_span"], quiet["start"], quiet["spans_over"]) == (0, None, 0)
    result.stdout.fnmatch_lines(
        ["  1 span over 20 words of library/shelf/winds.txt, which was not asked for; *25 words"]
    )
    junit = (pytester.path / "junit.xml").read_text("utf-8")
    name = "memleak.elsewhere.library/shelf/winds.txt.longest_span"
    assert f'name="{name}" value="25"' in junit
    page = (pytester.path / "report.html").read_text("utf-8")
    assert re.search(r"library/shelf/winds\.txt</th><td class=\"n\">25</td>", page)
    assert " ".join(recital.split()[:13]).lower() not in f"{page} {junit}".lower()


def test_the_pairs_own_book_is_not_elsewhere(pytester, suite, library, run):
    suite(CATALOGUE)
    records = json.loads((pytester.path / "ferry.json").read_text("utf-8"))
    library(again="\n\n".join(one["excerpt_text"] for one in records), winds=OTHER)
    _, found = run()
    assert list(found) == ["library/shelf/winds.txt"]


def test_shelves_of_any_size_give_the_same(suite, library, run, pytester):
    words = OTHER.split()
    books = {f"b{n:02}": " ".join(words[n % 7 :] * 9 + [f"end{n}"]) for n in range(40)}
    suite(CATALOGUE, clean=answers(" ".join(words[2:27])))
    library(**books)
    _, whole = run()
    assert len(whole) == 40
    assert {one["longest_span"] for one in whole.values()} == {21, 22, 23, 24, 25}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_memleak.story.shelves._BYTES_A_WORD", 1_500)  # two books a shelf
        _, parts = run("--memleak-shard-memory=1")
    assert parts == whole


def test_what_cannot_be_read_is_a_warning(pytester, suite, library, run):
    suite(CATALOGUE)
    library(winds=OTHER, short="too short", foreign="Ветер не знает дороги домой. " * 20)
    result, found = run()
    assert list(found) == ["library/shelf/winds.txt"]
    result.stdout.fnmatch_lines(["  warning: not looked for: library/shelf/foreign.txt: *'paper'*"])
    result.stdout.fnmatch_lines(["  warning: not looked for: library/shelf/short.txt: *2 words*"])


def test_a_catalogue_that_fails_takes_nothing_from_the_pair(suite, library, run, monkeypatch):
    def lost(shelves, scoring, generations):
        raise Inconclusive("the cluster is gone")

    monkeypatch.setattr("pytest_memleak.scoring.catalogue.scanned", lost)
    suite(CATALOGUE)
    library(winds=OTHER)
    result, found = run()
    result.assert_outcomes(passed=1)
    assert found == {}
    result.stdout.fnmatch_lines(["  warning: not looked for: the catalogue: the cluster is gone"])


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("nowhere/*.epub", "no file fits"), ("/etc/*.txt", "is no pattern of files here")],
)
def test_a_pattern_that_finds_nothing_is_an_error_of_the_suite(pytester, suite, pattern, said):
    suite((CATALOGUE[0], CATALOGUE[1].replace("library/**/*.txt", pattern)))
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*catalogue[[]1].source: *{said}*"])


@pytest.mark.parametrize("value", ["0", "-1", "many", ""])
def test_a_shard_memory_that_is_no_number_of_megabytes(pytester, suite, value):
    suite()
    result = pytester.runpytest(f"--memleak-shard-memory={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-shard-memory: expected a number of megabytes, got*"])
