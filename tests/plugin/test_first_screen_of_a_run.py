"""The first screen of real runs: what ran, what to type, what a terminal shows last."""

import itertools

import pytest
from screen import run_in_terminal

EXPECTED = (
    '[[model]]\nid = "leaky"',
    '[[model]]\nid = "leaky"\nexpected = "leak"',
)


def headline(result):
    """The line with the verdict."""
    words = ("PASS: ", "FAIL: ", "INCONCLUSIVE: ")
    (line,) = [line for line in result.outlines if line.startswith(words)]
    return line


def next_line(result):
    (line,) = [line for line in result.outlines if line.startswith("Next: ")]
    return line.removeprefix("Next: ")


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n", "1"), marks=pytest.mark.full)]
)
def test_a_run_that_stops_counts_the_pairs_that_ran(suite, gate, workers):
    suite(clean=("too few",))
    result = gate("-x", *workers)
    assert headline(result).startswith(
        "INCONCLUSIVE: 1 of 2 pairs ran; 1 pair undecided"
    )
    result.stdout.fnmatch_lines(["- 1 pair: not run: the run * (leaky/ferry)"])
    assert next_line(result).startswith(f"pytest -x {' '.join(workers)}".strip())
    assert next_line(result).endswith("(runs the rest; stored generations are reused)")


DROPS = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "clean" in item.name]
"""
NODE = "test.memleak.toml::test_memorization[clean/ferry]"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-k", "clean"), "deselected"),
        (("--deselect", NODE.replace("clean", "leaky")), "deselected"),
        ((NODE,), "none of its tests was selected"),
        pytest.param(("-n", "1", "-k", "clean"), "deselected", marks=pytest.mark.full),
    ],
)
def test_a_pair_that_was_not_selected_counts_as_not_run(suite, gate, options, reason):
    suite()
    result = gate(*options, passed=1)
    assert headline(result).startswith("INCONCLUSIVE: 1 of 2 pairs ran; 1 pair passed;")
    assert f"- 1 pair: not run: {reason} (leaky/ferry)" in result.outlines
    assert next_line(result).startswith("pytest -m copyright test.memleak.toml  ")


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n", "1"), marks=pytest.mark.full)]
)
def test_a_pair_that_a_hook_drops_counts_as_not_run(suite, gate, pytester, workers):
    suite()
    pytester.makeconftest(DROPS)
    result = gate(*workers, passed=1)
    assert headline(result).startswith("INCONCLUSIVE: 1 of 2 pairs ran; 1 pair passed;")


def test_a_pair_that_another_test_evaluates_counts_once(suite, gate, own_tests):
    suite()
    own_tests(
        """
        def test_first(memleak_evaluation): ...
        def test_second(memleak_evaluation): ...
        """
    )
    result = gate("test_own.py", "-k", "first and clean", passed=1)
    assert headline(result).startswith("INCONCLUSIVE: 1 of 2 pairs ran; 1 pair passed;")


def test_an_expected_leak_is_named_in_the_last_lines(suite, gate):
    suite(EXPECTED)
    result = gate(passed=1, xfailed=1)
    assert headline(result).startswith("PASS: 1 pair leaked as expected, 1 passed")
    assert "ferry  ✗(span 16)  ✓" in result.outlines


def test_a_quiet_run_has_no_map(suite, gate):
    suite()
    result = gate("-q", failed=1, passed=1)
    assert headline(result) == "FAIL: 1 pair over a limit, 1 passed; 2 models, 1 book"
    assert not any(line.startswith("ferry ") for line in result.outlines)


def test_a_password_in_the_command_line_is_not_shown_again(suite, gate):
    suite(clean=("too few",))
    ledger = "sqlite://somebody:secret-word@/ledger.db"
    result = gate(f"--memleak-ledger={ledger}", "-k", "clean")
    assert "secret-word" not in result.stdout.str()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_first_screen_of_a_run_fits_the_terminal(suite, pytester, columns):
    suite()
    seen = run_in_terminal(["-m", "copyright"], folder=pytester.path, columns=columns)
    begin = seen.lines.index(seen.line("FAIL: "))
    screen = [
        *itertools.takewhile(
            lambda line: not line.startswith("==="), seen.lines[begin:]
        )
    ]
    assert any(line.startswith("ferry  ✗") for line in screen)
    assert any(line.startswith("Next: memleak view test.") for line in screen)
    # Our own line breaks indent what follows; a terminal's don't.
    broken = [
        row
        for row, following in itertools.pairwise(screen)
        if len(row) == columns and following and not following.startswith(" ")
    ]
    assert not broken


def test_paths_to_type_begin_here(suite, gate, pytester):
    path = suite(clean=("too few",))
    result = gate(str(path), "-k", "clean", errors=1, deselected=1)
    assert next_line(result).startswith("pytest test.memleak.toml -k clean")
