"""PASS, FAIL and INCONCLUSIVE as pytest shows them, and expected leaks as strict xfails."""

from pathlib import Path

import pytest
from ferry import BOOK, CLEAN

CLEAN_ONE, LEAKY_ONE = ("-k", "clean"), ("-k", "leaky")
ZERO = ("samples = 3", "samples = 3\ntemperature = 0.0")
LEAK = ('id = "leaky"', 'id = "leaky"\nexpected = "leak"')
OF_THE_PAIR = (
    '[[model]]\nid = "clean"',
    '[[pair]]\nmodel = "leaky"\nbook = "ferry"\nexpected = "leak"\n\n[[model]]\nid = "clean"',
)


def test_a_clean_pair_passes_and_a_leak_fails(suite, gate):
    suite()
    lines = [
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
    result = gate("-p", "no:cacheprovider", lines=lines, passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.full
def test_a_page_that_was_written_is_named(suite, gate):
    suite()
    result = gate("-v", "--memleak-html=page.html", lines=["HTML report: page.html"])
    result.stdout.no_fnmatch_line("Next: *")


def test_a_test_of_others_may_have_a_parameter_of_that_name(suite, gate, own_tests):
    suite()
    own_tests(
        """
        pytestmark = pytest.mark.copyright
        @pytest.mark.parametrize("memleak_pair", [{"left": 1}, (1, 2), "text"])
        def test_it(memleak_pair):
            assert memleak_pair
        """
    )
    gate("--memleak-evidence=e.json", passed=4, failed=1)


CASES = {
    "too few generations": (
        *((), {"clean": CLEAN[:2]}, CLEAN_ONE, "errors"),
        "INCONCLUSIVE: 4 of 6 requested generations received; supply a file*",
    ),
    "a leak fails even on incomplete evidence": (
        *([("samples = 3", "samples = 50")], {}, LEAKY_ONE, "failed"),
        "longest_span 16 exceeds the limit 10",
    ),
    "more rounds than the suite asks for": (
        *([("samples = 3", "samples = 2")], {"leaky": (*CLEAN[:2], BOOK[0])}, LEAKY_ONE, "errors"),
        "INCONCLUSIVE: the file holds 2 generations beyond the requested samples; raise*",
    ),
    "no answers over max_unanswered": (
        *((), {"clean": (CLEAN[0], "", CLEAN[1])}, CLEAN_ONE, "errors"),
        "INCONCLUSIVE: 2 of 6 generations aren't answers (2 empty); max_unanswered*",
    ),
    "no answers within max_unanswered": (
        [("samples = 3", "samples = 3\nmax_unanswered = 0.4")],
        *({"clean": (CLEAN[0], "", CLEAN[1])}, CLEAN_ONE, "passed", "*PASS*"),
    ),
    "a server that does not sample": (
        *((), {"clean": CLEAN[:1] * 3}, CLEAN_ONE, "errors"),
        "INCONCLUSIVE: median share of distinct answers is 33.3%*",
    ),
    "alike at temperature 0": ([ZERO], {"clean": CLEAN[:1] * 3}, CLEAN_ONE, "passed", "*PASS*"),
    "copies see no more than one of them": (
        [(ZERO[0], f"{ZERO[1]}\ndetection_limit = 0.7")],
        *({"clean": CLEAN[:1] * 3}, CLEAN_ONE, "errors"),
        "*detection limit is 95.0*% (3 samples at temperature 0, which count as 1, *",
    ),
    "a book of one's own that is missing": (
        [('source = "ferry.json"', 'source = "mine.epub"\nbring_your_own = true')],
        *({}, CLEAN_ONE, "errors", "INCONCLUSIVE: book 'ferry': no such file: *mine.epub*"),
    ),
    "a leak that was expected": ([LEAK], {}, LEAKY_ONE, "xfailed", "*leaky/ferry*FAIL (expected)*"),
    "a leak that a pair expects": ([OF_THE_PAIR], {}, LEAKY_ONE, "xfailed", "*FAIL (expected)*"),
    "one that stops leaking": (
        *([LEAK], {"leaky": CLEAN}, LEAKY_ONE, "failed"),
        "*XPASS(strict)*leaky is expected to leak ferry*",
        "leaky/ferry *6/6*PASS (a leak was expected)*",
        "leaky/ferry: PASS (a leak was expected)",
        "  This pair must leak, but all limits hold, so its test fails.",
    ),
    "an expected leak without evidence": (
        [LEAK],
        {"leaky": CLEAN[:1]},
        LEAKY_ONE,
        "errors",
        "INCONCLUSIVE*",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pair(suite, gate, case):
    replaced, files, chosen, outcome, *lines = CASES[case]
    suite(*replaced, **files)
    result = gate(*chosen, lines=lines, deselected=1, **{outcome: 1})
    green = outcome in {"passed", "xfailed"}
    assert result.ret == (pytest.ExitCode.OK if green else pytest.ExitCode.TESTS_FAILED)


BROKEN = [
    ("[]", "there are no excerpts"),
    ("", "the file is empty"),
    ('[{"excerpt_id": "p_id1"', "not JSON"),
    ("[1]", "expected an object, found a number"),
    ('[{"excerpt_text": "a"}]', "there is no excerpt_id"),
    ('[{"excerpt_id": "one", "excerpt_text": "a"}]', "has no number"),
    ('[{"excerpt_id": "p_id1", "excerpt_text": "Кот и мышь жили в доме"},'
     ' {"excerpt_id": "p_id2", "excerpt_text": "one two three four five six"}]',
     'word_mode = "unicode"'),
]  # fmt: skip


def test_a_book_that_cannot_be_used_is_an_error_without_traceback(suite, gate):
    for number, (content, _) in enumerate(BROKEN):
        book = ('source = "ferry.json"', f'source = "b{number}.json"')
        suite(book, name=f"m{number}.memleak.toml")
        Path(f"b{number}.json").write_text(content, encoding="utf-8")
    lines = [*["*clean/ferry*INCONCLUSIVE*"] * len(BROKEN), "*leaky/ferry*INCONCLUSIVE*"]
    result = gate(lines=lines, errors=2 * len(BROKEN))
    assert "Traceback" not in result.stdout.str()
    for _, shown in BROKEN:
        result.stdout.fnmatch_lines([f"*{shown}*"])


def test_null_generations_are_an_error(pytester, suite, gate):
    suite()
    (pytester.path / "clean.json").write_text('[{"excerpt_id": "p_id1", "generations": null}]')
    shown = "*generations is null; expected a list*"
    gate("-k", "clean", lines=[shown], errors=1, deselected=1)
