"""A suite file and a test that brings its own endpoint, in one process: two results, told apart."""

import json
from xml.etree import ElementTree

import pytest
from marks import full

OWN = """
import pytest

class Parrot:
    id = "parrot-1"

    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        text = "The ferryman counted nine lanterns along the quay and did not like the number."
        return [f"{seed} {one} {text}" for one in range(n)]

@pytest.fixture(scope="session")
def memleak_endpoint():
    return Parrot()

@pytest.mark.copyright(suite="../test.memleak.toml")
def test_own(memleak_evaluation):
    assert memleak_evaluation.verdict == "FAIL"
    assert memleak_evaluation.endpoint == "parrot-1"
"""
SUITE, TEST = "test.memleak.toml", "own/test_own.py"


@pytest.fixture
def both(pytester, suite):
    suite()
    (pytester.path / "own").mkdir()
    (pytester.path / TEST).write_text(OWN, encoding="utf-8")


@pytest.mark.parametrize(
    "paths", [(SUITE, TEST), (TEST, SUITE), full((SUITE, TEST, "-n", "2"))], ids=" ".join
)
def test_each_has_its_own_result_and_evidence_holds_both(pytester, both, paths):
    result = pytester.runpytest(*paths, "-k", "clean", "--memleak-evidence=evidence.json")
    assert result.parseoutcomes()["passed"] == 2
    assert "failed" not in result.parseoutcomes()
    pairs = json.loads((pytester.path / "evidence.json").read_text("utf-8"))["pairs"]
    told = {(one["model"]["endpoint"], one["verdict"]) for one in pairs}
    assert len(pairs) == 3
    assert told == {(None, "PASS"), ("parrot-1", "FAIL"), (None, "NOT RUN")}


def test_alone_it_is_the_same(pytester, both):
    pytester.runpytest(TEST, "-k", "clean").assert_outcomes(passed=1, deselected=1)


def test_what_is_reported_is_what_was_asked_for_not_the_newest(pytester, both):
    pytester.makepyfile(
        test_again="""
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_again(memleak_evaluation):
            assert memleak_evaluation.verdict == "PASS"
        """
    )
    result = pytester.runpytest(
        *(SUITE, TEST, "test_again.py", "-k", "clean", "--junitxml=junit.xml")
    )
    assert result.parseoutcomes()["passed"] == 3
    cases = ElementTree.parse(pytester.path / "junit.xml").iter("testcase")
    told = {
        case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")}
        for case in cases
    }
    spans = {name: one["memleak.longest_span"] for name, one in told.items()}
    assert spans == {
        "test_memorization[clean/ferry]": "0",
        "test_own[clean/ferry]": "14",
        "test_again[clean/ferry]": "0",
    }


def test_what_a_comparison_says_is_of_the_endpoint_that_was_asked(pytester, both):
    own = OWN.replace("memleak_evaluation)", "memorization)").replace(
        'assert memleak_evaluation.verdict == "FAIL"\n', "assert memorization.longest_span <= 5\n"
    )
    (pytester.path / TEST).write_text(
        "\n".join(line for line in own.splitlines() if "memleak_evaluation.endpoint" not in line)
    )
    # Of a test that evaluates with an endpoint of its own, reports say no more without it.
    result = pytester.runpytest(TEST, SUITE, "-k", "clean", "--memleak-quote=full")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*longest span of 14 words <= 5"])
