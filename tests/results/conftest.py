"""Findings, as the tests of reports need them."""

from finding_fixtures import make_book, make_finding, prose, recite  # noqa: F401 - fixtures
