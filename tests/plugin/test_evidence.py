"""--memleak-evidence, --memleak-signing-key and `memleak verify`."""

import json
import random
import subprocess
from pathlib import Path

import pytest
from ledger_file import ledger_file
from marks import full

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import seal_bundle

WIDE = ("longest_span = 30", "bmc = 0.2\nlongest_span = 30\nnv_longest_span = 60")
RUN = ("-m", "copyright", "--memleak-evidence=evidence.json")


@pytest.fixture
def evidence(pytester, online, server):
    online(WIDE)
    pytester.runpytest(*RUN).assert_outcomes(failed=1)
    return pytester.path / "evidence.json"


def verify(*arguments):
    return main(["verify", "evidence.json", "--allow-failures", *arguments])


def test_it_says_what_was_asked_measured_and_judged(evidence):
    made = json.loads(evidence.read_text())
    [pair] = made["pairs"]
    assert pair["verdict"] == "FAIL"
    assert pair["counts"]["received"] == pair["counts"]["requested"] == 24
    assert pair["limits"]["longest_span"] == {"limit": 30, "set_by": "limits.longest_span"}
    assert pair["model"]["job"].startswith("ftjob")
    assert pair["model"]["endpoint"]
    assert {"bmc", "longest_block", "longest_span", "spans_over", "nv_longest_span"} <= set(
        pair["measures"]
    )
    assert made["program"]["pytest-memleak"]
    assert made["limitations"]


@pytest.mark.full
def test_it_tells_of_each_round_in_numbers(evidence):
    [pair] = json.loads(evidence.read_text())["pairs"]
    rounds = pair["rounds"]
    by_round = rounds["measures"]
    assert list(map(len, by_round.values())) == [6] * 5
    for name in ("longest_span", "longest_passage", "nv_longest_passage"):
        assert max(by_round[name]) == pair["measures"][name]["value"]
    words = pair["measures"]["bmc"]["value"] * pair["book"]["words"]
    assert max(by_round["bmc"]) <= words <= sum(by_round["bmc"])
    assert min(by_round["spans_over"]) > 0
    assert (rounds["alike"], rounds["units"]) == (True, 6)
    assert rounds["variance"] > 0 < rounds["typical"] < 1


def test_an_honest_bundle_holds(evidence, capsys):
    assert verify() == 0
    told = capsys.readouterr().out
    assert told.startswith("evidence.json: FAIL (1 FAIL)\n")
    assert "1 of 1 pairs recomputed from suite, books, and ledger" in told
    assert main(["verify", "evidence.json"]) == 1


@pytest.mark.full
def test_the_same_from_two_processes(pytester, online, server):
    online(WIDE)
    pytester.runpytest(*RUN, "-n", "2").assert_outcomes(failed=1)
    assert verify() == 0


def leaves(value, path=()):
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path


def changed(value):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case None:
            return "something"
        case _:
            return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"


def put(made, path):
    at = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = changed(at[path[-1]])
    made |= seal_bundle(made)


@pytest.mark.full
@pytest.mark.parametrize("some", [12, full(None)])
def test_a_changed_number_is_found_even_if_the_digest_was_made_anew(evidence, some, capsys):
    text = evidence.read_text()
    numbers = [
        one
        for one in leaves(json.loads(text))
        if one[0] == "pairs" and not {"path", "tests"} & {*one}
    ]
    for path in random.Random(some).sample(numbers, some) if some else numbers:
        if path[-1] == "stopped_early":
            continue
        made = json.loads(text)
        put(made, path)
        evidence.write_text(json.dumps(made, indent=1) + "\n")
        assert verify() != 0, path


def test_a_changed_generation_is_found(evidence, capsys):
    with ledger_file(Path()) as ledger:
        text = ledger.execute("select text from generations order by rowid limit 1").fetchone()[0]
        ledger.execute(
            "update generations set text = ? where rowid = (select min(rowid) from generations)",
            ((b"!" if isinstance(text, bytes) else "!") + text,),
        )
    assert verify() == 1
    assert ": generation 0: text is" in capsys.readouterr().out


@pytest.fixture
def keys(pytester):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    for name in ("ours", "theirs"):
        openssl("genpkey", "-algorithm", "ed25519", "-out", f"{name}.key")
        openssl("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")


def test_an_unsigned_bundle_has_no_signature_to_check(evidence, keys, capsys):
    assert verify("--public-key", "ours.pub") == 1
    assert "signature: there is none" in capsys.readouterr().out


def test_a_key_that_is_none_is_refused_before_anything_runs(pytester, online, server):
    online(WIDE)
    (pytester.path / "bad.key").write_text("nonsense")
    result = pytester.runpytest(*RUN, "--memleak-signing-key=bad.key", "--junitxml=out.xml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert server.plan.counts() == {}
    assert "bad.key: not an unencrypted private key" in result.stderr.str()


def test_signing_needs_a_bundle(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-signing-key=x.key")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-signing-key needs --memleak-evidence*"])


def test_recorded_generations_have_evidence_too(pytester, suite, capsys):
    suite()
    pytester.runpytest("--memleak-evidence=evidence.json").assert_outcomes(passed=1, failed=1)
    assert verify() == 0
