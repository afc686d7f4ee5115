"""The plugin among pytest's own options and other plugins."""

import sys
import textwrap

import pytest


def test_collect_only_shows_every_pair(pytester, suite):
    suite()
    result = pytester.runpytest("--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [
            "test.memleak.toml::test_memorization[[]clean/ferry[]]",
            "test.memleak.toml::test_memorization[[]leaky/ferry[]]",
        ]
    )
    assert "memorization =" not in result.stdout.str()


@pytest.mark.full
def test_pairs_run_in_xdists_workers_and_the_controller_reports(pytester, suite):
    suite()
    result = pytester.runpytest("-n", "2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*clean/ferry*PASS*", "*leaky/ferry*FAIL*", "*“the ferryman*”"])


def test_last_failed(pytester, suite):
    suite()
    pytester.runpytest().assert_outcomes(passed=1, failed=1)
    pytester.runpytest("--lf").assert_outcomes(failed=1)


def test_a_node_id_selects_a_pair(pytester, suite):
    suite()
    node = "test.memleak.toml::test_memorization[clean/ferry]"
    pytester.runpytest(node).assert_outcomes(passed=1)


def test_the_marker_selects_the_pairs(pytester, suite):
    suite()
    pytester.makepyfile("def test_other(): pass")
    pytester.runpytest("-m", "copyright").assert_outcomes(passed=1, failed=1, deselected=1)
    pytester.runpytest("-m", "not copyright").assert_outcomes(passed=1, deselected=2)


def test_without_the_plugin_suites_are_not_seen(pytester, suite):
    suite()
    pytester.makepyfile("def test_other(): pass")
    pytester.runpytest("-p", "no:memleak").assert_outcomes(passed=1)


def test_quiet_and_no_summary_without_pairs(pytester):
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=1)
    assert "memleak" not in result.stdout.str().replace("memleak-0", "")


def test_unused_it_imports_nothing_heavy_and_prints_nothing(pytester):
    pytester.makepyfile("def test_other(): pass")
    pytester.makeconftest(
        textwrap.dedent(
            """
            import sys

            def pytest_sessionfinish():
                ours = [name for name in sys.modules if name.startswith("pytest_memleak")]
                print("LOADED", sorted(ours))
                heavy = {"numpy", "pydantic", "sqlalchemy", "rich", "lxml", "openai", "torch"}
                print("HEAVY", sorted(heavy & set(sys.modules)))
            """
        )
    )
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*LOADED*[[]'pytest_memleak', *.plugin', *.hooks', *.options'[]]",
            "HEAVY [[][]]",
        ]
    )


def test_a_test_of_ones_own_runs_for_every_pair(pytester, suite):
    suite()
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_spans(memorization, memleak_pair, memleak_book):
            assert memleak_book.id == memleak_pair.book.id
            assert memorization.longest_span <= 12
        """
    )
    result = pytester.runpytest("-k", "spans")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        ["*longest span of 16 words <= 12", "*leaky/ferry: p_id1, words 0-16*"]
    )


def test_a_pair_is_evaluated_once_for_all_its_tests(pytester, suite):
    suite()
    pytester.makepyfile(
        test_a="""
        import pytest
        pytestmark = pytest.mark.copyright(suite="test.memleak.toml")
        seen = {}

        def test_one(memorization, memleak_pair):
            seen[memleak_pair.id] = memorization

        def test_two(memorization, memleak_pair):
            assert memorization.coverage is seen[memleak_pair.id].coverage
        """
    )
    pytester.runpytest("-k", "one or two").assert_outcomes(passed=4, deselected=2)


def test_ours_without_a_suite_says_what_is_missing(pytester):
    pytester.makepyfile("def test_it(memorization): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*this test needs a suite:*"])


ENDPOINT = """
    import pytest

    class Parrot:
        def __init__(self):
            self.asked = []

        def sample(self, instruction, *, n, temperature, max_tokens, seed):
            self.asked.append((instruction, n, temperature, max_tokens))
            return [f"WORDS {len(self.asked)}"] * n

    @pytest.fixture(scope="session")
    def memleak_endpoint():
        return Parrot()
"""


def test_an_endpoint_of_ones_own_takes_the_suites_place(pytester, suite):
    suite()
    passage = "counted nine lanterns along the quay and did not like the number"
    pytester.makeconftest(textwrap.dedent(ENDPOINT).replace("WORDS", passage))
    result = pytester.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*clean/ferry*6/6*FAIL*"])


def test_an_endpoint_that_breaks_is_inconclusive_without_its_locals(pytester, suite):
    suite()
    pytester.makeconftest(
        """
        import pytest

        class Broken:
            def sample(self, instruction, *, n, temperature, max_tokens, seed):
                raise ZeroDivisionError(instruction)

        @pytest.fixture(scope="session")
        def memleak_endpoint():
            return Broken()
        """
    )
    result = pytester.runpytest("-l", "--full-trace")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE: *ZeroDivisionError*"])
    result.stdout.no_fnmatch_line("*superstition*")


@pytest.mark.skipif(sys.platform == "win32", reason="terminals differ")
def test_nothing_a_model_or_a_book_says_reaches_the_terminal_raw(pytester, suite):
    evil = "\x1b[31mred\x07 \u202e desrever \x00 <script>alert(1)</script>"
    suite(
        ('id = "ferry"\nsource', 'id = "ferry"\ntitle = "\\u202eyrref"\nsource'),
        leaky=(
            evil,
            "The ferryman counted nine lanterns along the quay and did not \x1b[2J like",
            "B",
        ),
    )
    result = pytester.runpytest("--junitxml=out.xml")
    result.assert_outcomes(passed=1, failed=1)
    said = result.stdout.str() + (pytester.path / "out.xml").read_text(encoding="utf-8")
    assert not set(said) & {"\x1b", "\x07", "\x00", "\u202e"}


def test_suites_of_one_name_in_two_folders_are_told_apart(pytester, suite):
    pytester.mkdir("a")
    pytester.mkdir("b")
    for folder in "ab":
        suite()
        for name in ("test.memleak.toml", "ferry.json", "clean.json", "leaky.json"):
            (pytester.path / name).rename(pytester.path / folder / name)
    result = pytester.runpytest("--junitxml=junit.xml")
    result.assert_outcomes(passed=2, failed=2)
    for folder in "ab":
        result.stdout.fnmatch_lines([f"{folder}/test.memleak.toml *leaky/ferry*FAIL*"])
        junit = (pytester.path / "junit.xml").read_text()
        assert f"memleak.suite.{folder}/test.memleak.toml.sha256" in junit
