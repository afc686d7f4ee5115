"""Collecting suites imports what reading them needs, and nothing that measuring needs."""

import json

import pytest

TELL = """
import json, sys
from pathlib import Path

def pytest_sessionfinish():
    Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def modules(pytester, suite):
    def there_after(*arguments):
        pytester.makeconftest(TELL)
        assert pytester.runpytest_subprocess(*arguments).ret == 0
        return set(json.loads((pytester.path / "modules.json").read_text()))

    suite()
    return there_after


def test_collecting_a_suite_needs_no_numbers_no_ledger_and_no_books(modules):
    there = modules("--collect-only")
    assert "pytest_memleak.suite.schema" in there
    heavy = {
        "numpy",
        "sqlalchemy",
        "ebooklib",
        "lxml",
        "openai",
        "pytest_memleak.pipeline.evaluate_pair",
    }
    assert there & heavy == set()


def test_a_suite_beside_other_tests_is_not_read_with_them(pytester, modules):
    pytester.makepyfile(test_other="def test_it(): pass")
    there = modules("test_other.py")
    assert "pytest_memleak.plugin.hooks" in there
    assert there & {"pydantic", "pytest_memleak.pipeline.run", "pytest_memleak.suite"} == set()
