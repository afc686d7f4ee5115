"""--memleak-evidence: what stands in a bundle, and that a change of any of it is found."""

import json
import random
from pathlib import Path

import pytest
from ledger_file import ledger_file
from marks import full

from pytest_memleak.ledger.stored_text import compress_texts, decompress_texts
from pytest_memleak.results.evidence_file import seal_bundle

WIDE = ("longest_span = 30", "bmc = 0.2\nlongest_span = 30\nnv_longest_span = 60")


@pytest.fixture(params=[(), full(("-n", "2"))], ids=["", "-n 2"])
def evidence(request, online, gate):
    online(WIDE)
    gate(
        "-m", "copyright", "--memleak-evidence=evidence.json", *request.param, failed=1
    )
    return Path("evidence.json")


def test_evidence_says_what_was_requested_measured_and_judged(evidence):
    bundle = json.loads(evidence.read_text())
    [pair] = bundle["pairs"]
    assert pair["verdict"] == "FAIL"
    assert pair["completeness"]["received"] == pair["completeness"]["requested"] == 24
    limit = {"limit": 30, "set_by": "limits.longest_span"}
    assert pair["limits"]["longest_span"] == limit
    assert pair["model"]["job"].startswith("ftjob")
    assert pair["model"]["endpoint"]
    assert bundle["program"]["pytest-memleak"]
    assert bundle["limitations"]


def test_evidence_holds_the_measures_of_every_round(evidence):
    [pair] = json.loads(evidence.read_text())["pairs"]
    measures, rounds = pair["measures"], pair["rounds"]
    by_round = rounds["measures"]
    assert list(map(len, by_round.values())) == [6] * 5
    for name in ("longest_span", "longest_passage", "nv_longest_passage"):
        assert max(by_round[name]) == measures[name]["value"]
    assert {"bmc", "longest_block", "spans_over", "nv_longest_span"} <= {*measures}
    covered = measures["bmc"]["value"] * pair["book"]["words"]
    assert max(by_round["bmc"]) <= covered <= sum(by_round["bmc"])
    assert min(by_round["spans_over"]) > 0
    assert (rounds["alike"], rounds["units"]) == (True, 6)
    assert rounds["variance"] > 0 < rounds["typical"] < 1


def change_first_generation(ledger):
    """Change the text of a stored generation behind the ledger's back."""
    parts = "call_texts where call = (select min(call) from call_texts)"
    stored = ledger.execute(f"select * from {parts} order by part").fetchall()
    (text, reasoning), *others = decompress_texts(row[1:] for row in stored)
    ledger.execute(f"delete from {parts}")
    changed_texts = compress_texts([(f"!{text}", reasoning), *others])
    rows = [(stored[0][0], part, data) for part, data in enumerate(changed_texts)]
    ledger.executemany("insert into call_texts values (?, ?, ?)", rows)


def test_evidence_holds_until_a_stored_generation_is_changed(evidence, verify, check):
    code, text = verify()
    assert code == 1
    assert text.startswith("evidence.json: FAIL (1 FAIL)\n")
    allowed = ("--allow-failures",)
    check((allowed, 0, "pairs recomputed from suite, books, and ledger: 1 of 1"))
    with ledger_file(Path()) as ledger:
        change_first_generation(ledger)
    check((allowed, 1, ": generation 0: text is"))


# Nothing that is kept tells these: only a signature holds them.
TAKEN_AS_SAID = {
    "release",
    "selection",
    "program",
    "platform",
    "limitations",
    "created",
    "sha256",
}
TAKEN_AS_SAID |= {"tests", "path", "stopped_early", "offline", "made_by"}


def leaves(value, path=()):
    """The path of every value that holds no others."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in entries:
            yield from leaves(inner, (*path, key))
    else:
        yield path


def holder(bundle, path):
    """What holds the value at this path."""
    for step in path[:-1]:
        bundle = bundle[step]
    return bundle


def changed(value, chosen):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + chosen.choice((1, -1, 0.5))
        case None:
            return chosen.choice(("something", 0, False))
        case str():
            return chosen.choice((value + "x", value[:-1] if value else "x", None, 7))


@pytest.mark.full
@pytest.mark.parametrize("evidence", [()], indirect=True)
def test_a_changed_number_is_found_even_under_a_new_digest(evidence, verify):
    text = evidence.read_text()
    for path in leaves(json.loads(text)):
        if TAKEN_AS_SAID & {*path}:
            continue
        bundle = json.loads(text)
        parent = holder(bundle, path)
        parent[path[-1]] = changed(parent[path[-1]], random.Random(str(path)))
        evidence.write_text(json.dumps(bundle | seal_bundle(bundle), indent=1) + "\n")
        assert verify("--allow-failures")[0] != 0, path
