"""`memleak verify`: the result first, what was checked and what not, and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from ferry import CLEAN
from suite_files import own_endpoint

from pytest_memleak.cli.main import main
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import chain
from pytest_memleak.results.evidence_file import read_evidence, seal_bundle
from pytest_memleak.results.run_evidence import model_names

WIDE = ("longest_span = 10", "longest_block = 30")
EVIDENCE = "--memleak-evidence=evidence.json"


@pytest.fixture
def passed(suite, bundle_of):
    """Evidence of a release that passed, of recorded generations."""
    suite(WIDE)
    return bundle_of("evidence.json", "--memleak-release=2.1", passed=2)


@pytest.fixture
def verify(capsys):
    """Exit code, and what it says: of the runs before it nothing."""

    def run(*options):
        capsys.readouterr()
        code = main(["verify", "evidence.json", *options])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def resealed(path, change):
    """Change the bundle, and make its digest anew, as who has the program can."""
    made = json.loads(path.read_text(encoding="utf-8"))
    change(made)
    path.write_text(json.dumps(made | seal_bundle(made), indent=1) + "\n", encoding="utf-8")


def test_a_pass_that_holds_is_verified(passed, verify):
    code, told = verify()
    assert code == 0
    told = told.splitlines()
    assert told[0] == "evidence.json: PASS (2 PASS), release 2.1"
    assert told[1:4] == [
        "level: recomputed",
        "verified:",
        "  pairs recomputed from suite, books, and ledger: 2 of 2",
    ]
    assert told[4:6] == ["not verified:", "  Not signed: the author is unverified"]
    from_files = "all its generations are from files, which don't prove which model wrote them"
    assert f"  clean/ferry: {from_files}" in told


def test_a_fail_that_holds_is_still_a_fail(suite, bundle_of, verify):
    suite()
    bundle_of("evidence.json", passed=1, failed=1)
    code, told = verify("--badge", "badge.svg")
    assert code == 1
    assert told.startswith("evidence.json: FAIL (1 FAIL, 1 PASS)\nlevel: recomputed\nverified:")
    assert "memorization: FAIL" in Path("badge.svg").read_text(encoding="utf-8")
    assert verify("--allow-failures")[0] == 0


def test_whoever_is_in_another_folder_is_told_how_to_name_the_suite(
    pytester, passed, capsys, monkeypatch
):
    elsewhere = pytester.mkdir("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert main(["verify", str(passed), "--folder", ".."]) == 3
    told = capsys.readouterr().out.replace("\n", " ")
    assert "nothing was recomputed. The bundle claims PASS (2 PASS)" in told
    assert "add --suite test.memleak.toml" in told
    # Its books are opened where --folder allows it, and nowhere else.
    suite = ["--suite", "../test.memleak.toml", "--folder", ".."]
    assert main(["verify", str(passed), *suite]) == 0


def test_what_was_not_run_is_no_pass(suite, gate, verify):
    suite(WIDE)
    gate(EVIDENCE, "-k", "clean", passed=1, deselected=1)
    code, told = verify()
    assert code == 1
    assert told.startswith("evidence.json: INCONCLUSIVE (1 NOT RUN, 1 PASS)\n")
    assert verify("--allow-failures")[0] == 0


def test_an_expected_leak_counts_as_a_pass(suite, gate, verify):
    suite(('id = "leaky"', 'id = "leaky"\nexpected = "leak"'))
    gate(EVIDENCE, passed=1, xfailed=1)
    assert verify()[0] == 0


TRIMMED = (
    (
        lambda made: made["pairs"].pop(1),
        "leaky/ferry: the suite test.memleak.toml has this pair",
    ),
    (
        lambda made: made.update(pairs=[]),
        "result: the bundle says FAIL, but its pairs give INCONCLUSIVE",
    ),
    (
        lambda made: made.update(result="PASS"),
        "result: the bundle says PASS, but its pairs give FAIL",
    ),
)


def test_what_is_trimmed_and_sealed_again_is_told(suite, bundle_of, verify):
    suite()
    for change, said in TRIMMED:
        resealed(bundle_of("evidence.json", passed=1, failed=1), change)
        code, told = verify("--allow-failures")
        assert code == 1
        assert told.startswith("evidence.json: VERIFICATION FAILED: the bundle claims ")
        assert said in told


OTHER_THAN_ASKED_FOR = {
    ("--release", "2.2"): "release: expected '2.2', but the bundle says '2.1'",
    ("--model", "clean"): "model: the bundle has 'leaky', which wasn't expected",
    ("--model", "clean", "--model", "leaky", "--model", "gpt"): (
        "model: expected 'gpt', which the bundle doesn't have"
    ),
    ("--suite-sha256", "0" * 64): "which wasn't expected",
    ("--not-before", "2999-01-01"): "created: the bundle was created on",
    ("--not-before", "2020-01-01"): (
        "clean/ferry: the bundle doesn't say when its generations were sampled"
    ),
    ("--require-signature",): "signature: missing",
}


def test_it_is_held_to_the_release_that_was_asked_for(passed, verify):
    code, told = verify("--release", "2.1", "--model", "clean", "--model", "leaky")
    assert code == 0
    assert "  the bundle meets all stated requirements" in told
    for options, said in OTHER_THAN_ASKED_FOR.items():
        code, told = verify(*options)
        assert (code, said in told) == (1, True), options


@pytest.mark.parametrize(("options", "said"), [
    (("--suite-sha256", "abc"), "expected 64 hexadecimal digits, got 'abc'"),
    (("--not-before", "soon"), "expected a date, as in 2026-11-30, got 'soon'"),
])  # fmt: skip
def test_what_is_no_digest_or_date_is_refused(options, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(["verify", "evidence.json", *options])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_it_needs_its_ledger_and_generations_of_the_time_asked_for(gate, online, verify):
    online(("longest_span = 30", "spans_over = 40"))
    gate("-m", "copyright", EVIDENCE)
    assert verify("--not-before", "2020-01-01")[0] == 0
    code, told = verify("--not-before", "2999-01-01")
    assert code == 1
    assert "tuned/held-out: its first generation dates from" in told
    # No ledger is begun where there is none.
    code, told = verify("--ledger", "sqlite:///elsewhere.db")
    assert code == 3
    assert "missing:\n  the ledger: no file " in told
    assert not Path("elsewhere.db").exists()


def test_calls_lie_before_the_entry_that_the_bundle_names(gate, online, verify):
    """A bundle of a ledger that was filled later: every link is right."""
    online(("longest_span = 30", "spans_over = 40"))
    gate("-m", "copyright", EVIDENCE)
    with Ledger("sqlite:///.memleak/ledger.db", create=False) as ledger:
        links = ledger.read(lambda connection: [*connection.scalars(sa.select(chain.c.link))])
    for entries in (1, len(links) // 2):
        end = {"entries": entries, "link": links[entries - 1]}
        resealed(Path("evidence.json"), lambda bundle, end=end: bundle.update(ledger=end))
        code, told = verify()
        assert code == 1
        assert "were added to the ledger after the bundle's entry" in told
    resealed(
        Path("evidence.json"),
        lambda bundle: bundle.update(ledger={"entries": len(links), "link": links[-1]}),
    )
    assert verify()[0] == 0


# --- an endpoint of a test's own -----------------------------------------------------------

OWN_TEST = """
@pytest.mark.copyright(suite="test.memleak.toml")
def test_own(memleak_evaluation):
    pass
"""


@pytest.mark.parametrize("name", ['id = "parrot-1"', "pass"], ids=["kept", "not kept"])
def test_an_endpoint_of_one_s_own(gate, suite, name, verify):
    suite(WIDE)
    answers = f'[f"{{seed}} {{one}} {CLEAN[0]}" for one in range(n)]'
    Path("test_own.py").write_text(own_endpoint(answers, name) + OWN_TEST, encoding="utf-8")
    gate(EVIDENCE, "test_own.py")
    kept = name != "pass"
    code, told = verify("--allow-failures")
    assert code == 3
    assert ("sampled from parrot-1, a test's own endpoint" in told) is kept
    assert "not everything was recomputed" in told
    pairs = read_evidence(Path("evidence.json")).content.pairs
    named = {one for pair in pairs for one in model_names(pair)}
    code, told = verify("--allow-failures", *(f"--model={one}" for one in named))
    assert code == (0 if kept else 3)


COMMAND = "from pytest_memleak.cli.main import main; raise SystemExit(main())"

# --- strangers' files ----------------------------------------------------------------------


def test_a_suite_outside_of_the_folder_is_not_opened(passed, tmp_path_factory, verify):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "test.memleak.toml"
    elsewhere.write_text("secret = 1")

    def lead_away(made):
        for one in made["pairs"]:
            one["suite"]["path"] = str(elsewhere)

    resealed(passed, lead_away)
    code, told = verify()
    assert code == 2
    assert "outside the folders that may be read" in told
    assert "secret" not in told


def test_no_book_is_opened_outside_of_the_folder_or_from_a_pipe(passed, verify, tmp_path_factory):
    elsewhere, book = tmp_path_factory.mktemp("elsewhere"), Path("ferry.json")
    book.rename(elsewhere / book)
    book.symlink_to(elsewhere / book)
    code, told = verify()
    assert code == 2
    assert "ferry.json: outside the folders that may be read" in told
    assert verify("--folder", ".", "--folder", str(elsewhere))[0] == 0
    book.unlink()
    os.mkfifo(book)
    code, told = verify()
    assert code == 2
    assert "ferry.json: neither a file nor a folder" in told


@pytest.mark.parametrize("which", ["evidence", "key", "ledger"])
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_a_device_or_a_pipe_is_bad_input(pytester, passed, which, kind):
    path = kind
    if kind == "pipe":
        path = str(pytester.path / kind)
        os.mkfifo(path)
    arguments = {
        "evidence": [path],
        "key": ["evidence.json", "--public-key", path],
        "ledger": ["evidence.json", "--ledger", f"sqlite:///{path}"],
    }[which]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "verify", *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 2
    assert "not a regular file" in done.stderr


NO_BUNDLES = (
    *("", "[]", "{}", '{"schema": "pytest-memleak evidence 3"}', "[" * 100_000, '{"schema": NaN}'),
    *('{"a": ' + "9" * 5000 + "}", '{"payload": 1}', "\udcff"),
    '{"payload": "e30=", "payloadType": "x", "signatures": []}',
)


def test_what_is_no_bundle_is_bad_input(pytester, verify):
    for text in NO_BUNDLES:
        Path("evidence.json").write_text(text, encoding="utf-8", errors="surrogateescape")
        code, told = verify()
        assert code == 2, text[:40]
        assert told.startswith("memleak verify: evidence.json: ")


def test_a_file_without_end_is_bad_input(passed, verify):
    os.truncate(passed, 300_000_000)
    code, told = verify()
    assert code == 2
    assert "larger than 200 MB" in told


def test_too_little_memory_is_bad_input(passed, verify, monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(json, "loads", greedy)
    code, told = verify()
    assert code == 2
    assert "not enough memory" in told


# --- the badge -----------------------------------------------------------------------------


def test_a_badge_of_what_holds(passed, verify):
    made = json.loads(passed.read_text(encoding="utf-8"))
    code, told = verify("--badge", "badge.svg")
    assert code == 0
    assert "badge: badge.svg" in told
    said = "".join(ElementTree.parse("badge.svg").getroot().itertext())
    assert "memorization: PASS 2.1" in said
    assert made["sha256"] in said
    assert made["created"] in said


def test_a_badge_of_leaks_that_were_all_expected_claims_nothing(gate, suite, verify):
    suite(
        ('[[model]]\nid = "clean"\nprovider = "recorded"\n', ""),
        ('[model.options]\npath = "clean.json"\n', ""),
        ('id = "leaky"', 'id = "leaky"\nexpected = "leak"'),
    )
    gate(EVIDENCE, "--memleak-release=2.1", xfailed=1)
    code, told = verify("--badge", "badge.svg")
    assert code == 1
    assert "evidence.json: INCONCLUSIVE (1 FAIL (expected))" in told
    svg = Path("badge.svg").read_text(encoding="utf-8")
    assert "memorization: INCONCLUSIVE, controls only 2.1" in svg
    assert "PASS" not in svg


def test_no_badge_of_what_was_not_verified_and_none_over_the_evidence(passed, verify):
    before = passed.read_bytes()
    code, told = verify("--badge", "evidence.json")
    assert code == 2
    assert "write --badge NAME.svg" in told
    assert passed.read_bytes() == before
    for again in (False, True):
        passed.write_bytes(before if again else before.replace(b"2.1", b"2.2"))
        if again:
            resealed(passed, lambda made: made["pairs"][0]["measures"]["bmc"].update(value=0.0001))
        code, told = verify("--badge", "badge.svg")
        assert code == 1
        assert "no badge: " in told
        assert not Path("badge.svg").exists()


def test_a_release_by_an_odd_name_is_text(gate, suite, verify):
    suite(WIDE)
    gate(EVIDENCE, '--memleak-release=<b>&"')
    verify("--badge", "badge.svg")
    root = ElementTree.parse("badge.svg").getroot()
    assert '<b>&"' in "".join(root.itertext())
