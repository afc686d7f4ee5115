"""PASS, FAIL and INCONCLUSIVE as pytest shows them, and expected leaks as strict xfails."""

import re
import signal
from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from sqlalchemy.engine.default import DefaultDialect

from pytest_memleak.plugin.progress import Display
from pytest_memleak.records.phases import Phase, ProgressEvent

CLEAN_ONE, LEAKY_ONE = ("-k", "clean"), ("-k", "leaky")
ZERO = ("samples = 3", "samples = 3\ntemperature = 0.0")
LEAK = ('id = "leaky"', 'id = "leaky"\nexpected = "leak"')


def test_a_clean_pair_passes_and_a_leak_fails(suite, gate):
    suite()
    lines = [
        "*= memorization =*",
        " *longest_ *longest_ *longest_ *spans_*",
        "pair *passage *bmc *block *span *over *received *verdict*",
        "clean/ferry *6/6*PASS*",
        "leaky/ferry *16*6/6*FAIL*",
        "limit*≤10*",
        "FAIL leaky/ferry",
        "  longest_span 16 > 10",
        "*longest passage, 16 words: p_id1, words 0-16, generation 0",
        "*“The ferryman counted nine lanterns along the quay and did not like … (+4 "
        "words)”",
        "FAIL: 1 pair over a limit, 1 passed; 2 models, 1 book",
        "  ✗ A leaky  1 FAIL: longest_span up to 16 (limit 10)",
        "  ✓ B clean  1 pass",
        "       A         B",
        "ferry  ✗span 16  ✓",
        "✗ 1 pair: longest_span > 10 (worst 16: leaky/ferry)",
        "Next: memleak view test.memleak.toml --pair leaky/ferry  (shows the passage "
        "beside its prompt)",
    ]
    result = gate("-p", "no:cacheprovider", lines=lines, passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (60, "3/24  0:00  US$1,021.50  7 tokens"),
        (50, "3/24  0:00  US$1,021.50"),
        (9, ""),
    ],
)
def test_progress_leaves_out_what_does_not_fit_and_keeps_a_note_apart(columns, shown):
    display = Display(None)
    event = ProgressEvent(Phase.ENDING, "m/b", 3, 24, 7, 1_021.5, "they may be billed")
    display.update(event)
    assert (
        display._event_line(event, columns)
        == f"they may be billed (m/b)  {shown}".rstrip()
    )


def test_pairs_of_one_file_run_one_after_another(suite, gate):
    names = ["a.memleak.toml", "b.memleak.toml"]
    for name in names:
        suite(name=name)
    lines = gate("-p", "no:cacheprovider", passed=2, failed=2).stdout.lines
    assert [line.split()[0] for line in lines if "%]" in line] == names


KEPT = "!* Interrupted: generations that were received are in the ledger; rerun to continue !*"


@pytest.mark.parametrize(
    ("end", "lines"),
    [
        ("raise KeyboardInterrupt(text)", [KEPT]),
        ("pytest.exit(text)", ["!* *Exit: *"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", [KEPT]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGHUP)", [KEPT]),
        ("request.session.shouldstop = text", ["!* Interrupted: *"]),
        ("request.session.shouldfail = text", ["!* The ferryman * … !*"]),
        (
            "from pytest_memleak.errors import CallsDropped\n    raise CallsDropped('8 lost')",
            [KEPT.replace(":", ": 8 lost;")],
        ),
    ],
)
def test_an_end_of_the_run_in_a_test_that_read_text_quotes_none(
    suite, gate, own_tests, end, lines
):
    suite()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
    read = "text = memleak_book.excerpts[0].text"
    own_tests(f"def test_it(memleak_book, request):\n    {read}\n    {end}\n")
    result = gate("test_own.py", "--full-trace", lines=lines)
    signal.signal(signal.SIGHUP, before)
    assert result.ret == (1 if "shouldfail" in end else pytest.ExitCode.INTERRUPTED)
    text = result.stdout.str() + result.stderr.str()
    assert "the number at all" not in text
    assert "redacted" not in text or "ledger" not in lines[0]


@pytest.mark.parametrize("option", ["-q", "-s", "--capture=fd"])
def test_a_run_without_a_display_says_once_that_it_waits(
    suite, gate, own_tests, option
):
    suite()
    own_tests(
        """
        from pytest_memleak.plugin.session_run import run_of
        from pytest_memleak.records.phases import Phase, ProgressEvent
        def test_it(request):
            for note in ("waiting for 2", "waiting for 1"):
                event = ProgressEvent(Phase.ENDING, "it", note=note)
                run_of(request.config).resources.progress(event)
        """
    )
    told = gate("test_own.py", option, passed=1).stderr.str()
    assert told.count("waiting") == told.count("waiting for 2") == 1


def test_the_readmes_own_test_accepts_an_expected_leak(suite, gate, pytester):
    suite(LEAK)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    pytester.makepyfile(
        test_own=snippet.replace("release.", "test.").replace("38", "12")
    )
    gate("test_own.py", passed=2)


def test_ctrl_c_in_a_commit_of_the_ledger_ends_the_run(suite, gate):
    patch = (
        pytest.MonkeyPatch()
    )  # of its own: to undo pytester's would change the folder

    def commit(*_):
        patch.undo()
        raise KeyboardInterrupt

    sampled = 'provider = "ngram"\n[model.options]\norder = 2\npretraining = ["ferry"]'
    suite(('provider = "recorded"\n[model.options]\npath = "clean.json"', sampled))
    patch.setattr(DefaultDialect, "do_commit", commit)
    result = gate("-p", "no:cacheprovider", "-k", "clean")
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_parameter_named_memleak_pair_of_other_tests_is_left_alone(
    suite, gate, own_tests
):
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
        (),
        {"clean": CLEAN[:2]},
        CLEAN_ONE,
        "errors",
        "[?] 1 pair: 4 of 6 requested generations received (clean/ferry)",
    ),
    "a leak fails even on incomplete evidence": (
        [("samples = 3", "samples = 50")],
        {},
        LEAKY_ONE,
        "failed",
        "  longest_span 16 > 10",
    ),
    "more rounds than the suite asks for": (
        [("samples = 3", "samples = 2")],
        {"leaky": (*CLEAN[:2], BOOK[0])},
        LEAKY_ONE,
        "errors",
        "[?] 1 pair: the file holds 2 generations beyond the requested samples (*",
    ),
    "copies see no more than one of them": (
        [(ZERO[0], f"{ZERO[1]}\ndetection_limit = 0.7")],
        {"clean": CLEAN[:1] * 3},
        CLEAN_ONE,
        "errors",
        "*detection limit is 95.0*% (3 samples at temperature 0, which count as 1, *",
    ),
    "a leak that was expected": (
        [LEAK],
        {},
        LEAKY_ONE,
        "xfailed",
        "*leaky/ferry*FAIL (expected)*",
    ),
    "one that stops leaking": (
        [LEAK],
        {"leaky": CLEAN},
        LEAKY_ONE,
        "failed",
        "*XPASS(strict)*leaky is expected to leak ferry*",
        "leaky/ferry *6/6*PASS (a leak was expected)*",
        "PASS (a leak was expected) leaky/ferry",
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
def test_a_pair_ends_as_its_answers_and_its_suite_say(suite, gate, case):
    replaced, files, chosen, outcome, *lines = CASES[case]
    suite(*replaced, **files)
    result = gate(*chosen, lines=lines, deselected=1, **{outcome: 1})
    green = outcome in {"passed", "xfailed"}
    assert result.ret == (pytest.ExitCode.OK if green else pytest.ExitCode.TESTS_FAILED)


def test_an_error_that_is_no_verdict_of_the_pair_stands_among_the_errors(
    pytester, suite, gate
):
    suite()
    pytester.makeconftest(
        """
        import pytest
        @pytest.fixture(autouse=True)
        def measured(memorization):
            return memorization.greedy_bmc
        """
    )
    result = gate(
        "-k",
        "clean",
        lines=["*ERROR at setup of test_memorization*"],
        errors=1,
        deselected=1,
    )
    result.stdout.fnmatch_lines(["clean/ferry *PASS"])


def test_a_verdict_without_a_summary_stands_among_the_failures(pytester, suite, gate):
    suite()
    pytester.makepyfile(
        test_zz='import pytest\ndef test_it(): pytest.exit("enough", returncode=4)'
    )
    lines = ["*_ test_memorization*leaky/ferry* _*"]
    gate("test.memleak.toml", "test_zz.py", "--memleak-evidence=e.json", lines=lines)
