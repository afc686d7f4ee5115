"""PASS, FAIL and INCONCLUSIVE as pytest shows them."""

import pytest
from ferry import CLEAN

PASSAGE = "The ferryman counted nine lanterns along the quay and did not like the number at all."


def test_a_clean_pair_passes_and_a_leak_fails(pytester, suite):
    suite()
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "longest_span 16 exceeds the limit 10",
            "*= memorization =*",
            " *longest_ *longest_ *longest_ *spans_*",
            "pair *passage *bmc *block *span *over *received *verdict*",
            "clean/ferry *6/6*PASS*",
            "leaky/ferry *16*6/6*FAIL*",
            "limit*≤10*",
            "leaky/ferry: FAIL",
            "*longest passage of 16 words at p_id1, words 0-16, generation 0",
            "*“the ferryman counted nine lanterns along the quay and did not like … (+4 words)”",
            "Next: add --memleak-html=FILE to locate the passages. *",
        ]
    )


@pytest.mark.full
def test_a_page_that_was_written_is_named(pytester, suite):
    suite()
    result = pytester.runpytest("-v", "--memleak-html=page.html")
    result.stdout.fnmatch_lines(["HTML report: page.html"])
    result.stdout.no_fnmatch_line("next: *")


def test_a_test_of_others_may_have_a_parameter_of_that_name(pytester, suite):
    suite()
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright
        @pytest.mark.parametrize("memleak_pair", [{"left": 1}, (1, 2), "text"])
        def test_it(memleak_pair):
            assert memleak_pair
        """
    )
    result = pytester.runpytest("--memleak-evidence=e.json")
    result.assert_outcomes(passed=4, failed=1)


def test_too_few_generations_are_an_error_never_a_pass(pytester, suite):
    suite(clean=CLEAN[:2])
    result = pytester.runpytest("-k", "clean")
    result.assert_outcomes(errors=1, deselected=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["INCONCLUSIVE: 4 of 6 requested generations received; give a file*"]
    )


def test_a_leak_fails_even_on_incomplete_evidence(pytester, suite):
    suite(("samples = 3", "samples = 50"))
    result = pytester.runpytest("-k", "leaky")
    result.assert_outcomes(failed=1, deselected=1)


def test_more_rounds_than_the_suite_asks_for_do_not_count_and_are_told(pytester, suite):
    suite(("samples = 3", "samples = 2"), leaky=(*CLEAN[:2], PASSAGE))
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    said = "INCONCLUSIVE: the file holds 2 generations beyond the requested samples; raise*"
    result.stdout.fnmatch_lines([said, said])


def test_no_answers_over_max_unanswered_are_inconclusive(pytester, suite):
    suite(clean=(CLEAN[0], "", CLEAN[1]))
    result = pytester.runpytest("-k", "clean")
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["INCONCLUSIVE: 2 of 6 generations aren't answers (2 empty); max_unanswered*"]
    )


def test_no_answers_within_max_unanswered_pass(pytester, suite):
    suite(("samples = 3", "samples = 3\nmax_unanswered = 0.4"), clean=(CLEAN[0], "", CLEAN[1]))
    pytester.runpytest("-k", "clean").assert_outcomes(passed=1, deselected=1)


def test_a_server_that_does_not_sample_is_inconclusive(pytester, suite):
    suite(clean=CLEAN[:1] * 3)
    result = pytester.runpytest("-k", "clean")
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: median share of distinct answers is 33.3%*"])


def test_at_temperature_zero_alike_is_as_it_should_be(pytester, suite):
    suite(("samples = 3", "samples = 3\ntemperature = 0.0"), clean=CLEAN[:1] * 3)
    pytester.runpytest("-k", "clean").assert_outcomes(passed=1, deselected=1)
    # Copies see no more than one of them, whatever their number.
    suite(
        ("samples = 3", "samples = 3\ntemperature = 0.0\ndetection_limit = 0.7"),
        clean=CLEAN[:1] * 3,
    )
    result = pytester.runpytest("-k", "clean")
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["*detection limit is 95.0*% (3 samples at temperature 0, which count as 1, *"]
    )


def test_a_missing_book_of_ones_own_is_inconclusive_and_names_the_file(pytester, suite):
    suite(('source = "ferry.json"', 'source = "mine.epub"\nbring_your_own = true'))
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: book 'ferry': no such file: *mine.epub*"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "there are no excerpts"),
        ("", "the file is empty"),
        ('[{"excerpt_id": "p_id1"', "not JSON"),
        ("[1]", "expected an object, found a number"),
        ('[{"excerpt_text": "a"}]', "there is no excerpt_id"),
        ('[{"excerpt_id": "one", "excerpt_text": "a"}]', "has no number"),
        (
            '[{"excerpt_id": "p_id1", "excerpt_text": "Кот и мышь жили в доме"},'
            ' {"excerpt_id": "p_id2", "excerpt_text": "one two three four five six"}]',
            'word_mode = "unicode"',
        ),
    ],
)  # fmt: skip
def test_a_book_that_cannot_be_used_is_an_error_without_traceback(pytester, suite, content, said):
    suite()
    (pytester.path / "ferry.json").write_text(content, encoding="utf-8")
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    assert said in result.stdout.str()
    result.stdout.fnmatch_lines(["*clean/ferry*INCONCLUSIVE*", "*leaky/ferry*INCONCLUSIVE*"])
    assert "Traceback" not in result.stdout.str()


def test_null_generations_are_an_error(pytester, suite):
    suite()
    (pytester.path / "clean.json").write_text('[{"excerpt_id": "p_id1", "generations": null}]')
    result = pytester.runpytest("-k", "clean")
    result.assert_outcomes(errors=1, deselected=1)
    assert "generations is null; expected a list" in result.stdout.str()
