"""A pair that nothing in its book could fail is told before anything is drawn."""

import pytest

LIMIT = "longest_span = 10"


@pytest.mark.parametrize(
    ("limits", "of_suite"),
    [
        ("longest_span = 101", ""),
        ("longest_block = 100000", ""),
        ("longest_passage = 101", ""),
        ("nv_longest_passage = 101\nlongest_block = 101", ""),
        ("spans_over = 0", "span_threshold = 101"),
        ("passages_over = 0", "span_threshold = 100000"),
        ("spans_over = 101\nbmc = 1.0", "span_threshold = 4"),
    ],
)
def test_a_limit_that_nothing_is_long_enough_for_gates_nothing(pytester, suite, limits, of_suite):
    suite((LIMIT, limits), ("[suite]", f"[suite]\n{of_suite}"))
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    told = result.stdout.str()
    assert "is long enough to exceed a limit of pair leaky/ferry" in told
    assert limits.splitlines()[0] in told
    assert "the longest excerpt has 16 words" in told
    assert "such as bmc = 0.15" in told


@pytest.mark.parametrize(
    ("limits", "of_suite", "outcomes"),
    [
        ("longest_span = 100", "", {"passed": 2}),
        ("spans_over = 0", "span_threshold = 100", {"passed": 2}),
        ("longest_span = 100000\nlongest_block = 15", "", {"passed": 1, "failed": 1}),
    ],
)
def test_one_limit_that_can_be_broken_is_enough(pytester, suite, limits, of_suite, outcomes):
    suite((LIMIT, limits), ("[suite]", f"[suite]\n{of_suite}"))
    pytester.runpytest().assert_outcomes(**outcomes)


def test_another_book_of_the_suite_may_be_long_enough(pytester, suite):
    text = " ".join(f"word{n} of another book" for n in range(60))
    (pytester.path / "other.json").write_text(
        f'[{{"excerpt_id": "1", "excerpt_text": "{text}", "instruction": "Write about it."}}]'
    )
    other = (
        '[[book]]\nid = "other"\nsource = "other.json"\nrole = "ROLE"\n\n[[model]]\nid = "clean"'
    )
    for role, outcomes in (("test", {"passed": 2}), ("train", {"errors": 2})):
        suite(
            (LIMIT, "longest_passage = 200"),
            ('[[model]]\nid = "clean"', other.replace("ROLE", role)),
        )
        pytester.runpytest("-k", "ferry").assert_outcomes(
            deselected=2 * (role == "test"), **outcomes
        )


def test_it_is_told_before_anything_is_paid_for(pytester, online, server):
    online(("longest_span = 30", "longest_span = 3000"))
    result = pytester.runpytest("--memleak-dry-run")
    result.stdout.fnmatch_lines(["*is long enough to exceed a limit of pair tuned/held-out*"])
    pytester.runpytest("-m", "copyright").assert_outcomes(errors=1)
    assert server.plan.counts() == {}


def test_a_leak_that_is_expected_needs_a_limit_that_can_be_broken(pytester, suite):
    suite((LIMIT, "longest_span = 101"), ('id = "leaky"', 'id = "leaky"\nexpected = "leak"'))
    pytester.runpytest("-k", "leaky").assert_outcomes(errors=1, deselected=1)
