"""--memleak-baseline and --memleak-max-increase."""

import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from evidence_files import resealed
from ferry import CLEAN
from marks import full
from report_readers import properties
from suite_files import read_bundle, write_json

from pytest_memleak.cli.main import main

PASSAGE = "The ferryman counted nine lanterns along the quay and did not like the number at all."
TWELVE = ("samples = 3", "samples = 12")
WIDE = ("longest_span = 10", "longest_block = 30")
SAME = ("--memleak-baseline=before.json", "--memleak-max-increase=longest_span=10")


def answers(*, recite=0):
    """Twelve answers, of which so many recite a sentence."""
    draw = random.Random(7)
    words = " ".join(CLEAN).split()
    texts = [" ".join(draw.choices(words, k=45)) for _ in range(12)]
    return [f"{PASSAGE} {text}" if n < recite else text for n, text in enumerate(texts)]


@pytest.fixture
def release(suite):
    """Writes the suite of a release, in which so many answers recite, with some text replaced."""

    def write(*replacements, recite=0, leaky=12):
        suite(
            WIDE,
            TWELVE,
            *replacements,
            clean=answers(recite=recite),
            leaky=answers(recite=leaky),
        )

    return write


@pytest.fixture
def earlier(release, bundle_of):
    release()
    bundle_of("before.json", passed=2)


def test_a_baseline_alone_shows_changes_of_every_pair(release, earlier, gate):
    release(recite=1)
    lines = ["PASS clean/ferry", "*since the baseline: longest_span 0 -> 16 (+16)"]
    result = gate("--memleak-baseline=before.json", lines=lines, passed=2)
    result.stdout.no_fnmatch_line("*compared*")


SHOWN = (
    "*_ no_worse_than_baseline _*",
    "Compared with before.json: FAIL: worse in 1 of 2 comparisons (probability of any "
    "false alarm at most 0.05)",
    "clean/ferry: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
)
SUMMARIZED = (
    "*pair *verdict*compared",
    "clean/ferry *PASS *FAIL*",
    "leaky/ferry *PASS *PASS*",
    "PASS clean/ferry",
    "  since the baseline: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
    "  since the baseline: bmc *",
)


@pytest.mark.parametrize(
    "options", [("-q",), (), *map(full, [("-v",), ("-x",), ("-n", "2")])], ids=" ".join
)
def test_an_increase_over_its_tolerance_fails_the_run(release, earlier, gate, options):
    release(recite=12)
    lines = [
        *SHOWN,
        "Compared with before.json: FAIL*",
        "FAILED memleak::no_worse_than_baseline*",
    ]
    result = gate(*SAME, *options, lines=lines, passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count("FAILED memleak::no_worse") == 1
    if options != ("-q",):
        result.stdout.fnmatch_lines_random(SUMMARIZED)


@pytest.mark.parametrize(
    ("recite", "limits", "shown"),
    [
        pytest.param(
            12,
            "longest_span=16",
            "Compared with before.json: PASS: worse in 0 of 2*",
            id="within its tolerance",
        ),
        pytest.param(
            1,
            "bmc=0.1,longest_span=10",
            "  since the baseline: bmc 0 -> 0.5161 (+0.5161, interval -1 to +1), p = 0.5, "
            "tolerance 0.1, 12 rounds can detect an increase of 1.2: PASS",
            id="noise",
        ),
        pytest.param(
            0, "longest_span=0", "Compared with before.json: PASS: *", id="the same"
        ),
    ],
)
def test_an_increase_within_its_tolerance_or_noise_passes(
    release, earlier, gate, recite, limits, shown
):
    release(recite=recite)
    gate(SAME[0], f"--memleak-max-increase={limits}", lines=[shown], passed=3)


@pytest.fixture
def worse(release, earlier, gate, monkeypatch):
    """Every report of a release that recites more than its baseline."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "steps.md")
    release(recite=12)
    reports = ("--junitxml=out.xml", "--memleak-html=page.html")
    gate(*SAME, *reports, "--memleak-evidence=after.json", passed=2, failed=1)


def test_evidence_holds_the_comparison_beside_the_pairs_verdicts(worse):
    bundle = read_bundle("after.json")
    compared = bundle["compared"]
    head = [compared[key] for key in ("verdict", "baseline", "confidence", "sha256")]
    assert head == ["FAIL", "before.json", 0.95, read_bundle("before.json")["sha256"]]
    changes = [(change["pair"], change["verdict"]) for change in compared["changes"]]
    assert changes == [("clean/ferry", "FAIL"), ("leaky/ferry", "PASS")]
    assert [pair["verdict"] for pair in bundle["pairs"]] == ["PASS", "PASS"]


def test_junit_holds_the_comparison_as_a_case_of_its_own(worse):
    report = ElementTree.parse("out.xml")
    cases = {case.get("name"): case for case in report.iter("testcase")}
    assert len(cases) == 3
    closing = cases.pop("no_worse_than_baseline")
    message = closing.find("failure").get("message")
    assert message.startswith("Compared with before.json: FAIL")
    shown, name = properties(closing), "memleak.compared.clean/ferry.longest_span"
    assert shown["memleak.compared.verdict"] == shown[f"{name}.verdict"] == "FAIL"
    assert float(shown[f"{name}.p"]) < 0.001
    for case in cases.values():
        assert case.find("failure") is None
        assert properties(case)["memleak.verdict"] == "PASS"


def test_the_page_has_a_column_of_comparisons(worse):
    page = Path("page.html").read_text()
    assert "Compared with before.json: FAIL: worse in 1 of 2 comparisons" in page
    table = page.partition('role="columnheader">Compared')[2].partition("</table>")[0]
    badges = re.findall(r'<span class="badge (\w+)">', table)
    assert badges == ["pass", "fail", "pass", "pass"]


def test_the_job_summary_has_a_column_of_comparisons(worse):
    lines = Path("steps.md").read_text().splitlines()
    head = next(line for line in lines if "| pair" in line)
    assert "| pair | verdict | compared | " in head
    (clean,) = (line for line in lines if line.startswith("| clean"))
    assert clean.split(" | ")[1:3] == ["✅ PASS", "❌ FAIL"]
    statements = [line for line in lines if line.startswith("**Compared with before")]
    assert any("FAIL" in line for line in statements)


VERIFY = ("verify", "after.json", "--ledger=sqlite:///none.db", "--allow-failures")
COMPARE = ("compare", "before.json", "after.json")


@pytest.fixture
def memleak(capsys):
    """Runs a command: its exit code, what it prints, and its errors."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = main([*arguments])
        except SystemExit as end:
            code = end.code
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def after(release, earlier, bundle_of):
    """Evidence of a release that recites more than its baseline."""
    release(recite=12)
    return bundle_of("after.json", *SAME, passed=2, failed=1)


def test_verify_recomputes_a_comparison_given_its_baseline(after, memleak):
    code, text, _ = memleak(*VERIFY)
    assert code == 3
    assert "comparison with an earlier release: add --baseline" in text
    assert "after.json: not everything was recomputed. The bundle claims FAIL" in text
    code, text, _ = memleak(*VERIFY, "--baseline=before.json")
    assert code == 0
    assert "  comparison with before.json" in text


def test_verify_detects_another_baseline_and_a_changed_comparison(after, memleak):
    code, text, _ = memleak(*VERIFY, "--baseline=after.json")
    assert code == 1
    assert "compared.sha256: the bundle says" in text
    resealed(after, lambda bundle: bundle["compared"]["changes"][0].update(p=0.5))
    code, text, _ = memleak(*VERIFY, "--baseline=before.json")
    assert code == 1
    assert "compared.changes[0].p: the bundle says" in text


def test_compare_gives_the_statement_of_the_run(after, memleak):
    limit = "--max-increase=longest_span=10"
    code, text, _ = memleak(*COMPARE, limit)
    assert code == 1
    assert text.splitlines() == [
        "clean/ferry: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
        "leaky/ferry: longest_span 16 -> 16 (+0), p = 1, tolerance 10: PASS",
        "Compared with before.json: FAIL: worse in 1 of 2 comparisons (probability of any "
        "false alarm at most 0.05)",
    ]
    code, text, _ = memleak(*COMPARE, limit, "--json")
    assert code == 1
    assert json.loads(text) == read_bundle("after.json")["compared"]


def test_compare_passes_within_the_tolerance_and_without_one(after, memleak):
    assert memleak(*COMPARE, "--max-increase=longest_span=16")[0] == 0
    backward = ("compare", "after.json", "before.json")
    assert memleak(*backward, "--max-increase=longest_span=0")[0] == 0
    code, text, _ = memleak(*COMPARE)
    assert code == 0
    assert "clean/ferry: longest_span 0 -> 16 (+16)" in text.splitlines()


@pytest.fixture
def unlike(release, earlier, bundle_of):
    """Evidence of a release with another model and other samples."""
    release(('id = "clean"', 'id = "newer"'), ("samples = 12", "samples = 11"))
    return bundle_of("after.json")


def test_bundles_without_comparable_pairs_are_no_pass(unlike, memleak):
    code, text, _ = memleak(*COMPARE, "--max-increase", "bmc=0")
    assert code == 1
    assert "INCONCLUSIVE: nothing to compare" in text
    gone = "INCONCLUSIVE: the baseline has no pair of this name; it has"
    assert f"newer/ferry: {gone}" in text
    assert "clean/ferry: INCONCLUSIVE: only the earlier release has results" in text


# Two files, a tolerance, and what is said.
INCOMPARABLE = [
    (
        "before.json",
        "after.json",
        "bcm=0",
        "unknown measure 'bcm'; did you mean 'bmc'?",
    ),
    ("before.json", "after.json", "", "expected MEASURE=NUMBER"),
    ("before.json", "before.json", "bmc=0", "both bundles are the same"),
    ("ferry.json", "clean.json", "bmc=0", "ferry.json isn't one"),
    ("before.json", "changed.json", "bmc=0", "it was changed after it was created"),
]


def test_compare_rejects_what_is_no_pair_of_bundles(unlike, memleak):
    text = unlike.read_text()
    changed = text.replace('"uncollected": []', '"uncollected": [\n  "x"\n ]')
    Path("changed.json").write_text(changed)
    for *files, tolerance, message in INCOMPARABLE:
        code, _, error = memleak("compare", *files, "--max-increase", tolerance)
        assert code == 2
        assert message in error
    assert memleak(*COMPARE, "after.json")[0] == 2


@pytest.fixture
def renamed(release, earlier, bundle_of):
    """Evidence of a release whose models have other names."""
    newer, latest = ('id = "clean"', 'id = "newer"'), ('id = "leaky"', 'id = "latest"')
    release(newer, latest, recite=12)
    return bundle_of("after.json")


def test_releases_without_a_common_name_need_the_new_names(renamed, memleak):
    for options in ((), ("--max-increase=longest_span=10",)):
        code, _, error = memleak(*COMPARE, *options)
        assert code == 2
        assert "no pair is in both releases" in error
        assert "--as OLD=NEW" in error


def test_renamed_models_are_compared_under_their_new_names(renamed, memleak):
    names = ("--as", "clean=newer", "--as=leaky=latest")
    code, text, _ = memleak(*COMPARE, *names)
    assert code == 0
    assert "newer/ferry: longest_span 0 -> 16 (+16)" in text.splitlines()
    assert memleak(*COMPARE, *names, "--max-increase=longest_span=10")[0] == 1


def test_wrong_names_of_renamed_models_are_rejected(renamed, memleak):
    for files, name, message in (
        (COMPARE[1:], "cleen=newer", "the names are clean, leaky, test"),
        (COMPARE[1:], "clean", "expected OLD=NEW"),
        (("ferry.json", "clean.json"), "a=b", "--as needs evidence bundles"),
    ):
        code, _, error = memleak("compare", *files, f"--as={name}")
        assert code == 2
        assert message in error


def test_an_expected_leak_gates_nothing(release, gate):
    leak = ('id = "leaky"\n', 'id = "leaky"\nexpected = "leak"\n')
    narrow = ("longest_block = 30", "longest_span = 10")
    release(leak, narrow, leaky=1)
    gate("--memleak-evidence=before.json", passed=1, xfailed=1)
    release(leak, narrow, leaky=12)
    shown = "Compared with before.json: PASS: worse in 0 of 1 comparison*"
    gate(*SAME, lines=[shown], passed=2, xfailed=1)
    gate(
        *SAME, "-k", "leaky", usage=["*no pair of this run is gated: all are controls*"]
    )


def test_incomplete_evidence_leaves_the_comparison_inconclusive(release, earlier, gate):
    release(recite=12)
    path = Path("clean.json")
    records = json.loads(path.read_text())
    del records[0]["generations"][-1]
    write_json(path, records)
    lines = [
        "Compared with before.json: INCONCLUSIVE: worse in 0 of 2 comparisons, 1 "
        "undecided *",
        "clean/ferry: INCONCLUSIVE: one release has incomplete evidence",
    ]
    gate(*SAME, lines=lines, passed=1, errors=2)


def test_another_book_leaves_the_comparison_inconclusive(release, earlier, gate):
    release()
    path = Path("ferry.json")
    path.write_text(path.read_text().replace("an odd light", "an odder light"))
    lines = [
        "Compared with before.json: INCONCLUSIVE: nothing to compare*",
        "clean/ferry: INCONCLUSIVE: the baseline used a different book or different "
        "instructions*",
    ]
    gate(*SAME, lines=lines, passed=2, errors=1)


def test_a_run_that_stops_early_compares_nothing(release, earlier, gate):
    release(("longest_block = 30", "longest_span = 10"), recite=12)
    assert "Compared with" not in gate(*SAME, "-x", failed=1).stdout.str()


def test_confidence_0_counts_every_rise(release, gate):
    point = ("[limits]", "confidence = 0\n[limits]")
    release(point)
    gate("--memleak-evidence=before.json", passed=2)
    release(point, recite=1)
    shown = "*worse in 1 of 2 comparisons (without a significance test: any increase*"
    gate(*SAME, lines=[shown], passed=2, failed=1)


def test_a_suite_file_of_another_name_is_named(earlier, gate, capsys):
    Path("test.memleak.toml").rename("newer.memleak.toml")
    gate("--memleak-evidence=after.json")
    why = "its suite was test.memleak.toml, and is now newer.memleak.toml"
    capsys.readouterr()
    assert main(["compare", "before.json", "after.json"]) == 2
    assert "the later newer.memleak.toml::clean/ferry" in capsys.readouterr().err
    renamed = "--as=test.memleak.toml=newer.memleak.toml"
    assert main(["compare", "before.json", "after.json", renamed]) == 0
    assert "clean/ferry: longest_span 0 -> 0 (+0)" in capsys.readouterr().out
    gate(*SAME, usage=[f"*clean/ferry: {why}", "  restore the suite file's old name"])


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_an_incomparable_baseline_is_an_error_before_anything_runs(
    release, earlier, gate, workers
):
    release(("samples = 12", "samples = 12\nk = 4"))
    differ = "clean/ferry: k is 5 in the baseline, but 4 in this release*"
    shown = [f"*--memleak-max-increase: before.json: {differ}"]
    if workers:
        result = gate(*SAME, *workers, lines=shown)
        assert result.parseoutcomes().keys() == {"errors"}
    else:
        result = gate(*SAME, usage=shown)
        release(('id = "clean"', 'id = "newer"'))
        gate(*SAME, usage=["*newer/ferry: the baseline has no pair of this name*"])
    assert "= memorization =" not in result.stdout.str()


def test_pairs_may_be_left_out_but_not_gone(release, earlier, gate):
    release()
    shown = "*PASS: worse in 0 of 1 comparison, 1 baseline pair not compared (*"
    gate(*SAME, "-k", "leaky", lines=[shown], passed=2, deselected=1)
    release(('id = "clean"', 'id = "newer"'))
    gone = "*before.json: clean/ferry: it is gated in the baseline, but is no longer in the suite"
    gate(*SAME, "-k", "leaky", usage=[gone])


SECOND = 'source = "ferry.json"\n[[book]]\nid = "pier"\nsource = "pier.json"'
PASSAGES = (SAME[0], "--memleak-max-increase=longest_passage=10", "-k", "ferry")


def pier(word):
    """Writes another protected book."""
    text = f"no {word} had ever carried so many letters without a single name on any of them"
    record = {
        "excerpt_id": "p_id1",
        "excerpt_text": text,
        "instruction": "Write a paragraph.",
    }
    write_json("pier.json", [record])


def test_passages_are_compared_where_the_same_books_were_scanned(release, gate):
    pier("tide")
    release(('source = "ferry.json"', SECOND))
    gate("-k", "ferry", "--memleak-evidence=before.json", passed=2, deselected=2)
    (scope,) = {
        json.dumps(pair["scan_scope"]) for pair in read_bundle("before.json")["pairs"]
    } - {"null"}
    assert json.loads(scope)["books"].keys() == {"pier"}
    assert "tide" not in scope
    gate(*PASSAGES, passed=3, deselected=2)
    pier("current")
    shown = (
        "clean/ferry: INCONCLUSIVE: the books scanned for passages differ: changed pier"
    )
    gate(*PASSAGES, lines=[shown], passed=2, errors=1, deselected=2)
    release()
    differ = (
        "*before.json: clean/ferry: the books scanned for passages differ: removed pier"
    )
    fix = "*rebuild the baseline with the current suite from that release's ledger, *"
    gate(*PASSAGES, usage=[differ, fix])
    gate(*SAME, "-k", "ferry", passed=3)


def test_too_few_rounds_are_rejected_with_the_samples_needed(suite, gate):
    suite(WIDE)
    gate("--memleak-evidence=before.json", passed=2)
    few = "*3 rounds can't tell a rise from noise in 2 comparisons"
    fix = "*set samples = 6 or more in both releases, or name fewer measures"
    gate(*SAME, usage=[few, fix])


def test_a_bundle_without_rounds_or_that_was_changed_is_refused(gate, earlier):
    path = Path("before.json")
    whole = path.read_text()
    path.write_text(whole.replace('"received": 24', '"received": 23', 1))
    gate(
        *SAME,
        usage=["*before.json: sha256: *", "*it was changed after it was created*"],
    )
    path.write_text(whole)
    resealed(path, lambda bundle: [pair.pop("rounds") for pair in bundle["pairs"]])
    gate(*SAME, usage=["*before.json: not a bundle: pairs.0.rounds: Field required"])


def test_a_measure_of_an_extension_cannot_be_compared(pytester, suite, gate):
    pytester.makeconftest(
        "from pytest_memleak import hookimpl\n"
        "@hookimpl\n"
        "def memleak_measures():\n"
        "    return {'answers': lambda book, generations: len(list(generations))}\n"
    )
    suite()
    for name, shown in (
        ("answers", "has no per-round values"),
        ("anwsers", "mean 'answers'?"),
    ):
        gate(SAME[0], f"--memleak-max-increase={name}=0", usage=[f"*{shown}*"])
