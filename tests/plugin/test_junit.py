"""--junitxml: properties and verdicts, and not a word of the book."""

import json
from xml.etree import ElementTree

import pytest
from ferry import CLEAN
from marks import full

TEXTS = ("lanterns along the quay", "grandmother had warned", "crossed at night", "boatman")


def properties(element):
    return {one.get("name"): one.get("value") for one in element.iterfind("properties/property")}


@pytest.fixture
def report(pytester, suite):
    def run(*arguments, **files):
        suite(*files.pop("replacements", ()), **files)
        result = pytester.runpytest("--junitxml=out.xml", *arguments)
        text = (pytester.path / "out.xml").read_text(encoding="utf-8")
        return result, text, ElementTree.fromstring(text).find("testsuite")

    return run


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_what_the_run_used_stands_once_for_the_whole_suite(report, workers):
    _, _, testsuite = report(*workers)
    told = properties(testsuite)
    assert len(told["memleak.suite.test.memleak.toml.sha256"]) == 64
    assert told["memleak.version"]
    assert not [name for name in told if name.startswith("memleak.book")]


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_what_differs_from_pair_to_pair_stands_with_each(report, workers):
    few = '[[pair]]\nmodel = "leaky"\nbook = "ferry"\nsamples = 1\n[[model]]\nid = "clean"'
    _, _, testsuite = report(*workers, replacements=[('[[model]]\nid = "clean"', few)])
    cases = {case.get("name"): properties(case) for case in testsuite.iterfind("testcase")}
    samples = {name: told["memleak.setting.samples"] for name, told in cases.items()}
    assert samples == {
        "test_memorization[clean/ferry]": "3", "test_memorization[leaky/ferry]": "1"
    }  # fmt: skip
    for told in cases.values():
        assert told["memleak.provider"] == "recorded"
        assert told["memleak.setting.probe.kind"] == "instruction"
        assert len(told["memleak.suite_sha256"]) == 64


def test_two_suites_may_call_two_books_by_one_id(pytester, report):
    def second():
        folder = pytester.mkdir("second")
        for name in ("test.memleak.toml", "clean.json", "leaky.json"):
            (folder / name).write_text((pytester.path / name).read_text())
        book = json.loads((pytester.path / "ferry.json").read_text())
        book[0]["excerpt_text"] += " And so he went home."
        (folder / "ferry.json").write_text(json.dumps(book))

    report()
    second()
    pytester.runpytest("--junitxml=both.xml", "-k", "clean").assert_outcomes(passed=2, deselected=2)
    testsuite = ElementTree.parse(pytester.path / "both.xml").getroot().find("testsuite")
    digests = {properties(case)["memleak.book_sha256"] for case in testsuite.iterfind("testcase")}
    assert len(digests) == 2


def test_of_a_test_of_ones_own_the_suite_s_verdict_is_told_as_the_suite_s(pytester, report):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_mine(memorization):
            assert memorization.words == 31
        """
    )
    result, _, testsuite = report("-k", "mine and leaky")
    result.assert_outcomes(passed=1, deselected=3)
    told = properties(testsuite.find("testcase"))
    assert told["memleak.suite_verdict"] == "FAIL"
    assert told["memleak.suite_verdict.meaning"] == (
        "by its limits, test.memleak.toml judges leaky/ferry FAIL; this test passes or fails by "
        "its own assertions"
    )
    assert "memleak.verdict" not in told


@pytest.mark.full
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_each_case_has_its_measures_limits_and_verdict(report, workers):
    _, _, testsuite = report(*workers)
    cases = {case.get("name"): case for case in testsuite.iterfind("testcase")}
    leaky = properties(cases["test_memorization[leaky/ferry]"])
    assert leaky["memleak.verdict"] == "FAIL"
    assert leaky["memleak.longest_span"] == "16"
    assert leaky["memleak.limit.longest_span"] == "10"
    assert leaky["memleak.generations_received"] == "6"
    assert cases["test_memorization[leaky/ferry]"].find("failure") is not None
    assert properties(cases["test_memorization[clean/ferry]"])["memleak.verdict"] == "PASS"


def test_inconclusive_is_an_error_with_its_verdict(report):
    _, _, testsuite = report(clean=CLEAN[:1])
    clean = testsuite.find("testcase[@name='test_memorization[clean/ferry]']")
    assert clean.find("error") is not None
    assert properties(clean)["memleak.verdict"] == "INCONCLUSIVE"


def test_no_text_of_book_or_model_is_in_it(report):
    result, text, _ = report()
    result.assert_outcomes(passed=1, failed=1)
    assert [words for words in TEXTS if words in text.lower()] == []


def test_no_text_gets_in_through_output_logs_locals_or_assertions(pytester, report):
    pytester.makepyfile(
        """
        import logging
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_mine(memorization, memleak_book):
            text = " ".join(one.text for one in memleak_book.excerpts)
            print(text)
            logging.getLogger().warning(text)
            assert text == ""
        """
    )
    result, text, _ = report("-l", "-k", "mine", "-o", "junit_logging=all", "--memleak-quote=0")
    result.assert_outcomes(failed=2, deselected=2)
    assert [words for words in TEXTS if words in text.lower()] == []
    assert "[captured output redacted]" in text
    assert [words for words in TEXTS if words in result.stdout.str().lower()] == []


@pytest.mark.full
def test_a_test_of_ones_own_says_whose_verdict_it_is(pytester, report):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_mine(memorization):
            pass
        """
    )
    result, _, testsuite = report("-k", "leaky")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    mine = properties(testsuite.find("testcase[@name='test_mine[leaky/ferry]']"))
    assert "memleak.verdict" not in mine
    assert mine["memleak.suite_verdict"] == "FAIL"
    assert mine["memleak.suite_verdict.meaning"] == (
        "by its limits, test.memleak.toml judges leaky/ferry FAIL; "
        "this test passes or fails by its own assertions"
    )
    suites = properties(testsuite.find("testcase[@name='test_memorization[leaky/ferry]']"))
    assert suites["memleak.verdict"] == "FAIL"
    assert "memleak.suite_verdict" not in suites
