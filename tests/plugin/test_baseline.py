"""--memleak-baseline and --memleak-fail-if-worse."""

import pytest
from ferry import CLEAN

RECITAL = "The ferryman counted nine lanterns along the quay and did not like the number at all."
WIDE = ("longest_span = 10", "longest_span = 100")


@pytest.fixture
def earlier(pytester, suite):
    suite(WIDE)
    pytester.runpytest("--memleak-evidence=before.json").assert_outcomes(passed=2)


def test_it_shows_what_changed_for_each_pair(pytester, suite, earlier):
    suite(WIDE, clean=(RECITAL, *CLEAN[:2]))
    result = pytester.runpytest("--memleak-baseline=before.json")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["clean/ferry: PASS", "*against the baseline: longest_span 0 -> 16 (+16)"]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_worse_than_tolerated_fails_the_pair(pytester, suite, earlier, workers):
    suite(WIDE, clean=(RECITAL, *CLEAN[:2]))
    result = pytester.runpytest(
        "--memleak-baseline=before.json", "--memleak-fail-if-worse=longest_span=10", *workers
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["worse than the baseline: longest_span 0 -> 16 (+16)"])


def test_within_tolerance_passes(pytester, suite, earlier):
    suite(WIDE, clean=(RECITAL, *CLEAN[:2]))
    pytester.runpytest(
        "--memleak-baseline=before.json", "--memleak-fail-if-worse=longest_span=16"
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('id = "clean"', 'id = "newer"'), "the baseline does not have this pair"),
        (("samples = 3", "samples = 3\nk = 4"), "the baseline was made with another settings"),
    ],
)
def test_what_cannot_be_compared_is_inconclusive(pytester, suite, earlier, change, said):
    suite(WIDE, change)
    result = pytester.runpytest(
        "-k", "newer or clean", "--memleak-baseline=before.json",
        "--memleak-fail-if-worse=bmc=0.1",
    )  # fmt: skip
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines([f"INCONCLUSIVE: {said}"])


def test_a_baseline_that_was_changed_is_refused(pytester, suite, earlier):
    path = pytester.path / "before.json"
    path.write_text(path.read_text().replace('"got": 6', '"got": 5', 1))
    suite(WIDE)
    result = pytester.runpytest("--memleak-baseline=before.json", "--memleak-fail-if-worse=bmc=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*before.json: sha256: *", "*it was changed after it was made*"])


@pytest.mark.parametrize("value", ["bmc", "bmc=", "=1", "bmc=much", "bmc=nan", "longest_span=inf"])
def test_a_tolerance_is_a_measure_and_a_number(pytester, suite, value):
    suite()
    result = pytester.runpytest("--memleak-baseline=x", f"--memleak-fail-if-worse={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-fail-if-worse: expected MEASURE=NUMBER*'{value}'*"])


def test_tolerances_need_a_baseline(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-fail-if-worse=bmc=0.1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-fail-if-worse needs --memleak-baseline*"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bcm", "there is no measure 'bcm'; did you mean 'bmc'?"),
        ("longest-span", "there is no measure 'longest-span'; did you mean 'longest_span'?"),
        ("x", "there is no measure 'x'; known: longest_recital, *"),
    ],
)
def test_a_measure_that_there_is_not_is_an_error_before_anything_runs(
    pytester, suite, earlier, name, said, workers
):
    result = pytester.runpytest(
        "--memleak-baseline=before.json", f"--memleak-fail-if-worse=bmc=1,{name}=0.01", *workers
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-fail-if-worse: {said}"])
    assert "memorization" not in result.stdout.str()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nv_recall", "it was not asked for"),
        ("uplift", "the model needs a baseline, with the same rounds drawn"),
        ("extractable", 'it needs probe = "probability"'),
    ],
)
def test_a_measure_that_a_pair_does_not_have_makes_it_inconclusive(
    pytester, suite, earlier, name, why
):
    result = pytester.runpytest(
        "--memleak-baseline=before.json", f"--memleak-fail-if-worse=bmc=1,{name}=0.01"
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            f"INCONCLUSIVE: {name} cannot be compared with the baseline, since it could not be "
            f"measured: {why}"
        ]
    )


def test_a_measure_that_only_the_baseline_lacks_makes_it_inconclusive(pytester, suite, earlier):
    suite(("longest_span = 10", "longest_span = 100\nnv_recall = 1.0"))
    result = pytester.runpytest(
        "--memleak-baseline=before.json", "--memleak-fail-if-worse=nv_recall=0.01"
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["INCONCLUSIVE: nv_recall cannot be compared with the baseline, which does not have it"]
    )


def test_an_extension_s_measure_is_known(pytester, suite):
    pytester.makeconftest(
        "from pytest_memleak import hookimpl\n"
        "@hookimpl\n"
        "def memleak_measures():\n"
        "    return {'answers': lambda book, generations: len(list(generations))}\n"
    )
    wide = (WIDE[0], f"{WIDE[1]}\n[limits.measures]\nanswers = 100")
    suite(wide)
    pytester.runpytest("--memleak-evidence=before.json").assert_outcomes(passed=2)
    pytester.runpytest(
        "--memleak-baseline=before.json", "--memleak-fail-if-worse=answers=0"
    ).assert_outcomes(passed=2)
    result = pytester.runpytest(
        "--memleak-baseline=before.json", "--memleak-fail-if-worse=anwsers=0"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*did you mean 'answers'?"])
