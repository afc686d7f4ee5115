"""The ini option memleak_suites: which files are suites."""


def test_the_default_is_names_that_end_in_memleak_toml(pytester, suite):
    suite()
    suite(name="other.toml")
    result = pytester.runpytest("--collect-only", "-q")
    result.stdout.fnmatch_lines(["test.memleak.toml::test_memorization[[]clean/ferry[]]"])
    result.stdout.no_fnmatch_line("*other.toml*")


def test_patterns_of_ones_own(pytester, suite):
    suite(name="release.gate")
    suite(name="other.toml")
    pytester.makeini("[pytest]\nmemleak_suites = *.gate oth?r.toml\n")
    result = pytester.runpytest("--collect-only", "-q")
    result.stdout.fnmatch_lines(["other.toml::*", "release.gate::*"])


def test_python_functions_does_not_hide_a_suites_test(pytester, suite):
    suite()
    pytester.makeini("[pytest]\npython_functions = check_*\n")
    pytester.runpytest().assert_outcomes(passed=1, failed=1)
