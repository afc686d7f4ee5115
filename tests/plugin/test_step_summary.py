"""GITHUB_STEP_SUMMARY: a Markdown summary on the job's page."""

import pytest


@pytest.fixture
def page(pytester, monkeypatch):
    path = pytester.path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_a_table_of_pairs_and_why_they_failed(pytester, suite, page):
    suite()
    pytester.runpytest().assert_outcomes(passed=1, failed=1)
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[1] for line in lines if line.startswith(("| clean", "| leaky"))] == [
        "✅ PASS",
        "❌ FAIL",
    ]
    assert "- longest&#95;span 16 exceeds the limit 10" in lines


def test_it_quotes_nothing_even_if_all_was_asked_for(pytester, suite, page):
    suite()
    pytester.runpytest("--memleak-quote=full")
    assert "lanterns" not in page.read_text(encoding="utf-8")


@pytest.mark.full
def test_once_with_xdist(pytester, suite, page):
    pytest.importorskip("xdist")
    suite()
    pytester.runpytest_subprocess("-n2").assert_outcomes(passed=1, failed=1)
    assert page.read_text(encoding="utf-8").count("## Memorization") == 1


def test_nothing_without_the_variable(pytester, suite, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    suite()
    pytester.runpytest()
    assert not list(pytester.path.glob("*.md"))


def test_nothing_where_no_suite_ran(pytester, page):
    pytester.makepyfile("def test_ok(): pass")
    pytester.runpytest().assert_outcomes(passed=1)
    assert not page.exists()


def test_a_file_that_cannot_be_written_fails_the_run_plainly(pytester, suite, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "none" / "step.md"))
    suite()
    result = pytester.runpytest("-k", "clean")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "Can't write the job summary" in text
    assert "INTERNALERROR" not in text
