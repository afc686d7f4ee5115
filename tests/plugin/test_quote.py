"""--memleak-quote: how many words of a passage are shown."""

import pytest

PASSAGE = "the ferryman counted nine lanterns along the quay and did not like the number at all"


def shown(result):
    return [line.strip() for line in result.stdout.lines if "“" in line]


def test_twelve_words_by_default(pytester, suite):
    suite()
    lines = shown(pytester.runpytest("-k", "leaky"))
    assert lines == ["“" + " ".join(PASSAGE.split()[:12]) + " … (+4 words)”"] * len(lines)
    assert lines


@pytest.mark.parametrize(("words", "count"), [("3", 3), ("full", 16), ("99", 16)])
def test_as_many_as_asked_for(pytester, suite, words, count):
    suite()
    lines = shown(pytester.runpytest("-k", "leaky", f"--memleak-quote={words}"))
    assert lines
    assert lines[0].startswith("“" + " ".join(PASSAGE.split()[:count]))
    assert ("…" in lines[0]) is (count < 16)


def test_none_at_all(pytester, suite):
    suite()
    result = pytester.runpytest("-k", "leaky", "--memleak-quote=0")
    assert shown(result) == []
    result.stdout.no_fnmatch_line("*lanterns*")


@pytest.mark.parametrize("words", ["-1", "all", "1.5", ""])
def test_anything_else_is_a_usage_error(pytester, suite, words):
    suite()
    result = pytester.runpytest(f"--memleak-quote={words}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*--memleak-quote: expected a number of words or 'full', got*{words}*"]
    )
