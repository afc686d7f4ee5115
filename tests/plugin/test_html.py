"""--memleak-html: one file, written by the controller after the last pair."""

import importlib.util

import pytest

from pytest_memleak.scoring.words import words

from_xdist = pytest.mark.skipif(not importlib.util.find_spec("xdist"), reason="needs pytest-xdist")


@pytest.fixture
def report(pytester):
    return pytester.path / "out" / "report.html"


OPTION = "--memleak-html=out/report.html"


def test_no_file_without_the_option(pytester, suite):
    suite()
    pytester.runpytest().assert_outcomes(passed=1, failed=1)
    assert not list(pytester.path.glob("**/*.html"))


def test_every_pair_is_in_it(pytester, suite, report):
    suite()
    pytester.runpytest(OPTION).assert_outcomes(passed=1, failed=1)
    page = report.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert 'clean<span class="on"> on </span>The Ferry' in page
    assert "FAIL</p><p>1 pair exceeds a limit." in page
    assert "longest_span 16 exceeds the limit 10" in page


@pytest.mark.full
@from_xdist
def test_the_controller_writes_what_the_workers_found(pytester, suite, report):
    suite()
    pytester.runpytest_subprocess("-n2", OPTION).assert_outcomes(passed=1, failed=1)
    spread = report.read_text(encoding="utf-8")
    pytester.runpytest(OPTION)
    alone = report.read_text(encoding="utf-8")

    def without_time(page):
        return [
            line
            for line in page.splitlines()
            if "<time" not in line and "<dt>Report created" not in line
        ]

    # Workers finish in any order; the lines are the same.
    assert len(without_time(spread)) == len(without_time(alone))
    for name in ("clean", "leaky"):
        assert f'{name}<span class="on"> on </span>The Ferry' in spread


def test_quotes_are_as_long_as_memleak_quote_says(pytester, suite, report):
    suite()
    book = "the ferryman counted nine lanterns along the quay and did not like the number at all"

    def longest_quote(*options):
        pytester.runpytest(OPTION, *options)
        said = " ".join(words(report.read_text(encoding="utf-8")))
        told = book.split()
        return max(
            (n for n in range(1, len(told) + 1) if " ".join(told[:n]) in said and n > 1), default=0
        )

    assert longest_quote() == 12
    assert longest_quote("--memleak-quote=3") == 3
    assert longest_quote("--memleak-quote=0") == 0
    assert longest_quote("--memleak-quote=full") == 16
    assert "Show the text, colored by rounds" in report.read_text(encoding="utf-8")


def test_an_inconclusive_pair_is_in_it(pytester, suite, report):
    path = suite()
    (path.parent / "leaky.json").unlink()
    pytester.runpytest(OPTION).assert_outcomes(passed=1, errors=1)
    page = report.read_text(encoding="utf-8")
    assert "INCONCLUSIVE" in page
    assert "Nothing was measured" in page


def test_a_path_that_cannot_be_written_fails_the_run_plainly(pytester, suite):
    suite()
    (pytester.path / "out").write_text("a file")
    result = pytester.runpytest("-k", "clean", OPTION)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "cannot be written: Not a directory" in text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text


def test_what_could_not_be_written_is_not_named(pytester, suite):
    suite()
    (pytester.path / "out").mkdir()
    pytester.makeconftest(
        """
        from pathlib import Path

        def pytest_runtest_logfinish():  # what could be written when it began
            Path("out").rmdir()
            Path("out").touch()
        """
    )
    result = pytester.runpytest("-k", "clean", OPTION, "--memleak-evidence=out/e.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "out/e.json: cannot be written: File exists" in text
    assert "clean/ferry" in text
    assert "evidence: PASS" not in text
    assert "HTML report: " not in text


def test_what_was_not_run_makes_it_no_pass(pytester, suite, report):
    suite()
    pytester.runpytest(OPTION, "-k", "clean").assert_outcomes(passed=1, deselected=1)
    page = report.read_text(encoding="utf-8")
    assert "INCONCLUSIVE</p><p>1 pair wasn&#39;t run, so this result isn&#39;t a pass." in page
    assert "leaky/ferry: deselected" in page


def test_a_run_of_nothing_does_not_leave_an_earlier_page(pytester, suite, report):
    suite()
    pytester.runpytest(OPTION)
    pytester.runpytest(OPTION, "-k", "nothing")
    page = report.read_text(encoding="utf-8")
    assert "2 pairs weren&#39;t run, so this result isn&#39;t a pass." in page


def test_the_release_is_on_its_cover(pytester, suite, report):
    suite()
    pytester.runpytest(OPTION, "--memleak-release", "novelist 7")
    assert '<p class="release">Release novelist 7</p>' in report.read_text(encoding="utf-8")


def test_other_tests_make_no_report(pytester, report):
    pytester.makepyfile("def test_ok(): pass")
    pytester.runpytest(OPTION).assert_outcomes(passed=1)
    assert not report.exists()
