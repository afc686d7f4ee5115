"""--memleak-baseline and --memleak-max-increase."""

import contextlib
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


@pytest.mark.parametrize(("recite", "limits", "shown"), [
    pytest.param(12, "longest_span=16", "Compared with before.json: PASS: worse in 0 of 2*",
                 id="within its tolerance"),
    pytest.param(
        1,
        "bmc=0.1,longest_span=10",
        "  since the baseline: bmc 0 -> 0.5161 (+0.5161, interval -1 to +1), p = 0.5, "
        "tolerance 0.1, 12 rounds can detect an increase of 1.2: PASS",
        id="noise",
    ),
    pytest.param(0, "longest_span=0", "Compared with before.json: PASS: *", id="the same"),
])  # fmt: skip
def test_an_increase_within_its_tolerance_or_noise_passes(
    release, earlier, gate, recite, limits, shown
):
    release(recite=recite)
    gate(SAME[0], f"--memleak-max-increase={limits}", lines=[shown], passed=3)


def test_all_reports_agree(release, earlier, gate, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "steps.md")
    release(recite=12)
    reports = (
        "--junitxml=out.xml",
        "--memleak-html=page.html",
        "--memleak-evidence=after.json",
    )
    gate(*SAME, *reports, passed=2, failed=1)
    bundle = read_bundle("after.json")
    compared = bundle["compared"]
    head = [compared[key] for key in ("verdict", "baseline", "confidence", "sha256")]
    assert head == ["FAIL", "before.json", 0.95, read_bundle("before.json")["sha256"]]
    changes = [(change["pair"], change["verdict"]) for change in compared["changes"]]
    assert changes == [("clean/ferry", "FAIL"), ("leaky/ferry", "PASS")]
    assert [pair["verdict"] for pair in bundle["pairs"]] == ["PASS", "PASS"]
    cases = {
        case.get("name"): case for case in ElementTree.parse("out.xml").iter("testcase")
    }
    assert len(cases) == 3
    closing = cases.pop("no_worse_than_baseline")
    assert (
        closing.find("failure")
        .get("message")
        .startswith("Compared with before.json: FAIL")
    )
    of_closing, name = properties(closing), "memleak.compared.clean/ferry.longest_span"
    assert (
        of_closing["memleak.compared.verdict"]
        == of_closing[f"{name}.verdict"]
        == "FAIL"
    )
    assert float(of_closing[f"{name}.p"]) < 0.001
    for case in cases.values():
        assert case.find("failure") is None
        assert properties(case)["memleak.verdict"] == "PASS"
    page = Path("page.html").read_text()
    assert "Compared with before.json: FAIL: worse in 1 of 2 comparisons" in page
    table = page.partition('role="columnheader">Compared')[2].partition("</table>")[0]
    assert re.findall(r'<span class="badge (\w+)">', table) == [
        "pass",
        "fail",
        "pass",
        "pass",
    ]
    lines = Path("steps.md").read_text().splitlines()
    assert "| pair | verdict | compared | " in next(
        line for line in lines if "| pair" in line
    )
    (clean,) = (line for line in lines if line.startswith("| clean"))
    assert clean.split(" | ")[1:3] == ["✅ PASS", "❌ FAIL"]
    assert any(
        line.startswith("**Compared with before") and "FAIL" in line for line in lines
    )


def test_who_has_both_bundles_computes_the_comparison_anew(
    release, earlier, gate, capsys
):
    release(recite=12)
    gate(*SAME, "--memleak-evidence=after.json", passed=2, failed=1)
    verify = [
        "verify",
        "after.json",
        "--ledger",
        "sqlite:///none.db",
        "--allow-failures",
    ]
    assert main(verify) == 3
    text = capsys.readouterr().out
    assert "comparison with an earlier release: add --baseline" in text
    assert "after.json: not everything was recomputed. The bundle claims FAIL" in text
    assert main([*verify, "--baseline=before.json"]) == 0
    assert "  comparison with before.json" in capsys.readouterr().out
    assert main([*verify, "--baseline=after.json"]) == 1
    assert "compared.sha256: the bundle says" in capsys.readouterr().out
    # By the same statement `compare` tells of two bundles.
    compare, most = (
        ["compare", "before.json", "after.json"],
        "--max-increase=longest_span",
    )
    assert main([*compare, f"{most}=10"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "clean/ferry: longest_span 0 -> 16 (+16), p = 0.0001, tolerance 10: FAIL",
        "leaky/ferry: longest_span 16 -> 16 (+0), p = 1, tolerance 10: PASS",
        "Compared with before.json: FAIL: worse in 1 of 2 comparisons (probability of "
        "any false "
        "alarm at most 0.05)",
    ]
    assert main([*compare, f"{most}=10", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == read_bundle("after.json")["compared"]
    assert main([*compare, f"{most}=16"]) == 0
    assert main(["compare", "after.json", "before.json", f"{most}=0"]) == 0
    capsys.readouterr()
    assert main(compare) == 0
    assert (
        "clean/ferry: longest_span 0 -> 16 (+16)"
        in capsys.readouterr().out.splitlines()
    )
    resealed(
        Path("after.json"),
        lambda bundle: bundle["compared"]["changes"][0].update(p=0.5),
    )
    assert main([*verify, "--baseline=before.json"]) == 1
    assert "compared.changes[0].p: the bundle says" in capsys.readouterr().out


def test_bundles_that_tell_nothing_of_one_another_are_no_pass(
    release, earlier, gate, capsys
):
    release(('id = "clean"', 'id = "newer"'), ("samples = 12", "samples = 11"))
    gate("--memleak-evidence=after.json")
    compare = ["compare", "before.json", "after.json", "--max-increase"]
    assert main([*compare, "bmc=0"]) == 1
    output = capsys.readouterr()
    assert "INCONCLUSIVE: nothing to compare" in output.out
    assert (
        "newer/ferry: INCONCLUSIVE: the baseline has no pair of this name; it has"
        in output.out
    )
    assert (
        "clean/ferry: INCONCLUSIVE: only the earlier release has results" in output.out
    )
    path = Path("after.json")
    changed = path.read_text().replace(
        '"uncollected": []', '"uncollected": [\n  "x"\n ]'
    )
    Path("changed.json").write_text(changed)
    for *files, value, message in (
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
    ):
        assert main(["compare", *files, "--max-increase", value]) == 2
        assert message in capsys.readouterr().err
    assert main(["compare", "before.json", "after.json", "after.json"]) == 2


def test_renamed_models_are_compared_under_their_new_names(
    pytester, release, earlier, capsys
):
    release(
        ('id = "clean"', 'id = "newer"'), ('id = "leaky"', 'id = "latest"'), recite=12
    )
    pytester.runpytest("--memleak-evidence=after.json")
    compare = ["compare", "before.json", "after.json"]
    for options in ([], ["--max-increase=longest_span=10"]):
        capsys.readouterr()
        assert main([*compare, *options]) == 2
        error = capsys.readouterr().err
        assert "no pair is in both releases" in error
        assert "--as OLD=NEW" in error
    renamed = ["--as", "clean=newer", "--as=leaky=latest"]
    assert main([*compare, *renamed]) == 0
    assert (
        "newer/ferry: longest_span 0 -> 16 (+16)"
        in capsys.readouterr().out.splitlines()
    )
    assert main([*compare, *renamed, "--max-increase=longest_span=10"]) == 1
    for files, name, message in (
        (compare[1:], "cleen=newer", "the names are clean, leaky, test"),
        (compare[1:], "clean", "expected OLD=NEW"),
        (("ferry.json", "clean.json"), "a=b", "--as needs evidence bundles"),
    ):
        with contextlib.suppress(SystemExit):
            assert main(["compare", *files, f"--as={name}"]) == 2
        assert message in capsys.readouterr().err


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
