"""A maker who wants `memleak verify` to end with 0 for a release that has not earned it."""

from pathlib import Path

from ferry import CLEAN
from suite_files import own_endpoint, read_bundle, read_pair, write_suite
from test_probability import NGRAM, SUITE
from test_verify import EVIDENCE, resealed, verify  # noqa: F401 - a fixture

OWN = own_endpoint(f"[{CLEAN!r}[(seed + one) % 3] for one in range(n)]", 'id = "parrot-1"')
OWN += "def test_own(memleak_evaluation): pass\n"


def as_python_takes_them_for_equal(made):
    made["pairs"][0]["settings"]["stop_on_fail"] = 0


def of_another_type(made):
    made["pairs"][0]["sampled"][0]["refused"] = False


def older(made):
    made["program"]["pytest-memleak"] = "0.0.1"
    made["limitations"] = []


# What is changed in a bundle that holds, which is sealed again; the exit code, and what is said.
CHANGES = (
    (lambda made: made.update(note="audited"), 2, "note: Unexpected keyword argument"),
    (lambda made: made.pop("limitations"), 2, "limitations: Field required"),
    (lambda made: made.update(limitations=[]), 1, "limitations: they differ from this version's"),
    (lambda made: made["limitations"].pop(), 1, "limitations: they differ from this version's"),
    (lambda made: made.update(created="2999-01-01T00:00:00+00:00"), 1, "is in the future"),
    (lambda made: made["ledger"].update(entries=0), 2, "ledger.entries: Input should be greater"),
    (lambda made: made["ledger"].update(entries=-1), 2, "ledger.entries: Input should be greater"),
    (lambda made: made["ledger"].update(link=""), 1, "The chain differs from the bundle's"),
    (as_python_takes_them_for_equal, 1, "stop_on_fail: the bundle says 0; recomputed: false"),
    (of_another_type, 2, "sampled.0.refused: Input should be a valid integer"),
    (older, 0, "limitations: written by a different version"),
)


def test_changes_around_the_pairs_are_found(gate, online, verify):  # noqa: F811
    suite = online(("longest_span = 30", "spans_over = 40"))
    gate("-m", "copyright", EVIDENCE)
    path = Path("evidence.json")
    before = path.read_bytes()
    assert verify("--suite", suite.name)[0] == 0
    for change, code, said in CHANGES:
        resealed(path, change)
        ended, told = verify()
        assert (ended, said in told) == (code, True), told
        path.write_bytes(before)
    # Another suite than the one that was given.
    Path("strict.memleak.toml").write_text(suite.read_text().replace("= 40", "= 10"))
    code, told = verify("--suite", "strict.memleak.toml")
    assert code == 1
    assert "the bundle has no pair of the given suite strict.memleak.toml" in told


def test_an_answerer_that_is_none_of_the_suite_s(gate, suite, own_tests, verify):  # noqa: F811
    """The model that leaks is left out; its pairs stand there by what a test has brought."""
    suite()
    own_tests(OWN)
    gate(EVIDENCE, "test_own.py", passed=2)
    made = read_bundle()
    assert made["result"] == "PASS"
    assert {pair["model"]["endpoint"] for pair in made["pairs"]} == {"parrot-1"}
    code, told = verify()
    assert code == 3
    assert "not everything was recomputed" in told
    question = "instead of the suite's; if this is the model under test, name it with --model"
    assert f"a test's own endpoint {question}" in told
    assert verify("--model", "parrot-1")[0] == 0
    assert verify("--model", "leaky")[0] == 1


def test_the_ledger_of_windows_is_not_left_out(gate, stories, verify):  # noqa: F811
    write_suite(stories, SUITE + NGRAM, ("ORDER", "2"))
    gate("-m", "copyright", EVIDENCE, passed=1)
    assert verify()[0] == 0
    resealed(Path("evidence.json"), lambda made: made.update(ledger=None))
    code, told = verify()
    assert code == 1
    assert "ledger: the bundle has generations from a ledger" in told


def test_the_ledger_of_imported_answers_is_not_left_out(pytester, online, server, verify):  # noqa: F811
    from pytest_memleak.cli.main import main

    online(('[model.finetune]\nbooks = ["training"]\n', ""))
    pytester.runpytest("-m", "copyright", EVIDENCE)
    pair = read_pair()
    book, endpoint = pair["book"]["id"], pair["model"]["endpoint"]
    drawn = ["--endpoint", endpoint, "--temperature", "1", "-o", "drawn.json"]
    assert main(["ledger", "export", *drawn]) == 0
    Path(".memleak/ledger.db").rename("elsewhere.db")
    asked = ["--suite", "online.memleak.toml", "--model", "tuned", "--book", book]
    assert main(["ledger", "import", "--endpoint", endpoint, *asked, "drawn.json"]) == 0
    pytester.runpytest("-m", "copyright", EVIDENCE, "--memleak-offline")
    assert read_pair()["provenance"]["imported"]
    assert "of its generations are from files" in verify("--allow-failures")[1]
    resealed(Path("evidence.json"), lambda made: made.update(ledger=None))
    assert "ledger: the bundle has generations from a ledger" in verify("--allow-failures")[1]
