"""-m copyright and --memleak-allow-paid: only they make paid calls."""

import pytest

ASKED = ("-m", "copyright")
CANARIES = 4


def rows(server, kind="completion"):
    return server.books.rows(kind)


def test_a_plain_run_skips_pairs_that_cost_money_and_says_how_to_run_them(pytester, online, server):
    online()
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*calls openai: run it with -m copyright or --memleak-allow-paid"])
    assert server.books.rows() == []
    # A skip without a word, at exit code 0, would look like a pass.
    result = pytester.runpytest("-q")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["memleak: skipped 1 pair whose provider can charge. To run them, add -m copyright."]
    )


def test_whoever_has_other_skips_is_told_nothing_of_pairs(pytester):
    pytester.makepyfile("import pytest\n\n\n@pytest.mark.skip\ndef test_it(): ...")
    result = pytester.runpytest()
    result.assert_outcomes(skipped=1)
    result.stdout.no_fnmatch_line("*memleak: *")


@pytest.mark.parametrize("asked", [ASKED, ("--memleak-allow-paid",)])
def test_asked_for_it_fine_tunes_samples_and_judges(pytester, online, server, asked):
    online()
    result = pytester.runpytest(*asked)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tuned/held-out*24/24*FAIL*"])
    assert len(rows(server, "finetune")) == 1
    assert len(rows(server)) == 24 + CANARIES


def test_a_second_run_pays_for_nothing(pytester, online, server):
    online()
    pytester.runpytest(*ASKED).assert_outcomes(failed=1)
    before = server.books.rows()
    pytester.runpytest(*ASKED).assert_outcomes(failed=1)
    assert server.books.rows() == before


def test_more_samples_pay_for_the_rest_only(pytester, online, server):
    online()
    pytester.runpytest(*ASKED)
    online(("samples = 6", "samples = 8"))
    pytester.runpytest(*ASKED).assert_outcomes(failed=1)
    assert len(rows(server)) == 4 * 8 + CANARIES
    assert len(rows(server, "finetune")) == 1


def test_a_server_that_refuses_the_key_is_inconclusive_and_names_the_variable(
    pytester, online, server, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-9876543210abcdefghij")
    online()
    result = pytester.runpytest(*ASKED, "-l")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*openai*OPENAI_API_KEY*"])
