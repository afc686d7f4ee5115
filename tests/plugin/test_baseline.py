"""--memleak-baseline and --memleak-max-increase."""

import json
import random
import re
from xml.etree import ElementTree

import pytest
from ferry import CLEAN
from marks import full

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import seal_bundle

PASSAGE = "The ferryman counted nine lanterns along the quay and did not like the number at all."
TWELVE = ("samples = 3", "samples = 12")
WIDE = ("longest_span = 10", "longest_block = 30")
SAME = ("--memleak-baseline=before.json", "--memleak-max-increase=longest_span=10")


def answers(*, recite=0):
    """Twelve answers, of which so many recite a sentence."""
    draw = random.Random(7)
    words = " ".join(CLEAN).split()
    told = [" ".join(draw.choices(words, k=45)) for _ in range(12)]
    return [f"{PASSAGE} {one}" if n < recite else one for n, one in enumerate(told)]


@pytest.fixture
def release(suite):
    """Writes the suite of a release, in which so many answers recite, with some text replaced."""

    def write(*replacements, recite=0, leaky=12):
        suite(
            WIDE, TWELVE, *replacements, clean=answers(recite=recite), leaky=answers(recite=leaky)
        )

    return write


@pytest.fixture
def earlier(pytester, release):
    release()
    pytester.runpytest("--memleak-evidence=before.json").assert_outcomes(passed=2)


def change_bundle(pytester, change, name="before.json"):
    path = pytester.path / name
    made = json.loads(path.read_text())
    change(made)
    made.pop("sha256")
    path.write_text(json.dumps(seal_bundle(made), indent=1) + "\n")


# --- what changed --------------------------------------------------------------------------


def test_it_shows_what_changed_for_each_pair(pytester, release, earlier):
    release(recite=1)
    result = pytester.runpytest("--memleak-baseline=before.json")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["clean/ferry: PASS", "*since the baseline: longest_span 0 -> 16 (+16)"]
    )
    result.stdout.no_fnmatch_line("*compared*")


@pytest.mark.full
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_worse_than_tolerated_fails_the_run_by_a_closing_statement(
    pytester, release, earlier, workers
):
    release(recite=12)
    result = pytester.runpytest(*SAME, *workers)
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*_ no_worse_than_baseline _*",
            "Compared with before.json: FAIL: worse in 1 of 2 comparisons (probability of any "
            "false alarm at most 0.05)",
            "clean/ferry: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
            "*pair *verdict*compared",
            "Compared with before.json: FAIL*",
            "FAILED memleak::no_worse_than_baseline*",
        ]
    )
    result.stdout.fnmatch_lines_random(
        [
            "clean/ferry *PASS *FAIL*",
            "leaky/ferry *PASS *PASS*",
            "clean/ferry: PASS",
            "  since the baseline: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
            "  since the baseline: bmc *",
        ]
    )


@pytest.mark.parametrize(
    ("recite", "tolerance"),
    [
        pytest.param(12, 16, id="within its tolerance"),
        pytest.param(2, 10, id="noise"),
        pytest.param(0, 0, id="the same"),
    ],
)
def test_what_is_tolerated_or_noise_passes(pytester, release, earlier, recite, tolerance):
    release(recite=recite)
    result = pytester.runpytest(SAME[0], f"--memleak-max-increase=longest_span={tolerance}")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["Compared with before.json: PASS: worse in 0 of 2*"])


def test_the_rise_of_bmc_comes_with_its_interval_and_what_could_be_resolved(
    pytester, release, earlier
):
    release(recite=1)
    result = pytester.runpytest(SAME[0], "--memleak-max-increase=bmc=0.1,longest_span=10")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "  since the baseline: bmc 0 -> 0.5161 (+0.5161, interval -1 to +1), p = 0.5, "
            "tolerance 0.1, 12 rounds can detect an increase of 1.2: PASS"
        ]
    )


def test_all_reports_agree(pytester, release, earlier):
    release(recite=12)
    pytester.runpytest(
        *SAME, "--junitxml=out.xml", "--memleak-html=page.html", "--memleak-evidence=after.json"
    ).assert_outcomes(passed=2, failed=1)
    made = json.loads((pytester.path / "after.json").read_text())
    told = made["compared"]
    assert (told["verdict"], told["baseline"], told["confidence"]) == ("FAIL", "before.json", 0.95)
    assert told["sha256"] == json.loads((pytester.path / "before.json").read_text())["sha256"]
    assert [(one["pair"], one["verdict"]) for one in told["changes"]] == [
        ("clean/ferry", "FAIL"),
        ("leaky/ferry", "PASS"),
    ]
    assert [one["verdict"] for one in made["pairs"]] == ["PASS", "PASS"]
    cases = {
        case.get("name"): case
        for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")
    }
    assert len(cases) == 3
    closing = cases.pop("no_worse_than_baseline")
    assert closing.find("failure").get("message").startswith("Compared with before.json: FAIL")
    properties = {one.get("name"): one.get("value") for one in closing.iter("property")}
    assert properties["memleak.compared.verdict"] == "FAIL"
    assert properties["memleak.compared.clean/ferry.longest_span.verdict"] == "FAIL"
    assert float(properties["memleak.compared.clean/ferry.longest_span.p"]) < 0.001
    for case in cases.values():
        assert case.find("failure") is None
        told = {one.get("name"): one.get("value") for one in case.iter("property")}
        assert told["memleak.verdict"] == "PASS"
    page = (pytester.path / "page.html").read_text()
    assert "Compared with before.json: FAIL: worse in 1 of 2 comparisons" in page
    table = page.partition('role="columnheader">Compared')[2].partition("</table>")[0]
    verdicts = re.findall(r'<span class="badge (\w+)">', table)
    assert verdicts == ["pass", "fail", "pass", "pass"]


def test_the_step_summary_agrees(pytester, release, earlier, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "steps.md"))
    release(recite=12)
    pytester.runpytest(*SAME).assert_outcomes(passed=2, failed=1)
    lines = (pytester.path / "steps.md").read_text().splitlines()
    assert "| pair | verdict | compared | " in next(one for one in lines if "| pair" in one)
    (clean,) = (one for one in lines if one.startswith("| clean"))
    assert clean.split(" | ")[1:3] == ["✅ PASS", "❌ FAIL"]
    assert any(one.startswith("**Compared with before") and "FAIL" in one for one in lines)


def test_the_comparison_is_computed_anew_by_who_has_both_bundles(
    pytester, release, earlier, capsys
):
    release(recite=12)
    pytester.runpytest(*SAME, "--memleak-evidence=after.json").assert_outcomes(passed=2, failed=1)
    verify = ["verify", "after.json", "--ledger", "sqlite:///none.db", "--allow-failures"]
    assert main(verify) == 1
    told = capsys.readouterr().out
    assert "comparison with an earlier release: add --baseline" in told
    assert "VERIFICATION INCOMPLETE" in told
    assert main([*verify, "--baseline=before.json"]) == 0
    assert "  comparison with before.json" in capsys.readouterr().out
    assert main([*verify, "--baseline=after.json"]) == 1
    assert "compared.sha256: the bundle says" in capsys.readouterr().out

    def lower(made):
        made["compared"]["changes"][0]["p"] = 0.5

    change_bundle(pytester, lower, "after.json")
    assert main([*verify, "--baseline=before.json"]) == 1
    assert "compared.changes[0].p: the bundle says" in capsys.readouterr().out


def test_two_bundles_are_compared_by_the_same_statement(pytester, release, earlier, capsys):
    release(recite=12)
    pytester.runpytest(*SAME, "--memleak-evidence=after.json").assert_outcomes(passed=2, failed=1)
    told = json.loads((pytester.path / "after.json").read_text())["compared"]
    compare = ["compare", "before.json", "after.json"]
    capsys.readouterr()
    assert main([*compare, "--max-increase=longest_span=10"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "clean/ferry: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
        "leaky/ferry: longest_span 16 -> 16 (+0), p = 1, tolerance 10: PASS",
        "Compared with before.json: FAIL: worse in 1 of 2 comparisons (probability of any false "
        "alarm at most 0.05)",
    ]
    assert main([*compare, "--max-increase=longest_span=10", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == told
    assert main([*compare, "--max-increase=longest_span=16"]) == 0
    assert main(["compare", "after.json", "before.json", "--max-increase=longest_span=0"]) == 0
    capsys.readouterr()
    assert main(compare) == 0
    assert "clean/ferry: longest_span 0 -> 16 (+16)" in capsys.readouterr().out.splitlines()


def test_bundles_that_tell_nothing_of_one_another_are_no_pass(pytester, release, earlier, capsys):
    release(('id = "clean"', 'id = "newer"'), ("samples = 12", "samples = 11"))
    pytester.runpytest("--memleak-evidence=after.json")
    compare = ["compare", "before.json", "after.json", "--max-increase"]
    assert main([*compare, "bmc=0"]) == 1
    told = capsys.readouterr()
    assert "INCONCLUSIVE: nothing to compare" in told.out
    assert "newer/ferry: INCONCLUSIVE: the baseline has no pair of this name; it has" in told.out
    assert "clean/ferry: INCONCLUSIVE: only the earlier release has results" in told.out
    for value, said in (
        ("bcm=0", "unknown measure 'bcm'; did you mean 'bmc'?"),
        ("uplift=0", "uplift has no value in each round"),
        ("bmc", "expected MEASURE=NUMBER"),
        ("", "expected MEASURE=NUMBER"),
        ("bmc=1", "bmc=1: no share can rise by that much, so nothing could fail"),
    ):
        assert main([*compare, value]) == 2
        assert said in capsys.readouterr().err
    assert main(["compare", "before.json", "before.json", "--max-increase=bmc=0"]) == 2
    assert "both bundles are the same" in capsys.readouterr().err
    assert main(["compare", "before.json", "after.json", "after.json"]) == 2
    assert main(["compare", "ferry.json", "clean.json", "--max-increase=bmc=0"]) == 2
    assert "ferry.json isn't one" in capsys.readouterr().err
    path = pytester.path / "after.json"
    path.write_text(path.read_text().replace('"uncollected": []', '"uncollected": [\n  "x"\n ]'))
    assert main([*compare, "bmc=0"]) == 2
    assert "it was changed after it was made" in capsys.readouterr().err


@pytest.mark.parametrize("verbosity", ["-q", "-v", "-x"])
def test_it_is_told_at_any_verbosity_and_counts_nowhere_twice(
    pytester, release, earlier, verbosity
):
    release(recite=12)
    result = pytester.runpytest(*SAME, verbosity)
    result.assert_outcomes(passed=2, failed=1)
    assert result.stdout.str().count("FAILED memleak::no_worse") == 1


def test_an_expected_leak_gates_nothing(pytester, release):
    leak = (
        ('id = "leaky"\n', 'id = "leaky"\nexpected = "leak"\n'),
        (
            "longest_block = 30",
            "longest_span = 10",
        ),
    )
    release(*leak, leaky=1)
    pytester.runpytest("--memleak-evidence=before.json").assert_outcomes(passed=1, xfailed=1)
    release(*leak, leaky=12)
    result = pytester.runpytest(*SAME)
    result.assert_outcomes(passed=2, xfailed=1)
    result.stdout.fnmatch_lines(["Compared with before.json: PASS: worse in 0 of 1 comparison*"])


def test_where_nothing_gates_nothing_can_get_worse(pytester, release):
    leak = ('id = "leaky"\n', 'id = "leaky"\nexpected = "leak"\n')
    release(leak)
    pytester.runpytest("--memleak-evidence=before.json")
    result = pytester.runpytest(*SAME, "-k", "leaky")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no pair of this run gates: all are controls*"])


def test_answers_that_cannot_be_judged_leave_it_inconclusive(pytester, release, earlier):
    release(recite=12)
    path = pytester.path / "clean.json"
    records = json.loads(path.read_text())
    del records[0]["generations"][-1]
    path.write_text(json.dumps(records))
    result = pytester.runpytest(*SAME)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "Compared with before.json: INCONCLUSIVE: worse in 0 of 2 comparisons, 1 undecided *",
            "clean/ferry: INCONCLUSIVE: one release has incomplete evidence",
        ]
    )


def test_another_book_leaves_it_inconclusive(pytester, release, earlier):
    release()
    path = pytester.path / "ferry.json"
    path.write_text(path.read_text().replace("an odd light", "an odder light"))
    result = pytester.runpytest(*SAME)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "Compared with before.json: INCONCLUSIVE: nothing to compare*",
            "clean/ferry: INCONCLUSIVE: the baseline used another book, or other instructions*",
        ]
    )


def test_a_run_that_stops_early_says_nothing_of_a_release(pytester, release, earlier):
    release(("longest_block = 30", "longest_span = 10"), recite=12)
    result = pytester.runpytest(*SAME, "-x")
    result.assert_outcomes(failed=1)
    assert "Compared with" not in result.stdout.str()


def test_confidence_0_counts_every_rise(pytester, release):
    point = ("[limits]", "confidence = 0\n[limits]")
    release(point)
    pytester.runpytest("--memleak-evidence=before.json").assert_outcomes(passed=2)
    release(point, recite=1)
    result = pytester.runpytest(*SAME)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*worse in 1 of 2 comparisons (without a significance test: any increase*"]
    )


def test_a_suite_file_of_another_name_is_named(pytester, earlier, capsys):
    (pytester.path / "test.memleak.toml").rename(pytester.path / "newer.memleak.toml")
    pytester.runpytest("--memleak-evidence=after.json")
    why = "its suite is newer.memleak.toml now, and was test.memleak.toml"
    capsys.readouterr()
    assert main(["compare", "before.json", "after.json", "--max-increase=bmc=0"]) == 1
    told = capsys.readouterr().out
    assert f"clean/ferry: INCONCLUSIVE: {why}" in told
    assert "no pair of this name" not in told
    assert main(["compare", "before.json", "after.json"]) == 0
    assert f"clean/ferry: the baseline lacks this pair: {why}" in capsys.readouterr().out
    result = pytester.runpytest(*SAME)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*clean/ferry: {why}", "  restore the suite file's old name"])


# --- before anything runs ------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('id = "clean"', 'id = "newer"'), "newer/ferry: the baseline has no pair of this name*"),
        (("samples = 12", "samples = 12\nk = 4"),
         "clean/ferry: the baseline has k 5, this release 4*"),
        (("samples = 12", "samples = 11"),
         "clean/ferry: the baseline has samples 12, this release 11*"),
        (("samples = 12", "samples = 12\ntemperature = 0.7"),
         "*the baseline has temperature 1.0, this release 0.7*"),
        (('path = "clean.json"', 'path = "clean.json"\n[[book]]\nid="b"\nsource="ferry.json"'),
         "clean/b: the baseline has no pair of this name*"),
        (("samples = 12", "samples = 12\nconfidence = 0.999"),
         "clean/ferry: the baseline has confidence 0.95, this release 0.999*"),
        (("samples = 12", "samples = 12\nmax_short = 0.9"),
         "*the baseline has max_short 0.25, this release 0.9*"),
        (("samples = 12", "samples = 12\nmin_length_ratio = 0.1"),
         "*the baseline has min_length_ratio 0.2, this release 0.1*"),
        (("samples = 12", "samples = 12\naccept_refusals = true"),
         "*the baseline has accept_refusals False, this release True*"),
        (('id = "clean"\n', 'id = "clean"\nexpected = "leak"\n'),
         "clean/ferry: it gates in the baseline, but is expected to leak now*"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_an_error_before_anything_runs(
    pytester, release, earlier, change, said, workers
):
    release(change)
    result = pytester.runpytest(SAME[0], "--memleak-max-increase=bmc=0.1", *workers)
    told = [f"*--memleak-max-increase: before.json: {said}"]
    if workers:
        assert result.parseoutcomes().keys() == {"errors"}
        result.stdout.fnmatch_lines(told)
    else:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(told)
    assert "= memorization =" not in result.stdout.str()


def test_what_does_not_change_the_answers_may_change(pytester, release, earlier):
    stricter = (
        "seed = 3\nmax_age_days = 1\nmin_length_ratio = 0.3\nmax_short = 0.1\nconfidence = 0.9"
    )
    release(("samples = 12", f"samples = 12\n{stricter}"), recite=0)
    pytester.runpytest(*SAME).assert_outcomes(passed=3)


def test_pairs_that_are_left_out_need_not_be_comparable(pytester, release, earlier):
    release()
    result = pytester.runpytest(*SAME, "-k", "leaky")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines(
        ["*PASS: worse in 0 of 1 comparison, 1 baseline pair not compared (*"]
    )


def test_a_pair_that_the_suite_no_longer_has(pytester, release, earlier, capsys):
    release(('id = "clean"', 'id = "newer"'))
    result = pytester.runpytest(*SAME, "-k", "leaky")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*before.json: clean/ferry: it gates in the baseline, but isn't in the suite now"]
    )
    pytester.runpytest("-k", "leaky", "--memleak-evidence=after.json").assert_outcomes(
        passed=1, deselected=1
    )
    capsys.readouterr()
    assert main(["compare", "before.json", "after.json", "--max-increase=bmc=0.1"]) == 1
    told = capsys.readouterr().out
    assert "clean/ferry: INCONCLUSIVE: only the earlier release has results" in told
    assert "INCONCLUSIVE: worse in 0 of 2 comparisons, 1 undecided" in told


SECOND = 'source = "ferry.json"\n[[book]]\nid = "pier"\nsource = "pier.json"'
PASSAGES = (SAME[0], "--memleak-max-increase=longest_passage=10", "-k", "ferry")


def pier(pytester, word="tide"):
    """Writes another protected book."""
    text = f"no {word} had ever carried so many letters without a single name on any of them"
    record = {"excerpt_id": "p_id1", "excerpt_text": text, "instruction": "Write a paragraph."}
    (pytester.path / "pier.json").write_text(json.dumps([record]))


@pytest.mark.full
def test_passages_are_not_compared_where_the_suite_protects_other_books(pytester, release, earlier):
    pier(pytester)
    release(('source = "ferry.json"', SECOND))
    result = pytester.runpytest(*PASSAGES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*before.json: clean/ferry: the books scanned for passages differ: added pier",
            "*rebuild the baseline from that release's ledger, which makes no API calls, *",
        ]
    )
    pytester.runpytest(*SAME, "-k", "ferry").assert_outcomes(passed=3, deselected=2)
    pytester.runpytest("-k", "ferry", "--memleak-evidence=before.json")
    pytester.runpytest(*PASSAGES).assert_outcomes(passed=3, deselected=2)
    release()
    result = pytester.runpytest(*PASSAGES)
    result.stderr.fnmatch_lines(["*the books scanned for passages differ: removed pier"])


def test_what_gates_stays_no_control_but_a_control_may_come_to_gate(pytester, release):
    pier(pytester)
    here, there = ("-k", "ferry"), (*SAME, "-k", "ferry")
    second, control = (
        ('source = "ferry.json"', SECOND),
        ("[[book]]", '[[book]]\nrole = "negative-control"'),
    )
    release(second)
    pytester.runpytest(*here, "--memleak-evidence=before.json")
    release(control, second)
    result = pytester.runpytest(*there)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*/ferry: it gates in the baseline, but is a negative control now"]
    )
    pytester.runpytest(*here, "--memleak-evidence=before.json")
    release(second)
    pytester.runpytest(*there).assert_outcomes(passed=3, deselected=2)


def test_nor_where_another_book_has_another_text(pytester, release):
    pier(pytester)
    release(('source = "ferry.json"', SECOND))
    pytester.runpytest("-k", "ferry", "--memleak-evidence=before.json")
    (told,) = {json.dumps(one["scan_scope"]) for one in evidence(pytester)["pairs"]} - {"null"}
    assert json.loads(told)["books"].keys() == {"pier"}
    assert "tide" not in told
    pier(pytester, "current")
    result = pytester.runpytest(*PASSAGES)
    result.assert_outcomes(passed=2, errors=1, deselected=2)
    result.stdout.fnmatch_lines(
        ["clean/ferry: INCONCLUSIVE: the books scanned for passages differ: changed pier"]
    )


def evidence(pytester, name="before.json"):
    return json.loads((pytester.path / name).read_text())


def test_so_few_rounds_that_they_could_tell_nothing(pytester, suite):
    suite(WIDE)
    pytester.runpytest("--memleak-evidence=before.json").assert_outcomes(passed=2)
    result = pytester.runpytest(*SAME)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*3 rounds can't tell a rise from noise in 2 comparisons",
            "*set samples = 6 or more in both releases, or name fewer measures",
        ]
    )


def test_a_bundle_that_does_not_tell_its_rounds_is_none(pytester, release, earlier):
    change_bundle(pytester, lambda made: [one.pop("rounds") for one in made["pairs"]])
    result = pytester.runpytest(*SAME)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*before.json: not a bundle: pairs.0.rounds: Field required"])


def test_a_baseline_that_was_changed_is_refused(pytester, release, earlier):
    path = pytester.path / "before.json"
    path.write_text(path.read_text().replace('"received": 24', '"received": 23', 1))
    release()
    result = pytester.runpytest("--memleak-baseline=before.json", "--memleak-max-increase=bmc=0.9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*before.json: sha256: *", "*it was changed after it was made*"])


@pytest.mark.parametrize(
    "value", ["bmc", "bmc=", "=1", "bmc=much", "bmc=nan", "longest_span=inf", "bmc=-0.1"]
)
def test_a_tolerance_is_a_measure_and_a_number(pytester, suite, value):
    suite()
    result = pytester.runpytest("--memleak-baseline=x", f"--memleak-max-increase={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-max-increase: expected MEASURE=NUMBER*'{value}'*"])


def test_a_measure_is_named_once(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-baseline=x", "--memleak-max-increase=bmc=0,bmc=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-max-increase: bmc occurs twice*"])


def test_tolerances_need_a_baseline(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-max-increase=bmc=0.1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-max-increase needs --memleak-baseline*"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bcm", "unknown measure 'bcm'; did you mean 'bmc'?"),
        ("longest-span", "unknown measure 'longest-span'; did you mean 'longest_span'?"),
        ("x", "unknown measure 'x'; known: longest_passage, *"),
        ("uplift", "uplift has no value in each round, so a rise can't be tested against noise*"),
        ("longest_block", "longest_block has no value in each round, *; name *longest_span*"),
        ("longest_span=3,bmc=1", "bmc=1: no share can rise by that much, so nothing could fail"),
    ],
)
@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_a_measure_that_cannot_be_compared_is_an_error_before_anything_runs(
    pytester, suite, name, said, workers
):
    suite()
    asked = name if "=" in name else f"bmc=0.1,{name}=0.01"
    result = pytester.runpytest(SAME[0], f"--memleak-max-increase={asked}", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-max-increase: {said}"])
    assert "memorization" not in result.stdout.str()


def test_an_extension_s_measure_has_no_rounds_either(pytester, suite):
    pytester.makeconftest(
        "from pytest_memleak import hookimpl\n"
        "@hookimpl\n"
        "def memleak_measures():\n"
        "    return {'answers': lambda book, generations: len(list(generations))}\n"
    )
    suite()
    result = pytester.runpytest(SAME[0], "--memleak-max-increase=answers=0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*answers has no value in each round*"])
    result = pytester.runpytest(SAME[0], "--memleak-max-increase=anwsers=0")
    result.stderr.fnmatch_lines(["*did you mean 'answers'?"])
