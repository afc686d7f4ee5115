"""Findings, as the tests of reports need them."""

from result_fixtures import make_book, make_result, prose, recite  # noqa: F401 - fixtures
