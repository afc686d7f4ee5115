"""`memleak verify`: the result first, what was checked and what not, and its exit code."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from evidence_files import EVIDENCE, LEAK, WIDE, resealed
from ferry import CLEAN
from marks import full
from screen import run_in_terminal
from suite_files import own_endpoint

from pytest_memleak.cli.main import main
from pytest_memleak.errors import EvidenceError
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import chain
from pytest_memleak.results.evidence_file import read_evidence, write_evidence_file
from pytest_memleak.results.run_evidence import model_names
from pytest_memleak.sampling.retry import Retry


@pytest.fixture
def passed(suite, bundle_of):
    """Evidence of a release that passed, of recorded generations."""
    suite(WIDE)
    return bundle_of("evidence.json", "--memleak-release=2.1", passed=2)


def test_a_pass_that_holds_is_verified(passed, verify):
    code, text = verify()
    assert code == 0
    lines = text.splitlines()
    assert lines[9].startswith("  tried: instruction, 3 samples; not tried: ")
    assert lines[:3] == [
        "evidence.json: PASS (2 PASS), release 2.1",
        "level: recomputed",
        "the bundle's statement:",
    ]
    assert lines[13:17] == [
        "verified:",
        "  pairs recomputed from suite, books, and ledger: 2 of 2",
        "not verified:",
        "  Not signed: the author is unverified",
    ]
    from_files = (
        "all its generations are from files, which don't prove which model wrote them"
    )
    assert f"  clean/ferry: {from_files}" in lines


@pytest.mark.full
def test_verify_shows_progress_in_a_terminal(passed, pytester):
    command = "import sys; from pytest_memleak.cli.main import main; sys.exit(main())"
    program = {"folder": pytester.path, "program": ("-c", command)}
    seen = run_in_terminal(["verify", "evidence.json"], **program)
    assert any(
        line.startswith("reading ") for screen in seen.screens for line in screen
    )
    assert seen.lines[0] == "evidence.json: PASS (2 PASS), release 2.1"


def next_command(verify, *options):
    """The last line, which says what to type next."""
    _, text = verify(*options)
    return text.splitlines()[-1]


def test_a_missing_suite_is_named_in_the_next_command(passed, verify):
    Path("test.memleak.toml").unlink()
    assert next_command(verify, "--release=2.1") == (
        "Next: memleak verify evidence.json --suite FILE --release 2.1"
        "   # with the missing files above"
    )


def test_a_missing_book_is_named_before_the_next_command(passed, verify):
    Path("ferry.json").unlink()
    assert next_command(verify) == (
        "Next: memleak verify evidence.json   # with the missing files above"
    )


def test_what_is_wrong_has_a_next_command(passed, verify):
    assert next_command(verify, "--release=2.2", "--allow-failures") == (
        "Next: memleak verify evidence.json --release 2.2 --allow-failures"
        "   # with the run's own files, or a new bundle from its author"
    )


def test_the_next_command_has_no_password(passed, verify):
    witness = "https://me:hunter2@git.example/w.git"
    line = next_command(verify, "--release=2.2", f"--witness={witness}")
    assert "--witness URL --release 2.2" in line
    assert "hunter2" not in line


def test_what_is_verified_needs_no_next_command(passed, verify):
    assert "Next: " not in verify()[1]


# What is replaced in the suite, options, outcomes, verify's exit code, and how it
# begins.
VERDICTS = {
    "FAIL": (
        (),
        (),
        {"passed": 1, "failed": 1},
        1,
        "FAIL (1 FAIL, 1 PASS)\nlevel: recomputed",
    ),
    "NOT RUN": (
        (WIDE,),
        ("-k", "clean"),
        {"passed": 1, "deselected": 1},
        1,
        "INCONCLUSIVE (1 NOT RUN, 1 PASS)\n",
    ),
    "FAIL (expected)": ((LEAK,), (), {"passed": 1, "xfailed": 1}, 0, "PASS "),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_valid_evidence_that_is_no_pass_has_another_exit_code(
    suite, bundle_of, verify, verdict
):
    replacements, options, outcomes, status, beginning = VERDICTS[verdict]
    suite(*replacements)
    bundle_of("evidence.json", *options, **outcomes)
    code, text = verify("--badge", "badge.svg")
    assert code == status
    assert text.startswith(f"evidence.json: {beginning}")
    assert verify("--allow-failures")[0] == 0
    badge = beginning.partition(" ")[0]
    assert f"memorization: {badge}" in Path("badge.svg").read_text(encoding="utf-8")


TRIMMED = (
    (
        lambda bundle: bundle["pairs"].pop(1),
        "leaky/ferry: the suite test.memleak.toml has this pair",
    ),
    (lambda bundle: bundle["pairs"].append(bundle["pairs"][0]), "clean/ferry: the "),
    (
        lambda bundle: bundle.update(pairs=[]),
        "result: the bundle says FAIL, but its pairs give INCONCLUSIVE",
    ),
    (
        lambda bundle: bundle.update(result="PASS"),
        "result: the bundle says PASS, but its pairs give FAIL",
    ),
)


def test_trimmed_evidence_is_detected_under_a_new_seal(suite, bundle_of, verify):
    suite()
    for change, message in TRIMMED:
        resealed(bundle_of("evidence.json", passed=1, failed=1), change)
        code, text = verify("--allow-failures")
        assert code == 1
        assert text.startswith("evidence.json: VERIFICATION FAILED: the bundle claims ")
        assert message in text


# A file of the release, what is replaced in it, and by what; what is named first as
# different.
CHANGED_FILES = (
    ("ferry.json", "nine lanterns", "nine lamps", "book.file_sha256"),
    ("ferry.json", "}]", "}] ", "book.file_sha256"),
    ("clean.json", "It rained", "Rain fell", "sampled[0].sha256"),
    ("leaky.json", "nine lanterns", "nine lamps", "sampled[0].sha256"),
    ("test.memleak.toml", "longest_block = 30", "longest_block = 300", "suite.sha256"),
    ("test.memleak.toml", "samples = 3", "samples = 2", "suite.sha256"),
    ("test.memleak.toml", "[suite]", "# A comment.\n[suite]", "suite.sha256"),
    (
        "test.memleak.toml",
        'id = "leaky"',
        'id = "leaky"\nexpected = "leak"',
        "suite.sha256",
    ),
)


def test_a_file_that_was_changed_since_is_noticed(passed, verify):
    for name, old, new, first in CHANGED_FILES:
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new), encoding="utf-8")
        code, shown = verify("--allow-failures")
        named = shown.partition("wrong:\n")[2].split(": ")[1]
        assert (code, named) == (1, first), (old, shown)
        assert shown.count("; recomputed: ") <= 8, (
            shown
        )  # what follows from these is counted
        path.write_text(text, encoding="utf-8")


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


def test_evidence_is_held_to_the_stated_requirements(passed, check):
    requirements = ("--release", "2.1", "--model", "clean", "--model", "leaky")
    check((requirements, 0, "  the bundle meets all stated requirements"))
    check(*((options, 1, message) for options, message in OTHER_THAN_ASKED_FOR.items()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--suite-sha256", "abc"), "expected 64 hexadecimal digits, got 'abc'"),
        (("--not-before", "soon"), "expected a date, as in 2026-11-30, got 'soon'"),
    ],
)
def test_a_requirement_that_is_no_digest_or_date_is_rejected(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["verify", "evidence.json", *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


FINETUNE = '[model.finetune]\nbooks = ["training"]\n'


@pytest.fixture
def dead_server(gate, online, server, monkeypatch):
    """Writes evidence of a server that is not there, with some text of the suite replaced."""
    monkeypatch.setattr(
        "pytest_memleak.pipeline.resources.Resources.retry",
        Retry(max_seconds_to_reach=0),
    )

    def write(*replacements):
        online((server.base_url, "http://127.0.0.1:9/v1"), *replacements)
        gate("-m", "copyright", EVIDENCE, errors=1)

    return write


DEAD = pytest.mark.parametrize(
    "replaced", [full(()), ((FINETUNE, ""),)], ids=["fine-tune", "base"]
)


@DEAD
def test_a_pair_of_a_dead_server_holds(dead_server, verify, replaced):
    dead_server(*replaced)
    code, text = verify()
    assert (code, "wrong:" in text, "from files" in text) == (1, False, False), text
    beginning = "evidence.json: INCONCLUSIVE (1 INCONCLUSIVE)\nlevel: recomputed\n"
    assert text.startswith(beginning)
    shown = "  tuned/held-out: why generations are missing\n"
    assert shown in text.partition("not verified:")[2]


@DEAD
def test_changed_issues_of_a_dead_server_are_detected(dead_server, verify, replaced):
    dead_server(*replaced)
    for issues in ([], [{"rule": "recitation", "cause": "None.", "fix": ""}]):
        changed = {"issues": issues}
        resealed(
            Path("evidence.json"),
            lambda b, changed=changed: b["pairs"][0]["completeness"].update(changed),
        )
        _, text = verify("--allow-failures")
        assert "completeness.issues" in text.partition("wrong:")[2]


@pytest.fixture
def sampled(gate, online):
    """The suite of evidence whose generations are in a ledger."""
    suite = online(
        ("longest_span = 30", "spans_over = 40"), ("samples = 6", "samples = 2")
    )
    gate("-m", "copyright", EVIDENCE)
    return suite


def test_evidence_is_held_to_the_date_of_its_first_generation(sampled, verify, check):
    assert verify("--not-before", "2020-01-01")[0] == 0
    later = "tuned/held-out: its first generation dates from"
    check((("--not-before", "2999-01-01"), 1, later))


def test_evidence_needs_its_own_ledger(sampled, check):
    other = ("--ledger", "sqlite:///elsewhere.db")
    check((other, 3, "missing:\n  the ledger: no file "))
    check((other, 3, "Next: memleak verify evidence.json --ledger URL   # with the"))
    assert not Path("elsewhere.db").exists()  # none is begun where there is none
    Ledger("sqlite:///elsewhere.db").close()
    check((other, 1, "elsewhere.db: it has none of the bundle's"))
    check((other, 1, "Next: memleak verify evidence.json --ledger URL   # with the"))


def claim_ledger_end(links, entries):
    """Say that the ledger had so many entries when the bundle was written."""
    end = {"entries": entries, "link": links[entries - 1]}
    resealed(Path("evidence.json"), lambda bundle: bundle.update(ledger=end))


def test_a_ledger_that_was_filled_later_is_detected(sampled, verify, check):
    """Though every link is right."""
    with Ledger("sqlite:///.memleak/ledger.db", create=False) as ledger:
        links = ledger.read(
            lambda connection: [*connection.scalars(sa.select(chain.c.link))]
        )
    for entries in (1, len(links) // 2):
        claim_ledger_end(links, entries)
        check(((), 1, "were added to the ledger after the bundle's entry"))
    claim_ledger_end(links, len(links))
    assert verify()[0] == 0


def test_generations_of_other_weights_are_no_own_endpoint_s(sampled, verify):
    text = sampled.read_text()
    sampled.write_text(
        text.replace("[model.fine", 'weights_version = "2"\n[model.fine')
    )
    assert "a test's own endpoint" not in verify()[1]


OWN_TEST = """
@pytest.mark.copyright(suite="test.memleak.toml")
def test_own(memleak_evaluation):
    pass
"""


@pytest.mark.parametrize("name", ['id = "parrot-1"', "pass"], ids=["kept", "not kept"])
def test_generations_of_one_s_own_endpoint_need_its_name(gate, suite, name, verify):
    suite(WIDE)
    answers = f'[f"{{seed}} {{at}} {CLEAN[0]}" for at in range(n)]'
    Path("test_own.py").write_text(
        own_endpoint(answers, name) + OWN_TEST, encoding="utf-8"
    )
    gate(EVIDENCE, "test_own.py")
    kept = name != "pass"
    code, text = verify("--allow-failures")
    assert code == 3
    assert (
        "sampled from parrot-1, a test's own endpoint instead of the suite's" in text
    ) is kept
    assert ("if this is the model under test, name it with --model" in text) is kept
    assert "not everything was recomputed" in text
    assert ("Next: memleak verify evidence.json --model NAME " in text) is kept
    pairs = read_evidence(Path("evidence.json")).content.pairs
    names = {name for pair in pairs for name in model_names(pair)}
    code, text = verify("--allow-failures", *(f"--model={name}" for name in names))
    assert code == (0 if kept else 3)


def test_a_suite_outside_of_the_folder_is_not_opened(passed, tmp_path_factory, verify):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "test.memleak.toml"
    elsewhere.write_text("secret = 1")

    def lead_away(bundle):
        for pair in bundle["pairs"]:
            pair["suite"]["path"] = str(elsewhere)

    resealed(passed, lead_away)
    code, text = verify()
    assert (code, "outside the folders that may be read" in text) == (2, True)
    assert "secret" not in text


def test_a_book_outside_of_the_folder_needs_permission(
    passed, verify, tmp_path_factory, check
):
    elsewhere, book = tmp_path_factory.mktemp("elsewhere"), Path("ferry.json")
    book.rename(elsewhere / book)
    book.symlink_to(elsewhere / book)
    check(((), 2, "ferry.json: outside the folders that may be read"))
    assert verify("--folder", ".", "--folder", str(elsewhere))[0] == 0


def test_a_book_that_is_a_pipe_is_not_opened(passed, check):
    book = Path("ferry.json")
    book.unlink()
    os.mkfifo(book)
    check(((), 2, "ferry.json: neither a file nor a folder"))


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_a_device_or_a_pipe_is_bad_input(pytester, passed, kind, capsys):
    path = str(pytester.path / kind)
    if kind == "pipe":
        os.mkfifo(path)
    key, ledger = ["--public-key", path], ["--ledger", f"sqlite:///{path}"]
    for arguments in ([path], ["evidence.json", *key], ["evidence.json", *ledger]):
        assert main(["verify", *arguments]) == 2
        assert "not a regular file" in capsys.readouterr().err


NO_BUNDLES = (
    *(
        "",
        "[]",
        "{}",
        '{"schema": "pytest-memleak evidence 3"}',
        "[" * 100_000,
        '{"schema": NaN}',
    ),
    *('{"schema": ' + "9" * 21 + "}", '{"payload": 1}', "\udcff"),
    '{"payload": "e30=", "payloadType": "x", "signatures": []}',
)


def test_a_file_that_is_no_bundle_is_bad_input(pytester, verify):
    for content in NO_BUNDLES:
        Path("evidence.json").write_text(
            content, encoding="utf-8", errors="surrogateescape"
        )
        code, text = verify()
        assert code == 2, content[:40]
        assert text.startswith("memleak verify: evidence.json: ")
        assert ("999 isn't a number of up to 20 digits" in text) is (
            "9" * 21 in content
        )


def test_too_little_memory_is_bad_input(passed, verify, monkeypatch):
    def exhaust_memory(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(json, "loads", exhaust_memory)
        code, text = verify()
    assert (code, "not enough memory" in text) == (2, True)


def test_a_file_of_over_100_mb_is_bad_input(passed, check):
    os.truncate(passed, 190_000_000)
    check(((), 2, "larger than 100 MB"))


def test_a_file_of_too_many_values_is_bad_input(passed, check):
    passed.write_bytes(b"[" + b"{}," * 5_000_001 + b"{}]")
    check(((), 2, "not a bundle: it has over 10,000,000 values"))


def test_a_bundle_that_no_program_would_read_is_not_written(pytester):
    content = {"pairs": ["x" * 1_000_000] * 101}
    with pytest.raises(EvidenceError, match="larger than 100 MB, which no"):
        write_evidence_file(content, Path("large.json"))
    assert not Path("large.json").exists()


def test_a_badge_shows_the_verified_result(suite, bundle_of, check):
    suite(WIDE)
    path = bundle_of("evidence.json", '--memleak-release=<b>&"', passed=2)
    bundle = json.loads(path.read_text(encoding="utf-8"))
    check((("--badge", "badge.svg"), 0, "badge: badge.svg"))
    badge = "".join(ElementTree.parse("badge.svg").getroot().itertext())
    for shown in ('memorization: PASS <b>&"', bundle["sha256"], bundle["created"]):
        assert shown in badge


def test_a_badge_of_leaks_that_were_all_expected_claims_nothing(gate, suite, check):
    suite(
        ('[[model]]\nid = "clean"\nprovider = "recorded"\n', ""),
        ('[model.options]\npath = "clean.json"\n', ""),
        ('id = "leaky"', 'id = "leaky"\nexpected = "leak"'),
    )
    gate(EVIDENCE, "--memleak-release=2.1", xfailed=1)
    check(
        (("--badge", "badge.svg"), 1, "evidence.json: INCONCLUSIVE (1 FAIL (expected))")
    )
    svg = Path("badge.svg").read_text(encoding="utf-8")
    assert "memorization: INCONCLUSIVE, controls only 2.1" in svg
    assert "PASS" not in svg


def test_a_badge_never_replaces_the_evidence(passed, check):
    before = passed.read_bytes()
    check((("--badge", "evidence.json"), 2, "write --badge NAME.svg"))
    assert passed.read_bytes() == before


def claim_other_measure(bundle):
    bundle["pairs"][0]["measures"]["bmc"].update(value=0.0001)


def test_changed_evidence_gets_no_badge(passed, check):
    passed.write_bytes(passed.read_bytes().replace(b"2.1", b"2.2"))
    check((("--badge", "badge.svg"), 1, "no badge: "))
    assert not Path("badge.svg").exists()


def test_evidence_that_is_wrong_under_a_new_seal_gets_no_badge(passed, check):
    resealed(passed, claim_other_measure)
    check((("--badge", "badge.svg"), 1, "no badge: "))
    assert not Path("badge.svg").exists()
