"""A maker who wants `memleak verify` to end with 0 for a release that has not earned it."""

from pathlib import Path

from evidence_files import EVIDENCE, resealed


def older(bundle):
    bundle["program"]["pytest-memleak"] = "0.0.1"
    bundle["limitations"] = []


def unreachable(bundle):
    """The maker of a bundle may say why generations are missing, but none are."""
    pair = bundle["pairs"][0]
    pair["completeness"]["issues"] = [{"rule": "sampled", "cause": "Gone.", "fix": ""}]
    pair.update(verdict="INCONCLUSIVE", reasons=["Gone."])
    bundle.update(result="INCONCLUSIVE")


DIFFER = "limitations: they differ from this version's"
LEDGER_LEFT_OUT = "ledger: the bundle has generations from a ledger"
# What is changed in a bundle that holds, which is sealed again; the exit code, and what
# is said.
CHANGES = (
    (
        lambda bundle: bundle.update(note="audited"),
        2,
        "note: Unexpected keyword argument",
    ),
    (lambda bundle: bundle.pop("limitations"), 2, "limitations: Field required"),
    (lambda bundle: bundle.update(limitations=[]), 1, DIFFER),
    (lambda bundle: bundle["limitations"].pop(), 1, DIFFER),
    (
        lambda bundle: bundle.update(created="2999-01-01T00:00:00+00:00"),
        1,
        "is in the future",
    ),
    (
        lambda bundle: bundle["ledger"].update(entries=0),
        2,
        "ledger.entries: Input should be",
    ),
    (
        lambda bundle: bundle["ledger"].update(link=""),
        1,
        "The chain differs from the bundle's",
    ),
    (lambda bundle: bundle.update(ledger=None), 1, LEDGER_LEFT_OUT),
    # As Python takes them for equal, and of another type.
    (
        lambda bundle: bundle["pairs"][0]["settings"].update(stop_on_fail=0),
        *(1, "stop_on_fail: the bundle says 0; recomputed: false"),
    ),
    (
        lambda bundle: bundle["pairs"][0]["sampled"][0].update(refused=False),
        *(2, "sampled.0.refused: Input should be a valid integer"),
    ),
    (
        lambda bundle: bundle["platform"].update(system=""),
        0,
        "release name, versions, platform",
    ),
    (older, 0, "limitations: written by a different version"),
    (
        lambda bundle: older(bundle) or bundle["pairs"][0].update(leaked=True),
        *(1, "level: none\nwritten by other versions:\n  pytest-memleak: "),
    ),
    (unreachable, 1, 'verdict: the bundle says "INCONCLUSIVE"; recomputed: "PASS"'),
)


def test_changes_around_the_pairs_are_found(gate, online, verify, check):
    suite = online(
        ("longest_span = 30", "spans_over = 40"), ("samples = 6", "samples = 2")
    )
    gate("-m", "copyright", EVIDENCE)
    path = Path("evidence.json")
    before = path.read_bytes()
    assert verify("--suite", suite.name)[0] == 0
    for change, code, message in CHANGES:
        resealed(path, change)
        check(((), code, message))
        path.write_bytes(before)
    # Another suite than the one that was given.
    Path("strict.memleak.toml").write_text(suite.read_text().replace("= 40", "= 10"))
    strict = "strict.memleak.toml"
    check(
        (("--suite", strict), 1, f"the bundle has no pair of the given suite {strict}")
    )


def test_reasons_and_edits_hide_no_leak(gate, suite, verify):
    suite()
    gate(EVIDENCE, passed=1, failed=1)
    path, lost = (
        Path("evidence.json"),
        [{"rule": "sampled", "cause": "Gone.", "fix": ""}],
    )

    def forged(bundle):
        (pair,) = (pair for pair in bundle["pairs"] if pair["verdict"] == "FAIL")
        pair.update(verdict="PASS", reasons=[])
        pair["settings"]["seed"] = 7

    resealed(
        path, lambda bundle: bundle["pairs"][1]["completeness"].update(issues=lost)
    )
    assert "completeness.issues" in verify("--allow-failures")[1].partition("wrong:")[2]
    resealed(path, forged)
    assert 'verdict: the bundle says "PASS"' in verify("--allow-failures")[1]
