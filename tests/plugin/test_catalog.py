"""[[catalog]]: books that nobody asks for, and that no answer may recite either."""

import json
import re
import subprocess
import sys

import pytest
from ferry import CLEAN

from pytest_memleak.cli.main import main
from pytest_memleak.errors import Inconclusive
from pytest_memleak.results.evidence_file import seal_bundle

OTHER = (
    "Seven clerks kept the registry of winds, and not one of them had ever been outside in a gale, "
    "since the windows of the registry had been painted shut the year that it was founded."
)
QUIET = "Nothing of this book is ever said by anyone, in any words at all."
MEMLEAK = "import sys; from pytest_memleak.cli.main import main; sys.exit(main())"
PASSAGE = " ".join(OTHER.split()[3:28])
MODEL = '[[model]]\nid = "clean"'
CATALOG = (MODEL, '[[catalog]]\nsource = "library/**/*.txt"\n\n' + MODEL)
PREPARED = (MODEL, '[[catalog]]\nsource = "library.keys"\n\n' + MODEL)
LIMITED = ("longest_span = 10", "longest_span = 10\nlongest_passage = 20\nnv_longest_passage = 20")


@pytest.fixture
def library(pytester):
    """Writes the books of the catalog."""

    def write(**books):
        folder = pytester.path / "library" / "shelf"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in books.items():
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def build(pytester):
    """Runs `memleak catalog build`."""

    def go(*arguments, folder="library", output="library.keys"):
        command = [sys.executable, "-c", MEMLEAK, "catalog", "build", folder, "-o", output]
        return subprocess.run(
            [*command, *arguments], cwd=pytester.path, capture_output=True, text=True, check=False
        )

    return go


@pytest.fixture
def run(pytester):
    def go(*arguments, chosen="clean"):
        result = pytester.runpytest(
            *("--junitxml=junit.xml", "--memleak-evidence=evidence.json"),
            *("--memleak-html=report.html", "-k", chosen, *arguments),
        )
        pairs = json.loads((pytester.path / "evidence.json").read_text("utf-8"))["pairs"]
        return result, {one["pair"].partition("/")[0]: one for one in pairs}

    return go


def answers(text):
    return (text, *CLEAN[:2])


def test_a_recited_book_that_nobody_asked_for_breaks_the_limit_in_every_report(
    pytester, suite, library, run
):
    suite(CATALOG, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    library(winds=OTHER, quiet=QUIET)
    result, found = run()
    result.assert_outcomes(failed=1)
    measures = found["clean"]["measures"]
    passage = measures["longest_passage"]
    assert (passage["value"], passage["book"]) == (25, "library/shelf/winds.txt")
    assert (passage["start"], passage["end"], passage["excerpt_id"]) == (3, 28, "p_id1")
    assert measures["nv_longest_passage"]["book"] == "library/shelf/winds.txt"
    assert measures["passages_over"]["books"] == {"library/shelf/winds.txt": 1}
    catalog = found["clean"]["catalog"]
    assert (catalog["books"], catalog["words"]) == (2, len(f"{OTHER} {QUIET}".split()))
    assert catalog["from_words"] == 12
    said = "1 passage over 20 words comes from library/shelf/winds.txt, which wasn't prompted"
    result.stdout.fnmatch_lines([f"  {said}*"])
    junit = (pytester.path / "junit.xml").read_text("utf-8")
    assert 'name="memleak.passages_over.library/shelf/winds.txt" value="1"' in junit
    page = (pytester.path / "report.html").read_text("utf-8")
    assert "library/shelf/winds.txt" in page
    assert " ".join(PASSAGE.split()[:13]).lower() not in f"{page} {junit}".lower()


def test_what_is_shorter_than_a_quotation_counts_for_no_book_of_the_catalog(suite, library, run):
    suite(CATALOG, clean=answers(f"It is said that {' '.join(OTHER.split()[3:14])} and so on."))
    library(winds=OTHER)
    _, found = run()
    assert found["clean"]["measures"]["longest_passage"]["value"] == 0


def test_a_lower_limit_counts_shorter_passages(suite, library, run):
    shorter = f"It is said that {' '.join(OTHER.split()[3:14])} and so on."
    limited = (LIMITED[0], f"{LIMITED[0]}\nlongest_passage = 8")
    suite(CATALOG, limited, clean=answers(shorter))
    library(winds=OTHER)
    result, found = run()
    result.assert_outcomes(failed=1)
    assert found["clean"]["measures"]["longest_passage"]["value"] == 11


def test_the_suites_own_books_are_looked_for_once(pytester, suite, library, run):
    suite(CATALOG)
    records = json.loads((pytester.path / "ferry.json").read_text("utf-8"))
    library(again="\n\n".join(one["excerpt_text"] for one in records), winds=OTHER)
    result, found = run(chosen="leaky")
    result.assert_outcomes(failed=1)
    passage = found["leaky"]["measures"]["longest_passage"]
    assert (passage["book"], passage["held_by"]) == ("ferry", ["ferry"])


@pytest.mark.parametrize("role", ["train", "negative-control"])
def test_a_role_in_the_suite_takes_no_book_out_of_the_catalog(suite, library, run, role):
    named = f'[[book]]\nid = "winds"\nsource = "library/shelf/winds.txt"\nrole = "{role}"\n\n'
    library(winds=OTHER)
    suite((MODEL, named + CATALOG[1]), LIMITED, clean=answers(f"It is said that {PASSAGE}, so on."))
    result, _ = run(chosen="clean and ferry")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  longest passage of 25 words at library/shelf/winds.txt*"])


def test_a_prepared_catalog_gives_the_same_and_holds_no_text(pytester, suite, library, run, build):
    library(winds=OTHER, quiet=QUIET)
    suite(CATALOG, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    _, parsed = run()
    built = build()
    assert (built.returncode, built.stderr) == (0, "")
    words = len(f"{OTHER} {QUIET}".split())
    assert built.stdout == f"2 books, {words} words -> library.keys\n"
    path = pytester.path / "library.keys"
    assert path.stat().st_mode & 0o077 == 0
    data = path.read_bytes().lower()
    assert not any(word.lower().encode() in data for word in OTHER.split() if len(word) > 3)
    suite(PREPARED, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    result, prepared = run()
    result.assert_outcomes(failed=1)
    for name in ("measures", "catalog", "reasons"):
        assert prepared["clean"][name] == parsed["clean"][name]


def test_pairs_whose_answers_are_there_share_one_pass(suite, library, run, monkeypatch):
    from pytest_memleak.scoring import catalog_scan as scoring_library

    passes = []
    scanned = scoring_library.scan_shards

    def counted(*arguments, **settings):
        passes.append(1)
        return scanned(*arguments, **settings)

    monkeypatch.setattr(scoring_library, "scan_shards", counted)
    suite(CATALOG, clean=answers(f"It is said that {PASSAGE} and so on."))
    library(winds=OTHER)
    result, found = run(chosen="clean or leaky")
    result.assert_outcomes(passed=1, failed=1)
    assert len(passes) == 1
    # What one pair recites is no matter of the other's.
    assert found["clean"]["measures"]["passages_over"]["books"] == {"library/shelf/winds.txt": 1}
    assert found["leaky"]["measures"]["longest_passage"]["book"] == "ferry"


@pytest.mark.parametrize("limited", [False, True])
def test_no_pass_rests_on_a_catalog_that_could_be_read_in_part(suite, library, run, limited):
    suite(CATALOG, *([LIMITED] if limited else []))
    library(winds=OTHER, short="too short", foreign="Ветер не знает дороги домой. " * 20)
    result, found = run()
    result.assert_outcomes(**{"errors" if limited else "passed": 1})
    assert found["clean"]["catalog"]["books"] == 1
    result.stdout.fnmatch_lines(["  warning: not looked for: library/shelf/foreign.txt: *'paper'*"])
    result.stdout.fnmatch_lines(["  warning: not looked for: library/shelf/short.txt: *2 words*"])
    if limited:
        told = "*foreign.txt (and 1 other) of the catalog wasn't scanned: *; repair it, or *"
        result.stdout.fnmatch_lines([told])


def test_a_prepared_catalog_that_is_damaged_beside_a_whole_one_leaves_no_pass(
    pytester, suite, library, run, build
):
    library(winds=OTHER)
    assert build().returncode == 0
    keys = (pytester.path / "library.keys").read_bytes()
    (pytester.path / "other.keys").write_bytes(b"\0" * 24 + keys[24:])
    suite(
        (MODEL, '[[catalog]]\nsource = "*.keys"\n\n' + MODEL),
        LIMITED,
    )
    result, _ = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*other.keys of the catalog wasn't scanned: *"])


@pytest.mark.parametrize("limited", [False, True])
def test_no_pass_rests_on_a_catalog_of_which_nothing_can_be_read(suite, library, run, limited):
    suite(CATALOG, *([LIMITED] if limited else []))
    library(winds="too short")
    result, _ = run()
    result.assert_outcomes(**{"errors" if limited else "passed": 1})
    which = "scanned" if limited else "looked for"
    result.stdout.fnmatch_lines([f"*not {which}: the catalog: none of its books can be read*"])
    result.stdout.fnmatch_lines(["  warning: not looked for: library/shelf/winds.txt: *2 words*"])


@pytest.mark.parametrize("missing", [False, True])
def test_no_pass_rests_on_a_test_book_that_cannot_be_read(pytester, suite, run, missing):
    other = '[[book]]\nid = "winds"\nsource = "winds.txt"\n'
    if missing:
        other += "bring_your_own = true\n"
    else:
        (pytester.path / "winds.txt").write_text("too short", encoding="utf-8")
    suite((MODEL, other + MODEL), LIMITED)
    result, _ = run(chosen="clean and ferry")
    result.assert_outcomes(**{"passed" if missing else "errors": 1})
    result.stdout.fnmatch_lines(["*winds wasn't scanned: *" if not missing else "*winds: *"])


@pytest.mark.parametrize("limited", [False, True])
def test_no_pass_rests_on_a_catalog_that_was_not_looked_for(
    suite, library, run, monkeypatch, limited
):
    def lost(shards, table, *, least):
        raise Inconclusive("the cluster is gone")

    monkeypatch.setattr("pytest_memleak.scoring.catalog_scan.scan_shards", lost)
    suite(CATALOG, *([LIMITED] if limited else []))
    library(winds=OTHER)
    result, _ = run()
    if limited:
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*not scanned: the catalog: the cluster is gone*"])
    else:
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["  warning: not looked for: the catalog: the cluster is gone"])


def test_a_prepared_book_whose_text_is_gone_leaves_no_pass(pytester, suite, library, run, build):
    library(winds=OTHER, quiet=QUIET)
    assert build().returncode == 0
    suite(PREPARED, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    library(winds="Another text, of other words than it was once prepared from, and as long.")
    result, _ = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*library/shelf/winds.txt: an answer shares a long run with it, and its file is gone*"]
    )
    (pytester.path / "library" / "shelf" / "quiet.txt").unlink()  # nobody needs it
    suite(PREPARED, LIMITED)
    run()[0].assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-20], "not a complete catalog file"),
        (lambda data: data[:40] + b"x" + data[41:], "are damaged"),
        (lambda data: re.sub(rb'("numbering": ")..', rb"\1zz", data), "built by another version"),
        # As it was before the file said how words were numbered.
        (lambda data: data.replace(b'"numbering"', b'"numberinG"'), "built by another version"),
    ],
)
def test_a_damaged_catalog_leaves_no_pass(pytester, suite, library, run, build, damage, said):
    library(winds=OTHER)
    assert build().returncode == 0
    path = pytester.path / "library.keys"
    path.write_bytes(damage(path.read_bytes()))
    suite(PREPARED, LIMITED)
    result = pytester.runpytest("-k", "clean")
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{said}*", "*memleak catalog build*"])


def test_an_emptied_catalog_leaves_no_pass_beside_another_that_is_whole(
    pytester, suite, library, run
):
    library(winds=OTHER)
    (pytester.path / "library.keys").touch()
    suite(CATALOG, ("[[catalog]]", '[[catalog]]\nsource = "library.keys"\n[[catalog]]'))
    result = pytester.runpytest("-k", "clean")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["*catalog[[]1].source: 'library.keys' is empty", "*memleak catalog build*"]
    )


def test_a_catalog_of_other_words_is_refused_before_anything_runs(pytester, suite, library, build):
    library(winds=OTHER)
    assert build("--word-mode", "unicode").returncode == 0
    suite(PREPARED)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*library.keys was made for word_mode = 'unicode'*'paper'*"])


@pytest.mark.full
def test_what_build_refuses(pytester, library, build):
    assert "no such folder" in build(folder="nowhere").stderr
    library(short="two words")
    refused = build()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "skipped: " in refused.stderr
    assert "this folder contains no measurable book" in refused.stderr
    assert not (pytester.path / "library.keys").exists()
    library(winds=OTHER)
    own = build(output="library/shelf/winds.txt")
    assert "isn't a catalog" in own.stderr
    assert (pytester.path / "library" / "shelf" / "winds.txt").read_text("utf-8") == OTHER
    assert build().returncode == 0
    assert build().returncode == 0  # anew


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("nowhere/*.epub", "no file matches"), ("/etc/*.txt", "isn't a valid file pattern")],
)
def test_a_pattern_that_finds_nothing_is_an_error_of_the_suite(pytester, suite, pattern, said):
    suite((CATALOG[0], CATALOG[1].replace("library/**/*.txt", pattern)))
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*catalog[[]1].source: *{said}*"])


# --- verified anew -------------------------------------------------------------------------


@pytest.fixture
def verify(capsys):
    """Exit code, and what `memleak verify` says, of evidence with a passage of the catalog."""

    def run(*options):
        capsys.readouterr()
        code = main(["verify", "evidence.json", *options])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture(params=["files", "a prepared catalog"])
def recited(request, suite, library, run, build):
    """Evidence that holds a passage of a book of the catalog, and fails for it."""
    library(winds=OTHER, quiet=QUIET)
    if request.param == "files":
        suite(CATALOG, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    else:
        assert build().returncode == 0
        suite(PREPARED, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    result, _ = run(chosen="clean or leaky")
    result.assert_outcomes(failed=2)


def test_a_passage_of_the_catalog_is_computed_again(recited, verify):
    code, told = verify("--allow-failures")
    assert code == 0, told
    assert "2 of 2 pairs recomputed from suite, books, and ledger" in told
    assert verify()[0] == 1


def test_evidence_that_says_nothing_of_it_is_found(pytester, recited, verify):
    path = pytester.path / "evidence.json"
    made = json.loads(path.read_text("utf-8"))
    clean = next(one for one in made["pairs"] if one["pair"].startswith("clean"))
    clean["measures"]["longest_passage"]["value"] = 0
    clean["measures"]["passages_over"]["books"] = {}
    path.write_text(json.dumps(made | seal_bundle(made), indent=1) + "\n", encoding="utf-8")
    code, told = verify("--allow-failures")
    assert code == 1, told
    assert "clean/ferry: measures" in told


@pytest.mark.parametrize("gone", [True, False])
def test_without_the_book_that_was_recited_it_does_not_hold(pytester, recited, verify, gone):
    book = pytester.path / "library" / "shelf" / "winds.txt"
    if gone:
        book.unlink()
    else:
        book.write_text(
            "A story of another book, in words of its own, and no less long than it was."
        )
    code, told = verify("--allow-failures")
    assert code == 1
    assert "clean/ferry" in told
    assert "Traceback" not in told


def test_a_catalog_that_has_grown_is_told(suite, library, run, verify):
    suite(CATALOG, LIMITED, clean=answers(f"It is said that {PASSAGE} and so on."))
    library(quiet=QUIET)
    run(chosen="clean or leaky")
    assert verify("--allow-failures")[0] == 0
    library(winds=OTHER)
    code, told = verify("--allow-failures")
    assert code == 1
    assert "clean/ferry" in told
